//! What the demo shows: tables for people, and the same as JSON.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::destinations::Destination;
use super::ledger::{Decisions, Verdict, difference};
use super::observation::{Noted, Observation, Outcome};
use super::scene::{Refused, Swap};
use super::stand_ins::ITSELF;
use super::traffic::Tally;

/// Everything that is reported at the end.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) swaps: Vec<Swap>,
    pub(super) refused: Vec<Refused>,
    pub(super) verdict: Verdict,
    pub(super) kernel: bool,
}

impl Report {
    /// Writes the report as JSON; the form is fixed.
    pub(super) fn write_json(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(&self.json())?;
        text.push('\n');
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn json(&self) -> Value {
        let rules: Vec<Value> = self.swaps.iter().map(swap_json).collect();
        let refusal = |refused: &Refused| json!({ "component": refused.component, "stage": refused.stage, "reason": refused.reason });
        let refused: Vec<Value> = self.refused.iter().map(refusal).collect();
        let seen = &self.verdict;
        json!({ "rules": rules, "refused": refused, "kernel": self.kernel,
            "connections": { "made": seen.made, "failed": seen.failed, "mixed": seen.mixed,
                "by_waypoint": seen.by_waypoint, "passed": seen.passed, "denied": seen.denied } })
    }
}

fn swap_json(swap: &Swap) -> Value {
    json!({ "rules": swap.rules, "component": swap.component, "digest": swap.digest, "decisions": swap.decisions,
        "changed": swap.changed, "swap_ms": swap.swap_ms })
}

/// Prints rows in columns as wide as they need.
fn print_table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("   {}", cells.join("  ").trim_end());
    }
}

/// Chapter 2: one line per destination.
pub(super) fn destinations(tally: &Tally, destinations: &[Destination]) {
    let mut rows = vec![["CONNECT TO", "OBJECT", "WHAT IT IS", "WHAT HAPPENED"].map(str::to_owned).to_vec()];
    for (number, destination) in destinations.iter().enumerate() {
        let seen = tally.keys().find(|observation| observation.destination == number);
        let object = destination.row.clone().unwrap_or_else(|| "-".to_owned());
        let happened = seen.map_or_else(|| "not tried".to_owned(), happened);
        rows.push(vec![destination.dial.to_string(), object, destination.about.to_owned(), happened]);
    }
    print_table(&rows);
    let greetings = tally.keys().filter_map(|observation| match &observation.outcome {
        Outcome::Arrived(greeting) if greeting.name != ITSELF => greeting.told.as_ref().map(|told| (greeting, told)),
        _ => None,
    });
    for (greeting, told) in greetings.take(1) {
        let Noted { destination, rules, revision, rule_id } = told;
        println!(
            "   A waypoint asks the kernel where a connection was meant to go. {}, for instance, was told:",
            greeting.name
        );
        println!("   {destination}, by rules {rules} at revision {revision} of the mesh, row {rule_id}.");
    }
}

fn happened(observation: &Observation) -> String {
    match &observation.outcome {
        Outcome::Denied(errno) => {
            let error = io::Error::from_raw_os_error(*errno).to_string();
            format!("refused: {}", error.split(" (os error").next().unwrap_or_default())
        }
        Outcome::Arrived(greeting) if greeting.name == ITSELF => "passed untouched".to_owned(),
        Outcome::Arrived(greeting) => format!("-> {}", greeting.name),
        Outcome::Broken(what) => what.clone(),
    }
}

/// Chapter 5: where two sets of rules differ.
pub(super) fn decisions(before: (&str, &Decisions), after: (&str, &Decisions)) {
    let rows = difference(before.1, after.1);
    let same = before.1.len().saturating_sub(rows.len());
    println!(
        "   Decisions before (rules {}) and after (rules {}): {} differ, {same} are the same.",
        before.0,
        after.0,
        rows.len()
    );
    let mut table = vec![["OBJECT", "BEFORE", "AFTER"].map(str::to_owned).to_vec()];
    table.extend(rows.into_iter().map(|(row, before, after)| [row, before, after].map(str::to_owned).to_vec()));
    print_table(&table);
    println!();
}

/// Chapter 5: every swap with its time.
pub(super) fn swaps(swaps: &[Swap], labels: &[(u64, String)], connections: Option<&BTreeMap<u64, u64>>) {
    println!(
        "   Swaps: changed decisions, then milliseconds from the end of the quiet time until all is in force, and of that"
    );
    println!("   for loading (compiling), deciding, preparing the kernel; microseconds between kernel and readers.");
    let head = ["RULES", "COMPONENT", "CHANGED", "TOTAL MS", "LOAD", "DECIDE", "PREPARE", "WINDOW US"];
    let mut head: Vec<String> = head.map(str::to_owned).to_vec();
    head.extend(connections.map(|_| "CONNECTIONS".to_owned()));
    let mut rows = vec![head];
    for swap in swaps {
        let label = labels.iter().find(|(rules, _)| *rules == swap.rules).map_or(&swap.component, |(_, label)| label);
        let mut row = vec![swap.rules.to_string(), label.clone(), format!("{} of {}", swap.changed, swap.decisions)];
        row.extend([swap.swap_ms, swap.load_ms, swap.shadow_ms].map(|ms| format!("{ms:.1}")));
        row.extend([format!("{:.2}", swap.prepare_ms), format!("{:.0}", swap.window_us)]);
        row.extend(connections.map(|by_rules| by_rules.get(&swap.rules).copied().unwrap_or(0).to_string()));
        rows.push(row);
    }
    print_table(&rows);
    println!();
}

/// Chapter 4: one refusal.
pub(super) fn refusal(refused: &Refused) {
    let Refused { component, stage, reason, limit, active_rules } = refused;
    let limit = limit.as_ref().map_or_else(String::new, |limit| format!(" [limit: {limit}]"));
    println!("   {component}: refused at {stage}: {reason}{limit}; rules {active_rules} stay");
}

/// Chapter 5: what became of all connections.
pub(super) fn connections(seen: &Verdict) {
    let waypoints: Vec<String> = seen.by_waypoint.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("   Connections: {} in all, under {} different rules.", seen.made, seen.by_rules.len());
    println!("     at waypoints: {}", waypoints.join(", "));
    println!("     passed untouched: {}, refused as they should be: {}", seen.passed, seen.denied);
    println!("     failed though they should not: {}, decided by a mix of rules: {}", seen.failed, seen.mixed);
    for complaint in &seen.complaints {
        println!("     ! {complaint}");
    }
}
