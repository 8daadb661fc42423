//! Network namespaces of a test: one for the node and one for each pod, joined by a bridge. A namespace is held by a file of
//! this process and by who works in it, so none outlives the test, however the test ends.

use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::mesh::{Family, Pod};

/// The last part of the bridge's own address: the gateway of all pods.
const NODE: u8 = 1;

/// Of the network of whoever opens it, for both families.
const MIGRATE: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    handle: File,
    /// The only addresses that it has besides those of its loopback interface.
    pub(crate) family: Family,
}

impl Namespace {
    /// A new one, with nothing but a loopback interface that is down.
    fn new(family: Family) -> Result<Self> {
        let make = || {
            leave_network().context("no network namespace can be made; is this root?")?;
            File::open("/proc/thread-self/ns/net").context("the namespace cannot be held")
        };
        Ok(Self { handle: on_a_thread(make)?, family })
    }

    /// Runs `work` in it, on a thread of its own. What that thread starts is in the namespace too.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            enter_network(&self.handle).context("the namespace cannot be entered")?;
            work()
        })
    }

    /// From now on a listener here that closes hands what it has not accepted yet to another one on its port. By default the
    /// kernel resets such connections.
    pub(crate) fn keep_unaccepted(&self) -> Result<()> {
        self.inside(|| std::fs::write(MIGRATE, "1").with_context(|| format!("cannot write {MIGRATE}")))
    }

    /// A path by which other processes reach it, as long as this process holds it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    /// Runs commands of `ip`, one a line.
    fn ip(&self, commands: &str) -> Result<()> {
        self.inside(|| pipe(Command::new("ip").args(["-batch", "-"]), commands))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// The node's namespace with its bridge.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
}

impl Node {
    pub(crate) fn new(family: Family) -> Result<Self> {
        let namespace = Namespace::new(family)?;
        let own = add_address(family, NODE, "pods");
        let commands = format!("link set lo up\nlink add pods type bridge\n{own}link set pods up\n");
        namespace.ip(&commands).context("the node's network")?;
        Ok(Self { namespace })
    }

    /// Its address in the network of pods.
    pub(crate) fn ip(&self) -> IpAddr {
        self.namespace.family.pod_ip(NODE)
    }

    /// A pod's namespace, joined to the node's bridge.
    pub(crate) fn add_pod(&self, pod: &Pod) -> Result<Namespace> {
        self.add_place(pod.name, pod.number)
    }

    /// A namespace that is joined to the node's bridge with this last part of its address.
    pub(crate) fn add_place(&self, name: &str, number: u8) -> Result<Namespace> {
        let family = self.namespace.family;
        let pod = Namespace::new(family)?;
        // Names of interfaces have up to 15 characters.
        ensure!(name.len() <= 12, "{name} is too long for the name of an interface");
        let cable = format!("link add to-{name} type veth peer name eth0 netns {}", pod.path());
        self.namespace.ip(&format!("{cable}\nlink set to-{name} master pods up\n"))?;
        let own = format!("link set lo up\n{}link set eth0 up\n", add_address(family, number, "eth0"));
        pod.ip(&format!("{own}route add default via {}\n", self.ip()))
            .with_context(|| format!("the network of {name}"))?;
        Ok(pod)
    }
}

/// A command that gives an interface an address of the network of pods. IPv6 would wait a second to see whether somebody else
/// has it.
fn add_address(family: Family, number: u8, interface: &str) -> String {
    let (length, at_once) = match family {
        Family::V4 => (16, ""),
        Family::V6 => (64, " nodad"),
    };
    format!("address add {}/{length} dev {interface}{at_once}\n", family.pod_ip(number))
}

/// A namespace with a loopback interface and nothing else: for a second node proxy, whose own ports would be taken.
pub(crate) fn beside_the_node() -> Result<Namespace> {
    let namespace = Namespace::new(Family::V4)?;
    namespace.ip("link set lo up\n")?;
    Ok(namespace)
}

/// Runs a program to its end, with `input` on its standard input.
pub(crate) fn pipe(command: &mut Command, input: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        command.spawn().with_context(|| format!("`{name}` cannot be started; is its package installed?"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // A program that ends early says why below.
    let _broken_pipe = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("`{name}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join()).map_err(|_| anyhow!("a thread in another namespace panicked"))?
}

/// This thread gets a network of its own.
#[expect(unsafe_code, reason = "rustix has this behind a feature that would compile wasmtime anew")]
fn leave_network() -> std::io::Result<()> {
    // SAFETY: without CLONE_FILES no file descriptor changes its meaning, and no memory is passed.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// This thread moves to another network.
#[expect(unsafe_code, reason = "rustix has this behind a feature that would compile wasmtime anew")]
fn enter_network(namespace: &File) -> std::io::Result<()> {
    // SAFETY: the descriptor is open for the whole call, and no memory is passed.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
