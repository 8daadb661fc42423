//! Keys and values of the maps. Every layout is fixed by an assertion, has no hidden padding, and belongs to [`crate::ABI`].

use core::mem::{offset_of, size_of};

use crate::Address;

/// Rule sets that exist at one time: the active one and the one being prepared or last replaced. A set of epoch `e` lives in slot `e % 2`.
pub const SLOTS: u32 = 2;

/// [`Meta::flags`]: the set has keys with a port, so `{address, port}` must be looked up.
pub const META_HAS_EXACT_PORT: u32 = 1;
/// [`Meta::flags`]: the set has keys for every port, so `{address, 0}` must be looked up.
pub const META_HAS_ANY_PORT: u32 = 2;
/// [`Meta::flags`]: single keys are being changed; a lookup may miss a key that is there, and `count` and `digest` may be behind.
pub const META_DIRTY: u32 = 4;

/// Key of a rule: where an application wants to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Key {
    /// Destination.
    pub address: Address,
    /// Destination port, network byte order; 0 means every port.
    pub port: u16,
    /// [`crate::TCP`].
    pub protocol: u8,
    /// [`crate::PROFILE_DEFAULT`]; reserved for rules that differ per pod.
    pub profile: u8,
}

/// Value of a rule: what happens to the connection, and by whose word.
///
/// Its size is chosen: with 48 bytes of the kernel's own and the key, rounded up to 24, an entry takes 128 bytes, two whole
/// cache lines. A connect to one of many destinations waits for memory more than for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Value {
    /// Where a redirected connection goes instead.
    pub address: Address,
    /// Its port, network byte order.
    pub port: u16,
    /// [`crate::Action`] as a number.
    pub action: u8,
    /// Zero.
    pub reserved: u8,
    /// What `connect` fails with when the action is deny, positive.
    pub errno: u32,
    /// Number of the row that was decided; the agent knows its name.
    pub rule_id: u32,
    /// Zero.
    pub padding: u32,
    /// The component and settings that decided.
    pub rules: u64,
    /// The state of the objects it decided on.
    pub revision: u64,
    /// [`Value::seal_for`] of key and value.
    pub seal: u64,
}

/// What a slot of RULES holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Meta {
    /// The epoch this was published as.
    pub epoch: u64,
    /// [`Value::rules`] of all its entries.
    pub rules: u64,
    /// Entries.
    pub count: u64,
    /// Sum of [`Value::digest_for`] over all entries: independent of their order, and kept up by addition and subtraction.
    pub digest: u64,
    /// `META_` flags.
    pub flags: u32,
    /// Grows with every change of single keys, before the first of them. Shares a word of eight bytes with `flags`, so that
    /// programs read both at once.
    pub changes: u32,
}

/// What was decided for one connection, kept with its socket and, until the peer takes it, under [`PairKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Record {
    /// Where the application wanted to connect to.
    pub address: Address,
    /// Its port, network byte order.
    pub port: u16,
    /// [`crate::Family`] of the socket, 4 or 6.
    pub family: u8,
    /// [`crate::Action`] as a number.
    pub action: u8,
    /// Of the value that decided.
    pub rule_id: u32,
    /// Of the value that decided.
    pub rules: u64,
    /// Of the value that decided.
    pub revision: u64,
    /// When, nanoseconds of `CLOCK_MONOTONIC_COARSE`: exact to a tick, and a tenth of the price of the exact clock.
    pub ktime_ns: u64,
}

/// A connection as both ends see it. Both addresses are canonical, so the family needs no field of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PairKey {
    /// The network namespace of the client: equal addresses in two namespaces never meet.
    pub netns_cookie: u64,
    /// The client.
    pub source: Address,
    /// Where the connection really went.
    pub destination: Address,
    /// Network byte order.
    pub source_port: u16,
    /// Network byte order.
    pub destination_port: u16,
    /// Zero.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<Key>() == 20);
    assert!(offset_of!(Key, port) == 16 && offset_of!(Key, protocol) == 18 && offset_of!(Key, profile) == 19);
    assert!(size_of::<Value>() == 56);
    assert!(offset_of!(Value, port) == 16 && offset_of!(Value, action) == 18 && offset_of!(Value, errno) == 20);
    assert!(offset_of!(Value, rule_id) == 24 && offset_of!(Value, rules) == 32);
    assert!(offset_of!(Value, revision) == 40 && offset_of!(Value, seal) == 48);
    assert!(size_of::<Meta>() == 40 && offset_of!(Meta, flags) == 32 && offset_of!(Meta, changes) == 36);
    assert!(size_of::<Record>() == 48);
    assert!(offset_of!(Record, port) == 16 && offset_of!(Record, family) == 18 && offset_of!(Record, action) == 19);
    assert!(offset_of!(Record, rule_id) == 20 && offset_of!(Record, rules) == 24);
    assert!(offset_of!(Record, revision) == 32 && offset_of!(Record, ktime_ns) == 40);
    assert!(size_of::<PairKey>() == 48);
    assert!(offset_of!(PairKey, source) == 8 && offset_of!(PairKey, destination) == 24);
    assert!(offset_of!(PairKey, source_port) == 40 && offset_of!(PairKey, destination_port) == 42);
};

impl Value {
    /// A check over all fields but `seal`, and over the key.
    ///
    /// The kernel reuses the memory of a replaced hash entry at once, so a program that was interrupted between lookup and
    /// copy may hold half of one entry and half of another, even of another key. The seal tells.
    #[inline(always)]
    #[must_use]
    pub const fn seal_for(&self, key: &Key) -> u64 {
        let [k0, k1, k2, k3] = key.address.words();
        let [v0, v1, v2, v3] = self.address.words();
        let mut hash = 0x9e37_79b9_7f4a_7c15;
        hash = mix(hash, pair(k0, k1));
        hash = mix(hash, pair(k2, k3));
        hash = mix(hash, key.port as u64 | (key.protocol as u64) << 16 | (key.profile as u64) << 24);
        hash = mix(hash, pair(v0, v1));
        hash = mix(hash, pair(v2, v3));
        let low = self.port as u32 | (self.action as u32) << 16 | (self.reserved as u32) << 24;
        hash = mix(hash, pair(low, self.errno));
        hash = mix(hash, pair(self.rule_id, self.padding));
        hash = mix(hash, self.rules);
        mix(hash, self.revision)
    }

    /// This entry's share of [`Meta::digest`]: over what is stored, a wrong seal included.
    #[must_use]
    pub const fn digest_for(&self, key: &Key) -> u64 {
        mix(self.seal_for(key), self.seal)
    }

    /// The value with its seal for this key.
    #[must_use]
    pub const fn sealed(mut self, key: &Key) -> Self {
        self.seal = self.seal_for(key);
        self
    }
}

#[inline(always)]
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// One round of a multiplicative hash: a bijection in `word`, cheap in BPF (no rotation there), not against an adversary.
#[inline(always)]
const fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0x2545_f491_4f6c_dd1d);
    hash ^ (hash >> 29)
}

#[cfg(feature = "user")]
mod pod {
    //! The promise that any bytes of the right length are a value: integers and arrays of them only, no padding.
    #![expect(unsafe_code, reason = "aya::Pod is how layouts cross into the kernel")]

    use super::{Key, Meta, PairKey, Record, Value};

    // SAFETY: repr(C), integers only, without padding (the sizes asserted above are the sums of the fields), for each of the five.
    unsafe impl aya::Pod for Key {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Value {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Meta {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Record {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PairKey {}
}
