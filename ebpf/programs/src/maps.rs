//! The maps, and the few ways the programs touch them. Sizes here are what the agent may override at load.

use aya_ebpf::{
    Global,
    bindings::BPF_F_RDONLY_PROG,
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, SkStorage},
    macros::btf_map,
};
use ebpf_common::{Key, Meta, PAIR_ENTRIES, PairKey, Reason, Record, SLOTS, Value};

/// Written by the agent alone; the verifier holds the programs to it.
const READ_ONLY: usize = BPF_F_RDONLY_PROG as usize;

/// The epoch that decides; 0 while there are no rules. One aligned store by the agent is what switches rules.
#[btf_map]
pub(crate) static ACTIVE: Array<u64, 1, READ_ONLY> = Array::new();

/// What each slot holds.
#[btf_map]
pub(crate) static META: Array<Meta, { SLOTS as usize }, READ_ONLY> = Array::new();

/// The rules. The inner map below is only a template: each publish brings one of its own size.
#[btf_map]
pub(crate) static RULES: ArrayOfMaps<HashMap<Key, Value, 1, READ_ONLY>, { SLOTS as usize }> = ArrayOfMaps::new();

/// What was decided for a socket's last connect.
#[btf_map]
pub(crate) static ORIG: SkStorage<Record> = SkStorage::new();

/// The same, for the peer. Preallocated and exact: when it is full an insertion fails, and nothing is forgotten.
#[btf_map]
pub(crate) static PAIR: HashMap<PairKey, Record, { PAIR_ENTRIES as usize }> = HashMap::new();

/// Counters by [`Reason`].
#[btf_map]
pub(crate) static STATS: PerCpuArray<u64, { Reason::ALL.len() }> = PerCpuArray::new();

/// See [`ebpf_common::BeforeRules`]; set at load.
#[unsafe(no_mangle)]
pub(crate) static BEFORE_RULES: Global<u8> = Global::new(0);

/// Whether PAIR also gets the connections a rule lets pass; set at load.
#[unsafe(no_mangle)]
pub(crate) static RECORD_PASSED: Global<u8> = Global::new(0);

/// Counts one event on this CPU.
#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counter) = STATS.get_ptr_mut(reason as u32) {
        // SAFETY: a slot of this CPU's own copy, and programs of one CPU do not interleave here with migration off;
        // an increment lost to an interrupt in between would be a lost count, never memory unsafety.
        unsafe { *counter += 1 };
    }
}
