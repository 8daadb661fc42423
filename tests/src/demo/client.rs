//! The clients: a process of its own, because a process is in one cgroup with all its threads, and the stand-ins must not
//! be redirected. It says one line of JSON per connection on standard output, and ends when its standard input does.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use redirect::Records;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_linger, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::observation::{Greeting, Noted, Observation, Outcome};
use super::places::KernelPlaces;

/// A connection on one machine takes far less; longer is a failure.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(5);
const GREETING_BYTES_MAX: u64 = 4096;
/// Observations that wait for being written.
const OBSERVATIONS_MAX: usize = 256;

/// How often each thread dials all destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounds {
    /// Once.
    One,
    /// Again and again, until the process is told to stop.
    UntilStopped,
}

const ONE: &str = "one";
const UNTIL_STOPPED: &str = "until-stopped";

/// The arguments for [`run`].
pub(super) fn arguments(
    places: &KernelPlaces,
    threads: usize,
    rounds: Rounds,
    destinations: &[SocketAddr],
) -> Vec<OsString> {
    let rounds = match rounds {
        Rounds::One => ONE,
        Rounds::UntilStopped => UNTIL_STOPPED,
    };
    let mut all = vec![places.cgroup.clone().into(), places.pins.clone().into()];
    all.extend([threads.to_string().into(), rounds.into()]);
    all.extend(destinations.iter().map(|destination| destination.to_string().into()));
    all
}

/// The process, from its arguments on.
pub(super) fn run(arguments: &[OsString]) -> Result<()> {
    let [cgroup, pins, threads, rounds, destinations @ ..] = arguments else {
        bail!("a client is told more than that")
    };
    let text = |argument: &OsString| argument.to_str().map(str::to_owned).context("an argument is not UTF-8");
    let threads: usize = text(threads)?.parse()?;
    let rounds = if rounds == ONE { Rounds::One } else { Rounds::UntilStopped };
    let destinations: Vec<SocketAddr> =
        destinations.iter().map(|argument| Ok(text(argument)?.parse()?)).collect::<Result<_>>()?;
    // Whatever happens to the demo, its clients do not outlive it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let procs = Path::new(cgroup).join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string()).with_context(|| format!("cannot enter {}", procs.display()))?;
    let records = Arc::new(Records::open(Path::new(pins))?);

    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    // It ends with the process, if not before.
    thread::Builder::new().spawn(move || {
        let _ended = io::copy(&mut io::stdin(), &mut io::sink());
        ended.store(true, Ordering::Relaxed);
    })?;
    let (tell, told) = sync_channel(OBSERVATIONS_MAX);
    for number in 0..threads {
        let client = Client { destinations: destinations.clone(), records: Arc::clone(&records), tell: tell.clone() };
        let stop = Arc::clone(&stop);
        // Each starts at another destination, so that they are not at one place at one time.
        let first = number * destinations.len() / threads.max(1);
        thread::Builder::new().name(format!("client {number}")).spawn(move || client.dial_all(first, rounds, &stop))?;
    }
    drop(tell);
    let mut out = BufWriter::new(io::stdout().lock());
    for observation in told {
        serde_json::to_writer(&mut out, &observation)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

struct Client {
    destinations: Vec<SocketAddr>,
    records: Arc<Records>,
    tell: SyncSender<Observation>,
}

impl Client {
    fn dial_all(&self, first: usize, rounds: Rounds, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let numbered = self.destinations.iter().enumerate();
            for (number, destination) in numbered.cycle().skip(first).take(self.destinations.len()) {
                if self.tell.send(self.observe(number, *destination)).is_err() {
                    return;
                }
            }
            if rounds == Rounds::One {
                return;
            }
        }
    }

    fn observe(&self, number: usize, destination: SocketAddr) -> Observation {
        let broken = |error: anyhow::Error| (None, Outcome::Broken(format!("{error:#}")));
        let (record, outcome) = self.dial(destination).unwrap_or_else(broken);
        Observation { destination: number, record, outcome }
    }

    fn dial(&self, destination: SocketAddr) -> Result<(Option<Noted>, Outcome)> {
        let socket = stream(destination)?;
        let connected = connect(&socket, &destination);
        let record = self.records.of_socket(&socket)?.map(Noted::from);
        let outcome = match connected {
            Ok(()) => match greeting(socket) {
                Ok(greeting) => Outcome::Arrived(greeting),
                Err(error) => Outcome::Broken(format!("{error:#}")),
            },
            // How Linux says that SO_SNDTIMEO is over.
            Err(Errno::INPROGRESS | Errno::AGAIN) => Outcome::Broken("connect timed out".to_owned()),
            Err(error) => Outcome::Denied(error.raw_os_error()),
        };
        Ok((record, outcome))
    }
}

fn stream(to: SocketAddr) -> Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECTION_TIME_MAX))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(CONNECTION_TIME_MAX))?;
    // It ends by a reset, so that no port waits in TIME_WAIT and they never run out.
    set_socket_linger(&socket, Some(Duration::ZERO))?;
    Ok(socket)
}

fn greeting(socket: OwnedFd) -> Result<Greeting> {
    let mut line = String::new();
    BufReader::new(TcpStream::from(socket).take(GREETING_BYTES_MAX)).read_line(&mut line).context("no greeting")?;
    serde_json::from_str(&line).with_context(|| format!("not a greeting: {line:?}"))
}
