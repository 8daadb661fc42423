//! Which cluster, as whom: a kubeconfig with its contexts, or the service account of the Pod that this runs in.

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use crate::error::{About, Error, causes};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Says which cluster is meant. By default what `kubectl` would take: `KUBECONFIG`, then `~/.kube/config`; and where neither
/// is there, the service account of this Pod.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A kubeconfig in the place of the usual ones.
    pub kubeconfig: Option<PathBuf>,
    /// A context in the place of the current one.
    pub context: Option<String>,
    /// A namespace in the place of the context's.
    pub namespace: Option<String>,
}

impl Access {
    /// What is named beside the usual, for messages.
    fn named(&self) -> Option<String> {
        let file = self.kubeconfig.as_ref().map(|path| format!("kubeconfig {}", path.display()));
        match (&self.context, file) {
            (Some(context), Some(file)) => Some(format!("context {context} of {file}")),
            (Some(context), None) => Some(format!("context {context} of the usual kubeconfig")),
            (None, file) => file,
        }
    }
}

/// A cluster that can be asked. No connection yet: the first request makes it.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) client: Client,
    /// The namespace that is meant where none is named.
    pub namespace: String,
    /// The address of the API server, for messages.
    pub address: String,
}

impl Cluster {
    /// Finds out where the API server is and who we are. Must be called in a runtime.
    ///
    /// # Errors
    /// [`Error::NoCluster`] when nothing says so, [`Error::Kubeconfig`] when what `access` names cannot be used.
    pub async fn connect(access: &Access) -> Result<Self, Error> {
        let no_cluster = |error: &dyn std::error::Error| match access.named() {
            Some(named) => Error::Kubeconfig { named, why: causes(error) },
            None => Error::NoCluster { why: causes(error) },
        };
        let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match &access.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| no_cluster(&error))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| no_cluster(&error))?
            }
            // A context is one of a kubeconfig; without one, the Pod's service account counts as well.
            None if access.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| no_cluster(&error))?
            }
            None => Config::infer().await.map_err(|error| no_cluster(&error))?,
        };
        config.connect_timeout = Some(CONNECT_MAX);
        if let Some(namespace) = &access.namespace {
            config.default_namespace.clone_from(namespace);
        }
        let (namespace, address) = (config.default_namespace.clone(), config.cluster_url.to_string());
        let client = Client::try_from(config).map_err(|error| no_cluster(&error))?;
        Ok(Self { client, namespace, address })
    }

    /// Asks for nothing but an answer.
    ///
    /// # Errors
    /// There is none within `wait`, or it is that we are nobody.
    pub async fn probe(&self, wait: Duration) -> Result<(), Error> {
        let about = About { verb: "get", group: "", resource: "version", namespace: "", name: "" };
        match tokio::time::timeout(wait, self.client.apiserver_version()).await {
            Ok(answer) => answer.map(drop).map_err(|error| about.failed(error)),
            Err(_) => Err(Error::Unreachable {
                verb: about.verb,
                object: about.object(),
                why: format!("no answer from {} within {} s", self.address, wait.as_secs()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(access: Access) -> String {
        Cluster::connect(&access).await.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_kubeconfig_that_was_named_is_named_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let access = || Access { kubeconfig: Some(path.clone()), ..Access::default() };
        let named = format!("kubeconfig {} cannot be used: ", path.display());
        let absent = refused(access()).await;
        assert!(absent.starts_with(&named) && !absent.contains('\n'), "{absent}");
        std::fs::write(&path, "apiVersion: v1\nclusters: {\n\t- nothing: [\n").unwrap();
        let garbage = refused(access()).await;
        assert!(garbage.starts_with(&named) && garbage.len() > named.len() && !garbage.contains('\n'), "{garbage:?}");
        std::fs::write(&path, "apiVersion: v1\nkind: Config\n").unwrap();
        let context = refused(Access { context: Some("east".to_owned()), ..access() }).await;
        assert!(context.starts_with(&format!("context east of {named}")), "{context}");
    }
}
