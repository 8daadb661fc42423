//! What a ztunnel waits for: the first mesh, a swap of rules, one change, beside clients that stand still. Not a test: it
//! prints each figure beside its goal. Over TLS on loopback; clients and server share the machine, and decoding is not in
//! the figures. Run by `cargo bench --profile dev --bench xds`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

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
use tests::mesh::MeshSize;
use tests::native::Native;
use tests::ztunnel::{Kept, Ztunnel, answer};
use xds::mesh::Options;
use xds::proto::discovery::DeltaDiscoveryResponse;
use xds::server::Config;
use xds::sink::XdsSink;

/// 50,000 workloads and 5,000 services.
const SIZE: MeshSize =
    MeshSize { namespaces: 250, services: 5_000, pods: 50_000, waypoints: 250, entries: 100, workload_entries: 50 };
const ROUNDS: usize = 15;
const CHANGES: usize = 500;

/// Under the rules of Istio before 1.22 no service has a waypoint, and other workloads have.
fn decider<P: wayswitch_sdk::Resolver + 'static>(rules: u64, store: &Store) -> Decider {
    let (native, description) = Native::<P>::new("").unwrap();
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    Decider::new(rules, description, Arc::new(native), terms, store).map_err(|(_, why)| why.to_string()).unwrap()
}

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn main() -> Result<()> {
    // `cargo test` runs benchmarks too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(bench())
}

async fn bench() -> Result<()> {
    let mut store = Store::default();
    SIZE.objects(1).for_each(|object| drop(store.apply(Event::Apply(object))));
    let first = decider::<Istio>(1, &store);
    let idle = rss();
    let clients = Arc::default();
    let (mut sink, newest) = XdsSink::new(Options::default(), Arc::clone(&clients));
    let start = Instant::now();
    sink.prepare(Decided { store: &store, table: first.table() })?;
    sink.commit()?;
    println!("building the first snapshot of {} rows: {:?}", first.table().len(), start.elapsed());
    let hub = Hub::start(Config::default(), newest, clients).await?;

    let (mut times, mut size) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut client = Ztunnel::connect(&hub.dial, Kept::default()).await?;
        let response = client.receive_raw().await?;
        times.push(start.elapsed());
        size = response.len();
    }
    let (p50, worst) = median(times);
    println!("subscribe to last byte, {:.1} MB: median {p50:?}, worst {worst:?}; goal 60 ms", size as f64 / 1e6);
    println!("memory above the decided mesh: {} MB; goal 80 MB", rss().saturating_sub(idle));

    let mut ztunnel = Ztunnel::connect(&hub.dial, Kept::default()).await?;
    ztunnel.step().await?;
    ztunnel.step().await?;
    let again = Ztunnel::connect(&hub.dial, ztunnel.kept.clone()).await;
    println!("reconnect with nothing changed: {} bytes", again?.receive_raw().await?.len());

    swaps(&mut sink, &store, &mut ztunnel).await?;
    let mut decider = decider::<Istio>(100, &store);
    sink.prepare(Decided { store: &store, table: decider.table() })?;
    sink.commit()?;
    ztunnel.step().await?;
    drop(ztunnel);
    println!("one workload changed, decided, built, sent and received");
    for stalled in [false, true] {
        changes(&mut sink, &mut store, &mut decider, &hub, stalled).await?;
    }
    Ok(())
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
    let (p50, worst) = median(times);
    println!(
        "swap of {resources} resources, commit to taken up by the stand-in, one response: median {p50:?}, worst {worst:?}"
    );
    Ok(())
}

async fn changes(sink: &mut XdsSink, store: &mut Store, decider: &mut Decider, hub: &Hub, stalled: bool) -> Result<()> {
    let mut others = Vec::new();
    let before = rss();
    for _ in 0..9 {
        let mut client = Ztunnel::connect(&hub.dial, Kept::default()).await?;
        if stalled {
            // It takes the first mesh and answers nothing; what it decodes is not the server's.
            client.receive_raw().await?;
        } else {
            for _ in 0..2 {
                let response = DeltaDiscoveryResponse::decode(client.receive_raw().await?)?;
                client.send(answer(&response, Ok(()))).await?;
            }
        }
        others.push(client);
    }
    let mut tenth = Ztunnel::connect(&hub.dial, Kept::default()).await?;
    tenth.step().await?;
    tenth.step().await?;
    let pods: Vec<_> = store.object_keys().filter(|key| key.kind == model::Kind::Pod).take(CHANGES).collect();
    let (mut times, mut bytes) = (Vec::new(), 0);
    for (number, key) in pods.iter().enumerate() {
        // Some are over and told to nobody.
        let Some(Object::Pod(mut pod)) = store.object(key) else { continue };
        if !pod.is_published() {
            continue;
        }
        pod.addresses = [[11, u8::from(stalled), (number / 250) as u8, (number % 250) as u8].into()].into();
        let start = Instant::now();
        let objects = vec![key.clone()];
        let changes = store.apply(Event::Apply(Object::Pod(pod)));
        let moved = decider.apply(store, &changes);
        sink.update(Decided { store, table: decider.table() }, &Step { objects, changes, moved, mesh: false })?;
        let raw = tenth.receive_raw().await.with_context(|| format!("change {number} of {key}"))?;
        times.push(start.elapsed());
        bytes = raw.len();
        tenth.send(answer(&DeltaDiscoveryResponse::decode(raw)?, Ok(()))).await?;
        if !stalled {
            for other in &mut others {
                let response = DeltaDiscoveryResponse::decode(other.receive_raw().await?)?;
                other.send(answer(&response, Ok(()))).await?;
            }
        }
    }
    let (p50, p99) = median(times);
    let what = if stalled { "beside 9 that stand still" } else { "beside 9 others" };
    println!("  {what}: median {p50:?}, p99 {p99:?}, {bytes} bytes; goal 2 ms, twice that beside stalled ones");
    println!("  memory: {:+} MB for 10 clients, theirs included", rss() as i64 - before as i64);
    Ok(())
}
