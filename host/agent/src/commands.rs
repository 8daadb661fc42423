//! One module per subcommand, and what they share.

pub(crate) mod agent;
pub(crate) mod bypass;
pub(crate) mod capture;
pub(crate) mod cleanup;
pub(crate) mod detach;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod lint;
pub(crate) mod plugin;
pub(crate) mod resolve;
pub(crate) mod rollout;
pub(crate) mod rules;
pub(crate) mod waypoint;
pub(crate) mod waypoints;

pub(crate) mod mesh;
mod stop;
