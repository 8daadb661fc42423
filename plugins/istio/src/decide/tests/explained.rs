//! What an operator is told: the steps in their order, and which of them settled it.

use wayswitch_sdk::test::{Admits, Mesh, mesh, pod, service, waypoint};
use wayswitch_sdk::{Explanation, Level};

use super::super::{describe, explain, keys};
use super::USE;

fn explained(mesh: &Mesh) -> Explanation {
    explain(&mesh.batch_for(&describe("").unwrap())).unwrap()
}

fn level(level: Level) -> String {
    format!("{level:?}").replace("Level::", "")
}

/// The steps as `rule@level`, the decisive one marked.
fn steps(explanation: &Explanation) -> Vec<String> {
    let each = explanation.findings.iter();
    each.map(|it| format!("{}@{}{}", it.rule, level(it.at), if it.decisive { "!" } else { "" })).collect()
}

fn edits(explanation: &Explanation) -> Vec<String> {
    let each = explanation.edits.iter();
    each.map(|it| format!("{} {}={}", level(it.at), it.key, it.value.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn a_bound_service_tells_every_step() {
    let wp = waypoint("ns", "wp").only_listener(15008, "HBONE", Admits::from("All"));
    let town = mesh().namespace("ns", &[(USE, "wp"), (keys::INGRESS_USE_WAYPOINT, "true")]).gateway(wp);
    let explanation = explained(&town.subject(service("ns")));
    let expected = ["R17@Subject", "R15@Namespace!", "R11@Listener", "R4@Gateway", "R5@Gateway", "R70@Namespace"];
    assert_eq!(steps(&explanation), expected);
    let reached = explanation.findings.iter().find(|it| it.rule == "R5").unwrap();
    assert_eq!((reached.gateway, reached.value.as_deref()), (Some(0), Some("wp.ns.svc.cluster.local")));
    assert_eq!(edits(&explanation), ["Subject istio.io/use-waypoint=none"]);
}

#[test]
fn a_refusal_names_the_listener_and_what_its_owner_could_do() {
    let town = mesh().settings(r#"{"unbound":"blocked"}"#).namespace("ns", &[]).gateway(waypoint("other", "wp"));
    let asking = service("ns").label(USE, "wp").label(keys::USE_WAYPOINT_NAMESPACE, "other");
    let explanation = explained(&town.subject(asking));
    assert_eq!(steps(&explanation), ["R15@Subject", "R20@Listener!", "unbound@Settings"]);
    let expected =
        ["Listener allowedRoutes.namespaces.from=All", "Subject istio.io/use-waypoint=none", "Settings unbound=direct"];
    assert_eq!(edits(&explanation), expected);
}

#[test]
fn a_pod_under_a_service_waypoint_learns_why_it_has_none() {
    let town = mesh().namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp")).subject(pod("ns"));
    let explanation = explained(&town);
    assert_eq!(steps(&explanation), ["R17@Subject", "R15@Namespace", "R11@Listener", "R47@Gateway!"]);
    assert_eq!(edits(&explanation), ["Gateway istio.io/waypoint-for=all"]);
}

#[test]
fn an_opt_out_is_removed_only_where_something_would_be_inherited() {
    let out = || pod("ns").label(USE, "none");
    let with = explained(&mesh().namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp")).subject(out()));
    assert_eq!(
        (steps(&with), edits(&with)),
        (vec!["R18@Subject!".to_owned()], vec!["Subject istio.io/use-waypoint=-".to_owned()])
    );
    let without = explained(&mesh().namespace("ns", &[]).subject(out()));
    assert_eq!(edits(&without), Vec::<String>::new());
}

#[test]
fn no_text_holds_a_name_and_every_level_of_a_gateway_says_which() {
    let town =
        mesh().namespace("quay", &[(USE, "lock")]).gateway(waypoint("quay", "lock").label(keys::WAYPOINT_FOR, "all"));
    for subject in [pod("quay"), service("quay").label(USE, "lock"), pod("quay").label(keys::GATEWAY_NAME, "lock")] {
        for finding in explained(&town.clone().subject(subject)).findings {
            assert!(!finding.text.contains("quay") && !finding.text.contains("lock"), "{finding:?}");
            let of_gateway = matches!(finding.at, Level::Gateway | Level::GatewayClass | Level::Listener);
            assert_eq!(finding.gateway.is_some(), of_gateway, "{finding:?}");
        }
    }
}
