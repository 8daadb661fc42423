//! `connect` of a socket in the cgroup: look the destination up, then leave, change or refuse it.
//!
//! The active epoch is read once, so one connect sees one rule set. Nothing is written for a destination no rule names.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::bpf_sock_addr,
    btf_maps::HashMap,
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_set_retval},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use ebpf_common::{
    Action, Address, Family, Key, META_DIRTY, META_HAS_ANY_PORT, META_HAS_EXACT_PORT, Meta, PROFILE_DEFAULT, Reason,
    Record, SLOTS, TCP, Value, Verdict, before_rules, decide,
};

use crate::maps::{self, count};

/// What a connect hook returns: go on with the address as it now is, or fail.
const PROCEED: i32 = 1;
const FAIL: i32 = 0;

/// `connect` on an AF_INET socket.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    if protocol(&ctx) != u32::from(TCP) {
        return PROCEED;
    }
    // SAFETY: the context is valid for the whole program, and a volatile read keeps the width the verifier wants.
    let word = unsafe { (&raw const (*ctx.sock_addr).user_ip4).read_volatile() };
    run(&ctx, Family::V4, Address::from_v4(word))
}

/// `connect` on an AF_INET6 socket, to IPv6 or to v4-mapped IPv4: the latter never runs [`connect4`].
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    if protocol(&ctx) != u32::from(TCP) {
        return PROCEED;
    }
    let words = ip6(ctx.sock_addr);
    // SAFETY: as above; four reads of four bytes each.
    let words = unsafe {
        [
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
            words.add(3).read_volatile(),
        ]
    };
    run(&ctx, Family::V6, Address::from_words(words))
}

#[inline(always)]
fn run(ctx: &SockAddrContext, family: Family, address: Address) -> i32 {
    // The port sits in the low half of the field, in network byte order.
    // SAFETY: the context is valid for the whole program.
    let port = unsafe { (&raw const (*ctx.sock_addr).user_port).read_volatile() } as u16;
    let Some(epoch) = maps::ACTIVE.get_ptr(0) else {
        return unruled(ctx, family, Verdict::refuse(Reason::SlotMissing));
    };
    // SAFETY: a pointer the lookup returned; read once and volatile, so that the epoch cannot change on the way.
    let epoch = unsafe { epoch.read_volatile() };
    if epoch == 0 {
        return unruled(ctx, family, before_rules(maps::BEFORE_RULES.load()));
    }
    let slot = (epoch % u64::from(SLOTS)) as u32;
    let (Some(rules), Some(meta)) = (maps::RULES.get(slot), maps::META.get_ptr(slot)) else {
        return unruled(ctx, family, Verdict::refuse(Reason::SlotMissing));
    };
    let key = Key { address, port, protocol: TCP, profile: PROFILE_DEFAULT };
    let mut value = BLANK;
    let found = find(rules, meta, key, &mut value);
    match found {
        Found::Entry => {
            let verdict = decide(&value, family);
            enforce(ctx, family, keep(ctx, &value, verdict, address, port, family))
        }
        Found::Nothing => unruled(ctx, family, Verdict::Pass { reason: Reason::Miss }),
        Found::Torn => unruled(ctx, family, Verdict::refuse(Reason::Torn)),
    }
}

/// No rule decides: an earlier connect of this socket must not be taken for this one.
#[inline(always)]
fn unruled(ctx: &SockAddrContext, family: Family, verdict: Verdict) -> i32 {
    forget(ctx);
    enforce(ctx, family, verdict)
}

/// What a lookup gave. The entry itself goes through a reference to initialised memory: an `Option` of it would leave the
/// compiler undefined registers to compute with, which the verifier refuses.
enum Found {
    Entry,
    Nothing,
    Torn,
}

/// The entry of a destination: that for its port, else that for every port.
///
/// The kernel reuses the memory of an entry as soon as it is replaced. A program that is interrupted on its way may miss a
/// key that is there, or copy half of one entry and half of another. Neither can happen while no key changes, which META
/// tells before and after; while keys change, the seal vouches for a copy, and a miss is looked at again.
#[inline(always)]
fn find<const N: usize, const F: usize>(
    rules: &HashMap<Key, Value, N, F>,
    meta: *const Meta,
    mut key: Key,
    value: &mut Value,
) -> Found {
    let port = key.port;
    let mut found = Found::Nothing;
    for attempt in 0..ATTEMPTS {
        let before = flags_and_changes(meta);
        found = Found::Nothing;
        // A set without one kind of key spares that lookup.
        if before & META_HAS_EXACT_PORT as u64 != 0 {
            key.port = port;
            found = look(rules, &key, value);
        }
        if matches!(found, Found::Nothing) && before & META_HAS_ANY_PORT as u64 != 0 {
            key.port = 0;
            found = look(rules, &key, value);
        }
        if before & META_DIRTY as u64 == 0 && before == flags_and_changes(meta) {
            return found;
        }
        if matches!(found, Found::Entry) {
            if value.seal != value.seal_for(&key) {
                found = Found::Torn;
            } else if key.port == port || before & META_HAS_EXACT_PORT as u64 == 0 || attempt > 0 {
                // An entry for every port counts only if the one for this port was not just missed.
                return Found::Entry;
            }
        }
    }
    found
}

/// `flags` in the low half, `changes` in the high one (the target is little-endian), in one read.
#[inline(always)]
fn flags_and_changes(meta: *const Meta) -> u64 {
    // SAFETY: a pointer the lookup returned; the word is aligned to 8 (asserted by the layout) and inside the value.
    unsafe { meta.byte_add(offset_of!(Meta, flags)).cast::<u64>().read_volatile() }
}

/// Copies the entry of a key.
#[inline(always)]
fn look<const N: usize, const F: usize>(rules: &HashMap<Key, Value, N, F>, key: &Key, value: &mut Value) -> Found {
    let Some(entry) = rules.get_ptr(key) else {
        return Found::Nothing;
    };
    *value = copy(entry);
    Found::Entry
}

/// A second miss in a row needs a second interruption in the same few nanoseconds.
const ATTEMPTS: u32 = 4;

const BLANK: Value = Value {
    address: Address::from_words([0; 4]),
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

#[inline(always)]
fn copy(entry: *const Value) -> Value {
    // SAFETY: the map's value is 56 bytes, aligned to 8, alive until the program ends; volatile words, so that what was
    // checked is what is used. The size assertion of the layout makes the transmute exact.
    unsafe {
        let words = entry.cast::<u64>();
        core::mem::transmute::<[u64; 7], Value>([
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
            words.add(3).read_volatile(),
            words.add(4).read_volatile(),
            words.add(5).read_volatile(),
            words.add(6).read_volatile(),
        ])
    }
}

/// Writes the record of this connect over the one of the socket's last; returns the verdict, or a refusal where that failed.
#[inline(always)]
fn keep(
    ctx: &SockAddrContext,
    value: &Value,
    verdict: Verdict,
    address: Address,
    port: u16,
    family: Family,
) -> Verdict {
    let action = match verdict {
        Verdict::Pass { .. } => Action::Pass,
        Verdict::Redirect { .. } => Action::Redirect,
        Verdict::Deny { .. } => Action::Deny,
    };
    // SAFETY: no arguments.
    let ktime_ns = unsafe { bpf_ktime_get_coarse_ns() };
    let mut record = Record {
        address,
        port,
        family: family as u8,
        action: action as u8,
        rule_id: value.rule_id,
        rules: value.rules,
        revision: value.revision,
        ktime_ns,
    };
    // SAFETY: the socket is this context's own; a new storage starts as `record`.
    let stored = unsafe { maps::ORIG.get_or_insert_ptr_mut(ctx, Some(&mut record)) };
    if stored.is_null() {
        // A redirected connection nobody can explain must not exist; a passed one is what it would be without us.
        return match verdict {
            Verdict::Redirect { .. } => Verdict::refuse(Reason::RecordFailed),
            other => other,
        };
    }
    // SAFETY: not null, 48 bytes, owned by this socket, whose lock the connecting thread holds.
    unsafe { *stored = record };
    verdict
}

/// Drops what an earlier connect of this socket left; costs next to nothing when there is nothing.
#[inline(always)]
fn forget(ctx: &SockAddrContext) {
    // SAFETY: the context is valid, and its socket is never null in a connect hook.
    let socket = unsafe { (&raw const (*ctx.sock_addr).__bindgen_anon_1.sk).read_volatile() };
    // SAFETY: as above. An error means there was none.
    _ = unsafe { maps::ORIG.delete(socket) };
}

#[inline(always)]
fn enforce(ctx: &SockAddrContext, family: Family, verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass { reason } => {
            count(reason);
            PROCEED
        }
        Verdict::Deny { errno, reason } => {
            count(reason);
            // SAFETY: plain number; kernels before 5.18 lack the helper and refuse the program at load.
            _ = unsafe { bpf_set_retval(-(errno as i32)) };
            FAIL
        }
        Verdict::Redirect { address, port } => {
            count(Reason::Redirect);
            rewrite(ctx, family, address, port);
            PROCEED
        }
    }
}

/// Writes the new destination, in the widths the kernel accepts.
#[inline(always)]
fn rewrite(ctx: &SockAddrContext, family: Family, address: Address, port: u16) {
    let words = address.words();
    // SAFETY: the context is valid, and these are the fields a connect hook of this family may write.
    unsafe {
        match family {
            Family::V4 => (&raw mut (*ctx.sock_addr).user_ip4).write_volatile(words[3]),
            Family::V6 => {
                let target = ip6(ctx.sock_addr);
                target.write_volatile(words[0]);
                target.add(1).write_volatile(words[1]);
                target.add(2).write_volatile(words[2]);
                target.add(3).write_volatile(words[3]);
            }
        }
        (&raw mut (*ctx.sock_addr).user_port).write_volatile(u32::from(port));
    }
}

#[inline(always)]
fn protocol(ctx: &SockAddrContext) -> u32 {
    // SAFETY: the context is valid for the whole program.
    unsafe { (&raw const (*ctx.sock_addr).protocol).read_volatile() }
}

#[inline(always)]
fn ip6(ctx: *mut bpf_sock_addr) -> *mut u32 {
    // SAFETY: only the address of the field is taken.
    unsafe { (&raw mut (*ctx).user_ip6).cast() }
}
