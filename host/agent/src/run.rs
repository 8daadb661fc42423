//! Joins all parts of the agent, in reading order: sources, engine, sinks, conductor, loader, admin, signals.

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
use model::overlay::Overlay;
use model::sink::Sink;
use redirect::{Redirect, RedirectSink};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use xds::client::state::Update;
use xds::fallback::Outlet;

use crate::admin::{Admin, EXPLANATIONS_MAX};
use crate::capture::CAPTURES_MAX;
use crate::conductor::{Conductor, Message};
use crate::config::{AgentConfig, Located};
use crate::follower;
use crate::kubernetes::{Following, Watched};
use crate::loader::Loader;
use crate::manifests::{Manifests, first_look};
use crate::published::{Published, TableSink};
use crate::rules::{Kept, rules_of};
use crate::serving::{Signals, until_signalled};
use crate::sources::{Source, Sources};
use crate::status::{Status, Writing};
use crate::upstream::{Saved, Upstream};
use crate::watch::Watch;
use crate::ztunnels::{Feed, UpstreamConfig, Xds};

/// Messages that wait for the conductor; who has one more waits with it.
const MESSAGES_MAX: usize = 64;

/// Runs until SIGTERM or SIGINT. What is in the kernel stays there.
pub(crate) fn run(config: AgentConfig) -> anyhow::Result<()> {
    let runtime = one_thread("admin")?;
    // Ztunnels have a thread of their own: what an operator asks for keeps none of them waiting, and one thread that takes
    // what ten of them answer is woken less often than two that share it.
    let ztunnels = one_thread("xds")?;
    let signals = runtime.block_on(async { Signals::listen() })?;
    let published = Arc::new(Published::default());
    let engine = Engine::new(Limits::default())?;

    let mut reader = FolderReader::new(config.manifests.clone(), manifest::Limits::default());
    let (store, is_whole) = first_look(&config, &mut reader, &published);
    let sources = Sources::default();
    let files = sources.source();
    let unread = if is_whole {
        files.done();
        None
    } else {
        Some(files)
    };
    let shared_store = Arc::new(ArcSwap::from_pointee(store.clone()));

    // The order of the sinks is the order of their commits: the kernel first, readers last.
    let mut sinks: Vec<Box<dyn Sink + Send>> = Vec::new();
    let rules = open_redirect(&config, &mut sinks)?;
    let (xds, control_plane) = open_xds(&config, &store, &published, &mut sinks)?;
    let status = Status::open(&config, &published, &mut sinks);
    sinks.push(Box::new(TableSink::new(Arc::clone(&published))));

    let (messages, inbox) = sync_channel(MESSAGES_MAX);
    let (upstream, following_upstream) = control_plane.map(|it| it.start(&messages)).transpose()?.unzip();
    let overlay = (config.follows_cluster() && !config.manifests.is_empty()).then(|| Overlay::of(&store));
    let conductor =
        Conductor::new(store, Arc::clone(&shared_store), Arc::clone(&published), sinks, rules, upstream, overlay);
    let conductor = spawn("conductor", move || conductor.run(&inbox))?;

    let stop = Arc::new(AtomicBool::new(false));
    let objects = follow_files(&config, reader, unread, &messages, &published, &stop)?;
    let (rules_from, watched, maps) = rules_of(&config);
    let watch = Watch::new(watched, config.debounce);
    let maps = maps.into_iter().map(|(map, content)| Watched { map, content, bell: watch.bell() }).collect();
    let following = Following::start(&config, maps, &messages, &published, &shared_store, &sources)?;
    let writing = status.map(Status::start).transpose()?;
    let loader = Loader {
        rules: rules_from,
        engine,
        store: Arc::clone(&shared_store),
        conductor: messages.clone(),
        stop: Arc::clone(&stop),
        sources,
        spread: config.compile_spread,
        published: Arc::clone(&published),
        kept: config.kubernetes.as_ref().and_then(|it| it.state.clone()).map(Kept::new),
    };
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
    let served = until_signalled(signals, config.admin, config.metrics, admin, xds, ztunnels.handle());
    let (served, streams) = runtime.block_on(served);

    // First: the next leader need not wait for the rest.
    writing.map(Writing::stop).transpose()?;
    // What the conductor's inbox holds by now is worked off, then it stops.
    stop.store(true, Ordering::Release);
    join(objects)?;
    following.map(Following::stop).transpose()?;
    let saving = following_upstream.map(FollowingUpstream::stop).transpose()?;
    let _gone = messages.send(Message::Stop);
    join(conductor)?;
    // The last mesh is handed over when the conductor ends.
    saving.map(join).transpose()?;
    // The sink is gone with the conductor, and so is what streams wait for.
    runtime.block_on(streams.end());
    tracing::info!("stopped; what is in the kernel stays");
    served
}

/// Sockets on one thread.
fn one_thread(name: &str) -> anyhow::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build();
    runtime.with_context(|| format!("no thread for {name}"))
}

/// Follows the manifests, and the file with MeshConfig.
fn follow_files(
    config: &AgentConfig,
    mut reader: FolderReader,
    unread: Option<Source>,
    conductor: &SyncSender<Message>,
    published: &Arc<Published>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<JoinHandle<()>> {
    let mesh_config = config.mesh_config.as_ref().and_then(Located::path).map(ToOwned::to_owned);
    let watched = config.manifests.iter().chain(&mesh_config).cloned().collect();
    let watch = Watch::new(watched, config.debounce);
    let follow = Manifests {
        mesh_config,
        conductor: conductor.clone(),
        published: Arc::clone(published),
        stop: Arc::clone(stop),
        unread,
    };
    spawn("manifests", move || follow.run(&mut reader, watch))
}

/// What redirects in the kernel, if that is wanted; the number of the rules there, where those of this agent go on.
fn open_redirect(config: &AgentConfig, sinks: &mut Vec<Box<dyn Sink + Send>>) -> anyhow::Result<u64> {
    let Some(config) = &config.redirect else { return Ok(0) };
    let sink = RedirectSink::new(Redirect::open(config)?);
    // Numbers go on where an earlier agent stopped, so that records of its connections stay unmistakable.
    let rules = sink.active()?.rules;
    sinks.push(Box::new(sink));
    tracing::info!(cgroup = %config.cgroup.display(), pins = %config.pin_dir.display(), last_rules = rules,
        "redirecting in the kernel, without a node proxy");
    Ok(rules)
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
    fn open(config: UpstreamConfig, newest: Outlet, store: &Store, published: &Published) -> anyhow::Result<Self> {
        let (dir, restored) = follower::restore(&config.state)?;
        let (saver, meshes) = sync_channel(1);
        let seen = Arc::clone(&published.upstream);
        let upstream = Upstream::new(&restored, store, &config, seen, newest, saver);
        Ok(Self { config, restored, dir, upstream, meshes })
    }

    /// Follows it from now on.
    fn start(self, conductor: &SyncSender<Message>) -> anyhow::Result<(Upstream, FollowingUpstream)> {
        let Self { config, restored, dir, upstream, meshes } = self;
        let (stop, stopped) = oneshot::channel();
        let conductor = conductor.clone();
        let client = spawn("upstream", move || follower::follow(config.client, restored, &conductor, stopped))?;
        let saver = spawn("saver", move || follower::keep(&dir, &meshes))?;
        Ok((upstream, FollowingUpstream { stop, client, saver }))
    }
}

/// The threads that follow the control plane.
struct FollowingUpstream {
    stop: oneshot::Sender<()>,
    client: JoinHandle<anyhow::Result<()>>,
    saver: JoinHandle<()>,
}

impl FollowingUpstream {
    /// Stops following; the saver ends when the conductor has.
    fn stop(self) -> anyhow::Result<JoinHandle<()>> {
        drop(self.stop);
        join(self.client)??;
        Ok(self.saver)
    }
}

pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).with_context(|| format!("no thread for the {name}"))
}

pub(crate) fn join<T>(thread: JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread of the agent ended by a defect; see the lines above"))
}
