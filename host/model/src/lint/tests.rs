//! Each code with a mesh in which it is found and the same mesh put right, in which it is not. Decisions are made by the
//! rules in `tests/rules.rs`; that the default component leads to the same findings is tested outside this crate.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::Decider;
use crate::decider::Terms;
use crate::decision::Choice;
use crate::gateway::{Gateway, GatewayClass, Listener, StatusAddress};
use crate::mesh::{EntryVisibility, EntryVisibilityRules, Mesh};
use crate::name::{Labels, Name};
use crate::namespace::Namespace;
use crate::object::{Kind, Meta, Object};
use crate::service::Service;
use crate::service_entry::{Resolution, ServiceEntry};
use crate::store::{Event, Facts};
use crate::workload::Pod;
use crate::workload_entry::WorkloadEntry;

mod canary;
mod counts;
mod other_component;
mod policies;
mod references;
mod rules;
mod services;
mod waypoints;

const USE: &str = "istio.io/use-waypoint";
const USE_NAMESPACE: &str = "istio.io/use-waypoint-namespace";

fn pairs(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn labelled(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Meta {
    Meta { labels: pairs(labels), ..Meta::named(namespace, name) }
}

fn namespace(name: &str, labels: &[(&str, &str)]) -> Object {
    Object::Namespace(Namespace { meta: labelled("", name, labels) })
}

fn class(labels: &[(&str, &str)]) -> Object {
    Object::GatewayClass(GatewayClass { meta: labelled("", "istio-waypoint", labels) })
}

fn service(name: &str, labels: &[(&str, &str)]) -> Object {
    service_at(name, labels, "10.0.0.1")
}

fn service_at(name: &str, labels: &[(&str, &str)], ip: &str) -> Object {
    Object::Service(Service {
        meta: labelled("shop", name, labels),
        addresses: [ip.parse().unwrap()].into(),
        selector: pairs(&[("app", name)]),
        ..Service::named("shop", name)
    })
}

fn pod(name: &str, labels: &[(&str, &str)]) -> Object {
    let addresses = ["10.1.0.1".parse().unwrap()].into();
    Object::Pod(Pod { meta: labelled("shop", name, labels), addresses, ..Pod::named("shop", name) })
}

fn entry(name: &str, host: &str, labels: &[(&str, &str)]) -> ServiceEntry {
    ServiceEntry {
        meta: labelled("shop", name, labels),
        hosts: vec![host.into()],
        addresses: vec![crate::service_entry::AddressRange::parse("10.2.0.1").unwrap()],
        resolution: Resolution::Static,
        ..ServiceEntry::named("shop", name)
    }
}

fn workload_entry(name: &str, labels: &[(&str, &str)]) -> WorkloadEntry {
    let spec_labels = pairs(labels);
    WorkloadEntry { spec_labels, address: "10.3.0.1".into(), ..WorkloadEntry::named("shop", name) }
}

fn tunnel(from: &str) -> Listener {
    Listener { port: 15008, protocol: "HBONE".into(), admits_from: Some(from.into()), selector: None }
}

/// A waypoint of Istio's class for everything, in namespace `shop`, with an IP of its own.
fn waypoint(name: &str) -> Gateway {
    Gateway {
        meta: labelled("shop", name, &[("istio.io/waypoint-for", "all")]),
        class: "istio-waypoint".into(),
        listeners: vec![tunnel("Same")],
        addresses: vec![StatusAddress { kind: Some("IPAddress".into()), value: "10.9.0.1".into() }],
    }
}

fn hostname(value: &str) -> Vec<StatusAddress> {
    vec![StatusAddress { kind: Some("Hostname".into()), value: value.into() }]
}

/// The namespace `shop`, which names waypoint `w`, and that.
fn shop() -> Vec<Object> {
    vec![
        namespace("shop", &[(USE, "w")]),
        Object::Gateway(waypoint("w")),
        service_at("w-svc", &[(USE, "none")], "10.9.0.1"),
    ]
}

/// The namespace `shop`, which names nothing, and a waypoint `w`.
fn quiet() -> Vec<Object> {
    let mut objects = shop();
    objects[0] = namespace("shop", &[]);
    objects
}

fn private() -> Facts {
    let entry_visibility = Some(EntryVisibilityRules { default: EntryVisibility::Namespace, policies: Vec::new() });
    Facts { mesh: Mesh { entry_visibility, ..Mesh::default() }, ..Facts::default() }
}

fn store(facts: Facts, objects: Vec<Object>) -> Store {
    let mut store = Store::new(facts);
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}

fn findings_under(facts: Facts, objects: Vec<Object>) -> Vec<Finding> {
    let store = store(facts, objects);
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    let description = rules::description();
    let decider = Decider::new(1, Arc::clone(&description), Arc::new(rules::Rules), terms, &store).unwrap();
    lint(&store, decider.table(), &description)
}

fn findings(objects: Vec<Object>) -> Vec<Finding> {
    findings_under(Facts::default(), objects)
}

/// In the first mesh there is exactly one finding of the code, about this object; in the second there is none.
fn check_under(facts: &Facts, id: &str, object: &str, wrong: Vec<Object>, right: Vec<Object>) -> Finding {
    let all = findings_under(facts.clone(), wrong);
    let of_code: Vec<&Finding> = all.iter().filter(|finding| finding.code.id == id).collect();
    assert_eq!(of_code.len(), 1, "{id}: {all:#?}");
    let finding = of_code[0].clone();
    assert_eq!(finding.object.to_string(), object, "{id}: {finding:#?}");
    assert!(!finding.text.is_empty() && !finding.fix.is_empty() && finding.severity == finding.code.severity);
    let other = findings_under(facts.clone(), right);
    assert!(!other.iter().any(|finding| finding.code.id == id), "{id} when put right: {other:#?}");
    TESTED.with(|tested| tested.borrow_mut().insert(finding.code.id));
    finding
}

fn check(id: &str, object: &str, wrong: Vec<Object>, right: Vec<Object>) -> Finding {
    check_under(&Facts::default(), id, object, wrong, right)
}

thread_local! {
    static TESTED: std::cell::RefCell<BTreeSet<&'static str>> = const { std::cell::RefCell::new(BTreeSet::new()) };
}

/// `base` and more.
fn with(base: Vec<Object>, more: impl IntoIterator<Item = Object>) -> Vec<Object> {
    base.into_iter().chain(more).collect()
}

#[test]
fn a_mesh_in_order_has_no_findings() {
    let objects = with(
        shop(),
        [
            class(&[]),
            service_at("cart", &[], "10.0.0.2"),
            pod("cart-1", &[("app", "cart")]),
            service_at("free", &[], "10.0.0.3"),
        ],
    );
    assert_eq!(findings(objects), []);
    assert_eq!(findings(Vec::new()), []);
}

#[test]
fn every_code_has_an_id_of_its_own_and_says_what_to_do() {
    let ids: BTreeSet<&str> = ALL.iter().map(|code| code.id).collect();
    assert_eq!(ids.len(), ALL.len());
    for it in ALL {
        assert!(it.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", it.id);
        assert!(
            !it.what.ends_with('.') && !it.fix.ends_with('.') && it.what.len() > 20 && it.fix.len() > 8,
            "{}",
            it.id
        );
        assert_eq!(code(it.id), Some(*it));
    }
    assert_eq!(code("nonsense"), None);
}

/// The tests by topic, again and in one thread, so that a code that none of them looks for is noticed.
#[test]
fn every_code_is_tested() {
    TESTED.with(|tested| tested.borrow_mut().clear());
    references::all();
    waypoints::all();
    services::all();
    canary::all();
    policies::all();
    other_component::all();
    let tested = TESTED.with(|tested| tested.borrow().clone());
    // What objects say of themselves is no part of a mesh: `golden_lint` has it.
    let elsewhere = ["condition-disagrees"];
    let is_tested = |id: &&str| tested.contains(id) || elsewhere.contains(id);
    let untested: Vec<&str> = ALL.iter().map(|code| code.id).filter(|id| !is_tested(id)).collect();
    assert_eq!(untested, Vec::<&str>::new());
}

#[test]
fn text_of_the_input_cannot_break_the_line() {
    let mut broken = waypoint("w");
    broken.listeners = vec![tunnel("a\nb\u{1b}[31m")];
    let found = findings(vec![namespace("shop", &[]), Object::Gateway(broken)]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!found[0].text.contains(char::is_control), "{:?}", found[0].text);
}
