//! Judges what the clients, the waypoints and ztunnel wrote down. Pure: no clock, no network.
//!
//! The rule for a swap of rules: from the moment at which any client has an answer under the new rules, no connection that is
//! begun later, to whichever service, may go where the old rules said.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::client::Connection;
use super::mesh::{CLIENT, NAMESPACE, Pod, SERVICES};
use super::waypoint::{Outcome, Passage};
use super::ztunnel::Access;

/// Of each kind of fault so many are told.
const FAULTS_TOLD_MAX: usize = 5;

/// A swap of the rules, from `from` to `to` for every service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swap {
    pub(crate) from: Pod,
    pub(crate) to: Pod,
    /// Before the new rules were given to anybody.
    pub(crate) begun: Duration,
    /// After ztunnel's state showed them.
    pub(crate) settled: Duration,
}

/// What a swap met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Met {
    /// Connections under the old rules, and under the new.
    pub(crate) old: usize,
    pub(crate) new: usize,
    /// Connections open at some time between `begun` and `settled`.
    pub(crate) during: usize,
    /// From the beginning of the last connection under the old rules to the first answer under the new; none where there was
    /// one or the other only, or in the wrong order.
    pub(crate) gap: Option<Duration>,
}

/// What is wrong, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults(BTreeMap<&'static str, Vec<String>>);

impl Faults {
    pub(crate) fn add(&mut self, kind: &'static str, detail: String) {
        self.0.entry(kind).or_default().push(detail);
    }

    /// How many of one kind.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.0.get(kind).map_or(0, Vec::len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, details) in &self.0 {
            writeln!(f, "{} x {kind}:", details.len())?;
            for detail in details.iter().take(FAULTS_TOLD_MAX) {
                writeln!(f, "  {detail}")?;
            }
        }
        Ok(())
    }
}

pub(crate) const FAILED: &str = "a connection failed";
pub(crate) const ELSEWHERE: &str = "a connection went past both waypoints";
pub(crate) const MIXED: &str = "old rules after an answer under the new ones";
pub(crate) const STATE: &str = "old and new rules in ztunnel's state at once";
pub(crate) const EARLY: &str = "new rules before they were given";
pub(crate) const LATE: &str = "old rules after ztunnel showed the new ones";
pub(crate) const UNPROVEN: &str = "nothing is proven";
pub(crate) const RECORD: &str = "a waypoint's record differs";
pub(crate) const LOG: &str = "ztunnel's access log differs";

/// Every connection had its answer.
pub(crate) fn check_answers(connections: &[Connection], faults: &mut Faults) {
    for connection in connections {
        if let Err(reason) = &connection.via {
            faults.add(FAILED, format!("{}: {reason}", named(connection)));
        }
    }
}

/// Every connection went where the rules of its time say. What each swap met, in their order. `swaps` are in the order of time.
pub(crate) fn check_order(connections: &[Connection], swaps: &[Swap], faults: &mut Faults) -> Vec<Met> {
    let mut all = Vec::new();
    for (number, swap) in swaps.iter().enumerate() {
        let since = number.checked_sub(1).and_then(|before| swaps.get(before)).map_or(Duration::ZERO, |it| it.settled);
        let until = swaps.get(number + 1).map_or(Duration::MAX, |it| it.begun);
        let scope: Vec<&Connection> = connections.iter().filter(|it| it.begun >= since && it.ended <= until).collect();
        all.push(check_swap(&scope, swap, faults));
    }
    all
}

fn check_swap(scope: &[&Connection], swap: &Swap, faults: &mut Faults) -> Met {
    let (old, new) = (swap.from, swap.to);
    let went = |to: Pod| scope.iter().filter(move |connection| connection.via.as_ref().is_ok_and(|via| to.has(*via)));
    let first_answer = went(new).map(|connection| connection.ended).min();
    for connection in went(old) {
        if first_answer.is_some_and(|answer| connection.begun > answer) {
            faults.add(MIXED, format!("{}, begun after {first_answer:?}", named(connection)));
        }
        if connection.begun >= swap.settled {
            faults.add(LATE, format!("{}, begun after {:?}", named(connection), swap.settled));
        }
    }
    for connection in went(new).filter(|connection| connection.ended <= swap.begun) {
        faults.add(EARLY, format!("{}, ended before {:?}", named(connection), swap.begun));
    }
    for connection in scope {
        if connection.via.as_ref().is_ok_and(|via| !old.has(*via) && !new.has(*via)) {
            faults.add(ELSEWHERE, format!("{} by {:?}", named(connection), connection.via));
        }
    }
    for (number, service) in SERVICES.iter().enumerate() {
        let to = |pod: Pod| went(pod).filter(|connection| connection.service == number).count();
        if to(old) == 0 || to(new) == 0 {
            faults.add(UNPROVEN, format!("{service} was not asked under both rules"));
        }
    }
    let open = |connection: &&&Connection| connection.ended >= swap.begun && connection.begun <= swap.settled;
    let last_old = went(old).map(|connection| connection.begun).max();
    let during = scope.iter().filter(open).count();
    if during == 0 {
        faults.add(UNPROVEN, format!("no connection between {:?} and {:?}", swap.begun, swap.settled));
    }
    let gap = last_old.zip(first_answer).and_then(|(last_old, first)| first.checked_sub(last_old));
    Met { old: went(old).count(), new: went(new).count(), during, gap }
}

/// The waypoints saw the same connections as the clients, and nothing else.
pub(crate) fn check_records(connections: &[Connection], records: &[(Pod, Vec<Passage>)], faults: &mut Faults) {
    let identity = format!("spiffe://cluster.local/ns/{NAMESPACE}/sa/{}", CLIENT.account());
    let mut relayed: BTreeMap<u64, (&Pod, SocketAddr)> = BTreeMap::new();
    for (pod, passages) in records {
        for passage in passages {
            let header = &passage.header;
            if !CLIENT.has(header.source.ip()) || header.identity.as_deref() != Some(&identity) {
                faults.add(RECORD, format!("{} was told {header:?}", pod.name));
            }
            match &passage.outcome {
                Outcome::Relayed(number) => {
                    if relayed.insert(*number, (pod, header.destination)).is_some() {
                        faults.add(RECORD, format!("connection {number} passed twice"));
                    }
                }
                other => faults.add(RECORD, format!("{} for {}: {other:?}", pod.name, header.destination)),
            }
        }
    }
    for connection in connections {
        let Ok(via) = connection.via else { continue };
        match relayed.remove(&connection.number) {
            Some((pod, to)) if pod.has(via) && to == connection.to => {}
            found => {
                faults.add(RECORD, format!("{}: {found:?} instead of {via}, {}", named(connection), connection.to))
            }
        }
    }
    for (number, (pod, destination)) in relayed {
        faults.add(RECORD, format!("{} saw connection {number} to {destination}, which nobody made", pod.name));
    }
}

/// ztunnel logged the same connections as the clients, with the same waypoints and without an error.
pub(crate) fn check_log(connections: &[Connection], log: &[Access], pods: &[Pod], faults: &mut Faults) {
    let mut expected: Vec<(SocketAddr, String, String)> = Vec::new();
    for connection in connections {
        let name = |via: &IpAddr| pods.iter().find(|pod| pod.has(*via)).map(|pod| pod.name.to_owned());
        let to = connection.via.as_ref().ok().and_then(name);
        if let (Some(from), Some(to)) = (connection.from, to) {
            expected.push((from, connection.to.to_string(), to));
        }
    }
    let mut found: Vec<(SocketAddr, String, String)> = Vec::new();
    for access in log {
        match &access.error {
            Some(error) => faults.add(LOG, format!("{} to {}: {error}", access.source, access.dialled)),
            None => found.push((access.source, access.dialled.clone(), access.to.clone())),
        }
    }
    expected.sort();
    found.sort();
    if expected != found {
        let missing = expected.iter().filter(|it| found.binary_search(it).is_err()).take(FAULTS_TOLD_MAX);
        let missing: Vec<_> = missing.collect();
        faults.add(LOG, format!("{} connections, {} lines; without a line: {missing:?}", expected.len(), found.len()));
    }
}

fn named(connection: &Connection) -> String {
    let service = SERVICES.get(connection.service).copied().unwrap_or("?");
    format!("connection {} to {service} at {:?}-{:?}", connection.number, connection.begun, connection.ended)
}

#[cfg(test)]
#[path = "verdict/tests.rs"]
mod tests;
