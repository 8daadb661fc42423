//! Istio's waypoint selection as plain functions over a batch: the same code natively and in the component. Readiness of
//! pods, label selectors, visibility and hostnames are facts from the host; nothing here looks anything up elsewhere.

mod canary;
mod edits;
mod keys;
mod outcome;
mod reference;
mod required;
mod selection;
mod settings;
mod steps;
mod trace;
mod version;
mod waypoint;

#[cfg(test)]
mod tests;

use wayswitch_sdk::{Batch, Decision, Description, Explanation, Failure, Reach, Reference, Row, Source};

use outcome::Outcome;
use selection::{NamespaceFacts, Said, Selection};
use settings::{Required, Settings};
use trace::Trace;
use waypoint::Waypoint;

/// Each key of Istio's with its place, and since when it is read there.
const READS: [(u8, Source, &str); 18] = [
    (version::ALWAYS, Source::SubjectLabel, keys::USE_WAYPOINT),
    (version::ALWAYS, Source::SubjectLabel, keys::MANAGED),
    (version::ALWAYS, Source::SubjectLabel, keys::GATEWAY_NAME),
    (version::ALWAYS, Source::NamespaceLabel, keys::USE_WAYPOINT),
    (version::ALWAYS, Source::GatewayLabel, keys::WAYPOINT_FOR),
    (version::ALWAYS, Source::ClassLabel, keys::WAYPOINT_FOR),
    (version::ALWAYS, Source::GatewayAnnotation, keys::INBOUND_BINDING),
    (version::ALWAYS, Source::ClassAnnotation, keys::INBOUND_BINDING),
    (version::NAMESPACE_LABEL, Source::SubjectLabel, keys::USE_WAYPOINT_NAMESPACE),
    (version::NAMESPACE_LABEL, Source::NamespaceLabel, keys::USE_WAYPOINT_NAMESPACE),
    (version::INGRESS_LABEL, Source::SubjectLabel, keys::INGRESS_USE_WAYPOINT),
    (version::INHERITED_INGRESS, Source::NamespaceLabel, keys::INGRESS_USE_WAYPOINT),
    (version::CANARY, Source::SubjectLabel, keys::CANARY),
    (version::CANARY, Source::SubjectLabel, keys::CANARY_NAMESPACE),
    (version::CANARY, Source::SubjectAnnotation, keys::CANARY_WEIGHT),
    (version::CANARY, Source::NamespaceLabel, keys::CANARY),
    (version::CANARY, Source::NamespaceLabel, keys::CANARY_NAMESPACE),
    (version::CANARY, Source::NamespaceAnnotation, keys::CANARY_WEIGHT),
];

/// What is read under these settings: the keys of the selection, and nothing that makes inputs distinct without need.
///
/// # Errors
/// One line for the operator, where a key or value of the settings is not known.
pub fn describe(settings: &str) -> Result<Description, String> {
    let settings = settings::parse(settings)?;
    let mut description = Description::new("istio", env!("CARGO_PKG_VERSION"));
    for (since, at, key) in READS {
        if settings.istio.has(since) {
            description = description.reading(at, &[key]);
        }
    }
    if settings.required == Required::Honoured {
        description = description.reading(Source::SubjectLabel, &[keys::REQUIRED]);
        description = description.reading(Source::NamespaceLabel, &[keys::REQUIRED]);
    }
    let reference = |name_label: &str, namespace_label: Option<&str>, inherit| Reference {
        name_label: name_label.to_owned(),
        namespace_label: namespace_label.map(str::to_owned),
        inherit,
    };
    // A waypoint's own instances name their Gateway, always in their own namespace (R45).
    description.references.push(reference(keys::GATEWAY_NAME, None, false));
    if settings.istio.has(version::NAMESPACE_LABEL) {
        description.references.push(reference(keys::USE_WAYPOINT, Some(keys::USE_WAYPOINT_NAMESPACE), true));
    } else {
        // A name and a namespace in one value are no reference that a host could follow.
        description.reach = Reach::All;
    }
    if settings.istio.has(version::CANARY) {
        description.references.push(reference(keys::CANARY, Some(keys::CANARY_NAMESPACE), true));
    }
    Ok(description)
}

/// One decision for each subject, in their order.
///
/// # Errors
/// Settings that [`describe`] would refuse, and indexes that name nothing; a host sends neither.
pub fn resolve(batch: &Batch) -> Result<Vec<Decision>, Failure> {
    let settings = settings::parse(&batch.settings).map_err(Failure::new)?;
    let facts = Facts::of(batch, &settings);
    let mut decisions = Vec::with_capacity(batch.subjects.len());
    let mut nobody = Trace::silent();
    for row in batch.rows() {
        let selection = facts.selection(row?)?;
        let outcome = selection.run(&mut nobody);
        decisions.push(outcome.decision(&selection, &mut nobody));
    }
    Ok(decisions)
}

/// The same run as [`resolve`]'s for the only subject, with each step written down.
///
/// # Errors
/// As [`resolve`]; also when the batch does not hold exactly one subject.
pub fn explain(batch: &Batch) -> Result<Explanation, Failure> {
    let settings = settings::parse(&batch.settings).map_err(Failure::new)?;
    let facts = Facts::of(batch, &settings);
    let selection = facts.selection(batch.only_row()?)?;
    let mut findings = Trace::written();
    let outcome = selection.run(&mut findings);
    let decision = outcome.decision(&selection, &mut findings);
    if matches!(outcome, Outcome::Bound { .. }) {
        // Every check passed, so what settled it is that somebody asked.
        findings.settled_by(steps::REFERENCE);
    }
    let edits = edits::edits(&outcome, &selection, &decision);
    Ok(Explanation { decision, findings: findings.into_list(), edits })
}

/// What is the same for many rows, worked out once for a batch.
struct Facts<'a> {
    batch: &'a Batch,
    settings: &'a Settings,
    /// By gateway index; none: not in the set of waypoints (R1, R2).
    waypoints: Vec<Option<Waypoint<'a>>>,
    /// By namespace index.
    namespaces: Vec<NamespaceFacts<'a>>,
}

impl<'a> Facts<'a> {
    fn of(batch: &'a Batch, settings: &'a Settings) -> Self {
        let of_namespace = |namespace| NamespaceFacts::of(Said::by_namespace(namespace), settings);
        Self {
            batch,
            settings,
            waypoints: batch.gateways.iter().map(|gateway| Waypoint::of(gateway, settings.istio)).collect(),
            namespaces: batch.namespaces.iter().map(of_namespace).collect(),
        }
    }

    fn selection(&self, row: Row<'a>) -> Result<Selection<'a, '_>, Failure> {
        let at = usize::try_from(row.subject.namespace).ok();
        let namespace = at.and_then(|at| self.namespaces.get(at));
        let namespace = namespace.ok_or_else(|| Failure::at(row.index, "its namespace is not in the batch"))?;
        let own = Said::by_subject(row.subject);
        let waypoints = &self.waypoints;
        Ok(Selection { batch: self.batch, row, own, namespace, waypoints, settings: self.settings })
    }
}
