//! Objects from the API server: the same decisions as from files, followed, and kept while it is away.

use std::ffi::OsString;
use std::fs;

use anyhow::{Result, ensure};
use apiserver::{Answer, Matching};
use serde_json::{Value, json};
use tests::demo::agent::command;
use tests::demo::patience::wait_for;

use crate::cluster::{BUILT_IN, Cluster, PATIENCE, decision, wait_decision};

/// Decisions without what counts changes.
fn stable(decisions: &Value) -> Vec<Value> {
    let rows = decisions["decisions"].as_array().cloned().unwrap_or_default();
    let mut rows: Vec<Value> = rows
        .into_iter()
        .filter(|row| row["namespace"] == "bookinfo")
        .map(|mut row| {
            row["revision"] = Value::Null;
            row
        })
        .collect();
    rows.sort_by_key(ToString::to_string);
    rows
}

#[test]
fn the_mesh_of_a_cluster_is_decided_as_that_of_its_manifests() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let agent = cluster.ready(&[])?;
    let manifests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/bookinfo/manifests");
    let output = command()?.args(["resolve", "-o", "json", "-f"]).arg(manifests).output()?;
    let from_files: Value = serde_json::from_slice(&output.stdout)?;
    let (live, files) = (stable(&agent.admin().value("/decisions")?), stable(&from_files));
    ensure!(!live.is_empty() && live == files, "{live:?} instead of {files:?}");
    let ready = agent.admin().value("/readyz")?;
    assert_eq!((&ready["kubernetes"]["isFresh"], &ready["kubernetes"]["problems"]), (&json!(true), &json!([])));
    ensure!(agent.stop()?.success(), "it did not end well");
    Ok(())
}

#[test]
fn a_waypoint_that_loses_its_address_takes_its_services_along() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let agent = cluster.ready(&[])?;
    let before = decision(&agent, "productpage")?;
    let waypoint = before["waypoint"].clone();
    let (namespace, name) =
        (waypoint["namespace"].as_str().unwrap_or_default(), waypoint["name"].as_str().unwrap_or_default());
    ensure!(!name.is_empty(), "{before}");
    cluster.server.set_status("gateway.networking.k8s.io/v1", "Gateway", namespace, name, json!({}))?;
    wait_decision(&agent, "productpage", |now| now["waypoint"].is_null())?;
    cluster.server.delete("v1", "Service", "bookinfo", "productpage")?;
    wait_for("the row to go", PATIENCE, || Ok(decision(&agent, "productpage").is_err().then_some(())))?;
    Ok(())
}

#[test]
fn files_lie_over_the_cluster() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let file = cluster.folder.path().join("over.yaml");
    let labels = |waypoint: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: productpage, namespace: bookinfo, labels: {{istio.io/use-waypoint: {waypoint}}}}}\n\
             spec: {{clusterIP: 10.0.0.77, ports: [{{port: 80}}]}}\n"
        )
    };
    fs::write(&file, labels("none"))?;
    let agent = cluster.ready(&["-f".into(), file.clone().into_os_string()])?;
    assert_eq!(decision(&agent, "productpage")?["choice"], "direct");
    fs::remove_file(&file)?;
    fs::write(&file, "# nothing\n")?;
    wait_decision(&agent, "productpage", |now| now["choice"] == "waypoint")?;
    Ok(())
}

#[test]
fn an_agent_that_starts_without_the_api_server_goes_on_with_what_was_saved() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    // The rules are in a folder: they are there without anybody.
    let rules = cluster.folder.path().join("rules");
    fs::create_dir(&rules)?;
    fs::write(rules.join("config.yaml"), BUILT_IN)?;
    let state = cluster.folder.path().join("state");
    let more: Vec<OsString> = vec!["--rules".into(), rules.into(), "--kubernetes-state".into(), state.clone().into()];
    // The last flag counts for clap only where it may be given once: so without the other.
    let flags = |more: &[OsString]| {
        let mut flags = cluster.flags();
        let at = flags.iter().position(|it| it == "--rules").unwrap_or_default();
        flags.drain(at..at + 2);
        flags.extend(more.iter().cloned());
        flags
    };
    let start = || tests::demo::agent::Agent::start(cluster.folder.path(), flags(&more));
    let mut agent = start()?;
    agent.wait_ready(PATIENCE)?;
    let before = decision(&agent, "productpage")?;
    ensure!(agent.stop()?.success(), "it did not end well");

    cluster.server.faults().set_down(true);
    cluster.server.delete("v1", "Service", "bookinfo", "reviews")?;
    let mut agent = start()?;
    agent.wait_ready(PATIENCE)?;
    assert_eq!(decision(&agent, "productpage")?["waypoint"], before["waypoint"]);
    ensure!(decision(&agent, "reviews").is_ok(), "what was there before");
    let ready = agent.admin().value("/readyz")?;
    assert_eq!(ready["kubernetes"]["isFresh"], false);
    ensure!(!ready["kubernetes"]["staleSince"].is_null(), "{ready}");

    cluster.server.faults().set_down(false);
    wait_for("the mesh to be fresh", PATIENCE, || {
        Ok((agent.admin().value("/readyz")?["kubernetes"]["isFresh"] == true).then_some(()))
    })?;
    ensure!(decision(&agent, "reviews").is_err(), "what is gone is gone");
    Ok(())
}

#[test]
fn rules_wait_until_all_of_the_mesh_is_known() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    cluster.server.faults().refuse(Matching::of("list", "gateways"), Answer::InternalError, u64::MAX);
    let agent = cluster.agent(&[])?;
    let behind = wait_for("the failure to be told", PATIENCE, || {
        let Ok(answer) = agent.admin().get("/readyz") else { return Ok(None) };
        let ready = answer.json()?;
        let problems = ready["kubernetes"]["problems"].to_string();
        Ok(problems.contains("cannot list gateways").then_some(ready))
    })?;
    assert_eq!((&behind["ready"], &behind["rules"]), (&json!(false), &json!(0)));
    cluster.server.faults().serve_all();
    wait_decision(&agent, "productpage", |now| now["choice"] == "waypoint")?;
    Ok(())
}

#[test]
fn what_may_not_be_read_is_named_and_the_rest_is_decided() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    cluster.server.forbid("list", "networking.istio.io", "serviceentries");
    let agent = cluster.ready(&[])?;
    let ready = agent.admin().value("/readyz")?;
    let problems = ready["kubernetes"]["problems"].to_string();
    ensure!(problems.contains("may not list serviceentries.networking.istio.io"), "{problems}");
    assert_eq!(decision(&agent, "productpage")?["choice"], "waypoint");
    Ok(())
}
