//! What one agent of the cluster writes back: conditions and labels, and who that agent is.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::demo::agent::Agent;
use tests::demo::patience::wait_for;

use crate::cluster::{BUILT_IN, Cluster, PATIENCE};

/// Short, so that a test can outlast it.
const LEASE_SECONDS: &str = "3";

fn leading(cluster: &Cluster, name: &str, more: &[&str]) -> Result<Agent> {
    let folder = cluster.folder.path().join(name);
    std::fs::create_dir(&folder)?;
    let mut flags: Vec<OsString> = cluster.flags();
    flags.extend(["--lease-seconds", LEASE_SECONDS, "--lease-identity", name].map(Into::into));
    flags.extend(more.iter().map(Into::into));
    let mut agent = Agent::start(&folder, flags)?;
    agent.wait_ready(PATIENCE)?;
    Ok(agent)
}

fn holder(cluster: &Cluster) -> String {
    let lease = cluster.server.get("coordination.k8s.io/v1", "Lease", "wayswitch-system", "wayswitch-leader");
    let holder = lease.and_then(|it| it["spec"]["holderIdentity"].as_str().map(str::to_owned));
    holder.unwrap_or_default()
}

fn condition(cluster: &Cluster, service: &str) -> Option<Value> {
    let object = cluster.server.get("v1", "Service", "bookinfo", service)?;
    let conditions = object["status"]["conditions"].as_array()?.clone();
    conditions.into_iter().find(|it| it["type"] == "istio.io/WaypointBound")
}

#[test]
fn one_agent_writes_conditions_and_another_takes_over_when_it_stands_still() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let first = leading(&cluster, "first", &["--conditions", "write"])?;
    let bound = wait_for("a condition", PATIENCE, || Ok(condition(&cluster, "productpage")))?;
    assert_eq!((&bound["status"], &bound["reason"]), (&json!("True"), &json!("WaypointAccepted")));
    let unready = wait_for("another", PATIENCE, || Ok(condition(&cluster, "ratings-next")))?;
    assert_eq!(unready["status"], "False");
    let second = leading(&cluster, "second", &["--conditions", "write"])?;
    let before = holder(&cluster);
    ensure!(before.starts_with("first"), "{before}");

    let process = Pid::from_raw(first.id().try_into()?).context("no process")?;
    kill_process(process, Signal::STOP)?;
    wait_for("the second to lead", PATIENCE, || Ok(holder(&cluster).starts_with("second").then_some(())))?;
    // Something for both to write, once the first goes on.
    let gateway = ("gateway.networking.k8s.io/v1", "Gateway", "bookinfo", "waypoint");
    cluster.server.set_status(gateway.0, gateway.1, gateway.2, gateway.3, json!({}))?;
    wait_for("the second to write", PATIENCE, || {
        Ok(condition(&cluster, "productpage").filter(|it| it["status"] == "False"))
    })?;
    // All of it, so that what is written later can only be the first's.
    wait_for("the second to be done", PATIENCE, || {
        let seen = second.admin().value("/conditions")?;
        let is_done = seen["pending"] == 0 && seen["lastRoundSecondsAgo"].as_u64().is_some();
        Ok((is_done && condition(&cluster, "mongodb").is_some_and(|it| it["status"] == "False")).then_some(()))
    })?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    cluster.server.clear_audit();
    kill_process(process, Signal::CONT)?;
    wait_for("the first to be there again", PATIENCE, || Ok(first.admin().get("/healthz").ok()))?;
    std::thread::sleep(std::time::Duration::from_secs(4));
    ensure!(holder(&cluster).starts_with("second"), "{}", holder(&cluster));
    let changes: BTreeSet<String> = cluster
        .server
        .audit()
        .into_iter()
        .filter(|it| it.is_change() && it.subresource == "status" && it.resource == "services")
        .map(|it| format!("{}/{}", it.namespace, it.name))
        .collect();
    ensure!(changes.is_empty(), "nothing was left to write: {changes:?}");

    ensure!(second.stop()?.success(), "it did not end well");
    wait_for("the first to lead again", PATIENCE, || Ok(holder(&cluster).starts_with("first").then_some(())))?;
    Ok(())
}

#[test]
fn decisions_become_labels_and_go_when_they_are_taken_off() -> Result<()> {
    let cluster = Cluster::start("component: builtin:istio\n")?;
    let agent = leading(&cluster, "only", &["--write-labels"])?;
    wait_for("a round", PATIENCE, || {
        let seen = agent.admin().value("/conditions")?;
        Ok((seen["pending"] == 0 && holder(&cluster).starts_with("only")).then_some(()))
    })?;
    // Istio's own rules: every object has its label already, so nothing is written over anybody's.
    let labels = |service: &str| {
        let object = cluster.server.get("v1", "Service", "bookinfo", service);
        object.map(|it| it["metadata"]["labels"]["istio.io/use-waypoint"].clone()).unwrap_or_default()
    };
    assert_eq!(labels("productpage"), Value::Null, "its namespace says so");
    ensure!(agent.stop()?.success(), "it did not end well");
    let printed = cluster.printed(&["cleanup", "--labels"])?;
    ensure!(printed.contains("removed labels of 0 of") && printed.contains("removed conditions of 0 of"), "{printed}");
    Ok(())
}
