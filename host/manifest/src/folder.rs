//! Finds and reads the files a user named, through handles of their folders. Parses nothing.
//!
//! A folder is opened once by its path; everything below is opened through that handle, so a link that leaves the
//! folder is refused, wherever it points in the meantime. A mounted ConfigMap is read through the folder its `..data`
//! link named at the start, so that all its files are of one version.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// Its text, or why there is none.
    pub(crate) text: Result<String, Fault>,
    pub(crate) format: Format,
}

/// Reads the file `path`, or the manifests of the folder `path`, one at a time in the order of their names, and gives
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
            let text = read_file(&folder, Path::new(name), limits);
            each(File { path: path.to_owned(), text, format: format_of(path) });
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
        let text = match &link {
            Some((data, target)) => read_file(data, target, limits),
            None => read_file(folder, Path::new(&name), limits),
        };
        let path = path.join(&name);
        each(File { format: format_of(&path), path, text });
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

fn read_file(folder: &Dir, name: &Path, limits: &Limits) -> Result<String, Fault> {
    let bytes_max = limits.file_bytes_max;
    // Without O_NONBLOCK a pipe would hold us until somebody writes to it.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = folder.open_with(name, &options).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Fault::NotAFile);
    }
    if meta.len() > bytes_max {
        return Err(Fault::FileTooLarge { bytes: meta.len(), bytes_max });
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Fault::FileTooLarge { bytes: bytes.len() as u64, bytes_max });
    }
    String::from_utf8(bytes).map_err(|error| Fault::NotUtf8 { offset: error.utf8_error().valid_up_to() })
}

fn format_of(path: &Path) -> Format {
    if path.extension().is_some_and(|end| end == "json") { Format::Json } else { Format::Yaml }
}

fn unreadable(error: io::Error) -> Fault {
    Fault::Unreadable { source: Arc::new(error) }
}
