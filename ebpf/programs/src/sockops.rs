//! The moment the source port is known and no packet has left: hand the record over to whoever will accept.
//!
//! Only `TCP_CONNECT_CB`, and `STATE_CB` when a handshake fails, are looked at. The record is there before the SYN, so the peer never has to wait for it.

use aya_ebpf::{
    bindings::{
        BPF_ANY, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock, bpf_sock_ops,
    },
    helpers::generated::{bpf_get_netns_cookie, bpf_sk_storage_get},
    macros::sock_ops,
    programs::SockOpsContext,
};
use ebpf_common::{Action, Address, PairKey, Reason, Record};

use crate::maps::{self, count};

const AF_INET: u32 = 2;
/// The return value is of no interest to this callback.
const DONE: u32 = 0;

/// States of `bpf.h`.
const SYN_SENT: u32 = 2;
const CLOSE: u32 = 7;

/// Every TCP event of the cgroup's sockets; all but two are left at the first tests.
#[sock_ops]
pub(crate) fn pair(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(&ctx),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(0) == SYN_SENT && ctx.arg(1) == CLOSE => not_accepted(&ctx),
        _ => DONE,
    }
}

/// Nobody accepted, so nobody will ask. Left behind, the record would be taken for that of a stranger with the same port,
/// and enough of them would leave no room for others. One that was accepted stays: its peer may not have asked yet.
#[inline(always)]
fn not_accepted(ctx: &SockOpsContext) -> u32 {
    _ = maps::PAIR.remove(&pair_key(ctx));
    DONE
}

#[inline(always)]
fn connecting(ctx: &SockOpsContext) -> u32 {
    // SAFETY: the context is valid for the whole program.
    let socket = unsafe { (&raw const (*ctx.ops).__bindgen_anon_2.sk).read_volatile() };
    if socket.is_null() {
        return DONE;
    }
    let key = pair_key(ctx);
    let record = record_of(socket);
    // SAFETY: null was excluded, and the record is 48 bytes, owned by this socket.
    if !record.is_null() && is_wanted(unsafe { &*record }) {
        // SAFETY: as above.
        match maps::PAIR.insert(&key, unsafe { &*record }, u64::from(BPF_ANY)) {
            Ok(()) => {
                count(Reason::PairStored);
                // To be told when the handshake fails. Where the kernel does not take it, the sweep is left.
                _ = ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32);
            }
            // The address is already rewritten; the peer will find nothing and must close. It is counted, not hidden.
            Err(_) => count(Reason::PairFull),
        }
    } else if maps::PAIR.get_ptr(&key).is_some() {
        // The same addresses as those of a record that nobody took: it would send this connection where that one wanted to go.
        // Looked up first, because only a removal takes the bucket's lock.
        _ = maps::PAIR.remove(&key);
    }
    DONE
}

/// Records a peer may ask for: of redirected connections, and of passed ones where that is configured.
#[inline(always)]
fn is_wanted(record: &Record) -> bool {
    record.action == Action::Redirect as u8 || (record.action == Action::Pass as u8 && maps::RECORD_PASSED.load() != 0)
}

#[inline(always)]
fn record_of(socket: *mut bpf_sock) -> *const Record {
    let map = core::ptr::from_ref(&maps::ORIG).cast_mut().cast();
    // SAFETY: a socket storage map and a socket that was checked for null; without the create flag, so no value is passed.
    unsafe { bpf_sk_storage_get(map, socket.cast(), core::ptr::null_mut(), 0) }.cast_const().cast()
}

#[inline(always)]
fn pair_key(ctx: &SockOpsContext) -> PairKey {
    let ops = ctx.ops;
    // SAFETY: the context is valid, and each field is read in its own width.
    unsafe {
        // All fields are read before the choice between them: a read on each side would be merged into one at a computed
        // offset, and the verifier allows constant offsets into a context only.
        let family = (&raw const (*ops).family).read_volatile();
        let v4 = [(&raw const (*ops).local_ip4).read_volatile(), (&raw const (*ops).remote_ip4).read_volatile()];
        let v6 = [words(&raw const (*ops).local_ip6), words(&raw const (*ops).remote_ip6)];
        let [source, destination] = if family == AF_INET { v4.map(Address::from_v4) } else { v6 };
        PairKey {
            netns_cookie: netns_cookie(ops),
            source,
            destination,
            // The local port comes in host order, the remote one in network order and in the upper half.
            source_port: ((&raw const (*ops).local_port).read_volatile() as u16).to_be(),
            destination_port: (u32::from_be((&raw const (*ops).remote_port).read_volatile()) as u16).to_be(),
            reserved: 0,
        }
    }
}

#[inline(always)]
unsafe fn words(field: *const [u32; 4]) -> Address {
    let field = field.cast::<u32>();
    // SAFETY: the caller passes a field of a valid context.
    unsafe {
        Address::from_words([
            field.read_volatile(),
            field.add(1).read_volatile(),
            field.add(2).read_volatile(),
            field.add(3).read_volatile(),
        ])
    }
}

#[inline(always)]
fn netns_cookie(ops: *mut bpf_sock_ops) -> u64 {
    // SAFETY: the context is valid.
    unsafe { bpf_get_netns_cookie(ops.cast()) }
}
