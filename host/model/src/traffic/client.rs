//! What a client is to the mesh: who looks at what it sends, if anybody does. Not the destination.

use serde::Serialize;

use super::Step;
use crate::gateway::{Gateway, GatewayKey};
use crate::store::Store;
use crate::table::RowKey;
use crate::waypoint_view::{EAST_WEST_CLASS, EAST_WEST_CONTROLLER, GATEWAY_NAME, MANAGED, MESH_CONTROLLER};
use crate::workload::Pod;

/// Label of a Pod or Namespace: enrolled with its node's ztunnel, or not.
pub(super) const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
pub(super) const AMBIENT: &str = "ambient";
const NO_MODE: &str = "none";
/// Annotation that Istio's CNI writes on a Pod once it is enrolled.
const REDIRECTION: &str = "ambient.istio.io/redirection";

/// Values of [`MANAGED`] on the pods of gateways, and of waypoints of another controller.
const INGRESS_CONTROLLER: &str = "istio.io-gateway-controller";
const AGENTGATEWAY_CONTROLLER: &str = "istio.io-agentgateway-waypoint-controller";
/// What Istio's installers put on the pods of gateways that belong to no Gateway.
const INSTALLED: &str = "istio";
const TEMPLATES: &str = "inject.istio.io/templates";

/// Label of a Gateway or class that only waypoints have (R4).
const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
const WAYPOINT_CLASSES: [&str; 2] = ["istio-waypoint", "istio-agentgateway-waypoint"];
/// Protocols of listeners that only waypoints have (R10).
const WAYPOINT_PROTOCOLS: [&str; 2] = ["HBONE", "istio.io/PROXY"];

/// A Pod that connects to something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Client {
    /// The Pod.
    pub key: RowKey,
    /// What it is to the mesh.
    #[serde(flatten)]
    pub kind: ClientKind,
    /// The Gateway that it is an instance of.
    #[serde(rename = "instanceOf")]
    pub instance_of: Option<GatewayKey>,
}

/// What a client is to the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "because", rename_all = "kebab-case")]
pub enum ClientKind {
    /// Enrolled: its ztunnel sends for it.
    Enrolled,
    /// It has a sidecar, which knows no waypoints (R75).
    Sidecar,
    /// An ingress or egress gateway (R70-R74).
    IngressGateway,
    /// An east-west gateway (R72).
    EastWestGateway,
    /// A waypoint that dials for itself (R94).
    Waypoint,
    /// Nobody sends for it.
    NotEnrolled(NotEnrolled),
}

/// Why nobody sends for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotEnrolled {
    /// It is on the host's network.
    HostNetwork,
    /// It opts out itself.
    OptedOut,
    /// Neither it nor its namespace asks for it.
    NotAsked,
}

impl Client {
    /// What a published Pod is.
    pub(super) fn of(store: &Store, key: RowKey) -> Self {
        let Some(pod) = store.pod(&key.namespace, &key.name) else {
            return Self { key, kind: ClientKind::NotEnrolled(NotEnrolled::NotAsked), instance_of: None };
        };
        let named = pod.meta.labels.get(GATEWAY_NAME);
        let gateway = named.map(|name| GatewayKey { namespace: key.namespace.clone(), name: name.clone() });
        let gateway = gateway.and_then(|key| store.gateway(&key));
        let enrolment = enrolment(store, pod);
        let kind = match role(store, pod, gateway.map(AsRef::as_ref)) {
            Some(ClientKind::Waypoint) if enrolment == ClientKind::Enrolled => enrolment,
            Some(role) => role,
            None if pod.has_proxy => ClientKind::Sidecar,
            None => enrolment,
        };
        Self { key, kind, instance_of: gateway.map(|gateway| gateway.key()) }
    }

    pub(super) fn step(&self, store: &Store) -> Step {
        let namespace = &self.key.namespace;
        let (rule, text) = match self.kind {
            ClientKind::Enrolled => ("R86", "the client is enrolled: its ztunnel looks at the address that it dials"),
            ClientKind::Sidecar => ("R75", "the client has a sidecar, and sidecars never use waypoints"),
            ClientKind::IngressGateway => {
                ("R72", "the client is a gateway: it goes through the waypoint of a service if that says so")
            }
            ClientKind::EastWestGateway => {
                ("R72", "the client is an east-west gateway: it goes through the waypoint of a service")
            }
            ClientKind::Waypoint => ("R94", "the client is a waypoint, which dials endpoints itself"),
            ClientKind::NotEnrolled(NotEnrolled::HostNetwork) => {
                ("R86", "the client is on the host's network, which is never enrolled: nobody sends for it")
            }
            ClientKind::NotEnrolled(NotEnrolled::OptedOut) => {
                ("R86", "the client opts out of the mesh: nobody sends for it")
            }
            ClientKind::NotEnrolled(NotEnrolled::NotAsked) if store.namespace(namespace).is_none() => (
                "R86",
                "the client has no label istio.io/dataplane-mode and its Namespace is not known: nobody sends for it",
            ),
            ClientKind::NotEnrolled(NotEnrolled::NotAsked) => {
                ("R86", "neither the client nor its namespace has istio.io/dataplane-mode=ambient: nobody sends for it")
            }
        };
        Step::new(rule, text)
    }

    pub(super) fn advice(&self) -> Option<&'static str> {
        match self.kind {
            ClientKind::Sidecar => {
                Some("run the client without a sidecar, and enrol it: istio.io/dataplane-mode=ambient")
            }
            ClientKind::NotEnrolled(NotEnrolled::HostNetwork) => {
                Some("run the client on a network of its own, and enrol it")
            }
            _ => None,
        }
    }

    /// Whether it is an instance of this waypoint, which does not go through itself (R88).
    pub(super) fn is_instance_of(&self, gateway: &GatewayKey) -> bool {
        self.instance_of.as_ref() == Some(gateway)
    }
}

/// Gateways and waypoints: by who generated or installed the Pod, else by what its Gateway looks like.
fn role(store: &Store, pod: &Pod, gateway: Option<&Gateway>) -> Option<ClientKind> {
    let label = |key: &str| pod.meta.labels.get(key).map(|value| &**value);
    match (label(MANAGED), label(INSTALLED)) {
        (Some(INGRESS_CONTROLLER), _) | (_, Some("ingressgateway" | "egressgateway")) => {
            return Some(ClientKind::IngressGateway);
        }
        (Some(EAST_WEST_CONTROLLER), _) | (_, Some("eastwestgateway")) => return Some(ClientKind::EastWestGateway),
        (Some(MESH_CONTROLLER | AGENTGATEWAY_CONTROLLER), _) => return Some(ClientKind::Waypoint),
        _ => {}
    }
    let Some(gateway) = gateway else {
        let templates = pod.meta.annotations.get(TEMPLATES);
        let injected = templates.is_some_and(|names| names.split(',').any(|name| name.trim() == "gateway"));
        return injected.then_some(ClientKind::IngressGateway);
    };
    if &*gateway.class == EAST_WEST_CLASS {
        return Some(ClientKind::EastWestGateway);
    }
    let class = store.class(&gateway.class);
    let labelled =
        gateway.meta.labels.get(WAYPOINT_FOR).or(class.and_then(|class| class.meta.labels.get(WAYPOINT_FOR)));
    let listens = gateway.listeners.iter().any(|listener| WAYPOINT_PROTOCOLS.contains(&&*listener.protocol));
    let waypoint = WAYPOINT_CLASSES.contains(&&*gateway.class) || labelled.is_some() || listens;
    Some(if waypoint { ClientKind::Waypoint } else { ClientKind::IngressGateway })
}

/// What Istio's CNI does with the Pod. What it has written counts before what it was asked.
fn enrolment(store: &Store, pod: &Pod) -> ClientKind {
    let not = ClientKind::NotEnrolled;
    let text = |name: Option<&crate::Name>| name.map(|name| name.to_string()).unwrap_or_default();
    let written = text(pod.meta.annotations.get(REDIRECTION));
    let own = text(pod.meta.labels.get(DATAPLANE_MODE));
    let inherited = store.namespace(&pod.meta.namespace).and_then(|it| it.meta.labels.get(DATAPLANE_MODE));
    match (written.as_str(), own.as_str()) {
        _ if pod.host_network => not(NotEnrolled::HostNetwork),
        ("enabled", _) => ClientKind::Enrolled,
        ("disabled", _) | (_, NO_MODE) => not(NotEnrolled::OptedOut),
        (_, AMBIENT) => ClientKind::Enrolled,
        _ if inherited.is_some_and(|mode| &**mode == AMBIENT) => ClientKind::Enrolled,
        _ => not(NotEnrolled::NotAsked),
    }
}
