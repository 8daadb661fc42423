//! Pods as workloads. WorkloadEntries and endpoints are in [`crate::workload_entry`] and [`crate::service_entry`].

use std::net::IpAddr;

use crate::name::Name;
use crate::object::Meta;

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// `spec.serviceAccountName`, `default` where it is not set.
    pub service_account: Name,
    /// `status.phase` is Succeeded or Failed.
    pub finished: bool,
    /// `status.podIPs`, else `status.podIP`.
    pub addresses: Vec<IpAddr>,
    /// A pod IP that is no address, as written (R48).
    pub bad_address: Option<Name>,
    /// `spec.hostNetwork`: not looked up by address (R97).
    pub host_network: bool,
    /// It has a container `istio-proxy`: a sidecar, or a gateway's proxy (R75).
    pub has_proxy: bool,
}

impl Pod {
    /// A Pod with nothing but a name: it has no address, so it is no workload yet.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            meta: Meta::named(namespace, name),
            service_account: "default".into(),
            finished: false,
            addresses: Vec::new(),
            bad_address: None,
            host_network: false,
            has_proxy: false,
        }
    }

    /// Whether the Pod is a workload: not finished, with addresses, all of which parse (R48).
    pub fn is_published(&self) -> bool {
        !self.finished && !self.addresses.is_empty() && self.bad_address.is_none()
    }
}
