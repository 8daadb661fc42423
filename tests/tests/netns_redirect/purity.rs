//! No connection is decided by a mix of two rule sets, however fast they follow each other.
//!
//! Every set says the same of all destinations, and something else than the sets around it. So a thread that connects to one
//! destination after the other must never see a set older than one it has seen, and what happens to a connection must be what
//! the set named in its record says. The same test is run over changes key by key, where it must find mixing: or it is blind.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redirect::{Action, Change, Destination, Entry, Reason, Records};

use crate::harness::{Harness, connect, errno, inside, listen, start, stream};

/// Enough for a writer to be in the middle of them when a reader comes by.
const DESTINATIONS: u32 = 512;
const READERS: usize = 2;
const RUN: Duration = Duration::from_secs(2);

fn destination(n: u32) -> IpAddr {
    IpAddr::from((0x0a09_0000 + n).to_be_bytes())
}

/// The error that set `k` answers with.
fn errno_of(k: u64) -> u32 {
    200 + (k % 3000) as u32
}

fn denials(k: u64) -> impl Iterator<Item = Entry> {
    (0..DESTINATIONS).map(move |n| Entry {
        destination: Destination::any_port(destination(n)),
        action: Action::Deny(errno_of(k)),
        rule_id: n,
        revision: k,
    })
}

#[derive(Default)]
struct Seen {
    decisions: u64,
    /// The connection's fate was not that of the set its record names.
    contradicted: u64,
    /// A set older than one seen before.
    backwards: u64,
    /// No rule was found, though every destination has one all the time.
    missed: u64,
}

/// Connects round the destinations until told to stop. A denied connect sends nothing, so this is all programs and no network.
fn read_denials(records: &Records, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut newest = 0;
    let mut socket = stream(SocketAddr::new(destination(0), 80));
    for n in (0..DESTINATIONS).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let to = SocketAddr::new(destination(n), 80);
        let answer = errno(connect(&socket, to));
        seen.decisions += 1;
        let Some(record) = records.of_socket(&socket).unwrap() else {
            // The connection may even have come about: this socket is of no use any more.
            seen.missed += 1;
            socket = stream(to);
            continue;
        };
        assert_eq!((record.destination, record.rule_id), (to, n));
        seen.contradicted += u64::from(answer != Some(errno_of(record.revision) as i32));
        seen.backwards += u64::from(record.revision < newest);
        newest = newest.max(record.revision);
    }
    seen
}

/// Ends the other threads also when this one panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Readers against a writer that is called with 2, 3, 4 ... for the time of a run.
fn race(
    h: &mut Harness,
    read: impl Fn(&Records, &AtomicBool) -> Seen + Sync,
    mut write: impl FnMut(&mut Harness, u64),
) -> (Seen, u64) {
    let records = h.records();
    let stop = AtomicBool::new(false);
    let mut written = 1;
    let total = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| read(&records, &stop))).collect();
        let finish = SetOnDrop(&stop);
        let end = Instant::now() + RUN;
        while Instant::now() < end {
            written += 1;
            write(h, written);
        }
        drop(finish);
        readers.into_iter().fold(Seen::default(), |total, reader| {
            let seen = reader.join().unwrap();
            Seen {
                decisions: total.decisions + seen.decisions,
                contradicted: total.contradicted + seen.contradicted,
                backwards: total.backwards + seen.backwards,
                missed: total.missed + seen.missed,
            }
        })
    });
    (total, written)
}

#[test]
fn no_decision_mixes_two_published_sets() {
    let Some(mut h) = start("purity", |_| {}) else { return };
    h.publish(1, &denials(1).collect::<Vec<_>>());
    // The process stays in the cgroup, as readers make sockets on threads of their own.
    inside(&h.cgroup.clone(), || {
        let h = &mut h;
        let (seen, sets) = race(h, read_denials, |h, k| {
            let prepared = h.redirect().prepare(k, denials(k)).unwrap();
            h.redirect().commit(prepared).unwrap();
        });
        println!(
            "{} decisions over {sets} sets: {} contradicted, {} backwards, {} missed",
            seen.decisions, seen.contradicted, seen.backwards, seen.missed
        );
        assert!(
            seen.decisions > 20_000 && sets > 10,
            "too little was tried: {} decisions, {sets} sets",
            seen.decisions
        );
        assert_eq!((seen.contradicted, seen.backwards, seen.missed), (0, 0, 0));
        assert_eq!((h.count(Reason::Torn), h.count(Reason::Miss)), (0, 0));
    });
}

#[test]
fn the_purity_test_sees_mixing_where_keys_change_one_by_one() {
    let Some(mut h) = start("impurity", |_| {}) else { return };
    h.publish(1, &denials(1).collect::<Vec<_>>());
    // The process stays in the cgroup, as readers make sockets on threads of their own.
    inside(&h.cgroup.clone(), || {
        let h = &mut h;
        let (seen, rounds) = race(h, read_denials, |h, k| {
            let changes: Vec<Change> = denials(k).map(Change::Put).collect();
            h.redirect().update(&changes).unwrap();
        });
        println!(
            "control: {} decisions over {rounds} rounds: {} contradicted, {} backwards, {} missed",
            seen.decisions, seen.contradicted, seen.backwards, seen.missed
        );
        assert!(seen.backwards > 0, "the test is blind: {} decisions over {rounds} rounds of changes", seen.decisions);
        // Each key by itself still moves at once and is never gone: fate and record of a connection come from one value.
        assert_eq!((seen.contradicted, seen.missed), (0, 0));
        assert_eq!((h.count(Reason::Torn), h.count(Reason::Miss)), (0, 0));
    });
}

#[test]
fn no_connection_goes_to_the_waypoint_of_another_set() {
    let Some(mut h) = start("purity-net", |_| {}) else {
        return;
    };
    let (listener, any) = listen("0.0.0.0");
    // Set k sends everything to 127.64.x.y with k in x.y, all of which is one listener.
    let target = |k: u64| SocketAddr::from(([127, 64, (k >> 8) as u8, k as u8], any.port()));
    let set = |k: u64| {
        (0..DESTINATIONS).map(move |n| Entry {
            destination: Destination::any_port(destination(n)),
            action: Action::Redirect(target(k)),
            rule_id: n,
            revision: k,
        })
    };
    h.publish(1, &set(1).collect::<Vec<_>>());
    let read = |records: &Records, stop: &AtomicBool| {
        let mut seen = Seen::default();
        let mut newest = 0;
        for n in (0..DESTINATIONS).cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let socket = stream(any);
            // It ends by a reset, so that no port stays in TIME_WAIT.
            rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
            connect(&socket, SocketAddr::new(destination(n), 80)).unwrap();
            // The peer's byte: without it more would be on the way than the listener's queue holds.
            TcpStream::from(socket.try_clone().unwrap()).read_exact(&mut [0]).unwrap();
            let record = records.of_socket(&socket).unwrap().expect("every destination has a rule");
            let arrived = reached(&socket) == Some(target(record.rules).ip());
            seen.decisions += 1;
            seen.contradicted += u64::from(!arrived || record.revision != record.rules);
            seen.backwards += u64::from(record.rules < newest);
            newest = newest.max(record.rules);
        }
        seen
    };
    // The process stays in the cgroup, as readers make sockets on threads of their own.
    inside(&h.cgroup.clone(), || {
        let h = &mut h;
        let records = h.records();
        let done = AtomicBool::new(false);
        let (seen, told, sets) = std::thread::scope(|scope| {
            let acceptor = scope.spawn(|| accept_all(&listener, &records, &done, target));
            let finish = EndAccepting(&done, SocketAddr::from(([127, 0, 0, 1], any.port())));
            let (seen, sets) = race(h, read, |h, k| {
                let prepared = h.redirect().prepare(k, set(k)).unwrap();
                h.redirect().commit(prepared).unwrap();
            });
            drop(finish);
            (seen, acceptor.join().unwrap(), sets)
        });
        println!(
            "{} connections over {sets} sets: {} contradicted, {} backwards; peers: {} told, {} contradicted, {} without record",
            seen.decisions, seen.contradicted, seen.backwards, told.0, told.1, told.2
        );
        assert!(
            seen.decisions > 1000 && sets > 10,
            "too little was tried: {} connections, {sets} sets",
            seen.decisions
        );
        assert_eq!((seen.contradicted, seen.backwards), (0, 0));
        assert_eq!((told.1, told.2), (0, 0), "what peers were told");
        assert!(told.0 > 1000);
    });
}

/// Ends the thread that accepts, by one last connection to where no rule is about.
struct EndAccepting<'a>(&'a AtomicBool, SocketAddr);

impl Drop for EndAccepting<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.1));
    }
}

/// The address a connected socket really went to.
fn reached(socket: &std::os::fd::OwnedFd) -> Option<IpAddr> {
    rustix::net::getpeername(socket)
        .ok()
        .flatten()
        .and_then(|address| SocketAddr::try_from(address).ok())
        .map(|address| address.ip())
}

/// Accepts, asks for the record, compares it with the address the connection came to, and says so with a byte.
fn accept_all(
    listener: &TcpListener,
    records: &Records,
    done: &AtomicBool,
    target: impl Fn(u64) -> SocketAddr,
) -> (u64, u64, u64) {
    let (mut told, mut contradicted, mut without) = (0, 0, 0);
    loop {
        let (mut accepted, peer) = listener.accept().unwrap();
        if done.load(Ordering::Relaxed) {
            return (told, contradicted, without);
        }
        let local = accepted.local_addr().unwrap();
        match records.take(peer, local).unwrap() {
            Some(record) => {
                told += 1;
                contradicted += u64::from(target(record.rules) != local);
            }
            None => without += 1,
        }
        accepted.write_all(&[1]).unwrap();
    }
}
