//! What components are told of ready endpoints, and who is asked again when there are others.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::batch::{Answer, AnswerChoice, AnswerTarget, Batch, Question};
use crate::decider::{ResolveFailure, Resolver};
use crate::decision::OnUnreachable;
use crate::description::{Description, Fields, Reach};
use crate::learned::decider::LearnedDecider;
use crate::learned::tests::{gateway, host, mesh, service, terms, workload};
use crate::learned::{LearnedChanges, LearnedEvent, LearnedMesh, LearnedSubject, LearnedWaypoint};
use crate::store::{Changes, Event, Facts, Node, Store};

/// Chooses the first waypoint that has ready endpoints in the node's zone, else the first; says whose namespace asked.
struct Nearest(Sender<String>);

impl Resolver for Nearest {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let is_near = |index: &&u32| {
            let endpoints = &batch.gateways[**index as usize].endpoints;
            endpoints.iter().any(|it| Some(&it.locality[1]) == batch.node.locality[1].as_ref())
        };
        let answer = |question: &Question<'_>| {
            self.0.send(batch.namespaces[question.namespace as usize].name.to_string()).unwrap();
            let given = question.upstream.clone().unwrap_or_default();
            let chosen = given.iter().find(is_near).or(given.first());
            let target = |gateway: &u32| AnswerTarget { gateway: *gateway, address: Some(0), weight: 100 };
            Answer {
                choice: chosen.map_or(AnswerChoice::Keep, |it| AnswerChoice::Waypoints(vec![target(it)])),
                on_unreachable: OnUnreachable::Fail,
                reason: None,
                second_reason: None,
                ingress: false,
                tunnel: None,
            }
        };
        Ok(batch.subjects.iter().map(answer).collect())
    }
}

/// A node, with what it learned and decided.
struct OnNode {
    store: Store,
    mesh: LearnedMesh,
    decider: LearnedDecider,
    asked: Receiver<String>,
}

impl OnNode {
    fn new(zone: &str, endpoints: bool, said: &[LearnedEvent]) -> Self {
        let node = Node { zone: Some(zone.into()), ..Node::default() };
        let store = Store::new(Facts { node, ..Facts::default() });
        let mut mesh = LearnedMesh::default();
        mesh.apply(said.iter().cloned());
        let (sender, asked) = channel();
        let description = Description {
            name: "nearest".into(),
            version: "1".into(),
            reads: Vec::new(),
            fields: Fields { upstream: true, endpoints, node_locality: true, ..Fields::default() },
            references: Vec::new(),
            reach: Reach::Referenced,
        };
        let resolver = Arc::new(Nearest(sender));
        let decider = LearnedDecider::new(Arc::new(description), resolver, terms(false), &store, &mesh, 1);
        let decider = decider.map_err(|(_, why)| why).unwrap();
        assert!(asked.try_iter().count() > 0);
        Self { store, mesh, decider, asked }
    }

    /// Whose namespaces asked again.
    fn follow(&mut self, said: impl IntoIterator<Item = LearnedEvent>) -> Vec<String> {
        let learned = self.mesh.apply(said);
        self.decider.apply(&self.store, &Changes::default(), &self.mesh, &learned, 2);
        self.asked.try_iter().collect()
    }

    /// The waypoint of the service `cart` in this namespace.
    fn chosen(&self, namespace: &str) -> String {
        let row = &self.decider.rows()[format!("{namespace}/cart.{namespace}.svc.cluster.local").as_str()];
        row.decision.targets()[0].gateway.name.split('.').next().unwrap().to_owned()
    }
}

/// The service `cart` of a namespace, given these waypoints of `infra`.
fn cart(namespace: &str, given: &[&str]) -> LearnedEvent {
    let given: Vec<_> = given.iter().map(|name| host("infra", name)).collect();
    let (name, subject) = service(namespace, "cart", &given);
    LearnedEvent::Put(name, subject)
}

/// A Pod of a waypoint of `infra`; none: it is not ready.
fn pod(name: &str, of: &str, zone: Option<&str>) -> LearnedEvent {
    let (uid, subject) = workload(&format!("c//Pod/infra/{name}"), "infra", &[]);
    LearnedEvent::Put(uid, LearnedSubject { ready: zone.map(|zone| endpoint(of, zone)), ..subject })
}

fn endpoint(of: &str, zone: &str) -> Arc<LearnedEndpoint> {
    let services = vec![service("infra", of, &[]).0];
    Arc::new(LearnedEndpoint { services, locality: ["r".into(), zone.into(), "".into()] })
}

fn told(zone: &str, ready: u32) -> EndpointsInput {
    EndpointsInput { locality: ["r".into(), zone.into(), "".into()], ready }
}

#[test]
fn nodes_in_two_zones_choose_differently_from_the_same_mesh() {
    let said = [cart("shop", &["wp", "next"]), pod("w", "wp", Some("a")), pod("n", "next", Some("b"))];
    for (zone, chosen) in [("a", "wp"), ("b", "next"), ("c", "wp")] {
        assert_eq!(OnNode::new(zone, true, &said).chosen("shop"), chosen, "in zone {zone}");
    }
    assert_eq!(OnNode::new("b", false, &said).chosen("shop"), "wp", "who did not declare endpoints is told of none");
}

#[test]
fn a_waypoint_without_ready_endpoints_in_the_zone_is_left_for_another() {
    let said = [cart("shop", &["wp", "next"]), pod("w", "wp", Some("a")), pod("n", "next", Some("b"))];
    let mut node = OnNode::new("b", true, &said);
    assert_eq!(
        (node.follow([pod("n", "next", None)]), node.chosen("shop")),
        (vec!["shop".to_owned()], "wp".to_owned())
    );
    node.follow([pod("n", "next", Some("b"))]);
    assert_eq!(node.chosen("shop"), "next");
    node.follow([LearnedEvent::Remove("c//Pod/infra/n".into())]);
    assert_eq!(node.chosen("shop"), "wp", "gone altogether");
}

#[test]
fn a_count_asks_again_only_beyond_its_rounding_and_only_those_concerned() {
    let mut said = vec![cart("shop", &["wp"]), cart("both", &["next", "wp"]), cart("other", &["next"])];
    said.extend((0..4).map(|at| pod(&format!("w{at}"), "wp", Some("a"))));
    let one_more = |at: u32| [pod(&format!("w{at}"), "wp", Some("a"))];
    let mut node = OnNode::new("a", true, &said);
    for at in 4..7 {
        assert_eq!(node.follow(one_more(at)), Vec::<String>::new(), "{} are told as 4", at + 1);
    }
    // Questions come in the order of the resources.
    assert_eq!(node.follow(one_more(7)), ["both", "shop"]);
    let row = &node.decider.rows()["shop/cart.shop.svc.cluster.local"];
    assert_eq!(row.input.candidates[0].endpoints, [told("a", 8)]);
    // One leaves and another comes in the same update.
    let replaced = [pod("w0", "wp", None), pod("w8", "wp", Some("a"))];
    assert_eq!(node.follow(replaced), Vec::<String>::new());
    let mut undeclared = OnNode::new("a", false, &said);
    assert_eq!(undeclared.follow((4..9).flat_map(one_more)), Vec::<String>::new());
}

#[test]
fn by_an_address_the_service_or_workload_that_has_it_is_meant_on_its_network() {
    let ip = || LearnedWaypoint::Ip { network: "n".into(), ip: [10, 9, 9, 9].into() };
    let at = |network: &str, (name, subject): (Name, LearnedSubject)| {
        let addresses = [(network.into(), [10, 9, 9, 9].into())].into();
        LearnedEvent::Put(name, LearnedSubject { addresses, ..subject })
    };
    let ready = |uid: &str, zone: &str| {
        let (uid, subject) = workload(uid, "infra", &[]);
        (uid, LearnedSubject { ready: Some(endpoint("wp", zone)), ..subject })
    };
    let mut mesh = LearnedMesh::default();
    let mut follow = |event: LearnedEvent| {
        let LearnedChanges { endpoints, .. } = mesh.apply([event]);
        (endpoints.contains(&ip()), mesh.endpoints_of(&ip()))
    };
    follow(at("n", service("infra", "wp", &[])));
    let (cart, subject) = service("shop", "cart", &[ip()]);
    assert_eq!(follow(LearnedEvent::Put(cart.clone(), subject)), (false, vec![]), "it is given, and has no endpoints");
    assert_eq!(follow(at("m", ready("far", "a"))), (true, vec![told("a", 1)]), "behind the service");
    assert_eq!(follow(at("n", ready("near", "b"))), (true, vec![told("a", 1), told("b", 1)]));
    let service = service("infra", "wp", &[]).0;
    assert_eq!(follow(LearnedEvent::Remove(service)), (true, vec![told("b", 1)]), "the workload at the address itself");
    assert_eq!(follow(LearnedEvent::Remove("far".into())), (false, vec![told("b", 1)]), "another network");
    assert_eq!(follow(LearnedEvent::Remove("near".into())), (true, vec![]));
    follow(LearnedEvent::Remove(cart));
    assert!(mesh.at.is_empty() && mesh.ready.is_empty() && mesh.given.is_empty(), "nothing is left behind: {mesh:?}");
}

#[test]
fn of_a_gateway_that_another_source_has_the_control_planes_counts_are_told() {
    let said = [cart("shop", &["wp"]), pod("w", "wp", Some("a"))];
    let mut node = OnNode::new("a", true, &said);
    let changes = node.store.apply(Event::Apply(gateway("infra", "wp", "All")));
    node.decider.apply(&node.store, &changes, &node.mesh, &LearnedChanges::default(), 2);
    let shown = |node: &OnNode| {
        let candidate = node.decider.rows()["shop/cart.shop.svc.cluster.local"].input.candidates[0].clone();
        (candidate.class.is_some(), candidate.endpoints.clone())
    };
    assert_eq!(shown(&node), (true, vec![told("a", 1)]));
    node.follow([pod("w2", "wp", Some("b"))]);
    assert_eq!(shown(&node), (true, vec![told("a", 1), told("b", 1)]));
}

#[test]
fn replicas_in_one_place_are_one_value() {
    let said = (0..3).map(|at| pod(&format!("w{at}"), "wp", Some("a")));
    let events = said.filter_map(|event| if let LearnedEvent::Put(name, it) = event { Some((name, it)) } else { None });
    let mesh = mesh(events);
    let kept: Vec<_> = mesh.iter().filter_map(|(_, it)| it.ready.as_ref()).collect();
    assert!(kept.len() == 3 && kept.iter().all(|it| Arc::ptr_eq(it, kept[0])));
    assert!(mesh.is_ready(&service("infra", "wp", &[]).0));
}
