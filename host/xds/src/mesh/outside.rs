//! Waypoints that are not in the mesh: ztunnel needs a record of each that it is referred to. A service without addresses
//! and a workload beside it serve, and leave the index of addresses as it is.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::decision::{Target, WaypointAddress};
use model::gateway::{GatewayKey, HBONE_PORT};
use model::sink::Decided;
use model::{Name, Store};

use super::hosts::service_at;
use super::workloads::{service_name, trust_domain};
use crate::proto::workload::{NetworkMode, Port, PortList, Service, TunnelProtocol, Workload, WorkloadType};
use crate::resource::{Key, NetworkIp, Resource, Snapshot, Stamp, bytes_of_ip};
use crate::waypoint::{OUTSIDE_NAMESPACE, outside_hostname};

/// What a decision refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reference {
    /// A hostname in the Gateway's namespace.
    Host(Name, Name),
    /// An address.
    Ip(NetworkIp),
}

/// Who is referred to, and where that can be dialled.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    gateways: BTreeSet<GatewayKey>,
    dial: BTreeSet<IpAddr>,
}

impl Uses {
    /// One more target is meant by it.
    pub(crate) fn add(&mut self, target: &Target) {
        self.gateways.insert(target.gateway.clone());
        self.dial.extend(&target.dial);
    }
}

impl Reference {
    /// None: it reports no usable address (R7).
    pub(crate) fn of(target: &Target) -> Option<Self> {
        Self::at(&target.gateway.namespace, target.address.as_ref()?)
    }

    /// Of an address that a Gateway of this namespace has.
    pub(super) fn at(namespace: &Name, address: &WaypointAddress) -> Option<Self> {
        Some(match address {
            WaypointAddress::Hostname(host) => Self::Host(namespace.clone(), host.clone()),
            WaypointAddress::Ip { network, ip } => Self::Ip(NetworkIp { network: network.clone(), ip: *ip }),
        })
    }

    /// Whether clients find it without help.
    fn is_inside(&self, store: &Store, snapshot: &Snapshot) -> bool {
        match self {
            Self::Host(namespace, host) => service_at(store, namespace, host).is_some(),
            Self::Ip(at) => snapshot.addresses.at(&Key::Ip(at.clone())).next().is_some(),
        }
    }

    /// Namespace and hostname of the service that stands for it.
    pub(crate) fn service(&self) -> (String, String) {
        match self {
            Self::Host(namespace, host) => (namespace.to_string(), host.to_string()),
            Self::Ip(at) => (OUTSIDE_NAMESPACE.to_owned(), outside_hostname(&at.network, at.ip)),
        }
    }
}

/// Puts in what stands for all waypoints that decisions refer to and that are not in the mesh.
pub(super) fn put_all(snapshot: &mut Snapshot, now: Decided<'_>) {
    for (reference, uses) in used(now, |_| true) {
        if !reference.is_inside(now.store, snapshot) {
            put(snapshot, now, &reference, &uses);
        }
    }
}

/// Sees to it that these, of which something may have changed, have what stands for them where they need it.
pub(super) fn settle(snapshot: &mut Snapshot, now: Decided<'_>, references: &BTreeSet<Reference>) {
    let is_outside = |it: &&Reference| !it.is_inside(now.store, snapshot);
    let outside: BTreeSet<&Reference> = references.iter().filter(is_outside).collect();
    // A look at every decision, but only where one of them is not in the mesh, which is rare.
    let used = if outside.is_empty() { BTreeMap::new() } else { used(now, |it| outside.contains(it)) };
    for reference in references {
        let uses = used.get(reference).filter(|uses| !uses.dial.is_empty());
        match uses {
            Some(uses) => put(snapshot, now, reference, uses),
            None => take(snapshot, now.store, reference),
        }
    }
}

/// What decisions refer to, as far as it is wanted.
fn used(now: Decided<'_>, is_wanted: impl Fn(&Reference) -> bool) -> BTreeMap<Reference, Uses> {
    let mut used: BTreeMap<Reference, Uses> = BTreeMap::new();
    let mut seen = HashSet::new();
    for (_, row) in now.table.iter() {
        // Many rows share a decision.
        if row.decision.targets().is_empty() || !seen.insert(Arc::as_ptr(&row.decision)) {
            continue;
        }
        for target in row.decision.targets() {
            if let Some(reference) = Reference::of(target).filter(&is_wanted) {
                used.entry(reference).or_default().add(target);
            }
        }
    }
    used
}

fn put(snapshot: &mut Snapshot, now: Decided<'_>, reference: &Reference, uses: &Uses) {
    let stamp = Stamp { rules: now.table.rules, revision: now.table.revision };
    for resource in stand_in(now.store, reference, uses, stamp).into_iter().flatten() {
        snapshot.addresses.put(resource);
    }
}

/// The service and the workload that stand for a waypoint; none where nobody knows where to dial it.
pub(crate) fn stand_in(store: &Store, reference: &Reference, uses: &Uses, stamp: Stamp) -> Option<[Resource; 2]> {
    let gateway = uses.gateways.first().filter(|_| !uses.dial.is_empty())?;
    let facts = store.facts();
    let (namespace, hostname) = reference.service();
    let port = Port { service_port: HBONE_PORT.into(), target_port: HBONE_PORT.into(), app_protocol: 0 };
    let domain = &facts.mesh.trust_domain;
    // A waypoint runs as an account of its Gateway's name unless somebody saw to it otherwise.
    let identity = |it: &GatewayKey| format!("spiffe://{domain}/ns/{}/sa/{}", it.namespace, it.name);
    let service = Service {
        name: gateway.name.to_string(),
        ports: vec![port],
        subject_alt_names: uses.gateways.iter().map(identity).collect(),
        canonical: true,
        namespace: namespace.clone(),
        hostname: hostname.clone(),
        ..Service::default()
    };
    let network = if let Reference::Ip(at) = reference { &at.network } else { &facts.network };
    let workload = Workload {
        uid: uid(reference),
        name: gateway.name.to_string(),
        namespace: gateway.namespace.to_string(),
        service_account: gateway.name.to_string(),
        trust_domain: trust_domain(store),
        addresses: uses.dial.iter().map(|ip| bytes_of_ip(*ip)).collect(),
        network: network.to_string(),
        network_mode: NetworkMode::HostNetwork.into(),
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        // No node: on its own, ztunnel would ask for a certificate of this identity.
        node: String::new(),
        workload_type: WorkloadType::Pod.into(),
        workload_name: gateway.name.to_string(),
        canonical_name: gateway.name.to_string(),
        cluster_id: facts.cluster_id.to_string(),
        services: [(service_name(&namespace, &hostname), PortList { ports: vec![port] })].into(),
        ..Workload::default()
    };
    Some([Resource::service(service, stamp), Resource::workload(workload, stamp)])
}

/// Whether this service stands for a waypoint that is not in the mesh.
pub(super) fn has(snapshot: &Snapshot, namespace: &Name, host: &Name) -> bool {
    snapshot.addresses.get(&uid(&Reference::Host(namespace.clone(), host.clone()))).is_some()
}

/// The same of one that is known only by this address.
pub(super) fn has_ip(snapshot: &Snapshot, at: &NetworkIp) -> bool {
    snapshot.addresses.get(&uid(&Reference::Ip(at.clone()))).is_some()
}

/// Takes out what stood for it. A service of the mesh under the same name stays.
fn take(snapshot: &mut Snapshot, store: &Store, reference: &Reference) {
    let uid = uid(reference);
    // Nearly always there is nothing; looking is cheaper than removing.
    if snapshot.addresses.get(&uid).is_some() {
        snapshot.addresses.remove(&uid);
        let (namespace, hostname) = reference.service();
        let is_of_mesh = match reference {
            Reference::Host(namespace, host) => service_at(store, namespace, host).is_some(),
            Reference::Ip(_) => false,
        };
        if !is_of_mesh {
            snapshot.addresses.remove(&service_name(&namespace, &hostname));
        }
    }
}

/// Of a shape that no uid of the mesh has: those begin with the name of a cluster (R58).
pub(crate) fn uid(reference: &Reference) -> String {
    let (namespace, hostname) = reference.service();
    format!("wayswitch//waypoint/{namespace}/{hostname}")
}
