//! Who the agent is to the cluster: the service account, roles and bindings that `deploy/` renders, under this story's names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use deploy_checks::manifest::{self, list, text};
use serde_json::{Value, json};

use crate::ground::{Ground, eventually};
use crate::kubectl::Kubectl;

/// What `kubectl apply -k deploy/kustomize/overlays/ztunnel` applies.
pub(crate) const ZTUNNEL: &str = "deploy/kustomize/rendered/ztunnel.yaml";
/// What the chart gives with everything switched on.
pub(crate) const EVERYTHING: &str = "tests/data/deploy/everything.yaml";

/// The ConfigMaps of a rendering.
pub(crate) const RULES: &str = "wayswitch-rules";

const KINDS: [&str; 5] = ["ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];
/// Namespaces of a rendering; all are one here.
const NAMESPACES: [&str; 2] = ["wayswitch-system", "istio-system"];

/// The objects of one installation.
pub(crate) struct Account {
    pub(crate) namespace: String,
    /// As they are rendered, by the names of `deploy/`.
    pub(crate) roles: Vec<(String, Value)>,
}

/// An object of a rendering, moved into a namespace of this story.
pub(crate) fn moved(ground: &Ground, namespace: &str, mut object: Value) -> Value {
    let name = text(&object, "/metadata/name").to_owned();
    if text(&object, "/metadata/namespace").is_empty() {
        object["metadata"]["name"] = json!(ground.named(&name));
        ground.label(&mut object);
    } else {
        object["metadata"]["namespace"] = json!(namespace);
    }
    if text(&object, "/roleRef/kind") == "ClusterRole" {
        let role = text(&object, "/roleRef/name").to_owned();
        object["roleRef"]["name"] = json!(ground.named(&role));
    }
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        if NAMESPACES.contains(&text(subject, "/namespace")) {
            subject["namespace"] = json!(namespace);
        }
    }
    object
}

impl Account {
    /// Applies what these renderings have about rights; of what is in several of them, the first.
    pub(crate) fn apply(ground: &Ground, files: &[&str]) -> Result<Self> {
        let namespace = ground.namespace("system", json!({}))?;
        let mut account = Self { namespace, roles: Vec::new() };
        let (mut objects, mut seen) = (Vec::new(), Vec::new());
        for file in files {
            for object in manifest::read(file)? {
                let (kind, name) = (text(&object, "/kind").to_owned(), text(&object, "/metadata/name").to_owned());
                if !KINDS.contains(&kind.as_str()) || seen.contains(&(kind.clone(), name.clone())) {
                    continue;
                }
                let mut object = moved(ground, &account.namespace, object);
                // Helm would make them for a moment only.
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.remove("annotations");
                }
                if kind.ends_with("Role") {
                    account.roles.push((name.clone(), object.clone()));
                }
                seen.push((kind, name));
                objects.push(object);
            }
        }
        ensure!(account.roles.len() > 3, "the roles were not found in {files:?}");
        ground.kubectl.apply(&objects)?;
        Ok(account)
    }

    /// A role of `deploy/`.
    pub(crate) fn role(&self, name: &str) -> Result<&Value> {
        let found = self.roles.iter().find(|(role, _)| role == name);
        found.map(|(_, object)| object).with_context(|| format!("no rendering has the role {name}"))
    }

    /// A kubeconfig of a service account of the namespace, with nothing but a token, which is in a file beside it.
    pub(crate) fn kubeconfig(&self, ground: &Ground, name: &str) -> Result<PathBuf> {
        let view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"];
        let own: Value = serde_json::from_str(&ground.kubectl.run(&view)?)?;
        let token = self.token(ground, name, &[])?;
        let file = ground.secret_file(&format!("{name}.token"), &token)?;
        let cluster = list(&own, "/clusters").next().context("the kubeconfig names no cluster")?;
        let config = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{ "name": "e2e", "cluster": cluster["cluster"] }],
            "users": [{ "name": "e2e", "user": { "tokenFile": file } }],
            "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": "e2e" } }] });
        ground.secret_file(&format!("{name}.kubeconfig"), &config.to_string())
    }

    /// A new token in the place of the one of that kubeconfig.
    pub(crate) fn renew(&self, ground: &Ground, name: &str) -> Result<()> {
        let token = self.token(ground, name, &[])?;
        ground.secret_file(&format!("{name}.token"), &token).map(drop)
    }

    /// A token of a service account, by TokenRequest.
    pub(crate) fn token(&self, ground: &Ground, name: &str, more: &[&str]) -> Result<String> {
        let arguments = ["create", "token", name, "-n", &self.namespace, "--duration=1h"];
        Ok(ground.kubectl.run(&[&arguments, more].concat())?.trim().to_owned())
    }

    /// Who that is to RBAC.
    pub(crate) fn user(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.namespace)
    }
}

/// Waits until the API server answers so to a question about rights; it hears of roles a moment later.
pub(crate) fn wait_allowed(kubectl: &Kubectl, user: &str, question: &[&str], allowed: bool) -> Result<()> {
    let arguments = [&["auth", "can-i", "--as", user], question].concat();
    eventually(&format!("{user} to be allowed to {question:?}: {allowed}"), || {
        let output = kubectl.output(&arguments, None)?;
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((answer == if allowed { "yes" } else { "no" }).then_some(()))
    })
}

/// Whether a file has this in it: nobody may log a token.
pub(crate) fn has(path: &Path, secret: &str) -> Result<bool> {
    Ok(fs::read_to_string(path)?.contains(secret))
}
