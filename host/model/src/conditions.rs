//! What the decisions mean for `status.conditions` (R76-R82, R106-R123, R148): which conditions an object ought to have, with
//! which reason. The texts are ours. Who writes them, and whether, is no business of this module.

use std::collections::BTreeSet;

use crate::decision::{Choice, Decision};
use crate::gateway::GatewayKey;
use crate::input::{Input, Pairs};
use crate::mesh::IstioVersion;
use crate::name::Name;
use crate::object::{Kind, ObjectKey};
use crate::sink::{Decided, Step};
use crate::store::RowObject;
use crate::table::{Row, RowKey, RowKind};

mod policies;

const USE_WAYPOINT: &str = "istio.io/use-waypoint";
const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
const INGRESS: &str = "istio.io/ingress-use-waypoint";
/// How clients of an entry choose among the addresses that its name resolves to (R78).
const CONNECT_STRATEGY: &str = "ambient.istio.io/connect-strategy";

/// The types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// Whether the waypoint that was asked for is used (R76, R77).
    WaypointBound,
    /// A ServiceEntry that does not do what it says without a waypoint (R78).
    WaypointMissing,
    /// Who sees a ServiceEntry (R79).
    VisibilityApplied,
    /// Whether ztunnel is sent a policy (R148).
    ZtunnelAccepted,
    /// Whether what a policy is attached to has a waypoint (R120).
    WaypointAccepted,
}

impl ConditionType {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::WaypointBound,
        Self::WaypointMissing,
        Self::VisibilityApplied,
        Self::ZtunnelAccepted,
        Self::WaypointAccepted,
    ];

    /// As `type` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WaypointBound => "istio.io/WaypointBound",
            Self::WaypointMissing => "istio.io/WaypointMissing",
            Self::VisibilityApplied => "istio.io/VisibilityApplied",
            Self::ZtunnelAccepted => "ZtunnelAccepted",
            Self::WaypointAccepted => "WaypointAccepted",
        }
    }

    /// By its name.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// The kinds that have conditions of ours.
pub const KINDS: [Kind; 4] = [Kind::Service, Kind::ServiceEntry, Kind::WorkloadEntry, Kind::AuthorizationPolicy];

/// A condition that an object ought to have. `observedGeneration` is never set (R81).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `type`.
    pub kind: ConditionType,
    /// `status`.
    pub holds: bool,
    /// `reason`: CamelCase.
    pub reason: Name,
    /// `message`.
    pub message: String,
}

/// A condition that an object has, whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// `type`.
    pub kind: ConditionType,
    /// `status` as it is written.
    pub status: Name,
    /// `reason` as it is written.
    pub reason: Name,
}

impl Said {
    /// Whether it says the same: texts are everybody's own.
    pub fn is(&self, condition: &Condition) -> bool {
        let status = if condition.holds { "True" } else { "False" };
        self.kind == condition.kind && *self.status == *status && self.reason == condition.reason
    }
}

/// The conditions of an object, in the order of their types; all others of [`ConditionType`] it ought not to have (R82).
/// `is_for_all`: the decisions are the same on every node. Where they are not, nothing is said about them.
pub fn of(now: Decided<'_>, key: &ObjectKey, is_for_all: bool) -> Vec<Condition> {
    let kind = match key.kind {
        Kind::Service => RowKind::Service,
        Kind::ServiceEntry => RowKind::ServiceEntry,
        Kind::WorkloadEntry => RowKind::WorkloadEntry,
        Kind::AuthorizationPolicy => return policies::of(now, key, is_for_all),
        _ => return Vec::new(),
    };
    let row_key = RowKey { kind, namespace: key.namespace.clone(), name: key.name.clone(), part: None };
    let Some(row) = now.table.get(&row_key) else { return Vec::new() };
    let mut conditions = Vec::new();
    if is_for_all {
        conditions.extend(bound(kind, row));
    }
    if kind == RowKind::ServiceEntry {
        if is_for_all {
            conditions.extend(missing(now, &row_key, row));
        }
        conditions.extend(visibility(now, &row_key));
    }
    conditions
}

/// All objects that may have conditions of ours, and Pods if `kinds` has them.
pub fn keys<'a>(now: Decided<'a>, kinds: &'a [Kind]) -> impl Iterator<Item = ObjectKey> + 'a {
    let rows = now.table.iter().filter(|(key, _)| is_whole(key) && kinds.contains(&key.kind.object()));
    let wants_policies = kinds.contains(&Kind::AuthorizationPolicy);
    let policies = now.store.policies().filter(move |_| wants_policies).map(|policy| policy_key(&policy.meta));
    rows.map(|(key, _)| key.object()).chain(policies)
}

/// Those of them that a step may concern; none: all.
pub fn concerned(now: Decided<'_>, step: &Step, kinds: &[Kind]) -> Option<BTreeSet<ObjectKey>> {
    // A Gateway counts for whoever means it, whether or not it is bound; and they change seldom.
    if step.mesh || !step.changes.gateways.is_empty() || step.objects.iter().any(|it| it.kind == Kind::GatewayClass) {
        return None;
    }
    let is_ours = |key: &ObjectKey| kinds.contains(&key.kind);
    let mut concerned: BTreeSet<ObjectKey> = step.objects.iter().filter(|it| is_ours(it)).cloned().collect();
    let moved = step.moved.iter().map(|change| &change.key);
    let of_namespaces = step.changes.namespaces.iter().flat_map(|namespace| now.table.keys_in(namespace));
    let rows = step.changes.rows.iter().chain(moved).chain(of_namespaces);
    concerned.extend(rows.filter(|key| is_whole(key)).map(RowKey::object).filter(is_ours));
    // A policy is told how what it is attached to fares.
    let is_target = |key: &ObjectKey| matches!(key.kind, Kind::Service | Kind::ServiceEntry);
    if kinds.contains(&Kind::AuthorizationPolicy) && concerned.iter().any(is_target) {
        let attached = now.store.policies().filter(|policy| !policy.targets.is_empty());
        concerned.extend(attached.map(|policy| policy_key(&policy.meta)));
    }
    if kinds.contains(&Kind::AuthorizationPolicy) && !step.changes.namespaces.is_empty() {
        let of_them = now.store.policies().filter(|it| step.changes.namespaces.contains(&it.meta.namespace));
        concerned.extend(of_them.map(|policy| policy_key(&policy.meta)));
    }
    Some(concerned)
}

fn is_whole(key: &RowKey) -> bool {
    key.part.is_none()
}

fn policy_key(meta: &crate::object::Meta) -> ObjectKey {
    ObjectKey { kind: Kind::AuthorizationPolicy, namespace: meta.namespace.clone(), name: meta.name.clone() }
}

/// R76, and R77 for WorkloadEntries.
fn bound(kind: RowKind, row: &Row) -> Option<Condition> {
    let decision = &row.decision;
    let condition = |holds, reason: &str, message| {
        Some(Condition { kind: ConditionType::WaypointBound, holds, reason: reason.into(), message })
    };
    if !decision.targets().is_empty() {
        return condition(true, "WaypointAccepted", accepted(kind, row));
    }
    match (&decision.choice, decision.reason.as_deref()) {
        (Choice::Blocked, reason) => {
            let why = reason.map_or_else(String::new, |reason| format!(": {}", refusal(kind, &row.input, reason)));
            condition(false, reason.unwrap_or("Blocked"), format!("connections are refused{why}"))
        }
        (_, Some(reason)) => condition(false, reason, refusal(kind, &row.input, reason)),
        // Nothing was asked for.
        (_, None) => None,
    }
}

/// The text of a row that is bound.
fn accepted(kind: RowKind, row: &Row) -> String {
    let decision: &Decision = &row.decision;
    let mut text = match decision.targets() {
        [one] => format!("traffic goes through waypoint {}", one.gateway),
        several => {
            let each = several.iter().map(|target| format!("{} ({} %)", target.gateway, target.weight));
            format!("traffic goes through waypoints {}", each.collect::<Vec<_>>().join(", "))
        }
    };
    // Q1: bound, and nothing to dial.
    if decision.targets().iter().any(|target| target.address.is_none()) {
        text.push_str("; it reports no address that can be used, and connections fail");
    }
    if !kind.is_service() {
        return text;
    }
    let is_ingress_named = value(&row.input, INGRESS).is_some();
    if decision.ingress {
        text.push_str("; so does traffic from gateways");
    } else if is_ingress_named {
        text.push_str(&format!("; traffic from gateways does not, {INGRESS}: true would change that"));
    }
    if let Some(reason) = &decision.second_reason {
        text.push_str(&format!("; the second waypoint is not used: {}", second_refusal(reason)));
    }
    text
}

/// Why a row is not bound, by its reason (R80).
fn refusal(kind: RowKind, input: &Input, reason: &str) -> String {
    let waypoint = named(input).map_or_else(|| "the waypoint".to_owned(), |key| format!("waypoint {key}"));
    let what = if kind.is_service() { "services" } else { "workloads" };
    match reason {
        "WaypointIsNotReady" => format!("{waypoint} does not exist, or reports no address yet"),
        "AttachmentDenied" => {
            format!("{waypoint} does not admit namespace {}: see allowedRoutes of its listener", input.namespace.name)
        }
        "UnsupportedTrafficType" => format!("{waypoint} does not serve {what}: see istio.io/waypoint-for"),
        "CrossNamespaceWaypointForbidden" => {
            format!("only its own namespace sees this entry, and {waypoint} is of another")
        }
        other => format!("the rules of the mesh give the reason {other}; wayswitch explain says more"),
    }
}

/// Why the second waypoint is refused (R63).
fn second_refusal(reason: &str) -> String {
    match reason {
        "CanarySameAsPrimary" => "it is the same as the first".to_owned(),
        "CanaryInvalidWeight" => "its weight is no number from 0 to 100".to_owned(),
        "WaypointIsNotReady" => "it does not exist, or reports no address yet".to_owned(),
        "AttachmentDenied" => "it does not admit this namespace".to_owned(),
        "UnsupportedTrafficType" => "it does not serve services".to_owned(),
        other => other.to_owned(),
    }
}

/// The waypoint that the labels name, as far as the component reads them: the row's own, else its namespace's (R17).
fn named(input: &Input) -> Option<GatewayKey> {
    let own = input.labels.as_ref().filter(|pairs| pair(pairs, USE_WAYPOINT).is_some());
    let pairs = own.unwrap_or(&input.namespace.labels);
    let name = pair(pairs, USE_WAYPOINT)?.clone();
    let namespace = pair(pairs, USE_WAYPOINT_NAMESPACE).unwrap_or(&input.namespace.name).clone();
    Some(GatewayKey { namespace, name })
}

/// A label of the row, else of its namespace.
fn value<'a>(input: &'a Input, key: &str) -> Option<&'a Name> {
    let own = input.labels.as_ref().and_then(|pairs| pair(pairs, key));
    own.or_else(|| pair(&input.namespace.labels, key))
}

fn pair<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a Name> {
    pairs.iter().find(|(it, _)| **it == *key).map(|(_, value)| value)
}

/// R78: (b) counts where both do.
fn missing(now: Decided<'_>, key: &RowKey, row: &Row) -> Option<Condition> {
    let entry = now.store.entry(&key.namespace, &key.name)?;
    let condition = |reason: &str, message: &str| Condition {
        kind: ConditionType::WaypointMissing,
        holds: true,
        reason: reason.into(),
        message: message.to_owned(),
    };
    let strategy = entry.meta.annotations.get(CONNECT_STRATEGY);
    if !row.decision.targets().is_empty() {
        None
    } else if strategy.is_some_and(|it| !it.is_empty() && **it != *"DEFAULT") {
        let message = "only a waypoint follows the connect strategy of this entry, and it has none";
        Some(condition("NoWaypointForRacingConnectStrategy", message))
    } else if entry.hosts.iter().any(|host| host.starts_with('*')) {
        let message = "only a waypoint can tell which host below the wildcard is meant, and this entry has none";
        Some(condition("NoWaypointForWildcardService", message))
    } else {
        None
    }
}

/// R79: where the mesh configures it.
fn visibility(now: Decided<'_>, key: &RowKey) -> Option<Condition> {
    let facts = now.store.facts();
    if facts.mesh.entry_visibility.is_none() || facts.istio < IstioVersion::ENTRY_VISIBILITY {
        return None;
    }
    let Some(RowObject::ServiceEntry { own_namespace_only, .. }) = now.store.row(key) else { return None };
    let (reason, message) = match own_namespace_only {
        true => ("Namespace", "only its own namespace sees this entry"),
        false => ("Public", "every namespace sees this entry"),
    };
    Some(Condition {
        kind: ConditionType::VisibilityApplied,
        holds: true,
        reason: reason.into(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests;
