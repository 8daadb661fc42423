//! Services as they are told: of a Kubernetes Service one, of a ServiceEntry one for each host (R33-R44).

use model::service::{Distribution, IpFamilies, TRAFFIC_DISTRIBUTION};
use model::service_entry::{AddressRange, Resolution};
use model::store::RowObject;
use model::{Decision, Labels, Name, Service, ServiceEntry, Store};

use super::hosts::service_at;
use super::ports;
use crate::proto::workload::load_balancing::{HealthPolicy, Mode, Scope};
use crate::proto::workload::{self as proto, LoadBalancing, NetworkAddress, Visibility};
use crate::resource::bytes_of_ip;
use crate::rewrite::WaypointFields;

/// Nearest last, as ztunnel counts how many match from the first on.
const SAME_ZONE: [Scope; 3] = [Scope::Network, Scope::Region, Scope::Zone];
const SAME_NODE: [Scope; 5] = [Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node];

/// The service told under `namespace/host`, which is `object`.
pub(super) fn service(
    store: &Store,
    object: &RowObject<'_>,
    host: &Name,
    decision: Option<&Decision>,
    waypoints: WaypointFields,
) -> Option<proto::Service> {
    let meta = object.meta();
    let has_waypoint = waypoints.waypoint.is_some();
    let told = proto::Service {
        name: meta.name.to_string(),
        namespace: meta.namespace.to_string(),
        hostname: host.to_string(),
        waypoint: waypoints.waypoint,
        weighted_waypoints: waypoints.weighted,
        ingress_use_waypoint: has_waypoint && decision.is_some_and(|decision| decision.ingress),
        ..proto::Service::default()
    };
    match object {
        RowObject::Service(service) => Some(kubernetes(store, service, told)),
        RowObject::ServiceEntry { entry, own_namespace_only, .. } => {
            let visibility = if *own_namespace_only { Visibility::Namespace } else { Visibility::Public };
            let told = proto::Service { visibility: visibility.into(), ..told };
            Some(entry_host(store, entry, host, told))
        }
        _ => None,
    }
}

fn kubernetes(store: &Store, service: &Service, told: proto::Service) -> proto::Service {
    let addresses = service.addresses.iter().map(|ip| address(store, AddressRange::single(*ip)));
    let families = match service.families {
        IpFamilies::Automatic => proto::IpFamilies::Automatic,
        IpFamilies::V4 => proto::IpFamilies::Ipv4Only,
        IpFamilies::V6 => proto::IpFamilies::Ipv6Only,
        IpFamilies::Dual => proto::IpFamilies::Dual,
    };
    let mut balancing = if service.node_local {
        Some(preference(Mode::Strict, &[Scope::Node]))
    } else {
        distributed(store, service.distribution, &service.meta.annotations, &service.meta.namespace)
    };
    if service.publish_not_ready {
        balancing.get_or_insert_default().set_health_policy(HealthPolicy::AllowAll);
    }
    proto::Service {
        addresses: addresses.collect(),
        ports: ports::of_service(service),
        load_balancing: balancing,
        ip_families: families.into(),
        // Whoever else claims its host does so for its own namespace only (R42).
        canonical: true,
        ..told
    }
}

fn entry_host(store: &Store, entry: &ServiceEntry, host: &Name, told: proto::Service) -> proto::Service {
    let balancing = if entry.resolution == Resolution::None {
        // Where the client wants (R38): health has no part in it.
        let mut through = preference(Mode::Passthrough, &[]);
        through.set_health_policy(HealthPolicy::AllowAll);
        Some(through)
    } else {
        distributed(store, None, &entry.meta.annotations, &entry.meta.namespace)
    };
    proto::Service {
        addresses: entry.addresses_of(host).into_iter().map(|range| address(store, range)).collect(),
        ports: ports::of_entry(entry),
        subject_alt_names: entry.subject_alt_names.iter().map(ToString::to_string).collect(),
        load_balancing: balancing,
        canonical: is_canonical(store, entry, host),
        ..told
    }
}

/// Whether clients of other namespaces mean this entry by its host (R42, R44).
fn is_canonical(store: &Store, entry: &ServiceEntry, host: &Name) -> bool {
    // Nobody's namespace: it has no hosts of its own.
    let canonical = store.service_of_host(host, &Name::from(""));
    canonical.is_some_and(|row| {
        row.namespace == entry.meta.namespace && service_at(store, &row.namespace, host).as_ref() == Some(&row)
    })
}

/// What is written in the spec, else in the annotation of the object, else in that of its Namespace.
fn distributed(
    store: &Store,
    spec: Option<Distribution>,
    annotations: &Labels,
    namespace: &Name,
) -> Option<LoadBalancing> {
    let inherited = || store.namespace(namespace)?.meta.annotations.get(TRAFFIC_DISTRIBUTION);
    let annotated = || annotations.get(TRAFFIC_DISTRIBUTION).or_else(inherited);
    let distribution = spec.or_else(|| Distribution::of_annotation(annotated()?))?;
    Some(match distribution {
        Distribution::SameZone => preference(Mode::Failover, &SAME_ZONE),
        Distribution::SameNode => preference(Mode::Failover, &SAME_NODE),
    })
}

fn preference(mode: Mode, scopes: &[Scope]) -> LoadBalancing {
    let routing_preference = scopes.iter().map(|scope| (*scope).into()).collect();
    LoadBalancing { routing_preference, mode: mode.into(), ..LoadBalancing::default() }
}

fn address(store: &Store, range: AddressRange) -> NetworkAddress {
    let length = range.as_single().is_none().then_some(range.prefix.into());
    NetworkAddress { network: store.facts().network.to_string(), address: bytes_of_ip(range.ip), length }
}
