//! Typed handles on the maps, and the one place that knows what an index means.

use std::fmt;

use aya::Ebpf;
use aya::maps::{Array, ArrayOfMaps, HashMap, IterableMap as _, MapData, PerCpuArray};
use ebpf_common::{Address, Key, Meta, PROFILE_DEFAULT, PairKey, Reason, Record, SLOTS, TCP, Value, map};

use crate::error::Error;
use crate::sys;

/// One rule set in the kernel.
pub(crate) type Rules = HashMap<MapData, Key, Value>;
/// Records that wait for their peer.
pub(crate) type Pairs = HashMap<MapData, PairKey, Record>;

/// `BPF_F_RDONLY_PROG`: programs can only read. Must equal the template in the object, or the kernel refuses the map.
const READ_ONLY: u32 = 1 << 7;

/// Everything the agent writes or counts.
pub(crate) struct Maps {
    active: Array<MapData, u64>,
    meta: Array<MapData, Meta>,
    rules: ArrayOfMaps<MapData, Rules>,
    stats: PerCpuArray<MapData, u64>,
    pub(crate) pairs: Pairs,
}

impl fmt::Debug for Maps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maps").finish_non_exhaustive()
    }
}

impl Maps {
    /// Takes the maps out of a loaded object.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            active: take(ebpf, map::ACTIVE)?,
            meta: take(ebpf, map::META)?,
            rules: take(ebpf, map::RULES)?,
            stats: take(ebpf, map::STATS)?,
            pairs: take(ebpf, map::PAIR)?,
        })
    }

    pub(crate) fn epoch(&self) -> Result<u64, Error> {
        self.active.get(&0, 0).map_err(Error::map("read", map::ACTIVE))
    }

    /// The commit point: one store of eight aligned bytes.
    pub(crate) fn set_epoch(&mut self, epoch: u64) -> Result<(), Error> {
        self.active.set(0, epoch, 0).map_err(Error::map("write", map::ACTIVE))
    }

    pub(crate) fn meta(&self, slot: u32) -> Result<Meta, Error> {
        self.meta.get(&slot, 0).map_err(Error::map("read", map::META))
    }

    pub(crate) fn set_meta(&mut self, slot: u32, meta: Meta) -> Result<(), Error> {
        self.meta.set(slot, meta, 0).map_err(Error::map("write", map::META))
    }

    /// The set in a slot.
    pub(crate) fn rules(&self, slot: u32) -> Result<Rules, Error> {
        self.rules.get(&slot, 0).map_err(Error::map("read", map::RULES))
    }

    /// Puts a set into a slot, and returns when no program runs that might still use what was there: the kernel waits for
    /// an RCU grace period after a change of an outer map (7 to 24 ms).
    pub(crate) fn set_rules(&mut self, slot: u32, rules: &Rules) -> Result<(), Error> {
        self.rules.set(slot, rules, 0).map_err(Error::map("write", map::RULES))
    }

    /// Counters of all CPUs together.
    pub(crate) fn stats(&self) -> Result<Stats, Error> {
        let mut counts = [0; Reason::ALL.len()];
        for (reason, count) in Reason::ALL.iter().zip(&mut counts) {
            let per_cpu = self.stats.get(&(*reason as u32), 0).map_err(Error::map("read", map::STATS))?;
            *count = per_cpu.iter().copied().fold(0, u64::wrapping_add);
        }
        Ok(Stats(counts))
    }
}

fn take<T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, Error> {
    let map = ebpf.take_map(name).ok_or(Error::Incomplete { what: "map", name })?;
    T::try_from(map).map_err(Error::map("use", name))
}

/// A new, empty set with room for `capacity` entries.
pub(crate) fn new_rules(capacity: u32) -> Result<Rules, Error> {
    Rules::create(capacity.max(1), READ_ONLY).map_err(Error::map("create", map::RULES))
}

/// How many entries a set has room for.
pub(crate) fn capacity(rules: &Rules) -> Result<u32, Error> {
    rules.map().info().map(|info| info.max_entries()).map_err(Error::map("ask about", map::RULES))
}

/// Entries and digest of a set, from the kernel.
pub(crate) fn measure(rules: &Rules) -> Result<(u64, u64), Error> {
    let (mut count, mut digest) = (0u64, 0u64);
    sys::for_each(rules, (BLANK_KEY, BLANK_VALUE), |key, value| {
        count += 1;
        digest = digest.wrapping_add(value.digest_for(key));
    })
    .map_err(|error| Error::call("read a rule set back", error))?;
    Ok((count, digest))
}

/// The slot of an epoch.
pub(crate) const fn slot(epoch: u64) -> u32 {
    (epoch % SLOTS as u64) as u32
}

/// What the kernel writes over.
const BLANK_ADDRESS: Address = Address::from_words([0; 4]);
const BLANK_KEY: Key = Key { address: BLANK_ADDRESS, port: 0, protocol: TCP, profile: PROFILE_DEFAULT };
const BLANK_VALUE: Value = Value {
    address: BLANK_ADDRESS,
    port: 0,
    action: 0,
    reserved: 0,
    errno: 0,
    rule_id: 0,
    padding: 0,
    rules: 0,
    revision: 0,
    seal: 0,
};
pub(crate) const BLANK_RECORD: Record =
    Record { address: BLANK_ADDRESS, port: 0, family: 0, action: 0, rule_id: 0, rules: 0, revision: 0, ktime_ns: 0 };
pub(crate) const BLANK_PAIR: PairKey = PairKey {
    netns_cookie: 0,
    source: BLANK_ADDRESS,
    destination: BLANK_ADDRESS,
    source_port: 0,
    destination_port: 0,
    reserved: 0,
};

/// How connects went since the maps were made, by reason. Counters survive the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats([u64; Reason::ALL.len()]);

impl Stats {
    /// The count of one reason.
    #[must_use]
    pub fn get(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// All reasons with their counts, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.0)
    }
}
