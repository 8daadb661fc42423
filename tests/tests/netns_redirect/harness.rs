//! A cgroup, a folder of pins and the sockets of one test; everything is gone when it is dropped, also by a panic.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redirect::{Action, Config, Destination, Entry, Error, Reason, Record, Records, Redirect, cgroup2_mount};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

/// Held by every test for reading, and for writing by those that count objects of the whole machine.
static MACHINE: RwLock<()> = RwLock::new(());

/// A process is in one cgroup with all its threads, so one test at a time makes sockets.
static PROCESS: Mutex<()> = Mutex::new(());

enum Share {
    Shared(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
}

pub(crate) struct Harness {
    name: &'static str,
    pub(crate) cgroup: PathBuf,
    pub(crate) config: Config,
    pub(crate) redirect: Option<Redirect>,
    _share: Share,
}

/// Why kernel tests cannot run here, if they cannot: no root, or root without the rights or the filesystems. Found out
/// once. Any other failure is none of these, and fails the tests.
fn obstacle() -> &'static Option<String> {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    OBSTACLE.get_or_init(|| {
        if !rustix::process::geteuid().is_root() {
            return Some("needs root".into());
        }
        let mount = match cgroup2_mount() {
            Ok(mount) => mount,
            Err(error) => return Some(error.to_string()),
        };
        let unique = format!("wayswitch-test-{}-probe", std::process::id());
        let cgroup = mount.join(&unique);
        if let Err(error) = fs::create_dir(&cgroup) {
            return Some(format!("cannot make the cgroup {}: {error}", cgroup.display()));
        }
        let mut config = Config::new(&cgroup);
        config.pin_dir = PathBuf::from("/sys/fs/bpf").join(unique);
        let obstacle = match Redirect::open(&config) {
            Ok(redirect) => redirect.detach().err(),
            Err(error) => {
                // Whatever was pinned before it failed; an error here shows as the one that is told.
                drop(remove_pins(&config.pin_dir));
                Some(error)
            }
        };
        fs::remove_dir(&cgroup).unwrap();
        obstacle
            .filter(|error| matches!(error, Error::NotPermitted { .. } | Error::NotBpffs { .. }))
            .map(|error| error.to_string())
    })
}

/// Says SKIPPED and returns true where kernel tests cannot run; fails where they must.
pub(crate) fn skipped(name: &str) -> bool {
    let Some(obstacle) = obstacle() else { return false };
    let required = std::env::var_os("WAYSWITCH_REQUIRE_KERNEL").is_some_and(|value| value == "1");
    assert!(!required, "{name}: kernel tests are required and cannot run: {obstacle}");
    println!("SKIPPED {name}: {obstacle}");
    true
}

/// `let Some(mut harness) = start!("test name") else { return };` with an optional change to the configuration.
pub(crate) fn start(name: &'static str, change: impl FnOnce(&mut Config)) -> Option<Harness> {
    start_sharing(name, change, Share::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner)))
}

/// The same with no other test of this process running.
pub(crate) fn start_alone(name: &'static str, change: impl FnOnce(&mut Config)) -> Option<Harness> {
    start_sharing(name, change, Share::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner)))
}

fn start_sharing(name: &'static str, change: impl FnOnce(&mut Config), share: Share) -> Option<Harness> {
    if skipped(name) {
        return None;
    }
    let unique = format!("wayswitch-test-{}-{name}", std::process::id());
    let cgroup = cgroup2_mount().unwrap().join(&unique);
    fs::create_dir(&cgroup).unwrap();
    let mut config = Config::new(&cgroup);
    config.pin_dir = PathBuf::from("/sys/fs/bpf").join(unique);
    change(&mut config);
    let mut harness = Harness { name, cgroup, config, redirect: None, _share: share };
    harness.open().unwrap();
    Some(harness)
}

impl Drop for Harness {
    fn drop(&mut self) {
        let result = match self.redirect.take() {
            Some(redirect) => redirect.detach().map_err(|error| error.to_string()),
            None => remove_pins(&self.config.pin_dir).map_err(|error| error.to_string()),
        };
        let cgroup = fs::remove_dir(&self.cgroup);
        if !std::thread::panicking() {
            result.unwrap();
            cgroup.unwrap();
        }
    }
}

fn remove_pins(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for pin in fs::read_dir(folder)? {
        fs::remove_file(pin?.path())?;
    }
    fs::remove_dir(folder)
}

impl Harness {
    pub(crate) fn open(&mut self) -> Result<(), Error> {
        self.redirect = None;
        self.redirect = Some(Redirect::open(&self.config)?);
        Ok(())
    }

    pub(crate) fn redirect(&mut self) -> &mut Redirect {
        self.redirect.as_mut().unwrap()
    }

    /// Publishes a whole set.
    pub(crate) fn publish(&mut self, rules: u64, entries: &[Entry]) {
        let prepared = self.redirect().prepare(rules, entries.iter().copied()).unwrap();
        let committed = self.redirect().commit(prepared).unwrap();
        assert_eq!((committed.rules, committed.entries), (rules, entries.len() as u64));
    }

    pub(crate) fn records(&self) -> Records {
        Records::open(&self.config.pin_dir).unwrap()
    }

    pub(crate) fn count(&mut self, reason: Reason) -> u64 {
        self.redirect().stats().unwrap().get(reason)
    }

    /// Runs with the whole process inside the test's cgroup.
    pub(crate) fn inside<R>(&self, run: impl FnOnce() -> R) -> R {
        inside(&self.cgroup, run)
    }

    /// A stream socket that belongs to the cgroup. It does so for ever, whoever uses it.
    pub(crate) fn socket(&self, like: SocketAddr) -> OwnedFd {
        self.inside(|| stream(like))
    }

    /// Connects a fresh socket of the cgroup.
    pub(crate) fn connect(&self, to: SocketAddr) -> (OwnedFd, io::Result<()>) {
        let socket = self.socket(to);
        let result = connect(&socket, to);
        (socket, result)
    }

    /// Connects, expects success, and returns both ends.
    pub(crate) fn arrive(&self, to: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let (socket, result) = self.connect(to);
        result.unwrap_or_else(|error| panic!("{}: connect {to}: {error}", self.name));
        let (accepted, _) = listener.accept().unwrap();
        (TcpStream::from(socket), accepted)
    }
}

/// Runs with the whole process inside a cgroup.
pub(crate) fn inside<R>(cgroup: &Path, run: impl FnOnce() -> R) -> R {
    let _guard = InCgroup::enter(cgroup);
    run()
}

struct InCgroup {
    home: PathBuf,
    _lock: MutexGuard<'static, ()>,
}

impl InCgroup {
    fn enter(cgroup: &Path) -> Self {
        let lock = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .expect("this process is in no cgroup of cgroup2")
            .to_owned();
        let home = cgroup2_mount().unwrap().join(own);
        let guard = Self { home, _lock: lock };
        enter(cgroup);
        guard
    }
}

impl Drop for InCgroup {
    fn drop(&mut self) {
        enter(&self.home);
    }
}

fn enter(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
        .unwrap_or_else(|error| panic!("enter {}: {error}", cgroup.display()));
}

/// A stream socket of the family of an address, outside of any cgroup of ours.
pub(crate) fn stream(like: SocketAddr) -> OwnedFd {
    socket(like, SocketType::STREAM, SocketFlags::CLOEXEC)
}

pub(crate) fn socket(like: SocketAddr, kind: SocketType, flags: SocketFlags) -> OwnedFd {
    let family = if like.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = if kind == SocketType::STREAM { ipproto::TCP } else { ipproto::UDP };
    socket_with(family, kind, flags, Some(protocol)).unwrap()
}

/// Makes a socket while no test has the process in its cgroup.
pub(crate) fn outside<R>(run: impl FnOnce() -> R) -> R {
    let _lock = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    run()
}

pub(crate) fn connect(socket: &OwnedFd, to: SocketAddr) -> io::Result<()> {
    Ok(rustix::net::connect(socket, &to)?)
}

/// A listener on a free port of a loopback address.
pub(crate) fn listen(ip: &str) -> (TcpListener, SocketAddr) {
    let listener = listen_at(SocketAddr::new(ip.parse().unwrap(), 0));
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A loopback address for a port that cannot be chosen: of this process, so that two runs at a time do not meet.
pub(crate) fn own_loopback(n: u8) -> Ipv4Addr {
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 128 | high & 127, low, n)
}

pub(crate) fn listen_at(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).unwrap_or_else(|error| panic!("listen at {address}: {error}"))
}

/// A port of 127.0.0.1 nobody listens on, as long as this is kept.
pub(crate) fn closed_port() -> (OwnedFd, SocketAddr) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = stream(any);
    rustix::net::bind(&socket, &any).unwrap();
    let address = rustix::net::getsockname(&socket).unwrap();
    (socket, SocketAddr::try_from(address).unwrap())
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// An entry whose number and revision can be told from others'.
pub(crate) fn rule(ip: &str, action: Action, rule_id: u32) -> Entry {
    entry(ip, 0, action, rule_id)
}

pub(crate) fn entry(ip: &str, port: u16, action: Action, rule_id: u32) -> Entry {
    let destination = Destination { ip: ip.parse().unwrap(), port };
    Entry { destination, action, rule_id, revision: u64::from(rule_id) + 1000 }
}

/// The record of a socket, which must be there.
pub(crate) fn record_of(records: &Records, socket: &impl std::os::fd::AsRawFd) -> Record {
    records.of_socket(socket).unwrap().expect("the socket has no record")
}

/// The record of an accepted connection.
pub(crate) fn taken(records: &Records, accepted: &TcpStream) -> Option<Record> {
    records.take(accepted.peer_addr().unwrap(), accepted.local_addr().unwrap()).unwrap()
}

pub(crate) fn errno(result: io::Result<()>) -> Option<i32> {
    result.err().map(|error| error.raw_os_error().expect("an error of the kernel"))
}
