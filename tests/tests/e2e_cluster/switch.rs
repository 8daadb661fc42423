//! A ConfigMap as the switch, on a real API server: what is put there is in force, or refused where people look.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::account::{Account, RULES, ZTUNNEL};
use crate::ground::{Ground, eventually, play};
use crate::node::{BLOCKING, BUILT_IN, flags, ready, wait_running};

/// An Event about the ConfigMap with this reason.
fn wait_event(ground: &Ground, namespace: &str, reason: &str) -> Result<Value> {
    let selector = format!("--field-selector=reason={reason}");
    eventually(&format!("an Event {reason}"), || {
        let events = ground.kubectl.get(&["events.events.k8s.io", "-n", namespace, &selector])?;
        Ok(events["items"].as_array().and_then(|it| it.first()).cloned())
    })
}

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn a_config_map_swaps_the_rules_and_what_is_wrong_with_it_is_told_where_people_look() -> Result<()> {
    play(|ground| {
        let account = Account::apply(ground, &[ZTUNNEL])?;
        let namespace = account.namespace.as_str();
        let configure = |config: &str| ground.config_map(namespace, RULES, json!({ "config.yaml": config }));
        configure(BUILT_IN)?;
        let kubeconfig = account.kubeconfig(ground, "wayswitch")?;
        let agent = ready(ground, "switch", flags(ground, "switch", namespace, &kubeconfig))?;
        let first = wait_running(ground, "switch", "the node to say what it runs", |it| it["state"] == "active")?;
        ensure!((&first["rules"], &first["component"]) == (&json!(1), &json!("builtin:istio")), "{first}");
        // As an operator sees it.
        let table = ground.kubectl.run(&["get", "noderules", &ground.named("switch")])?;
        ensure!(table.contains("RULES") && table.contains("builtin:istio") && table.contains("active"), "{table}");

        configure(BLOCKING)?;
        wait_running(ground, "switch", "the other rules", |it| it["rules"] == 2 && it["state"] == "active")?;
        ensure!(agent.admin().value("/rules")?["active"]["settings"] == r#"{"unbound":"blocked"}"#, "settings");
        let event = wait_event(ground, namespace, "RulesActive")?;
        ensure!(event["regarding"]["name"] == RULES && event["regarding"]["kind"] == "ConfigMap", "{event}");
        ensure!(event["reportingInstance"] == ground.named("switch"), "{event}");

        configure("component: gone.wasm\n")?;
        let refused = wait_running(ground, "switch", "the refusal", |it| it["state"] == "refused")?;
        ensure!(refused["rules"] == 2 && refused["reason"].to_string().contains("gone.wasm"), "{refused}");
        let event = wait_event(ground, namespace, "RulesRefused")?;
        ensure!(event["type"] == "Warning" && event["note"].to_string().contains("gone.wasm"), "{event}");

        ground.kubectl.run(&["delete", "configmap", RULES, "-n", namespace])?;
        let gone = |it: &Value| it["reason"].to_string().contains("does not exist");
        let missed = wait_running(ground, "switch", "the ConfigMap to be missed", gone)?;
        ensure!(missed["rules"] == 2, "{missed}");
        let rules = agent.admin().value("/rules")?;
        ensure!(rules["rules"] == 2 && agent.admin().get("/readyz")?.status == 200, "the rules must stay: {rules}");

        configure(BUILT_IN)?;
        wait_running(ground, "switch", "the next rules", |it| it["rules"] == 3 && it["state"] == "active")?;
        ensure!(agent.stop()?.success(), "it did not end well");
        Ok(())
    })
}
