//! Each condition by its rule: a decision and objects in, type, status and reason out.

use std::sync::Arc;

use super::*;
use crate::decision::{OnUnreachable, Target, WaypointAddress};
use crate::description::{Description, Fields, Reach, Read, Source};
use crate::gateway::{Gateway, GatewayClass, StatusAddress};
use crate::mesh::{EntryVisibility, EntryVisibilityRules, Mesh};
use crate::name::Labels;
use crate::namespace::Namespace;
use crate::object::{Meta, Object};
use crate::policy::{AuthorizationPolicy, Field, PolicyTarget, Rule};
use crate::projection::project;
use crate::service::Service;
use crate::service_entry::{Resolution, ServiceEntry};
use crate::store::{Changes, Event, Facts, Store};
use crate::table::Table;
use crate::workload_entry::WorkloadEntry;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn meta(name: &str, pairs: &[(&str, &str)]) -> Meta {
    Meta { labels: labels(pairs), ..Meta::named("shop", name) }
}

fn service(pairs: &[(&str, &str)]) -> Object {
    let addresses = [[10, 1, 0, 1].into()].into();
    Object::Service(Service { meta: meta("cart", pairs), addresses, ..Service::named("shop", "cart") })
}

fn entry(hosts: &[&str], annotations: &[(&str, &str)]) -> Object {
    Object::ServiceEntry(ServiceEntry {
        meta: Meta { annotations: labels(annotations), ..meta("entry", &[]) },
        hosts: hosts.iter().map(|it| Name::from(*it)).collect(),
        resolution: Resolution::Dns,
        ..ServiceEntry::named("shop", "entry")
    })
}

fn through(gateways: &[(&str, u8)]) -> Decision {
    let target = |(name, weight): &(&str, u8)| Target {
        gateway: GatewayKey::new("shop", name),
        address: Some(WaypointAddress::Hostname("w.shop".into())),
        dial: Vec::new(),
        weight: *weight,
    };
    Decision {
        choice: Choice::Waypoints(gateways.iter().map(target).collect()),
        reason: Some("WaypointAccepted".into()),
        on_unreachable: OnUnreachable::Fail,
        ..Decision::without_waypoint(Choice::Direct, None)
    }
}

fn refused(reason: &str) -> Decision {
    Decision::without_waypoint(Choice::Direct, Some(reason))
}

fn description() -> Arc<Description> {
    let read = |at, key: &str| Read { at, key: key.into() };
    Arc::new(Description {
        name: "test".into(),
        version: "1".into(),
        reads: vec![read(Source::SubjectLabel, "istio.io/*"), read(Source::NamespaceLabel, "istio.io/*")],
        fields: Fields::default(),
        references: Vec::new(),
        reach: Reach::All,
    })
}

fn store(facts: Facts, objects: Vec<Object>) -> Store {
    let mut store = Store::new(facts);
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}

/// Everything in the store, decided alike.
fn decided(store: &Store, decision: &Decision) -> Table {
    let mut table = Table::new(1, store.revision());
    for (key, projected) in project(&description(), store) {
        let (subject, input, revision) = (projected.subject, projected.input, store.revision());
        let row = Row { subject, input, decision: Arc::new(decision.clone()), revision, degraded: None };
        table.set(key, Some(row));
    }
    table
}

fn conditions_in(facts: Facts, objects: Vec<Object>, key: (Kind, &str), decision: &Decision) -> Vec<Condition> {
    let store = store(facts, objects);
    let table = decided(&store, decision);
    let key = ObjectKey::new(key.0, "shop", key.1);
    of(Decided { store: &store, table: &table }, &key, true)
}

fn conditions(objects: Vec<Object>, key: (Kind, &str), decision: &Decision) -> Vec<Condition> {
    conditions_in(Facts::default(), objects, key, decision)
}

#[track_caller]
fn check(found: &[Condition], expected: &[(ConditionType, bool, &str)]) {
    let found: Vec<_> = found.iter().map(|it| (it.kind, it.holds, &*it.reason)).collect();
    assert_eq!(found, expected);
}

const CART: (Kind, &str) = (Kind::Service, "cart");
const ENTRY: (Kind, &str) = (Kind::ServiceEntry, "entry");
const POLICY: (Kind, &str) = (Kind::AuthorizationPolicy, "p");

#[test]
fn r76_bound_refused_or_nothing_asked() {
    let bound = conditions(vec![service(&[])], CART, &through(&[("w", 100)]));
    check(&bound, &[(ConditionType::WaypointBound, true, "WaypointAccepted")]);
    assert_eq!(bound[0].message, "traffic goes through waypoint shop/w");
    for reason in
        ["WaypointIsNotReady", "AttachmentDenied", "UnsupportedTrafficType", "CrossNamespaceWaypointForbidden"]
    {
        let labelled = service(&[(USE_WAYPOINT, "w"), (USE_WAYPOINT_NAMESPACE, "infra")]);
        let found = conditions(vec![labelled], CART, &refused(reason));
        check(&found, &[(ConditionType::WaypointBound, false, reason)]);
        assert!(found[0].message.contains("waypoint infra/w"), "{}", found[0].message);
    }
    let nothing = Decision::without_waypoint(Choice::Direct, None);
    check(&conditions(vec![service(&[])], CART, &nothing), &[]);
    let blocked = Decision::without_waypoint(Choice::Blocked, None);
    check(&conditions(vec![service(&[])], CART, &blocked), &[(ConditionType::WaypointBound, false, "Blocked")]);
}

#[test]
fn r76_the_message_tells_of_gateways_and_of_a_canary_that_is_refused() {
    let message = |pairs: &[(&str, &str)], decision: &Decision| {
        conditions(vec![service(pairs)], CART, decision).remove(0).message
    };
    let bound = through(&[("w", 100)]);
    assert!(!message(&[], &bound).contains("gateways"), "nobody asked");
    assert!(message(&[(INGRESS, "no")], &bound).contains("from gateways does not"));
    let ingress = Decision { ingress: true, ..bound.clone() };
    assert!(message(&[(INGRESS, "true")], &ingress).contains("so does traffic from gateways"));
    let canary = Decision { second_reason: Some("CanarySameAsPrimary".into()), ..bound };
    assert!(message(&[], &canary).contains("the second waypoint is not used: it is the same as the first"));
    let both = message(&[], &through(&[("w", 90), ("c", 10)]));
    assert!(both.contains("shop/w (90 %), shop/c (10 %)"), "{both}");
}

#[test]
fn r77_a_workload_entry_is_told_without_the_clauses_of_services() {
    let entry = WorkloadEntry { meta: meta("vm", &[(INGRESS, "no")]), ..WorkloadEntry::named("shop", "vm") };
    let decision = Decision { second_reason: Some("CanarySameAsPrimary".into()), ..through(&[("w", 100)]) };
    let found = conditions(vec![Object::WorkloadEntry(entry)], (Kind::WorkloadEntry, "vm"), &decision);
    assert_eq!(found[0].message, "traffic goes through waypoint shop/w");
}

#[test]
fn r78_an_entry_that_needs_a_waypoint_and_has_none() {
    let direct = Decision::without_waypoint(Choice::Direct, None);
    let racing = [(CONNECT_STRATEGY, "FIRST_HEALTHY_RACE")];
    let missing = |reason| [(ConditionType::WaypointMissing, true, reason)];
    let wildcard = missing("NoWaypointForWildcardService");
    let race = missing("NoWaypointForRacingConnectStrategy");
    check(&conditions(vec![entry(&["a.b", "*.a.b"], &[])], ENTRY, &direct), &wildcard);
    check(&conditions(vec![entry(&["*.a.b"], &racing)], ENTRY, &direct), &race);
    check(&conditions(vec![entry(&["a.b"], &racing)], ENTRY, &direct), &race);
    check(&conditions(vec![entry(&["a.b"], &[(CONNECT_STRATEGY, "DEFAULT")])], ENTRY, &direct), &[]);
    let bound = conditions(vec![entry(&["*.a.b"], &racing)], ENTRY, &through(&[("w", 100)]));
    check(&bound, &[(ConditionType::WaypointBound, true, "WaypointAccepted")]);
}

#[test]
fn r79_visibility_is_told_where_the_mesh_configures_it() {
    let facts = |default| {
        let entry_visibility = Some(EntryVisibilityRules { default, policies: Vec::new() });
        Facts { mesh: Mesh { entry_visibility, ..Mesh::default() }, ..Facts::default() }
    };
    let direct = Decision::without_waypoint(Choice::Direct, None);
    let found = |facts| conditions_in(facts, vec![entry(&["a.b"], &[])], ENTRY, &direct);
    let applied = |reason| [(ConditionType::VisibilityApplied, true, reason)];
    check(&found(facts(EntryVisibility::Namespace)), &applied("Namespace"));
    check(&found(facts(EntryVisibility::Public)), &applied("Public"));
    check(&found(Facts::default()), &[]);
    check(&found(facts(EntryVisibility::None)), &[]);
    let older = Facts { istio: "1.30".parse().unwrap(), ..facts(EntryVisibility::Namespace) };
    check(&found(older), &[]);
}

#[test]
fn what_is_no_row_has_no_conditions() {
    let external = Service { external_name: true, ..Service::named("shop", "cart") };
    check(&conditions(vec![Object::Service(external)], CART, &refused("AttachmentDenied")), &[]);
    check(&conditions(vec![], CART, &refused("AttachmentDenied")), &[]);
}

#[test]
fn decisions_of_one_node_are_not_told_as_everybodys() {
    let store = store(Facts::default(), vec![service(&[]), entry(&["*.a"], &[])]);
    let table = decided(&store, &refused("AttachmentDenied"));
    let now = Decided { store: &store, table: &table };
    for kind in [CART, ENTRY] {
        check(&of(now, &ObjectKey::new(kind.0, "shop", kind.1), false), &[]);
    }
}

fn policy(action: &str, fields: &[(&str, &str)]) -> AuthorizationPolicy {
    let fields = fields.iter().map(|(name, value)| Field { name: (*name).into(), values: vec![(*value).into()] });
    let rule = Rule { to: vec![fields.collect()], ..Rule::default() };
    AuthorizationPolicy { action: action.into(), rules: vec![rule], ..AuthorizationPolicy::named("shop", "p") }
}

fn of_policy(policy: AuthorizationPolicy, mut objects: Vec<Object>, decision: &Decision) -> Vec<Condition> {
    objects.push(Object::AuthorizationPolicy(policy));
    conditions(objects, POLICY, decision)
}

#[test]
fn r148_what_ztunnel_makes_of_a_policy() {
    let direct = Decision::without_waypoint(Choice::Direct, None);
    let told = |policy| of_policy(policy, vec![], &direct);
    let accepted = |holds, reason| [(ConditionType::ZtunnelAccepted, holds, reason)];
    check(&told(policy("ALLOW", &[("ports", "80")])), &accepted(true, "Accepted"));
    check(&told(policy("AUDIT", &[("ports", "80")])), &accepted(false, "UnsupportedValue"));
    for (action, fields, words) in [
        ("ALLOW", &[("methods", "GET")][..], "left out"),
        ("DENY", &[("methods", "GET"), ("ports", "80")], "denies more"),
        ("DENY", &[("methods", "GET")], "nothing of it"),
    ] {
        let found = told(policy(action, fields));
        check(&found, &accepted(true, "UnsupportedValue"));
        assert!(found[0].message.contains(words) && found[0].message.contains("methods"), "{}", found[0].message);
    }
    let mut pretends = policy("DENY", &[("ports", "80")]);
    pretends.meta.annotations = labels(&[("istio.io/dry-run", "true")]);
    check(&told(pretends), &accepted(false, "UnsupportedValue"));
    let mut of_other_revision = policy("DENY", &[]);
    of_other_revision.meta.labels = labels(&[("istio.io/rev", "canary")]);
    check(&told(of_other_revision), &[]);
}

fn target(group: &str, kind: &str, name: &str) -> PolicyTarget {
    PolicyTarget { group: group.into(), kind: kind.into(), namespace: None, name: name.into() }
}

fn gateway(addresses: &[&str]) -> Object {
    let address = |value: &&str| StatusAddress { kind: Some("IPAddress".into()), value: (*value).into() };
    Object::Gateway(Gateway {
        meta: meta("w", &[]),
        class: "istio-waypoint".into(),
        listeners: Vec::new(),
        addresses: addresses.iter().map(address).collect(),
    })
}

const API: &str = "gateway.networking.k8s.io";

#[test]
fn r120_whether_a_target_enforces_a_policy() {
    let bound = through(&[("w", 100)]);
    let direct = Decision::without_waypoint(Choice::Direct, None);
    let told = |target, objects, decision: &Decision| {
        let policy = AuthorizationPolicy { targets: vec![target], ..policy("DENY", &[("methods", "GET")]) };
        of_policy(policy, objects, decision)
    };
    let accepted = |holds, reason| [(ConditionType::WaypointAccepted, holds, reason)];
    let cart = || target("", "Service", "cart");
    check(&told(cart(), vec![service(&[])], &bound), &accepted(true, "Accepted"));
    check(&told(cart(), vec![service(&[])], &direct), &accepted(false, "AncestorNotBound"));
    check(&told(cart(), vec![], &direct), &accepted(false, "TargetNotFound"));
    let of_entry = || target("networking.istio.io", "ServiceEntry", "entry");
    check(&told(of_entry(), vec![entry(&["a.b"], &[])], &bound), &accepted(true, "Accepted"));
    let of_gateway = || target(API, "Gateway", "w");
    check(&told(of_gateway(), vec![gateway(&["10.0.0.1"])], &direct), &accepted(true, "Accepted"));
    check(&told(of_gateway(), vec![gateway(&[])], &direct), &accepted(false, "TargetNotFound"));
    check(&told(target(API, "GatewayClass", "istio-waypoint"), vec![], &direct), &accepted(false, "Invalid"));
    check(&told(target("apps", "Deployment", "a"), vec![], &direct), &accepted(false, "unknown"));
}

#[test]
fn r120_a_class_is_named_from_the_root_namespace() {
    let told = |class: &str, objects: Vec<Object>| {
        let meta = Meta::named("istio-system", "p");
        let policy =
            AuthorizationPolicy { meta, targets: vec![target(API, "GatewayClass", class)], ..policy("DENY", &[]) };
        let mut store = store(Facts::default(), objects);
        store.apply(Event::Apply(Object::AuthorizationPolicy(policy)));
        let key = ObjectKey::new(Kind::AuthorizationPolicy, "istio-system", "p");
        of(Decided { store: &store, table: &Table::default() }, &key, true)
    };
    let class = |name: &str| Object::GatewayClass(GatewayClass { meta: Meta::named("", name) });
    let accepted = |holds, reason| [(ConditionType::WaypointAccepted, holds, reason)];
    check(&told("istio-waypoint", vec![class("istio-waypoint")]), &accepted(true, "Accepted"));
    check(&told("istio-waypoint", vec![]), &accepted(false, "TargetNotFound"));
    check(&told("other", vec![class("other")]), &accepted(false, "Invalid"));
}

#[test]
fn r121_several_targets_are_one_condition() {
    let told = |targets: Vec<PolicyTarget>| {
        let policy = AuthorizationPolicy { targets, ..policy("DENY", &[]) };
        of_policy(policy, vec![service(&[])], &through(&[("w", 100)]))
    };
    let (cart, gone, lost) =
        (target("", "Service", "cart"), target("", "Service", "gone"), target("", "Service", "lost"));
    let accepted = |holds, reason| [(ConditionType::WaypointAccepted, holds, reason)];
    check(&told(vec![cart.clone(), cart.clone()]), &accepted(true, "Accepted"));
    check(&told(vec![gone.clone(), lost.clone()]), &accepted(false, "Invalid"));
    let some = told(vec![cart, gone]);
    check(&some, &accepted(true, "PartiallyInvalid"));
    assert!(some[0].message.contains("shop/gone") && !some[0].message.contains("shop/cart"), "{}", some[0].message);
}

#[test]
fn a_step_concerns_its_objects_their_policies_and_what_is_in_its_namespaces() {
    let attached = AuthorizationPolicy { targets: vec![target("", "Service", "cart")], ..policy("DENY", &[]) };
    let mut store =
        store(Facts::default(), vec![service(&[]), entry(&["a.b"], &[]), Object::AuthorizationPolicy(attached)]);
    let table = decided(&store, &through(&[("w", 100)]));
    let keys_of = |store: &Store, step: &Step| {
        let found = concerned(Decided { store, table: &table }, step, &KINDS);
        found.map(|keys| keys.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let (cart, entry, policy) = ("Service shop/cart", "ServiceEntry shop/entry", "AuthorizationPolicy shop/p");
    let objects = vec![ObjectKey::new(Kind::Service, "shop", "cart"), ObjectKey::new(Kind::Pod, "shop", "x")];
    let step = Step { objects, ..Step::default() };
    assert_eq!(keys_of(&store, &step).unwrap(), [cart, policy]);
    let step = Step { objects: vec![ObjectKey::new(Kind::Pod, "shop", "x")], ..Step::default() };
    assert!(keys_of(&store, &step).unwrap().is_empty(), "Pods have no conditions");
    let changes = store.apply(Event::Apply(Object::Namespace(Namespace { meta: Meta::named("", "shop") })));
    assert_eq!(keys_of(&store, &Step { changes, ..Step::default() }).unwrap(), [cart, entry, policy]);
    let gateways = [GatewayKey::new("shop", "w")].into();
    let changes = Changes { gateways, ..Changes::default() };
    assert_eq!(keys_of(&store, &Step { changes, ..Step::default() }), None, "everything");
    let all: Vec<_> = keys(Decided { store: &store, table: &table }, &KINDS).map(|it| it.to_string()).collect();
    assert_eq!(all, [cart, entry, policy]);
}
