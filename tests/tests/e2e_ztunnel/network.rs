//! Network namespaces of a test: one for the node and one for each pod, joined by a bridge. A namespace is held by a file of
//! this process and by who works in it, so none outlives the test, however the test ends.

use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

/// The bridge's own address: the gateway of all pods.
pub(crate) const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Of the network that all pods are in.
const PREFIX_LENGTH: u8 = 16;

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    handle: File,
}

impl Namespace {
    /// A new one, with nothing but a loopback interface that is down.
    fn new() -> Result<Self> {
        let make = || {
            leave_network().context("no network namespace can be made; is this root?")?;
            File::open("/proc/thread-self/ns/net").context("the namespace cannot be held")
        };
        Ok(Self { handle: on_a_thread(make)? })
    }

    /// Runs `work` in it, on a thread of its own. What that thread starts is in the namespace too.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            enter_network(&self.handle).context("the namespace cannot be entered")?;
            work()
        })
    }

    /// A path by which other processes reach it, as long as this process holds it.
    fn path(&self) -> String {
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
    pub(crate) fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        let commands = format!(
            "link set lo up\nlink add pods type bridge\naddress add {NODE_IP}/{PREFIX_LENGTH} dev pods\nlink set pods up\n"
        );
        namespace.ip(&commands).context("the node's network")?;
        Ok(Self { namespace })
    }

    /// A pod's namespace with this address, joined to the node's bridge.
    pub(crate) fn add_pod(&self, name: &str, address: Ipv4Addr) -> Result<Namespace> {
        let pod = Namespace::new()?;
        // Names of interfaces have up to 15 characters.
        ensure!(name.len() <= 12, "{name} is too long for the name of an interface");
        let cable = format!("link add to-{name} type veth peer name eth0 netns {}", pod.path());
        self.namespace.ip(&format!("{cable}\nlink set to-{name} master pods up\n"))?;
        let own = format!("link set lo up\naddress add {address}/{PREFIX_LENGTH} dev eth0\nlink set eth0 up\n");
        pod.ip(&format!("{own}route add default via {NODE_IP}\n")).with_context(|| format!("the network of {name}"))?;
        Ok(pod)
    }
}

/// A namespace with a loopback interface and nothing else: for a second node proxy, whose own ports would be taken.
pub(crate) fn beside_the_node() -> Result<Namespace> {
    let namespace = Namespace::new()?;
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
