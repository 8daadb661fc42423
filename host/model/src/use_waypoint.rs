//! What a decision means as `istio.io/use-waypoint`: the label that would make an istiod that knows nothing of the rules come to
//! the same. Only what labels can say, and only where it would not come to it by the namespace's label.
//!
//! An object whose own label is somebody else's is left as it is. A label that was written for an earlier decision is not seen here:
//! who reads the objects leaves it out, so that a decision never depends on what it led to.

use crate::decision::Choice;
use crate::gateway::{Gateway, GatewayKey};
use crate::name::{Labels, Name};
use crate::object::{Kind, ObjectKey};
use crate::sink::Decided;
use crate::table::{RowKey, RowKind};

/// The label with the name of a waypoint.
pub const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// The label with its namespace, where it is another one.
pub const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// The value that opts out (R18).
pub const NONE: &str = "none";

/// The kinds that are labelled.
pub const KINDS: [Kind; 4] = [Kind::Service, Kind::ServiceEntry, Kind::Pod, Kind::WorkloadEntry];

const MANAGED: &str = "gateway.istio.io/managed";
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const WAYPOINT_FOR: &str = "istio.io/waypoint-for";

/// Characters that the API server takes as the value of a label.
const VALUE_MAX: usize = 63;

/// The labels of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Of [`USE_WAYPOINT`].
    pub name: Name,
    /// Of [`USE_WAYPOINT_NAMESPACE`]; none: the object's own namespace.
    pub namespace: Option<Name>,
}

/// `NAME`, or `NAMESPACE/NAME`.
impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What an object is to be labelled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: nothing was decided, or istiod comes to it by itself.
    Nothing,
    /// These.
    Labels(Written),
    /// No label says what was decided: several waypoints, blocked connections, a name that is too long.
    Unsayable,
    /// The object has a label of its own that says something else.
    Otherwise,
}

/// What the object is to be labelled with, if decisions are the same on every node (`is_for_all`).
pub fn wanted(now: Decided<'_>, key: &ObjectKey, is_for_all: bool) -> Wanted {
    let kind = match key.kind {
        Kind::Service => RowKind::Service,
        Kind::ServiceEntry => RowKind::ServiceEntry,
        Kind::Pod => RowKind::Pod,
        Kind::WorkloadEntry => RowKind::WorkloadEntry,
        _ => return Wanted::Nothing,
    };
    let row = RowKey { kind, namespace: key.namespace.clone(), name: key.name.clone(), part: None };
    let (Some(decided), Some(own)) = (now.table.get(&row), labels(now, key)) else { return Wanted::Nothing };
    if !is_for_all || is_waypoint(now, key, &own) {
        return Wanted::Nothing;
    }
    let wanted = match (&decided.decision.choice, &decided.decision.reason) {
        (Choice::Waypoints(targets), _) => match &**targets {
            [one] => said(&one.gateway, &key.namespace),
            _ => Wanted::Unsayable,
        },
        // With a reason something was asked for and refused, which is what istiod finds as well.
        (Choice::Direct, None) => Wanted::Labels(Written { name: NONE.into(), namespace: None }),
        (Choice::Blocked, _) => Wanted::Unsayable,
        (Choice::Direct | Choice::Keep, _) => Wanted::Nothing,
    };
    if let Some(own) = named(&own, &key.namespace) {
        let agrees = match (&wanted, &decided.decision.choice) {
            (Wanted::Labels(written), _) => {
                own == Some(key_of(written, &key.namespace)) || own.is_none() && is_none(written)
            }
            _ => true,
        };
        return if agrees { Wanted::Nothing } else { Wanted::Otherwise };
    }
    let of_namespace = now.store.namespace(&key.namespace).map(|it| it.meta.labels.clone()).unwrap_or_default();
    let inherited = named(&of_namespace, &key.namespace).flatten();
    match wanted {
        Wanted::Labels(written) if is_none(&written) => {
            let is_bound =
                inherited.and_then(|it| now.store.gateway(&it).cloned()).is_some_and(|it| serves(now, &it, kind));
            if is_bound { Wanted::Labels(written) } else { Wanted::Nothing }
        }
        Wanted::Labels(written) if inherited == Some(key_of(&written, &key.namespace)) => Wanted::Nothing,
        wanted => wanted,
    }
}

fn is_none(written: &Written) -> bool {
    &*written.name == NONE && written.namespace.is_none()
}

fn key_of(written: &Written, own: &Name) -> GatewayKey {
    GatewayKey { namespace: written.namespace.as_ref().unwrap_or(own).clone(), name: written.name.clone() }
}

fn said(gateway: &GatewayKey, own: &Name) -> Wanted {
    let namespace = (gateway.namespace != *own).then(|| gateway.namespace.clone());
    // A waypoint that is called none cannot be named.
    if gateway.name.len() > VALUE_MAX || gateway.namespace.len() > VALUE_MAX || &*gateway.name == NONE {
        return Wanted::Unsayable;
    }
    Wanted::Labels(Written { name: gateway.name.clone(), namespace })
}

/// What labels name (R15): outer none, there is no label; inner none, it opts out.
fn named(labels: &Labels, own: &Name) -> Option<Option<GatewayKey>> {
    let name = labels.get(USE_WAYPOINT)?;
    if **name == *NONE {
        return Some(None);
    }
    let namespace = labels.get(USE_WAYPOINT_NAMESPACE).unwrap_or(own).clone();
    Some(Some(GatewayKey { namespace, name: name.clone() }))
}

/// All labels that count for it (R50).
fn labels(now: Decided<'_>, key: &ObjectKey) -> Option<Labels> {
    let (namespace, name) = (&key.namespace, &key.name);
    Some(match key.kind {
        Kind::Service => now.store.service(namespace, name)?.meta.labels.clone(),
        Kind::ServiceEntry => now.store.entry(namespace, name)?.meta.labels.clone(),
        Kind::Pod => now.store.pod(namespace, name)?.meta.labels.clone(),
        Kind::WorkloadEntry => now.store.workload_entry(namespace, name)?.labels(),
        _ => return None,
    })
}

/// Istio gives a waypoint's own Service (R28) and its instances (R45) none, whatever they are labelled with.
fn is_waypoint(now: Decided<'_>, key: &ObjectKey, own: &Labels) -> bool {
    let managed = own.get(MANAGED).is_some_and(|it| it.starts_with("istio.io-"));
    let instance_of =
        own.get(GATEWAY_NAME).map(|name| GatewayKey { namespace: key.namespace.clone(), name: name.clone() });
    managed || instance_of.is_some_and(|gateway| now.store.gateway(&gateway).is_some())
}

/// Whether istiod would bind it by inheritance: an address (R1), and the traffic type (R4, R29, R46).
fn serves(now: Decided<'_>, gateway: &Gateway, kind: RowKind) -> bool {
    let class = now.store.class(&gateway.class);
    let of_class = class.and_then(|class| class.meta.labels.get(WAYPOINT_FOR));
    let traffic = gateway.meta.labels.get(WAYPOINT_FOR).or(of_class).map_or("service", |it| it);
    let wanted = if kind.is_service() { "service" } else { "workload" };
    !gateway.addresses.is_empty() && (traffic == "all" || traffic == wanted)
}

#[cfg(test)]
mod tests;
