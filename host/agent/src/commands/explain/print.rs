//! Explanations for people.

use std::io::{self, Write};

use model::Decision;
use model::explain::{Finding, Level};
use model::store::HostClaim;
use model::table::RowKey;
use model::traffic::{Leg, Named, Path, Step};

use crate::explanation::{Means, PathExplained, RowExplained};

/// Names of a list that are printed; the rest is counted.
const NAMES_MAX: usize = 5;

pub(crate) fn row(out: &mut impl Write, explained: &RowExplained) -> io::Result<()> {
    let RowExplained { key, row, findings, offers, .. } = explained;
    writeln!(out, "{key}: {}", told(&row.decision))?;
    for finding in findings {
        let Finding { rule, text, decisive, .. } = finding;
        step(out, *decisive, rule, &format!("{}: {text}", place(key, finding)))?;
    }
    changes(out, offers.iter().map(|offer| (&offer.means, told(&offer.promises))))
}

pub(super) fn host(
    out: &mut impl Write,
    namespace: Option<&str>,
    named: &Named,
    claims: &[HostClaim],
    meant: Option<&RowExplained>,
) -> io::Result<()> {
    let clients = match namespace {
        Some(namespace) => format!("clients in {namespace}"),
        None => "clients of namespaces that have none of their own".to_owned(),
    };
    match &named.row {
        Some(row) => writeln!(out, "{} means {row} to {clients}", named.host)?,
        None => writeln!(out, "{} means nothing of the mesh to {clients}", named.host)?,
    }
    steps(out, &named.steps)?;
    for HostClaim { row, standing } in claims {
        writeln!(out, "  {row}: {standing}")?;
    }
    match meant {
        Some(meant) => {
            writeln!(out)?;
            self::row(out, meant)
        }
        None => Ok(()),
    }
}

pub(super) fn path(out: &mut impl Write, explained: &PathExplained) -> io::Result<()> {
    let PathExplained { path, offers, to } = explained;
    writeln!(out, "{} to {to}: {}", path.client.key, verdicts(path))?;
    steps(out, &path.steps)?;
    for leg in &path.legs {
        if path.legs.len() > 1 {
            writeln!(out, "To {}: {}", names(leg), leg.verdict)?;
        }
        steps(out, &leg.steps)?;
    }
    changes(out, offers.iter().map(|offer| (&offer.means, verdicts(&offer.promises))))?;
    path.advice.iter().try_for_each(|advice| writeln!(out, "Hint: {advice}"))
}

fn steps(out: &mut impl Write, steps: &[Step]) -> io::Result<()> {
    steps.iter().try_for_each(|Step { rule, text, decisive }| step(out, *decisive, rule, text))
}

fn step(out: &mut impl Write, decisive: bool, rule: &str, text: &str) -> io::Result<()> {
    let mark = if decisive { '>' } else { ' ' };
    writeln!(out, "{mark} {rule:5} {text}")
}

/// Each change as a command, with what it leads to.
fn changes<'a>(out: &mut impl Write, changes: impl Iterator<Item = (&'a Means, String)>) -> io::Result<()> {
    for (at, (means, then)) in changes.enumerate() {
        if at == 0 {
            writeln!(out, "It would change with one of:")?;
        }
        writeln!(out, "  {}\n    then: {then}", means.command())?;
    }
    Ok(())
}

/// A decision with what is beside the choice.
fn told(decision: &Decision) -> String {
    let mut text = decision.to_string();
    if let Some(second) = &decision.second_reason {
        text.push_str(&format!(", canary refused ({second})"));
    }
    if decision.ingress {
        text.push_str(", gateways too");
    }
    text
}

fn verdicts(path: &Path) -> String {
    match path.verdict() {
        Some(verdict) => verdict.to_string(),
        None => {
            let leg = |leg: &Leg| format!("{} to {}", leg.verdict, names(leg));
            path.legs.iter().map(leg).collect::<Vec<_>>().join("; ")
        }
    }
}

fn names(leg: &Leg) -> String {
    let shown: Vec<String> = leg.to.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    match leg.to.len().saturating_sub(NAMES_MAX) {
        _ if shown.is_empty() => "what the mesh does not know".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Where a finding was made, with the key and value that were read.
fn place(key: &RowKey, finding: &Finding) -> String {
    let gateway = finding.gateway.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let place = match finding.at {
        Level::Subject => key.to_string(),
        Level::Namespace => format!("Namespace {}", key.namespace),
        Level::Gateway => format!("Gateway {gateway}"),
        Level::GatewayClass => format!("GatewayClass of {gateway}"),
        Level::Listener => format!("listener of {gateway}"),
        Level::Node => "node".to_owned(),
        Level::Settings => "settings".to_owned(),
    };
    match (&*finding.key, &finding.value) {
        ("", _) => place,
        (key, None) => format!("{place} {key}"),
        (key, Some(value)) => format!("{place} {key}={value}"),
    }
}
