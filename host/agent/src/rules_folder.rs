//! The folder that says which component decides: a mounted ConfigMap, or plain files laid out the same.
//!
//! Everything is read through handles of the folders that were configured, so neither `../` nor a link leads out of
//! them. A mounted ConfigMap is read through the folder that its `..data` link named at the start, so that settings and
//! component are of one version.

use std::io::Read;
use std::path::{Component as Part, Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use engine::{Limits, Refusal, Source, Stage};
use model::decider::Terms;
use model::decision::Choice;
use serde::Deserialize;

use crate::cli::Unresolved;

/// The file that names the component.
pub(crate) const CONFIG_FILE: &str = "config.yaml";
/// The name of the component that is part of the binary.
pub(crate) const BUILT_IN: &str = "builtin:istio";
const CONFIG_MAP_DATA: &str = "..data";
/// How often a folder is read whose version changes under the reader.
const READ_ATTEMPTS: usize = 5;
/// A ConfigMap is at most 1 MiB.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The component that is part of the binary: Istio's rules.
pub(crate) static DEFAULT_COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.wasm"));

/// `config.yaml`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RulesConfig {
    /// A file of this folder, an absolute path below a folder given by `--components`, or `builtin:istio`.
    component: String,
    /// The SHA-256 that the component must have, in hex.
    #[serde(default)]
    sha256: Option<String>,
    /// What the component is told; handed on as JSON.
    #[serde(default)]
    settings: Option<serde_json::Value>,
    /// What a row gets that its waypoint's owner does not admit although the component chose it.
    #[serde(default = "direct")]
    denied: Fallback,
    /// What a row gets that cannot be decided and never was.
    #[serde(default = "blocked")]
    undecided: Fallback,
    /// What happens to connections while no address of their waypoint is known; not set: what the component says.
    #[serde(default)]
    unresolved: Option<Unresolved>,
    /// Tighter limits for this component.
    #[serde(default)]
    limits: LimitsConfig,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fallback {
    Direct,
    Blocked,
}

fn direct() -> Fallback {
    Fallback::Direct
}

fn blocked() -> Fallback {
    Fallback::Blocked
}

impl From<Fallback> for Choice {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Direct => Self::Direct,
            Fallback::Blocked => Self::Blocked,
        }
    }
}

/// Limits that `config.yaml` may tighten.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LimitsConfig {
    component_bytes: Option<usize>,
    compile_time_ms: Option<u64>,
    fuel_base: Option<u64>,
    fuel_per_row: Option<u64>,
    call_time_ms: Option<u64>,
    memory_bytes: Option<usize>,
    answer_bytes: Option<usize>,
}

impl LimitsConfig {
    fn limits(self) -> Limits {
        let d = Limits::default();
        let ms = std::time::Duration::from_millis;
        // A ConfigMap may tighten, never loosen.
        let wanted = Limits {
            component_bytes_max: self.component_bytes.unwrap_or(d.component_bytes_max),
            compile_time_max: self.compile_time_ms.map_or(d.compile_time_max, ms),
            fuel_base: self.fuel_base.unwrap_or(d.fuel_base),
            fuel_per_row: self.fuel_per_row.unwrap_or(d.fuel_per_row),
            call_time_max: self.call_time_ms.map_or(d.call_time_max, ms),
            memory_bytes_max: self.memory_bytes.unwrap_or(d.memory_bytes_max),
            answer_bytes_max: self.answer_bytes.unwrap_or(d.answer_bytes_max),
            ..d.clone()
        };
        wanted.within(&d)
    }
}

/// What the folder says at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How the operator calls the component.
    pub(crate) component: String,
    /// The component and how it is asked.
    pub(crate) source: Source,
    /// Equal for two readings that say the same.
    pub(crate) fingerprint: Fingerprint,
}

/// Tells whether two readings say the same.
pub(crate) type Fingerprint = [u8; 32];

/// A reading that failed, with the name of the component where that was known.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) component: String,
    pub(crate) refusal: Refusal,
}

/// The configured folders.
#[derive(Clone, Debug)]
pub(crate) struct RulesFolder {
    path: PathBuf,
    components: Vec<PathBuf>,
}

impl RulesFolder {
    pub(crate) fn new(path: PathBuf, components: Vec<PathBuf>) -> Self {
        Self { path, components }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what the folder says now. A version that is taken away while it is read is no failure: the next is read.
    pub(crate) fn read(&self) -> Result<Wanted, Unreadable> {
        let data = self.path.join(CONFIG_MAP_DATA);
        for _ in 1..READ_ATTEMPTS {
            let version = std::fs::read_link(&data).ok();
            let wanted = self.read_version();
            if wanted.is_ok() || std::fs::read_link(&data).ok() == version {
                return wanted;
            }
        }
        self.read_version()
    }

    fn read_version(&self) -> Result<Wanted, Unreadable> {
        let unnamed = |reason| Unreadable { component: "-".to_owned(), refusal: Refusal::new(Stage::Fetch, reason) };
        let version = self.open_version().map_err(unnamed)?;
        let text = read_bounded(&version, Path::new(CONFIG_FILE), CONFIG_BYTES_MAX + 1).map_err(unnamed)?;
        if text.len() as u64 > CONFIG_BYTES_MAX {
            return Err(unnamed(format!("{CONFIG_FILE} has more than {CONFIG_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(text).map_err(|_| unnamed(format!("{CONFIG_FILE} is not UTF-8")))?;
        let config: RulesConfig = manifest::settings(CONFIG_FILE, &text, &manifest::Limits::default())
            .map_err(|problem| unnamed(problem.to_string()))?;
        let component = config.component.clone();
        let refuse = |reason| Unreadable { component: component.clone(), refusal: Refusal::new(Stage::Fetch, reason) };
        let limits = config.limits.limits();
        // One byte more than allowed is read, so that the engine refuses it with its size.
        let bytes = self
            .component(&version, &component, (limits.component_bytes_max as u64).saturating_add(1))
            .map_err(refuse)?;
        let fingerprint = fingerprint(&text, &bytes);
        let settings = config.settings.filter(|settings| !settings.is_null());
        let terms = Terms {
            settings: settings.map_or_else(|| "".into(), |settings| settings.to_string().into()),
            denied: config.denied.into(),
            undecided: config.undecided.into(),
            unresolved: config.unresolved.map(Into::into),
        };
        let source = Source { bytes, pin: config.sha256, terms, limits };
        Ok(Wanted { component, source, fingerprint })
    }

    /// The folder, or the version of a mounted ConfigMap that it holds now.
    fn open_version(&self) -> Result<Dir, String> {
        let folder = open(&self.path)?;
        match folder.symlink_metadata(CONFIG_MAP_DATA) {
            Ok(_) => folder
                .open_dir(CONFIG_MAP_DATA)
                .map_err(|error| format!("{}/{CONFIG_MAP_DATA} cannot be opened: {error}", self.path.display())),
            Err(_) => Ok(folder),
        }
    }

    fn component(&self, version: &Dir, name: &str, bytes_max: u64) -> Result<Arc<[u8]>, String> {
        if name == BUILT_IN {
            return Ok(DEFAULT_COMPONENT.into());
        }
        let path = Path::new(name);
        if !path.is_absolute() {
            return read_bounded(version, path, bytes_max).map(Into::into);
        }
        if path.components().any(|part| part == Part::ParentDir) {
            return Err(format!("{name}: a path with .. is not taken"));
        }
        for allowed in &self.components {
            if let Ok(below) = path.strip_prefix(allowed) {
                return read_bounded(&open(allowed)?, below, bytes_max).map(Into::into);
            }
        }
        Err(format!("{name} is not below a folder that --components allows"))
    }
}

fn open(path: &Path) -> Result<Dir, String> {
    Dir::open_ambient_dir(path, ambient_authority())
        .map_err(|error| format!("the folder {} cannot be opened: {error}", path.display()))
}

/// Reads at most `bytes_max` bytes of a regular file. Without O_NONBLOCK a pipe would hold us until somebody writes.
fn read_bounded(folder: &Dir, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
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

fn fingerprint(text: &str, component: &[u8]) -> Fingerprint {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
    hash.update(component);
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
