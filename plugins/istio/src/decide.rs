//! Istio's waypoint selection as plain functions over a batch: the same code natively and in the component. Readiness of
//! pods, label selectors, visibility and hostnames are facts from the host; nothing here looks anything up elsewhere.

mod edits;
mod keys;
mod outcome;
mod reference;
mod selection;
mod settings;
mod steps;
mod trace;
mod waypoint;

#[cfg(test)]
mod tests;

use wayswitch_sdk::{Batch, Decision, Description, Explanation, Failure, Reach, Reference, Row, Source};

use outcome::Outcome;
use selection::{NamespaceFacts, Selection};
use settings::Settings;
use trace::Trace;
use waypoint::Waypoint;

/// What is read: the labels and annotations of the selection, and nothing that makes inputs distinct without need.
///
/// # Errors
/// One line for the operator, where a key or value of the settings is not known.
pub fn describe(settings: &str) -> Result<Description, String> {
    settings::parse(settings)?;
    let description = Description::new("istio", env!("CARGO_PKG_VERSION"))
        .reading(
            Source::SubjectLabel,
            &[
                keys::USE_WAYPOINT,
                keys::USE_WAYPOINT_NAMESPACE,
                keys::INGRESS_USE_WAYPOINT,
                keys::MANAGED,
                keys::GATEWAY_NAME,
            ],
        )
        .reading(
            Source::NamespaceLabel,
            &[keys::USE_WAYPOINT, keys::USE_WAYPOINT_NAMESPACE, keys::INGRESS_USE_WAYPOINT],
        )
        .reading(Source::GatewayLabel, &[keys::WAYPOINT_FOR])
        .reading(Source::ClassLabel, &[keys::WAYPOINT_FOR])
        .reading(Source::GatewayAnnotation, &[keys::INBOUND_BINDING])
        .reading(Source::ClassAnnotation, &[keys::INBOUND_BINDING]);
    let used = Reference {
        name_label: keys::USE_WAYPOINT.to_owned(),
        namespace_label: Some(keys::USE_WAYPOINT_NAMESPACE.to_owned()),
        inherit: true,
    };
    // A waypoint's own instances name their Gateway, always in their own namespace (R45).
    let instance_of = Reference { name_label: keys::GATEWAY_NAME.to_owned(), namespace_label: None, inherit: false };
    Ok(Description { references: vec![used, instance_of], reach: Reach::Referenced, ..description })
}

/// One decision for each subject, in their order.
///
/// # Errors
/// Settings that [`describe`] would refuse, and indexes that name nothing; a host sends neither.
pub fn resolve(batch: &Batch) -> Result<Vec<Decision>, Failure> {
    let facts = Facts::of(batch)?;
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
    let facts = Facts::of(batch)?;
    let selection = facts.selection(batch.only_row()?)?;
    let mut findings = Trace::written();
    let outcome = selection.run(&mut findings);
    let decision = outcome.decision(&selection, &mut findings);
    if matches!(outcome, Outcome::Bound { .. }) {
        // Every check passed, so what settled it is that somebody asked.
        findings.settled_by(steps::REFERENCE);
    }
    Ok(Explanation { decision, findings: findings.into_list(), edits: edits::edits(&outcome, &selection) })
}

/// What is the same for many rows, worked out once for a batch.
struct Facts<'a> {
    batch: &'a Batch,
    settings: Settings,
    /// By gateway index; none: not in the set of waypoints (R1, R2).
    waypoints: Vec<Option<Waypoint<'a>>>,
    /// By namespace index.
    namespaces: Vec<NamespaceFacts<'a>>,
}

impl<'a> Facts<'a> {
    fn of(batch: &'a Batch) -> Result<Self, Failure> {
        Ok(Self {
            batch,
            settings: settings::parse(&batch.settings).map_err(Failure::new)?,
            waypoints: batch.gateways.iter().map(Waypoint::of).collect(),
            namespaces: batch.namespaces.iter().map(NamespaceFacts::of).collect(),
        })
    }

    fn selection(&self, row: Row<'a>) -> Result<Selection<'a, '_>, Failure> {
        let at = usize::try_from(row.subject.namespace).ok();
        let namespace = at.and_then(|at| self.namespaces.get(at));
        let namespace = namespace.ok_or_else(|| Failure::at(row.index, "its namespace is not in the batch"))?;
        let waypoints = &self.waypoints;
        Ok(Selection { batch: self.batch, row, namespace, waypoints, settings: &self.settings })
    }
}
