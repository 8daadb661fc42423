//! Edits as rows: what each means for the objects, and which are offered at all.

use std::sync::Arc;

use super::*;
use crate::batch::{Answer, AnswerChoice, Batch};
use crate::decider::{Resolver, Terms};
use crate::decision::{Choice, OnUnreachable};
use crate::description::{Fields, Reach, Read, Reference};
use crate::gateway::{Gateway, GatewayClass, Listener, StatusAddress};
use crate::name::Labels;
use crate::namespace::Namespace;
use crate::object::Meta;
use crate::service::Service;
use crate::service_entry::{EntryEndpoint, Resolution, ServiceEntry};
use crate::store::Facts;
use crate::table::RowKind;
use crate::workload_entry::WorkloadEntry;

/// Blocks what has the label `block` or, else, whose namespace has it; says how often it was asked for how many rows.
struct Blocking;

impl Resolver for Blocking {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        assert_eq!(batch.subjects.len(), 1, "only the row in question is asked about");
        let input = batch.subjects[0].input;
        let labels = input.labels.as_ref().unwrap().iter().chain(input.namespace.labels.iter());
        let labels: Vec<&str> = labels.map(|(key, _)| &**key).collect();
        if labels.contains(&"fail") {
            return Err(ResolveFailure { limit: None, what: "no".into(), row: None });
        }
        let choice = if labels.contains(&"block") { AnswerChoice::Blocked } else { AnswerChoice::Direct };
        let on_unreachable = OnUnreachable::Fail;
        Ok(vec![Answer { choice, on_unreachable, reason: None, second_reason: None, ingress: false, tunnel: None }])
    }
}

fn description() -> Arc<Description> {
    let read = |at, key: &str| Read { at, key: key.into() };
    Arc::new(Description {
        name: "blocking".into(),
        version: "1".into(),
        reads: vec![
            read(Source::SubjectLabel, "block"),
            read(Source::SubjectLabel, "fail"),
            read(Source::SubjectAnnotation, "note"),
            read(Source::NamespaceLabel, "block"),
            read(Source::NamespaceAnnotation, "note"),
            read(Source::GatewayLabel, "for"),
            read(Source::GatewayAnnotation, "binding"),
            read(Source::ClassLabel, "for"),
        ],
        fields: Fields::default(),
        references: vec![Reference { name_label: "via".into(), namespace_label: Some("via-ns".into()), inherit: true }],
        reach: Reach::Referenced,
    })
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn store() -> Store {
    let listener = Listener { port: 15008, protocol: "HBONE".into(), admits_from: Some("Same".into()), selector: None };
    let endpoint = |address: &str| EntryEndpoint { labels: labels(&[("via", address)]), ..EntryEndpoint::at(address) };
    let host = |name: &str| vec![format!("{name}.example").into()];
    let mut store = Store::new(Facts::default());
    let objects = [
        Object::Namespace(Namespace { meta: Meta::named("", "shop") }),
        Object::GatewayClass(GatewayClass { meta: Meta::named("", "c") }),
        Object::Gateway(Gateway {
            meta: Meta::named("shop", "w"),
            class: "c".into(),
            listeners: vec![listener],
            addresses: Vec::new(),
        }),
        Object::Service(Service::named("shop", "cart")),
        Object::ServiceEntry(ServiceEntry {
            hosts: host("api"),
            endpoints: vec![endpoint("10.0.0.1"), endpoint("10.0.0.2")],
            ..ServiceEntry::named("shop", "api")
        }),
        Object::ServiceEntry(ServiceEntry {
            hosts: host("dns"),
            resolution: Resolution::Dns,
            ..ServiceEntry::named("shop", "dns")
        }),
        Object::WorkloadEntry(WorkloadEntry {
            meta: Meta { labels: labels(&[("block", "meta")]), ..Meta::named("shop", "vm") },
            spec_labels: labels(&[("block", "spec"), ("via", "spec")]),
            ..WorkloadEntry::named("shop", "vm")
        }),
    ];
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}

fn service() -> RowKey {
    RowKey::new(RowKind::Service, "shop", "cart")
}

fn edit(at: Level, key: &str, value: Option<&str>) -> Edit {
    let gateway = matches!(at, Level::Gateway | Level::GatewayClass | Level::Listener);
    let gateway = gateway.then(|| GatewayKey::new("shop", "w"));
    Edit { at, gateway, key: key.into(), value: value.map(str::to_owned) }
}

/// The object and the places that an edit writes, in short.
fn written(row: &RowKey, edit: &Edit) -> Result<String, NotPossible> {
    let change = change(&description(), &store(), row, edit)?;
    let write = |write: &Write| format!("{:?}={}", write.place, write.value.as_deref().unwrap_or("-"));
    let writes: Vec<_> = change.writes.iter().map(write).collect();
    Ok(format!("{}: {}", change.object.key(), writes.join(" ")))
}

#[test]
fn an_edit_is_about_the_object_that_its_level_means() {
    let endpoint = RowKey::endpoint(RowKind::ServiceEntryEndpoint, "shop", "api", "10.0.0.2");
    let vm = RowKey::new(RowKind::WorkloadEntry, "shop", "vm");
    let rows = [
        (service(), edit(Level::Subject, "block", Some("x")), r#"Service shop/cart: Label("block")=x"#),
        (service(), edit(Level::Subject, "via", None), r#"Service shop/cart: Label("via")=-"#),
        (service(), edit(Level::Subject, "via-ns", Some("y")), r#"Service shop/cart: Label("via-ns")=y"#),
        (service(), edit(Level::Subject, "note", Some("y")), r#"Service shop/cart: Annotation("note")=y"#),
        (service(), edit(Level::Namespace, "block", Some("x")), r#"Namespace shop: Label("block")=x"#),
        (service(), edit(Level::Namespace, "via", Some("x")), r#"Namespace shop: Label("via")=x"#),
        (service(), edit(Level::Namespace, "note", Some("x")), r#"Namespace shop: Annotation("note")=x"#),
        (service(), edit(Level::Gateway, "for", Some("all")), r#"Gateway shop/w: Label("for")=all"#),
        (service(), edit(Level::Gateway, "binding", None), r#"Gateway shop/w: Annotation("binding")=-"#),
        (service(), edit(Level::GatewayClass, "for", Some("all")), r#"GatewayClass c: Label("for")=all"#),
        (
            service(),
            edit(Level::Listener, "spec.listeners[0].allowedRoutes.namespaces.from", Some("All")),
            "Gateway shop/w: AdmitsFrom { listener: 0 }=All",
        ),
        (
            service(),
            edit(Level::Gateway, "status.addresses", Some("Hostname=w.shop")),
            "Gateway shop/w: Addresses=Hostname=w.shop",
        ),
        (
            endpoint.clone(),
            edit(Level::Subject, "via", Some("none")),
            r#"ServiceEntry shop/api: EndpointLabel { address: "10.0.0.2", key: "via" }=none"#,
        ),
        (vm.clone(), edit(Level::Subject, "via", Some("w")), r#"WorkloadEntry shop/vm: Label("via")=w"#),
        (vm.clone(), edit(Level::Subject, "via", None), r#"WorkloadEntry shop/vm: SpecLabel("via")=-"#),
        (
            vm.clone(),
            edit(Level::Subject, "block", None),
            r#"WorkloadEntry shop/vm: SpecLabel("block")=- Label("block")=-"#,
        ),
    ];
    for (row, edit, expected) in rows {
        assert_eq!(written(&row, &edit).as_deref(), Ok(expected), "{row} {edit:?}");
    }
}

#[test]
fn the_object_is_as_it_would_be() {
    let vm = RowKey::new(RowKind::WorkloadEntry, "shop", "vm");
    let changed = |row: &RowKey, edit: &Edit| change(&description(), &store(), row, edit).unwrap().object;
    let Object::WorkloadEntry(entry) = changed(&vm, &edit(Level::Subject, "block", None)) else {
        panic!("another kind")
    };
    assert_eq!(entry.labels(), labels(&[("via", "spec")]));
    let endpoint = RowKey::endpoint(RowKind::ServiceEntryEndpoint, "shop", "api", "10.0.0.2");
    let Object::ServiceEntry(entry) = changed(&endpoint, &edit(Level::Subject, "via", Some("none"))) else {
        panic!("another kind")
    };
    let of = |address: &str| entry.endpoint(address).unwrap().labels.get("via").unwrap().to_string();
    assert_eq!((of("10.0.0.1"), of("10.0.0.2")), ("10.0.0.1".to_owned(), "none".to_owned()));
    let path = "spec.listeners[0].allowedRoutes.namespaces.from";
    let Object::Gateway(gateway) = changed(&service(), &edit(Level::Listener, path, Some("All"))) else {
        panic!("another kind")
    };
    assert_eq!(gateway.listeners[0].admits_from.as_deref(), Some("All"));
    let Object::Gateway(gateway) =
        changed(&service(), &edit(Level::Gateway, "status.addresses", Some("IPAddress=::1")))
    else {
        panic!("another kind")
    };
    assert_eq!(gateway.addresses, [StatusAddress { kind: Some("IPAddress".into()), value: "::1".into() }]);
}

#[test]
fn what_cannot_be_edited_is_refused_with_its_reason() {
    let gateway = || ObjectKey::new(Kind::Gateway, "shop", "w");
    let unknown = |key: &str| NotPossible::UnknownKey { key: key.into() };
    let listener = "spec.listeners[7].allowedRoutes.namespaces.from";
    let elsewhere = RowKey::new(RowKind::Service, "elsewhere", "cart");
    let implied = RowKey::endpoint(RowKind::ServiceEntryEndpoint, "shop", "dns", "dns.example");
    let endpoint = RowKey::endpoint(RowKind::ServiceEntryEndpoint, "shop", "api", "10.0.0.2");
    let rows = [
        (service(), edit(Level::Settings, "unbound", Some("direct")), NotPossible::NoObject("settings")),
        (service(), edit(Level::Node, "zone", Some("a")), NotPossible::NoObject("labels of a node")),
        (service(), edit(Level::Subject, "undeclared", Some("a")), unknown("undeclared")),
        (service(), edit(Level::Subject, "status.addresses", Some("IPAddress=::1")), unknown("status.addresses")),
        (service(), edit(Level::Gateway, "spec.listeners[0].port", Some("1")), unknown("spec.listeners[0].port")),
        (service(), edit(Level::Gateway, "via", Some("1")), unknown("via")),
        (endpoint, edit(Level::Subject, "note", Some("1")), unknown("note")),
        (
            service(),
            edit(Level::Listener, listener, Some("All")),
            NotPossible::NoListener { gateway: gateway(), index: 7, count: 1 },
        ),
        (
            service(),
            edit(Level::Gateway, "status.addresses", Some("w.shop")),
            NotPossible::Value { key: "status.addresses", value: "w.shop".into() },
        ),
        (service(), Edit { gateway: None, ..edit(Level::Gateway, "for", None) }, NotPossible::NoGateway),
        (
            service(),
            Edit { gateway: Some(GatewayKey::new("shop", "x")), ..edit(Level::GatewayClass, "for", None) },
            NotPossible::Missing(ObjectKey::new(Kind::Gateway, "shop", "x")),
        ),
        (
            elsewhere,
            edit(Level::Namespace, "block", Some("a")),
            NotPossible::Missing(ObjectKey::new(Kind::Namespace, "", "elsewhere")),
        ),
        (implied.clone(), edit(Level::Subject, "block", Some("a")), NotPossible::NothingWritten(implied)),
    ];
    for (row, edit, expected) in rows {
        assert_eq!(written(&row, &edit), Err(expected), "{row} {edit:?}");
    }
}

#[test]
fn only_an_edit_that_changes_the_decision_is_offered_with_what_it_gives() {
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    let (description, store) = (description(), store());
    let asking = Asking { resolver: &Blocking, description: &description, terms: &terms };
    let now = asking.decide(&store, &service()).unwrap().unwrap();
    assert_eq!(now.choice, Choice::Direct);
    let verify = |edit: &Edit| verify(&asking, &store, &service(), edit, &now);
    for edit in [edit(Level::Subject, "block", Some("x")), edit(Level::Namespace, "block", Some("x"))] {
        assert_eq!(verify(&edit).unwrap().promises.choice, Choice::Blocked);
    }
    assert_eq!(verify(&edit(Level::Subject, "block", None)), Err(Dropped::NothingChanges));
    assert!(matches!(verify(&edit(Level::Subject, "fail", Some("x"))), Err(Dropped::Undecided(_))));
    assert!(matches!(verify(&edit(Level::Subject, "other", None)), Err(Dropped::NotPossible(_))));
    assert_eq!(asking.decide(&store, &service()), Ok(Some(now.clone())), "the mesh is as it was");
    assert_eq!(asking.decide(&store, &RowKey::new(RowKind::Service, "shop", "nobody")), Ok(None));
}

#[test]
fn the_way_to_a_place_is_that_of_the_manifest() {
    let shown = |place: Place| {
        let segment = |segment: &Segment| match segment {
            Segment::Key(key) => key.to_string(),
            Segment::Index(index) => index.to_string(),
            Segment::Address(address) => format!("[{address}]"),
        };
        place.path().iter().map(segment).collect::<Vec<_>>().join("/")
    };
    assert_eq!(shown(Place::Label("a".into())), "metadata/labels/a");
    assert_eq!(shown(Place::Annotation("a".into())), "metadata/annotations/a");
    assert_eq!(shown(Place::SpecLabel("a".into())), "spec/labels/a");
    let endpoint = Place::EndpointLabel { address: "10.0.0.1".into(), key: "a".into() };
    assert_eq!(shown(endpoint), "spec/endpoints/[10.0.0.1]/labels/a");
    assert_eq!(shown(Place::AdmitsFrom { listener: 2 }), "spec/listeners/2/allowedRoutes/namespaces/from");
    assert_eq!(shown(Place::Addresses), "status/addresses");
}
