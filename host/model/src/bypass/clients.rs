//! Who may be a client: every Pod, by the way its connections leave it. Who really calls whom is not known, and a Pod that
//! is not in the objects is not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::object::Kind;
use crate::store::{RowObject, Store};
use crate::table::{RowKey, Table};
use crate::waypoint_view::{EAST_WEST_CLASS, EAST_WEST_CONTROLLER, GATEWAY_NAME, MANAGED, MESH_CONTROLLER};
use crate::workload::Pod;

/// Label of a Pod or Namespace: `ambient` hands its connections to ztunnel, `none` on a Pod keeps it out.
pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
/// Its value for Pods whose connections ztunnel takes.
pub const AMBIENT: &str = "ambient";
/// Value of [`MANAGED`] on what belongs to an ingress gateway of Istio.
const GATEWAY_CONTROLLER: &str = "istio.io-gateway-controller";
/// Clients that are named where they are only counted.
pub const EXAMPLES_MAX: usize = 5;

/// How connections leave a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// ztunnel takes them, and knows waypoints.
    Captured,
    /// A sidecar takes them; it goes straight to workloads (R75).
    Sidecar,
    /// It is an ingress or egress gateway, which follows a waypoint only where it is told to (R72).
    Gateway,
    /// They leave from the node's own network, where nobody takes them.
    HostNetwork,
    /// Nobody takes them: it is not in the mesh.
    NotCaptured,
}

/// Some Pods, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// How many there are.
    pub pods: usize,
    /// How many of them in which namespace. 0 where no Pod of any namespace is known: what the namespace would start.
    pub namespaces: BTreeMap<Name, usize>,
    /// The first few.
    pub examples: Vec<RowKey>,
}

impl Clients {
    /// True when nobody is known.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    fn add(&mut self, key: &RowKey) {
        self.pods += 1;
        *self.namespaces.entry(key.namespace.clone()).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(key.clone());
        }
    }
}

/// All Pods by kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    all: BTreeMap<ClientKind, Arc<Clients>>,
    by_namespace: BTreeMap<(ClientKind, Name), Arc<Clients>>,
    everybody: Arc<Clients>,
    nobody: Arc<Clients>,
}

impl Census {
    /// Looks at every Pod once. `table` tells which Gateways are somebody's waypoint.
    pub(super) fn new(store: &Store, table: &Table) -> Self {
        let targets = table.iter().flat_map(|(_, row)| row.decision.targets());
        let waypoints: BTreeSet<&GatewayKey> = targets.map(|target| &target.gateway).collect();
        let mut all: BTreeMap<ClientKind, Clients> = BTreeMap::new();
        let mut by_namespace: BTreeMap<(ClientKind, Name), Clients> = BTreeMap::new();
        let mut everybody = Clients::default();
        for (key, object) in store.rows() {
            let RowObject::Pod(pod) = object else { continue };
            if let Some(kind) = kind_of(store, &waypoints, pod) {
                all.entry(kind).or_default().add(&key);
                by_namespace.entry((kind, key.namespace.clone())).or_default().add(&key);
                everybody.add(&key);
            }
        }
        if everybody.is_empty() {
            all = namespaces_only(store);
        }
        let shared = |(kind, clients)| (kind, Arc::new(clients));
        Self {
            all: all.into_iter().map(shared).collect(),
            by_namespace: by_namespace.into_iter().map(|(key, clients)| (key, Arc::new(clients))).collect(),
            everybody: Arc::new(everybody),
            nobody: Arc::default(),
        }
    }

    /// The Pods of one kind; with a namespace only those in it.
    pub(super) fn of(&self, kind: ClientKind, namespace: Option<&Name>) -> Arc<Clients> {
        let found = match namespace {
            None => self.all.get(&kind),
            Some(namespace) => self.by_namespace.get(&(kind, namespace.clone())),
        };
        Arc::clone(found.unwrap_or(&self.nobody))
    }

    /// All Pods that may be clients.
    pub(super) fn everybody(&self) -> Arc<Clients> {
        Arc::clone(&self.everybody)
    }
}

/// Objects without any Pod are manifests rather than a cluster: then namespaces stand for what they would start.
fn namespaces_only(store: &Store) -> BTreeMap<ClientKind, Clients> {
    let mut all: BTreeMap<ClientKind, Clients> = BTreeMap::new();
    for key in store.object_keys().filter(|key| key.kind == Kind::Namespace) {
        if key.name == store.facts().mesh.root_namespace || !store.is_discovered(&key.name) {
            continue;
        }
        let captured = is_ambient_namespace(store, &key.name);
        let kind = if captured { ClientKind::Captured } else { ClientKind::NotCaptured };
        all.entry(kind).or_default().namespaces.insert(key.name, 0);
    }
    all
}

/// None for what is no client: waypoints, east-west gateways (which follow waypoints in any case, R72), and Istio's own
/// Pods, those of the root namespace that are no gateways.
fn kind_of(store: &Store, waypoints: &BTreeSet<&GatewayKey>, pod: &Pod) -> Option<ClientKind> {
    let label = |key: &str| pod.meta.labels.get(key).map(|value| &**value);
    let named = label(GATEWAY_NAME).map(|name| GatewayKey::new(&pod.meta.namespace, name));
    let is_waypoint = named.as_ref().is_some_and(|key| waypoints.contains(key));
    let class = named.as_ref().and_then(|key| store.gateway(key)).map(|gateway| &*gateway.class);
    if is_waypoint
        || matches!(label(MANAGED), Some(MESH_CONTROLLER | EAST_WEST_CONTROLLER))
        || matches!(class, Some("istio-waypoint" | "istio-agentgateway-waypoint" | EAST_WEST_CLASS))
        || label("istio") == Some("eastwestgateway")
    {
        return None;
    }
    // A gateway is told from a sidecar by what Istio's installers put on it.
    let injected = pod.meta.annotations.get("inject.istio.io/templates").is_some_and(|it| it.contains("gateway"));
    let installed = matches!(label("istio"), Some("ingressgateway" | "egressgateway"));
    if label(MANAGED) == Some(GATEWAY_CONTROLLER) || pod.has_proxy && (named.is_some() || injected || installed) {
        return Some(ClientKind::Gateway);
    }
    if pod.meta.namespace == store.facts().mesh.root_namespace {
        return None;
    }
    Some(taken_by(store, pod))
}

/// How connections leave, and reach, an ordinary Pod.
pub(super) fn taken_by(store: &Store, pod: &Pod) -> ClientKind {
    if pod.has_proxy {
        ClientKind::Sidecar
    } else if pod.host_network {
        ClientKind::HostNetwork
    } else {
        let captured = match pod.meta.labels.get(DATAPLANE_MODE).map(|value| &**value) {
            Some(AMBIENT) => true,
            Some("none") => false,
            _ => is_ambient_namespace(store, &pod.meta.namespace),
        };
        if captured { ClientKind::Captured } else { ClientKind::NotCaptured }
    }
}

/// Whether ztunnel takes the connections of Pods in it that say nothing themselves.
pub(super) fn is_ambient_namespace(store: &Store, namespace: &Name) -> bool {
    let object = store.namespace(namespace);
    object.and_then(|object| object.meta.labels.get(DATAPLANE_MODE)).is_some_and(|value| &**value == AMBIENT)
}
