//! Connections over loopback that stall, talk nonsense, are too many or never say who they are.
//! Certificates are not the subject here; those are in the tests of [`super::super`].

use std::collections::VecDeque;
use std::task::Waker;

use rustix::io::Errno;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::codegen::http;

use super::*;
use crate::tls::tests::{Operator, connect, echoes, serve};
use crate::tls::{SelfSigned, Versions};

fn operator() -> (Operator, ServerTls) {
    let operator = Operator::new();
    operator.install(&operator.issue("localhost"));
    let tls = operator.server(Versions::Tls13).unwrap();
    (operator, tls)
}

/// Whether the other side closes, in any way.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.is_ok()
}

async fn wait_for(counter: &AtomicU64, value: u64) {
    timeout(Duration::from_secs(20), async {
        while counter.load(Ordering::Relaxed) < value {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} instead of {value}", counter.load(Ordering::Relaxed)));
}

#[tokio::test]
async fn half_a_handshake_delays_nobody_and_ends() {
    let (operator, tls) = operator();
    let limits = Limits { handshake_time: Duration::from_secs(3), ..Limits::default() };
    let (address, counters) = serve(&tls, limits).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    // The head of a handshake record of 512 bytes, and no more.
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    for _ in 0..10 {
        assert!(echoes(&mut connect(address, operator.client(), "localhost").await.unwrap()).await);
    }
    assert!(is_closed(&mut silent).await && is_closed(&mut half).await);
    assert_eq!(counters.timed_out.load(Ordering::Relaxed), 2);
    wait_for(&counters.connected, 10).await;
}

#[tokio::test]
async fn what_is_no_tls_is_closed_and_counted() {
    let (operator, tls) = operator();
    let (address, counters) = serve(&tls, Limits::default()).await;
    for (nth, text) in
        ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\0\0\0\0\0\0\0\0"].iter().enumerate()
    {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(text.as_bytes()).await.unwrap();
        assert!(is_closed(&mut plain).await, "{text}");
        wait_for(&counters.failed, nth as u64 + 1).await;
    }
    drop(TcpStream::connect(address).await.unwrap());
    wait_for(&counters.failed, 4).await;
    assert!(echoes(&mut connect(address, operator.client(), "localhost").await.unwrap()).await);
}

#[tokio::test]
async fn stalled_handshakes_give_way_to_newer_ones() {
    let (operator, tls) = operator();
    let limits = Limits { handshakes: 4, handshake_time: Duration::from_secs(60), ..Limits::default() };
    let (address, counters) = serve(&tls, limits).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        stalled.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(echoes(&mut connect(address, operator.client(), "localhost").await.unwrap()).await);
    assert_eq!(counters.evicted.load(Ordering::Relaxed), 5);
    assert!(is_closed(&mut stalled[0]).await, "the oldest went");
    // Those that are done are not in the way, and nobody gives way for them.
    for _ in 0..20 {
        assert!(echoes(&mut connect(address, operator.client(), "localhost").await.unwrap()).await);
    }
    assert_eq!(counters.connected.load(Ordering::Relaxed), 21);
    assert_eq!(counters.evicted.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn connections_are_bounded_and_places_come_back() {
    let (operator, tls) = operator();
    for limits in
        [Limits { connections: 3, ..Limits::default() }, Limits { connections_per_peer: 3, ..Limits::default() }]
    {
        let (address, counters) = serve(&tls, limits).await;
        let refused = if limits.connections == 3 { &counters.refused } else { &counters.refused_peer };
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(connect(address, operator.client(), "localhost").await.unwrap());
        }
        let mut one_more = TcpStream::connect(address).await.unwrap();
        assert!(is_closed(&mut one_more).await);
        assert_eq!(refused.load(Ordering::Relaxed), 1);
        assert!(echoes(&mut open[2]).await, "those that are open do not notice");
        open.pop();
        let again = timeout(Duration::from_secs(20), async {
            loop {
                match connect(address, operator.client(), "localhost").await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        });
        assert!(echoes(&mut again.await.unwrap()).await);
    }
}

#[tokio::test]
async fn who_is_not_admitted_in_time_is_closed_and_who_is_stays() {
    let (operator, tls) = operator();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let admit_time = Duration::from_millis(200);
    let mut connections = incoming(listener, &tls, Limits { admit_time, ..Limits::default() });
    let counters = connections.counters();
    let accept = async |connections: &mut Incoming| {
        let client = tokio::spawn(connect(address, operator.client(), "localhost"));
        let connection = connections.next().await.unwrap().unwrap();
        (client.await.unwrap().unwrap(), connection)
    };
    let (_client, mut stranger) = accept(&mut connections).await;
    let (mut known, mut admitted) = accept(&mut connections).await;
    admitted.connect_info().admit();
    let mut byte = [0];
    let error = stranger.read(&mut byte).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(counters.not_admitted.load(Ordering::Relaxed), 1);

    let reading = tokio::spawn(async move { admitted.read(&mut byte).await });
    tokio::time::sleep(admit_time * 2).await;
    known.write_all(b"x").await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), 1);
}

/// A listener that fails as it is told, and then never has a connection.
struct Script(VecDeque<io::Error>);

impl Listen for Script {
    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.0.pop_front().map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    }
}

#[tokio::test(start_paused = true)]
async fn accepting_pauses_after_errors_of_the_process_and_not_after_those_of_a_connection() {
    let (_operator, tls) = operator();
    let error = io::Error::from_raw_os_error;
    let aborted = (0..100).map(|_| error(Errno::CONNABORTED.raw_os_error()));
    let mut connections = Incoming::new(Script(aborted.collect()), &tls, Limits::default());
    assert!(poll_once(&mut connections).is_pending());
    assert!(connections.listener.0.is_empty() && connections.pause.is_none());

    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
        let mut connections =
            Incoming::new(Script((0..10).map(|_| error(errno.raw_os_error())).collect()), &tls, Limits::default());
        let start = Instant::now();
        while !connections.listener.0.is_empty() || connections.pause.is_some() {
            let polls = connections.listener.0.len();
            assert!(poll_once(&mut connections).is_pending());
            assert!(polls - connections.listener.0.len() <= 1, "one try for each pause");
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // 10 + 20 + 40 + 80 + 160 + 320 + 640 ms, and three times a second.
        let took = start.elapsed();
        assert!((Duration::from_millis(4270)..Duration::from_millis(4400)).contains(&took), "{took:?}");
        assert_eq!(connections.counters().accept_errors.load(Ordering::Relaxed), 10);
    }
}

fn poll_once(connections: &mut Incoming<Script>) -> Poll<Option<io::Result<Connection>>> {
    Pin::new(connections).poll_next(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn peers_are_counted_by_network_and_forgotten() {
    let ip = |text: &str| network(text.parse().unwrap());
    assert_eq!(ip("10.0.0.1"), ip("::ffff:10.0.0.1"));
    assert_ne!(ip("10.0.0.1"), ip("10.0.0.2"));
    assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
    assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));

    let (_operator, tls) = operator();
    let limits = Limits { connections: 8, ..Limits::default() };
    let mut connections = Incoming::new(Script(VecDeque::new()), &tls, limits);
    for nth in 0..10_000u32 {
        let address = SocketAddr::new(IpAddr::V4(nth.into()), 1);
        assert!(connections.place(address).is_some());
    }
    assert!(connections.peers.len() <= 17, "{}", connections.peers.len());
}

/// A gRPC server without any method, that notes who asks.
#[derive(Clone)]
struct Nothing {
    seen: tokio::sync::mpsc::Sender<SocketAddr>,
}

impl tonic::codegen::Service<http::Request<Body>> for Nothing {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().expect("the peer of a request");
        peer.admit();
        self.seen.try_send(peer.address()).expect("room");
        std::future::ready(Ok(tonic::Status::unimplemented("").into_http()))
    }
}

#[tokio::test]
async fn tonic_serves_them_and_every_request_knows_its_peer() {
    let folder = tempfile::tempdir().unwrap();
    let of = SelfSigned {
        private: folder.path().join("private"),
        shared: folder.path().join("shared"),
        names: vec!["localhost".into()],
    };
    let tls = ServerTls::self_signed(&of, Versions::Tls13).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = incoming(listener, &tls, Limits::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (seen, mut peers) = tokio::sync::mpsc::channel(8);
    let server =
        tonic::transport::Server::builder()
            .serve_with_incoming_shutdown(Nothing { seen }, connections, async { drop(stopped.await) });
    let server = tokio::spawn(server);

    let root = std::fs::read(of.shared.join(crate::tls::ROOT_CERT)).unwrap();
    let trust = tonic::transport::ClientTlsConfig::new().ca_certificate(tonic::transport::Certificate::from_pem(root));
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
    let mut channel = endpoint.tls_config(trust).unwrap().connect().await.unwrap();
    let request = http::Request::post("/nobody/Knows").body(Body::empty()).unwrap();
    std::future::poll_fn(|cx| tonic::client::GrpcService::<Body>::poll_ready(&mut channel, cx)).await.unwrap();
    let response = tonic::client::GrpcService::call(&mut channel, request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "12", "unimplemented, and so answered");
    assert!(peers.recv().await.unwrap().ip().is_loopback());

    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "no longer listening");
}
