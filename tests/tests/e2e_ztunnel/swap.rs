//! Rules that are swapped under load, whoever puts them into ztunnel: connections go on all the time, and afterwards all
//! witnesses are asked.

use std::collections::BTreeMap;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::demo::patience::{Patience, wait_for};

use super::client::{Clock, Load};
use super::mesh::{FIRST, Pod, SECOND, SERVICES, hostname};
use super::stage::Stage;
use super::verdict::{Faults, Met, STATE, Swap, check_order};
use super::ztunnel::Ztunnel;

pub(crate) const CLIENTS: usize = 8;
/// Answers between two swaps, at least.
pub(crate) const ANSWERS_BETWEEN: u64 = 150;
pub(crate) const ANSWERS_PATIENCE: Patience = Patience::seconds(120);
/// From new rules in force to ztunnel's state. It tries again ever more seldom while there is no agent.
const SHOWN_PATIENCE: Patience = Patience::seconds(30);

/// What a run met, with its faults.
pub(crate) struct Run {
    pub(crate) connections: usize,
    pub(crate) met: Vec<(Swap, Met)>,
    pub(crate) faults: Faults,
}

/// Puts other rules in so many times, to and fro, beginning at those of [`FIRST`]. `put` puts in the rules that send every service
/// to this waypoint, and returns when they are in force.
pub(crate) fn swap_under_load(
    stage: &Stage,
    ztunnel: &Ztunnel,
    times: usize,
    mut put: impl FnMut(&Pod) -> Result<()>,
) -> Result<Run> {
    let clock = Clock::start();
    let mut faults = Faults::default();
    let mut swaps = Vec::new();
    wait_shown(ztunnel, &FIRST, &mut faults)?;
    let load = Load::start(&stage.client, clock, CLIENTS)?;
    let (mut from, mut to) = (FIRST, SECOND);
    for _ in 0..times {
        load.wait_for_more(ANSWERS_BETWEEN, ANSWERS_PATIENCE)?;
        let begun = clock.now();
        put(&to)?;
        wait_shown(ztunnel, &to, &mut faults).with_context(|| format!("rules that send all to {}", to.name))?;
        swaps.push(Swap { from, to, begun, settled: clock.now() });
        (from, to) = (to, from);
    }
    load.wait_for_more(ANSWERS_BETWEEN, ANSWERS_PATIENCE)?;
    let connections = load.stop()?;
    let met = check_order(&connections, &swaps, &mut faults);
    stage.compare(&connections, &[], &[ztunnel], &mut faults)?;
    Ok(Run { connections: connections.len(), met: swaps.into_iter().zip(met).collect(), faults })
}

/// Waits until ztunnel's own state has every service at this waypoint. At no time may it have some here and some there.
pub(crate) fn wait_shown(ztunnel: &Ztunnel, to: &Pod, faults: &mut Faults) -> Result<()> {
    let expected = hostname(to.name);
    wait_for("ztunnel's state", SHOWN_PATIENCE, || {
        let found = waypoints(&ztunnel.config_dump()?)?;
        let there = SERVICES.iter().filter(|name| found.get(**name) == Some(&expected)).count();
        if there != 0 && there != SERVICES.len() {
            faults.add(STATE, format!("{found:?}"));
        }
        Ok((there == SERVICES.len()).then_some(()))
    })
}

/// The host name of the waypoint that gets all connections of a service, by the service's name.
pub(crate) fn waypoints(dump: &Value) -> Result<BTreeMap<String, String>> {
    let services = dump.get("services").and_then(Value::as_array).context("a config dump without services")?;
    let mut all = BTreeMap::new();
    for service in services {
        let name = service.get("name").and_then(Value::as_str).context("a service without a name")?;
        if let Some(waypoint) = waypoint(service)? {
            all.insert(name.to_owned(), waypoint);
        }
    }
    Ok(all)
}

/// Weighted waypoints hide the other, as soon as one of them has any weight.
fn waypoint(service: &Value) -> Result<Option<String>> {
    let weight = |it: &&Value| it.get("weight").and_then(Value::as_u64).unwrap_or(0) > 0;
    let weighted = service.get("weightedWaypoints").and_then(Value::as_array).into_iter().flatten();
    let weighted: Vec<&Value> = weighted.filter(weight).collect();
    ensure!(weighted.len() <= 1, "a service with two waypoints at a time: {service}");
    let gateway = weighted.first().and_then(|it| it.get("destination")).or_else(|| service.get("waypoint"));
    let destination = gateway.and_then(|it| it.get("destination")).and_then(Value::as_str);
    // As `namespace/host`.
    Ok(destination.and_then(|it| it.split_once('/')).map(|(_, host)| host.to_owned()))
}

impl Run {
    /// For people.
    pub(crate) fn print(&self) {
        let ms = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
        println!("{} connections, {} swaps", self.connections, self.met.len());
        for (swap, met) in &self.met {
            println!(
                "to {:6}: {:4} by the old rules, {:4} by the new, {:3} open in the {:5.1} ms between; the last old one began {:5.1} ms \
                 before the first new answer",
                swap.to.name,
                met.old,
                met.new,
                met.during,
                ms(Some(swap.settled.saturating_sub(swap.begun))),
                ms(met.gap),
            );
        }
    }
}
