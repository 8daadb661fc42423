//! Every label and annotation the selection reads, and the values it knows. Their meaning is in the modules that use them.

/// Label of a subject or namespace: the name of its waypoint, or [`NONE`] (R15).
pub(super) const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// Label beside it: the namespace of that waypoint (R15).
pub(super) const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// The one value of [`USE_WAYPOINT`] that is no name (R18).
pub(super) const NONE: &str = "none";

/// Label of a service or namespace: gateways go through the waypoint as well (R70).
pub(super) const INGRESS_USE_WAYPOINT: &str = "istio.io/ingress-use-waypoint";

/// Label of a Gateway or its class: what it serves (R4).
pub(super) const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
pub(super) const SERVICE: &str = "service";
pub(super) const WORKLOAD: &str = "workload";
pub(super) const ALL: &str = "all";

/// Annotation of a Gateway or its class: how its instances take a destination (R9).
pub(super) const INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";

/// Label of what a controller generated, and the two controllers whose Services never have a waypoint (R28).
pub(super) const MANAGED: &str = "gateway.istio.io/managed";
pub(super) const MESH_CONTROLLER: &str = "istio.io-mesh-controller";
pub(super) const EAST_WEST_CONTROLLER: &str = "istio.io-eastwest-controller";

/// Label of a workload: the Gateway, of its own namespace, that it is an instance of (R45).
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Labels of a service or namespace: its second waypoint, and that one's namespace (R61).
pub(super) const CANARY: &str = "istio.io/use-waypoint-canary";
pub(super) const CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
/// Annotation beside them: the percentage for it (R62).
pub(super) const CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";

/// Label of a subject or namespace, ours and not Istio's: which of its traffic must not go past a waypoint.
pub(super) const REQUIRED: &str = "wayswitch.io/waypoint-required";

/// Where a listener says whom it admits (R11).
pub(super) const ADMITS_FROM: &str = "allowedRoutes.namespaces.from";
/// Where a Gateway says how it is reached (R5-R7).
pub(super) const ADDRESSES: &str = "status.addresses";
/// The types of its entries that are of use.
pub(super) const HOSTNAME: &str = "Hostname";
pub(super) const IP_ADDRESS: &str = "IPAddress";
