//! One Node: who it is, and its labels, which say where.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc;

use crate::connect::Cluster;
use crate::error::About;

/// What is told of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Tells it from another one that had the same name.
    pub uid: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Tells of a Node, first as it is and then whenever that changes, until nobody wants to know. While it is not there, or may not
/// be read, nothing is told, and the log says once why.
pub async fn follow(cluster: &Cluster, name: &str, told: mpsc::Sender<Node>) {
    let api: Api<PartialObjectMeta<v1::Node>> = Api::all(cluster.client.clone());
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
    let (mut last, mut failed) = (None, String::new());
    while let Some(next) = stream.next().await {
        let object = match next {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => object,
            Ok(_) => continue,
            Err(error) => {
                let about = About { verb: "watch", group: "", resource: "nodes", namespace: "", name };
                let Some(error) = about.following(error) else { continue };
                let why = error.to_string();
                if why != failed {
                    tracing::warn!(node = name, "the labels of this node may be out of date: {why}");
                    failed = why;
                }
                continue;
            }
        };
        failed.clear();
        let node = Node { uid: object.metadata.uid, labels: object.metadata.labels.unwrap_or_default() };
        if last.as_ref() != Some(&node) {
            last = Some(node.clone());
            if told.send(node).await.is_err() {
                return;
            }
        }
    }
}
