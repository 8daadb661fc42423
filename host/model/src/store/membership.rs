//! Who selects whom (R135-R141), always within one namespace. Looked up when somebody asks: nothing here is kept.

use std::collections::BTreeSet;

use super::alike::{Alike, Kept};
use super::{RowKey, RowKind, RowObject, Store, in_namespace, rows};
use crate::endpoint_slice::EndpointSlice;
use crate::name::{Labels, Name};
use crate::peer_authentication::PeerAuthentication;
use crate::policy::AuthorizationPolicy;
use crate::service::Service;
use crate::service_entry::ServiceEntry;
use crate::sorted::Sorted;
use crate::workload::Pod;
use crate::workload_entry::WorkloadEntry;

impl Store {
    /// The workloads behind a service, in the order of their keys; empty for anything that is no published service.
    pub fn workloads_of(&self, service: &RowKey) -> BTreeSet<RowKey> {
        match self.row(service) {
            Some(RowObject::Service(service)) => self.behind_service(service),
            Some(RowObject::ServiceEntry { entry, .. }) => self.behind_entry(entry),
            _ => BTreeSet::new(),
        }
    }

    /// The services that a workload stands behind, in the order of their keys (R139).
    pub fn services_of(&self, workload: &RowKey) -> BTreeSet<RowKey> {
        let namespace = &workload.namespace;
        let of = |kind, name: &Name| RowKey { kind, namespace: namespace.clone(), name: name.clone(), part: None };
        let services = in_namespace(&self.services, namespace).map(|it| of(RowKind::Service, &it.meta.name));
        let entries = in_namespace(&self.entries, namespace).map(|it| of(RowKind::ServiceEntry, &it.meta.name));
        services.chain(entries).filter(|service| self.workloads_of(service).contains(workload)).collect()
    }

    /// The published Services of a namespace, in the order of their names: for those who join many workloads with them.
    pub fn services_in<'a>(&'a self, namespace: &Name) -> impl Iterator<Item = &'a Service> + use<'a> {
        let in_sight = self.is_discovered(namespace);
        of_namespace(&self.services, namespace).filter(move |service| in_sight && service.is_published())
    }

    /// The ServiceEntries of a namespace that have a host of their own (R42), in the order of their names.
    pub fn entries_in<'a>(&'a self, namespace: &Name) -> impl Iterator<Item = &'a ServiceEntry> + use<'a> {
        of_namespace(&self.entries, namespace).filter(|entry| self.hosts_of(entry).next().is_some())
    }

    /// The EndpointSlices of a namespace that is in sight, in the order of their names.
    pub fn slices_in<'a>(&'a self, namespace: &Name) -> impl Iterator<Item = &'a EndpointSlice> + use<'a> {
        let in_sight = self.is_discovered(namespace);
        of_namespace(&self.slices, namespace).filter(move |_| in_sight)
    }

    /// The published Pods of a namespace, in the order of their names.
    pub fn pods_in<'a>(&'a self, namespace: &Name) -> impl Iterator<Item = &'a Pod> + use<'a> {
        let in_sight = self.is_discovered(namespace);
        of_namespace(&self.pods, namespace).filter(move |pod| in_sight && pod.is_published())
    }

    /// The published WorkloadEntries of a namespace, in the order of their names.
    pub fn workload_entries_in<'a>(&'a self, namespace: &Name) -> impl Iterator<Item = &'a WorkloadEntry> + use<'a> {
        of_namespace(&self.workload_entries, namespace).filter(|entry| self.is_published(entry))
    }

    /// The AuthorizationPolicies of a namespace that are in sight and of this revision, in the order of their names.
    pub fn policies_in<'a>(&'a self, namespace: &Name) -> impl Iterator<Item = &'a AuthorizationPolicy> + use<'a> {
        let in_sight = self.is_discovered(namespace);
        let policies = of_namespace(&self.policies, namespace);
        policies.filter(move |policy| in_sight && self.is_of_revision(&policy.meta.labels))
    }

    /// The PeerAuthentications of a namespace that are in sight and of this revision, in the order of their names.
    pub fn peer_authentications_in<'a>(
        &'a self,
        namespace: &Name,
    ) -> impl Iterator<Item = &'a PeerAuthentication> + use<'a> {
        let in_sight = self.is_discovered(namespace);
        let peers = of_namespace(&self.peers, namespace);
        peers.filter(move |peer| in_sight && self.is_of_revision(&peer.meta.labels))
    }

    /// The namespaces of all Pods, Services, entries and slices, and all that are known.
    pub fn all_namespaces(&self) -> BTreeSet<Name> {
        self.namespaces_in_use()
    }

    /// Pods and WorkloadEntries by its selector (R135); without one, what its slices say (R140).
    fn behind_service(&self, service: &Service) -> BTreeSet<RowKey> {
        let namespace = &service.meta.namespace;
        let mut members = BTreeSet::new();
        if !service.selector.is_empty() {
            self.select(namespace, &service.selector, &mut members);
        }
        for slice in in_namespace(&self.slices, namespace).filter(|it| it.service() == Some(&service.meta.name)) {
            members.extend(rows::slice_keys(slice));
            if service.selector.is_empty() {
                let pods = slice.pods.iter().filter(|name| self.published_pod(namespace, name).is_some());
                members.extend(pods.map(|name| RowKey::new(RowKind::Pod, namespace, name)));
            }
        }
        members
    }

    /// Its own endpoints (R141), and WorkloadEntries and Pods by its selector (R136).
    fn behind_entry(&self, entry: &ServiceEntry) -> BTreeSet<RowKey> {
        let endpoints = rows::entry_keys(entry).filter(|key| key.kind == RowKind::ServiceEntryEndpoint);
        let mut members: BTreeSet<RowKey> = endpoints.filter(|key| self.row(key).is_some()).collect();
        if let Some(selector) = entry.selector.as_ref().filter(|selector| !selector.is_empty()) {
            self.select(&entry.meta.namespace, selector, &mut members);
        }
        members
    }

    /// The published Pods and WorkloadEntries with these labels; the caller sees to it that an empty selector selects
    /// nothing (R138).
    fn select(&self, namespace: &Name, selector: &Labels, members: &mut BTreeSet<RowKey>) {
        let key = |kind, name: &Name| RowKey { kind, namespace: namespace.clone(), name: name.clone(), part: None };
        let in_sight = self.is_discovered(namespace);
        let pods = in_namespace(&self.pods, namespace).filter(|pod| in_sight && pod.is_published());
        let pods = pods.filter(|pod| selector.is_subset_of(&pod.meta.labels));
        members.extend(pods.map(|pod| key(RowKind::Pod, &pod.meta.name)));
        let entries = in_namespace(&self.workload_entries, namespace).filter(|entry| self.is_published(entry));
        let entries = entries.filter(|entry| selector.is_subset_of(&entry.labels()));
        members.extend(entries.map(|entry| key(RowKind::WorkloadEntry, &entry.meta.name)));
    }
}

/// As [`in_namespace`], for longer than the name is there.
fn of_namespace<'a, E: Kept>(all: &'a Sorted<E>, namespace: &Name) -> impl Iterator<Item = &'a E::Object> + use<'a, E> {
    let from = (namespace.clone(), Name::from(""));
    let namespace = namespace.clone();
    all.range_from(&from).map(E::object).take_while(move |it| it.meta().namespace == namespace)
}
