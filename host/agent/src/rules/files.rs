//! Where files of the rules are read from: a folder, which may be a mounted ConfigMap, or a ConfigMap in memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use cluster::config_map::Content;

/// The link in a mounted ConfigMap to the version that counts.
const CONFIG_MAP_DATA: &str = "..data";

/// Files by name, all of one version.
pub(super) trait Files {
    /// At most so many bytes of a file; why not, in one line.
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String>;
}

/// A folder, or the version of a mounted ConfigMap that it held when it was opened: settings and component are of one version.
pub(super) struct Folder(Dir);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let folder = open(path)?;
        match folder.symlink_metadata(CONFIG_MAP_DATA) {
            Ok(_) => folder
                .open_dir(CONFIG_MAP_DATA)
                .map(Self)
                .map_err(|error| format!("{}/{CONFIG_MAP_DATA} cannot be opened: {error}", path.display())),
            Err(_) => Ok(Self(folder)),
        }
    }

    /// What the link says now, if there is one.
    pub(super) fn version(path: &Path) -> Option<PathBuf> {
        std::fs::read_link(path.join(CONFIG_MAP_DATA)).ok()
    }
}

impl Files for Folder {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
        read_bounded(&self.0, path, bytes_max)
    }
}

/// A ConfigMap that is followed.
pub(super) struct Watched<'a> {
    name: &'a str,
    keys: Arc<BTreeMap<String, Vec<u8>>>,
}

impl<'a> Watched<'a> {
    /// Why there is nothing to read, in one line, where there is nothing.
    pub(super) fn new(name: &'a str, content: Content) -> Result<Self, String> {
        match content {
            Content::There(keys) => Ok(Self { name, keys }),
            Content::Missing => Err(format!("ConfigMap {name} does not exist")),
            Content::Unknown => Err(format!("ConfigMap {name} is not known yet: the API server did not answer")),
            Content::Unreadable(why) => Err(format!("ConfigMap {name}: {why}")),
        }
    }

    /// What stands behind each key that is text.
    pub(super) fn texts(&self) -> Vec<String> {
        self.keys.values().filter_map(|bytes| String::from_utf8(bytes.clone()).ok()).collect()
    }
}

impl Files for Watched<'_> {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
        let key = path.to_string_lossy();
        let Some(bytes) = self.keys.get(&*key) else {
            return Err(format!("ConfigMap {} has no key {key:?}", self.name));
        };
        Ok(bytes.iter().copied().take(usize::try_from(bytes_max).unwrap_or(usize::MAX)).collect())
    }
}

pub(super) fn open(path: &Path) -> Result<Dir, String> {
    Dir::open_ambient_dir(path, ambient_authority())
        .map_err(|error| format!("the folder {} cannot be opened: {error}", path.display()))
}

/// Reads at most `bytes_max` bytes of a regular file. Without O_NONBLOCK a pipe would hold us until somebody writes.
pub(super) fn read_bounded(folder: &Dir, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = folder.open_with(path, &options).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Unpacks at most so many bytes: what would be more is for the engine to refuse.
pub(super) fn unzip(name: &str, packed: &[u8], bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let unpacked = flate2::read::GzDecoder::new(packed).take(bytes_max).read_to_end(&mut bytes);
    unpacked.map_err(|error| format!("{name} cannot be unpacked: {error}"))?;
    Ok(bytes)
}
