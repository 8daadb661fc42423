//! What a node runs, for people: an object of the kind NodeRules with the node's name, and Events of the ConfigMap with the rules.
//!
//! Nobody reads it back to decide by it. What is written is the newest state, some time after it changed; what was between is
//! skipped.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::connect::Cluster;
use crate::error::{About, Error};
use crate::namespaced_name::NamespacedName;

/// Who owns the fields that are written.
const MANAGER: &str = "wayswitch-node";

/// The API group, version and kind of the object.
pub const GROUP: &str = "wayswitch.io";
const VERSION: &str = "v1alpha1";
const KIND: &str = "NodeRules";
const PLURAL: &str = "noderules";

/// Changes within this time are written once; it also spreads the nodes, which all hear of new rules at once.
const SPREAD: Duration = Duration::from_millis(1_000);

/// When a write that failed is tried again: after this time, then twice that, up to the other.
const AGAIN_FIRST: Duration = Duration::from_secs(2);
const AGAIN_MAX: Duration = Duration::from_secs(120);

/// How long the uid of the Node is waited for, so that the object has an owner from the start.
const UID_WAIT: Duration = Duration::from_secs(5);

/// Characters of a reason that are written.
const REASON_MAX: usize = 1024;

/// How it stands with the newest rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nothing is in force yet, or not this node's turn.
    #[default]
    Waiting,
    /// They are in force.
    Active,
    /// They were refused; those before go on.
    Refused,
}

impl Phase {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Refused => "refused",
        }
    }
}

/// What a node runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    /// The number of the rules in force on this node, 0 before the first.
    pub rules: u64,
    /// The revision of the mesh at which they were put in force.
    pub revision: u64,
    /// What the rules call the component in force.
    pub component: String,
    /// The first 12 hex digits of its SHA-256.
    pub digest: String,
    /// How it stands with the newest rules.
    pub state: Phase,
    /// Why, where they were refused or have to wait.
    pub reason: String,
    /// Since when the rules are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// The version of the agent.
    pub agent: String,
}

/// A point in time, written as RFC 3339 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Since(Timestamp);

impl Since {
    /// Of the system's clock, in whole seconds.
    pub fn of(time: SystemTime) -> Option<Self> {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        Timestamp::from_second(i64::try_from(seconds).ok()?).ok().map(Self)
    }
}

impl std::fmt::Display for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What one node runs, as it was read.
#[derive(Clone, Debug)]
pub struct NodeRules {
    /// The node.
    pub node: String,
    /// What it runs.
    pub running: Running,
}

fn resource() -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: KIND.to_owned(),
        plural: PLURAL.to_owned(),
    }
}

impl Cluster {
    /// What all nodes run, in the order of their names.
    ///
    /// # Errors
    /// The definition is not installed, or they may not be listed.
    pub async fn node_rules(&self) -> Result<Vec<NodeRules>, Error> {
        let about = About { verb: "list", group: GROUP, resource: PLURAL, namespace: "", name: "" };
        let list = api(self).list(&Default::default()).await.map_err(|error| about.failed(error))?;
        let of = |object: DynamicObject| {
            let running = object.data.get("status").cloned().unwrap_or_default();
            // What another version wrote may have other fields; a node without a status says nothing yet.
            NodeRules {
                node: object.metadata.name.unwrap_or_default(),
                running: serde_json::from_value(running).unwrap_or_default(),
            }
        };
        let mut nodes: Vec<NodeRules> = list.items.into_iter().map(of).collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(nodes)
    }
}

/// Writes what this node runs whenever it changed, until nobody tells any more. `rules`: the ConfigMap that Events are about. Once
/// the `uid` of the Node is known it owns the object, so that this goes with it.
pub async fn report(
    cluster: &Cluster,
    node: &str,
    mut uid: watch::Receiver<Option<String>>,
    rules: Option<&NamespacedName>,
    mut running: watch::Receiver<Running>,
) {
    let reporter = Reporter { controller: "wayswitch".to_owned(), instance: Some(node.to_owned()) };
    let recorder = Recorder::new(cluster.client.clone(), reporter);
    let mut pause = AGAIN_FIRST;
    let (mut told, mut owner) = (Running::default(), None);
    // A moment, for who may not read Nodes waits in vain.
    drop(tokio::time::timeout(UID_WAIT, uid.wait_for(Option::is_some)).await);
    loop {
        tokio::time::sleep(spread(node)).await;
        let uid_now = uid.borrow_and_update().clone();
        if uid_now.is_some() && uid_now != owner && own(cluster, node, uid_now.as_deref()).await.is_ok() {
            owner = uid_now;
        }
        let now = shortened(running.borrow_and_update().clone());
        let written = match write(cluster, node, owner.as_deref(), &now).await {
            Ok(()) => {
                pause = AGAIN_FIRST;
                tell(&recorder, rules, node, &told, &now).await;
                told = now;
                running.changed().await
            }
            Err(error) => {
                tracing::warn!(
                    "what this node runs could not be written, trying again in {} s: {error}",
                    pause.as_secs()
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN_MAX);
                // Who tells is gone: then this was the last try.
                running.has_changed().map(drop)
            }
        };
        if written.is_err() {
            return;
        }
    }
}

/// The same for a node every time, and another for the next.
fn spread(node: &str) -> Duration {
    let hash = node.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    SPREAD / 4 + (SPREAD * 3 / 4).mul_f64(f64::from(hash % 1000) / 1000.0)
}

fn shortened(mut running: Running) -> Running {
    if let Some((at, _)) = running.reason.char_indices().nth(REASON_MAX) {
        running.reason.truncate(at);
    }
    running
}

fn api(cluster: &Cluster) -> Api<DynamicObject> {
    Api::all_with(cluster.client.clone(), &resource())
}

fn about(node: &str) -> About<'_> {
    About { verb: "patch", group: GROUP, resource: PLURAL, namespace: "", name: node }
}

/// The object without its status, which belongs to the Node with this uid.
fn object(node: &str, uid: Option<&str>) -> Value {
    let owner = uid.map(|uid| json!([{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid }]));
    let mut metadata = json!({ "name": node });
    if let (Some(owner), Some(fields)) = (owner, metadata.as_object_mut()) {
        fields.insert("ownerReferences".to_owned(), owner);
    }
    json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": metadata })
}

/// Makes the object, or has it belong to this Node.
async fn own(cluster: &Cluster, node: &str, uid: Option<&str>) -> Result<(), Error> {
    let params = PatchParams::apply(MANAGER).force();
    let applied = api(cluster).patch(node, &params, &Patch::Apply(object(node, uid))).await;
    applied.map(drop).map_err(|error| about(node).failed(error))
}

async fn write(cluster: &Cluster, node: &str, uid: Option<&str>, running: &Running) -> Result<(), Error> {
    let params = PatchParams::apply(MANAGER).force();
    let mut with_status =
        json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": { "name": node } });
    if let Some(fields) = with_status.as_object_mut() {
        fields.insert("status".to_owned(), json!(running));
    }
    let patch = Patch::Apply(&with_status);
    let write = async || {
        let written = api(cluster).patch_status(node, &params, &patch).await;
        written.map(drop).map_err(|error| about(node).failed(error))
    };
    match write().await {
        Err(Error::NotFound { .. }) => {
            own(cluster, node, uid).await?;
            write().await
        }
        written => written,
    }
}

/// Says with the ConfigMap what became of it here.
async fn tell(recorder: &Recorder, rules: Option<&NamespacedName>, node: &str, before: &Running, now: &Running) {
    let Some(rules) = rules else { return };
    let is_new = before.rules != now.rules || before.digest != now.digest;
    let (type_, reason, note) = match now.state {
        Phase::Refused if before.reason != now.reason => {
            (EventType::Warning, "RulesRefused", format!("node {node} stays with rules {}: {}", now.rules, now.reason))
        }
        Phase::Active if is_new => {
            (EventType::Normal, "RulesActive", format!("node {node} runs {} ({})", now.component, now.digest))
        }
        _ => return,
    };
    let event =
        Event { type_, reason: reason.to_owned(), note: Some(note), action: "Swap".to_owned(), secondary: None };
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        namespace: Some(rules.namespace.clone()),
        name: Some(rules.name.clone()),
        ..ObjectReference::default()
    };
    if let Err(error) = recorder.publish(&event, &about).await {
        let events =
            About { verb: "create", group: "events.k8s.io", resource: "events", namespace: &rules.namespace, name: "" };
        tracing::warn!("an Event about the rules could not be written: {}", events.failed(error));
    }
}
