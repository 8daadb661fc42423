//! What a row is asked with: only what was declared, and the same value for rows that are alike. That a projection keeps
//! up with changes is tested with generated histories, outside this crate.

use super::*;
use crate::decision::{Choice, Decision};
use crate::description::{Fields, Read};
use crate::endpoint_slice::{EndpointSlice, SERVICE_NAME};
use crate::gateway::{Gateway, GatewayClass, Listener, StatusAddress};
use crate::input::Pairs;
use crate::namespace::Namespace;
use crate::object::{Meta, Object};
use crate::selector::Selector;
use crate::service::Service;
use crate::store::{Event, Node};
use crate::table::{Row, RowKind};
use crate::workload::{Pod, PodTemplate};
use crate::workload_entry::WorkloadEntry;

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
        addresses: [[10, 0, 0, 1].into()].into(),
        template: PodTemplate { service_account: format!("{name}-account").into(), ..PodTemplate::default() }.into(),
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

/// A waypoint in `ns` behind the Service of its name, a Pod on this node and one elsewhere, and something that goes through.
fn with_waypoint() -> Store {
    let node = Node { name: Some("here".into()), zone: Some("a".into()), ..Node::default() };
    let mut store = Store::new(Facts { node, ..Facts::default() });
    let entry = WorkloadEntry {
        spec_labels: [("app", "w")].into_iter().collect(),
        locality: Some("r/b".into()),
        ..WorkloadEntry::named("ns", "vm")
    };
    let through = Object::Service(Service {
        meta: labelled("shop", "cart", &[("via", "w"), ("via-ns", "ns")]),
        ..Service::named("shop", "cart")
    });
    let objects = [
        addressed("w", &["w.ns.svc.cluster.local", "10.1.0.1"]),
        Object::Service(Service {
            selector: [("app", "w")].into_iter().collect(),
            addresses: [[10, 1, 0, 1].into()].into(),
            ..Service::named("ns", "w")
        }),
        replica("p", "here", true),
        replica("q", "there", true),
        replica("unready", "here", false),
        Object::WorkloadEntry(entry),
        through,
        service("shop", "direct"),
    ];
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}

fn addressed(name: &str, addresses: &[&str]) -> Object {
    let address = |value: &&str| {
        let kind = if value.parse::<std::net::IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
        StatusAddress { kind: Some(kind.into()), value: (*value).into() }
    };
    let Object::Gateway(gateway) = gateway("ns", name, &[]) else { panic!("no Gateway") };
    Object::Gateway(Gateway { addresses: addresses.iter().map(address).collect(), ..gateway })
}

fn replica(name: &str, node: &str, ready: bool) -> Object {
    let Object::Pod(pod) = pod("ns", name, &[("app", "w")]) else { panic!("no Pod") };
    Object::Pod(Pod { node: Some(node.into()), ready, ..pod })
}

const ENDPOINTS: Fields = Fields {
    service_account: false,
    name: false,
    hosts: false,
    upstream: false,
    endpoints: true,
    node_name: false,
    node_locality: false,
};

/// The endpoints of the only waypoint of `shop/cart`, as this question has them.
fn endpoints(cart: &Input) -> Vec<(String, u32)> {
    let shown = cart.candidates[0].endpoints.iter();
    shown.map(|it| (it.locality.join("/"), it.ready)).collect()
}

fn cart() -> RowKey {
    RowKey::new(RowKind::Service, "shop", "cart")
}

/// A projection with the table that it is followed with.
struct Followed {
    projection: Projection,
    table: Table,
}

impl Followed {
    fn new(fields: Fields, store: &Store) -> Self {
        let description = description(Reach::Referenced, fields);
        let (projection, _) = Projection::of(Arc::clone(&description), store);
        let mut table = Table::new(1, 1);
        for (key, row) in project(&description, store) {
            table.set(key, Some(undecided(row)));
        }
        Self { projection, table }
    }

    /// True when the question about `shop/cart` is another one.
    fn follow(&mut self, store: &Store, changes: &Changes) -> bool {
        let moved = self.projection.apply(store, changes, &self.table);
        let is_moved = moved.iter().any(|(key, _)| *key == cart());
        for (key, row) in moved {
            self.table.set(key, row.map(undecided));
        }
        is_moved
    }

    fn endpoints(&self) -> Vec<(String, u32)> {
        endpoints(&self.table.get(&cart()).unwrap().input)
    }
}

fn counts(counts: &[(&str, u32)]) -> Vec<(String, u32)> {
    counts.iter().map(|(at, ready)| ((*at).to_owned(), *ready)).collect()
}

#[test]
fn ready_workloads_behind_the_gateways_service_are_counted_by_locality() {
    let store = with_waypoint();
    let shown = |fields| endpoints(&input(Reach::Referenced, fields, &store, &cart()));
    assert_eq!(
        shown(ENDPOINTS),
        counts(&[("//", 1), ("/a/", 1), ("r/b/", 1)]),
        "each once, whatever names the Service"
    );
    assert_eq!(shown(Fields::default()), []);
}

#[test]
fn a_node_that_moves_takes_the_endpoints_on_it_along() {
    let mut store = with_waypoint();
    let (mut declared, mut undeclared) = (Followed::new(ENDPOINTS, &store), Followed::new(Fields::default(), &store));
    let there = |zone: &str| {
        let labels = [("topology.kubernetes.io/zone", zone)].into_iter().collect();
        Event::Apply(Object::Node(crate::node::Node::new("there", &labels)))
    };
    let mut follow = |event: Event| {
        let changes = store.apply(event);
        assert!(!undeclared.follow(&store, &changes));
        (declared.follow(&store, &changes), declared.endpoints())
    };
    assert_eq!(follow(there("z")), (true, counts(&[("/a/", 1), ("/z/", 1), ("r/b/", 1)])));
    assert_eq!(follow(there("z")), (false, counts(&[("/a/", 1), ("/z/", 1), ("r/b/", 1)])));
    assert_eq!(follow(there("a")), (true, counts(&[("/a/", 2), ("r/b/", 1)])));
    let gone = Event::Delete(there("a").key());
    assert_eq!(follow(gone), (true, counts(&[("//", 1), ("/a/", 1), ("r/b/", 1)])));
}

#[test]
fn who_may_mean_a_gateway_is_concerned_by_its_pods_beyond_the_rounding() {
    let mut store = with_waypoint();
    let mut declared = Followed::new(ENDPOINTS, &store);
    let mut undeclared = Followed::new(Fields::default(), &store);
    let mut follow = |event: Event| {
        let changes = store.apply(event);
        assert!(!undeclared.follow(&store, &changes));
        let concerned = declared.follow(&store, &changes);
        let anew = input(Reach::Referenced, ENDPOINTS, &store, &cart());
        assert_eq!(declared.endpoints(), endpoints(&anew), "followed as made anew");
        (concerned, declared.endpoints().into_iter().find(|(at, _)| at == "/a/").map_or(0, |(_, ready)| ready))
    };
    assert_eq!(follow(Event::Apply(replica("unready", "here", true))), (true, 2));
    assert_eq!(follow(Event::Apply(replica("third", "here", true))), (false, 2));
    assert_eq!(follow(Event::Delete(replica("p", "here", true).key())), (false, 2));
    assert_eq!(follow(Event::Apply(pod("ns", "other", &[]))), (false, 2));
    assert_eq!(follow(Event::Delete(replica("third", "here", true).key())), (true, 1));
    // A Service without a selector has the Pods that its slices name (R140).
    let bare = Service { addresses: [[10, 1, 0, 1].into()].into(), ..Service::named("ns", "w") };
    assert_eq!(follow(Event::Apply(Object::Service(bare))), (true, 0));
    let meta = Meta { labels: [(SERVICE_NAME, "w")].into_iter().collect(), ..Meta::named("ns", "w-1") };
    let slice = EndpointSlice { meta, pods: vec!["unready".into()], ..EndpointSlice::named("ns", "w-1") };
    let slice = Object::EndpointSlice(slice);
    assert_eq!(follow(Event::Apply(slice.clone())), (true, 1));
    assert_eq!(follow(Event::Delete(slice.key())), (true, 0));
}
