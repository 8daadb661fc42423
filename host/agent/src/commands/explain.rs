//! `wayswitch explain`: which rule, object and label decided.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use model::explain::{Explanation, Level};
use model::projection::node_input;
use model::table::{Row, RowKey};
use serde_json::json;

use super::mesh;
use crate::cli::{ExplainFlags, Output};
use crate::output;

/// Prints the reasons for one object.
pub(crate) fn run(flags: &ExplainFlags) -> anyhow::Result<ExitCode> {
    let (namespace, name) =
        flags.object.split_once('/').with_context(|| format!("{:?} is not NAMESPACE/NAME", flags.object))?;
    let key = RowKey::new(flags.kind, namespace, name);
    let store = match mesh::read(&flags.mesh) {
        Ok(store) => store,
        Err(code) => return Ok(code),
    };
    let decided = mesh::decide(&flags.mesh, store)?;
    let Some(row) = decided.decider.table().get(&key) else {
        bail!("{key} has no decision: it is not in the manifests, or Istio does not publish it");
    };
    let node = node_input(decided.component.description(), decided.store.facts());
    let network = &decided.store.facts().network;
    let (_, explanation) = decided
        .component
        .explain(&decided.terms.settings, &node, network, &row.input)
        .with_context(|| format!("{key} cannot be explained"))?;
    let mut out = std::io::stdout().lock();
    match flags.output {
        Output::Json => {
            let value = json!({ "decision": output::decision(&key, row), "findings": explanation.findings,
                "edits": explanation.edits });
            serde_json::to_writer_pretty(&mut out, &value)?;
            writeln!(out)?;
        }
        Output::Table => print(&mut out, &key, row, &explanation)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, key: &RowKey, row: &Row, explanation: &Explanation) -> std::io::Result<()> {
    writeln!(out, "{key}: {}", row.decision)?;
    for finding in &explanation.findings {
        let mark = if finding.decisive { '>' } else { ' ' };
        let place = place(key, finding.at, finding.gateway.as_ref());
        let value = finding.value.as_ref().map_or_else(String::new, |value| format!("={value}"));
        let what = if finding.key.is_empty() { String::new() } else { format!(" {}{value}", finding.key) };
        writeln!(out, "{mark} {:5} {place}{what}: {}", finding.rule, finding.text)?;
    }
    if !explanation.edits.is_empty() {
        writeln!(out, "It would change with one of:")?;
    }
    for edit in &explanation.edits {
        let place = place(key, edit.at, edit.gateway.as_ref());
        match &edit.value {
            Some(value) => writeln!(out, "  {place}: set {}={value}", edit.key)?,
            None => writeln!(out, "  {place}: remove {}", edit.key)?,
        }
    }
    Ok(())
}

fn place(key: &RowKey, level: Level, gateway: Option<&model::gateway::GatewayKey>) -> String {
    let gateway = gateway.map_or_else(|| "-".to_owned(), ToString::to_string);
    match level {
        Level::Subject => key.to_string(),
        Level::Namespace => format!("Namespace {}", key.namespace),
        Level::Gateway => format!("Gateway {gateway}"),
        Level::GatewayClass => format!("GatewayClass of {gateway}"),
        Level::Listener => format!("listener of {gateway}"),
        Level::Node => "node".to_owned(),
        Level::Settings => "settings".to_owned(),
    }
}
