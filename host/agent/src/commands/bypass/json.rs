//! The ways past waypoints for programs.

use model::bypass::{Clients, Destination, Fix, Hole, OnlyThrough, Severity, What};
use model::table::RowKey;
use serde_json::{Value, json};

use super::summaries;
use crate::output;

/// Namespaces of clients, and rows of a group, that are listed; how many there are is told in any case.
const LISTED_MAX: usize = 100;

pub(super) fn document(found: &[Destination]) -> Value {
    let summary = |(namespace, it): (&model::Name, super::Summary)| {
        let open = |severity| it.open.get(&severity).copied().unwrap_or(0);
        json!({ "namespace": namespace, "destinations": it.destinations, "tight": it.tight, "closed": it.closed,
            "open": { "high": open(Severity::High), "medium": open(Severity::Medium), "low": open(Severity::Low) } })
    };
    json!({
        "destinations": found.iter().map(destination).collect::<Vec<_>>(),
        "namespaces": summaries(found).into_iter().map(summary).collect::<Vec<_>>(),
    })
}

fn destination(it: &Destination) -> Value {
    let (rows, kind) = match &it.what {
        What::Service(key) => (std::slice::from_ref(key), key.kind),
        What::Workloads { rows, .. } => {
            (rows.as_slice(), rows.first().map_or(model::table::RowKind::Pod, |row| row.kind))
        }
    };
    let open = it.guard.open.iter().map(|(why, count)| json!({ "why": why.to_string(), "workloads": count }));
    json!({
        "what": it.what.to_string(),
        "namespace": it.what.namespace(),
        "rows": rows.iter().take(LISTED_MAX).map(row).collect::<Vec<_>>(),
        "rowCount": rows.len(),
        "decision": output::answer(kind, &it.decision),
        "guard": {
            "workloads": it.guard.workloads,
            "closed": it.guard.closed,
            "by": it.guard.by.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "open": open.collect::<Vec<_>>(),
        },
        "holes": it.holes.iter().map(hole).collect::<Vec<_>>(),
        "policy": it.policy.as_ref().map(policy),
    })
}

fn row(key: &RowKey) -> Value {
    json!({ "kind": key.kind, "namespace": key.namespace, "name": key.name, "address": key.part })
}

fn hole(it: &Hole) -> Value {
    json!({ "code": it.code, "rule": it.rule, "text": it.code.text(), "detail": it.detail, "severity": it.severity,
        "closed": it.closed, "clients": clients(&it.clients), "fixes": it.fixes.iter().map(fix).collect::<Vec<_>>() })
}

fn clients(clients: &Clients) -> Value {
    let namespaces = clients.namespaces.iter().take(LISTED_MAX);
    let namespaces = namespaces.map(|(name, pods)| json!({ "namespace": name, "pods": pods }));
    json!({ "pods": clients.pods, "namespaceCount": clients.namespaces.len(),
        "namespaces": namespaces.collect::<Vec<_>>(), "examples": clients.examples.iter().map(row).collect::<Vec<_>>() })
}

fn fix(fix: &Fix) -> Value {
    let (kind, text) = match fix {
        Fix::Label { .. } => ("label", fix.to_string()),
        Fix::Policy => ("policy", "apply the policy of this destination".to_owned()),
        Fix::Other(text) => ("other", text.clone()),
    };
    match fix {
        Fix::Label { on, key, value } => json!({ "type": kind, "text": text, "kind": on.kind,
            "namespace": on.namespace, "name": on.name, "label": key, "value": value }),
        _ => json!({ "type": kind, "text": text }),
    }
}

/// The policy as an object that can be applied, and what else it does.
fn policy(it: &OnlyThrough) -> Value {
    let manifest = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": it.name, "namespace": it.namespace },
        "spec": {
            "selector": { "matchLabels": it.selector.iter().map(|(key, value)| (key.to_string(), json!(value))).collect::<serde_json::Map<_, _>>() },
            "action": "ALLOW",
            "rules": [{ "from": [{ "source": { "principals": it.principals } }] }],
        },
    });
    json!({ "manifest": manifest, "accountsAssumed": it.assumed,
        "inTheWay": it.in_the_way.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cutsOff": it.cuts_off.iter().map(row).collect::<Vec<_>>() })
}
