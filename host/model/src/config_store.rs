//! Where objects come from: what every such place promises to those who follow it, whoever keeps the objects.
//!
//! Not the mesh that decisions are made from: that is [`crate::store`], which follows one of these. Not a client of
//! anything: a store that reads files or talks to a server lives where that is known, keeps what it learnt in a
//! [`MemoryStore`] and passes the questions on.
//!
//! **Followers pull.** A store keeps one queue of what happened, and a [`Subscription`] is a place in it: all followers
//! see the same notices in the same order, and none can hold up a writer or another follower (K9, K14). The queue is
//! bounded by [`QUEUE_MAX`] notices, of which it keeps only those that somebody has yet to read. Whoever falls further
//! behind, and whoever is new, is given [`Delivery::Relist`]: everything there is now (K15). That is how nothing is lost
//! in bounded memory: a change is either handed over as a notice of its own, unmerged and in its place, or it is contained
//! in a listing that says it is complete, so that what went is seen by its absence. After every poll a follower that does
//! what it is told has exactly what [`ConfigStore::list`] gives. What a relist does not tell are states that were over
//! before the follower looked; it never happens silently.
//!
//! ```
//! use model::config_store::{ConfigStore, Delivery, MemoryStore};
//! use model::{Meta, Namespace, Object};
//!
//! let mut store = MemoryStore::default();
//! let mut subscription = store.subscribe();
//! assert!(matches!(store.poll(&mut subscription), Delivery::Relist(all) if all.is_empty()));
//! store.create(Object::Namespace(Namespace { meta: Meta::named("", "shop") }))?;
//! assert!(matches!(store.poll(&mut subscription), Delivery::Notices(new) if new.len() == 1));
//! # Ok::<(), model::config_store::WriteError>(())
//! ```

use std::sync::Arc;

use crate::name::Name;
use crate::object::{Kind, Object, ObjectKey};
use crate::store::Event;

mod queue;

mod memory;

mod aggregate;

mod handlers;

pub use aggregate::Aggregate;
pub use handlers::Handlers;
pub use memory::MemoryStore;
pub use queue::{QUEUE_MAX, Subscription};

/// A place that objects come from, with all of them in memory (K6).
///
/// Reading never fails and never waits, and a store changes only in methods that take it mutably. Objects are shared and read-only (K4), one for each key (K1). A write that
/// returned is seen by the next read, and a write that failed changed nothing (stricter than K2).
///
/// The version of an object is the object as it was read: a write that names it takes effect only if the store still
/// holds that very one. So versions can be compared for nothing but that, and those of different stores, or of an object
/// that was deleted and made again, are never mistaken for one another (K3).
pub trait ConfigStore {
    /// The object, if it is there.
    fn get(&self, key: &ObjectKey) -> Option<Arc<Object>>;

    /// All objects of `kind` in `namespace`, in the order of their keys. None stands for every kind, for every namespace
    /// (K5); the empty namespace is that of cluster-scoped objects.
    fn list(&self, kind: Option<Kind>, namespace: Option<&str>) -> Vec<Arc<Object>>;

    /// Adds an object.
    ///
    /// # Errors
    /// [`WriteError::AlreadyExists`], or [`WriteError::Unsupported`] if this object cannot be written here.
    fn create(&mut self, object: Object) -> Result<(), WriteError>;

    /// Replaces an object, if `expected` is none or still what is there. If nothing is different nothing happens.
    ///
    /// # Errors
    /// [`WriteError::NotFound`], [`WriteError::Conflict`] with what was expected, or [`WriteError::Unsupported`].
    fn update(&mut self, object: Object, expected: Option<&Arc<Object>>) -> Result<(), WriteError>;

    /// Removes an object, if `expected` is none or still what is there.
    ///
    /// # Errors
    /// As [`ConfigStore::update`].
    fn delete(&mut self, key: &ObjectKey, expected: Option<&Arc<Object>>) -> Result<(), WriteError>;

    /// Takes in what the source of this store says by now. A store without a source has nothing to do.
    fn refresh(&mut self) {}

    /// A new follower. Its first poll is a relist (K15), so it does not matter when it comes (K7).
    fn subscribe(&mut self) -> Subscription;

    /// What happened since this subscription last asked. The store is already at least as new as all of it (K8). A
    /// subscription of another store is relisted every time, and does not move.
    fn poll(&self, subscription: &mut Subscription) -> Delivery;

    /// Whether the first load is complete; once it is, it stays so. Whether a follower has been given it says
    /// [`Subscription::has_synced`] (K10).
    fn has_synced(&self) -> bool;
}

impl<S: ConfigStore + ?Sized> ConfigStore for Box<S> {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        (**self).get(key)
    }

    fn list(&self, kind: Option<Kind>, namespace: Option<&str>) -> Vec<Arc<Object>> {
        (**self).list(kind, namespace)
    }

    fn create(&mut self, object: Object) -> Result<(), WriteError> {
        (**self).create(object)
    }

    fn update(&mut self, object: Object, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        (**self).update(object, expected)
    }

    fn delete(&mut self, key: &ObjectKey, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        (**self).delete(key, expected)
    }

    fn refresh(&mut self) {
        (**self).refresh();
    }

    fn subscribe(&mut self) -> Subscription {
        (**self).subscribe()
    }

    fn poll(&self, subscription: &mut Subscription) -> Delivery {
        (**self).poll(subscription)
    }

    fn has_synced(&self) -> bool {
        (**self).has_synced()
    }
}

/// Why a write had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no such object to update or delete.
    #[error("{key} is not there; create it")]
    NotFound {
        /// The object.
        key: ObjectKey,
    },
    /// There is one already.
    #[error("{key} exists already; update it, or choose another name")]
    AlreadyExists {
        /// The object.
        key: ObjectKey,
    },
    /// The object is not the one that was read any more.
    #[error("{key} has changed since it was read; read it again and repeat the change")]
    Conflict {
        /// The object.
        key: ObjectKey,
    },
    /// The store takes no writes, or not of this object.
    #[error("{key} cannot be written here: {reason}")]
    Unsupported {
        /// The object.
        key: ObjectKey,
        /// Why not, and where to write instead.
        reason: &'static str,
    },
}

/// A change of one object, without a copy of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The object is new or another one than before.
    Apply(Arc<Object>),
    /// The object is gone.
    Delete(ObjectKey),
}

impl Notice {
    /// The key of the object concerned.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Apply(object) => object.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

impl From<Notice> for Event {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Apply(object) => Self::Apply(Arc::unwrap_or_clone(object)),
            Notice::Delete(key) => Self::Delete(key),
        }
    }
}

/// What a subscription is given at a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// What happened since the last poll: everything, one by one, in its order. May be empty.
    Notices(Vec<Notice>),
    /// Everything there is, in the order of the keys. What the follower has beyond it is gone.
    Relist(Vec<Arc<Object>>),
}

impl Delivery {
    /// Whether there is nothing to do. A relist of nothing is something to do: everything is gone.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Notices(notices) if notices.is_empty())
    }

    /// The notices that lead a follower that has the objects `known` to the present. Of a relist that is every object, then
    /// a deletion for each key of `known` that is not listed; who wants fewer compares with what it has.
    pub fn into_notices(self, known: impl IntoIterator<Item = ObjectKey>) -> Vec<Notice> {
        let listing = match self {
            Self::Notices(notices) => return notices,
            Self::Relist(listing) => listing,
        };
        let is_listed = |key: &ObjectKey| {
            let wanted = (key.kind, &key.namespace, &key.name);
            listing.binary_search_by(|object| sort_key(object).cmp(&wanted)).is_ok()
        };
        let gone: Vec<ObjectKey> = known.into_iter().filter(|key| !is_listed(key)).collect();
        listing.into_iter().map(Notice::Apply).chain(gone.into_iter().map(Notice::Delete)).collect()
    }
}

/// What keys are sorted by, without making one.
fn sort_key(object: &Object) -> (Kind, &Name, &Name) {
    let meta = object.meta();
    (object.kind(), &meta.namespace, &meta.name)
}

#[cfg(test)]
mod tests;
