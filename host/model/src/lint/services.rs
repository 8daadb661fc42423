//! Services and ServiceEntries that are left out, that nobody recognises by an address, or that lose a host.

use std::collections::BTreeMap;

use crate::name::Name;
use crate::object::{Kind, ObjectKey};
use crate::service_entry::{Resolution, ServiceEntry};
use crate::store::RowObject;
use crate::table::{RowKey, RowKind};

use super::Findings;
use super::affected::{Affected, Anchor};
use super::codes::{self, Code};
use super::labels::{self, label, quoted};
use super::survey::{Asked, Survey, pairs};

/// Names in one text.
const NAMED_MAX: usize = 3;

pub(super) fn check(survey: &Survey<'_>, found: &mut Findings) {
    never_recognised(survey, found);
    unresolvable(survey, found);
    left_out_services(survey, found);
    entries(survey, found);
}

/// Bound, and without an address by which a client's connection would be known for it (R33, R37). One finding for all that
/// inherit the same.
fn never_recognised(survey: &Survey<'_>, found: &mut Findings) {
    let mut groups: BTreeMap<(&str, Anchor, String), (Affected, &'static Code)> = BTreeMap::new();
    for row in survey.rows().filter(|row| row.key.kind.is_service() && !row.decision.targets().is_empty()) {
        let code = match survey.store.row(row.key) {
            Some(RowObject::Service(service)) if service.headless => &codes::HEADLESS,
            Some(RowObject::ServiceEntry { entry, hosts, .. })
                if hosts.iter().any(|it| entry.addresses_of(it).is_empty()) =>
            {
                &codes::ENTRY_WITHOUT_ADDRESS
            }
            _ => continue,
        };
        let (anchor, field) = asked_by(survey, &row);
        groups
            .entry((code.id, anchor, field))
            .or_insert_with(|| (Affected::default(), code))
            .0
            .add(row.key, row.decision);
    }
    for ((_, anchor, field), (affected, code)) in groups {
        let object = anchor.object(&affected);
        let by = if anchor.is_namespace() { format!(" (named by {object})") } else { String::new() };
        let (text, fix) = match *code == codes::HEADLESS {
            true => (
                format!("no cluster IP leads to {affected}: clients dial pods and never pass the waypoint{by}"),
                "give the Service a cluster IP; or name a waypoint for workloads on its pods; or opt out with none".to_owned(),
            ),
            false => (
                format!("no address is known for a host of {affected}: connections never pass the waypoint{by}"),
                "add spec.addresses to the ServiceEntry, or a resolution other than NONE for Istio to allocate one; clients \
                 then have to resolve the host through ztunnel".to_owned(),
            ),
        };
        found.add(code, object, field, text, fix).relating(affected.objects());
    }
}

/// Where a row's waypoint is named; the row itself where that is not known.
fn asked_by(survey: &Survey<'_>, row: &Asked<'_>) -> (Anchor, String) {
    match survey.reading.primary.and_then(|pointer| pointer.wish(row.input)) {
        Some(wish) => (wish.anchor(row.key), wish.field(survey.store, row.key)),
        None => (Anchor::of_row(row.key), String::new()),
    }
}

/// Entries that need a waypoint to be resolved at all, where nothing was asked for (R39, R78). A refusal is a finding of
/// its own.
fn unresolvable(survey: &Survey<'_>, found: &mut Findings) {
    for row in survey.rows().filter(|row| row.key.kind == RowKind::ServiceEntry && row.asks_nothing()) {
        let Some(RowObject::ServiceEntry { entry, hosts, .. }) = survey.store.row(row.key) else {
            continue;
        };
        let wildcard = hosts.iter().find(|host| host.starts_with('*'));
        let (why, field) = match (wildcard, entry.resolution) {
            (Some(host), _) => (format!("the wildcard host {}", quoted(host)), "spec.hosts"),
            (None, Resolution::DynamicDns) => ("the resolution DYNAMIC_DNS".to_owned(), "spec.resolution"),
            (None, _) => continue,
        };
        let text = format!("{} has {why} and no waypoint, which alone could resolve it", row.key);
        let primary = survey.reading.primary.map_or(labels::USE_WAYPOINT, |pointer| pointer.name);
        let fix = format!("set {primary} on {}, or write plain hosts with another resolution", row.key);
        found.add(&codes::WILDCARD, row.key.object(), field.to_owned(), text, fix);
    }
}

/// Services that are not published (R32, Q7).
fn left_out_services(survey: &Survey<'_>, found: &mut Findings) {
    for service in survey.services().filter(|it| survey.store.is_discovered(&it.meta.namespace)) {
        let (meta, object) =
            (&service.meta, ObjectKey::new(Kind::Service, &service.meta.namespace, &service.meta.name));
        if let Some(address) = &service.bad_address {
            let text = format!(
                "{object} has the cluster IP {}, which is no address: it is left out, and may crash istiod",
                quoted(address)
            );
            let fix = format!("correct spec.clusterIP and spec.clusterIPs of {object}");
            found.add(&codes::CLUSTER_IP, object.clone(), "spec.clusterIPs".to_owned(), text, fix);
        }
        let wish = survey.reading.primary.and_then(|it| it.written(&pairs(&meta.labels), &meta.namespace, true));
        if let Some(wish) = wish.filter(|wish| service.external_name && !wish.opt_out) {
            let text = format!(
                "{object} is of type ExternalName, which is not part of the mesh: waypoint {} never sees its traffic",
                wish.gateway
            );
            let fix =
                format!("describe the destination with a ServiceEntry that has the label, or remove it from {object}");
            found.add(&codes::EXTERNAL_NAME, object, label(wish.pointer.name), text, fix);
        }
    }
}

/// Entries that are not valid (R36), and those that are and lose hosts (R42).
fn entries(survey: &Survey<'_>, found: &mut Findings) {
    for entry in survey.entries().filter(|it| survey.store.is_discovered(&it.meta.namespace)) {
        let object = ObjectKey::new(Kind::ServiceEntry, &entry.meta.namespace, &entry.meta.name);
        if let Some(address) = &entry.bad_address {
            let text = format!(
                "{object} has the address {}, which is neither IP nor CIDR: all of it is left out",
                quoted(address)
            );
            let fix = format!("correct spec.addresses of {object}");
            found.add(&codes::ENTRY_ADDRESS, object, "spec.addresses".to_owned(), text, fix);
        } else if survey.store.entry_visibility(entry).is_some() {
            lost_hosts(survey, entry, object, found);
        }
    }
}

fn lost_hosts(survey: &Survey<'_>, entry: &ServiceEntry, object: ObjectKey, found: &mut Findings) {
    let (store, namespace) = (survey.store, &entry.meta.namespace);
    let kept: Vec<&Name> = store.hosts_of(entry).collect();
    let lost: Vec<&Name> = entry.hosts.iter().filter(|host| !kept.contains(host)).collect();
    if lost.is_empty() {
        return;
    }
    let winners: Vec<RowKey> = lost.iter().filter_map(|host| store.service_of_host(host, namespace)).collect();
    let claims = lost.iter().zip(&winners).map(|(host, winner)| format!("{} to {winner}", quoted(host)));
    let claims: Vec<String> = claims.take(NAMED_MAX).collect();
    let more = if lost.len() > claims.len() { ", …" } else { "" };
    let rest = match kept.is_empty() {
        true => "; it has no host left, and its endpoints are left out too",
        false => "",
    };
    let text = format!("{object} loses {}{more}: its waypoint does not count for that host{rest}", claims.join(", "));
    let fix = "keep the host in one of them; a Service comes first, then the older entry".to_owned();
    let related: Vec<ObjectKey> = winners.iter().map(RowKey::object).collect();
    found.add(&codes::HOST_LOST, object, "spec.hosts".to_owned(), text, fix).relating(related);
}
