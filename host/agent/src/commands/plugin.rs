//! `wayswitch plugin inspect`: what a component is and what it reads.

use std::collections::HashSet;
use std::io::Write;
use std::process::ExitCode;

use engine::Loaded;
use model::description::Fields;
use model::projection::project;
use serde_json::json;

use super::mesh;
use crate::cli::{InspectFlags, Output};

/// Prints what is known of a component.
pub(crate) fn inspect(flags: &InspectFlags) -> anyhow::Result<ExitCode> {
    let component = mesh::load(flags.file.as_deref(), &flags.settings)?;
    let questions = match questions(flags, &component)? {
        Ok(questions) => questions,
        Err(code) => return Ok(code),
    };
    let mut out = std::io::stdout().lock();
    match flags.output {
        Output::Json => {
            let questions = questions.map(|(rows, distinct)| json!({ "rows": rows, "distinct": distinct }));
            let value = json!({ "facts": component.facts(), "description": **component.description(),
                "questions": questions });
            serde_json::to_writer_pretty(&mut out, &value)?;
            writeln!(out)?;
        }
        Output::Table => {
            print(&mut out, &component)?;
            if let Some((rows, distinct)) = questions {
                writeln!(out, "questions   {distinct} distinct ones for {rows} objects of these manifests")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How many rows the manifests have, if any are given, and how many distinct questions these come down to.
fn questions(flags: &InspectFlags, component: &Loaded) -> anyhow::Result<Result<Option<(usize, usize)>, ExitCode>> {
    if flags.paths.is_empty() {
        return Ok(Ok(None));
    }
    let store = match mesh::read_store(&flags.paths) {
        Ok(store) => store,
        Err(code) => return Ok(Err(code)),
    };
    let rows = project(component.description(), &store);
    let distinct: HashSet<_> = rows.values().map(|row| &row.input).collect();
    Ok(Ok(Some((rows.len(), distinct.len()))))
}

fn print(out: &mut impl Write, component: &Loaded) -> std::io::Result<()> {
    let (facts, said) = (component.facts(), component.description());
    writeln!(out, "name        {} {}", said.name, said.version)?;
    writeln!(out, "world       waypoint-resolver ({})", facts.interface)?;
    writeln!(out, "sha256      {}", facts.digest)?;
    writeln!(out, "size        {} bytes, compiled in {:.0} ms", facts.bytes, facts.compile_ms)?;
    let imports = if facts.type_imports.is_empty() { "nothing".to_owned() } else { facts.type_imports.join(", ") };
    writeln!(out, "imports     {imports} (types only)")?;
    writeln!(out, "candidates  {:?}", said.reach)?;
    for reference in &said.references {
        let namespace = reference.namespace_label.as_deref().unwrap_or("-");
        let inherit = if reference.inherit { ", also of the namespace" } else { "" };
        writeln!(out, "reference   {} (namespace: {namespace}{inherit})", reference.name_label)?;
    }
    for read in &said.reads {
        writeln!(out, "reads       {:?} {}", read.at, read.key)?;
    }
    for (field, cost) in costs(said.fields) {
        writeln!(out, "field       {field}: {cost}")?;
    }
    Ok(())
}

/// What each declared field costs: how it makes questions distinct.
fn costs(fields: Fields) -> Vec<(&'static str, &'static str)> {
    let all = [
        (fields.service_account, "service-account", "one question more per service account that shares all else"),
        (fields.name, "name", "every object is a question of its own"),
        (fields.hosts, "hosts", "every service is a question of its own"),
        (fields.upstream, "upstream", "one question more per choice of the control plane"),
        (fields.endpoints, "endpoints", "questions change with the readiness of waypoints"),
        (fields.node_name, "node-name", "nodes may decide differently"),
        (fields.node_locality, "node-locality", "zones may decide differently"),
    ];
    all.into_iter().filter(|(declared, ..)| *declared).map(|(_, field, cost)| (field, cost)).collect()
}
