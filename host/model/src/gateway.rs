//! Gateways and their classes. Whether one is a waypoint, and for what, is a component's business; whom its owner
//! admits at all is also a floor of the host's ([`crate::floor::admits`]).

use std::net::IpAddr;

use crate::name::Name;
use crate::object::Meta;
use crate::selector::Selector;

/// The port of a waypoint's tunnel, always (R8).
pub const HBONE_PORT: u16 = 15008;

/// A Gateway of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// Metadata.
    pub meta: Meta,
    /// `spec.gatewayClassName`.
    pub class: Name,
    /// `spec.listeners` in their order.
    pub listeners: Vec<Listener>,
    /// `status.addresses` in their order.
    pub addresses: Vec<StatusAddress>,
}

impl Gateway {
    /// What identifies it.
    pub fn key(&self) -> GatewayKey {
        GatewayKey { namespace: self.meta.namespace.clone(), name: self.meta.name.clone() }
    }
}

/// A GatewayClass. Its own `meta.namespace` is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayClass {
    /// Metadata.
    pub meta: Meta,
}

/// Identifies a Gateway (R3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct GatewayKey {
    /// The Gateway's namespace.
    pub namespace: Name,
    /// The Gateway's name.
    pub name: Name,
}

impl GatewayKey {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for GatewayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A listener of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// `port`, 0 where it is missing.
    pub port: u32,
    /// `protocol` as written.
    pub protocol: Name,
    /// `allowedRoutes.namespaces.from` as written; none where any part of the path is missing (R11).
    pub admits_from: Option<Name>,
    /// `allowedRoutes.namespaces.selector`.
    pub selector: Option<Selector>,
}

/// An entry of `status.addresses`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatusAddress {
    /// `type` as written.
    pub kind: Option<Name>,
    /// `value` as written.
    pub value: Name,
}

impl StatusAddress {
    /// The address, if it is of type `IPAddress` and parses (R6).
    pub fn ip(&self) -> Option<IpAddr> {
        (self.kind.as_deref() == Some("IPAddress")).then(|| self.value.parse().ok()).flatten()
    }

    /// The hostname, if it is of type `Hostname` (R5).
    pub fn hostname(&self) -> Option<&Name> {
        (self.kind.as_deref() == Some("Hostname")).then_some(&self.value)
    }
}
