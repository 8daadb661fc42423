//! The Kubernetes API as a source: its flags, and the thread that follows it for the conductor.
//!
//! Objects, the labels of this node, and the ConfigMaps that flags name. While the API server is away, what it told last stays;
//! after a restart without it, what was saved is taken, and said to be stale.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use clap::Args;
use cluster::config_map::{self, Content};
use cluster::connect::{Access, Cluster};
use cluster::namespaced_name::NamespacedName;
use cluster::node_rules::{self, Running};
use cluster::source::{self, Told};
use model::{Kind, Labels, ObjectKey, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::conductor::{Message, Origin};
use crate::config::{self, AgentConfig, Located};
use crate::published::Published;
use crate::run::{join, spawn};
use crate::sources::{Source, Sources};
use crate::watch::Bell;

mod progress;
pub(crate) mod saved;

use progress::Progress;

/// Chunks of objects that wait for the conductor; the API server waits with them.
const CHUNKS_MAX: usize = 4;

/// How long the API server is waited for at start before what was saved is taken.
const PROBE: Duration = Duration::from_secs(5);

/// How the API server is followed.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubernetesFlags {
    /// Follow the objects of the cluster, beside --filename: as the service account of this Pod, or by a kubeconfig [default: false]
    #[arg(long = "kubernetes", env = "WAYSWITCH_KUBERNETES", num_args = 0..=1, default_missing_value = "true")]
    pub follow: Option<bool>,
    /// A kubeconfig [default: KUBECONFIG, ~/.kube/config, or the service account of this Pod]
    #[arg(long, env = "WAYSWITCH_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig [default: the current one]
    #[arg(long, env = "WAYSWITCH_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Where objects are saved, for a start while the API server is away. Not set: they are not
    #[arg(long = "kubernetes-state", env = "WAYSWITCH_KUBERNETES_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Write what this node runs to the API server, as a NodeRules object, and why rules were refused as an Event of their
    /// ConfigMap [default: false]
    #[arg(long = "node-status", env = "WAYSWITCH_NODE_STATUS", num_args = 0..=1, default_missing_value = "true")]
    pub node_status: Option<bool>,
}

impl KubernetesFlags {
    /// With what the configuration file says and no flag.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            follow: self.follow.or(file.follow),
            kubeconfig: self.kubeconfig.or(file.kubeconfig),
            context: self.context.or(file.context),
            state: self.state.or(file.state),
            node_status: self.node_status.or(file.node_status),
        }
    }

    /// Checked; none where nothing of a cluster is needed, neither its objects nor what is `located` there.
    ///
    /// # Errors
    /// What this node runs is to be written, and nobody said which node it is.
    pub(crate) fn check<'a>(
        &self,
        node: Option<&str>,
        located: impl IntoIterator<Item = Option<&'a Located>>,
    ) -> anyhow::Result<Option<KubernetesConfig>> {
        let (follow, node_status) = (self.follow.unwrap_or_default(), self.node_status.unwrap_or_default());
        if node_status && node.is_none() {
            bail!("--node-status needs --node-name");
        }
        let is_asked = located.into_iter().flatten().any(|it| it.config_map().is_some());
        let config = || KubernetesConfig { access: self.access(), follow, state: self.state.clone(), node_status };
        Ok((follow || node_status || is_asked).then(config))
    }

    /// Which cluster is meant.
    pub(crate) fn access(&self) -> Access {
        Access { kubeconfig: self.kubeconfig.clone(), context: self.context.clone(), namespace: None }
    }
}

/// How the API server is followed, checked.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// Which cluster.
    pub access: Access,
    /// Whether its objects are a source.
    pub follow: bool,
    /// Where objects are saved.
    pub state: Option<PathBuf>,
    /// Whether what this node runs is written.
    pub node_status: bool,
}

/// What readers see of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seen {
    /// Whether everything was told once and nothing may be out of date.
    pub(crate) is_fresh: bool,
    /// Since when what is known may be out of date, in seconds since 1970.
    pub(crate) stale_since: Option<u64>,
    /// Kinds that are not installed.
    pub(crate) absent: Vec<&'static str>,
    /// What is wrong, a line each.
    pub(crate) problems: Vec<String>,
    /// Failures since the start, each counted when it appeared.
    pub(crate) errors: u64,
}

/// A ConfigMap that somebody waits for.
pub(crate) struct Watched {
    pub(crate) map: NamespacedName,
    pub(crate) content: watch::Sender<Content>,
    pub(crate) bell: Bell,
}

/// All that the thread needs.
struct Follower {
    config: KubernetesConfig,
    node: Option<String>,
    maps: Vec<Watched>,
    /// MeshConfig, where a ConfigMap has it.
    mesh: Option<(NamespacedName, Source)>,
    conductor: SyncSender<Message>,
    seen: Arc<ArcSwap<Option<Seen>>>,
    /// Where objects are followed.
    source: Option<Source>,
    /// Where what this node runs is written, and the ConfigMap that it is about.
    running: Option<watch::Receiver<Running>>,
    rules: Option<NamespacedName>,
}

impl Follower {
    /// Follows until `stop` is sent or dropped. `begun` is told whether there is anything to follow.
    fn run(self, begun: &SyncSender<anyhow::Result<()>>, stop: oneshot::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(begun.send(Err(error.into()))),
        };
        runtime.block_on(async {
            let cluster = match Cluster::connect(&self.config.access).await {
                Ok(cluster) => cluster,
                Err(error) => return drop(begun.send(Err(error.into()))),
            };
            drop(begun.send(Ok(())));
            tracing::info!(address = cluster.address, objects = self.config.follow, "following the Kubernetes API");
            tokio::select! {
                () = self.follow(&cluster) => {}
                // Sent or dropped: the same.
                _ = stop => {}
            }
        });
    }

    async fn follow(self, cluster: &Cluster) {
        let Self { config, node, maps, mesh, conductor, seen, source, running, rules } = self;
        // What was saved is for when nobody answers.
        let saved = match &config.state {
            Some(folder) => cluster.probe(PROBE).await.err().map(|why| Saved { folder, why: why.to_string() }),
            None => None,
        };
        let keep = |map: &NamespacedName, content: &Content| {
            if let (Some(folder), Content::There(keys)) = (&config.state, content)
                && let Err(error) = saved::save_map(folder, map, keys)
            {
                tracing::warn!("ConfigMap {map} cannot be saved: {error:#}");
            }
        };
        let follow_map = async |map: &NamespacedName, content: &watch::Sender<Content>, changed: &dyn Fn(&Content)| {
            if let Some(keys) = saved.as_ref().and_then(|saved| saved::load_map(saved.folder, map)) {
                tracing::error!("starting with ConfigMap {map} as it was saved, which may be out of date");
                content.send_replace(Content::There(Arc::new(keys)));
                changed(&content.borrow());
            }
            let hear = async {
                let mut news = content.subscribe();
                while news.changed().await.is_ok() {
                    let now = news.borrow_and_update().clone();
                    keep(map, &now);
                    changed(&now);
                }
            };
            tokio::join!(config_map::follow(cluster, map, content), hear);
        };
        let objects = async {
            if let Some(source) = source {
                let restored = saved.as_ref().and_then(|saved| saved.objects(&conductor));
                follow_objects(cluster, &conductor, source, restored, seen).await;
            }
        };
        let maps = maps.iter().map(async |it: &Watched| {
            follow_map(&it.map, &it.content, &|_| it.bell.ring()).await;
        });
        let maps = futures_util::future::join_all(maps);
        let mesh = async {
            if let Some((map, source)) = mesh {
                let source = RefCell::new(Some(source));
                let hand_over = |content: &Content| take_mesh(&map, content, &source, &conductor);
                follow_map(&map, &watch::channel(Content::Unknown).0, &hand_over).await;
            }
        };
        let (uid_told, uid) = watch::channel(None);
        let report = async {
            if let (Some(running), Some(node)) = (running, &node) {
                node_rules::report(cluster, node, uid, rules.as_ref(), running).await;
            }
        };
        let labels = async {
            if let Some(name) = node.as_deref().filter(|_| config.follow || config.node_status) {
                follow_node(cluster, name, &uid_told, &conductor).await;
            }
        };
        tokio::join!(objects, maps, labels, mesh, report);
    }
}

/// What an earlier agent saved, and why it is needed.
struct Saved<'a> {
    folder: &'a Path,
    why: String,
}

impl Saved<'_> {
    /// The objects, handed to the conductor, if there are any; their keys.
    fn objects(&self, conductor: &SyncSender<Message>) -> Option<Vec<ObjectKey>> {
        let events = saved::load(self.folder)?;
        let why = &self.why;
        tracing::error!(
            objects = events.len(),
            "starting with the objects that were saved, which may be out of date: {why}"
        );
        let keys = events.iter().map(model::store::Event::key).collect();
        let _gone = conductor.send(Message::Objects(Origin::Cluster, events));
        Some(keys)
    }
}

async fn follow_objects(
    cluster: &Cluster,
    conductor: &SyncSender<Message>,
    source: Source,
    restored: Option<Vec<ObjectKey>>,
    seen: Arc<ArcSwap<Option<Seen>>>,
) {
    let kinds = &Kind::ALL;
    let mut progress = Progress::new(kinds, restored.is_some(), seen);
    let (keys, mut source) = match restored {
        Some(keys) => {
            // Rules over what was saved are better than none, and it is said that it is stale.
            let _gone = conductor.send(Message::Whole(source));
            (keys, None)
        }
        None => (Vec::new(), Some(source)),
    };
    let (told, mut inbox) = mpsc::channel::<Told>(CHUNKS_MAX);
    let hand_over = async {
        while let Some(told) = inbox.recv().await {
            if let Told::Events(events) = told {
                progress.count(events.len());
                // May wait for a place: then the API server waits as well, which is meant.
                if conductor.send(Message::Objects(Origin::Cluster, events)).is_err() {
                    return;
                }
                continue;
            }
            progress.take(told);
            if progress.is_whole()
                && let Some(source) = source.take()
            {
                let _gone = conductor.send(Message::Whole(source));
            }
        }
    };
    tokio::join!(source::follow(cluster, kinds, &keys, told), hand_over);
}

/// The threads that follow the cluster, and save what it told.
pub(crate) struct Following {
    stop: oneshot::Sender<()>,
    follower: JoinHandle<()>,
    saver: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Following {
    /// Starts them, if anything of a cluster is needed.
    ///
    /// # Errors
    /// Nothing says which cluster, or there is no thread to be had.
    pub(crate) fn start(
        config: &AgentConfig,
        maps: Vec<Watched>,
        conductor: &SyncSender<Message>,
        published: &Published,
        store: &Arc<ArcSwap<Store>>,
        sources: &Sources,
    ) -> anyhow::Result<Option<Self>> {
        let Some(kubernetes) = config.kubernetes.clone() else { return Ok(None) };
        let follower = Follower {
            node: config.facts.node.name.as_deref().map(str::to_owned),
            maps,
            mesh: config.mesh_config.as_ref().and_then(Located::config_map).map(|map| (map.clone(), sources.source())),
            conductor: conductor.clone(),
            seen: Arc::clone(&published.kubernetes),
            source: kubernetes.follow.then(|| sources.source()),
            running: kubernetes.node_status.then(|| published.running.subscribe()),
            rules: config.rules.config_map().cloned(),
            config: kubernetes,
        };
        let saver = follower.config.state.clone().filter(|_| follower.config.follow).map(|folder| {
            let (end, ended) = channel();
            let (store, sources) = (Arc::clone(store), sources.clone());
            let thread = spawn("objects", move || saved::keep(&folder, &store, &sources, &ended));
            thread.map(|thread| (end, thread))
        });
        let saver = saver.transpose()?;
        let (stop, stopped) = oneshot::channel();
        let (begun, begins) = sync_channel(1);
        let follower = spawn("kubernetes", move || follower.run(&begun, stopped))?;
        begins.recv().context("a thread of the agent ended by a defect; see the lines above")??;
        Ok(Some(Self { stop, follower, saver }))
    }

    /// Stops following, and saves what is known.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        join(self.follower)?;
        if let Some((end, saver)) = self.saver {
            drop(end);
            join(saver)?;
        }
        Ok(())
    }
}

async fn follow_node(
    cluster: &Cluster,
    name: &str,
    uid: &watch::Sender<Option<String>>,
    conductor: &SyncSender<Message>,
) {
    let (told, mut nodes) = mpsc::channel::<cluster::node::Node>(1);
    let hand_over = async {
        while let Some(node) = nodes.recv().await {
            uid.send_replace(node.uid);
            let labels: Labels = node.labels.into_iter().collect();
            let node = config::node_with(Some(name.to_owned()), labels);
            if conductor.send(Message::Node(Box::new(node))).is_err() {
                return;
            }
        }
    };
    tokio::join!(cluster::node::follow(cluster, name, told), hand_over);
}

/// The key of Istio's ConfigMap that has MeshConfig.
const MESH_KEY: &str = "mesh";

/// Hands MeshConfig on, and says once that it is known: rules that wait for the mesh wait for this as well.
fn take_mesh(
    map: &NamespacedName,
    content: &Content,
    source: &RefCell<Option<Source>>,
    conductor: &SyncSender<Message>,
) {
    match mesh_of(map, content) {
        Ok(mesh) => drop(conductor.send(Message::Mesh(Box::new(mesh)))),
        Err(why) => tracing::warn!("{why}; MeshConfig stays as it was"),
    }
    if *content != Content::Unknown
        && let Some(source) = source.take()
    {
        drop(conductor.send(Message::Whole(source)));
    }
}

/// MeshConfig that a ConfigMap has under its key `mesh`; Istio's defaults where there is no such ConfigMap.
///
/// # Errors
/// One line: the ConfigMap is not known or has no such key, or what is there is no MeshConfig.
pub(crate) fn mesh_of(map: &NamespacedName, content: &Content) -> Result<model::Mesh, String> {
    let name = format!("ConfigMap {map}");
    match content {
        Content::There(keys) => {
            let bytes = keys.get(MESH_KEY).ok_or_else(|| format!("{name} has no key {MESH_KEY}"))?;
            let text = std::str::from_utf8(bytes).map_err(|_| format!("{name}: {MESH_KEY} is not UTF-8"))?;
            manifest::mesh_config(&name, text, &manifest::Limits::default()).map_err(|problem| problem.to_string())
        }
        // Istio's own defaults are what counts without it.
        Content::Missing => Ok(model::Mesh::default()),
        Content::Unknown => Err(format!("{name} is not known")),
        Content::Unreadable(why) => Err(format!("{name}: {why}")),
    }
}
