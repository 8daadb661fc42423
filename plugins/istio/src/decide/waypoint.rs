//! One Gateway as a waypoint: whether it is one, what it serves, whom it admits, where it is reached (R1-R11). It does
//! not know who asks for it.

use std::net::IpAddr;

use wayswitch_sdk::text::same;
use wayswitch_sdk::{Gateway, HBONE_PORT, Level, Listener, Namespace, StatusAddress, Tunnel, TunnelProtocol};

use super::keys;
use super::version::{self, Version};

/// The listener protocol of a waypoint that takes a PROXY header (R10).
const PROXY_LISTENER: &str = "istio.io/PROXY";
const HBONE_LISTENER: &str = "HBONE";

/// A Gateway of the set of waypoints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Waypoint<'a> {
    pub(super) namespace: &'a str,
    pub(super) serves: Serves<'a>,
    pub(super) binding: Option<Tunnel>,
    pub(super) admission: Admission,
    /// Index of the usable address; none: in the set all the same (R7).
    pub(super) address: Option<u32>,
}

impl<'a> Waypoint<'a> {
    /// A Gateway is a waypoint if and only if it reports an address, of whatever kind (R1); its class, listeners and
    /// conditions do not matter. One that does not is the same as none (R2).
    pub(super) fn of(gateway: &'a Gateway, istio: Version) -> Option<Self> {
        Self::at(gateway, &gateway.addresses, istio)
    }

    /// The same Gateway if it reported these addresses.
    pub(super) fn at(gateway: &'a Gateway, addresses: &[StatusAddress], istio: Version) -> Option<Self> {
        if addresses.is_empty() {
            return None;
        }
        let binding = binding(gateway);
        let bound = binding.filter(|_| istio.has(version::BOUND_LISTENERS));
        Some(Self {
            namespace: &gateway.namespace,
            serves: Serves::of(gateway),
            binding,
            admission: if istio.has(version::ADMISSION) { Admission::of(gateway, bound) } else { Admission::NOT_ASKED },
            address: usable_address(addresses, istio),
        })
    }

    /// Whether it admits objects of this namespace, its own included (R20, R21).
    pub(super) fn admits(&self, namespace: &Namespace) -> bool {
        match self.admission.policy {
            Policy::All | Policy::NotAsked => true,
            Policy::Same => same(self.namespace, &namespace.name),
            Policy::Selected(selector) => selector.is_some_and(|id| namespace.selected_by.contains(&id)),
        }
    }
}

/// The traffic type (R4): the Gateway's label, else its class's, else `service`; taken as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Serves<'a> {
    pub(super) services: bool,
    pub(super) workloads: bool,
    /// Where it is written; none: nowhere.
    pub(super) written: Option<(Level, &'a str)>,
}

impl<'a> Serves<'a> {
    fn of(gateway: &'a Gateway) -> Self {
        let own = gateway.label(keys::WAYPOINT_FOR).map(|value| (Level::Gateway, value));
        let class = gateway.gateway_class.as_ref();
        let class = class.and_then(|class| class.label(keys::WAYPOINT_FOR)).map(|value| (Level::GatewayClass, value));
        Self::written(own.or(class))
    }

    pub(super) fn written(written: Option<(Level, &'a str)>) -> Self {
        let value = written.map_or(keys::SERVICE, |(_, value)| value);
        let all = same(value, keys::ALL);
        Self { services: all || same(value, keys::SERVICE), workloads: all || same(value, keys::WORKLOAD), written }
    }
}

/// Whom it admits, and by which of its listeners (R10, R11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admission {
    /// Position of the listener that counts; none: no listener fits, which means its own namespace only.
    pub(super) listener: Option<usize>,
    pub(super) policy: Policy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Objects of the Gateway's namespace.
    Same,
    All,
    /// Nobody is asked (before 1.23).
    NotAsked,
    /// Namespaces that the host says this selector matches; none: there is no selector, so it matches nothing.
    Selected(Option<u32>),
}

impl Admission {
    const NOT_ASKED: Self = Self { listener: None, policy: Policy::NotAsked };

    fn of(gateway: &Gateway, binding: Option<Tunnel>) -> Self {
        let listener = counting_listener(&gateway.listeners, binding);
        let policy = listener.map_or(Policy::Same, |(_, listener)| {
            match listener.admits_from.as_deref() {
                Some("All") => Policy::All,
                Some("Selector") => Policy::Selected(listener.selector),
                // Anything else, Gateway API's `None` included, is read as `Same` (R11, Q4).
                _ => Policy::Same,
            }
        });
        Self { listener: listener.map(|(position, _)| position), policy }
    }
}

/// The listener whose `allowedRoutes` counts (R10): the bound one where there is a binding, else the HBONE one.
fn counting_listener(listeners: &[Listener], binding: Option<Tunnel>) -> Option<(usize, &Listener)> {
    let first = |fits: &dyn Fn(&Listener) -> bool| listeners.iter().enumerate().find(|(_, listener)| fits(listener));
    let bound = match binding {
        Some(Tunnel { port: 0, app_protocol: TunnelProtocol::Proxy }) => first(&|it| it.app_protocol == PROXY_LISTENER),
        None | Some(Tunnel { port: 0, .. }) => None,
        Some(Tunnel { port, .. }) => first(&|it| it.port == port),
    };
    bound.or_else(|| first(&|it| it.app_protocol == HBONE_LISTENER && it.port == HBONE_PORT))
}

/// How its instances take a destination (R9). A Gateway's annotation hides its class's even where it is not valid.
fn binding(gateway: &Gateway) -> Option<Tunnel> {
    let class = gateway.gateway_class.as_ref();
    let class = class.and_then(|class| class.annotation(keys::INBOUND_BINDING));
    parse_binding(gateway.annotation(keys::INBOUND_BINDING).or(class)?)
}

/// `PROTO` or `PROTO/PORT`.
fn parse_binding(text: &str) -> Option<Tunnel> {
    let (protocol, port) = text.split_once('/').unwrap_or((text, "0"));
    if port.contains('/') {
        return None;
    }
    let app_protocol = match protocol {
        "NONE" => TunnelProtocol::None,
        "PROXY" => TunnelProtocol::Proxy,
        _ => return None,
    };
    // A port that is no number of 32 bits is 0, as if it were not written (R9, Q2).
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { port.parse().unwrap_or(0) } else { 0 };
    Some(Tunnel { app_protocol, port })
}

/// The first hostname (R5; not before 1.24), else the first IP that is one (R6). Entries without a type are neither.
fn usable_address(addresses: &[StatusAddress], istio: Version) -> Option<u32> {
    let first = |fits: &dyn Fn(&StatusAddress) -> bool| {
        let mut each = addresses.iter().zip(0..);
        each.find(|(address, _)| fits(address)).map(|(_, index)| index)
    };
    let is = |address: &StatusAddress, kind: &str| address.kind.as_deref() == Some(kind);
    let hostname = if istio.has(version::HOSTNAMES) { first(&|address| is(address, keys::HOSTNAME)) } else { None };
    hostname.or_else(|| first(&|address| is(address, keys::IP_ADDRESS) && address.value.parse::<IpAddr>().is_ok()))
}

#[cfg(test)]
mod tests;
