//! The meshes of 50,000 workloads and 5,000 services: with as few fields as such a mesh can have, and generated with all that
//! Kubernetes objects give. Both as a control plane tells them.

use std::collections::BTreeMap;

use anyhow::Result;
use model::sink::Decided;
use plugin_istio::Istio;
use prost::Message as _;
use tests::mesh::MeshSize;
use xds::mesh::Options;
use xds::proto::discovery::DeltaDiscoveryResponse;
use xds::proto::workload::gateway_address::Destination;
use xds::proto::workload::{
    GatewayAddress, NamespacedHostname, NetworkAddress, Port, PortList, Service, TunnelProtocol, Workload,
};
use xds::resource::{Resource, Snapshot, Stamp, bytes_of_ip};
use xds::waypoint::{BLOCKED_HOSTNAME, BLOCKED_NAMESPACE};

use crate::figures::mb;
use crate::own::{decider, store};

/// 50,000 workloads and 5,000 services.
pub(crate) const SIZE: MeshSize =
    MeshSize { namespaces: 250, services: 5_000, pods: 50_000, waypoints: 250, entries: 100, workload_entries: 50 };
const SERVICES: usize = 5_000;
const PODS_OF_EACH: usize = 10;

/// Where waypoints are, if there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Nothing,
    /// Everything: at one whose name is as long as what is written for a blocked subject, so that a mesh that is rewritten has as
    /// many bytes as one that is kept.
    Everything,
}

/// Names, an address, a tunnel, and one service behind which a workload stands.
pub(crate) fn lean(bound: Bound) -> Snapshot {
    let mut mesh = Snapshot::default();
    for service in 0..SERVICES {
        mesh.addresses.put(Resource::service(lean_service(service, bound), Stamp::default()));
        for pod in 0..PODS_OF_EACH {
            mesh.addresses.put(lean_pod(service, pod, 10, bound));
        }
    }
    mesh
}

fn namespace(service: usize) -> String {
    format!("ns-{:03}", service / 20)
}

fn hostname(service: usize) -> String {
    format!("s-{service:04}.{}.svc.cluster.local", namespace(service))
}

fn ports() -> Port {
    Port { service_port: 80, target_port: 8080, ..Port::default() }
}

fn waypoint(bound: Bound) -> Option<GatewayAddress> {
    let long = |name: &str| "w".repeat(name.len());
    let host = NamespacedHostname { namespace: long(BLOCKED_NAMESPACE), hostname: long(BLOCKED_HOSTNAME) };
    let gateway = GatewayAddress { destination: Some(Destination::Hostname(host)), hbone_mtls_port: 15008 };
    (bound == Bound::Everything).then_some(gateway)
}

fn lean_service(number: usize, bound: Bound) -> Service {
    let [.., high, low] = number.to_be_bytes();
    let address = bytes_of_ip([10, 96, high, low].into());
    Service {
        name: format!("s-{number:04}"),
        namespace: namespace(number),
        hostname: hostname(number),
        addresses: vec![NetworkAddress { address, ..NetworkAddress::default() }],
        ports: vec![ports()],
        waypoint: waypoint(bound),
        canonical: true,
        ..Service::default()
    }
}

/// A pod of a service at an address of this network.
pub(crate) fn lean_pod(service: usize, pod: usize, network: u8, bound: Bound) -> Resource {
    let [.., upper, high, low] = (service * PODS_OF_EACH + pod).to_be_bytes();
    let (namespace, name) = (namespace(service), format!("p-{service:04}-{pod}"));
    let workload = Workload {
        uid: format!("Kubernetes//Pod/{namespace}/{name}"),
        name,
        addresses: vec![bytes_of_ip([network, upper, high, low].into())],
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        services: [(format!("{namespace}/{}", hostname(service)), PortList { ports: vec![ports()] })].into(),
        waypoint: waypoint(bound),
        namespace,
        ..Workload::default()
    };
    Resource::workload(workload, Stamp::default())
}

/// What our own builder makes of the generated mesh's objects.
pub(crate) fn full() -> Result<Snapshot> {
    let store = store();
    let decider = decider::<Istio>(1, &store);
    Ok(xds::mesh::snapshot(Decided { store: &store, table: decider.table() }, &Options::default()))
}

/// Says of what a first response consists: what is around each resource, and the largest fields of the resources.
pub(crate) fn print_composition(response: &[u8]) -> Result<()> {
    let decoded = DeltaDiscoveryResponse::decode(response)?;
    let resources = &decoded.resources;
    let sum = |bytes: fn(&xds::proto::discovery::Resource) -> usize| -> usize { resources.iter().map(bytes).sum() };
    let bodies = sum(|it| it.resource.as_ref().map_or(0, |any| any.value.len()));
    let urls = sum(|it| it.resource.as_ref().map_or(0, |any| any.type_url.len()));
    let (versions, names) = (sum(|it| it.version.len()), sum(|it| it.name.len()));
    println!(
        "{} resources, {:.1} MB on the wire: bodies {:.1}, type URLs {:.1}, versions {:.1}, names {:.1}, lengths and tags {:.1}",
        resources.len(),
        mb(response.len()),
        mb(bodies),
        mb(urls),
        mb(versions),
        mb(names),
        mb(response.len().saturating_sub(bodies + urls + versions + names)),
    );
    let mut fields: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for any in resources.iter().filter_map(|it| it.resource.as_ref()) {
        for (of, inner, _) in length_delimited(&any.value) {
            let what = if of == 1 { "workload" } else { "service" };
            for (tag, _, size) in length_delimited(inner) {
                *fields.entry((what, tag)).or_default() += size;
            }
        }
    }
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let largest = fields.iter().take(12).map(|((what, tag), size)| format!("{what}.{tag} {:.2}", mb(*size)));
    println!("  largest fields, MB with tag and length: {}", largest.collect::<Vec<_>>().join(", "));
    Ok(())
}

/// The fields of a message that have a length: number, content, and size with its head. Others are skipped.
fn length_delimited(mut message: &[u8]) -> Vec<(u64, &[u8], usize)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let before = message.len();
        let Some(key) = varint(&mut message) else { break };
        let Some(value) = varint(&mut message) else { break };
        // Of the fixed ones there is none in a mesh.
        if key & 7 == 2 {
            let Some((content, rest)) = message.split_at_checked(value as usize) else { break };
            message = rest;
            fields.push((key >> 3, content, before - rest.len()));
        }
    }
    fields
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
