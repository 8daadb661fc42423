//! Files and folders of manifests as a [`ConfigStore`]. Watches nothing: the caller says when to read again.
//!
//! Read-only. A manifest holds more than the model knows of it, comments included; writing an object of the model over it
//! would lose that. Who wants an object changed edits its file.

use std::path::PathBuf;
use std::sync::Arc;

use model::Object;
use model::config_store::{ConfigStore, Delivery, MemoryStore, QUEUE_MAX, Subscription, WriteError};
use model::object::{Kind, ObjectKey};

use crate::limits::Limits;
use crate::problem::Problem;
use crate::report::Warning;
use crate::snapshot::FolderSource;

/// The objects of some files and folders, as they were when last read.
///
/// Which of two objects with one key counts, and what stays while something cannot be read, is as [`FolderSource`] has it.
/// The first load is complete when everything could be read for the first time; until then there may be objects already.
#[derive(Debug)]
pub struct FolderStore {
    source: FolderSource,
    cache: MemoryStore,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    is_whole: bool,
}

impl FolderStore {
    /// A store that has read nothing yet. Later paths win over earlier ones.
    pub fn new(paths: Vec<PathBuf>, limits: Limits) -> Self {
        Self::with_queue(paths, limits, QUEUE_MAX)
    }

    /// The same, with its own limit on how many notices wait for a follower.
    pub fn with_queue(paths: Vec<PathBuf>, limits: Limits, notices_max: usize) -> Self {
        let (source, cache) = (FolderSource::new(paths, limits), MemoryStore::awaiting_load(notices_max));
        Self { source, cache, problems: Vec::new(), warnings: Vec::new(), is_whole: false }
    }

    /// What could not be read the last time, in the order of the input.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What was left out the last time without being wrong.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether everything that may have held objects could be read the last time; false before the first.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

impl ConfigStore for FolderStore {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.cache.get(key)
    }

    fn list(&self, kind: Option<Kind>, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.cache.list(kind, namespace)
    }

    fn create(&mut self, object: Object) -> Result<(), WriteError> {
        Err(read_only(object.key()))
    }

    fn update(&mut self, object: Object, _expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        Err(read_only(object.key()))
    }

    fn delete(&mut self, key: &ObjectKey, _expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        Err(read_only(key.clone()))
    }

    /// Reads everything again. What could not be read is among the [`FolderStore::problems`].
    fn refresh(&mut self) {
        let snapshot = self.source.load();
        self.cache.replace(snapshot.objects.into_iter().map(|(key, entry)| (key, entry.object)).collect());
        self.problems = snapshot.problems;
        self.warnings = snapshot.warnings;
        self.is_whole = snapshot.is_whole;
        if self.is_whole {
            self.cache.finish_load();
        }
    }

    fn subscribe(&mut self) -> Subscription {
        self.cache.subscribe()
    }

    fn poll(&self, subscription: &mut Subscription) -> Delivery {
        self.cache.poll(subscription)
    }

    fn has_synced(&self) -> bool {
        self.cache.has_synced()
    }
}

fn read_only(key: ObjectKey) -> WriteError {
    WriteError::Unsupported { key, reason: "manifests are only read; change the file" }
}

#[cfg(test)]
mod tests;
