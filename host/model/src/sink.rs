//! What a place that decisions are put into has to offer: redirect maps, what ztunnel is told, the readers' table.
//!
//! A sink never asks for a decision; it is handed a table. A change of rules is prepared in every sink first, and
//! only when all are prepared is it committed, in the order of the sinks; if one cannot prepare, all are aborted and
//! the active rules stay. Between the first and the last commit the sinks differ: that window is measured.

use crate::decider::Terms;
use crate::object::ObjectKey;
use crate::store::{Changes, Store};
use crate::table::{RowChange, Table};

/// What a sink is handed: the objects, and what was decided for them.
#[derive(Clone, Copy)]
pub struct Decided<'a> {
    /// The objects.
    pub store: &'a Store,
    /// The decisions, of the same revision.
    pub table: &'a Table,
}

/// What became different with one step of the mesh. Rows that moved are a part of it: most sinks need nothing else.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Objects that came, changed or went, and perhaps some that did not.
    pub objects: Vec<ObjectKey>,
    /// Whom they concern.
    pub changes: Changes,
    /// Rows with another effect.
    pub moved: Vec<RowChange>,
    /// MeshConfig is another one: anything may be different.
    pub mesh: bool,
}

/// A place that decisions are put into.
pub trait Sink {
    /// The name for logs, metrics and errors.
    fn name(&self) -> &'static str;

    /// Says under which terms the table was decided that is prepared next; none were said: under those of the one before.
    fn declare(&mut self, _terms: &Terms) {}

    /// Does everything that can fail or takes long for a swap to `next`, without any effect yet. Several calls without
    /// a commit between them replace one another.
    ///
    /// # Errors
    /// What could not be done and what the operator can do about it; the sink is as it was.
    fn prepare(&mut self, next: Decided<'_>) -> Result<(), SinkError>;

    /// Makes what was prepared count, at once and whole.
    ///
    /// # Errors
    /// When even that failed; the sink then still serves what it served before.
    fn commit(&mut self) -> Result<(), SinkError>;

    /// Drops what was prepared.
    fn abort(&mut self);

    /// Follows the mesh under the rules that were committed last; `now` is after the step. Each row moves at once; the
    /// rows of one call do not.
    ///
    /// # Errors
    /// What could not be done; the caller prepares and commits the whole table again.
    fn update(&mut self, now: Decided<'_>, step: &Step) -> Result<(), SinkError>;

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
