//! Sessions against a client that keeps what ztunnel keeps, over generated histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::proto::workload::{PortList, Service, Workload};
use crate::resource::{Stamp, bytes_of_ip};

const ADDRESS: ResourceType = ResourceType::Address;

fn snapshot() -> Snapshot {
    Snapshot { rules: 1, ..Snapshot::default() }
}

fn workload(uid: &str, ip: u8, services: &[&str], node: &str) -> Resource {
    let services = services.iter().map(|it| ((*it).to_owned(), PortList::default())).collect();
    let addresses = vec![bytes_of_ip([10, 0, 0, ip].into())];
    Resource::workload(
        Workload { uid: uid.into(), addresses, services, node: node.into(), ..Workload::default() },
        Stamp::default(),
    )
}

fn service(host: &str, ip: u8) -> Resource {
    let address = crate::proto::workload::NetworkAddress {
        address: bytes_of_ip([10, 96, 0, ip].into()),
        ..crate::proto::workload::NetworkAddress::default()
    };
    Resource::service(
        Service { namespace: "ns".into(), hostname: host.into(), addresses: vec![address], ..Service::default() },
        Stamp::default(),
    )
}

fn ask(of: ResourceType) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: of.url().into(), ..DeltaDiscoveryRequest::default() }
}

fn subscribe(names: &[&str]) -> DeltaDiscoveryRequest {
    let resource_names_subscribe = names.iter().map(|it| (*it).to_owned()).collect();
    DeltaDiscoveryRequest { resource_names_subscribe, ..ask(ADDRESS) }
}

fn on_demand() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { resource_names_unsubscribe: vec!["*".into()], ..subscribe(&["*"]) }
}

fn ack(response: &Response) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), ..ask(response.of) }
}

/// Names as a response mentions them.
fn names(response: &Response) -> Vec<&str> {
    response.resources.iter().map(|it| &*it.name).collect()
}

/// What a client has: name and version.
#[derive(Default)]
struct Client(BTreeMap<String, String>);

impl Client {
    fn take(&mut self, response: &Response) {
        for sent in &response.resources {
            self.0.insert(sent.name.to_string(), sent.resource.version().to_string());
        }
        for name in &response.removed {
            self.0.remove(&**name);
        }
    }

    fn is_like(&self, resources: &Resources) -> bool {
        let theirs = resources.by_name().values().map(|it| (it.name().to_string(), it.version().to_string()));
        self.0 == theirs.collect()
    }
}

#[test]
fn nobody_is_answered_before_there_are_rules() {
    let mut session = Session::new(Limits::default());
    session.request(ask(ADDRESS)).unwrap();
    assert!(session.next(&Snapshot::default()).is_none());
    assert!(session.next(&snapshot()).is_some());
}

#[test]
fn both_types_are_answered_even_with_nothing() {
    let mut session = Session::new(Limits::default());
    for of in ResourceType::ALL {
        session.request(ask(of)).unwrap();
    }
    let responses: Vec<_> = std::iter::from_fn(|| session.next(&snapshot())).collect();
    assert_eq!(responses.iter().map(|it| it.of).collect::<Vec<_>>(), ResourceType::ALL);
    for response in &responses {
        assert!(response.resources.is_empty() && response.removed.is_empty());
        assert!(session.request(ack(response)).unwrap().answered);
    }
    assert!(session.next(&snapshot()).is_none(), "nothing changed");
}

#[test]
fn a_type_that_is_not_known_is_left_alone() {
    let mut session = Session::new(Limits::default());
    let request = DeltaDiscoveryRequest { type_url: "type.googleapis.com/envoy.Cluster".into(), ..ask(ADDRESS) };
    assert_eq!(session.request(request), Ok(Answered::default()));
    assert!(session.next(&snapshot()).is_none());
}

#[test]
fn a_slow_client_gets_the_newest_and_not_what_was_between() {
    let (mut session, mut newest) = (Session::new(Limits::default()), snapshot());
    newest.addresses.put(workload("a", 1, &[], ""));
    session.request(ask(ADDRESS)).unwrap();
    let first = session.next(&newest).unwrap();
    for node in ["n1", "n2", "n3"] {
        newest.addresses.put(workload("a", 1, &[], node));
        newest.addresses.put(workload(node, 2, &[], ""));
        assert!(session.next(&newest).is_none(), "the first is not answered yet");
    }
    newest.addresses.remove("n1");
    session.request(ack(&first)).unwrap();
    let second = session.next(&newest).unwrap();
    assert_eq!(names(&second), ["a", "n2", "n3"]);
    assert!(second.removed.is_empty(), "it never had n1");
    assert_eq!(second.resources[0].resource.version(), workload("a", 1, &[], "n3").version());
}

#[test]
fn who_comes_back_is_sent_what_differs() {
    let (mut session, mut newest) = (Session::new(Limits::default()), snapshot());
    for name in ["same", "changed", "new"] {
        newest.addresses.put(workload(name, 1, &[], ""));
    }
    let version = |it: &Resource| it.version().to_string();
    let has = [
        ("same", version(&workload("same", 1, &[], ""))),
        ("changed", version(&workload("changed", 2, &[], ""))),
        ("gone", "0".to_owned()),
    ];
    let initial_resource_versions = has.map(|(name, version)| (name.to_owned(), version)).into();
    session.request(DeltaDiscoveryRequest { initial_resource_versions, ..ask(ADDRESS) }).unwrap();
    let response = session.next(&newest).unwrap();
    assert_eq!(names(&response), ["changed", "new"]);
    assert_eq!(response.removed, ["gone".into()]);
}

#[test]
fn an_address_that_is_asked_for_brings_the_service_and_what_is_behind_it() {
    let (mut session, mut newest) = (Session::new(Limits::default()), snapshot());
    newest.addresses.put(service("cart", 1));
    newest.addresses.put(workload("cart-1", 1, &["ns/cart"], ""));
    newest.addresses.put(workload("other", 2, &[], ""));
    session.request(on_demand()).unwrap();
    let nothing = session.next(&newest).unwrap();
    assert!(nothing.resources.is_empty());
    session.request(ack(&nothing)).unwrap();

    session.request(subscribe(&["/10.96.0.1"])).unwrap();
    let found = session.next(&newest).unwrap();
    assert_eq!(names(&found), ["ns/cart", "cart-1", "/10.96.0.1"], "under the name that was asked for as well");
    session.request(ack(&found)).unwrap();

    session.request(subscribe(&["nobody"])).unwrap();
    let missing = session.next(&newest).unwrap();
    assert_eq!(missing.removed, ["nobody".into()], "what is not there is answered as well");
    session.request(ack(&missing)).unwrap();

    newest.addresses.put(workload("other", 2, &[], "changed"));
    assert!(session.next(&newest).is_none(), "nobody asked for it");
    newest.addresses.put(workload("cart-2", 3, &["ns/cart"], ""));
    newest.addresses.remove("cart-1");
    let followed = session.next(&newest).unwrap();
    assert_eq!((names(&followed), &*followed.removed[0]), (vec!["cart-2"], "cart-1"));
    session.request(ack(&followed)).unwrap();

    newest.addresses.put(workload("nobody", 4, &[], ""));
    assert_eq!(names(&session.next(&newest).unwrap()), ["nobody"], "and when it comes it is sent");
}

/// Answers all there is, and says what the responses named: sent, and removed.
fn drained(session: &mut Session, newest: &Snapshot) -> (Vec<String>, Vec<String>) {
    let (mut sent, mut removed) = (Vec::new(), Vec::new());
    while let Some(response) = session.next(newest) {
        sent.extend(names(&response).into_iter().map(str::to_owned));
        removed.extend(response.removed.iter().map(|it| it.to_string()));
        session.request(ack(&response)).unwrap();
    }
    (sent, removed)
}

#[test]
fn who_asks_for_everything_anew_is_told_what_went_meanwhile() {
    let (mut session, mut newest) = (Session::new(Limits::default()), snapshot());
    newest.addresses.put(workload("gone", 1, &[], ""));
    newest.addresses.put(workload("stays", 2, &[], ""));
    session.request(ask(ADDRESS)).unwrap();
    drained(&mut session, &newest);
    newest.addresses.remove("gone");
    session.request(subscribe(&["*"])).unwrap();
    assert!(!session.is_current(&newest));
    assert_eq!(drained(&mut session, &newest), (vec!["stays".into()], vec!["gone".into()]));
    assert!(session.is_current(&newest));
}

#[test]
fn a_service_that_comes_after_it_was_asked_for_brings_what_stands_behind_it() {
    for name in ["ns/cart", "/10.96.0.1"] {
        let (mut session, mut newest) = (Session::new(Limits::default()), snapshot());
        newest.addresses.put(workload("cart-1", 1, &["ns/cart"], ""));
        session.request(on_demand()).unwrap();
        session.request(subscribe(&[name])).unwrap();
        assert_eq!(drained(&mut session, &newest), (vec![], vec![name.into()]));
        newest.addresses.put(service("cart", 1));
        assert_eq!(drained(&mut session, &newest).0, ["ns/cart", "cart-1"], "{name}");
        newest.addresses.put(workload("cart-1", 1, &["ns/cart"], "moved"));
        assert_eq!(drained(&mut session, &newest).0, ["cart-1"], "{name}");
    }
}

#[test]
fn an_address_is_followed_until_its_last_spelling_is_unsubscribed() {
    let (mut session, mut newest) = (Session::new(Limits::default()), snapshot());
    session.request(on_demand()).unwrap();
    session.request(subscribe(&["/::ffff:10.0.0.1", "/::ffff:a00:1"])).unwrap();
    drained(&mut session, &newest);
    let unsubscribe =
        |name: &str| DeltaDiscoveryRequest { resource_names_unsubscribe: vec![name.to_owned()], ..ask(ADDRESS) };
    let at = |node: &str| {
        let addresses = vec![bytes_of_ip("::ffff:10.0.0.1".parse().unwrap())];
        Resource::workload(
            Workload { uid: "a".into(), node: node.into(), addresses, ..Workload::default() },
            Stamp::default(),
        )
    };
    session.request(unsubscribe("/::ffff:10.0.0.1")).unwrap();
    session.request(unsubscribe("/::ffff:10.0.0.1")).unwrap();
    newest.addresses.put(at("n1"));
    assert_eq!(drained(&mut session, &newest).0, ["a"]);
}

#[test]
fn who_comes_back_with_an_address_is_not_told_that_it_is_gone() {
    let (mut session, mut newest) = (Session::new(Limits::default()), snapshot());
    newest.addresses.put(workload("a", 1, &[], ""));
    let version = newest.addresses.get("a").unwrap().version().to_string();
    let has = [("/10.0.0.1", version.clone()), ("a", version), ("/10.0.0.9", "0".to_owned())];
    let initial_resource_versions = has.map(|(name, version)| (name.to_owned(), version)).into();
    session.request(DeltaDiscoveryRequest { initial_resource_versions, ..on_demand() }).unwrap();
    assert_eq!(drained(&mut session, &newest), (vec![], vec!["/10.0.0.9".into()]));
}

#[test]
fn what_a_client_rejects_is_told_apart() {
    let mut session = Session::new(Limits::default());
    session.request(ask(ADDRESS)).unwrap();
    let response = session.next(&snapshot()).unwrap();
    let message = "c//Pod/ns/a: bad address; ns/b: unknown: enum; nonsense".to_owned();
    let error_detail = Some(crate::proto::discovery::Status { code: 0, message });
    let answered = session.request(DeltaDiscoveryRequest { error_detail, ..ack(&response) }).unwrap();
    let told: Vec<_> = answered.rejected.iter().map(|it| (&*it.name, &*it.reason)).collect();
    assert_eq!(told, [("c//Pod/ns/a", "bad address"), ("ns/b", "unknown: enum"), ("", "nonsense")]);
}

#[test]
fn a_client_that_rejects_without_end_is_not_listened_to_without_end() {
    let mut session = Session::new(Limits::default());
    session.request(ask(ADDRESS)).unwrap();
    let response = session.next(&snapshot()).unwrap();
    let message = format!("{}: \nbad", "x".repeat(2000)) + &"; y: bad".repeat(4131);
    let error_detail = Some(crate::proto::discovery::Status { code: 0, message });
    let rejected = session.request(DeltaDiscoveryRequest { error_detail, ..ack(&response) }).unwrap().rejected;
    assert_eq!((rejected.len(), rejected[0].name.len(), &*rejected[0].reason), (4097, 512, "bad"));
    assert_eq!(rejected[4096].reason, "and 36 more");
}

#[test]
fn an_answer_to_something_else_answers_nothing() {
    let (mut session, mut newest) = (Session::new(Limits::default()), snapshot());
    session.request(ask(ADDRESS)).unwrap();
    let response = session.next(&newest).unwrap();
    let wrong = DeltaDiscoveryRequest { response_nonce: "77".into(), ..ask(ADDRESS) };
    assert!(session.request(wrong).unwrap().stale);
    newest.addresses.put(service("cart", 1));
    assert!(session.next(&newest).is_none());
    session.request(ack(&response)).unwrap();
    assert!(session.request(ack(&response)).unwrap().stale, "once is enough");
    assert!(session.next(&newest).is_some());
}

#[test]
fn subscriptions_are_bounded() {
    let limits = Limits { names: 3, name_bytes: 10, ..Limits::default() };
    let mut session = Session::new(limits);
    session.request(subscribe(&["a", "b"])).unwrap();
    session.request(subscribe(&["b", "c"])).unwrap();
    assert_eq!(session.request(subscribe(&["d"])), Err(Refused::TooManyNames { max: 3 }));
    let mut session = Session::new(limits);
    assert_eq!(session.request(subscribe(&["0123456789a"])), Err(Refused::LongName { bytes: 11, max: 10 }));
    // So are those of an earlier stream, where they are subscribed to.
    let initial_resource_versions = BTreeMap::from([("0123456789a".to_owned(), String::new())]);
    let again = DeltaDiscoveryRequest { initial_resource_versions, ..on_demand() };
    assert_eq!(session.request(again), Err(Refused::LongName { bytes: 11, max: 10 }));
}

#[derive(Clone, Debug)]
enum Event {
    Put(u8, u8),
    Remove(u8),
    /// The client answers what it was sent.
    Answer,
    Reconnect,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..20u8, 0..3u8).prop_map(|(name, ip)| Event::Put(name, ip)),
        2 => (0..20u8).prop_map(Event::Remove),
        4 => Just(Event::Answer),
        1 => Just(Event::Reconnect),
    ];
    prop::collection::vec(event, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever happens, a client that answers in the end has exactly what is there, never two responses of a type
    /// under way, and nothing is sent twice without need.
    #[test]
    fn a_client_ends_up_with_the_newest(events in events(), response_bytes in 1..200usize) {
        let limits = Limits { response_bytes, ..Limits::default() };
        let (mut session, mut client, mut newest) = (Session::new(limits), Client::default(), snapshot());
        session.request(ask(ADDRESS)).unwrap();
        let mut under_way: Option<Response> = None;
        for event in events {
            match event {
                Event::Put(name, ip) => {
                    newest.addresses.put(workload(&format!("w{name}"), ip, &[], ""));
                }
                Event::Remove(name) => {
                    newest.addresses.remove(&format!("w{name}"));
                }
                Event::Answer => {
                    if let Some(response) = under_way.take() {
                        client.take(&response);
                        prop_assert!(session.request(ack(&response)).unwrap().answered);
                    }
                }
                Event::Reconnect => {
                    session = Session::new(limits);
                    under_way = None;
                    let initial_resource_versions = client.0.clone();
                    session.request(DeltaDiscoveryRequest { initial_resource_versions, ..ask(ADDRESS) }).unwrap();
                }
            }
            if let Some(response) = session.next(&newest) {
                prop_assert!(under_way.is_none(), "two under way");
                for sent in &response.resources {
                    let version = sent.resource.version().to_string();
                    prop_assert_ne!(client.0.get(&*sent.name), Some(&version), "it had that already");
                }
                under_way = Some(response);
            }
        }
        for _ in 0..100 {
            if let Some(response) = under_way.take() {
                client.take(&response);
                session.request(ack(&response)).unwrap();
            }
            under_way = session.next(&newest);
        }
        prop_assert!(under_way.is_none() && session.is_current(&newest));
        prop_assert!(client.is_like(&newest.addresses));
    }
}
