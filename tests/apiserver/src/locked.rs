//! A mutex that one panicking test does not poison for the others. Never held across an await.

#![expect(clippy::disallowed_types, reason = "this is the wrapper that does not poison")]

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value that one thread at a time sees.
#[derive(Debug, Default)]
pub(crate) struct Locked<T>(Mutex<T>);

impl<T> Locked<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits for the value.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
