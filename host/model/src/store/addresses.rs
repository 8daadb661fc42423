//! Who is meant by a host or an address. Looked up when somebody asks: nothing here is kept.

use std::net::IpAddr;

use super::{RowKey, RowKind, RowObject, Store};
use crate::name::Name;
use crate::service::service_of_host;
use crate::service_entry::ServiceEntry;

impl Store {
    /// The service that a client in `namespace` means by a host (R44): the one of its own namespace, else the canonical
    /// one; a Kubernetes Service comes first in both.
    pub fn service_of_host(&self, host: &Name, namespace: &Name) -> Option<RowKey> {
        if let Some((of, name)) = service_of_host(host, &self.facts.cluster_domain)
            && let Some(service) = self.published_service(&of.into(), &name.into())
        {
            // An entry of the client's own namespace may have the same host.
            let own = (*of != **namespace).then(|| self.entry_with_host(host, namespace)).flatten();
            let service = || RowKey::new(RowKind::Service, of, &service.meta.name);
            return Some(own.map_or_else(service, entry_key));
        }
        let own = self.entry_with_host(host, namespace);
        let canonical = || {
            let winner = self.hosts.canonical(host)?;
            self.entry(&winner.namespace, &winner.entry).map(|entry| &**entry)
        };
        own.or_else(canonical).map(entry_key)
    }

    /// The entry of this namespace that has the host.
    pub fn entry_with_host(&self, host: &Name, namespace: &Name) -> Option<&ServiceEntry> {
        let first = self.hosts.claimants(host, namespace).next()?;
        let entry = self.entry(namespace, first)?;
        self.has_host(entry, host).then_some(entry)
    }

    /// The addresses of the service with exactly this namespace and host: how a waypoint that is named by hostname is
    /// reached (R91). Empty while there is no such service, or it has no address.
    pub fn addresses_of(&self, namespace: &Name, host: &Name) -> Vec<IpAddr> {
        match self.service_in(namespace, host).and_then(|key| self.row(&key)) {
            Some(RowObject::Service(service)) => service.addresses.to_vec(),
            Some(RowObject::ServiceEntry { entry, .. }) => {
                entry.addresses_of(host).into_iter().filter_map(|range| range.as_single()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The service with exactly this namespace and host, whose other services are not looked at.
    pub(super) fn service_in(&self, namespace: &Name, host: &Name) -> Option<RowKey> {
        if let Some((of, name)) = service_of_host(host, &self.facts.cluster_domain)
            && *of == **namespace
            && let Some(service) = self.published_service(namespace, &name.into())
        {
            return Some(RowKey::new(RowKind::Service, namespace, &service.meta.name));
        }
        self.entry_with_host(host, namespace).filter(|_| self.is_discovered(namespace)).map(entry_key)
    }

    /// Everything that is dialled at an address (R86): services first, then workloads, each in the order of their keys.
    /// Workloads on the host's network are not looked up by address (R97), nor are endpoints of slices.
    pub fn rows_at(&self, ip: IpAddr) -> Vec<RowKey> {
        let is_at = |object: &RowObject<'_>| match object {
            RowObject::Pod(pod) => !pod.host_network && pod.addresses.contains(&ip),
            RowObject::Service(service) => service.addresses.contains(&ip),
            RowObject::ServiceEntry { entry, hosts, .. } => {
                hosts.iter().any(|host| entry.addresses_of(host).iter().any(|range| range.contains(ip)))
            }
            RowObject::EntryEndpoint { endpoint, .. } => endpoint.address.parse() == Ok(ip),
            RowObject::WorkloadEntry(entry) => entry.ip() == Some(ip),
            RowObject::ImpliedEndpoint { .. } | RowObject::SliceEndpoint { .. } => false,
        };
        let mut keys: Vec<RowKey> = self.row_objects().filter(is_at).map(|object| object.key()).collect();
        keys.sort_by_key(|key| !key.kind.is_service());
        keys
    }
}

fn entry_key(entry: &ServiceEntry) -> RowKey {
    RowKey::new(RowKind::ServiceEntry, &entry.meta.namespace, &entry.meta.name)
}
