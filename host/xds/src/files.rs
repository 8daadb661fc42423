//! The files of this server's secrets: read within bounds, written whole or not at all, and in a folder that nobody
//! else can read.
//!
//! A folder of ours is opened once, by its path, and all in it through that handle; a file that the operator names is
//! opened by its name, wherever links lead, for that is how mounted secrets are made.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{FlockOperation, Mode, OFlags};

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More than can be meant.
    #[error("{} is larger than {max} bytes: is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// A folder, socket or device.
    #[error("{} is not a regular file: name a file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Others may read what should be secret.
    #[error("{} is open to others (mode {mode:o}): look who could have read it, then `chmod {wanted:o}` it or remove it, and a new one is made", path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// Somebody else can change what should be ours.
    #[error("{} belongs to user {owner}: give the agent a folder of its own", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Another agent writes in the folder at this moment.
    #[error("{} is locked by another process: two agents must not share a folder for long", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
}

/// Reads a file that the operator named.
///
/// # Errors
/// If it is not a regular file, larger than `max` bytes, or cannot be read.
pub(crate) fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    // Not blocking: opening a pipe would wait for its writer.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|source| io_error("open", path, source))?;
    if !file.metadata().map_err(|source| io_error("look at", path, source))?.is_file() {
        return Err(FileError::NotAFile { path: path.into() });
    }
    read_all(file, path, max)
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The agent's user.
    Owner,
    /// Everybody who reaches the folder.
    All,
}

impl Readers {
    fn file_mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::All => 0o644,
        }
    }

    fn folder_mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::All => 0o755,
        }
    }
}

/// A folder that the agent writes.
pub(crate) struct Folder {
    dir: Dir,
    path: PathBuf,
    readers: Readers,
}

impl Folder {
    /// Opens the folder, and makes it if it is not there. One for the owner must belong to this process's user or root,
    /// and be closed to others.
    pub(crate) fn open(path: &Path, readers: Readers) -> Result<Self, FileError> {
        let above = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(name) = path.file_name() {
            let failed = |source| io_error("make", path, source);
            Dir::create_ambient_dir_all(above, ambient_authority()).map_err(failed)?;
            let above = Dir::open_ambient_dir(above, ambient_authority()).map_err(failed)?;
            let mut builder = DirBuilder::new();
            builder.mode(readers.folder_mode());
            match above.create_dir_with(name, &builder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|source| io_error("open", path, source))?;
        let found = dir.dir_metadata().map_err(|source| io_error("look at", path, source))?;
        let (mode, owner) = (found.mode() & 0o7777, found.uid());
        if readers == Readers::Owner {
            if owner != rustix::process::geteuid().as_raw() && owner != 0 {
                return Err(FileError::Foreign { path: path.into(), owner });
            }
            if mode & 0o077 != 0 {
                return Err(FileError::Exposed { path: path.into(), mode, wanted: readers.folder_mode() });
            }
        }
        Ok(Self { dir, path: path.into(), readers })
    }

    /// The path of a file in it, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file's contents, nothing if it is not there.
    pub(crate) fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, FileError> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = match self.dir.open_with(name, &options) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("open", &path, source)),
        };
        let found = file.metadata().map_err(|source| io_error("look at", &path, source))?;
        if !found.is_file() {
            return Err(FileError::NotAFile { path });
        }
        let mode = found.mode() & 0o7777;
        if self.readers == Readers::Owner && mode & 0o077 != 0 {
            return Err(FileError::Exposed { path, mode, wanted: self.readers.file_mode() });
        }
        read_all(file, &path, max).map(Some)
    }

    /// Writes a file whole: after a crash it is as it was, or as it should be.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<(), FileError> {
        let path = self.path(name);
        let failed = |source| io_error("write", &path, source);
        let temporary = format!(".{name}.new");
        match self.dir.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            // Left by a crash, or not there.
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(self.readers.file_mode());
        let mut file = self.dir.open_with(&temporary, &options).map_err(failed)?;
        // Whatever the process's mask says.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.readers.file_mode())).map_err(|it| failed(it.into()))?;
        file.write_all(contents).and_then(|()| file.sync_all()).map_err(failed)?;
        self.dir.rename(&temporary, &self.dir, name).map_err(failed)?;
        // Through a handle of its own: that of the folder is for paths only.
        self.dir.open(".").and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Moves a damaged file out of the way, over the one that was moved before: one is enough to look at.
    pub(crate) fn set_aside(&self, name: &str) -> Result<(), FileError> {
        match self.dir.rename(name, &self.dir, format!("{name}.damaged")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("set aside", &self.path(name), error))
            }
            _ => Ok(()),
        }
    }

    /// Keeps other agents from writing in the folder until the lock is dropped. Does not wait.
    pub(crate) fn lock(&self) -> Result<Lock, FileError> {
        let path = self.path("lock");
        let failed = |source| io_error("lock", &path, source);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = self.dir.open_with("lock", &options).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FileError::Busy { path: self.path.clone() }),
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// A folder's lock, released when dropped.
pub(crate) struct Lock {
    _file: cap_std::fs::File,
}

fn read_all(file: impl io::Read, path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let mut contents = Vec::new();
    file.take(max + 1).read_to_end(&mut contents).map_err(|source| io_error("read", path, source))?;
    if contents.len() as u64 > max {
        return Err(FileError::TooLarge { path: path.into(), max });
    }
    Ok(contents)
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_private_folder_is_made_closed_and_its_files_too() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b");
        let folder = Folder::open(&path, Readers::Owner).unwrap();
        folder.write("key", b"secret").unwrap();
        assert_eq!((mode(&path), mode(&path.join("key"))), (0o700, 0o600));
        assert_eq!(folder.read("key", 6).unwrap().unwrap(), b"secret");
        assert_eq!(folder.read("other", 6).unwrap(), None);

        // Opened again, and written over.
        let folder = Folder::open(&path, Readers::Owner).unwrap();
        folder.write("key", b"other").unwrap();
        assert_eq!(std::fs::read(path.join("key")).unwrap(), b"other");
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn an_open_folder_or_key_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("private");
        let folder = Folder::open(&path, Readers::Owner).unwrap();
        folder.write("key", b"secret").unwrap();
        std::fs::set_permissions(path.join("key"), PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(folder.read("key", 99), Err(FileError::Exposed { mode: 0o640, .. })));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
        assert!(matches!(Folder::open(&path, Readers::Owner), Err(FileError::Exposed { mode: 0o750, .. })));
        assert!(Folder::open(&path, Readers::All).is_ok());
    }

    #[test]
    fn a_shared_file_is_readable_whatever_the_mask() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::open(&above.path().join("shared"), Readers::All).unwrap();
        folder.write("root", b"public").unwrap();
        assert_eq!(mode(&above.path().join("shared/root")), 0o644);
    }

    #[test]
    fn what_is_too_large_or_no_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            rustix::fs::makedev(0, 0),
        )
        .unwrap();
        assert!(matches!(read_file(&pipe, 9), Err(FileError::NotAFile { .. })));
        assert!(matches!(read_file(folder.path(), 9), Err(FileError::NotAFile { .. })));
        assert!(matches!(read_file(Path::new("/dev/zero"), 9), Err(FileError::NotAFile { .. })));
        let long = folder.path().join("long");
        std::fs::write(&long, "0123456789").unwrap();
        assert!(matches!(read_file(&long, 9), Err(FileError::TooLarge { max: 9, .. })));
        assert_eq!(read_file(&long, 10).unwrap().len(), 10);
    }

    #[test]
    fn one_agent_at_a_time_has_the_lock() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("private");
        let one = Folder::open(&path, Readers::Owner).unwrap();
        let other = Folder::open(&path, Readers::Owner).unwrap();
        let lock = one.lock().unwrap();
        assert!(matches!(other.lock(), Err(FileError::Busy { .. })));
        drop(lock);
        assert!(other.lock().is_ok());
    }

    #[test]
    fn a_damaged_file_is_set_aside_once_and_again() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::open(&above.path().join("private"), Readers::Owner).unwrap();
        for contents in ["first", "second"] {
            folder.write("key", contents.as_bytes()).unwrap();
            folder.set_aside("key").unwrap();
            assert_eq!(folder.read("key", 99).unwrap(), None);
            assert_eq!(folder.read("key.damaged", 99).unwrap().unwrap(), contents.as_bytes());
        }
        folder.set_aside("key").unwrap();
    }
}
