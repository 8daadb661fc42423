//! Single keys of the active set, for changes of objects under unchanged rules. Each key moves at once; several do not.

use aya::maps::MapError;
use ebpf_common::{META_DIRTY, map};

use crate::Redirect;
use crate::entry::{Destination, Entry};
use crate::error::Error;
use crate::maps::slot;

/// A change of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The destination now has this entry.
    Put(Entry),
    /// The destination has none any more.
    Remove(Destination),
}

impl Redirect {
    /// Changes single keys of the active set; `rules` of the entries is that of the set.
    ///
    /// # Errors
    /// [`Error::Full`] when a new key has no room: publish the whole set again. [`Error::NoActiveRules`] before the first
    /// publish. After any error the changes before the failing one are in effect.
    pub fn update(&mut self, changes: &[Change]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let epoch = self.maps.epoch()?;
        if epoch == 0 || self.live.is_none() {
            return Err(Error::NoActiveRules);
        }
        let slot = slot(epoch);
        let mut meta = self.maps.meta(slot)?;
        // First this word: programs look for a new kind of key before there is one, and look twice for keys they miss; a
        // restarted agent knows why count and digest may not fit.
        meta.flags |= META_DIRTY;
        meta.changes = meta.changes.wrapping_add(1);
        for change in changes {
            if let Change::Put(entry) = change {
                meta.flags |= entry.destination.flag();
            }
        }
        self.maps.set_meta(slot, meta)?;
        // Programs that see a key must see this word.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        // A set prepared before this change does not have it.
        self.ticket += 1;
        let mut result = Ok(());
        for (applied, change) in changes.iter().enumerate() {
            result = self.apply(change, applied, &mut meta);
            if result.is_err() {
                break;
            }
        }
        meta.flags &= !META_DIRTY;
        self.maps.set_meta(slot, meta)?;
        result
    }

    fn apply(&mut self, change: &Change, applied: usize, meta: &mut ebpf_common::Meta) -> Result<(), Error> {
        let Some(live) = &mut self.live else {
            return Err(Error::NoActiveRules);
        };
        let capacity = live.capacity;
        let (key, value) = match change {
            Change::Put(entry) => {
                let (key, value) = entry.encode(meta.rules)?;
                (key, Some(value))
            }
            Change::Remove(destination) => (destination.key(), None),
        };
        let before = match live.rules.get(&key, 0) {
            Ok(value) => Some(value),
            Err(MapError::KeyNotFound) => None,
            Err(source) => return Err(Error::map("read", map::RULES)(source)),
        };
        match (&before, &value) {
            (_, Some(value)) => {
                live.rules.insert(key, value, 0).map_err(|source| insert_error(source, capacity, applied))?
            }
            (Some(_), None) => live.rules.remove(&key).map_err(Error::map("write", map::RULES))?,
            (None, None) => {}
        }
        if let Some(before) = before {
            meta.count = meta.count.wrapping_sub(1);
            meta.digest = meta.digest.wrapping_sub(before.digest_for(&key));
        }
        if let Some(value) = value {
            meta.count = meta.count.wrapping_add(1);
            meta.digest = meta.digest.wrapping_add(value.digest_for(&key));
        }
        Ok(())
    }
}

/// E2BIG is how a hash map says that it is full.
fn insert_error(source: MapError, capacity: u32, applied: usize) -> Error {
    match &source {
        MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::E2BIG) => {
            Error::Full { capacity, applied }
        }
        _ => Error::map("write", map::RULES)(source),
    }
}

#[cfg(test)]
mod tests;
