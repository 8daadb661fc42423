//! Clients that do not take what was decided: single cases, and generated histories of several of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::proto::discovery::{DeltaDiscoveryRequest, Status};
use crate::proto::workload::{Address, Service, address};
use crate::resource::Stamp;
use crate::session::{Limits, Session};
use crate::waypoint;

const ADDRESS: ResourceType = ResourceType::Address;

/// A service with a waypoint of this name; empty: none.
fn service(host: &str, to: &str) -> Resource {
    let waypoint = (!to.is_empty()).then(|| waypoint::hostname("infra", to));
    Resource::service(
        Service { namespace: "ns".into(), hostname: host.into(), waypoint, ..Service::default() },
        Stamp { rules: 3, revision: 5 },
    )
}

fn direct() -> Instead {
    Instead::Waypoints(WaypointFields::default())
}

fn snapshot(instead: Instead, resources: impl IntoIterator<Item = Resource>) -> Snapshot {
    let mut snapshot = Snapshot { rules: 1, instead, ..Snapshot::default() };
    for resource in resources {
        snapshot.addresses.put(resource);
    }
    snapshot
}

fn rejected(resource: &Resource, reason: &str) -> Rejected {
    Rejected { name: resource.name().to_string(), reason: reason.to_owned(), version: Some(resource.version()) }
}

/// An outlet with this, and what clients find there.
struct Case {
    outlet: Outlet,
    newest: watch::Receiver<Arc<Snapshot>>,
}

impl Case {
    fn told(instead: Instead, resources: impl IntoIterator<Item = Resource>) -> Self {
        let (outlet, newest) = Outlet::new();
        outlet.publish(snapshot(instead, resources));
        Self { outlet, newest }
    }

    fn reject(&self, client: u64, resource: &Resource) -> Then {
        self.outlet.objections().raise(client, ADDRESS, &[rejected(resource, "no")])[0]
    }

    fn resource(&self, name: &str) -> Arc<Resource> {
        Arc::clone(self.newest.borrow().addresses.get(name).unwrap())
    }
}

#[test]
fn a_rejected_decision_gives_way_to_what_is_declared_until_it_is_another_one() {
    let case = Case::told(direct(), [service("cart", "wp"), service("pay", "wp")]);
    assert_eq!(case.reject(7, &service("cart", "wp")), Then::Fallback);
    let told = case.resource("ns/cart");
    assert_eq!(*told, Arc::new(service("cart", "")).as_ref().clone());
    assert_eq!(told.stamp().revision, 5, "what decided it is still found");
    assert_eq!(*case.resource("ns/pay"), service("pay", "wp"), "the others are told as they were decided");
    let fallback = Arc::clone(&case.newest.borrow().fallbacks["ns/cart"]);
    assert_eq!((fallback.client, &*fallback.reason, fallback.told), (7, "no", told.version()));

    case.outlet.publish(snapshot(direct(), [service("cart", "wp"), service("new", "")]));
    assert_eq!(*case.resource("ns/cart"), service("cart", ""), "the same again is not tried again");
    case.outlet.publish(snapshot(direct(), [service("cart", "other")]));
    assert_eq!(*case.resource("ns/cart"), service("cart", "other"));
    assert_eq!(case.outlet.fallbacks(), 0);
    case.outlet.publish(snapshot(direct(), [service("cart", "wp")]));
    assert_eq!(*case.resource("ns/cart"), service("cart", "wp"), "nothing is remembered of what came before");
}

#[test]
fn what_the_rules_declare_is_what_is_told() {
    let blocked = || WaypointFields { waypoint: Some(waypoint::blocked()), weighted: Vec::new() };
    let case = Case::told(Instead::Waypoints(blocked()), [service("cart", "wp")]);
    assert_eq!(case.reject(1, &service("cart", "wp")), Then::Fallback);
    let told = waypoints_of(case.resource("ns/cart").body()).unwrap();
    assert_eq!(told, Some(blocked()));
    // Other rules, with the same decision.
    case.outlet.publish(snapshot(direct(), [service("cart", "wp")]));
    assert_eq!(*case.resource("ns/cart"), service("cart", ""));
}

#[test]
fn beside_a_control_plane_it_is_what_that_said_byte_for_byte() {
    let mut body = Address { r#type: Some(address::Type::Service(Service::default())) }.encode_to_vec();
    prost::encoding::string::encode(1000, &"future".to_owned(), &mut body);
    let upstream = |name: &str, body: &[u8]| UpstreamResource {
        name: name.into(),
        version: "1".into(),
        body: body.to_vec().into(),
    };
    let passed = service("passed", "wp");
    let said = [upstream("ns/cart", &body), upstream("ns/passed", passed.body())];
    let said = Instead::ControlPlane(said.into_iter().collect());
    let case = Case::told(said, [service("cart", "wp"), passed.clone(), service("ours", "wp")]);
    assert_eq!(case.reject(1, &service("cart", "wp")), Then::Fallback);
    assert_eq!(*case.resource("ns/cart").body(), body);
    assert_eq!(case.reject(1, &passed), Then::NotDecided, "nothing of it is ours");
    assert_eq!(case.reject(1, &service("ours", "wp")), Then::NotDecided, "the control plane has not heard of it");
}

#[test]
fn where_no_waypoint_is_in_it_the_reason_lies_elsewhere() {
    let case = Case::told(direct(), [service("cart", "")]);
    assert_eq!(case.reject(1, &service("cart", "")), Then::NotDecided);
    let blocked = Instead::Waypoints(WaypointFields { waypoint: Some(waypoint::blocked()), weighted: Vec::new() });
    let case = Case::told(blocked, [service("cart", ""), service("pay", waypoint::BLOCKED_HOSTNAME)]);
    assert_eq!(case.reject(1, &service("cart", "")), Then::NotDecided, "it must not be blocked for that");
    let nothing = Case::told(Instead::Nothing, [service("cart", "wp")]);
    assert_eq!(nothing.reject(1, &service("cart", "wp")), Then::NotDecided);
}

#[test]
fn a_fallback_that_is_the_decision_is_none() {
    let blocked = WaypointFields { waypoint: Some(waypoint::blocked()), weighted: Vec::new() };
    let mut decided = service("cart", "wp");
    decided = Resource::new("ns/cart", rewritten(decided.body(), &blocked).unwrap(), [], decided.stamp());
    let case = Case::told(Instead::Waypoints(blocked), [decided.clone()]);
    assert_eq!(case.reject(1, &decided), Then::Same);
}

#[test]
fn a_fallback_that_is_rejected_as_well_is_the_end_of_it() {
    let case = Case::told(direct(), [service("cart", "wp")]);
    assert_eq!(case.reject(1, &service("cart", "wp")), Then::Fallback);
    assert_eq!(case.reject(2, &service("cart", "wp")), Then::Fallback, "by another client, which was sent it as well");
    assert_eq!(case.reject(2, &service("cart", "")), Then::FallbackRejected);
    assert_eq!(*case.resource("ns/cart"), service("cart", ""));
    let fallback = Arc::clone(&case.newest.borrow().fallbacks["ns/cart"]);
    assert_eq!((fallback.client, fallback.rejected_too.as_deref()), (1, Some("no")));
    case.outlet.publish(snapshot(direct(), [service("cart", "wp")]));
    assert_eq!(*case.resource("ns/cart"), service("cart", ""), "nothing new is sent");
}

#[test]
fn only_what_is_told_now_gives_way() {
    let case = Case::told(direct(), [service("cart", "wp")]);
    assert_eq!(case.reject(1, &service("cart", "older")), Then::Superseded);
    assert_eq!(case.reject(1, &service("gone", "wp")), Then::Superseded);
    let unnamed = Rejected { name: String::new(), reason: "?".into(), version: None };
    assert_eq!(case.outlet.objections().raise(1, ADDRESS, &[unnamed]), [Then::Unknown]);
    let policy = rejected(&service("cart", "wp"), "no");
    assert_eq!(case.outlet.objections().raise(1, ResourceType::Authorization, &[policy]), [Then::NotDecided]);
    assert_eq!(*case.resource("ns/cart"), service("cart", "wp"));
    let objections = case.outlet.objections();
    drop(case);
    assert_eq!(objections.raise(1, ADDRESS, &[rejected(&service("cart", "wp"), "no")]), [Then::NotDecided]);
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let all: Vec<Resource> = (0..FALLBACKS_MAX + 2).map(|at| service(&format!("s{at}"), "wp")).collect();
    let case = Case::told(direct(), all.clone());
    let rejected: Vec<Rejected> = all.iter().map(|it| rejected(it, "no")).collect();
    let then = case.outlet.objections().raise(1, ADDRESS, &rejected);
    assert_eq!(then.iter().filter(|it| **it == Then::Fallback).count(), FALLBACKS_MAX);
    assert_eq!(then[FALLBACKS_MAX..], [Then::Full, Then::Full]);
    assert_eq!(case.outlet.fallbacks(), FALLBACKS_MAX);
}

/// As a ztunnel: takes what it does not object to, and names the rest.
struct Client {
    session: Session,
    has: BTreeMap<String, Version>,
    /// Hosts of waypoints that it does not take; `""`: it takes no service without one.
    objects_to: BTreeSet<&'static str>,
}

impl Client {
    fn new(objects_to: BTreeSet<&'static str>) -> Self {
        let mut session = Session::new(Limits { response_bytes: 200, ..Limits::default() });
        session.request(request()).unwrap();
        Self { session, has: BTreeMap::new(), objects_to }
    }

    /// Takes everything up that there is to be had; how many responses that were.
    fn settle(&mut self, id: u64, newest: &watch::Receiver<Arc<Snapshot>>, objections: &Objections) -> usize {
        let mut responses = 0;
        loop {
            let snapshot = Arc::clone(&newest.borrow());
            let Some(response) = self.session.next(&snapshot) else { return responses };
            responses += 1;
            let mut not_taken = Vec::new();
            for sent in &response.resources {
                match self.objects_to.contains(to(&sent.resource).as_str()) {
                    true => not_taken.push(format!("{}: not that", sent.name)),
                    false => drop(self.has.insert(sent.name.to_string(), sent.resource.version())),
                }
            }
            for name in &response.removed {
                self.has.remove(&**name);
            }
            let error_detail = (!not_taken.is_empty()).then(|| Status { code: 0, message: not_taken.join("; ") });
            let answer = DeltaDiscoveryRequest { response_nonce: response.nonce, error_detail, ..request() };
            let answered = self.session.request(answer).unwrap();
            assert_eq!(answered.rejected.len(), not_taken.len());
            assert!(answered.rejected.iter().all(|it| it.version.is_some()));
            objections.raise(id, ADDRESS, &answered.rejected);
        }
    }
}

fn request() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: ADDRESS.url().into(), ..DeltaDiscoveryRequest::default() }
}

/// The host of its waypoint.
fn to(resource: &Resource) -> String {
    let text = format!("{:?}", waypoints_of(resource.body()).unwrap().unwrap().waypoint);
    ["a", "b"].into_iter().find(|host| text.contains(&format!("\"{host}\""))).unwrap_or_default().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is decided and rejected by whom: it comes to rest, with as many responses as things can go wrong; and then
    /// nobody was sent a decision last that somebody rejected.
    #[test]
    fn rejections_come_to_rest(
        steps in prop::collection::vec((0..6u8, prop::sample::select(vec!["", "a", "b"])), 1..40),
        objects_to in prop::collection::vec(prop::sample::subsequence(vec!["", "a", "b"], 0..=3), 2..4),
    ) {
        let (outlet, newest) = Outlet::new();
        let objections = outlet.objections();
        let mut clients: Vec<Client> = objects_to.iter().map(|it| Client::new(it.iter().copied().collect())).collect();
        let mut decided = snapshot(direct(), []);
        for (name, to) in steps {
            decided.addresses.put(service(&format!("s{name}"), to));
            outlet.publish(decided.clone());
            // Each resource may be rejected by each client once, and its fallback too.
            let mut left = 20 * clients.len();
            loop {
                let round = clients.iter_mut().zip(1..).map(|(it, id)| it.settle(id, &newest, &objections));
                let responses = round.sum::<usize>();
                if responses == 0 {
                    break;
                }
                prop_assert!(left >= responses, "it goes on and on");
                left -= responses;
            }
            let told = newest.borrow();
            let refused: BTreeSet<&str> = objects_to.iter().flatten().copied().collect();
            for (name, resource) in told.addresses.by_name() {
                let is_decided = decided.addresses.get(name) == Some(resource);
                let chosen = self::to(decided.addresses.get(name).unwrap());
                prop_assert_eq!(is_decided, chosen.is_empty() || !refused.contains(chosen.as_str()));
                prop_assert_eq!(told.fallbacks.contains_key(name), !is_decided);
                for client in clients.iter().filter(|it| !it.objects_to.contains(self::to(resource).as_str())) {
                    prop_assert_eq!(client.has.get(&**name), Some(&resource.version()));
                }
            }
        }
    }
}
