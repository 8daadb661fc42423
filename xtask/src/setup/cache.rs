//! The cache folder: where it is, who may write to it, and what in it is complete. It does not know what is built there.
//!
//! A thing in the cache is complete if it is there: it is made under `partial/` and renamed when it is whole. The stamps say in
//! addition which versions a checked toolchain was made of.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// Free space that the larger of the two worlds needs while it is being made, measured: 2.1 GB.
const SPACE_NEEDED_MB: u64 = 2_500;
/// Longest wait for another set-up; a cold one takes less than ten minutes.
const LOCK_WAIT: Duration = Duration::from_secs(30 * 60);

/// The folder that outlives checkouts.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// Held while set-up writes; released when dropped or when the process dies.
pub(crate) struct Lock {
    _file: File,
}

impl Cache {
    /// `$WAYSWITCH_CACHE`, else `$XDG_CACHE_HOME/wayswitch`, else `~/.cache/wayswitch`. Creates it.
    pub(crate) fn open() -> Result<Self> {
        let root = location(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
            .context("no cache folder: set WAYSWITCH_CACHE, XDG_CACHE_HOME or HOME")?;
        fs::create_dir_all(&root)
            .with_context(|| format!("cannot create the cache folder {}: set WAYSWITCH_CACHE", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("cannot open {}", root.display()))?;
        Ok(Self { root })
    }

    /// A finished thing of the cache.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a thing is made before it is renamed; survives an interruption, so that downloads resume.
    pub(crate) fn partial(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join("partial").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// An empty folder under `partial/`, whatever was there before.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        remove(&self.root.join("partial").join(name))?;
        self.partial(name)
    }

    /// Removes what is left under `partial/NAME`.
    pub(crate) fn discard(&self, name: &str) -> Result<()> {
        remove(&self.root.join("partial").join(name))
    }

    /// The log file of a step.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.root.join("log").join(format!("{step}.log"))
    }

    /// Makes `made` the finished thing at `place`, replacing what was there.
    pub(crate) fn finish(&self, made: &Path, place: &Path) -> Result<()> {
        remove(place)?;
        fs::rename(made, place).with_context(|| format!("cannot move {} to {}", made.display(), place.display()))
    }

    /// The versions a checked toolchain was made of, if it was ever checked.
    pub(crate) fn stamp(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root.join(format!("{name}.stamp"))).ok()
    }

    /// Records a checked toolchain. A crash leaves the old stamp or the new one.
    pub(crate) fn set_stamp(&self, name: &str, versions: &str) -> Result<()> {
        let file = self.partial("")?.join(format!("{name}.stamp"));
        fs::write(&file, versions).with_context(|| format!("cannot write {}", file.display()))?;
        self.finish(&file, &self.root.join(format!("{name}.stamp")))
    }

    /// Waits for a set-up that is already at work, and keeps others out.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let path = self.root.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
                Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_WAIT => {
                    bail!("another set-up has held {} for {} s: end it", path.display(), LOCK_WAIT.as_secs())
                }
                Err(TryLockError::WouldBlock) => {
                    if started.elapsed() < Duration::from_millis(300) {
                        eprintln!("setup: another set-up is at work in {}, waiting for it", self.root.display());
                    }
                    thread::sleep(Duration::from_millis(300));
                }
            }
        }
    }

    /// Fails with one line if the disk is too full to begin.
    pub(crate) fn check_space(&self) -> Result<()> {
        // The standard library has no statvfs; a `df` that cannot answer is no reason to refuse.
        let Ok(table) = process::output(Command::new("df").arg("-Pm").arg(&self.root)) else {
            return Ok(());
        };
        match free_megabytes(&table) {
            Some(free) if free < SPACE_NEEDED_MB => bail!(
                "{free} MB free in {}, {SPACE_NEEDED_MB} MB needed: free some, or set WAYSWITCH_CACHE to another disk",
                self.root.display()
            ),
            _ => Ok(()),
        }
    }
}

fn location(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("WAYSWITCH_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("wayswitch")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/wayswitch")))
}

/// The fourth column of the second line of `df -Pm`.
fn free_megabytes(table: &str) -> Option<u64> {
    table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    result.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_prefers_the_own_variable_then_xdg_then_home() {
        let all = |name: &str| Some(PathBuf::from(format!("/{name}")));
        assert_eq!(location(all), Some(PathBuf::from("/WAYSWITCH_CACHE")));
        assert_eq!(
            location(|name| all(name).filter(|_| name != "WAYSWITCH_CACHE")),
            Some(PathBuf::from("/XDG_CACHE_HOME/wayswitch"))
        );
        assert_eq!(
            location(|name| all(name).filter(|_| name == "HOME")),
            Some(PathBuf::from("/HOME/.cache/wayswitch"))
        );
        assert_eq!(location(|_| None), None);
    }

    #[test]
    fn free_space_is_the_available_column() {
        let table = "Filesystem 1048576-blocks Used Available Capacity Mounted on\n/dev/vda 257000 12000 80123 14% /\n";
        assert_eq!(free_megabytes(table), Some(80_123));
        assert_eq!(free_megabytes("df: nothing"), None);
    }
}
