//! What says which component decides: a folder, a mounted ConfigMap, or a ConfigMap that is watched; all laid out the same.
//!
//! `config.yaml` names the component, its settings, and who gets it. Folders are read through handles of what was configured,
//! so neither `../` nor a link leads out of them.

use std::path::{Component as Part, Path, PathBuf};
use std::sync::Arc;

use cluster::config_map::Content;
use engine::{Refusal, Source, Stage};
use model::decider::Terms;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

mod config;
mod edit;
mod files;
mod kept;
mod located;
mod pins;
mod rollout;

pub(crate) use config::{RulesConfig, Variant};
pub(crate) use edit::{Edit, edited};
use files::{Files, Folder, Watched, read_bounded};
pub(crate) use kept::Kept;
pub(crate) use located::rules_of;
pub(crate) use pins::Pins;
pub(crate) use rollout::Rollout;

/// The file that names the component.
pub(crate) const CONFIG_FILE: &str = "config.yaml";
/// The name of the component that is part of the binary.
pub(crate) const BUILT_IN: &str = "builtin:istio";
/// How often a folder is read whose version changes under the reader.
const READ_ATTEMPTS: usize = 5;
/// A ConfigMap is at most 1 MiB.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The component that is part of the binary: Istio's rules.
pub(crate) static DEFAULT_COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.wasm"));

/// What the rules say at one moment, for this node.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How the operator calls the component.
    pub(crate) component: String,
    /// The component and how it is asked.
    pub(crate) source: Source,
    /// How many rows a swap may move, in rows of the table; none: any number.
    pub(crate) changes_max: Option<usize>,
    /// The roll-out is paused: what is in force stays, whatever this says.
    pub(crate) paused: bool,
    /// Equal for two readings that say the same.
    pub(crate) fingerprint: Fingerprint,
    /// What led to this and nothing else, as a `config.yaml` would say it.
    pub(crate) said: Arc<str>,
}

/// Tells whether two readings say the same.
pub(crate) type Fingerprint = [u8; 32];

/// A reading that failed, with the name of the component where that was known.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) component: String,
    pub(crate) refusal: Refusal,
}

/// Whom a reading is for, in words, and what it says.
pub(crate) type ForSome = (String, Result<Wanted, Unreadable>);

/// Where `config.yaml` is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A folder, perhaps a mounted ConfigMap.
    Folder(PathBuf),
    /// A ConfigMap of this name, as it is followed.
    ConfigMap(String, watch::Receiver<Content>),
}

/// Where rules come from, and what limits them on this node.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) place: Place,
    /// Folders from which components may come.
    pub(crate) components: Vec<PathBuf>,
    /// What may decide at all; none: anything.
    pub(crate) pins: Option<Pins>,
    /// The name of this node: a share of the nodes is told by it.
    pub(crate) node: String,
}

impl Rules {
    /// Of a folder, without anything that limits them.
    #[cfg(test)]
    fn of_folder(path: PathBuf, components: Vec<PathBuf>) -> Self {
        Self { place: Place::Folder(path), components, pins: None, node: String::new() }
    }

    /// Reads what it says now for this node. `labels`: those of the node.
    pub(crate) fn read(&self, labels: &model::Labels) -> Result<Wanted, Unreadable> {
        self.with_files(|files| {
            let config = config_of(files)?;
            self.wanted(files, &config, config.for_node(&self.node, labels))
        })
    }

    /// Reads all that it says for any node: what is beside a roll-out, then the roll-out. With it whom each is for.
    pub(crate) fn read_all(&self) -> Result<Vec<ForSome>, Unreadable> {
        self.with_files(|files| {
            let config = config_of(files)?;
            let rollout = config.rollout.as_ref().map(|rollout| (rollout.meant(), rollout.variant()));
            let rest = if rollout.is_some() { "the other nodes" } else { "all nodes" };
            let variants = std::iter::once((rest.to_owned(), config.base())).chain(rollout);
            Ok(variants.map(|(meant, variant)| (meant, self.wanted(files, &config, variant))).collect())
        })
    }

    /// Does something with the files as they are now. A version of a folder that is taken away meanwhile is no failure: the next
    /// is read.
    fn with_files<T>(&self, read: impl Fn(&dyn Files) -> Result<T, Unreadable>) -> Result<T, Unreadable> {
        match &self.place {
            Place::ConfigMap(name, content) => {
                let content = content.borrow().clone();
                read(&Watched::new(name, content).map_err(unnamed)?)
            }
            Place::Folder(path) => {
                let read = || read(&Folder::open(path).map_err(unnamed)?);
                for _ in 1..READ_ATTEMPTS {
                    let version = Folder::version(path);
                    let done = read();
                    if done.is_ok() || Folder::version(path) == version {
                        return done;
                    }
                }
                read()
            }
        }
    }

    fn wanted(&self, files: &dyn Files, config: &RulesConfig, variant: Variant<'_>) -> Result<Wanted, Unreadable> {
        let component = variant.component.clone();
        let refuse = |stage, reason| Unreadable { component: component.clone(), refusal: Refusal::new(stage, reason) };
        let limits = config.limits();
        // One byte more than allowed is read, so that the engine refuses it with its size.
        let bytes_max = (limits.component_bytes_max as u64).saturating_add(1);
        let bytes = self.component(files, &component, bytes_max).map_err(|reason| refuse(Stage::Fetch, reason))?;
        self.admitted(config, variant, bytes)
    }

    /// The same with the component at hand, if it is one that may decide.
    fn admitted(&self, config: &RulesConfig, variant: Variant<'_>, bytes: Arc<[u8]>) -> Result<Wanted, Unreadable> {
        let component = variant.component.clone();
        let refuse = |stage, reason| Unreadable { component: component.clone(), refusal: Refusal::new(stage, reason) };
        if let Some(pins) = self.pins.as_ref().filter(|_| component != BUILT_IN) {
            pins.admit(&bytes).map_err(|reason| refuse(Stage::Digest, reason))?;
        }
        let settings = variant.settings.as_ref().filter(|settings| !settings.is_null());
        let terms = Terms {
            settings: settings.map_or_else(|| "".into(), |settings| settings.to_string().into()),
            denied: config.denied.into(),
            undecided: config.undecided.into(),
            unresolved: config.unresolved.map(Into::into),
        };
        let fingerprint = fingerprint(config, variant, &bytes);
        let said = config.alone(variant).into();
        let source = Source { bytes, pin: variant.sha256.clone(), terms, limits: config.limits() };
        let paused = config.rollout.as_ref().is_some_and(|rollout| rollout.paused);
        Ok(Wanted { component, source, changes_max: config.changes_max, paused, fingerprint, said })
    }

    fn component(&self, files: &dyn Files, name: &str, bytes_max: u64) -> Result<Arc<[u8]>, String> {
        if name == BUILT_IN {
            return Ok(DEFAULT_COMPONENT.into());
        }
        let path = Path::new(name);
        let bytes = if path.is_absolute() { self.allowed(path, bytes_max)? } else { files.read(path, bytes_max)? };
        if path.extension().is_some_and(|extension| extension == "gz") {
            return files::unzip(name, &bytes, bytes_max).map(Into::into);
        }
        Ok(bytes.into())
    }

    /// A file of one of the folders that `--components` names.
    fn allowed(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
        if path.components().any(|part| part == Part::ParentDir) {
            return Err(format!("{}: a path with .. is not taken", path.display()));
        }
        for allowed in &self.components {
            if let Ok(below) = path.strip_prefix(allowed) {
                return read_bounded(&files::open(allowed)?, below, bytes_max);
            }
        }
        Err(format!("{} is not below a folder that --components allows", path.display()))
    }
}

fn config_of(files: &dyn Files) -> Result<RulesConfig, Unreadable> {
    let text = files.read(Path::new(CONFIG_FILE), CONFIG_BYTES_MAX + 1).map_err(unnamed)?;
    if text.len() as u64 > CONFIG_BYTES_MAX {
        return Err(unnamed(format!("{CONFIG_FILE} has more than {CONFIG_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(text).map_err(|_| unnamed(format!("{CONFIG_FILE} is not UTF-8")))?;
    RulesConfig::read(&text).map_err(unnamed)
}

fn unnamed(reason: String) -> Unreadable {
    Unreadable { component: "-".to_owned(), refusal: Refusal::new(Stage::Fetch, reason) }
}

/// Of what matters on this node: a share that grows elsewhere is nothing new here.
fn fingerprint(config: &RulesConfig, variant: Variant<'_>, component: &[u8]) -> Fingerprint {
    let mut hash = Sha256::new();
    let said = format!("{:?}", (variant, config.terms()));
    hash.update((said.len() as u64).to_le_bytes());
    hash.update(said);
    hash.update(component);
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
