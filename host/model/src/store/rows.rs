//! What a decision is made for: which objects, and which parts of objects, are published at all.

use std::collections::BTreeSet;

use super::{Changes, RowKey, RowKind, Store, in_namespace};
use crate::endpoint_slice::EndpointSlice;
use crate::mesh::EntryVisibility;
use crate::name::Name;
use crate::object::Meta;
use crate::service::Service;
use crate::service_entry::{EntryEndpoint, ServiceEntry};
use crate::workload::Pod;
use crate::workload_entry::WorkloadEntry;

/// What a decision is made for.
#[derive(Clone, Debug)]
pub enum RowObject<'a> {
    /// A Pod.
    Pod(&'a Pod),
    /// A Service.
    Service(&'a Service),
    /// A ServiceEntry with the hosts that are its own.
    ServiceEntry {
        /// The entry.
        entry: &'a ServiceEntry,
        /// Its hosts (R42), at least one.
        hosts: Vec<Name>,
        /// Only its own namespace sees it (R117).
        own_namespace_only: bool,
    },
    /// An endpoint written in a ServiceEntry.
    EntryEndpoint {
        /// The entry.
        entry: &'a ServiceEntry,
        /// The endpoint.
        endpoint: &'a EntryEndpoint,
    },
    /// What a host of a ServiceEntry without endpoints stands for.
    ImpliedEndpoint {
        /// The entry.
        entry: &'a ServiceEntry,
    },
    /// A WorkloadEntry.
    WorkloadEntry(&'a WorkloadEntry),
    /// An endpoint of an EndpointSlice that is no Pod.
    SliceEndpoint {
        /// The slice.
        slice: &'a EndpointSlice,
        /// Its address.
        address: &'a Name,
    },
}

impl<'a> RowObject<'a> {
    /// Metadata of the object that it is or is part of.
    pub fn meta(&self) -> &'a Meta {
        match self {
            Self::Pod(pod) => &pod.meta,
            Self::Service(service) => &service.meta,
            Self::ServiceEntry { entry, .. } | Self::EntryEndpoint { entry, .. } | Self::ImpliedEndpoint { entry } => {
                &entry.meta
            }
            Self::WorkloadEntry(entry) => &entry.meta,
            Self::SliceEndpoint { slice, .. } => &slice.meta,
        }
    }
}

impl Store {
    /// The object of a row; none when it is not there or not published.
    pub fn row(&self, key: &RowKey) -> Option<RowObject<'_>> {
        let (namespace, name) = (&key.namespace, &key.name);
        match key.kind {
            RowKind::Pod => self.published_pod(namespace, name).map(RowObject::Pod),
            RowKind::Service => self.published_service(namespace, name).map(RowObject::Service),
            RowKind::ServiceEntry => self.entry_row(self.entry(namespace, name)?),
            RowKind::ServiceEntryEndpoint => {
                let entry = self.entry(namespace, name)?;
                let part = key.part.as_ref()?;
                if entry.implies_endpoints() {
                    let is_there = self.hosts_of(entry).any(|host| host == part);
                    return is_there.then_some(RowObject::ImpliedEndpoint { entry });
                }
                let endpoint = entry.endpoint(part)?;
                self.hosts_of(entry).next()?;
                Some(RowObject::EntryEndpoint { entry, endpoint })
            }
            RowKind::WorkloadEntry => {
                let entry = self.workload_entry(namespace, name)?;
                self.is_published(entry).then_some(RowObject::WorkloadEntry(entry))
            }
            RowKind::EndpointSliceEndpoint => {
                let slice = self.slice(namespace, name).filter(|slice| self.is_published_slice(slice))?;
                let address = slice.addresses.get(slice.addresses.binary_search(key.part.as_ref()?).ok()?)?;
                Some(RowObject::SliceEndpoint { slice, address })
            }
        }
    }

    /// Everything that a decision is made for, kind by kind in the order of the kinds.
    pub fn rows(&self) -> impl Iterator<Item = (RowKey, RowObject<'_>)> {
        let slices = self.slices.values().filter(|slice| self.is_published_slice(slice));
        let slices = slices.flat_map(|slice| {
            let row = |address| RowObject::SliceEndpoint { slice, address };
            slice_keys(slice).zip(slice.addresses.iter().map(row))
        });
        let pods = self.pods.iter().filter(|(key, pod)| pod.is_published() && self.is_discovered(&key.0));
        let pods = pods.map(|(key, pod)| (whole(RowKind::Pod, key), RowObject::Pod(pod)));
        let services =
            self.services.iter().filter(|(key, service)| service.is_published() && self.is_discovered(&key.0));
        let services = services.map(|(key, service)| (whole(RowKind::Service, key), RowObject::Service(service)));
        let entries =
            self.entries.iter().filter_map(|(key, it)| Some((whole(RowKind::ServiceEntry, key), self.entry_row(it)?)));
        let endpoints = self.entries.values().flat_map(|entry| self.endpoint_rows(entry));
        let workloads = self.workload_entries.iter().filter(|(_, entry)| self.is_published(entry));
        let workloads =
            workloads.map(|(key, entry)| (whole(RowKind::WorkloadEntry, key), RowObject::WorkloadEntry(entry)));
        slices.chain(pods).chain(services).chain(entries).chain(endpoints).chain(workloads)
    }

    /// The keys of everything that a decision is made for.
    pub fn row_keys(&self) -> impl Iterator<Item = RowKey> {
        self.rows().map(|(key, _)| key)
    }

    pub(super) fn published_pod(&self, namespace: &Name, name: &Name) -> Option<&Pod> {
        let pod = self.pod(namespace, name)?;
        (pod.is_published() && self.is_discovered(namespace)).then_some(pod)
    }

    pub(super) fn published_service(&self, namespace: &Name, name: &Name) -> Option<&Service> {
        let service = self.service(namespace, name)?;
        (service.is_published() && self.is_discovered(namespace)).then_some(service)
    }

    pub(super) fn is_published(&self, entry: &WorkloadEntry) -> bool {
        self.is_discovered(&entry.meta.namespace) && self.is_of_revision(&entry.meta.labels)
    }

    fn is_published_slice(&self, slice: &EndpointSlice) -> bool {
        slice.service().is_some() && self.is_discovered(&slice.meta.namespace)
    }

    fn entry_row<'a>(&'a self, entry: &'a ServiceEntry) -> Option<RowObject<'a>> {
        let own_namespace_only = self.entry_visibility(entry)? == EntryVisibility::Namespace;
        let hosts: Vec<Name> = self.hosts_of(entry).cloned().collect();
        (!hosts.is_empty()).then_some(RowObject::ServiceEntry { entry, hosts, own_namespace_only })
    }

    /// Written endpoints are there as long as one host of the entry is (R43), implied ones each with its host.
    fn endpoint_rows<'a>(&'a self, entry: &'a ServiceEntry) -> Vec<(RowKey, RowObject<'a>)> {
        if entry.implies_endpoints() {
            let hosts = self.hosts_of(entry);
            return hosts.map(|host| (part(entry, host), RowObject::ImpliedEndpoint { entry })).collect();
        }
        if self.hosts_of(entry).next().is_none() {
            return Vec::new();
        }
        let row = |endpoint: &'a EntryEndpoint| {
            (part(entry, &endpoint.address), RowObject::EntryEndpoint { entry, endpoint })
        };
        entry.endpoints.iter().map(row).collect()
    }

    /// Everything in a namespace that may be a row.
    pub(super) fn touch_namespace(&self, namespace: &Name, changes: &mut Changes) {
        let of = |kind, meta: &Meta| whole(kind, &(meta.namespace.clone(), meta.name.clone()));
        let rows = &mut changes.rows;
        rows.extend(in_namespace(&self.pods, namespace).map(|it| of(RowKind::Pod, &it.meta)));
        rows.extend(in_namespace(&self.services, namespace).map(|it| of(RowKind::Service, &it.meta)));
        rows.extend(in_namespace(&self.workload_entries, namespace).map(|it| of(RowKind::WorkloadEntry, &it.meta)));
        rows.extend(in_namespace(&self.entries, namespace).flat_map(|it| entry_keys(it)));
        rows.extend(in_namespace(&self.slices, namespace).flat_map(|it| slice_keys(it)));
    }

    /// All namespaces that are known or have something in them.
    pub(super) fn namespaces_in_use(&self) -> BTreeSet<Name> {
        let mut names: BTreeSet<Name> = self.namespaces.keys().cloned().collect();
        names.extend(self.gateways.keys().map(|key| key.namespace.clone()));
        names.extend(self.services.keys().map(|key| key.0.clone()));
        names.extend(self.pods.keys().map(|key| key.0.clone()));
        names.extend(self.entries.keys().map(|key| key.0.clone()));
        names.extend(self.workload_entries.keys().map(|key| key.0.clone()));
        names.extend(self.slices.keys().map(|key| key.0.clone()));
        names
    }
}

/// Shares the names: there are as many rows as objects.
fn whole(kind: RowKind, (namespace, name): &(Name, Name)) -> RowKey {
    RowKey { kind, namespace: namespace.clone(), name: name.clone(), part: None }
}

fn part(entry: &ServiceEntry, part: &Name) -> RowKey {
    let (namespace, name) = (entry.meta.namespace.clone(), entry.meta.name.clone());
    RowKey { kind: RowKind::ServiceEntryEndpoint, namespace, name, part: Some(part.clone()) }
}

/// The rows that an entry may have, whoever has its hosts.
pub(super) fn entry_keys(entry: &ServiceEntry) -> impl Iterator<Item = RowKey> + '_ {
    let whole = whole(RowKind::ServiceEntry, &(entry.meta.namespace.clone(), entry.meta.name.clone()));
    let implied = entry.hosts.iter().filter(|_| entry.implies_endpoints());
    let written = entry.endpoints.iter().map(|endpoint| &endpoint.address);
    std::iter::once(whole).chain(implied.chain(written).map(|it| part(entry, it)))
}

/// The rows that a slice may have.
pub(super) fn slice_keys(slice: &EndpointSlice) -> impl Iterator<Item = RowKey> + '_ {
    let (namespace, name) = (&slice.meta.namespace, &slice.meta.name);
    slice.addresses.iter().map(|address| RowKey {
        kind: RowKind::EndpointSliceEndpoint,
        namespace: namespace.clone(),
        name: name.clone(),
        part: Some(address.clone()),
    })
}
