//! Ids for listener selectors: the host evaluates selectors, a component only compares ids.
//!
//! An id follows from the selector's content where it can, so that it is the same in every batch and on every node;
//! two contents never share one (a Gateway's owner must not be able to forge another's).

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::selector::Selector;

/// Ids in use. A selector is held once for every listener that has it.
#[derive(Debug, Default)]
pub(super) struct SelectorIds {
    by_content: HashMap<Selector, (u32, usize)>,
    used: HashSet<u32>,
}

impl SelectorIds {
    /// The id of `selector`, held until it is released as often.
    pub(super) fn hold(&mut self, selector: &Selector) -> u32 {
        if let Some((id, holders)) = self.by_content.get_mut(selector) {
            *holders += 1;
            return *id;
        }
        let mut hasher = DefaultHasher::new();
        selector.hash(&mut hasher);
        // The low half of the hash, or the next that is free.
        let mut id = (hasher.finish() & u64::from(u32::MAX)) as u32;
        while !self.used.insert(id) {
            id = id.wrapping_add(1);
        }
        self.by_content.insert(selector.clone(), (id, 1));
        id
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_content.is_empty() && self.used.is_empty()
    }

    /// Gives one hold back.
    pub(super) fn release(&mut self, selector: &Selector) {
        if let Some((id, holders)) = self.by_content.get_mut(selector) {
            *holders -= 1;
            if *holders == 0 {
                self.used.remove(id);
                self.by_content.remove(selector);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_share_an_id_until_the_last_release() {
        let mut ids = SelectorIds::default();
        let a = Selector { labels: [("a", "1")].into_iter().collect(), ..Selector::default() };
        let b = Selector { labels: [("b", "1")].into_iter().collect(), ..Selector::default() };
        let id = ids.hold(&a);
        assert_eq!(ids.hold(&a), id);
        assert_ne!(ids.hold(&b), id);
        ids.release(&a);
        assert_eq!(ids.by_content.len(), 2);
        ids.release(&a);
        assert_eq!((ids.by_content.len(), ids.used.len()), (1, 1));
        assert_eq!(ids.hold(&a), id, "the id follows from the content");
    }
}
