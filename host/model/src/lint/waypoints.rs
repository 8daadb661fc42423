//! Waypoints that are bound and cannot be reached, that serve nothing, that are bound themselves, and hosts that collide
//! behind one. What their listeners and bindings say is looked at in `listeners`.

use std::collections::{BTreeMap, BTreeSet};

use crate::decision::{OnUnreachable, Target, WaypointAddress};
use crate::description::Source;
use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::object::{Kind, ObjectKey};
use crate::service_entry::Resolution;
use crate::store::RowObject;
use crate::table::RowKey;

use super::affected::{Affected, gateway_object, namespace_object};
use super::labels::{self, label, own_value, quoted};
use super::references::{misspelled_type, waypoint_for_texts};
use super::survey::{Asked, Survey, classes};
use super::{Findings, codes};

pub(super) fn check(survey: &Survey<'_>, found: &mut Findings) {
    unreachable(survey, found);
    traffic_types(survey, found);
    bound_waypoints(survey, found);
    collisions(survey, found);
}

/// Why a bound waypoint cannot be reached as it should.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    NoAddress,
    UnknownHost(Name),
}

/// What becomes of connections then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Fail,
    Bypass,
    /// The Gateway reports IPs beside the hostname (R14).
    OtherAddress,
}

fn unreachable(survey: &Survey<'_>, found: &mut Findings) {
    let mut unknown: BTreeMap<(GatewayKey, Name), bool> = BTreeMap::new();
    let mut groups: BTreeMap<(GatewayKey, Why, Effect), Affected> = BTreeMap::new();
    for row in survey.rows() {
        for target in row.decision.targets() {
            let mut is_unknown = |host: &Name| {
                let addresses = || survey.store.addresses_of(&target.gateway.namespace, host);
                *unknown.entry((target.gateway.clone(), host.clone())).or_insert_with(|| addresses().is_empty())
            };
            let why = match &target.address {
                None => Why::NoAddress,
                Some(WaypointAddress::Hostname(host)) if is_unknown(host) => Why::UnknownHost(host.clone()),
                Some(_) => continue,
            };
            let group = (target.gateway.clone(), why, effect(&row, target));
            groups.entry(group).or_default().add(row.key, row.decision);
        }
    }
    for ((gateway, why, effect), affected) in groups {
        report_unreachable(&gateway, &why, effect, &affected, found);
    }
}

fn report_unreachable(gateway: &GatewayKey, why: &Why, effect: Effect, affected: &Affected, found: &mut Findings) {
    let effect = match effect {
        Effect::Fail => format!("connections to {affected} fail"),
        Effect::Bypass => format!("connections to {affected} go past it"),
        Effect::OtherAddress => {
            format!("a node proxy fails connections to {affected}, and only the IPs beside the host can be dialled")
        }
    };
    let namespace = &gateway.namespace;
    let (code, what, fix) = match why {
        Why::NoAddress => (
            &codes::NO_ADDRESS,
            format!("waypoint {gateway} reports no address that is of use"),
            format!(
                "let status.addresses of Gateway {gateway} have an entry of type Hostname, or IPAddress with an IP"
            ),
        ),
        Why::UnknownHost(host) => (
            &codes::HOST_UNKNOWN,
            format!(
                "waypoint {gateway} is known by the host {}, which no service of namespace {namespace} has with an address",
                quoted(host)
            ),
            format!("add the Service of that host to namespace {namespace}, with a cluster IP"),
        ),
    };
    let text = format!("{what}: {effect}");
    let field = "status.addresses".to_owned();
    found.add(code, gateway_object(gateway), field, text, fix).relating(affected.objects());
}

fn effect(row: &Asked<'_>, target: &Target) -> Effect {
    match (target.dial.is_empty(), row.decision.on_unreachable) {
        (false, _) => Effect::OtherAddress,
        (true, OnUnreachable::Fail) => Effect::Fail,
        (true, OnUnreachable::Bypass) => Effect::Bypass,
    }
}

/// Traffic types that are no known word, where no refused row has brought them up already (R4).
fn traffic_types(survey: &Survey<'_>, found: &mut Findings) {
    let mut known: BTreeSet<ObjectKey> =
        found.0.iter().filter(|it| *it.code == codes::WAYPOINT_FOR).map(|it| it.object.clone()).collect();
    let mut slip = |object: ObjectKey, value: &str| {
        if known.insert(object.clone()) {
            let (text, fix) = waypoint_for_texts(&object, value, None);
            found.add(&codes::WAYPOINT_FOR, object, label(labels::WAYPOINT_FOR), text, fix);
        }
    };
    for gateway in survey.waypoints() {
        if let Some((object, value)) = misspelled_type(survey, gateway) {
            slip(object, &value);
        }
    }
    for key in classes(survey.store).filter(|_| survey.reading.reads(Source::ClassLabel, labels::WAYPOINT_FOR)) {
        let class = survey.store.class(&key.name);
        let value = class.and_then(|class| class.meta.labels.get(labels::WAYPOINT_FOR));
        if let Some(value) = value.filter(|value| !matches!(&***value, "service" | "workload" | "all" | "none")) {
            slip(key, value);
        }
    }
}

/// Services of waypoints that are bound like any other (R31, Q6).
fn bound_waypoints(survey: &Survey<'_>, found: &mut Findings) {
    for row in survey.rows() {
        let Some(own) = survey.waypoint_of_service(row.key).filter(|_| !row.decision.targets().is_empty()) else {
            continue;
        };
        let targets: Vec<&GatewayKey> = row.decision.targets().iter().map(|target| &target.gateway).collect();
        let wish = survey.reading.primary.and_then(|pointer| pointer.wish(row.input));
        let field = wish.as_ref().filter(|wish| wish.own).map_or(String::new(), |wish| label(wish.pointer.name));
        let inherited = match &wish {
            Some(wish) if !wish.own => format!(", which Namespace {} names", row.key.namespace),
            _ => String::new(),
        };
        let (code, text) = match targets.contains(&own) {
            true => (
                &codes::BOUND_TO_ITSELF,
                format!(
                    "{} is the Service of waypoint {own} and bound to that waypoint{inherited}: it is to pass itself",
                    row.key
                ),
            ),
            false => (
                &codes::BOUND_TO_ANOTHER,
                format!(
                    "{} is the Service of waypoint {own} and bound to waypoint {}{inherited}",
                    row.key,
                    targets.first().map_or(own, |first| first)
                ),
            ),
        };
        let opt_out = wish.map_or(labels::USE_WAYPOINT, |wish| wish.pointer.name);
        let mut fix = format!("set {opt_out}: none on {}", row.key);
        if own_value(&row.input.labels, labels::MANAGED).is_some() {
            fix.push_str("; or exclude generated Services with the setting exclude-gateways: all");
        }
        let related = targets.into_iter().chain([own]).map(gateway_object);
        let related: Vec<ObjectKey> = related.chain([namespace_object(&row.key.namespace)]).collect();
        found.add(code, row.key.object(), field, text, fix).relating(related);
    }
}

/// A waypoint's configuration knows a host once, whatever the namespace (R101, Q14).
fn collisions(survey: &Survey<'_>, found: &mut Findings) {
    let mut served: BTreeMap<(&GatewayKey, &Name), BTreeSet<&RowKey>> = BTreeMap::new();
    for row in survey.rows().filter(|row| row.key.kind.is_service() && is_configured(survey, row.key)) {
        for target in row.decision.targets() {
            for host in row.hosts {
                served.entry((&target.gateway, host)).or_default().insert(row.key);
            }
        }
    }
    // One finding for everything that the same objects share.
    let mut colliding: BTreeMap<(&GatewayKey, Vec<&RowKey>), Vec<&Name>> = BTreeMap::new();
    for ((gateway, host), keys) in served {
        let namespaces: BTreeSet<&Name> = keys.iter().map(|key| &key.namespace).collect();
        if namespaces.len() > 1 {
            colliding.entry((gateway, keys.into_iter().collect())).or_default().push(host);
        }
    }
    for ((gateway, keys), hosts) in colliding {
        let shown: Vec<String> = keys.iter().take(3).map(ToString::to_string).collect();
        let more = if keys.len() > shown.len() { ", …" } else { "" };
        let first = hosts.first().map_or("", |host| host);
        let further = if hosts.len() > 1 { format!(" (and {} more hosts)", hosts.len() - 1) } else { String::new() };
        let text = format!(
            "waypoint {gateway} serves the host {}{further} for {}{more}, and can be configured for one of them only",
            quoted(first),
            shown.join(", ")
        );
        let fix = "bind one of them to another waypoint, or keep only one of them".to_owned();
        // The object to edit is one of them; the last is as good as any, and not the Service, which comes first.
        if let Some((last, others)) = keys.split_last() {
            let related = others.iter().map(|key| key.object()).chain([gateway_object(gateway)]);
            let field = if last.object().kind == Kind::ServiceEntry { "spec.hosts" } else { "" };
            found.add(&codes::HOST_COLLISION, last.object(), field.to_owned(), text, fix).relating(related);
        }
    }
}

/// Whether a waypoint is configured with it at all (R102).
fn is_configured(survey: &Survey<'_>, key: &RowKey) -> bool {
    match survey.store.row(key) {
        Some(RowObject::ServiceEntry { entry, .. }) => {
            entry.resolution != Resolution::DynamicDns || !entry.mesh_internal
        }
        _ => true,
    }
}
