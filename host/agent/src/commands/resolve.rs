//! `wayswitch resolve`: decides everything in some manifests once. Its JSON is the conformance contract.

use std::io::Write;
use std::process::ExitCode;

use model::Table;

use super::mesh;
use crate::cli::{Output, ResolveFlags};
use crate::output;

/// Prints the decisions.
pub(crate) fn run(flags: &ResolveFlags) -> anyhow::Result<ExitCode> {
    let mesh = match mesh::read(&flags.mesh.paths, &flags.mesh.terms) {
        Ok(mesh) => mesh,
        Err(code) => return Ok(code),
    };
    let decided = mesh::decide(&mesh.terms, mesh.store)?;
    let mut out = std::io::stdout().lock();
    match flags.output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &output::decisions(decided.decider.table()))?;
            writeln!(out)?;
        }
        Output::Table => print(&mut out, decided.decider.table())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, table: &Table) -> std::io::Result<()> {
    let rows: Vec<[String; 3]> = table
        .iter()
        .map(|(key, row)| {
            let reason = row.decision.reason.as_deref().unwrap_or("-").to_owned();
            let to = match row.decision.targets() {
                [] => output::choice(&row.decision).to_owned(),
                targets => targets.iter().map(|t| t.gateway.to_string()).collect::<Vec<_>>().join(","),
            };
            [key.to_string(), to, reason]
        })
        .collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0).max(8);
    let (first, second) = (width(0), width(1));
    writeln!(out, "{:first$}  {:second$}  REASON", "OBJECT", "WAYPOINT")?;
    for [object, waypoint, reason] in &rows {
        writeln!(out, "{object:first$}  {waypoint:second$}  {reason}")?;
    }
    Ok(())
}
