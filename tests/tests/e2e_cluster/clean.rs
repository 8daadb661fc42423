//! Takes away what a story made, and nothing else, in bounded time. Where no controller empties a namespace that is to go, this
//! does, and says so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use deploy_checks::manifest::text;
use serde_json::{Value, json};
use tests::demo::patience::{Patience, wait_for};

use crate::ground::{Ground, LABEL};
use crate::kubectl::Kubectl;

/// What stories make without a namespace, by label.
const UNBOUND: &str = "clusterrolebindings,clusterroles";
/// How long a controller of namespaces has to show that it is there.
const CONTROLLER_SHOWS: Duration = Duration::from_secs(5);
/// How long it has to do its work.
const GONE_WITHIN: Patience = Patience::to_the_end(Duration::from_secs(120));
/// How often a namespace is looked through.
const ROUNDS_MAX: usize = 6;

/// See the module. Goes on after a failure, so that as much as possible goes.
pub(crate) fn all(ground: &Ground) -> Result<()> {
    let failures: Vec<String> = [unbound(ground), namespaces(ground), definitions(ground)]
        .into_iter()
        .filter_map(|done| done.err().map(|error| format!("{error:#}")))
        .collect();
    ensure!(
        failures.is_empty(),
        "{}\nlook for what is called {}-*, or labelled {}",
        failures.join("\n"),
        ground.prefix,
        ground.selector()
    );
    Ok(())
}

fn unbound(ground: &Ground) -> Result<()> {
    let kubectl = &ground.kubectl;
    let selector = ground.selector();
    kubectl.run(&["delete", UNBOUND, "-l", &selector, "--wait=false"])?;
    // Where the definition is not there, neither is such an object.
    let classes = kubectl.output(&["delete", "gatewayclasses", "-l", &selector, "--wait=false"], None)?;
    let said = String::from_utf8_lossy(&classes.stderr);
    ensure!(classes.status.success() || said.contains("the server doesn't have a resource type"), "{said}");
    // Agents make these: they have no label, but the name of their node.
    let nodes = kubectl.output(&["get", "noderules", "-o", "name"], None)?;
    let ours = format!("noderules.wayswitch.io/{}-", ground.prefix);
    let names = String::from_utf8_lossy(&nodes.stdout).into_owned();
    let names: Vec<&str> = names.lines().filter(|name| name.starts_with(&ours)).collect();
    if !names.is_empty() {
        kubectl.run(&[&["delete", "--wait=false"], names.as_slice()].concat())?;
    }
    Ok(())
}

fn namespaces(ground: &Ground) -> Result<()> {
    let kubectl = &ground.kubectl;
    let names = kubectl.names(&["namespaces", "-l", &ground.selector()])?;
    let names: Vec<&str> = names.iter().filter_map(|it| it.strip_prefix("namespace/")).collect();
    if names.is_empty() {
        return Ok(());
    }
    ensure!(names.iter().all(|it| it.starts_with(&format!("{}-", ground.prefix))), "{LABEL} on a namespace of others");
    kubectl.run(&[&["delete", "namespaces", "--wait=false"], names.as_slice()].concat())?;
    let begun = Instant::now();
    let has_controller = loop {
        let left = kubectl.get(&["namespaces", "-l", &ground.selector()])?;
        let left: Vec<&Value> = left["items"].as_array().into_iter().flatten().collect();
        // What it finds in a namespace it says in conditions.
        if left.is_empty() || left.iter().any(|it| it["status"]["conditions"].is_array()) {
            break true;
        }
        if begun.elapsed() > CONTROLLER_SHOWS {
            break false;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    if !has_controller {
        println!(
            "no controller takes namespaces away here: {} are emptied and finalised by this test",
            names.join(", ")
        );
        let kinds = kubectl.run(&["api-resources", "--verbs=list,delete", "--namespaced", "-o", "name"])?;
        let kinds = kinds.lines().collect::<Vec<_>>().join(",");
        std::thread::scope(|scope| {
            let done: Vec<_> = names.iter().map(|name| scope.spawn(|| finalise(kubectl, name, &kinds))).collect();
            done.into_iter().try_for_each(|it| match it.join() {
                Ok(done) => done,
                Err(_) => bail!("a thread that empties a namespace panicked"),
            })
        })?;
    }
    wait_for("the namespaces to go", GONE_WITHIN, || {
        std::thread::sleep(Duration::from_millis(300));
        Ok(kubectl.names(&["namespaces", "-l", &ground.selector()])?.is_empty().then_some(()))
    })
}

/// What the controller would do: nothing may be in a namespace that is gone.
fn finalise(kubectl: &Kubectl, namespace: &str, kinds: &str) -> Result<()> {
    for _ in 0..ROUNDS_MAX {
        let names = kubectl.names(&[kinds, "-n", namespace])?;
        if names.is_empty() {
            let mut object = kubectl.get(&["namespace", namespace])?;
            ensure!(text(&object, "/status/phase") == "Terminating", "{namespace} is not to go");
            object["spec"]["finalizers"] = json!([]);
            let path = format!("/api/v1/namespaces/{namespace}/finalize");
            return kubectl.feed(&["replace", "--raw", &path, "-f", "-"], &object).map(drop);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let delete = ["delete", "-n", namespace, "--ignore-not-found", "--wait=false", "--grace-period=0", "--force"];
        kubectl.run(&[&delete, names.as_slice()].concat())?;
    }
    bail!("{namespace} is not empty after {ROUNDS_MAX} rounds")
}

fn definitions(ground: &Ground) -> Result<()> {
    if ground.installed.is_empty() {
        return Ok(());
    }
    // By label: one that somebody else made in the meantime is not ours.
    let selector = ground.selector();
    ground
        .kubectl
        .run(&["delete", "crd", "-l", &selector, "--timeout=90s"])
        .map(drop)
        .context("the definitions that were missing")
}
