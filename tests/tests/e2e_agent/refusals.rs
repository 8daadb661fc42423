//! ConfigMaps that must be refused: the active rules stay, and `/rules` and the log say where and why in the same words.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::guests;

use crate::node::{CONFIG_FILE, ISTIO, Node, SERVICE_ACCOUNT, expected, short};

/// A ConfigMap, and what the refusal must say.
struct Bad {
    files: Vec<(&'static str, Vec<u8>)>,
    stage: &'static str,
    reason: &'static str,
}

fn config(text: &str, stage: &'static str, reason: &'static str) -> Bad {
    Bad { files: vec![(CONFIG_FILE, text.into())], stage, reason }
}

fn component(bytes: Vec<u8>, stage: &'static str, reason: &'static str) -> Bad {
    let files = vec![(CONFIG_FILE, b"component: it.wasm\n".into()), ("it.wasm", bytes)];
    Bad { files, stage, reason }
}

fn bad_config_maps() -> Vec<Bad> {
    let settings = |text: &str, reason| Bad {
        files: vec![(CONFIG_FILE, format!("component: builtin:istio\nsettings: {text}\n").into_bytes())],
        stage: "describe",
        reason,
    };
    vec![
        Bad { files: vec![("readme", b"nothing".into())], stage: "fetch", reason: "config.yaml cannot be read" },
        config("component: [it.wasm", "fetch", "config.yaml:1:"),
        config("settings: {}\n", "fetch", "component"),
        config("component: it.wasm\nsetings: {}\n", "fetch", "setings"),
        config("component: it.wasm\n", "fetch", "it.wasm cannot be read: No such file or directory"),
        config("component: ../../secret.wasm\n", "fetch", "../../secret.wasm cannot be read"),
        config("component: link.wasm\n", "fetch", "link.wasm cannot be read"),
        component(Vec::new(), "validate", "the file is empty"),
        component(guests::truncated(), "validate", "failed to parse WebAssembly module"),
        component(guests::core_module(), "validate", "module"),
        component(guests::wrong_world(), "validate", "wrong world: wayswitch:waypoint/resolver@0.1.0 is not exported"),
        component(guests::importing_function(), "validate", "wasi:random/random@0.2.0"),
        component(guests::component("describe-trap"), "describe", "unreachable"),
        component(guests::component("resolve-trap"), "shadow", "unreachable"),
        component(guests::component("resolve-loop"), "shadow", "all fuel consumed"),
        component(guests::component("wrong-length"), "shadow", "wrong answer"),
        settings("{unbound: perhaps}", "`unbound` must be one of `direct`, `blocked`"),
        settings("{unbuond: direct}", "unbuond"),
    ]
}

#[test]
fn what_is_refused_leaves_the_active_rules_and_says_where_and_why() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    // Both lead out of the folder, to something that could be read.
    fs::write(node.folder().join("secret.wasm"), guests::component("well-behaved"))?;
    symlink(node.folder().join("secret.wasm"), node.map.folder().join("link.wasm"))?;
    for bad in bad_config_maps() {
        let before = node.rules()?;
        let files: Vec<(&str, &[u8])> = bad.files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        node.map.replace(&files)?;
        let refused = node.wait_refused(&before).with_context(|| format!("{} {}", bad.stage, bad.reason))?;
        let reason = refused["reason"].as_str().context("no reason")?;
        assert!(reason.contains(bad.reason), "expected {}: {reason}", bad.reason);
        assert_eq!((&refused["stage"], &refused["active_rules"]), (&json!(bad.stage), &json!(1)), "{reason}");
        assert!(node.agent.log()?.contains(reason), "not in the log: {reason}");
        assert_eq!(node.admin().get("/readyz")?.status, 200, "{reason}");
    }
    assert_eq!(short(&node.decisions()?), expected("istio")?);
    // And the next good one is taken.
    node.configure(SERVICE_ACCOUNT)?;
    let after = tests::demo::patience::wait_for("rules 2", crate::node::PATIENCE, || {
        let rules = node.rules()?;
        Ok((rules["rules"] == 2).then_some(rules))
    })?;
    assert_eq!(after["active"]["component"], "service-account.wasm");
    Ok(())
}

#[test]
fn a_limit_that_was_reached_is_named_with_its_figure() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let before = node.rules()?;
    node.configure("component: service-account.wasm\nlimits: {componentBytes: 1000}\n")?;
    let refused = node.wait_refused(&before)?;
    assert_eq!(refused["stage"], "validate", "{refused}");
    let limit = refused["limit"].as_str().context("no limit")?;
    assert!(limit.contains("1000"), "{limit}");
    Ok(())
}

#[test]
fn a_component_that_is_not_the_pinned_one_is_refused() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let digest = node.rules()?["active"]["facts"]["digest"].as_str().context("no digest")?.to_owned();
    let other = node.swap(SERVICE_ACCOUNT)?["active"]["facts"]["digest"].as_str().context("no digest")?.to_owned();
    let before = node.rules()?;
    node.configure(&format!("component: istio.wasm\nsha256: {other}\n"))?;
    let refused = node.wait_refused(&before)?;
    assert_eq!((&refused["stage"], &refused["component"]), (&json!("digest"), &json!("istio.wasm")));
    let reason = refused["reason"].as_str().context("no reason")?;
    assert!(reason.contains(&digest) && reason.contains(&other), "{reason}");

    node.configure(&format!("component: istio.wasm\nsha256: {digest}\n"))?;
    let after = tests::demo::patience::wait_for("the pinned component", crate::node::PATIENCE, || {
        let rules = node.rules()?;
        Ok((rules["rules"] == 3).then_some(rules))
    })?;
    assert_eq!(after["active"]["component"], "istio.wasm");
    Ok(())
}
