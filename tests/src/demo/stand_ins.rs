//! Listeners in the place of waypoints and of the applications themselves. Each asks the kernel where a connection was
//! meant to go, writes that down, and tells the client. No HBONE is spoken.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use redirect::Records;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::destinations::{PORTS, plain};
use super::observation::{Greeting, Noted};

/// The name that those give who stand in for applications.
pub(super) const ITSELF: &str = "itself";

/// How often a listener looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A client that does not read is not waited for.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);

/// How many connections a stand-in got, by their original destination; none for those without a record.
pub(super) type Arrivals = BTreeMap<Option<SocketAddr>, u64>;

/// All listeners.
pub(super) struct StandIns {
    stop: Arc<AtomicBool>,
    threads: Vec<(String, JoinHandle<Result<Arrivals>>)>,
}

impl StandIns {
    /// Listens at every waypoint's address, and at all addresses for what passes untouched.
    pub(super) fn listen(waypoints: &[(model::Name, SocketAddr)], records: &Arc<Records>) -> Result<Self> {
        let mut stand_ins = Self { stop: Arc::default(), threads: Vec::new() };
        for (name, address) in waypoints {
            stand_ins.add(name, *address, records)?;
        }
        for port in PORTS {
            stand_ins.add(ITSELF, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), records)?;
        }
        Ok(stand_ins)
    }

    fn add(&mut self, name: &str, address: SocketAddr, records: &Arc<Records>) -> Result<()> {
        let failed = || format!("the stand-in for {name} cannot listen at {address}");
        let listener = TcpListener::bind(address).with_context(failed)?;
        set_socket_timeout(&listener, Timeout::Recv, Some(LOOK_EVERY)).with_context(failed)?;
        let (stop, records, owned) = (Arc::clone(&self.stop), Arc::clone(records), name.to_owned());
        let serve = move || serve(&owned, &listener, &records, &stop);
        self.threads.push((name.to_owned(), thread::Builder::new().name(format!("stand-in {name}")).spawn(serve)?));
        Ok(())
    }

    /// Ends them, and returns what each waypoint's stand-in got. Those of applications are one.
    pub(super) fn stop(mut self) -> Result<BTreeMap<String, Arrivals>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all: BTreeMap<String, Arrivals> = BTreeMap::new();
        for (name, thread) in self.threads.drain(..) {
            let arrivals = thread.join().map_err(|_| anyhow!("the stand-in for {name} panicked"))??;
            for (destination, count) in arrivals {
                *all.entry(name.clone()).or_default().entry(destination).or_default() += count;
            }
        }
        Ok(all)
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(name: &str, listener: &TcpListener, records: &Records, stop: &AtomicBool) -> Result<Arrivals> {
    let mut arrivals = Arrivals::new();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, peer)) => {
                let told = greet(name, stream, peer, records)?;
                *arrivals.entry(told).or_default() += 1;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // The client was gone before it was accepted.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error).with_context(|| format!("the stand-in for {name}")),
        }
    }
    Ok(arrivals)
}

/// One line of JSON, then the end.
fn greet(name: &str, mut stream: TcpStream, peer: SocketAddr, records: &Records) -> Result<Option<SocketAddr>> {
    let at = stream.local_addr()?;
    let told = records.take(peer, at)?.map(Noted::from);
    let destination = told.as_ref().map(|noted| noted.destination);
    let mut line = serde_json::to_vec(&Greeting { name: name.to_owned(), at: plain(at), told })?;
    line.push(b'\n');
    stream.set_write_timeout(Some(WRITE_TIME_MAX))?;
    // A client that went away meanwhile says so at its own end.
    let _gone = stream.write_all(&line);
    Ok(destination)
}
