//! `wayswitch lint`: what is wrong with a mesh, with file and line. What counts as wrong is in the model; here is how it is
//! printed, and what the exit status says.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use model::lint::{Finding, Severity, disagreements};
use model::sink::Decided;
use model::{Kind, ObjectKey};

use super::mesh::{self, Place};
use crate::cli::{Deny, LintFlags, LintOutput, RuleSeverity};

mod json;
mod sarif;
mod table;

/// A finding, and where its object is written; none where no manifest has it, for instance a Namespace that is missing.
struct Located<'a> {
    finding: Finding,
    place: Option<&'a Place>,
    /// The related objects, each with its place.
    related: Vec<(ObjectKey, Option<&'a Place>)>,
}

/// Prints the findings. The exit status is 1 if one of them is an error, or a warning where these are denied.
pub(crate) fn run(flags: &LintFlags) -> anyhow::Result<ExitCode> {
    let mesh = match mesh::read(&flags.mesh.paths, &flags.mesh.terms) {
        Ok(mesh) => mesh,
        Err(code) => return Ok(code),
    };
    let said = mesh.conditions();
    let decided = mesh::decide(&mesh.terms, mesh.store)?;
    let description = decided.component.description();
    let (store, table) = (&decided.store, decided.decider.table());
    let mut found = model::lint::lint(store, table, description);
    found.extend(disagreements(Decided { store, table }, &said, !description.reads_node()));
    found.sort_by_cached_key(|it| (it.object.clone(), it.code.id, it.field.clone(), it.text.clone()));
    if let Some(namespace) = flags.namespace.as_deref() {
        // What is wrong with the Namespace itself is wrong there, too.
        found.retain(|it| {
            *it.object.namespace == *namespace || it.object == ObjectKey::new(Kind::Namespace, "", namespace)
        });
    }
    let found = located(graded(found, &flags.rule_severity), &mesh.places);
    let mut out = std::io::stdout().lock();
    match flags.output {
        LintOutput::Json => json::print(&mut out, &found)?,
        LintOutput::Sarif => sarif::print(&mut out, &found)?,
        LintOutput::Table => {
            let colours = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            table::print(&mut out, &found, colours)?;
        }
    }
    out.flush()?;
    let worst = found.iter().map(|it| it.finding.severity).max();
    let denied = if flags.deny == Some(Deny::Warnings) { Severity::Warning } else { Severity::Error };
    Ok(if worst >= Some(denied) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The findings as severe as the user wants them; the last word on a code counts.
fn graded(found: Vec<Finding>, wanted: &[RuleSeverity]) -> Vec<Finding> {
    let grade = |mut finding: Finding| match wanted.iter().rev().find(|it| it.code == finding.code) {
        None => Some(finding),
        Some(RuleSeverity { severity: None, .. }) => None,
        Some(RuleSeverity { severity: Some(severity), .. }) => {
            finding.severity = *severity;
            Some(finding)
        }
    };
    found.into_iter().filter_map(grade).collect()
}

/// By file and line, the worst of one object first; what is written nowhere comes last.
fn located(found: Vec<Finding>, places: &HashMap<ObjectKey, Place>) -> Vec<Located<'_>> {
    let locate = |finding: Finding| {
        let related = finding.related.iter().map(|key| (key.clone(), places.get(key))).collect();
        Located { place: places.get(&finding.object), finding, related }
    };
    let mut found: Vec<Located<'_>> = found.into_iter().map(locate).collect();
    // Stable: what is equal here stays in the model's order.
    found.sort_by_cached_key(|it| {
        let place = it.place.map(|place| (place.file.clone(), place.line));
        (place.is_none(), place, it.finding.object.clone(), Reverse(it.finding.severity))
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &str, name: &str) -> Finding {
        let code = model::lint::code(id).unwrap();
        Finding {
            code,
            severity: code.severity,
            object: ObjectKey::new(model::Kind::Service, "shop", name),
            related: Vec::new(),
            field: String::new(),
            text: String::new(),
            fix: String::new(),
        }
    }

    #[test]
    fn the_last_word_on_a_severity_counts() {
        let wanted: Vec<RuleSeverity> =
            ["waypoint-missing=off", "waypoint-missing=info", "refused=off"].map(|it| it.parse().unwrap()).into();
        let found = vec![finding("waypoint-missing", "a"), finding("refused", "a"), finding("attachment-denied", "a")];
        let graded: Vec<_> = graded(found, &wanted).into_iter().map(|it| (it.code.id, it.severity)).collect();
        assert_eq!(graded, [("waypoint-missing", Severity::Info), ("attachment-denied", Severity::Error)]);
    }

    #[test]
    fn findings_are_in_the_order_of_the_files_and_those_without_come_last() {
        let place = |file: &str, line| Place { file: file.into(), line };
        let key = |name: &str| ObjectKey::new(model::Kind::Service, "shop", name);
        let places = HashMap::from([
            (key("a"), place("2.yaml", 1)),
            (key("b"), place("1.yaml", 9)),
            (key("c"), place("1.yaml", 10)),
        ]);
        let found = ["nowhere", "c", "a", "b"].map(|name| finding("refused", name)).into();
        let names: Vec<_> = located(found, &places).into_iter().map(|it| it.finding.object.name.to_string()).collect();
        assert_eq!(names, ["b", "c", "a", "nowhere"]);
    }
}
