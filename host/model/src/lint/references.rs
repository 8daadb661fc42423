//! References that lead nowhere, by the reasons that the component gave; and labels that refer to nothing at all.

use std::collections::BTreeMap;

use crate::decision::Decision;
use crate::description::Source;
use crate::gateway::{Gateway, GatewayKey};
use crate::name::{Labels, Name};
use crate::object::{Kind, Meta, ObjectKey};
use crate::store::{REVISION, Store};
use crate::table::RowKey;

use super::Findings;
use super::affected::{Affected, Anchor, gateway_object, namespace_object};
use super::codes::{self, Code};
use super::labels::{self, label, own_value, quoted, value};
use super::reading::{Pointer, Wish, own_label};
use super::survey::{Asked, Survey, pairs, workload_entries};

/// What findings about refused rows are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    code: &'static str,
    anchor: Anchor,
    field: String,
    gateway: Option<GatewayKey>,
    /// The reason, where no code says it; the value of a slip.
    detail: Name,
}

pub(super) fn check(survey: &Survey<'_>, found: &mut Findings) {
    refused(survey, found);
    namespace_labels(survey, found);
    unknown_namespaces(survey, found);
    other_revisions(survey, found);
    opted_out_for_routes(survey, found);
}

fn refused(survey: &Survey<'_>, found: &mut Findings) {
    let mut groups: BTreeMap<Group, (Affected, &'static Code)> = BTreeMap::new();
    for row in survey.rows() {
        if let Some(reason) = row.refusal() {
            let (code, group) = group(survey, &row, reason);
            groups.entry(group).or_insert_with(|| (Affected::default(), code)).0.add(row.key, row.decision);
        }
    }
    for (group, (affected, code)) in groups {
        report(survey, code, &group, &affected, found);
    }
}

fn group(survey: &Survey<'_>, row: &Asked<'_>, reason: &Name) -> (&'static Code, Group) {
    let wish = survey.reading.primary.and_then(|pointer| pointer.wish(row.input)).filter(|wish| !wish.opt_out);
    let code = match &wish {
        Some(wish) => classify(survey, row, wish, reason),
        None => &codes::REFUSED,
    };
    let unexplained = |anchor, field| Group { code: code.id, anchor, field, gateway: None, detail: reason.clone() };
    let Some(wish) = wish else {
        return (code, unexplained(Anchor::of_row(row.key), String::new()));
    };
    if *code == codes::WAYPOINT_FOR {
        // The slip is on the Gateway or its class, whoever refers to it.
        let slip = survey.store.gateway(&wish.gateway).and_then(|gateway| misspelled_type(survey, gateway));
        if let Some((object, value)) = slip {
            let field = label(labels::WAYPOINT_FOR);
            return (
                code,
                Group { code: code.id, anchor: Anchor::Object(object), field, gateway: None, detail: value },
            );
        }
    }
    let (anchor, field) = (wish.anchor(row.key), wish.field(survey.store, row.key));
    if *code == codes::REFUSED {
        return (code, unexplained(anchor, field));
    }
    let detail = if wish.empty_namespace { "".into() } else { wish.value.clone() };
    (code, Group { code: code.id, anchor, field, gateway: Some(wish.gateway), detail })
}

/// A reason counts only where the objects bear it out: another component may give the same words for reasons of its own.
fn classify(survey: &Survey<'_>, row: &Asked<'_>, wish: &Wish<'_>, reason: &str) -> &'static Code {
    let gateway = survey.store.gateway(&wish.gateway);
    match (reason, gateway) {
        ("WaypointIsNotReady", None) if is_meant_as_none(&wish.value) => &codes::OPT_OUT,
        ("WaypointIsNotReady", None) => &codes::MISSING,
        ("WaypointIsNotReady", Some(gateway)) if gateway.addresses.is_empty() => &codes::NOT_READY,
        ("AttachmentDenied", Some(_)) => &codes::DENIED,
        ("UnsupportedTrafficType", Some(gateway)) if misspelled_type(survey, gateway).is_some() => &codes::WAYPOINT_FOR,
        ("UnsupportedTrafficType", Some(_)) if row.key.kind.is_service() => &codes::TRAFFIC_TYPE_SERVICE,
        ("UnsupportedTrafficType", Some(_)) => &codes::TRAFFIC_TYPE_WORKLOAD,
        ("CrossNamespaceWaypointForbidden", Some(_)) => &codes::FOREIGN,
        _ => &codes::REFUSED,
    }
}

/// Values by which people mean `none`.
fn is_meant_as_none(value: &str) -> bool {
    ["", "none", "false", "no", "off", "disabled"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Where a Gateway's traffic type is written, and its value, if that is no known word (R4).
pub(super) fn misspelled_type(survey: &Survey<'_>, gateway: &Gateway) -> Option<(ObjectKey, Name)> {
    let (object, value) = traffic_type(survey, gateway)?;
    (!matches!(&*value, "service" | "workload" | "all" | "none")).then_some((object, value))
}

/// Where a Gateway's traffic type is written, and its value, as far as the component reads it.
fn traffic_type(survey: &Survey<'_>, gateway: &Gateway) -> Option<(ObjectKey, Name)> {
    let written = |at: Source, meta: &Meta| {
        meta.labels.get(labels::WAYPOINT_FOR).filter(|_| survey.reading.reads(at, labels::WAYPOINT_FOR)).cloned()
    };
    let own = written(Source::GatewayLabel, &gateway.meta).map(|value| (gateway_object(&gateway.key()), value));
    own.or_else(|| {
        let class = survey.store.class(&gateway.class)?;
        let value = written(Source::ClassLabel, &class.meta)?;
        Some((ObjectKey::new(Kind::GatewayClass, "", &gateway.class), value))
    })
}

fn report(survey: &Survey<'_>, code: &'static Code, group: &Group, affected: &Affected, found: &mut Findings) {
    let Group { anchor, field, gateway, detail, .. } = group;
    let object = anchor.object(affected);
    let traffic = if anchor.is_namespace() { affected.traffic() } else { affected.traffic_to_it() };
    let Some(key) = gateway else {
        let (text, fix) = match *code == codes::WAYPOINT_FOR {
            true => waypoint_for_texts(&object, detail, Some(affected)),
            false => (
                format!("the component gives {affected} the reason {}: {}", quoted(detail), affected.traffic_to_it()),
                "ask wayswitch explain about it: its findings name rule and object".to_owned(),
            ),
        };
        found.add(code, object, field.clone(), text, fix).relating(affected.objects());
        return;
    };
    let by = if anchor.is_namespace() { object.to_string() } else { affected.to_string() };
    let label = survey.reading.primary.map_or(labels::USE_WAYPOINT, |pointer| pointer.name);
    let (what, fix) = match survey.store.gateway(key) {
        None if *code == codes::OPT_OUT => (
            format!(
                "the value {} of {by} is no opt-out but the name of a waypoint that does not exist",
                quoted(detail)
            ),
            format!(
                "set {label}: none on {object}; routes take upper case for an opt-out, the selection does not (R146)"
            ),
        ),
        None => missing(survey, key, &object, &by, label, detail.is_empty()),
        Some(gateway) => present(survey, code, gateway, &object, &by, label),
    };
    let related = survey.store.gateway(key).map(|_| gateway_object(key)).into_iter().chain(affected.objects());
    found.add(code, object, field.clone(), format!("{what}: {traffic}"), fix).relating(related);
}

/// What is wrong, and what to do, where there is no such Gateway.
fn missing(
    survey: &Survey<'_>,
    key: &GatewayKey,
    object: &ObjectKey,
    by: &str,
    label: &str,
    empty_namespace: bool,
) -> (String, String) {
    let hidden = survey.store.object(&gateway_object(key)).is_some();
    let why = if hidden { "is hidden by discoverySelectors" } else { "does not exist" };
    let what = match empty_namespace {
        true => format!("waypoint {} of the namespace \"\", named by {by}, {why}", key.name),
        false => format!("waypoint {key}, named by {by}, {why}"),
    };
    let beside = survey.reading.primary.and_then(|pointer| pointer.namespace);
    let elsewhere = survey.store.gateways().map(|(key, _)| key).find(|other| other.name == key.name);
    let fix = match (beside, elsewhere) {
        _ if hidden => format!("let discoverySelectors of MeshConfig match Namespace {}", key.namespace),
        (Some(beside), _) if empty_namespace => {
            format!("remove the empty {beside} of {object}, or name the namespace in it")
        }
        (Some(beside), Some(other)) => {
            format!("set {beside}: {} on {object} to mean Gateway {other}, or create Gateway {key}", other.namespace)
        }
        _ => format!("create Gateway {key}, or correct {label} of {object}; the value none opts out"),
    };
    (what, fix)
}

/// The same for a Gateway that is there.
fn present(
    survey: &Survey<'_>,
    code: &'static Code,
    gateway: &Gateway,
    object: &ObjectKey,
    by: &str,
    label: &str,
) -> (String, String) {
    let key = gateway.key();
    let namespace = match object.kind {
        Kind::Namespace => &object.name,
        _ => &object.namespace,
    };
    let serves = traffic_type(survey, gateway).map_or_else(|| "service".to_owned(), |(_, value)| value.to_string());
    if *code == codes::NOT_READY {
        let what = format!("waypoint {key}, named by {by}, reports no address");
        return (
            what,
            format!("find out why status.addresses of Gateway {key} is empty; its class is {}", gateway.class),
        );
    }
    if *code == codes::DENIED {
        let what = format!("waypoint {key} does not admit namespace {namespace}, where {by} names it");
        return (what, admit(gateway, namespace));
    }
    if *code == codes::FOREIGN {
        let what = format!("waypoint {key}, named by {by}, is of another namespace, which does not see the entry");
        return (
            what,
            format!("name a waypoint of namespace {namespace}, or change serviceEntryVisibility of MeshConfig"),
        );
    }
    let (kind, other) =
        if *code == codes::TRAFFIC_TYPE_SERVICE { ("services", "service") } else { ("workloads", "workload") };
    let what = format!("waypoint {key}, named by {by}, is for {} and does not serve {kind}", quoted(&serves));
    let mut fix =
        format!("set {}: all (or {other}) on Gateway {key}, or name another waypoint in {label}", labels::WAYPOINT_FOR);
    if other == "workload" && object.kind != Kind::Namespace {
        fix.push_str("; a label for the service belongs on the Service");
    }
    (what, fix)
}

/// How a waypoint would admit a namespace.
pub(super) fn admit(gateway: &Gateway, namespace: &str) -> String {
    let key = gateway.key();
    let selecting = gateway.listeners.iter().filter(|it| it.admits_from.as_deref() == Some("Selector"));
    let selector = selecting.filter_map(|it| it.selector.as_ref()).find(|it| it.is_valid());
    let all = format!("set allowedRoutes.namespaces.from: All on the tunnel's listener of Gateway {key}");
    match selector.filter(|it| it.requirements.is_empty() && !it.labels.is_empty()) {
        Some(selector) => {
            let wanted: Vec<String> = selector.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("label Namespace {namespace} with {}, as its selector wants, or {all}", wanted.join(", "))
        }
        None => format!("{all}, or Selector with one that matches the labels of Namespace {namespace}"),
    }
}

/// Text and fix for a traffic type that is no known word, with those who fare ill by it.
pub(super) fn waypoint_for_texts(object: &ObjectKey, value: &str, affected: Option<&Affected>) -> (String, String) {
    let effect = affected.map_or_else(String::new, |affected| format!(": {}", affected.traffic()));
    let text =
        format!("{object} says it is for {}, which is no traffic type and serves nothing{effect}", quoted(value));
    let near = ["service", "workload", "all", "none"].into_iter().find(|word| {
        let value = value.to_ascii_lowercase();
        value == *word || value.strip_suffix('s') == Some(word)
    });
    let fix = match near {
        Some(word) => format!("set {}: {word} on {object}", labels::WAYPOINT_FOR),
        None => format!("set {} on {object} to service, workload, all or none", labels::WAYPOINT_FOR),
    };
    (text, fix)
}

/// The label for the namespace without the one for the name (R15).
fn namespace_labels(survey: &Survey<'_>, found: &mut Findings) {
    let Some(pointer @ Pointer { name, namespace: Some(beside), .. }) = survey.reading.primary else {
        return;
    };
    let mut groups: BTreeMap<(Anchor, String), Affected> = BTreeMap::new();
    for row in survey.rows() {
        if own_value(&row.input.labels, beside).is_some() && own_value(&row.input.labels, name).is_none() {
            let group = (Anchor::of_row(row.key), own_label(survey.store, row.key, beside));
            groups.entry(group).or_default().add(row.key, row.decision);
        }
    }
    let fix = |object: &ObjectKey| format!("add {} to {object}, or remove {beside}", pointer.name);
    for ((anchor, field), affected) in groups {
        let text = format!("{beside} of {affected} stands without {name} and does nothing");
        let object = anchor.object(&affected);
        let fix = fix(&object);
        found.add(&codes::NAMESPACE_LABEL_ALONE, object, field, text, fix).relating(affected.objects());
    }
    for namespace in survey.namespaces().filter(|_| survey.reading.reads(Source::NamespaceLabel, beside)) {
        let of = &namespace.meta.labels;
        if of.get(beside).is_some() && of.get(name).is_none() {
            let object = namespace_object(&namespace.meta.name);
            let text = format!("{beside} of {object} stands without {name} and does nothing");
            let fix = fix(&object);
            found.add(&codes::NAMESPACE_LABEL_ALONE, object, label(beside), text, fix);
        }
    }
}

fn unknown_namespaces(survey: &Survey<'_>, found: &mut Findings) {
    let mut unknown: BTreeMap<Name, Affected> = BTreeMap::new();
    for row in survey.rows().filter(|row| !row.input.namespace.known) {
        unknown.entry(row.key.namespace.clone()).or_default().add(row.key, row.decision);
    }
    for (namespace, affected) in unknown {
        let object = namespace_object(&namespace);
        let text = format!(
            "{object} is not there: nothing is inherited by {affected}, nor are there labels to be admitted by"
        );
        let fix = format!("add the object Namespace {namespace} to the manifests");
        found.add(&codes::NAMESPACE_UNKNOWN, object, String::new(), text, fix).relating(affected.objects());
    }
}

/// Entries that are left out for their revision, and ask for a waypoint (R144).
fn other_revisions(survey: &Survey<'_>, found: &mut Findings) {
    let Some(pointer) = survey.reading.primary else {
        return;
    };
    let store = survey.store;
    let mut check = |object: ObjectKey, meta: &Meta, of: &Labels| {
        let here = &store.facts().istio_revision;
        let Some(revision) = meta.labels.get(REVISION).filter(|revision| *revision != here) else {
            return;
        };
        let wish = pointer.written(&pairs(of), &object.namespace, true).filter(|wish| !wish.opt_out);
        if let Some(wish) = wish.filter(|_| store.is_discovered(&object.namespace)) {
            let text = format!(
                "{object} is of revision {} and not of {}: here it does not exist, and its reference to waypoint {} means nothing",
                quoted(revision),
                quoted(here),
                wish.gateway
            );
            let fix = format!(
                "remove {REVISION} from {object} for it to count everywhere, or lint with --istio-revision {revision}"
            );
            found
                .add(&codes::OTHER_REVISION, object, label(REVISION), text, fix)
                .relating([gateway_object(&wish.gateway)]);
        }
    };
    for entry in survey.entries() {
        check(
            ObjectKey::new(Kind::ServiceEntry, &entry.meta.namespace, &entry.meta.name),
            &entry.meta,
            &entry.meta.labels,
        );
    }
    for key in workload_entries(store) {
        if let Some(entry) = store.workload_entry(&key.namespace, &key.name) {
            check(key, &entry.meta, &entry.labels());
        }
    }
}

/// Services that opted out of their namespace's waypoint: routes take them to have it (R84).
fn opted_out_for_routes(survey: &Survey<'_>, found: &mut Findings) {
    let Some(pointer) = survey.reading.primary.filter(|pointer| pointer.name == labels::USE_WAYPOINT) else {
        return;
    };
    let mut opted_out: BTreeMap<(Name, GatewayKey), Affected> = BTreeMap::new();
    // A waypoint's own Service is meant to opt out.
    let is_meant = |row: &Asked<'_>| row.key.kind.is_service() && survey.waypoint_of_service(row.key).is_none();
    for row in survey.rows().filter(is_meant) {
        let own = pointer.wish(row.input).filter(|wish| wish.own && wish.opt_out);
        let inherited = own.and_then(|_| pointer.written(&row.input.namespace.labels, &row.key.namespace, false));
        if let Some(inherited) = inherited.filter(|wish| !wish.opt_out) {
            add(&mut opted_out, (row.key.namespace.clone(), inherited.gateway), row.key, row.decision);
        }
    }
    for ((namespace, gateway), affected) in opted_out {
        let text = format!(
            "{affected} opted out of waypoint {gateway} of Namespace {namespace}, but its routes are reported as if the \
             waypoint served it"
        );
        let fix = "attach no route to it, or leave out the opt-out".to_owned();
        let mut objects = affected.objects();
        if let Some(first) = objects.next() {
            let related = objects.chain([namespace_object(&namespace), gateway_object(&gateway)]);
            found.add(&codes::ROUTES, first, label(labels::USE_WAYPOINT), text, fix).relating(related);
        }
    }
}

/// Adds a row to a group.
pub(super) fn add<K: Ord>(groups: &mut BTreeMap<K, Affected>, group: K, key: &RowKey, decision: &Decision) {
    groups.entry(group).or_default().add(key, decision);
}

/// Whether the labels of a namespace name a waypoint.
pub(super) fn namespace_names(store: &Store, namespace: &Name, pointer: Pointer<'_>) -> bool {
    let object = store.namespace(namespace);
    object.is_some_and(|it| {
        let pairs = pairs(&it.meta.labels);
        value(&pairs, pointer.name).is_some()
            && pointer.written(&pairs, namespace, false).is_some_and(|wish| !wish.opt_out)
    })
}
