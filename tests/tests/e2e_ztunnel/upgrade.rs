//! An upgrade of ztunnel: a second one starts beside the first, both are served and both capture connections, the first is told
//! to stop. Between the two there is no order of rules, since each takes them up when it can; for each of them there is.
//!
//! A ztunnel that stops may cut what others send it at that moment: it closes pooled tunnels that its peers are about to use.
//! No mesh that it is told can change that, so connections that were open then are judged apart, and counted.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::agent_mesh::Mesh;
use super::client::{Clock, Connection, Load};
use super::mesh::{CLIENT, FIRST, Family, Pod, SECOND};
use super::stage::{play, whole_program};
use super::swap::{ANSWERS_BETWEEN, ANSWERS_PATIENCE, CLIENTS, wait_shown};
use super::verdict::{Faults, Swap, check_order};
use super::ztunnel::Ztunnel;

/// Swaps while both are there.
const SWAPS: usize = 4;
/// Answers between two swaps: enough for each service, by each of two ztunnels.
const ANSWERS: u64 = 3 * ANSWERS_BETWEEN;

fn upgrade(family: Family) -> Result<()> {
    play(family, whole_program(family), |stage| {
        // In reach of the second one, which is in a network of its own as in a cluster.
        let mut mesh = Mesh::start(stage, stage.node_ip, 0, Vec::new())?;
        let mut old = mesh.start_ztunnel(stage)?;
        let mut faults = Faults::default();
        let clock = Clock::start();
        wait_shown(&old, &FIRST, &mut faults)?;
        let load = Load::start(&stage.client, clock, CLIENTS)?;
        load.wait_for_more(ANSWERS, ANSWERS_PATIENCE)?;
        let mut new = mesh.start_ztunnel_at(stage, "new", Some(Arc::clone(&stage.beside)))?;
        mesh.wait_clients(2)?;
        wait_shown(&new, &FIRST, &mut faults)?;
        load.wait_for_more(ANSWERS, ANSWERS_PATIENCE)?;
        let swaps = swap_both(&mut mesh, [&old, &new], &load, clock, &mut faults)?;
        let stopping = clock.now();
        old.stop()?;
        let stopped = clock.now();
        mesh.wait_clients(1)?;
        load.wait_for_more(ANSWERS, ANSWERS_PATIENCE)?;
        // The other rules once more, for the one that is left.
        let begun = clock.now();
        let [from, to] = rules(SWAPS);
        mesh.put(&to)?;
        wait_shown(&new, &to, &mut faults)?;
        let last = Swap { from, to, begun, settled: clock.now() };
        load.wait_for_more(ANSWERS, ANSWERS_PATIENCE)?;
        let connections = load.stop()?;
        let is_cut = |it: &Connection| it.via.is_err() && it.begun <= stopped && it.ended >= stopping;
        let (cut, connections): (Vec<_>, Vec<_>) = connections.into_iter().partition(is_cut);
        println!("{} connections were cut when the first ztunnel was told to stop", cut.len());
        ensure!(cut.len() <= CLIENTS, "more than one of each client: {cut:?}");
        stage.compare(&connections, &cut, &[&old, &new], &mut faults)?;
        judge(&connections, &old, &swaps, &mut faults)?;
        let swaps: Vec<Swap> = swaps.into_iter().chain([last]).collect();
        judge(&connections, &new, &swaps, &mut faults)?;
        let after = connections.iter().filter(|connection| connection.begun >= stopped).count();
        println!("{} connections, {after} of them after the first ztunnel had stopped", connections.len());
        ensure!(faults.is_empty(), "{faults}old: {}\nnew: {}", old.last_words(), new.last_words());
        new.check_running()?;
        mesh.stop()
    })
}

/// From which waypoint to which, by the number of the swap.
fn rules(number: usize) -> [Pod; 2] {
    if number.is_multiple_of(2) { [FIRST, SECOND] } else { [SECOND, FIRST] }
}

fn swap_both(
    mesh: &mut Mesh,
    ztunnels: [&Ztunnel; 2],
    load: &Load,
    clock: Clock,
    faults: &mut Faults,
) -> Result<Vec<Swap>> {
    let mut swaps = Vec::new();
    for number in 0..SWAPS {
        let [from, to] = rules(number);
        let begun = clock.now();
        let taken = mesh.put(&to)?.as_secs_f64() * 1000.0;
        println!("to {}: taken up by both {taken:.1} ms after it was in force", to.name);
        for ztunnel in ztunnels {
            wait_shown(ztunnel, &to, faults)?;
        }
        swaps.push(Swap { from, to, begun, settled: clock.now() });
        load.wait_for_more(ANSWERS, ANSWERS_PATIENCE)?;
    }
    Ok(swaps)
}

/// Judges the connections that one ztunnel carried, by its access log.
fn judge(connections: &[Connection], ztunnel: &Ztunnel, swaps: &[Swap], faults: &mut Faults) -> Result<()> {
    let log = ztunnel.outbound(&CLIENT)?;
    let carried: BTreeSet<(SocketAddr, String)> = log.into_iter().map(|line| (line.source, line.dialled)).collect();
    let is_its = |it: &&Connection| it.from.is_some_and(|from| carried.contains(&(from, it.to.to_string())));
    let its: Vec<Connection> = connections.iter().filter(is_its).cloned().collect();
    let met = check_order(&its, swaps, faults);
    let during: usize = met.iter().map(|met| met.during).sum();
    println!("{} connections by one ztunnel, {during} of them open during {} swaps", its.len(), swaps.len());
    Ok(())
}

/// No connection fails, and what either ztunnel carried saw no old rules after new ones.
#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn a_second_ztunnel_takes_over_under_load() -> Result<()> {
    upgrade(Family::V4)
}
