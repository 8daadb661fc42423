//! A mesh as a control plane tells it: what workload xDS carries of a service or workload, and nothing else. There are no
//! labels in it, so they are unknown, which is not the same as none; what there is instead is the control plane's own choice.
//!
//! Where another source has the same object, what that source says is added (the same uid, or the same namespace and
//! host). [`decider`] comes to decisions; what is sent because of them is not known here.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::decision::WaypointAddress;
use crate::gateway::{Gateway, GatewayKey};
use crate::input::{EndpointsInput, SubjectKind, Visibility};
use crate::name::{Name, share};
use crate::service::service_of_host;
use crate::sorted::{Entry, Sorted};
use crate::store::Store;
use crate::table::{RowKey, RowKind};

pub mod decider;
mod questions;
mod ready;

pub use ready::LearnedEndpoint;
use ready::Ready;

/// A service or workload, as the control plane says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedSubject {
    /// What kind of thing it is.
    pub kind: SubjectKind,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// The row that another source would have for it, as far as its key says so. The one of a ServiceEntry depends on who has
    /// the host, and is looked up.
    pub row: Option<RowKey>,
    /// Its host, if it is a service.
    pub hosts: Box<[Name]>,
    /// Its addresses, each on its network; ranges are left out.
    pub addresses: Box<[(Name, IpAddr)]>,
    /// What a workload runs as.
    pub service_account: Option<Name>,
    /// Who sees it.
    pub visibility: Visibility,
    /// The waypoints that it was given, primary first, each once; they hold configuration for it, whatever their weight
    /// (R98).
    pub upstream: Box<[LearnedWaypoint]>,
    /// Of a workload that is ready: where it is, and behind what.
    pub ready: Option<Arc<LearnedEndpoint>>,
}

/// A waypoint as the control plane names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LearnedWaypoint {
    /// The service that leads to it.
    Host {
        /// The service's namespace.
        namespace: Name,
        /// The service's host.
        host: Name,
    },
    /// An address.
    Ip {
        /// The network, empty for the default one.
        network: Name,
        /// The address.
        ip: IpAddr,
    },
}

impl LearnedWaypoint {
    /// The name of a Gateway of which no more than this is known: its host, or `NETWORK/IP` without a namespace.
    pub fn key(&self) -> GatewayKey {
        match self {
            Self::Host { namespace, host } => GatewayKey { namespace: namespace.clone(), name: host.clone() },
            Self::Ip { network, ip } => GatewayKey { namespace: "".into(), name: format!("{network}/{ip}").into() },
        }
    }

    /// How the mesh refers to it.
    pub fn address(&self) -> WaypointAddress {
        match self {
            Self::Host { host, .. } => WaypointAddress::Hostname(host.clone()),
            Self::Ip { network, ip } => WaypointAddress::Ip { network: network.clone(), ip: *ip },
        }
    }

    /// Whether this is an address of the Gateway (R5, R6).
    fn is_of(&self, gateway: &Gateway, network: &Name) -> bool {
        gateway.addresses.iter().any(|address| match self {
            Self::Host { namespace, host } => gateway.meta.namespace == *namespace && address.hostname() == Some(host),
            Self::Ip { network: of, ip } => of == network && address.ip() == Some(*ip),
        })
    }

    /// The Gateway of another source that has this address, the first by namespace and name.
    fn gateway(&self, store: &Store) -> Option<GatewayKey> {
        let network = &store.facts().network;
        match self {
            Self::Host { namespace, .. } => {
                let mut keys = store.gateways_in(namespace);
                keys.find(|key| store.gateway(key).is_some_and(|it| self.is_of(it, network))).cloned()
            }
            Self::Ip { .. } => store.gateways().find(|(_, it)| self.is_of(it, network)).map(|(key, _)| key.clone()),
        }
    }
}

/// The kind of a workload with this uid, and the row that it would have here; none of another cluster's. The rules for
/// uids are R58's; what has another form is taken for a WorkloadEntry, which is what a workload from outside is.
pub fn workload_of_uid(uid: &str, cluster_id: &str) -> (SubjectKind, Option<RowKey>) {
    let mut parts = uid.splitn(6, '/');
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let cluster = part();
    let group = part().unwrap_or_default();
    let (kind, namespace, name, rest) = (part(), part(), part(), part());
    let (row_kind, subject_kind) = match (group, kind) {
        ("", Some("Pod")) => (RowKind::Pod, SubjectKind::Pod),
        ("networking.istio.io", Some("WorkloadEntry")) => (RowKind::WorkloadEntry, SubjectKind::WorkloadEntry),
        ("networking.istio.io", Some("ServiceEntry")) => (RowKind::ServiceEntryEndpoint, SubjectKind::EntryEndpoint),
        ("discovery.k8s.io", Some("EndpointSlice")) => (RowKind::EndpointSliceEndpoint, SubjectKind::SliceEndpoint),
        _ => return (SubjectKind::WorkloadEntry, None),
    };
    let row = namespace
        .zip(name)
        .map(|(namespace, name)| RowKey { part: rest.map(Name::from), ..RowKey::new(row_kind, namespace, name) });
    (subject_kind, row.filter(|row| cluster == Some(cluster_id) && row.uid(cluster_id).as_deref() == Some(uid)))
}

/// The kind of a service with this host, and the row that it would have here: a Kubernetes Service's host says whose it is
/// (R40), all others are of ServiceEntries.
pub fn service_with_host(host: &str, namespace: &str, cluster_domain: &str) -> (SubjectKind, Option<RowKey>) {
    match service_of_host(host, cluster_domain).filter(|(of, _)| *of == namespace) {
        Some((namespace, name)) => (SubjectKind::Service, Some(RowKey::new(RowKind::Service, namespace, name))),
        None => (SubjectKind::ServiceEntry, None),
    }
}

/// A change of what the control plane says, by the name of the resource: a workload's uid or `namespace/host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LearnedEvent {
    /// It is now like this, whether or not it was there.
    Put(Name, LearnedSubject),
    /// It is gone. Unknown names are fine.
    Remove(Name),
}

/// What a sequence of events touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LearnedChanges {
    /// Resources that came, went or are different.
    pub names: BTreeSet<Name>,
    /// Waypoints whose service came, went, or has other addresses: whoever was given them is concerned.
    pub waypoints: BTreeSet<LearnedWaypoint>,
    /// Waypoints that have other ready endpoints, as counts are rounded: whoever was given them is concerned, if a component
    /// is told of endpoints at all.
    pub endpoints: BTreeSet<LearnedWaypoint>,
    /// Services that have their first ready endpoint, or lost their last, by `namespace/host`.
    pub reachable: BTreeSet<Name>,
    /// Whether a waypoint was given to somebody for the first time, or one is given to nobody any more.
    pub others: bool,
}

/// Everything that the control plane said. A clone costs next to nothing.
#[derive(Clone, Debug, Default)]
pub struct LearnedMesh {
    subjects: Sorted<ByName>,
    /// Those that have a row.
    by_row: Sorted<ByRow>,
    /// How many were given each waypoint.
    given: OrdMap<LearnedWaypoint, usize>,
    ready: Ready,
    /// Who has the addresses by which waypoints were given; no other address.
    at: OrdMap<LearnedWaypoint, OrdSet<Name>>,
}

/// A subject by the name of its resource.
#[derive(Clone, Debug)]
struct ByName {
    name: Name,
    subject: Arc<LearnedSubject>,
}

impl Entry for ByName {
    type Key = Name;

    fn key(&self) -> Name {
        self.name.clone()
    }

    fn order(&self, name: &Name) -> Ordering {
        self.name.cmp(name)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

/// A subject by its row.
#[derive(Clone, Debug)]
struct ByRow(ByName);

impl Entry for ByRow {
    type Key = Option<RowKey>;

    fn key(&self) -> Option<RowKey> {
        self.0.subject.row.clone()
    }

    fn order(&self, row: &Option<RowKey>) -> Ordering {
        self.0.subject.row.cmp(row)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.order(&other.0.subject.row)
    }
}

/// What is put together while events are carried out, and looked at when all of them are.
#[derive(Default)]
struct Step {
    changes: LearnedChanges,
    /// The ready endpoints before, of the services that may have others.
    ready: BTreeMap<Name, Vec<EndpointsInput>>,
    /// Addresses by which a waypoint was given for the first time.
    addresses: BTreeSet<LearnedWaypoint>,
}

impl LearnedMesh {
    /// Carries out events in their order.
    pub fn apply(&mut self, events: impl IntoIterator<Item = LearnedEvent>) -> LearnedChanges {
        let mut step = Step::default();
        for event in events {
            let (name, now) = match event {
                LearnedEvent::Put(name, mut subject) => {
                    subject.ready = subject.ready.map(|ready| self.ready.shared(ready));
                    subject.share(self.subjects.near(&name).map(|it| &*it.subject));
                    for waypoint in &mut subject.upstream {
                        if let Some((given, _)) = self.given.get_key_value(waypoint) {
                            waypoint.clone_from(given);
                        }
                    }
                    (name, Some(Arc::new(subject)))
                }
                LearnedEvent::Remove(name) => (name, None),
            };
            self.set(name, now, &mut step);
        }
        self.look_up(&step.addresses);
        self.settle_ready(step.ready, &mut step.changes);
        step.changes
    }

    /// The subject of this name.
    pub fn get(&self, name: &Name) -> Option<&Arc<LearnedSubject>> {
        self.subjects.get(name).map(|it| &it.subject)
    }

    /// All subjects in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Arc<LearnedSubject>)> {
        self.subjects.iter().map(|it| (&it.name, &it.subject))
    }

    /// The name of the subject with this row.
    fn with_row(&self, row: &RowKey) -> Option<&Name> {
        self.by_row.get(&Some(row.clone())).map(|it| &it.0.name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.subjects.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// All waypoints that anything was given, in their order.
    pub fn waypoints(&self) -> impl Iterator<Item = &LearnedWaypoint> {
        self.given.keys()
    }

    /// Whether anything was given this waypoint.
    pub fn is_given(&self, waypoint: &LearnedWaypoint) -> bool {
        self.given.contains_key(waypoint)
    }

    /// Where a waypoint is dialled (R91); empty where that is not known.
    pub fn addresses_of(&self, waypoint: &LearnedWaypoint) -> Vec<IpAddr> {
        match waypoint {
            LearnedWaypoint::Host { namespace, host } => {
                let service = self.get(&format!("{namespace}/{host}").into());
                service.map(|service| service.addresses.iter().map(|(_, ip)| *ip).collect()).unwrap_or_default()
            }
            LearnedWaypoint::Ip { ip, .. } => vec![*ip],
        }
    }

    /// The ready endpoints of a waypoint, by locality: of the service that it is named by, or that has its address, or the
    /// workload that has it (R86). Only known of those that were given to somebody.
    pub fn endpoints_of(&self, waypoint: &LearnedWaypoint) -> Vec<EndpointsInput> {
        let LearnedWaypoint::Host { namespace, host } = waypoint else {
            let at = self.at.get(waypoint).into_iter().flatten();
            let at: Vec<_> = at.filter_map(|name| Some((name, self.get(name)?))).collect();
            let service = at.iter().find(|(_, subject)| !subject.hosts.is_empty());
            return match service {
                Some((name, _)) => self.ready.of_service(name),
                None => {
                    EndpointsInput::counted(at.iter().filter_map(|(_, it)| Some(it.ready.as_ref()?.locality.clone())))
                }
            };
        };
        self.ready.of_service(&format!("{namespace}/{host}").into())
    }

    /// Whether the service with this name, `namespace/host`, has a ready endpoint.
    pub fn is_ready(&self, service: &Name) -> bool {
        self.ready.has(service)
    }

    fn set(&mut self, name: Name, now: Option<Arc<LearnedSubject>>, step: &mut Step) {
        // What did not change stays the very same: it is held by its row as well.
        if self.get(&name) == now.as_ref() {
            return;
        }
        let by_name = now.as_ref().map(|subject| ByName { name: name.clone(), subject: Arc::clone(subject) });
        let before = match by_name.clone() {
            Some(by_name) => self.subjects.insert(by_name),
            None => self.subjects.remove(&name),
        };
        let before = before.map(|it| it.subject);
        let both = Both { before: before.as_deref(), now: now.as_deref() };
        self.set_addresses(&name, both, &mut step.changes);
        self.set_ready(both, &mut step.ready);
        if let Some(before) = before.as_ref().filter(|it| it.row.is_some()) {
            self.by_row.remove(&before.row);
        }
        if let Some(by_name) = by_name.filter(|it| it.subject.row.is_some()) {
            self.by_row.insert(ByRow(by_name));
        }
        self.set_given(both, step);
        step.changes.names.insert(name);
    }

    /// Whom waypoints lead to, by the host or the address of a subject.
    fn set_addresses(&mut self, name: &Name, both: Both<'_>, changes: &mut LearnedChanges) {
        let has_moved = both.differ(|it| &it.addresses);
        if has_moved {
            for subject in both.each() {
                let of_host =
                    |host: &Name| LearnedWaypoint::Host { namespace: subject.namespace.clone(), host: host.clone() };
                changes.waypoints.extend(subject.hosts.iter().map(of_host).filter(|it| self.given.contains_key(it)));
            }
        }
        if self.at.is_empty() || !has_moved && !both.differ(|it| &it.ready) {
            return;
        }
        for waypoint in both.before.into_iter().flat_map(LearnedSubject::by_address) {
            if let Some(names) = self.at.get_mut(&waypoint) {
                names.remove(name);
                changes.endpoints.insert(waypoint);
            }
        }
        for waypoint in both.now.into_iter().flat_map(LearnedSubject::by_address) {
            if let Some(names) = self.at.get_mut(&waypoint) {
                names.insert(name.clone());
                changes.endpoints.insert(waypoint);
            }
        }
    }

    /// Ready endpoints, with those before in `step` where there may be others now.
    fn set_ready(&mut self, both: Both<'_>, step: &mut BTreeMap<Name, Vec<EndpointsInput>>) {
        if !both.differ(|it| &it.ready) {
            return;
        }
        let [before, now] = [both.before, both.now].map(|it| it.and_then(|it| it.ready.as_ref()));
        for service in before.into_iter().chain(now).flat_map(|it| &it.services) {
            if !step.contains_key(service) {
                step.insert(service.clone(), self.ready.of_service(service));
            }
        }
        before.into_iter().for_each(|endpoint| self.ready.remove(endpoint));
        now.into_iter().for_each(|endpoint| self.ready.add(endpoint));
    }

    /// Who was given which waypoints.
    fn set_given(&mut self, both: Both<'_>, step: &mut Step) {
        for waypoint in both.now.into_iter().flat_map(|now| &now.upstream) {
            let count = self.given.entry(waypoint.clone()).or_default();
            *count += 1;
            if *count == 1 {
                step.changes.others = true;
                if let LearnedWaypoint::Ip { .. } = waypoint {
                    step.addresses.insert(waypoint.clone());
                }
            }
        }
        for waypoint in both.before.into_iter().flat_map(|before| &before.upstream) {
            if let Some(count) = self.given.get_mut(waypoint) {
                *count -= 1;
                if *count == 0 {
                    self.given.remove(waypoint);
                    self.at.remove(waypoint);
                    step.changes.others = true;
                }
            }
        }
    }

    /// Finds out who has these addresses, those that waypoints are still given by. One way through all subjects.
    fn look_up(&mut self, addresses: &BTreeSet<LearnedWaypoint>) {
        let given = addresses.iter().filter(|it| self.given.contains_key(*it));
        let mut found: BTreeMap<&LearnedWaypoint, OrdSet<Name>> = given.map(|it| (it, OrdSet::new())).collect();
        if found.is_empty() {
            return;
        }
        for ByName { name, subject } in self.subjects.iter() {
            for waypoint in subject.by_address() {
                if let Some(names) = found.get_mut(&waypoint) {
                    names.insert(name.clone());
                }
            }
        }
        self.at.extend(found.into_iter().map(|(waypoint, names)| (waypoint.clone(), names)));
    }

    /// Says which waypoints have other ready endpoints than before.
    fn settle_ready(&self, before: BTreeMap<Name, Vec<EndpointsInput>>, changes: &mut LearnedChanges) {
        for (service, before) in before {
            let now = self.ready.of_service(&service);
            if before == now {
                continue;
            }
            let by_host = service
                .split_once('/')
                .map(|(namespace, host)| LearnedWaypoint::Host { namespace: namespace.into(), host: host.into() });
            changes.endpoints.extend(by_host.filter(|it| self.given.contains_key(it)));
            let by_address = self.get(&service).into_iter().flat_map(|it| it.by_address());
            changes.endpoints.extend(by_address.filter(|it| self.at.contains_key(it)));
            if before.is_empty() != now.is_empty() {
                changes.reachable.insert(service);
            }
        }
    }
}

impl LearnedSubject {
    /// Takes names from another where they are equal: most beside it are of its namespace, and all are on few networks.
    fn share(&mut self, other: Option<&Self>) {
        if let Some(other) = other {
            share(&mut self.namespace, &other.namespace);
            if let (Some(own), Some(other)) = (&mut self.service_account, &other.service_account) {
                share(own, other);
            }
            if let Some((network, _)) = other.addresses.first() {
                self.addresses.iter_mut().for_each(|(own, _)| share(own, network));
            }
        }
        if let Some(row) = &mut self.row {
            share(&mut row.namespace, &self.namespace);
            share(&mut row.name, &self.name);
        }
    }

    /// The waypoints that lead here by an address.
    fn by_address(&self) -> impl Iterator<Item = LearnedWaypoint> + '_ {
        self.addresses.iter().map(|(network, ip)| LearnedWaypoint::Ip { network: network.clone(), ip: *ip })
    }
}

/// A subject before and after an event; none: it was not there, or is gone.
#[derive(Clone, Copy)]
struct Both<'a> {
    before: Option<&'a LearnedSubject>,
    now: Option<&'a LearnedSubject>,
}

impl<'a> Both<'a> {
    fn each(self) -> impl Iterator<Item = &'a LearnedSubject> {
        self.before.into_iter().chain(self.now)
    }

    fn differ<T: PartialEq + 'a>(self, part: impl Fn(&'a LearnedSubject) -> &'a T) -> bool {
        self.before.map(&part) != self.now.map(&part)
    }
}

#[cfg(test)]
mod tests;
