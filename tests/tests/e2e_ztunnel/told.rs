//! The mesh of these tests a third time: as a control plane would tell it, with both waypoints programmed for every service.

use std::net::IpAddr;

use xds::proto::workload::gateway_address::Destination;
use xds::proto::workload::{
    ApplicationTunnel, GatewayAddress, IpFamilies, NamespacedHostname, NetworkAddress, Port, PortList, Service,
    TunnelProtocol, WeightedWaypoint, Workload, application_tunnel,
};
use xds::resource::{Resource, Snapshot, Stamp, bytes_of_ip};

use super::mesh::{
    CLIENT, FIRST, Family, HBONE_PORT, NAMESPACE, NODE_NAME, Pod, SECOND, SERVER, SERVER_PORT, SERVICE_PORT, SERVICES,
    hostname, service_ip, waypoint_ip,
};
use super::waypoint::WAYPOINT_PORT;

/// A field that nobody knows yet.
const OF_THE_FUTURE: u32 = 2000;

/// All of it.
pub(crate) fn mesh(family: Family) -> Snapshot {
    let mut mesh = Snapshot::default();
    for (number, name) in SERVICES.iter().enumerate() {
        mesh.addresses.put(newer(&behind_waypoint(family, name, service_ip(family, number))));
    }
    for pod in [FIRST, SECOND] {
        let own = service(family, pod.name, waypoint_ip(family, &pod), HBONE_PORT, HBONE_PORT);
        mesh.addresses.put(newer(&Resource::service(own, Stamp::default())));
    }
    for pod in [CLIENT, SERVER, FIRST, SECOND] {
        mesh.addresses.put(newer(&Resource::workload(workload(family, &pod), Stamp::default())));
    }
    mesh
}

/// A service with [`FIRST`] as its waypoint, and [`SECOND`] as a canary that no connection is meant for.
pub(crate) fn behind_waypoint(family: Family, name: &str, ip: IpAddr) -> Resource {
    let weighted = |pod: &Pod, weight| WeightedWaypoint { destination: Some(gateway(pod)), weight };
    let service = Service {
        waypoint: Some(gateway(&FIRST)),
        weighted_waypoints: vec![weighted(&FIRST, 100), weighted(&SECOND, 0)],
        ..service(family, name, ip, SERVICE_PORT, SERVER_PORT)
    };
    Resource::service(service, Stamp::default())
}

/// As a control plane tells it that is newer than the agent and ztunnel.
fn newer(resource: &Resource) -> Resource {
    let mut body = resource.body().to_vec();
    prost::encoding::string::encode(OF_THE_FUTURE, &"later".to_owned(), &mut body);
    Resource::new(resource.name().clone(), body.into(), [], Stamp::default())
}

fn gateway(pod: &Pod) -> GatewayAddress {
    let host = NamespacedHostname { namespace: NAMESPACE.into(), hostname: hostname(pod.name) };
    GatewayAddress { destination: Some(Destination::Hostname(host)), hbone_mtls_port: HBONE_PORT.into() }
}

fn service(family: Family, name: &str, ip: IpAddr, port: u16, target: u16) -> Service {
    let ip_families = match family {
        Family::V4 => IpFamilies::Ipv4Only,
        Family::V6 => IpFamilies::Ipv6Only,
    };
    Service {
        name: name.into(),
        namespace: NAMESPACE.into(),
        hostname: hostname(name),
        addresses: vec![NetworkAddress { address: bytes_of_ip(ip), ..NetworkAddress::default() }],
        ports: vec![ports(port, target)],
        ip_families: ip_families.into(),
        canonical: true,
        ..Service::default()
    }
}

fn ports(port: u16, target: u16) -> Port {
    Port { service_port: port.into(), target_port: target.into(), ..Port::default() }
}

fn workload(family: Family, pod: &Pod) -> Workload {
    let behind = |name: &str, port, target| {
        (format!("{NAMESPACE}/{}", hostname(name)), PortList { ports: vec![ports(port, target)] })
    };
    let proxy = application_tunnel::Protocol::Proxy;
    let tunnel = ApplicationTunnel { protocol: proxy.into(), port: WAYPOINT_PORT.into() };
    Workload {
        uid: format!("Kubernetes//Pod/{NAMESPACE}/{}", pod.name),
        name: pod.name.into(),
        namespace: NAMESPACE.into(),
        addresses: vec![bytes_of_ip(pod.ip(family))],
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        service_account: pod.account().into(),
        node: NODE_NAME.into(),
        workload_name: pod.name.into(),
        canonical_name: pod.name.into(),
        canonical_revision: "latest".into(),
        cluster_id: "Kubernetes".into(),
        services: if pod.is_waypoint() {
            [behind(pod.name, HBONE_PORT, HBONE_PORT)].into()
        } else if *pod == SERVER {
            SERVICES.iter().map(|name| behind(name, SERVICE_PORT, SERVER_PORT)).collect()
        } else {
            Default::default()
        },
        application_tunnel: pod.is_waypoint().then_some(tunnel),
        ..Workload::default()
    }
}
