//! Of a learned mesh: what a component is shown of it, what the host lets it choose, and that following changes gives the same
//! as starting over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;

use super::decider::{LearnedDecider, LearnedRow, LearnedTerms, NOT_PROGRAMMED};
use super::*;
use crate::batch::{Answer, AnswerChoice, AnswerTarget, Batch, Question};
use crate::decider::{ResolveFailure, Resolver, Terms};
use crate::decision::{Choice, OnUnreachable};
use crate::description::{Description, Fields, Reach, Read, Reference, Source};
use crate::floor::ATTACHMENT_DENIED;
use crate::gateway::{Listener, StatusAddress};
use crate::namespace::Namespace;
use crate::object::{Meta, Object};
use crate::service::Service;
use crate::service_entry::ServiceEntry;
use crate::store::{Changes, Event, Facts};
use crate::workload::Pod;

/// Keeps where labels are unknown and `pick` names nobody; else goes through the candidate that is named.
#[derive(Default)]
struct Plain {
    pick: Option<String>,
    broken: AtomicBool,
    asked: AtomicUsize,
}

impl Plain {
    fn choice(&self, batch: &Batch<'_>, question: &Question<'_>) -> AnswerChoice {
        let label = question.input.labels.as_ref().and_then(|labels| labels.iter().find(|(key, _)| &**key == "via"));
        let wanted = match (&self.pick, label) {
            (Some(pick), _) => pick.clone(),
            (None, Some((_, via))) => via.to_string(),
            (None, None) if question.input.labels.is_none() => return AnswerChoice::Keep,
            (None, None) => return AnswerChoice::Direct,
        };
        let is_it = |index: &&u32| *batch.gateways[**index as usize].key.name == *wanted;
        let Some(gateway) = question.candidates.iter().find(is_it) else { return AnswerChoice::Blocked };
        let address = (!batch.gateways[*gateway as usize].addresses.is_empty()).then_some(0);
        AnswerChoice::Waypoints(vec![AnswerTarget { gateway: *gateway, address, weight: 100 }])
    }
}

impl Resolver for Plain {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(ResolveFailure { limit: None, what: "broken".into(), row: None });
        }
        self.asked.fetch_add(batch.subjects.len(), Ordering::Relaxed);
        let answer = |question| Answer {
            choice: self.choice(batch, question),
            on_unreachable: OnUnreachable::Fail,
            reason: None,
            second_reason: None,
            ingress: false,
            tunnel: None,
        };
        Ok(batch.subjects.iter().map(answer).collect())
    }
}

fn description(upstream: bool, reach: Reach) -> Arc<Description> {
    Arc::new(Description {
        name: "plain".into(),
        version: "1".into(),
        reads: vec![
            Read { at: Source::SubjectLabel, key: "via".into() },
            Read { at: Source::NamespaceLabel, key: "via".into() },
        ],
        fields: Fields { upstream, ..Fields::default() },
        references: vec![Reference { name_label: "via".into(), namespace_label: None, inherit: true }],
        reach,
    })
}

pub(super) fn terms(allow_unprogrammed: bool) -> LearnedTerms {
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Keep, unresolved: None };
    LearnedTerms { terms, allow_unprogrammed }
}

pub(super) fn host(namespace: &str, name: &str) -> LearnedWaypoint {
    LearnedWaypoint::Host { namespace: namespace.into(), host: format!("{name}.{namespace}.svc.cluster.local").into() }
}

pub(super) fn service(namespace: &str, name: &str, upstream: &[LearnedWaypoint]) -> (Name, LearnedSubject) {
    let of: Name = format!("{name}.{namespace}.svc.cluster.local").into();
    entry(namespace, &of, upstream)
}

/// Anything with a host.
fn entry(namespace: &str, of: &str, upstream: &[LearnedWaypoint]) -> (Name, LearnedSubject) {
    let (kind, row) = service_with_host(of, namespace, "cluster.local");
    let name = of.split('.').next().unwrap_or_default().into();
    let subject = LearnedSubject {
        kind,
        namespace: namespace.into(),
        name,
        row,
        hosts: [of.into()].into(),
        addresses: [("".into(), [10, 0, 0, 1].into())].into(),
        service_account: None,
        visibility: Visibility::Everywhere,
        upstream: upstream.into(),
        ready: None,
    };
    (format!("{namespace}/{of}").into(), subject)
}

pub(super) fn workload(uid: &str, namespace: &str, upstream: &[LearnedWaypoint]) -> (Name, LearnedSubject) {
    let (kind, row) = workload_of_uid(uid, "Kubernetes");
    let name = uid.rsplit('/').next().unwrap_or_default().into();
    let subject = LearnedSubject { kind, row, name, hosts: Box::default(), ..entry(namespace, "", upstream).1 };
    (uid.into(), subject)
}

pub(super) fn mesh(subjects: impl IntoIterator<Item = (Name, LearnedSubject)>) -> LearnedMesh {
    let mut mesh = LearnedMesh::default();
    mesh.apply(subjects.into_iter().map(|(name, subject)| LearnedEvent::Put(name, subject)));
    mesh
}

pub(super) fn gateway(namespace: &str, name: &str, admits_from: &str) -> Object {
    let listener =
        Listener { port: 15008, protocol: "HBONE".into(), admits_from: Some(admits_from.into()), selector: None };
    let value = format!("{name}.{namespace}.svc.cluster.local").into();
    Object::Gateway(Gateway {
        meta: Meta::named(namespace, name),
        class: "istio-waypoint".into(),
        listeners: vec![listener],
        addresses: vec![StatusAddress { kind: Some("Hostname".into()), value }],
    })
}

fn pod(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Object {
    let meta = Meta { labels: labels.iter().copied().collect(), ..Meta::named(namespace, name) };
    Object::Pod(Pod { meta, addresses: [[10, 0, 0, 9].into()].into(), ..Pod::named(namespace, name) })
}

fn store(objects: impl IntoIterator<Item = Object>) -> Store {
    let mut store = Store::new(Facts::default());
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}

fn decided(
    resolver: Plain,
    description: Arc<Description>,
    terms: LearnedTerms,
    store: &Store,
    mesh: &LearnedMesh,
) -> LearnedDecider {
    let decider = LearnedDecider::new(description, Arc::new(resolver), terms, store, mesh, 1);
    decider.map_err(|(name, failure)| format!("{name:?}: {failure}")).unwrap()
}

fn shown(decider: &LearnedDecider, name: &str) -> String {
    decider.rows()[name].decision.to_string()
}

#[test]
fn a_mesh_known_only_to_the_control_plane_is_kept_as_it_is() {
    let waypoint = host("infra", "wp");
    let mesh = mesh([
        service("shop", "cart", std::slice::from_ref(&waypoint)),
        workload("c2//Pod/shop/cart-1", "shop", &[]),
        workload("odd", "shop", &[]),
    ]);
    let decider = decided(Plain::default(), description(true, Reach::Referenced), terms(false), &store([]), &mesh);
    assert_eq!(decider.rows().len(), 3);
    for (name, row) in decider.rows() {
        assert_eq!(row.decision.choice, Choice::Keep, "{name}");
        assert!(row.input.labels.is_none() && row.input.annotations.is_none(), "unknown is not empty");
        assert!(!row.input.namespace.known);
    }
    let input = &decider.rows()["shop/cart.shop.svc.cluster.local"].input;
    assert_eq!(input.upstream, Some(vec![waypoint.key()]));
    assert_eq!(input.candidates[0].addresses[0].hostname().map(|it| &**it), Some("wp.infra.svc.cluster.local"));
}

#[test]
fn what_was_not_declared_is_not_passed() {
    let mesh = mesh([service("shop", "cart", &[host("infra", "wp")])]);
    let decider = decided(Plain::default(), description(false, Reach::All), terms(false), &store([]), &mesh);
    let input = &decider.rows()["shop/cart.shop.svc.cluster.local"].input;
    assert_eq!((&input.upstream, input.candidates.len(), &input.name, input.hosts.len()), (&None, 0, &None, 0));
}

#[test]
fn a_canary_of_any_weight_may_be_chosen_and_its_consent_is_not_asked_again() {
    let given = [host("infra", "wp"), host("infra", "next")];
    let mesh = mesh([service("shop", "cart", &given)]);
    let plain = Plain { pick: Some("next.infra.svc.cluster.local".into()), ..Plain::default() };
    let decider = decided(plain, description(true, Reach::Referenced), terms(false), &store([]), &mesh);
    let row = &decider.rows()["shop/cart.shop.svc.cluster.local"];
    assert_eq!(row.decision.targets()[0].gateway, given[1].key());
    assert_eq!(row.decision.targets()[0].address, Some(given[1].address()));
    let upstream: Vec<_> = given.iter().map(LearnedWaypoint::key).collect();
    assert_eq!(row.input.upstream, Some(upstream), "primary first, whatever the order of candidates");
}

#[test]
fn a_choice_outside_what_was_programmed_is_refused_and_said() {
    let mesh = mesh([
        service("shop", "cart", &[]),
        service("infra", "other", &[host("infra", "wp")]),
        service("shop", "own", &[host("shop", "wp")]),
    ]);
    let pick = |name: &str| Plain { pick: Some(format!("{name}.svc.cluster.local")), ..Plain::default() };
    let all = || description(true, Reach::All);
    let decider = decided(pick("wp.shop"), all(), terms(false), &store([]), &mesh);
    let cart = "shop/cart.shop.svc.cluster.local";
    assert_eq!(shown(&decider, cart), format!("keep ({NOT_PROGRAMMED})"));
    let row = &decider.rows()[cart];
    assert!(row.decision.floor && row.refused.as_ref().is_some_and(|it| it.targets().len() == 1));
    assert_eq!(decider.refused().len(), 1, "infra/other may not mean it: its owner admits its own namespace");
    assert_eq!(shown(&decider, "infra/other.infra.svc.cluster.local"), format!("direct ({ATTACHMENT_DENIED})"));
    assert_eq!(shown(&decider, "shop/own.shop.svc.cluster.local"), "shop/wp.shop.svc.cluster.local");
    let free = decided(pick("wp.shop"), all(), terms(true), &store([]), &mesh);
    assert_eq!((shown(&free, cart), free.refused().len()), ("shop/wp.shop.svc.cluster.local".into(), 0));
}

#[test]
fn an_address_keeps_the_network_that_the_control_plane_gave() {
    let ip = LearnedWaypoint::Ip { network: "net/2".into(), ip: [10, 9, 9, 9].into() };
    let mesh = mesh([service("shop", "cart", std::slice::from_ref(&ip))]);
    let plain = Plain { pick: Some("net/2/10.9.9.9".into()), ..Plain::default() };
    let decider = decided(plain, description(true, Reach::Referenced), terms(false), &store([]), &mesh);
    let target = decider.rows()["shop/cart.shop.svc.cluster.local"].decision.targets()[0].clone();
    assert_eq!((target.address, target.dial), (Some(ip.address()), vec![[10, 9, 9, 9].into()]));
}

#[test]
fn labels_are_given_where_another_source_has_the_object() {
    let cart = Object::Service(Service {
        meta: Meta { labels: [("via", "wp")].into_iter().collect(), ..Meta::named("shop", "cart") },
        ..Service::named("shop", "cart")
    });
    let books = ServiceEntry {
        meta: Meta { labels: [("via", "wp")].into_iter().collect(), ..Meta::named("shop", "books") },
        hosts: vec!["books.example".into()],
        ..ServiceEntry::named("shop", "books")
    };
    let store =
        store([cart, Object::ServiceEntry(books), pod("shop", "p", &[("via", "wp")]), gateway("shop", "wp", "Same")]);
    let given = [host("shop", "wp")];
    let here = [
        service("shop", "cart", &given),
        entry("shop", "books.example", &given),
        workload("Kubernetes//Pod/shop/p", "shop", &given),
    ];
    let elsewhere = [workload("other//Pod/shop/p", "shop", &given), entry("infra", "books.example", &given)];
    let mesh = mesh(here.iter().chain(&elsewhere).cloned());
    for upstream in [false, true] {
        let decider = decided(Plain::default(), description(upstream, Reach::Referenced), terms(false), &store, &mesh);
        for (name, _) in &here {
            assert_eq!(shown(&decider, name), "shop/wp", "{name}: the Gateway itself, which the address leads to");
            assert!(decider.rows()[name].input.candidates[0].class.is_some());
        }
        for (name, _) in &elsewhere {
            assert_eq!(shown(&decider, name), "keep", "{name}");
        }
    }
}

#[test]
fn the_owner_of_a_known_gateway_is_asked_whatever_the_control_plane_gave() {
    let given = [host("infra", "wp")];
    let mesh = mesh([service("shop", "cart", &given)]);
    let plain = || Plain { pick: Some("wp".into()), ..Plain::default() };
    for (admits, expected) in [("Same", format!("direct ({ATTACHMENT_DENIED})")), ("All", "infra/wp".to_owned())] {
        let store = store([gateway("infra", "wp", admits)]);
        let decider = decided(plain(), description(true, Reach::Referenced), terms(false), &store, &mesh);
        assert_eq!(shown(&decider, "shop/cart.shop.svc.cluster.local"), expected);
    }
}

#[test]
fn equal_questions_are_asked_once() {
    let names = (0..500).map(|at| format!("c2//Pod/shop/p{at}"));
    let mesh = mesh(names.map(|uid| workload(&uid, "shop", &[host("shop", "wp")])));
    let resolver = Arc::new(Plain::default());
    let decider =
        LearnedDecider::new(description(true, Reach::Referenced), resolver.clone(), terms(false), &store([]), &mesh, 1);
    assert_eq!((resolver.asked.load(Ordering::Relaxed), decider.is_ok_and(|it| it.distinct() == 1)), (1, true));
}

#[test]
fn a_failure_refuses_the_first_decision_and_costs_nothing_later() {
    let (cart, subject) = service("shop", "cart", &[host("shop", "wp")]);
    let mut mesh = mesh([(cart.clone(), subject.clone())]);
    let (resolver, store) =
        (Arc::new(Plain { pick: Some("wp.shop.svc.cluster.local".into()), ..Plain::default() }), store([]));
    let description = description(true, Reach::Referenced);
    let new =
        |mesh: &LearnedMesh| LearnedDecider::new(description.clone(), resolver.clone(), terms(false), &store, mesh, 1);
    resolver.broken.store(true, Ordering::Relaxed);
    assert!(matches!(new(&mesh), Err((Some(name), failure)) if name == cart && failure.what == "broken"));
    resolver.broken.store(false, Ordering::Relaxed);
    let mut decider = new(&mesh).ok().unwrap();
    let through = shown(&decider, &cart);
    resolver.broken.store(true, Ordering::Relaxed);
    // Another question: one more waypoint. The old answer still holds. A newcomer has none.
    let more = LearnedSubject { upstream: [host("shop", "wp"), host("shop", "next")].into(), ..subject.clone() };
    let events =
        [LearnedEvent::Put(cart.clone(), more), LearnedEvent::Put("shop/new".into(), service("shop", "new", &[]).1)];
    let changes = mesh.apply(events);
    let moved = decider.apply(&store, &Changes::default(), &mesh, &changes, 2);
    assert_eq!(moved.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["shop/new"]);
    assert_eq!((shown(&decider, &cart), shown(&decider, "shop/new")), (through, "keep".into()));
    assert_eq!((decider.degraded().len(), decider.rows()[&cart].revision), (2, 1));
    // What is not programmed any more is not gone through, answer or not.
    let changes = mesh.apply([LearnedEvent::Put(cart.clone(), LearnedSubject { upstream: Box::default(), ..subject })]);
    decider.apply(&store, &Changes::default(), &mesh, &changes, 3);
    assert_eq!(shown(&decider, &cart), format!("keep ({NOT_PROGRAMMED})"));
    resolver.broken.store(false, Ordering::Relaxed);
    decider.retry_degraded(&store, &mesh, 4);
    assert_eq!((decider.degraded().len(), shown(&decider, &cart)), (0, "blocked".into()));
}

#[test]
fn uids_say_what_a_workload_is_and_whose() {
    let check = |uid: &str, kind: SubjectKind, row: Option<&str>| {
        let (found, key) = workload_of_uid(uid, "Kubernetes");
        assert_eq!((found, key.map(|key| key.to_string()).as_deref()), (kind, row), "{uid}");
    };
    check("Kubernetes//Pod/shop/cart", SubjectKind::Pod, Some("Pod shop/cart"));
    check("other//Pod/shop/cart", SubjectKind::Pod, None);
    check(
        "Kubernetes/networking.istio.io/WorkloadEntry/shop/vm",
        SubjectKind::WorkloadEntry,
        Some("WorkloadEntry shop/vm"),
    );
    check(
        "Kubernetes/networking.istio.io/ServiceEntry/shop/se/10.0.0.1",
        SubjectKind::EntryEndpoint,
        Some("ServiceEntryEndpoint shop/se/10.0.0.1"),
    );
    check(
        "Kubernetes/discovery.k8s.io/EndpointSlice/shop/s/::1",
        SubjectKind::SliceEndpoint,
        Some("EndpointSliceEndpoint shop/s/::1"),
    );
    for odd in ["", "x", "Kubernetes/a/b/c", "Kubernetes//Pod//cart", "Kubernetes//Pod/shop"] {
        assert_eq!(workload_of_uid(odd, "Kubernetes").1, None, "{odd}");
    }
    assert_eq!(service_with_host("cart.shop.svc.cluster.local", "infra", "cluster.local").0, SubjectKind::ServiceEntry);
}

#[test]
fn subjects_beside_one_another_have_the_names_that_they_share_once() {
    let given = [host("infra", "wp")];
    let pods = ["a", "b"].map(|pod| workload(&format!("Kubernetes//Pod/shop/{pod}"), "shop", &given));
    let mesh = mesh(pods);
    let names = |uid: &str| {
        let subject = mesh.get(&uid.into()).unwrap();
        let LearnedWaypoint::Host { namespace, host } = &subject.upstream[0] else { panic!("not by host") };
        let row = subject.row.as_ref().unwrap();
        assert!(Arc::ptr_eq(&row.name, &subject.name));
        [&subject.namespace, &row.namespace, &subject.addresses[0].0, namespace, host].map(|name| name.as_ptr())
    };
    assert_eq!(names("Kubernetes//Pod/shop/a"), names("Kubernetes//Pod/shop/b"));
}

/// What may happen, to either source.
#[derive(Clone, Debug)]
enum Happens {
    Said(LearnedEvent),
    Stored(Box<Event>),
}

fn event() -> impl Strategy<Value = Happens> {
    let by_host = || (0..2usize, 0..2usize).prop_map(|(ns, name)| host(["shop", "infra"][ns], ["wp", "next"][name]));
    let by_ip = || (0..3u8).prop_map(|ip| LearnedWaypoint::Ip { network: "".into(), ip: [10, 0, 0, ip].into() });
    let waypoints = move || vec(prop_oneof![3 => by_host(), 1 => by_ip()], 0..3);
    let name = || prop_oneof!["cart", "wp", "next"];
    let place = || prop_oneof![Just("shop"), Just("infra")];
    let service_event = (place(), name(), waypoints(), 0..3u8).prop_map(|(ns, name, given, ip)| {
        let (key, subject) = service(ns, &name, &distinct(given));
        Happens::Said(LearnedEvent::Put(
            key,
            LearnedSubject { addresses: [("".into(), [10, 0, 0, ip].into())].into(), ..subject },
        ))
    });
    let entry_event = (place(), waypoints()).prop_map(|(ns, given)| {
        let (key, subject) = entry(ns, "books.example", &distinct(given));
        Happens::Said(LearnedEvent::Put(key, subject))
    });
    let ready = || proptest::option::of((place(), name(), prop_oneof!["a", "b"]));
    let pod_event = (place(), "[p-s]", waypoints(), ready(), 0..3u8).prop_map(|(ns, pod, given, ready, ip)| {
        let (key, subject) = workload(&format!("Kubernetes//Pod/{ns}/{pod}"), ns, &distinct(given));
        let ready = ready.map(|(ns, name, zone)| {
            let services = vec![service(ns, &name, &[]).0];
            Arc::new(LearnedEndpoint { services, locality: ["".into(), zone.into(), "".into()] })
        });
        let addresses = [("".into(), [10, 0, 0, ip].into())].into();
        Happens::Said(LearnedEvent::Put(key, LearnedSubject { ready, addresses, ..subject }))
    });
    let gone = (place(), name()).prop_map(|(ns, name)| Happens::Said(LearnedEvent::Remove(service(ns, &name, &[]).0)));
    let labels = |via: bool| if via { vec![("via", "wp")] } else { Vec::new() };
    let store_event = (0..6u8, place(), any::<bool>(), any::<bool>()).prop_map(move |(what, ns, via, there)| {
        let meta = |name: &str| Meta { labels: labels(via).into_iter().collect(), ..Meta::named(ns, name) };
        let object = match what {
            0 => gateway(ns, "wp", if via { "All" } else { "Same" }),
            1 => pod(ns, "p", &labels(via)),
            2 => Object::Service(Service { meta: meta("cart"), ..Service::named(ns, "cart") }),
            3 => Object::Namespace(Namespace {
                meta: Meta { labels: labels(via).into_iter().collect(), ..Meta::named("", ns) },
            }),
            _ => Object::ServiceEntry(ServiceEntry {
                meta: meta(if what == 4 { "books" } else { "a-books" }),
                hosts: vec!["books.example".into()],
                ..ServiceEntry::named(ns, "books")
            }),
        };
        Happens::Stored(Box::new(if there { Event::Apply(object) } else { Event::Delete(object.key()) }))
    });
    prop_oneof![3 => service_event, 1 => entry_event, 4 => pod_event, 1 => gone, 4 => store_event]
}

fn distinct(given: Vec<LearnedWaypoint>) -> Vec<LearnedWaypoint> {
    let mut seen = BTreeSet::new();
    given.into_iter().filter(|it| seen.insert(it.clone())).collect()
}

proptest! {
    #[test]
    fn following_changes_gives_the_same_as_starting_over(
        events in vec(event(), 1..25),
        upstream in any::<bool>(),
        reach in prop_oneof![Just(Reach::Referenced), Just(Reach::OwnNamespace), Just(Reach::All)],
        pick in proptest::option::of(Just("wp".to_owned())),
        allow in any::<bool>(),
    ) {
        let mut description = Description::clone(&description(upstream, reach));
        description.fields.endpoints = true;
        let description = Arc::new(description);
        let resolver = Arc::new(Plain { pick, ..Plain::default() });
        let (mut store, mut mesh) = (store([]), LearnedMesh::default());
        let new = |store: &Store, mesh: &LearnedMesh| {
            LearnedDecider::new(description.clone(), resolver.clone(), terms(allow), store, mesh, 0).ok().unwrap()
        };
        let mut decider = new(&store, &mesh);
        let mut mirror = BTreeMap::new();
        for event in events {
            let (changes, learned) = match event {
                Happens::Said(event) => (Changes::default(), mesh.apply([event])),
                Happens::Stored(event) => (store.apply(*event), LearnedChanges::default()),
            };
            for change in decider.apply(&store, &changes, &mesh, &learned, 1) {
                match change.row {
                    Some(row) => drop(mirror.insert(change.name, row)),
                    None => drop(mirror.remove(&change.name)),
                }
            }
            let fresh = new(&store, &mesh);
            let say = |row: &LearnedRow| format!("{:?} {:?} {:?}", row.decision, row.input, row.refused);
            let followed: Vec<_> = decider.rows().iter().map(|(name, row)| (name.clone(), say(row))).collect();
            let anew: Vec<_> = fresh.rows().iter().map(|(name, row)| (name.clone(), say(row))).collect();
            prop_assert_eq!(followed, anew);
            prop_assert_eq!(decider.refused(), fresh.refused());
            // Who was told of every move knows every decision.
            let told: Vec<_> = mirror.iter().map(|(name, row)| (name, &row.decision)).collect();
            let all: Vec<_> = decider.rows().iter().map(|(name, row)| (name, &row.decision)).collect();
            prop_assert_eq!(told, all);
        }
    }
}
