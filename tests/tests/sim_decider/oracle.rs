//! Which rows a mesh has, and what each is asked with, worked out afresh from the objects by the plainest means: every rule
//! here is a look at all objects. Shares nothing with the model but the objects themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::description::{Description, Reach};
use model::gateway::{Gateway, GatewayKey};
use model::mesh::EntryVisibility;
use model::object::{Kind, ObjectKey};
use model::service_entry::Resolution;
use model::store::REVISION;
use model::table::RowKind;
use model::{Facts, IstioVersion, Labels, Name, Object, Row, RowKey, ServiceEntry, Table};
use proptest::prelude::*;
use tests::mesh::{GATEWAY_NAME, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, WAYPOINT_FOR};

use super::Checked;

/// What a row is expected to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    hosts: Vec<Name>,
    addresses: Vec<IpAddr>,
    by_address: bool,
    /// What its own labels are taken from.
    labels: Labels,
}

pub(super) struct Oracle<'a> {
    objects: &'a BTreeMap<ObjectKey, Object>,
    facts: &'a Facts,
}

impl<'a> Oracle<'a> {
    pub(super) fn of(objects: &'a BTreeMap<ObjectKey, Object>, facts: &'a Facts) -> Self {
        Self { objects, facts }
    }

    /// The table against the objects themselves.
    pub(super) fn check(&self, table: &Table, description: &Description) -> Checked {
        let expected = self.rows();
        let keys = |rows: Vec<&RowKey>| rows.into_iter().map(ToString::to_string).collect::<Vec<_>>();
        let found = table.iter().map(|(key, _)| key).collect();
        prop_assert_eq!(keys(found), keys(expected.keys().collect()), "rows, and what is published");
        for (key, row) in table.iter() {
            let Some(expected) = expected.get(key) else { continue };
            let seen = (row.subject.hosts.to_vec(), row.subject.addresses.to_vec(), row.subject.dialled_by_address);
            let wanted = (expected.hosts.clone(), expected.addresses.clone(), expected.by_address);
            prop_assert_eq!(seen, wanted, "subject of {}", key);
            self.check_question(key, row, expected, description)?;
        }
        Ok(())
    }

    fn namespace_labels(&self, namespace: &str) -> Option<&'a Labels> {
        self.objects.get(&ObjectKey::new(Kind::Namespace, "", namespace)).map(|object| &object.meta().labels)
    }

    /// R145; an unknown namespace has no labels.
    fn discovered(&self, namespace: &str) -> bool {
        let nothing = Labels::default();
        let labels = self.namespace_labels(namespace).unwrap_or(&nothing);
        let selectors = &self.facts.mesh.discovery_selectors;
        selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
    }

    /// R144.
    fn of_revision(&self, labels: &Labels) -> bool {
        labels.get(REVISION).is_none_or(|revision| **revision == *self.facts.istio_revision)
    }

    /// R117.
    fn visibility(&self, namespace: &str) -> EntryVisibility {
        let nothing = Labels::default();
        let labels = self.namespace_labels(namespace).unwrap_or(&nothing);
        match &self.facts.mesh.entry_visibility {
            Some(rules) if self.facts.istio >= IstioVersion::ENTRY_VISIBILITY => rules.visibility(labels),
            _ => EntryVisibility::Public,
        }
    }

    fn entries_of(&self, namespace: &str) -> Vec<&'a ServiceEntry> {
        let entry = |object: &'a Object| match object {
            Object::ServiceEntry(entry) if *entry.meta.namespace == *namespace => Some(entry),
            _ => None,
        };
        let published = |entry: &&ServiceEntry| {
            entry.bad_address.is_none()
                && self.discovered(namespace)
                && self.of_revision(&entry.meta.labels)
                && self.visibility(namespace) != EntryVisibility::None
        };
        self.objects.values().filter_map(entry).filter(published).collect()
    }

    /// R42: the Service of the namespace, else the oldest entry, of equally old ones the first by name.
    fn hosts_of(&self, entry: &ServiceEntry) -> Vec<Name> {
        let namespace = &entry.meta.namespace;
        let rank = |entry: &ServiceEntry| (entry.created, entry.meta.name.clone());
        let has = |host: &&Name| {
            let service = self.objects.values().any(|object| match object {
                Object::Service(service) => {
                    service.meta.namespace == *namespace
                        && service.is_published()
                        && service.host(&self.facts.cluster_domain) == **host
                }
                _ => false,
            });
            let older =
                self.entries_of(namespace).into_iter().any(|it| it.hosts.contains(host) && rank(it) < rank(entry));
            self.facts.istio < IstioVersion::HOST_CONFLICTS || !service && !older
        };
        entry.hosts.iter().filter(has).cloned().collect()
    }

    fn rows(&self) -> BTreeMap<RowKey, Expected> {
        let mut rows = BTreeMap::new();
        for object in self.objects.values() {
            let meta = object.meta();
            if !self.discovered(&meta.namespace) {
                continue;
            }
            let key = |kind| RowKey::new(kind, &meta.namespace, &meta.name);
            let labels = meta.labels.clone();
            match object {
                Object::Service(o) if !o.external_name && o.bad_address.is_none() => {
                    let (hosts, addresses) = (vec![o.host(&self.facts.cluster_domain)], o.addresses.to_vec());
                    rows.insert(key(RowKind::Service), Expected { hosts, addresses, by_address: true, labels });
                }
                Object::Pod(o) if !o.finished && o.bad_address.is_none() && !o.addresses.is_empty() => {
                    let (addresses, by_address) = (o.addresses.to_vec(), !o.host_network);
                    rows.insert(key(RowKind::Pod), Expected { addresses, by_address, labels, ..Expected::default() });
                }
                Object::WorkloadEntry(o) if self.of_revision(&meta.labels) => {
                    let labels = o.spec_labels.iter().chain(meta.labels.iter()).cloned().collect();
                    let addresses = o.address.parse().into_iter().collect();
                    let expected = Expected { addresses, by_address: true, labels, ..Expected::default() };
                    rows.insert(key(RowKind::WorkloadEntry), expected);
                }
                Object::EndpointSlice(o) if o.service().is_some() => {
                    for address in &o.addresses {
                        let key = RowKey { part: Some(address.clone()), ..key(RowKind::EndpointSliceEndpoint) };
                        let addresses = address.parse().into_iter().collect();
                        rows.insert(key, Expected { addresses, ..Expected::default() });
                    }
                }
                _ => {}
            }
        }
        let namespaces: BTreeSet<&Name> = self.objects.keys().map(|key| &key.namespace).collect();
        for entry in namespaces.into_iter().flat_map(|namespace| self.entries_of(namespace)) {
            rows.extend(self.entry_rows(entry));
        }
        rows
    }

    /// The entry and its endpoints, as far as it has hosts (R43, R53, R54).
    fn entry_rows(&self, entry: &ServiceEntry) -> Vec<(RowKey, Expected)> {
        let hosts = self.hosts_of(entry);
        if hosts.is_empty() {
            return Vec::new();
        }
        let whole = RowKey::new(RowKind::ServiceEntry, &entry.meta.namespace, &entry.meta.name);
        let part =
            |part: &Name| RowKey { kind: RowKind::ServiceEntryEndpoint, part: Some(part.clone()), ..whole.clone() };
        let workload = |addresses, labels| Expected { addresses, by_address: true, labels, ..Expected::default() };
        let mut rows = Vec::new();
        let implied = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin | Resolution::DynamicDns);
        if implied && entry.endpoints.is_empty() && entry.selector.is_none() {
            rows.extend(hosts.iter().map(|host| (part(host), workload(Vec::new(), Labels::default()))));
        }
        for endpoint in &entry.endpoints {
            let addresses = endpoint.address.parse().into_iter().collect();
            rows.push((part(&endpoint.address), workload(addresses, endpoint.labels.clone())));
        }
        let addresses = hosts.iter().flat_map(|host| single_addresses(entry, host));
        let addresses: BTreeSet<IpAddr> = addresses.collect();
        let labels = entry.meta.labels.clone();
        let addresses = addresses.into_iter().collect();
        rows.push((whole.clone(), Expected { hosts, addresses, by_address: true, labels }));
        rows
    }

    /// The question: candidates by brute force, labels and selectors looked up afresh.
    fn check_question(&self, key: &RowKey, row: &Row, expected: &Expected, description: &Description) -> Checked {
        let input = &row.input;
        let nothing = Labels::default();
        let own_namespace = self.namespace_labels(&key.namespace);
        let ns_labels = own_namespace.unwrap_or(&nothing);
        prop_assert_eq!(input.namespace.known, own_namespace.is_some(), "{}", key);
        prop_assert_eq!(&**input.namespace.labels, &read(ns_labels, USE_WAYPOINT), "{}", key);
        let seen: Vec<&GatewayKey> = input.candidates.iter().map(|gateway| &gateway.key).collect();
        let wanted = self.candidates(description.reach, &key.namespace, &expected.labels, ns_labels);
        prop_assert_eq!(seen, wanted.keys().collect::<Vec<_>>(), "candidates of {}", key);
        let mut selected = Vec::new();
        for (view, gateway) in input.candidates.iter().zip(wanted.values()) {
            prop_assert_eq!(&view.addresses, &gateway.addresses);
            let dialled: Vec<Vec<IpAddr>> = gateway.addresses.iter().map(|it| self.dialled_at(gateway, it)).collect();
            prop_assert_eq!(&view.dialled_at, &dialled, "where {} is dialled", view.key);
            let class = self.objects.get(&ObjectKey::new(Kind::GatewayClass, "", &gateway.class));
            let seen = view.class.as_ref().map(|class| (class.name.clone(), class.labels.to_vec()));
            let labels = read(class.map_or(&nothing, |class| &class.meta().labels), WAYPOINT_FOR);
            prop_assert_eq!(seen, Some((gateway.class.clone(), labels)), "class of {}", view.key);
            for (shown, listener) in view.listeners.iter().zip(&gateway.listeners) {
                let matches = listener.selector.as_ref().is_some_and(|selector| selector.matches(ns_labels));
                prop_assert_eq!(shown.selector.is_some(), listener.selector.is_some());
                selected.extend(shown.selector.filter(|_| matches));
            }
        }
        selected.sort_unstable();
        selected.dedup();
        prop_assert_eq!(&input.namespace.selected_by, &selected, "selectors that match {}", key.namespace);
        Ok(())
    }

    fn candidates(
        &self,
        reach: Reach,
        ns: &str,
        own: &Labels,
        inherited: &Labels,
    ) -> BTreeMap<GatewayKey, &'a Gateway> {
        let names = |gateway: &GatewayKey, labels: &Labels| {
            let place = labels.get(USE_WAYPOINT_NAMESPACE).map_or(ns, |name| name);
            labels.get(USE_WAYPOINT) == Some(&gateway.name) && *gateway.namespace == *place
        };
        let instance = |gateway: &GatewayKey| own.get(GATEWAY_NAME) == Some(&gateway.name) && *gateway.namespace == *ns;
        let gateways = self.objects.values().filter_map(|object| match object {
            Object::Gateway(gateway) => Some((gateway.key(), gateway)),
            _ => None,
        });
        let within = |key: &GatewayKey| match reach {
            Reach::All => true,
            Reach::OwnNamespace if *key.namespace == *ns => true,
            _ => names(key, own) || names(key, inherited) || instance(key),
        };
        gateways.filter(|(key, _)| self.discovered(&key.namespace) && within(key)).collect()
    }

    /// R91: a hostname means the service of the Gateway's own namespace that has this host.
    fn dialled_at(&self, gateway: &Gateway, address: &model::gateway::StatusAddress) -> Vec<IpAddr> {
        let Some(host) = address.hostname() else {
            return address.ip().into_iter().collect();
        };
        let namespace = &gateway.meta.namespace;
        let services = self.objects.values().filter_map(|object| match object {
            Object::Service(service) if service.meta.namespace == *namespace && service.is_published() => Some(service),
            _ => None,
        });
        if let Some(service) = services.into_iter().find(|it| it.host(&self.facts.cluster_domain) == *host) {
            return service.addresses.to_vec();
        }
        let entries = self.entries_of(namespace);
        // Before 1.29 several may have it; the first of them counts here too.
        let mut entries: Vec<_> = entries.into_iter().filter(|entry| self.hosts_of(entry).contains(host)).collect();
        entries.sort_by_key(|entry| (entry.created, entry.meta.name.clone()));
        entries.first().map(|entry| single_addresses(entry, host)).unwrap_or_default()
    }
}

fn single_addresses(entry: &ServiceEntry, host: &str) -> Vec<IpAddr> {
    entry.addresses_of(host).into_iter().filter_map(|range| range.as_single()).collect()
}

fn read(labels: &Labels, prefix: &str) -> Vec<(Name, Name)> {
    labels.iter().filter(|(key, _)| key.starts_with(prefix)).cloned().collect()
}
