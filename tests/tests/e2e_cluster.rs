//! The real program on a real Kubernetes API: `cargo xtask e2e kubernetes` runs these stories with the cluster that `KUBECONFIG`
//! names; without it they are ignored. A bare kube-apiserver with etcd is enough: statuses are set through the API, and nothing
//! here needs a kubelet or a controller. A whole cluster is fine as well: no Pod of these stories is ever scheduled.
//!
//! What is touched: namespaces and objects without a namespace whose names begin with `wayswitch-e2e-`, a number and a minus sign.
//! Definitions of custom resources are made where they are missing, and only those go again. `kubectl` does what an operator does,
//! so that no client of ours is both tested and believed.
//!
//! Covered: RBAC as it is rendered in `deploy/`, right by right; tokens of service accounts and their review; server-side apply,
//! NodeRules and Events; a ConfigMap as the switch; a start without the API server's consent; waypoints and enrolment; one agent that
//! leads and writes, and one that stood still; taking it all away. Not covered here: load, dropped and lying watches (`e2e_kubernetes`, against a server of ours), the DaemonSet on a node with a
//! container runtime, the chart's templates (`deploy-checks`), istiod and ztunnel (`e2e_ztunnel`).

#![expect(
    clippy::indexing_slicing,
    reason = "a field that is missing in an answer is null, and no assertion expects that"
)]

#[path = "e2e_cluster/account.rs"]
mod account;

#[path = "e2e_cluster/bookinfo.rs"]
mod bookinfo;

#[path = "e2e_cluster/clean.rs"]
mod clean;

#[path = "e2e_cluster/definitions.rs"]
mod definitions;

#[path = "e2e_cluster/ground.rs"]
mod ground;

#[path = "e2e_cluster/kubectl.rs"]
mod kubectl;

#[path = "e2e_cluster/leading.rs"]
mod leading;

#[path = "e2e_cluster/node.rs"]
mod node;

#[path = "e2e_cluster/mesh.rs"]
mod mesh;

#[path = "e2e_cluster/rights.rs"]
mod rights;

#[path = "e2e_cluster/away.rs"]
mod away;

#[path = "e2e_cluster/switch.rs"]
mod switch;

#[path = "e2e_cluster/tokens.rs"]
mod tokens;

#[path = "e2e_cluster/uninstall.rs"]
mod uninstall;

#[path = "e2e_cluster/waypoint.rs"]
mod waypoint;
