//! What every set of rules said, and whether connections went as the rules said that the kernel recorded for them.
//!
//! It translates the agent's decisions by itself and shares no code with the agent for it, so that a wrong translation
//! on the way into the kernel is found.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::destinations::Destination;
use super::observation::{Greeting, Noted, Observation, Outcome};
use super::stand_ins::ITSELF;
use super::traffic::Tally;

/// `ECONNREFUSED` on Linux: what a row gets that is blocked.
const REFUSED: i32 = 111;
/// `EHOSTUNREACH` on Linux: what a row gets whose waypoint has no address.
const UNREACHABLE: i32 = 113;

/// Complaints that are kept for people to read; the numbers count all.
const COMPLAINTS_MAX: usize = 10;

/// What should happen to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// They arrive where they wanted to.
    Direct,
    /// `connect` fails with this error number.
    Denied(i32),
    /// They arrive at this waypoint.
    Waypoint { name: String, at: SocketAddr },
}

/// A decision as far as the demo prints and compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) expected: Expected,
    /// For people: the waypoint's name or the choice, and the reason.
    pub(super) said: String,
}

/// All decisions under one set of rules, by the name of the row.
pub(super) type Decisions = BTreeMap<String, Decided>;

/// An answer of `/decisions`, as far as it is compared.
#[derive(Deserialize)]
struct Answer {
    rules: u64,
    more: u64,
    decisions: Vec<Decision>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Decision {
    kind: String,
    namespace: String,
    name: String,
    choice: Choice,
    waypoint: Option<Waypoint>,
    on_unreachable: OnUnreachable,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Waypoint {
    namespace: String,
    name: String,
    address: Option<IpAddr>,
    port: u16,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Keep,
    Direct,
    Blocked,
    Waypoint,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnUnreachable {
    Fail,
    Bypass,
}

/// Reads an answer of `/decisions`; returns the number of the rules with it.
pub(super) fn read_decisions(answer: Value) -> Result<(u64, Decisions)> {
    let answer: Answer = serde_json::from_value(answer).context("the agent's answer to /decisions")?;
    ensure!(answer.more == 0, "the agent left {} decisions out", answer.more);
    let mut decisions = Decisions::new();
    for decision in &answer.decisions {
        let row = format!("{} {}/{}", decision.kind, decision.namespace, decision.name);
        let decided = decided(decision).with_context(|| format!("the decision about {row}"))?;
        decisions.insert(row, decided);
    }
    Ok((answer.rules, decisions))
}

fn decided(decision: &Decision) -> Result<Decided> {
    let (expected, what) = match decision.choice {
        Choice::Keep => (Expected::Direct, "keep".to_owned()),
        Choice::Direct => (Expected::Direct, "direct".to_owned()),
        Choice::Blocked => (Expected::Denied(REFUSED), "blocked".to_owned()),
        Choice::Waypoint => {
            let waypoint = decision.waypoint.as_ref().context("it names no waypoint")?;
            let name = format!("{}/{}", waypoint.namespace, waypoint.name);
            let expected = match (waypoint.address, decision.on_unreachable) {
                (Some(ip), _) => Expected::Waypoint { name: name.clone(), at: SocketAddr::new(ip, waypoint.port) },
                (None, OnUnreachable::Fail) => Expected::Denied(UNREACHABLE),
                (None, OnUnreachable::Bypass) => Expected::Direct,
            };
            (expected, name)
        }
    };
    let said = match decision.reason.as_deref() {
        // It adds nothing to the waypoint's name.
        Some("WaypointAccepted") | None => what,
        Some(reason) => format!("{what} ({reason})"),
    };
    Ok(Decided { expected, said })
}

/// The decisions under all rules there were, by the rules' numbers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tables: BTreeMap<u64, Decisions>,
}

/// What became of all connections.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Tried, whatever came of it.
    pub(super) made: u64,
    /// Failed, although their rules let them go somewhere.
    pub(super) failed: u64,
    /// Contradict the rules that the kernel recorded for them.
    pub(super) mixed: u64,
    /// Arrived untouched, as their rules say.
    pub(super) passed: u64,
    /// Were refused, as their rules say.
    pub(super) denied: u64,
    /// Arrived at a waypoint, as their rules say.
    pub(super) by_waypoint: BTreeMap<String, u64>,
    /// Connections under each set of rules. Those to unknown destinations have none.
    pub(super) by_rules: BTreeMap<u64, u64>,
    /// The first of what is wrong, in words.
    pub(super) complaints: Vec<String>,
}

/// What is wrong with one connection.
enum Wrong {
    Failed(String),
    Mixed(String),
}

impl Ledger {
    /// Remembers what these rules say.
    pub(super) fn add(&mut self, rules: u64, decisions: Decisions) {
        self.tables.insert(rules, decisions);
    }

    /// What a set of rules says.
    pub(super) fn decisions(&self, rules: u64) -> Option<&Decisions> {
        self.tables.get(&rules)
    }

    /// Compares every connection with the rules that decided about it.
    pub(super) fn judge(&self, tally: &Tally, destinations: &[Destination]) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        for (observation, count) in tally {
            let destination = destinations.get(observation.destination).context("an unknown destination")?;
            verdict.made += count;
            if let Some(record) = &observation.record {
                *verdict.by_rules.entry(record.rules).or_default() += count;
            }
            let judged = self.expected(destination, observation.record.as_ref());
            let judged = judged.and_then(|expected| compare(&expected, destination, observation).map(|()| expected));
            let (counter, what) = match judged {
                Ok(Expected::Direct) => (&mut verdict.passed, None),
                Ok(Expected::Denied(_)) => (&mut verdict.denied, None),
                Ok(Expected::Waypoint { name, .. }) => (verdict.by_waypoint.entry(name).or_default(), None),
                Err(Wrong::Failed(what)) => (&mut verdict.failed, Some(what)),
                Err(Wrong::Mixed(what)) => (&mut verdict.mixed, Some(what)),
            };
            *counter += count;
            if let Some(what) = what
                && verdict.complaints.len() < COMPLAINTS_MAX
            {
                verdict.complaints.push(format!("{count} x {}: {what}", destination.dial));
            }
        }
        Ok(verdict)
    }

    /// What should have happened by the rules that the record names; without a record, if no rules have a row for it.
    fn expected(&self, destination: &Destination, record: Option<&Noted>) -> Result<Expected, Wrong> {
        let (row, record) = match (&destination.row, record) {
            (None, None) => return Ok(Expected::Direct),
            (Some(row), Some(record)) => (row, record),
            (Some(row), None) => return Err(Wrong::Mixed(format!("no rule was found, though all rules have {row}"))),
            (None, Some(record)) => return Err(Wrong::Mixed(format!("rules {} have no such row", record.rules))),
        };
        if record.destination != destination.plain() {
            return Err(Wrong::Mixed(format!("recorded for {}", record.destination)));
        }
        let table = self.tables.get(&record.rules);
        let table = table.ok_or_else(|| Wrong::Mixed(format!("there are no rules {}", record.rules)))?;
        let decided =
            table.get(row).ok_or_else(|| Wrong::Mixed(format!("rules {} do not have {row}", record.rules)))?;
        Ok(decided.expected.clone())
    }
}

fn compare(expected: &Expected, destination: &Destination, observation: &Observation) -> Result<(), Wrong> {
    let rules = observation.record.as_ref().map_or(0, |record| record.rules);
    match (&observation.outcome, expected) {
        (Outcome::Denied(errno), Expected::Denied(expected)) if errno == expected => Ok(()),
        (Outcome::Denied(errno), Expected::Denied(expected)) => {
            Err(Wrong::Mixed(format!("error {errno}, but rules {rules} refuse with {expected}")))
        }
        (Outcome::Denied(errno), expected) => Err(Wrong::Failed(format!("error {errno}; rules {rules}: {expected:?}"))),
        (Outcome::Broken(what), _) => Err(Wrong::Failed(what.clone())),
        (Outcome::Arrived(greeting), expected) => {
            let (name, at) = match expected {
                Expected::Direct => (ITSELF, destination.plain()),
                Expected::Waypoint { name, at } => (name.as_str(), *at),
                Expected::Denied(_) => {
                    return Err(Wrong::Mixed(format!("arrived at {}, but rules {rules} refuse it", greeting.name)));
                }
            };
            if (greeting.name.as_str(), greeting.at) != (name, at) {
                let Greeting { name: found, at: place, .. } = greeting;
                return Err(Wrong::Mixed(format!("arrived at {found} ({place}); rules {rules} say {name} ({at})")));
            }
            if greeting.told != observation.record {
                let (told, own) = (&greeting.told, &observation.record);
                return Err(Wrong::Mixed(format!("the peer was told {told:?}, the socket says {own:?}")));
            }
            Ok(())
        }
    }
}

/// Rows on which two sets of rules differ: name, before, after.
pub(super) fn difference<'a>(before: &'a Decisions, after: &'a Decisions) -> Vec<(&'a str, &'a str, &'a str)> {
    let said = |decisions: &'a Decisions, row: &str| decisions.get(row).map_or("-", |decided| decided.said.as_str());
    let rows: BTreeSet<&str> = before.keys().chain(after.keys()).map(String::as_str).collect();
    let rows = rows.into_iter().map(|row| (row, said(before, row), said(after, row)));
    rows.filter(|(_, before, after)| before != after).collect()
}

#[cfg(test)]
mod tests;
