//! Flags of `diff`.

use std::path::PathBuf;

use clap::Args;

use super::{Output, TermFlags, Unresolved};

/// Flags of `diff`. Two meshes under the same rules, or one mesh under two: never both at once, for then nobody could say what
/// made the difference.
#[derive(Debug, Args)]
#[command(override_usage = "wayswitch diff [OPTIONS] <BEFORE> <AFTER>\n       \
                            wayswitch diff [OPTIONS] [-f <PATH>]... --with-...")]
pub struct DiffFlags {
    /// Two meshes: manifests, captures, or cluster:CONTEXT. What was decided in a capture is compared as it was, unless flags say how to decide
    #[arg(value_names = ["BEFORE", "AFTER"], num_args = 2, required_unless_present = "With", conflicts_with_all = ["paths", "With"])]
    pub between: Vec<PathBuf>,
    /// One mesh, decided in two ways; may be given several times [default: the cluster of the current context]
    #[arg(short = 'f', long = "filename", value_name = "PATH", requires = "With")]
    pub paths: Vec<PathBuf>,
    /// How it is decided; before, where it is decided in two ways.
    #[command(flatten)]
    pub terms: TermFlags,
    /// What is other after.
    #[command(flatten)]
    pub with: With,
    /// Only what is in one namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Print the counts only
    #[arg(long)]
    pub summary: bool,
    /// Exit with 1 if anything differs, and with 2 if that cannot be said
    #[arg(long)]
    pub exit_code: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// What is other after than before; the rest is the same.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "With", multiple = true)]
pub struct With {
    /// The rules that decide after: a folder with config.yaml, or configmap:NAMESPACE/NAME
    #[arg(long, value_name = "DIR", conflicts_with_all = ["with_plugin", "with_settings"])]
    pub with_rules: Option<String>,
    /// The component that decides after; the settings stay unless --with-settings is given
    #[arg(long, value_name = "COMPONENT.wasm")]
    pub with_plugin: Option<PathBuf>,
    /// Settings for the component after, as JSON text
    #[arg(long, value_name = "JSON")]
    pub with_settings: Option<String>,
    /// The version of Istio whose host-side rules are followed after
    #[arg(long, value_name = "VERSION")]
    pub with_istio: Option<model::IstioVersion>,
    /// Istio's MeshConfig after: a file, or configmap:NAMESPACE/NAME
    #[arg(long, value_name = "FILE")]
    pub with_mesh_config: Option<PathBuf>,
    /// What happens after while no address of a waypoint is known
    #[arg(long, value_enum)]
    pub with_unresolved: Option<Unresolved>,
}

impl With {
    /// The terms with these in their places.
    pub fn applied(&self, terms: &TermFlags) -> TermFlags {
        let mut after = terms.clone();
        if self.with_rules.is_some() {
            after.rules.clone_from(&self.with_rules);
            after.plugin = None;
        }
        if self.with_plugin.is_some() {
            // Of the rules before nothing is left but who decides.
            after.rules = None;
        }
        after.plugin = self.with_plugin.clone().or(after.plugin);
        after.settings = self.with_settings.clone().or(after.settings);
        after.istio = self.with_istio.or(after.istio);
        after.mesh_config = self.with_mesh_config.clone().or(after.mesh_config);
        after.unresolved = self.with_unresolved.or(after.unresolved);
        after
    }
}
