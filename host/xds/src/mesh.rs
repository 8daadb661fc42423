//! What ztunnel is told, built from objects and decisions: no control plane is needed. [`snapshot`] makes all of it,
//! [`update`] follows a step of the mesh and touches what the step concerns. Which field comes from where is a table in
//! docs/ztunnel.md. What other clusters have is not in here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::Peekable;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use model::decision::{Target, WaypointAddress};
use model::sink::{Decided, Step};
use model::store::RowObject;
use model::table::RowKey;
use model::{Decision, Name, Row, Store};

use crate::resource::{Key, NetworkIp, Resource, Snapshot, Stamp};
use crate::rewrite::WaypointFields;
use crate::waypoint::{self, Told};

mod concerned;
pub(crate) mod hosts;
mod neighbours;
mod networks;
pub(crate) mod outside;
mod peers;
mod policies;
mod ports;
mod services;
mod workloads;

use concerned::Concerned;
use neighbours::Neighbours;
use networks::Networks;
use outside::Reference;

/// From so many resources on, the services of a namespace are put in order before workloads are joined with them.
const MANY: usize = 64;

/// What an operator may choose about what clients are told.
#[derive(Clone, Debug)]
pub struct Options {
    /// A waypoint's own Service is never sent to a waypoint, whatever was decided. Istio has no such guard: a Service that
    /// its labels do not exclude may be bound, even to itself (R31, Q6).
    pub guard_waypoint_services: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { guard_waypoint_services: true }
    }
}

/// Everything that clients are told.
pub fn snapshot(now: Decided<'_>, options: &Options) -> Snapshot {
    let mut snapshot = Snapshot { rules: now.table.rules, revision: now.store.revision(), ..Snapshot::default() };
    let mut pass = Pass::over(now, options, true);
    for gateway in networks::all(now.store) {
        snapshot.addresses.put(Resource::workload(gateway.workload(now.store), Stamp::default()));
    }
    let mut decided = now.table.iter().peekable();
    let mut by_ip = Vec::new();
    for (key, object) in now.store.rows() {
        let row = row_of(&mut decided, now, &key);
        if row.is_some_and(refers_to_ip) {
            by_ip.push(key.clone());
        }
        for resource in pass.resources(&snapshot, &key, &object, row) {
            snapshot.addresses.put(resource);
        }
    }
    // Only now is it known which addresses somebody has.
    pass.waypoints.clear();
    for key in by_ip {
        if let Some(object) = now.store.row(&key) {
            for resource in pass.resources(&snapshot, &key, &object, now.table.get(&key)) {
                snapshot.addresses.put(resource);
            }
        }
    }
    outside::put_all(&mut snapshot, now);
    let root = &now.store.facts().mesh.root_namespace;
    for policy in now.store.policies().filter_map(|policy| policies::authorization(policy, root)) {
        snapshot.authorizations.put(Resource::authorization(&policy));
    }
    for policy in peers::authorizations(now.store) {
        snapshot.authorizations.put(Resource::authorization(&policy));
    }
    snapshot
}

/// Follows a step from `before`, of which the snapshot is, to `now`. Afterwards it equals a fresh one. What the step does
/// not concern is neither looked at nor moved.
pub fn update(snapshot: &mut Snapshot, before: &Store, now: Decided<'_>, step: &Step, options: &Options) {
    let concerned = Concerned::by(before, now, step);
    // From about half on, everything at once is faster.
    let Some(mut concerned) = concerned.filter(|it| it.len() <= MANY || it.len() * 2 < snapshot.addresses.len()) else {
        *snapshot = self::snapshot(now, options);
        return;
    };
    (snapshot.rules, snapshot.revision) = (now.table.rules, now.store.revision());
    let mut pass = Pass::over(now, options, concerned.len() > MANY);
    let mut seen = Seen::default();
    concerned.workloads.iter().for_each(|key| pass.bring_workload(snapshot, &mut seen, key));
    concerned.hosts.iter().for_each(|(namespace, host)| pass.bring_service(snapshot, &mut seen, namespace, host));
    for (namespace, name) in &concerned.policies {
        bring_policy(snapshot, now.store, namespace, name);
    }
    pass.waypoints.clear();
    let flipped = seen.flipped(snapshot);
    let by_ip = pass.by_ip(&concerned, &flipped);
    for key in &by_ip {
        if key.kind.is_service() {
            for host in hosts::hosts_of(now.store, key) {
                pass.bring_service(snapshot, &mut seen, &key.namespace, &host);
            }
        } else {
            pass.bring_workload(snapshot, &mut seen, key);
        }
    }
    // Others are nobody's waypoint: Pods come and go with addresses all the time.
    let flipped = flipped.into_iter().filter(|at| outside::has_ip(snapshot, at) || now.store.is_reported(at.ip));
    concerned.references.extend(flipped.map(Reference::Ip));
    outside::settle(snapshot, now, &concerned.references);
}

/// The services that are a waypoint's own and would be sent to a waypoint, were it not for the guard.
pub fn guarded<'a>(now: Decided<'a>, options: &Options) -> impl Iterator<Item = &'a RowKey> {
    let is_on = options.guard_waypoint_services;
    let services =
        now.table.iter().filter(move |(key, row)| is_on && key.kind.is_service() && !row.decision.targets().is_empty());
    services.map(|(key, _)| key).filter(move |key| {
        hosts::hosts_of(now.store, key).iter().any(|host| hosts::is_waypoints_own(now.store, key, host))
    })
}

/// What many resources of one call have in common.
struct Pass<'a> {
    now: Decided<'a>,
    options: &'a Options,
    many: bool,
    near: HashMap<Name, Rc<Neighbours<'a>>>,
    networks: Networks<'a>,
    /// By where the decision is: rows share them, and nothing moves while the table is borrowed.
    waypoints: HashMap<*const Decision, WaypointFields>,
}

/// What clients find so far.
struct Found<'a> {
    store: &'a Store,
    snapshot: &'a Snapshot,
}

impl Told for Found<'_> {
    fn has_address(&self, network: &str, ip: IpAddr) -> bool {
        has_address(self.snapshot, &NetworkIp { network: network.into(), ip })
    }

    fn is_reachable(&self, target: &Target) -> bool {
        hosts::is_reachable(self.store, target)
    }
}

impl<'a> Pass<'a> {
    fn over(now: Decided<'a>, options: &'a Options, many: bool) -> Self {
        let networks = Networks::of(now.store);
        Self { now, options, many, near: HashMap::new(), networks, waypoints: HashMap::new() }
    }

    fn near(&mut self, namespace: &Name) -> Rc<Neighbours<'a>> {
        if let Some(near) = self.near.get(namespace) {
            return Rc::clone(near);
        }
        let near = Rc::new(Neighbours::of(self.now.store, namespace, self.many));
        self.near.insert(namespace.clone(), Rc::clone(&near));
        near
    }

    /// All resources of a row: of a ServiceEntry one for each host.
    fn resources(
        &mut self,
        snapshot: &Snapshot,
        key: &RowKey,
        object: &RowObject<'_>,
        row: Option<&Row>,
    ) -> Vec<Resource> {
        let hosts = match object {
            RowObject::Service(service) => vec![service.host(&self.now.store.facts().cluster_domain)],
            RowObject::ServiceEntry { entry, .. } => hosts::hosts_of_entry(self.now.store, entry),
            _ => return self.workload(snapshot, key, object, row).into_iter().collect(),
        };
        hosts.iter().filter_map(|host| self.service(snapshot, key, object, host, row)).collect()
    }

    fn workload(
        &mut self,
        snapshot: &Snapshot,
        key: &RowKey,
        object: &RowObject<'_>,
        row: Option<&Row>,
    ) -> Option<Resource> {
        let near = self.near(&key.namespace);
        let (waypoint, decision) = (self.waypoints(snapshot, row).waypoint, row.map(|row| &*row.decision));
        let workload = workloads::workload(self.now.store, &near, &self.networks, key, object, decision, waypoint)?;
        Some(Resource::workload(workload, self.stamp(row)))
    }

    fn service(
        &mut self,
        snapshot: &Snapshot,
        key: &RowKey,
        object: &RowObject<'_>,
        host: &Name,
        row: Option<&Row>,
    ) -> Option<Resource> {
        let goes_somewhere = row.is_some_and(|row| !row.decision.targets().is_empty());
        let guard = self.options.guard_waypoint_services && goes_somewhere;
        let waypoints = if guard && hosts::is_waypoints_own(self.now.store, key, host) {
            WaypointFields::default()
        } else {
            self.waypoints(snapshot, row)
        };
        let service = services::service(self.now.store, object, host, row.map(|row| &*row.decision), waypoints)?;
        Some(Resource::service(service, self.stamp(row)))
    }

    /// Without a control plane there is nothing that could be kept: it is as if nothing was decided.
    fn waypoints(&mut self, snapshot: &Snapshot, row: Option<&Row>) -> WaypointFields {
        let Some(row) = row else { return WaypointFields::default() };
        if let Some(known) = self.waypoints.get(&Arc::as_ptr(&row.decision)) {
            return known.clone();
        }
        let found = Found { store: self.now.store, snapshot };
        let fields = waypoint::of_service(&row.decision, &found).unwrap_or_default();
        self.waypoints.insert(Arc::as_ptr(&row.decision), fields.clone());
        fields
    }

    fn stamp(&self, row: Option<&Row>) -> Stamp {
        let table = self.now.table;
        Stamp { rules: table.rules, revision: row.map_or(table.revision, |row| row.revision) }
    }

    fn bring_workload(&mut self, snapshot: &mut Snapshot, seen: &mut Seen, key: &RowKey) {
        let object = self.now.store.row(key);
        let resource = object.and_then(|object| self.workload(snapshot, key, &object, self.now.table.get(key)));
        match (resource, key.uid(&self.now.store.facts().cluster_id)) {
            (Some(resource), _) => seen.put(snapshot, resource),
            (None, Some(uid)) => seen.remove(snapshot, &uid),
            (None, None) => {}
        }
    }

    fn bring_service(&mut self, snapshot: &mut Snapshot, seen: &mut Seen, namespace: &Name, host: &Name) {
        let store = self.now.store;
        let row = hosts::service_at(store, namespace, host);
        let object = row.as_ref().and_then(|row| Some((row, store.row(row)?)));
        let resource =
            object.and_then(|(key, object)| self.service(snapshot, key, &object, host, self.now.table.get(key)));
        match resource {
            Some(resource) => seen.put(snapshot, resource),
            // What stands for a waypoint that is not in the mesh goes only when nobody refers to it any more.
            None if outside::has(snapshot, namespace, host) => {}
            None => seen.remove(snapshot, &workloads::service_name(namespace, host)),
        }
    }

    /// Rows that refer to a waypoint by its IP and were brought up to date before it was known who has that IP, or whose
    /// waypoint's IP somebody has now, or nobody any more. A row that could not be decided afresh may refer to one that no
    /// Gateway has any more; it follows when it is decided.
    fn by_ip(&self, concerned: &Concerned, flipped: &BTreeSet<NetworkIp>) -> BTreeSet<RowKey> {
        let table = self.now.table;
        let refers = |key: &&RowKey| table.get(key).is_some_and(refers_to_ip);
        let mut rows: BTreeSet<RowKey> = concerned.workloads.iter().filter(refers).cloned().collect();
        let services = concerned.hosts.iter().filter_map(|(ns, host)| hosts::service_at(self.now.store, ns, host));
        rows.extend(services.filter(|key| refers(&key)));
        if flipped.iter().any(|at| self.now.store.is_reported(at.ip)) {
            let of_flipped = |target: &Target| match &target.address {
                Some(WaypointAddress::Ip { network, ip }) => {
                    flipped.contains(&NetworkIp { network: network.clone(), ip: *ip })
                }
                _ => false,
            };
            let others = table.iter().filter(|(_, row)| row.decision.targets().iter().any(of_flipped));
            rows.extend(others.map(|(key, _)| key.clone()));
        }
        rows
    }
}

/// The row of a key, where both come in the same order; else it is looked up.
fn row_of<'a>(
    decided: &mut Peekable<impl Iterator<Item = (&'a RowKey, &'a Row)>>,
    now: Decided<'a>,
    key: &RowKey,
) -> Option<&'a Row> {
    while decided.next_if(|(next, _)| *next < key).is_some() {}
    match decided.peek() {
        Some((next, row)) if *next == key => Some(row),
        _ => now.table.get(key),
    }
}

fn refers_to_ip(row: &Row) -> bool {
    row.decision.targets().iter().any(|target| matches!(target.address, Some(WaypointAddress::Ip { .. })))
}

fn bring_policy(snapshot: &mut Snapshot, store: &Store, namespace: &Name, name: &Name) {
    let root = &store.facts().mesh.root_namespace;
    let written = || store.policy(namespace, name).and_then(|policy| policies::authorization(policy, root));
    match peers::authorization(store, namespace, name).or_else(written) {
        Some(policy) => snapshot.authorizations.put(Resource::authorization(&policy)),
        None => snapshot.authorizations.remove(&format!("{namespace}/{name}")),
    };
}

/// Addresses that somebody got or lost, and whether anybody had them before.
#[derive(Default)]
struct Seen(BTreeMap<NetworkIp, bool>);

impl Seen {
    fn put(&mut self, snapshot: &mut Snapshot, resource: Resource) {
        let old = snapshot.addresses.get(resource.name()).cloned();
        let old_keys = old.as_ref().map(|old| old.keys()).unwrap_or_default();
        if old_keys != resource.keys() {
            self.note(snapshot, old_keys.iter().chain(resource.keys()));
        }
        snapshot.addresses.put(resource);
    }

    fn remove(&mut self, snapshot: &mut Snapshot, name: &str) {
        if let Some(old) = snapshot.addresses.get(name).cloned() {
            self.note(snapshot, old.keys());
            snapshot.addresses.remove(name);
        }
    }

    fn note<'k>(&mut self, snapshot: &Snapshot, keys: impl IntoIterator<Item = &'k Key>) {
        for key in keys {
            if let Key::Ip(at) = key {
                self.0.entry(at.clone()).or_insert_with(|| has_address(snapshot, at));
            }
        }
    }

    /// Those that nobody had and somebody has, and the other way round.
    fn flipped(&self, snapshot: &Snapshot) -> BTreeSet<NetworkIp> {
        let is_flipped = |(at, had): &(&NetworkIp, &bool)| has_address(snapshot, at) != **had;
        self.0.iter().filter(is_flipped).map(|(at, _)| at.clone()).collect()
    }
}

fn has_address(snapshot: &Snapshot, at: &NetworkIp) -> bool {
    snapshot.addresses.at(&Key::Ip(at.clone())).next().is_some()
}

#[cfg(test)]
mod tests;
