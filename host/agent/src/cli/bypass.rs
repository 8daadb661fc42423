//! Flags of `bypass`.

use clap::{Args, ValueEnum};
use model::bypass::Severity;

use super::MeshFlags;

/// Flags of `bypass`.
#[derive(Debug, Args)]
pub struct BypassFlags {
    /// One Service or ServiceEntry, whether or not it has a waypoint [default: all that ask for one]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service: Option<String>,
    /// Destinations of one namespace; with --service, its namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The mesh.
    #[command(flatten)]
    pub mesh: MeshFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = BypassOutput::Table)]
    pub output: BypassOutput,
    /// Exit with 1 if there are open holes that matter at least so much, and with 2 if that cannot be said
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "low")]
    pub deny: Option<DenyHoles>,
}

/// How to print the ways past waypoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BypassOutput {
    /// For people
    Table,
    /// For programs
    Json,
    /// The AuthorizationPolicies that would close what is open, to be read and then applied
    Yaml,
}

/// From which severity on holes are denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DenyHoles {
    /// All
    Low,
    /// Those that who wants can take, and worse
    Medium,
    /// Those that ordinary connections take
    High,
}

impl From<DenyHoles> for Severity {
    fn from(deny: DenyHoles) -> Self {
        match deny {
            DenyHoles::Low => Self::Low,
            DenyHoles::Medium => Self::Medium,
            DenyHoles::High => Self::High,
        }
    }
}
