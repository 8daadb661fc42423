//! The label by which a waypoint is required: what it blocks, and values that are not known. It is ours, not Istio's.

use std::collections::BTreeMap;

use crate::description::Source;
use crate::object::ObjectKey;

use super::affected::{Affected, Anchor, namespace_object};
use super::labels::{self, label, own_value, quoted};
use super::reading::own_label;
use super::references::add;
use super::survey::{REQUIRED, Survey};
use super::{Findings, codes};

pub(super) fn check(survey: &Survey<'_>, found: &mut Findings) {
    let (mut blocked, mut unknown) = (BTreeMap::new(), BTreeMap::new());
    for row in survey.rows() {
        let own = own_value(&row.input.labels, labels::REQUIRED);
        let field = || match own {
            Some(_) => own_label(survey.store, row.key, labels::REQUIRED),
            None => label(labels::REQUIRED),
        };
        if row.decision.reason.as_deref() == Some(REQUIRED) {
            let anchor = match own {
                Some(_) => Anchor::of_row(row.key),
                None => Anchor::namespace(&row.key.namespace),
            };
            add(&mut blocked, (anchor, field()), row.key, row.decision);
        }
        if let Some(value) = own.filter(|value| !is_known(value)) {
            add(&mut unknown, (Anchor::of_row(row.key), field(), value.clone()), row.key, row.decision);
        }
    }
    for ((anchor, field), affected) in blocked {
        let object = anchor.object(&affected);
        let text = format!("{object} requires a waypoint, and nothing names one: {}", affected.traffic());
        let primary = survey.reading.primary.map_or(labels::USE_WAYPOINT, |pointer| pointer.name);
        let fix = format!("set {primary} there, or exempt what needs none with {}: none", labels::REQUIRED);
        found.add(&codes::REQUIRED, object, field, text, fix).relating(affected.objects());
    }
    for ((anchor, field, value), affected) in unknown {
        unknown_value(anchor.object(&affected), field, &value, Some(&affected), found);
    }
    for namespace in survey.namespaces().filter(|_| survey.reading.reads(Source::NamespaceLabel, labels::REQUIRED)) {
        let value = namespace.meta.labels.get(labels::REQUIRED).filter(|value| !is_known(value));
        if let Some(value) = value {
            let object = namespace_object(&namespace.meta.name);
            unknown_value(object, label(labels::REQUIRED), value, None, found);
        }
    }
}

fn is_known(value: &str) -> bool {
    matches!(value, "service" | "workload" | "all" | "true" | "none" | "false")
}

fn unknown_value(object: ObjectKey, field: String, value: &str, affected: Option<&Affected>, found: &mut Findings) {
    let text = format!("{} of {object} is {}, which is not known and counts as all", labels::REQUIRED, quoted(value));
    let fix = format!("set {} on {object} to service, workload, all or none", labels::REQUIRED);
    let related = affected.map(|affected| affected.objects().collect::<Vec<_>>()).unwrap_or_default();
    found.add(&codes::REQUIRED_VALUE, object, field, text, fix).relating(related);
}
