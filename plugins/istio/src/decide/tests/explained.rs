//! What an operator is told: the steps in their order, and which of them settled it.

use wayswitch_sdk::test::{Admits, Mesh, SubjectDraft, mesh, pod, service, service_entry, waypoint};
use wayswitch_sdk::{Explanation, Level};

use super::super::{describe, explain, keys, resolve};
use super::{USE, shown};

fn explained(mesh: &Mesh) -> Explanation {
    explain(&mesh.batch_for(&describe(&mesh.batch().settings).unwrap())).unwrap()
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

/// Each edit, and the decision that it leads to when it is made to the objects.
fn promises(mesh: &Mesh) -> Vec<String> {
    let description = describe(&mesh.batch().settings).unwrap();
    let batch = mesh.batch_for(&description);
    let explanation = explain(&batch).unwrap();
    let mut promises = edits(&explanation);
    for (promise, edit) in promises.iter_mut().zip(&explanation.edits) {
        let edited = mesh.edited(edit, &batch, &description).unwrap();
        let batch = edited.batch_for(&describe(&edited.batch().settings).unwrap());
        promise.push_str(&format!(" -> {}", shown(&batch, &resolve(&batch).unwrap()[0])));
    }
    promises
}

#[test]
fn a_refusal_names_the_listener_and_what_its_owner_could_do() {
    let town = mesh().settings(r#"{"unbound":"blocked"}"#).namespace("ns", &[]).gateway(waypoint("other", "wp"));
    let asking = service("ns").label(USE, "wp").label(keys::USE_WAYPOINT_NAMESPACE, "other");
    let town = town.subject(asking);
    assert_eq!(steps(&explained(&town)), ["R15@Subject", "R20@Listener!", "unbound@Settings"]);
    let expected = [
        "Listener spec.listeners[0].allowedRoutes.namespaces.from=All -> other/wp 0 WaypointAccepted",
        "Subject istio.io/use-waypoint=none -> direct",
        "Settings unbound=direct -> direct AttachmentDenied",
    ];
    assert_eq!(promises(&town), expected);
}

#[test]
fn the_listener_to_edit_is_the_one_that_counts() {
    let wp = waypoint("other", "wp").only_listener(80, "HTTP", Admits::from("All")).listener(
        15008,
        "HBONE",
        Admits::selected(&["other"]),
    );
    let asking = service("ns").label(USE, "wp").label(keys::USE_WAYPOINT_NAMESPACE, "other");
    let town = mesh().namespace("ns", &[]).namespace("other", &[]).gateway(wp).subject(asking.clone());
    let first = &promises(&town)[0];
    assert_eq!(first, "Listener spec.listeners[1].allowedRoutes.namespaces.from=All -> other/wp 0 WaypointAccepted");
    let none = waypoint("other", "wp").only_listener(80, "HTTP", Admits::from("All"));
    let town = mesh().namespace("ns", &[]).gateway(none).subject(asking);
    assert_eq!(promises(&town), ["Subject istio.io/use-waypoint=none -> direct"], "no listener counts");
}

#[test]
fn a_waypoint_without_an_address_is_first_of_all_to_become_ready() {
    let unready = || waypoint("ns", "wp").without_addresses();
    let town = mesh().namespace("ns", &[(USE, "wp")]).gateway(unready()).subject(service("ns"));
    let expected = [
        "Gateway status.addresses=Hostname=wp.ns.svc.cluster.local -> ns/wp 0 WaypointAccepted",
        "Subject istio.io/use-waypoint=none -> direct",
        "Namespace istio.io/use-waypoint=none -> direct",
    ];
    assert_eq!(promises(&town), expected);
    let old = promises(&town.settings(r#"{"istio":"1.23"}"#));
    assert_eq!(old[0], "Gateway status.addresses=IPAddress=192.0.2.1 -> ns/wp 0 WaypointAccepted");
    let closed = waypoint("other", "wp").without_addresses();
    let asking = service("ns").label(USE, "wp").label(keys::USE_WAYPOINT_NAMESPACE, "other");
    let town = mesh().namespace("ns", &[]).gateway(closed).subject(asking);
    let expected = [
        "Gateway status.addresses=Hostname=wp.other.svc.cluster.local -> direct AttachmentDenied",
        "Subject istio.io/use-waypoint=none -> direct",
    ];
    assert_eq!(promises(&town), expected, "a step on the way");
}

#[test]
fn where_no_gateway_has_that_name_another_one_is_named_or_none() {
    let broken = || service("ns").label(USE, "typo");
    let town = |labels| mesh().namespace("ns", labels).gateway(waypoint("ns", "wp"));
    let expected = [
        "Subject istio.io/use-waypoint=- -> ns/wp 0 WaypointAccepted",
        "Subject istio.io/use-waypoint=wp -> ns/wp 0 WaypointAccepted",
        "Subject istio.io/use-waypoint=none -> direct",
    ];
    assert_eq!(promises(&town(&[(USE, "wp")]).subject(broken())), expected);
    assert_eq!(promises(&town(&[]).subject(broken())), ["Subject istio.io/use-waypoint=none -> direct"]);
    let stale = service("ns").label(USE, "wp").label(keys::USE_WAYPOINT_NAMESPACE, "gone");
    let expected = [
        "Subject istio.io/use-waypoint-namespace=- -> ns/wp 0 WaypointAccepted",
        "Subject istio.io/use-waypoint=- -> ns/wp 0 WaypointAccepted",
        "Subject istio.io/use-waypoint=none -> direct",
    ];
    assert_eq!(promises(&town(&[(USE, "wp")]).subject(stale)), expected, "a stale namespace");
    let missing = town(&[(USE, "typo")]).subject(service("ns"));
    let expected = ["Subject istio.io/use-waypoint=none -> direct", "Namespace istio.io/use-waypoint=none -> direct"];
    assert_eq!(promises(&missing), expected, "nothing is known that could be named");
}

#[test]
fn a_pod_under_a_service_waypoint_learns_why_it_has_none() {
    let town = mesh().namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp")).subject(pod("ns"));
    assert_eq!(steps(&explained(&town)), ["R17@Subject", "R15@Namespace", "R11@Listener", "R47@Gateway!"]);
    assert_eq!(promises(&town), ["Gateway istio.io/waypoint-for=all -> ns/wp 0 WaypointAccepted"]);
}

#[test]
fn a_waypoint_for_other_traffic_goes_on_serving_what_it_serves() {
    let asking = |value| {
        let wp = waypoint("ns", "wp").label(keys::WAYPOINT_FOR, value);
        promises(&mesh().namespace("ns", &[]).gateway(wp).subject(service("ns").label(USE, "wp"))).remove(0)
    };
    assert_eq!(asking("workload"), "Gateway istio.io/waypoint-for=all -> ns/wp 0 WaypointAccepted");
    assert_eq!(asking("none"), "Gateway istio.io/waypoint-for=service -> ns/wp 0 WaypointAccepted");
}

#[test]
fn r30_an_entry_is_sent_back_to_its_own_namespace() {
    let far = waypoint("other", "far").only_listener(15008, "HBONE", Admits::from("All"));
    let entry = service_entry("ns").visible_in_own_namespace().label(USE, "far");
    let entry = entry.label(keys::USE_WAYPOINT_NAMESPACE, "other");
    let town = mesh().namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp")).gateway(far);
    let expected =
        ["Subject istio.io/use-waypoint=- -> ns/wp 0 WaypointAccepted", "Subject istio.io/use-waypoint=none -> direct"];
    assert_eq!(promises(&town.subject(entry)), expected);
}

#[test]
fn an_opt_out_is_removed_only_where_something_would_be_inherited() {
    let out = |kind: fn(&str) -> SubjectDraft| kind("ns").label(USE, "none");
    let with = mesh().namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp"));
    let town = with.clone().subject(out(service));
    assert_eq!(steps(&explained(&town)), ["R18@Subject!"]);
    let expected = [
        "Subject istio.io/use-waypoint=- -> ns/wp 0 WaypointAccepted",
        "Subject istio.io/use-waypoint=wp -> ns/wp 0 WaypointAccepted",
    ];
    assert_eq!(promises(&town), expected);
    assert_eq!(promises(&with.subject(out(pod))), [""; 0], "it does not serve pods");
    assert_eq!(promises(&mesh().namespace("ns", &[]).subject(out(service))), [""; 0]);
}

#[test]
fn a_second_waypoint_that_was_refused_can_be_mended_or_given_up() {
    const CANARY: &str = keys::CANARY;
    let town = || {
        let closed = waypoint("other", "new");
        let town = mesh().namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp")).gateway(closed);
        town.gateway(waypoint("ns", "late").without_addresses())
            .gateway(waypoint("ns", "pods").label(keys::WAYPOINT_FOR, "workload"))
    };
    let of = |name: &str| service("ns").label(CANARY, name).annotation(keys::CANARY_WEIGHT, "10");
    let mended = |name: &str, place: &str| format!("-> ns/wp 0 90% {place}/{name} 0 10% WaypointAccepted");
    let given_up = "Subject istio.io/use-waypoint-canary=- -> ns/wp 0 WaypointAccepted".to_owned();
    let late = "Gateway status.addresses=Hostname=late.ns.svc.cluster.local ".to_owned() + &mended("late", "ns");
    assert_eq!(promises(&town().subject(of("late"))), [late, given_up.clone()]);
    let pods = "Gateway istio.io/waypoint-for=all ".to_owned() + &mended("pods", "ns");
    assert_eq!(promises(&town().subject(of("pods"))), [pods, given_up.clone()]);
    let closed = of("new").label(keys::CANARY_NAMESPACE, "other");
    let opened = "Listener spec.listeners[0].allowedRoutes.namespaces.from=All ".to_owned() + &mended("new", "other");
    assert_eq!(promises(&town().subject(closed)), [opened, given_up.clone()]);
    for name in ["absent", "wp"] {
        assert_eq!(promises(&town().subject(of(name))), [given_up.as_str()], "{name}");
    }
    let above = mesh().namespace("ns", &[(USE, "wp"), (CANARY, "wp")]).gateway(waypoint("ns", "wp"));
    let expected = [
        "Subject istio.io/use-waypoint-canary=none -> ns/wp 0 WaypointAccepted",
        "Namespace istio.io/use-waypoint-canary=- -> ns/wp 0 WaypointAccepted",
    ];
    assert_eq!(promises(&above.subject(service("ns"))), expected, "where it is inherited");
    let both = mesh().namespace("ns", &[(USE, "wp"), (CANARY, "absent")]).gateway(waypoint("ns", "wp"));
    let expected = ["Subject istio.io/use-waypoint-canary=none -> ns/wp 0 WaypointAccepted"];
    assert_eq!(promises(&both.subject(of("gone"))), expected, "without its own it would inherit the other");
}

#[test]
fn a_weight_is_mended_where_it_is_written() {
    let town = |weight: Option<&str>| {
        let town = mesh().namespace("ns", &[(USE, "wp"), (keys::CANARY, "new")]);
        let town = weight.into_iter().fold(town, |it, weight| it.namespace_annotation(keys::CANARY_WEIGHT, weight));
        town.gateway(waypoint("ns", "wp")).gateway(waypoint("ns", "new"))
    };
    let rows = [("10%", 10), ("7.5", 7), ("101", 0), ("-5", 0), ("ten", 0), ("", 0)];
    for (written, mended) in rows {
        let shared =
            format!("istio.io/use-waypoint-canary-weight={mended} -> ns/wp 0 {}% ns/new 0 {mended}%", 100 - mended);
        let own = promises(&town(Some("5")).subject(service("ns").annotation(keys::CANARY_WEIGHT, written)));
        assert_eq!(own[0], format!("Subject {shared} WaypointAccepted"));
        let above = promises(&town(Some(written)).subject(service("ns")));
        assert_eq!(above[0], format!("Namespace {shared} WaypointAccepted"));
    }
}

#[test]
fn q10_what_only_a_setting_refuses_the_setting_gives_back() {
    let far = waypoint("other", "far").only_listener(15008, "HBONE", Admits::from("All"));
    let entry = service_entry("ns").visible_in_own_namespace().label(keys::CANARY, "far");
    let entry = entry.label(keys::CANARY_NAMESPACE, "other").annotation(keys::CANARY_WEIGHT, "10");
    let town = mesh().settings(r#"{"canary-visibility":"checked"}"#).namespace("ns", &[(USE, "wp")]);
    let town = town.gateway(waypoint("ns", "wp")).gateway(far).subject(entry);
    assert!(
        promises(&town)
            .contains(&"Settings canary-visibility=istio -> ns/wp 0 90% other/far 0 10% WaypointAccepted".to_owned())
    );
    let by = service("ns").label(keys::MANAGED, "somebody").label(USE, "wp");
    let town = mesh().settings(r#"{"exclude-gateways":"all"}"#).namespace("ns", &[]);
    let town = town.gateway(waypoint("ns", "wp")).subject(by);
    assert_eq!(steps(&explained(&town)), ["R28@Subject!"]);
    assert_eq!(promises(&town), ["Settings exclude-gateways=istio -> ns/wp 0 WaypointAccepted"]);
}

#[test]
fn what_is_required_is_bound_or_released() {
    let town = |labels| mesh().namespace("ns", labels).gateway(waypoint("ns", "wp"));
    let released = ["Subject wayswitch.io/waypoint-required=none -> direct", "Settings required=ignored -> direct"];
    let silent = town(&[(keys::REQUIRED, "all")]).subject(service("ns"));
    assert_eq!(steps(&explained(&silent)), ["R17@Subject", "R17@Namespace", "required@Namespace!"]);
    assert_eq!(promises(&silent), released);
    let out = town(&[(USE, "wp")]).subject(service("ns").label(USE, "none").label(keys::REQUIRED, "service"));
    assert_eq!(steps(&explained(&out)), ["R18@Subject", "required@Subject!"]);
    let bound = [
        "Subject istio.io/use-waypoint=- -> ns/wp 0 WaypointAccepted",
        "Subject istio.io/use-waypoint=wp -> ns/wp 0 WaypointAccepted",
    ];
    assert_eq!(promises(&out), [bound, released].concat());
    let heir = town(&[(USE, "wp"), (keys::REQUIRED, "workload")]).subject(pod("ns"));
    assert_eq!(
        steps(&explained(&heir)),
        ["R17@Subject", "R15@Namespace", "R11@Listener", "R47@Gateway", "required@Namespace!"]
    );
    let serving = ["Gateway istio.io/waypoint-for=all -> ns/wp 0 WaypointAccepted"].as_slice();
    assert_eq!(promises(&heir), [serving, &released].concat());
    let refused = town(&[(keys::REQUIRED, "all")]).subject(service("ns").label(USE, "typo"));
    assert_eq!(steps(&explained(&refused)), ["R15@Subject", "R19@Subject!", "required@Namespace"]);
    let released = released.map(|edit| format!("{edit} WaypointIsNotReady"));
    assert_eq!(promises(&refused), released, "to opt out would help nobody");
    let both = refused.settings(r#"{"unbound":"blocked"}"#);
    let expected = ["Subject istio.io/use-waypoint=none -> blocked WaypointRequired"];
    assert_eq!(promises(&both), expected, "no single edit lets it pass");
}

#[test]
fn what_only_the_settings_change_is_said_of_the_settings() {
    let town = |required| {
        let town =
            mesh().settings(r#"{"unreachable":"bypass"}"#).namespace("ns", &[(USE, "wp"), (keys::REQUIRED, required)]);
        explained(&town.gateway(waypoint("ns", "wp")).subject(service("ns")))
    };
    let expected =
        ["R17@Subject", "R15@Namespace!", "R11@Listener", "R4@Gateway", "R5@Gateway", "unreachable@Settings"];
    for (required, text) in [("none", "go past it"), ("all", "a waypoint is required")] {
        let explanation = town(required);
        assert_eq!(steps(&explanation), expected);
        assert!(explanation.findings[5].text.contains(text));
    }
}

#[test]
fn the_steps_to_a_second_waypoint_settle_nothing() {
    let town = mesh().namespace("ns", &[(USE, "wp"), (keys::CANARY, "new")]).gateway(waypoint("ns", "wp"));
    let town = town.gateway(waypoint("ns", "new")).subject(service("ns"));
    let expected = [
        "R17@Subject",
        "R15@Namespace!",
        "R11@Listener",
        "R4@Gateway",
        "R61@Namespace",
        "R62@Subject",
        "R11@Listener",
        "R4@Gateway",
        "R5@Gateway",
        "R5@Gateway",
    ];
    let explanation = explained(&town);
    assert_eq!(steps(&explanation), expected);
    assert_eq!((explanation.findings[6].gateway, explanation.findings[2].gateway), (Some(0), Some(1)));
    let absent = mesh().namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp"));
    let absent = explained(&absent.subject(service("ns").label(keys::CANARY, "x")));
    assert_eq!(steps(&absent)[4..], ["R61@Subject", "R62@Subject", "R19@Subject", "R5@Gateway"]);
    assert_eq!(absent.findings[6].key, keys::CANARY);
}

#[test]
fn the_older_levels_tell_their_own_story() {
    let at = |word: &str, mesh: Mesh| explained(&mesh.settings(&format!(r#"{{"istio":"{word}"}}"#)));
    let wp = || waypoint("other", "wp");
    let one_value = mesh().namespace("ns", &[(USE, "a/b/c")]).gateway(wp()).subject(pod("ns").label(USE, "other/wp"));
    let explanation = at("1.22", one_value);
    assert_eq!(steps(&explanation), ["R15@Subject", "R11@Gateway", "R47@Gateway!", "unbound@Settings"]);
    assert_eq!(explanation.findings[0].value.as_deref(), Some("other/wp"));
    assert!(explanation.findings[0].text.contains("before the slash"));
    assert!(explanation.findings[1].text.contains("asks no waypoint"));
    let ignored = mesh().namespace("ns", &[(USE, "a/b/c")]).subject(pod("ns").label(USE, "a/b/c"));
    assert_eq!(steps(&at("1.22", ignored)), ["R17@Subject", "R17@Namespace!"]);
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
