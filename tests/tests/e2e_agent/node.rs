//! A node for one test: the Bookinfo manifests, a rules folder, and an agent between them. Gone when it is dropped.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::candidate::artifact;
use tests::demo::admin::Admin;
use tests::demo::agent::Agent;
use tests::demo::config_map::ConfigMap;
use tests::demo::patience::{Patience, wait_for};

/// Compiling takes well under a second; machines that test are slow and busy.
pub(crate) const PATIENCE: Patience = Patience::seconds(60);

pub(crate) const CONFIG_FILE: &str = "config.yaml";
/// Istio's rules, and those of the other component that ships.
pub(crate) const ISTIO: &str = "component: istio.wasm\n";
pub(crate) const BLOCKING: &str = "component: istio.wasm\nsettings: {unbound: blocked}\n";
pub(crate) const SERVICE_ACCOUNT: &str = "component: service-account.wasm\n";

/// See the module. Fields end in this order.
pub(crate) struct Node {
    pub(crate) agent: Agent,
    pub(crate) map: ConfigMap,
    components: Vec<(&'static str, Vec<u8>)>,
    folder: TempDir,
}

/// The manifests that the tests and the demo share.
pub(crate) fn bookinfo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/bookinfo/manifests")
}

/// Copies the example to a folder that a test may change.
pub(crate) fn copy_bookinfo(to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for file in fs::read_dir(bookinfo())? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// What the program is started with, for a folder with `manifests` and `rules`.
pub(crate) fn flags(folder: &Path) -> Vec<OsString> {
    flags_debounced(folder, 20)
}

/// The same with another quiet time.
fn flags_debounced(folder: &Path, debounce_ms: u64) -> Vec<OsString> {
    let mut flags: Vec<OsString> = vec!["-f".into(), folder.join("manifests").into()];
    flags.extend(["--rules".into(), folder.join("rules").into()]);
    flags.extend(["--debounce-ms".into(), debounce_ms.to_string().into()]);
    flags
}

/// Both components beside a configuration, as files of a ConfigMap.
fn files<'a>(config: &'a str, components: &'a [(&'static str, Vec<u8>)]) -> Vec<(&'a str, &'a [u8])> {
    let components = components.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
    std::iter::once((CONFIG_FILE, config.as_bytes())).chain(components).collect()
}

impl Node {
    /// An agent with this configuration in force.
    pub(crate) fn start(config: &str) -> Result<Self> {
        Self::start_with(config, &[])
    }

    /// The same with further flags.
    pub(crate) fn start_with(config: &str, more: &[OsString]) -> Result<Self> {
        let mut node = Self::spawn(config, |folder| flags(folder).into_iter().chain(more.iter().cloned()).collect())?;
        node.agent.wait_ready(PATIENCE)?;
        Ok(node)
    }

    /// The same with further flags that depend on the folder.
    pub(crate) fn start_flagged(config: &str, more: impl FnOnce(&Path) -> Vec<OsString>) -> Result<Self> {
        let mut node = Self::spawn(config, |folder| flags(folder).into_iter().chain(more(folder)).collect())?;
        node.agent.wait_ready(PATIENCE)?;
        Ok(node)
    }

    /// The same with another quiet time than the tests' 20 ms.
    pub(crate) fn start_debounced(config: &str, debounce_ms: u64) -> Result<Self> {
        let mut node = Self::spawn(config, |folder| flags_debounced(folder, debounce_ms))?;
        node.agent.wait_ready(PATIENCE)?;
        Ok(node)
    }

    /// Without waiting for rules in force.
    pub(crate) fn start_unready(config: &str) -> Result<Self> {
        Self::spawn(config, flags)
    }

    fn spawn(config: &str, flags: impl FnOnce(&Path) -> Vec<OsString>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        copy_bookinfo(&folder.path().join("manifests"))?;
        let mut components = Vec::new();
        for (name, of) in
            [("istio.wasm", "istio"), ("service-account.wasm", "service-account"), ("locality.wasm", "locality")]
        {
            components.push((name, artifact(of)?));
        }
        let map = ConfigMap::mount(&folder.path().join("rules"), &files(config, &components))?;
        let agent = Agent::start(folder.path(), flags(folder.path()))?;
        Ok(Self { agent, map, components, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the agent as an operator would, and leaves its folder for another one.
    pub(crate) fn stop(self) -> Result<TempDir> {
        ensure!(self.agent.stop()?.success(), "the agent did not end well");
        Ok(self.folder)
    }

    /// What is left when the agent has ended, for another one.
    pub(crate) fn into_folder(self) -> TempDir {
        self.folder
    }

    pub(crate) fn admin(&self) -> &Admin {
        self.agent.admin()
    }

    /// Replaces the ConfigMap by one with this configuration.
    pub(crate) fn configure(&mut self, config: &str) -> Result<()> {
        self.map.replace(&files(config, &self.components))
    }

    /// Replaces the ConfigMap and waits until the next rules are in force; returns `/rules`.
    pub(crate) fn swap(&mut self, config: &str) -> Result<Value> {
        let before = self.rules()?;
        self.configure(config)?;
        self.wait_swap(&before)
    }

    /// Waits for a swap after this answer of `/rules`.
    pub(crate) fn wait_swap(&mut self, before: &Value) -> Result<Value> {
        wait_for("a swap", PATIENCE, || {
            let now = self.rules()?;
            if now["history"]["refused_total"] != before["history"]["refused_total"] {
                bail!("refused: {}", now["history"]["refused"]);
            }
            Ok((now["rules"] != before["rules"]).then_some(now))
        })
    }

    /// Waits for a refusal after this answer of `/rules`, and returns it.
    pub(crate) fn wait_refused(&mut self, before: &Value) -> Result<Value> {
        wait_for("a refusal", PATIENCE, || {
            let now = self.rules()?;
            ensure!(now["rules"] == before["rules"], "it was put in charge");
            let is_refused = now["history"]["refused_total"] != before["history"]["refused_total"];
            Ok(is_refused.then(|| now["history"]["refused"].as_array().and_then(|all| all.last().cloned())).flatten())
        })
    }

    /// What `/rules` says.
    pub(crate) fn rules(&mut self) -> Result<Value> {
        self.agent.check_running()?;
        self.admin().value("/rules")
    }

    /// All decisions, by the names of their rows.
    pub(crate) fn decisions(&self) -> Result<Vec<(String, Value)>> {
        named(&self.admin().value("/decisions")?)
    }
}

/// A list of decisions with the names of their rows.
pub(crate) fn named(answer: &Value) -> Result<Vec<(String, Value)>> {
    let list = answer["decisions"].as_array().context("no decisions")?;
    let text = |decision: &Value, name: &str| decision[name].as_str().unwrap_or_default().to_owned();
    let name = |it: &Value| format!("{} {}/{}", text(it, "kind"), text(it, "namespace"), text(it, "name"));
    Ok(list.iter().map(|decision| (name(decision), decision.clone())).collect())
}

/// What `expected.json` says that this component decides.
pub(crate) fn expected(component: &str) -> Result<Value> {
    let text = fs::read_to_string(bookinfo().with_file_name("expected.json"))?;
    let mut all: Value = serde_json::from_str(&text)?;
    Ok(all[component].take())
}

/// Decisions in the form of `expected.json`.
pub(crate) fn short(decisions: &[(String, Value)]) -> Value {
    let short = |it: &Value| {
        let waypoint = &it["waypoint"];
        let name = |field: &str| waypoint[field].as_str().unwrap_or_default();
        let waypoint = (!waypoint.is_null()).then(|| format!("{}/{}", name("namespace"), name("name")));
        serde_json::json!({ "waypoint": waypoint, "reason": it["reason"] })
    };
    decisions.iter().map(|(row, decision)| (row.clone(), short(decision))).collect::<serde_json::Map<_, _>>().into()
}
