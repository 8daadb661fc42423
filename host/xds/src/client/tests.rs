//! Of the edge, against scripted control planes on loopback. The clock is the real one, for the sockets are; what is waited
//! for comes as an event, and limits are short only where they are what is tested.

use prost::Message;
use prost_types::Any;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::*;
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};
use crate::proto::workload::address::Type;
use crate::proto::workload::{Address, Workload};
use crate::resource::ResourceType;

mod control_plane;
use control_plane::{ControlPlane, Opened};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A client under test.
struct Client {
    events: mpsc::Receiver<Event>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Client {
    fn start(config: Config) -> Self {
        let (sender, events) = mpsc::channel(4);
        let (stop, stopped) = oneshot::channel::<()>();
        let state = State::new(&config.node, config.limits);
        let task = tokio::spawn(run(config, state, sender, async { drop(stopped.await) }));
        Self { events, stop, task }
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(LONG, self.events.recv()).await.expect("an event").expect("the client runs")
    }

    async fn connected(&mut self) -> String {
        loop {
            if let Event::Connected { address } = self.event().await {
                return address.to_string();
            }
        }
    }

    async fn update(&mut self) -> Update {
        loop {
            if let Event::Update(update) = self.event().await {
                return update;
            }
        }
    }

    async fn disconnected(&mut self) -> String {
        loop {
            if let Event::Disconnected { why, .. } = self.event().await {
                return why;
            }
        }
    }
}

fn plain(addresses: &[&ControlPlane]) -> Config {
    let addresses = addresses.iter().map(|it| format!("http://{}", it.address)).collect();
    Config { addresses, ..Config::default() }
}

fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn workload(uid: &str, version: &str) -> Resource {
    let workload = Workload { uid: uid.into(), ..Workload::default() };
    let value = Address { r#type: Some(Type::Workload(workload)) }.encode_to_vec();
    let resource = Some(Any { type_url: ResourceType::Address.url().into(), value });
    Resource { name: uid.into(), version: version.into(), resource, aliases: Vec::new() }
}

fn response(of: ResourceType, nonce: &str, resources: Vec<Resource>) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse { type_url: of.url().into(), nonce: nonce.into(), resources, ..Default::default() }
}

/// Takes the requests that open a stream, and answers both types.
async fn answer(opened: &mut Opened, resources: Vec<Resource>) {
    for of in ResourceType::ALL {
        assert_eq!(opened.request().await.type_url, of.url());
    }
    opened.send(response(ResourceType::Address, "1", resources)).await;
    opened.send(response(ResourceType::Authorization, "2", Vec::new())).await;
    for nonce in ["1", "2"] {
        let ack = opened.request().await;
        assert_eq!((ack.response_nonce.as_str(), ack.error_detail), (nonce, None));
    }
}

#[tokio::test]
async fn over_tls_with_a_token_read_again_for_each_stream_and_the_versions_of_the_last() {
    let folder = TempDir::new().unwrap();
    let (mut server, certificate) = ControlPlane::start_tls("localhost").await;
    let token = file(&folder, "token", "first\n");
    let config = Config {
        addresses: vec![format!("localhost:{}", server.address.port())],
        roots: Some(file(&folder, "roots.pem", &certificate)),
        token: Some(token.clone()),
        cluster_id: Some("c1".into()),
        ..Config::default()
    };
    let mut client = Client::start(config);
    let mut opened = server.opened().await;
    assert_eq!(opened.metadata.get("authorization").unwrap(), "Bearer first");
    assert_eq!(opened.metadata.get("clusterid").unwrap(), "c1");
    answer(&mut opened, vec![workload("c//Pod/ns/a", "v7")]).await;
    assert_eq!(&*client.update().await.changed[0].name, "c//Pod/ns/a");
    assert_eq!(client.update().await.of, ResourceType::Authorization);

    std::fs::write(&token, "second").unwrap();
    opened.end(Status::unavailable("going away")).await;
    assert!(client.disconnected().await.contains("going away"));
    let mut opened = server.opened().await;
    assert_eq!(opened.metadata.get("authorization").unwrap(), "Bearer second");
    let request = opened.request().await;
    assert!(request.node.unwrap().id.starts_with("ztunnel~"));
    assert_eq!(request.initial_resource_versions["c//Pod/ns/a"], "v7");
    opened.send(response(ResourceType::Address, "x", Vec::new())).await;
    let update = client.update().await;
    assert!(update.changed.is_empty() && update.removed.is_empty(), "nothing is taken back");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_fails_and_the_first_again_in_the_end() {
    let (mut first, mut second) = (ControlPlane::start().await, ControlPlane::start().await);
    let config = plain(&[&first, &second]);
    let addresses = config.addresses.clone();
    let mut client = Client::start(config);
    first.opened().await.end(Status::unauthenticated("who are you")).await;
    let why = client.disconnected().await;
    assert!(why.contains("Unauthenticated") && why.contains("who are you"), "{why}");
    assert_eq!(client.connected().await, addresses[1]);
    let mut opened = second.opened().await;
    answer(&mut opened, Vec::new()).await;
    opened.end(Status::unavailable("")).await;
    assert_eq!(client.connected().await, addresses[0]);
}

#[tokio::test]
async fn who_does_not_answer_is_given_up() {
    let (mut mute, mut second) = (ControlPlane::start().await, ControlPlane::start().await);
    let config = Config { answer_timeout: Duration::from_millis(200), ..plain(&[&mute, &second]) };
    let mut client = Client::start(config);
    let mut opened = mute.opened().await;
    // One type of two is not enough to be fresh.
    opened.send(response(ResourceType::Address, "1", vec![workload("a", "1")])).await;
    let why = client.disconnected().await;
    assert!(why.contains("did not answer for every type within 200ms"), "{why}");
    let mut opened = second.opened().await;
    // It may have had nothing to say about what it was told is held.
    assert!(opened.request().await.initial_resource_versions.is_empty());
}

#[tokio::test]
async fn what_was_not_named_goes_when_the_server_has_said_all() {
    let mut server = ControlPlane::start().await;
    let limits = state::Limits { versions_bytes: 0, ..state::Limits::default() };
    let config = Config { limits, settle: Duration::from_millis(50), ..plain(&[&server]) };
    let mut client = Client::start(config);
    let mut opened = server.opened().await;
    answer(&mut opened, vec![workload("a", "1"), workload("b", "1")]).await;
    opened.end(Status::unavailable("")).await;
    client.disconnected().await;
    let mut opened = server.opened().await;
    answer(&mut opened, vec![workload("a", "1")]).await;
    let mut removed = Vec::new();
    while removed.is_empty() {
        removed = client.update().await.removed;
    }
    assert_eq!(removed, ["b".into()]);
}

#[tokio::test]
async fn html_other_certificates_and_missing_files_are_said_and_tried_again() {
    let folder = TempDir::new().unwrap();
    let html = control_plane::html().await;
    let (tls, _) = ControlPlane::start_tls("localhost").await;
    let (_, other) = ControlPlane::start_tls("localhost").await;
    let roots = Some(file(&folder, "roots.pem", &other));
    let not_pem = Some(file(&folder, "text", "no certificate"));
    let gone = Some(folder.path().join("gone"));
    let https = vec![format!("https://localhost:{}", tls.address.port())];
    let check = async |config: Config, words: &[&str]| {
        let mut client = Client::start(config);
        for _ in 0..2 {
            let why = client.disconnected().await;
            assert!(words.iter().all(|word| why.contains(word)), "{why}");
            assert!(!why.contains("sesame"), "{why}");
        }
    };
    let base = Config { addresses: https.clone(), roots: roots.clone(), ..Config::default() };
    check(Config { addresses: vec![format!("http://{html}")], ..Config::default() }, &[&html.to_string()]).await;
    check(base.clone(), &["cannot connect to https://localhost", "certificate"]).await;
    check(Config { roots: None, ..base.clone() }, &["no certificates are configured"]).await;
    check(Config { roots: gone.clone(), ..base.clone() }, &["cannot read certificates from", "gone"]).await;
    check(Config { roots: not_pem, ..base.clone() }, &["text holds no PEM certificate"]).await;
    check(Config { addresses: vec!["ftp://x".into()], ..Config::default() }, &["write https://HOST:PORT"]).await;
    let token = Some(file(&folder, "token", "sesame"));
    let http = vec![format!("http://{html}")];
    check(Config { addresses: http, token, ..Config::default() }, &["without TLS"]).await;
    let (mut good, certificate) = ControlPlane::start_tls("localhost").await;
    let roots = Some(file(&folder, "good.pem", &certificate));
    let addresses = vec![format!("https://localhost:{}", good.address.port())];
    let config = Config { addresses, roots, ..Config::default() };
    check(Config { token: gone, ..config.clone() }, &["cannot read the token from", "gone"]).await;
    check(Config { token: Some(file(&folder, "bad", "ses\name")), ..config.clone() }, &["holds no token"]).await;
    let token = Some(file(&folder, "token", "sesame"));
    let mut client = Client::start(Config { token, ..config });
    good.opened().await.end(Status::new(Code::PermissionDenied, "not\nyou")).await;
    let why = client.disconnected().await;
    assert!(why.contains("PermissionDenied: not you") && !why.contains("sesame"), "{why}");
}

#[tokio::test]
async fn it_stops_when_it_is_told_to_and_when_nobody_listens() {
    let mut server = ControlPlane::start().await;
    let client = Client::start(plain(&[&server]));
    drop(server.opened().await);
    client.stop.send(()).unwrap();
    tokio::time::timeout(LONG, client.task).await.unwrap().unwrap();
    let client = Client::start(plain(&[&server]));
    drop(client.events);
    tokio::time::timeout(LONG, client.task).await.unwrap().unwrap();
}
