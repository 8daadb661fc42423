//! A listener in a pod: a thread that accepts, and one for each connection. Ends with the value that holds it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::network::Namespace;

/// How often a listener looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Nobody here is slow, but the machine may be; longer is a hang.
pub(crate) const CONNECTION_TIME_MAX: Duration = Duration::from_secs(20);
/// The load has a few dozen connections at a time.
const CONNECTIONS_MAX: usize = 512;

/// A running listener.
pub(crate) struct Listener {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens in the pod; `serve` gets each connection, with time limits set.
    pub(crate) fn start(
        name: &str,
        pod: &Namespace,
        address: SocketAddr,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener =
            pod.inside(|| TcpListener::bind(address).with_context(|| format!("{name} cannot listen at {address}")))?;
        set_socket_timeout(&listener, Timeout::Recv, Some(LOOK_EVERY))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (connection_name, serve) = (format!("{name} connection"), Arc::new(serve));
        let open = Arc::new(AtomicUsize::new(0));
        let work = move || {
            // One more connection than there may be is closed at once, which the client's record shows.
            while let Some(stream) = accept(&listener, &stopped) {
                if open.fetch_add(1, Ordering::Relaxed) < CONNECTIONS_MAX {
                    let (serve, open) = (Arc::clone(&serve), Arc::clone(&open));
                    let one = move || {
                        serve(stream);
                        open.fetch_sub(1, Ordering::Relaxed);
                    };
                    let _no_thread = thread::Builder::new().name(connection_name.clone()).spawn(one);
                } else {
                    open.fetch_sub(1, Ordering::Relaxed);
                }
            }
        };
        // In the pod as well: what it dials for a client, it dials from there.
        let spawn = || Ok(thread::Builder::new().name(name.to_owned()).spawn(work)?);
        let thread = pod.inside(spawn)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and shows as connections that failed.
            let _panicked = thread.join();
        }
    }
}

/// The next connection, or none when told to stop.
fn accept(listener: &TcpListener, stop: &AtomicBool) -> Option<TcpStream> {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) if limit(&stream).is_ok() => return Some(stream),
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) => {}
            Err(error) => {
                eprintln!("a listener ended: {error}");
                return None;
            }
        }
    }
    None
}

fn limit(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(CONNECTION_TIME_MAX))?;
    stream.set_write_timeout(Some(CONNECTION_TIME_MAX))?;
    stream.set_nodelay(true)
}
