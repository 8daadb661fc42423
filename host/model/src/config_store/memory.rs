//! Objects that are kept in memory only: a store of its own, and the cache of every store that has a source.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::queue::Queue;
use super::{ConfigStore, Delivery, Notice, QUEUE_MAX, Subscription, WriteError};
use crate::object::{Kind, Object, ObjectKey};

/// See the module. How many objects it may hold is the business of whoever writes to it.
#[derive(Debug)]
pub struct MemoryStore {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    queue: Queue,
}

impl Default for MemoryStore {
    /// An empty store that waits for nothing: it has synced.
    fn default() -> Self {
        let mut store = Self::awaiting_load(QUEUE_MAX);
        store.finish_load();
        store
    }
}

impl MemoryStore {
    /// An empty store whose first load is yet to come, and its own limit on how many notices wait for a follower.
    pub fn awaiting_load(notices_max: usize) -> Self {
        Self { objects: BTreeMap::new(), queue: Queue::new(notices_max) }
    }

    /// Says that the first load is complete (K10).
    pub fn finish_load(&mut self) {
        self.queue.has_synced = true;
    }

    /// The object is now like this, whether or not it was there. Nothing happens if it is the same as before.
    pub fn put(&mut self, object: Object) {
        let key = object.key();
        if self.objects.get(&key).is_none_or(|old| **old != object) {
            let object = Arc::new(object);
            self.objects.insert(key, Arc::clone(&object));
            self.queue.push(Notice::Apply(object));
        }
    }

    /// The object is not there any more. Returns whether it was.
    pub fn remove(&mut self, key: &ObjectKey) -> bool {
        let was = self.objects.remove(key).is_some();
        if was {
            self.queue.push(Notice::Delete(key.clone()));
        }
        was
    }

    /// These are all objects there are now. First what came or changed is announced, then what went, each in the order of
    /// the keys. Of an object that is the same as before the new copy is kept, as the caller may keep that, too.
    pub fn replace(&mut self, objects: BTreeMap<ObjectKey, Arc<Object>>) {
        let old = std::mem::replace(&mut self.objects, objects);
        for (key, object) in &self.objects {
            if old.get(key).is_none_or(|old| old != object) {
                self.queue.push(Notice::Apply(Arc::clone(object)));
            }
        }
        for key in old.into_keys().filter(|key| !self.objects.contains_key(key)) {
            self.queue.push(Notice::Delete(key));
        }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    fn check(&self, key: &ObjectKey, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        match (self.objects.get(key), expected) {
            (None, _) => Err(WriteError::NotFound { key: key.clone() }),
            (Some(now), Some(read)) if !Arc::ptr_eq(now, read) => Err(WriteError::Conflict { key: key.clone() }),
            _ => Ok(()),
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

impl ConfigStore for MemoryStore {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    fn list(&self, kind: Option<Kind>, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let is_in = |key: &ObjectKey| namespace.is_none_or(|namespace| *key.namespace == *namespace);
        let Some(kind) = kind else {
            return self.objects.iter().filter(|(key, _)| is_in(key)).map(|(_, object)| Arc::clone(object)).collect();
        };
        // Keys are sorted by kind, then namespace: what is asked for is one range.
        let from = ObjectKey::new(kind, namespace.unwrap_or_default(), "");
        let range = self.objects.range(from..).take_while(|(key, _)| key.kind == kind && is_in(key));
        range.map(|(_, object)| Arc::clone(object)).collect()
    }

    fn create(&mut self, object: Object) -> Result<(), WriteError> {
        let key = object.key();
        if self.objects.contains_key(&key) {
            return Err(WriteError::AlreadyExists { key });
        }
        self.put(object);
        Ok(())
    }

    fn update(&mut self, object: Object, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        self.check(&object.key(), expected)?;
        self.put(object);
        Ok(())
    }

    fn delete(&mut self, key: &ObjectKey, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        self.check(key, expected)?;
        self.remove(key);
        Ok(())
    }

    fn subscribe(&mut self) -> Subscription {
        self.queue.subscribe()
    }

    fn poll(&self, subscription: &mut Subscription) -> Delivery {
        self.queue.poll(subscription, || self.objects.values().cloned().collect())
    }

    fn has_synced(&self) -> bool {
        self.queue.has_synced
    }
}
