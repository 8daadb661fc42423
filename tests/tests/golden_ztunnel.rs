//! What a real ztunnel said on its stream, word for word, in `data/ztunnel`: the stand-in of the other tests says the same, and
//! a session answers it with what it was sent. No sockets: those are `xds_server`'s and `e2e_ztunnel`'s business.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{Any, Struct, Value};
use serde::Deserialize;
use tests::ztunnel::{Kept, answer};
use xds::proto::discovery::{self, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use xds::resource::{Resource, ResourceType, Resources, Snapshot, Stamp};
use xds::session::{Limits, Response, Session};

/// In the order in which they happened, to one ztunnel.
const STORIES: [&str; 3] = ["first_sync", "update_and_removal", "reconnect"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transcript {
    #[serde(rename = "story")]
    _story: String,
    #[serde(rename = "recorded_from")]
    _recorded_from: String,
    stream: Stream,
    steps: Vec<Step>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Stream {
    New,
    Same,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// What ztunnel said.
    Ztunnel(Said),
    /// What it was sent.
    Server(Sent),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    type_url: String,
    node: Option<SaidNode>,
    #[serde(default)]
    resource_names_subscribe: Vec<String>,
    #[serde(default)]
    resource_names_unsubscribe: Vec<String>,
    #[serde(default)]
    initial_resource_versions: HashMap<String, String>,
    #[serde(default)]
    response_nonce: String,
    error_detail: Option<SaidError>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidNode {
    id: String,
    metadata: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidError {
    code: i32,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    type_url: String,
    nonce: String,
    resources: Vec<SentResource>,
    #[serde(default)]
    removed_resources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentResource {
    name: String,
    version: String,
    /// The encoded message, in hexadecimal.
    body: String,
}

impl Said {
    fn request(self) -> DeltaDiscoveryRequest {
        let text = |text: String| Value { kind: Some(Kind::StringValue(text)) };
        let node = |it: SaidNode| {
            let fields = it.metadata.into_iter().map(|(key, value)| (key, text(value))).collect();
            Node { id: it.id, metadata: Some(Struct { fields }) }
        };
        DeltaDiscoveryRequest {
            node: self.node.map(node),
            type_url: self.type_url,
            resource_names_subscribe: self.resource_names_subscribe,
            resource_names_unsubscribe: self.resource_names_unsubscribe,
            initial_resource_versions: self.initial_resource_versions.into_iter().collect(),
            response_nonce: self.response_nonce,
            error_detail: self.error_detail.map(|it| discovery::Status { code: it.code, message: it.message }),
        }
    }
}

impl SentResource {
    fn body(&self) -> Result<Bytes> {
        let digits = self
            .body
            .as_bytes()
            .chunks(2)
            .map(|it| u8::from_str_radix(std::str::from_utf8(it)?, 16).context("no hexadecimal"));
        Ok(digits.collect::<Result<Vec<u8>>>()?.into())
    }
}

impl Sent {
    fn response(&self) -> Result<DeltaDiscoveryResponse> {
        let resource = |it: &SentResource| -> Result<_> {
            let body = Any { type_url: self.type_url.clone(), value: it.body()?.into() };
            let (name, version) = (it.name.clone(), it.version.clone());
            Ok(discovery::Resource { version, resource: Some(body), name, aliases: Vec::new() })
        };
        Ok(DeltaDiscoveryResponse {
            resources: self.resources.iter().map(resource).collect::<Result<_>>()?,
            type_url: self.type_url.clone(),
            nonce: self.nonce.clone(),
            removed_resources: self.removed_resources.clone(),
            ..DeltaDiscoveryResponse::default()
        })
    }

    /// The mesh as it is when this is sent.
    fn change(&self, newest: &mut Snapshot) -> Result<()> {
        let resources = match of(&self.type_url)? {
            ResourceType::Address => &mut newest.addresses,
            ResourceType::Authorization => &mut newest.authorizations,
        };
        for it in &self.resources {
            resources.put(Resource::new(it.name.as_str(), it.body()?, [], Stamp::default()));
        }
        for name in &self.removed_resources {
            ensure!(resources.remove(name), "{name} is removed and was not there");
        }
        newest.revision += 1;
        Ok(())
    }
}

fn of(url: &str) -> Result<ResourceType> {
    ResourceType::of_url(url).with_context(|| format!("{url} is no type"))
}

fn transcript(story: &str) -> Result<Transcript> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/ztunnel").join(story).with_extension("json");
    let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no transcript", path.display()))
}

/// The names that an error says were not taken.
fn rejected(message: &str) -> Vec<&str> {
    message.split("; ").map(|part| part.split_once(": ").map_or("", |(name, _)| name)).collect()
}

/// Equal in everything but the reasons for which something was not taken: each client has its own words for them.
fn assert_same_but_for_reasons(said: &DeltaDiscoveryRequest, real: &DeltaDiscoveryRequest, story: &str) {
    let of = |it: &DeltaDiscoveryRequest| {
        let names = |it: &discovery::Status| rejected(&it.message).into_iter().map(str::to_owned).collect::<Vec<_>>();
        it.error_detail.as_ref().map(|it| (it.code, names(it)))
    };
    assert_eq!(of(said), of(real), "{story}");
    let rest = |it: &DeltaDiscoveryRequest| DeltaDiscoveryRequest { error_detail: None, ..it.clone() };
    assert_eq!(rest(said), rest(real), "{story}");
}

#[test]
fn the_stand_in_says_what_a_real_ztunnel_says() -> Result<()> {
    let mut kept = Kept::default();
    let mut compared = 0;
    for story in STORIES {
        let mut to_say = None;
        for step in transcript(story)?.steps {
            match step {
                Step::Server(sent) => {
                    let response = sent.response()?;
                    let taken = kept.take(&response);
                    ensure!(to_say.replace(answer(&response, taken)).is_none(), "{story}: something is not answered");
                }
                Step::Ztunnel(real) => {
                    let real = real.request();
                    let first = |node: Node| -> Result<_> { Ok(kept.first_request(of(&real.type_url)?, node)) };
                    let said = to_say.take().map_or_else(|| first(real.node.clone().context("it says more")?), Ok)?;
                    assert_same_but_for_reasons(&said, &real, story);
                    compared += 1;
                }
            }
        }
        ensure!(to_say.is_none(), "{story}: the last response is not answered");
    }
    assert_eq!(compared, 10, "of the three stories together");
    Ok(())
}

#[test]
fn a_session_sends_a_real_ztunnel_what_it_lacks_and_nothing_else() -> Result<()> {
    let mut newest = Snapshot { rules: 1, ..Snapshot::default() };
    let mut session = Session::new(Limits::default());
    for story in STORIES {
        let transcript = transcript(story)?;
        if transcript.stream == Stream::New {
            session = Session::new(Limits::default());
        }
        let mut under_way: Option<Response> = None;
        for step in transcript.steps {
            match step {
                Step::Server(sent) => {
                    sent.change(&mut newest)?;
                    let response =
                        session.next(&newest).with_context(|| format!("{story}: {} is not sent", sent.nonce))?;
                    assert_is(&response, &sent, newest.of(response.of))?;
                    under_way = Some(response);
                }
                Step::Ztunnel(said) => {
                    let request = said.request();
                    let answered = session.request(request.clone())?;
                    assert_eq!(answered.answered, under_way.take().is_some(), "{story}");
                    assert!(!answered.stale, "{story}");
                    let names: Vec<_> = answered.rejected.iter().map(|it| &*it.name).collect();
                    let expected = request.error_detail.as_ref().map(|it| rejected(&it.message));
                    assert_eq!(names, expected.unwrap_or_default(), "{story}");
                }
            }
        }
        assert!(
            session.next(&newest).is_none() && session.is_current(&newest),
            "{story}: there is nothing more to say"
        );
    }
    Ok(())
}

/// What the session sends is what the recording server sent, whose words for versions and nonces are the session's.
fn assert_is(response: &Response, sent: &Sent, newest: &Resources) -> Result<()> {
    assert_eq!((response.of.url(), &response.nonce), (&*sent.type_url, &sent.nonce));
    let resources = response.resources.iter().map(|it| (it.name.to_string(), it.resource.version().to_string()));
    let expected = sent.resources.iter().map(|it| (it.name.clone(), it.version.clone()));
    assert_eq!(resources.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{}", sent.nonce);
    for it in &sent.resources {
        let there = newest.get(&it.name).expect("it was put there");
        assert_eq!(*there.body(), it.body()?);
    }
    assert_eq!(response.removed.iter().map(|it| &**it).collect::<Vec<_>>(), sent.removed_resources);
    Ok(())
}
