//! Rules that come in: at the start, by a swap of `..data`, by an edit, a thousand times, and back again.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::candidate::artifact;
use tests::demo::agent::Agent;
use tests::demo::patience::wait_for;

use crate::node::{BLOCKING, ISTIO, Node, PATIENCE, SERVICE_ACCOUNT, copy_bookinfo, expected, flags, short};

#[test]
fn the_agent_is_ready_once_rules_are_in_force() -> Result<()> {
    let mut node = Node::start_unready("component: later.wasm\n")?;
    let health = wait_for("the admin socket", PATIENCE, || Ok(node.admin().get("/healthz").ok()))?;
    assert_eq!((health.status, health.text.as_str()), (200, "ok\n"));
    let refused = wait_for("the first look", PATIENCE, || {
        let refused = node.rules()?["history"]["refused"][0].clone();
        Ok((!refused.is_null()).then_some(refused))
    })?;
    assert_eq!((&refused["stage"], &refused["active_rules"]), (&json!("fetch"), &json!(0)));
    let unready = node.admin().get("/readyz")?;
    assert_eq!((unready.status, &unready.json()?["ready"]), (503, &json!(false)));
    assert_eq!(node.admin().get("/explain?kind=service&namespace=bookinfo&name=details")?.status, 503);

    node.configure(ISTIO)?;
    node.agent.wait_ready(PATIENCE)?;
    let ready = node.admin().get("/readyz")?;
    assert_eq!((ready.status, &ready.json()?["rules"]), (200, &json!(1)));
    Ok(())
}

#[test]
fn a_swap_of_data_puts_the_other_component_in_charge_of_the_same_mesh() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    assert_eq!(short(&node.decisions()?), expected("istio")?);
    let before = node.rules()?;
    let after = node.swap(SERVICE_ACCOUNT)?;
    assert_eq!(short(&node.decisions()?), expected("service-account")?);
    assert_eq!((&before["rules"], &after["rules"]), (&json!(1), &json!(2)));
    assert_eq!(before["revision"], after["revision"], "no object changed");
    assert_eq!(after["active"]["component"], "service-account.wasm");
    let swap = &after["history"]["swaps"][1];
    assert_eq!((&swap["rules"], &swap["decisions"]), (&json!(2), &json!(26)));
    assert!(swap["changed"].as_u64().context("changed")? > 0 && swap["swap_ms"].as_f64().context("swap_ms")? > 0.0);
    assert_eq!(swap["digest"], after["active"]["facts"]["digest"]);
    Ok(())
}

#[test]
fn settings_alone_are_new_rules() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let after = node.swap(BLOCKING)?;
    assert_eq!(after["active"]["settings"], r#"{"unbound":"blocked"}"#);
    let decisions = node.decisions()?;
    let blocked: Vec<&str> =
        decisions.iter().filter(|(_, it)| it["choice"] == "blocked").map(|(row, _)| row.as_str()).collect();
    assert_eq!(
        blocked,
        [
            "Pod bookinfo/ratings-v1",
            "Pod legacy/loyalty-v1",
            "Service bookinfo/ratings-next",
            "Service legacy/invoices",
            "Service legacy/loyalty"
        ]
    );
    Ok(())
}

#[test]
fn the_same_configuration_again_is_no_swap() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    node.configure(ISTIO)?;
    // The next one shows that the one before was looked at, and not counted.
    let after = node.swap(BLOCKING)?;
    assert_eq!((&after["rules"], &after["history"]["swaps_total"]), (&json!(2), &json!(2)));
    Ok(())
}

#[test]
fn plain_files_may_be_edited_in_place() -> Result<()> {
    let folder = tempfile::tempdir()?;
    copy_bookinfo(&folder.path().join("manifests"))?;
    let rules = folder.path().join("rules");
    fs::create_dir(&rules)?;
    fs::write(rules.join("istio.wasm"), artifact("istio")?)?;
    fs::write(rules.join("config.yaml"), ISTIO)?;
    let mut agent = Agent::start(folder.path(), flags(folder.path()))?;
    agent.wait_ready(PATIENCE)?;
    fs::write(rules.join("config.yaml"), BLOCKING)?;
    let after = wait_for("a swap", PATIENCE, || {
        let rules = agent.admin().value("/rules")?;
        Ok((rules["rules"] == 2).then_some(rules))
    })?;
    assert_eq!(after["active"]["settings"], r#"{"unbound":"blocked"}"#);

    // Another component under the same name, the configuration untouched.
    fs::write(rules.join("istio.wasm"), artifact("service-account")?)?;
    // It takes no settings, which shows that it was asked. A file that is half written may be refused before.
    wait_for("a refusal", PATIENCE, || {
        let rules = agent.admin().value("/rules")?;
        let refused = rules["history"]["refused"].as_array().context("no history")?;
        Ok(refused.iter().any(|refused| refused["stage"] == "describe").then_some(()))
    })
}

#[test]
fn a_thousand_swaps_in_a_row_end_at_the_last_one() -> Result<()> {
    const MEMORY_GROWTH_MAX_KIB: u64 = 128 << 10;
    // Hardly any quiet time is needed, so the agent is at work all the time and often reads what is just replaced.
    let mut node = Node::start_debounced(SERVICE_ACCOUNT, 1)?;
    node.swap(ISTIO)?;
    let before = peak_memory_kib(node.agent.id())?;
    for number in 0..999 {
        node.configure(if number % 2 == 0 { BLOCKING } else { ISTIO })?;
        thread::sleep(Duration::from_millis(3));
    }
    node.configure(SERVICE_ACCOUNT)?;
    let rules = wait_for("the last rules", PATIENCE, || {
        let rules = node.rules()?;
        Ok((rules["active"]["component"] == "service-account.wasm").then_some(rules))
    })?;
    assert_eq!(short(&node.decisions()?), expected("service-account")?);
    assert_eq!(node.admin().get("/readyz")?.status, 200);
    // A version that is gone while it is read is no failure: the next one is read.
    assert_eq!(rules["history"]["refused"], json!([]));
    let peak = peak_memory_kib(node.agent.id())?;
    println!("{} rules for 1001 versions; memory {before} KiB, then {peak} KiB", rules["rules"]);
    assert!(peak < before + MEMORY_GROWTH_MAX_KIB, "from {before} to {peak} KiB");
    Ok(())
}

/// The most memory a process has had.
fn peak_memory_kib(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn rollback_goes_to_the_rules_before_and_there_must_be_some() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let nothing = node.admin().post("/rollback")?;
    assert_eq!((nothing.status, nothing.json()?["error"].clone()), (409, json!("there are no rules to go back to")));
    assert_eq!(node.admin().get("/rollback")?.status, 405);

    node.swap(SERVICE_ACCOUNT)?;
    let back = node.admin().post("/rollback")?;
    assert_eq!(back.status, 200, "{}", back.text);
    let report: Value = back.json()?;
    assert_eq!((&report["rules"], &report["component"]), (&json!(3), &json!("istio.wasm")));
    assert_eq!(short(&node.decisions()?), expected("istio")?);

    // Going back twice is going forth.
    assert_eq!(node.admin().post("/rollback")?.json()?["component"], "service-account.wasm");
    assert_eq!(short(&node.decisions()?), expected("service-account")?);
    assert_eq!(node.rules()?["rules"], 4);
    Ok(())
}

#[test]
fn a_component_may_come_from_an_allowed_folder_and_from_no_other() -> Result<()> {
    let allowed = tempfile::tempdir()?;
    fs::write(allowed.path().join("mine.wasm"), artifact("service-account")?)?;
    let mut node = Node::start_with(ISTIO, &["--components".into(), allowed.path().into()])?;
    let path = allowed.path().join("mine.wasm").display().to_string();
    let after = node.swap(&format!("component: {path}\n"))?;
    assert_eq!(after["active"]["component"], json!(path));

    let before = node.rules()?;
    node.configure("component: /etc/passwd\n")?;
    let refused = node.wait_refused(&before)?;
    let reason = refused["reason"].as_str().context("no reason")?;
    assert!(reason.contains("/etc/passwd is not below a folder that --components allows"), "{reason}");
    Ok(())
}
