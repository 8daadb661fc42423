//! A network of the demo's own: a namespace with a loopback interface that answers for all addresses of the example's
//! services and pods. Nothing of the host's network is touched, and everything is gone with the last process in it.
//!
//! Set up over rtnetlink by hand: three messages are less than a program that may not be installed.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Where services and pods of the example have their addresses: network and prefix length.
const LOCAL: [(&str, u8); 3] = [("10.96.0.0", 16), ("10.244.0.0", 16), ("fd00:10::", 32)];

/// Loopback is number 1 in every namespace (`LOOPBACK_IFINDEX` of the kernel's `net_namespace.h`).
const LOOPBACK: u32 = 1;

/// Of `uapi/linux/netlink.h` and `rtnetlink.h`.
mod number {
    pub(super) const RTM_NEWLINK: u16 = 16;
    pub(super) const RTM_NEWROUTE: u16 = 24;
    pub(super) const NLM_F_REQUEST: u16 = 0x1;
    pub(super) const NLM_F_ACK: u16 = 0x4;
    pub(super) const NLM_F_CREATE: u16 = 0x400;
    pub(super) const NLMSG_ERROR: u16 = 2;
    pub(super) const IFF_UP: u32 = 1;
    pub(super) const RT_TABLE_LOCAL: u8 = 255;
    pub(super) const RTPROT_BOOT: u8 = 3;
    pub(super) const RT_SCOPE_HOST: u8 = 254;
    pub(super) const RTN_LOCAL: u8 = 2;
    pub(super) const RTA_DST: u16 = 1;
    pub(super) const RTA_OIF: u16 = 4;
}

/// The namespace of this process, as text that differs between namespaces.
fn current() -> Result<OsString> {
    let link: PathBuf = std::fs::read_link("/proc/self/ns/net").context("cannot read /proc/self/ns/net")?;
    Ok(link.into_os_string())
}

/// Becomes the same program in a new namespace, with the name of this namespace and `arguments` after `word`. Returns only
/// if that fails.
pub(super) fn enter(word: &str, arguments: &[OsString]) -> Result<std::convert::Infallible> {
    let own = std::env::current_exe().context("this program has no path")?;
    let mut command = Command::new("unshare");
    command.arg("--net").arg("--").arg(own).arg(word).arg(current()?).args(arguments);
    // On success this process is another program.
    let error = command.exec();
    Err(error).context("no network of its own: `unshare` (package util-linux) cannot be started")
}

/// Makes the namespace usable. `outside` is the name that [`enter`] gave.
pub(super) fn set_up(outside: Option<&OsString>) -> Result<()> {
    // A check, for what follows would break the host's network.
    ensure!(outside.is_some_and(|outside| current().is_ok_and(|own| own != *outside)), "not in a network of its own");
    // No protocol is protocol 0, which is NETLINK_ROUTE.
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .context("the kernel takes no rtnetlink messages")?;
    request(&kernel, number::RTM_NEWLINK, 0, &interface_up())
        .context("the loopback interface cannot be switched on")?;
    for (network, length) in LOCAL {
        let network: IpAddr = network.parse()?;
        request(&kernel, number::RTM_NEWROUTE, number::NLM_F_CREATE, &local_route(network, length))
            .with_context(|| format!("{network}/{length} cannot be made local"))?;
    }
    Ok(())
}

/// `struct ifinfomsg`: family, padding, type, index, flags, which flags.
fn interface_up() -> Vec<u8> {
    let mut body = vec![0; 4];
    for field in [LOOPBACK, number::IFF_UP, number::IFF_UP] {
        body.extend(field.to_ne_bytes());
    }
    body
}

/// `struct rtmsg` and two attributes: all addresses of the network are this machine's own.
fn local_route(network: IpAddr, length: u8) -> Vec<u8> {
    let (family, address) = match network {
        IpAddr::V4(ip) => (AddressFamily::INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets().to_vec()),
    };
    // AF_INET is 2 and AF_INET6 is 10.
    let family = u8::try_from(family.as_raw()).unwrap_or(0);
    let mut body = vec![family, length, 0, 0];
    body.extend([number::RT_TABLE_LOCAL, number::RTPROT_BOOT, number::RT_SCOPE_HOST, number::RTN_LOCAL]);
    body.extend(0_u32.to_ne_bytes());
    for (kind, value) in [(number::RTA_DST, address), (number::RTA_OIF, LOOPBACK.to_ne_bytes().to_vec())] {
        // At most 20 bytes, and a multiple of 4, so nothing needs padding.
        let length = u16::try_from(value.len()).unwrap_or(0) + 4;
        body.extend(length.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
    }
    body
}

/// Sends one message and waits for its acknowledgement.
fn request(kernel: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
    let length = u32::try_from(body.len() + 16)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((number::NLM_F_REQUEST | number::NLM_F_ACK | flags).to_ne_bytes());
    // Sequence number and sender: one question at a time needs neither.
    message.extend([0; 8]);
    message.extend(body);
    send(kernel, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 1024];
    let (_, received) = recv(kernel, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..received).unwrap_or_default();
    // The header (16 bytes, the type at 4), then the negative error number.
    let field = |at: usize| answer.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let kind = answer.get(4..6).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok()).map(u16::from_ne_bytes);
    match (kind, field(16).map(i32::from_ne_bytes)) {
        (Some(number::NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(number::NLMSG_ERROR), Some(error)) => Err(std::io::Error::from_raw_os_error(-error).into()),
        other => bail!("the kernel answers with {other:?}"),
    }
}
