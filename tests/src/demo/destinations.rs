//! Where the clients connect to: twelve destinations of different kinds, with their addresses read from the manifests.
//! What should happen there is not here: that is what the rules say.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use model::store::RowObject;
use model::table::{RowKey, RowKind};
use model::{Name, Store};

/// The form in which a client dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    V4,
    V6,
    /// IPv4 through an IPv6 socket, as `::ffff:a.b.c.d`.
    Mapped,
}

/// One of the twelve, as it is chosen.
struct Chosen {
    /// For people: why it is interesting.
    about: &'static str,
    /// Kind, namespace, name; none is nothing in the mesh.
    object: Option<(RowKind, &'static str, &'static str)>,
    form: Form,
    port: u16,
}

const fn service(namespace: &'static str, name: &'static str, form: Form, about: &'static str) -> Chosen {
    Chosen { about, object: Some((RowKind::Service, namespace, name)), form, port: 9080 }
}

const fn pod(namespace: &'static str, name: &'static str, form: Form, about: &'static str) -> Chosen {
    Chosen { about, object: Some((RowKind::Pod, namespace, name)), form, port: 9080 }
}

/// Not an address of any object in the manifests.
const NOBODY: &str = "10.96.99.99";

const CHOSEN: [Chosen; 12] = [
    service("bookinfo", "productpage", Form::V4, "its namespace has a waypoint"),
    service("bookinfo", "productpage", Form::V6, "the same over IPv6"),
    service("bookinfo", "reviews", Form::Mapped, "has a waypoint of its own"),
    service("bookinfo", "ratings", Form::V4, "uses another namespace's waypoint"),
    service("storefront", "catalog", Form::V6, "its namespace uses the shared one"),
    pod("bookinfo", "reviews-v1", Form::V4, "a pod with a waypoint"),
    pod("bookinfo", "productpage-v1", Form::V6, "the waypoint is not for pods"),
    service("bookinfo", "details", Form::V4, "opted out"),
    service("bookinfo", "ratings-next", Form::Mapped, "waypoint not ready"),
    service("legacy", "loyalty", Form::V6, "waypoint does not admit it"),
    Chosen { port: 3306, ..service("bookinfo", "mysqldb", Form::V4, "bound to a dead waypoint") },
    Chosen { about: "unknown to the mesh", object: None, form: Form::V4, port: 9080 },
];

/// Ports that services and pods of the destinations listen on.
pub(super) const PORTS: [u16; 2] = [9080, 3306];

/// A destination with its address.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) about: &'static str,
    /// The row that decides about it, as [`RowKey`] prints it.
    pub(super) row: Option<String>,
    /// What a client passes to `connect`.
    pub(super) dial: SocketAddr,
}

impl Destination {
    /// The destination as rules and records name it: an IPv4 address is one, whatever the socket.
    pub(super) fn plain(&self) -> SocketAddr {
        plain(self.dial)
    }
}

/// IPv4 in its plain form.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// All of them, always in the same order: their places in this list are their numbers.
pub(super) fn all(mesh: &Store) -> Result<Vec<Destination>> {
    CHOSEN.iter().map(|chosen| found(mesh, chosen)).collect()
}

fn found(mesh: &Store, chosen: &Chosen) -> Result<Destination> {
    let (row, addresses) = match chosen.object {
        None => (None, vec![NOBODY.parse()?]),
        Some((kind, namespace, name)) => {
            let key = RowKey::new(kind, namespace, name);
            let addresses = addresses(mesh, &key).with_context(|| format!("{key} is not in the manifests"))?;
            (Some(key.to_string()), addresses)
        }
    };
    let wanted = addresses.iter().find(|ip| ip.is_ipv6() == (chosen.form == Form::V6));
    let ip = match (chosen.form, *wanted.context("a destination has no address of the wanted family")?) {
        (Form::Mapped, IpAddr::V4(ip)) => ip.to_ipv6_mapped().into(),
        (_, ip) => ip,
    };
    Ok(Destination { about: chosen.about, row, dial: SocketAddr::new(ip, chosen.port) })
}

fn addresses(mesh: &Store, key: &RowKey) -> Option<Vec<IpAddr>> {
    match mesh.row(key)? {
        RowObject::Service(service) => Some(service.addresses.to_vec()),
        RowObject::Pod(pod) => Some(pod.addresses.to_vec()),
        // The example has no other kinds.
        _ => None,
    }
}

/// The working waypoints of the manifests: name, and address for HBONE.
pub(super) fn waypoints(mesh: &Store) -> Vec<(Name, SocketAddr)> {
    let dialled = |(key, gateway): (&model::gateway::GatewayKey, &std::sync::Arc<model::Gateway>)| {
        let ip = gateway.addresses.iter().find_map(model::gateway::StatusAddress::ip)?;
        Some((key.to_string().into(), SocketAddr::new(ip, model::gateway::HBONE_PORT)))
    };
    mesh.gateways().filter_map(dialled).collect()
}
