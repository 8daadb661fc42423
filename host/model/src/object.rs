//! What every object has, and the one type that holds any of them. Not how they are written: that is `manifest`.

use std::fmt;

use serde::Serialize;

use crate::endpoint_slice::EndpointSlice;
use crate::gateway::{Gateway, GatewayClass};
use crate::name::{Labels, Name, share};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::peer_authentication::PeerAuthentication;
use crate::policy::AuthorizationPolicy;
use crate::service::Service;
use crate::service_entry::ServiceEntry;
use crate::workload::Pod;
use crate::workload_entry::WorkloadEntry;

/// Metadata of an object, as far as a decision can depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Empty for cluster-scoped kinds.
    pub namespace: Name,
    /// The object's name.
    pub name: Name,
    /// Labels as written.
    pub labels: Labels,
    /// Annotations as written.
    pub annotations: Labels,
}

impl Meta {
    /// Metadata without labels; for tests and synthetic objects.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            labels: Labels::default(),
            annotations: Labels::default(),
        }
    }

    /// Namespace and name.
    pub(crate) fn key(&self) -> (Name, Name) {
        (self.namespace.clone(), self.name.clone())
    }

    /// Where it is, seen from another namespace and name.
    pub(crate) fn order(&self, (namespace, name): &(Name, Name)) -> std::cmp::Ordering {
        (&self.namespace, &self.name).cmp(&(namespace, name))
    }

    /// Takes the other's strings in the place of its own where they are equal.
    pub(crate) fn share_with(&mut self, other: &Meta) {
        share(&mut self.namespace, &other.namespace);
        share(&mut self.name, &other.name);
        self.labels.share_with(&other.labels);
        self.annotations.share_with(&other.annotations);
    }
}

/// The kinds the model knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// v1 Namespace.
    Namespace,
    /// gateway.networking.k8s.io GatewayClass.
    GatewayClass,
    /// gateway.networking.k8s.io Gateway.
    Gateway,
    /// v1 Service.
    Service,
    /// v1 Pod.
    Pod,
    /// networking.istio.io ServiceEntry.
    ServiceEntry,
    /// networking.istio.io WorkloadEntry.
    WorkloadEntry,
    /// discovery.k8s.io EndpointSlice.
    EndpointSlice,
    /// security.istio.io AuthorizationPolicy; no decision depends on it, [`crate::lint`] looks at it.
    AuthorizationPolicy,
    /// v1 Node: where Pods are.
    Node,
    /// security.istio.io PeerAuthentication; no decision depends on it, what ztunnel is told does (R118).
    PeerAuthentication,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Namespace,
        Self::GatewayClass,
        Self::Gateway,
        Self::Service,
        Self::Pod,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::EndpointSlice,
        Self::AuthorizationPolicy,
        Self::Node,
        Self::PeerAuthentication,
    ];

    /// Whether objects of it belong to no namespace.
    pub fn is_cluster_scoped(self) -> bool {
        matches!(self, Self::Namespace | Self::GatewayClass | Self::Node)
    }
}

impl Kind {
    /// As an object's `kind` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::Service => "Service",
            Self::Pod => "Pod",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::EndpointSlice => "EndpointSlice",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::Node => "Node",
            Self::PeerAuthentication => "PeerAuthentication",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identifies an object: kind, namespace and name (K1). The API version does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: Name,
    /// The object's name.
    pub name: Name,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Any object of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A Namespace.
    Namespace(Namespace),
    /// A GatewayClass.
    GatewayClass(GatewayClass),
    /// A Gateway.
    Gateway(Gateway),
    /// A Service.
    Service(Service),
    /// A Pod.
    Pod(Pod),
    /// A ServiceEntry.
    ServiceEntry(ServiceEntry),
    /// A WorkloadEntry.
    WorkloadEntry(WorkloadEntry),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// An AuthorizationPolicy.
    AuthorizationPolicy(AuthorizationPolicy),
    /// A Node.
    Node(Node),
    /// A PeerAuthentication.
    PeerAuthentication(PeerAuthentication),
}

impl Object {
    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::GatewayClass(_) => Kind::GatewayClass,
            Self::Gateway(_) => Kind::Gateway,
            Self::Service(_) => Kind::Service,
            Self::Pod(_) => Kind::Pod,
            Self::ServiceEntry(_) => Kind::ServiceEntry,
            Self::WorkloadEntry(_) => Kind::WorkloadEntry,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::AuthorizationPolicy(_) => Kind::AuthorizationPolicy,
            Self::Node(_) => Kind::Node,
            Self::PeerAuthentication(_) => Kind::PeerAuthentication,
        }
    }

    /// The object's metadata.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Namespace(o) => &o.meta,
            Self::GatewayClass(o) => &o.meta,
            Self::Gateway(o) => &o.meta,
            Self::Service(o) => &o.meta,
            Self::Pod(o) => &o.meta,
            Self::ServiceEntry(o) => &o.meta,
            Self::WorkloadEntry(o) => &o.meta,
            Self::EndpointSlice(o) => &o.meta,
            Self::AuthorizationPolicy(o) => &o.meta,
            Self::Node(o) => &o.meta,
            Self::PeerAuthentication(o) => &o.meta,
        }
    }

    /// The object's metadata, to edit a copy.
    pub fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Namespace(o) => &mut o.meta,
            Self::GatewayClass(o) => &mut o.meta,
            Self::Gateway(o) => &mut o.meta,
            Self::Service(o) => &mut o.meta,
            Self::Pod(o) => &mut o.meta,
            Self::ServiceEntry(o) => &mut o.meta,
            Self::WorkloadEntry(o) => &mut o.meta,
            Self::EndpointSlice(o) => &mut o.meta,
            Self::AuthorizationPolicy(o) => &mut o.meta,
            Self::Node(o) => &mut o.meta,
            Self::PeerAuthentication(o) => &mut o.meta,
        }
    }

    /// The object's key.
    pub fn key(&self) -> ObjectKey {
        let meta = self.meta();
        ObjectKey { kind: self.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
    }
}
