//! The one queue of a store, and the places of its followers in it. Not the objects: those are the store's.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::{Delivery, Notice};
use crate::object::Object;

/// Notices that wait for a follower, at most; one that needs older ones is relisted. At 100 changes a second that is
/// not quite three minutes. A notice is 40 bytes and keeps the object as it was then, so this many outdated objects is
/// what a follower that stands still can hold in memory, until it is given up; one that keeps up holds none.
pub const QUEUE_MAX: usize = 16_384;

/// A follower's place in the queue of a store. Dropping it is all there is to leaving.
///
/// Not `Clone`: two that share a place would each miss what the other was given.
#[derive(Debug)]
pub struct Subscription {
    /// The number of the next notice to read. Shared with the queue, which drops what everybody has read.
    next: Arc<AtomicU64>,
    has_synced: bool,
}

impl Subscription {
    /// Whether the follower has been given the first load of the store in full (K10). Once true it stays so.
    pub fn has_synced(&self) -> bool {
        self.has_synced
    }
}

/// Notices are numbered from 1; a follower at 0 has read nothing.
#[derive(Debug)]
pub(super) struct Queue {
    notices: VecDeque<Notice>,
    /// The number of the first of `notices`, or of the one that comes next.
    first: u64,
    followers: Vec<Weak<AtomicU64>>,
    notices_max: usize,
    /// Whether the store has completed its first load.
    pub(super) has_synced: bool,
}

impl Queue {
    pub(super) fn new(notices_max: usize) -> Self {
        Self { notices: VecDeque::new(), first: 1, followers: Vec::new(), notices_max, has_synced: false }
    }

    pub(super) fn subscribe(&mut self) -> Subscription {
        self.followers.retain(|follower| follower.strong_count() > 0);
        let next = Arc::new(AtomicU64::new(0));
        self.followers.push(Arc::downgrade(&next));
        Subscription { next, has_synced: false }
    }

    /// Appends a notice. Whom the limit leaves behind is relisted, and then holds nothing in the queue any more.
    pub(super) fn push(&mut self, notice: Notice) {
        self.notices.push_back(notice);
        if self.notices.len() > self.notices_max {
            self.drop_first();
        }
        let needed = self.first_needed();
        while self.first < needed && !self.notices.is_empty() {
            self.drop_first();
        }
    }

    /// Forgets everything: every follower is relisted.
    pub(super) fn restart(&mut self) {
        // One more, so that those who had read all are behind as well.
        self.first = self.end() + 1;
        self.notices.clear();
    }

    /// What `subscription` has not been given yet; `list` is the present state, for a relist.
    pub(super) fn poll(&self, subscription: &mut Subscription, list: impl FnOnce() -> Vec<Arc<Object>>) -> Delivery {
        let is_ours = self.followers.iter().any(|follower| std::ptr::eq(follower.as_ptr(), &*subscription.next));
        if !is_ours {
            return Delivery::Relist(list());
        }
        let next = subscription.next.load(Ordering::Relaxed);
        let delivery = match next.checked_sub(self.first) {
            None => Delivery::Relist(list()),
            Some(read) => {
                let read = usize::try_from(read).unwrap_or(usize::MAX);
                Delivery::Notices(self.notices.iter().skip(read).cloned().collect())
            }
        };
        subscription.next.store(self.end(), Ordering::Relaxed);
        subscription.has_synced |= self.has_synced;
        delivery
    }

    /// The lowest number that somebody will ask for. Who is to be relisted asks for none.
    fn first_needed(&self) -> u64 {
        // Relaxed is enough: what orders a poll and a push is that one borrows the store and the other has it alone.
        let places = self.followers.iter().filter_map(Weak::upgrade).map(|next| next.load(Ordering::Relaxed));
        places.filter(|next| *next >= self.first).min().unwrap_or_else(|| self.end())
    }

    fn end(&self) -> u64 {
        self.first + self.notices.len() as u64
    }

    fn drop_first(&mut self) {
        self.notices.pop_front();
        self.first += 1;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.notices.len()
    }
}
