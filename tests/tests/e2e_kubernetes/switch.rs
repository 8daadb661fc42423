//! Rules from a ConfigMap that is watched: swapped, refused, rolled out to some nodes, and told of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::candidate::artifact;
use tests::demo::agent::Agent;
use tests::demo::patience::wait_for;
use tests::packed;

use crate::cluster::{BLOCKING, BUILT_IN, Cluster, NODE, PATIENCE};

fn events(cluster: &Cluster) -> Vec<Value> {
    let names = cluster.server.names("events.k8s.io/v1", "Event");
    names
        .iter()
        .filter_map(|(namespace, name)| cluster.server.get("events.k8s.io/v1", "Event", namespace, name))
        .collect()
}

#[test]
fn a_config_map_puts_other_rules_in_force_and_the_node_says_so() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let mut agent = cluster.ready(&[])?;
    let first = cluster.wait_running("the node to say what it runs", |it| it["state"] == "active")?;
    assert_eq!((&first["component"], first["digest"].as_str().map(str::len)), (&json!("builtin:istio"), Some(12)));
    let before = Instant::now();
    cluster.configure(BLOCKING)?;
    let swapped = wait_for("the swap", PATIENCE, || {
        agent.check_running()?;
        let rules = agent.admin().value("/rules")?;
        Ok((rules["rules"] == 2).then_some(before.elapsed()))
    })?;
    ensure!(swapped.as_secs() < 20, "{swapped:?}");
    let now = cluster.wait_running("the node to say the new ones", |it| it["rules"] == 2)?;
    assert_eq!(now["state"], "active");
    let told = |reason: &str| events(&cluster).into_iter().find(|it| it["reason"] == reason);
    let event = wait_for("an Event", PATIENCE, || Ok(told("RulesActive")))?;
    assert_eq!((&event["regarding"]["kind"], &event["reportingInstance"]), (&json!("ConfigMap"), &json!(NODE)));

    // What is wrong stays out, with the reason where people look; and so does nothing at all.
    cluster.configure("component: gone.wasm\n")?;
    let refused = cluster.wait_running("the refusal", |it| it["state"] == "refused")?;
    assert_eq!(refused["rules"], 2);
    ensure!(refused["reason"].as_str().is_some_and(|it| it.contains("has no key \"gone.wasm\"")), "{refused}");
    wait_for("its Event", PATIENCE, || Ok(told("RulesRefused")))?;
    cluster.forget_rules()?;
    let gone =
        cluster.wait_running("the ConfigMap to be missed", |it| it["reason"].to_string().contains("does not exist"))?;
    assert_eq!((&gone["rules"], &gone["state"]), (&json!(2), &json!("refused")));
    assert_eq!(agent.admin().value("/rules")?["rules"], 2);
    cluster.configure(BUILT_IN)?;
    cluster.wait_running("the next rules", |it| it["rules"] == 3 && it["state"] == "active")?;
    // Only this node's object, and Events, were ever written.
    let written: Vec<String> = cluster
        .server
        .audit()
        .into_iter()
        .filter(|it| it.is_accepted() && !it.field_manager.is_empty() && it.user.contains("wayswitch"))
        .map(|it| format!("{} {}", it.resource, it.field_manager))
        .filter(|it| !it.starts_with("noderules.wayswitch.io wayswitch-node") && !it.starts_with("events."))
        .filter(|it| !it.contains(apiserver::ApiServer::MANAGER))
        .collect();
    ensure!(written.is_empty(), "{written:?}");
    Ok(())
}

#[test]
fn a_packed_component_comes_with_the_config_map_and_garbage_changes_nothing() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let agent = cluster.ready(&[])?;
    let packed = packed::gzip(&artifact("service-account")?)?;
    let config = json!({ "config.yaml": "component: other.wasm.gz\n" });
    cluster.configure_with(config.clone(), json!({ "other.wasm.gz": packed::base64(&packed) }))?;
    cluster.wait_running("the packed component", |it| it["component"] == "other.wasm.gz" && it["state"] == "active")?;
    let garbage = vec![0x5a_u8; 700 << 10];
    cluster.configure_with(config, json!({ "other.wasm.gz": packed::base64(&garbage) }))?;
    let refused = cluster.wait_running("the garbage to be refused", |it| it["state"] == "refused")?;
    ensure!(refused["reason"].to_string().contains("cannot be unpacked"), "{refused}");
    assert_eq!(agent.admin().value("/rules")?["rules"], 2);
    Ok(())
}

#[test]
fn a_swap_that_would_change_too_much_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let agent = cluster.ready(&[])?;
    // Another version of Istio leaves most as it is; no waypoint at all does not.
    cluster.server.put(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "loose", "namespace": "bookinfo",
        "labels": { "istio.io/use-waypoint": "nowhere" } }, "spec": { "clusterIP": "10.0.0.99", "ports": [{ "port": 80 }] } }))?;
    wait_for("the row", PATIENCE, || Ok(crate::cluster::decision(&agent, "loose").ok()))?;
    cluster.configure(&format!("{BLOCKING}changesMax: 0\n"))?;
    let refused = cluster.wait_running("the guard", |it| it["state"] == "refused")?;
    let reason = refused["reason"].to_string();
    ensure!(reason.contains("refused at guard") && reason.contains("bookinfo/loose"), "{reason}");
    cluster.configure(&format!("{BLOCKING}changesMax: 1000\n"))?;
    cluster.wait_running("the same with room", |it| it["state"] == "active" && it["rules"] == 2)?;
    Ok(())
}

/// How nice the threads of an agent are whose names begin so.
fn threads(agent: &Agent, name: &str) -> Result<Vec<i64>> {
    let mut nice = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", agent.id()))? {
        // It may be gone by now.
        let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
        let (head, tail) = stat.rsplit_once(')').context("no name in it")?;
        if head.split_once('(').is_some_and(|(_, named)| named.starts_with(name)) {
            nice.push(tail.split_whitespace().nth(16).context("no niceness in it")?.parse()?);
        }
    }
    Ok(nice)
}

#[test]
fn a_large_component_is_compiled_at_the_turn_of_the_node_by_threads_that_are_nice() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let mut agent = cluster.ready(&["--compile-spread".into(), "20".into()])?;
    // A section that nobody reads makes it large, and is packed to next to nothing.
    let mut large = artifact("service-account")?;
    let name = b"\x04size";
    large.push(0);
    large.extend(leb128(name.len() + (600 << 10)));
    large.extend(name);
    large.resize(large.len() + (600 << 10), 0);
    let config = json!({ "config.yaml": "component: large.wasm.gz\n" });
    let before = Instant::now();
    cluster.configure_with(config, json!({ "large.wasm.gz": packed::base64(&packed::gzip(&large)?) }))?;
    let waiting = wait_for("the node to wait", PATIENCE, || {
        let rules = agent.admin().value("/rules")?;
        Ok(rules["waiting"].as_str().map(str::to_owned).or((rules["rules"] == 2).then(String::new)))
    })?;
    let seconds =
        waiting.split(" are compiled ").nth(1).and_then(|it| it.split(' ').next()).context(waiting.clone())?;
    let seconds: f64 = seconds.parse()?;
    // They are there for a moment only, so that is looked all the time.
    let done = AtomicBool::new(false);
    let look = || {
        let mut nice = Vec::new();
        while !done.load(Ordering::Acquire) {
            nice.extend(["candidate", "compile"].map(|name| threads(&agent, name).unwrap_or_default()).concat());
            std::thread::sleep(Duration::from_millis(1));
        }
        nice
    };
    let (swapped, nice) = std::thread::scope(|scope| {
        let looking = scope.spawn(look);
        let swapped = wait_for("the swap", PATIENCE, || {
            Ok((agent.admin().value("/rules")?["rules"] == 2).then(|| before.elapsed()))
        });
        done.store(true, Ordering::Release);
        (swapped, looking.join())
    });
    let (swapped, nice) = (swapped?, nice.map_err(|_| anyhow::anyhow!("looking at threads panicked"))?);
    agent.check_running()?;
    ensure!(swapped.as_secs_f64() >= seconds - 0.1, "{swapped:?} is less than {seconds} s");
    ensure!(!nice.is_empty() && nice.iter().all(|it| *it >= 10), "{nice:?}");
    ensure!(agent.admin().value("/rules")?["waiting"].is_null());
    // What was compiled lately needs no turn, nor does a start.
    cluster.configure(BUILT_IN)?;
    cluster.wait_running("the rules before", |it| it["rules"] == 3)?;
    ensure!(agent.log()?.matches("for nodes take turns").count() == 1);
    Ok(())
}

/// As WebAssembly writes a size.
fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[test]
fn a_roll_out_that_is_paused_stays_paused_over_a_restart() -> Result<()> {
    let rollout = |settings: &str| {
        format!(
            "component: builtin:istio\nrollout:\n  component: builtin:istio\n  settings: {settings}\n  share: 100\n"
        )
    };
    let (old, new) = (r#"{"unbound":"blocked"}"#, r#"{"unbound":"direct"}"#);
    let cluster = Cluster::start(&rollout(old))?;
    let state = ["--kubernetes-state".into(), cluster.folder.path().join("state").into()];
    let settings = |agent: &Agent| anyhow::Ok(agent.admin().value("/rules")?["active"]["settings"].clone());
    let agent = cluster.ready(&state)?;
    assert_eq!(settings(&agent)?, old);
    cluster.configure(&format!("{}  paused: true\n", rollout(new)))?;
    agent.stop()?;
    let agent = cluster.ready(&state)?;
    assert_eq!(settings(&agent)?, old, "as before it was stopped");
    // Without anything kept something must decide.
    let elsewhere = ["--kubernetes-state".into(), cluster.folder.path().join("other").into()];
    drop(agent);
    let agent = cluster.ready(&elsewhere)?;
    assert_eq!(settings(&agent)?, new);
    drop(agent);
    let agent = cluster.ready(&state)?;
    assert_eq!(settings(&agent)?, old);
    cluster.printed(&["rollout", "resume"])?;
    wait_for("the roll-out", PATIENCE, || Ok((settings(&agent)? == new).then_some(())))?;
    Ok(())
}

#[test]
fn a_roll_out_follows_the_labels_of_the_node_and_can_be_held_and_taken_back() -> Result<()> {
    let cluster = Cluster::start(
        "component: builtin:istio\nrollout:\n  component: builtin:istio\n  settings: {unbound: blocked}\n  nodeSelector: {pool: new}\n",
    )?;
    let agent = cluster.ready(&[])?;
    let settings = || Ok::<_, anyhow::Error>(agent.admin().value("/rules")?["active"]["settings"].clone());
    assert_eq!(settings()?, "");
    let node = |pool: &str| json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE, "labels": { "pool": pool } } });
    cluster.server.put(node("new"))?;
    wait_for("the roll-out", PATIENCE, || Ok((settings()? == r#"{"unbound":"blocked"}"#).then_some(())))?;
    cluster.wait_running("the node to say so", |it| it["rules"] == 2)?;
    let status = cluster.printed(&["rollout", "status"])?;
    ensure!(status.contains("nodes with pool=new") && status.contains(NODE), "{status}");
    cluster.printed(&["rollout", "pause"])?;
    cluster.server.put(node("old"))?;
    std::thread::sleep(std::time::Duration::from_secs(7));
    assert_eq!(settings()?, r#"{"unbound":"blocked"}"#, "held");
    cluster.printed(&["rollout", "undo"])?;
    wait_for("the way back", PATIENCE, || Ok((settings()? == "").then_some(())))?;
    let refused = cluster.run(&["rollout", "undo"])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("there is no rollout in it"), "{refused:?}");
    Ok(())
}
