//! Joins all parts of the agent, in reading order: sources, engine, sinks, conductor, loader, admin, signals.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use arc_swap::ArcSwap;
use cap_std::fs::Dir;
use engine::{Engine, Limits};
use manifest::FolderReader;
use model::Store;
use model::sink::Sink;
use redirect::{Redirect, RedirectSink};
use tokio::sync::{Semaphore, oneshot, watch};
use xds::client::state::Update;
use xds::resource::Snapshot;

use crate::admin::{Admin, EXPLANATIONS_MAX};
use crate::capture::CAPTURES_MAX;
use crate::commands::mesh::mesh_config;
use crate::conductor::{Conductor, Message};
use crate::config::AgentConfig;
use crate::follower;
use crate::loader::Loader;
use crate::published::{Published, TableSink};
use crate::rules_folder::RulesFolder;
use crate::serving::until_signalled;
use crate::upstream::{Saved, Upstream};
use crate::watch::Watch;
use crate::ztunnels::{Feed, UpstreamConfig, Xds};

/// Messages that wait for the conductor; who has one more waits with it.
const MESSAGES_MAX: usize = 64;

/// Events of one message; what a file edited by hand changes is less.
const EVENTS_MAX: usize = 16_384;

/// After how many objects the first reading says how far it is.
const PROGRESS_EVERY: usize = 50_000;

/// Runs until SIGTERM or SIGINT. What is in the kernel stays there.
pub(crate) fn run(config: AgentConfig) -> anyhow::Result<()> {
    let published = Arc::new(Published::default());
    let engine = Engine::new(Limits::default())?;

    let mut reader = FolderReader::new(config.manifests.clone(), manifest::Limits::default());
    let (store, is_whole) = first_look(&config, &mut reader, &published);
    let synced = Arc::new(AtomicBool::new(is_whole));
    let shared_store = Arc::new(ArcSwap::from_pointee(store.clone()));

    // The order of the sinks is the order of their commits: the kernel first, readers last.
    let mut sinks: Vec<Box<dyn Sink + Send>> = Vec::new();
    let mut rules = 0;
    if let Some(config) = &config.redirect {
        let sink = RedirectSink::new(Redirect::open(config)?);
        // Numbers go on where an earlier agent stopped, so that records of its connections stay unmistakable.
        rules = sink.active()?.rules;
        sinks.push(Box::new(sink));
        tracing::info!(cgroup = %config.cgroup.display(), pins = %config.pin_dir.display(), last_rules = rules,
            "redirecting in the kernel, without a node proxy");
    }
    let (xds, control_plane) = open_xds(&config, &store, &published, &mut sinks)?;
    sinks.push(Box::new(TableSink::new(Arc::clone(&published))));

    let (messages, inbox) = sync_channel(MESSAGES_MAX);
    let (upstream, following) = control_plane.map(|it| it.start(&messages)).transpose()?.unzip();
    let conductor = Conductor::new(store, Arc::clone(&shared_store), Arc::clone(&published), sinks, rules, upstream);
    let conductor = spawn("conductor", move || conductor.run(&inbox))?;

    let stop = Arc::new(AtomicBool::new(false));
    let watched = config.manifests.iter().chain(&config.mesh_config).cloned().collect();
    let watch = Watch::new(watched, config.debounce);
    let objects = {
        let follow = Manifests {
            mesh_config: config.mesh_config.clone(),
            conductor: messages.clone(),
            published: Arc::clone(&published),
            stop: Arc::clone(&stop),
            synced: Arc::clone(&synced),
        };
        let follow = move || follow.run(&mut reader, watch);
        spawn("manifests", follow)?
    };
    let loader = Loader {
        folder: RulesFolder::new(config.rules.clone(), config.components.clone()),
        engine,
        store: Arc::clone(&shared_store),
        conductor: messages.clone(),
        stop: Arc::clone(&stop),
        synced,
    };
    let watch = Watch::new(vec![loader.folder.path().to_owned()], config.debounce);
    // Not waited for at the end: it may be compiling for seconds, and nothing it does alone has an effect.
    let _loader = spawn("loader", move || loader.run(watch))?;

    let admin = Admin {
        published,
        store: shared_store,
        conductor: messages.clone(),
        explanations: Arc::new(Semaphore::new(EXPLANATIONS_MAX)),
        captures: Arc::new(Semaphore::new(CAPTURES_MAX)),
        clients: xds.as_ref().map(Xds::clients),
        newest: xds.as_ref().map(Xds::newest),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (served, streams) = runtime.block_on(until_signalled(config.admin, admin, xds));

    // What the conductor's inbox holds by now is worked off, then it stops.
    stop.store(true, Ordering::Release);
    join(objects)?;
    let saving = following.map(Following::stop).transpose()?;
    let _gone = messages.send(Message::Stop);
    join(conductor)?;
    // The last mesh is handed over when the conductor ends.
    saving.map(join).transpose()?;
    // The sink is gone with the conductor, and so is what streams wait for.
    runtime.block_on(streams.end());
    tracing::info!("stopped; what is in the kernel stays");
    served
}

/// Reads the mesh as it is at start; false where something could not be read.
fn first_look(config: &AgentConfig, reader: &mut FolderReader, published: &Published) -> (Store, bool) {
    let mut facts = config.facts.clone();
    let mut problems = Vec::new();
    match config.mesh_config.as_deref().map(mesh_config) {
        None => {}
        Some(Ok(mesh)) => facts.mesh = mesh,
        Some(Err(problem)) => problems.push(problem),
    }
    let mut store = Store::new(facts);
    let mut progress = |objects: usize| {
        if objects.is_multiple_of(PROGRESS_EVERY) {
            tracing::info!(objects, "reading manifests");
        }
    };
    // Object by object: a large mesh is never in memory twice.
    let reading = reader.read(&mut |event| drop(store.apply(event)), &mut progress);
    let is_whole = reading.is_whole && problems.is_empty();
    tell(&reading, problems, published);
    if !is_whole {
        tracing::error!("manifests cannot be read: no rules are published before they can be; see the lines above");
    }
    tracing::info!(objects = store.len(), revision = store.revision(), "manifests are read");
    (store, is_whole)
}

/// What serves ztunnels, and what feeds it: another sink, or a control plane.
fn open_xds(
    config: &AgentConfig,
    store: &Store,
    published: &Published,
    sinks: &mut Vec<Box<dyn Sink + Send>>,
) -> anyhow::Result<(Option<Xds>, Option<ControlPlane>)> {
    let Some(config) = &config.xds else { return Ok((None, None)) };
    let (server, feed) = Xds::open(config)?;
    let control_plane = match feed {
        Feed::Sink(sink) => {
            sinks.push(sink);
            None
        }
        Feed::Upstream(config, newest) => Some(ControlPlane::open(*config, newest, store, published)?),
    };
    Ok((Some(server), control_plane))
}

/// The control plane before anything follows it.
struct ControlPlane {
    config: UpstreamConfig,
    restored: Vec<Update>,
    dir: Dir,
    upstream: Upstream,
    meshes: Receiver<Saved>,
}

impl ControlPlane {
    fn open(
        config: UpstreamConfig,
        newest: watch::Sender<Arc<Snapshot>>,
        store: &Store,
        published: &Published,
    ) -> anyhow::Result<Self> {
        let (dir, restored) = follower::restore(&config.state)?;
        let (saver, meshes) = sync_channel(1);
        let seen = Arc::clone(&published.upstream);
        let upstream = Upstream::new(&restored, store, config.allow_unprogrammed, seen, newest, saver);
        Ok(Self { config, restored, dir, upstream, meshes })
    }

    /// Follows it from now on.
    fn start(self, conductor: &SyncSender<Message>) -> anyhow::Result<(Upstream, Following)> {
        let Self { config, restored, dir, upstream, meshes } = self;
        let (stop, stopped) = oneshot::channel();
        let conductor = conductor.clone();
        let client = spawn("upstream", move || follower::follow(config.client, &restored, &conductor, stopped))?;
        let saver = spawn("saver", move || follower::keep(&dir, &meshes))?;
        Ok((upstream, Following { stop, client, saver }))
    }
}

/// The threads that follow the control plane.
struct Following {
    stop: oneshot::Sender<()>,
    client: JoinHandle<anyhow::Result<()>>,
    saver: JoinHandle<()>,
}

impl Following {
    /// Stops following; the saver ends when the conductor has.
    fn stop(self) -> anyhow::Result<JoinHandle<()>> {
        drop(self.stop);
        join(self.client)??;
        Ok(self.saver)
    }
}

/// Follows the manifests from file to conductor.
struct Manifests {
    mesh_config: Option<PathBuf>,
    conductor: SyncSender<Message>,
    published: Arc<Published>,
    stop: Arc<AtomicBool>,
    synced: Arc<AtomicBool>,
}

impl Manifests {
    fn run(self, reader: &mut FolderReader, mut watch: Watch) {
        while watch.next(&|| self.stop.load(Ordering::Acquire)).is_some() {
            let mut problems = Vec::new();
            if let Some(path) = &self.mesh_config {
                match mesh_config(path) {
                    // The store sees whether it says anything new.
                    Ok(mesh) => {
                        if self.conductor.send(Message::Mesh(Box::new(mesh))).is_err() {
                            return;
                        }
                    }
                    Err(problem) => problems.push(problem),
                }
            }
            let (mut events, mut stopped) = (Vec::new(), false);
            let mut follow = |event| {
                events.push(event);
                // A new mesh in the place of the old one goes on in parts.
                if events.len() == EVENTS_MAX {
                    stopped |= self.conductor.send(Message::Objects(std::mem::take(&mut events))).is_err();
                }
            };
            let reading = reader.read(&mut follow, &mut |_| {});
            let whole = reading.is_whole && problems.is_empty();
            tell(&reading, problems, &self.published);
            if stopped || !events.is_empty() && self.conductor.send(Message::Objects(events)).is_err() {
                return;
            }
            if whole {
                self.synced.store(true, Ordering::Release);
            }
        }
    }
}

/// Says each problem once, when it appears.
fn tell(reading: &manifest::Reading, mut problems: Vec<String>, published: &Published) {
    problems.extend(reading.problems.iter().map(ToString::to_string));
    let before = published.problems.load();
    for problem in problems.iter().filter(|problem| !before.contains(problem)) {
        tracing::warn!("{problem}; what was read there before stays");
    }
    if before.is_empty() && published.active.load().is_none() {
        for warning in &reading.warnings {
            tracing::info!("{warning}");
        }
    }
    published.problems.store(Arc::new(problems));
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).with_context(|| format!("no thread for the {name}"))
}

fn join<T>(thread: JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread of the agent ended by a defect; see the lines above"))
}
