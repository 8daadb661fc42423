//! Of the client's side: single rules, and generated histories against a scripted control plane.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost_types::Any;

use super::*;
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};
use crate::proto::workload::Address;
use crate::proto::workload::Workload;
use crate::proto::workload::address::Type;
use crate::resource::Version;

const ADDRESS: ResourceType = ResourceType::Address;

fn state() -> State {
    State::new(&NodeIdentity::default(), Limits::default())
}

fn body(name: &str, content: u32) -> Vec<u8> {
    let workload = Workload { uid: name.into(), name: format!("v{content}"), ..Workload::default() };
    Address { r#type: Some(Type::Workload(workload)) }.encode_to_vec()
}

fn resource(name: &str, version: &str, body: Vec<u8>) -> Resource {
    let resource = Any { type_url: ADDRESS.url().into(), value: body };
    Resource { name: name.into(), version: version.into(), resource: Some(resource), aliases: Vec::new() }
}

impl State {
    /// Takes up a response that is there as a whole.
    fn respond(&mut self, response: DeltaDiscoveryResponse) -> (DeltaDiscoveryRequest, Option<Update>) {
        let mut coming = self.coming();
        coming.add(response);
        self.take_up(coming)
    }
}

fn response(resources: Vec<Resource>, removed: &[&str]) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: ADDRESS.url().into(),
        nonce: "n".into(),
        resources,
        removed_resources: removed.iter().map(|name| (*name).into()).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

#[test]
fn a_response_in_parts_is_taken_up_as_it_is_whole() {
    let sent = || resource("b", "1", body("b", 1));
    let whole =
        response(vec![sent(), resource("a", "1", body("a", 1)), resource("x", "1", vec![0xff]), sent()], &["c"]);
    let (mut at_once, mut in_parts) = (state(), state());
    for of in [&mut at_once, &mut in_parts] {
        of.respond(response(vec![resource("c", "1", body("c", 1))], &[]));
    }
    let mut coming = in_parts.coming();
    for part in whole.resources.iter().cloned() {
        coming.add(DeltaDiscoveryResponse { resources: vec![part], ..DeltaDiscoveryResponse::default() });
    }
    // The rest comes behind the resources, as protobuf writes it.
    coming.add(DeltaDiscoveryResponse { resources: Vec::new(), ..whole.clone() });
    let (answer, update) = in_parts.take_up(coming);
    assert_eq!((answer, update.clone()), at_once.respond(whole));
    let held: Vec<_> = update.unwrap().held.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(held, ["a", "b"]);
}

fn names(update: &Update) -> Vec<&str> {
    update.changed.iter().map(|it| &*it.name).collect()
}

#[test]
fn both_types_are_asked_for_whole_with_the_node() {
    let requests = state().open();
    let urls: Vec<_> = requests.iter().map(|it| it.type_url.as_str()).collect();
    assert_eq!(urls, ResourceType::ALL.map(ResourceType::url));
    for request in requests {
        assert!(request.node.is_some() && request.resource_names_subscribe.is_empty());
        assert!(request.response_nonce.is_empty() && request.initial_resource_versions.is_empty());
    }
}

#[test]
fn a_response_is_answered_with_its_nonce_and_only_differences_are_told() {
    let mut state = state();
    state.open();
    let (ack, update) = state.respond(response(vec![resource("a", "1", body("a", 1))], &["ghost"]));
    assert_eq!((ack.response_nonce.as_str(), ack.error_detail, ack.node), ("n", None, None));
    let update = update.unwrap();
    assert_eq!((names(&update), update.removed.len()), (vec!["a"], 0), "what was not there is not removed");
    let (_, same) = state.respond(response(vec![resource("a", "2", body("a", 1))], &[]));
    assert_eq!(same, None, "another version of the same bytes");
    state.close(false);
    assert_eq!(state.open()[0].initial_resource_versions["a"], "2", "and yet that version counts");
    let (_, first) = state.respond(response(Vec::new(), &[]));
    assert!(first.is_some_and(|it| it.changed.is_empty()), "the first of a stream says that all is fresh");
}

#[test]
fn what_cannot_be_read_is_refused_by_name_and_what_was_held_stays() {
    let mut state = state();
    state.open();
    state.respond(response(vec![resource("a", "1", body("a", 1)), resource("b", "1", body("b", 1))], &[]));
    let long = "x".repeat(2000);
    let bad = vec![
        resource("a", "2", vec![0x0a, 0x05]),
        resource("b", "2", body("b", 2)),
        resource("", "1", body("", 1)),
        resource(&long, "1", body("c", 1)),
        Resource { resource: None, ..resource("d", "1", Vec::new()) },
        Resource {
            resource: Some(Any { type_url: "type.googleapis.com/x".into(), value: Vec::new() }),
            ..resource("e", "", Vec::new())
        },
    ];
    let (nack, update) = state.respond(response(bad, &[]));
    let (message, update) = (nack.error_detail.unwrap().message, update.unwrap());
    assert!(
        message.starts_with("a: cannot be decoded") && message.contains("; d: no content; e: content of another type"),
        "{message}"
    );
    assert!(message.len() < 2 * REASON_BYTES_MAX);
    assert_eq!((names(&update), update.rejected.len()), (vec!["b"], 5));
    state.close(false);
    let versions = &state.open()[0].initial_resource_versions;
    assert_eq!((versions["a"].as_str(), versions["b"].as_str(), versions.len()), ("1", "2", 2));
}

#[test]
fn a_type_that_was_not_asked_for_is_refused() {
    let response =
        DeltaDiscoveryResponse { type_url: "type.googleapis.com/x".into(), nonce: "7".into(), ..Default::default() };
    let (nack, update) = state().respond(response);
    assert!(update.is_none() && nack.error_detail.is_some() && nack.response_nonce == "7");
}

#[test]
fn the_last_of_several_with_one_name_counts_and_it_is_told_once() {
    let mut state = state();
    state.open();
    let both = vec![resource("a", "1", body("a", 1)), resource("a", "2", body("a", 2))];
    let (_, update) = state.respond(response(both, &["a"]));
    let update = update.unwrap();
    assert_eq!((update.changed.len(), &*update.changed[0].version, update.removed.len()), (1, "2", 0));
}

#[test]
fn what_does_not_fit_is_refused_and_room_that_was_freed_is_used() {
    let size = body("a", 1).len();
    let limits = Limits { resources: 2, bytes: size * 2, ..Limits::default() };
    let mut state = State::new(&NodeIdentity::default(), limits);
    let many = ["a", "b", "c"].map(|name| resource(name, "", body(name, 1)));
    let (nack, update) = state.respond(response(many.to_vec(), &[]));
    assert_eq!(update.map(|it| (it.changed.len(), it.rejected.len())), Some((2, 1)));
    assert!(nack.error_detail.unwrap().message.contains("[limit: resources]"));
    let (_, update) = state.respond(response(vec![resource("c", "", body("c", 1))], &["a"]));
    assert_eq!(update.map(|it| (it.changed.len(), it.removed.len(), it.rejected.len())), Some((1, 1, 0)));
    let (nack, _) = state.respond(response(vec![resource("c", "", body("c", 1_000_000))], &[]));
    assert!(nack.error_detail.unwrap().message.contains("[limit: bytes]"));
}

#[test]
fn a_mesh_too_large_for_its_versions_is_asked_for_anew_and_the_missing_go_once_it_settled() {
    let limits = Limits { versions_bytes: 30, ..Limits::default() };
    let mut state = State::new(&NodeIdentity::default(), limits);
    state.open();
    let three = ["a", "b", "c"].map(|name| resource(name, "1", body(name, 1)));
    state.respond(response(three.to_vec(), &[]));
    state.close(false);
    assert!(state.open()[0].initial_resource_versions.is_empty());
    assert!(!state.is_unsettled(), "nothing was said yet");
    assert_eq!(state.settle(), []);
    let (_, update) = state.respond(response(vec![resource("a", "1", body("a", 1))], &[]));
    assert!(
        update.is_some_and(|it| it.changed.is_empty() && it.removed.is_empty()),
        "the same bytes are not told again"
    );
    state.respond(response(vec![resource("b", "1", vec![0xff])], &[]));
    assert!(state.is_unsettled());
    let gone = state.settle();
    assert_eq!((gone.len(), &*gone[0].removed), (1, ["c".into()].as_slice()), "b was named, if badly");
    assert!(!state.is_unsettled());
}

#[test]
fn a_server_that_finds_the_versions_too_many_is_asked_without_until_it_answers() {
    let mut state = state();
    state.open();
    state.respond(response(vec![resource("a", "1", body("a", 1))], &[]));
    assert!(state.close(false));
    assert!(!state.open()[0].initial_resource_versions.is_empty());
    assert!(!state.close(true));
    for _ in 0..2 {
        assert!(state.open()[0].initial_resource_versions.is_empty());
        state.close(false);
    }
    state.open();
    state.respond(response(Vec::new(), &[]));
    assert!(state.close(false));
    assert!(!state.open()[0].initial_resource_versions.is_empty());
}

/// What happens to a control plane and to the stream to it.
#[derive(Clone, Debug)]
enum Step {
    Set(u8, u32),
    Remove(u8),
    /// Sent malformed once; its earlier content stays until it is sent again.
    Spoil(u8),
    Push,
    Reconnect,
    /// Another server, which has the mesh and has forgotten all versions.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u8, 0..4u32).prop_map(|(name, content)| Step::Set(name, content)),
        2 => (0..12u8).prop_map(Step::Remove),
        1 => (0..12u8).prop_map(Step::Spoil),
        3 => Just(Step::Push),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ]
}

/// A control plane: what the mesh is, and what this client was sent of it.
#[derive(Default)]
struct Server {
    mesh: BTreeMap<String, Vec<u8>>,
    sent: BTreeMap<String, Vec<u8>>,
    generation: u32,
}

impl Server {
    fn version(&self, body: &[u8]) -> String {
        format!("{}-{}", self.generation, Version::of(body))
    }

    fn opened(&mut self, request: &DeltaDiscoveryRequest) {
        self.sent.clear();
        for (name, version) in &request.initial_resource_versions {
            let current = self.mesh.get(name).filter(|body| self.version(body) == *version).cloned();
            self.sent.insert(name.clone(), current.unwrap_or_default());
        }
    }

    fn push(&mut self) -> DeltaDiscoveryResponse {
        let changed = self.mesh.iter().filter(|(name, body)| self.sent.get(*name) != Some(body));
        let resources = changed.map(|(name, body)| resource(name, &self.version(body), body.clone())).collect();
        let removed = self.sent.keys().filter(|name| !self.mesh.contains_key(*name)).map(String::as_str);
        let response = response(resources, &removed.collect::<Vec<_>>());
        self.sent = self.mesh.clone();
        response
    }
}

proptest! {
    #[test]
    fn a_listener_that_follows_has_what_the_control_plane_has(steps in vec(step(), 1..60), versions_bytes in 0..600usize) {
        let limits = Limits { versions_bytes, ..Limits::default() };
        let mut state = State::new(&NodeIdentity::default(), limits);
        let mut server = Server::default();
        let mut mirror: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        server.opened(&state.open()[0]);
        for step in steps.into_iter().chain([Step::Push]) {
            match step {
                Step::Set(name, content) => {
                    let name = format!("c//Pod/ns/{name}");
                    server.mesh.insert(name.clone(), body(&name, content));
                }
                Step::Remove(name) => drop(server.mesh.remove(&format!("c//Pod/ns/{name}"))),
                Step::Spoil(name) => {
                    let name = format!("c//Pod/ns/{name}");
                    server.sent.insert(name.clone(), vec![0x0a, 0x7f]);
                    let (nack, update) = state.respond(response(vec![resource(&name, "bad", vec![0x0a, 0x7f])], &[]));
                    prop_assert!(nack.error_detail.is_some() && update.is_some_and(|it| it.rejected.len() == 1));
                }
                Step::Push => {
                    let (ack, update) = state.respond(server.push());
                    prop_assert_eq!(ack.error_detail, None);
                    for update in update.into_iter().chain(state.settle()) {
                        for resource in update.changed {
                            let before = mirror.insert(resource.name.as_ref().into(), resource.body.to_vec());
                            prop_assert_ne!(before, Some(resource.body.to_vec()), "told without a difference");
                        }
                        for name in update.removed {
                            prop_assert!(mirror.remove(&*name).is_some(), "removed and was not there");
                        }
                    }
                    prop_assert_eq!(&mirror, &server.mesh);
                    prop_assert_eq!(state.len(ADDRESS), server.mesh.len());
                    prop_assert_eq!(state.of(ADDRESS).bytes, server.mesh.values().map(Vec::len).sum::<usize>());
                }
                Step::Reconnect | Step::Restart => {
                    server.generation += u32::from(matches!(step, Step::Restart));
                    state.close(false);
                    server.opened(&state.open()[0]);
                }
            }
        }
    }
}
