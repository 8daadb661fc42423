//! What a Gateway is as a waypoint, by what its objects say (R1-R12), for people. Decisions are made by a component, which
//! may read more or less into the same objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::GATEWAY_NAME;
use crate::gateway::{Gateway, GatewayClass, GatewayKey, HBONE_PORT, Listener};
use crate::name::{Labels, Name};
use crate::object::Kind;
use crate::selector::Selector;
use crate::store::Store;
use crate::table::{RowKey, RowKind};

/// Label of a Gateway or its class: what it serves (R4).
pub const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
/// Annotation of a Gateway or its class: how its instances take a destination (R9).
const INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";

/// A Gateway as a waypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `spec.gatewayClassName`.
    pub class: Name,
    /// It reports an address, of whatever type: that makes it a waypoint (R1).
    pub ready: bool,
    /// The kind of traffic, as written: `service`, `workload`, `all`; anything else serves nothing (R4).
    pub serves: Name,
    /// Whom its owner admits.
    pub admits: Admits,
    /// What it is known by: the first hostname, else the first IP (R5, R6); none: it has no usable address (R7).
    pub address: Option<Name>,
    /// Where that is dialled now (R91); empty: it is not known, for instance because a Service is not there yet.
    pub dial: Vec<IpAddr>,
    /// Its Pods, in the order of their keys (R12).
    pub instances: Vec<RowKey>,
    /// What these run as, each once.
    pub accounts: BTreeSet<Name>,
}

/// Whom a waypoint's owner admits (R11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admits {
    /// Objects of its own namespace.
    Same,
    /// Objects of all namespaces.
    All,
    /// Objects of namespaces with these labels; none: of no namespace.
    Selected(Option<Selector>),
}

impl Standing {
    pub(super) fn of(store: &Store, gateway: &Gateway, instances: &Instances) -> Self {
        let class = store.class(&gateway.class).map(|class| &**class);
        let hostname = gateway.addresses.iter().find_map(|address| address.hostname());
        let mut ips = gateway.addresses.iter().filter_map(|address| address.ip());
        let (address, dial) = match hostname {
            Some(hostname) => {
                let known = store.addresses_of(&gateway.meta.namespace, hostname);
                // As in decisions: what is reported beside the hostname is the same address (R14).
                let dial = if known.is_empty() { ips.collect() } else { known };
                (Some(hostname.clone()), dial)
            }
            None => ips.next().map_or((None, Vec::new()), |ip| (Some(ip.to_string().into()), vec![ip])),
        };
        let own = instances.of(&gateway.key());
        Self {
            class: gateway.class.clone(),
            ready: !gateway.addresses.is_empty(),
            serves: serves(store, gateway),
            admits: admits(gateway, class),
            address,
            dial,
            instances: own.iter().map(|instance| instance.pod.clone()).collect(),
            accounts: own.iter().map(|instance| instance.account.clone()).collect(),
        }
    }
}

/// The kind of traffic that a Gateway serves, as it or its class says (R4).
pub fn serves(store: &Store, gateway: &Gateway) -> Name {
    let of_class = || store.class(&gateway.class).and_then(|class| class.meta.labels.get(WAYPOINT_FOR));
    let written = gateway.meta.labels.get(WAYPOINT_FOR).or_else(of_class);
    written.cloned().unwrap_or_else(|| "service".into())
}

/// Whether the Gateway's owner admits objects of this namespace (R11, R20, R21).
pub fn admits_namespace(store: &Store, gateway: &Gateway, namespace: &Name) -> bool {
    match admits_of(store, gateway) {
        Admits::All => true,
        Admits::Same => gateway.meta.namespace == *namespace,
        Admits::Selected(None) => false,
        Admits::Selected(Some(selector)) => {
            let object = store.namespace(namespace);
            // The labels of an unknown namespace are empty (Q5).
            selector.matches(object.map_or(&Labels::default(), |object| &object.meta.labels))
        }
    }
}

/// Whom the Gateway's owner admits (R11).
pub fn admits_of(store: &Store, gateway: &Gateway) -> Admits {
    admits(gateway, store.class(&gateway.class).map(|class| &**class))
}

impl std::fmt::Display for Admits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let selector = match self {
            Self::Same => return f.write_str("own namespace"),
            Self::All => return f.write_str("all namespaces"),
            Self::Selected(None) => return f.write_str("nobody"),
            Self::Selected(Some(selector)) => selector,
        };
        if !selector.is_valid() {
            return f.write_str("nobody: the selector is not valid");
        }
        let labels = selector.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let requirements = selector.requirements.iter().map(|it| {
            let values = if it.values.is_empty() { String::new() } else { format!(" ({})", it.values.join(",")) };
            format!("{} {}{values}", it.key, it.operator)
        });
        let parts: Vec<String> = labels.chain(requirements).collect();
        if parts.is_empty() { f.write_str("all namespaces") } else { f.write_str(&parts.join(", ")) }
    }
}

/// By the listener that counts (R10): with a binding the one it is for, else the tunnel's; without either its own namespace.
fn admits(gateway: &Gateway, class: Option<&GatewayClass>) -> Admits {
    let of_class = || class.and_then(|class| class.meta.annotations.get(INBOUND_BINDING));
    let binding = gateway.meta.annotations.get(INBOUND_BINDING).or_else(of_class).and_then(|text| binding(text));
    let first = |fits: &dyn Fn(&Listener) -> bool| gateway.listeners.iter().find(|listener| fits(listener));
    let bound = match binding {
        Some((true, 0)) => first(&|it| &*it.protocol == "istio.io/PROXY"),
        None | Some((false, 0)) => None,
        Some((_, port)) => first(&|it| it.port == port),
    };
    let tunnel = || first(&|it| &*it.protocol == "HBONE" && it.port == HBONE_PORT.into());
    let Some(listener) = bound.or_else(tunnel) else { return Admits::Same };
    match listener.admits_from.as_deref() {
        Some("All") => Admits::All,
        Some("Selector") => Admits::Selected(listener.selector.clone()),
        _ => Admits::Same,
    }
}

/// Whether it is with a PROXY header, and the port (R9). A port that is none is 0 (Q2).
fn binding(text: &str) -> Option<(bool, u32)> {
    let (protocol, port) = text.split_once('/').map_or((text, None), |(protocol, port)| (protocol, Some(port)));
    let with_header = match protocol {
        "PROXY" => true,
        "NONE" => false,
        _ => return None,
    };
    match port {
        Some(port) if port.contains('/') => None,
        port => Some((with_header, port.and_then(|port| port.parse().ok()).unwrap_or(0))),
    }
}

/// The Pods of each Gateway, whatever state they are in (R12).
#[derive(Clone, Debug, Default)]
pub struct Instances {
    by_gateway: BTreeMap<GatewayKey, Vec<Instance>>,
    by_namespace: HashMap<Name, Vec<GatewayKey>>,
}

/// A Pod that is labelled as an instance of a Gateway.
#[derive(Clone, Debug)]
struct Instance {
    pod: RowKey,
    account: Name,
    labels: Labels,
}

impl Instances {
    /// Looks at every Pod once.
    pub fn new(store: &Store) -> Self {
        let mut instances = Self::default();
        for key in store.object_keys().filter(|key| key.kind == Kind::Pod) {
            let Some(pod) = store.pod(&key.namespace, &key.name) else { continue };
            let Some(gateway) = pod.meta.labels.get(GATEWAY_NAME) else { continue };
            let gateway = GatewayKey { namespace: key.namespace.clone(), name: gateway.clone() };
            let row = RowKey { kind: RowKind::Pod, namespace: key.namespace, name: key.name, part: None };
            let instance =
                Instance { pod: row, account: pod.service_account().clone(), labels: pod.meta.labels.clone() };
            instances.by_gateway.entry(gateway).or_default().push(instance);
        }
        for key in instances.by_gateway.keys() {
            instances.by_namespace.entry(key.namespace.clone()).or_default().push(key.clone());
        }
        instances
    }

    fn of(&self, gateway: &GatewayKey) -> &[Instance] {
        self.by_gateway.get(gateway).map_or(&[], Vec::as_slice)
    }

    /// What the instances of a Gateway run as, each once; empty: it has none.
    pub fn accounts(&self, gateway: &GatewayKey) -> BTreeSet<Name> {
        self.of(gateway).iter().map(|instance| instance.account.clone()).collect()
    }

    /// The Gateways of a namespace that have an instance with these labels.
    pub(super) fn selected_by<'a>(
        &'a self,
        namespace: &Name,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a GatewayKey> {
        let here = self.by_namespace.get(namespace).into_iter().flatten();
        here.filter(|key| self.of(key).iter().any(|instance| selector.is_subset_of(&instance.labels)))
    }
}
