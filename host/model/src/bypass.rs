//! Who reaches a destination without the waypoint that it is meant to be reached through, and what would close each hole.
//!
//! Made of a store and its table when somebody asks. It follows what ztunnel, sidecars and gateways do with what they are
//! told (R44, R59, R70-R75, R86-R97), and what AuthorizationPolicies do at the destination. What it does not know: who really
//! calls whom, NetworkPolicies, PeerAuthentications, and clients that are no Pod of the objects.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::decision::{Choice, Decision, OnUnreachable};
use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::store::Store;
use crate::table::{RowKey, Table};

mod clients;
mod enforcement;
mod fixes;
mod holes;
mod mesh;

pub use clients::{AMBIENT, ClientKind, Clients, DATAPLANE_MODE, EXAMPLES_MAX};
pub use enforcement::{Guard, WhyOpen};
pub use fixes::{Fix, OnlyThrough};

use mesh::Mesh;

/// A way past a waypoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// It asks for a waypoint and is not bound to it, so everybody goes straight to it (R92).
    Refused,
    /// Connections go past the waypoint while that cannot be reached.
    MayBypass,
    /// A Service without a virtual address: clients dial its Pods (R33).
    Headless,
    /// Nothing by which a connection could be told to be for it (R37, R97).
    NoAddress,
    /// Another service has the same host, and is what clients of some namespaces mean (R44).
    Shadowed,
    /// Workloads with a waypoint are reached through a Service without one (R87).
    ServiceAddressed,
    /// Who dials the workloads of a service rather than the service does not meet the service's waypoint (R59, R88).
    WorkloadAddressed,
    /// Sidecars never use waypoints (R75).
    Sidecar,
    /// Gateways use the waypoint only where they are told to, and can (R70-R74).
    Gateway,
    /// Nobody takes the connections of Pods on their node's network.
    HostNetwork,
    /// Nobody takes the connections of Pods that are not in the mesh.
    NotCaptured,
    /// Nothing at the destination refuses who did not come through the waypoint (R93).
    Unenforced,
    /// A part of the traffic goes through another waypoint, which may have other policies (R64).
    Canary,
}

impl Code {
    /// All of them, in the order of [`Destination::holes`].
    pub const ALL: [Self; 13] = [
        Self::Refused,
        Self::MayBypass,
        Self::Headless,
        Self::NoAddress,
        Self::Shadowed,
        Self::ServiceAddressed,
        Self::WorkloadAddressed,
        Self::Sidecar,
        Self::Gateway,
        Self::HostNetwork,
        Self::NotCaptured,
        Self::Unenforced,
        Self::Canary,
    ];

    /// The word for it, the same in every output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::MayBypass => "may-bypass",
            Self::Headless => "headless",
            Self::NoAddress => "no-address",
            Self::Shadowed => "shadowed",
            Self::ServiceAddressed => "service-addressed",
            Self::WorkloadAddressed => "workload-addressed",
            Self::Sidecar => "sidecar",
            Self::Gateway => "gateway",
            Self::HostNetwork => "host-network",
            Self::NotCaptured => "not-captured",
            Self::Unenforced => "unenforced",
            Self::Canary => "canary",
        }
    }

    /// What it means, in a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::Refused => "it asks for a waypoint that it is not bound to, so everybody goes straight to it",
            Self::MayBypass => "connections go past the waypoint while that cannot be reached",
            Self::Headless => "it has no virtual address, so clients dial its Pods and do not meet its waypoint",
            Self::NoAddress => "without an address ztunnel cannot tell that a connection is for it",
            Self::Shadowed => "clients of some namespaces mean another service by the same host",
            Self::ServiceAddressed => "a Service in front of them has no waypoint, and theirs is not looked at then",
            Self::WorkloadAddressed => "who dials its workloads by their own addresses does not meet its waypoint",
            Self::Sidecar => "sidecars never use waypoints",
            Self::Gateway => "gateways do not go through the waypoint",
            Self::HostNetwork => "nobody takes the connections of Pods on their node's network",
            Self::NotCaptured => "nobody takes the connections of Pods that are not in the mesh",
            Self::Unenforced => "nothing at the destination refuses who did not come through the waypoint",
            Self::Canary => "a part of the traffic goes through another waypoint, with policies of its own",
        }
    }

    /// Whether a destination that takes connections from waypoints only closes it: then they fail instead.
    fn ends_at_workload(self) -> bool {
        !matches!(self, Self::Canary | Self::Shadowed)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How much a hole matters while it is open. The order is from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Possible, and nobody who would is known; or a matter of which waypoint.
    Low,
    /// Happens to who goes out of the way, or when something else fails.
    Medium,
    /// Happens to ordinary connections of clients that are known.
    High,
}

/// One way past a waypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Which.
    pub code: Code,
    /// The rule that it follows from.
    pub rule: &'static str,
    /// What is special here; may be empty.
    pub detail: String,
    /// How much it matters while it is open.
    pub severity: Severity,
    /// Who may take it.
    pub clients: Arc<Clients>,
    /// The destination refuses who takes it: see [`Destination::guard`].
    pub closed: bool,
    /// What would close it, the most specific first.
    pub fixes: Vec<Fix>,
}

/// What is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A service.
    Service(RowKey),
    /// Workloads of one namespace that are decided alike, dialled by their own addresses.
    Workloads {
        /// The namespace.
        namespace: Name,
        /// In the order of their keys; at least one.
        rows: Vec<RowKey>,
    },
}

impl What {
    /// The namespace.
    pub fn namespace(&self) -> &Name {
        match self {
            Self::Service(key) => &key.namespace,
            Self::Workloads { namespace, .. } => namespace,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => key.fmt(f),
            Self::Workloads { rows, .. } => {
                let (first, others) = (rows.first(), rows.len().saturating_sub(1));
                first.map_or(Ok(()), |first| first.fmt(f))?;
                if others > 0 { write!(f, " and {others} more") } else { Ok(()) }
            }
        }
    }
}

/// A destination that is meant to be reached through a waypoint, and the ways past it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// What is reached.
    pub what: What,
    /// What was decided for it.
    pub decision: Arc<Decision>,
    /// Whether its workloads take connections from waypoints only.
    pub guard: Guard,
    /// In the order of their codes.
    pub holes: Vec<Hole>,
    /// The policy that would make [`Self::guard`] closed, where one could.
    pub policy: Option<OnlyThrough>,
}

impl Destination {
    /// The ways that are open.
    pub fn open(&self) -> impl Iterator<Item = &Hole> {
        self.holes.iter().filter(|hole| !hole.closed)
    }

    /// The waypoints that it goes through, the first one first.
    pub fn waypoints(&self) -> impl Iterator<Item = &GatewayKey> {
        self.decision.targets().iter().map(|target| &target.gateway)
    }
}

/// Which destinations are asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// All that are meant to be reached through a waypoint.
    #[default]
    All,
    /// Those of one namespace.
    Namespace(Name),
    /// This service, whether or not it has a waypoint.
    Service(RowKey),
}

/// The destinations in the order of their namespaces, services before workloads.
pub fn destinations(store: &Store, table: &Table, asked: &Asked) -> Vec<Destination> {
    let mesh = Mesh::new(store, table);
    let in_scope = |key: &RowKey| match asked {
        Asked::All => true,
        Asked::Namespace(namespace) => key.namespace == *namespace,
        Asked::Service(service) => key == service,
    };
    let rows = table.iter().filter(|(key, _)| in_scope(key));
    let mut found = Vec::new();
    let mut workloads: BTreeMap<WorkloadGroup, Vec<RowKey>> = BTreeMap::new();
    for (key, row) in rows {
        let is_meant = is_meant_for_waypoint(&row.decision);
        if key.kind.is_service() {
            if is_meant || matches!(asked, Asked::Service(_)) {
                found.push(holes::of_service(&mesh, key, &row.decision));
            }
        } else if is_meant {
            workloads.entry(WorkloadGroup::of(key, &row.decision)).or_default().push(key.clone());
        }
    }
    found.extend(workloads.into_values().filter_map(|rows| holes::of_workloads(&mesh, rows)));
    found.sort_by(|a, b| (a.what.namespace(), &a.what).cmp(&(b.what.namespace(), &b.what)));
    found
}

/// Goes through a waypoint, or fails or goes direct although it asks for one.
fn is_meant_for_waypoint(decision: &Decision) -> bool {
    match decision.choice {
        Choice::Waypoints(_) => true,
        Choice::Direct | Choice::Blocked => decision.reason.is_some(),
        Choice::Keep => false,
    }
}

/// What workloads have in common that are told of as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct WorkloadGroup {
    namespace: Name,
    waypoints: Vec<GatewayKey>,
    reason: Option<Name>,
    blocked: bool,
    may_bypass: bool,
}

impl WorkloadGroup {
    fn of(key: &RowKey, decision: &Decision) -> Self {
        Self {
            namespace: key.namespace.clone(),
            waypoints: decision.targets().iter().map(|target| target.gateway.clone()).collect(),
            reason: decision.reason.clone(),
            blocked: decision.choice == Choice::Blocked,
            may_bypass: decision.on_unreachable == OnUnreachable::Bypass,
        }
    }
}

#[cfg(test)]
mod tests;
