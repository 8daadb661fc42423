//! What was decided for a row, in terms of objects and addresses; and the check of what a component answered.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::gateway::GatewayKey;
use crate::name::Name;

/// What happens to connections towards a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// What the control plane said stays untouched.
    Keep,
    /// No waypoint.
    Direct,
    /// Connections fail.
    Blocked,
    /// Through these, primary first; the weights add up to 100.
    Waypoints(Arc<[Target]>),
}

/// What happens while no target can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnreachable {
    /// Connections fail: Istio's behaviour for a bound waypoint (R13, R92).
    Fail,
    /// Connections go past the waypoint.
    Bypass,
}

/// One waypoint of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The Gateway.
    pub gateway: GatewayKey,
    /// How the mesh refers to it; none: bound, but it reports no usable address (R7).
    pub address: Option<WaypointAddress>,
    /// Addresses at which it can be dialled directly at port [`crate::gateway::HBONE_PORT`]: the chosen one if it is an
    /// IP; for a hostname those of the service that it names (R91), and while that is not known the IPs that the Gateway
    /// reports beside it (R14). Empty: it cannot be dialled, and [`Decision::on_unreachable`] applies.
    pub dial: Vec<IpAddr>,
    /// Percent of new connections.
    pub weight: u8,
}

/// The address of a waypoint as ztunnel is told it; the port is always 15008 (R8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaypointAddress {
    /// A hostname; its namespace is the Gateway's own (R5).
    Hostname(Name),
    /// An address on a network (R6).
    Ip {
        /// The network, empty for the default one.
        network: Name,
        /// The address.
        ip: IpAddr,
    },
}

/// How a waypoint's own instance takes a destination (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TunnelProtocol {
    /// As it is.
    None,
    /// With a PROXY protocol header.
    Proxy,
}

/// The tunnel of a waypoint's own instance (R45).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tunnel {
    /// The protocol.
    pub protocol: TunnelProtocol,
    /// The port, 0 where none was given.
    pub port: u32,
}

/// A decision. Equal decisions may be one value shared by many rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Where connections go.
    pub choice: Choice,
    /// What happens while the waypoint cannot be reached.
    pub on_unreachable: OnUnreachable,
    /// Why (R80); none where nothing was asked for.
    pub reason: Option<Name>,
    /// Why the second waypoint was refused (R65).
    pub second_reason: Option<Name>,
    /// Whether gateways go through the waypoint as well (R70).
    pub ingress: bool,
    /// Set for instances of a waypoint (R45).
    pub tunnel: Option<Tunnel>,
    /// True when the host put its floor in the place of what the component answered.
    pub floor: bool,
}

impl Decision {
    /// A decision without a waypoint.
    pub fn without_waypoint(choice: Choice, reason: Option<&str>) -> Self {
        Self {
            choice,
            on_unreachable: OnUnreachable::Fail,
            reason: reason.map(Name::from),
            second_reason: None,
            ingress: false,
            tunnel: None,
            floor: false,
        }
    }

    /// Whether it goes through waypoints and for none of them an address is known.
    pub fn is_unresolved(&self) -> bool {
        let targets = self.targets();
        !targets.is_empty() && targets.iter().all(|target| target.dial.is_empty())
    }

    /// The waypoints, primary first; empty for the other choices.
    pub fn targets(&self) -> &[Target] {
        match &self.choice {
            Choice::Waypoints(targets) => targets,
            Choice::Keep | Choice::Direct | Choice::Blocked => &[],
        }
    }
}

/// `direct`, `blocked`, `keep`, or the waypoints by name: for people and logs.
impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.choice {
            Choice::Keep => f.write_str("keep")?,
            Choice::Direct => f.write_str("direct")?,
            Choice::Blocked => f.write_str("blocked")?,
            Choice::Waypoints(targets) => {
                for (at, target) in targets.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", target.gateway)?;
                    if targets.len() > 1 {
                        write!(f, " {}%", target.weight)?;
                    }
                }
            }
        }
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}
