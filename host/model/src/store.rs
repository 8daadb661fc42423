//! The mesh as it is now: typed objects by key, and the only place that changes them.
//!
//! [`Store::apply`] says what an event touched; which rows follow from that depends on what a component declared and
//! is the business of [`crate::projection`]. A store is a persistent structure: a clone costs nothing to speak of and
//! is a snapshot, so that a candidate can be tried on it while events go on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};

use crate::endpoint_slice::EndpointSlice;
use crate::gateway::{Gateway, GatewayClass, GatewayKey, StatusAddress};
use crate::hosts::Hosts;
use crate::mesh::{EntryVisibility, IstioVersion, Mesh};
use crate::name::{Labels, Name};
use crate::namespace::Namespace;
use crate::object::{Kind, Object, ObjectKey};
use crate::peer_authentication::PeerAuthentication;
use crate::policy::AuthorizationPolicy;
use crate::service::Service;
use crate::service_entry::ServiceEntry;
use crate::sorted::Sorted;
use crate::table::{RowKey, RowKind};
use crate::workload::Pod;
use crate::workload_entry::WorkloadEntry;

mod addresses;
mod alike;
mod claims;
mod entries;
mod membership;
mod network;
mod nodes;
mod ready;
mod rows;
mod unpublished;

use alike::{Alike, Kept};
pub use claims::{ClaimStanding, HostClaim};
pub use network::NETWORK;
pub use rows::RowObject;
pub use unpublished::{LostHost, Unpublished};

/// The label by which an object belongs to one revision of Istio (R144).
pub const REVISION: &str = "istio.io/rev";

/// What is known about the cluster and this node without looking at any object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The DNS suffix of the cluster, `cluster.local` by default (R40).
    pub cluster_domain: Name,
    /// The network of addresses found here (R6). Where it is empty from the start, a store follows the label of the root
    /// namespace.
    pub network: Name,
    /// The cluster's id, `Kubernetes` by default (R58).
    pub cluster_id: Name,
    /// The revision of Istio whose objects count, `default` by default (R144).
    pub istio_revision: Name,
    /// The version of Istio whose host-side rules are followed, the newest by default.
    pub istio: IstioVersion,
    /// What MeshConfig says.
    pub mesh: Mesh,
    /// The node this host runs on.
    pub node: Node,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".into(),
            network: "".into(),
            cluster_id: "Kubernetes".into(),
            istio_revision: "default".into(),
            istio: IstioVersion::NEWEST,
            mesh: Mesh::default(),
            node: Node::default(),
        }
    }
}

/// The node this host runs on, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its name.
    pub name: Option<Name>,
    /// Its labels.
    pub labels: Labels,
    /// `topology.kubernetes.io/region`, empty if unknown.
    pub region: Option<Name>,
    /// `topology.kubernetes.io/zone`.
    pub zone: Option<Name>,
    /// `topology.istio.io/subzone`.
    pub subzone: Option<Name>,
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all events are of the large kind, and none is kept")]
pub enum Event {
    /// The object is now like this, whether or not it was there.
    Apply(Object),
    /// The object is gone. Unknown keys are fine.
    Delete(ObjectKey),
}

impl Event {
    /// The key of the object concerned.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Apply(object) => object.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

/// What a sequence of events touched, each thing once. Empty when nothing really changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Namespaces whose object came, went or changed: all rows in them are concerned.
    pub namespaces: BTreeSet<Name>,
    /// Gateways that came, went or changed, themselves, by their class, or by the Service that their hostname leads to:
    /// all rows that may mean them are concerned.
    pub gateways: BTreeSet<GatewayKey>,
    /// Services and workloads that came, went or changed, or may have.
    pub rows: BTreeSet<RowKey>,
    /// Nodes that came or went, or lie elsewhere: the Pods on them are concerned.
    pub nodes: BTreeSet<Name>,
}

impl Changes {
    /// True when nothing is concerned.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.gateways.is_empty() && self.rows.is_empty() && self.nodes.is_empty()
    }

    /// Adds what `later` touched.
    pub fn merge(&mut self, later: Changes) {
        self.namespaces.extend(later.namespaces);
        self.gateways.extend(later.gateways);
        self.rows.extend(later.rows);
        self.nodes.extend(later.nodes);
    }
}

/// All objects of one namespaced kind, by namespace and name.
type Namespaced<T> = Sorted<Arc<T>>;

/// All objects, by kind and key.
#[derive(Clone, Debug, Default)]
pub struct Store {
    facts: Arc<Facts>,
    /// The network that `facts` had from the start.
    told_network: Name,
    revision: u64,
    namespaces: HashMap<Name, Arc<Namespace>>,
    classes: HashMap<Name, Arc<GatewayClass>>,
    nodes: HashMap<Name, Arc<crate::node::Node>>,
    gateways: OrdMap<GatewayKey, Arc<Gateway>>,
    /// class name -> Gateways that name it, whether or not the class exists.
    gateways_by_class: HashMap<Name, OrdSet<GatewayKey>>,
    /// IP -> how often Gateways report it.
    reported: HashMap<IpAddr, usize>,
    services: Namespaced<Service>,
    /// Not one by one on the heap: there are many, and none is large.
    pods: Sorted<Pod>,
    entries: Namespaced<ServiceEntry>,
    workload_entries: Namespaced<WorkloadEntry>,
    slices: Namespaced<EndpointSlice>,
    policies: Namespaced<AuthorizationPolicy>,
    peers: Namespaced<PeerAuthentication>,
    /// The claims of all published ServiceEntries.
    hosts: Hosts,
}

/// What a namespace does to everything in it, before any label of the things themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// Not hidden by discovery selectors (R145).
    discovered: bool,
    /// Of the ServiceEntries (R117).
    entries: EntryVisibility,
}

impl Store {
    /// An empty store.
    pub fn new(facts: Facts) -> Self {
        Self { told_network: facts.network.clone(), facts: Arc::new(facts), ..Self::default() }
    }

    /// What is known without objects.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Counts the events that changed something; part of every decision's stamp.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Carries out one event. The revision moves only if something changed.
    pub fn apply(&mut self, event: Event) -> Changes {
        let mut changes = Changes::default();
        let changed = match event {
            Event::Apply(object) => self.put(object, &mut changes),
            Event::Delete(key) => self.delete(key, &mut changes),
        };
        self.revision += u64::from(changed);
        changes
    }

    /// Carries out several events as one step: one revision for each that changed something, one set of changes.
    pub fn apply_all(&mut self, events: impl IntoIterator<Item = Event>) -> Changes {
        let mut all = Changes::default();
        for event in events {
            all.merge(self.apply(event));
        }
        all
    }

    /// Another MeshConfig. Concerns the namespaces that it shows or hides, and the ServiceEntries that it does.
    pub fn set_mesh(&mut self, mesh: Mesh) -> Changes {
        let mut changes = Changes::default();
        if self.facts.mesh == mesh {
            return changes;
        }
        let before: Vec<(Name, Standing)> =
            self.namespaces_in_use().into_iter().map(|name| (name.clone(), self.standing(&name))).collect();
        Arc::make_mut(&mut self.facts).mesh = mesh;
        for (name, before) in before {
            self.restand(&name, before, &mut changes);
        }
        self.settle_network();
        self.revision += 1;
        changes
    }

    /// The node has other labels, or lies elsewhere. No row is named: a component is told of the node with every question, so
    /// who decides must ask everything anew where [`crate::projection::node_input`] says something else now.
    pub fn set_node(&mut self, node: Node) -> Changes {
        if self.facts.node != node {
            Arc::make_mut(&mut self.facts).node = node;
            self.revision += 1;
        }
        Changes::default()
    }

    /// True when something changed.
    fn put(&mut self, object: Object, changes: &mut Changes) -> bool {
        match object {
            Object::Namespace(o) => self.put_namespace(o, changes),
            Object::GatewayClass(o) => self.put_class(o, changes),
            Object::Gateway(o) => self.put_gateway(o, changes),
            Object::Service(o) => put(&mut self.services, o).is_some_and(|key| self.service_changed(key, changes)),
            Object::Pod(o) => put(&mut self.pods, o).is_some_and(|key| touch(RowKind::Pod, key, changes)),
            Object::ServiceEntry(o) => self.put_entry(o, changes),
            Object::WorkloadEntry(o) => {
                put(&mut self.workload_entries, o).is_some_and(|key| touch(RowKind::WorkloadEntry, key, changes))
            }
            Object::EndpointSlice(o) => self.put_slice(o, changes),
            Object::AuthorizationPolicy(o) => put(&mut self.policies, o).is_some(),
            Object::Node(o) => self.put_node(o, changes),
            Object::PeerAuthentication(o) => put(&mut self.peers, o).is_some(),
        }
    }

    fn delete(&mut self, key: ObjectKey, changes: &mut Changes) -> bool {
        let ObjectKey { kind, namespace, name } = key;
        let key = (namespace, name);
        match kind {
            Kind::Namespace => self.delete_namespace(&key.1, changes),
            Kind::GatewayClass => {
                let was_there = self.classes.remove(&key.1).is_some();
                was_there && self.class_changed(&key.1, changes)
            }
            Kind::Gateway => self.delete_gateway(GatewayKey { namespace: key.0, name: key.1 }, changes),
            Kind::Service => self.services.remove(&key).is_some() && self.service_changed(key, changes),
            Kind::Pod => self.pods.remove(&key).is_some() && touch(RowKind::Pod, key, changes),
            Kind::ServiceEntry => self.delete_entry(&key, changes),
            Kind::WorkloadEntry => {
                self.workload_entries.remove(&key).is_some() && touch(RowKind::WorkloadEntry, key, changes)
            }
            Kind::EndpointSlice => {
                let old = self.slices.remove(&key);
                old.is_some_and(|old| touch_slice(&old, changes))
            }
            Kind::AuthorizationPolicy => self.policies.remove(&key).is_some(),
            Kind::Node => self.delete_node(key.1, changes),
            Kind::PeerAuthentication => self.peers.remove(&key).is_some(),
        }
    }

    fn put_namespace(&mut self, object: Namespace, changes: &mut Changes) -> bool {
        let name = object.meta.name.clone();
        if self.namespaces.get(&name).is_some_and(|old| **old == object) {
            return false;
        }
        let before = self.standing(&name);
        self.namespaces.insert(name.clone(), Arc::new(object));
        self.restand(&name, before, changes);
        self.settle_network();
        changes.namespaces.insert(name);
        true
    }

    fn delete_namespace(&mut self, name: &Name, changes: &mut Changes) -> bool {
        let before = self.standing(name);
        if self.namespaces.remove(name).is_none() {
            return false;
        }
        self.restand(name, before, changes);
        self.settle_network();
        changes.namespaces.insert(name.clone());
        true
    }

    /// What the namespace does to what is in it. An unknown one has no labels (Q5).
    fn standing(&self, namespace: &Name) -> Standing {
        let none = Labels::default();
        let labels = self.namespaces.get(namespace).map_or(&none, |object| &object.meta.labels);
        let mesh = &self.facts.mesh;
        let selectors = &mesh.discovery_selectors;
        let rules = mesh.entry_visibility.as_ref().filter(|_| self.facts.istio >= IstioVersion::ENTRY_VISIBILITY);
        Standing {
            discovered: selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels)),
            entries: rules.map_or(EntryVisibility::Public, |rules| rules.visibility(labels)),
        }
    }

    /// Follows a change of what a namespace does.
    fn restand(&mut self, namespace: &Name, before: Standing, changes: &mut Changes) {
        let after = self.standing(namespace);
        if before == after {
            return;
        }
        if before.discovered != after.discovered {
            changes.gateways.extend(keys_in_gateways(&self.gateways, namespace).cloned());
            changes.namespaces.insert(namespace.clone());
            self.touch_namespace(namespace, changes);
        }
        self.reclaim(namespace, changes);
    }

    /// Whether discovery selectors leave the namespace in sight (R145).
    pub fn is_discovered(&self, namespace: &Name) -> bool {
        self.facts.mesh.discovery_selectors.is_empty() || self.standing(namespace).discovered
    }

    /// Whether the object belongs to this revision of Istio (R144). Only asked of kinds that are filtered by it.
    fn is_of_revision(&self, labels: &Labels) -> bool {
        labels.get(REVISION).is_none_or(|revision| *revision == self.facts.istio_revision)
    }

    fn put_class(&mut self, object: GatewayClass, changes: &mut Changes) -> bool {
        let name = object.meta.name.clone();
        if self.classes.get(&name).is_some_and(|old| **old == object) {
            return false;
        }
        self.classes.insert(name.clone(), Arc::new(object));
        self.class_changed(&name, changes)
    }

    /// A class counts through the Gateways that name it.
    fn class_changed(&mut self, name: &str, changes: &mut Changes) -> bool {
        changes.gateways.extend(self.gateways_by_class.get(name).into_iter().flatten().cloned());
        true
    }

    fn put_gateway(&mut self, object: Gateway, changes: &mut Changes) -> bool {
        let key = object.key();
        let old = self.gateways.get(&key);
        if old.is_some_and(|old| **old == object) {
            return false;
        }
        if let Some(old) = old.cloned() {
            self.forget_reported(&old);
            if old.class != object.class {
                self.forget_class(&old.class, &key);
            }
        }
        for ip in object.addresses.iter().filter_map(StatusAddress::ip) {
            *self.reported.entry(ip).or_default() += 1;
        }
        self.gateways_by_class.entry(object.class.clone()).or_default().insert(key.clone());
        self.gateways.insert(key.clone(), Arc::new(object));
        changes.gateways.insert(key);
        true
    }

    fn delete_gateway(&mut self, key: GatewayKey, changes: &mut Changes) -> bool {
        let Some(old) = self.gateways.remove(&key) else {
            return false;
        };
        self.forget_reported(&old);
        self.forget_class(&old.class, &key);
        changes.gateways.insert(key);
        true
    }

    fn forget_reported(&mut self, old: &Gateway) {
        for ip in old.addresses.iter().filter_map(StatusAddress::ip) {
            match self.reported.get_mut(&ip) {
                Some(times) if *times > 1 => *times -= 1,
                _ => {
                    self.reported.remove(&ip);
                }
            }
        }
    }

    fn forget_class(&mut self, class: &Name, key: &GatewayKey) {
        if let Some(named) = self.gateways_by_class.get_mut(class) {
            named.remove(key);
            if named.is_empty() {
                self.gateways_by_class.remove(class);
            }
        }
    }

    fn put_slice(&mut self, mut object: EndpointSlice, changes: &mut Changes) -> bool {
        // A slice names as many Pods as there are.
        for name in &mut object.pods {
            if let Some(pod) = self.pods.get(&(object.meta.namespace.clone(), name.clone())) {
                *name = pod.meta.name.clone();
            }
        }
        let old = self.slices.get(&(object.meta.namespace.clone(), object.meta.name.clone())).cloned();
        let Some(key) = put(&mut self.slices, object) else {
            return false;
        };
        for slice in old.iter().chain(self.slices.get(&key)) {
            touch_slice(slice, changes);
        }
        true
    }

    /// The Namespace object, if it is known (R22) and in sight.
    pub fn namespace(&self, name: &Name) -> Option<&Arc<Namespace>> {
        self.namespaces.get(name).filter(|_| self.is_discovered(name))
    }

    /// The GatewayClass, if it is known (R4).
    pub fn class(&self, name: &str) -> Option<&Arc<GatewayClass>> {
        self.classes.get(name)
    }

    /// The Gateway, ready or not.
    pub fn gateway(&self, key: &GatewayKey) -> Option<&Arc<Gateway>> {
        self.gateways.get(key).filter(|_| self.is_discovered(&key.namespace))
    }

    /// All Gateways in the order of their keys.
    pub fn gateways(&self) -> impl Iterator<Item = (&GatewayKey, &Arc<Gateway>)> {
        self.gateways.iter().filter(|(key, _)| self.is_discovered(&key.namespace))
    }

    /// Whether a Gateway reports this IP, in sight or not.
    pub fn is_reported(&self, ip: IpAddr) -> bool {
        self.reported.contains_key(&ip)
    }

    /// The Gateways of one namespace, in the order of their names.
    pub fn gateways_in<'a>(&'a self, namespace: &'a Name) -> impl Iterator<Item = &'a GatewayKey> {
        let in_sight = self.is_discovered(namespace);
        keys_in_gateways(&self.gateways, namespace).filter(move |_| in_sight)
    }

    /// The Service, published or not.
    pub fn service(&self, namespace: &Name, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(&(namespace.clone(), name.clone()))
    }

    /// The Pod, published or not.
    pub fn pod(&self, namespace: &Name, name: &Name) -> Option<&Pod> {
        self.pods.get(&(namespace.clone(), name.clone()))
    }

    /// The ServiceEntry, published or not.
    pub fn entry(&self, namespace: &Name, name: &Name) -> Option<&Arc<ServiceEntry>> {
        self.entries.get(&(namespace.clone(), name.clone()))
    }

    /// The WorkloadEntry, published or not.
    pub fn workload_entry(&self, namespace: &Name, name: &Name) -> Option<&Arc<WorkloadEntry>> {
        self.workload_entries.get(&(namespace.clone(), name.clone()))
    }

    /// The EndpointSlice, published or not.
    pub fn slice(&self, namespace: &Name, name: &Name) -> Option<&Arc<EndpointSlice>> {
        self.slices.get(&(namespace.clone(), name.clone()))
    }

    /// All AuthorizationPolicies that are in sight and of this revision, in the order of their keys.
    pub fn policies(&self) -> impl Iterator<Item = &AuthorizationPolicy> {
        let policies = self.policies.iter().map(|policy| &**policy);
        policies.filter(|it| self.is_discovered(&it.meta.namespace) && self.is_of_revision(&it.meta.labels))
    }

    /// The AuthorizationPolicy, if it is in sight and of this revision.
    pub fn policy(&self, namespace: &Name, name: &Name) -> Option<&AuthorizationPolicy> {
        let policy = self.policies.get(&(namespace.clone(), name.clone()))?;
        (self.is_discovered(namespace) && self.is_of_revision(&policy.meta.labels)).then_some(policy)
    }

    /// All PeerAuthentications that are in sight and of this revision, in the order of their keys.
    pub fn peer_authentications(&self) -> impl Iterator<Item = &PeerAuthentication> {
        let peers = self.peers.iter().map(|peer| &**peer);
        peers.filter(|it| self.is_discovered(&it.meta.namespace) && self.is_of_revision(&it.meta.labels))
    }

    /// Who claims which host.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Any object, as it was put in, in sight or not.
    pub fn object(&self, key: &ObjectKey) -> Option<Object> {
        let at = (key.namespace.clone(), key.name.clone());
        Some(match key.kind {
            Kind::Namespace => Object::Namespace(Namespace::clone(self.namespaces.get(&key.name)?)),
            Kind::GatewayClass => Object::GatewayClass(GatewayClass::clone(self.classes.get(&key.name)?)),
            Kind::Gateway => {
                let key = GatewayKey { namespace: at.0, name: at.1 };
                Object::Gateway(Gateway::clone(self.gateways.get(&key)?))
            }
            Kind::Service => Object::Service(Service::clone(self.services.get(&at)?)),
            Kind::Pod => Object::Pod(self.pods.get(&at)?.clone()),
            Kind::ServiceEntry => Object::ServiceEntry(ServiceEntry::clone(self.entries.get(&at)?)),
            Kind::WorkloadEntry => Object::WorkloadEntry(WorkloadEntry::clone(self.workload_entries.get(&at)?)),
            Kind::EndpointSlice => Object::EndpointSlice(EndpointSlice::clone(self.slices.get(&at)?)),
            Kind::AuthorizationPolicy => {
                Object::AuthorizationPolicy(AuthorizationPolicy::clone(self.policies.get(&at)?))
            }
            Kind::Node => Object::Node(self.node(&key.name)?.clone()),
            Kind::PeerAuthentication => Object::PeerAuthentication(PeerAuthentication::clone(self.peers.get(&at)?)),
        })
    }

    /// The keys of all objects, kind by kind, within a kind in their order.
    pub fn object_keys(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        fn keys<E: Kept>(kind: Kind, all: &Sorted<E>) -> impl Iterator<Item = ObjectKey> {
            all.iter().map(E::key).map(move |(namespace, name)| ObjectKey { kind, namespace, name })
        }
        let cluster = |kind, names: BTreeSet<&Name>| {
            let keys = names.into_iter().map(|name| ObjectKey::new(kind, "", name));
            keys.collect::<Vec<_>>()
        };
        let gateway = |key: &GatewayKey| ObjectKey {
            kind: Kind::Gateway,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        cluster(Kind::Namespace, self.namespaces.keys().collect())
            .into_iter()
            .chain(cluster(Kind::GatewayClass, self.classes.keys().collect()))
            .chain(self.gateways.keys().map(gateway))
            .chain(keys(Kind::Service, &self.services))
            .chain(keys(Kind::Pod, &self.pods))
            .chain(keys(Kind::ServiceEntry, &self.entries))
            .chain(keys(Kind::WorkloadEntry, &self.workload_entries))
            .chain(keys(Kind::EndpointSlice, &self.slices))
            .chain(keys(Kind::AuthorizationPolicy, &self.policies))
            .chain(cluster(Kind::Node, self.nodes.keys().collect()))
            .chain(keys(Kind::PeerAuthentication, &self.peers))
    }

    /// How many objects there are of each kind.
    pub fn counts(&self) -> [(Kind, usize); Kind::ALL.len()] {
        Kind::ALL.map(|kind| {
            let count = match kind {
                Kind::Namespace => self.namespaces.len(),
                Kind::GatewayClass => self.classes.len(),
                Kind::Gateway => self.gateways.len(),
                Kind::Service => self.services.len(),
                Kind::Pod => self.pods.len(),
                Kind::ServiceEntry => self.entries.len(),
                Kind::WorkloadEntry => self.workload_entries.len(),
                Kind::EndpointSlice => self.slices.len(),
                Kind::AuthorizationPolicy => self.policies.len(),
                Kind::Node => self.nodes.len(),
                Kind::PeerAuthentication => self.peers.len(),
            };
            (kind, count)
        })
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.counts().iter().map(|(_, count)| count).sum()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The Gateways of one namespace, in sight or not.
fn keys_in_gateways<'a>(
    gateways: &'a OrdMap<GatewayKey, Arc<Gateway>>,
    namespace: &'a Name,
) -> impl Iterator<Item = &'a GatewayKey> {
    let from = GatewayKey { namespace: namespace.clone(), name: "".into() };
    gateways.range(from..).map(|(key, _)| key).take_while(move |key| key.namespace == *namespace)
}

/// The objects of one namespace, in the order of their names.
fn in_namespace<'a, E: Kept>(all: &'a Sorted<E>, namespace: &'a Name) -> impl Iterator<Item = &'a E> {
    let from = (namespace.clone(), Name::from(""));
    all.range_from(&from).take_while(move |it| it.object().meta().namespace == *namespace)
}

/// Its key, when it was not there or was another. What is alike lies beside it: they share their strings.
fn put<E: Kept>(all: &mut Sorted<E>, mut object: E::Object) -> Option<(Name, Name)> {
    if let Some(beside) = all.near(&object.meta().key()).map(E::object) {
        if *beside == object {
            return None;
        }
        object.share_with(beside);
    }
    let key = object.meta().key();
    all.insert(E::keeping(object));
    Some(key)
}

/// Always true: something changed.
fn touch(kind: RowKind, (namespace, name): (Name, Name), changes: &mut Changes) -> bool {
    changes.rows.insert(RowKey { kind, namespace, name, part: None });
    true
}

fn touch_slice(slice: &EndpointSlice, changes: &mut Changes) -> bool {
    changes.rows.extend(rows::slice_keys(slice));
    // Its Pods may be who stands behind the Service (R140).
    if let Some(service) = slice.service().filter(|_| !slice.pods.is_empty()) {
        changes.rows.insert(RowKey::new(RowKind::Service, &slice.meta.namespace, service));
    }
    true
}

#[cfg(test)]
mod tests;
