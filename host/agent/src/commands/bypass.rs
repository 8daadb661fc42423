//! `wayswitch bypass`: who gets past a waypoint, and what closes each way. What counts as one is in the model; here is how it
//! is printed, and what the exit status says.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use model::Name;
use model::bypass::{Asked, Destination, Severity, destinations};
use model::table::{RowKey, RowKind, Table};

use super::mesh;
use super::stop::Stop;
use crate::cli::{BypassFlags, BypassOutput};

mod json;
mod table;
mod yaml;

/// Prints the ways past waypoints.
pub(crate) fn run(flags: &BypassFlags) -> anyhow::Result<ExitCode> {
    let found = match found(flags) {
        Ok(found) => found,
        Err(stop) => return stop.end(flags.deny.is_some()),
    };
    let mut out = std::io::stdout().lock();
    match flags.output {
        BypassOutput::Table => table::print(&mut out, &found)?,
        BypassOutput::Yaml => yaml::print(&mut out, &found)?,
        BypassOutput::Json => {
            serde_json::to_writer_pretty(&mut out, &json::document(&found))?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    let worst = found.iter().flat_map(Destination::open).map(|hole| hole.severity).max();
    let denied = flags.deny.is_some_and(|deny| worst >= Some(deny.into()));
    Ok(if denied { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn found(flags: &BypassFlags) -> Result<Vec<Destination>, Stop> {
    let mesh = mesh::read(&flags.mesh.paths, &flags.mesh.terms)?;
    let decided = mesh::decide(&mesh.terms, mesh.store)?;
    let table = decided.decider.table();
    let asked = match (&flags.service, &flags.namespace) {
        (Some(service), None) => Asked::Service(service_named(table, service)?),
        (Some(service), Some(namespace)) => Asked::Service(service_named(table, &format!("{namespace}/{service}"))?),
        (None, Some(namespace)) => Asked::Namespace(namespace.as_str().into()),
        (None, None) => Asked::All,
    };
    Ok(destinations(&decided.store, table, &asked))
}

/// A Service by this name, else a ServiceEntry.
fn service_named(table: &Table, text: &str) -> anyhow::Result<RowKey> {
    let Some((namespace, name)) = text.split_once('/') else { bail!("{text:?} is not NAMESPACE/NAME") };
    let keys = [RowKind::Service, RowKind::ServiceEntry].map(|kind| RowKey::new(kind, namespace, name));
    match keys.into_iter().find(|key| table.get(key).is_some()) {
        Some(key) => Ok(key),
        None => bail!("there is no Service or ServiceEntry {text}, or Istio does not publish it"),
    }
}

/// How many there are in a namespace.
#[derive(Default)]
struct Summary {
    destinations: usize,
    /// Those that nobody gets past.
    tight: usize,
    open: BTreeMap<Severity, usize>,
    closed: usize,
}

fn summaries(found: &[Destination]) -> BTreeMap<&Name, Summary> {
    let mut summaries: BTreeMap<&Name, Summary> = BTreeMap::new();
    for destination in found {
        let summary = summaries.entry(destination.what.namespace()).or_default();
        summary.destinations += 1;
        summary.tight += usize::from(destination.open().next().is_none());
        for hole in &destination.holes {
            if hole.closed {
                summary.closed += 1;
            } else {
                *summary.open.entry(hole.severity).or_default() += 1;
            }
        }
    }
    summaries
}
