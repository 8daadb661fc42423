//! The mesh of a real cluster, read with the rights of the service account alone.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::account::{Account, RULES, ZTUNNEL, has, wait_allowed};
use crate::bookinfo;
use crate::ground::{eventually, play, play_bare};
use crate::node::{BUILT_IN, flags, ready, wait_service};

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn definitions_that_come_later_are_followed_without_a_restart() -> Result<()> {
    play_bare(|ground| {
        let account = Account::apply(ground, &[ZTUNNEL])?;
        ground.config_map(&account.namespace, RULES, json!({ "config.yaml": BUILT_IN }))?;
        let kubeconfig = account.kubeconfig(ground, "wayswitch")?;
        let agent = ready(ground, "early", flags(ground, "early", &account.namespace, &kubeconfig))?;
        let absent = |agent: &tests::demo::agent::Agent| -> Result<BTreeSet<String>> {
            let ready = agent.admin().value("/readyz")?;
            Ok(ready["kubernetes"]["absent"].as_array().into_iter().flatten().map(ToString::to_string).collect())
        };
        let before = absent(&agent)?;
        ground.install_definitions()?;
        let kinds = ground.installed.iter().filter(|name| *name != "noderules.wayswitch.io").count();
        ensure!(before.len() == kinds, "of the kinds that were made, {kinds}, these were missed before: {before:?}");
        if kinds == 0 {
            println!("this cluster has all definitions: only that they are seen is shown");
        }
        eventually("the new kinds to be followed", || Ok(absent(&agent)?.is_empty().then_some(())))?;
        let namespace =
            ground.namespace("late", json!({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" }))?;
        ground.kubectl.apply(&mini_mesh(&namespace, &ground.named("waypoint")))?;
        ground.kubectl.apply(&[bookinfo::class(ground)])?;
        wait_service(&agent, &namespace, "cart", |it| it["reason"] == "WaypointIsNotReady")?;
        ground.kubectl.set_status(&[gateway(&namespace, &ground.named("waypoint"))])?;
        wait_service(&agent, &namespace, "cart", |it| it["waypoint"]["name"] == "w")?;
        ensure!(agent.stop()?.success(), "it did not end well");
        Ok(())
    })
}

/// A waypoint with a status, of which a first `apply` takes the rest only.
pub(crate) fn gateway(namespace: &str, class: &str) -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "w", "namespace": namespace },
        "spec": { "gatewayClassName": class, "listeners": [{ "name": "mesh", "port": 15008, "protocol": "HBONE" }] },
        "status": { "addresses": [{ "type": "IPAddress", "value": "192.0.2.21" }],
            "conditions": [{ "type": "Programmed", "status": "True", "reason": "Programmed", "message": "",
                "observedGeneration": 1, "lastTransitionTime": "2024-01-01T00:00:00Z" }] } })
}

/// A Service and the waypoint `w`, not ready yet.
pub(crate) fn mini_mesh(namespace: &str, class: &str) -> Vec<Value> {
    let mut gateway = gateway(namespace, class);
    gateway.as_object_mut().and_then(|it| it.remove("status"));
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "cart", "namespace": namespace },
        "spec": { "ports": [{ "name": "http", "port": 80 }], "selector": { "app": "cart" } } });
    vec![gateway, service]
}

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn with_the_rendered_rights_the_mesh_is_decided_as_its_manifests_say() -> Result<()> {
    play(|ground| {
        bookinfo::apply(ground)?;
        let account = Account::apply(ground, &[ZTUNNEL])?;
        ground.config_map(&account.namespace, RULES, json!({ "config.yaml": BUILT_IN }))?;
        let kubeconfig = account.kubeconfig(ground, "wayswitch")?;
        // Not somebody who may do anything.
        wait_allowed(&ground.kubectl, &account.user("wayswitch"), &["list", "pods", "-A"], true)?;
        wait_allowed(&ground.kubectl, &account.user("wayswitch"), &["list", "secrets", "-A"], false)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut all = flags(ground, "reader", &account.namespace, &kubeconfig);
        all.extend(["--metrics".into(), format!("127.0.0.1:{port}").into()]);
        let agent = ready(ground, "reader", all)?;

        let wanted = bookinfo::expected("istio")?;
        let mut last = Value::Null;
        let decided = eventually("the decisions of the example", || {
            last = bookinfo::short(ground, &agent.admin().value("/decisions")?);
            let is_so = |(name, row): (&String, &Value)| last[name] == *row;
            Ok(wanted.as_object().is_some_and(|it| it.len() > 20 && it.iter().all(is_so)).then_some(()))
        });
        ensure!(decided.is_ok(), "{last:#} instead of {wanted:#}");
        let kubernetes = agent.admin().value("/readyz")?["kubernetes"].take();
        ensure!(kubernetes["isFresh"] == true, "{kubernetes}");
        ensure!(kubernetes["problems"].as_array().is_some_and(Vec::is_empty), "{kubernetes}");

        let metrics = asked(port, "/metrics")?;
        ensure!(metrics.contains("\nwayswitch_source_synced{source=\"kubernetes\"} 1"), "{metrics}");
        ensure!(asked(port, "/readyz")?.starts_with("HTTP/1.1 200"), "not ready for the kubelet");
        let token = std::fs::read_to_string(ground.folder.path().join("wayswitch.token"))?;
        ensure!(!has(&ground.folder.path().join("reader/agent.log"), &token)?, "the token is in the log");
        ensure!(agent.stop()?.success(), "it did not end well");
        Ok(())
    })
}

fn asked(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
