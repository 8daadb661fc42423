//! `wayswitch explain`: which rule, object and label decided, what a host means, and which path a connection takes.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use model::table::{RowKey, RowKind};
use model::traffic::{self, Destination};
use serde_json::{Value, json};

use super::mesh::{self, Decided};
use crate::capture::{self, LearnedRow, LearnedRows};
use crate::cli::{ExplainAbout, ExplainFlags, HostFlags, MeshFlags, Output, TrafficFlags};
use crate::config::admin_address;
use crate::explanation::{Explainer, NotExplained, RowExplained};
use crate::{learned, output};

pub(crate) mod print;

/// Of an agent's explanation; it is some kilobytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

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
    if let Some(admin) = &flags.admin {
        if flags.mesh.terms.is_given() {
            bail!("an agent has decided already: flags that say how to decide need a mesh, -f");
        }
        return of_agent(admin, &key, flags.output);
    }
    explained(&flags.mesh, |explainer, learned| {
        let mut out = std::io::stdout().lock();
        let told: Vec<_> = learned.iter().filter(|(own, _)| is_of(own, &key)).collect();
        let explained = explainer.row(&key);
        let is_told = !told.is_empty() && !matches!(explained, Err(NotExplained::Failed(..)));
        match (explained, flags.output) {
            (explained, Output::Json) if is_told => {
                let mut value = explained.map_or_else(|_| json!({ "decisions": [] }), |it| it.to_json());
                if let Value::Object(fields) = &mut value {
                    fields.insert("upstream".to_owned(), told.into_iter().map(captured_json).collect());
                }
                json_to(&mut out, &value)?;
            }
            (explained, Output::Table) if is_told => {
                if let Ok(explained) = explained {
                    print::row(&mut out, &explained)?;
                }
                told.into_iter().try_for_each(|it| captured(&mut out, it))?;
            }
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

/// Whether a decision of a capture is about the object; of a ServiceEntry there may be one for each host.
fn is_of(own: &RowKey, key: &RowKey) -> bool {
    let is_it = own.kind == key.kind && own.namespace == key.namespace && own.name == key.name;
    is_it && key.part.as_ref().is_none_or(|part| own.part.as_ref() == Some(part))
}

/// A decision on what a control plane told, as it was captured: why the component chose it is not in a capture.
fn captured(out: &mut impl Write, (key, learned): (&RowKey, &LearnedRow)) -> std::io::Result<()> {
    let LearnedRow { row, upstream, refused } = learned;
    writeln!(out, "{key} (told by the control plane, as captured): {}", row.decision)?;
    let mut remarks = learned::remarks(&row.decision, upstream, refused.as_ref(), row.degraded.as_deref(), None);
    remarks.push("why the component chose it is not in a capture: ask the agent, with --admin".to_owned());
    remarks.iter().try_for_each(|remark| writeln!(out, "  {:5} {remark}", "-"))
}

fn captured_json((key, learned): (&RowKey, &LearnedRow)) -> Value {
    let LearnedRow { row, upstream, refused } = learned;
    let mut value = output::answer(key.kind, &row.decision);
    let beside = [
        ("row", json!(key.to_string())),
        ("source", json!(learned::SOURCE)),
        ("revision", json!(row.revision)),
        ("degraded", json!(row.degraded)),
        ("upstream", output::answer(key.kind, upstream)),
        ("refused", json!(refused.as_ref().map(|it| output::answer(key.kind, it)))),
    ];
    if let Value::Object(fields) = &mut value {
        fields.extend(beside.map(|(key, value)| (key.to_owned(), value)));
    }
    value
}

/// What a running agent says; it also knows what a control plane told it.
fn of_agent(admin: &str, key: &RowKey, output: Output) -> anyhow::Result<ExitCode> {
    let format = if output == Output::Json { "json" } else { "text" };
    let mut path = format!("/explain?format={format}");
    let part = key.part.as_deref().map(|part| ("part", part));
    let kind = key.kind.to_string();
    let object = [("kind", kind.as_str()), ("namespace", &key.namespace), ("name", &key.name)];
    for (name, value) in object.into_iter().chain(part) {
        path.push_str(&format!("&{name}={}", escaped(value)));
    }
    let mut answer = capture::ask(&admin_address(admin)?, &path)?;
    let mut text = String::new();
    answer.by_ref().take(ANSWER_BYTES_MAX).read_to_string(&mut text).context("the agent's answer cannot be read")?;
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => json_to(&mut out, &serde_json::from_str(&text).context("the agent's answer is no JSON")?)?,
        Output::Table => out.write_all(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// As a value in a query: what may mean something else there is written as bytes.
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

fn host(flags: &HostFlags) -> anyhow::Result<ExitCode> {
    let to: Destination = flags.host.parse().map_err(|wrong: String| anyhow::anyhow!(wrong))?;
    let traffic::Dialled::Host(host) = &to.dialled else {
        bail!("{} is an address: `explain traffic --to` takes those", flags.host)
    };
    let namespace = flags.namespace.as_deref().unwrap_or_default().into();
    explained(&flags.mesh, |explainer, _| {
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
    let from = match (&flags.namespace, flags.from.split_once('/')) {
        (Some(namespace), None) => (namespace.as_str(), flags.from.as_str()),
        (None, Some(from)) => from,
        (Some(_), Some(_)) => bail!("--from {:?} has a namespace already: leave out --namespace", flags.from),
        (None, None) => bail!("--from {:?} is not NAMESPACE/POD: add the namespace, or --namespace", flags.from),
    };
    explained(&flags.mesh, |explainer, _| {
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
    explain: impl FnOnce(&Explainer<'_>, &LearnedRows) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mesh = match mesh::read(&flags.paths, &flags.terms) {
        Ok(mesh) => mesh,
        Err(code) => return Ok(code),
    };
    let Decided { store, decider, component, terms } = mesh::decide(&mesh.terms, mesh.store)?;
    let explainer = Explainer { store: &store, table: decider.table(), component: &component, terms: &terms };
    explain(&explainer, &mesh.learned)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_value_of_the_question() {
        assert_eq!(escaped("Kubernetes//Pod/shop/cart-1"), "Kubernetes//Pod/shop/cart-1");
        assert_eq!(escaped("a b&c=d#%é"), "a%20b%26c%3Dd%23%25%C3%A9");
    }

    #[test]
    fn a_decision_is_of_an_object_by_its_name_and_part() {
        let own = RowKey::endpoint(RowKind::ServiceEntry, "shop", "books", "books.example");
        let of = |part: &str| is_of(&own, &RowKey::endpoint(RowKind::ServiceEntry, "shop", "books", part));
        assert!(is_of(&own, &RowKey::new(RowKind::ServiceEntry, "shop", "books")));
        assert!(of("books.example") && !of("other.example"));
        assert!(!is_of(&own, &RowKey::new(RowKind::Service, "shop", "books")));
    }
}
