//! A comparison that finds nothing proves nothing: here it has something to find.

use serde_json::json;

use super::*;

fn decision() -> Value {
    json!({
        "kind": "Service", "namespace": "ns", "name": "cart", "host": "cart.ns.svc.cluster.local", "address": null,
        "waypoint": {
            "namespace": "ns", "name": "w", "hostname": null, "address": "10.0.0.1", "network": "", "port": 15008,
        },
        "weighted": [], "reason": "WaypointAccepted", "canaryReason": null, "ingressUseWaypoint": false,
        "applicationTunnel": null,
    })
}

/// A decision that differs in one place.
fn with(pointer: &str, value: Value) -> Value {
    let mut decision = decision();
    *decision.pointer_mut(pointer).unwrap() = value;
    decision
}

fn failures(wanted: Vec<Value>, absent: Vec<Value>, found: &[Value]) -> String {
    let case = Case {
        id: "T1".to_owned(),
        manifest: PathBuf::new(),
        mesh_config: None,
        wanted,
        absent,
        args: Vec::new(),
        exit: 0,
    };
    case.compare(&json!({ "decisions": found }), |_| true).failures.join("; ")
}

#[test]
fn an_equal_decision_and_unlisted_keys_are_fine() {
    assert_eq!(failures(vec![decision()], vec![], &[decision()]), "");
    assert_eq!(failures(vec![json!({ "kind": "Service", "name": "cart" })], vec![], &[decision()]), "");
    assert_eq!(failures(vec![], vec![json!({ "kind": "Pod", "name": "cart" })], &[decision()]), "");
}

#[test]
fn every_difference_is_found_and_named() {
    let name = "Service ns cart cart.ns.svc.cluster.local";
    let rows = [
        (
            with("/waypoint/address", json!("10.0.0.2")),
            ".waypoint.address: \"10.0.0.2\" is expected, \"10.0.0.1\" was found",
        ),
        (with("/waypoint", Value::Null), ".waypoint: null is expected, {\"address\""),
        (with("/weighted", json!([{}])), ".weighted: [{}] is expected, [] was found"),
        (with("/ingressUseWaypoint", json!(true)), ".ingressUseWaypoint: true is expected, false was found"),
    ];
    for (wanted, failure) in rows {
        let found = failures(vec![wanted], vec![], &[decision()]);
        assert!(found.starts_with(&format!("{name}: {failure}")), "{found}");
    }
    assert_eq!(failures(vec![decision()], vec![], &[]), format!("{name}: 0 decisions, one is expected"));
    assert!(failures(vec![decision()], vec![], &[decision(), decision()]).contains("2 decisions, one is expected"));
    let absent = json!({ "kind": "Service", "namespace": "ns", "name": "cart" });
    assert_eq!(failures(vec![], vec![absent], &[decision()]), "Service ns cart: there, none is expected");
}

#[test]
fn an_output_of_another_form_is_found() {
    let mut short = decision();
    short.as_object_mut().unwrap().remove("canaryReason");
    let rows = [
        (short, "canaryReason is missing"),
        (with("/host", Value::Null), "services have a host"),
        (with("/address", json!("10.0.0.1")), "endpoints have an address"),
        (with("/ingressUseWaypoint", Value::Null), "services have an ingress flag"),
        (with("/weighted", Value::Null), "weighted is no list"),
        (with("/reason", Value::Null), "contradict"),
        (with("/waypoint/network", Value::Null), "a hostname, or an address"),
        (with("/waypoint", json!({ "name": "w" })), "other keys"),
    ];
    for (found, failure) in rows {
        let failures = failures(vec![], vec![], &[found]);
        assert!(failures.contains(failure), "{failure}: {failures}");
    }
    let earlier = with("/name", json!("basket"));
    assert!(failures(vec![], vec![], &[decision(), earlier.clone()]).contains("comes before Service ns basket"));
    assert_eq!(failures(vec![], vec![], &[earlier, decision()]), "");
}
