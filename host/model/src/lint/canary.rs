//! The second waypoint of a service (R60-R69): refused, named where it does not count, or not what it seems.

use std::collections::{BTreeMap, BTreeSet};

use crate::decision::{Decision, Target};
use crate::description::Source;
use crate::gateway::GatewayKey;
use crate::input::{Input, Visibility};
use crate::name::Name;
use crate::namespace::Namespace;
use crate::object::ObjectKey;
use crate::table::RowKind;

use super::affected::{Affected, Anchor, gateway_object, namespace_object};
use super::codes::{self, Code};
use super::labels::{self, annotation, label, own_value, quoted, value};
use super::reading::{Pointer, Wish, own_label};
use super::references::{add, admit, namespace_names};
use super::survey::{Asked, Survey, pairs};
use super::{Findings, listeners};

pub(super) fn check(survey: &Survey<'_>, found: &mut Findings) {
    refused(survey, found);
    let Some(pointer) = survey.reading.canary else {
        return;
    };
    bound(survey, found);
    misplaced(survey, pointer, found);
    for namespace in survey.namespaces() {
        of_namespace(survey, pointer, namespace, found);
    }
}

/// What findings about refused canaries are told apart by.
type Group = (&'static str, Anchor, String, Option<GatewayKey>, Name);

/// By the reasons that the component gave beside a bound first waypoint (R63).
fn refused(survey: &Survey<'_>, found: &mut Findings) {
    let mut groups: BTreeMap<Group, (Affected, &'static Code)> = BTreeMap::new();
    for row in survey.rows() {
        let Some(reason) = &row.decision.second_reason else {
            continue;
        };
        let wish = survey.reading.canary.and_then(|pointer| wish(survey, pointer, row.input));
        let code = match &**reason {
            "WaypointIsNotReady" => &codes::CANARY_NOT_READY,
            "AttachmentDenied" => &codes::CANARY_DENIED,
            "UnsupportedTrafficType" => &codes::CANARY_TRAFFIC_TYPE,
            "CanarySameAsPrimary" => &codes::CANARY_SAME,
            "CanaryInvalidWeight" => &codes::CANARY_WEIGHT,
            "CrossNamespaceWaypointForbidden" => &codes::CANARY_FOREIGN,
            _ => &codes::REFUSED,
        };
        let (anchor, field) = match &wish {
            _ if *code == codes::CANARY_WEIGHT => weight_at(&row),
            Some(wish) => (wish.anchor(row.key), wish.field(survey.store, row.key)),
            None => (Anchor::of_row(row.key), String::new()),
        };
        let gateway = wish.map(|wish| wish.gateway);
        let group = (code.id, anchor, field, gateway, reason.clone());
        groups.entry(group).or_insert_with(|| (Affected::default(), code)).0.add(row.key, row.decision);
    }
    for ((_, anchor, field, gateway, reason), (affected, code)) in groups {
        let object = anchor.object(&affected);
        let (what, fix) = why_refused(survey, code, gateway.as_ref(), &object, &reason);
        let text = format!("{what}: only the first waypoint is used for {affected}");
        let related = gateway.iter().map(gateway_object).chain(affected.objects());
        let related: Vec<ObjectKey> = related.collect();
        found.add(code, object, field, text, fix).relating(related);
    }
}

fn why_refused(
    survey: &Survey<'_>,
    code: &Code,
    gateway: Option<&GatewayKey>,
    object: &ObjectKey,
    reason: &str,
) -> (String, String) {
    let name = gateway.map_or_else(|| "its canary".to_owned(), |key| format!("canary {key}"));
    let its_gateway = gateway.map_or_else(|| "the canary's Gateway".to_owned(), |key| format!("Gateway {key}"));
    let known = gateway.and_then(|key| survey.store.gateway(key));
    let namespace = if object.namespace.is_empty() { &object.name } else { &object.namespace };
    let named = format!("named by {object}");
    match code.id {
        id if id == codes::CANARY_NOT_READY.id && known.is_some() => (
            format!("{name}, {named}, reports no address"),
            format!("find out why status.addresses of {its_gateway} is empty"),
        ),
        id if id == codes::CANARY_NOT_READY.id => (
            format!("{name}, {named}, does not exist"),
            format!("create the Gateway, or correct {} of {object}", labels::CANARY),
        ),
        id if id == codes::CANARY_DENIED.id => {
            let fix = known.map_or_else(|| code.fix.to_owned(), |gateway| admit(gateway, namespace));
            (format!("{name}, {named}, does not admit namespace {namespace}"), fix)
        }
        id if id == codes::CANARY_TRAFFIC_TYPE.id => {
            let fix = format!("set {}: service or all on {its_gateway}", labels::WAYPOINT_FOR);
            (format!("{name}, {named}, does not serve services"), fix)
        }
        id if id == codes::CANARY_SAME.id => (
            format!("{name}, {named}, is the first waypoint itself"),
            format!("name another Gateway in {} of {object}, or remove it", labels::CANARY),
        ),
        id if id == codes::CANARY_WEIGHT.id => {
            let fix = format!("set {} of {object} to a whole number from 0 to 100", labels::CANARY_WEIGHT);
            (format!("the weight of {name}, written at {object}, is no whole number from 0 to 100"), fix)
        }
        id if id == codes::CANARY_FOREIGN.id => {
            let fix = format!("name a canary of namespace {namespace}, or set canary-visibility: istio");
            (format!("{name}, {named}, is of another namespace, which does not see the entry"), fix)
        }
        _ => (
            format!("the component refuses {name} with the reason {}", quoted(reason)),
            "ask wayswitch explain about it".to_owned(),
        ),
    }
}

/// The canary that counts for a row: the namespace's only where the first waypoint is the namespace's too (R60).
fn wish<'a>(survey: &Survey<'a>, pointer: Pointer<'a>, input: &Input) -> Option<Wish<'a>> {
    let primary = survey.reading.primary.and_then(|primary| primary.wish(input));
    let own_primary = primary.is_some_and(|wish| wish.own && !wish.opt_out);
    pointer.wish(input).filter(|wish| wish.own || !own_primary).filter(|wish| !wish.opt_out)
}

/// Where the weight of a row is written (R62).
fn weight_at(row: &Asked<'_>) -> (Anchor, String) {
    let own = own_value(&row.input.annotations, labels::CANARY_WEIGHT).is_some();
    let anchor = if own { Anchor::of_row(row.key) } else { Anchor::namespace(&row.key.namespace) };
    (anchor, annotation(labels::CANARY_WEIGHT))
}

/// Canaries that are bound, by what may be wrong with them.
#[derive(Default)]
struct Bound {
    /// By where the canary is named.
    weightless: Groups,
    foreign: Groups,
    /// By the canary's Gateway.
    of_other_class: Groups,
    all: Groups,
    untunnelled: Groups,
}

type Groups = BTreeMap<(Anchor, String, GatewayKey), Affected>;

fn bound(survey: &Survey<'_>, found: &mut Findings) {
    let mut bound = Bound::default();
    for row in survey.rows() {
        if let [primary, canary] = row.decision.targets() {
            bound.add(survey, &row, primary, canary);
        }
    }
    let behind_ztunnel = Instances::of(survey);
    let has_tunnel =
        |key: &GatewayKey| survey.store.gateway(key).is_none_or(|it| listeners::binding(survey, it).is_some());
    bound.untunnelled = bound.all.clone();
    bound.untunnelled.retain(|(_, _, key), _| behind_ztunnel.contain(key) && !has_tunnel(key));
    let groups = [
        (&codes::CANARY_WITHOUT_WEIGHT, bound.weightless),
        (&codes::CANARY_FOREIGN, bound.foreign),
        (&codes::ROUTES, bound.of_other_class),
        (&codes::CANARY_ALLOW, bound.all),
        (&codes::CANARY_TUNNEL, bound.untunnelled),
    ];
    for (code, groups) in groups {
        for ((anchor, field, gateway), affected) in groups {
            let (text, fix) = texts_of_bound(code, &affected, &gateway);
            let related: Vec<ObjectKey> = affected.objects().chain([gateway_object(&gateway)]).collect();
            found.add(code, anchor.object(&affected), field, text, fix).relating(related);
        }
    }
}

impl Bound {
    fn add(&mut self, survey: &Survey<'_>, row: &Asked<'_>, primary: &Target, canary: &Target) {
        let wish = survey.reading.canary.and_then(|pointer| wish(survey, pointer, row.input));
        let (anchor, field) = match wish {
            Some(wish) => (wish.anchor(row.key), wish.field(survey.store, row.key)),
            None => (Anchor::of_row(row.key), String::new()),
        };
        let group = (anchor, field, canary.gateway.clone());
        let has_weight = own_value(&row.input.annotations, labels::CANARY_WEIGHT).is_some()
            || value(&row.input.namespace.annotations, labels::CANARY_WEIGHT).is_some();
        if canary.weight == 0 && !has_weight {
            add(&mut self.weightless, group.clone(), row.key, row.decision);
        }
        if row.input.visibility == Visibility::OwnNamespace && canary.gateway.namespace != row.key.namespace {
            add(&mut self.foreign, group, row.key, row.decision);
        }
        let group = (Anchor::Object(gateway_object(&canary.gateway)), String::new(), canary.gateway.clone());
        if class_differs(survey, primary, canary) {
            add(&mut self.of_other_class, group.clone(), row.key, row.decision);
        }
        add(&mut self.all, group, row.key, row.decision);
    }
}

/// Text and fix for canaries that are bound.
fn texts_of_bound(code: &Code, it: &Affected, key: &GatewayKey) -> (String, String) {
    match code.id {
        id if id == codes::CANARY_WITHOUT_WEIGHT.id => (
            format!("the canary {key} of {it} has no weight, which is 0"),
            format!("add the annotation {} beside the label", labels::CANARY_WEIGHT),
        ),
        id if id == codes::CANARY_FOREIGN.id => (
            format!("the canary {key} of {it} is of another namespace, which does not see the entry"),
            "name a canary of the same namespace; the setting canary-visibility: checked refuses others".to_owned(),
        ),
        id if id == codes::ROUTES.id => (
            format!(
                "the canary {key} of {it} is of another class than its first waypoint, and routes only look at the first"
            ),
            format!("give Gateway {key} the class of the first waypoint"),
        ),
        id if id == codes::CANARY_ALLOW.id => (
            format!("the policy by which istiod can allow waypoints by itself leaves out the canary {key} of {it}"),
            format!("if PILOT_AUTO_ALLOW_WAYPOINT_POLICY is relied on, allow the service account of {key} by a policy"),
        ),
        _ => (
            format!(
                "instances of the canary {key} of {it} are behind a ztunnel and have no tunnel: it refuses what is not for them"
            ),
            format!(
                "set {} on Gateway {key}, or take its pods out of the mesh with {}: none",
                labels::INBOUND_BINDING,
                labels::DATAPLANE_MODE
            ),
        ),
    }
}

fn class_differs(survey: &Survey<'_>, primary: &Target, canary: &Target) -> bool {
    let class = |target: &Target| survey.store.gateway(&target.gateway).map(|it| it.class.clone());
    class(primary) != class(canary)
}

/// Gateways with instances whose traffic a ztunnel takes: pods of the mesh that are not Istio's own waypoints (R95).
struct Instances(BTreeSet<GatewayKey>);

impl Instances {
    fn of(survey: &Survey<'_>) -> Self {
        let mut gateways = BTreeSet::new();
        for row in survey.rows().filter(|row| row.key.kind == RowKind::Pod) {
            let Some(pod) = survey.store.pod(&row.key.namespace, &row.key.name) else {
                continue;
            };
            let labels = &pod.meta.labels;
            let Some(name) = labels.get(labels::GATEWAY_NAME) else {
                continue;
            };
            let namespace = survey.store.namespace(&row.key.namespace);
            let inherited = namespace.and_then(|it| it.meta.labels.get(labels::DATAPLANE_MODE));
            let mode = labels.get(labels::DATAPLANE_MODE).or(inherited);
            let is_istio = labels.get(labels::MANAGED).is_some_and(|by| **by == *labels::MESH_CONTROLLER);
            if mode.is_some_and(|mode| &**mode == "ambient") && !is_istio && !pod.host_network {
                gateways.insert(GatewayKey { namespace: row.key.namespace.clone(), name: name.clone() });
            }
        }
        Self(gateways)
    }

    fn contain(&self, gateway: &GatewayKey) -> bool {
        self.0.contains(gateway)
    }
}

/// What does not count where it stands, by object, field and key.
type Misplaced = BTreeMap<(Anchor, String, String), Affected>;

/// Labels and annotations of rows that do not count where they stand.
fn misplaced(survey: &Survey<'_>, pointer: Pointer<'_>, found: &mut Findings) {
    let [mut alone, mut unasked, mut workloads] = [const { Misplaced::new() }; 3];
    for row in survey.rows() {
        let own = own_value(&row.input.labels, pointer.name);
        let names_one = own.is_some_and(|name| !name.is_empty() && **name != *labels::NONE);
        if !row.key.kind.is_service() {
            if names_one {
                let group = (Anchor::of_row(row.key), own_label(survey.store, row.key, pointer.name), String::new());
                add(&mut workloads, group, row.key, row.decision);
            }
        } else if own.is_none() {
            stands_alone_at(survey, pointer, &row, &mut alone);
        } else if names_one && has_no_primary(row.decision) {
            let group = (Anchor::of_row(row.key), label(pointer.name), String::new());
            add(&mut unasked, group, row.key, row.decision);
        }
    }
    for ((anchor, field, key), affected) in alone {
        stands_alone(anchor.object(&affected), field, &key, pointer.name, found);
    }
    let primary = survey.reading.primary.map_or(labels::USE_WAYPOINT, |primary| primary.name);
    for ((anchor, field, _), affected) in unasked {
        let object = anchor.object(&affected);
        let text = format!("{object} names a canary and no first waypoint: the canary is not looked at");
        let fix = format!("set {primary} on {object}, or remove {}", pointer.name);
        found.add(&codes::CANARY_WITHOUT_PRIMARY, object, field, text, fix);
    }
    for ((anchor, field, _), affected) in workloads {
        let object = anchor.object(&affected);
        let text = format!("a canary is named by {affected}, and workloads have none");
        let fix = format!("put {} on the Service or ServiceEntry, and remove it here", pointer.name);
        found.add(&codes::CANARY_ON_WORKLOAD, object, field, text, fix).relating(affected.objects());
    }
}

/// What belongs to a canary, of a service that names none itself.
fn stands_alone_at(survey: &Survey<'_>, pointer: Pointer<'_>, row: &Asked<'_>, alone: &mut Misplaced) {
    let weight = own_value(&row.input.annotations, labels::CANARY_WEIGHT);
    // It may be meant for a canary that the namespace names (R62).
    if weight.is_some() && wish(survey, pointer, row.input).is_none() {
        let group = (Anchor::of_row(row.key), annotation(labels::CANARY_WEIGHT), labels::CANARY_WEIGHT.to_owned());
        add(alone, group, row.key, row.decision);
    }
    let beside = pointer.namespace.filter(|beside| own_value(&row.input.labels, beside).is_some());
    if let Some(beside) = beside {
        add(alone, (Anchor::of_row(row.key), label(beside), beside.to_owned()), row.key, row.decision);
    }
}

/// Nothing was asked for; what was refused is a finding of its own.
fn has_no_primary(decision: &Decision) -> bool {
    decision.targets().is_empty() && decision.reason.as_deref().is_none_or(|reason| reason == super::survey::REQUIRED)
}

fn stands_alone(object: ObjectKey, field: String, key: &str, wanted: &str, found: &mut Findings) {
    let text = format!("{key} of {object} stands without {wanted} and does nothing");
    let fix = format!("add {wanted} to {object}, or remove {key}");
    found.add(&codes::CANARY_ALONE, object, field, text, fix);
}

/// The same for a Namespace, whose services may complete what it says.
fn of_namespace(survey: &Survey<'_>, pointer: Pointer<'_>, namespace: &Namespace, found: &mut Findings) {
    if !survey.reading.reads(Source::NamespaceLabel, pointer.name) {
        return;
    }
    let (meta, object) = (&namespace.meta, namespace_object(&namespace.meta.name));
    let labels = pairs(&meta.labels);
    let Some(canary) = pointer.written(&labels, &meta.name, false) else {
        let beside = pointer.namespace.filter(|beside| meta.labels.get(beside).is_some());
        if let Some(beside) = beside {
            stands_alone(object.clone(), label(beside), beside, pointer.name, found);
        }
        // A service without a first waypoint of its own may have the canary, and its weight from here (R62).
        let weight = meta.annotations.get(labels::CANARY_WEIGHT).is_some();
        if weight && survey.fare(&meta.name).own_canary == 0 {
            stands_alone(object, annotation(labels::CANARY_WEIGHT), labels::CANARY_WEIGHT, pointer.name, found);
        }
        return;
    };
    let names_primary = survey.reading.primary.is_some_and(|it| namespace_names(survey.store, &meta.name, it));
    if !canary.opt_out && !names_primary {
        let text = format!(
            "{object} names the canary {} and no first waypoint: services that name one themselves inherit no canary",
            canary.gateway
        );
        let primary = survey.reading.primary.map_or(labels::USE_WAYPOINT, |primary| primary.name);
        let fix = format!("set {primary} on {object}, or put {} on the services", pointer.name);
        found.add(&codes::CANARY_WITHOUT_PRIMARY, object, label(pointer.name), text, fix);
    }
}
