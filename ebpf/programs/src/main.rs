//! The eBPF object of wayswitch: two connect hooks and one sockops program, attached to a cgroup by `host/redirect`.
//!
//! Built for `bpfel-unknown-none` only. No tail calls, no LRU maps, no loop but a bounded retry; every error ends in a
//! refused connection or in a counter, never in a silent bypass.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "contexts, helpers and maps are raw pointers here; the verifier checks them")]

mod connect;
mod maps;
mod sockops;

/// None of the helpers in use is reserved for GPL programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 11] = *b"Apache-2.0\0";

/// Never reached: nothing here panics, and the verifier would refuse a loop without end.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
