//! `wayswitch waypoint` against a real API server. This test is the controller that makes a Gateway ready.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::demo::agent::command;
use tests::demo::patience::wait_for;

use crate::bookinfo;
use crate::ground::{Ground, PATIENCE, eventually, play};
use crate::mesh::gateway;

fn waypoint(ground: &Ground, arguments: &[&str]) -> Result<Command> {
    let mut command = command()?;
    command.arg("waypoint").args(arguments).arg("--kubeconfig").arg(ground.kubectl.kubeconfig());
    command.current_dir(ground.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Runs it; whether it succeeded, and all that it said.
fn ran(ground: &Ground, arguments: &[&str]) -> Result<(bool, String)> {
    let output = waypoint(ground, arguments)?.output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn a_namespace_is_enrolled_once_its_waypoint_is_ready_and_its_users_are_shown_before_it_goes() -> Result<()> {
    play(|ground| {
        let namespace = ground.namespace("shop", json!({ "istio.io/dataplane-mode": "ambient" }))?;
        ground.kubectl.apply(&[bookinfo::class(ground)])?;
        let class = ground.named("waypoint");
        let enrolled = || -> Result<Value> {
            let mut object = ground.kubectl.get(&["namespace", &namespace])?;
            Ok(object["metadata"]["labels"]["istio.io/use-waypoint"].take())
        };
        let apply = ["apply", "-n", &namespace, "--name", "w", "--class", &class, "--enroll-namespace", "--wait"];

        let (fine, said) = ran(ground, &[&apply[..], &["--waypoint-timeout", "3s"]].concat())?;
        ensure!(!fine && said.contains("is not ready after 3s") && said.contains("nobody was enrolled"), "{said}");
        ensure!(enrolled()?.is_null(), "enrolled although nothing is ready");

        let mut applying = waypoint(ground, &[&apply[..], &["--waypoint-timeout", "90s"]].concat())?.spawn()?;
        std::thread::sleep(std::time::Duration::from_secs(2));
        ensure!(applying.try_wait()?.is_none() && enrolled()?.is_null(), "it did not wait");
        ground.kubectl.set_status(&[gateway(&namespace, &class)])?;
        let ended = wait_for("`waypoint apply` to end", PATIENCE, || Ok(applying.try_wait()?));
        if ended.is_err() {
            applying.kill()?;
        }
        let output = applying.wait_with_output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(ended.is_ok_and(|it| it.success()), "{said}");
        ensure!(said.contains(&format!("enrolled namespace/{namespace}")), "{said}");
        ensure!(enrolled()? == "w", "the label is not there: {}", enrolled()?);

        let (fine, listed) = ran(ground, &["list", "-n", &namespace, "-o", "json"])?;
        ensure!(fine, "{listed}");
        let listed: Value = serde_json::from_str(&listed).with_context(|| listed.clone())?;
        ensure!(listed.to_string().contains("\"w\"") && listed.to_string().contains(&namespace), "{listed}");
        let (fine, status) = ran(ground, &["status", "w", "-n", &namespace, "--wait=false"])?;
        ensure!(fine && status.contains("yes"), "{status}");

        let (fine, refused) = ran(ground, &["delete", "w", "-n", &namespace])?;
        ensure!(!fine && refused.contains(&namespace) && refused.contains("nothing was deleted"), "{refused}");
        let (fine, deleted) = ran(ground, &["delete", "w", "-n", &namespace, "--force"])?;
        ensure!(fine, "{deleted}");
        eventually("the Gateway to go", || {
            Ok(ground
                .kubectl
                .get(&["gateways.gateway.networking.k8s.io", "w", "-n", &namespace])?
                .is_null()
                .then_some(()))
        })
    })
}
