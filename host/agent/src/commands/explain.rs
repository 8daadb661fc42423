//! `wayswitch explain`: which rule, object and label decided, what a host means, and which path a connection takes.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use model::table::{RowKey, RowKind};
use model::traffic::{self, Destination};
use serde_json::{Value, json};

use super::mesh::{self, Decided};
use crate::cli::{ExplainAbout, ExplainFlags, HostFlags, MeshFlags, Output, TrafficFlags};
use crate::explanation::{Explainer, RowExplained};

mod print;

/// Prints the reasons for one object, host or connection.
pub(crate) fn run(flags: &ExplainFlags) -> anyhow::Result<ExitCode> {
    match &flags.about {
        Some(ExplainAbout::Host(flags)) => host(flags),
        Some(ExplainAbout::Traffic(flags)) => traffic(flags),
        None => row(flags),
    }
}

fn row(flags: &ExplainFlags) -> anyhow::Result<ExitCode> {
    let (Some(kind), Some(object)) = (flags.kind, &flags.object) else { bail!("KIND and NAMESPACE/NAME are needed") };
    let key = match &flags.namespace {
        Some(namespace) => key_of(kind, &format!("{namespace}/{object}"))?,
        None => key_of(kind, object)?,
    };
    explained(&flags.mesh, |explainer| {
        let mut out = std::io::stdout().lock();
        match (explainer.row(&key), flags.output) {
            (Ok(explained), Output::Json) => json_to(&mut out, &explained.to_json())?,
            (Ok(explained), Output::Table) => {
                print::row(&mut out, &explained)?;
                tell_dropped(&explained);
            }
            (Err(not), output) => match not.unpublished() {
                Some(why) if output == Output::Json => {
                    json_to(&mut out, &json!({ "decisions": [], "unpublished": why }))?
                }
                Some(_) => writeln!(out, "{not}")?,
                None => return Err(not.into()),
            },
        }
        Ok(())
    })
}

fn host(flags: &HostFlags) -> anyhow::Result<ExitCode> {
    let to: Destination = flags.host.parse().map_err(|wrong: String| anyhow::anyhow!(wrong))?;
    let traffic::Dialled::Host(host) = &to.dialled else {
        bail!("{} is an address: `explain traffic --to` takes those", flags.host)
    };
    let namespace = flags.namespace.as_deref().unwrap_or_default().into();
    explained(&flags.mesh, |explainer| {
        let named = traffic::named(explainer.store, &namespace, host);
        let claims = explainer.store.claims_of_host(&named.host);
        let meant = named.row.as_ref().map(|row| explainer.row(row)).transpose()?;
        let mut out = std::io::stdout().lock();
        match flags.output {
            Output::Table => print::host(&mut out, flags.namespace.as_deref(), &named, &claims, meant.as_ref())?,
            Output::Json => {
                let mut value = meant.as_ref().map_or_else(|| json!({ "decisions": [] }), RowExplained::to_json);
                if let Value::Object(fields) = &mut value {
                    let beside = [
                        ("host", json!(named.host)),
                        ("namespace", json!(flags.namespace)),
                        ("meant", json!(named.row)),
                        ("steps", json!(named.steps)),
                        ("claims", json!(claims)),
                    ];
                    fields.extend(beside.map(|(key, value)| (key.to_owned(), value)));
                }
                json_to(&mut out, &value)?;
            }
        }
        if let Some(meant) = &meant {
            tell_dropped(meant);
        }
        Ok(())
    })
}

fn traffic(flags: &TrafficFlags) -> anyhow::Result<ExitCode> {
    let from = flags.from.split_once('/').with_context(|| format!("--from {:?} is not NAMESPACE/POD", flags.from))?;
    explained(&flags.mesh, |explainer| {
        let explained = explainer.path(from, &flags.to)?;
        let mut out = std::io::stdout().lock();
        match flags.output {
            Output::Json => json_to(&mut out, &explained.to_json())?,
            Output::Table => print::path(&mut out, &explained)?,
        }
        Ok(())
    })
}

/// Reads and decides the mesh, then has it explained.
fn explained(
    flags: &MeshFlags,
    explain: impl FnOnce(&Explainer<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mesh = match mesh::read(&flags.paths, &flags.terms) {
        Ok(mesh) => mesh,
        Err(code) => return Ok(code),
    };
    let Decided { store, decider, component, terms } = mesh::decide(&mesh.terms, mesh.store)?;
    explain(&Explainer { store: &store, table: decider.table(), component: &component, terms: &terms })?;
    Ok(ExitCode::SUCCESS)
}

/// `NAMESPACE/NAME`; of an endpoint `NAMESPACE/NAME/ADDRESS`. An address may have slashes: it may be the path of a socket.
fn key_of(kind: RowKind, object: &str) -> anyhow::Result<RowKey> {
    let (namespace, name) = object.split_once('/').with_context(|| format!("{object:?} is not NAMESPACE/NAME"))?;
    let is_part = matches!(kind, RowKind::ServiceEntryEndpoint | RowKind::EndpointSliceEndpoint);
    Ok(match name.split_once('/') {
        Some((name, address)) if is_part => RowKey::endpoint(kind, namespace, name, address),
        None if !is_part => RowKey::new(kind, namespace, name),
        None => bail!("{object:?} is not NAMESPACE/NAME/ADDRESS"),
        Some(_) => bail!("{object:?} is not NAMESPACE/NAME"),
    })
}

fn json_to(out: &mut impl Write, value: &Value) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// What the component promised and does not keep is nothing for the operator to do, but for the author to know.
fn tell_dropped(explained: &RowExplained) {
    for dropped in &explained.dropped {
        let (edit, why) = (&dropped.edit, &dropped.why);
        eprintln!("warning: the component proposes {}={:?}, which is not offered: {why}", edit.key, edit.value);
    }
}
