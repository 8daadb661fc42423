//! Conditions of AuthorizationPolicies: whether ztunnel is sent them (R106-R112, R148), and whether what they are attached to
//! has a waypoint that enforces them (R119-R123).

use std::collections::BTreeSet;

use crate::gateway::GatewayKey;
use crate::lint::policies::fields;
use crate::name::{Labels, Name};
use crate::object::ObjectKey;
use crate::policy::{AuthorizationPolicy, PolicyTarget};
use crate::sink::Decided;
use crate::table::{RowKey, RowKind};

use super::{Condition, ConditionType};

/// The annotation by which a policy only pretends (R106).
const DRY_RUN: &str = "istio.io/dry-run";
/// The class whose Gateways enforce policies for a class (R119). Status follows enforcement (Q18).
const ISTIO_WAYPOINT: &str = "istio-waypoint";

const UNSUPPORTED: &str = "UnsupportedValue";
const ACCEPTED: &str = "Accepted";
const INVALID: &str = "Invalid";
const NOT_FOUND: &str = "TargetNotFound";

pub(super) fn of(now: Decided<'_>, key: &ObjectKey, is_for_all: bool) -> Vec<Condition> {
    let Some(policy) = now.store.policy(&key.namespace, &key.name) else { return Vec::new() };
    if policy.targets.is_empty() {
        return vec![for_ztunnel(policy)];
    }
    // Whether a target is bound may be another answer on the next node.
    if is_for_all { vec![for_waypoints(now, policy)] } else { Vec::new() }
}

/// R148.
fn for_ztunnel(policy: &AuthorizationPolicy) -> Condition {
    let condition = |holds, reason: &str, message: String| Condition {
        kind: ConditionType::ZtunnelAccepted,
        holds,
        reason: reason.into(),
        message,
    };
    let dry_run = policy.meta.annotations.get(DRY_RUN);
    if dry_run.is_some_and(|value| matches!(&**value, "1" | "t" | "T" | "TRUE" | "true" | "True")) {
        return condition(false, UNSUPPORTED, format!("ztunnel is not sent policies with {DRY_RUN}"));
    }
    if !matches!(&*policy.action, "ALLOW" | "DENY" | "") {
        let message = format!("ztunnel only knows ALLOW and DENY, and is not sent the action {}", policy.action);
        return condition(false, UNSUPPORTED, message);
    }
    let http: BTreeSet<&Name> = policy.rules.iter().flat_map(fields::http_attributes).collect();
    if http.is_empty() {
        // Q19.
        let nobody = policy.selector.as_ref().is_some_and(Labels::is_empty);
        let message = if nobody {
            "ztunnel has it; its selector is empty, so that it applies to nobody"
        } else {
            "ztunnel enforces it"
        };
        return condition(true, ACCEPTED, message.to_owned());
    }
    let names = http.iter().map(|name| &***name).collect::<Vec<_>>().join(", ");
    let effect = match &*policy.action {
        "DENY" if policy.rules.iter().any(fields::is_effective) => {
            "the rest of these rules is enforced, which denies more than is written"
        }
        "DENY" => "nothing of it is enforced",
        _ => "rules with them are left out, which allows less than is written",
    };
    condition(true, UNSUPPORTED, format!("ztunnel does not know {names}: {effect}"))
}

/// A target with what became of it.
struct Attached {
    reason: &'static str,
    text: String,
}

/// R120, R121.
fn for_waypoints(now: Decided<'_>, policy: &AuthorizationPolicy) -> Condition {
    let attached: Vec<Attached> = policy.targets.iter().map(|target| attached(now, policy, target)).collect();
    let is_bound = |it: &&Attached| it.reason == ACCEPTED;
    let bound = attached.iter().filter(is_bound).count();
    let (reason, message) = match &*attached {
        [one] => (one.reason, one.text.clone()),
        all => {
            let unbound: Vec<&str> = all.iter().filter(|it| !is_bound(it)).map(|it| &*it.text).collect();
            match (bound, unbound.len()) {
                (_, 0) => (ACCEPTED, "waypoints of all targets enforce it".to_owned()),
                (0, _) => (INVALID, unbound.join("; ")),
                _ => ("PartiallyInvalid", unbound.join("; ")),
            }
        }
    };
    Condition { kind: ConditionType::WaypointAccepted, holds: bound > 0, reason: reason.into(), message }
}

fn attached(now: Decided<'_>, policy: &AuthorizationPolicy, target: &PolicyTarget) -> Attached {
    let namespace = target.namespace.as_ref().unwrap_or(&policy.meta.namespace);
    let shown = format!("{} {namespace}/{}", target.kind, target.name);
    let say = |reason, text| Attached { reason, text };
    let service = |kind| of_service(now, RowKey { kind, ..RowKey::new(kind, namespace, &target.name) }, &shown);
    match (&*target.group, &*target.kind) {
        ("gateway.networking.k8s.io", "GatewayClass") => of_class(now, policy, &target.name),
        ("gateway.networking.k8s.io", "Gateway") => {
            let key = GatewayKey { namespace: namespace.clone(), name: target.name.clone() };
            match now.store.gateway(&key).is_some_and(|gateway| !gateway.addresses.is_empty()) {
                true => say(ACCEPTED, format!("{shown} enforces it")),
                false => say(NOT_FOUND, format!("{shown} does not exist, or reports no address yet")),
            }
        }
        ("" | "core", "Service") => service(RowKind::Service),
        ("networking.istio.io", "ServiceEntry") => service(RowKind::ServiceEntry),
        // R123.
        (_, kind) => say("unknown", format!("no waypoint enforces policies for the kind {kind}")),
    }
}

fn of_class(now: Decided<'_>, policy: &AuthorizationPolicy, name: &Name) -> Attached {
    let root = &now.store.facts().mesh.root_namespace;
    let (reason, text) = if policy.meta.namespace != *root {
        (INVALID, format!("a policy for GatewayClass {name} has to be in the root namespace {root}"))
    } else if now.store.class(name).is_none() {
        (NOT_FOUND, format!("GatewayClass {name} does not exist"))
    } else if **name != *ISTIO_WAYPOINT {
        (INVALID, format!("waypoints enforce policies for the class {ISTIO_WAYPOINT} only, and not for {name}"))
    } else {
        (ACCEPTED, format!("all waypoints of GatewayClass {name} enforce it"))
    };
    Attached { reason, text }
}

fn of_service(now: Decided<'_>, key: RowKey, shown: &str) -> Attached {
    let decision = now.table.get(&key).map(|row| &row.decision);
    let (reason, text) = match decision.and_then(|it| it.targets().first()) {
        Some(target) => (ACCEPTED, format!("waypoint {} of {shown} enforces it", target.gateway)),
        None if now.store.object(&key.object()).is_none() => (NOT_FOUND, format!("{shown} does not exist")),
        None => ("AncestorNotBound", format!("{shown} has no waypoint")),
    };
    Attached { reason, text }
}
