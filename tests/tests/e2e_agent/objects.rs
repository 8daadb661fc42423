//! Objects that change while rules stay: only the rows concerned move, and a broken file takes nothing away.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::demo::agent::Agent;
use tests::demo::config_map::ConfigMap;
use tests::demo::patience::wait_for;

use crate::node::{CONFIG_FILE, ISTIO, Node, PATIENCE, copy_bookinfo, expected, flags, named, short};

/// Waits until the mesh has another revision than in this answer of `/rules`.
fn wait_revision(node: &mut Node, before: &Value) -> Result<Value> {
    wait_for("a revision", PATIENCE, || {
        let now = node.rules()?;
        Ok((now["revision"] != before["revision"]).then_some(now))
    })
}

/// Rows that differ in anything, their revision included; with a row that went or came.
fn moved(before: &[(String, Value)], after: &[(String, Value)]) -> Vec<String> {
    let mut moved: Vec<String> = before
        .iter()
        .filter(|row| !after.contains(row))
        .chain(after.iter().filter(|row| !before.contains(row)))
        .map(|(name, _)| name.clone())
        .collect();
    moved.sort();
    moved.dedup();
    moved
}

#[test]
fn a_changed_label_moves_exactly_its_row() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let (before, decisions) = (node.rules()?, node.decisions()?);
    let file = node.folder().join("manifests/31-details.yaml");
    let text = fs::read_to_string(&file)?;
    assert!(text.contains("istio.io/use-waypoint: none"));
    fs::write(&file, text.replace("istio.io/use-waypoint: none", "istio.io/use-waypoint: waypoint"))?;
    let after = wait_revision(&mut node, &before)?;
    assert_eq!((&after["rules"], &after["history"]["swaps_total"]), (&json!(1), &json!(1)), "rules did not change");
    let now = node.decisions()?;
    assert_eq!(moved(&decisions, &now), ["Service bookinfo/details"]);
    let (_, details) = now.iter().find(|(row, _)| row == "Service bookinfo/details").context("no details")?;
    assert_eq!((&details["waypoint"]["name"], &details["revision"]), (&json!("waypoint"), &after["revision"]));
    Ok(())
}

#[test]
fn a_label_of_a_namespace_moves_the_rows_that_follow_it() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let (before, decisions) = (node.rules()?, node.decisions()?);
    let file = node.folder().join("manifests/00-namespaces.yaml");
    let text = fs::read_to_string(&file)?;
    let opted_out = text.replace("istio.io/use-waypoint: shared-waypoint", "istio.io/use-waypoint: none");
    assert_ne!(text, opted_out);
    fs::write(&file, opted_out)?;
    wait_revision(&mut node, &before)?;
    assert_eq!(moved(&decisions, &node.decisions()?), ["Pod storefront/catalog-v1", "Service storefront/catalog"]);
    Ok(())
}

#[test]
fn objects_that_are_gone_have_no_rows() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let (before, decisions) = (node.rules()?, node.decisions()?);
    fs::remove_file(node.folder().join("manifests/40-storefront.yaml"))?;
    wait_revision(&mut node, &before)?;
    let now = node.decisions()?;
    assert_eq!(moved(&decisions, &now), ["Pod storefront/catalog-v1", "Service storefront/catalog"]);
    assert_eq!(now.len() + 2, decisions.len());
    Ok(())
}

#[test]
fn a_broken_file_keeps_its_old_objects_and_is_told() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let decisions = node.decisions()?;
    let file = node.folder().join("manifests/32-reviews.yaml");
    let good = fs::read_to_string(&file)?;
    fs::write(&file, good.replace("kind: Service\n", "kind: [Service\n"))?;
    let problems = wait_for("a problem", PATIENCE, || {
        let ready = node.admin().value("/readyz")?;
        let problems = ready["manifestProblems"].as_array().cloned().unwrap_or_default();
        Ok((!problems.is_empty()).then_some(problems))
    })?;
    let problem = problems.first().and_then(Value::as_str).context("no text")?;
    assert!(problem.contains("32-reviews.yaml:") && problem.contains("not valid YAML"), "{problem}");
    assert_eq!(node.decisions()?, decisions, "nothing is taken away");
    assert!(node.agent.log()?.contains(problem), "not in the log: {problem}");

    // What is good beside it is still followed.
    let before = node.rules()?;
    fs::remove_file(node.folder().join("manifests/40-storefront.yaml"))?;
    wait_revision(&mut node, &before)?;
    assert_eq!(node.decisions()?.len() + 2, decisions.len());

    fs::write(&file, good)?;
    wait_for("the problem to go", PATIENCE, || {
        Ok((node.admin().value("/readyz")?["manifestProblems"] == json!([])).then_some(()))
    })
}

#[test]
fn no_rules_are_published_over_manifests_that_were_never_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (manifests, rules) = (folder.path().join("manifests"), folder.path().join("rules"));
    let mut agent = Agent::start(folder.path(), flags(folder.path()))?;
    // Neither folder is there.
    let problem = wait_problem(&mut agent, "/manifests: cannot be read")?;
    assert!(problem.contains("No such file or directory"), "{problem}");
    ConfigMap::mount(&rules, &[(CONFIG_FILE, b"component: builtin:istio\n")])?;
    // One file of them is broken.
    copy_bookinfo(&manifests)?;
    let file = manifests.join("10-gateway-class.yaml");
    let good = fs::read_to_string(&file)?;
    fs::write(&file, "kind: [\n")?;
    wait_problem(&mut agent, "10-gateway-class.yaml:")?;
    let status = agent.admin().value("/rules")?;
    assert_eq!((&status["rules"], &status["active"]), (&json!(0), &Value::Null));

    fs::write(&file, good)?;
    agent.wait_ready(PATIENCE)?;
    assert_eq!(short(&named(&agent.admin().value("/decisions")?)?), expected("istio")?);
    Ok(())
}

/// Waits until `/readyz` says that it is not ready and lists a problem with these words.
fn wait_problem(agent: &mut Agent, words: &str) -> Result<String> {
    wait_for("a problem", PATIENCE, || {
        agent.check_running()?;
        let Ok(answer) = agent.admin().get("/readyz") else { return Ok(None) };
        let answer_json = answer.json()?;
        let problems = answer_json["manifestProblems"].as_array().cloned().unwrap_or_default();
        let found = problems.iter().filter_map(Value::as_str).find(|problem| problem.contains(words));
        anyhow::ensure!(answer.status == 503, "it is ready: {}", answer.text);
        Ok(found.map(str::to_owned))
    })
}

#[test]
fn operators_can_ask_for_one_row_and_why() -> Result<()> {
    let node = Node::start(ISTIO)?;
    let one = node.admin().value("/decisions?kind=service&namespace=bookinfo&name=ratings")?;
    assert_eq!((one["decisions"].as_array().map(Vec::len), &one["more"]), (Some(1), &json!(0)));
    let why = node.admin().value("/explain?kind=service&namespace=bookinfo&name=ratings")?;
    assert_eq!((&why["component"], &why["decisions"][0]), (&json!("istio.wasm"), &one["decisions"][0]));
    let decisive = why["findings"].as_array().context("no findings")?.iter().find(|it| it["decisive"] == true);
    assert_eq!(decisive.context("nothing was decisive")?["key"], "istio.io/use-waypoint");

    let rows = [
        ("/explain?kind=service&namespace=bookinfo&name=nobody", 404, "Service bookinfo/nobody has no decision"),
        ("/explain?kind=service&namespace=bookinfo", 400, "kind, namespace and name are needed"),
        ("/decisions?kind=gateway", 400, "unknown kind \"gateway\""),
    ];
    for (path, status, text) in rows {
        let answer = node.admin().get(path)?;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()?["error"].as_str().context("no error")?.contains(text), "{path}: {}", answer.text);
    }
    Ok(())
}

#[test]
fn a_mesh_that_was_only_partly_read_at_start_gets_no_rules_until_it_is_whole() -> Result<()> {
    let folder = tempfile::tempdir()?;
    copy_bookinfo(&folder.path().join("manifests"))?;
    let cut = folder.path().join("manifests/50-cut.json");
    fs::write(&cut, r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "ki"#)?;
    let istio = tests::candidate::artifact("istio")?;
    ConfigMap::mount(&folder.path().join("rules"), &[(CONFIG_FILE, ISTIO.as_bytes()), ("istio.wasm", &istio)])?;
    let mut agent = Agent::start(folder.path(), flags(folder.path()))?;
    wait_for("the agent to answer", PATIENCE, || Ok(agent.admin().get("/readyz").is_ok().then_some(())))?;
    // Long enough for the rules to be tried, if they were.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
    while std::time::Instant::now() < until {
        let answer = agent.admin().get("/readyz")?;
        let problems = answer.json()?["manifestProblems"].to_string();
        assert_eq!(answer.status, 503, "{problems}");
        assert!(problems.contains("50-cut.json"), "{problems}");
    }
    fs::write(&cut, r#"{"apiVersion": "v1", "kind": "List", "items": []}"#)?;
    agent.wait_ready(PATIENCE)?;
    assert!(agent.stop()?.success());
    Ok(())
}

#[test]
fn rules_that_were_refused_because_of_the_mesh_are_tried_again() -> Result<()> {
    // Room for the description, and not for the answers about the mesh as it is.
    let mut node = Node::start_unready("component: istio.wasm\nlimits: {answerBytes: 2000}\n")?;
    wait_for("the refusal", PATIENCE, || {
        let refused = node.rules().ok().map(|rules| rules["history"]["refused_total"].clone());
        Ok((refused == Some(json!(1))).then_some(()))
    })?;
    for file in fs::read_dir(node.folder().join("manifests"))? {
        fs::remove_file(file?.path())?;
    }
    fs::write(node.folder().join("manifests/one.yaml"), "{apiVersion: v1, kind: Namespace, metadata: {name: one}}\n")?;
    node.agent.wait_ready(PATIENCE)?;
    assert_eq!(node.rules()?["history"]["refused_total"], json!(1), "one refusal is told once");
    Ok(())
}
