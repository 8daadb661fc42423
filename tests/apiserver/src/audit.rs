//! What was asked of the server: every write with its outcome, and counts of all requests. Kept in memory, bounded.

use std::collections::{BTreeMap, VecDeque};

use crate::locked::Locked;

/// A write: accepted, or refused with its status code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// Seconds since 1970 by the server's clock.
    pub time: i64,
    /// As RBAC says it: `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// With its group: `gateways.gateway.networking.k8s.io`.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Empty for kinds without.
    pub namespace: String,
    /// Empty for a whole collection.
    pub name: String,
    /// Who owns the fields written.
    pub field_manager: String,
    /// Who sent it.
    pub user: String,
    /// resourceVersion of the object before; 0 if it was not there.
    pub version_before: u64,
    /// resourceVersion after; the same as before if the write changed nothing.
    pub version_after: u64,
    /// HTTP status.
    pub code: u16,
    /// Whether it was a rehearsal.
    pub is_dry_run: bool,
}

impl Write {
    /// Whether the server said yes to it, even if nothing changed.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.code < 300 && !self.is_dry_run
    }

    /// Whether something is different since.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.is_accepted() && self.version_before != self.version_after
    }
}

/// Verb and resource (with group).
pub type Counts = BTreeMap<(String, String), u64>;

#[derive(Default)]
struct Records {
    writes: VecDeque<Write>,
    counts: Counts,
}

pub(crate) struct Audit {
    records: Locked<Records>,
    max: usize,
}

impl Audit {
    pub(crate) fn new(max: usize) -> Self {
        Self { records: Locked::default(), max }
    }

    pub(crate) fn record(&self, write: Write) {
        let mut records = self.records.lock();
        records.writes.push_back(write);
        if records.writes.len() > self.max {
            records.writes.pop_front();
        }
    }

    pub(crate) fn count(&self, verb: &str, resource: &str) {
        *self.records.lock().counts.entry((verb.to_owned(), resource.to_owned())).or_default() += 1;
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        self.records.lock().writes.iter().cloned().collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.records.lock().counts.clone()
    }

    pub(crate) fn clear(&self) {
        *self.records.lock() = Records::default();
    }
}
