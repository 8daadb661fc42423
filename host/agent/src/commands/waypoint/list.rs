//! `waypoint list`: the waypoints of a cluster, with what they really serve and who names them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use cluster::connect::Cluster;
use cluster::waypoint::{Readiness, Scope, ServesFrom, Waypoint, list, references};
use model::gateway::GatewayKey;
use model::referrers::{Referrer, in_words, referrers};
use serde_json::{Value, json};

use super::table::{columns, document, one_line};
use crate::cli::{ListFlags, WaypointOutput, scope};

/// Who names which waypoint; none: that cannot be seen.
pub(super) type Users = Option<BTreeMap<GatewayKey, Vec<Referrer>>>;

/// Prints the waypoints.
pub(super) async fn run(cluster: &Cluster, flags: &ListFlags) -> anyhow::Result<ExitCode> {
    let scope = scope(flags.all_namespaces, &cluster.namespace);
    let (mut waypoints, unread) = list(cluster, &scope).await?;
    for problem in unread {
        eprintln!("warning: {problem}");
    }
    waypoints.retain(|it| flags.class.as_deref().is_none_or(|class| *it.gateway.class == *class));
    waypoints.retain(|it| flags.revision.as_deref().is_none_or(|revision| it.revision() == revision));
    let users = match flags.output {
        WaypointOutput::Table => None,
        _ => users(cluster).await,
    };
    let mut out = std::io::stdout().lock();
    print(&mut out, flags.output, &scope, &waypoints, &users)?;
    out.flush()?;
    if waypoints.is_empty() {
        eprintln!("no waypoints {scope}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Who may not look does without.
async fn users(cluster: &Cluster) -> Users {
    match references(cluster).await {
        Ok((store, unread)) => {
            for problem in unread {
                eprintln!("warning: {problem}");
            }
            Some(referrers(&store))
        }
        Err(error) => {
            eprintln!("warning: who names the waypoints is not known: {error}");
            None
        }
    }
}

fn print(
    out: &mut impl Write,
    output: WaypointOutput,
    scope: &Scope,
    waypoints: &[Waypoint],
    users: &Users,
) -> std::io::Result<()> {
    let all = || json!({ "waypoints": waypoints.iter().map(|it| value(it, users)).collect::<Vec<_>>() });
    if document(out, output, all)? || waypoints.is_empty() {
        return Ok(());
    }
    let with_namespace = matches!(scope, Scope::All);
    let wide = output == WaypointOutput::Wide;
    let mut heads = vec!["NAME", "REVISION", "TRAFFIC TYPE", "PROGRAMMED", "READY"];
    if with_namespace {
        heads.insert(0, "NAMESPACE");
    }
    if wide {
        heads.extend(["CLASS", "TYPE FROM", "ADMITS", "ADDRESS", "NAMED BY"]);
    }
    let row = |it: &Waypoint| {
        let mut row = if with_namespace { vec![it.gateway.meta.namespace.to_string()] } else { Vec::new() };
        let ready = if it.readiness() == Readiness::Ready { "yes" } else { "no" };
        row.extend([&it.gateway.meta.name, it.revision(), &it.serves, it.programmed(), ready].map(one_line));
        if wide {
            let from = serves_from(it.serves_from);
            let cells =
                [&it.gateway.class, from, &it.admits.to_string(), address(it).unwrap_or("-"), &named_by(it, users)];
            row.extend(cells.map(one_line));
        }
        row
    };
    columns(out, &heads, &waypoints.iter().map(row).collect::<Vec<_>>())
}

fn serves_from(from: ServesFrom) -> &'static str {
    match from {
        ServesFrom::Gateway => "gateway",
        ServesFrom::Class => "class",
        ServesFrom::Default => "default",
    }
}

fn named_by(waypoint: &Waypoint, users: &Users) -> String {
    match users {
        None => "?".to_owned(),
        Some(users) => users.get(&waypoint.key()).map_or_else(|| "nobody".to_owned(), |list| in_words(list)),
    }
}

/// What it is known by: the first hostname, else the first IP (R5, R6).
fn address(waypoint: &Waypoint) -> Option<&str> {
    let addresses = &waypoint.gateway.addresses;
    let hostname = addresses.iter().find(|it| it.hostname().is_some());
    let address = hostname.or_else(|| addresses.iter().find(|it| it.ip().is_some()));
    address.map(|address| &*address.value)
}

/// A waypoint for programs.
pub(super) fn value(it: &Waypoint, users: &Users) -> Value {
    let conditions = it.conditions.iter().map(|condition| {
        json!({ "type": condition.kind, "status": condition.status, "reason": condition.reason, "message": condition.message })
    });
    let users = users.as_ref().map(|users| {
        let list = users.get(&it.key()).into_iter().flatten();
        let named = list.map(|by| {
            json!({ "kind": by.object.kind, "namespace": by.object.namespace, "name": by.object.name, "endpoint": by.part,
                "role": by.role })
        });
        named.collect::<Vec<_>>()
    });
    let readiness = it.readiness();
    json!({
        "namespace": it.gateway.meta.namespace,
        "name": it.gateway.meta.name,
        "class": it.gateway.class,
        "revision": it.revision(),
        "trafficType": it.serves,
        "trafficTypeFrom": it.serves_from,
        "admits": it.admits.to_string(),
        "image": it.image(),
        "programmed": it.programmed(),
        "ready": readiness == Readiness::Ready,
        "missing": (readiness != Readiness::Ready).then(|| readiness.to_string()),
        "address": address(it),
        "conditions": conditions.collect::<Vec<_>>(),
        "namedBy": users,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use model::waypoint_view::Role;
    use model::{Kind, ObjectKey, Store};

    use super::*;

    pub(in crate::commands::waypoint) fn waypoint(json: Value) -> Waypoint {
        Waypoint::read(json, &Store::default()).unwrap()
    }

    fn waypoints() -> Vec<Waypoint> {
        let listener = json!({ "name": "mesh", "port": 15008, "protocol": "HBONE", "allowedRoutes": { "namespaces": { "from": "All" } } });
        let ready = json!({ "conditions": [{ "type": "Programmed", "status": "True", "reason": "Programmed", "message": "ok" }],
            "addresses": [{ "type": "IPAddress", "value": "10.0.0.9" }, { "type": "Hostname", "value": "shared.mesh.svc.cluster.local" }] });
        vec![
            waypoint(json!({ "metadata": { "namespace": "mesh", "name": "shared",
                "labels": { "istio.io/waypoint-for": "all", "istio.io/rev": "next" } },
                "spec": { "gatewayClassName": "istio-waypoint", "listeners": [listener] }, "status": ready })),
            waypoint(json!({ "metadata": { "namespace": "shop", "name": "waypoint" },
                "spec": { "gatewayClassName": "istio-waypoint" } })),
        ]
    }

    fn users() -> Users {
        let by = |kind, namespace: &str, name: &str, role| Referrer {
            object: ObjectKey::new(kind, namespace, name),
            part: None,
            role,
        };
        let list =
            vec![by(Kind::Namespace, "", "shop", Role::Primary), by(Kind::Service, "shop", "cart", Role::Canary)];
        Some(BTreeMap::from([(GatewayKey::new("mesh", "shared"), list)]))
    }

    fn text(output: WaypointOutput, scope: &Scope, waypoints: &[Waypoint], users: &Users) -> String {
        let mut out = Vec::new();
        print(&mut out, output, scope, waypoints, users).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_says_what_is_really_served() {
        assert_eq!(
            text(WaypointOutput::Table, &Scope::All, &waypoints(), &None),
            "\
NAMESPACE   NAME       REVISION   TRAFFIC TYPE   PROGRAMMED   READY
mesh        shared     next       all            True         yes
shop        waypoint   default    service        Unknown      no
"
        );
        let shop = Scope::Namespace("shop".to_owned());
        assert_eq!(
            text(WaypointOutput::Table, &shop, waypoints().get(1..).unwrap(), &None),
            "\
NAME       REVISION   TRAFFIC TYPE   PROGRAMMED   READY
waypoint   default    service        Unknown      no
"
        );
        assert_eq!(text(WaypointOutput::Table, &shop, &[], &None), "");
    }

    #[test]
    fn the_wide_table_says_whom_it_admits_and_who_names_it() {
        let all = text(WaypointOutput::Wide, &Scope::All, &waypoints(), &users());
        assert_eq!(
            all,
            "\
NAMESPACE   NAME       REVISION   TRAFFIC TYPE   PROGRAMMED   READY   CLASS            TYPE FROM   ADMITS           ADDRESS                         NAMED BY
mesh        shared     next       all            True         yes     istio-waypoint   gateway     all namespaces   shared.mesh.svc.cluster.local   1 Namespace, 1 Service
shop        waypoint   default    service        Unknown      no      istio-waypoint   default     own namespace    -                               nobody
"
        );
        let unknown = text(WaypointOutput::Wide, &Scope::All, &waypoints(), &None);
        assert!(unknown.lines().skip(1).all(|line| line.ends_with(" ?")), "{unknown}");
    }

    #[test]
    fn programs_get_everything() {
        assert_eq!(
            text(WaypointOutput::Yaml, &Scope::All, waypoints().get(..1).unwrap(), &users()),
            "\
waypoints:
- address: shared.mesh.svc.cluster.local
  admits: \"all namespaces\"
  class: istio-waypoint
  conditions:
  - message: ok
    reason: Programmed
    status: \"True\"
    type: Programmed
  image: null
  missing: null
  name: shared
  namedBy:
  - endpoint: null
    kind: Namespace
    name: shop
    namespace: \"\"
    role: primary
  - endpoint: null
    kind: Service
    name: cart
    namespace: shop
    role: canary
  namespace: mesh
  programmed: \"True\"
  ready: true
  revision: next
  trafficType: all
  trafficTypeFrom: gateway
"
        );
        let json: Value = serde_json::from_str(&text(WaypointOutput::Json, &Scope::All, &waypoints(), &None)).unwrap();
        let second = &json["waypoints"][1];
        assert_eq!(second["missing"], "no controller has taken it up: it has no conditions");
        assert_eq!((&second["namedBy"], &second["ready"]), (&Value::Null, &json!(false)));
        assert_eq!(text(WaypointOutput::Yaml, &Scope::All, &[], &None), "waypoints: []\n");
    }
}
