//! `kubectl` as a child process: what an operator would type. Every call is bounded.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Who owns the fields that these stories set.
const MANAGER: &str = "wayswitch-e2e";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    kubeconfig: PathBuf,
    /// What is known of kinds is kept here, not in the user's home.
    cache: PathBuf,
}

impl Kubectl {
    /// As the user of this kubeconfig.
    pub(crate) fn new(kubeconfig: &Path, folder: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), cache: folder.join("kubectl-cache") }
    }

    /// The same as somebody else.
    pub(crate) fn by(&self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), cache: self.cache.clone() }
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs it, whatever comes of it.
    pub(crate) fn output(&self, arguments: &[&str], input: Option<&Value>) -> Result<Output> {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--cache-dir").arg(&self.cache);
        command.arg("--request-timeout=30s").args(arguments).env_remove("KUBECONFIG");
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run kubectl, which must be on PATH")?;
        if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
            // kubectl that ended says more than a broken pipe.
            let _closed = pipe.write_all(input.to_string().as_bytes());
        }
        Ok(child.wait_with_output()?)
    }

    /// Runs it; what it prints. It must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        self.fed(arguments, None)
    }

    fn fed(&self, arguments: &[&str], input: Option<&Value>) -> Result<String> {
        let output = self.output(arguments, input)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs it with an object as input.
    pub(crate) fn feed(&self, arguments: &[&str], input: &Value) -> Result<String> {
        self.fed(arguments, Some(input))
    }

    /// The answer as JSON; null where the object is not there.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["get", "--ignore-not-found", "-o", "json"];
        all.extend(arguments);
        let text = self.run(&all)?;
        if text.trim().is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// The names of objects, as `KIND.GROUP/NAME`.
    pub(crate) fn names(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let mut all = vec!["get", "--ignore-not-found", "-o", "name"];
        all.extend(arguments);
        Ok(self.run(&all)?.lines().map(str::to_owned).collect())
    }

    /// Applies objects on the server's side, in their order.
    pub(crate) fn apply(&self, objects: &[Value]) -> Result<()> {
        self.applied(objects, &[])
    }

    /// Sets what these objects say about their status, for the controllers that are not there.
    pub(crate) fn set_status(&self, objects: &[Value]) -> Result<()> {
        let objects: Vec<Value> = objects.iter().filter(|it| it["status"].is_object()).map(status_only).collect();
        if objects.is_empty() { Ok(()) } else { self.applied(&objects, &["--subresource=status"]) }
    }

    fn applied(&self, objects: &[Value], more: &[&str]) -> Result<()> {
        let manager = format!("--field-manager={MANAGER}");
        let mut arguments =
            vec!["apply", "--server-side", "--force-conflicts", "--validate=false", &manager, "-f", "-"];
        arguments.extend(more);
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        self.feed(&arguments, &list).map(drop)
    }
}

fn status_only(object: &Value) -> Value {
    let metadata = json!({ "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"] });
    json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": metadata, "status": object["status"] })
}
