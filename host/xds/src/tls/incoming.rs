//! Who gets a TLS connection: a TCP listener becomes a stream of connections whose handshake is done.
//!
//! Handshakes run beside each other, each bounded in time; when there are too many, the oldest gives way, so that
//! stalled ones cannot keep others out. Connections are bounded in all and per peer, and one whose client has not said
//! who it is ([`Peer::admit`]) ends by itself. Nothing here knows what is said on a connection.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::{H2, ServerTls};

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time of one handshake. Default 10 s.
    pub handshake_time: Duration,
    /// Handshakes at once; the oldest is given up for one more. Default 128.
    pub handshakes: usize,
    /// Connections at once, with those in a handshake; one more is closed. Default 1,024.
    pub connections: usize,
    /// Connections from one IPv4 address or one IPv6 /64 network; one more is closed. Default 64.
    pub connections_per_peer: usize,
    /// How long a connection lives after its handshake without [`Peer::admit`]. Default 10 s.
    pub admit_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(10),
            handshakes: 128,
            connections: 1024,
            connections_per_peer: 64,
            admit_time: Duration::from_secs(10),
        }
    }
}

/// After an error of the whole process, such as too many open files, accepting pauses this long, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What became of connections, counted since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Handshakes that were completed.
    pub connected: AtomicU64,
    /// Handshakes that failed: no TLS, no common version, not HTTP/2, gone.
    pub failed: AtomicU64,
    /// Handshakes that took too long.
    pub timed_out: AtomicU64,
    /// Handshakes given up for newer ones.
    pub evicted: AtomicU64,
    /// Connections closed at once: too many in all.
    pub refused: AtomicU64,
    /// Connections closed at once: too many from one peer.
    pub refused_peer: AtomicU64,
    /// Connections that ended because their client did not say in time who it is.
    pub not_admitted: AtomicU64,
    /// Errors of accepting.
    pub accept_errors: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The connections of `listener`. To be polled by `serve_with_incoming_shutdown`; dropped, it stops listening.
/// Never yields an error. Must be polled within a runtime.
pub fn incoming(listener: TcpListener, tls: &ServerTls, limits: Limits) -> Incoming {
    Incoming::new(listener, tls, limits)
}

/// Where connections come from: a listener, or in tests a script.
pub trait Listen: Unpin {
    /// As [`TcpListener::poll_accept`].
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>>;
}

impl Listen for TcpListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        Self::poll_accept(self, cx)
    }
}

/// A stream of connections; made by [`incoming`].
pub struct Incoming<L = TcpListener> {
    listener: L,
    acceptor: TlsAcceptor,
    limits: Limits,
    counters: Arc<Counters>,
    handshakes: JoinSet<Option<Connection>>,
    // In the order of their start; some may have ended.
    order: VecDeque<AbortHandle>,
    // One count for all, one per peer: as many as there are holders of the Arc beside us.
    all: Arc<()>,
    peers: HashMap<IpAddr, Arc<()>>,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
}

impl<L: Listen> Incoming<L> {
    fn new(listener: L, tls: &ServerTls, limits: Limits) -> Self {
        Self {
            listener,
            acceptor: tls.acceptor.clone(),
            limits,
            counters: Arc::default(),
            handshakes: JoinSet::new(),
            order: VecDeque::new(),
            all: Arc::default(),
            peers: HashMap::new(),
            pause: None,
            next_pause: PAUSE_MIN,
        }
    }

    /// What became of connections so far; goes on counting.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// A place for one more connection from `address`, if there is one.
    fn place(&mut self, address: SocketAddr) -> Option<Place> {
        if holders(&self.all) >= self.limits.connections {
            count(&self.counters.refused);
            tracing::debug!(%address, "connection closed: {} are open", self.limits.connections);
            return None;
        }
        // Peers without a connection are forgotten before there are many of them.
        if self.peers.len() > 2 * self.limits.connections {
            self.peers.retain(|_, count| holders(count) > 0);
        }
        let peer = self.peers.entry(network(address.ip())).or_default();
        if holders(peer) >= self.limits.connections_per_peer {
            count(&self.counters.refused_peer);
            tracing::debug!(%address, "connection closed: {} of this peer are open", self.limits.connections_per_peer);
            return None;
        }
        Some(Place { _all: self.all.clone(), _peer: peer.clone() })
    }

    fn start(&mut self, stream: TcpStream, address: SocketAddr) {
        let Some(place) = self.place(address) else { return };
        if self.order.len() >= self.limits.handshakes {
            self.order.retain(|it| !it.is_finished());
            if self.order.len() >= self.limits.handshakes
                && let Some(oldest) = self.order.pop_front()
            {
                count(&self.counters.evicted);
                oldest.abort();
            }
        }
        let handshake = handshake(stream, address, place, self.acceptor.clone(), self.limits, self.counters.clone());
        let task = self.handshakes.spawn(handshake);
        self.order.push_back(task);
    }

    fn accept_failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        count(&self.counters.accept_errors);
        // Of one connection: the next may be well. All else is of the process or the system, and would come again at once.
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            tracing::debug!(%error, "cannot accept a connection");
            return;
        }
        if self.next_pause == PAUSE_MIN {
            tracing::warn!(%error, "cannot accept connections, trying again with pauses of up to {PAUSE_MAX:?}");
        }
        self.pause = Some(Box::pin(sleep(self.next_pause)));
        self.next_pause = (self.next_pause * 2).min(PAUSE_MAX);
    }
}

impl<L: Listen> Stream for Incoming<L> {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match this.handshakes.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(connection)))) => return Poll::Ready(Some(Ok(connection))),
                // Failed, which it counted itself, or given up.
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            if let Some(pause) = &mut this.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.pause = None;
            }
            match this.listener.poll_accept(cx) {
                Poll::Ready(Ok((stream, address))) => {
                    this.next_pause = PAUSE_MIN;
                    this.start(stream, address);
                }
                // Looped again either way: a pause has to be polled to wake us.
                Poll::Ready(Err(error)) => this.accept_failed(&error),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// How many hold this, beside the one who counts.
fn holders(count: &Arc<()>) -> usize {
    Arc::strong_count(count) - 1
}

/// Whom a peer's connections are counted with. An IPv6 host has as many addresses as it likes in its /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A connection's place in the counts, given back when it is dropped.
struct Place {
    _all: Arc<()>,
    _peer: Arc<()>,
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
    acceptor: TlsAcceptor,
    limits: Limits,
    counters: Arc<Counters>,
) -> Option<Connection> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "cannot turn off Nagle's algorithm");
    }
    let stream = match timeout(limits.handshake_time, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            count(&counters.failed);
            tracing::debug!(%address, %error, "TLS handshake failed");
            return None;
        }
        Err(_) => {
            count(&counters.timed_out);
            tracing::debug!(%address, "TLS handshake not done after {:?}", limits.handshake_time);
            return None;
        }
    };
    // A client that offers no protocol at all gets this far.
    if stream.get_ref().1.alpn_protocol() != Some(H2) {
        count(&counters.failed);
        tracing::debug!(%address, "TLS client does not offer HTTP/2");
        return None;
    }
    count(&counters.connected);
    let peer = Peer { address, admitted: Arc::default() };
    Some(Connection { stream, peer, deadline: Some(Box::pin(sleep(limits.admit_time))), counters, _place: place })
}

/// The other end of a connection: in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    admitted: Arc<AtomicBool>,
}

impl Peer {
    /// Where it connected from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The client has said who it is and may stay. To be called when a token was found good; without it, the
    /// connection ends after [`Limits::admit_time`].
    pub fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

/// A TLS connection, with its place in the limits.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    // Gone once the client is admitted.
    deadline: Option<Pin<Box<Sleep>>>,
    counters: Arc<Counters>,
    _place: Place,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl Connection {
    /// An error if the time to be admitted is over.
    fn check_admitted(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(deadline) = &mut self.deadline else { return Ok(()) };
        if self.peer.admitted.load(Ordering::Relaxed) {
            self.deadline = None;
        } else if deadline.as_mut().poll(cx).is_ready() {
            count(&self.counters.not_admitted);
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not say in time who it is"));
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // HTTP/2 always reads, so this wakes it when the time is over.
        self.check_admitted(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
