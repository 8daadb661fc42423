//! Flags of `waypoint` with its subcommands. What they do is in `commands::waypoint`.

use std::time::Duration;

use clap::{ArgAction, Args, Subcommand, ValueEnum};
use cluster::waypoint::{Admit, DEFAULT_NAME, Scope, Spec, Target, TrafficType};

use super::{ClusterFlags, TermFlags};

/// The longest wait that makes sense.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Subcommands of `waypoint`.
#[derive(Debug, Subcommand)]
pub enum WaypointCommand {
    /// Print the Gateway of a waypoint as YAML. No cluster is asked
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(GenerateFlags),
    /// Create or change a waypoint, wait until it is ready, and only then enrol who is to go through it
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(Box<ApplyFlags>),
    /// List waypoints with the traffic they really serve
    #[command(after_help = LIST_EXAMPLES)]
    List(ListFlags),
    /// Say whether waypoints are ready, and wait for it. Exit status 1 if one is not when the time is over
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusFlags),
    /// Delete waypoints. Shows who still names them, and asks
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(Box<DeleteFlags>),
}

const GENERATE_EXAMPLES: &str = "\
Examples:
  wayswitch waypoint generate
  wayswitch waypoint generate -n shop --name shared --for all --allow-namespaces team=checkout
  wayswitch waypoint generate --image example.org/waypoint:1 | kubectl apply -f -";

const APPLY_EXAMPLES: &str = "\
Examples:
  wayswitch waypoint apply -n shop --enroll-namespace
  wayswitch waypoint apply -n shop --name cart-waypoint --enroll service/cart
  wayswitch waypoint apply -n mesh --allow-namespaces shop,blog --enroll service/shop/cart --enroll namespace/blog
  wayswitch waypoint apply -n shop --name next --enroll-namespace --canary --weight 10
  wayswitch waypoint apply -n shop --enroll-namespace --dry-run=server";

const LIST_EXAMPLES: &str = "\
Examples:
  wayswitch waypoint list -A
  wayswitch waypoint list -n shop -o wide";

const STATUS_EXAMPLES: &str = "\
Examples:
  wayswitch waypoint status -n shop waypoint next --waypoint-timeout 2m
  wayswitch waypoint status -A --wait=false";

const DELETE_EXAMPLES: &str = "\
Examples:
  wayswitch waypoint delete -n shop waypoint
  wayswitch waypoint delete -n shop --revision canary --dry-run=server
  wayswitch waypoint delete -A --all --force";

/// What a waypoint should be.
#[derive(Clone, Debug, Args)]
pub struct SpecFlags {
    /// Its name
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME, value_parser = cluster::waypoint::name)]
    pub name: String,
    /// The traffic that it serves [default: what it serves now; of a new one what its class says, else service]
    #[arg(long = "for", value_enum, value_name = "TYPE")]
    pub serves: Option<For>,
    /// The revision of Istio that is to program it
    #[arg(short, long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// The GatewayClass [default: the one it has now; of a new one istio-waypoint]
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
    /// The image of its proxy, for instance Kmesh's: the annotation sidecar.istio.io/proxyImage
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Whose objects may use it: same, all, NAMESPACE[,NAMESPACE...], or namespaces with labels KEY=VALUE[,KEY=VALUE...]
    /// [default: as now; of a new one same]
    #[arg(long, value_name = "WHOSE")]
    pub allow_namespaces: Option<Admit>,
}

impl SpecFlags {
    /// The same for the crate that makes it.
    pub fn spec(&self, namespace: Option<&str>) -> Spec {
        Spec {
            class: self.class.clone(),
            serves: self.serves.map(Into::into),
            revision: self.revision.clone(),
            image: self.image.clone(),
            admit: self.allow_namespaces.clone(),
            ..Spec::named(namespace, &self.name)
        }
    }
}

/// The traffic that a waypoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum For {
    /// Addressed to services
    Service,
    /// Addressed to workloads
    Workload,
    /// Both
    All,
    /// Nothing
    None,
}

impl From<For> for TrafficType {
    fn from(serves: For) -> Self {
        match serves {
            For::Service => Self::Service,
            For::Workload => Self::Workload,
            For::All => Self::All,
            For::None => Self::None,
        }
    }
}

/// How a command is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Say what would be done
    Client,
    /// Let the API server check it as well, and say what would be decided differently
    Server,
}

/// Flags of `waypoint generate`.
#[derive(Debug, Args)]
pub struct GenerateFlags {
    /// The namespace [default: none is written]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = cluster::waypoint::namespace_name)]
    pub namespace: Option<String>,
    /// The waypoint.
    #[command(flatten)]
    pub spec: SpecFlags,
}

/// Flags of `waypoint apply`.
#[derive(Debug, Args)]
pub struct ApplyFlags {
    /// The waypoint.
    #[command(flatten)]
    pub spec: SpecFlags,
    /// Enrol its namespace: everything in it that names no other waypoint goes through it
    #[arg(long, visible_alias = "enrol-namespace")]
    pub enroll_namespace: bool,
    /// Enrol an object: service/NAME, serviceentry/NAME, pod/NAME, workloadentry/NAME, namespace/NAME, or with the namespace
    /// KIND/NAMESPACE/NAME; may be given several times
    #[arg(long, visible_alias = "enrol", value_name = "KIND/NAME")]
    pub enroll: Vec<Target>,
    /// Enrol as the second waypoint beside the one they have; Istio 1.31 and later
    #[arg(long, requires = "weight")]
    pub canary: bool,
    /// Percent of their new connections that the second waypoint gets
    #[arg(long, value_name = "PERCENT", requires = "canary", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub weight: Option<u8>,
    /// Replace the waypoint that an object names now
    #[arg(long)]
    pub overwrite: bool,
    /// Wait until it is ready although nobody is enrolled. Enrolling always waits
    #[arg(short, long)]
    pub wait: bool,
    /// The longest wait: 90s, 2m, 1m30s
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = duration)]
    pub waypoint_timeout: Duration,
    /// Change nothing
    #[arg(long, value_enum, value_name = "WHERE")]
    pub dry_run: Option<DryRun>,
    /// The namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = cluster::waypoint::namespace_name)]
    pub namespace: Option<String>,
    /// Which cluster, and how a dry run decides.
    #[command(flatten, next_help_heading = "Which cluster, and how --dry-run=server decides")]
    pub terms: TermFlags,
}

impl ApplyFlags {
    /// Who is to be enrolled, each once, in the order of the command line.
    pub fn targets(&self, namespace: &str) -> Vec<Target> {
        let own = self.enroll_namespace.then(|| Target::namespace(namespace));
        let named = self.enroll.iter().map(|target| target.clone().in_namespace(namespace));
        let mut targets: Vec<Target> = Vec::new();
        for target in own.into_iter().chain(named) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        targets
    }
}

/// How to print waypoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaypointOutput {
    /// For people
    Table,
    /// For people with wide screens: class, admitted namespaces, address and users as well
    Wide,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// Flags of `waypoint list`.
#[derive(Debug, Args)]
pub struct ListFlags {
    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Of this GatewayClass only
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
    /// Of this revision of Istio only
    #[arg(short, long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = WaypointOutput::Table)]
    pub output: WaypointOutput,
    /// The namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = cluster::waypoint::namespace_name)]
    pub namespace: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// Flags of `waypoint status`.
#[derive(Debug, Args)]
pub struct StatusFlags {
    /// Waypoints [default: all of the namespace]
    #[arg(value_name = "NAME", conflicts_with = "all_namespaces")]
    pub names: Vec<String>,
    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Wait until they are ready
    #[arg(short, long, value_name = "WHETHER", default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    pub wait: bool,
    /// The longest wait, for all of them together: 90s, 2m, 1m30s
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = duration)]
    pub waypoint_timeout: Duration,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = WaypointOutput::Table)]
    pub output: WaypointOutput,
    /// The namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = cluster::waypoint::namespace_name)]
    pub namespace: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// Flags of `waypoint delete`.
#[derive(Debug, Args)]
pub struct DeleteFlags {
    /// Waypoints
    #[arg(value_name = "NAME", required_unless_present_any = ["all", "revision"], conflicts_with_all = ["all", "revision", "all_namespaces"])]
    pub names: Vec<String>,
    /// All of the class
    #[arg(long)]
    pub all: bool,
    /// All of the class that are for this revision of Istio; default: those that name none
    #[arg(short, long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// The class of those that --all and --revision mean
    #[arg(long, value_name = "CLASS", default_value = cluster::waypoint::DEFAULT_CLASS)]
    pub class: String,
    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Ask nothing, and do not look who names them
    #[arg(long)]
    pub force: bool,
    /// Change nothing
    #[arg(long, value_enum, value_name = "WHERE")]
    pub dry_run: Option<DryRun>,
    /// The namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = cluster::waypoint::namespace_name)]
    pub namespace: Option<String>,
    /// Which cluster, and how a dry run decides.
    #[command(flatten, next_help_heading = "Which cluster, and how --dry-run=server decides")]
    pub terms: TermFlags,
}

/// All namespaces, or the one that is meant.
pub(crate) fn scope(all: bool, namespace: &str) -> Scope {
    if all { Scope::All } else { Scope::Namespace(namespace.to_owned()) }
}

/// `90s`, `2m`, `1m30s`, `1h`, `500ms`; a number without a unit is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: 90s, 2m or 1m30s are");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let part = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "" if total.is_zero() => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            _ => return Err(wrong()),
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = behind;
    }
    match total {
        Duration::ZERO => Err(wrong()),
        longer if longer > WAIT_MAX => Err("that is more than a day".to_owned()),
        total => Ok(total),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: WaypointCommand,
    }

    fn line(text: &str) -> Result<WaypointCommand, clap::error::ErrorKind> {
        let words = std::iter::once("waypoint").chain(text.split_whitespace());
        Line::try_parse_from(words).map(|line| line.command).map_err(|error| error.kind())
    }

    fn apply(text: &str) -> ApplyFlags {
        match line(text) {
            Ok(WaypointCommand::Apply(flags)) => *flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_time_is_written_as_elsewhere() {
        for (text, millis) in [("90s", 90_000), ("2m", 120_000), ("1m30s", 90_000), ("500ms", 500), ("7", 7000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "0s", "s", "1x", "-1s", "1s5", "99999999999999999999s", "25h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_is_enrolled_is_named_once_and_with_a_namespace() {
        let flags = apply("apply --enroll-namespace --enrol svc/cart --enroll ns/shop --enroll pod/blog/web");
        let targets: Vec<String> = flags.targets("shop").iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["namespace/shop", "service/shop/cart", "pod/blog/web"]);
        assert_eq!(flags.spec.name, "waypoint");
        let spec = apply("apply --for all --class own -r next --allow-namespaces a,b").spec.spec(None);
        assert_eq!((spec.serves, spec.class.as_deref()), (Some(TrafficType::All), Some("own")));
        assert_eq!(spec.admit.map(|it| it.to_string()).as_deref(), Some("a,b"));
    }

    #[test]
    fn flags_that_make_no_sense_together_are_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument, ValueValidation};
        assert_eq!(line("apply --canary").unwrap_err(), MissingRequiredArgument);
        assert_eq!(line("apply --weight 5").unwrap_err(), MissingRequiredArgument);
        assert_eq!(line("apply --canary --weight 101").unwrap_err(), ValueValidation);
        assert_eq!(line("apply --name none").unwrap_err(), ValueValidation);
        assert_eq!(line("delete").unwrap_err(), MissingRequiredArgument);
        assert_eq!(line("delete a --all").unwrap_err(), ArgumentConflict);
        assert_eq!(line("delete a -A").unwrap_err(), ArgumentConflict);
        assert_eq!(line("list -A -n shop").unwrap_err(), ArgumentConflict);
        assert!(line("delete -r canary").is_ok() && line("delete a b --force").is_ok());
    }

    #[test]
    fn status_waits_unless_told_otherwise() {
        let wait = |text: &str| match line(text) {
            Ok(WaypointCommand::Status(flags)) => flags.wait,
            other => panic!("{other:?}"),
        };
        assert!(wait("status") && wait("status --wait") && wait("status -w a") && !wait("status --wait=false"));
    }
}
