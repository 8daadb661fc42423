//! How many endpoints of a Gateway are ready, and where. Looked up when somebody asks: nothing here is kept.

use std::collections::BTreeSet;

use super::{RowKey, RowKind, RowObject, Store};
use crate::gateway::{Gateway, StatusAddress};
use crate::input::{EndpointsInput, Locality, locality_of_text};
use crate::name::Name;

impl Store {
    /// The ready workloads behind the services that a Gateway's status addresses name, by locality. A Pod is
    /// where its node is; where nothing is known of that, its locality is empty.
    pub fn ready_endpoints_of(&self, gateway: &Gateway) -> Vec<EndpointsInput> {
        let services = gateway.addresses.iter().filter_map(|at| self.service_at(&gateway.meta.namespace, at));
        // Two addresses may name one service.
        let behind: BTreeSet<RowKey> = services.flat_map(|service| self.workloads_of(&service)).collect();
        EndpointsInput::counted(behind.iter().filter_map(|workload| self.ready_in(workload)))
    }

    /// The service of this namespace that an address names: by its host (R5), or as one of its own (R6).
    fn service_at(&self, namespace: &Name, address: &StatusAddress) -> Option<RowKey> {
        if let Some(host) = address.hostname() {
            return self.service_in(namespace, host);
        }
        let ip = address.ip()?;
        let service = self.services_in(namespace).find(|service| service.addresses.contains(&ip))?;
        Some(RowKey::new(RowKind::Service, namespace, &service.meta.name))
    }

    /// Where a workload is; none while it is not ready. What cannot be seen to be unready is ready (R48, R52).
    fn ready_in(&self, workload: &RowKey) -> Option<Locality> {
        let written = |locality: &Option<Name>| locality_of_text(locality.as_deref().unwrap_or_default());
        match self.row(workload)? {
            RowObject::Pod(pod) => pod.is_healthy().then(|| self.locality_of_node(pod.node.as_ref())),
            RowObject::WorkloadEntry(entry) => Some(written(&entry.locality)),
            RowObject::EntryEndpoint { endpoint, .. } => Some(written(&endpoint.locality)),
            RowObject::ImpliedEndpoint { .. } => Some(Locality::default()),
            RowObject::SliceEndpoint { slice, address } => slice.is_ready(address).then(Locality::default),
            RowObject::Service(_) | RowObject::ServiceEntry { .. } => None,
        }
    }
}
