//! What a control plane said, as a component may see it: from the bytes of an Address to a
//! [`LearnedSubject`]. [`mirror`] holds both, and what clients are told because of them.

use std::net::IpAddr;
use std::sync::Arc;

use model::Facts;
use model::input::{SubjectKind, Visibility};
use model::learned::{LearnedEndpoint, LearnedSubject, LearnedWaypoint, service_with_host, workload_of_uid};
use model::name::Name;
use prost::Message;

use crate::proto::workload::address::Type;
use crate::proto::workload::gateway_address::Destination;
use crate::proto::workload::{self, Address, GatewayAddress, NetworkMode, Service, Workload, WorkloadStatus};
use crate::resource::{Key, ip_of_bytes, keys_of_service};

pub mod mirror;
mod outside;

/// A decoded Address.
pub(crate) fn decoded(body: &[u8]) -> Option<Type> {
    // The client has refused what cannot be decoded; what else cannot be is passed on and not looked into.
    Address::decode(body).ok()?.r#type
}

/// The subject that an Address is: one whose name is the key inside it. Others are for nobody to find, and are not asked
/// about.
pub(crate) fn subject(name: &str, address: &Type, facts: &Facts) -> Option<LearnedSubject> {
    match address {
        Type::Workload(it) => (it.uid == name).then(|| of_workload(it, facts)),
        Type::Service(it) => {
            let is_key = name.split_once('/').is_some_and(|key| key == (it.namespace.as_str(), it.hostname.as_str()));
            is_key.then(|| of_service(it, facts))
        }
    }
}

fn of_workload(workload: &Workload, facts: &Facts) -> LearnedSubject {
    let (kind, row) = workload_of_uid(&workload.uid, &facts.cluster_id);
    let account = if workload.service_account.is_empty() { "default" } else { &workload.service_account };
    LearnedSubject {
        kind,
        namespace: workload.namespace.as_str().into(),
        name: workload.name.as_str().into(),
        row,
        hosts: Box::default(),
        addresses: match workload.network_mode() {
            NetworkMode::HostNetwork => Box::default(),
            NetworkMode::Standard => {
                let network = network_of(&workload.network, facts);
                let ips = workload.addresses.iter().filter_map(|bytes| ip_of_bytes(bytes));
                ips.map(|ip| (network.clone(), ip)).collect()
            }
        },
        service_account: Some(account.into()),
        visibility: Visibility::Everywhere,
        upstream: waypoints(workload.waypoint.as_ref()).into(),
        ready: endpoint(workload).map(Arc::new),
    }
}

/// Where a workload is, and behind what; none while it is not healthy.
fn endpoint(workload: &Workload) -> Option<LearnedEndpoint> {
    if workload.status() != WorkloadStatus::Healthy {
        return None;
    }
    let at = workload.locality.as_ref();
    let locality = at.map(|at| [&at.region, &at.zone, &at.subzone].map(|part| part.as_str().into()));
    Some(LearnedEndpoint {
        services: workload.services.keys().map(|key| key.as_str().into()).collect(),
        locality: locality.unwrap_or_default(),
    })
}

/// The name of a network. There are many addresses, and most are on this one.
fn network_of(name: &str, facts: &Facts) -> Name {
    if *name == *facts.network { facts.network.clone() } else { name.into() }
}

fn of_service(service: &Service, facts: &Facts) -> LearnedSubject {
    let host: Name = service.hostname.as_str().into();
    let (kind, row) = service_with_host(&host, &service.namespace, &facts.cluster_domain);
    let weighted = service.weighted_waypoints.iter().filter_map(|it| it.destination.as_ref());
    let is_private = service.visibility() == workload::Visibility::Namespace;
    LearnedSubject {
        kind,
        namespace: service.namespace.as_str().into(),
        name: service.name.as_str().into(),
        row,
        hosts: [host].into(),
        addresses: keys_of_service(service).into_iter().filter_map(|key| ip_of_key(key, facts)).collect(),
        service_account: None,
        // Only a ServiceEntry is asked about with it (R117).
        visibility: match kind {
            SubjectKind::ServiceEntry if is_private => Visibility::OwnNamespace,
            _ => Visibility::Everywhere,
        },
        upstream: waypoints(service.waypoint.iter().chain(weighted)).into(),
        ready: None,
    }
}

/// The waypoints in their order, each once; those without a destination lead nowhere.
fn waypoints<'a>(addresses: impl IntoIterator<Item = &'a GatewayAddress>) -> Vec<LearnedWaypoint> {
    let mut waypoints = Vec::new();
    for waypoint in addresses.into_iter().filter_map(waypoint) {
        if !waypoints.contains(&waypoint) {
            waypoints.push(waypoint);
        }
    }
    waypoints
}

fn waypoint(address: &GatewayAddress) -> Option<LearnedWaypoint> {
    Some(match address.destination.as_ref()? {
        Destination::Hostname(it) => {
            LearnedWaypoint::Host { namespace: it.namespace.as_str().into(), host: it.hostname.as_str().into() }
        }
        Destination::Address(it) => {
            LearnedWaypoint::Ip { network: it.network.as_str().into(), ip: ip_of_bytes(&it.address)? }
        }
    })
}

fn ip_of_key(key: Key, facts: &Facts) -> Option<(Name, IpAddr)> {
    match key {
        Key::Ip(at) => Some((network_of(&at.network, facts), at.ip)),
        Key::Service(_) => None,
    }
}

#[cfg(test)]
mod tests;
