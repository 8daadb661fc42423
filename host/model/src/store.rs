//! The mesh as it is now: typed objects by key, and the only place that changes them.
//!
//! [`Store::apply`] says what an event touched; which rows follow from that depends on what a component declared and
//! is the business of [`crate::projection`]. A store is a persistent structure: a clone costs nothing to speak of and
//! is a snapshot, so that a candidate can be tried on it while events go on.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};

use crate::gateway::{Gateway, GatewayClass, GatewayKey};
use crate::name::Name;
use crate::namespace::Namespace;
use crate::object::{Kind, Meta, Object, ObjectKey};
use crate::service::Service;
use crate::table::{RowKey, RowKind};
use crate::workload::Pod;

/// What is known about the cluster and this node without looking at any object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The DNS suffix of the cluster, `cluster.local` by default (R40).
    pub cluster_domain: Name,
    /// The network of addresses found here, empty by default (R6).
    pub network: Name,
    /// The cluster's id, `Kubernetes` by default (R58).
    pub cluster_id: Name,
    /// The node this host runs on.
    pub node: Node,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".into(),
            network: "".into(),
            cluster_id: "Kubernetes".into(),
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
    pub labels: crate::name::Labels,
    /// `topology.kubernetes.io/region`, empty if unknown.
    pub region: Option<Name>,
    /// `topology.kubernetes.io/zone`.
    pub zone: Option<Name>,
    /// `topology.istio.io/subzone`.
    pub subzone: Option<Name>,
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Gateways that came, went or changed, themselves or by their class: all rows that may mean them are concerned.
    pub gateways: BTreeSet<GatewayKey>,
    /// Services and workloads that came, went or changed.
    pub rows: BTreeSet<RowKey>,
}

impl Changes {
    /// True when nothing is concerned.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.gateways.is_empty() && self.rows.is_empty()
    }

    /// Adds what `later` touched.
    pub fn merge(&mut self, later: Changes) {
        self.namespaces.extend(later.namespaces);
        self.gateways.extend(later.gateways);
        self.rows.extend(later.rows);
    }
}

/// An object that a decision is made for.
#[derive(Clone, Copy, Debug)]
pub enum RowObject<'a> {
    /// A Pod.
    Pod(&'a Pod),
    /// A Service.
    Service(&'a Service),
}

impl<'a> RowObject<'a> {
    /// Its metadata.
    pub fn meta(self) -> &'a Meta {
        match self {
            Self::Pod(pod) => &pod.meta,
            Self::Service(service) => &service.meta,
        }
    }
}

/// All objects, by kind and key.
#[derive(Clone, Debug, Default)]
pub struct Store {
    facts: Arc<Facts>,
    revision: u64,
    namespaces: HashMap<Name, Arc<Namespace>>,
    classes: HashMap<Name, Arc<GatewayClass>>,
    gateways: OrdMap<GatewayKey, Arc<Gateway>>,
    /// class name -> Gateways that name it, whether or not the class exists.
    gateways_by_class: HashMap<Name, OrdSet<GatewayKey>>,
    services: OrdMap<(Name, Name), Arc<Service>>,
    pods: OrdMap<(Name, Name), Arc<Pod>>,
}

impl Store {
    /// An empty store.
    pub fn new(facts: Facts) -> Self {
        Self { facts: Arc::new(facts), ..Self::default() }
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
        match event {
            Event::Apply(Object::Namespace(o)) => self.put_namespace(o, &mut changes),
            Event::Apply(Object::GatewayClass(o)) => self.put_class(o, &mut changes),
            Event::Apply(Object::Gateway(o)) => self.put_gateway(o, &mut changes),
            Event::Apply(Object::Service(o)) => {
                put(
                    &mut self.services,
                    (o.meta.namespace.clone(), o.meta.name.clone()),
                    o,
                    RowKind::Service,
                    &mut changes,
                );
            }
            Event::Apply(Object::Pod(o)) => {
                put(&mut self.pods, (o.meta.namespace.clone(), o.meta.name.clone()), o, RowKind::Pod, &mut changes);
            }
            Event::Delete(key) => self.delete(key, &mut changes),
        }
        if !changes.is_empty() {
            self.revision += 1;
        }
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

    fn put_namespace(&mut self, object: Namespace, changes: &mut Changes) {
        let name = object.meta.name.clone();
        if self.namespaces.get(&name).is_none_or(|old| **old != object) {
            self.namespaces.insert(name.clone(), Arc::new(object));
            changes.namespaces.insert(name);
        }
    }

    fn put_class(&mut self, object: GatewayClass, changes: &mut Changes) {
        let name = object.meta.name.clone();
        if self.classes.get(&name).is_none_or(|old| **old != object) {
            self.classes.insert(name.clone(), Arc::new(object));
            self.class_changed(&name, changes);
        }
    }

    /// A class counts through the Gateways that name it. One that nobody names still counts as an event of its own:
    /// it changes the mesh, if no decision.
    fn class_changed(&mut self, name: &str, changes: &mut Changes) {
        match self.gateways_by_class.get(name) {
            Some(gateways) if !gateways.is_empty() => changes.gateways.extend(gateways.iter().cloned()),
            _ => self.revision += 1,
        }
    }

    fn put_gateway(&mut self, object: Gateway, changes: &mut Changes) {
        let key = object.key();
        let old = self.gateways.get(&key);
        if old.is_some_and(|old| **old == object) {
            return;
        }
        if let Some(class) = old.map(|old| old.class.clone()).filter(|class| *class != object.class) {
            self.forget_class(&class, &key);
        }
        self.gateways_by_class.entry(object.class.clone()).or_default().insert(key.clone());
        self.gateways.insert(key.clone(), Arc::new(object));
        changes.gateways.insert(key);
    }

    fn forget_class(&mut self, class: &Name, key: &GatewayKey) {
        if let Some(named) = self.gateways_by_class.get_mut(class) {
            named.remove(key);
            if named.is_empty() {
                self.gateways_by_class.remove(class);
            }
        }
    }

    fn delete(&mut self, key: ObjectKey, changes: &mut Changes) {
        match key.kind {
            Kind::Namespace => {
                if self.namespaces.remove(&key.name).is_some() {
                    changes.namespaces.insert(key.name);
                }
            }
            Kind::GatewayClass => {
                if self.classes.remove(&key.name).is_some() {
                    self.class_changed(&key.name, changes);
                }
            }
            Kind::Gateway => {
                let key = GatewayKey { namespace: key.namespace, name: key.name };
                if let Some(old) = self.gateways.remove(&key) {
                    self.forget_class(&old.class, &key);
                    changes.gateways.insert(key);
                }
            }
            Kind::Service => remove(&mut self.services, key, RowKind::Service, changes),
            Kind::Pod => remove(&mut self.pods, key, RowKind::Pod, changes),
        }
    }

    /// The Namespace object, if it is known (R22).
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(name)
    }

    /// The GatewayClass, if it is known (R4).
    pub fn class(&self, name: &str) -> Option<&Arc<GatewayClass>> {
        self.classes.get(name)
    }

    /// The Gateway, ready or not.
    pub fn gateway(&self, key: &GatewayKey) -> Option<&Arc<Gateway>> {
        self.gateways.get(key)
    }

    /// All Gateways in the order of their keys.
    pub fn gateways(&self) -> impl Iterator<Item = (&GatewayKey, &Arc<Gateway>)> {
        self.gateways.iter()
    }

    /// The Gateways of one namespace, in the order of their names.
    pub fn gateways_in<'a>(&'a self, namespace: &'a Name) -> impl Iterator<Item = &'a GatewayKey> {
        let from = GatewayKey { namespace: namespace.clone(), name: "".into() };
        self.gateways.range(from..).map(|(key, _)| key).take_while(move |key| key.namespace == *namespace)
    }

    /// The Service, published or not.
    pub fn service(&self, namespace: &Name, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(&(namespace.clone(), name.clone()))
    }

    /// The Pod, published or not.
    pub fn pod(&self, namespace: &Name, name: &Name) -> Option<&Arc<Pod>> {
        self.pods.get(&(namespace.clone(), name.clone()))
    }

    /// The object of a row; none when it is not there or not published.
    pub fn row(&self, key: &RowKey) -> Option<RowObject<'_>> {
        match key.kind {
            RowKind::Pod => {
                let pod = self.pod(&key.namespace, &key.name).filter(|pod| pod.is_published());
                pod.map(|pod| RowObject::Pod(pod))
            }
            RowKind::Service => {
                let service = self.service(&key.namespace, &key.name).filter(|service| service.is_published());
                service.map(|service| RowObject::Service(service))
            }
        }
    }

    /// Everything that a decision is made for, in the order of the keys.
    pub fn rows(&self) -> impl Iterator<Item = (RowKey, RowObject<'_>)> {
        let pods = self.pods.iter().filter(|(_, pod)| pod.is_published());
        let services = self.services.iter().filter(|(_, service)| service.is_published());
        let pods = pods.map(|(key, pod)| (row_key(RowKind::Pod, key), RowObject::Pod(pod)));
        pods.chain(services.map(|(key, service)| (row_key(RowKind::Service, key), RowObject::Service(service))))
    }

    /// The keys of everything that a decision is made for, in their order.
    pub fn row_keys(&self) -> impl Iterator<Item = RowKey> {
        self.rows().map(|(key, _)| key)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.namespaces.len() + self.classes.len() + self.gateways.len() + self.services.len() + self.pods.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Shares the names: there are as many rows as objects.
fn row_key(kind: RowKind, (namespace, name): &(Name, Name)) -> RowKey {
    RowKey { kind, namespace: namespace.clone(), name: name.clone() }
}

fn put<T: PartialEq>(
    map: &mut OrdMap<(Name, Name), Arc<T>>,
    key: (Name, Name),
    object: T,
    kind: RowKind,
    changes: &mut Changes,
) {
    if map.get(&key).is_none_or(|old| **old != object) {
        changes.rows.insert(row_key(kind, &key));
        map.insert(key, Arc::new(object));
    }
}

fn remove<T>(map: &mut OrdMap<(Name, Name), Arc<T>>, key: ObjectKey, kind: RowKind, changes: &mut Changes) {
    let key = (key.namespace, key.name);
    if map.remove(&key).is_some() {
        changes.rows.insert(row_key(kind, &key));
    }
}
