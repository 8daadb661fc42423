//! Which service is told under a name (`namespace/hostname`), and what is known of the waypoints among them.

use std::net::IpAddr;

use model::decision::{Target, WaypointAddress};
use model::gateway::Gateway;
use model::service::service_of_host;
use model::service_entry::Resolution;
use model::store::RowObject;
use model::table::{RowKey, RowKind};
use model::{Name, Service, ServiceEntry, Store};

/// The label of what a controller generated for a Gateway, and those whose Gateways are waypoints (R28, Q6).
const MANAGED: &str = "gateway.istio.io/managed";
const WAYPOINT_CONTROLLERS: [&str; 3] =
    ["istio.io-mesh-controller", "istio.io-eastwest-controller", "istio.io-agentgateway-waypoint-controller"];
/// The listeners of a waypoint: its tunnel's, and that of a sandwiched one.
const WAYPOINT_PROTOCOLS: [&str; 2] = ["HBONE", "istio.io/PROXY"];
/// The annotation of a sandwiched one (R9).
const INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";

/// The service with exactly this namespace and host: a Service, else the ServiceEntry that counts (R42).
pub(super) fn service_at(store: &Store, namespace: &Name, host: &Name) -> Option<RowKey> {
    if let Some((of, name)) = service_of_host(host, &store.facts().cluster_domain)
        && *of == **namespace
    {
        let row = RowKey::new(RowKind::Service, of, name);
        if store.row(&row).is_some() {
            return Some(row);
        }
    }
    let entry = store.entry_with_host(host, namespace)?;
    let row =
        RowKey { kind: RowKind::ServiceEntry, namespace: namespace.clone(), name: entry.meta.name.clone(), part: None };
    store.row(&row).is_some().then_some(row)
}

/// The hosts that are told of a service, as `service_at` finds them; empty for what is none. Before Istio 1.29 several
/// entries have one host, and ztunnel can be told of one.
pub(super) fn hosts_of(store: &Store, row: &RowKey) -> Vec<Name> {
    match store.row(row) {
        Some(RowObject::Service(service)) => vec![service.host(&store.facts().cluster_domain)],
        Some(RowObject::ServiceEntry { entry, .. }) => hosts_of_entry(store, entry),
        _ => Vec::new(),
    }
}

/// The same of an entry.
pub(super) fn hosts_of_entry(store: &Store, entry: &ServiceEntry) -> Vec<Name> {
    let is_own = |host: &&Name| {
        let row = service_at(store, &entry.meta.namespace, host);
        row.is_some_and(|row| row.kind == RowKind::ServiceEntry && row.name == entry.meta.name)
    };
    store.hosts_of(entry).filter(is_own).cloned().collect()
}

/// Whether a service is a waypoint's own: generated for one, or the address that one reports. Sending it to a waypoint
/// would have the waypoint call itself, or another one in its way.
pub(crate) fn is_waypoints_own(store: &Store, row: &RowKey, host: &Name) -> bool {
    let Some(object) = store.row(row) else { return false };
    let managed = object.meta().labels.get(MANAGED);
    if managed.is_some_and(|by| WAYPOINT_CONTROLLERS.contains(&&**by)) {
        return true;
    }
    let vips: &[IpAddr] = if let RowObject::Service(service) = object { &service.addresses } else { &[] };
    is_reported(store, &row.namespace, host, vips)
}

/// Whether a waypoint of this namespace reports the host, or one of these addresses, as its own.
pub(crate) fn is_reported(store: &Store, namespace: &Name, host: &Name, vips: &[IpAddr]) -> bool {
    let gateways = store.gateways_in(namespace).filter_map(|key| store.gateway(key));
    gateways.filter(|gateway| takes_tunnels(gateway)).any(|gateway| {
        let is_it = |hostname: Option<&Name>, ip: Option<IpAddr>| {
            hostname == Some(host) || ip.is_some_and(|ip| vips.contains(&ip))
        };
        gateway.addresses.iter().any(|at| is_it(at.hostname(), at.ip()))
    })
}

fn takes_tunnels(gateway: &Gateway) -> bool {
    gateway.meta.annotations.get(INBOUND_BINDING).is_some()
        || gateway.listeners.iter().any(|listener| WAYPOINT_PROTOCOLS.contains(&&*listener.protocol))
}

/// Whether clients have a chance to reach a waypoint. What is not in the mesh is, if it can be dialled at all: nobody knows
/// its health.
pub(super) fn is_reachable(store: &Store, target: &Target) -> bool {
    let Some(address) = &target.address else { return false };
    health(store, &target.gateway.namespace, address).unwrap_or(!target.dial.is_empty())
}

/// Whether there is a healthy endpoint behind what a Gateway of this namespace reports; none: it is not in the mesh.
pub(super) fn health(store: &Store, namespace: &Name, address: &WaypointAddress) -> Option<bool> {
    match address {
        WaypointAddress::Hostname(host) => service_at(store, namespace, host).map(|row| has_healthy(store, &row)),
        WaypointAddress::Ip { ip, .. } => {
            service_of_vip(store, namespace, *ip).map(|service| service_has_healthy(store, service))
        }
    }
}

/// The Kubernetes Service that it reports, if it is one.
pub(super) fn service_behind<'a>(store: &'a Store, namespace: &Name, address: &WaypointAddress) -> Option<&'a Service> {
    match address {
        WaypointAddress::Hostname(host) => match store.row(&service_at(store, namespace, host)?)? {
            RowObject::Service(service) => Some(service),
            _ => None,
        },
        WaypointAddress::Ip { ip, .. } => service_of_vip(store, namespace, *ip),
    }
}

/// The Service of a Gateway's own namespace that has its address.
fn service_of_vip<'a>(store: &'a Store, namespace: &Name, ip: IpAddr) -> Option<&'a Service> {
    store.services_in(namespace).find(|service| service.addresses.contains(&ip))
}

fn has_healthy(store: &Store, row: &RowKey) -> bool {
    match store.row(row) {
        Some(RowObject::Service(service)) => service_has_healthy(store, service),
        Some(RowObject::ServiceEntry { entry, .. }) => entry_has_healthy(store, entry),
        _ => false,
    }
}

fn service_has_healthy(store: &Store, service: &Service) -> bool {
    let namespace = &service.meta.namespace;
    let (any, selector) = (service.publish_not_ready, &service.selector);
    let selects = !selector.is_empty();
    let mut pods = store.pods_in(namespace).filter(|pod| selects && selector.is_subset_of(&pod.meta.labels));
    if pods.any(|pod| any || pod.is_healthy()) {
        return true;
    }
    if selects && store.workload_entries_in(namespace).any(|entry| selector.is_subset_of(&entry.labels())) {
        return true;
    }
    store.slices_in(namespace).filter(|slice| slice.service() == Some(&service.meta.name)).any(|slice| {
        let pod = |name: &Name| {
            let row = RowKey { kind: RowKind::Pod, namespace: namespace.clone(), name: name.clone(), part: None };
            matches!(store.row(&row), Some(RowObject::Pod(pod)) if any || pod.is_healthy())
        };
        // Endpoints that are no address are not told of.
        let is_told = |address: &Name| address.parse::<IpAddr>().is_ok() && (any || slice.is_ready(address));
        !selects && slice.pods.iter().any(pod) || slice.addresses.iter().any(is_told)
    })
}

/// Endpoints of an entry have no health (R52); it is enough that there are some.
fn entry_has_healthy(store: &Store, entry: &ServiceEntry) -> bool {
    if entry.resolution == Resolution::None || entry.implies_endpoints() || !entry.endpoints.is_empty() {
        return true;
    }
    let namespace = &entry.meta.namespace;
    let Some(selector) = entry.selector.as_ref().filter(|selector| !selector.is_empty()) else { return false };
    let mut pods = store.pods_in(namespace).filter(|pod| selector.is_subset_of(&pod.meta.labels));
    pods.any(|pod| pod.is_healthy())
        || store.workload_entries_in(namespace).any(|entry| selector.is_subset_of(&entry.labels()))
}
