//! An agent of a story, as the service account and nothing else.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::demo::agent::Agent;
use tests::demo::patience::wait_for;

use crate::account::RULES;
use crate::ground::{Ground, PATIENCE, eventually};

pub(crate) const BUILT_IN: &str = "component: builtin:istio\n";
pub(crate) const BLOCKING: &str = "component: builtin:istio\nsettings: {unbound: blocked}\n";

/// What an agent is started with. `node` is the name of its node, and of its folder.
pub(crate) fn flags(ground: &Ground, node: &str, namespace: &str, kubeconfig: &Path) -> Vec<OsString> {
    let mut flags: Vec<OsString> = vec!["--kubernetes".into(), "--kubeconfig".into(), kubeconfig.into()];
    flags.extend(["--rules".to_owned(), format!("configmap:{namespace}/{RULES}")].map(Into::into));
    flags.extend(["--debounce-ms", "20", "--log", "info,cluster=debug"].map(Into::into));
    flags.extend(["--node-name".to_owned(), ground.named(node), "--node-status".to_owned()].map(Into::into));
    flags
}

/// Starts one, in a folder of its own.
pub(crate) fn start(ground: &Ground, node: &str, flags: Vec<OsString>) -> Result<Agent> {
    let folder = ground.folder.path().join(node);
    std::fs::create_dir_all(&folder)?;
    Agent::start(&folder, flags)
}

/// One that has rules in force.
pub(crate) fn ready(ground: &Ground, node: &str, flags: Vec<OsString>) -> Result<Agent> {
    let mut agent = start(ground, node, flags)?;
    agent.wait_ready(PATIENCE)?;
    Ok(agent)
}

/// What the node says that it runs, once it is so.
pub(crate) fn wait_running(ground: &Ground, node: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let node = ground.named(node);
    let mut last = Value::Null;
    let told = eventually(what, || {
        last = ground.kubectl.get(&["noderules", &node])?["status"].take();
        Ok(is_so(&last).then(|| last.clone()))
    });
    told.with_context(|| format!("NodeRules {node} last said {last}"))
}

/// The decision for a Service, once it is so.
pub(crate) fn wait_service(
    agent: &Agent,
    namespace: &str,
    name: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let path = format!("/decisions?kind=Service&namespace={namespace}&name={name}");
    let mut last = Value::Null;
    let decided = wait_for(&format!("the decision for {name}"), PATIENCE, || {
        last = agent.admin().value(&path)?["decisions"][0].take();
        Ok(is_so(&last).then(|| last.clone()))
    });
    decided.with_context(|| format!("it last was {last}"))
}

/// Waits until the agent has said this at its admin socket or in its log.
pub(crate) fn wait_said(agent: &Agent, what: &str) -> Result<()> {
    let said = wait_for(&format!("{what:?} in the agent's log"), PATIENCE, || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        Ok(agent.log()?.contains(what).then_some(()))
    });
    said.with_context(|| format!("its log ends with:\n{}", tail(agent)))
}

fn tail(agent: &Agent) -> String {
    let log = agent.log().unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
}
