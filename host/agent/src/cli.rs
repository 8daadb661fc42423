//! The command line: names, defaults and help of every flag. What a command does is in `commands`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::config::AgentFlags;

/// Decides through which waypoint traffic goes, by rules that can be swapped while it flows.
#[derive(Debug, Parser)]
#[command(name = "wayswitch", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run on a node until signalled: watch manifests and rules, decide, and keep the kernel up to date
    Agent(Box<AgentFlags>),
    /// Decide everything in some manifests once, and print the decisions
    Resolve(ResolveFlags),
    /// Say why one object gets the waypoint it gets: which rule, object and label decided
    Explain(ExplainFlags),
    /// Look at components
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Take everything out of the kernel that an agent left there: connections then go where they want to
    Detach(DetachFlags),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Print world, version, digest and declared reads of a component, and what the declarations cost
    Inspect(InspectFlags),
}

/// Where the mesh is read from, and what is known without objects.
#[derive(Clone, Debug, Args)]
pub struct MeshFlags {
    /// A YAML or JSON file with manifests, or a folder of them; may be given several times, later objects win
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Go on when a document cannot be read; problems are still printed
    #[arg(long)]
    pub keep_going: bool,
    /// The component that decides; the built-in one follows Istio
    #[arg(long, value_name = "COMPONENT.wasm")]
    pub plugin: Option<PathBuf>,
    /// Settings for the component, as JSON text
    #[arg(long, value_name = "JSON", default_value = "")]
    pub settings: String,
    /// DNS suffix of the cluster
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Network of the addresses in the manifests
    #[arg(long, default_value = "")]
    pub network: String,
    /// Id of the cluster
    #[arg(long, default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Istio's MeshConfig, in YAML. Services and pods do not depend on it; it is read so that a broken one is noticed
    #[arg(long, value_name = "FILE")]
    pub mesh_config: Option<PathBuf>,
}

/// Flags of `resolve`.
#[derive(Debug, Args)]
pub struct ResolveFlags {
    /// The mesh.
    #[command(flatten)]
    pub mesh: MeshFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainFlags {
    /// The kind of object: service or pod
    pub kind: model::table::RowKind,
    /// NAMESPACE/NAME of the object
    pub object: String,
    /// The mesh.
    #[command(flatten)]
    pub mesh: MeshFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `plugin inspect`.
#[derive(Debug, Args)]
pub struct InspectFlags {
    /// The component's file; the built-in one where none is named
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Settings for the component, as JSON text
    #[arg(long, value_name = "JSON", default_value = "")]
    pub settings: String,
    /// Manifests, to count the questions that the declared reads make of them
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `detach`.
#[derive(Debug, Args)]
pub struct DetachFlags {
    /// Folder of the pinned maps and links [default: /sys/fs/bpf/wayswitch/v1]
    #[arg(long, env = "WAYSWITCH_PIN_DIR", value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What stopped it, for standard error; the exit status is then 1.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Agent(flags) => commands::agent::run(*flags),
            Command::Resolve(flags) => commands::resolve::run(&flags),
            Command::Explain(flags) => commands::explain::run(&flags),
            Command::Plugin(PluginCommand::Inspect(flags)) => commands::plugin::inspect(&flags),
            Command::Detach(flags) => commands::detach::run(&flags),
            Command::Completions { shell } => {
                let mut command = <Self as clap::CommandFactory>::command();
                clap_complete::generate(shell, &mut command, "wayswitch", &mut std::io::stdout());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
