//! An agent whose token does not count any more: it starts with what it saved, says so, and is well again with the next token.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::account::{Account, ZTUNNEL};
use crate::bookinfo;
use crate::ground::{eventually, play};
use crate::mesh::{gateway, mini_mesh};
use crate::node::{BUILT_IN, flags, ready, wait_said, wait_service};

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn an_agent_whose_account_is_gone_starts_with_what_it_saved_and_says_so() -> Result<()> {
    play(|ground| {
        let account = Account::apply(ground, &[ZTUNNEL])?;
        let mesh =
            ground.namespace("mesh", json!({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" }))?;
        let class = ground.named("waypoint");
        ground.kubectl.apply(&[vec![bookinfo::class(ground)], mini_mesh(&mesh, &class)].concat())?;
        ground.kubectl.set_status(&[gateway(&mesh, &class)])?;
        // Rules in a folder: they are there without anybody.
        let rules = ground.folder.path().join("rules");
        fs::create_dir(&rules)?;
        fs::write(rules.join("config.yaml"), BUILT_IN)?;
        let kubeconfig = account.kubeconfig(ground, "wayswitch")?;
        let mut flags = flags(ground, "kept", &account.namespace, &kubeconfig);
        let at = flags.iter().position(|it| it == "--rules").unwrap_or_default();
        flags[at + 1] = rules.into();
        flags.extend(["--kubernetes-state".into(), ground.folder.path().join("state").into()]);

        let agent = ready(ground, "kept", flags.clone())?;
        wait_service(&agent, &mesh, "cart", |it| it["waypoint"]["name"] == "w")?;
        ensure!(agent.stop()?.success(), "it did not end well");

        ground.kubectl.run(&["delete", "serviceaccount", "wayswitch", "-n", &account.namespace])?;
        let own = ground.kubectl.by(&kubeconfig);
        eventually("the token not to count any more", || {
            let output = own.output(&["get", "namespaces", "-o", "name"], None)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok((said.contains("Unauthorized") || said.contains("logged in")).then_some(()))
        })?;
        let agent = ready(ground, "kept", flags)?;
        wait_said(&agent, "starting with the objects that were saved")?;
        wait_said(&agent, "the API server does not accept our credentials")?;
        wait_service(&agent, &mesh, "cart", |it| it["waypoint"]["name"] == "w")?;
        let kubernetes = agent.admin().value("/readyz")?["kubernetes"].take();
        ensure!(kubernetes["isFresh"] == false && kubernetes["staleSince"].is_u64(), "{kubernetes}");
        ensure!(kubernetes["problems"].to_string().contains("does not accept our credentials"), "{kubernetes}");

        // The account is made again, and the file with the token renewed, as a kubelet does; nobody restarts the agent.
        ground.kubectl.run(&["create", "serviceaccount", "wayswitch", "-n", &account.namespace])?;
        account.renew(ground, "wayswitch")?;
        eventually("the mesh to be fresh again", || {
            Ok((agent.admin().value("/readyz")?["kubernetes"]["isFresh"] == true).then_some(()))
        })?;
        ground.kubectl.run(&["delete", "service", "cart", "-n", &mesh])?;
        eventually("the row to go", || {
            let path = format!("/decisions?kind=Service&namespace={mesh}&name=cart");
            Ok(agent.admin().value(&path)?["decisions"].as_array().is_some_and(Vec::is_empty).then_some(()))
        })
    })
}
