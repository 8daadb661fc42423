//! Waiting for what another process does: by asking again, for a bounded time, and not after the user pressed Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    limit: Duration,
    /// Cleaning up goes on when the user wants to stop.
    is_interruptible: bool,
}

impl Patience {
    /// So long, unless interrupted.
    pub const fn new(limit: Duration) -> Self {
        Self { limit, is_interruptible: true }
    }

    /// So many seconds, unless interrupted.
    pub const fn seconds(limit: u64) -> Self {
        Self::new(Duration::from_secs(limit))
    }

    /// So long, even if interrupted.
    pub const fn to_the_end(limit: Duration) -> Self {
        Self { limit, is_interruptible: false }
    }
}

/// Asks until there is an answer.
///
/// # Errors
/// The question's own error, an interrupt, or that the time is over.
pub fn wait_for<T>(what: &str, patience: Patience, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + patience.limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if patience.is_interruptible && INTERRUPTED.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if Instant::now() >= end {
            bail!("waited {:.0} s for {what}", patience.limit.as_secs_f64());
        }
        thread::sleep(ASK_EVERY);
    }
}

/// From now on SIGINT and SIGTERM end every wait instead of this process, so that it can clean up.
///
/// # Errors
/// When signals cannot be waited for.
pub fn end_by_signal() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    drop(guard);
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        INTERRUPTED.store(true, Ordering::Relaxed);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}
