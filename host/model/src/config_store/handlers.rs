//! Handlers on one queue, for those who want to be called and have no copy of the objects to compare a relist with.
//! Not needed by a follower that has one: [`super::Delivery::into_notices`] does the same for it at no cost in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{ConfigStore, Delivery, Notice, Subscription};
use crate::object::{Object, ObjectKey};

/// Told of a change, with the store as it is now: at least as new as the change, perhaps newer (K8).
type Handler<'h> = Box<dyn FnMut(&dyn ConfigStore, &Notice) + 'h>;

/// Calls each handler for each change, in the order of the changes, and for each change in the order in which they were
/// registered (K9). A relist reaches them as the changes it amounts to. Remembers all objects to be able to do so.
pub struct Handlers<'h> {
    subscription: Subscription,
    /// What the handlers were told so far.
    told: BTreeMap<ObjectKey, Arc<Object>>,
    handlers: Vec<Handler<'h>>,
}

impl<'h> Handlers<'h> {
    /// None yet. Always give the same store to the other methods.
    pub fn new(store: &mut dyn ConfigStore) -> Self {
        Self { subscription: store.subscribe(), told: BTreeMap::new(), handlers: Vec::new() }
    }

    /// Adds a handler. What the others were told so far it is told at once, as objects that are new (K15).
    pub fn register(&mut self, store: &dyn ConfigStore, handler: impl FnMut(&dyn ConfigStore, &Notice) + 'h) {
        let mut handler: Handler<'h> = Box::new(handler);
        for object in self.told.values() {
            handler(store, &Notice::Apply(Arc::clone(object)));
        }
        self.handlers.push(handler);
    }

    /// Tells all handlers what happened since the last time. Returns how many changes that were.
    pub fn run(&mut self, store: &dyn ConfigStore) -> usize {
        let delivery = store.poll(&mut self.subscription);
        let is_relist = matches!(delivery, Delivery::Relist(_));
        let mut count = 0;
        for notice in delivery.into_notices(self.told.keys().cloned()) {
            let is_new = self.note(&notice);
            // A relist also lists what nobody needs to be told.
            if is_relist && !is_new {
                continue;
            }
            count += 1;
            for handler in &mut self.handlers {
                handler(store, &notice);
            }
        }
        count
    }

    /// Whether the first load is complete and every handler was told of it (K10).
    pub fn has_synced(&self) -> bool {
        self.subscription.has_synced()
    }

    /// Returns whether it says anything new.
    fn note(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::Apply(object) => {
                let before = self.told.insert(object.key(), Arc::clone(object));
                before.is_none_or(|before| before != *object)
            }
            Notice::Delete(key) => self.told.remove(key).is_some(),
        }
    }
}

impl fmt::Debug for Handlers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.told.len();
        f.debug_struct("Handlers").field("told", &told).field("handlers", &self.handlers.len()).finish_non_exhaustive()
    }
}
