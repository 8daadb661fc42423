//! Kubernetes Services, as far as waypoint selection reads them.

use std::net::IpAddr;

use crate::name::{Labels, Name};
use crate::object::Meta;

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Metadata.
    pub meta: Meta,
    /// `spec.type: ExternalName` (R32).
    pub external_name: bool,
    /// Its virtual addresses; empty for a headless Service (R33).
    pub addresses: Vec<IpAddr>,
    /// A cluster IP that is no address, as written (R41, Q7).
    pub bad_address: Option<Name>,
    /// `spec.selector`; empty selects nothing (R138).
    pub selector: Labels,
}

impl Service {
    /// Whether there is anything to decide: ExternalName Services are not published (R32), nor those with a cluster
    /// IP that does not parse (Q7).
    pub fn is_published(&self) -> bool {
        !self.external_name && self.bad_address.is_none()
    }

    /// The fully qualified host (R40).
    pub fn host(&self, cluster_domain: &str) -> Name {
        format!("{}.{}.svc.{cluster_domain}", self.meta.name, self.meta.namespace).into()
    }
}
