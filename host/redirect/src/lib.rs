//! Decisions in the kernel: eBPF programs on a cgroup's `connect`, and the maps they decide by.
//!
//! For nodes without a node proxy: a connection to a destination with a waypoint goes to the waypoint instead. What was
//! decided, by which rules, and where the application wanted to go is recorded with every connection.
//!
//! Not here: how decisions are made, and any traffic. This crate owns aya; the programs are in `ebpf/programs`, the layouts
//! they share with this crate in `ebpf/common`.
#![warn(missing_docs)]

mod attach;
mod entries;
mod entry;
mod error;
mod inspect;
mod load;
mod maps;
mod pins;
mod publish;
mod records;
mod sys;
mod update;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use attach::cgroup2_mount;
pub use ebpf_common::{Action as Decided, BeforeRules, Family, Reason};
pub use entries::RedirectSink;
pub use entry::{Action, Destination, Entry};
pub use error::Error;
pub use inspect::{Attached, LoadedObjects, RunTime, RunTimes, attached, loaded_objects, run_times};
pub use maps::Stats;
pub use publish::{Committed, Prepared};
pub use records::{Record, Records, netns_cookie};
pub use update::Change;

use attach::Cgroup;
use ebpf_common::{ABI, META_DIRTY, PAIR_ENTRIES};
use maps::Maps;
use pins::PinDir;
use publish::Set;

/// Entries a set may have unless configured otherwise: twice what the largest mesh this project is made for needs.
pub const ENTRIES_MAX: u32 = 524_288;

/// What the kernel side needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cgroup (v2) whose processes are redirected, with all below it: absolute, or relative to the cgroup2 mount.
    pub cgroup: PathBuf,
    /// Folder on a BPF filesystem for maps and links; belongs to this version alone.
    pub pin_dir: PathBuf,
    /// What happens to connects before the first rules.
    pub before_rules: BeforeRules,
    /// Entries a set may have.
    pub entries_max: u32,
    /// Records of redirected connections that may wait for their peer at one time.
    pub pair_entries: u32,
    /// Whether connections that a rule lets pass also leave a record for their peer. For peers that take it; otherwise such
    /// records would fill the map.
    pub record_passed: bool,
}

impl Config {
    /// The defaults, for a cgroup.
    pub fn new(cgroup: impl Into<PathBuf>) -> Self {
        Self {
            cgroup: cgroup.into(),
            pin_dir: default_pin_dir(),
            before_rules: BeforeRules::default(),
            entries_max: ENTRIES_MAX,
            pair_entries: PAIR_ENTRIES,
            record_passed: false,
        }
    }
}

/// Where pins are unless configured otherwise; the version is part of it.
#[must_use]
pub fn default_pin_dir() -> PathBuf {
    PathBuf::from(format!("/sys/fs/bpf/wayswitch/v{ABI}"))
}

/// Takes everything that an agent left under `pin_dir` out of the kernel, without loading anything. Returns whether there
/// was such a folder.
///
/// # Errors
/// When an agent still holds it, or a pin cannot be removed.
pub fn detach(pin_dir: &Path) -> Result<bool, Error> {
    if !pin_dir.is_dir() {
        return Ok(false);
    }
    PinDir::open(pin_dir)?.remove()?;
    Ok(true)
}

/// `BPF_NOEXIST` of `bpf.h`: only where the key is not there.
const BPF_NOEXIST: u64 = 1;

/// What the kernel decides by at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    /// Publishes since the maps were made; 0 means that there are no rules.
    pub epoch: u64,
    /// The number the rules were given.
    pub rules: u64,
    /// Entries of the set.
    pub entries: u64,
}

/// The kernel side of this node, held by one process at a time.
///
/// Dropping it changes nothing in the kernel: programs, links and rules stay and go on deciding. [`Redirect::detach`]
/// removes them.
#[derive(Debug)]
pub struct Redirect {
    pins: PinDir,
    maps: Maps,
    entries_max: u32,
    /// The active set.
    live: Option<Set>,
    /// The set before it, kept until the next commit.
    replaced: Option<Set>,
    /// Counts prepares, to tell the last from earlier ones.
    ticket: u64,
    /// Whether no program can look into the standby slot any more.
    is_settled: bool,
}

impl Redirect {
    /// Loads the programs and brings them to the cgroup. What an earlier agent left is taken over: its rules go on
    /// deciding, its links get the new programs.
    ///
    /// # Errors
    /// See [`Error`]. Programs of an earlier agent go on as they were, unless the failure came between two hooks: then some
    /// hooks already have the new program, over the same maps.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let cgroup = Cgroup::open(&config.cgroup)?;
        let pins = PinDir::open(&config.pin_dir)?;
        let mut ebpf = load::load(config, &pins)?;
        let maps = Maps::take(&mut ebpf)?;
        let mut redirect = Self {
            pins,
            maps,
            entries_max: config.entries_max,
            live: None,
            replaced: None,
            ticket: 0,
            is_settled: false,
        };
        // What is there is looked at before any program decides by it.
        redirect.take_over()?;
        attach::attach_all(&mut ebpf, &cgroup, &redirect.pins)?;
        Ok(redirect)
    }

    /// What the kernel decides by now.
    ///
    /// # Errors
    /// When the kernel fails.
    pub fn active(&self) -> Result<Active, Error> {
        let epoch = self.maps.epoch()?;
        if epoch == 0 {
            return Ok(Active { epoch, rules: 0, entries: 0 });
        }
        let meta = self.maps.meta(maps::slot(epoch))?;
        Ok(Active { epoch, rules: meta.rules, entries: meta.count })
    }

    /// Counters since the maps were made.
    ///
    /// # Errors
    /// When the kernel fails.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.maps.stats()
    }

    /// Removes records that no peer took for `older_than`: of connections that failed, or whose waypoint is on another node.
    /// Returns how many. A peer takes its record at accept, so a minute or two is plenty.
    ///
    /// # Errors
    /// When the kernel fails; some records may be gone.
    pub fn sweep(&mut self, older_than: Duration) -> Result<usize, Error> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
        let limit = now.saturating_sub(older_than);
        let mut old = Vec::new();
        sys::for_each(&self.maps.pairs, (maps::BLANK_PAIR, maps::BLANK_RECORD), |key, record| {
            if Duration::from_nanos(record.ktime_ns) < limit {
                old.push(*key);
            }
        })
        .map_err(|error| Error::call("read the waiting records", error))?;
        let mut removed = 0;
        for key in old {
            let taken = sys::take(&self.maps.pairs, &key, maps::BLANK_RECORD);
            match taken.map_err(|error| Error::call("remove a record", error))? {
                // The same addresses were used again while we looked: this one is somebody's.
                Some(record) if Duration::from_nanos(record.ktime_ns) >= limit => {
                    // Refused only where an even newer one is there by now.
                    let _newer = self.maps.pairs.insert(key, record, BPF_NOEXIST);
                }
                Some(_) => removed += 1,
                None => {}
            }
        }
        Ok(removed)
    }

    /// Takes everything out of the kernel: links, programs, maps, the folder of pins.
    ///
    /// # Errors
    /// When a pin cannot be removed; what was removed before it stays removed.
    pub fn detach(self) -> Result<(), Error> {
        let Self { pins, .. } = self;
        pins.remove()
    }

    /// Finds the set an earlier agent left, and says so if it is not what it wrote. It goes on deciding either way: the
    /// agent publishes a whole set soon, and until then no set would be worse.
    fn take_over(&mut self) -> Result<(), Error> {
        let epoch = self.maps.epoch()?;
        if epoch == 0 {
            return Ok(());
        }
        let slot = maps::slot(epoch);
        let (meta, rules) = (self.maps.meta(slot)?, self.maps.rules(slot)?);
        let (count, digest) = maps::measure(&rules)?;
        if (count, digest) != (meta.count, meta.digest) {
            let interrupted = meta.flags & META_DIRTY != 0;
            tracing::warn!(
                epoch,
                rules = meta.rules,
                found = count,
                expected = meta.count,
                interrupted,
                "the rules found in the kernel are not those written; they decide until the next publish"
            );
        } else {
            tracing::info!(epoch, rules = meta.rules, entries = count, "took over the rules in the kernel");
        }
        let capacity = maps::capacity(&rules)?;
        self.live = Some(Set { rules, capacity });
        Ok(())
    }
}
