//! `wayswitch capture` of a running agent: what it wrote is what the agent had, and other commands take it.

use std::fs;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::demo::agent::command;

use crate::node::{BLOCKING, ISTIO, Node, SERVICE_ACCOUNT, named};

/// Runs a command that asks this node's agent.
pub(crate) fn ask(node: &Node, arguments: &[&str]) -> Result<Output> {
    let admin = format!("unix:{}", node.admin().socket().display());
    let mut command = command()?;
    command.args(arguments).args(["--admin", &admin]).stdin(Stdio::null());
    command.output().context("cannot run wayswitch")
}

/// Captures to a file of the node's folder; returns its name and its first line.
fn capture(node: &Node, name: &str, more: &[&str]) -> Result<(String, Value)> {
    let file = node.folder().join(name).display().to_string();
    let output = ask(node, &[&["capture", "-o", &file], more].concat())?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&file)?;
    let first = text.lines().next().context("an empty file")?;
    Ok((file, serde_json::from_str::<Value>(first)?["capture"].take()))
}

fn resolved(file: &str, more: &[&str]) -> Result<Value> {
    let output = command()?.args(["resolve", "-o", "json", "-f", file]).args(more).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Without what depends on when an object came.
fn timeless(mut decisions: Vec<(String, Value)>) -> Vec<(String, Value)> {
    decisions
        .iter_mut()
        .filter_map(|(_, decision)| decision.as_object_mut())
        .for_each(|it| drop(it.remove("revision")));
    decisions
}

#[test]
fn a_capture_is_what_the_agent_decided_and_is_decided_again_the_same() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let (file, header) = capture(&node, "first.capture", &[])?;
    assert_eq!((&header["rules"]["component"], &header["rules"]["settings"]), (&"istio.wasm".into(), &"".into()));
    assert_eq!(header["revision"], header["objectsRevision"]);
    assert_eq!(timeless(named(&resolved(&file, &[])?)?), timeless(node.decisions()?));

    // The settings are captured with it.
    let rules = node.swap(BLOCKING)?;
    let (second, header) = capture(&node, "second.capture", &[])?;
    assert_eq!(header["rules"]["number"], rules["rules"]);
    assert_eq!(header["rules"]["sha256"], rules["active"]["facts"]["digest"]);
    let blocking = timeless(node.decisions()?);
    assert_eq!(timeless(named(&resolved(&second, &[])?)?), blocking);
    ensure!(timeless(named(&resolved(&file, &[])?)?) != blocking, "both settings decide the same");
    Ok(())
}

#[test]
fn a_component_that_is_not_at_hand_is_told_and_its_decisions_are_there() -> Result<()> {
    let node = Node::start(SERVICE_ACCOUNT)?;
    let (file, _) = capture(&node, "mesh.capture", &[])?;
    let output = command()?.args(["resolve", "-f", &file]).output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && error.lines().count() == 1, "{error}");
    assert!(error.starts_with("warning: the capture was decided by service-account "), "{error}");
    // A pseudonymised copy has them too, and knows no name of the example.
    let (renamed, header) = capture(&node, "renamed.capture", &["--pseudonymise"])?;
    assert_eq!((&header["pseudonymised"], &header["rules"]["component"]), (&true.into(), &"custom".into()));
    let count = |file: &str| -> Result<(usize, usize)> {
        let text = fs::read_to_string(file)?;
        let bound = text.lines().filter(|line| line.contains("\"choice\":\"waypoint\"")).count();
        Ok((text.lines().count(), bound))
    };
    assert_eq!(count(&renamed)?, count(&file)?);
    assert!(count(&file)?.1 > 0, "nothing is bound");
    let text = fs::read_to_string(&renamed)?;
    for name in ["bookinfo", "reviews", "ratings", "loyalty", "10.244."] {
        assert!(!text.contains(name), "{name} is left");
    }
    Ok(())
}

#[test]
fn a_capture_before_the_first_rules_has_objects_and_says_so() -> Result<()> {
    let node = Node::start_unready("component: nowhere.wasm\n")?;
    tests::demo::patience::wait_for("the socket", crate::node::PATIENCE, || {
        Ok(node.admin().get("/healthz").is_ok().then_some(()))
    })?;
    let file = node.folder().join("mesh.capture").display().to_string();
    let output = ask(&node, &["capture", "-o", &file])?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    assert_eq!(error, "warning: no rules are in force yet: the capture has no decisions\n");
    let decisions = named(&resolved(&file, &[])?)?;
    assert!(!decisions.is_empty(), "the objects are there");
    Ok(())
}
