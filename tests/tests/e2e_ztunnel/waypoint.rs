//! A waypoint's stand-in: the process that ztunnel hands connections to in a captured pod, in the clear with a PROXY header.
//! It serves what it was programmed with and closes everything else, as waypoints do, and it writes down both.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context as _, Result};

use super::line::{read_line, read_question};
use super::listener::{CONNECTION_TIME_MAX, Listener};
use super::network::Namespace;
use super::proxy_header::ProxyHeader;

/// Where ztunnel hands connections over, on the pod's loopback address.
pub(crate) const WAYPOINT_PORT: u16 = 15088;

/// What a waypoint was programmed with: for the address of each service the pod behind it. It must dial pods, since a service's
/// address would lead back to itself.
pub(crate) type Program = BTreeMap<SocketAddr, SocketAddr>;

/// One connection as the waypoint saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) header: ProxyHeader,
    pub(crate) outcome: Outcome,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Carried on, with the client's number of it.
    Relayed(u64),
    /// Closed: this waypoint knows no such service.
    NotProgrammed,
    /// Something else went wrong.
    Failed(String),
}

/// A running stand-in.
pub(crate) struct Waypoint {
    _listener: Listener,
    passages: Receiver<Passage>,
}

impl Waypoint {
    /// Listens in its pod.
    pub(crate) fn start(name: &str, pod: &Namespace, program: Program) -> Result<Self> {
        let (tell, passages) = channel::<Passage>();
        let address = SocketAddr::new(pod.family.loopback(), WAYPOINT_PORT);
        let serve = move |stream| serve(stream, &program, &tell);
        Ok(Self { _listener: Listener::start(name, pod, address, serve)?, passages })
    }

    /// All connections since the last call.
    pub(crate) fn passages(&self) -> Vec<Passage> {
        self.passages.try_iter().collect()
    }
}

fn serve(mut stream: TcpStream, program: &Program, tell: &Sender<Passage>) {
    // Without a header there is no connection to write down; the client that it belongs to says that it failed.
    let Ok(header) = ProxyHeader::read(&mut stream) else { return };
    let Some(pod) = program.get(&header.destination) else {
        let _nobody_asks = tell.send(Passage { header, outcome: Outcome::NotProgrammed });
        return;
    };
    let told = tell.clone();
    let relayed = relay(&mut stream, *pod, |connection| {
        let _nobody_asks = told.send(Passage { header: header.clone(), outcome: Outcome::Relayed(connection) });
    });
    if let Err(error) = relayed {
        let _nobody_asks = tell.send(Passage { header, outcome: Outcome::Failed(format!("{error:#}")) });
    }
}

/// One question and one answer. What the server will answer is written down before the client can see it.
fn relay(client: &mut TcpStream, to: SocketAddr, note: impl FnOnce(u64)) -> Result<()> {
    let question = read_line(client).context("the client's question")?;
    let mut server = TcpStream::connect_timeout(&to, CONNECTION_TIME_MAX).with_context(|| format!("{to}"))?;
    server.set_read_timeout(Some(CONNECTION_TIME_MAX))?;
    server.set_nodelay(true)?;
    server.write_all(&question)?;
    let answer = read_line(&mut server).context("the server's answer")?;
    note(read_question(&question)?);
    client.write_all(&answer).context("the client is gone")?;
    // Until the server has closed, this end must not: an end in the middle of the other's is an error in its log.
    let _closed = std::io::copy(&mut server, client);
    let _gone = client.shutdown(Shutdown::Write);
    let _closed = std::io::copy(client, &mut std::io::sink());
    Ok(())
}
