//! Ports: by which protocol a service's is spoken, and by which number a workload takes it (R142).

use model::service::Port;
use model::{Name, Service, ServiceEntry};

use crate::proto::workload::{self as proto, AppProtocol};

/// Ports that are never looked into: whoever listens there speaks first.
const SERVER_FIRST: [u32; 4] = [25, 53, 3306, 27017];

/// The ports of a Service, as clients see them. A named target is the workload's business, and 0 here.
pub(super) fn of_service(service: &Service) -> Vec<proto::Port> {
    let port = |port: &Port| proto::Port {
        service_port: port.number,
        target_port: numeric(port).unwrap_or_default(),
        app_protocol: of_kubernetes(port).into(),
    };
    service.ports.iter().map(port).collect()
}

/// The ports of a ServiceEntry.
pub(super) fn of_entry(entry: &ServiceEntry) -> Vec<proto::Port> {
    let port = |port: &Port| proto::Port {
        service_port: port.number,
        target_port: numeric(port).unwrap_or(port.number),
        app_protocol: parsed(&port.protocol).unwrap_or_default().into(),
    };
    entry.ports.iter().map(port).collect()
}

/// Where a Pod takes the ports of a Service: a name must be one of its containers'.
pub(super) fn service_at_pod(ports: &[Port], named: impl Fn(&str) -> Option<u32>) -> Vec<proto::Port> {
    let port = |port: &Port| Some((port.number, numeric(port).or_else(|| named(port.target.as_deref()?))?));
    list(ports.iter().filter_map(port))
}

/// Where a WorkloadEntry, or an endpoint of an entry, takes them.
pub(super) fn service_at_entry(ports: &[Port], own: &[(Name, u32)]) -> Vec<proto::Port> {
    let port = |port: &Port| {
        let target = match numeric(port) {
            Some(number) => named(own, &port.name).unwrap_or(number),
            None => named(own, port.target.as_deref()?)?,
        };
        Some((port.number, target))
    };
    list(ports.iter().filter_map(port))
}

/// Where any workload takes the ports of a ServiceEntry: its own of that name goes first.
pub(super) fn entry_at(ports: &[Port], own: impl Fn(&str) -> Option<u32>) -> Vec<proto::Port> {
    let port = |port: &Port| {
        let named = (!port.name.is_empty()).then(|| own(&port.name)).flatten();
        (port.number, named.or_else(|| numeric(port)).unwrap_or(port.number))
    };
    list(ports.iter().map(port))
}

/// What a slice says: its ports have the names of the Service's (R57).
pub(super) fn of_slice(ports: &[Port], slice: &[(Name, u32)]) -> Vec<proto::Port> {
    let port = |(name, target): &(Name, u32)| {
        let port = ports.iter().find(|port| port.name == *name)?;
        Some((port.number, *target))
    };
    list(slice.iter().filter_map(port))
}

/// The number of a port by its name.
pub(super) fn named(ports: &[(Name, u32)], name: &str) -> Option<u32> {
    ports.iter().find(|(of, _)| **of == *name).map(|(_, number)| *number)
}

fn list(ports: impl Iterator<Item = (u32, u32)>) -> Vec<proto::Port> {
    let port = |(service_port, target_port)| proto::Port { service_port, target_port, app_protocol: 0 };
    ports.map(port).collect()
}

/// `targetPort`, unless it is a name: the same number where it is not written.
fn numeric(port: &Port) -> Option<u32> {
    port.target.as_ref().map_or(Some(port.number), |target| target.parse().ok())
}

/// `appProtocol`, else what the port's name begins with. `protocol` itself only tells TCP from UDP.
fn of_kubernetes(port: &Port) -> AppProtocol {
    let word = match &*port.protocol {
        "UDP" => return AppProtocol::Unknown,
        "" | "TCP" | "SCTP" => &*port.name,
        "kubernetes.io/h2c" => return AppProtocol::Http2,
        "kubernetes.io/ws" => return AppProtocol::Http11,
        "kubernetes.io/wss" => return AppProtocol::Tls,
        written => written,
    };
    // Not gRPC to ztunnel, nor is it the word before the hyphen.
    if word.get(.."grpc-web".len()).is_some_and(|word| word.eq_ignore_ascii_case("grpc-web")) {
        return AppProtocol::Unknown;
    }
    let word = word.split_once('-').map_or(word, |(before, _)| before);
    let unknown = if SERVER_FIRST.contains(&port.number) { AppProtocol::Tcp } else { AppProtocol::Unknown };
    parsed(word).unwrap_or(unknown)
}

/// None: no word for a protocol.
fn parsed(word: &str) -> Option<AppProtocol> {
    Some(match word.to_ascii_lowercase().as_str() {
        "http" => AppProtocol::Http11,
        "http2" => AppProtocol::Http2,
        "grpc" => AppProtocol::Grpc,
        "tls" | "https" => AppProtocol::Tls,
        "tcp" => AppProtocol::Tcp,
        "grpc-web" | "http_proxy" | "udp" | "mongo" | "redis" | "mysql" | "hbone" => AppProtocol::Unknown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, number: u32, protocol: &str, target: Option<&str>) -> Port {
        Port { name: name.into(), number, protocol: protocol.into(), target: target.map(Into::into) }
    }

    fn numbers(ports: &[proto::Port]) -> Vec<(u32, u32)> {
        ports.iter().map(|port| (port.service_port, port.target_port)).collect()
    }

    #[test]
    fn a_protocol_is_the_app_protocol_or_what_the_name_begins_with() {
        for (name, number, protocol, expected) in [
            ("http", 80, "TCP", AppProtocol::Http11),
            ("http-web", 80, "TCP", AppProtocol::Http11),
            ("HTTP2-web", 80, "", AppProtocol::Http2),
            ("grpc-web", 80, "TCP", AppProtocol::Unknown),
            ("grpc-other", 80, "TCP", AppProtocol::Grpc),
            ("web", 80, "TCP", AppProtocol::Unknown),
            ("web", 3306, "TCP", AppProtocol::Tcp),
            ("mysql", 3306, "TCP", AppProtocol::Unknown),
            ("dns", 53, "UDP", AppProtocol::Unknown),
            ("web", 443, "https", AppProtocol::Tls),
            ("http", 80, "kubernetes.io/h2c", AppProtocol::Http2),
            ("http", 80, "kubernetes.io/wss", AppProtocol::Tls),
            ("http", 80, "company.example/own", AppProtocol::Unknown),
        ] {
            let service = Service { ports: vec![port(name, number, protocol, None)], ..Service::named("a", "b") };
            assert_eq!(of_service(&service)[0].app_protocol(), expected, "{name} {number} {protocol}");
        }
    }

    #[test]
    fn targets_are_found_as_each_kind_names_them() {
        let ports = [
            port("http", 80, "TCP", Some("web")),
            port("grpc", 90, "TCP", Some("9090")),
            port("same", 70, "TCP", None),
            port("gone", 60, "TCP", Some("nowhere")),
        ];
        let own: [(Name, u32); 3] = [("web".into(), 8080), ("grpc".into(), 9999), ("same".into(), 7777)];
        let name = |name: &str| named(&own, name);
        assert_eq!(numbers(&service_at_pod(&ports, name)), [(80, 8080), (90, 9090), (70, 70)]);
        assert_eq!(numbers(&service_at_entry(&ports, &own)), [(80, 8080), (90, 9999), (70, 7777)]);
        let of_entry = [port("web", 80, "HTTP", None), port("x", 90, "TCP", Some("91")), port("y", 70, "TCP", None)];
        assert_eq!(numbers(&entry_at(&of_entry, name)), [(80, 8080), (90, 91), (70, 70)]);
        assert_eq!(numbers(&of_slice(&ports, &own)), [(90, 9999), (70, 7777)]);
        let service = Service { ports: ports.to_vec(), ..Service::named("a", "b") };
        assert_eq!(numbers(&of_service(&service)), [(80, 0), (90, 9090), (70, 70), (60, 0)]);
        let entry = ServiceEntry { ports: of_entry.to_vec(), ..ServiceEntry::named("a", "b") };
        assert_eq!(numbers(&super::of_entry(&entry)), [(80, 80), (90, 91), (70, 70)]);
    }
}
