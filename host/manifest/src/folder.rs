//! Finds and opens the files a user named, through handles of their folders. Parses nothing.
//!
//! A folder is opened once by its path; everything below is opened through that handle, so a link that leaves the
//! folder is refused, wherever it points in the meantime. A mounted ConfigMap is read through the folder its `..data`
//! link named at the start, so that all its files are of one version.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};

use crate::limits::Limits;
use crate::problem::Fault;
use crate::text::Format;

/// The link of a mounted ConfigMap that names the folder with its present version.
const CONFIG_MAP_DATA: &str = "..data";

/// A manifest file, or the path the user gave if that could not even be listed.
pub(crate) struct File {
    /// The path as the user would write it.
    pub(crate) path: PathBuf,
    /// What is in it, or why that is not known.
    pub(crate) content: Result<Content, Fault>,
    pub(crate) format: Format,
}

/// An open file, as long as it was when it was opened.
pub(crate) struct Content {
    file: std::fs::File,
    at: u64,
    opened: Stamp,
}

/// By what a file that was written to, or replaced, is told from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether a later change will be seen, since the file has been as it is for `quiet` seconds: the clock of a file system is
    /// coarse, so that two changes shortly after one another may have one time.
    pub(crate) fn is_old(&self, quiet: u64) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
        let latest = self.changed.0.max(self.modified.0);
        u64::try_from(latest).is_ok_and(|latest| latest.saturating_add(quiet) <= now)
    }
}

impl Content {
    /// What the file was like when it was opened.
    pub(crate) fn stamp(&self) -> Stamp {
        self.opened
    }

    /// Whether somebody wrote to the file since it was opened, so that what was read may be of two versions.
    pub(crate) fn has_changed(&self) -> bool {
        self.file.metadata().map_or(true, |meta| Stamp::of(&meta) != self.opened)
    }
}

impl Read for Content {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.opened.bytes.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = to.len().min(left);
        let bytes = self.file.read(to.get_mut(..room).unwrap_or_default())?;
        self.at += bytes as u64;
        Ok(bytes)
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

/// Opens the file `path`, or the manifests of the folder `path`, one at a time in the order of their names, and gives
/// each to `each`.
///
/// # Errors
/// The folder, or the folder of the file, cannot be opened or listed.
pub(crate) fn read_path(path: &Path, limits: &Limits, each: &mut dyn FnMut(File)) -> Result<(), Fault> {
    match Dir::open_ambient_dir(path, cap_std::ambient_authority()) {
        Ok(folder) => read_folder(path, &folder, limits, each),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
                return Err(unreadable(error));
            };
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            let folder = Dir::open_ambient_dir(parent, cap_std::ambient_authority()).map_err(unreadable)?;
            let content = open_file(&folder, Path::new(name), limits);
            each(File { path: path.to_owned(), content, format: format_of(path) });
            Ok(())
        }
        Err(error) => Err(unreadable(error)),
    }
}

fn read_folder(path: &Path, folder: &Dir, limits: &Limits, each: &mut dyn FnMut(File)) -> Result<(), Fault> {
    let names = manifest_names(folder, limits)?;
    // Not there in an ordinary folder.
    let data = folder.open_dir(CONFIG_MAP_DATA).ok();
    for name in names {
        let link = data.as_ref().and_then(|data| Some((data, target_in_data(folder, &name)?)));
        let content = match &link {
            Some((data, target)) => open_file(data, target, limits),
            None => open_file(folder, Path::new(&name), limits),
        };
        // It went since the folder was listed: that is no problem, and no link that leads nowhere either.
        if content.is_err()
            && folder.symlink_metadata(&name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            continue;
        }
        let path = path.join(&name);
        each(File { format: format_of(&path), path, content });
    }
    Ok(())
}

/// Where in `..data` the link `name` leads, if it does.
fn target_in_data(folder: &Dir, name: &OsString) -> Option<PathBuf> {
    let target = folder.read_link(name).ok()?;
    Some(target.strip_prefix(CONFIG_MAP_DATA).ok()?.to_owned())
}

/// The names of the manifests of a folder, sorted bytewise. Subfolders are not entered.
fn manifest_names(folder: &Dir, limits: &Limits) -> Result<Vec<OsString>, Fault> {
    let mut names = Vec::new();
    for entry in folder.entries().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let is_manifest = [".yaml", ".yml", ".json"].iter().any(|end| name.as_bytes().ends_with(end.as_bytes()));
        // Dot files are of editors, and of the kubelet.
        if !is_manifest || name.as_bytes().starts_with(b".") {
            continue;
        }
        if names.len() == limits.files_max {
            return Err(Fault::TooManyFiles { files_max: limits.files_max });
        }
        names.push(name);
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

fn open_file(folder: &Dir, name: &Path, limits: &Limits) -> Result<Content, Fault> {
    let bytes_max = limits.file_bytes_max;
    // Without O_NONBLOCK a pipe would hold us until somebody writes to it.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = folder.open_with(name, &options).map_err(unreadable)?.into_std();
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Fault::NotAFile);
    }
    if meta.len() > bytes_max {
        return Err(Fault::FileTooLarge { bytes: meta.len(), bytes_max });
    }
    Ok(Content { file, at: 0, opened: Stamp::of(&meta) })
}

fn format_of(path: &Path) -> Format {
    if path.extension().is_some_and(|end| end == "json") { Format::Json } else { Format::Yaml }
}

fn unreadable(error: io::Error) -> Fault {
    Fault::Unreadable { source: Arc::new(error) }
}
