//! Leading and writing back against the API server of the tests: who writes is told apart by its token, what was accepted by the
//! server's own record.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop where it is")]

#[path = "write_back/agent.rs"]
mod agent;

use std::time::{Duration, Instant};

use apiserver::{ApiServer, Write};
use serde_json::{Value, json};

use agent::{Agent, Choice, Mesh, eventually};
use cluster::write_back::{Config, Mode};

const BOUND: &str = "istio.io/WaypointBound";

fn conditions() -> Config {
    Config { conditions: Mode::Write, labels: false, per_second: 1000 }
}

fn labels() -> Config {
    Config { conditions: Mode::Off, labels: true, per_second: 1000 }
}

async fn server(services: usize) -> (ApiServer, Mesh) {
    let server = ApiServer::start().await.unwrap();
    for user in ["a", "b"] {
        server.accept_token(user, user);
    }
    for namespace in ["shop", "wayswitch-system"] {
        server.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })).unwrap();
    }
    let mesh = Mesh::of(services);
    for name in &mesh.services {
        server.put(service(name)).unwrap();
    }
    (server, mesh)
}

fn service(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "shop" },
        "spec": { "ports": [{ "port": 80 }], "clusterIP": "10.0.0.1" } })
}

fn get(server: &ApiServer, name: &str) -> Value {
    server.get("v1", "Service", "shop", name).unwrap()
}

fn message(server: &ApiServer, name: &str, kind: &str) -> Option<String> {
    let object = get(server, name);
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|it| it["type"] == kind)?;
    Some(found["message"].as_str().unwrap_or_default().to_owned())
}

fn label(server: &ApiServer, name: &str) -> Option<String> {
    Some(get(server, name)["metadata"]["labels"]["istio.io/use-waypoint"].as_str()?.to_owned())
}

/// Writes of Services that were accepted, of one agent or of all.
fn accepted(server: &ApiServer, user: &str) -> Vec<Write> {
    let of_user = |it: &Write| it.resource == "services" && it.is_accepted() && (user.is_empty() || it.user == user);
    server.audit().into_iter().filter(of_user).collect()
}

#[test]
fn of_two_agents_one_writes_and_each_object_once() {
    agent::run(async {
        let (server, mesh) = server(20).await;
        let (a, b) = (Agent::start(&server, "a", conditions()), Agent::start(&server, "b", conditions()));
        a.decide(&mesh, Choice::Through("w"));
        b.decide(&mesh, Choice::Through("w"));
        eventually("all are written", || mesh.services.iter().all(|it| message(&server, it, BOUND).is_some())).await;
        agent::pause(1.0).await;
        assert_eq!(accepted(&server, "").len(), 20);
        let users: std::collections::BTreeSet<_> = accepted(&server, "").into_iter().map(|it| it.user).collect();
        assert_eq!(users.len(), 1, "{users:?}");
        assert_eq!([a.leads(), b.leads()].iter().filter(|it| **it).count(), 1);
        assert!(
            accepted(&server, "")
                .iter()
                .all(|it| it.subresource == "status" && it.field_manager == "wayswitch-conditions")
        );
    });
}

#[test]
fn who_steps_down_hands_over_within_a_second() {
    agent::run(async {
        let (server, mesh) = server(1).await;
        let a = Agent::start(&server, "a", conditions());
        eventually("the first leads", || a.leads()).await;
        let b = Agent::start(&server, "b", conditions());
        b.decide(&mesh, Choice::Through("w"));
        agent::pause(0.5).await;
        let start = Instant::now();
        a.stop();
        eventually("the second leads", || b.leads()).await;
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        eventually("it writes", || message(&server, "s0", BOUND).is_some()).await;
    });
}

#[test]
fn a_leader_that_was_stopped_past_its_lease_has_no_write_accepted() {
    agent::run(async {
        let (server, mesh) = server(50).await;
        let a = Agent::start(&server, "a", conditions());
        a.decide(&mesh, Choice::Through("old"));
        eventually("the first wrote", || accepted(&server, "a").len() == 50).await;
        let b = Agent::start(&server, "b", conditions());
        b.decide(&mesh, Choice::Through("old"));
        // Nothing of its thread moves while it lasts, as after SIGSTOP; decisions wait for it all the same.
        let stopped = a.hold(Duration::from_secs(9));
        agent::pause(0.3).await;
        a.decide(&mesh, Choice::Through("stale"));
        eventually("the second leads", || b.leads()).await;
        server.clear_audit();
        b.decide(&mesh, Choice::Through("new"));
        eventually("the second wrote", || accepted(&server, "b").len() == 50).await;
        stopped.await;
        agent::pause(2.0).await;
        assert_eq!(accepted(&server, "a"), [], "written by who does not lead any more");
        let stale = |it: &String| message(&server, it, BOUND).unwrap().contains("stale");
        assert!(!mesh.services.iter().any(stale));
        let lease = server.audit().into_iter().filter(|it| it.user == "a" && it.is_accepted()).count();
        assert_eq!(lease, 0, "not even the lease");
    });
}

#[test]
fn nothing_is_written_when_nothing_changed_not_even_by_the_next_leader() {
    agent::run(async {
        let (server, mesh) = server(30).await;
        let a = Agent::start(&server, "a", conditions());
        a.decide(&mesh, Choice::Through("w"));
        eventually("all are written", || accepted(&server, "").len() == 30).await;
        server.clear_audit();
        a.decide(&mesh, Choice::Through("w"));
        agent::pause(1.0).await;
        a.stop();
        let b = Agent::start(&server, "b", conditions());
        b.decide(&mesh, Choice::Through("w"));
        eventually("the next one looked at everything", || b.seen().last_round.is_some()).await;
        agent::pause(1.5).await;
        assert_eq!(accepted(&server, ""), []);
    });
}

#[test]
fn what_does_not_apply_any_more_is_pruned_also_by_the_next_leader() {
    agent::run(async {
        let (server, mesh) = server(3).await;
        let a = Agent::start(&server, "a", conditions());
        a.decide(&mesh, Choice::Through("w"));
        eventually("all are written", || accepted(&server, "").len() == 3).await;
        a.stop();
        let b = Agent::start(&server, "b", conditions());
        b.decide(&mesh, Choice::Direct);
        eventually("all are gone", || mesh.services.iter().all(|it| message(&server, it, BOUND).is_none())).await;
        let left = get(&server, "s0")["metadata"]["managedFields"].to_string();
        assert!(!left.contains("wayswitch-conditions"), "{left}");
    });
}

#[test]
fn conditions_of_others_are_left_alone() {
    agent::run(async {
        let (server, mesh) = server(2).await;
        let theirs = json!({ "conditions": [
            { "type": BOUND, "status": "False", "reason": "TheirReason", "message": "theirs", "lastTransitionTime": "2026-01-01T00:00:00Z" },
            { "type": "Other", "status": "True", "reason": "X", "message": "other", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
        server.set_status("v1", "Service", "shop", "s0", theirs).unwrap();
        let other = json!({ "conditions": [
            { "type": "Other", "status": "True", "reason": "X", "message": "other", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
        server.set_status("v1", "Service", "shop", "s1", other).unwrap();
        let before = get(&server, "s0");
        let a = Agent::start(&server, "a", conditions());
        a.decide(&mesh, Choice::Through("w"));
        eventually("ours is written beside the other", || message(&server, "s1", BOUND).is_some()).await;
        assert_eq!(message(&server, "s1", "Other").as_deref(), Some("other"));
        agent::pause(0.5).await;
        assert_eq!(get(&server, "s0"), before, "theirs stays");
        a.decide(&mesh, Choice::Direct);
        eventually("ours is gone", || message(&server, "s1", BOUND).is_none()).await;
        assert_eq!(message(&server, "s1", "Other").as_deref(), Some("other"));
        eventually("the disagreement lasts and is told", || a.seen().disagreeing == 1).await;
    });
}

#[test]
fn comparing_writes_nothing() {
    agent::run(async {
        let (server, mesh) = server(2).await;
        let config = Config { conditions: Mode::Compare, ..conditions() };
        let a = Agent::start(&server, "a", config);
        a.decide(&mesh, Choice::Through("w"));
        eventually("what is missing is told", || a.seen().disagreeing == 2).await;
        assert_eq!(accepted(&server, ""), []);
        let text = a.seen().to_json().to_string();
        assert!(
            text.contains("Service shop/s0 istio.io/WaypointBound: not there, decided here: True WaypointAccepted"),
            "{text}"
        );
    });
}

#[test]
fn no_more_is_written_than_the_rate_allows() {
    agent::run(async {
        let (server, mesh) = server(60).await;
        let a = Agent::start(&server, "a", Config { per_second: 30, ..conditions() });
        a.decide(&mesh, Choice::Through("w"));
        eventually("it begins", || !accepted(&server, "").is_empty()).await;
        let start = Instant::now();
        eventually("all are written", || accepted(&server, "").len() == 60).await;
        let took = start.elapsed().as_secs_f64();
        assert!((1.8..4.0).contains(&took), "60 writes at 30 a second took {took} s");
    });
}

#[test]
fn a_write_on_an_object_that_changed_meanwhile_is_done_again() {
    agent::run(async {
        let (server, mesh) = server(1).await;
        let a = Agent::start(&server, "a", conditions());
        eventually("the first leads", || a.leads()).await;
        // The watch does not tell of it before the write is tried.
        server.faults().drop_watches("services");
        server
            .put(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s0", "namespace": "shop",
            "labels": { "team": "x" } }, "spec": { "ports": [{ "port": 80 }], "clusterIP": "10.0.0.1" } }))
            .unwrap();
        a.decide(&mesh, Choice::Through("w"));
        eventually("it is written", || message(&server, "s0", BOUND).is_some()).await;
        assert_eq!(get(&server, "s0")["metadata"]["labels"]["team"], "x");
    });
}

#[test]
fn what_may_not_be_written_is_said_and_the_rest_goes_on() {
    agent::run(async {
        let (server, mesh) = server(1).await;
        server.forbid("patch", "", "services/status");
        let a = Agent::start(&server, "a", conditions());
        a.decide(&mesh, Choice::Through("w"));
        eventually("it is said", || a.seen().problems.iter().any(|it| it.contains("may not patch services/status")))
            .await;
        assert!(a.leads());
    });
}

#[test]
fn labels_follow_decisions_and_never_replace_somebody_elses() {
    agent::run(async {
        let (server, mut mesh) = server(2).await;
        let mut labelled = service("s1");
        labelled["metadata"]["labels"] = json!({ "istio.io/use-waypoint": "mine" });
        server.put(labelled).unwrap();
        mesh.label("s1", "mine");
        let a = Agent::start(&server, "a", labels());
        a.decide(&mesh, Choice::Through("w"));
        eventually("it is labelled", || label(&server, "s0").as_deref() == Some("w")).await;
        a.decide(&mesh, Choice::Through("v"));
        eventually("it follows", || label(&server, "s0").as_deref() == Some("v")).await;
        assert_eq!(label(&server, "s1").as_deref(), Some("mine"));
        eventually("it is counted", || a.seen().labels_in_the_way == 1).await;
        let cluster = agent::connect(&server, "b").await;
        a.stop();
        let removed = cluster.remove_labels().await.unwrap();
        assert_eq!((removed.objects, removed.removed), (2, 1));
        assert_eq!((label(&server, "s0"), label(&server, "s1").as_deref()), (None, Some("mine")));
        let left = get(&server, "s0")["metadata"].to_string();
        assert!(!left.contains("wayswitch"), "{left}");
    });
}

#[test]
fn conditions_are_taken_off_at_the_end() {
    agent::run(async {
        let (server, mesh) = server(3).await;
        let a = Agent::start(&server, "a", conditions());
        a.decide(&mesh, Choice::Through("w"));
        eventually("all are written", || accepted(&server, "").len() == 3).await;
        a.stop();
        let removed = agent::connect(&server, "b").await.remove_conditions().await.unwrap();
        assert_eq!(removed.removed, 3);
        assert!(mesh.services.iter().all(|it| message(&server, it, BOUND).is_none()));
    });
}
