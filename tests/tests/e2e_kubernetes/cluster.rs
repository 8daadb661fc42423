//! A cluster for one test: the Bookinfo manifests behind an API server, rules in a ConfigMap, and agents that follow both.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result, bail, ensure};
use apiserver::ApiServer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::demo::agent::{Agent, command};
use tests::demo::patience::{Patience, wait_for};
use tokio::runtime::Runtime;

/// kube tries again after up to 30 s; machines that test are slow and busy.
pub(crate) const PATIENCE: Patience = Patience::seconds(90);

pub(crate) const BUILT_IN: &str = "component: builtin:istio\n";
pub(crate) const BLOCKING: &str = "component: builtin:istio\nsettings: {unbound: blocked}\n";

const NAMESPACE: &str = "wayswitch-system";
const RULES: &str = "wayswitch-rules";
pub(crate) const NODE: &str = "node-1";

/// See the module. Fields end in this order.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) folder: TempDir,
    _runtime: Runtime,
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Cluster {
    /// With the example, these rules, and the definition of NodeRules.
    pub(crate) fn start(config: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let server = runtime.block_on(ApiServer::start())?;
        let folder = tempfile::tempdir()?;
        server.write_kubeconfig(&folder.path().join("kubeconfig"), None)?;
        server.put_yaml(&fs::read_to_string(data("../deploy/crds/noderules.yaml"))?)?;
        for name in [NAMESPACE, "bookinfo"] {
            server.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))?;
        }
        let labels = json!({ "topology.kubernetes.io/zone": "z1" });
        server.put(json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE, "labels": labels } }))?;
        let mut files: Vec<PathBuf> =
            fs::read_dir(data("data/bookinfo/manifests"))?.map(|it| Ok(it?.path())).collect::<Result<_>>()?;
        files.sort();
        for file in files {
            server.put_yaml(&fs::read_to_string(&file)?).with_context(|| file.display().to_string())?;
        }
        let cluster = Self { server, folder, _runtime: runtime };
        cluster.configure(config)?;
        Ok(cluster)
    }

    /// Replaces the rules.
    pub(crate) fn configure(&self, config: &str) -> Result<()> {
        self.configure_with(json!({ "config.yaml": config }), json!({}))
    }

    pub(crate) fn configure_with(&self, data: Value, binary: Value) -> Result<()> {
        self.server.put(json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": data, "binaryData": binary,
            "metadata": { "name": RULES, "namespace": NAMESPACE } }))?;
        Ok(())
    }

    /// Takes the rules away.
    pub(crate) fn forget_rules(&self) -> Result<()> {
        Ok(self.server.delete("v1", "ConfigMap", NAMESPACE, RULES)?)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// What every agent here is started with.
    pub(crate) fn flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = vec!["--kubernetes".into(), "--kubeconfig".into(), self.kubeconfig().into()];
        flags.extend(["--rules", "configmap:wayswitch-system/wayswitch-rules", "--debounce-ms", "20"].map(Into::into));
        flags.extend(["--node-name", NODE, "--node-status"].map(Into::into));
        flags
    }

    /// An agent, with further flags.
    pub(crate) fn agent(&self, more: &[OsString]) -> Result<Agent> {
        Agent::start(self.folder.path(), self.flags().into_iter().chain(more.iter().cloned()))
    }

    /// An agent that has rules in force.
    pub(crate) fn ready(&self, more: &[OsString]) -> Result<Agent> {
        let mut agent = self.agent(more)?;
        agent.wait_ready(PATIENCE)?;
        Ok(agent)
    }

    /// What the node says that it runs, once it is so.
    pub(crate) fn wait_running(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_for(what, PATIENCE, || {
            let object = self.server.get("wayswitch.io/v1alpha1", "NodeRules", "", NODE);
            Ok(object.map(|it| it["status"].clone()).filter(|status| is_so(status)))
        })
    }

    /// Runs a command on this cluster.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = command()?;
        command.args(arguments).arg("--kubeconfig").arg(self.kubeconfig()).current_dir(self.folder.path());
        Ok(command.output()?)
    }

    /// The same, which must succeed; what it prints.
    pub(crate) fn printed(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The decision for a Service of the example.
pub(crate) fn decision(agent: &Agent, name: &str) -> Result<Value> {
    let answer = agent.admin().value(&format!("/decisions?kind=service&namespace=bookinfo&name={name}"))?;
    let Some(decision) = answer["decisions"].as_array().and_then(|it| it.first()) else {
        bail!("no decision for {name}: {answer}")
    };
    Ok(decision.clone())
}

/// Waits until a row is decided so.
pub(crate) fn wait_decision(agent: &Agent, name: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_for(&format!("the decision for {name}"), PATIENCE, || {
        Ok(decision(agent, name).ok().filter(|decision| is_so(decision)))
    })
}
