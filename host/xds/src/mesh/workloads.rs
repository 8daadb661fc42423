//! Workloads as they are told: Pods, WorkloadEntries, endpoints of ServiceEntries and of EndpointSlices (R45-R58).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use model::decision::{Tunnel, TunnelProtocol as Binding};
use model::service_entry::EntryEndpoint;
use model::store::RowObject;
use model::table::RowKey;
use model::{Decision, EndpointSlice, Labels, Name, Pod, ServiceEntry, Store, WorkloadEntry};

use super::hosts::hosts_of_entry;
use super::neighbours::{Member, Neighbours};
use super::networks::Networks;
use super::ports;
use crate::proto::workload::{
    ApplicationTunnel, GatewayAddress, Locality, NetworkMode, PortList, TunnelProtocol, Workload, WorkloadStatus,
    WorkloadType, application_tunnel,
};
use crate::resource::bytes_of_ip;

/// Says that ztunnel captures the Pod.
const REDIRECTION: &str = "ambient.istio.io/redirection";
/// Says by which protocols a workload takes tunnels itself.
const TUNNEL: &str = "networking.istio.io/tunnel";
/// Another name for what runs the workload.
const WORKLOAD_NAME: &str = "service.istio.io/workload-name";
const CANONICAL_NAMES: [&str; 3] = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
const CANONICAL_REVISIONS: [&str; 3] = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
/// Where no label says.
const REVISION: &str = "latest";
/// The trust domain that is not named.
const TRUST_DOMAIN: &str = "cluster.local";

type Services = BTreeMap<String, PortList>;

/// The workload of a row; none where the row is no workload, or its Service is not there (R57).
pub(super) fn workload(
    store: &Store,
    near: &Neighbours<'_>,
    networks: &Networks<'_>,
    key: &RowKey,
    object: &RowObject<'_>,
    decision: Option<&Decision>,
    waypoint: Option<GatewayAddress>,
) -> Option<Workload> {
    let facts = store.facts();
    let meta = object.meta();
    let told = Workload {
        uid: key.uid(&facts.cluster_id)?,
        name: meta.name.to_string(),
        namespace: meta.namespace.to_string(),
        network: facts.network.to_string(),
        trust_domain: trust_domain(store),
        cluster_id: facts.cluster_id.to_string(),
        workload_type: WorkloadType::Pod.into(),
        waypoint,
        application_tunnel: decision.and_then(|decision| decision.tunnel).map(tunnel),
        ..Workload::default()
    };
    let joined = Joined { store, near, networks };
    Some(match object {
        RowObject::Pod(pod) => joined.pod(pod, told),
        RowObject::WorkloadEntry(entry) => joined.workload_entry(entry, told),
        RowObject::EntryEndpoint { entry, endpoint } => joined.endpoint(entry, endpoint, told),
        RowObject::ImpliedEndpoint { entry, host } => joined.implied(entry, host, told),
        RowObject::SliceEndpoint { slice, address } => joined.slice(slice, address, told)?,
        RowObject::Service(_) | RowObject::ServiceEntry { .. } => return None,
    })
}

/// The trust domain as it is written: the usual one not at all.
pub(super) fn trust_domain(store: &Store) -> String {
    let domain = &store.facts().mesh.trust_domain;
    if **domain == *TRUST_DOMAIN { String::new() } else { domain.to_string() }
}

/// The name of a service in the list of those that a workload stands behind.
pub(super) fn service_name(namespace: &str, host: &str) -> String {
    let mut name = String::with_capacity(namespace.len() + 1 + host.len());
    name.push_str(namespace);
    name.push('/');
    name.push_str(host);
    name
}

#[derive(Clone, Copy)]
struct Joined<'a> {
    store: &'a Store,
    near: &'a Neighbours<'a>,
    networks: &'a Networks<'a>,
}

impl Joined<'_> {
    fn pod(self, pod: &Pod, told: Workload) -> Workload {
        let labels = &pod.meta.labels;
        let mut services = Services::new();
        let named = |name: &str| pod.template.port(name);
        for member in self.near.selecting(labels).into_iter().chain(self.near.naming(&pod.meta.name)) {
            self.join(member, &mut services, |member| match member {
                Member::Service(service) => ports::service_at_pod(&service.ports, named),
                Member::Entry(entry) => ports::entry_at(&entry.ports, named),
            });
        }
        let mode = if pod.host_network { NetworkMode::HostNetwork } else { NetworkMode::Standard };
        let told = Workload {
            addresses: pod.addresses.iter().map(|ip| bytes_of_ip(*ip)).collect(),
            service_account: pod.service_account().to_string(),
            node: pod.node.as_deref().unwrap_or_default().to_owned(),
            status: status(pod.is_healthy()).into(),
            locality: self.locality_of_node(pod.node.as_ref()),
            network_mode: mode.into(),
            authorization_policies: self.near.policies(labels),
            services,
            ..told
        };
        let runs = labels.get(WORKLOAD_NAME).unwrap_or_else(|| pod.workload());
        described(told, runs, labels, &pod.meta.annotations)
    }

    fn workload_entry(self, entry: &WorkloadEntry, told: Workload) -> Workload {
        // Of metadata and spec together (R50); most have them in one place only.
        let labels =
            if entry.spec_labels.is_empty() { Cow::Borrowed(&entry.meta.labels) } else { Cow::Owned(entry.labels()) };
        let mut services = Services::new();
        for member in self.near.selecting(&labels) {
            self.join(member, &mut services, |member| at_entry(member, &entry.ports));
        }
        let told = Workload {
            addresses: entry.ip().map(bytes_of_ip).into_iter().collect(),
            service_account: entry.service_account.to_string(),
            authorization_policies: self.near.policies(&labels),
            services,
            locality: locality(entry.locality.as_ref()),
            capacity: (entry.weight > 0).then_some(entry.weight),
            ..self.on_network(told, entry.network.as_ref())
        };
        described(told, &entry.meta.name, &labels, &entry.meta.annotations)
    }

    fn endpoint(self, entry: &ServiceEntry, endpoint: &EntryEndpoint, told: Workload) -> Workload {
        let mut services = Services::new();
        self.join(Member::Entry(entry), &mut services, |member| at_entry(member, &endpoint.ports));
        let ip: Option<IpAddr> = endpoint.address.parse().ok();
        let told = Workload {
            addresses: ip.map(bytes_of_ip).into_iter().collect(),
            hostname: if ip.is_none() { endpoint.address.to_string() } else { String::new() },
            service_account: endpoint.service_account.to_string(),
            locality: locality(endpoint.locality.as_ref()),
            capacity: (endpoint.weight > 0).then_some(endpoint.weight),
            services,
            ..self.on_network(told, endpoint.network.as_ref())
        };
        self.of_entry(entry, told)
    }

    /// It stands behind its own host alone.
    fn implied(self, entry: &ServiceEntry, host: &Name, told: Workload) -> Workload {
        let mut services = Services::new();
        self.join(Member::Entry(entry), &mut services, |member| at_entry(member, &[]));
        services.retain(|name, _| name.strip_prefix(&*entry.meta.namespace) == Some(&format!("/{host}")));
        self.of_entry(entry, Workload { hostname: host.to_string(), services, ..told })
    }

    /// Policies, name and tunnel go by the labels of the entry, not of its endpoint (R55).
    fn of_entry(self, entry: &ServiceEntry, told: Workload) -> Workload {
        let labels = &entry.meta.labels;
        let told = Workload { authorization_policies: self.near.policies(labels), ..told };
        described(told, &entry.meta.name, labels, &entry.meta.annotations)
    }

    /// Nobody knows who it is, nor whether others have its address (R57, R97).
    fn slice(self, slice: &EndpointSlice, address: &Name, told: Workload) -> Option<Workload> {
        let ip: IpAddr = address.parse().ok()?;
        let row = RowKey::new(model::table::RowKind::Service, &slice.meta.namespace, slice.service()?);
        let Some(RowObject::Service(service)) = self.store.row(&row) else { return None };
        let mut services = Services::new();
        self.join(Member::Service(service), &mut services, |_| ports::of_slice(&service.ports, &slice.ports));
        Some(Workload {
            addresses: vec![bytes_of_ip(ip)],
            status: status(slice.is_ready(address)).into(),
            network_mode: NetworkMode::HostNetwork.into(),
            services,
            waypoint: None,
            ..told
        })
    }

    /// Adds a service under the names that it is told by.
    fn join<'m>(
        self,
        member: Member<'m>,
        to: &mut Services,
        ports: impl Fn(Member<'m>) -> Vec<crate::proto::workload::Port>,
    ) {
        match member {
            Member::Service(service) => {
                let host = service.host(&self.store.facts().cluster_domain);
                to.insert(service_name(&service.meta.namespace, &host), PortList { ports: ports(member) });
            }
            Member::Entry(entry) => {
                for host in hosts_of_entry(self.store, entry) {
                    to.insert(service_name(&entry.meta.namespace, &host), PortList { ports: ports(member) });
                }
            }
        }
    }

    fn on_network(self, told: Workload, network: Option<&Name>) -> Workload {
        let Some(network) = network else { return told };
        Workload { network: network.to_string(), network_gateway: self.networks.gateway_to(network), ..told }
    }

    fn locality_of_node(self, name: Option<&Name>) -> Option<Locality> {
        let [region, zone, subzone] = self.store.locality_of_node(name).map(|part| part.to_string());
        let locality = Locality { region, zone, subzone };
        (locality != Locality::default()).then_some(locality)
    }
}

fn at_entry(member: Member<'_>, own: &[(Name, u32)]) -> Vec<crate::proto::workload::Port> {
    match member {
        Member::Service(service) => ports::service_at_entry(&service.ports, own),
        Member::Entry(entry) => ports::entry_at(&entry.ports, |name| ports::named(own, name)),
    }
}

fn status(is_healthy: bool) -> WorkloadStatus {
    if is_healthy { WorkloadStatus::Healthy } else { WorkloadStatus::Unhealthy }
}

fn tunnel(tunnel: Tunnel) -> ApplicationTunnel {
    let protocol = match tunnel.protocol {
        Binding::None => application_tunnel::Protocol::None,
        Binding::Proxy => application_tunnel::Protocol::Proxy,
    };
    ApplicationTunnel { protocol: protocol.into(), port: tunnel.port }
}

/// What is called what, and whether it takes tunnels: itself, or ztunnel for it.
fn described(told: Workload, runs: &Name, labels: &Labels, annotations: &Labels) -> Workload {
    let first = |keys: &[&str]| keys.iter().find_map(|key| labels.get(key));
    let is_native = labels.get(TUNNEL).is_some_and(|by| by.split(',').any(|by| by == "http"));
    let is_captured = annotations.get(REDIRECTION).is_some_and(|value| **value == *"enabled");
    let protocol = if is_native || is_captured { TunnelProtocol::Hbone } else { TunnelProtocol::None };
    Workload {
        workload_name: runs.to_string(),
        canonical_name: first(&CANONICAL_NAMES).unwrap_or(runs).to_string(),
        canonical_revision: first(&CANONICAL_REVISIONS).map_or(REVISION, |revision| revision).to_owned(),
        tunnel_protocol: protocol.into(),
        native_tunnel: is_native,
        ..told
    }
}

/// `region/zone/subzone`, of which later parts may be missing.
fn locality(written: Option<&Name>) -> Option<Locality> {
    let mut parts = written?.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let locality = Locality { region: next(), zone: next(), subzone: next() };
    (locality != Locality::default()).then_some(locality)
}
