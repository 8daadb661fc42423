//! What sends a pod's connections to ztunnel's listeners in that pod: the packet filter's rules and two routes, as the mesh's
//! CNI plugin would install them. IPv4 and TCP only; there are no probes here, and no capture of DNS.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::network::{Namespace, pipe};

/// The mark of every socket of ztunnel (PACKET_MARK).
const ZTUNNEL: &str = "0x539/0xfff";
/// The mark of connections that ztunnel made to the application, under its client's address.
const ANSWER: &str = "0x111/0xfff";
/// Routing table in which every address is this pod's own.
const LOCAL_TABLE: u32 = 100;

/// Captures the pod from now on. Connections are refused until ztunnel listens there.
pub(crate) fn capture(pod: &Namespace) -> Result<()> {
    pod.inside(|| {
        pipe(Command::new("iptables-restore").arg("--wait=5"), &rules())
            .context("the pod cannot be captured (Debian: package `iptables`; the kernel needs nat, mark and connmark)")?;
        // The application answers a foreign address; its packets must not leave the pod.
        let routes = format!(
            "route add local default dev lo table {LOCAL_TABLE}\nrule add fwmark {ANSWER} lookup {LOCAL_TABLE} priority 32764\n"
        );
        pipe(Command::new("ip").args(["-batch", "-"]), &routes)
    })
}

fn rules() -> String {
    let others = format!("-p tcp ! -d 127.0.0.1 -m mark ! --mark {ZTUNNEL}");
    format!(
        "*mangle\n\
         -A PREROUTING -m mark --mark {ZTUNNEL} -j CONNMARK --set-xmark {ANSWER}\n\
         -A OUTPUT -m connmark --mark {ANSWER} -j CONNMARK --restore-mark\n\
         COMMIT\n\
         *nat\n\
         -A PREROUTING {others} ! --dport 15008 -j REDIRECT --to-ports 15006\n\
         -A OUTPUT -m mark --mark {ANSWER} -j ACCEPT\n\
         -A OUTPUT ! -d 127.0.0.1 -o lo -j ACCEPT\n\
         -A OUTPUT {others} -j REDIRECT --to-ports 15001\n\
         COMMIT\n"
    )
}
