//! The objects of a kind that cannot be read now: some with the reason, all of them counted.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use model::{Kind, Name};

/// Objects that are named with the reason; of those beyond only the number is told.
const NAMED_MAX: usize = 100;

/// See the module.
#[derive(Default)]
pub(super) struct Unread {
    named: BTreeMap<(Name, Name), String>,
    /// Without a reason, so that a kind of which nothing can be read costs little more than one of which all can.
    more: BTreeSet<(Name, Name)>,
    is_news: bool,
}

impl Unread {
    /// It cannot be read, and why.
    pub(super) fn insert(&mut self, namespace: &str, name: &str, why: String) {
        let key = (namespace.into(), name.into());
        if self.named.len() < NAMED_MAX || self.named.contains_key(&key) {
            self.is_news |= self.more.remove(&key) | (self.named.get(&key) != Some(&why));
            self.named.insert(key, why);
        } else {
            self.is_news |= self.more.insert(key);
        }
    }

    /// It can be read, or is gone.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        // The usual case costs nothing.
        if !self.named.is_empty() || !self.more.is_empty() {
            let key = (namespace.into(), name.into());
            self.is_news |= self.named.remove(&key).is_some() | self.more.remove(&key);
        }
    }

    /// Only these are still there.
    pub(super) fn retain(&mut self, listed: &HashSet<(Name, Name)>) {
        let before = self.named.len() + self.more.len();
        self.named.retain(|key, _| listed.contains(key));
        self.more.retain(|key| listed.contains(key));
        self.is_news |= self.named.len() + self.more.len() != before;
    }

    /// A line for each that is named and one for the rest, if that changed since the last time.
    pub(super) fn news(&mut self, kind: Kind) -> Option<Vec<String>> {
        std::mem::take(&mut self.is_news).then(|| {
            let mut lines: Vec<String> = self.named.values().cloned().collect();
            match self.more.len() {
                0 => {}
                1 => lines.push(format!("1 more object of kind {kind} cannot be read")),
                more => lines.push(format!("{more} more objects of kind {kind} cannot be read")),
            }
            lines
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_and_all_are_counted() {
        let mut unread = Unread::default();
        assert_eq!(unread.news(Kind::Pod), None);
        (0..NAMED_MAX + 3).for_each(|at| unread.insert("shop", &format!("p{at:03}"), format!("p{at:03}: no")));
        let lines = unread.news(Kind::Pod).unwrap();
        assert_eq!((lines.len(), &*lines[0]), (NAMED_MAX + 1, "p000: no"));
        assert_eq!(lines[NAMED_MAX], "3 more objects of kind Pod cannot be read");
        // Told again as it was, or of an object that was well: no news.
        unread.insert("shop", "p000", "p000: no".to_owned());
        unread.insert("shop", "p102", "p102: no".to_owned());
        unread.remove("shop", "well");
        assert_eq!(unread.news(Kind::Pod), None);
        unread.remove("shop", "p102");
        unread.remove("shop", "p000");
        let lines = unread.news(Kind::Pod).unwrap();
        assert_eq!((lines.len(), &*lines[NAMED_MAX - 1]), (NAMED_MAX, "2 more objects of kind Pod cannot be read"));
        // There is room for a reason again.
        unread.insert("shop", "p101", "p101: no".to_owned());
        assert_eq!(unread.news(Kind::Pod).unwrap()[NAMED_MAX], "1 more object of kind Pod cannot be read");
        unread.retain(&HashSet::from([("shop".into(), "p001".into())]));
        assert_eq!(unread.news(Kind::Pod).unwrap(), ["p001: no"]);
    }
}
