//! The mesh of a running cluster in the place of manifests, and the rules that its ConfigMap names.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use cluster::config_map::Content;
use cluster::connect::Cluster;
use cluster::namespaced_name::NamespacedName;
use model::conditions::Said;
use model::{Facts, Kind, ObjectKey, Store};
use tokio::sync::watch;

use super::UNREADABLE;
use crate::cli::{ClusterFlags, TermFlags};
use crate::kubernetes::mesh_of;
use crate::rules::{Place, Rules, Wanted};

/// What a path starts with that means a cluster: `cluster:`, or `cluster:CONTEXT`.
const PREFIX: &str = "cluster:";

/// What a flag starts with that means a ConfigMap in the place of a file.
const CONFIG_MAP: &str = "configmap:";

/// The ConfigMap whose rules count in a cluster, unless a flag names others: that of a usual installation.
const USUAL_RULES: &str = "wayswitch-system/wayswitch-rules";

/// After how many objects it is said how far reading is.
const PROGRESS_EVERY: usize = 10_000;

/// The paths, or the cluster where there are none.
pub(super) fn or_cluster(paths: &[PathBuf]) -> Vec<PathBuf> {
    if paths.is_empty() { vec![PREFIX.into()] } else { paths.to_vec() }
}

/// Whether the path means a cluster.
pub(super) fn is_cluster(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.starts_with(PREFIX))
}

/// Reads all objects of a cluster into `store`. The conditions that they have.
pub(super) fn read(
    path: &Path,
    flags: &TermFlags,
    store: &mut Store,
) -> Result<BTreeMap<ObjectKey, Vec<Said>>, ExitCode> {
    let read = in_cluster(&flags.cluster, context_of(path), async |cluster| {
        let told = AtomicUsize::new(0);
        let progress = |objects: usize| {
            let step = objects / PROGRESS_EVERY;
            if told.fetch_max(step, Ordering::Relaxed) < step && std::io::stderr().is_terminal() {
                eprintln!("{objects} objects read from {}", cluster.address);
            }
        };
        Ok(cluster.list(&Kind::ALL, &progress).await?)
    });
    let listing = read.map_err(|error| unread(path, flags, &error))?;
    for problem in &listing.unread {
        eprintln!("{problem}");
    }
    if !listing.unread.is_empty() && !flags.keep_going {
        return Err(ExitCode::from(UNREADABLE));
    }
    store.apply_all(listing.events);
    Ok(listing.said)
}

/// The cluster among the paths cannot be asked. Whoever meant files forgot to name them.
fn unread(path: &Path, flags: &TermFlags, error: &anyhow::Error) -> ExitCode {
    let is_default = path.as_os_str() == PREFIX && flags.cluster.context.is_none();
    let hint = if is_default { "; manifests are named with -f" } else { "" };
    eprintln!("{error:#}{hint}");
    ExitCode::from(UNREADABLE)
}

/// What is known without a look at any object: of a cluster its MeshConfig, unless a flag says another. Not to be allowed to
/// read it is no reason to say nothing; Istio's defaults count then, and that is said.
pub(super) fn facts(paths: &[PathBuf], flags: &TermFlags) -> Result<Facts, ExitCode> {
    let mut facts = Facts::default();
    let Some(path) = paths.iter().find(|path| is_cluster(path)).filter(|_| flags.mesh_config.is_none()) else {
        return Ok(facts);
    };
    // As istiod calls it: that of a revision has the revision in its name.
    let name = match flags.istio_revision.as_deref().unwrap_or(&facts.istio_revision) {
        "default" => "istio".to_owned(),
        revision => format!("istio-{revision}"),
    };
    let map = NamespacedName { namespace: facts.mesh.root_namespace.to_string(), name };
    let read = in_cluster(&flags.cluster, context_of(path), async |cluster| Ok(cluster.config_map(&map).await));
    let content = match read.map_err(|error| unread(path, flags, &error))? {
        Ok(content) => content,
        Err(error @ cluster::error::Error::Forbidden { .. }) => {
            eprintln!("warning: deciding by the defaults of MeshConfig: {error}");
            return Ok(facts);
        }
        Err(error) => return Err(unread(path, flags, &error.into())),
    };
    match mesh_of(&map, &content) {
        Ok(mesh) => facts.mesh = mesh,
        Err(why) => {
            eprintln!("{why}");
            if !flags.keep_going {
                return Err(ExitCode::from(UNREADABLE));
            }
        }
    }
    Ok(facts)
}

/// MeshConfig of a file, or of `configmap:NAMESPACE/NAME`.
///
/// # Errors
/// One line: it is not there, or cannot be read.
pub(super) fn mesh_config(paths: &[PathBuf], flags: &TermFlags, path: &Path) -> Result<model::Mesh, String> {
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix(CONFIG_MAP)) else {
        return super::mesh_config(path);
    };
    let map: NamespacedName = name.parse().map_err(|error| format!("--mesh-config: {error}"))?;
    let context = paths.iter().find(|path| is_cluster(path)).and_then(|path| context_of(path));
    match in_cluster(&flags.cluster, context, async |cluster| Ok(cluster.config_map(&map).await?)) {
        Ok(Content::Missing) => Err(format!("ConfigMap {map} does not exist")),
        Ok(content) => mesh_of(&map, &content),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// The rules that decide: those that `--rules` names, or the usual ones of the cluster that is read; none: the flags say.
pub(super) fn rules(paths: &[PathBuf], flags: &TermFlags, store: &Store) -> Result<Option<Wanted>, ExitCode> {
    let context = paths.iter().find(|path| is_cluster(path)).map(|path| context_of(path));
    let (place, is_usual) = match (&flags.rules, context) {
        (Some(rules), context) => {
            let place = place(&flags.cluster, context.flatten(), rules);
            (place.map_err(|error| failed(&error))?, false)
        }
        // Somebody who may see the mesh need not be one who may see the rules.
        (None, Some(context)) if flags.plugin.is_none() => match config_map(&flags.cluster, context, USUAL_RULES) {
            Ok(place) => (place, true),
            Err(error) => {
                eprintln!("warning: deciding by the built-in component: {error:#}");
                return Ok(None);
            }
        },
        _ => return Ok(None),
    };
    if is_usual {
        if matches!(&place, Place::ConfigMap(_, content) if *content.borrow() == Content::Missing) {
            return Ok(None);
        }
        eprintln!("deciding by the rules of ConfigMap {USUAL_RULES}");
    }
    let node = store.facts().node.clone();
    let rules =
        Rules { place, components: Vec::new(), pins: None, node: node.name.as_deref().unwrap_or_default().to_owned() };
    match rules.read(&node.labels) {
        Ok(wanted) => Ok(Some(wanted)),
        Err(unreadable) => {
            eprintln!("{}", unreadable.refusal);
            Err(ExitCode::from(UNREADABLE))
        }
    }
}

/// A folder, or `configmap:NAMESPACE/NAME` as it is now.
///
/// # Errors
/// The name is none, or the cluster cannot be asked.
pub(crate) fn place(flags: &ClusterFlags, context: Option<String>, rules: &str) -> anyhow::Result<Place> {
    match rules.strip_prefix(CONFIG_MAP) {
        None => Ok(Place::Folder(rules.into())),
        Some(name) => config_map(flags, context, name),
    }
}

fn config_map(flags: &ClusterFlags, context: Option<String>, name: &str) -> anyhow::Result<Place> {
    let map: NamespacedName = name.parse().map_err(|error: String| anyhow::anyhow!("--rules: {error}"))?;
    let content = in_cluster(flags, context, async |cluster| Ok(cluster.config_map(&map).await?))?;
    let (_told, content) = watch::channel(content);
    Ok(Place::ConfigMap(map.to_string(), content))
}

fn context_of(path: &Path) -> Option<String> {
    path.to_str()?.strip_prefix(PREFIX).filter(|context| !context.is_empty()).map(str::to_owned)
}

/// Does something with a cluster, and waits for it. `context` wins over that of the flags.
pub(crate) fn in_cluster<T>(
    flags: &ClusterFlags,
    context: Option<String>,
    work: impl AsyncFnOnce(&Cluster) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut access = flags.access();
        access.context = context.or(access.context);
        work(&Cluster::connect(&access).await?).await
    })
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("{error:#}");
    ExitCode::from(UNREADABLE)
}
