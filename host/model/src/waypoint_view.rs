//! The waypoint's own view: which services and workloads a waypoint is programmed with (R98-R102), and for a row which
//! waypoints it has, where these are dialled, and whether they know it. Made of a store and its table in one pass, when
//! somebody asks: nothing here is kept, so nothing can be left behind.
//!
//! It decides nothing. A binding counts by its address, as in Istio: a waypoint is programmed with all that is bound to one
//! of its addresses, also where another Gateway was named. Who names a waypoint and is not served by it is listed, with why.
//!
//! Istio sorts workloads by creation time; that is not kept here, so they are sorted by uid alone (R100).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use serde::Serialize;

use crate::decision::{Target, WaypointAddress};
use crate::gateway::GatewayKey;
use crate::name::{Labels, Name};
use crate::service_entry::Resolution;
use crate::store::{RowObject, Store};
use crate::table::{Row, RowKey, Table};

mod standing;

pub use standing::{Admits, Instances, Standing, WAYPOINT_FOR, admits_namespace, admits_of, serves};

/// Label of what a controller generated (R28, R99, R100).
pub const MANAGED: &str = "gateway.istio.io/managed";
/// Its value on what belongs to a waypoint of Istio.
pub const MESH_CONTROLLER: &str = "istio.io-mesh-controller";
/// Its value on what belongs to an east-west gateway.
pub const EAST_WEST_CONTROLLER: &str = "istio.io-eastwest-controller";
/// Label of a workload: the Gateway, of its own namespace, that it is an instance of (R45).
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// The class of east-west gateways, which are given no workloads (R100).
pub const EAST_WEST_CLASS: &str = "istio-east-west";

/// Which of a row's waypoints one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The first.
    Primary,
    /// Any other (R64).
    Canary,
}

/// A service or workload that a waypoint is programmed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The row.
    pub row: RowKey,
    /// The hosts that lead to this row at the waypoint; empty for workloads.
    pub hosts: Vec<Name>,
    /// Whether it is the row's first waypoint.
    pub role: Role,
    /// Percent of the row's new connections that it gets; 0 still binds (R98).
    pub weight: u8,
    /// The Gateway that the row's decision names: another one where both have one address.
    pub named: GatewayKey,
}

/// A row that names a waypoint which is not programmed with it, or not with one of its hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The row.
    pub row: RowKey,
    /// The one host concerned; none: all of it.
    pub host: Option<Name>,
    /// Why.
    pub why: WhyLeftOut,
}

/// Why a waypoint is not programmed with a row that names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum WhyLeftOut {
    /// R7, Q1.
    #[error("the waypoint reports no usable address, so nothing can be bound to it (R7)")]
    NoAddress,
    /// Only where a row holds an earlier answer.
    #[error("it is bound to an address that the waypoint no longer has")]
    FormerAddress,
    /// R99.
    #[error("its selector selects generated gateways (R99)")]
    SelectsGateways,
    /// R100.
    #[error("it is part of a generated gateway itself (R100)")]
    IsGateway,
    /// R100.
    #[error("an east-west gateway is given no workloads (R100)")]
    EastWest,
    /// R101.
    #[error("{by} has this host at the waypoint, which knows one service for a host (R101)")]
    HostTaken {
        /// The row that has the host.
        by: RowKey,
    },
    /// R102.
    #[error("it is resolved dynamically and not MESH_EXTERNAL (R102)")]
    DynamicInternal,
}

/// Everything about one waypoint.
#[derive(Clone, Debug)]
pub struct WaypointView {
    /// The Gateway.
    pub key: GatewayKey,
    /// What its object says; none: it is not there (any more), and rows hold earlier answers that name it.
    pub standing: Option<Standing>,
    /// Its own hostnames, all in its namespace: those it reports, and those of the Services in front of its instances.
    pub hostnames: BTreeSet<Name>,
    /// Its own addresses on the local network, from the same places.
    pub ips: BTreeSet<IpAddr>,
    /// Services that it is programmed with, in the order of their keys.
    pub services: Vec<Bound>,
    /// Workloads that it is programmed with, in the order of their uids (R100).
    pub workloads: Vec<Bound>,
    /// Rows that name it in vain, in the order of their keys.
    pub left_out: Vec<LeftOut>,
}

/// One waypoint of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaypointOf {
    /// What was decided: the Gateway, its address, where that is dialled, the share.
    pub target: Target,
    /// Whether it is the first one.
    pub role: Role,
    /// Why the waypoint is not programmed with the row, or with some of its hosts; empty: it is.
    pub left_out: Vec<LeftOut>,
}

impl WaypointOf {
    /// Whether there is an address to dial.
    pub fn is_resolved(&self) -> bool {
        !self.target.dial.is_empty()
    }
}

/// The views of all Gateways of a mesh.
#[derive(Clone, Debug, Default)]
pub struct WaypointViews {
    views: BTreeMap<GatewayKey, WaypointView>,
}

impl WaypointViews {
    /// Looks at every row once.
    pub fn new(store: &Store, table: &Table) -> Self {
        let instances = Instances::new(store);
        let mut views = Self::default();
        for (key, gateway) in store.gateways() {
            let standing = Standing::of(store, gateway, &instances);
            let mut view = WaypointView::unknown(key.clone());
            view.hostnames.extend(gateway.addresses.iter().filter_map(|address| address.hostname()).cloned());
            view.ips.extend(gateway.addresses.iter().filter_map(|address| address.ip()));
            view.standing = Some(standing);
            views.views.insert(key.clone(), view);
        }
        views.know_services_of_instances(store, &instances);
        let owners = Owners::of(&views.views, &store.facts().network);
        for (key, row) in table.iter().filter(|(_, row)| !row.decision.targets().is_empty()) {
            views.bind(store, &owners, key, row);
        }
        for view in views.views.values_mut() {
            view.settle_hosts(store);
            view.workloads.sort_by_cached_key(|bound| bound.row.uid(&store.facts().cluster_id));
            view.left_out.sort();
            view.left_out.dedup();
        }
        views
    }

    /// All of them in the order of their keys, ready or not.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &WaypointView> {
        self.views.values()
    }

    /// The view of one Gateway.
    pub fn get(&self, key: &GatewayKey) -> Option<&WaypointView> {
        self.views.get(key)
    }

    /// The other direction: the waypoints of a row as it is decided, the first one first.
    pub fn of_row(&self, key: &RowKey, row: &Row) -> Vec<WaypointOf> {
        let of = |(target, role): (&Target, Role)| {
            let view = self.views.get(&target.gateway);
            let left_out = view.into_iter().flat_map(|view| &view.left_out).filter(|left| left.row == *key);
            WaypointOf { target: target.clone(), role, left_out: left_out.cloned().collect() }
        };
        roles(row).map(of).collect()
    }

    /// A proxy also counts as its own what is in front of it: Services that select its Pods (R98).
    fn know_services_of_instances(&mut self, store: &Store, instances: &Instances) {
        for (_, object) in store.rows() {
            let RowObject::Service(service) = object else { continue };
            if service.selector.is_empty() {
                continue;
            }
            for key in instances.selected_by(&service.meta.namespace, &service.selector) {
                if let Some(view) = self.views.get_mut(key) {
                    view.hostnames.insert(service.host(&store.facts().cluster_domain));
                    view.ips.extend(&service.addresses);
                }
            }
        }
    }

    fn bind(&mut self, store: &Store, owners: &Owners, key: &RowKey, row: &Row) {
        let Some(object) = store.row(key) else { return };
        for (target, role) in roles(row) {
            let named = &target.gateway;
            let view = self.views.entry(named.clone()).or_insert_with(|| WaypointView::unknown(named.clone()));
            let Some(address) = &target.address else {
                view.leave_out(key, WhyLeftOut::NoAddress);
                continue;
            };
            let owners = owners.of_address(named, address);
            if !owners.contains(named) {
                view.leave_out(key, WhyLeftOut::FormerAddress);
            }
            for owner in owners {
                if let Some(view) = self.views.get_mut(owner) {
                    let hosts = row.subject.hosts.to_vec();
                    let (row, weight, named) = (key.clone(), target.weight, named.clone());
                    view.put(&object, Bound { row, hosts, role, weight, named });
                }
            }
        }
    }
}

fn roles(row: &Row) -> impl Iterator<Item = (&Target, Role)> {
    let targets = row.decision.targets().iter().enumerate();
    targets.map(|(at, target)| (target, if at == 0 { Role::Primary } else { Role::Canary }))
}

/// Which Gateways have which address.
struct Owners {
    by_hostname: HashMap<(Name, Name), BTreeSet<GatewayKey>>,
    by_ip: HashMap<IpAddr, BTreeSet<GatewayKey>>,
    network: Name,
    none: BTreeSet<GatewayKey>,
}

impl Owners {
    fn of(views: &BTreeMap<GatewayKey, WaypointView>, network: &Name) -> Self {
        let (mut by_hostname, mut by_ip) = (HashMap::<_, BTreeSet<_>>::new(), HashMap::<_, BTreeSet<_>>::new());
        for (key, view) in views {
            for hostname in &view.hostnames {
                by_hostname.entry((key.namespace.clone(), hostname.clone())).or_default().insert(key.clone());
            }
            for ip in &view.ips {
                by_ip.entry(*ip).or_default().insert(key.clone());
            }
        }
        Self { by_hostname, by_ip, network: network.clone(), none: BTreeSet::new() }
    }

    /// The namespace of a hostname is that of the Gateway that was named (R5).
    fn of_address(&self, named: &GatewayKey, address: &WaypointAddress) -> &BTreeSet<GatewayKey> {
        let found = match address {
            WaypointAddress::Hostname(hostname) => self.by_hostname.get(&(named.namespace.clone(), hostname.clone())),
            WaypointAddress::Ip { network, ip } => self.by_ip.get(ip).filter(|_| *network == self.network),
        };
        found.unwrap_or(&self.none)
    }
}

impl WaypointView {
    fn unknown(key: GatewayKey) -> Self {
        Self {
            key,
            standing: None,
            hostnames: BTreeSet::new(),
            ips: BTreeSet::new(),
            services: Vec::new(),
            workloads: Vec::new(),
            left_out: Vec::new(),
        }
    }

    fn leave_out(&mut self, row: &RowKey, why: WhyLeftOut) {
        self.left_out.push(LeftOut { row: row.clone(), host: None, why });
    }

    /// Takes a row that is bound to one of its addresses, unless a waypoint is not programmed with such a row.
    fn put(&mut self, object: &RowObject<'_>, bound: Bound) {
        if let Some(why) = self.refusal(object) {
            return self.leave_out(&bound.row, why);
        }
        let list = if bound.row.kind.is_service() { &mut self.services } else { &mut self.workloads };
        // Both of its waypoints may have one address: it is listed once, with what both get.
        match list.last_mut().filter(|last| last.row == bound.row) {
            Some(last) => last.weight = last.weight.saturating_add(bound.weight),
            None => list.push(bound),
        }
    }

    fn refusal(&self, object: &RowObject<'_>) -> Option<WhyLeftOut> {
        let is_east_west = self.standing.as_ref().is_some_and(|standing| &*standing.class == EAST_WEST_CLASS);
        match object {
            RowObject::Service(service) => is_of_gateway(&service.selector).then_some(WhyLeftOut::SelectsGateways),
            RowObject::ServiceEntry { entry, .. } => {
                if entry.selector.as_ref().is_some_and(is_of_gateway) {
                    return Some(WhyLeftOut::SelectsGateways);
                }
                let dynamic = entry.resolution == Resolution::DynamicDns && entry.mesh_internal;
                dynamic.then_some(WhyLeftOut::DynamicInternal)
            }
            _ if is_east_west => Some(WhyLeftOut::EastWest),
            RowObject::Pod(pod) if is_of_gateway(&pod.meta.labels) => Some(WhyLeftOut::IsGateway),
            RowObject::WorkloadEntry(entry) if is_of_gateway(&entry.labels()) => Some(WhyLeftOut::IsGateway),
            RowObject::EntryEndpoint { endpoint, .. } if is_of_gateway(&endpoint.labels) => Some(WhyLeftOut::IsGateway),
            _ => None,
        }
    }

    /// One service for a host (R101). Istio does not say which (Q14); here it is a Kubernetes Service, else one of the
    /// waypoint's own namespace, else the oldest, then the first by key.
    fn settle_hosts(&mut self, store: &Store) {
        let rank = |row: &RowKey| {
            let (is_entry, created) = match store.row(row) {
                Some(RowObject::ServiceEntry { entry, .. }) => (true, entry.created),
                _ => (false, None),
            };
            (is_entry, row.namespace != self.key.namespace, created, row.clone())
        };
        let mut winners: HashMap<Name, RowKey> = HashMap::new();
        for bound in &self.services {
            for host in &bound.hosts {
                let winner = winners.entry(host.clone()).or_insert_with(|| bound.row.clone());
                if rank(&bound.row) < rank(winner) {
                    *winner = bound.row.clone();
                }
            }
        }
        let left_out = &mut self.left_out;
        for bound in &mut self.services {
            bound.hosts.retain(|host| {
                let Some(by) = winners.get(host).filter(|winner| **winner != bound.row) else { return true };
                let why = WhyLeftOut::HostTaken { by: by.clone() };
                left_out.push(LeftOut { row: bound.row.clone(), host: Some(host.clone()), why });
                false
            });
        }
        self.services.retain(|bound| !bound.hosts.is_empty());
    }
}

/// Labels or a selector of what a mesh or east-west controller generated.
fn is_of_gateway(labels: &Labels) -> bool {
    matches!(labels.get(MANAGED).map(|value| &**value), Some(MESH_CONTROLLER | EAST_WEST_CONTROLLER))
}

#[cfg(test)]
mod tests;
