//! Objects, facts and MeshConfig under other names. Every field is named here, so that a new one does not slip through.

use std::sync::Arc;

use super::policies::policy;
use super::text::{Rename, annotations, each, host, labels, name, one_of, range, selector, text, value};
use super::vocabulary::is_number;
use crate::endpoint_slice::EndpointSlice;
use crate::gateway::{Gateway, GatewayClass, Listener, StatusAddress};
use crate::mesh::{EntryVisibilityRules, Mesh, ServiceScope, VisibilityPolicy};
use crate::name::Name;
use crate::namespace::Namespace;
use crate::object::{Meta, Object};
use crate::peer_authentication::PeerAuthentication;
use crate::service::{Port, Service};
use crate::service_entry::{EntryEndpoint, ServiceEntry};
use crate::store::{Facts, Node};
use crate::workload::{Pod, PodTemplate};
use crate::workload_entry::WorkloadEntry;

const ADDRESS_TYPES: [&str; 3] = ["IPAddress", "Hostname", "NamedAddress"];
const ADMITS_FROM: [&str; 4] = ["All", "Same", "Selector", "None"];
const PROTOCOLS: [&str; 15] = [
    "HBONE",
    "istio.io/PROXY",
    "TCP",
    "UDP",
    "SCTP",
    "TLS",
    "HTTP",
    "HTTPS",
    "HTTP2",
    "GRPC",
    "http",
    "https",
    "http2",
    "grpc",
    "kubernetes.io/h2c",
];
/// What installations call their first cluster.
const CLUSTER_IDS: [&str; 1] = ["Kubernetes"];

pub(super) fn object(by: &mut impl Rename, object: &Object) -> Object {
    match object {
        Object::Namespace(Namespace { meta: of }) => Object::Namespace(Namespace { meta: meta(by, of) }),
        Object::GatewayClass(GatewayClass { meta: of }) => Object::GatewayClass(GatewayClass { meta: meta(by, of) }),
        Object::Gateway(it) => Object::Gateway(gateway(by, it)),
        Object::Service(it) => Object::Service(service(by, it)),
        Object::Pod(it) => Object::Pod(pod(by, it)),
        Object::ServiceEntry(it) => Object::ServiceEntry(entry(by, it)),
        Object::WorkloadEntry(it) => Object::WorkloadEntry(workload_entry(by, it)),
        Object::EndpointSlice(it) => Object::EndpointSlice(slice(by, it)),
        Object::AuthorizationPolicy(it) => Object::AuthorizationPolicy(policy(by, it)),
        Object::PeerAuthentication(it) => Object::PeerAuthentication(peer(by, it)),
        Object::Node(crate::node::Node { meta: of }) => Object::Node(crate::node::Node { meta: meta(by, of) }),
    }
}

pub(super) fn meta(by: &mut impl Rename, meta: &Meta) -> Meta {
    let Meta { namespace, name: of, labels: pairs, annotations: notes } = meta;
    Meta {
        namespace: name(by, namespace),
        name: name(by, of),
        labels: labels(by, pairs),
        annotations: annotations(by, notes),
    }
}

/// Modes and ports say nothing about anybody.
fn peer(by: &mut impl Rename, peer: &PeerAuthentication) -> PeerAuthentication {
    let PeerAuthentication { meta: of, created, selector, mode, ports } = peer;
    PeerAuthentication {
        meta: meta(by, of),
        created: *created,
        selector: selector.as_ref().map(|it| labels(by, it)),
        mode: *mode,
        ports: ports.clone(),
    }
}

fn gateway(by: &mut impl Rename, gateway: &Gateway) -> Gateway {
    let Gateway { meta: of, class, listeners, addresses } = gateway;
    Gateway {
        meta: meta(by, of),
        class: name(by, class),
        listeners: each(listeners, |it| listener(by, it)),
        addresses: each(addresses, |it| {
            let StatusAddress { kind, value } = it;
            let kind = kind.as_ref().map(|kind| one_of(by, &ADDRESS_TYPES, kind));
            StatusAddress { kind, value: host(by, value) }
        }),
    }
}

fn listener(by: &mut impl Rename, listener: &Listener) -> Listener {
    let Listener { port, protocol, admits_from, selector: of } = listener;
    Listener {
        port: *port,
        protocol: one_of(by, &PROTOCOLS, protocol),
        admits_from: admits_from.as_ref().map(|from| one_of(by, &ADMITS_FROM, from)),
        selector: of.as_ref().map(|it| selector(by, it)),
    }
}

fn service(by: &mut impl Rename, service: &Service) -> Service {
    let Service {
        meta: of,
        external_name,
        headless,
        addresses,
        bad_address,
        ports,
        selector,
        publish_not_ready,
        node_local,
        distribution,
        families,
    } = service;
    Service {
        meta: meta(by, of),
        external_name: *external_name,
        headless: *headless,
        addresses: each(addresses, |ip| by.address(*ip)).into(),
        bad_address: bad_address.as_ref().map(|text| bad(by, text)),
        ports: each(ports, |it| port(by, it)),
        selector: labels(by, selector),
        publish_not_ready: *publish_not_ready,
        node_local: *node_local,
        distribution: *distribution,
        families: *families,
    }
}

/// What is no address must not become one.
fn bad(by: &mut impl Rename, text: &str) -> Name {
    if text.is_empty() { text.into() } else { by.word(text) }
}

fn port(by: &mut impl Rename, port: &Port) -> Port {
    let Port { name: of, number, protocol, target } = port;
    Port {
        name: name(by, of),
        number: *number,
        protocol: one_of(by, &PROTOCOLS, protocol),
        target: target.as_ref().map(|it| if is_number(it, 5) { it.clone() } else { name(by, it) }),
    }
}

fn pod(by: &mut impl Rename, pod: &Pod) -> Pod {
    let Pod { meta: of, finished, addresses, bad_address, host_network, has_proxy, ready, terminating, node, template } =
        pod;
    let PodTemplate { service_account, workload, ports } = &**template;
    Pod {
        meta: meta(by, of),
        finished: *finished,
        addresses: each(addresses, |ip| by.address(*ip)).into(),
        bad_address: bad_address.as_ref().map(|text| Box::new(bad(by, text))),
        host_network: *host_network,
        has_proxy: *has_proxy,
        ready: *ready,
        terminating: *terminating,
        node: node.as_ref().map(|it| name(by, it)),
        template: Arc::new(PodTemplate {
            service_account: name(by, service_account),
            workload: workload.as_ref().map(|it| name(by, it)),
            ports: named_ports(by, ports),
        }),
    }
}

/// Numbers by the names of ports, in their order.
fn named_ports(by: &mut impl Rename, ports: &[(Name, u32)]) -> Vec<(Name, u32)> {
    each(ports, |(of, number)| (name(by, of), *number))
}

/// `region/zone/subzone`.
fn locality(by: &mut impl Rename, locality: Option<&Name>) -> Option<Name> {
    locality.map(|it| text(by, it))
}

fn entry(by: &mut impl Rename, entry: &ServiceEntry) -> ServiceEntry {
    let ServiceEntry {
        meta: of,
        created,
        hosts,
        addresses,
        bad_address,
        auto_addresses,
        ports,
        resolution,
        mesh_internal,
        endpoints,
        selector,
        subject_alt_names,
    } = entry;
    ServiceEntry {
        meta: meta(by, of),
        created: *created,
        hosts: each(hosts, |it| host(by, it)),
        addresses: each(addresses, |it| range(by, *it)),
        bad_address: bad_address.as_ref().map(|text| bad(by, text)),
        auto_addresses: each(auto_addresses, |(of, ip)| (of.as_ref().map(|it| host(by, it)), by.address(*ip))),
        ports: each(ports, |it| port(by, it)),
        resolution: *resolution,
        mesh_internal: *mesh_internal,
        endpoints: EntryEndpoint::sorted(each(endpoints, |it| endpoint(by, it))),
        selector: selector.as_ref().map(|it| labels(by, it)),
        subject_alt_names: each(subject_alt_names, |it| identity(by, it)).into(),
    }
}

/// An identity of a certificate: a URI, or a host.
fn identity(by: &mut impl Rename, text: &str) -> Name {
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let parts: Vec<Name> = rest.split('/').map(|part| identity_part(by, part)).collect();
            format!("{scheme}://{}", parts.join("/")).into()
        }
        None => host(by, text),
    }
}

/// The words of a SPIFFE identity that are no names stay.
fn identity_part(by: &mut impl Rename, part: &str) -> Name {
    if matches!(part, "ns" | "sa") { part.into() } else { host(by, part) }
}

fn endpoint(by: &mut impl Rename, endpoint: &EntryEndpoint) -> EntryEndpoint {
    let EntryEndpoint { address, labels: pairs, network, service_account, ports, locality: at, weight } = endpoint;
    EntryEndpoint {
        address: host(by, address),
        labels: labels(by, pairs),
        network: network.as_ref().map(|it| name(by, it)),
        service_account: name(by, service_account),
        ports: named_ports(by, ports),
        locality: locality(by, at.as_ref()),
        weight: *weight,
    }
}

fn workload_entry(by: &mut impl Rename, entry: &WorkloadEntry) -> WorkloadEntry {
    let WorkloadEntry { meta: of, spec_labels, address, network, service_account, ports, locality: at, weight } = entry;
    WorkloadEntry {
        meta: meta(by, of),
        spec_labels: labels(by, spec_labels),
        address: host(by, address),
        network: network.as_ref().map(|it| name(by, it)),
        service_account: name(by, service_account),
        ports: named_ports(by, ports),
        locality: locality(by, at.as_ref()),
        weight: *weight,
    }
}

fn slice(by: &mut impl Rename, slice: &EndpointSlice) -> EndpointSlice {
    let EndpointSlice { meta: of, pods, addresses, unready, ports } = slice;
    let (mut addresses, mut unready) = (each(addresses, |it| host(by, it)), each(unready, |it| host(by, it)));
    addresses.sort_unstable();
    unready.sort_unstable();
    let (meta, pods) = (meta(by, of), each(pods, |it| name(by, it)));
    EndpointSlice { meta, pods, addresses, unready, ports: named_ports(by, ports) }
}

pub(super) fn facts(by: &mut impl Rename, facts: &Facts) -> Facts {
    let Facts { cluster_domain, network, cluster_id, istio_revision, istio, mesh: of, node: on } = facts;
    Facts {
        cluster_domain: host(by, cluster_domain),
        network: name(by, network),
        cluster_id: one_of(by, &CLUSTER_IDS, cluster_id),
        istio_revision: name(by, istio_revision),
        istio: *istio,
        mesh: mesh(by, of),
        node: node(by, on),
    }
}

fn node(by: &mut impl Rename, node: &Node) -> Node {
    let Node { name: of, labels: pairs, region, zone, subzone } = node;
    let mut part = |label: &str, of: &Option<Name>| of.as_ref().map(|it| value(by, label, it));
    // Each is the value of a label of the node.
    let region = part("topology.kubernetes.io/region", region);
    let zone = part("topology.kubernetes.io/zone", zone);
    let subzone = part("topology.istio.io/subzone", subzone);
    Node { name: of.as_ref().map(|it| name(by, it)), labels: labels(by, pairs), region, zone, subzone }
}

fn mesh(by: &mut impl Rename, mesh: &Mesh) -> Mesh {
    let Mesh { root_namespace, trust_domain, entry_visibility, service_scopes, discovery_selectors } = mesh;
    Mesh {
        root_namespace: name(by, root_namespace),
        trust_domain: host(by, trust_domain),
        entry_visibility: entry_visibility.as_ref().map(|EntryVisibilityRules { default, policies }| {
            let policies = each(policies, |VisibilityPolicy { visibility, rules }| VisibilityPolicy {
                visibility: *visibility,
                rules: each(rules, |rule| rule.as_ref().map(|it| selector(by, it))),
            });
            EntryVisibilityRules { default: *default, policies }
        }),
        service_scopes: each(service_scopes, |ServiceScope { namespaces, services, global }| ServiceScope {
            namespaces: selector(by, namespaces),
            services: selector(by, services),
            global: *global,
        }),
        discovery_selectors: each(discovery_selectors, |it| selector(by, it)),
    }
}
