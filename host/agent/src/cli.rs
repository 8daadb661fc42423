//! The command line: names, defaults and help of every flag. What a command does is in `commands`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cluster::namespaced_name::NamespacedName;

use crate::capture::Rules;
use crate::commands;
use crate::config::AgentFlags;
use crate::rules::Wanted;

mod bypass;
mod diff;
mod lint;
mod rollout;
mod waypoint;
mod waypoints;

pub use bypass::{BypassFlags, BypassOutput, DenyHoles};
pub use diff::{DiffFlags, With};
pub use lint::{Deny, LintFlags, LintOutput, RuleSeverity};
pub use rollout::{RolloutCommand, RolloutFlags, RolloutStatus};
pub(crate) use waypoint::scope;
pub use waypoint::{
    ApplyFlags, DeleteFlags, DryRun, For, GenerateFlags, ListFlags, SpecFlags, StatusFlags, WaypointCommand,
    WaypointOutput,
};
pub use waypoints::{RowName, WaypointName, WaypointsFlags};

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
    /// Say what is wrong with a mesh, where it is written, and what to do. Exit status 1 if there are errors
    Lint(LintFlags),
    /// Say who gets past the waypoint of a destination, and what would close each way
    Bypass(BypassFlags),
    /// Say what two meshes, or two ways to decide one, decide differently
    Diff(Box<DiffFlags>),
    /// List the waypoints of a mesh, what is bound to each, and what names it in vain
    Waypoints(WaypointsFlags),
    /// Make, list and delete waypoints in a cluster, and enrol what is to go through them
    #[command(subcommand)]
    Waypoint(WaypointCommand),
    /// Write the mesh and the decisions of a running agent, or of manifests, to a file that -f of every command takes
    Capture(CaptureFlags),
    /// Look at components
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Take everything out of the kernel that an agent left there: connections then go where they want to
    Detach(DetachFlags),
    /// Try rules before they go anywhere; print the schema of config.yaml
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Say which nodes run which rules; pause, undo or finish a roll-out
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Take everything off this node that an agent left: programs and maps in the kernel, its socket, what it kept
    Cleanup(CleanupFlags),
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
    /// A YAML or JSON file with manifests, a folder of them, a capture, or cluster:CONTEXT of the kubeconfig; may be given several
    /// times, later objects win [default: the cluster of the current context]
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How it is decided.
    #[command(flatten)]
    pub terms: TermFlags,
}

/// How a mesh is decided, and what is known about it without objects. A flag wins over what a capture says.
#[derive(Clone, Debug, Default, Args)]
pub struct TermFlags {
    /// Go on when a document cannot be read; problems are still printed
    #[arg(long)]
    pub keep_going: bool,
    /// The component that decides; the built-in one follows Istio
    #[arg(long, value_name = "COMPONENT.wasm")]
    pub plugin: Option<PathBuf>,
    /// Decide by these rules, as an agent does: a folder with config.yaml, or configmap:NAMESPACE/NAME [default: of a cluster
    /// configmap:wayswitch-system/wayswitch-rules, if it is there]
    #[arg(long, value_name = "DIR", conflicts_with = "plugin")]
    pub rules: Option<String>,
    /// Settings for the component, as JSON text [default: those of the capture, or none]
    #[arg(long, value_name = "JSON")]
    pub settings: Option<String>,
    /// DNS suffix of the cluster [default: that of the capture, or cluster.local]
    #[arg(long)]
    pub cluster_domain: Option<String>,
    /// Network of the addresses in the manifests [default: that of the capture, or the empty one]
    #[arg(long)]
    pub network: Option<String>,
    /// Id of the cluster [default: that of the capture, or Kubernetes]
    #[arg(long)]
    pub cluster_id: Option<String>,
    /// Istio's MeshConfig, in YAML: rootNamespace, trustDomain, serviceEntryVisibility, serviceScopeConfigs,
    /// discoverySelectors. A file, or configmap:NAMESPACE/NAME with the key mesh [default: that of the capture; of a cluster
    /// configmap:istio-system/istio, or istio-REVISION there]
    #[arg(long, value_name = "FILE")]
    pub mesh_config: Option<PathBuf>,
    /// The version of Istio whose host-side rules are followed, 1.22 to 1.31: conflicts of hosts, visibility. What the
    /// component follows is its setting `istio` [default: that of the capture, or 1.31]
    #[arg(long, value_name = "VERSION")]
    pub istio: Option<model::IstioVersion>,
    /// The revision of Istio whose objects count [default: that of the capture, or default]
    #[arg(long, value_name = "NAME")]
    pub istio_revision: Option<String>,
    /// What happens to connections while no address of their waypoint is known [default: what the capture or the
    /// component says]
    #[arg(long, value_enum)]
    pub unresolved: Option<Unresolved>,
    /// Which cluster is meant.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// The rules of a capture: no flag.
    #[arg(skip)]
    pub(crate) captured: Option<Box<Rules>>,
    /// What `rules` says: no flag.
    #[arg(skip)]
    pub(crate) wanted: Option<Box<Wanted>>,
}

/// Which cluster is meant where a command asks one.
#[derive(Clone, Debug, Default, Args)]
pub struct ClusterFlags {
    /// A kubeconfig [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl ClusterFlags {
    /// Whether any of them is there.
    pub(crate) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// How to get at it.
    pub(crate) fn access(&self) -> cluster::connect::Access {
        cluster::connect::Access { kubeconfig: self.kubeconfig.clone(), context: self.context.clone(), namespace: None }
    }
}

impl TermFlags {
    /// Whether any of them is there.
    pub(crate) fn is_given(&self) -> bool {
        let Self { keep_going, plugin, rules, settings, mesh_config, istio, unresolved, captured, .. } = self;
        let texts = [rules, settings, &self.cluster_domain, &self.network, &self.cluster_id, &self.istio_revision];
        let paths = [plugin, mesh_config];
        *keep_going
            || istio.is_some()
            || unresolved.is_some()
            || captured.is_some()
            || texts.iter().any(|flag| flag.is_some())
            || paths.iter().any(|flag| flag.is_some())
    }
}

/// What happens while no address of a waypoint is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unresolved {
    /// Connections fail
    Fail,
    /// Connections go past the waypoint
    Bypass,
}

impl From<Unresolved> for model::decision::OnUnreachable {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::Fail => Self::Fail,
            Unresolved::Bypass => Self::Bypass,
        }
    }
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
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ExplainFlags {
    /// What else than one object.
    #[command(subcommand)]
    pub about: Option<ExplainAbout>,
    /// The kind of object: service, serviceentry, pod, workloadentry, serviceentryendpoint, endpointsliceendpoint
    #[arg(required = true)]
    pub kind: Option<model::table::RowKind>,
    /// NAMESPACE/NAME of the object; of an endpoint NAMESPACE/NAME/ADDRESS. With --namespace without the namespace
    #[arg(required = true)]
    pub object: Option<String>,
    /// The namespace of the object
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Ask this agent instead: unix:PATH or a loopback ADDRESS:PORT. It also knows what a control plane told it
    #[arg(long, value_name = "ADDRESS", conflicts_with = "paths")]
    pub admin: Option<String>,
    /// The mesh.
    #[command(flatten)]
    pub mesh: MeshFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// What can be explained besides one object.
#[derive(Debug, Subcommand)]
pub enum ExplainAbout {
    /// Say which service a host means to a client, who else claims it, and why that one gets the waypoint it gets
    Host(Box<HostFlags>),
    /// Say which path connections of a Pod to a host or address take, whether it passes a waypoint, and what would change it
    Traffic(Box<TrafficFlags>),
}

/// Flags of `explain host`.
#[derive(Debug, Args)]
pub struct HostFlags {
    /// The host; with --namespace also a short one, as clients there write it
    pub host: String,
    /// The namespace of the client [default: one that has no such host of its own]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The mesh.
    #[command(flatten)]
    pub mesh: MeshFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `explain traffic`.
#[derive(Debug, Args)]
pub struct TrafficFlags {
    /// NAMESPACE/POD of the client. With --namespace without the namespace
    #[arg(long, value_name = "NAMESPACE/POD")]
    pub from: String,
    /// The namespace of the client
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// HOST or HOST:PORT as the client writes it, or an IP in the place of HOST
    #[arg(long, value_name = "HOST[:PORT]")]
    pub to: model::traffic::Destination,
    /// The mesh.
    #[command(flatten)]
    pub mesh: MeshFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `capture`.
#[derive(Debug, Args)]
pub struct CaptureFlags {
    /// The file to write, which only its owner may read; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The agent to ask: unix:PATH or a loopback ADDRESS:PORT [default: unix:/run/wayswitch/admin.sock]
    #[arg(long, env = "WAYSWITCH_ADMIN", value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Capture these manifests, or cluster:CONTEXT, decided here, instead of an agent's mesh. A single capture is taken as it
    /// was decided, unless a flag says how to decide. With --context or --kubeconfig the cluster is captured
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Only what is in one namespace, with what of the rest decides about it
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// How it is decided.
    #[command(flatten)]
    pub terms: TermFlags,
    /// Replace names and addresses by others, all alike, so that everything is decided the same; drop annotations that
    /// nobody reads
    #[arg(long, visible_alias = "pseudonymize")]
    pub pseudonymise: bool,
    /// Write what was replaced by what into this file, which only its owner may read. Keep it
    #[arg(long, value_name = "FILE", requires = "pseudonymise")]
    pub mapping: Option<PathBuf>,
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

/// About rules.
#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Read and load rules as an agent would: keys, component, digest, settings. Exit status 1 if they would be refused
    Check(RulesCheckFlags),
    /// Print the JSON schema of config.yaml
    Schema,
}

/// Flags of `rules check`.
#[derive(Debug, Args)]
pub struct RulesCheckFlags {
    /// A folder with config.yaml, or configmap:NAMESPACE/NAME
    #[arg(value_name = "DIR")]
    pub rules: String,
    /// A folder from which config.yaml may name components; may be given several times
    #[arg(long = "components", value_name = "DIR")]
    pub components: Vec<PathBuf>,
    /// Digests that may decide, lines as sha256sum prints them
    #[arg(long, value_name = "FILE")]
    pub pins: Option<PathBuf>,
    /// Which cluster is meant.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `cleanup`: where the agent was told to put things.
#[derive(Debug, Args)]
pub struct CleanupFlags {
    /// Folder of the pinned maps and links [default: /sys/fs/bpf/wayswitch/v1]
    #[arg(long, env = "WAYSWITCH_PIN_DIR", value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
    /// The admin address [default: unix:/run/wayswitch/admin.sock]
    #[arg(long, env = "WAYSWITCH_ADMIN", value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// The folder of certificates, token and saved mesh. Not set: there is none
    #[arg(long, env = "WAYSWITCH_XDS_DIR", value_name = "DIR")]
    pub xds_dir: Option<PathBuf>,
    /// The folder of saved objects. Not set: there is none
    #[arg(long, env = "WAYSWITCH_KUBERNETES_STATE", value_name = "DIR")]
    pub kubernetes_state: Option<PathBuf>,
    /// Take off the cluster's objects what agents wrote there, labels and conditions, and nothing from this node: once, when all
    /// agents are gone
    #[arg(long, conflicts_with_all = ["hold", "wait_for"])]
    pub labels: bool,
    /// Which cluster is meant.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// Remove nothing, and stay until SIGTERM: for a DaemonSet whose Pods have cleaned up before
    #[arg(long, conflicts_with = "wait_for")]
    pub hold: bool,
    /// Remove nothing, and wait until this DaemonSet is ready on every node; exit status 1 if that takes longer than --timeout
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub wait_for: Option<NamespacedName>,
    /// Then remove that DaemonSet: its Pods have done what they are for
    #[arg(long, requires = "wait_for")]
    pub then_remove: bool,
    /// Seconds that --wait-for waits
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
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
            Command::Lint(flags) => commands::lint::run(&flags),
            Command::Bypass(flags) => commands::bypass::run(&flags),
            Command::Diff(flags) => commands::diff::run(&flags),
            Command::Waypoints(flags) => commands::waypoints::run(&flags),
            Command::Waypoint(command) => commands::waypoint::run(&command),
            Command::Capture(flags) => commands::capture::run(&flags),
            Command::Plugin(PluginCommand::Inspect(flags)) => commands::plugin::inspect(&flags),
            Command::Detach(flags) => commands::detach::run(&flags),
            Command::Rules(RulesCommand::Check(flags)) => commands::rules::check(&flags),
            Command::Rules(RulesCommand::Schema) => commands::rules::schema(),
            Command::Rollout(command) => commands::rollout::run(&command),
            Command::Cleanup(flags) => commands::cleanup::run(&flags),
            Command::Completions { shell } => {
                let mut command = <Self as clap::CommandFactory>::command();
                clap_complete::generate(shell, &mut command, "wayswitch", &mut std::io::stdout());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
