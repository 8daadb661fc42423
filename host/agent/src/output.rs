//! Decisions as JSON, in the form that the conformance contract fixes.

use model::decision::{Choice, Decision, Target, TunnelProtocol, WaypointAddress};
use model::gateway::HBONE_PORT;
use model::table::{Row, RowKey, RowKind, Table};
use serde_json::{Value, json};

/// All decisions, sorted by kind, namespace, name, host and address.
pub fn decisions(table: &Table) -> Value {
    json!({ "decisions": table.iter().map(|(key, row)| decision(key, row)).collect::<Vec<_>>() })
}

/// One decision. Beyond the contract it has `choice`, `onUnreachable`, `revision` and `degraded`.
pub fn decision(key: &RowKey, row: &Row) -> Value {
    let decision = &*row.decision;
    let service = key.kind == RowKind::Service;
    let targets = decision.targets();
    // A weight of 100 is a single waypoint; two are listed, primary first (R64).
    let weighted: Vec<Value> = match targets {
        [] | [_] => Vec::new(),
        targets => targets.iter().map(|t| json!({ "waypoint": waypoint(t), "weight": t.weight })).collect(),
    };
    json!({
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "host": if service { row.subject.hosts.first() } else { None },
        "address": null,
        "waypoint": targets.first().map(waypoint),
        "weighted": weighted,
        "reason": decision.reason,
        "canaryReason": decision.second_reason,
        "ingressUseWaypoint": service.then_some(decision.ingress),
        "applicationTunnel": decision.tunnel.map(|tunnel| json!({
            "protocol": match tunnel.protocol { TunnelProtocol::None => "NONE", TunnelProtocol::Proxy => "PROXY" },
            "port": tunnel.port,
        })),
        "choice": choice(decision),
        "onUnreachable": decision.on_unreachable,
        "revision": row.revision,
        "degraded": row.degraded,
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
