//! Decisions as labels: what is said, what is left to the namespace's label, and what is nobody's business.

use std::sync::Arc;

use super::*;
use crate::decision::{Decision, Target};
use crate::gateway::StatusAddress;
use crate::input::{Input, NamespaceInput, Shared, SubjectKind};
use crate::namespace::Namespace;
use crate::object::{Meta, Object};
use crate::service::Service;
use crate::store::{Event, Facts, Store};
use crate::table::{Row, Subject, Table};
use crate::workload::Pod;

fn meta(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Meta {
    Meta { labels: labels.iter().copied().collect(), ..Meta::named(namespace, name) }
}

fn service(labels: &[(&str, &str)]) -> Object {
    Object::Service(Service { meta: meta("shop", "cart", labels), ..Service::named("shop", "cart") })
}

fn namespace(labels: &[(&str, &str)]) -> Object {
    Object::Namespace(Namespace { meta: meta("", "shop", labels) })
}

fn gateway(name: &str, labels: &[(&str, &str)]) -> Object {
    Object::Gateway(Gateway {
        meta: meta("shop", name, labels),
        class: "istio-waypoint".into(),
        listeners: Vec::new(),
        addresses: vec![StatusAddress { kind: Some("IPAddress".into()), value: "10.0.0.9".into() }],
    })
}

fn through(gateways: &[(&str, &str)]) -> Decision {
    let target = |(namespace, name): &(&str, &str)| Target {
        gateway: GatewayKey::new(namespace, name),
        address: None,
        dial: Vec::new(),
        weight: 100,
    };
    let choice = Choice::Waypoints(gateways.iter().map(target).collect());
    Decision::without_waypoint(choice, Some("WaypointAccepted"))
}

fn direct() -> Decision {
    Decision::without_waypoint(Choice::Direct, None)
}

const CART: (Kind, RowKind, &str) = (Kind::Service, RowKind::Service, "cart");

fn wanted_of((kind, row, name): (Kind, RowKind, &str), objects: Vec<Object>, decision: Decision) -> Wanted {
    let mut store = Store::new(Facts::default());
    store.apply_all(objects.into_iter().map(Event::Apply));
    let mut table = Table::default();
    let subject = Subject { hosts: [].into(), addresses: [].into(), dialled_by_address: false };
    let input = Shared::new(Input::about(SubjectKind::Service, NamespaceInput::named("shop")));
    let decided = Row { subject, input, decision: Arc::new(decision), revision: 1, degraded: None };
    table.set(RowKey::new(row, "shop", name), Some(decided));
    wanted(Decided { store: &store, table: &table }, &ObjectKey::new(kind, "shop", name), true)
}

fn said(name: &str, namespace: Option<&str>) -> Wanted {
    Wanted::Labels(Written { name: name.into(), namespace: namespace.map(Name::from) })
}

#[test]
fn a_waypoint_is_named_with_its_namespace_where_it_is_another() {
    assert_eq!(wanted_of(CART, vec![service(&[])], through(&[("shop", "w")])), said("w", None));
    assert_eq!(wanted_of(CART, vec![service(&[])], through(&[("infra", "w")])), said("w", Some("infra")));
}

#[test]
fn what_the_namespaces_label_says_is_not_said_again() {
    let objects = || vec![namespace(&[(USE_WAYPOINT, "w")]), service(&[])];
    assert_eq!(wanted_of(CART, objects(), through(&[("shop", "w")])), Wanted::Nothing);
    assert_eq!(wanted_of(CART, objects(), through(&[("shop", "v")])), said("v", None));
    assert_eq!(wanted_of(CART, objects(), through(&[("infra", "w")])), said("w", Some("infra")));
}

#[test]
fn going_direct_is_only_said_where_istiod_would_bind() {
    let named = || namespace(&[(USE_WAYPOINT, "w")]);
    let check = |objects, expected| assert_eq!(wanted_of(CART, objects, direct()), expected);
    check(vec![service(&[])], Wanted::Nothing);
    check(vec![named(), service(&[])], Wanted::Nothing);
    check(vec![named(), gateway("w", &[]), service(&[])], said(NONE, None));
    check(vec![named(), gateway("w", &[(WAYPOINT_FOR, "workload")]), service(&[])], Wanted::Nothing);
    let refused = Decision::without_waypoint(Choice::Direct, Some("AttachmentDenied"));
    assert_eq!(wanted_of(CART, vec![named(), gateway("w", &[]), service(&[])], refused), Wanted::Nothing);
    let pod = |labels| Object::Pod(Pod { meta: meta("shop", "p", labels), ..Pod::named("shop", "p") });
    let of_pod = |objects| wanted_of((Kind::Pod, RowKind::Pod, "p"), objects, direct());
    assert_eq!(of_pod(vec![named(), gateway("w", &[]), pod(&[])]), Wanted::Nothing, "it is for services");
    let all = || gateway("w", &[(WAYPOINT_FOR, "all")]);
    assert_eq!(of_pod(vec![named(), all(), pod(&[])]), said(NONE, None));
    assert_eq!(of_pod(vec![named(), all(), pod(&[(GATEWAY_NAME, "w")])]), Wanted::Nothing, "its own instance");
}

#[test]
fn a_label_of_somebody_else_stays() {
    let own = |value: &str| vec![service(&[(USE_WAYPOINT, value)])];
    assert_eq!(wanted_of(CART, own("w"), through(&[("shop", "w")])), Wanted::Nothing, "it says the same");
    assert_eq!(wanted_of(CART, own("v"), through(&[("shop", "w")])), Wanted::Otherwise);
    assert_eq!(wanted_of(CART, own(NONE), through(&[("shop", "w")])), Wanted::Otherwise);
    assert_eq!(wanted_of(CART, own(NONE), direct()), Wanted::Nothing);
    assert_eq!(wanted_of(CART, own("v"), direct()), Wanted::Otherwise);
}

#[test]
fn not_everything_can_be_said() {
    let long = "w".repeat(64);
    assert_eq!(wanted_of(CART, vec![service(&[])], through(&[("shop", &long)])), Wanted::Unsayable);
    assert_eq!(wanted_of(CART, vec![service(&[])], through(&[("shop", NONE)])), Wanted::Unsayable);
    assert_eq!(wanted_of(CART, vec![service(&[])], through(&[("shop", "w"), ("shop", "c")])), Wanted::Unsayable);
    let blocked = Decision::without_waypoint(Choice::Blocked, None);
    assert_eq!(wanted_of(CART, vec![service(&[])], blocked), Wanted::Unsayable);
    let managed = vec![service(&[(MANAGED, "istio.io-mesh-controller")])];
    assert_eq!(wanted_of(CART, managed, through(&[("shop", "w")])), Wanted::Nothing, "a waypoint's own Service");
}
