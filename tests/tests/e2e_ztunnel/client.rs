//! The client pod: threads that open connection after connection to all services, and write down each one with its times.
//! All times are of one clock, so that connections of different threads can be compared.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect as connect_socket, socket_with};
use tests::demo::patience::{Patience, wait_for};

use super::line::{question, read_answer, read_line};
use super::listener::CONNECTION_TIME_MAX;
use super::mesh::{CLIENT, Family, SERVICE_PORT, SERVICES, service_ip};
use super::network::Namespace;

/// Between two connections of a thread: ports that wait for late packets must not run out.
const PAUSE: Duration = Duration::from_millis(5);

/// One connection as the client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Unique among all clients of this process.
    pub(crate) number: u64,
    /// Its place in [`SERVICES`].
    pub(crate) service: usize,
    /// What was dialled.
    pub(crate) to: SocketAddr,
    /// Before the first packet, since the clock's start.
    pub(crate) begun: Duration,
    /// After the answer.
    pub(crate) ended: Duration,
    /// From which port, if it could be opened.
    pub(crate) from: Option<SocketAddr>,
    /// The address that the server saw, or why there was no answer.
    pub(crate) via: Result<IpAddr, String>,
}

/// The clock of all connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Numbers of connections, also of those of different loads.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// One connection from the pod to a service.
pub(crate) fn ask(pod: &Namespace, clock: Clock, service: usize) -> Result<Connection> {
    pod.inside(|| Ok(connect(pod.family, clock, service)))
}

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    /// Connections that ended, well or not.
    ended: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
    connections: Receiver<Connection>,
}

impl Load {
    /// Starts so many clients. Each asks all services in turn, each from another one on.
    pub(crate) fn start(pod: &Namespace, clock: Clock, clients: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(AtomicU64::new(0));
        let (tell, connections) = channel();
        let mut threads = Vec::new();
        let family = pod.family;
        for client in 0..clients {
            let (tell, stop, ended) = (tell.clone(), Arc::clone(&stop), Arc::clone(&ended));
            let work = move || {
                ask_on(family, clock, client, &stop, |connection| {
                    ended.fetch_add(1, Ordering::Relaxed);
                    tell.send(connection).is_ok()
                });
            };
            let spawn = || Ok(thread::Builder::new().name(format!("client {client}")).spawn(work)?);
            threads.push(pod.inside(spawn)?);
        }
        Ok(Self { stop, ended, threads, connections })
    }

    /// Waits for so many connections more.
    pub(crate) fn wait_for_more(&self, count: u64, patience: Patience) -> Result<()> {
        let until = self.ended.load(Ordering::Relaxed) + count;
        wait_for("connections", patience, || Ok((self.ended.load(Ordering::Relaxed) >= until).then_some(())))
    }

    /// Ends the clients after the connections they are at, and returns all.
    pub(crate) fn stop(mut self) -> Result<Vec<Connection>> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a client panicked"))?;
        }
        Ok(self.connections.try_iter().collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask_on(family: Family, clock: Clock, first: usize, stop: &AtomicBool, tell: impl Fn(Connection) -> bool) {
    for service in (0..SERVICES.len()).cycle().skip(first % SERVICES.len()) {
        if stop.load(Ordering::Relaxed) || !tell(connect(family, clock, service)) {
            return;
        }
        thread::sleep(PAUSE);
    }
}

fn connect(family: Family, clock: Clock, service: usize) -> Connection {
    let to = SocketAddr::new(service_ip(family, service), SERVICE_PORT);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let begun = clock.now();
    let mut from = None;
    let via = exchange(family, number, to, &mut from).map_err(|error| format!("{error:#}"));
    Connection { number, service, to, begun, ended: clock.now(), from, via }
}

/// Below the kernel's own choices. Left to choose, the kernel takes one port for several services at once, and the redirection then
/// has to put another in its place, by which ztunnel's log could not be compared.
fn own_port(number: u64) -> u16 {
    0x4000 | u16::try_from(number & 0x3fff).unwrap_or(0)
}

fn exchange(family: Family, number: u64, to: SocketAddr, from: &mut Option<SocketAddr>) -> Result<IpAddr> {
    let own = SocketAddr::new(CLIENT.ip(family), own_port(number));
    let of_sockets = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let socket = socket_with(of_sockets, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECTION_TIME_MAX))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(CONNECTION_TIME_MAX))?;
    bind(&socket, &own).with_context(|| format!("bind to {own}"))?;
    connect_socket(&socket, &to).context("connect")?;
    *from = Some(own);
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.write_all(&question(number)).context("ask")?;
    let (answered, via) = read_answer(&read_line(&mut stream)?)?;
    ensure!(answered == number, "the answer is for connection {answered}");
    let mut more = Vec::new();
    stream.read_to_end(&mut more).context("end")?;
    ensure!(more.is_empty(), "more than an answer");
    Ok(via)
}
