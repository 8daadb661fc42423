//! Whether every source has told all that it has: rules over a mesh of which a part was never read would let through what they
//! were made to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All sources. Those that are not whole yet are counted.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<AtomicUsize>);

impl Sources {
    /// One more, which is not whole yet.
    pub(crate) fn source(&self) -> Source {
        self.0.fetch_add(1, Ordering::AcqRel);
        Source(Arc::clone(&self.0))
    }

    /// Whether all of them are whole.
    pub(crate) fn are_whole(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// One of them, until it is whole.
pub(crate) struct Source(Arc<AtomicUsize>);

impl Source {
    /// It is, and need not say so again.
    pub(crate) fn done(self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
