//! Reads a mesh and decides it once, for the commands that work on files.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use engine::{Engine, Limits, Loaded};
use manifest::FolderSource;
use model::decider::Terms;
use model::decision::Choice;
use model::store::Facts;
use model::{Decider, Store};

use crate::cli::MeshFlags;
use crate::rules_folder::DEFAULT_COMPONENT;

/// The exit status when an input cannot be read.
pub(crate) const UNREADABLE: u8 = 2;

/// A decided mesh.
pub(crate) struct Decided {
    pub(crate) store: Store,
    pub(crate) decider: Decider,
    pub(crate) component: Loaded,
    pub(crate) terms: Terms,
}

/// Reads the manifests; with `Err` the exit status if something cannot be read and that ends it.
pub(crate) fn read(flags: &MeshFlags) -> Result<Store, ExitCode> {
    let facts = Facts {
        cluster_domain: flags.cluster_domain.as_str().into(),
        network: flags.network.as_str().into(),
        cluster_id: flags.cluster_id.as_str().into(),
        ..Facts::default()
    };
    if let Err(problem) = flags.mesh_config.as_deref().map_or(Ok(()), check_mesh_config) {
        eprintln!("{problem}");
        if !flags.keep_going {
            return Err(ExitCode::from(UNREADABLE));
        }
    }
    read_paths(&flags.paths, flags.keep_going, facts)
}

/// Reads manifests; with `Err` the exit status if something cannot be read and that ends it.
pub(crate) fn read_paths(paths: &[PathBuf], keep_going: bool, facts: Facts) -> Result<Store, ExitCode> {
    let mut source = FolderSource::new(paths.to_vec(), manifest::Limits::default());
    let snapshot = source.load();
    for problem in &snapshot.problems {
        eprintln!("{problem}");
    }
    for warning in &snapshot.warnings {
        eprintln!("warning: {warning}");
    }
    if !snapshot.problems.is_empty() && !keep_going {
        return Err(ExitCode::from(UNREADABLE));
    }
    let mut store = Store::new(facts);
    store.apply_all(manifest::diff(&manifest::Snapshot::default(), &snapshot));
    Ok(store)
}

/// What it says concerns ServiceEntries and policies, which are not decided yet; that it can be read is checked now.
fn check_mesh_config(path: &std::path::Path) -> Result<(), String> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let read: Result<serde_json::Map<String, serde_json::Value>, _> =
        manifest::settings(&name, &text, &manifest::Limits::default());
    read.map(|_| ()).map_err(|problem| problem.to_string())
}

/// Decides everything in `store`.
pub(crate) fn decide(flags: &MeshFlags, store: Store) -> anyhow::Result<Decided> {
    let terms = Terms { settings: flags.settings.as_str().into(), denied: Choice::Direct, undecided: Choice::Blocked };
    let component = load(flags.plugin.as_deref(), &flags.settings)?;
    let description = component.description().clone();
    let decider =
        Decider::new(1, description, component.clone(), terms.clone(), &store).map_err(|(row, failure)| {
            let row = row.map_or_else(String::new, |row| format!("{row}: "));
            anyhow::anyhow!("{row}{failure}")
        })?;
    Ok(Decided { store, decider, component, terms })
}

/// Loads a component from a file the user named, or the built-in one.
pub(crate) fn load(file: Option<&std::path::Path>, settings: &str) -> anyhow::Result<Loaded> {
    let engine = Engine::new(Limits::default())?;
    let load = |bytes: &[u8]| engine.load(bytes, None, settings, engine.limits());
    match file {
        None => Ok(load(DEFAULT_COMPONENT)?),
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            load(&bytes).with_context(|| path.display().to_string())
        }
    }
}
