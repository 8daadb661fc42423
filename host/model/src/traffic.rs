//! The path that a connection takes through the mesh: whether it passes a waypoint, and why not (R33, R37, R44, R70-R75,
//! R85-R97). Said by the rules of the data plane about decisions that are made already; nothing is decided here, and
//! nobody is asked whether a waypoint answers.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::decision::Decision;
use crate::gateway::GatewayKey;
use crate::store::{Store, Unpublished};
use crate::table::{RowKey, RowKind};

mod client;
mod destination;
mod remedy;
mod route;

pub use client::{Client, ClientKind, NotEnrolled};
pub use destination::{Destination, Dialled, Named, named};
pub use remedy::remedies;

use destination::Meant;

/// Looks up how a row is decided; none where it has no decision.
pub type Decisions<'a> = dyn Fn(&RowKey) -> Option<Arc<Decision>> + 'a;

/// What becomes of connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// They pass one of these, drawn by weight.
    Through {
        /// Those that get connections; the weights add up to 100.
        waypoints: Vec<Share>,
    },
    /// They go to an endpoint or workload of the mesh, past any waypoint.
    Direct,
    /// They are refused: the decision is `blocked`.
    Blocked,
    /// They fail: there is a waypoint to go through, and no way to it.
    Fails,
    /// They go where the client dialled: the mesh does not know the address.
    Passthrough,
    /// They go where the client dialled: nobody looks at what this client sends.
    NotInMesh,
    /// They do what the control plane said, or nobody has decided; it is not known here.
    Unknown,
}

/// A waypoint and its part of the connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The waypoint.
    #[serde(flatten)]
    pub gateway: GatewayKey,
    /// Percent.
    pub weight: u8,
    /// False: no address of it is known, so this part fails (R92).
    pub reachable: bool,
}

/// One step of the reasoning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The number of the rule.
    pub rule: &'static str,
    /// What was found.
    pub text: String,
    /// Whether this settled the verdict.
    pub decisive: bool,
}

impl Step {
    fn new(rule: &'static str, text: impl Into<String>) -> Self {
        Self { rule, text: text.into(), decisive: false }
    }

    fn decisive(rule: &'static str, text: impl Into<String>) -> Self {
        Self { decisive: true, ..Self::new(rule, text) }
    }
}

/// What becomes of connections to one destination, or to several that fare alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// A service, or workloads; empty where the mesh does not know what was dialled.
    pub to: Vec<RowKey>,
    /// What becomes of them.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Why.
    pub steps: Vec<Step>,
    /// The row whose decision matters, or would matter if the client were another: one of `to`.
    #[serde(rename = "decidedBy")]
    pub decided_by: Option<RowKey>,
}

/// The path from a client to a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Path {
    /// Who connects.
    pub client: Client,
    /// Who the client is to the mesh, and what it means by the destination.
    pub steps: Vec<Step>,
    /// One, or several where a name stands for several workloads (R33).
    pub legs: Vec<Leg>,
    /// What would help and is no edit of an object that is there.
    pub advice: Vec<String>,
}

impl Path {
    /// What becomes of all connections; none where that differs from workload to workload.
    pub fn verdict(&self) -> Option<&Verdict> {
        let (first, others) = self.legs.split_first()?;
        others.iter().all(|leg| leg.verdict == first.verdict).then_some(&first.verdict)
    }
}

/// There is no such client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{client} sends nothing: {why}; name a running Pod")]
pub struct NoClient {
    /// The Pod.
    pub client: RowKey,
    /// Why it is none.
    pub why: Unpublished,
}

/// The path from a Pod to a destination, under these decisions.
///
/// # Errors
/// When there is no such Pod, or it is no workload.
pub fn path(
    store: &Store,
    decisions: &Decisions<'_>,
    (namespace, pod): (&str, &str),
    to: &Destination,
) -> Result<Path, NoClient> {
    let key = RowKey::new(RowKind::Pod, namespace, pod);
    if let Some(why) = store.unpublished(&key) {
        return Err(NoClient { client: key, why });
    }
    let client = Client::of(store, key);
    let found = destination::resolve(store, &client.key.namespace, to);
    let mut steps = vec![client.step(store)];
    steps.extend(found.steps);
    let legs = route::Route { store, decisions, client: &client, port: to.port }.legs(&found.meant);
    let mut advice: Vec<String> = client.advice().map(str::to_owned).into_iter().collect();
    advice.extend(found.meant.advice());
    Ok(Path { client, steps, legs, advice })
}

/// For people: the waypoints with their weights, or the word.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Through { waypoints } => {
                f.write_str("through ")?;
                for (at, Share { gateway, weight, reachable }) in waypoints.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{gateway}")?;
                    if waypoints.len() > 1 {
                        write!(f, " {weight}%")?;
                    }
                    if !reachable {
                        f.write_str(" (fails)")?;
                    }
                }
                Ok(())
            }
            Self::Direct => f.write_str("direct: past any waypoint"),
            Self::Blocked => f.write_str("blocked"),
            Self::Fails => f.write_str("fails: no way to the waypoint"),
            Self::Passthrough => f.write_str("passthrough: the mesh does not know the destination"),
            Self::NotInMesh => f.write_str("not in the mesh: past any waypoint"),
            Self::Unknown => f.write_str("unknown here"),
        }
    }
}

impl Meant {
    fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Service(_) | Self::Workloads { headless: false, .. } => return None,
            Self::Workloads { headless: true, .. } => {
                "a waypoint of a headless Service is never used: give its workloads a waypoint that serves workloads, or the \
                 Service a cluster IP"
            }
            Self::Unaddressed(_) => {
                "write an address into spec.addresses, or let Istio allocate one: for that the resolution must not be NONE, \
                 and for a wildcard be DYNAMIC_DNS"
            }
            Self::Nothing { is_name: true } => {
                "a ServiceEntry for the host makes it known to the mesh; or is it misspelt?"
            }
            Self::Nothing { is_name: false } => "a ServiceEntry with this address makes it known to the mesh",
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests;
