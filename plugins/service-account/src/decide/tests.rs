//! The old rules through the front door: a mesh in, a decision out. Each row is also seen with everything undeclared in
//! view, and explained.

use wayswitch_sdk::test::{
    GatewayDraft, Mesh, SubjectDraft, entry_endpoint, gateway, implied_endpoint, mesh, pod, service, service_entry,
    slice_endpoint, workload_entry,
};
use wayswitch_sdk::{Batch, Choice, Decision, Fields, Level, OnUnreachable, Reach};

use super::{FOR_SERVICE_ACCOUNT, MANAGED, describe, explain, resolve};

fn shown(batch: &Batch, decision: &Decision) -> String {
    assert_eq!(decision.on_unreachable, OnUnreachable::Fail);
    assert!(!decision.ingress && decision.tunnel.is_none() && decision.second_reason.is_none());
    let reason = decision.reason.as_deref().unwrap_or("-");
    match &decision.choice {
        Choice::Keep => format!("keep {reason}"),
        Choice::Direct => format!("direct {reason}"),
        Choice::Blocked => format!("blocked {reason}"),
        Choice::Waypoints(targets) => {
            assert_eq!((targets.len(), targets[0].weight), (1, 100));
            let gateway = batch.gateway(targets[0].gateway).unwrap();
            let address = &gateway.addresses[targets[0].address.unwrap() as usize].value;
            format!("{}/{} {address} {reason}", gateway.namespace, gateway.name)
        }
    }
}

fn check(what: &str, mesh: &Mesh, expected: &str) {
    let expected = expected.replace(" ok", " WaypointAccepted");
    for batch in [mesh.batch_for(&describe("").unwrap()), mesh.batch()] {
        let decision = resolve(&batch).unwrap().remove(0);
        assert_eq!(shown(&batch, &decision), expected, "{what}");
        let explained = explain(&batch).unwrap();
        assert_eq!(explained.decision, decision, "{what}");
        assert_eq!(explained.findings.iter().filter(|finding| finding.decisive).count(), 1, "{what}");
    }
}

/// A waypoint of the old kind, for everybody.
fn wide(namespace: &str, name: &str) -> GatewayDraft {
    gateway(namespace, name).class("istio-waypoint", &[]).ip("10.0.0.1")
}

fn for_account(namespace: &str, name: &str, account: &str) -> GatewayDraft {
    wide(namespace, name).annotation(FOR_SERVICE_ACCOUNT, account)
}

fn reader() -> SubjectDraft {
    pod("ns").service_account("reader")
}

fn town(gateways: &[GatewayDraft]) -> Mesh {
    gateways.iter().cloned().fold(mesh().namespace("ns", &[]).namespace("other", &[]), Mesh::gateway)
}

#[test]
fn only_what_the_rules_need_is_declared_and_nothing_can_be_set() {
    let description = describe("").unwrap();
    assert_eq!((description.fields, description.reach), (Fields::SERVICE_ACCOUNT, Reach::OwnNamespace));
    assert!(description.references.is_empty());
    assert_eq!(describe("{}"), Ok(description));
    assert_eq!(describe("{\"port\":1}").unwrap_err(), "settings: there is no key `port`; nothing can be set");
    let mut batch = town(&[]).subject(reader()).batch();
    batch.settings = "{\"port\":1}".to_owned();
    assert!(resolve(&batch).unwrap_err().text.contains("`port`"));
}

#[test]
fn the_accounts_waypoint_beats_the_namespaces_and_ties_go_by_name() {
    let rows: [(&str, Vec<GatewayDraft>, &str); 9] = [
        ("none there", vec![], "direct -"),
        ("of the namespace", vec![wide("ns", "all")], "ns/all 10.0.0.1 ok"),
        ("an empty annotation", vec![for_account("ns", "all", "")], "ns/all 10.0.0.1 ok"),
        ("of the account", vec![for_account("ns", "r", "reader")], "ns/r 10.0.0.1 ok"),
        ("both", vec![wide("ns", "a"), for_account("ns", "z", "reader")], "ns/z 10.0.0.1 ok"),
        ("of another account", vec![for_account("ns", "w", "writer")], "direct -"),
        ("another's, and all", vec![for_account("ns", "a", "writer"), wide("ns", "z")], "ns/z 10.0.0.1 ok"),
        ("two of all", vec![wide("ns", "b"), wide("ns", "a")], "ns/a 10.0.0.1 ok"),
        (
            "two of the account",
            vec![for_account("ns", "b", "reader"), for_account("ns", "a", "reader")],
            "ns/a 10.0.0.1 ok",
        ),
    ];
    for (what, gateways, expected) in rows {
        for subject in [reader(), workload_entry("ns").service_account("reader")] {
            check(what, &town(&gateways).subject(subject), expected);
        }
    }
}

#[test]
fn a_waypoint_serves_its_own_namespace_only() {
    let foreign = [wide("other", "all"), for_account("other", "r", "reader")];
    check("foreign", &town(&foreign).subject(reader()), "direct -");
    check("at home", &town(&foreign).subject(pod("other").service_account("reader")), "other/r 10.0.0.1 ok");
}

#[test]
fn a_waypoint_is_a_gateway_of_its_class_with_an_ip() {
    let bare = || gateway("ns", "a").class("istio-waypoint", &[]);
    let rows = [
        ("no class", gateway("ns", "a").ip("10.0.0.9")),
        ("another class", gateway("ns", "a").class("istio", &[]).ip("10.0.0.9")),
        ("no address", bare()),
        ("a hostname only", bare().hostname("a.ns.svc")),
        ("no IP that parses", bare().ip("10.0.0.999")),
        ("no type", bare().address(None, "10.0.0.9")),
    ];
    for (what, draft) in rows {
        let draft = draft.annotation(FOR_SERVICE_ACCOUNT, "reader");
        check(what, &town(std::slice::from_ref(&draft)).subject(reader()), "direct -");
        check(what, &town(&[draft, wide("ns", "z")]).subject(reader()), "ns/z 10.0.0.1 ok");
    }
    let mixed = bare().hostname("a.ns.svc").ip("x").ip("fd00::1").ip("10.0.0.9");
    check("the first IP that is one", &town(&[mixed]).subject(reader()), "ns/a fd00::1 ok");
}

#[test]
fn only_pods_and_workload_entries_have_one() {
    let town = town(&[wide("ns", "all")]);
    for subject in
        [service("ns"), service_entry("ns"), entry_endpoint("ns"), implied_endpoint("ns"), slice_endpoint("ns")]
    {
        check("no workload", &town.clone().subject(subject.service_account("reader")), "direct -");
    }
}

#[test]
fn a_waypoints_own_pod_has_none_and_labels_of_later_versions_mean_nothing() {
    let town = town(&[wide("ns", "all")]);
    let labelled = |key, value| town.clone().subject(reader().label(key, value));
    check("generated", &labelled(MANAGED, "istio.io-mesh-controller"), "direct -");
    check("an ingress gateway's pod", &labelled(MANAGED, "istio.io-gateway-controller"), "ns/all 10.0.0.1 ok");
    check("opt-out came later", &labelled("istio.io/use-waypoint", "none"), "ns/all 10.0.0.1 ok");
}

#[test]
fn what_is_unknown_is_kept_and_an_unknown_account_has_the_namespaces() {
    let town = town(&[wide("ns", "all"), for_account("ns", "a", "reader")]);
    check("labels", &town.clone().subject(reader().labels_unknown()), "keep -");
    check("account", &town.subject(pod("ns")), "ns/all 10.0.0.1 ok");
}

#[test]
fn a_workload_without_one_learns_which_annotation_would_give_it_one() {
    let batch = town(&[for_account("ns", "w", "writer")]).subject(reader()).batch();
    let explained = explain(&batch).unwrap();
    assert_eq!(explained.edits.len(), 2);
    for edit in explained.edits {
        assert_eq!((edit.at, edit.gateway, edit.key.as_str()), (Level::Gateway, Some(0), FOR_SERVICE_ACCOUNT));
        let mut after = batch.clone();
        after.gateways[0].annotations[0].value = edit.value.unwrap_or_default();
        assert_ne!(resolve(&after).unwrap()[0], explained.decision);
    }
    let nobody = explain(&town(&[]).subject(reader()).batch()).unwrap();
    assert_eq!(nobody.edits, []);
}
