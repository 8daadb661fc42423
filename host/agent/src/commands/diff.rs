//! `wayswitch diff`: what two meshes, or two ways to decide one, decide differently.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use model::Table;
use model::decision::{Decision, OnUnreachable, WaypointAddress};
use model::difference::{Change, Difference, Differing, counts};
use model::table::Row;
use serde_json::{Value, json};

use super::mesh::part::rows_of;
use super::mesh::{self, Mesh};
use super::stop::Stop;
use crate::capture::{Capture, Header, LearnedRows};
use crate::cli::{DiffFlags, Output, TermFlags};
use crate::output;

/// Prints what differs.
pub(crate) fn run(flags: &DiffFlags) -> anyhow::Result<ExitCode> {
    let (before, after) = match sides(flags) {
        Ok(sides) => sides,
        Err(stop) => return stop.end(flags.exit_code),
    };
    let namespace = flags.namespace.as_deref();
    let of_namespace = |table: &Table| namespace.map_or_else(|| table.clone(), |namespace| rows_of(table, namespace));
    let difference = Difference::between(&of_namespace(&before.table), &of_namespace(&after.table));
    let told = told(before, after, of_namespace);
    let mut out = std::io::stdout().lock();
    match flags.output {
        Output::Json => {
            let mut value = document(&difference, flags.summary);
            if let (Some(told), Value::Object(fields)) = (&told, &mut value) {
                fields.insert("upstream".to_owned(), document(told, flags.summary));
            }
            serde_json::to_writer_pretty(&mut out, &value)?;
            writeln!(out)?;
        }
        Output::Table => {
            print(&mut out, &difference, flags.summary)?;
            if let Some(told) = &told {
                writeln!(out, "As decided on what a control plane told:")?;
                print(&mut out, told, flags.summary)?;
            }
        }
    }
    let is_same = difference.is_empty() && told.is_none_or(|it| it.is_empty());
    out.flush()?;
    Ok(if flags.exit_code && !is_same { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Decisions of a side.
struct Side {
    table: Table,
    /// Those on what a control plane told; none: this is no capture as it was decided, and nobody knows.
    learned: Option<LearnedRows>,
}

/// What differs of the decisions on what a control plane told, if there are any and both sides know theirs.
fn told(before: Side, after: Side, of_namespace: impl Fn(&Table) -> Table) -> Option<Difference> {
    let count: usize = [&before.learned, &after.learned].into_iter().flatten().map(LearnedRows::len).sum();
    let table = |learned: LearnedRows| {
        let mut table = Table::new(1, 0);
        for (key, learned) in learned {
            table.set(key, Some(learned.row));
        }
        of_namespace(&table)
    };
    match (before.learned, after.learned) {
        _ if count == 0 => None,
        (Some(before), Some(after)) => Some(Difference::between(&table(before), &table(after))),
        _ => {
            eprintln!(
                "note: {count} decisions on what a control plane told are not compared: that takes two captures, as they \
                 were decided"
            );
            None
        }
    }
}

/// The decisions before and after. What was decided in a capture counts as it was, unless a flag says how to decide;
/// manifests that are compared with a capture are decided by the rules of that.
fn sides(flags: &DiffFlags) -> Result<(Side, Side), Stop> {
    let terms = &flags.terms;
    let [before, after] = flags.between.as_slice() else { return one_mesh(flags) };
    let (before, after) = ([before.clone()], [after.clone()]);
    let old = mesh::read_decided(&before, terms)?;
    let new = mesh::read_decided(&after, terms)?;
    let like = old.as_ref().or(new.as_ref()).map(|capture| capture.header.clone());
    let old = decided(old, &before, terms, like.as_ref())?;
    let new = decided(new, &after, terms, like.as_ref())?;
    Ok((old, new))
}

/// One mesh, decided in two ways. It is read once: what a cluster changes meanwhile makes no difference.
fn one_mesh(flags: &DiffFlags) -> Result<(Side, Side), Stop> {
    let captured = mesh::read_decided(&flags.paths, &flags.terms)?;
    let before = mesh::read(&flags.paths, &flags.terms)?;
    let after = before.under(&flags.with.applied(&flags.terms))?;
    let old = match captured {
        Some(Capture { table, learned, .. }) => Side { table, learned: Some(learned) },
        None => Side { table: table(before)?, learned: None },
    };
    Ok((old, Side { table: table(after)?, learned: None }))
}

fn table(mesh: Mesh) -> anyhow::Result<Table> {
    Ok(mesh::decide(&mesh.terms, mesh.store)?.decider.table().clone())
}

fn decided(
    captured: Option<Capture>,
    paths: &[PathBuf],
    flags: &TermFlags,
    like: Option<&Header>,
) -> Result<Side, Stop> {
    if let Some(Capture { table, learned, .. }) = captured {
        return Ok(Side { table, learned: Some(learned) });
    }
    Ok(Side { table: table(mesh::read_like(paths, flags, like)?)?, learned: None })
}

fn document(difference: &Difference, summary: bool) -> Value {
    let flow = |((from, to), rows): ((_, _), usize)| {
        let (from, to): (model::difference::Way, model::difference::Way) = (from, to);
        json!({ "from": from.to_string(), "to": to.to_string(), "rows": rows })
    };
    let namespace = |(namespace, rows): (_, Vec<&Differing>)| {
        let namespace: model::Name = namespace;
        let changes: Vec<Value> = rows.iter().filter(|_| !summary).map(|row| change(row)).collect();
        json!({ "namespace": namespace, "counts": counts(rows), "changes": changes })
    };
    json!({
        "rowsDiffering": difference.rows.len(),
        "rowsInBoth": difference.in_both,
        "counts": difference.counts(),
        "flows": difference.flows().into_iter().map(flow).collect::<Vec<_>>(),
        "namespaces": difference.by_namespace().into_iter().map(namespace).collect::<Vec<_>>(),
    })
}

fn change(row: &Differing) -> Value {
    let side = |side: &Option<Row>| {
        side.as_ref().map(|side| {
            let mut answer = output::answer(row.key.kind, &side.decision);
            if let Value::Object(fields) = &mut answer {
                fields.insert("hosts".to_owned(), json!(side.subject.hosts));
                fields.insert("addresses".to_owned(), json!(*side.subject.addresses));
            }
            answer
        })
    };
    json!({
        "kind": row.key.kind,
        "namespace": row.key.namespace,
        "name": row.key.name,
        "address": row.key.part,
        "change": row.change,
        "exposes": row.change.exposes(),
        "before": side(&row.before),
        "after": side(&row.after),
    })
}

/// Objects that the first line names.
const LOST_NAMED_MAX: usize = 5;

pub(super) fn print(out: &mut impl Write, difference: &Difference, summary: bool) -> std::io::Result<()> {
    print_lost(out, difference)?;
    for (namespace, rows) in difference.by_namespace() {
        writeln!(out, "Namespace {namespace}: {}", in_words(&counts(rows.iter().copied())))?;
        if summary {
            continue;
        }
        let width = rows.iter().map(|row| row.key.to_string().len()).max().unwrap_or(0);
        for row in rows {
            let (mark, object) = (mark(row.change), row.key.to_string());
            writeln!(out, "{mark:2} {object:width$}  {}: {} -> {}", row.change, old(row), new(row))?;
        }
    }
    let flows = difference.flows();
    if !flows.is_empty() {
        writeln!(out, "Moves:")?;
    }
    for ((from, to), rows) in flows {
        writeln!(out, "{rows:8}  {from} -> {to}")?;
    }
    let (differing, in_both) = (difference.rows.len(), difference.in_both);
    let words = in_words(&difference.counts());
    let colon = if words.is_empty() { "" } else { ": " };
    writeln!(out, "{differing} rows differ, {in_both} are in both{colon}{words}")
}

/// What nobody asked for, and nobody is told of elsewhere, comes before everything else.
fn print_lost(out: &mut impl Write, difference: &Difference) -> std::io::Result<()> {
    let lost = difference.rows.iter().filter(|row| row.change == Change::LosesWaypoint);
    let lost: Vec<String> = lost.map(|row| row.key.to_string()).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let more = lost.len().saturating_sub(LOST_NAMED_MAX);
    let named = lost.iter().take(LOST_NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    writeln!(out, "!! without a waypoint now, although asking for one: {named}{more}")
}

/// What may go past a waypoint now that could not before stands out, most of all what nobody asked for.
fn mark(change: Change) -> &'static str {
    match change {
        Change::LosesWaypoint => "!!",
        change if change.exposes() => "!",
        _ => "",
    }
}

fn in_words(counts: &BTreeMap<Change, usize>) -> String {
    counts.iter().map(|(change, count)| format!("{count} {change}")).collect::<Vec<_>>().join(", ")
}

fn old(row: &Differing) -> String {
    side(row.change, row.before.as_ref())
}

fn new(row: &Differing) -> String {
    side(row.change, row.after.as_ref())
}

/// One side, with what the change is about where the decision alone does not show it.
fn side(change: Change, row: Option<&Row>) -> String {
    let Some(row) = row else { return "nothing".to_owned() };
    let decision = &*row.decision;
    match change {
        Change::MayBypass | Change::MustNotBypass => {
            let else_what = match decision.on_unreachable {
                OnUnreachable::Fail => "or fails",
                OnUnreachable::Bypass => "or bypasses",
            };
            format!("{decision} {else_what}")
        }
        Change::Ingress => {
            format!("{decision} {}", if decision.ingress { "with gateways" } else { "without gateways" })
        }
        Change::Tunnel => match decision.tunnel {
            None => "no tunnel".to_owned(),
            Some(tunnel) => format!("{:?}/{}", tunnel.protocol, tunnel.port),
        },
        Change::Address => addresses(decision),
        Change::Subject => {
            let addresses = row.subject.addresses.iter().map(ToString::to_string);
            let all: Vec<String> = row.subject.hosts.iter().map(ToString::to_string).chain(addresses).collect();
            if all.is_empty() { "none".to_owned() } else { all.join(" ") }
        }
        Change::Reason => {
            let second =
                decision.second_reason.as_ref().map_or_else(String::new, |reason| format!(", second: {reason}"));
            format!("{decision}{second}")
        }
        _ => decision.to_string(),
    }
}

fn addresses(decision: &Decision) -> String {
    let at = decision.targets().iter().map(|target| {
        let address = match &target.address {
            None => "no address".to_owned(),
            Some(WaypointAddress::Hostname(hostname)) => hostname.to_string(),
            Some(WaypointAddress::Ip { ip, .. }) => ip.to_string(),
        };
        let dial: Vec<String> = target.dial.iter().map(ToString::to_string).collect();
        let dial = if dial.is_empty() { "nowhere".to_owned() } else { dial.join(" ") };
        format!("{} at {address} ({dial})", target.gateway)
    });
    at.collect::<Vec<_>>().join(", ")
}
