//! How far following the cluster is: what is known of each kind, and what readers are told of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use cluster::source::{State, Told};
use model::Kind;

use super::Seen;

/// After how many objects the first reading says how far it is.
const PROGRESS_EVERY: usize = 50_000;

/// See the module.
pub(super) struct Progress {
    kinds: usize,
    states: BTreeMap<Kind, State>,
    unread: BTreeMap<Kind, Vec<String>>,
    /// Kinds that were told once, or cannot be. One that is behind by now was listed all the same.
    told: BTreeSet<Kind>,
    /// What was saved is in force until all of it was told anew.
    restored: bool,
    stale_since: Option<u64>,
    seen: Arc<ArcSwap<Option<Seen>>>,
    objects: usize,
    errors: u64,
    is_whole: bool,
}

impl Progress {
    pub(super) fn new(kinds: &[Kind], restored: bool, seen: Arc<ArcSwap<Option<Seen>>>) -> Self {
        let mut progress = Self {
            kinds: kinds.len(),
            states: BTreeMap::new(),
            unread: BTreeMap::new(),
            told: BTreeSet::new(),
            restored,
            stale_since: restored.then(now),
            seen,
            objects: 0,
            errors: 0,
            is_whole: false,
        };
        progress.publish();
        progress
    }

    /// So many objects were told.
    pub(super) fn count(&mut self, more: usize) {
        let before = self.objects;
        self.objects += more;
        if !self.is_whole && before / PROGRESS_EVERY != self.objects / PROGRESS_EVERY {
            tracing::info!(objects = self.objects, "reading the objects of the cluster");
        }
    }

    /// Takes what is no object.
    pub(super) fn take(&mut self, told: Told) {
        match told {
            Told::Events(_) => {}
            Told::State(kind, state) => {
                match state.problem(kind) {
                    Some(problem) => {
                        self.errors += 1;
                        tracing::warn!("{problem}");
                    }
                    None => tracing::debug!(%kind, ?state, "how it stands"),
                }
                if state.is_known() {
                    self.told.insert(kind);
                }
                self.states.insert(kind, state);
            }
            Told::Unread(kind, lines) => {
                let before = self.unread.get(&kind);
                let new = lines.iter().filter(|line| before.is_none_or(|before| !before.contains(line)));
                for line in new {
                    self.errors += 1;
                    tracing::warn!("{line}; what was known of it stays");
                }
                self.unread.insert(kind, lines);
            }
        }
        if !self.is_whole && self.is_whole() {
            self.is_whole = true;
            self.restored = false;
            tracing::info!(objects = self.objects, "the objects of the cluster are read");
        }
        self.publish();
    }

    /// Whether all kinds were told, or cannot be.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole || self.told.len() == self.kinds
    }

    fn publish(&mut self) {
        let is_behind = self.restored || self.states.values().any(|state| !state.is_known());
        self.stale_since = if is_behind { self.stale_since.or_else(|| Some(now())) } else { None };
        let problems = self.states.iter().filter_map(|(kind, state)| state.problem(*kind));
        let unread = self.unread.values().flatten().cloned();
        let absent = self.states.iter().filter(|(_, state)| **state == State::Absent);
        self.seen.store(Arc::new(Some(Seen {
            is_fresh: self.is_whole && !is_behind,
            stale_since: self.stale_since,
            absent: absent.map(|(kind, _)| kind.as_str()).collect(),
            problems: problems.chain(unread).collect(),
            errors: self.errors,
        })));
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_was_told_once_counts_although_its_watch_failed_since() {
        let seen = Arc::new(ArcSwap::from_pointee(None));
        let mut progress = Progress::new(&[Kind::Pod, Kind::Service], false, Arc::clone(&seen));
        progress.take(Told::State(Kind::Service, State::Followed));
        progress.take(Told::State(Kind::Service, State::Behind("its watch broke".to_owned())));
        assert!(!progress.is_whole());
        progress.take(Told::State(Kind::Pod, State::Absent));
        assert!(progress.is_whole());
        let seen = seen.load_full();
        let seen = Option::as_ref(&seen).unwrap();
        assert!(!seen.is_fresh && seen.stale_since.is_some() && seen.absent == ["Pod"], "{seen:?}");
    }
}
