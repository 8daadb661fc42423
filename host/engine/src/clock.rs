//! The clock of the epochs, by which a call that does not end is stopped. It stands still while nothing is called: a mesh that
//! only churns asks a component nothing for minutes, and a hundred wake-ups a second would be all that such an agent does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// Milliseconds of an epoch.
pub(crate) const EPOCH_MS: u64 = 10;

/// Epochs for which it goes on after a call: to be woken costs a call more than the clock costs meanwhile.
const IDLE_MAX: u32 = 100;

/// See the module.
pub(crate) struct Clock {
    wasmtime: wasmtime::Engine,
    /// Calls under way.
    calls: AtomicUsize,
    /// The thread waits, or is about to, for the next call.
    stands: AtomicBool,
    thread: OnceLock<Thread>,
}

/// A call under way; the clock goes as long as there is one.
pub(crate) struct Call<'a>(&'a Clock);

impl Clock {
    /// A clock that ends with whoever has it.
    pub(crate) fn start(wasmtime: wasmtime::Engine) -> Arc<Self> {
        let clock = Self::new(wasmtime);
        if let Err(error) = clock.go() {
            tracing::error!(%error, "no thread for the epoch clock: endless calls are stopped by fuel only");
        }
        clock
    }

    fn new(wasmtime: wasmtime::Engine) -> Arc<Self> {
        let (calls, stands, thread) = (AtomicUsize::new(0), AtomicBool::new(false), OnceLock::new());
        Arc::new(Self { wasmtime, calls, stands, thread })
    }

    fn go(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let of = Arc::downgrade(self);
        let started = std::thread::Builder::new().name("epoch".to_owned()).spawn(move || tick(&of))?;
        self.thread.get_or_init(|| started.thread().clone());
        Ok(started)
    }

    /// The engine whose epochs it counts.
    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// To be held during a call.
    pub(crate) fn call(&self) -> Call<'_> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.stands.swap(false, Ordering::SeqCst) {
            self.wake();
        }
        Call(self)
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Whether the thread may wait for the next call. A call that begins meanwhile sees that it has to wake it.
    fn may_stand(&self) -> bool {
        self.stands.store(true, Ordering::SeqCst);
        let may = self.calls.load(Ordering::SeqCst) == 0;
        if !may {
            self.stands.store(false, Ordering::SeqCst);
        }
        may
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(clock: &Weak<Clock>) {
    let mut idle = 0;
    while let Some(now) = clock.upgrade() {
        now.wasmtime.increment_epoch();
        idle = if now.calls.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        let stand = idle > IDLE_MAX && now.may_stand();
        // Whoever has the clock may be gone by the time it goes on.
        drop(now);
        if stand {
            idle = 0;
            std::thread::park();
        } else {
            std::thread::sleep(Duration::from_millis(EPOCH_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn it_stands_while_nothing_is_called_and_goes_while_something_is() {
        let clock = Clock::start(wasmtime::Engine::default());
        for _ in 0..2 {
            wait_until("it goes on without a call", || clock.stands.load(Ordering::SeqCst));
            let call = clock.call();
            assert!(!clock.stands.load(Ordering::SeqCst));
            // Longer than it goes on by itself.
            std::thread::sleep(Duration::from_millis(EPOCH_MS * u64::from(IDLE_MAX) * 3 / 2));
            assert!(!clock.stands.load(Ordering::SeqCst), "it stands during a call");
            drop(call);
        }
    }

    #[test]
    fn its_thread_ends_with_it_also_while_it_stands() {
        let clock = Clock::new(wasmtime::Engine::default());
        let thread = clock.go().unwrap();
        wait_until("it goes on without a call", || clock.stands.load(Ordering::SeqCst));
        drop(clock);
        wait_until("the thread goes on", || thread.is_finished());
    }
}
