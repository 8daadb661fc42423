//! What the agent may ask of the API server, and why: the other half of the roles in `deploy/`. A right that is not here is one
//! too many there; one that is here names what no longer works without it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::manifest::{list, text};

/// A right: role, API group, resource, verb, whether it is limited to objects by name, and what fails without it.
pub type Right = (&'static str, &'static str, &'static str, &'static str, bool, &'static str);

const LIST: &str =
    "the first look at the mesh, and the one after a watch was lost: without it no object of the kind is known";
const WATCH: &str = "changes of the kind reach the agent: without it a decision stays what it was at the start";
const FOUND: &str = "what agents wrote on objects of the kind is found when they are removed";

/// Every right in the chart.
pub const RIGHTS: &[Right] = &[
    ("wayswitch-mesh", "", "namespaces", "list", false, LIST),
    ("wayswitch-mesh", "", "namespaces", "watch", false, WATCH),
    ("wayswitch-mesh", "", "services", "list", false, LIST),
    ("wayswitch-mesh", "", "services", "watch", false, WATCH),
    ("wayswitch-mesh", "", "pods", "list", false, LIST),
    ("wayswitch-mesh", "", "pods", "watch", false, WATCH),
    ("wayswitch-mesh", "discovery.k8s.io", "endpointslices", "list", false, LIST),
    ("wayswitch-mesh", "discovery.k8s.io", "endpointslices", "watch", false, WATCH),
    ("wayswitch-mesh", "gateway.networking.k8s.io", "gateways", "list", false, LIST),
    ("wayswitch-mesh", "gateway.networking.k8s.io", "gateways", "watch", false, WATCH),
    ("wayswitch-mesh", "gateway.networking.k8s.io", "gatewayclasses", "list", false, LIST),
    ("wayswitch-mesh", "gateway.networking.k8s.io", "gatewayclasses", "watch", false, WATCH),
    ("wayswitch-mesh", "networking.istio.io", "serviceentries", "list", false, LIST),
    ("wayswitch-mesh", "networking.istio.io", "serviceentries", "watch", false, WATCH),
    ("wayswitch-mesh", "networking.istio.io", "workloadentries", "list", false, LIST),
    ("wayswitch-mesh", "networking.istio.io", "workloadentries", "watch", false, WATCH),
    ("wayswitch-mesh", "security.istio.io", "authorizationpolicies", "list", false, LIST),
    ("wayswitch-mesh", "security.istio.io", "authorizationpolicies", "watch", false, WATCH),
    (
        "wayswitch-mesh",
        "security.istio.io",
        "peerauthentications",
        "list",
        false,
        "STRICT is enforced where ztunnel is fed without istiod: without it whoever has no identity is let in",
    ),
    (
        "wayswitch-mesh",
        "security.istio.io",
        "peerauthentications",
        "watch",
        false,
        "a workload that becomes STRICT later is so without a restart",
    ),
    (
        "wayswitch-mesh",
        "",
        "nodes",
        "list",
        false,
        "it is known where Pods are: region and zone of their nodes, and of the own one",
    ),
    (
        "wayswitch-mesh",
        "",
        "nodes",
        "watch",
        false,
        "a node that joins, or gets its zone later, counts without a restart",
    ),
    ("wayswitch-rules", "", "configmaps", "list", true, "there are rules at all; pins are known"),
    ("wayswitch-rules", "", "configmaps", "watch", true, "a change of the ConfigMap swaps the rules"),
    ("wayswitch-mesh-config", "", "configmaps", "list", true, "Istio's MeshConfig counts"),
    ("wayswitch-mesh-config", "", "configmaps", "watch", true, "a change of MeshConfig counts"),
    (
        "wayswitch-node-status",
        "wayswitch.io",
        "noderules",
        "create",
        false,
        "a new node appears in `kubectl get noderules`",
    ),
    ("wayswitch-node-status", "wayswitch.io", "noderules", "patch", false, "its object is applied at all"),
    ("wayswitch-node-status", "wayswitch.io", "noderules/status", "patch", false, "it says which rules the node runs"),
    ("wayswitch-events", "events.k8s.io", "events", "create", false, "a refusal is an Event of the ConfigMap"),
    ("wayswitch-events", "events.k8s.io", "events", "patch", false, "one that repeats is counted"),
    ("wayswitch-token-review", "authentication.k8s.io", "tokenreviews", "create", false, "a ztunnel is let in"),
    ("wayswitch-leader", "coordination.k8s.io", "leases", "create", false, "the first leader makes the lease"),
    ("wayswitch-leader", "coordination.k8s.io", "leases", "get", true, "a lease that was made meanwhile is read"),
    ("wayswitch-leader", "coordination.k8s.io", "leases", "list", true, "the others see who leads"),
    ("wayswitch-leader", "coordination.k8s.io", "leases", "watch", true, "the others see when the leader steps down"),
    ("wayswitch-leader", "coordination.k8s.io", "leases", "update", true, "leading, renewing, stepping down"),
    ("wayswitch-conditions", "", "services/status", "patch", false, "conditions on Services"),
    ("wayswitch-conditions", "networking.istio.io", "serviceentries/status", "patch", false, "on ServiceEntries"),
    ("wayswitch-conditions", "networking.istio.io", "workloadentries/status", "patch", false, "on WorkloadEntries"),
    ("wayswitch-conditions", "security.istio.io", "authorizationpolicies/status", "patch", false, "on policies"),
    ("wayswitch-labels", "", "services", "patch", false, "istiod programs a waypoint that was chosen for a Service"),
    ("wayswitch-labels", "networking.istio.io", "serviceentries", "patch", false, "and for a ServiceEntry"),
    ("wayswitch-labels", "networking.istio.io", "workloadentries", "patch", false, "and for a WorkloadEntry"),
    ("wayswitch-labels", "", "pods", "patch", false, "and for a Pod"),
    ("wayswitch-cleanup", "apps", "daemonsets", "get", true, "the uninstall hook sees that all nodes are clean"),
    ("wayswitch-cleanup", "apps", "daemonsets", "delete", true, "its DaemonSet goes when they are"),
    ("wayswitch-cleanup-objects", "", "services", "list", false, FOUND),
    ("wayswitch-cleanup-objects", "", "pods", "list", false, FOUND),
    ("wayswitch-cleanup-objects", "networking.istio.io", "serviceentries", "list", false, FOUND),
    ("wayswitch-cleanup-objects", "networking.istio.io", "workloadentries", "list", false, FOUND),
    ("wayswitch-cleanup-objects", "security.istio.io", "authorizationpolicies", "list", false, FOUND),
    ("wayswitch-cleanup-objects", "", "services", "patch", false, "labels go"),
    ("wayswitch-cleanup-objects", "", "pods", "patch", false, "labels go"),
    ("wayswitch-cleanup-objects", "networking.istio.io", "serviceentries", "patch", false, "labels go"),
    ("wayswitch-cleanup-objects", "networking.istio.io", "workloadentries", "patch", false, "labels go"),
    ("wayswitch-cleanup-objects", "", "services/status", "patch", false, "conditions go"),
    ("wayswitch-cleanup-objects", "networking.istio.io", "serviceentries/status", "patch", false, "conditions go"),
    ("wayswitch-cleanup-objects", "networking.istio.io", "workloadentries/status", "patch", false, "conditions go"),
    ("wayswitch-cleanup-objects", "security.istio.io", "authorizationpolicies/status", "patch", false, "conditions go"),
];

/// A right as a role has it.
pub type Granted = (String, String, String, String, bool);

/// The table, comparable.
#[must_use]
pub fn table() -> BTreeSet<Granted> {
    let owned = |(role, group, resource, verb, named, _): &Right| {
        ((*role).to_owned(), (*group).to_owned(), (*resource).to_owned(), (*verb).to_owned(), *named)
    };
    RIGHTS.iter().map(owned).collect()
}

/// Every right that the roles among these objects give.
#[must_use]
pub fn granted(objects: &[Value]) -> BTreeSet<Granted> {
    let mut all = BTreeSet::new();
    for role in objects.iter().filter(|it| matches!(text(it, "/kind"), "Role" | "ClusterRole")) {
        for rule in list(role, "/rules") {
            for group in list(rule, "/apiGroups").filter_map(Value::as_str) {
                for resource in list(rule, "/resources").filter_map(Value::as_str) {
                    for verb in list(rule, "/verbs").filter_map(Value::as_str) {
                        let named = list(rule, "/resourceNames").next().is_some();
                        let role = text(role, "/metadata/name");
                        all.insert((role.to_owned(), group.to_owned(), resource.to_owned(), verb.to_owned(), named));
                    }
                }
            }
        }
    }
    all
}
