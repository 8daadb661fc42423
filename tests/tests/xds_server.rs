//! The xDS server over real sockets, against clients that are wrong, slow or hostile. What a well-behaved ztunnel is told is in
//! `e2e_agent`; what a session says over generated histories is tested beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tests::hub::Hub;
use tests::ztunnel::{Kept, Ztunnel, answer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use xds::proto::discovery::DeltaDiscoveryRequest;
use xds::proto::workload::Workload;
use xds::resource::{Resource, ResourceType, Snapshot, Stamp};
use xds::server::Config;

/// A server with a mesh that the test changes.
struct Changing {
    newest: watch::Sender<Arc<Snapshot>>,
    snapshot: Snapshot,
    hub: Hub,
}

impl Changing {
    async fn start(config: Config) -> Result<Self> {
        let snapshot = Snapshot { rules: 1, ..Snapshot::default() };
        let (newest, receiver) = watch::channel(Arc::new(snapshot.clone()));
        let hub = Hub::start(config, receiver, Arc::default()).await?;
        Ok(Self { newest, snapshot, hub })
    }

    /// Publishes a workload that nobody has.
    fn put(&mut self, uid: &str) {
        self.change(|snapshot| {
            snapshot.addresses.put(workload(uid, 1));
        });
    }

    fn change(&mut self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.snapshot);
        self.snapshot.revision += 1;
        self.newest.send_replace(Arc::new(self.snapshot.clone()));
    }

    async fn client(&self) -> Result<Ztunnel> {
        Ztunnel::connect(&self.hub.dial, Kept::default()).await
    }

    /// One that was told everything there is.
    async fn synced(&self) -> Result<Ztunnel> {
        let mut client = self.client().await?;
        client.step().await?;
        client.step().await?;
        Ok(client)
    }

    fn count(&self, name: &str) -> u64 {
        self.hub.count(name)
    }

    fn connected(&self) -> usize {
        self.hub.clients.connected().len()
    }
}

/// About `size` bytes.
fn workload(uid: &str, size: usize) -> Resource {
    Resource::workload(Workload { uid: uid.into(), name: "x".repeat(size), ..Workload::default() }, Stamp::default())
}

fn request() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: ResourceType::Address.url().into(), ..DeltaDiscoveryRequest::default() }
}

/// Why the stream ended.
async fn end(client: &mut Ztunnel) -> Result<String> {
    for _ in 0..10 {
        if let Err(error) = client.receive().await {
            return Ok(format!("{error:#}"));
        }
    }
    anyhow::bail!("the stream goes on")
}

#[tokio::test]
async fn who_never_answers_is_dropped_and_nobody_else_notices() -> Result<()> {
    let config = Config { answer_within: Duration::from_secs(1), ..Config::default() };
    let mut server = Changing::start(config).await?;
    let mut silent = server.client().await?;
    silent.receive().await?;
    let mut good = server.synced().await?;
    server.put("a");
    assert_eq!(good.step().await?.resources.len(), 1);
    assert!(end(&mut silent).await?.contains("not answered within 1 s"));
    server.put("b");
    assert_eq!(good.step().await?.resources.len(), 1, "the other is still there");
    assert_eq!((server.count("streams_unanswered"), server.connected()), (1, 1));
    Ok(())
}

#[tokio::test]
async fn wrong_nonces_and_types_change_nothing() -> Result<()> {
    let mut server = Changing::start(Config::default()).await?;
    let mut client = server.client().await?;
    let first = client.receive().await?;
    client.send(DeltaDiscoveryRequest { response_nonce: "12345".into(), ..request() }).await?;
    client.send(DeltaDiscoveryRequest { type_url: "type.googleapis.com/envoy.X".into(), ..request() }).await?;
    client.send(DeltaDiscoveryRequest { resource_names_unsubscribe: vec!["unknown".into()], ..request() }).await?;
    client.send(answer(&first, Ok(()))).await?;
    client.step().await?;
    server.put("a");
    assert_eq!(client.step().await?.resources.len(), 1);
    assert_eq!(server.count("answers_stale"), 1);
    Ok(())
}

#[tokio::test]
async fn too_many_names_end_the_stream_that_asks_for_them() -> Result<()> {
    let mut server = Changing::start(Config::default()).await?;
    let mut good = server.synced().await?;
    let mut greedy = server.synced().await?;
    greedy.send(DeltaDiscoveryRequest { resource_names_unsubscribe: vec!["*".into()], ..request() }).await?;
    let names = (0..10_000).map(|it| format!("name-{it}")).collect();
    greedy.send(DeltaDiscoveryRequest { resource_names_subscribe: names, ..request() }).await?;
    assert_eq!(greedy.step().await?.removed_resources.len(), 10_000, "each is answered");
    greedy.send(DeltaDiscoveryRequest { resource_names_subscribe: vec!["one-more".into()], ..request() }).await?;
    assert!(end(&mut greedy).await?.contains("more than 10000 names"));
    server.put("a");
    assert_eq!(good.step().await?.resources.len(), 1);
    Ok(())
}

#[tokio::test]
async fn streams_are_bounded_and_places_are_given_back() -> Result<()> {
    let server = Changing::start(Config { streams_max: 2, ..Config::default() }).await?;
    let (first, _second) = (server.synced().await?, server.synced().await?);
    let refused = server.client().await.err().context("a third was let in")?;
    assert!(format!("{refused:#}").contains("2 streams are open"), "{refused:#}");
    drop(first);
    let start = Instant::now();
    while server.connected() > 1 {
        assert!(start.elapsed() < Duration::from_secs(10), "the place of the one that left is not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.synced().await?;
    Ok(())
}

#[tokio::test]
async fn garbage_ends_only_its_own_connection() -> Result<()> {
    let mut server = Changing::start(Config::default()).await?;
    let mut good = server.synced().await?;
    // No TLS at all.
    let mut plain = TcpStream::connect(&server.hub.dial.address).await?;
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    let mut rest = Vec::new();
    // An alert and the end, or just the end.
    let _reset = tokio::time::timeout(Duration::from_secs(10), plain.read_to_end(&mut rest)).await?;
    // A message that is none.
    let mut broken = server.synced().await?;
    broken.send_raw(Bytes::from_static(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")).await?;
    assert!(end(&mut broken).await?.contains("cannot be read"));
    server.put("a");
    assert_eq!(good.step().await?.resources.len(), 1);
    Ok(())
}

/// Nine clients take nothing; the tenth does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_still_slows_nobody() -> Result<()> {
    let mut server = Changing::start(Config::default()).await?;
    let mut stalled = Vec::new();
    for _ in 0..9 {
        let mut client = server.client().await?;
        client.receive().await?;
        stalled.push(client);
    }
    let mut good = server.synced().await?;
    let mut slowest = Duration::ZERO;
    for number in 0..200 {
        let start = Instant::now();
        server.change(|snapshot| {
            snapshot.addresses.put(workload(&format!("w{}", number % 20), 1000 + number));
        });
        assert_eq!(good.step().await?.resources.len(), 1);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "one change took {slowest:?}");
    for client in &mut stalled {
        client.send(DeltaDiscoveryRequest { response_nonce: "1".into(), ..request() }).await?;
        let response = client.receive().await?;
        let response =
            if response.type_url == ResourceType::Address.url() { response } else { client.receive().await? };
        assert_eq!(response.resources.len(), 20, "the newest of each, and not the 200 that there were");
    }
    Ok(())
}

#[tokio::test]
async fn a_ztunnel_of_an_upgrade_is_served_beside_the_other() -> Result<()> {
    let mut server = Changing::start(Config::default()).await?;
    server.put("a");
    let (mut old, mut new) = (server.synced().await?, server.synced().await?);
    server.put("b");
    old.step().await?;
    new.step().await?;
    assert_eq!(old.kept, new.kept);
    Ok(())
}

#[tokio::test]
async fn a_mesh_larger_than_a_response_comes_in_several() -> Result<()> {
    let limits = xds::session::Limits { response_bytes: 100_000, ..xds::session::Limits::default() };
    let mut server = Changing::start(Config { limits, ..Config::default() }).await?;
    server.change(|snapshot| {
        for number in 0..1000 {
            snapshot.addresses.put(workload(&format!("w{number}"), 1000));
        }
    });
    let mut client = server.client().await?;
    let mut responses = 0;
    while client.kept.workloads.len() < 1000 {
        responses += u32::from(!client.step().await?.resources.is_empty());
    }
    assert!((10..=12).contains(&responses), "{responses} responses");
    Ok(())
}
