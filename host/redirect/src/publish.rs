//! A whole rule set, swapped by one store.
//!
//! Prepared in the slot that is not active, where no program looks; read back and compared; then made active by storing its
//! epoch. A crash before that store leaves the old set, complete; after it the new one. Nothing is ever half.

use std::collections::HashSet;

use ebpf_common::Meta;

use crate::Redirect;
use crate::entry::Entry;
use crate::error::Error;
use crate::maps::{Rules, measure, new_rules, slot};
use crate::sys;

/// Room for keys that appear between two publishes, so that a new pod does not need a whole new set.
const SPARE_DIVISOR: usize = 4;
const SPARE_ENTRIES_MIN: usize = 256;

/// A set that is in the kernel and not active. Dropping it changes nothing; its memory goes with the next prepare.
#[derive(Debug)]
#[must_use = "a prepared set has no effect until it is committed"]
pub struct Prepared {
    epoch: u64,
    rules: u64,
    entries: u64,
    /// Which of several prepares this was.
    ticket: u64,
    set: Set,
}

/// A live or standby set with its size.
pub(crate) struct Set {
    pub(crate) rules: Rules,
    pub(crate) capacity: u32,
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Set").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// What is active since a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Publishes since the maps were made.
    pub epoch: u64,
    /// The number the caller gave the rules.
    pub rules: u64,
    /// Entries of the set.
    pub entries: u64,
}

impl Redirect {
    /// Puts a set into the kernel beside the active one: everything of a publish that can fail or takes long, some 25 to 60 ms
    /// for 10,000 entries. Call it where blocking is allowed.
    ///
    /// A set prepared earlier and not committed is replaced.
    ///
    /// # Errors
    /// When the set is larger than [`crate::Config::entries_max`], names a destination twice or an unusable target, or when the
    /// kernel fails or gives back something else than was written. The active set is untouched.
    pub fn prepare(&mut self, rules: u64, entries: impl IntoIterator<Item = Entry>) -> Result<Prepared, Error> {
        let (keys, values, mut meta) = self.encode(rules, entries)?;
        self.settle()?;
        let next = self.maps.epoch()?.wrapping_add(1).max(1);

        let capacity = self.capacity_for(keys.len());
        let set = new_rules(capacity)?;
        sys::update_batch(&set, &keys, &values).map_err(|error| Error::call("write a rule set", error))?;
        let (found, found_digest) = measure(&set)?;
        if (found, found_digest) != (meta.count, meta.digest) {
            return Err(Error::Verification {
                expected: meta.count,
                expected_digest: meta.digest,
                found,
                found_digest,
            });
        }
        // From here on an earlier Prepared no longer has its slot.
        self.ticket += 1;
        self.maps.set_rules(slot(next), &set)?;
        meta.epoch = next;
        self.maps.set_meta(slot(next), meta)?;
        let set = Set { rules: set, capacity };
        Ok(Prepared { epoch: next, rules, entries: meta.count, ticket: self.ticket, set })
    }

    /// Makes a prepared set the active one, at once and whole: a connect that starts after this returns sees the new set, one
    /// that overlaps it sees one of the two. Takes microseconds.
    ///
    /// # Errors
    /// [`Error::Superseded`] when something was prepared or committed since; or when the kernel fails. The old set stays.
    pub fn commit(&mut self, prepared: Prepared) -> Result<Committed, Error> {
        if prepared.ticket != self.ticket || prepared.epoch != self.maps.epoch()?.wrapping_add(1).max(1) {
            return Err(Error::Superseded { epoch: prepared.epoch });
        }
        self.is_settled = false;
        // Programs that see the epoch must see META: the two are plain stores in two calls.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.maps.set_epoch(prepared.epoch)?;
        let Prepared { epoch, rules, entries, set, .. } = prepared;
        // Kernels without the fix for CVE-2023-52447 free an inner map without a grace period once nobody holds it.
        self.replaced = self.live.replace(set);
        tracing::debug!(epoch, rules, entries, "rule set committed");
        Ok(Committed { epoch, rules, entries })
    }

    /// Drops what was prepared. The same as dropping it; spelled out for symmetry with [`Redirect::commit`].
    pub fn abort(&mut self, prepared: Prepared) {
        tracing::debug!(epoch = prepared.epoch, rules = prepared.rules, "prepared rule set dropped");
        drop(prepared);
    }

    fn encode(&self, rules: u64, entries: impl IntoIterator<Item = Entry>) -> Result<Encoded, Error> {
        let entries = entries.into_iter();
        let expected = entries.size_hint().0;
        let (mut keys, mut values) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
        let mut seen = HashSet::with_capacity(expected);
        let mut meta = Meta { rules, ..Meta::default() };
        for entry in entries {
            let (key, value) = entry.encode(rules)?;
            if !seen.insert(key) {
                return Err(Error::DuplicateDestination { ip: entry.destination.ip, port: entry.destination.port });
            }
            if keys.len() >= self.entries_max as usize {
                return Err(Error::TooManyEntries { entries: keys.len() + 1, entries_max: self.entries_max });
            }
            meta.count += 1;
            meta.digest = meta.digest.wrapping_add(value.digest_for(&key));
            meta.flags |= entry.destination.flag();
            keys.push(key);
            values.push(value);
        }
        Ok((keys, values, meta))
    }

    /// Waits until no program runs that read the epoch before the active one: it might look into the standby slot yet. A
    /// prepare does this itself; called soon after a commit, it spares the next prepare a grace period (7 to 24 ms).
    ///
    /// Putting the map that is there into its slot once more changes nothing and waits for a grace period. The first publish
    /// has no such program; a slot that was never filled has no such map.
    ///
    /// # Errors
    /// When the kernel fails; the next prepare tries again.
    pub fn settle(&mut self) -> Result<(), Error> {
        let epoch = self.maps.epoch()?;
        let standby = slot(epoch.wrapping_add(1).max(1));
        if !self.is_settled && epoch != 0 && self.maps.meta(standby)?.epoch != 0 {
            match &self.replaced {
                // What this process replaced is what is there, and needs no look-up by id (CAP_SYS_ADMIN).
                Some(set) => self.maps.set_rules(standby, &set.rules)?,
                None => {
                    let rules = self.maps.rules(standby)?;
                    self.maps.set_rules(standby, &rules)?;
                }
            }
        }
        self.is_settled = true;
        Ok(())
    }

    fn capacity_for(&self, entries: usize) -> u32 {
        let wanted = entries + (entries / SPARE_DIVISOR).max(SPARE_ENTRIES_MIN);
        u32::try_from(wanted).unwrap_or(u32::MAX).min(self.entries_max).max(1)
    }
}

type Encoded = (Vec<ebpf_common::Key>, Vec<ebpf_common::Value>, Meta);
