//! The server as tests hold it: start, look inside, change the cluster behind the clients' backs. No protocol.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::audit::{Audit, Counts, Write};
use crate::clock;
use crate::crd;
use crate::deletes::{self, Preconditions};
use crate::faults::Faults;
use crate::http;
use crate::locked::Locked;
use crate::managed::{Author, fields_of};
use crate::object::{Form, heading};
use crate::refusal::{Refusal, Subject};
use crate::resource::{self, Resource};
use crate::store::{Id, Key, Store};
use crate::writes::{self, Target};
use crate::{Options, Shared};

/// A running server. It stops, and its connections break, when this is dropped.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Why a server does not start, or cannot be given what a test has for it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or there is no loopback.
    #[error("cannot listen on 127.0.0.1:{port}: take another port")]
    Listen {
        /// The port asked for.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest cannot be read.
    #[error("document {index} is not YAML")]
    Yaml {
        /// Counted from 0.
        index: usize,
        /// Why.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A manifest of a kind that is not installed.
    #[error("no kind {kind:?} in {api_version:?}: install it first")]
    NoSuchKind {
        /// As in the manifest.
        api_version: String,
        /// As in the manifest.
        kind: String,
    },
    /// The rules of the API forbid it.
    #[error("the object is refused")]
    Refused(#[from] Refusal),
    /// A kubeconfig cannot be written.
    #[error("cannot write {path}: does its folder exist?")]
    Kubeconfig {
        /// Where to.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ApiServer {
    /// The field manager of what tests put there themselves.
    pub const MANAGER: &str = "cluster";

    /// With [`Options::default`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Options::default()).await
    }

    /// Listens and serves in a task of its own.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start_with(options: Options) -> Result<Self, Error> {
        let port = options.port;
        let listen = |source| Error::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let mut store = Store::new(options.history_max);
        for resource in resource::built_in() {
            store.install(resource);
        }
        let shared = Arc::new(Shared {
            newest: watch::channel(store.version()).0,
            store: Locked::new(store),
            faults: Faults::new(),
            access: Locked::new(Access::new(&options.user)),
            audit: Audit::new(options.audit_max),
            options,
        });
        let task = tokio::spawn(http::serve(shared.clone(), listener, address));
        let server = Self { shared, address, task };
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            server.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))?;
        }
        for resource in server.shared.options.custom.clone() {
            server.install(&resource)?;
        }
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig for this server, with the token if one is given.
    #[must_use]
    pub fn kubeconfig(&self, token: Option<&str>) -> String {
        let user = token.map_or_else(|| json!({}), |token| json!({"token": token}));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url()}}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}],
        });
        // JSON is YAML.
        format!("{config:#}\n")
    }

    /// Writes the kubeconfig to a file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path, token: Option<&str>) -> Result<(), Error> {
        std::fs::write(path, self.kubeconfig(token))
            .map_err(|source| Error::Kubeconfig { path: path.display().to_string(), source })
    }

    /// What can go wrong, to be switched on.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The newest resourceVersion.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.shared.store.lock().version()
    }

    /// Forgets all history: older versions are 410 from now on, for watches and for lists that go on.
    pub fn compact(&self) {
        let mut store = self.shared.store.lock();
        let version = store.version();
        store.history().compact(version);
    }

    /// Serves a custom kind, and has its CustomResourceDefinition.
    ///
    /// # Errors
    /// If its name is no name.
    pub fn install(&self, resource: &Resource) -> Result<(), Error> {
        if resource.is_custom {
            self.put(crd::definition(resource))?;
        } else {
            self.shared.store.lock().install(resource.clone());
        }
        Ok(())
    }

    /// Removes a kind, its objects and its definition. Its watches end. Whether it was there.
    pub fn uninstall(&self, group: &str, plural: &str) -> bool {
        let name = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let had_definition = self.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", &name).is_ok();
        let was_there = self.changing(|store| store.uninstall(group, plural));
        had_definition || was_there
    }

    /// Puts an object into the store as the rest of the cluster would, status included: creates or replaces it.
    /// The namespace need not exist. What is there already and the same changes no version. The object as stored.
    ///
    /// # Errors
    /// If its kind is not served or it has no name.
    pub fn put(&self, object: Value) -> Result<Value, Error> {
        let (id, resource, api_version) = self.kind_of(&object)?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = match text("/metadata/namespace") {
            none if none.is_empty() && resource.is_namespaced => "default".to_owned(),
            namespace => namespace,
        };
        let target = self.target(id, resource, &api_version, &namespace, &text("/metadata/name"));
        let is_managed = self.shared.options.has_managed_fields;
        let written = self.changing(|store| writes::put(store, &target, object, is_managed))?;
        Ok(written.object.value())
    }

    /// Puts every document of a YAML text. How many there were.
    ///
    /// # Errors
    /// As [`ApiServer::put`], and if it is not YAML. Documents before the faulty one are in the store.
    pub fn put_yaml(&self, text: &str) -> Result<usize, Error> {
        let mut count = 0;
        let documents = format!("\n{text}");
        for (index, document) in documents.split("\n---").enumerate() {
            let is_nothing = document.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
            if is_nothing {
                continue;
            }
            let object: Value =
                serde_saphyr::from_str(document).map_err(|source| Error::Yaml { index, source: Box::new(source) })?;
            self.put(object)?;
            count += 1;
        }
        Ok(count)
    }

    /// An object with its apiVersion and kind, as a client would get it.
    #[must_use]
    pub fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.shared.store.lock();
        let (id, _) = store.find_kind(api_version, kind)?;
        let object = store.get(id, &Key::new(namespace, name))?;
        let mut out = Vec::new();
        object.write(Form::Whole(&heading(api_version, kind)), &mut out);
        serde_json::from_slice(&out).ok()
    }

    /// Namespace and name of every object of a kind, in the order of lists.
    #[must_use]
    pub fn names(&self, api_version: &str, kind: &str) -> Vec<(String, String)> {
        let store = self.shared.store.lock();
        let Some((id, _)) = store.find_kind(api_version, kind) else { return Vec::new() };
        store.objects(id).map(|(key, _)| (key.namespace.to_string(), key.name.to_string())).collect()
    }

    /// Deletes an object; one with finalizers stays until they are gone.
    ///
    /// # Errors
    /// If the kind or the object is not there.
    pub fn delete(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<(), Error> {
        let (id, resource) = self.find(api_version, kind)?;
        let target = self.target(id, resource, api_version, namespace, name);
        self.changing(|store| deletes::delete(store, &target, &Preconditions::default()))?;
        Ok(())
    }

    /// Replaces the status of an object as its controller would.
    ///
    /// # Errors
    /// If the kind or the object is not there.
    pub fn set_status(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        status: Value,
    ) -> Result<(), Error> {
        let (id, resource) = self.find(api_version, kind)?;
        let target = self.target(id, resource.clone(), api_version, namespace, name);
        self.changing(|store| {
            let object = store.get(id, &Key::new(namespace, name));
            let object = object.ok_or_else(|| Refusal::NotFound(Subject::new(&resource, name)))?;
            let mut value = object.value();
            fields_of(&mut value).insert("status".to_owned(), status);
            writes::put(store, &target, value, true)
        })?;
        Ok(())
    }

    /// Accepts a token as this user. From the first on, requests without one are 401.
    pub fn accept_token(&self, token: &str, user: &str) {
        self.shared.access.lock().accept(token, user);
    }

    /// The token is 401 from now on, as if it had expired.
    pub fn revoke_token(&self, token: &str) {
        self.shared.access.lock().revoke(token);
    }

    /// 403 for everybody; `*` matches all. A subresource is part of the name: `services/status`.
    pub fn forbid(&self, verb: &str, group: &str, resource: &str) {
        self.shared.access.lock().forbid("*", verb, group, resource);
    }

    /// 403 for one user.
    pub fn forbid_user(&self, user: &str, verb: &str, group: &str, resource: &str) {
        self.shared.access.lock().forbid(user, verb, group, resource);
    }

    /// Takes back a [`ApiServer::forbid`] of the same words.
    pub fn permit(&self, verb: &str, group: &str, resource: &str) {
        self.shared.access.lock().permit("*", verb, group, resource);
    }

    /// Gives a user the `rules` of a ClusterRole, or of a Role if there is a namespace. From the first on the user may
    /// do nothing that no grant covers.
    pub fn grant(&self, user: &str, namespace: Option<&str>, rules: &Value) {
        self.shared.access.lock().grant(user, namespace, rules);
    }

    /// Every write since the start or the last [`ApiServer::clear_audit`], accepted or not, oldest first.
    #[must_use]
    pub fn audit(&self) -> Vec<Write> {
        self.shared.audit.writes()
    }

    /// How many requests there were, by verb and resource with its group; refused ones count.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.audit.counts()
    }

    /// Forgets writes and counts.
    pub fn clear_audit(&self) {
        self.shared.audit.clear();
    }

    fn find(&self, api_version: &str, kind: &str) -> Result<(Id, Arc<Resource>), Error> {
        self.shared
            .store
            .lock()
            .find_kind(api_version, kind)
            .ok_or_else(|| Error::NoSuchKind { api_version: api_version.to_owned(), kind: kind.to_owned() })
    }

    fn kind_of(&self, object: &Value) -> Result<(Id, Arc<Resource>, String), Error> {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let (id, resource) = self.find(text("apiVersion"), text("kind"))?;
        Ok((id, resource, text("apiVersion").to_owned()))
    }

    fn target(&self, id: Id, resource: Arc<Resource>, api_version: &str, namespace: &str, name: &str) -> Target {
        let now = clock::now(self.shared.faults.clock_skew_seconds());
        let author = Author {
            manager: Self::MANAGER.to_owned(),
            api_version: api_version.to_owned(),
            subresource: String::new(),
            time: clock::rfc3339(now),
        };
        Target {
            id,
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
            author,
            is_dry_run: false,
            now,
        }
    }

    /// Changes the store and wakes the watches.
    fn changing<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let (result, version) = {
            let mut store = self.shared.store.lock();
            (change(&mut store), store.version())
        };
        self.shared.newest.send_replace(version);
        result
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
