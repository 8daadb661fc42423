//! Decisions as JSON, in the form that the conformance contract fixes.

use model::Name;
use model::decision::{Choice, Decision, Target, TunnelProtocol, WaypointAddress};
use model::gateway::HBONE_PORT;
use model::table::{Row, RowKey, RowKind, Table};
use serde_json::{Value, json};

/// All decisions, sorted by kind, namespace, name, host and address. Endpoints of slices are left out: they never have
/// one (R57).
pub fn decisions(table: &Table) -> Value {
    let rows = table.iter().filter(|(key, _)| key.kind != RowKind::EndpointSliceEndpoint);
    json!({ "decisions": rows.flat_map(|(key, row)| decisions_of(key, row)).collect::<Vec<_>>() })
}

/// The decisions of one row: one for each host of a service (R34), one for a workload.
pub fn decisions_of(key: &RowKey, row: &Row) -> Vec<Value> {
    if !key.kind.is_service() {
        return vec![decision(key, row, None)];
    }
    let mut hosts: Vec<&Name> = row.subject.hosts.iter().collect();
    hosts.sort_unstable();
    hosts.into_iter().map(|host| decision(key, row, Some(host))).collect()
}

/// One decision. Beyond the contract it has `choice`, `onUnreachable`, `revision` and `degraded`.
fn decision(key: &RowKey, row: &Row, host: Option<&Name>) -> Value {
    let mut decision = answer(key.kind, &row.decision);
    let beside = [
        ("kind", json!(key.kind)),
        ("namespace", json!(key.namespace)),
        ("name", json!(key.name)),
        ("host", json!(host)),
        ("address", json!(key.part)),
        ("revision", json!(row.revision)),
        ("degraded", json!(row.degraded)),
    ];
    if let Value::Object(fields) = &mut decision {
        fields.extend(beside.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    decision
}

/// What was decided, without saying for what: the same keys and values as in a whole decision.
pub fn answer(kind: RowKind, decision: &Decision) -> Value {
    let targets = decision.targets();
    // A weight of 100 is a single waypoint; two are listed, primary first (R64).
    let weighted: Vec<Value> = match targets {
        [] | [_] => Vec::new(),
        targets => targets.iter().map(|t| json!({ "waypoint": waypoint(t), "weight": t.weight })).collect(),
    };
    json!({
        "waypoint": targets.first().map(waypoint),
        "weighted": weighted,
        "reason": decision.reason,
        "canaryReason": decision.second_reason,
        "ingressUseWaypoint": kind.is_service().then_some(decision.ingress),
        "applicationTunnel": decision.tunnel.map(|tunnel| json!({
            "protocol": match tunnel.protocol { TunnelProtocol::None => "NONE", TunnelProtocol::Proxy => "PROXY" },
            "port": tunnel.port,
        })),
        "choice": choice(decision),
        "onUnreachable": decision.on_unreachable,
    })
}

/// The choice as one word.
pub fn choice(decision: &Decision) -> &'static str {
    match decision.choice {
        Choice::Keep => "keep",
        Choice::Direct => "direct",
        Choice::Blocked => "blocked",
        Choice::Waypoints(_) => "waypoint",
    }
}

fn waypoint(target: &Target) -> Value {
    let (hostname, address, network) = match &target.address {
        None => (None, None, None),
        Some(WaypointAddress::Hostname(hostname)) => (Some(hostname), None, None),
        Some(WaypointAddress::Ip { network, ip }) => (None, Some(ip.to_string()), Some(network)),
    };
    json!({
        "namespace": target.gateway.namespace,
        "name": target.gateway.name,
        "hostname": hostname,
        "address": address,
        "network": network,
        "port": HBONE_PORT,
    })
}
