//! ztunnel with the mesh from our agent: nothing but ztunnel's settings says that it is not the mesh's own control plane.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tests::demo::agent::Agent;
use tests::demo::config_map::ConfigMap;
use tests::demo::patience::{Patience, wait_for};

use super::mesh::{FIRST, Family, NODE_NAME, Pod, manifests};
use super::stage::{Stage, play, whole_program};
use super::swap::swap_under_load;
use super::ztunnel::{Place, Ztunnel};

/// Compiling a component takes well under a second; machines that test are slow and busy.
pub(crate) const SWAP_PATIENCE: Patience = Patience::seconds(40);
/// In the node's network.
const XDS_PORT: u16 = 15012;
const CONFIG_FILE: &str = "config.yaml";

/// The agent and the folder with its rules.
pub(crate) struct Mesh {
    /// None while it is restarted.
    agent: Option<Agent>,
    rules: ConfigMap,
    folder: PathBuf,
    /// Where ztunnels find it.
    listen: SocketAddr,
    /// What its control plane is, if it has one.
    upstream: Vec<OsString>,
}

/// The component that ships, without and with canaries: see [`manifests`].
fn config(to: &Pod) -> String {
    let istio = if *to == FIRST { "1.30" } else { "1.31" };
    format!("component: builtin:istio\nsettings: {{istio: \"{istio}\"}}\n")
}

impl Mesh {
    /// An agent with the rules of [`FIRST`] in force, in this thread's network, at this address of it, and a mesh with so many
    /// services more.
    pub(crate) fn start(stage: &Stage, ip: IpAddr, more: usize, upstream: Vec<OsString>) -> Result<Self> {
        let folder = stage.ground.folder().to_owned();
        let objects = folder.join("manifests");
        fs::create_dir(&objects)?;
        fs::write(objects.join("shop.yaml"), manifests(stage.family(), more))?;
        let rules = ConfigMap::mount(&folder.join("rules"), &[(CONFIG_FILE, config(&FIRST).as_bytes())])?;
        let mut mesh = Self { agent: None, rules, folder, listen: SocketAddr::new(ip, XDS_PORT), upstream };
        mesh.start_agent()?;
        Ok(mesh)
    }

    fn start_agent(&mut self) -> Result<()> {
        let flags = flags(&self.folder, self.listen).into_iter().chain(self.upstream.iter().cloned());
        let mut agent = Agent::start(&self.folder, flags)?;
        agent.wait_ready(SWAP_PATIENCE)?;
        self.agent = Some(agent);
        Ok(())
    }

    /// A ztunnel that has this mesh, with the certificate and the token that the agent made at its start.
    pub(crate) fn start_ztunnel(&mut self, stage: &Stage) -> Result<Ztunnel> {
        self.start_ztunnel_at(stage, "ztunnel", None)
    }

    /// The same with another name and place.
    pub(crate) fn start_ztunnel_at(&mut self, stage: &Stage, name: &str, place: Place) -> Result<Ztunnel> {
        // The certificate has both.
        let host = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => format!("localhost:{XDS_PORT}"),
            _ => self.listen.to_string(),
        };
        let path = |name: &str| self.folder.join("xds").join(name).to_string_lossy().into_owned();
        let environment = BTreeMap::from([
            ("XDS_ADDRESS", format!("https://{host}")),
            ("XDS_ROOT_CA", path("shared/root-cert.pem")),
            ("AUTH_TOKEN", path("private/token")),
            ("CA_ADDRESS", String::new()),
        ]);
        let log = self.agent()?.log().unwrap_or_default();
        stage.start_ztunnel(name, &environment, place).with_context(|| format!("the agent's log:\n{log}"))
    }

    /// Puts the rules of this waypoint in and waits until they are in force and every ztunnel has taken them up: in one response.
    /// The time from the one to the other.
    pub(crate) fn put(&mut self, to: &Pod) -> Result<Duration> {
        let before = self.ask("/rules")?;
        let responses = self.addresses("/responses")?;
        ensure!(!responses.is_empty(), "no ztunnel is connected");
        self.rules.replace(&[(CONFIG_FILE, config(to).as_bytes())])?;
        let rules = wait_for("new rules", SWAP_PATIENCE, || {
            let now = self.ask("/rules")?;
            let refused = |rules: &Value| rules.pointer("/history/refused_total").cloned();
            if refused(&now) != refused(&before) {
                bail!("the rules of {} were refused: {now}", to.name);
            }
            let rules = number(&now, "/rules")?;
            Ok((rules != number(&before, "/rules")?).then_some(rules))
        })?;
        let in_force = Instant::now();
        wait_for("ztunnel's acknowledgement", SWAP_PATIENCE, || {
            Ok(self.addresses("/acknowledged/rules")?.iter().all(|taken| *taken == rules).then_some(()))
        })?;
        let taken = in_force.elapsed();
        let now = self.addresses("/responses")?;
        let one_more: Vec<u64> = responses.iter().map(|count| count + 1).collect();
        ensure!(now == one_more, "not one response for one swap: {responses:?}, then {now:?}");
        Ok(taken)
    }

    /// Ends the agent without a word, and starts it again with the rules of this waypoint.
    pub(crate) fn restart(&mut self, to: &Pod) -> Result<()> {
        let mut agent = self.agent.take().context("no agent")?;
        agent.signal(rustix::process::Signal::KILL)?;
        agent.wait(SWAP_PATIENCE)?;
        self.rules.replace(&[(CONFIG_FILE, config(to).as_bytes())])?;
        self.start_agent()
    }

    /// A number of each ztunnel about its addresses. Nothing may have been refused.
    fn addresses(&mut self, pointer: &str) -> Result<Vec<u64>> {
        let answer = self.ask("/xds")?;
        let list = |key: &str| answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        ensure!(list("rejected").is_empty(), "ztunnel rejected something: {answer}");
        list("clients").iter().map(|client| number(client, &format!("/types/Address{pointer}"))).collect()
    }

    /// Waits until so many ztunnels are connected.
    pub(crate) fn wait_clients(&mut self, count: usize) -> Result<()> {
        wait_for("ztunnels to come or go", SWAP_PATIENCE, || {
            let clients = self.ask("/xds")?.get("clients").and_then(Value::as_array).map(Vec::len);
            Ok((clients == Some(count)).then_some(()))
        })
    }

    /// Waits until the agent says this of its control plane's mesh: fresh or stale.
    pub(crate) fn wait_upstream(&mut self, word: &str) -> Result<()> {
        wait_for(&format!("a {word} mesh"), SWAP_PATIENCE, || {
            let readiness = self.ask("/readyz")?;
            Ok((readiness.pointer("/upstream/mesh").and_then(Value::as_str) == Some(word)).then_some(()))
        })
    }

    pub(crate) fn ask(&mut self, path: &str) -> Result<Value> {
        let agent = self.agent()?;
        agent.check_running()?;
        agent.admin().value(path)
    }

    fn agent(&mut self) -> Result<&mut Agent> {
        self.agent.as_mut().context("no agent")
    }

    /// Stops the agent in order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let status = self.agent.take().context("no agent")?.stop()?;
        ensure!(status.success(), "the agent was told to stop and ended with {status}");
        Ok(())
    }
}

fn flags(folder: &Path, listen: SocketAddr) -> Vec<OsString> {
    let mut flags: Vec<OsString> = vec!["-f".into(), folder.join("manifests").into()];
    flags.extend(["--rules".into(), folder.join("rules").into(), "--debounce-ms".into(), "20".into()]);
    flags.extend(["--node-name".into(), NODE_NAME.into()]);
    flags.extend(["--xds-listen".into(), listen.to_string().into()]);
    flags.extend(["--xds-dir".into(), folder.join("xds").into()]);
    flags
}

fn number(value: &Value, pointer: &str) -> Result<u64> {
    value.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("no number {pointer} in {value}"))
}

/// Swaps so many times and judges; `put` puts in the rules of a waypoint.
fn swap(family: Family, more: usize, times: usize, put: impl Fn(&mut Mesh, &Pod) -> Result<()> + Sync) -> Result<()> {
    play(family, whole_program(family), |stage| {
        let mut mesh = Mesh::start(stage, family.loopback(), more, Vec::new())?;
        let mut ztunnel = mesh.start_ztunnel(stage)?;
        let run = swap_under_load(stage, &ztunnel, times, |to| put(&mut mesh, to));
        let run = run.with_context(|| format!("ztunnel: {}", ztunnel.last_words()))?;
        run.print();
        ensure!(run.faults.is_empty(), "{}{}", run.faults, ztunnel.last_words());
        ztunnel.check_running()?;
        mesh.stop()
    })
}

/// Rules N send every service to one waypoint and rules N + 1 to the other, under load, to and fro. No connection fails, and who
/// saw N + 1 for one service does not see N for another.
#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn rules_are_swapped_under_load_without_a_mixture() -> Result<()> {
    swap(Family::V4, 0, 10, put)
}

/// The same where nobody has an IPv4 address: pods, services, waypoints, and the agent itself.
#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn with_ipv6_alone_rules_are_swapped_under_load_without_a_mixture() -> Result<()> {
    swap(Family::V6, 0, 10, put)
}

fn put(mesh: &mut Mesh, to: &Pod) -> Result<()> {
    let taken = mesh.put(to)?;
    println!("to {}: taken up {:.1} ms after it was in force", to.name, taken.as_secs_f64() * 1000.0);
    Ok(())
}

/// The same with thousands of services, which all change in one response.
#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn five_thousand_services_are_swapped_under_load_in_one_response() -> Result<()> {
    swap(Family::V4, 5_000, 4, |mesh, to| {
        let taken = mesh.put(to)?;
        println!("to {}: taken up {:.1} ms after it was in force (goal: 250)", to.name, taken.as_secs_f64() * 1000.0);
        Ok(())
    })
}

/// An agent that dies takes nothing from ztunnel, and the next one brings its own rules.
#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn an_agent_that_dies_under_load_fails_no_connection() -> Result<()> {
    swap(Family::V4, 0, 2, Mesh::restart)
}
