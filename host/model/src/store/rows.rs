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

/// Rows that are looked at before they are worked on.
const AHEAD: usize = 32;

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
        /// The host.
        host: &'a Name,
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
            Self::ServiceEntry { entry, .. }
            | Self::EntryEndpoint { entry, .. }
            | Self::ImpliedEndpoint { entry, .. } => &entry.meta,
            Self::WorkloadEntry(entry) => &entry.meta,
            Self::SliceEndpoint { slice, .. } => &slice.meta,
        }
    }

    /// The key of the row.
    pub fn key(&self) -> RowKey {
        match self {
            Self::Pod(pod) => whole(RowKind::Pod, &pod.meta),
            Self::Service(service) => whole(RowKind::Service, &service.meta),
            Self::ServiceEntry { entry, .. } => whole(RowKind::ServiceEntry, &entry.meta),
            Self::EntryEndpoint { entry, endpoint } => part(entry, &endpoint.address),
            Self::ImpliedEndpoint { entry, host } => part(entry, host),
            Self::WorkloadEntry(entry) => whole(RowKind::WorkloadEntry, &entry.meta),
            Self::SliceEndpoint { slice, address } => {
                RowKey { part: Some((*address).clone()), ..whole(RowKind::EndpointSliceEndpoint, &slice.meta) }
            }
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
                    let host = self.hosts_of(entry).find(|host| *host == part)?;
                    return Some(RowObject::ImpliedEndpoint { entry, host });
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

    /// Everything that a decision is made for, kind by kind in the order of the kinds; within most kinds in that of the
    /// keys. It does not change while the store does not.
    pub fn row_objects(&self) -> impl Iterator<Item = RowObject<'_>> {
        let in_sight = |meta: &Meta| self.is_discovered(&meta.namespace);
        let slices = self.slices.iter().filter(|slice| self.is_published_slice(slice));
        let slices = slices.flat_map(|slice| {
            let row = |address| RowObject::SliceEndpoint { slice, address };
            slice.addresses.iter().map(row)
        });
        let pods = self.pods.iter().filter(move |pod| pod.is_published() && in_sight(&pod.meta));
        let services = self.services.iter().filter(move |service| service.is_published() && in_sight(&service.meta));
        let entries = self.entries.iter().filter_map(|entry| self.entry_row(entry));
        let endpoints = self.entries.iter().flat_map(|entry| self.endpoint_rows(entry));
        let workloads = self.workload_entries.iter().filter(|entry| self.is_published(entry));
        slices
            .chain(pods.map(RowObject::Pod))
            .chain(services.map(|service| RowObject::Service(service)))
            .chain(entries)
            .chain(endpoints)
            .chain(workloads.map(|entry| RowObject::WorkloadEntry(entry)))
    }

    /// Goes through [`Self::row_objects`]. What is looked at of one should be what `then` needs first of it: of several
    /// rows this is fetched from memory at once, while with each by itself all else would wait for it.
    pub(crate) fn each_row<'a>(&'a self, look: impl Fn(&RowObject<'a>) -> usize, mut then: impl FnMut(RowObject<'a>)) {
        let mut ahead = Vec::with_capacity(AHEAD);
        let mut work = |ahead: &mut Vec<RowObject<'a>>| {
            std::hint::black_box(ahead.iter().map(&look).sum::<usize>());
            ahead.drain(..).for_each(&mut then);
        };
        self.row_objects().for_each(|object| {
            ahead.push(object);
            if ahead.len() == AHEAD {
                work(&mut ahead);
            }
        });
        work(&mut ahead);
    }

    /// The same with their keys.
    pub fn rows(&self) -> impl Iterator<Item = (RowKey, RowObject<'_>)> {
        self.row_objects().map(|object| (object.key(), object))
    }

    /// The keys of everything that a decision is made for.
    pub fn row_keys(&self) -> impl Iterator<Item = RowKey> {
        self.row_objects().map(|object| object.key())
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
    fn endpoint_rows<'a>(&'a self, entry: &'a ServiceEntry) -> Vec<RowObject<'a>> {
        let mut hosts = self.hosts_of(entry);
        if entry.implies_endpoints() {
            return hosts.map(|host| RowObject::ImpliedEndpoint { entry, host }).collect();
        }
        if hosts.next().is_none() {
            return Vec::new();
        }
        entry.endpoints.iter().map(|endpoint| RowObject::EntryEndpoint { entry, endpoint }).collect()
    }

    /// Everything in a namespace that may be a row.
    pub(super) fn touch_namespace(&self, namespace: &Name, changes: &mut Changes) {
        let rows = &mut changes.rows;
        rows.extend(in_namespace(&self.pods, namespace).map(|it| whole(RowKind::Pod, &it.meta)));
        rows.extend(in_namespace(&self.services, namespace).map(|it| whole(RowKind::Service, &it.meta)));
        rows.extend(in_namespace(&self.workload_entries, namespace).map(|it| whole(RowKind::WorkloadEntry, &it.meta)));
        rows.extend(in_namespace(&self.entries, namespace).flat_map(|it| entry_keys(it)));
        rows.extend(in_namespace(&self.slices, namespace).flat_map(|it| slice_keys(it)));
    }

    /// All namespaces that are known or have something in them.
    pub(super) fn namespaces_in_use(&self) -> BTreeSet<Name> {
        let mut names: BTreeSet<Name> = self.namespaces.keys().cloned().collect();
        names.extend(self.gateways.keys().map(|key| key.namespace.clone()));
        names.extend(self.services.iter().map(|it| it.meta.namespace.clone()));
        names.extend(self.pods.iter().map(|it| it.meta.namespace.clone()));
        names.extend(self.entries.iter().map(|it| it.meta.namespace.clone()));
        names.extend(self.workload_entries.iter().map(|it| it.meta.namespace.clone()));
        names.extend(self.slices.iter().map(|it| it.meta.namespace.clone()));
        names
    }
}

/// Shares the names: there are as many rows as objects.
fn whole(kind: RowKind, meta: &Meta) -> RowKey {
    RowKey { kind, namespace: meta.namespace.clone(), name: meta.name.clone(), part: None }
}

fn part(entry: &ServiceEntry, part: &Name) -> RowKey {
    let (namespace, name) = (entry.meta.namespace.clone(), entry.meta.name.clone());
    RowKey { kind: RowKind::ServiceEntryEndpoint, namespace, name, part: Some(part.clone()) }
}

/// The rows that an entry may have, whoever has its hosts.
pub(super) fn entry_keys(entry: &ServiceEntry) -> impl Iterator<Item = RowKey> + '_ {
    let whole = whole(RowKind::ServiceEntry, &entry.meta);
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
