//! A server, and somebody who follows it into a store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use apiserver::ApiServer;
use cluster::connect::{Access, Cluster};
use cluster::source::{self, State, Told};
use model::store::Facts;
use model::{Kind, ObjectKey, Store};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// How long anything may take: kube tries again after up to 30 s, and the machine may be busy.
pub(crate) const WAIT: Duration = Duration::from_secs(90);

/// A client of the server.
pub(crate) async fn connect(server: &ApiServer, token: Option<&str>) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    server.write_kubeconfig(&path, token).unwrap();
    Cluster::connect(&Access { kubeconfig: Some(path), ..Access::default() }).await.unwrap()
}

/// What somebody who follows was told.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) store: Store,
    pub(crate) states: BTreeMap<Kind, State>,
    pub(crate) unread: BTreeMap<Kind, Vec<String>>,
}

/// Follows until it is dropped.
pub(crate) struct Followed {
    pub(crate) heard: Arc<Mutex<Heard>>,
    pub(crate) events: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    /// Follows all kinds. `known`: what was told before.
    pub(crate) fn start(cluster: Cluster, known: Vec<ObjectKey>, store: Store) -> Self {
        let heard = Arc::new(Mutex::new(Heard { store, ..Heard::default() }));
        let events = Arc::new(AtomicUsize::new(0));
        let (told, mut inbox) = mpsc::channel(4);
        let (to, count) = (Arc::clone(&heard), Arc::clone(&events));
        let task = tokio::spawn(async move {
            let listen = async {
                while let Some(told) = inbox.recv().await {
                    let mut heard = to.lock().await;
                    match told {
                        Told::Events(events) => {
                            count.fetch_add(events.len(), Ordering::Relaxed);
                            heard.store.apply_all(events);
                        }
                        Told::State(kind, state) => drop(heard.states.insert(kind, state)),
                        Told::Unread(kind, lines) => drop(heard.unread.insert(kind, lines)),
                    }
                }
            };
            tokio::join!(source::follow(&cluster, &Kind::ALL, &known, told), listen);
        });
        Self { heard, events, task }
    }

    pub(crate) fn fresh(cluster: Cluster) -> Self {
        Self::start(cluster, Vec::new(), Store::new(Facts::default()))
    }

    /// Waits until it is so; says what there is if it does not come.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Heard) -> bool) {
        let end = Instant::now() + WAIT;
        loop {
            let heard = self.heard.lock().await;
            if is_so(&heard) {
                return;
            }
            let there = found(&heard.store);
            assert!(
                Instant::now() < end,
                "there is {:?}, {:?}, {:?}; {what}",
                there.values(),
                heard.states,
                heard.unread
            );
            drop(heard);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until every kind was told.
    pub(crate) async fn until_whole(&self) {
        let is_whole =
            |heard: &Heard| heard.states.len() == Kind::ALL.len() && heard.states.values().all(State::is_known);
        self.until("all kinds are told", is_whole).await;
    }
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

pub(crate) fn service(namespace: &str, name: &str, version: u64) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace, "labels": { "version": version.to_string() } },
        "spec": { "clusterIP": "10.0.0.1", "ports": [{ "port": 80 }] } })
}

/// Every object of the server that the model knows, with the label that tells versions apart.
pub(crate) fn expected(server: &ApiServer) -> BTreeMap<ObjectKey, Option<String>> {
    let of = |api_version: &'static str, kind: Kind| {
        let names = server.names(api_version, kind.as_str());
        names.into_iter().filter_map(move |(namespace, name)| {
            let object = server.get(api_version, kind.as_str(), &namespace, &name)?;
            let version = object.pointer("/metadata/labels/version").and_then(Value::as_str).map(str::to_owned);
            Some((ObjectKey::new(kind, &namespace, &name), version))
        })
    };
    of("v1", Kind::Namespace).chain(of("v1", Kind::Service)).collect()
}

/// The same of a store.
pub(crate) fn found(store: &Store) -> BTreeMap<ObjectKey, Option<String>> {
    let of = |key: ObjectKey| {
        let object = store.object(&key)?;
        Some((key, object.meta().labels.get("version").map(|it| it.to_string())))
    };
    store.object_keys().filter_map(of).collect()
}
