//! Whom to try next and how long to wait before: failover in the order of preference, and a capped exponential backoff with
//! full jitter, so that the agents of a cluster do not come back all at once. No clock and no chance of its own.

use std::time::Duration;

/// The longest wait after a first failure, and after a stream that served long.
pub const DELAY_MIN: Duration = Duration::from_millis(10);
/// The longest wait ever.
pub const DELAY_MAX: Duration = Duration::from_secs(15);
/// A stream that served for less counts as a failure: a server that answers and fails at once must not be asked for the whole
/// mesh a hundred times a second.
pub const STEADY: Duration = Duration::from_secs(10);

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing was answered.
    Failed,
    /// Something was answered.
    Served {
        /// From the attempt to the end.
        lasted: Duration,
    },
}

/// What is known about earlier attempts.
#[derive(Debug)]
pub struct Attempts {
    addresses: usize,
    address: usize,
    /// Times that all addresses failed in a row.
    failed_rounds: u32,
}

impl Attempts {
    /// Attempts at so many addresses; none where there is none.
    pub fn among(addresses: usize) -> Option<Self> {
        (addresses > 0).then_some(Self { addresses, address: 0, failed_rounds: 0 })
    }

    /// The address to try.
    pub fn address(&self) -> usize {
        self.address
    }

    /// Goes on to the next address; how long to wait before. `random` is any number.
    pub fn after(&mut self, ended: Ended, random: u64) -> Duration {
        if matches!(ended, Ended::Served { lasted } if lasted >= STEADY) {
            // Most likely a server that was replaced; the preferred one gets the first chance again.
            *self = Self { addresses: self.addresses, address: 0, failed_rounds: 0 };
            return jittered(DELAY_MIN, random);
        }
        self.address += 1;
        if self.address < self.addresses {
            return jittered(DELAY_MIN, random);
        }
        self.address = 0;
        let most = DELAY_MIN.saturating_mul(1 << self.failed_rounds.min(20)).min(DELAY_MAX);
        self.failed_rounds = self.failed_rounds.saturating_add(1);
        jittered(most, random)
    }
}

fn jittered(most: Duration, random: u64) -> Duration {
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random % micros.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest wait that jitter may give.
    fn most(attempts: &mut Attempts, ended: Ended) -> Duration {
        let mut again = Attempts { ..*attempts };
        let most = (1..=DELAY_MAX.as_micros() as u64)
            .rev()
            .step_by(10_000)
            .map(|random| Attempts { ..*attempts }.after(ended, random))
            .max();
        attempts.after(ended, 0);
        again.after(ended, 7);
        assert_eq!(attempts.address, again.address, "chance has no say in whom to try");
        most.unwrap()
    }

    #[test]
    fn every_address_is_tried_before_the_wait_doubles() {
        let mut attempts = Attempts::among(2).unwrap();
        assert_eq!(attempts.address(), 0);
        assert!(most(&mut attempts, Ended::Failed) <= DELAY_MIN);
        assert_eq!(attempts.address(), 1);
        attempts.after(Ended::Failed, 0);
        assert_eq!((attempts.address(), attempts.failed_rounds), (0, 1));
        attempts.after(Ended::Failed, 0);
        assert!(most(&mut attempts, Ended::Failed) <= DELAY_MIN * 2);
    }

    #[test]
    fn the_wait_is_capped_however_often_it_fails() {
        let mut attempts = Attempts::among(1).unwrap();
        let waits: Vec<_> = (0..100).map(|_| attempts.after(Ended::Failed, u64::MAX / 3)).collect();
        assert!(waits.iter().all(|wait| *wait <= DELAY_MAX));
        assert!(most(&mut attempts, Ended::Failed) > DELAY_MAX / 2, "it does grow that far");
        attempts.failed_rounds = u32::MAX;
        assert!(attempts.after(Ended::Failed, u64::MAX) <= DELAY_MAX);
    }

    #[test]
    fn a_stream_that_served_long_starts_over_and_a_short_one_does_not() {
        let mut attempts = Attempts::among(3).unwrap();
        for _ in 0..10 {
            attempts.after(Ended::Failed, 0);
        }
        assert_eq!(attempts.address(), 1);
        attempts.after(Ended::Served { lasted: STEADY / 2 }, 0);
        assert_eq!((attempts.address(), attempts.failed_rounds), (2, 3));
        assert!(attempts.after(Ended::Served { lasted: STEADY }, u64::MAX) <= DELAY_MIN);
        assert_eq!((attempts.address(), attempts.failed_rounds), (0, 0));
        assert!(Attempts::among(0).is_none());
    }
}
