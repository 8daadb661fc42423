//! Says when files under some paths may have changed, once they have been quiet for a while.
//!
//! It only says when to look again, never what is there: a look that finds nothing new costs a read. Where the kernel
//! cannot watch (a path that is not there yet, a watch that was lost), a look every few seconds makes up for it.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher};

/// A change is acted on after this time even if there is no quiet, as a multiple of the debounce.
const PATIENCE: u32 = 20;
/// How often is looked without being told.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Watches the parents of files and the folders themselves.
pub(crate) struct Watch {
    paths: Vec<PathBuf>,
    debounce: Duration,
    told: Receiver<()>,
    tell: SyncSender<()>,
    watcher: Option<notify::RecommendedWatcher>,
}

/// Says that something changed.
#[derive(Clone)]
pub(crate) struct Bell(SyncSender<()>);

impl Bell {
    pub(crate) fn ring(&self) {
        // It is ringing already.
        let _full = self.0.try_send(());
    }
}

/// Why a look is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Something changed, and this is the end of the quiet time.
    Changed(Instant),
    /// Nothing was told; only to be sure.
    Routine,
}

impl Watch {
    pub(crate) fn new(paths: Vec<PathBuf>, debounce: Duration) -> Self {
        // One place is enough: a second notice says nothing more.
        let (tell, told) = sync_channel(1);
        let bell = tell.clone();
        let notice = move |event: notify::Result<notify::Event>| {
            // Reading is no change, and would wake us by our own looks.
            if event.map_or(true, |event| !event.kind.is_access()) {
                let _full = bell.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(notice)
            .inspect_err(|error| tracing::warn!(%error, "files cannot be watched; looking every 5 s instead"))
            .ok();
        let mut watch = Self { paths, debounce, told, tell, watcher };
        watch.arm();
        watch
    }

    /// For who knows of changes that no file shows.
    pub(crate) fn bell(&self) -> Bell {
        Bell(self.tell.clone())
    }

    /// Watches what is there now; a folder that was replaced needs it anew.
    fn arm(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for path in &self.paths {
            let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::debug!(path = %folder.display(), %error, "cannot be watched now");
            }
        }
    }

    /// Waits until a look is due. Returns none when `stop` says so, which is asked several times a second.
    pub(crate) fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Due> {
        let routine = Instant::now() + LOOK_EVERY;
        loop {
            if stop() {
                return None;
            }
            if self.told.recv_timeout(Duration::from_millis(100)).is_ok() {
                break;
            }
            if Instant::now() >= routine {
                self.arm();
                return Some(Due::Routine);
            }
        }
        let patience = Instant::now() + self.debounce * PATIENCE;
        while Instant::now() < patience && self.told.recv_timeout(self.debounce).is_ok() {}
        Some(Due::Changed(Instant::now()))
    }
}
