//! Time since the machine started, which also goes on while it sleeps: what a lease is measured with. Not the time of day: clocks
//! of two nodes may differ by minutes, and one that is set back would make a lease longer.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point in time on this machine. A process that is stopped finds it moved on; a whole machine that is stopped may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(Duration);

impl BootTime {
    /// Now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
        Self(Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default()))
    }

    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// How long after `earlier` it is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Nanoseconds since the start: another number for every process that begins here.
    pub(crate) fn nanos(self) -> u128 {
        self.0.as_nanos()
    }

    #[cfg(test)]
    pub(crate) fn at(seconds: f64) -> Self {
        Self(Duration::from_secs_f64(seconds))
    }
}
