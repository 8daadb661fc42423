//! The last changes, for watches and for lists of the past. Bounded: what falls out of it is compacted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::object::Object;
use crate::store::{Compacted, Id, Key};

/// One write.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) id: Id,
    pub(crate) key: Key,
    /// What was there, if something was.
    pub(crate) before: Option<Arc<Object>>,
    /// What is there now; of a deletion, what was there last, with the version of the deletion.
    pub(crate) object: Arc<Object>,
    pub(crate) is_deletion: bool,
}

impl Change {
    pub(crate) fn new(
        version: u64,
        id: Id,
        key: Key,
        before: Option<Arc<Object>>,
        object: Arc<Object>,
        is_deletion: bool,
    ) -> Self {
        Self { version, id, key, before, object, is_deletion }
    }
}

pub(crate) struct History {
    changes: VecDeque<Change>,
    max: usize,
    /// The newest version that may no longer be asked for what followed it: everything after it is here.
    compacted: u64,
}

impl History {
    pub(crate) fn new(max: usize, version: u64) -> Self {
        Self { changes: VecDeque::new(), max: max.max(1), compacted: version }
    }

    /// Only ever with the next version.
    pub(crate) fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        while self.changes.len() > self.max {
            if let Some(gone) = self.changes.pop_front() {
                self.compacted = gone.version;
            }
        }
    }

    /// Forgets everything up to and with this version.
    pub(crate) fn compact(&mut self, version: u64) {
        while self.changes.front().is_some_and(|change| change.version <= version) {
            self.changes.pop_front();
        }
        self.compacted = self.compacted.max(version);
    }

    /// The oldest version that may be asked for what followed it.
    pub(crate) fn oldest(&self) -> u64 {
        self.compacted
    }

    /// Changes after this version, oldest first.
    pub(crate) fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Compacted> {
        if version < self.compacted {
            return Err(Compacted);
        }
        let start = self.changes.partition_point(|change| change.version <= version);
        Ok(self.changes.range(start..))
    }
}
