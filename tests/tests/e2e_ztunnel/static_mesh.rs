//! ztunnel with a mesh from a file, without any agent: that the stage is in order, and that its judges notice what is not.

use anyhow::{Context as _, Result, ensure};
use tests::demo::patience::Patience;

use super::client::{Clock, Load, ask};
use super::mesh::{FIRST, Family, SECOND, SERVICES};
use super::network::beside_the_node;
use super::stage::{play, whole_program};
use super::verdict::{FAILED, Faults, MIXED, Swap, check_order};
use super::waypoint::Outcome;

const CLIENTS: usize = 8;
/// Connections to wait for: some dozens to each service.
const ANSWERS: u64 = 400;
const ANSWERS_PATIENCE: Patience = Patience::seconds(120);

#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn clients_waypoints_and_access_log_agree() -> Result<()> {
    play(Family::V4, whole_program(Family::V4), |stage| {
        let ztunnel = stage.start_static_ztunnel(&FIRST)?;
        let load = Load::start(&stage.client, Clock::start(), CLIENTS)?;
        load.wait_for_more(ANSWERS, ANSWERS_PATIENCE)?;
        let connections = load.stop()?;
        let mut faults = Faults::default();
        stage.compare(&connections, &[], &[&ztunnel], &mut faults)?;
        ensure!(faults.is_empty(), "{faults}{}", ztunnel.last_words());
        let all_first = connections.iter().all(|connection| connection.via == Ok(FIRST.ip(Family::V4)));
        ensure!(all_first, "not all of them went by {}", FIRST.name);
        println!("{} connections by {}", connections.len(), FIRST.name);
        Ok(())
    })
}

#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn a_waypoint_closes_what_it_was_not_programmed_with() -> Result<()> {
    let unknown = 3;
    let mut program = whole_program(Family::V4);
    let known = program.keys().nth(unknown).copied().context("no services")?;
    program.remove(&known);
    play(Family::V4, program, |stage| {
        let ztunnel = stage.start_static_ztunnel(&SECOND)?;
        let clock = Clock::start();
        for service in 0..SERVICES.len() {
            let connection = ask(&stage.client, clock, service)?;
            let is_answered = connection.via == Ok(SECOND.ip(Family::V4));
            ensure!(is_answered == (service != unknown), "{connection:?}; {}", ztunnel.last_words());
        }
        let passages = stage.second.passages();
        let refused: Vec<_> = passages.iter().filter(|passage| passage.outcome == Outcome::NotProgrammed).collect();
        ensure!(refused.len() == 1 && refused.iter().all(|it| it.header.destination == known), "{passages:?}");
        Ok(())
    })
}

/// Two node proxies with different tables serve the same pods, as during an upgrade: each connection goes to one of them. That
/// is a mixture of rules as it would look, and the judges must say so.
#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn a_mixture_of_rules_is_noticed() -> Result<()> {
    play(Family::V4, whole_program(Family::V4), |stage| {
        let ztunnel = stage.start_static_ztunnel(&FIRST)?;
        let clock = Clock::start();
        let load = Load::start(&stage.client, clock, CLIENTS)?;
        load.wait_for_more(ANSWERS, ANSWERS_PATIENCE)?;
        let begun = clock.now();
        // Its own ports would be taken in the node's network.
        let other = beside_the_node()?;
        let ground = &stage.ground;
        let connections = other.inside(|| {
            let mut other = ground.start_static_ztunnel("other", &SECOND)?;
            other.wait_ready()?;
            load.wait_for_more(ANSWERS, ANSWERS_PATIENCE)?;
            load.stop()
        })?;
        let swap = Swap { from: FIRST, to: SECOND, begun, settled: clock.now() };
        let mut faults = Faults::default();
        check_order(&connections, &[swap], &mut faults);
        let mixed = faults.count(MIXED);
        ensure!(mixed > 0, "{} connections and no mixture; {}", connections.len(), ztunnel.last_words());
        ensure!(faults.count(FAILED) == 0, "{faults}");
        println!("{mixed} of {} connections in a mixture", connections.len());
        Ok(())
    })
}
