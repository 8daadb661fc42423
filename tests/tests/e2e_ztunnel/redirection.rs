//! What sends a pod's connections to ztunnel's listeners in that pod: the packet filter's rules and two routes, as the mesh's
//! CNI plugin would install them. TCP only, of the family that the pod has; there are no probes here, and no capture of DNS.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::mesh::Family;
use super::network::{Namespace, pipe};

/// The mark of every socket of ztunnel (PACKET_MARK).
const ZTUNNEL: &str = "0x539/0xfff";
/// The mark of connections that ztunnel made to the application, under its client's address.
const ANSWER: &str = "0x111/0xfff";
/// Routing table in which every address is this pod's own.
const LOCAL_TABLE: u32 = 100;

/// Captures the pod from now on. Connections are refused until ztunnel listens there.
pub(crate) fn capture(pod: &Namespace) -> Result<()> {
    let (restore, family, own) = match pod.family {
        Family::V4 => ("iptables-restore", "-4", "127.0.0.1"),
        Family::V6 => ("ip6tables-restore", "-6", "::1"),
    };
    pod.inside(|| {
        pipe(Command::new(restore).arg("--wait=5"), &rules(own))
            .context("the pod cannot be captured (Debian: package `iptables`; the kernel needs nat, mark and connmark)")?;
        // The application answers a foreign address; its packets must not leave the pod.
        let routes = format!(
            "route add local default dev lo table {LOCAL_TABLE}\nrule add fwmark {ANSWER} lookup {LOCAL_TABLE} priority 32764\n"
        );
        pipe(Command::new("ip").args([family, "-batch", "-"]), &routes)
    })
}

fn rules(own: &str) -> String {
    let others = format!("-p tcp ! -d {own} -m mark ! --mark {ZTUNNEL}");
    format!(
        "*mangle\n\
         -A PREROUTING -m mark --mark {ZTUNNEL} -j CONNMARK --set-xmark {ANSWER}\n\
         -A OUTPUT -m connmark --mark {ANSWER} -j CONNMARK --restore-mark\n\
         COMMIT\n\
         *nat\n\
         -A PREROUTING {others} ! --dport 15008 -j REDIRECT --to-ports 15006\n\
         -A OUTPUT -m mark --mark {ANSWER} -j ACCEPT\n\
         -A OUTPUT ! -d {own} -o lo -j ACCEPT\n\
         -A OUTPUT {others} -j REDIRECT --to-ports 15001\n\
         COMMIT\n"
    )
}
