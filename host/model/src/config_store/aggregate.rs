//! Several stores as one. Of an object that several have, the first store's counts; the others' are shadowed by it.
//!
//! It keeps no objects. That works because its stores are its own, a store changes only through a mutable reference, and
//! whoever had one is caught up with at once: when a notice of one store is looked at, what the others hold is what they
//! held when it happened.

use std::sync::Arc;

use super::queue::Queue;
use super::{ConfigStore, Delivery, Notice, QUEUE_MAX, Subscription, WriteError, sort_key};
use crate::object::{Kind, Object, ObjectKey};

/// See the module. A relist of one of the stores is a relist of the aggregate.
#[derive(Debug)]
pub struct Aggregate<S> {
    members: Vec<Member<S>>,
    writer: Option<usize>,
    queue: Queue,
}

#[derive(Debug)]
struct Member<S> {
    store: S,
    subscription: Subscription,
}

impl<S: ConfigStore> Aggregate<S> {
    /// These stores, the first of which wins, and the index of the one that is written to, if there is one.
    pub fn new(stores: Vec<S>, writer: Option<usize>) -> Self {
        Self::with_queue(stores, writer, QUEUE_MAX)
    }

    /// The same, with its own limit on how many notices wait for a follower.
    pub fn with_queue(stores: Vec<S>, writer: Option<usize>, notices_max: usize) -> Self {
        let member = |mut store: S| Member { subscription: store.subscribe(), store };
        let members: Vec<_> = stores.into_iter().map(member).collect();
        let mut aggregate = Self { members, writer, queue: Queue::new(notices_max) };
        for index in 0..aggregate.members.len() {
            aggregate.catch_up(index);
        }
        aggregate.note_synced();
        aggregate
    }

    /// The store with this index; none if there is no such store.
    pub fn store(&self, index: usize) -> Option<&S> {
        self.members.get(index).map(|member| &member.store)
    }

    /// Lets `change` have one of the stores, for instance to refresh only that one, and announces what happened to it.
    /// It must stay the same store. None if there is no such store.
    pub fn with_store<T>(&mut self, index: usize, change: impl FnOnce(&mut S) -> T) -> Option<T> {
        let changed = change(&mut self.members.get_mut(index)?.store);
        self.catch_up(index);
        self.note_synced();
        Some(changed)
    }

    /// Takes over what happened to one store. All others are caught up with.
    fn catch_up(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        match member.store.poll(&mut member.subscription) {
            Delivery::Relist(_) => self.queue.restart(),
            Delivery::Notices(notices) => {
                for notice in notices {
                    if let Some(seen) = self.seen(index, notice) {
                        self.queue.push(seen);
                    }
                }
            }
        }
    }

    /// What a notice of the store `index` looks like from outside: nothing if an earlier store has such an object, and
    /// if it uncovers that of a later store, that one.
    fn seen(&self, index: usize, notice: Notice) -> Option<Notice> {
        let key = notice.key();
        if self.is_shadowed(index, &key) {
            return None;
        }
        let Notice::Delete(key) = notice else { return Some(notice) };
        let uncovered = self.members.iter().skip(index + 1).find_map(|member| member.store.get(&key));
        Some(uncovered.map_or(Notice::Delete(key), Notice::Apply))
    }

    fn is_shadowed(&self, index: usize, key: &ObjectKey) -> bool {
        self.members.iter().take(index).any(|member| member.store.get(key).is_some())
    }

    /// Synced are we when we have been given the first load of every store.
    fn note_synced(&mut self) {
        self.queue.has_synced |= self.members.iter().all(|member| member.subscription.has_synced());
    }

    /// An object can be changed if the writer has it and no store before: another store's is not written to, and what
    /// is shadowed would not be seen to change.
    fn check_holder(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let holder = self.members.iter().position(|member| member.store.get(key).is_some());
        match (self.writer, holder) {
            (None, _) => Err(unsupported(key, NO_WRITER)),
            (Some(_), None) => Err(WriteError::NotFound { key: key.clone() }),
            (Some(writer), Some(holder)) if writer != holder => Err(unsupported(key, NOT_THE_WRITERS)),
            _ => Ok(()),
        }
    }

    fn write(
        &mut self,
        key: &ObjectKey,
        write: impl FnOnce(&mut S) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let written = self.writer.and_then(|writer| self.with_store(writer, write));
        written.unwrap_or_else(|| Err(unsupported(key, NO_WRITER)))
    }
}

pub(super) const NO_WRITER: &str = "none of the stores takes writes; change it where it comes from";
pub(super) const NOT_THE_WRITERS: &str = "it comes from a store that takes no writes; change it there";

fn unsupported(key: &ObjectKey, reason: &'static str) -> WriteError {
    WriteError::Unsupported { key: key.clone(), reason }
}

impl<S: ConfigStore> ConfigStore for Aggregate<S> {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.members.iter().find_map(|member| member.store.get(key))
    }

    fn list(&self, kind: Option<Kind>, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let mut all: Vec<Arc<Object>> = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            let mut listed = member.store.list(kind, namespace);
            if index > 0 {
                listed.retain(|object| !self.is_shadowed(index, &object.key()));
            }
            all.append(&mut listed);
        }
        // Runs that are sorted already, one for each store: merging them is what this sort does.
        all.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        all
    }

    /// # Errors
    /// Also [`WriteError::AlreadyExists`] if the object is in a store that is not written to.
    fn create(&mut self, object: Object) -> Result<(), WriteError> {
        let key = object.key();
        if self.writer.is_some() && self.get(&key).is_some() {
            return Err(WriteError::AlreadyExists { key });
        }
        self.write(&key, |store| store.create(object))
    }

    fn update(&mut self, object: Object, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        let key = object.key();
        self.check_holder(&key)?;
        self.write(&key, |store| store.update(object, expected))
    }

    /// A later store's object with this key is seen from then on.
    fn delete(&mut self, key: &ObjectKey, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        self.check_holder(key)?;
        self.write(key, |store| store.delete(key, expected))
    }

    /// Refreshes every store. One alone: [`Aggregate::with_store`].
    fn refresh(&mut self) {
        for index in 0..self.members.len() {
            self.with_store(index, S::refresh);
        }
    }

    fn subscribe(&mut self) -> Subscription {
        self.queue.subscribe()
    }

    fn poll(&self, subscription: &mut Subscription) -> Delivery {
        self.queue.poll(subscription, || self.list(None, None))
    }

    fn has_synced(&self) -> bool {
        self.queue.has_synced
    }
}
