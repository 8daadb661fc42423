//! What no component may decide away: the consent of a waypoint's owner, `allowedRoutes`.
//!
//! Which listener's policy counts is the component's business (R10, it changed between versions). The floor is what
//! all readings have in common: at least one listener that could be the one must admit the subject's namespace.

use crate::decision::{Choice, Decision};
use crate::gateway::{GatewayKey, HBONE_PORT};
use crate::input::{GatewayInput, Input, ListenerInput, NamespaceInput};

/// The reason of a decision that the floor put in the place of the component's (R20).
pub const ATTACHMENT_DENIED: &str = "AttachmentDenied";

/// The decision itself, or `instead` where it goes through a waypoint whose owner does not admit the subject.
pub fn apply(input: &Input, decision: Decision, instead: &Choice) -> Decision {
    let admitted = |key: &GatewayKey| {
        let gateway = input.candidates.iter().find(|gateway| gateway.key == *key);
        gateway.is_some_and(|gateway| admits(gateway, &input.namespace))
    };
    if decision.targets().iter().all(|target| admitted(&target.gateway)) {
        return decision;
    }
    denied(instead)
}

/// What the floor puts in the place of a decision.
pub fn denied(instead: &Choice) -> Decision {
    Decision { floor: true, ..Decision::without_waypoint(instead.clone(), Some(ATTACHMENT_DENIED)) }
}

/// Whether a Gateway that an earlier decision goes through is there and does not admit the subject (any more). One that
/// is not among the candidates of today refuses nobody.
pub fn is_withdrawn(input: &Input, earlier: &Decision) -> bool {
    let refuses = |gateway: &GatewayInput| !admits(gateway, &input.namespace);
    let gateway = |key: &GatewayKey| input.candidates.iter().find(|gateway| gateway.key == *key);
    earlier.targets().iter().filter_map(|target| gateway(&target.gateway)).any(|gateway| refuses(gateway))
}

/// Whether some reading of the Gateway's listeners admits the namespace.
pub fn admits(gateway: &GatewayInput, namespace: &NamespaceInput) -> bool {
    let same = gateway.key.namespace == namespace.name;
    let tunnel = |listener: &ListenerInput| listener.port == HBONE_PORT.into() && &*listener.protocol == "HBONE";
    // Without a tunnel listener the policy is "Same" (R10 d).
    let by_default = same && !gateway.listeners.iter().any(tunnel);
    by_default || gateway.listeners.iter().any(|listener| listener_admits(listener, namespace, same))
}

fn listener_admits(listener: &ListenerInput, namespace: &NamespaceInput, same: bool) -> bool {
    match listener.admits_from.as_deref() {
        Some("All") => true,
        Some("Selector") => listener.selector.is_some_and(|id| namespace.selected_by.contains(&id)),
        // Missing, `Same`, and anything unknown (R11, Q4).
        _ => same,
    }
}

#[cfg(test)]
mod tests;
