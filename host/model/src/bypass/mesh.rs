//! The whole mesh, looked at once, so that each destination is a matter of look-ups.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use crate::decision::{Choice, Decision, WaypointAddress};
use crate::gateway::GatewayKey;
use crate::name::{Labels, Name};
use crate::store::{RowObject, Store};
use crate::table::{RowKey, Table};

use super::clients::Census;
use super::enforcement::{Guard, Policies, Principals};

pub(super) struct Mesh<'a> {
    pub(super) store: &'a Store,
    pub(super) table: &'a Table,
    pub(super) census: Census,
    pub(super) policies: Policies<'a>,
    /// service -> the workloads behind it.
    workloads: HashMap<RowKey, BTreeSet<RowKey>>,
    /// workload -> the services in front of it.
    services: HashMap<RowKey, Vec<RowKey>>,
    /// Virtual addresses of all services.
    service_addresses: HashSet<IpAddr>,
    /// namespace -> its Pods.
    pods: HashMap<Name, Vec<(RowKey, Labels)>>,
    none: BTreeSet<RowKey>,
}

impl<'a> Mesh<'a> {
    pub(super) fn new(store: &'a Store, table: &'a Table) -> Self {
        let (mut workloads, mut services) = (HashMap::new(), HashMap::<RowKey, Vec<RowKey>>::new());
        let mut service_addresses = HashSet::new();
        for (key, row) in table.iter().filter(|(key, _)| key.kind.is_service()) {
            service_addresses.extend(&row.subject.addresses);
            let behind = store.workloads_of(key);
            for workload in &behind {
                services.entry(workload.clone()).or_default().push(key.clone());
            }
            workloads.insert(key.clone(), behind);
        }
        let mut pods: HashMap<Name, Vec<(RowKey, Labels)>> = HashMap::new();
        for (key, object) in store.rows() {
            if let RowObject::Pod(pod) = object {
                pods.entry(key.namespace.clone()).or_default().push((key, pod.meta.labels.clone()));
            }
        }
        Self {
            store,
            table,
            census: Census::new(store, table),
            policies: Policies::new(store),
            workloads,
            services,
            service_addresses,
            pods,
            none: BTreeSet::new(),
        }
    }

    pub(super) fn workloads_of(&self, service: &RowKey) -> &BTreeSet<RowKey> {
        self.workloads.get(service).unwrap_or(&self.none)
    }

    pub(super) fn services_of(&self, workload: &RowKey) -> &[RowKey] {
        self.services.get(workload).map_or(&[], Vec::as_slice)
    }

    pub(super) fn pods_in(&self, namespace: &Name) -> impl Iterator<Item = &(RowKey, Labels)> {
        self.pods.get(namespace).into_iter().flatten()
    }

    pub(super) fn decision(&self, row: &RowKey) -> Option<&Decision> {
        self.table.get(row).map(|row| &*row.decision)
    }

    /// Whether connections to the row's own addresses go through one of these waypoints, or nowhere.
    pub(super) fn is_behind(&self, row: &RowKey, waypoints: &BTreeSet<GatewayKey>) -> bool {
        self.decision(row).is_some_and(|decision| match &decision.choice {
            Choice::Waypoints(targets) => targets.iter().any(|target| waypoints.contains(&target.gateway)),
            Choice::Blocked => true,
            Choice::Direct | Choice::Keep => false,
        })
    }

    /// Whether gateways can find the waypoint: an IP must be the address of a service (R74).
    pub(super) fn gateways_find(&self, address: Option<&WaypointAddress>) -> bool {
        match address {
            Some(WaypointAddress::Ip { ip, .. }) => self.service_addresses.contains(ip),
            Some(WaypointAddress::Hostname(_)) => true,
            None => false,
        }
    }

    /// Waypoints that a row may mean: those it goes through; where it goes through none, those that it or its namespace
    /// names.
    pub(super) fn meant(&self, row: &RowKey) -> BTreeSet<GatewayKey> {
        let Some(row) = self.table.get(row) else { return BTreeSet::new() };
        let targets = row.decision.targets();
        if targets.is_empty() {
            return row.input.candidates.iter().map(|candidate| candidate.key.clone()).collect();
        }
        targets.iter().map(|target| target.gateway.clone()).collect()
    }

    /// All waypoints that have business with these workloads: their own, and those of the services in front of them.
    pub(super) fn waypoints_before(
        &self,
        workloads: &BTreeSet<RowKey>,
        also: &BTreeSet<GatewayKey>,
    ) -> BTreeSet<GatewayKey> {
        let services = workloads.iter().flat_map(|workload| self.services_of(workload));
        let decisions = workloads.iter().chain(services).filter_map(|row| self.decision(row));
        let before = decisions.flat_map(|decision| decision.targets()).map(|target| target.gateway.clone());
        before.chain(also.iter().cloned()).collect()
    }

    /// What these waypoints run as, and whether that is known of all of them.
    pub(super) fn principals(&self, waypoints: &BTreeSet<GatewayKey>) -> (Principals, bool) {
        let mut all = (Principals::new(), true);
        for waypoint in waypoints {
            let (principals, known) = self.policies.principals(waypoint);
            all.0.extend(principals);
            all.1 &= known;
        }
        all
    }

    /// Whether these workloads take connections from these identities only.
    pub(super) fn guard(
        &self,
        service: Option<&RowKey>,
        workloads: &BTreeSet<RowKey>,
        principals: &Principals,
    ) -> Guard {
        let mut guard = Guard::default();
        for workload in workloads {
            self.policies.judge(workload, principals, &mut guard);
        }
        if workloads.is_empty()
            && let Some(service) = service
            && let Some(RowObject::Service(object)) = self.store.row(service)
            && !object.selector.is_empty()
        {
            self.policies.judge_selected(&service.namespace, &object.selector, principals, &mut guard);
        }
        guard
    }
}
