//! What of a snapshot a step of the mesh concerns. Too much costs time; too little is wrong for as long as the mesh is up,
//! so a property test compares what is followed with what is made afresh.

use std::collections::{BTreeMap, BTreeSet};

use model::decision::{OnUnreachable, WaypointAddress};
use model::object::{Kind, ObjectKey};
use model::service::{Port, TRAFFIC_DISTRIBUTION};
use model::sink::{Decided, Step};
use model::store::RowObject;
use model::table::{RowKey, RowKind};
use model::{AuthorizationPolicy, Labels, Name, PeerAuthentication, Service, Store};

use super::hosts;
use super::neighbours::selected;
use super::outside::Reference;
use super::{networks, peers, policies};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    /// Workloads that may be told of differently.
    pub workloads: BTreeSet<RowKey>,
    /// Services, by namespace and host.
    pub hosts: BTreeSet<(Name, Name)>,
    /// Policies, by namespace and name.
    pub policies: BTreeSet<(Name, Name)>,
    /// Waypoints that may have come into the mesh or left it, or to which nobody may refer any more.
    pub references: BTreeSet<Reference>,
}

/// Before and after a step.
#[derive(Clone, Copy)]
struct Both<'a> {
    before: &'a Store,
    now: &'a Store,
}

impl Concerned {
    /// None: anything may be different.
    pub(super) fn by(before: &Store, now: Decided<'_>, step: &Step) -> Option<Self> {
        let both = Both { before, now: now.store };
        let mut concerned = Self::default();
        if step.mesh || before.facts().network != now.store.facts().network || both.networks_differ(step) {
            return None;
        }
        for row in &step.changes.rows {
            concerned.row(both, row);
        }
        for change in &step.moved {
            concerned.told_of(both, &change.key);
            for row in [&change.before, &change.after].into_iter().flatten() {
                concerned.references.extend(row.decision.targets().iter().filter_map(Reference::of));
            }
        }
        for key in &step.objects {
            match key.kind {
                Kind::EndpointSlice => concerned.slice(both, key),
                Kind::AuthorizationPolicy => concerned.policy(both, &key.namespace, &key.name),
                Kind::PeerAuthentication => concerned.peer(both, &key.namespace, &key.name)?,
                _ => {}
            }
        }
        for namespace in &step.changes.namespaces {
            concerned.namespace(both, namespace)?;
        }
        if !step.changes.nodes.is_empty() {
            concerned.workloads.extend(now.store.pods_on(&step.changes.nodes));
        }
        for gateway in &step.changes.gateways {
            let key =
                ObjectKey { kind: Kind::Gateway, namespace: gateway.namespace.clone(), name: gateway.name.clone() };
            concerned.gateway(both, &key);
        }
        concerned.by_health(both, now, step);
        Some(concerned)
    }

    /// How many resources.
    pub(super) fn len(&self) -> usize {
        self.workloads.len() + self.hosts.len() + self.policies.len()
    }

    /// What is told of this row itself.
    fn told_of(&mut self, both: Both<'_>, row: &RowKey) {
        if !row.kind.is_service() {
            self.workloads.insert(row.clone());
            return;
        }
        for store in both {
            for host in hosts::hosts_of(store, row) {
                self.hosts.insert((row.namespace.clone(), host));
            }
        }
    }

    /// The object of this row came, went or changed, or may have.
    fn row(&mut self, both: Both<'_>, row: &RowKey) {
        self.told_of(both, row);
        if !row.kind.is_service() {
            return;
        }
        let hosts: BTreeSet<Name> = both.into_iter().flat_map(|store| hosts::hosts_of(store, row)).collect();
        for host in &hosts {
            self.canonical(both, host);
            // It may be a waypoint's.
            if both.into_iter().any(|store| is_reported(store, &row.namespace, host)) {
                self.references.insert(Reference::Host(row.namespace.clone(), host.clone()));
            }
        }
        if joint(both.before, row) != joint(both.now, row) {
            both.into_iter().for_each(|store| self.workloads.extend(store.workloads_of(row)));
        }
    }

    /// Clients of other namespaces may mean another entry by a host (R42).
    fn canonical(&mut self, both: Both<'_>, host: &Name) {
        let nobody = Name::from("");
        let [before, now] = [both.before, both.now].map(|store| store.service_of_host(host, &nobody));
        if before != now {
            let rows = before.into_iter().chain(now);
            self.hosts.extend(rows.map(|row| (row.namespace, host.clone())));
        }
    }

    /// Pods behind a Service without a selector go by its slices (R140); other Pods do not care.
    fn slice(&mut self, both: Both<'_>, key: &ObjectKey) {
        for store in both {
            let Some(slice) = store.slice(&key.namespace, &key.name) else { continue };
            let Some(service) = slice.service() else { continue };
            if store.service(&key.namespace, service).is_some_and(|service| service.selector.is_empty()) {
                let pod = |name: &Name| RowKey {
                    kind: RowKind::Pod,
                    namespace: key.namespace.clone(),
                    name: name.clone(),
                    part: None,
                };
                self.workloads.extend(slice.pods.iter().map(pod));
            }
        }
    }

    fn policy(&mut self, both: Both<'_>, namespace: &Name, name: &Name) {
        self.policies.insert((namespace.clone(), name.clone()));
        let [before, now] =
            [both.before, both.now].map(|store| policy(store, namespace, name).and_then(policies::selector));
        if before == now {
            return;
        }
        for (store, selector) in [(both.before, before), (both.now, now)] {
            let Some(selector) = selector else { continue };
            if *namespace == store.facts().mesh.root_namespace {
                for namespace in store.all_namespaces() {
                    selected(store, &namespace, selector, &mut self.workloads);
                }
            } else {
                selected(store, namespace, selector, &mut self.workloads);
            }
        }
    }

    /// None: it counts everywhere.
    fn peer(&mut self, both: Both<'_>, namespace: &Name, name: &Name) -> Option<()> {
        let [before, now] = [both.before, both.now].map(|store| peer(store, namespace, name));
        if before == now {
            return Some(());
        }
        let is_above = |peer: &PeerAuthentication| peer.selected().is_none();
        let counts_for_all = before.into_iter().chain(now).any(is_above);
        if counts_for_all && *namespace == both.now.facts().mesh.root_namespace {
            return None;
        }
        self.policies.insert(peers::strict_name(both.now));
        self.policies.insert((namespace.clone(), peers::converted_name(name)));
        for (store, peer) in [(both.before, before), (both.now, now)] {
            if counts_for_all {
                self.policies.extend(peers::names(store, namespace));
                selected(store, namespace, &Labels::default(), &mut self.workloads);
            } else if let Some(selector) = peer.and_then(PeerAuthentication::selected) {
                selected(store, namespace, selector, &mut self.workloads);
            }
        }
        Some(())
    }

    /// None: its policies hold everywhere, and they came into sight or went out of it.
    fn namespace(&mut self, both: Both<'_>, name: &Name) -> Option<()> {
        if both.before.is_discovered(name) != both.now.is_discovered(name) {
            if *name == both.now.facts().mesh.root_namespace {
                return None;
            }
            for store in both {
                self.policies.extend(store.policies_in(name).map(|it| (name.clone(), it.meta.name.clone())));
                self.policies.extend(peers::names(store, name));
            }
        }
        let [before, now] = [both.before, both.now]
            .map(|store| store.namespace(name)?.meta.annotations.get(TRAFFIC_DISTRIBUTION).cloned());
        if before != now {
            self.services_in(both.now, name);
        }
        Some(())
    }

    fn services_in(&mut self, store: &Store, namespace: &Name) {
        let domain = &store.facts().cluster_domain;
        self.hosts.extend(store.services_in(namespace).map(|it| (namespace.clone(), it.host(domain))));
        for entry in store.entries_in(namespace) {
            self.hosts.extend(entry.hosts.iter().map(|host| (namespace.clone(), host.clone())));
        }
    }

    /// The services that it says are its own may be sent to waypoints, or may not; and what it reports may be in the mesh.
    fn gateway(&mut self, both: Both<'_>, key: &ObjectKey) {
        let namespace = &key.namespace;
        self.services_in(both.now, namespace);
        let key = model::gateway::GatewayKey { namespace: namespace.clone(), name: key.name.clone() };
        let network = &both.now.facts().network;
        for gateway in both.into_iter().filter_map(|store| store.gateway(&key)) {
            for address in &gateway.addresses {
                let hostname = address.hostname().cloned().map(WaypointAddress::Hostname);
                let ip = || address.ip().map(|ip| WaypointAddress::Ip { network: network.clone(), ip });
                self.references.extend(hostname.or_else(ip).and_then(|at| Reference::at(namespace, &at)));
            }
        }
    }

    /// Rows whose connections may go past their waypoint do so while it has no healthy endpoint; nothing of them changes
    /// when it has one again but this.
    fn by_health(&mut self, both: Both<'_>, now: Decided<'_>, step: &Step) {
        let mut namespaces: BTreeMap<&Name, Vec<&RowKey>> = BTreeMap::new();
        for row in &step.changes.rows {
            namespaces.entry(&row.namespace).or_default().push(row);
        }
        for key in step.objects.iter().filter(|key| key.kind == Kind::EndpointSlice) {
            namespaces.entry(&key.namespace).or_default();
        }
        let mut other = Vec::new();
        for (namespace, rows) in namespaces {
            let slices = step.objects.iter().any(|it| it.kind == Kind::EndpointSlice && it.namespace == *namespace);
            let may_be =
                |service: Option<&Service>| slices || rows.iter().any(|row| may_stand_behind(both, row, service));
            for key in both.now.gateways_in(namespace) {
                for address in both.now.gateway(key).map(|it| it.addresses.as_slice()).unwrap_or_default() {
                    let network = &both.now.facts().network;
                    let ip = || address.ip().map(|ip| WaypointAddress::Ip { network: network.clone(), ip });
                    let Some(at) = address.hostname().cloned().map(WaypointAddress::Hostname).or_else(ip) else {
                        continue;
                    };
                    let services = both.into_iter().map(|store| hosts::service_behind(store, namespace, &at));
                    if services.into_iter().any(&may_be) {
                        let [before, now] = [both.before, both.now].map(|store| hosts::health(store, namespace, &at));
                        other.extend((before != now).then(|| (namespace.clone(), at)));
                    }
                }
            }
        }
        if other.is_empty() {
            return;
        }
        for (key, row) in now.table.iter().filter(|(_, row)| row.decision.on_unreachable == OnUnreachable::Bypass) {
            let is_other = |namespace: &Name, at: Option<&WaypointAddress>| {
                at.is_some_and(|at| other.iter().any(|(of, other)| of == namespace && other == at))
            };
            if row.decision.targets().iter().any(|it| is_other(&it.gateway.namespace, it.address.as_ref())) {
                self.told_of(both, key);
            }
        }
    }
}

impl Both<'_> {
    /// Whether other networks are reached otherwise than before: who is there is not kept, and it hardly ever happens.
    fn networks_differ(self, step: &Step) -> bool {
        let mut gateways =
            step.changes.gateways.iter().flat_map(|key| self.into_iter().map(|store| store.gateway(key)));
        let concerned = gateways.any(|gateway| gateway.is_some_and(|gateway| networks::is_remote(gateway)));
        concerned && !networks::all(self.before).eq(networks::all(self.now))
    }
}

impl<'a> IntoIterator for Both<'a> {
    type Item = &'a Store;
    type IntoIter = std::array::IntoIter<&'a Store, 2>;

    fn into_iter(self) -> Self::IntoIter {
        [self.before, self.now].into_iter()
    }
}

fn policy<'a>(store: &'a Store, namespace: &Name, name: &Name) -> Option<&'a AuthorizationPolicy> {
    store.policies_in(namespace).find(|policy| policy.meta.name == *name)
}

fn peer<'a>(store: &'a Store, namespace: &Name, name: &Name) -> Option<&'a PeerAuthentication> {
    store.peer_authentications_in(namespace).find(|peer| peer.meta.name == *name)
}

/// Whether a Gateway of this namespace says that it is reached by the host.
fn is_reported(store: &Store, namespace: &Name, host: &Name) -> bool {
    let mut gateways = store.gateways_in(namespace).filter_map(|key| store.gateway(key));
    gateways.any(|gateway| gateway.addresses.iter().any(|at| at.hostname() == Some(host)))
}

/// What the workloads behind a service go by: its hosts, its ports, and whom it selects.
fn joint<'a>(store: &'a Store, row: &RowKey) -> Option<(Vec<Name>, &'a [Port], Option<&'a Labels>)> {
    let hosts = hosts::hosts_of(store, row);
    match store.row(row)? {
        RowObject::Service(service) => Some((hosts, &service.ports, Some(&service.selector))),
        RowObject::ServiceEntry { entry, .. } => Some((hosts, &entry.ports, entry.selector.as_ref())),
        _ => None,
    }
}

/// Whether a row that changed may be behind a waypoint's Service, or that Service itself. For a Pod this is exact: there
/// are many, and most are not.
fn may_stand_behind(both: Both<'_>, row: &RowKey, service: Option<&Service>) -> bool {
    let Some(service) = service else { return true };
    both.into_iter().any(|store| match store.row(row) {
        Some(RowObject::Pod(pod)) => service.selector.is_empty() || service.selector.is_subset_of(&pod.meta.labels),
        Some(_) => true,
        None => false,
    })
}
