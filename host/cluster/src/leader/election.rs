//! The rules of the election, without clock and API server: when it is our turn, and what we write then.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use crate::boot::BootTime;

/// Candidates try at different times within this time, so that not all of them come at once.
const SPREAD: Duration = Duration::from_millis(500);

/// The longest time that somebody else's Lease is believed to count.
const OTHERS_MAX: Duration = Duration::from_secs(3600);

/// See the module.
pub(super) struct Election {
    identity: String,
    lease_time: Duration,
    spread: Duration,
    known: Known,
    /// Not before this time.
    not_before: Option<BootTime>,
    /// When we renewed it last.
    renewed: Option<BootTime>,
}

/// What is known of the Lease.
enum Known {
    Nothing,
    /// It is not there, since.
    Absent(BootTime),
    There {
        lease: Box<Lease>,
        /// When we saw it like this first.
        since: BootTime,
    },
}

impl Election {
    pub(super) fn new(name: &str, lease_time: Duration) -> Self {
        // A process that comes after this one is not this one, though it has the same name.
        let process = BootTime::now().nanos() ^ u128::from(std::process::id()) << 64;
        let identity = format!("{name}_{process:x}");
        // FNV: the same for an identity every time, and spread evenly.
        let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
        let hash = identity.bytes().fold(2_166_136_261, fnv);
        let spread = SPREAD.mul_f64(f64::from(hash % 1000) / 1000.0);
        Self { identity, lease_time, spread, known: Known::Nothing, not_before: None, renewed: None }
    }

    /// It is like this now. One that is older than what is known is not believed.
    pub(super) fn seen(&mut self, lease: Option<&Lease>, at: BootTime) {
        self.known = match (lease, &self.known) {
            (None, Known::Absent(since)) => Known::Absent(*since),
            (None, _) => Known::Absent(at),
            (Some(lease), Known::There { lease: known, .. }) if version(lease) < version(known) => return,
            (Some(lease), Known::There { lease: known, since }) => {
                // What else is changed on it is nobody's renewal.
                let since = if lease.spec == known.spec { *since } else { at };
                Known::There { lease: Box::new(lease.clone()), since }
            }
            (Some(lease), _) => Known::There { lease: Box::new(lease.clone()), since: at },
        };
    }

    /// We hold it, by what was sent then.
    pub(super) fn renewed(&mut self, lease: &Lease, sent: BootTime) {
        self.seen(Some(lease), sent);
        (self.renewed, self.not_before) = (Some(sent), None);
    }

    /// An attempt failed; no other before then.
    pub(super) fn failed(&mut self, not_before: BootTime) {
        self.not_before = Some(not_before);
    }

    /// When to write, if nothing changes: to renew it, or to take it from who did not. None: nothing is known yet.
    pub(super) fn due(&self) -> Option<BootTime> {
        let due = match &self.known {
            Known::Nothing => return None,
            Known::Absent(since) => since.after(self.spread),
            Known::There { since, .. } if self.holder().is_none() => since.after(self.spread),
            Known::There { .. } if self.is_ours() => self.renewed?.after(self.lease_time / 3),
            Known::There { since, lease } => {
                let seconds = lease.spec.as_ref().and_then(|it| it.lease_duration_seconds);
                let counts = seconds.and_then(|it| u64::try_from(it).ok()).map(Duration::from_secs);
                since.after(counts.unwrap_or(self.lease_time).min(OTHERS_MAX)).after(self.spread)
            }
        };
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// Who holds it.
    pub(super) fn holder(&self) -> Option<&str> {
        let Known::There { lease, .. } = &self.known else { return None };
        lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    pub(super) fn is_ours(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// The Lease by which we hold it, in the place of the one that is known.
    pub(super) fn claim(&self, name: &str) -> Lease {
        let now = MicroTime(Timestamp::now());
        let (mut lease, transitions) = self.lease(name);
        let before = lease.spec.take().filter(|_| self.is_ours());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.lease_time.as_secs()).ok(),
            acquire_time: before.as_ref().and_then(|it| it.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if before.is_some() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        });
        lease
    }

    /// The Lease that nobody holds; none where it is not ours.
    pub(super) fn release(&self, name: &str) -> Option<Lease> {
        if !self.is_ours() {
            return None;
        }
        let (mut lease, transitions) = self.lease(name);
        lease.spec = Some(LeaseSpec { lease_transitions: Some(transitions), ..LeaseSpec::default() });
        Some(lease)
    }

    /// As it is, and how often it changed hands.
    fn lease(&self, name: &str) -> (Lease, i32) {
        match &self.known {
            Known::There { lease, .. } => {
                let transitions = lease.spec.as_ref().and_then(|it| it.lease_transitions);
                // The API server keeps its own account of who wrote what.
                let metadata = ObjectMeta { managed_fields: None, ..lease.metadata.clone() };
                (Lease { metadata, spec: lease.spec.clone() }, transitions.unwrap_or_default())
            }
            Known::Nothing | Known::Absent(_) => {
                let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
                (Lease { metadata, spec: None }, 0)
            }
        }
    }
}

fn version(lease: &Lease) -> u64 {
    let version = lease.metadata.resource_version.as_deref();
    // Where it is no number, none is older than another.
    version.and_then(|it| it.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn election(name: &str) -> Election {
        Election::new(name, LEASE)
    }

    /// A Lease as the API server has it after `version` writes.
    fn kept(mut lease: Lease, version: u64) -> Lease {
        lease.metadata.resource_version = Some(version.to_string());
        lease
    }

    fn is_due(election: &Election, at: f64) -> bool {
        election.due().is_some_and(|due| due <= BootTime::at(at))
    }

    #[test]
    fn nobody_acts_before_it_knows_how_it_stands() {
        assert_eq!(election("a").due(), None);
    }

    #[test]
    fn a_lease_that_is_not_there_is_made_and_renewed_after_a_third() {
        let mut a = election("a");
        a.seen(None, BootTime::at(100.0));
        assert!(!is_due(&a, 99.9) && is_due(&a, 100.5));
        let lease = a.claim("leader");
        assert_eq!(lease.metadata.resource_version, None);
        assert_eq!(lease.spec.as_ref().unwrap().lease_transitions, Some(1));
        a.renewed(&kept(lease, 7), BootTime::at(100.5));
        assert!(a.is_ours() && !is_due(&a, 105.4) && is_due(&a, 105.5));
        let again = a.claim("leader");
        assert_eq!(again.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(again.spec.unwrap().lease_transitions, Some(1), "it did not change hands");
    }

    #[test]
    fn a_holder_counts_as_long_as_its_lease_changes_whatever_time_it_says() {
        let (mut a, mut b) = (election("a"), election("b"));
        a.seen(None, BootTime::at(0.0));
        let mut lease = kept(a.claim("leader"), 1);
        // A clock that is an hour behind.
        let past = Timestamp::now() - Duration::from_secs(3600);
        lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(past));
        b.seen(Some(&lease), BootTime::at(10.0));
        assert!(!is_due(&b, 24.9) && is_due(&b, 25.5));
        lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(past + Duration::from_secs(5)));
        b.seen(Some(&kept(lease.clone(), 2)), BootTime::at(15.0));
        assert!(!is_due(&b, 29.9) && is_due(&b, 30.5));
        lease.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        b.seen(Some(&kept(lease, 3)), BootTime::at(20.0));
        assert!(is_due(&b, 30.5), "a label is no renewal");
        let taken = b.claim("leader");
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("3"));
        assert_eq!(taken.spec.unwrap().lease_transitions, Some(2));
    }

    #[test]
    fn what_is_given_back_is_taken_at_once_by_one_after_the_other() {
        let (mut a, mut b) = (election("a"), election("b"));
        a.seen(None, BootTime::at(0.0));
        let lease = kept(a.claim("leader"), 1);
        a.renewed(&lease, BootTime::at(0.0));
        b.seen(Some(&lease), BootTime::at(0.1));
        assert!(b.release("leader").is_none(), "only the holder gives it back");
        let free = kept(a.release("leader").unwrap(), 2);
        b.seen(Some(&free), BootTime::at(5.0));
        assert_eq!(b.holder(), None);
        assert!(is_due(&b, 5.5));
    }

    #[test]
    fn a_later_process_of_the_same_name_is_another_one() {
        let mut first = election("node-1");
        first.seen(None, BootTime::at(0.0));
        let lease = kept(first.claim("leader"), 1);
        let mut second = election("node-1");
        second.seen(Some(&lease), BootTime::at(1.0));
        assert!(!second.is_ours() && !is_due(&second, 15.9) && is_due(&second, 16.5));
    }

    #[test]
    fn what_the_watch_tells_late_is_not_believed() {
        let mut a = election("a");
        a.seen(None, BootTime::at(0.0));
        let first = kept(a.claim("leader"), 1);
        a.renewed(&kept(a.claim("leader"), 2), BootTime::at(1.0));
        let mut other = first;
        other.spec.as_mut().unwrap().holder_identity = Some("b".to_owned());
        a.seen(Some(&other), BootTime::at(2.0));
        assert!(a.is_ours());
    }

    #[test]
    fn a_failure_is_waited_for() {
        let mut a = election("a");
        a.seen(None, BootTime::at(0.0));
        a.failed(BootTime::at(9.0));
        assert!(!is_due(&a, 8.9) && is_due(&a, 9.0));
    }
}
