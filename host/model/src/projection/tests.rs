//! What a row is asked with: only what was declared, and the same value for rows that are alike. That a projection keeps
//! up with changes is tested with generated histories, outside this crate.

use super::*;
use crate::decision::{Choice, Decision};
use crate::description::{Fields, Read};
use crate::gateway::{Gateway, GatewayClass, Listener};
use crate::input::Pairs;
use crate::namespace::Namespace;
use crate::object::{Meta, Object};
use crate::selector::Selector;
use crate::service::Service;
use crate::store::Event;
use crate::table::{Row, RowKind};
use crate::workload::Pod;

fn description(reach: Reach, fields: Fields) -> Arc<Description> {
    let read = |at, key: &str| Read { at, key: key.into() };
    let reference = Reference { name_label: "via".into(), namespace_label: Some("via-ns".into()), inherit: true };
    Arc::new(Description {
        name: "test".into(),
        version: "1".into(),
        reads: vec![
            read(Source::SubjectLabel, "seen"),
            read(Source::NamespaceLabel, "seen"),
            read(Source::GatewayLabel, "seen"),
            read(Source::ClassAnnotation, "seen"),
        ],
        fields,
        references: vec![reference],
        reach,
    })
}

fn labelled(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Meta {
    let labels: Labels = labels.iter().copied().collect();
    Meta { annotations: labels.clone(), labels, ..Meta::named(namespace, name) }
}

fn pod(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Object {
    Object::Pod(Pod {
        meta: labelled(namespace, name, labels),
        service_account: format!("{name}-account").into(),
        addresses: [[10, 0, 0, 1].into()].into(),
        ..Pod::named(namespace, name)
    })
}

fn service(namespace: &str, name: &str) -> Object {
    Object::Service(Service { meta: labelled(namespace, name, &[]), ..Service::named(namespace, name) })
}

fn namespace(name: &str, labels: &[(&str, &str)]) -> Object {
    Object::Namespace(Namespace { meta: labelled("", name, labels) })
}

/// A Gateway of class `c` with one listener for each of these selectors.
fn gateway(namespace: &str, name: &str, selectors: &[&[(&str, &str)]]) -> Object {
    let listener = |labels: &&[(&str, &str)]| Listener {
        port: 15008,
        protocol: "HBONE".into(),
        admits_from: Some("Selector".into()),
        selector: Some(Selector { labels: labels.iter().copied().collect(), requirements: Vec::new() }),
    };
    Object::Gateway(Gateway {
        meta: labelled(namespace, name, &[("seen", "1"), ("unseen", "2")]),
        class: "c".into(),
        listeners: selectors.iter().map(listener).collect(),
        addresses: Vec::new(),
    })
}

fn store(objects: impl IntoIterator<Item = Object>) -> Store {
    let mut store = Store::new(Facts::default());
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}

fn input(reach: Reach, fields: Fields, store: &Store, key: &RowKey) -> Shared<Input> {
    project(&description(reach, fields), store)[key].input.clone()
}

fn pairs(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs.iter().map(|(k, v)| (&**k, &**v)).collect()
}

#[test]
fn only_what_was_declared_is_passed() {
    let class = GatewayClass { meta: labelled("", "c", &[("seen", "c"), ("unseen", "c")]) };
    let store = store([
        Object::GatewayClass(class),
        namespace("ns", &[("seen", "n"), ("unseen", "n"), ("via", "w")]),
        gateway("ns", "w", &[]),
        pod("ns", "p", &[("seen", "p"), ("unseen", "p")]),
    ]);
    let key = RowKey::new(RowKind::Pod, "ns", "p");
    let asked = input(Reach::Referenced, Fields::default(), &store, &key);
    assert_eq!(pairs(asked.labels.as_ref().unwrap()), [("seen", "p")]);
    assert_eq!(pairs(&asked.namespace.labels), [("seen", "n")]);
    assert_eq!(pairs(asked.annotations.as_ref().unwrap()), []);
    let view = asked.candidates.first().unwrap();
    assert_eq!((pairs(&view.labels), pairs(&view.annotations)), (vec![("seen", "1")], vec![]));
    let class = view.class.as_ref().unwrap();
    assert_eq!((pairs(&class.labels), pairs(&class.annotations)), (vec![], vec![("seen", "c")]));
    assert_eq!((&asked.name, &asked.service_account, asked.hosts.len()), (&None, &None, 0));
    let all = Fields { name: true, service_account: true, hosts: true, ..Fields::default() };
    let asked = input(Reach::Referenced, all, &store, &key);
    assert_eq!((asked.name.as_deref(), asked.service_account.as_deref()), (Some("p"), Some("p-account")));
}

#[test]
fn candidates_follow_the_reach() {
    let store = store([
        namespace("ns", &[("via", "far"), ("via-ns", "other")]),
        gateway("ns", "near", &[]),
        gateway("other", "far", &[]),
        gateway("other", "unnamed", &[]),
        gateway("ns", "own", &[]),
        pod("ns", "p", &[("via", "own")]),
        service("unlabelled", "s"),
    ]);
    let candidates = |reach, key: &RowKey| {
        let asked = input(reach, Fields::default(), &store, key);
        asked.candidates.iter().map(|gateway| gateway.key.to_string()).collect::<Vec<_>>()
    };
    let pod = RowKey::new(RowKind::Pod, "ns", "p");
    // Both levels are candidates; which of them counts is the component's to say (R17).
    assert_eq!(candidates(Reach::Referenced, &pod), ["ns/own", "other/far"]);
    assert_eq!(candidates(Reach::OwnNamespace, &pod), ["ns/near", "ns/own", "other/far"]);
    assert_eq!(candidates(Reach::All, &pod), ["ns/near", "ns/own", "other/far", "other/unnamed"]);
    let service = RowKey::new(RowKind::Service, "unlabelled", "s");
    assert_eq!(candidates(Reach::Referenced, &service), Vec::<String>::new());
}

#[test]
fn a_namespace_is_selected_by_the_rows_own_candidates_only() {
    let store = store([
        namespace("ns", &[("team", "a")]),
        gateway("ns", "mine", &[&[("team", "a")], &[("team", "b")]]),
        gateway("ns", "other", &[&[]]),
        pod("ns", "p", &[("via", "mine")]),
        pod("ns", "q", &[("via", "other")]),
        pod("unknown", "r", &[("via", "other"), ("via-ns", "ns")]),
    ]);
    let asked = |ns: &str, name: &str| {
        input(Reach::Referenced, Fields::default(), &store, &RowKey::new(RowKind::Pod, ns, name))
    };
    let ids = |input: &Input| {
        let listeners = input.candidates.iter().flat_map(|gateway| &gateway.listeners);
        listeners.map(|listener| listener.selector.unwrap()).collect::<Vec<_>>()
    };
    let mine = asked("ns", "p");
    assert_eq!(mine.namespace.selected_by, ids(&mine)[..1], "team a, and not team b");
    let other = asked("ns", "q");
    assert_eq!(other.namespace.selected_by, ids(&other), "the empty selector matches");
    let unknown = asked("unknown", "r");
    assert!(!unknown.namespace.known);
    assert_eq!(unknown.namespace.selected_by, ids(&unknown), "also where the Namespace is not known (Q5)");
}

#[test]
fn rows_that_are_alike_share_their_input() {
    let pods = (0..50).map(|n| pod("ns", &format!("p{n}"), &[("unseen", &n.to_string())]));
    let rows = project(&description(Reach::All, Fields::default()), &store(pods));
    let inputs: Vec<&Input> = rows.values().map(|row| &*row.input).collect();
    assert!(inputs.iter().all(|input| std::ptr::eq(*input, inputs[0])), "one value, not fifty equal ones");
}

fn undecided(row: Projected) -> Row {
    let decision = Arc::new(Decision::without_waypoint(Choice::Direct, None));
    Row { subject: row.subject, input: row.input, decision, revision: 1, degraded: None }
}

#[test]
fn nothing_is_left_of_what_is_gone() {
    let objects = [
        namespace("ns", &[("via", "w")]),
        gateway("ns", "w", &[&[("team", "a")]]),
        pod("ns", "p", &[("via", "v")]),
        service("ns", "s"),
    ];
    let keys: Vec<_> = objects.iter().map(Object::key).collect();
    let mut store = store(objects);
    let description = description(Reach::Referenced, Fields::default());
    let (mut projection, _) = Projection::of(description.clone(), &store);
    let rows = project(&description, &store).into_iter().map(|(key, row)| (key, undecided(row)));
    let mut table = Table::new(1, 1).with_rows(rows.collect());
    assert_eq!(projection.named_by_rows.by(&GatewayKey::new("ns", "v")).count(), 1);
    assert_eq!(projection.named_by_namespaces.by(&GatewayKey::new("ns", "w")).count(), 1);
    for key in keys.into_iter().rev() {
        let changes = store.apply(Event::Delete(key));
        for (key, row) in projection.apply(&store, &changes, &table) {
            table.set(key, row.map(undecided));
        }
    }
    let empty = Projection::empty(description);
    assert!(table.is_empty() && projection.rows.is_empty());
    assert_eq!(format!("{:?}", projection.named_by_rows), format!("{:?}", empty.named_by_rows));
    assert_eq!(format!("{:?}", projection.named_by_namespaces), format!("{:?}", empty.named_by_namespaces));
    assert!(projection.views.is_empty(), "{:?}", projection.views);
}
