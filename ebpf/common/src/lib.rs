//! What the eBPF programs and the agent must agree on to the byte: map keys and values, the names of the maps, the
//! reasons that are counted, and the verdict itself, which is compiled for both sides so that it can be tested on one.
//!
//! Not here: how maps are filled (`host/redirect`), and which decision becomes which entry.
#![no_std]
#![warn(missing_docs)]

mod address;
mod layout;
mod verdict;

pub use address::Address;
pub use layout::{Key, META_DIRTY, META_HAS_ANY_PORT, META_HAS_EXACT_PORT, Meta, PairKey, Record, SLOTS, Value};
pub use verdict::{Action, BeforeRules, Family, Reason, Verdict, before_rules, decide};

/// The version of everything in this crate. It names the folder of the pins: a program and an agent of different
/// versions never share a map.
pub const ABI: u32 = 1;

/// The only transport protocol that is looked up (`IPPROTO_TCP`).
pub const TCP: u8 = 6;

/// The profile of a socket nobody enrolled by itself: the whole cgroup shares it.
pub const PROFILE_DEFAULT: u8 = 0;

/// Connections that are between `connect` and `accept` at one moment, at most.
pub const PAIR_ENTRIES: u32 = 65_536;

/// Names of maps, which are also the names of their pins.
pub mod map {
    /// Array of one u64: the epoch that decides. 0 is "no rules yet".
    pub const ACTIVE: &str = "ACTIVE";
    /// Array of [`crate::SLOTS`] × [`crate::Meta`].
    pub const META: &str = "META";
    /// Array of [`crate::SLOTS`] hash maps [`crate::Key`] → [`crate::Value`].
    pub const RULES: &str = "RULES";
    /// Socket storage: socket → [`crate::Record`].
    pub const ORIG: &str = "ORIG";
    /// Hash [`crate::PairKey`] → [`crate::Record`].
    pub const PAIR: &str = "PAIR";
    /// Per-CPU array of u64, indexed by [`crate::Reason`].
    pub const STATS: &str = "STATS";
}

/// Names of programs.
pub mod program {
    /// `cgroup/connect4`.
    pub const CONNECT4: &str = "connect4";
    /// `cgroup/connect6`.
    pub const CONNECT6: &str = "connect6";
    /// `sockops` (a function of that name would collide with its section).
    pub const PAIR: &str = "pair";
}

/// Names of the read-only globals that are set at load.
pub mod global {
    /// One byte, see [`crate::BeforeRules`].
    pub const BEFORE_RULES: &str = "BEFORE_RULES";
    /// One byte: 1 also records in PAIR the connections that a rule lets pass.
    pub const RECORD_PASSED: &str = "RECORD_PASSED";
}

#[cfg(test)]
mod tests;
