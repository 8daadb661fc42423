//! Everything away again: what an agent left on a node, and what was applied.

use anyhow::{Context as _, Result, ensure};
use deploy_checks::manifest::{self, text};
use serde_json::{Value, json};
use tests::demo::agent::command;

use crate::account::{Account, RULES, ZTUNNEL, moved};
use crate::ground::{Ground, LABEL, eventually, play};
use crate::node::{flags, ready};
use crate::tokens::{free_port, serving};

/// What is applied, in a namespace of this story; the DaemonSet on no node.
fn objects(ground: &Ground, namespace: &str) -> Result<Vec<Value>> {
    let all = manifest::read(ZTUNNEL)?.into_iter();
    // The namespace is there, and the definition is everybody's.
    let all = all.filter(|it| !["Namespace", "CustomResourceDefinition"].contains(&text(it, "/kind")));
    let all = all.map(|object| {
        let mut object = moved(ground, namespace, object);
        if text(&object, "/kind") == "DaemonSet" {
            object["spec"]["template"]["spec"]["nodeSelector"] = json!({ LABEL: ground.prefix });
        }
        object
    });
    Ok(all.collect())
}

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn what_was_applied_and_what_an_agent_left_goes_without_a_rest() -> Result<()> {
    play(|ground| {
        let namespace = ground.namespace("system", json!({}))?;
        let objects = objects(ground, &namespace)?;
        ensure!(objects.len() > 10, "the rendering is not there");
        ground.kubectl.apply(&objects)?;
        let account = Account { namespace: namespace.clone(), roles: Vec::new() };
        let kubeconfig = account.kubeconfig(ground, "wayswitch")?;
        let state = ground.folder.path().join("leaving/state");
        let mut flags = flags(ground, "leaving", &namespace, &kubeconfig);
        flags.extend(serving(ground, &account, "leaving", free_port()?));
        flags.extend(["--kubernetes-state".into(), state.clone().into()]);
        let agent = ready(ground, "leaving", flags).context("with the ConfigMap of the rendering")?;

        let xds = ground.folder.path().join("leaving/xds");
        let socket = agent.admin().socket().to_owned();
        let clean = || -> Result<_> {
            let mut command = command()?;
            command.args(["cleanup", "--admin"]).arg(format!("unix:{}", socket.display()));
            command.arg("--pin-dir").arg(ground.folder.path().join("no-pins"));
            command.arg("--xds-dir").arg(&xds).arg("--kubernetes-state").arg(&state);
            Ok(command.output()?)
        };
        let early = clean()?;
        ensure!(!early.status.success() && xds.exists(), "it cleaned under a running agent: {early:?}");
        ensure!(agent.stop()?.success(), "it did not end well");
        ensure!(xds.exists() && state.exists(), "the agent left nothing that could be cleaned up");
        let cleaned = clean()?;
        ensure!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
        ensure!(!xds.exists() && !state.exists() && !socket.exists(), "something stayed: {cleaned:?}");

        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        ground.kubectl.feed(&["delete", "--wait=false", "-f", "-"], &list)?;
        eventually("the objects to go", || {
            let left = ground.kubectl.feed(&["get", "--ignore-not-found", "-o", "name", "-f", "-"], &list)?;
            Ok(left.trim().is_empty().then_some(()))
        })?;
        ensure!(ground.kubectl.get(&["configmap", RULES, "-n", &namespace])?.is_null(), "the rules stayed");
        Ok(())
    })
}
