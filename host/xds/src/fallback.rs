//! What clients are told in the place of a decision that one of them rejected. A client keeps what it had of a resource that it
//! rejects, which is chance; what is told instead is declared: what the control plane said, and without one what the rules say
//! for rows that are not decided.
//!
//! There is one mesh for all clients, and so one fallback: who had taken the decision is told it as well. It lasts until the
//! resource is another one, and is not kept over a restart: the decision is then tried again. The other half of this is
//! [`crate::session`], which says what was rejected, and in which version.

use std::sync::{Arc, Weak};

use model::sorted::Sorted;
use tokio::sync::watch;

use crate::client::state::UpstreamResource;
use crate::resource::{Resource, ResourceType, Snapshot, Version};
use crate::rewrite::{WaypointFields, rewritten, waypoints_of};
use crate::session::Rejected;

/// Resources that are told otherwise at one time. Each costs a rewriting with every snapshot; of more, clients keep what they
/// had.
pub const FALLBACKS_MAX: usize = 4096;

/// What a decision gives way to that a client rejects.
#[derive(Clone, Debug, Default)]
pub enum Instead {
    /// Nothing: clients keep what they had.
    #[default]
    Nothing,
    /// These waypoints, in the place of those that were decided.
    Waypoints(WaypointFields),
    /// What the control plane said, by the name of the resource.
    ControlPlane(Sorted<UpstreamResource>),
}

/// A resource that is told otherwise than it was decided.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// The version that was rejected. When the resource has another one, that is tried.
    pub rejected: Version,
    /// The version that is told in its place.
    pub told: Version,
    /// Which client rejected it first.
    pub client: u64,
    /// Its reason.
    pub reason: String,
    /// The same of what is told in its place, where a client does not take that either. It is told all the same: there is
    /// nothing else.
    pub rejected_too: Option<String>,
}

/// What was done about a resource that a client rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Clients are told the fallback.
    Fallback,
    /// It was the fallback: nothing more can be done.
    FallbackRejected,
    /// Nothing in it was decided here, or nothing is declared: the reason lies elsewhere.
    NotDecided,
    /// The fallback would say the same.
    Same,
    /// Something newer is told by now.
    Superseded,
    /// So many are told otherwise that there is no room: see [`FALLBACKS_MAX`].
    Full,
    /// The client did not name a resource that it was sent.
    Unknown,
}

impl Then {
    /// One word for admin and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::FallbackRejected => "fallback-rejected",
            Self::NotDecided => "not-decided",
            Self::Same => "same",
            Self::Superseded => "superseded",
            Self::Full => "full",
            Self::Unknown => "unknown",
        }
    }
}

impl Instead {
    /// The resource with what was declared in the place of what was decided.
    fn of(&self, decided: &Resource) -> Result<Resource, Then> {
        let body = match self {
            Self::Nothing => return Err(Then::NotDecided),
            Self::Waypoints(waypoints) => {
                // Where there is no waypoint in it, none can be what is wrong with it.
                let now = waypoints_of(decided.body()).ok().flatten().unwrap_or_default();
                if now == WaypointFields::default() {
                    return Err(Then::NotDecided);
                }
                rewritten(decided.body(), waypoints).map_err(|_| Then::NotDecided)?
            }
            // What stands for a waypoint is nothing that the control plane said.
            Self::ControlPlane(said) => match said.get(decided.name()) {
                Some(said) if said.body != *decided.body() => said.body.clone(),
                Some(_) | None => return Err(Then::NotDecided),
            },
        };
        // Where it is looked for does not depend on its waypoints.
        let keys = decided.keys().iter().cloned();
        let fallback = Resource::new(Arc::clone(decided.name()), body, keys, decided.stamp());
        if fallback.version() == decided.version() { Err(Then::Same) } else { Ok(fallback) }
    }
}

/// Where snapshots are put for all streams. When it is dropped, the streams end.
#[derive(Debug)]
pub struct Outlet(Arc<watch::Sender<Arc<Snapshot>>>);

impl Outlet {
    /// An empty one, and where streams look for the newest.
    pub fn new() -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (newest, receiver) = watch::channel(Arc::default());
        (Self(Arc::new(newest)), receiver)
    }

    /// Where streams say what was rejected.
    pub fn objections(&self) -> Objections {
        Objections(Arc::downgrade(&self.0))
    }

    /// How many resources are told otherwise than they were decided.
    pub fn fallbacks(&self) -> usize {
        self.0.borrow().fallbacks.len()
    }

    /// Puts a snapshot in charge, as it was decided: what is told otherwise stays so while it is the same.
    pub fn publish(&self, mut next: Snapshot) {
        self.0.send_modify(|current| {
            for (name, fallback) in &current.fallbacks {
                let decided = next.addresses.get(name).filter(|it| it.version() == fallback.rejected);
                let Some(Ok(resource)) = decided.map(|it| next.instead.of(it)) else { continue };
                let kept = match resource.version() == fallback.told {
                    true => Arc::clone(fallback),
                    // Something else is declared, or said upstream: nobody has rejected that.
                    false => {
                        Arc::new(Fallback { told: resource.version(), rejected_too: None, ..Fallback::clone(fallback) })
                    }
                };
                next.fallbacks.insert(Arc::clone(name), kept);
                next.addresses.put(resource);
            }
            *current = Arc::new(next);
        });
    }
}

/// See [`Outlet::objections`]. Keeps no stream alive.
#[derive(Clone, Debug, Default)]
pub struct Objections(Weak<watch::Sender<Arc<Snapshot>>>);

impl Objections {
    /// Takes up what one client rejected in one answer, and says of each what was done.
    pub(crate) fn raise(&self, client: u64, of: ResourceType, rejected: &[Rejected]) -> Vec<Then> {
        let none = || vec![Then::NotDecided; rejected.len()];
        // Policies are not decided here.
        if rejected.is_empty() || of != ResourceType::Address {
            return none();
        }
        let Some(newest) = self.0.upgrade() else { return none() };
        let mut then = Vec::with_capacity(rejected.len());
        newest.send_if_modified(|current| {
            let mut next = Snapshot::clone(current);
            then.extend(rejected.iter().map(|it| object(&mut next, client, it)));
            let is_other = then.contains(&Then::Fallback) || then.contains(&Then::FallbackRejected);
            if is_other {
                *current = Arc::new(next);
            }
            is_other
        });
        then
    }
}

fn object(snapshot: &mut Snapshot, client: u64, rejected: &Rejected) -> Then {
    let Some(version) = rejected.version else { return Then::Unknown };
    let name = rejected.name.as_str();
    let Some(now) = snapshot.addresses.get(name) else { return Then::Superseded };
    match snapshot.fallbacks.get(name) {
        Some(fallback) if fallback.told == version => {
            let rejected_too = Some(rejected.reason.clone());
            let fallback = Fallback { rejected_too, ..Fallback::clone(fallback) };
            snapshot.fallbacks.insert(Arc::clone(now.name()), Arc::new(fallback));
            Then::FallbackRejected
        }
        // By another client, before.
        Some(fallback) if fallback.rejected == version => Then::Fallback,
        None if now.version() == version => match snapshot.instead.of(now) {
            Err(then) => then,
            Ok(_) if snapshot.fallbacks.len() >= FALLBACKS_MAX => Then::Full,
            Ok(resource) => {
                let (told, reason) = (resource.version(), rejected.reason.clone());
                let fallback = Fallback { rejected: version, told, client, reason, rejected_too: None };
                snapshot.fallbacks.insert(Arc::clone(resource.name()), Arc::new(fallback));
                snapshot.addresses.put(resource);
                Then::Fallback
            }
        },
        Some(_) | None => Then::Superseded,
    }
}

#[cfg(test)]
mod tests;
