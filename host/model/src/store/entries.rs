//! How ServiceEntries come, go and claim hosts: a Service or another entry of the same namespace may take a host from one,
//! and its endpoints go with its last host (R42, R43).

use std::sync::Arc;

use super::{Changes, RowKind, Store, in_namespace, put, rows};
use crate::mesh::{EntryVisibility, IstioVersion};
use crate::name::Name;
use crate::service::service_of_host;
use crate::service_entry::ServiceEntry;

impl Store {
    pub(super) fn put_entry(&mut self, object: ServiceEntry, changes: &mut Changes) -> bool {
        let old = self.entries.get(&(object.meta.namespace.clone(), object.meta.name.clone())).cloned();
        let Some(key) = put(&mut self.entries, object) else {
            return false;
        };
        if let Some(old) = old {
            self.release(&old, changes);
        }
        if let Some(new) = self.entries.get(&key).cloned() {
            self.claim(&new, changes);
        }
        true
    }

    pub(super) fn delete_entry(&mut self, key: &(Name, Name), changes: &mut Changes) -> bool {
        let old = self.entries.remove(key);
        old.inspect(|old| self.release(old, changes)).is_some()
    }

    /// All entries of a namespace claim their hosts anew, as visible as they are now.
    pub(super) fn reclaim(&mut self, namespace: &Name, changes: &mut Changes) {
        let entries: Vec<Arc<ServiceEntry>> = in_namespace(&self.entries, namespace).cloned().collect();
        for entry in &entries {
            self.release(entry, changes);
        }
        for entry in &entries {
            self.claim(entry, changes);
        }
    }

    fn release(&mut self, entry: &ServiceEntry, changes: &mut Changes) {
        self.touch_entry(entry, changes);
        for host in &entry.hosts {
            self.hosts.release(host, &entry.meta.namespace, &entry.meta.name, entry.created);
        }
    }

    fn claim(&mut self, entry: &ServiceEntry, changes: &mut Changes) {
        if let Some(visibility) = self.entry_visibility(entry) {
            let own = visibility == EntryVisibility::Namespace;
            for host in &entry.hosts {
                self.hosts.claim(host, &entry.meta.namespace, &entry.meta.name, entry.created, own);
            }
        }
        self.touch_entry(entry, changes);
    }

    /// Who sees an entry that is published; none where it is not: not valid (R36), of another revision (R144), hidden by
    /// discovery selectors (R145), or seen by nobody (R35).
    pub fn entry_visibility(&self, entry: &ServiceEntry) -> Option<EntryVisibility> {
        let standing = self.standing(&entry.meta.namespace);
        let published = entry.is_valid() && standing.discovered && self.is_of_revision(&entry.meta.labels);
        (published && standing.entries != EntryVisibility::None).then_some(standing.entries)
    }

    /// The hosts that the entry has, and no other of its namespace (R42); none while it is not published.
    pub fn hosts_of<'a>(&'a self, entry: &'a ServiceEntry) -> impl Iterator<Item = &'a Name> {
        let published = self.entry_visibility(entry).is_some();
        entry.hosts.iter().filter(move |host| published && self.has_host(entry, host))
    }

    /// Whether a published entry keeps a host that it claims. Before Istio 1.29 every one did.
    pub(super) fn has_host(&self, entry: &ServiceEntry, host: &Name) -> bool {
        if self.facts.istio < IstioVersion::HOST_CONFLICTS {
            return true;
        }
        let namespace = &entry.meta.namespace;
        !self.is_service_host(host, namespace)
            && self.hosts.claimants(host, namespace).next().is_some_and(|first| *first == entry.meta.name)
    }

    /// Whether a published Service of this namespace has the host.
    fn is_service_host(&self, host: &str, namespace: &Name) -> bool {
        let Some((of, name)) = service_of_host(host, &self.facts.cluster_domain) else {
            return false;
        };
        *of == **namespace && self.published_service(namespace, &name.into()).is_some()
    }

    /// A Service came, went or changed: so may entries that claim its host, and Gateways that are reached by it.
    pub(super) fn service_changed(&mut self, key: (Name, Name), changes: &mut Changes) -> bool {
        let (namespace, name) = &key;
        let host: Name = format!("{name}.{namespace}.svc.{}", self.facts.cluster_domain).into();
        let claimants: Vec<Name> = self.hosts.claimants(&host, namespace).cloned().collect();
        for name in claimants {
            if let Some(entry) = self.entry(namespace, &name) {
                changes.rows.extend(rows::entry_keys(entry));
            }
        }
        self.touch_gateways_at(&host, namespace, changes);
        super::touch(RowKind::Service, key, changes)
    }

    /// The entry's rows, those of its namespace that claim one of its hosts, and the Gateways that are reached by one.
    fn touch_entry(&self, entry: &ServiceEntry, changes: &mut Changes) {
        changes.rows.extend(rows::entry_keys(entry));
        let namespace = &entry.meta.namespace;
        for host in &entry.hosts {
            for other in self.hosts.claimants(host, namespace).filter(|other| **other != entry.meta.name) {
                if let Some(other) = self.entry(namespace, other) {
                    changes.rows.extend(rows::entry_keys(other));
                }
            }
            self.touch_gateways_at(host, namespace, changes);
        }
    }

    /// A host is always looked up in the Gateway's own namespace (R5, R91).
    fn touch_gateways_at(&self, host: &Name, namespace: &Name, changes: &mut Changes) {
        for key in self.gateways_in(namespace) {
            let gateway = self.gateways.get(key);
            if gateway.is_some_and(|gateway| gateway.addresses.iter().any(|at| at.hostname() == Some(host))) {
                changes.gateways.insert(key.clone());
            }
        }
    }
}
