//! What a place that decisions are put into has to offer. Redirect maps and the readers' table are the two in the tree.
//!
//! A sink never asks for a decision; it is handed a table. A change of rules is prepared in every sink first, and
//! only when all are prepared is it committed, in the order of the sinks; if one cannot prepare, all are aborted and
//! the active rules stay. Between the first and the last commit the sinks differ: that window is measured.

use crate::table::{RowChange, Table};

/// A place that decisions are put into.
pub trait Sink {
    /// The name for logs, metrics and errors.
    fn name(&self) -> &'static str;

    /// Does everything that can fail or takes long for a swap to `next`, without any effect yet. Several calls without
    /// a commit between them replace one another.
    ///
    /// # Errors
    /// What could not be done and what the operator can do about it; the sink is as it was.
    fn prepare(&mut self, next: &Table) -> Result<(), SinkError>;

    /// Makes what was prepared count, at once and whole.
    ///
    /// # Errors
    /// When even that failed; the sink then still serves what it served before.
    fn commit(&mut self) -> Result<(), SinkError>;

    /// Drops what was prepared.
    fn abort(&mut self);

    /// Carries out changes of single rows under the rules that were committed last. `table` has them applied. Each
    /// row moves at once; the rows of one call do not.
    ///
    /// # Errors
    /// What could not be done; the caller prepares and commits the whole table again.
    fn update(&mut self, table: &Table, changes: &[RowChange]) -> Result<(), SinkError>;

    /// Housekeeping, called after each swap and now and then; nothing where there is nothing to do.
    fn tend(&mut self) {}

    /// Counters since the sink was made, by name; none where it counts nothing.
    fn counters(&mut self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// Why a sink could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{sink}: {what}")]
pub struct SinkError {
    /// The sink's name.
    pub sink: &'static str,
    /// What happened, and what can be done about it.
    pub what: String,
}
