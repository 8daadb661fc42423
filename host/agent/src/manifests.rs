//! Manifests as a source: read once at the start, then followed from file to conductor on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use manifest::FolderReader;
use model::Store;

use crate::commands::mesh::mesh_config;
use crate::conductor::{Message, Origin};
use crate::config::{AgentConfig, Located};
use crate::published::Published;
use crate::sources::Source;
use crate::watch::Watch;

/// Events of one message; what a file edited by hand changes is less.
const EVENTS_MAX: usize = 16_384;

/// After how many objects the first reading says how far it is.
const PROGRESS_EVERY: usize = 50_000;

/// Reads the mesh as it is at start; false where something could not be read.
pub(crate) fn first_look(config: &AgentConfig, reader: &mut FolderReader, published: &Published) -> (Store, bool) {
    let mut facts = config.facts.clone();
    let mut problems = Vec::new();
    match config.mesh_config.as_ref().and_then(Located::path).map(mesh_config) {
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

/// Follows the manifests from file to conductor.
pub(crate) struct Manifests {
    pub(crate) mesh_config: Option<PathBuf>,
    pub(crate) conductor: SyncSender<Message>,
    pub(crate) published: Arc<Published>,
    pub(crate) stop: Arc<AtomicBool>,
    /// Until all of them were read once.
    pub(crate) unread: Option<Source>,
}

impl Manifests {
    pub(crate) fn run(mut self, reader: &mut FolderReader, mut watch: Watch) {
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
                    stopped |=
                        self.conductor.send(Message::Objects(Origin::Files, std::mem::take(&mut events))).is_err();
                }
            };
            let reading = reader.read(&mut follow, &mut |_| {});
            let whole = reading.is_whole && problems.is_empty();
            tell(&reading, problems, &self.published);
            if stopped || !events.is_empty() && self.conductor.send(Message::Objects(Origin::Files, events)).is_err() {
                return;
            }
            if whole && let Some(source) = self.unread.take() {
                let _gone = self.conductor.send(Message::Whole(source));
            }
        }
    }
}

/// Says each problem once, when it appears.
fn tell(reading: &manifest::Reading, mut problems: Vec<String>, published: &Published) {
    problems.extend(reading.problems.iter().map(ToString::to_string));
    let before = published.problems.load();
    for problem in problems.iter().filter(|problem| !before.contains(problem)) {
        published.manifest_errors.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("{problem}; what was read there before stays");
    }
    if before.is_empty() && published.active.load().is_none() {
        for warning in &reading.warnings {
            tracing::info!("{warning}");
        }
    }
    published.problems.store(Arc::new(problems));
}
