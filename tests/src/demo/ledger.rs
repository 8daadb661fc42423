//! What every set of rules said, and whether connections went as the rules said that the kernel recorded for them.
//!
//! It translates the agent's decisions by itself and shares no code with the agent for it, so that a wrong translation
//! on the way into the kernel is found.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
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

/// Reads an answer of `/decisions`; returns the number of the rules with it.
pub(super) fn read_decisions(answer: &Value) -> Result<(u64, Decisions)> {
    let rules = answer["rules"].as_u64().context("decisions without rules")?;
    ensure!(answer["more"] == 0, "the agent left decisions out");
    let mut decisions = Decisions::new();
    for decision in answer["decisions"].as_array().context("no decisions")? {
        let text = |name: &str| {
            decision[name]
                .as_str()
                .with_context(|| format!("a decision without {name}"))
        };
        let row = format!("{} {}/{}", text("kind")?, text("namespace")?, text("name")?);
        let decided = read_decision(decision).with_context(|| format!("the decision about {row}"))?;
        decisions.insert(row, decided);
    }
    Ok((rules, decisions))
}

fn read_decision(decision: &Value) -> Result<Decided> {
    let choice = decision["choice"].as_str().context("no choice")?;
    let (expected, what) = match choice {
        "direct" | "keep" => (Expected::Direct, choice.to_owned()),
        "blocked" => (Expected::Denied(REFUSED), choice.to_owned()),
        "waypoint" => {
            let waypoint = &decision["waypoint"];
            let (namespace, name) = (waypoint["namespace"].as_str(), waypoint["name"].as_str());
            let name = format!(
                "{}/{}",
                namespace.context("a nameless waypoint")?,
                name.context("a nameless waypoint")?
            );
            (waypoint_reached(decision, &name)?, name)
        }
        other => bail!("the choice {other:?} is not known"),
    };
    let said = match decision["reason"].as_str() {
        // It adds nothing to the waypoint's name.
        Some("WaypointAccepted") | None => what,
        Some(reason) => format!("{what} ({reason})"),
    };
    Ok(Decided { expected, said })
}

fn waypoint_reached(decision: &Value, name: &str) -> Result<Expected> {
    let waypoint = &decision["waypoint"];
    if let Some(address) = waypoint["address"].as_str() {
        let ip: IpAddr = address.parse().context("the waypoint's address is none")?;
        let port = waypoint["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .context("no port")?;
        return Ok(Expected::Waypoint {
            name: name.to_owned(),
            at: SocketAddr::new(ip, port),
        });
    }
    match decision["onUnreachable"].as_str() {
        Some("fail") => Ok(Expected::Denied(UNREACHABLE)),
        Some("bypass") => Ok(Expected::Direct),
        other => bail!("onUnreachable {other:?} is not known"),
    }
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
            let destination = destinations
                .get(observation.destination)
                .context("an unknown destination")?;
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
                verdict
                    .complaints
                    .push(format!("{count} x {}: {what}", destination.dial));
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
        let decided = table
            .get(row)
            .ok_or_else(|| Wrong::Mixed(format!("rules {} do not have {row}", record.rules)))?;
        Ok(decided.expected.clone())
    }
}

fn compare(expected: &Expected, destination: &Destination, observation: &Observation) -> Result<(), Wrong> {
    let rules = observation.record.as_ref().map_or(0, |record| record.rules);
    match (&observation.outcome, expected) {
        (Outcome::Denied(errno), Expected::Denied(expected)) if errno == expected => Ok(()),
        (Outcome::Denied(errno), Expected::Denied(expected)) => Err(Wrong::Mixed(format!(
            "error {errno}, but rules {rules} refuse with {expected}"
        ))),
        (Outcome::Denied(errno), expected) => Err(Wrong::Failed(format!("error {errno}; rules {rules}: {expected:?}"))),
        (Outcome::Broken(what), _) => Err(Wrong::Failed(what.clone())),
        (Outcome::Arrived(greeting), expected) => {
            let (name, at) = match expected {
                Expected::Direct => (ITSELF, destination.plain()),
                Expected::Waypoint { name, at } => (name.as_str(), *at),
                Expected::Denied(_) => {
                    return Err(Wrong::Mixed(format!(
                        "arrived at {}, but rules {rules} refuse it",
                        greeting.name
                    )));
                }
            };
            if (greeting.name.as_str(), greeting.at) != (name, at) {
                let Greeting {
                    name: found, at: place, ..
                } = greeting;
                return Err(Wrong::Mixed(format!(
                    "arrived at {found} ({place}); rules {rules} say {name} ({at})"
                )));
            }
            if greeting.told != observation.record {
                let (told, own) = (&greeting.told, &observation.record);
                return Err(Wrong::Mixed(format!(
                    "the peer was told {told:?}, the socket says {own:?}"
                )));
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
