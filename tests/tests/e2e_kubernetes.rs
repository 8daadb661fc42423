//! The real program on a Kubernetes API: objects as a source, a ConfigMap as the switch, what is written back, and the commands that
//! look at a cluster. The server is the one of these tests; `cargo xtask e2e kubernetes` asks a real one.

#![expect(
    clippy::indexing_slicing,
    reason = "a field that is missing in an answer is null, and no assertion expects that"
)]

#[path = "e2e_kubernetes/cluster.rs"]
mod cluster;

#[path = "e2e_kubernetes/source.rs"]
mod source;

#[path = "e2e_kubernetes/switch.rs"]
mod switch;

#[path = "e2e_kubernetes/leading.rs"]
mod leading;

#[path = "e2e_kubernetes/commands.rs"]
mod commands;
