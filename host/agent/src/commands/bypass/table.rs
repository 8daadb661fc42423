//! The ways past waypoints for people: each destination with its open and closed holes, then a line for each namespace.

use std::io::{Result, Write};

use model::bypass::{Clients, Destination, Fix, Hole, OnlyThrough, Severity};

use super::summaries;

/// Namespaces of clients that are named.
const NAMESPACES_MAX: usize = 5;

pub(super) fn print(out: &mut impl Write, found: &[Destination]) -> Result<()> {
    for destination in found {
        writeln!(out, "{}, {}", destination.what, way(destination))?;
        for hole in &destination.holes {
            print_hole(out, destination, hole)?;
        }
        if let Some(policy) = &destination.policy {
            print_policy(out, policy)?;
        }
        if destination.open().next().is_none() {
            writeln!(out, "  no open way past it is known")?;
        }
    }
    print_summaries(out, found)
}

fn way(destination: &Destination) -> String {
    match destination.decision.targets() {
        [] => destination.decision.to_string(),
        _ => format!("through {}", destination.decision),
    }
}

fn print_hole(out: &mut impl Write, destination: &Destination, hole: &Hole) -> Result<()> {
    let state = if hole.closed { "closed" } else { severity(hole.severity) };
    let detail = if hole.detail.is_empty() { String::new() } else { format!(" ({})", hole.detail) };
    writeln!(out, "  {state:6}  {:18} {:4} {}{detail}", hole.code, hole.rule, hole.code.text())?;
    if hole.closed {
        let by: Vec<String> = destination.guard.by.iter().map(ToString::to_string).collect();
        return writeln!(out, "            by {}", by.join(", "));
    }
    if !hole.clients.is_empty() {
        writeln!(out, "            clients: {}", clients(&hole.clients))?;
    }
    hole.fixes.iter().try_for_each(|fix| writeln!(out, "            fix: {}", in_words(fix, destination)))
}

fn in_words(fix: &Fix, destination: &Destination) -> String {
    match (fix, &destination.policy) {
        (Fix::Policy, Some(policy)) => {
            format!("apply AuthorizationPolicy {}/{} (-o yaml prints it)", policy.namespace, policy.name)
        }
        _ => fix.to_string(),
    }
}

fn print_policy(out: &mut impl Write, policy: &OnlyThrough) -> Result<()> {
    let named = |rows: Vec<String>| rows.join(", ");
    if policy.assumed {
        writeln!(
            out,
            "  note: no instance of a waypoint is known, so the policy assumes an account of the Gateway's name"
        )?;
    }
    if !policy.in_the_way.is_empty() {
        let others = named(policy.in_the_way.iter().map(ToString::to_string).collect());
        writeln!(out, "  note: the policy alone would not do, narrow or remove {others}")?;
    }
    if !policy.cuts_off.is_empty() {
        let services = named(policy.cuts_off.iter().map(ToString::to_string).collect());
        writeln!(out, "  note: with the policy nobody could use {services}: no waypoint is in front of it")?;
    }
    Ok(())
}

fn clients(clients: &Clients) -> String {
    let mut namespaces: Vec<_> = clients.namespaces.iter().collect();
    namespaces.sort_by_key(|(_, pods)| std::cmp::Reverse(**pods));
    let more = namespaces.len().saturating_sub(NAMESPACES_MAX);
    let named = namespaces.iter().take(NAMESPACES_MAX).map(|(name, pods)| match pods {
        0 => name.to_string(),
        pods => format!("{name} {pods}"),
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more namespaces"));
    }
    let examples: Vec<String> = clients.examples.iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect();
    match clients.pods {
        0 => format!("whatever runs in {text}"),
        1 => format!("Pod {}", examples.join("")),
        pods if pods == examples.len() => format!("{pods} Pods: {}", examples.join(", ")),
        pods => format!("{pods} Pods ({text}), for instance {}", examples.join(", ")),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
    }
}

fn print_summaries(out: &mut impl Write, found: &[Destination]) -> Result<()> {
    let summaries = summaries(found);
    if summaries.is_empty() {
        return writeln!(out, "nothing here is meant to be reached through a waypoint");
    }
    let width = summaries.keys().map(|name| name.len()).max().unwrap_or(0).max("NAMESPACE".len());
    writeln!(out, "{:width$}  DESTINATIONS  TIGHT  HIGH  MEDIUM  LOW  CLOSED", "NAMESPACE")?;
    for (namespace, it) in summaries {
        let open = |severity| it.open.get(&severity).copied().unwrap_or(0);
        let (high, medium, low) = (open(Severity::High), open(Severity::Medium), open(Severity::Low));
        let (all, tight, closed) = (it.destinations, it.tight, it.closed);
        writeln!(out, "{namespace:width$}  {all:12}  {tight:5}  {high:4}  {medium:6}  {low:3}  {closed:6}")?;
    }
    Ok(())
}
