//! `waypoint status`: whether waypoints are ready. All of them are waited for at once.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use cluster::connect::Cluster;
use cluster::waypoint::{Readiness, Scope, Waypoint, await_ready, list};
use model::gateway::GatewayKey;
use serde_json::json;

use super::list::value;
use super::table::{columns, document, one_line};
use crate::cli::{StatusFlags, WaypointOutput, scope};

/// Waits if wanted, and prints a row for each.
pub(super) async fn run(cluster: &Cluster, flags: &StatusFlags) -> anyhow::Result<ExitCode> {
    let scope = scope(flags.all_namespaces, &cluster.namespace);
    let (mut waypoints, unread) = list(cluster, &scope).await?;
    for problem in unread {
        eprintln!("warning: {problem}");
    }
    let unknown = unknown(&flags.names, &waypoints, &scope);
    waypoints.retain(|it| flags.names.is_empty() || flags.names.iter().any(|name| **name == *it.gateway.meta.name));
    let mut waiting_is_over = false;
    if flags.wait && waypoints.iter().any(|it| it.readiness() != Readiness::Ready) {
        let keys: BTreeSet<GatewayKey> = waypoints.iter().map(Waypoint::key).collect();
        let tell = &mut |key: &GatewayKey, state: &Readiness| {
            if *state != Readiness::Ready {
                eprintln!("waiting for {key}: {}", one_line(&state.to_string()));
            }
        };
        let waited = await_ready(cluster, &scope, &keys, flags.waypoint_timeout, tell).await?;
        if let Some(trouble) = &waited.trouble {
            eprintln!("warning: {trouble}");
        }
        for key in waited.seen.iter().filter(|(_, it)| it.is_none()).map(|(key, _)| key) {
            eprintln!("{key} was deleted meanwhile");
        }
        waiting_is_over = !waited.missing().is_empty();
        waypoints = waited.seen.into_values().flatten().collect();
    }
    let mut out = std::io::stdout().lock();
    print(&mut out, flags.output, &scope, &waypoints)?;
    out.flush()?;
    for name in &unknown {
        eprintln!("there is no waypoint {name} {scope}");
    }
    if waypoints.is_empty() && unknown.is_empty() && !waiting_is_over {
        eprintln!("no waypoints {scope}");
    }
    if waiting_is_over {
        eprintln!("not all are ready after {:?}", flags.waypoint_timeout);
    }
    Ok(if waiting_is_over || !unknown.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Names that no waypoint has.
pub(super) fn unknown<'a>(names: &'a [String], waypoints: &[Waypoint], scope: &Scope) -> Vec<&'a String> {
    let has = |name: &str| waypoints.iter().any(|it| *it.gateway.meta.name == *name);
    names.iter().filter(|name| matches!(scope, Scope::Namespace(_)) && !has(name)).collect()
}

fn print(out: &mut impl Write, output: WaypointOutput, scope: &Scope, waypoints: &[Waypoint]) -> std::io::Result<()> {
    let all = || json!({ "waypoints": waypoints.iter().map(|it| value(it, &None)).collect::<Vec<_>>() });
    if document(out, output, all)? || waypoints.is_empty() {
        return Ok(());
    }
    let mut heads = vec!["NAME", "READY", "PROGRAMMED", "REASON", "MESSAGE"];
    if matches!(scope, Scope::All) {
        heads.insert(0, "NAMESPACE");
    }
    let row = |it: &Waypoint| {
        let mut row =
            if matches!(scope, Scope::All) { vec![it.gateway.meta.namespace.to_string()] } else { Vec::new() };
        let condition = it.condition("Programmed").or_else(|| it.condition("Accepted"));
        let readiness = it.readiness();
        let message = match &readiness {
            Readiness::Ready => condition.map(|it| it.message.clone()).unwrap_or_default(),
            missing => missing.to_string(),
        };
        let ready = if readiness == Readiness::Ready { "yes" } else { "no" };
        let reason = condition.map_or("", |it| &it.reason);
        row.extend([&it.gateway.meta.name, ready, it.programmed(), reason, &message].map(one_line));
        row
    };
    columns(out, &heads, &waypoints.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::list::tests::waypoint;
    use super::*;

    fn of(name: &str, status: Value) -> Waypoint {
        waypoint(json!({ "metadata": { "namespace": "shop", "name": name },
            "spec": { "gatewayClassName": "istio-waypoint" }, "status": status }))
    }

    #[test]
    fn a_row_says_what_is_missing() {
        let programmed = |status: &str, reason: &str, message: &str| json!([{ "type": "Programmed", "status": status, "reason": reason, "message": message }]);
        let address = json!([{ "type": "Hostname", "value": "a.shop.svc.cluster.local" }]);
        let waypoints = [
            of(
                "a",
                json!({ "conditions": programmed("True", "Programmed", "Resource programmed,\nassigned to service(s) a"), "addresses": address }),
            ),
            of("b", json!({ "conditions": programmed("False", "AddressNotAssigned", "no\u{1b}[31m endpoints") })),
            of("c", json!({ "conditions": programmed("True", "Programmed", "") })),
            of("d", json!({})),
        ];
        let mut out = Vec::new();
        print(&mut out, WaypointOutput::Table, &Scope::Namespace("shop".to_owned()), &waypoints).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
NAME   READY   PROGRAMMED   REASON               MESSAGE
a      yes     True         Programmed           Resource programmed, assigned to service(s) a
b      no      False        AddressNotAssigned   Programmed is False (AddressNotAssigned): no [31m endpoints
c      no      True         Programmed           it is programmed, but reports no address yet
d      no      Unknown      -                    no controller has taken it up: it has no conditions
"
        );
    }

    #[test]
    fn a_name_that_no_waypoint_has_is_reported() {
        let names = ["a".to_owned(), "x".to_owned()];
        let shop = Scope::Namespace("shop".to_owned());
        assert_eq!(unknown(&names, &[of("a", json!({}))], &shop), ["x"]);
    }
}
