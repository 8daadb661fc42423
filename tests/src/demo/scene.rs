//! The demo's agent with all around it: manifests, the mounted ConfigMap, and with a kernel a cgroup, pins and stand-ins.
//! It puts rules in and watches what becomes of them; it judges nothing.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use manifest::FolderSource;
use model::{Facts, Name, Store};
use redirect::Records;
use serde::Deserialize;
use serde_json::Value;

use super::agent::Agent;
use super::config_map::ConfigMap;
use super::destinations::{self, Destination};
use super::ledger::{Ledger, read_decisions};
use super::patience::{Patience, wait_for};
use super::places::KernelPlaces;
use super::stand_ins::StandIns;

/// For one swap or refusal. A component compiles in well under a second; machines that test are slow and busy.
const SWAP_PATIENCE: Patience = Patience::seconds(40);

const CONFIG_FILE: &str = "config.yaml";

/// Which component decides, and what it is told.
#[derive(Clone, Debug)]
pub(super) struct RuleSet {
    /// The file in the ConfigMap.
    pub(super) file: String,
    pub(super) bytes: Vec<u8>,
    /// YAML, or nothing.
    pub(super) settings: &'static str,
}

impl RuleSet {
    fn config(&self) -> String {
        let settings = if self.settings.is_empty() { "{}" } else { self.settings };
        format!("component: {}\nsettings: {settings}\n", self.file)
    }

    /// For people.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.file, self.settings).trim_end().to_owned()
    }
}

/// A swap as `/rules` reports it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Swap {
    pub(super) rules: u64,
    pub(super) component: String,
    pub(super) digest: String,
    pub(super) decisions: u64,
    pub(super) changed: u64,
    pub(super) load_ms: f64,
    pub(super) shadow_ms: f64,
    pub(super) prepare_ms: f64,
    pub(super) window_us: f64,
    pub(super) swap_ms: f64,
}

/// A refusal as `/rules` reports it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refused {
    pub(super) component: String,
    pub(super) stage: String,
    pub(super) limit: Option<String>,
    pub(super) reason: String,
    pub(super) active_rules: u64,
}

/// What `/rules` says, as far as it is asked.
#[derive(Debug, Deserialize)]
struct Rules {
    rules: u64,
    history: History,
}

/// What `/rules` remembers.
#[derive(Debug, Deserialize)]
struct History {
    swaps: Vec<Swap>,
    refused: Vec<Refused>,
    swaps_total: u64,
    refused_total: u64,
}

/// The kernel's part of the scene, in the order in which it must end.
pub(super) struct Kernel {
    pub(super) stand_ins: StandIns,
    pub(super) places: KernelPlaces,
}

/// Everything. Fields end in this order: the agent before what it works on.
pub(super) struct Scene {
    agent: Agent,
    pub(super) kernel: Option<Kernel>,
    map: ConfigMap,
    pub(super) destinations: Vec<Destination>,
    pub(super) waypoints: Vec<(Name, SocketAddr)>,
    pub(super) ledger: Ledger,
    /// What each set of rules is called, by its number.
    pub(super) labels: Vec<(u64, String)>,
}

impl Scene {
    /// Starts the agent in `folder` on the first rules, and waits until they are in force.
    pub(super) fn set(folder: &Path, first: &RuleSet, with_kernel: bool) -> Result<Self> {
        let manifests = folder.join("manifests");
        copy_manifests(&manifests)?;
        let mesh = read_mesh(&manifests)?;
        let config = first.config();
        let files = [(CONFIG_FILE, config.as_bytes()), (first.file.as_str(), first.bytes.as_slice())];
        let map = ConfigMap::mount(&folder.join("rules"), &files)?;
        let places = if with_kernel { Some(KernelPlaces::make("demo")?) } else { None };
        let mut flags: Vec<OsString> = vec!["-f".into(), manifests.into(), "--rules".into(), map.folder().into()];
        if let Some(places) = &places {
            flags.extend(["--cgroup".into(), places.cgroup.clone().into_os_string()]);
            flags.extend(["--pin-dir".into(), places.pins.clone().into_os_string(), "--record-passed".into()]);
        }
        let mut agent = Agent::start(folder, flags)?;
        agent.wait_ready(SWAP_PATIENCE)?;
        let waypoints = destinations::waypoints(&mesh);
        let kernel = match places {
            None => None,
            Some(places) => {
                let records = Arc::new(Records::open(&places.pins)?);
                Some(Kernel { stand_ins: StandIns::listen(&waypoints, &records)?, places })
            }
        };
        let destinations = destinations::all(&mesh)?;
        let ledger = Ledger::default();
        let mut scene = Self { agent, kernel, map, destinations, waypoints, ledger, labels: Vec::new() };
        let rules = scene.note_decisions()?;
        scene.labels.push((rules, first.label()));
        Ok(scene)
    }

    /// Replaces the ConfigMap and waits until its rules are in force. Returns their number.
    pub(super) fn swap(&mut self, next: &RuleSet) -> Result<u64> {
        let before = self.rules()?;
        self.replace(next)?;
        wait_for("new rules", SWAP_PATIENCE, || {
            let now = self.rules()?;
            if now.history.refused_total > before.history.refused_total {
                bail!("{} was refused: {:?}", next.label(), now.history.refused.last());
            }
            Ok((now.rules > before.rules).then_some(()))
        })?;
        let rules = self.note_decisions()?;
        self.labels.push((rules, next.label()));
        Ok(rules)
    }

    /// Replaces the ConfigMap by one that must be refused, and waits until it is.
    pub(super) fn swap_refused(&mut self, broken: &RuleSet) -> Result<Refused> {
        let before = self.history()?;
        self.replace(broken)?;
        wait_for("a refusal", SWAP_PATIENCE, || {
            let now = self.history()?;
            ensure!(now.swaps_total == before.swaps_total, "{} was put in charge", broken.label());
            Ok((now.refused_total > before.refused_total).then_some(()))
        })?;
        self.history()?.refused.pop().context("a refusal that is not remembered")
    }

    fn replace(&mut self, rules: &RuleSet) -> Result<()> {
        let config = rules.config();
        self.map.replace(&[(CONFIG_FILE, config.as_bytes()), (rules.file.as_str(), rules.bytes.as_slice())])
    }

    /// The number of the rules in force, by admin.
    pub(super) fn active_rules(&mut self) -> Result<u64> {
        Ok(self.rules()?.rules)
    }

    /// All swaps so far.
    pub(super) fn swaps(&mut self) -> Result<Vec<Swap>> {
        Ok(self.history()?.swaps)
    }

    fn history(&mut self) -> Result<History> {
        Ok(self.rules()?.history)
    }

    fn rules(&mut self) -> Result<Rules> {
        serde_json::from_value(self.ask("/rules")?).context("the agent's answer to /rules")
    }

    fn ask(&mut self, path: &str) -> Result<Value> {
        self.agent.check_running()?;
        self.agent.admin().value(path)
    }

    /// Keeps what the rules in force say. Nobody else changes them, so this is what the kernel has since the swap.
    fn note_decisions(&mut self) -> Result<u64> {
        let (rules, decisions) = read_decisions(self.ask("/decisions")?)?;
        self.ledger.add(rules, decisions);
        Ok(rules)
    }

    /// Stops the agent, and returns the rest.
    pub(super) fn stop_agent(self) -> Result<Option<Kernel>> {
        let status = self.agent.stop()?;
        ensure!(status.success(), "the agent was told to stop and ended with {status}");
        Ok(self.kernel)
    }
}

/// Where the example is.
fn example() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/bookinfo/manifests")
}

fn copy_manifests(to: &Path) -> Result<()> {
    let example = example();
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    for file in fs::read_dir(&example).with_context(|| format!("the example is missing: {}", example.display()))? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name())).context("cannot copy the manifests")?;
    }
    Ok(())
}

/// The mesh as the manifests have it: for addresses, not for decisions.
fn read_mesh(manifests: &Path) -> Result<Store> {
    let snapshot = FolderSource::new(vec![manifests.to_owned()], manifest::Limits::default()).load();
    ensure!(snapshot.problems.is_empty(), "the example's manifests are broken: {:?}", snapshot.problems);
    let mut store = Store::new(Facts::default());
    store.apply_all(manifest::diff(&manifest::Snapshot::default(), &snapshot));
    Ok(store)
}
