//! The label by which ingress gateways go through a waypoint, where it says nothing or cannot be followed (R70-R74).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::decision::WaypointAddress;
use crate::description::Source;
use crate::gateway::GatewayKey;
use crate::object::ObjectKey;

use super::affected::{Affected, gateway_object, namespace_object};
use super::labels::{self, label, own_value, quoted};
use super::survey::Survey;
use super::{Findings, codes};

pub(super) fn check(survey: &Survey<'_>, found: &mut Findings) {
    own_labels(survey, found);
    namespace_labels(survey, found);
    unresolved(survey, found);
}

/// What the label says (R70); none where it is no truth value, which counts as no.
fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn no_truth_value(object: ObjectKey, value: &str, found: &mut Findings) {
    let text =
        format!("{} of {object} is {}, which is no truth value and counts as no", labels::INGRESS, quoted(value));
    let fix = format!("set {} on {object} to true or false", labels::INGRESS);
    found.add(&codes::INGRESS_VALUE, object, label(labels::INGRESS), text, fix);
}

fn own_labels(survey: &Survey<'_>, found: &mut Findings) {
    for row in survey.rows().filter(|row| row.key.kind.is_service()) {
        let Some(value) = own_value(&row.input.labels, labels::INGRESS) else {
            continue;
        };
        let object = row.key.object();
        match truth(value) {
            None => no_truth_value(object, value, found),
            Some(true) if row.asks_nothing() => {
                let text = format!("gateways are to go through the waypoint of {object}, and it has none");
                let fix = format!("name a waypoint for {object}, or remove {}", labels::INGRESS);
                found.add(&codes::INGRESS_UNUSED, object, label(labels::INGRESS), text, fix);
            }
            Some(_) => {}
        }
    }
}

/// A Namespace's label is unused only if no service of it asks for a waypoint.
fn namespace_labels(survey: &Survey<'_>, found: &mut Findings) {
    if !survey.reading.reads(Source::NamespaceLabel, labels::INGRESS) {
        return;
    }
    for namespace in survey.namespaces() {
        let (name, value) = (&namespace.meta.name, namespace.meta.labels.get(labels::INGRESS));
        let fare = survey.fare(name);
        match value.map(|value| (value, truth(value))) {
            Some((value, None)) => no_truth_value(namespace_object(name), value, found),
            Some((_, Some(true))) if fare.services > 0 && fare.bound == 0 && fare.refused == 0 => {
                let object = namespace_object(name);
                let text = format!(
                    "gateways are to go through the waypoints of services of {object}, and none of its services has one"
                );
                let fix = format!("name a waypoint on {object}, or remove {}", labels::INGRESS);
                found.add(&codes::INGRESS_UNUSED, object, label(labels::INGRESS), text, fix);
            }
            _ => {}
        }
    }
}

/// Gateways find a waypoint that is known by IP only through the service with that IP (R74).
fn unresolved(survey: &Survey<'_>, found: &mut Findings) {
    let mut groups: BTreeMap<(GatewayKey, IpAddr), Affected> = BTreeMap::new();
    for row in survey.rows().filter(|row| row.decision.ingress) {
        for target in row.decision.targets() {
            if let Some(WaypointAddress::Ip { ip, .. }) = target.address
                && !survey.is_service_address(ip)
            {
                groups.entry((target.gateway.clone(), ip)).or_default().add(row.key, row.decision);
            }
        }
    }
    for ((gateway, ip), affected) in groups {
        let object = gateway_object(&gateway);
        let text = format!(
            "waypoint {gateway} is known by {ip}, which is no service's address: ingress gateways go direct to {affected}"
        );
        let fix = format!(
            "let status.addresses of Gateway {gateway} have the hostname of its Service, or the Service's cluster IP"
        );
        found
            .add(&codes::INGRESS_UNRESOLVED, object, "status.addresses".to_owned(), text, fix)
            .relating(affected.objects());
    }
}
