//! The mesh built by ourselves from objects, in this process: no control plane, no agent around it. Clients and server share the
//! process, so that nothing is said about memory here; see `from_files` for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use model::decider::Terms;
use model::decision::Choice;
use model::sink::{Decided, Sink, Step};
use model::{Decider, Event, Object, Store};
use plugin_istio::Istio;
use plugin_service_account::ServiceAccount;
use prost::Message;
use tests::hub::Hub;
use tests::mesh::manifests::{Dress, write_list};
use tests::native::Native;
use tests::ztunnel::{Kept, Ztunnel, answer};
use tokio::runtime::Runtime;
use xds::mesh::Options;
use xds::proto::discovery::DeltaDiscoveryResponse;
use xds::server::Config;
use xds::sink::XdsSink;

use crate::figures::{Spread, judge, mb};
use crate::meshes::SIZE;
use crate::served::{Rules, Served, acknowledge};

const ROUNDS: usize = 15;
const CHANGES: usize = 500;
/// The same mesh in every run.
const SEED: u64 = 1;

const SUBSCRIBE_GOAL: Duration = Duration::from_millis(60);
const MEMORY_GOAL: f64 = 80.0;
const CHANGE_GOAL: Duration = Duration::from_millis(2);

/// The objects of the generated mesh.
pub(crate) fn store() -> Store {
    let mut store = Store::default();
    SIZE.objects(SEED).for_each(|object| drop(store.apply(Event::Apply(object))));
    store
}

/// Under the rules of Istio before 1.22 no service has a waypoint, and other workloads have.
pub(crate) fn decider<P: wayswitch_sdk::Resolver + 'static>(rules: u64, store: &Store) -> Decider {
    let (native, description) = Native::<P>::new("").unwrap();
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    Decider::new(rules, description, Arc::new(native), terms, store).map_err(|(_, why)| why.to_string()).unwrap()
}

/// The real agent with the mesh from files: what it has above one without any.
pub(crate) fn from_files(runtime: &Runtime) -> Result<()> {
    println!("\nthe agent with the generated mesh from files");
    let idle = Served::start(&Rules::Keep, |_| Ok(Vec::new()))?;
    let _told = runtime.block_on(idle.subscribe())?;
    let before = idle.memory()?;
    drop(idle);
    let served = Served::start(&Rules::Keep, |folder| {
        let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("manifests/mesh.json"))?);
        write_list(SIZE.objects(SEED), Dress::Bare, &mut file)?;
        Ok(Vec::new())
    })?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(runtime.block_on(served.subscribe())?.0);
    }
    let spread = Spread::of(times);
    judge(
        &format!("connect, subscribe, last byte: {spread}; goal {SUBSCRIBE_GOAL:?}"),
        spread.median <= SUBSCRIBE_GOAL,
    );
    std::thread::sleep(Duration::from_secs(1));
    let after = served.memory()?;
    let above = after.resident - before.resident;
    println!(
        "  memory of the agent: without objects {:.1} MB, with them {:.1}; at most {:.1}",
        before.resident, after.resident, after.most
    );
    judge(&format!("above idle: {above:.1} MB; goal {MEMORY_GOAL} MB"), above <= MEMORY_GOAL);
    Ok(())
}

/// The first mesh, a swap of the rules, one change.
pub(crate) async fn built() -> Result<()> {
    println!("\nthe generated mesh, built in this process");
    let mut store = store();
    let first = decider::<Istio>(1, &store);
    let clients = Arc::default();
    let (mut sink, newest) = XdsSink::new(Options::default(), Arc::clone(&clients));
    let start = Instant::now();
    sink.prepare(Decided { store: &store, table: first.table() })?;
    sink.commit()?;
    println!("  building the first snapshot of {} rows: {:?}", first.table().len(), start.elapsed());
    let hub = Hub::start(Config::default(), newest, clients).await?;
    let (mut times, mut size) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut client = Ztunnel::connect(&hub.dial, Kept::default()).await?;
        let response = client.receive_raw().await?;
        times.push(start.elapsed());
        size = response.len();
    }
    let spread = Spread::of(times);
    judge(
        &format!("connect, subscribe, last byte of {:.1} MB: {spread}; goal {SUBSCRIBE_GOAL:?}", mb(size)),
        spread.median <= SUBSCRIBE_GOAL,
    );
    let mut ztunnel = Ztunnel::connect(&hub.dial, Kept::default()).await?;
    ztunnel.step().await?;
    ztunnel.step().await?;
    let again = Ztunnel::connect(&hub.dial, ztunnel.kept.clone()).await;
    println!("  reconnect with nothing changed: {} bytes", again?.receive_raw().await?.len());
    swaps(&mut sink, &store, &mut ztunnel).await?;
    let mut decider = decider::<Istio>(100, &store);
    sink.prepare(Decided { store: &store, table: decider.table() })?;
    sink.commit()?;
    ztunnel.step().await?;
    drop(ztunnel);
    changes(&mut sink, &mut store, &mut decider, &hub).await
}

async fn swaps(sink: &mut XdsSink, store: &Store, ztunnel: &mut Ztunnel) -> Result<()> {
    let tables = [decider::<Istio>(2, store).table().clone(), decider::<ServiceAccount>(3, store).table().clone()];
    let (mut times, mut resources) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let table = &tables[(round + 1) % 2];
        sink.prepare(Decided { store, table })?;
        let start = Instant::now();
        sink.commit()?;
        let response = DeltaDiscoveryResponse::decode(ztunnel.receive_raw().await?)?;
        let taken = ztunnel.kept.take(&response);
        ztunnel.send(answer(&response, taken)).await?;
        times.push(start.elapsed());
        resources = response.resources.len();
    }
    println!(
        "  swap of {resources} resources, commit to taken up by the stand-in, one response: {}",
        Spread::of(times)
    );
    Ok(())
}

/// One workload changed, decided, built, sent and received, beside nine others.
async fn changes(sink: &mut XdsSink, store: &mut Store, decider: &mut Decider, hub: &Hub) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Ztunnel::connect(&hub.dial, Kept::default()).await?;
        acknowledge(&mut client).await?;
        acknowledge(&mut client).await?;
        clients.push(client);
    }
    let pods: Vec<_> = store.object_keys().filter(|key| key.kind == model::Kind::Pod).take(CHANGES).collect();
    let (mut times, mut bytes) = (Vec::new(), 0);
    for (number, key) in pods.iter().enumerate() {
        // Some are over and told to nobody.
        let Some(Object::Pod(mut pod)) = store.object(key) else { continue };
        if !pod.is_published() {
            continue;
        }
        pod.addresses = [[11, 0, (number / 250) as u8, (number % 250) as u8].into()].into();
        let start = Instant::now();
        let objects = vec![key.clone()];
        let changes = store.apply(Event::Apply(Object::Pod(pod)));
        let moved = decider.apply(store, &changes);
        sink.update(Decided { store, table: decider.table() }, &Step { objects, changes, moved, mesh: false })?;
        for (at, client) in clients.iter_mut().rev().enumerate() {
            let (_, size) = acknowledge(client).await.with_context(|| format!("change {number} of {key}"))?;
            if at == 0 {
                times.push(start.elapsed());
                bytes = size;
            }
        }
    }
    let spread = Spread::of(times);
    judge(
        &format!("one workload, beside 9 others: {spread}, {bytes} bytes; goal p99 {CHANGE_GOAL:?}"),
        spread.p99 <= CHANGE_GOAL,
    );
    Ok(())
}
