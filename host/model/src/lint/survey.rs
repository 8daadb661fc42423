//! What several checks need to know of a mesh, worked out once: which Gateways are meant as waypoints, whose Service is
//! whose, which service has which address, and how a namespace's services fare.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::decision::{Choice, Decision};
use crate::description::Description;
use crate::gateway::{Gateway, GatewayKey};
use crate::input::Input;
use crate::name::{Labels, Name};
use crate::namespace::Namespace;
use crate::object::{Kind, ObjectKey};
use crate::service::{Service, service_of_host};
use crate::service_entry::{AddressRange, ServiceEntry};
use crate::store::Store;
use crate::table::{RowKey, RowKind, Table};

use super::labels::{self, own_value};
use super::reading::Reading;

/// Why a row is bound (R76): not the reason of a problem.
const ACCEPTED: &str = "WaypointAccepted";
/// The reason of a row that must not do without a waypoint and asks for none.
pub(super) const REQUIRED: &str = "WaypointRequired";

/// A mesh with its decisions.
pub(super) struct Survey<'a> {
    pub(super) store: &'a Store,
    pub(super) reading: Reading<'a>,
    table: &'a Table,
    /// Gateways that something names or uses.
    named: BTreeSet<GatewayKey>,
    own_services: BTreeMap<(Name, Name), GatewayKey>,
    services_at: HashMap<IpAddr, (Name, Name)>,
    ranges: Vec<AddressRange>,
    fares: BTreeMap<Name, Fare>,
}

/// How the services of a namespace fare.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fare {
    pub(super) services: usize,
    pub(super) bound: usize,
    pub(super) refused: usize,
    /// Services that name a canary themselves.
    pub(super) own_canary: usize,
}

/// A row with what it was asked and answered.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) key: &'a RowKey,
    pub(super) input: &'a Input,
    pub(super) decision: &'a Decision,
    pub(super) hosts: &'a [Name],
}

impl<'a> Asked<'a> {
    /// Why a waypoint that was asked for is not used.
    pub(super) fn refusal(&self) -> Option<&'a Name> {
        let decision = self.decision;
        let reason = decision.reason.as_ref().filter(|reason| !matches!(&***reason, ACCEPTED | REQUIRED))?;
        matches!(decision.choice, Choice::Direct | Choice::Blocked).then_some(reason)
    }

    /// A row without a waypoint, for which none was asked either.
    pub(super) fn asks_nothing(&self) -> bool {
        self.decision.choice == Choice::Direct && self.decision.reason.is_none()
    }
}

impl<'a> Survey<'a> {
    pub(super) fn of(store: &'a Store, table: &'a Table, description: &'a Description) -> Self {
        let mut survey = Self {
            store,
            reading: Reading::of(description),
            table,
            named: BTreeSet::new(),
            own_services: BTreeMap::new(),
            services_at: HashMap::new(),
            ranges: Vec::new(),
            fares: BTreeMap::new(),
        };
        survey.count_rows();
        survey.find_addresses();
        survey.find_own_services();
        survey
    }

    fn count_rows(&mut self) {
        let (mut named, mut fares) = (BTreeSet::new(), BTreeMap::<Name, Fare>::new());
        for row in self.rows() {
            let pointers = [self.reading.primary, self.reading.canary].into_iter().flatten();
            let wishes = pointers.filter_map(|pointer| pointer.wish(row.input)).filter(|wish| !wish.opt_out);
            for gateway in wishes.map(|wish| wish.gateway) {
                if !named.contains(&gateway) {
                    named.insert(gateway);
                }
            }
            for target in row.decision.targets() {
                if !named.contains(&target.gateway) {
                    named.insert(target.gateway.clone());
                }
            }
            if row.key.kind.is_service() {
                let fare = match fares.get_mut(&row.key.namespace) {
                    Some(fare) => fare,
                    None => fares.entry(row.key.namespace.clone()).or_default(),
                };
                fare.services += 1;
                fare.bound += usize::from(!row.decision.targets().is_empty());
                fare.refused += usize::from(row.refusal().is_some());
                fare.own_canary += usize::from(own_value(&row.input.labels, labels::CANARY).is_some());
            }
        }
        (self.named, self.fares) = (named, fares);
    }

    fn find_addresses(&mut self) {
        let store = self.store;
        for service in self.services().filter(|it| it.is_published() && store.is_discovered(&it.meta.namespace)) {
            let key = (service.meta.namespace.clone(), service.meta.name.clone());
            self.services_at.extend(service.addresses.iter().map(|ip| (*ip, key.clone())));
        }
        for entry in self.entries() {
            self.ranges.extend(store.hosts_of(entry).flat_map(|host| entry.addresses_of(host)));
        }
    }

    /// By the hostname or address that a Gateway reports, or by the label that says whose it is.
    fn find_own_services(&mut self) {
        let domain = &self.store.facts().cluster_domain;
        let mut own = BTreeMap::new();
        for gateway in self.waypoints() {
            for address in &gateway.addresses {
                let by_host = address.hostname().and_then(|host| service_of_host(host, domain));
                let by_host = by_host.map(|(namespace, name)| (Name::from(namespace), Name::from(name)));
                let by_ip = address.ip().and_then(|ip| self.services_at.get(&ip).cloned());
                let service = by_host.or(by_ip).filter(|(namespace, _)| *namespace == gateway.meta.namespace);
                own.extend(service.map(|service| (service, gateway.key())));
            }
        }
        for service in self.services() {
            let meta = &service.meta;
            let name = meta.labels.get(labels::GATEWAY_NAME).or_else(|| service.selector.get(labels::GATEWAY_NAME));
            let gateway = name.map(|name| GatewayKey { namespace: meta.namespace.clone(), name: name.clone() });
            if let Some(gateway) = gateway.filter(|key| self.waypoint(key).is_some()) {
                own.entry((meta.namespace.clone(), meta.name.clone())).or_insert(gateway);
            }
        }
        self.own_services = own;
    }

    /// All rows with labels that are known, in the order of their keys.
    pub(super) fn rows(&self) -> impl Iterator<Item = Asked<'a>> + use<'a> {
        self.table.iter().map(|(key, row)| Asked {
            key,
            input: &row.input,
            decision: &row.decision,
            hosts: &row.subject.hosts,
        })
    }

    /// The decision of a row.
    pub(super) fn decision(&self, key: &RowKey) -> Option<&'a Decision> {
        self.table.get(key).map(|row| &*row.decision)
    }

    /// How the services of a namespace fare.
    pub(super) fn fare(&self, namespace: &Name) -> Fare {
        self.fares.get(namespace).copied().unwrap_or_default()
    }

    /// All Namespaces that are in sight.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &'a Namespace> + use<'a> {
        let store = self.store;
        keys(store, Kind::Namespace).filter_map(move |key| Some(&**store.namespace(&key.name)?))
    }

    /// All Services, published or not.
    pub(super) fn services(&self) -> impl Iterator<Item = &'a Service> + use<'a> {
        let store = self.store;
        keys(store, Kind::Service).filter_map(move |key| Some(&**store.service(&key.namespace, &key.name)?))
    }

    /// All ServiceEntries, published or not.
    pub(super) fn entries(&self) -> impl Iterator<Item = &'a ServiceEntry> + use<'a> {
        let store = self.store;
        keys(store, Kind::ServiceEntry).filter_map(move |key| Some(&**store.entry(&key.namespace, &key.name)?))
    }

    /// The Gateways that are meant as waypoints: something names them, or they look like one. An ingress Gateway that
    /// nobody names is none.
    pub(super) fn waypoints(&self) -> impl Iterator<Item = &'a Gateway> + '_ {
        self.store.gateways().map(|(_, gateway)| &**gateway).filter(|gateway| self.is_waypoint(gateway))
    }

    /// The Gateway, if it is meant as a waypoint.
    pub(super) fn waypoint(&self, key: &GatewayKey) -> Option<&'a Gateway> {
        self.store.gateway(key).map(|gateway| &**gateway).filter(|gateway| self.is_waypoint(gateway))
    }

    fn is_waypoint(&self, gateway: &Gateway) -> bool {
        let tunnel = |protocol: &str| protocol == labels::HBONE || protocol == labels::PROXY_LISTENER;
        *gateway.class == *labels::ISTIO_WAYPOINT
            || gateway.meta.labels.get(labels::WAYPOINT_FOR).is_some()
            || gateway.listeners.iter().any(|listener| tunnel(&listener.protocol))
            || self.named.contains(&gateway.key())
    }

    /// The waypoint whose own Service this is.
    pub(super) fn waypoint_of_service(&self, key: &RowKey) -> Option<&GatewayKey> {
        let key = (key.kind == RowKind::Service).then(|| (key.namespace.clone(), key.name.clone()))?;
        self.own_services.get(&key)
    }

    /// Whether some service has the address.
    pub(super) fn is_service_address(&self, ip: IpAddr) -> bool {
        self.services_at.contains_key(&ip) || self.ranges.iter().any(|range| range.contains(ip))
    }
}

/// The keys of all objects of a kind, in their order.
fn keys(store: &Store, kind: Kind) -> impl Iterator<Item = ObjectKey> + use<'_> {
    store.object_keys().filter(move |key| key.kind == kind)
}

/// The keys of all classes.
pub(super) fn classes(store: &Store) -> impl Iterator<Item = ObjectKey> + use<'_> {
    keys(store, Kind::GatewayClass)
}

/// The keys of all WorkloadEntries.
pub(super) fn workload_entries(store: &Store) -> impl Iterator<Item = ObjectKey> + use<'_> {
    keys(store, Kind::WorkloadEntry)
}

/// Labels of an object that may not have been asked about, as pairs.
pub(super) fn pairs(labels: &Labels) -> Vec<(Name, Name)> {
    labels.iter().cloned().collect()
}
