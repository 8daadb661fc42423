//! One module per subcommand, and what they share.

pub(crate) mod agent;
pub(crate) mod detach;
pub(crate) mod explain;
pub(crate) mod plugin;
pub(crate) mod resolve;

mod mesh;
