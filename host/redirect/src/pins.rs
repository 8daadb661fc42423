//! The folder on the BPF filesystem in which everything lives on when the agent does not: made, locked and removed here.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ebpf_common::map;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, statfs};
use rustix::mount::{MountFlags, mount};

use crate::attach::{Hook, detach_pin};
use crate::error::{Error, is_denied};

/// `BPF_FS_MAGIC` of the kernel's `magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// Where every distribution mounts it.
const BPFFS: &str = "/sys/fs/bpf";
/// The maps that are pinned, which is all of them but the read-only globals.
pub(crate) const MAPS: [&str; 6] = [map::ACTIVE, map::META, map::RULES, map::ORIG, map::PAIR, map::STATS];

/// The folder, held by this process alone.
#[derive(Debug)]
pub(crate) struct PinDir {
    path: PathBuf,
    _lock: OwnedFd,
}

impl PinDir {
    /// Makes the folder where it is missing, and takes its lock; the kernel gives the lock back when the process dies.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        ensure_bpffs(path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file("make", path))?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let lock = open(path, flags, Mode::empty()).map_err(|error| file("open", path)(error.into()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse { path: path.to_owned() }),
            Err(error) => Err(file("lock", path)(error.into())),
        }
    }

    /// Where a map or link is pinned.
    pub(crate) fn pin(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes links first, so that no program runs without its maps' pins, then maps, then the folder if it is empty.
    pub(crate) fn remove(self) -> Result<(), Error> {
        for hook in Hook::DETACH_ORDER {
            // Not by removing the pin alone: that takes effect some time later.
            detach_pin(&self.pin(hook.pin_name()))?;
            remove_pin(&self.pin(hook.pin_name()))?;
            remove_pin(&self.pin(&hook.next_pin_name()))?;
        }
        for name in MAPS {
            remove_pin(&self.pin(name))?;
        }
        match fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            // Somebody else's pins are not ours to remove.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) => Err(file("remove", &self.path)(error)),
        }
    }
}

/// Removes a pin if it is there.
pub(crate) fn remove_pin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes sure that `path` is, or will be, on a BPF filesystem; mounts one at the usual place if that is where it should be.
fn ensure_bpffs(path: &Path) -> Result<(), Error> {
    if is_on_bpffs(path)? {
        return Ok(());
    }
    let (bpffs, missing) = (Path::new(BPFFS), || Error::NotBpffs { path: path.to_owned() });
    if !path.starts_with(bpffs) {
        return Err(missing());
    }
    // Two agents may start at once; a second mount would hide what the first one pinned.
    let guard = File::open(bpffs).map_err(file("open", bpffs))?;
    flock(&guard, FlockOperation::LockExclusive).map_err(|error| file("lock", bpffs)(error.into()))?;
    if !is_on_bpffs(path)? {
        mount("bpf", bpffs, "bpf", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, c"mode=0700")
            .map_err(|error| Error::call("mount a BPF filesystem at /sys/fs/bpf", error.into()))?;
    }
    if is_on_bpffs(path)? { Ok(()) } else { Err(missing()) }
}

/// Looks at the nearest folder above that exists.
fn is_on_bpffs(path: &Path) -> Result<bool, Error> {
    for folder in path.ancestors() {
        match statfs(folder) {
            Ok(stat) => return Ok(u64::try_from(stat.f_type).is_ok_and(|kind| kind == BPF_FS_MAGIC)),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(file("look at", folder)(error.into())),
        }
    }
    Ok(false)
}

/// An error with a path, told apart from a lack of privilege.
pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| {
        if is_denied(&source) {
            Error::NotPermitted { doing: "use the folder for pins", source }
        } else {
            Error::File { doing, path: path.to_owned(), source }
        }
    }
}
