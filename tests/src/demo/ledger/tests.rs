//! The ledger against made-up observations: it must find each kind of contradiction, or `mixed: 0` says nothing.

use serde_json::json;

use super::*;

fn waypoint() -> Value {
    json!({ "kind": "Service", "namespace": "a", "name": "s", "choice": "waypoint", "reason": "WaypointAccepted",
        "onUnreachable": "fail",
        "waypoint": { "namespace": "a", "name": "w", "address": "127.0.0.21", "port": 15008 } })
}

fn with(mut decision: Value, field: &str, value: Value) -> Value {
    decision[field] = value;
    decision
}

/// Rules 1 send it to a waypoint, rules 2 refuse it, rules 3 let it pass.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    let choices =
        [waypoint(), with(waypoint(), "choice", json!("blocked")), with(waypoint(), "choice", json!("direct"))];
    for (rules, decision) in (1..).zip(choices) {
        let (rules, decisions) = read_decisions(json!({ "rules": rules, "more": 0, "decisions": [decision] })).unwrap();
        ledger.add(rules, decisions);
    }
    ledger
}

fn destination() -> Destination {
    Destination { about: "", row: Some("Service a/s".to_owned()), dial: "[::ffff:10.96.0.1]:80".parse().unwrap() }
}

fn noted(rules: u64) -> Option<Noted> {
    Some(Noted { destination: "10.96.0.1:80".parse().unwrap(), rules, revision: 1, rule_id: 7 })
}

fn arrived(rules: u64, name: &str, at: &str) -> Observation {
    let greeting = Greeting { name: name.to_owned(), at: at.parse().unwrap(), told: noted(rules) };
    Observation { destination: 0, record: noted(rules), outcome: Outcome::Arrived(greeting) }
}

fn denied(rules: u64, errno: i32) -> Observation {
    Observation { destination: 0, record: noted(rules), outcome: Outcome::Denied(errno) }
}

fn judge(observation: Observation, destination: Destination) -> Verdict {
    ledger().judge(&Tally::from([(observation, 3)]), &[destination]).unwrap()
}

#[test]
fn what_went_by_its_own_rules_is_counted_as_what_it_was() {
    let verdict = judge(arrived(1, "a/w", "127.0.0.21:15008"), destination());
    assert_eq!((verdict.made, verdict.by_waypoint["a/w"], verdict.by_rules[&1]), (3, 3, 3));
    assert_eq!(judge(denied(2, REFUSED), destination()).denied, 3);
    assert_eq!(judge(arrived(3, ITSELF, "10.96.0.1:80"), destination()).passed, 3);
    assert_eq!(verdict.complaints, Vec::<String>::new());
}

#[test]
fn every_contradiction_is_mixed() {
    let told_of_other_rules = {
        let mut observation = arrived(1, "a/w", "127.0.0.21:15008");
        let Outcome::Arrived(greeting) = &mut observation.outcome else { panic!("it arrived") };
        greeting.told = noted(2);
        observation
    };
    let recorded_elsewhere = {
        let mut observation = denied(2, REFUSED);
        observation.record = Some(Noted { destination: "10.96.0.2:80".parse().unwrap(), ..noted(2).unwrap() });
        observation
    };
    let rows = [
        (arrived(1, "a/v", "127.0.0.21:15008"), "rules 1 say a/w"),
        (arrived(1, "a/w", "127.0.0.22:15008"), "rules 1 say a/w"),
        (arrived(1, ITSELF, "10.96.0.1:80"), "rules 1 say a/w"),
        (arrived(2, "a/w", "127.0.0.21:15008"), "rules 2 refuse it"),
        (arrived(3, "a/w", "127.0.0.21:15008"), "rules 3 say itself"),
        (arrived(3, ITSELF, "10.96.0.9:80"), "rules 3 say itself (10.96.0.1:80)"),
        (arrived(4, "a/w", "127.0.0.21:15008"), "there are no rules 4"),
        (denied(2, UNREACHABLE), "rules 2 refuse with 111"),
        (told_of_other_rules, "the peer was told"),
        (recorded_elsewhere, "recorded for 10.96.0.2:80"),
        (Observation { record: None, ..denied(2, REFUSED) }, "no rule was found"),
    ];
    for (observation, text) in rows {
        let verdict = judge(observation, destination());
        assert_eq!((verdict.made, verdict.mixed, verdict.failed), (3, 3, 0), "{text}");
        assert!(verdict.complaints[0].contains(text), "{}", verdict.complaints[0]);
    }
}

#[test]
fn what_failed_without_its_rules_saying_so_is_failed() {
    let timed_out = Observation { outcome: Outcome::Broken("connect timed out".to_owned()), ..denied(2, 0) };
    for observation in [denied(1, REFUSED), denied(3, REFUSED), timed_out] {
        let verdict = judge(observation, destination());
        assert_eq!((verdict.failed, verdict.mixed, verdict.denied), (3, 0, 0));
    }
}

#[test]
fn what_is_not_in_the_mesh_must_have_no_record() {
    let unknown = || Destination { row: None, ..destination() };
    let greeting = Greeting { name: ITSELF.to_owned(), at: "10.96.0.1:80".parse().unwrap(), told: None };
    let untouched = Observation { destination: 0, record: None, outcome: Outcome::Arrived(greeting) };
    assert_eq!(judge(untouched, unknown()).passed, 3);
    assert_eq!(judge(denied(2, REFUSED), unknown()).mixed, 3);
}

#[test]
fn a_waypoint_without_an_address_refuses_unless_it_may_be_bypassed() {
    let expected = |decision: Value| {
        let answer = json!({ "rules": 1, "more": 0, "decisions": [decision] });
        read_decisions(answer).map(|(_, decisions)| decisions["Service a/s"].expected.clone())
    };
    let dead = with(waypoint(), "waypoint", json!({ "namespace": "a", "name": "w", "address": null, "port": 15008 }));
    assert_eq!(expected(dead.clone()).unwrap(), Expected::Denied(UNREACHABLE));
    assert_eq!(expected(with(dead.clone(), "onUnreachable", json!("bypass"))).unwrap(), Expected::Direct);
    assert!(expected(with(dead.clone(), "choice", json!("perhaps"))).is_err());
    assert!(expected(with(dead, "waypoint", json!(null))).is_err());
}
