//! Flags of `rollout`.

use clap::{Args, Subcommand};

use super::{ClusterFlags, Output};

/// Who runs which rules, and a roll-out under way.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Say which nodes run which rules, and how far a roll-out is. Exit status 1 if a node refused
    Status(RolloutStatus),
    /// Let every node stay with what it runs, until the roll-out is resumed, undone or promoted
    Pause(RolloutFlags),
    /// Let a roll-out go on that is paused
    Resume(RolloutFlags),
    /// Take a roll-out back: every node gets the rules beside it
    Undo(RolloutFlags),
    /// Finish a roll-out: every node gets its component
    Promote(RolloutFlags),
}

/// Which rules are meant.
#[derive(Debug, Args)]
pub struct RolloutFlags {
    /// The ConfigMap with the rules
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "wayswitch-system/wayswitch-rules")]
    pub rules: cluster::namespaced_name::NamespacedName,
    /// Which cluster is meant.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// Flags of `rollout status`.
#[derive(Debug, Args)]
pub struct RolloutStatus {
    /// Which rules.
    #[command(flatten)]
    pub rollout: RolloutFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
