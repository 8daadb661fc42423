//! Pods as workloads. WorkloadEntries and endpoints join them with ServiceEntries.

use std::net::IpAddr;

use crate::name::Name;
use crate::object::Meta;

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Pod {
    /// Whether the Pod is a workload: not finished, with addresses, all of which parse (R48).
    pub fn is_published(&self) -> bool {
        !self.finished && !self.addresses.is_empty() && self.bad_address.is_none()
    }
}
