//! Follows one ConfigMap: what is in it, and that it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;

use crate::connect::Cluster;
use crate::error::{About, Error};
use crate::namespaced_name::NamespacedName;

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// The API server did not answer yet.
    #[default]
    Unknown,
    /// It is not there.
    Missing,
    /// It cannot be read, and never was: why.
    Unreadable(String),
    /// This is in it: `data` as bytes, and `binaryData`. No more than 1 MiB, which is what the API server keeps.
    There(Arc<BTreeMap<String, Vec<u8>>>),
}

impl Cluster {
    /// What is in a ConfigMap now.
    ///
    /// # Errors
    /// It may not be read, or the API server does not answer. One that is not there is no error.
    pub async fn config_map(&self, map: &NamespacedName) -> Result<Content, Error> {
        match self.maps(map).get(&map.name).await.map_err(|error| about("get", map).failed(error)) {
            Ok(object) => Ok(there(object)),
            Err(Error::NotFound { .. }) => Ok(Content::Missing),
            Err(error) => Err(error),
        }
    }
}

/// A ConfigMap's text as it was read, to be replaced.
#[derive(Clone, Debug)]
pub struct Text {
    /// What stands behind the key.
    pub text: String,
    /// The version that it was read of.
    version: Option<String>,
}

impl Cluster {
    /// The text behind a key of a ConfigMap; none where there is no such key.
    ///
    /// # Errors
    /// It is not there, may not be read, or the API server does not answer.
    pub async fn config_map_text(&self, map: &NamespacedName, key: &str) -> Result<Option<Text>, Error> {
        let object = self.maps(map).get(&map.name).await.map_err(|error| about("get", map).failed(error))?;
        let version = object.metadata.resource_version;
        let text = object.data.and_then(|mut data| data.remove(key));
        Ok(text.map(|text| Text { text, version }))
    }

    /// Puts another text in the place of the one that was read.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody changed the ConfigMap since; and as above.
    pub async fn replace_config_map_text(
        &self,
        map: &NamespacedName,
        key: &str,
        read: &Text,
        text: &str,
    ) -> Result<(), Error> {
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": read.version },
            "data": { key: text },
        });
        let params = PatchParams { field_manager: Some("wayswitch".to_owned()), ..PatchParams::default() };
        let patched = self.maps(map).patch(&map.name, &params, &Patch::Merge(&patch)).await;
        patched.map(drop).map_err(|error| about("patch", map).failed(error))
    }

    fn maps(&self, map: &NamespacedName) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &map.namespace)
    }
}

fn about<'a>(verb: &'static str, map: &'a NamespacedName) -> About<'a> {
    About { verb, group: "", resource: "configmaps", namespace: &map.namespace, name: &map.name }
}

/// Follows it until nobody wants to know any more. While the API server cannot be reached, what was known stays.
pub async fn follow(cluster: &Cluster, map: &NamespacedName, content: &watch::Sender<Content>) {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &map.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", map.name));
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
    // What the list has that is being read, and what was said last.
    let (mut listed, mut said) = (None, String::new());
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = content.closed() => return,
        };
        let set = |new: Content| {
            content.send_if_modified(|now| {
                let is_new = *now != new;
                *now = new;
                is_new
            });
        };
        match next {
            None => return,
            Some(Ok(watcher::Event::Init)) => listed = None,
            Some(Ok(watcher::Event::InitApply(object))) => listed = Some(object),
            Some(Ok(watcher::Event::InitDone)) => set(listed.take().map_or(Content::Missing, there)),
            Some(Ok(watcher::Event::Apply(object))) => set(there(object)),
            Some(Ok(watcher::Event::Delete(_))) => set(Content::Missing),
            Some(Err(error)) => {
                let Some(error) = about("list", map).following(error) else { continue };
                let why = error.to_string();
                if why != said {
                    tracing::warn!("{why}");
                    said.clone_from(&why);
                }
                let is_known = matches!(*content.borrow(), Content::Missing | Content::There(_));
                if !is_known {
                    set(Content::Unreadable(why));
                }
            }
        }
    }
}

fn there(object: ConfigMap) -> Content {
    let text = object.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let binary = object.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    Content::There(Arc::new(text.chain(binary).collect()))
}
