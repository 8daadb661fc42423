//! The agent between a control plane and its clients: memory, the first mesh, changes, and clients that stand still.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::control_plane::ControlPlane;
use tests::demo::patience::{Patience, wait_for};
use tests::ztunnel::{Kept, Ztunnel};
use tokio::runtime::Runtime;
use xds::resource::Snapshot;

use crate::figures::{Spread, judge, mb};
use crate::meshes::{Bound, lean, lean_pod, print_composition};
use crate::served::{Rules, Served, acknowledge};

const ROUNDS: usize = 15;
const CHANGES: usize = 500;
const OTHERS: usize = 9;
/// How long a client that was told nothing is listened to.
const SILENCE: Duration = Duration::from_millis(300);

/// Goals.
const SUBSCRIBE_GOAL: Duration = Duration::from_millis(60);
const MEMORY_GOAL: f64 = 80.0;
const REWRITING_GOAL: f64 = 1.2;
const CHANGE_GOAL: Duration = Duration::from_millis(2);
const STALLED_RATIO_GOAL: f64 = 2.0;
const STALLED_MEMORY_GOAL: f64 = 10.0;

/// How a client stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not at all: it takes and answers everything.
    Not,
    /// It takes the first mesh and answers nothing.
    Unanswering,
    /// It asks, and does not even read what comes.
    Unreading,
}

fn follow(plane: &ControlPlane, rules: &Rules) -> Result<Served> {
    Served::start(rules, |folder| plane.flags(folder))
}

/// Memory and the first mesh, with a mesh that comes after an empty one.
pub(crate) fn first(runtime: &Runtime, what: &str, mesh: Snapshot) -> Result<()> {
    println!("\nthe agent behind a control plane, {what}");
    let mut plane = ControlPlane::start([127, 0, 0, 1].into(), Snapshot::default())?;
    let served = follow(&plane, &Rules::Keep)?;
    let mut watching = runtime.block_on(served.client())?;
    let idle = served.memory()?;
    let count = mesh.addresses.len();
    let bodies: usize = mesh.addresses.by_name().values().map(|it| it.body().len()).sum();
    plane.tell(|told| *told = Snapshot { rules: told.rules, revision: told.revision, ..mesh });
    let (resources, _) = runtime.block_on(acknowledge(&mut watching))?;
    ensure!(resources == count, "{resources} of {count} came");
    drop(watching);
    let told = served.memory()?;
    served.wait_saved(bodies as u64)?;
    let saved = served.memory()?;
    let (mut times, mut response) = (Vec::new(), bytes::Bytes::new());
    for _ in 0..ROUNDS {
        let (time, bytes) = runtime.block_on(served.subscribe())?;
        times.push(time);
        response = bytes;
    }
    print_composition(&response)?;
    let spread = Spread::of(times);
    let reached = spread.median <= SUBSCRIBE_GOAL;
    judge(
        &format!("connect, subscribe, last byte of {:.1} MB: {spread}; goal {SUBSCRIBE_GOAL:?}", mb(response.len())),
        reached,
    );
    std::thread::sleep(Duration::from_secs(1));
    let after = served.memory()?;
    println!(
        "  memory of the agent: idle {:.1} MB, told {:.1}, saved {:.1}, {ROUNDS} clients later {:.1}; at most {:.1}",
        idle.resident, told.resident, saved.resident, after.resident, after.most
    );
    let above = after.resident.max(saved.resident) - idle.resident;
    judge(&format!("above idle: {above:.1} MB; goal {MEMORY_GOAL} MB"), above <= MEMORY_GOAL);
    served.agent.stop()?;
    Ok(())
}

/// The same server without rewriting and with: two agents behind one control plane, in turn.
pub(crate) fn rewriting(runtime: &Runtime) -> Result<()> {
    println!("\nrules that keep everything beside rules that rewrite everything, in turn");
    let plane = ControlPlane::start([127, 0, 0, 1].into(), lean(Bound::Everything))?;
    let (keeping, rewriting) = (follow(&plane, &Rules::Keep)?, follow(&plane, &Rules::Block)?);
    let mut times = [Vec::new(), Vec::new()];
    let mut bytes = [0, 0];
    for round in 0..=ROUNDS {
        for (at, served) in [&keeping, &rewriting].into_iter().enumerate() {
            let (time, response) = runtime.block_on(served.subscribe())?;
            let (Some(times), Some(bytes)) = (times.get_mut(at), bytes.get_mut(at)) else { continue };
            *bytes = response.len();
            // The first one warms.
            if round > 0 {
                times.push(time);
            }
        }
    }
    let [kept, rewritten] = times.map(Spread::of);
    let [kept_bytes, rewritten_bytes] = bytes.map(mb);
    println!("  kept, {kept_bytes:.1} MB: {kept}\n  rewritten, {rewritten_bytes:.1} MB: {rewritten}");
    let ratio = rewritten.median.as_secs_f64() / kept.median.as_secs_f64();
    judge(&format!("rewriting: {ratio:.2}x; goal {REWRITING_GOAL}x"), ratio <= REWRITING_GOAL);
    Ok(())
}

/// A mesh that changes, told to clients of which some stand still.
pub(crate) fn changing(runtime: &Runtime) -> Result<()> {
    println!("\nchanges through the agent, from the control plane's store to the client");
    let mut plane = ControlPlane::start([127, 0, 0, 1].into(), lean(Bound::Nothing))?;
    let served = follow(&plane, &Rules::Keep)?;
    let mut client = runtime.block_on(served.client())?;
    proportional(runtime, &mut plane, &mut client)?;
    nothing_new(runtime, &mut plane, &served, &mut client)?;
    drop(client);
    let beside_others = beside(runtime, &mut plane, &served, Standing::Not, 20)?;
    judge(
        &format!("one workload, beside {OTHERS} others: {beside_others}; goal p99 {CHANGE_GOAL:?}"),
        beside_others.p99 <= CHANGE_GOAL,
    );
    for (standing, network) in [(Standing::Unanswering, 30), (Standing::Unreading, 40)] {
        let stalled = beside(runtime, &mut plane, &served, standing, network)?;
        let ratio = stalled.p99.as_secs_f64() / beside_others.p99.as_secs_f64();
        judge(
            &format!("one workload, beside {OTHERS} {standing:?}: {stalled}; {ratio:.2}x, goal {STALLED_RATIO_GOAL}x"),
            ratio <= STALLED_RATIO_GOAL,
        );
    }
    served.agent.stop()?;
    Ok(())
}

/// Bytes by how much changed.
fn proportional(runtime: &Runtime, plane: &mut ControlPlane, client: &mut Ztunnel) -> Result<()> {
    let mut each = Vec::new();
    for (round, count) in [1_usize, 10, 100, 1_000, 10_000].into_iter().enumerate() {
        let network = 100 + u8::try_from(round)?;
        plane.tell(|mesh| (0..count).for_each(|at| move_pod(mesh, at, network)));
        let (resources, bytes) = runtime.block_on(acknowledge(client))?;
        ensure!(resources == count, "{resources} of {count} came");
        println!("  {count} workloads changed: {bytes} bytes, {} each", bytes / count);
        each.push(bytes as f64 / count as f64);
    }
    let (least, most) = each.iter().fold((f64::MAX, 0.0_f64), |(least, most), it| (least.min(*it), most.max(*it)));
    judge(
        &format!("bytes by change: from {least:.0} to {most:.0} each; goal: proportional (within 1.5x)"),
        most <= 1.5 * least,
    );
    Ok(())
}

/// One workload gets an address on another network.
fn move_pod(mesh: &mut Snapshot, at: usize, network: u8) {
    mesh.addresses.put(lean_pod(at / 10, at % 10, network, Bound::Nothing));
}

/// Reconnects above and below with nothing changed.
fn nothing_new(runtime: &Runtime, plane: &mut ControlPlane, served: &Served, client: &mut Ztunnel) -> Result<()> {
    plane.go_away();
    plane.come_back()?;
    let fresh = || {
        Ok(served
            .agent
            .admin()
            .get("/readyz")?
            .json()?
            .pointer("/upstream/mesh")
            .is_some_and(|it| it == "fresh")
            .then_some(()))
    };
    wait_for("the control plane", Patience::seconds(30), fresh)?;
    let heard = runtime.block_on(async { tokio::time::timeout(SILENCE, client.receive_raw()).await });
    judge("the control plane reconnects with nothing changed: nothing is sent down", heard.is_err());
    let again = runtime.block_on(async {
        let mut first = Ztunnel::connect(&served.dial, Kept::default()).await?;
        first.step().await?;
        first.step().await?;
        Ztunnel::connect(&served.dial, first.kept.clone()).await?.receive_raw().await
    })?;
    println!("  a client reconnects with nothing changed: {} bytes", again.len());
    Ok(())
}

/// Single changes to a client beside others, and what those cost the agent.
fn beside(
    runtime: &Runtime,
    plane: &mut ControlPlane,
    served: &Served,
    standing: Standing,
    network: u8,
) -> Result<Spread> {
    let mut tenth = runtime.block_on(served.client())?;
    let before = served.memory()?;
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(runtime.block_on(async {
            match standing {
                Standing::Not => served.client().await,
                Standing::Unanswering => {
                    let mut client = Ztunnel::connect(&served.dial, Kept::default()).await?;
                    client.receive_raw().await?;
                    anyhow::Ok(client)
                }
                Standing::Unreading => Ztunnel::connect(&served.dial, Kept::default()).await,
            }
        })?);
    }
    let mut times = Vec::new();
    for at in 0..CHANGES {
        let start = Instant::now();
        plane.tell(|mesh| move_pod(mesh, at, network));
        runtime.block_on(async {
            let (count, _) = acknowledge(&mut tenth).await.with_context(|| format!("change {at}"))?;
            ensure!(count == 1, "{count} resources for one change");
            times.push(start.elapsed());
            if standing == Standing::Not {
                for other in &mut others {
                    acknowledge(other).await?;
                }
            }
            Ok(())
        })?;
    }
    // A change of everything meanwhile: what a client that stands still has was given up by all others.
    plane.tell(|mesh| (0..50_000).for_each(|at| move_pod(mesh, at, network + 1)));
    runtime.block_on(acknowledge(&mut tenth))?;
    let after = served.memory()?;
    if standing != Standing::Not {
        let each = (after.resident - before.resident) / OTHERS as f64;
        judge(
            &format!(
                "memory for each of {OTHERS} {standing:?}: {each:.1} MB ({:.1} MB before the first of them); goal {STALLED_MEMORY_GOAL} MB",
                before.resident
            ),
            each <= STALLED_MEMORY_GOAL,
        );
    }
    drop(others);
    // They are gone when the agent has noticed.
    std::thread::sleep(Duration::from_secs(1));
    Ok(Spread::of(times))
}
