//! Joins all parts of the agent, in reading order: sources, engine, sinks, conductor, loader, admin, signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use arc_swap::ArcSwap;
use engine::{Engine, Limits};
use manifest::FolderSource;
use model::Store;
use model::sink::Sink;
use redirect::{Redirect, RedirectSink};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::admin::{self, Admin, EXPLANATIONS_MAX};
use crate::conductor::{Conductor, Message};
use crate::config::AgentConfig;
use crate::loader::Loader;
use crate::published::{Published, TableSink};
use crate::rules_folder::RulesFolder;
use crate::watch::Watch;

/// Messages that wait for the conductor; who has one more waits with it.
const MESSAGES_MAX: usize = 64;

/// Runs until SIGTERM or SIGINT. What is in the kernel stays there.
pub(crate) fn run(config: AgentConfig) -> anyhow::Result<()> {
    let published = Arc::new(Published::default());
    let engine = Engine::new(Limits::default())?;

    let mut source = FolderSource::new(config.manifests.clone(), manifest::Limits::default());
    let mut store = Store::new(config.facts.clone());
    let mut snapshot = source.load();
    tell(&snapshot, &published);
    let synced = Arc::new(AtomicBool::new(snapshot.is_whole));
    if !synced.load(Ordering::Acquire) {
        tracing::error!("manifests cannot be read: no rules are published before they can be; see the lines above");
    }
    store.apply_all(manifest::diff(&manifest::Snapshot::default(), &snapshot));
    tracing::info!(objects = store.len(), revision = store.revision(), "manifests are read");
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
    sinks.push(Box::new(TableSink::new(Arc::clone(&published))));

    let (messages, inbox) = sync_channel(MESSAGES_MAX);
    let conductor = Conductor::new(store, Arc::clone(&shared_store), Arc::clone(&published), sinks, rules);
    let conductor = spawn("conductor", move || conductor.run(&inbox))?;

    let stop = Arc::new(AtomicBool::new(false));
    let watch = Watch::new(config.manifests.clone(), config.debounce);
    let objects = {
        let follow = Manifests {
            conductor: messages.clone(),
            published: Arc::clone(&published),
            stop: Arc::clone(&stop),
            synced: Arc::clone(&synced),
        };
        let follow = move || follow.run(&mut source, &mut snapshot, watch);
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
    };
    let served = serve_until_signalled(&config, admin);

    // What the conductor's inbox holds by now is worked off, then it stops.
    stop.store(true, Ordering::Release);
    join(objects)?;
    let _gone = messages.send(Message::Stop);
    join(conductor)?;
    tracing::info!("stopped; what is in the kernel stays");
    served
}

/// Follows the manifests from file to conductor.
struct Manifests {
    conductor: SyncSender<Message>,
    published: Arc<Published>,
    stop: Arc<AtomicBool>,
    synced: Arc<AtomicBool>,
}

impl Manifests {
    fn run(self, source: &mut FolderSource, last: &mut manifest::Snapshot, mut watch: Watch) {
        while watch.next(&|| self.stop.load(Ordering::Acquire)).is_some() {
            let next = source.load();
            let events = manifest::diff(last, &next);
            tell(&next, &self.published);
            let whole = next.is_whole;
            *last = next;
            if !events.is_empty() && self.conductor.send(Message::Objects(events)).is_err() {
                return;
            }
            if whole {
                self.synced.store(true, Ordering::Release);
            }
        }
    }
}

/// Says each problem once, when it appears.
fn tell(snapshot: &manifest::Snapshot, published: &Published) {
    let problems: Vec<String> = snapshot.problems.iter().map(ToString::to_string).collect();
    let before = published.problems.load();
    for problem in problems.iter().filter(|problem| !before.contains(problem)) {
        tracing::warn!("{problem}; what was read there before stays");
    }
    if before.is_empty() && published.active.load().is_none() {
        for warning in &snapshot.warnings {
            tracing::info!("{warning}");
        }
    }
    published.problems.store(Arc::new(problems));
}

fn serve_until_signalled(config: &AgentConfig, admin: Admin) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
        let (stopping, stop) = tokio::sync::oneshot::channel::<()>();
        let until = async move {
            // Dropped or sent: the same.
            let _stop = stop.await;
        };
        let mut serving = std::pin::pin!(admin::serve(config.admin.clone(), admin, until));
        tokio::select! {
            served = &mut serving => return served,
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        drop(stopping);
        // Requests under way get a moment.
        match tokio::time::timeout(std::time::Duration::from_secs(2), serving).await {
            Ok(served) => served,
            Err(_) => Ok(()),
        }
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).with_context(|| format!("no thread for the {name}"))
}

fn join(thread: JoinHandle<()>) -> anyhow::Result<()> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread of the agent ended by a defect; see the lines above"))
}
