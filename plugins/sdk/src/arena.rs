//! The allocator of a component: it hands out memory in one direction and takes nothing back. A host uses a fresh instance
//! for every batch, so all memory goes with the instance; keeping books on every string of a batch would cost more than
//! deciding. It is not an allocator for programs that run on.
#![expect(unsafe_code, reason = "an allocator hands out raw memory; each promise is proven where it is made")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Of wasm, in bytes.
const PAGE: usize = 64 * 1024;
/// Memory is grown by at least so many pages at a time; those never touched cost nothing.
const STEP: usize = 16;

unsafe extern "C" {
    /// Where the linker says that the heap begins; only its address means anything.
    static __heap_base: u8;
}

/// See the module. [`crate::export!`] puts it in place.
#[derive(Debug)]
pub struct Arena {
    /// The first byte not handed out; 0 before the first use. Atomic only to be shared: there is one thread.
    next: AtomicUsize,
}

impl Arena {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "there is one, in a static")]
    pub const fn new() -> Self {
        Self { next: AtomicUsize::new(0) }
    }

    /// Makes memory up to `end` usable.
    #[cold]
    fn grow(end: usize) -> bool {
        let missing = end.div_ceil(PAGE).saturating_sub(memory_size::<0>());
        memory_grow::<0>(missing.max(STEP)) != usize::MAX || memory_grow::<0>(missing) != usize::MAX
    }
}

// SAFETY: every answer lies between the end of the last one and the end of memory, so no two overlap and none is outside;
// it is rounded up to the alignment. Nothing is taken back, so none becomes invalid.
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = (&raw const __heap_base).addr();
        let free = self.next.load(Ordering::Relaxed).max(base);
        let start = free.checked_next_multiple_of(layout.align());
        let end = start.and_then(|start| start.checked_add(layout.size()));
        let (Some(start), Some(end)) = (start, end) else {
            return core::ptr::null_mut();
        };
        if end > memory_size::<0>().saturating_mul(PAGE) && !Self::grow(end) {
            return core::ptr::null_mut();
        }
        self.next.store(end, Ordering::Relaxed);
        core::ptr::with_exposed_provenance_mut(start)
    }

    #[inline]
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
