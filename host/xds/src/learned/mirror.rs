//! The mesh as a control plane told it, and as clients are told it: the same bytes, but for the waypoints of what was decided
//! otherwise. A change costs what it touches.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use model::decision::{OnUnreachable, Target, WaypointAddress};
use model::learned::decider::LearnedRow;
use model::learned::{LearnedChanges, LearnedEvent, LearnedMesh, LearnedWaypoint};
use model::sorted::Sorted;
use model::{Facts, Name, Store};

use super::outside::{References, given, given_at};
use super::{decoded, subject};
use crate::client::state::{Update, UpstreamResource};
use crate::fallback::Instead;
use crate::mesh::hosts::{is_reported, is_waypoints_own};
use crate::mesh::outside::{Reference, stand_in, uid};
use crate::proto::workload::address::Type;
use crate::reload::chain;
use crate::resource::{
    Key, NetworkIp, Resource, ResourceType, Resources, Snapshot, Stamp, keys_of_service, keys_of_workload,
};
use crate::rewrite::rewritten;
use crate::waypoint::{Told, of_service};

/// See the module. A clone costs next to nothing, and is a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// As they came, with the control plane's own versions.
    upstream: Sorted<UpstreamResource>,
    policies: Sorted<UpstreamResource>,
    mesh: LearnedMesh,
    addresses: Resources,
    authorizations: Resources,
    /// What decisions refer to, where they may refer to what the control plane has not told of.
    references: References,
    /// Services of waypoints that were decided to be sent to one, and are not.
    guarded: OrdSet<Name>,
    /// Which services are waypoints' own may have changed without a change of theirs.
    is_guard_stale: bool,
}

/// What became different with an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// For the component: subjects that are not what they were.
    pub learned: LearnedChanges,
    /// Addresses with other bytes, whether or not they are subjects. All have to be published.
    pub addresses: BTreeSet<Arc<str>>,
    /// Services that have their first healthy endpoint, or lost their last: waypoints among them can be reached, or no
    /// longer.
    pub reachable: BTreeSet<Arc<str>>,
}

/// What decided.
#[derive(Clone, Copy)]
pub struct Rewriting<'a> {
    /// The decisions by resource.
    pub rows: &'a OrdMap<Name, Arc<LearnedRow>>,
    /// The number of the rules.
    pub rules: u64,
    /// What other sources know; may be empty.
    pub store: &'a Store,
    /// A waypoint's own Service is not sent to a waypoint: what the control plane said stays.
    pub guard_waypoint_services: bool,
    /// Rules may choose waypoints of which the control plane has not told: something stands for those.
    pub allow_unprogrammed: bool,
}

impl Mirror {
    /// Takes up what the control plane said. Policies count at once; Addresses when they are published, after the component
    /// was asked about what is touched.
    pub fn apply(&mut self, update: &Update, facts: &Facts) -> Touched {
        let mut touched = Touched::default();
        match update.of {
            ResourceType::Authorization => self.apply_policies(update),
            ResourceType::Address => {
                self.upstream = update.held.clone();
                let removed = update.removed.iter().cloned().map(LearnedEvent::Remove);
                // Each is made when it is taken: all of them together are larger than the mesh.
                let changed = update.changed.iter().map(|UpstreamResource { name, body, .. }| {
                    let subject = decoded(body).and_then(|address| subject(name, &address, facts));
                    subject.map_or(LearnedEvent::Remove(name.clone()), |it| LearnedEvent::Put(name.clone(), it))
                });
                touched.learned = self.mesh.apply(removed.chain(changed));
                let names = update.changed.iter().map(|it| &it.name).chain(&update.removed);
                touched.addresses = names.cloned().collect();
                self.is_guard_stale |= touched.learned.others;
                touched.reachable = std::mem::take(&mut touched.learned.reachable);
            }
        }
        touched
    }

    /// Gateways of another source changed: they say which services are waypoints' own.
    pub fn note_gateways(&mut self) {
        self.is_guard_stale = true;
    }

    /// The services that are a waypoint's own and would be sent to a waypoint, were it not for the guard: what the control
    /// plane said of them stays.
    pub fn guarded(&self) -> &OrdSet<Name> {
        &self.guarded
    }

    /// Puts the decisions for `names` into what clients are told, and for those that go past waypoints which cannot be
    /// reached, where that changed. The names of Addresses that could not be rewritten: clients are told what the control
    /// plane said, and why is said here.
    pub fn publish(
        &mut self,
        names: impl IntoIterator<Item = Arc<str>>,
        reachable: &BTreeSet<Arc<str>>,
        rewriting: Rewriting<'_>,
    ) -> Vec<(Arc<str>, String)> {
        let mut names: BTreeSet<Arc<str>> = names.into_iter().collect();
        if !reachable.is_empty() {
            let rows = rewriting.rows.iter().filter(|(_, row)| row.decision.on_unreachable == OnUnreachable::Bypass);
            let is_concerned = |row: &LearnedRow| {
                row.decision.targets().iter().filter_map(service_of).any(|it| reachable.contains(&*it))
            };
            names.extend(rows.filter(|(_, row)| is_concerned(row)).map(|(name, _)| name.clone()));
        }
        let mut concerned = BTreeSet::new();
        if std::mem::take(&mut self.is_guard_stale) {
            names.extend(self.may_be_guarded(rewriting));
            concerned = self.references.all();
        }
        let mut failed = Vec::new();
        for name in names {
            self.publish_one(name, rewriting, &mut concerned, &mut failed);
        }
        self.settle(concerned, rewriting, &mut failed);
        failed
    }

    /// Services that are sent to a waypoint.
    fn may_be_guarded(&self, rewriting: Rewriting<'_>) -> Vec<Arc<str>> {
        let rows = rewriting.rows.iter().filter(|(_, row)| !row.decision.targets().is_empty());
        let services = rows.filter(|(name, _)| self.mesh.get(name).is_some_and(|it| !it.hosts.is_empty()));
        services.filter(|_| rewriting.guard_waypoint_services).map(|(name, _)| name.clone()).collect()
    }

    fn publish_one(
        &mut self,
        name: Arc<str>,
        rewriting: Rewriting<'_>,
        concerned: &mut BTreeSet<Reference>,
        failed: &mut Vec<(Arc<str>, String)>,
    ) {
        let row = rewriting.rows.get(&name).filter(|_| self.upstream.get(&name).is_some());
        let watches = rewriting.allow_unprogrammed || !self.references.is_empty();
        if watches {
            let before = self.addresses.get(&name);
            self.references.changed(&name, before.map(|it| it.keys()).unwrap_or_default(), concerned);
            let decision = row.filter(|_| rewriting.allow_unprogrammed).map(|row| &*row.decision);
            self.references.refer(&name, decision, concerned);
        }
        let Some(upstream) = self.upstream.get(&name).map(|it| it.body.clone()) else {
            self.guarded.remove(&name);
            self.addresses.remove(&name);
            return;
        };
        let row = row.filter(|row| !self.is_guarded(&name, row, rewriting));
        if row.is_none() && rewriting.rows.contains_key(&name) {
            self.guarded.insert(name.clone());
        } else {
            self.guarded.remove(&name);
        }
        let body = self.body(&upstream, row).unwrap_or_else(|why| {
            failed.push((name.clone(), why));
            upstream
        });
        let revision = rewriting.rows.get(&name).map_or(0, |row| row.revision);
        let keys = decoded(&body).map(|it| keys(&it)).unwrap_or_default();
        let resource = Resource::new(name, body, keys, Stamp { rules: rewriting.rules, revision });
        if watches {
            self.references.changed(resource.name(), resource.keys(), concerned);
        }
        self.addresses.put(resource);
    }

    /// Whether a service is a waypoint's own, and would be sent to one: the control plane gave it to somebody as a waypoint, or
    /// its object says so.
    fn is_guarded(&self, name: &Name, row: &LearnedRow, rewriting: Rewriting<'_>) -> bool {
        if !rewriting.guard_waypoint_services || row.decision.targets().is_empty() {
            return false;
        }
        let Some(subject) = self.mesh.get(name) else { return false };
        let Some(host) = subject.hosts.first() else { return false };
        let by_host = LearnedWaypoint::Host { namespace: subject.namespace.clone(), host: host.clone() };
        let by_ip = |(network, ip): &(Name, IpAddr)| {
            self.mesh.is_given(&LearnedWaypoint::Ip { network: network.clone(), ip: *ip })
        };
        let vips: Vec<IpAddr> = subject.addresses.iter().map(|(_, ip)| *ip).collect();
        self.mesh.is_given(&by_host)
            || subject.addresses.iter().any(by_ip)
            || is_reported(rewriting.store, &subject.namespace, host, &vips)
            || subject.row.as_ref().is_some_and(|row| is_waypoints_own(rewriting.store, row, host))
    }

    /// Sees to it that waypoints of which the control plane has not told have what stands for them, and only those.
    fn settle(
        &mut self,
        concerned: BTreeSet<Reference>,
        rewriting: Rewriting<'_>,
        failed: &mut Vec<(Arc<str>, String)>,
    ) {
        for reference in concerned {
            let uses = self.references.uses(&reference);
            let stamp = Stamp { rules: rewriting.rules, revision: 0 };
            let stand_in = match self.is_inside(&reference) {
                true => None,
                false => stand_in(rewriting.store, &reference, &uses, stamp),
            };
            let was_outside = self.references.set_outside(&reference, stand_in.is_some());
            let is_outside = stand_in.is_some();
            match stand_in {
                Some(resources) => {
                    for resource in resources {
                        self.addresses.put(resource);
                    }
                }
                None if was_outside => self.take_back(&reference),
                None => {}
            }
            // How it is told, and whether it can be reached, depends on that. An address may have come in the same step as who
            // refers to it.
            let is_by_ip = matches!(reference, Reference::Ip(_)) && !self.mesh.is_given(&given(&reference));
            if was_outside != is_outside || is_by_ip {
                for name in self.references.of(&reference) {
                    self.publish_one(name, rewriting, &mut BTreeSet::new(), failed);
                }
            }
        }
    }

    /// Whether clients find it without help, or it is the control plane's to see to that.
    fn is_inside(&self, reference: &Reference) -> bool {
        let is_told = match reference {
            Reference::Host(namespace, host) => self.upstream.get(&format!("{namespace}/{host}").into()).is_some(),
            Reference::Ip(at) => self.addresses.at(&Key::Ip(at.clone())).next().is_some(),
        };
        is_told || self.mesh.is_given(&given(reference))
    }

    fn take_back(&mut self, reference: &Reference) {
        self.addresses.remove(&uid(reference));
        let (namespace, host) = reference.service();
        let service = Name::from(format!("{namespace}/{host}"));
        // The control plane may have told of it meanwhile.
        if self.upstream.get(&service).is_none() {
            self.addresses.remove(&service);
        }
    }

    /// Publishes everything, for instance under new rules.
    pub fn publish_all(&mut self, rewriting: Rewriting<'_>) -> Vec<(Arc<str>, String)> {
        let names: Vec<_> = self.upstream.iter().map(|it| it.name.clone()).collect();
        self.publish(names, &BTreeSet::new(), rewriting)
    }

    /// What clients are told, as far as it is published and they take it: else what the control plane said.
    pub fn snapshot(&self, rules: u64, revision: u64) -> Snapshot {
        Snapshot {
            addresses: self.addresses.clone(),
            authorizations: self.authorizations.clone(),
            rules,
            revision,
            instead: Instead::ControlPlane(self.upstream.clone()),
            ..Snapshot::default()
        }
    }

    /// What a component may be asked about.
    pub fn mesh(&self) -> &LearnedMesh {
        &self.mesh
    }

    /// What the control plane said, in the order of the names: to be persisted.
    pub fn upstream(&self, of: ResourceType) -> &Sorted<UpstreamResource> {
        match of {
            ResourceType::Address => &self.upstream,
            ResourceType::Authorization => &self.policies,
        }
    }

    fn apply_policies(&mut self, update: &Update) {
        self.policies = update.held.clone();
        for name in &update.removed {
            self.authorizations.remove(name);
        }
        for UpstreamResource { name, body, .. } in &update.changed {
            self.authorizations.put(Resource::new(name.clone(), body.clone(), [], Stamp::default()));
        }
    }

    /// The bytes with the decision in them.
    fn body(&self, body: &Bytes, row: Option<&Arc<LearnedRow>>) -> Result<Bytes, String> {
        match row.and_then(|row| of_service(&row.decision, self)) {
            Some(waypoints) => rewritten(body, &waypoints).map_err(|why| chain(&why)),
            None => Ok(body.clone()),
        }
    }
}

impl Told for Mirror {
    /// What the control plane gave as a waypoint counts as it gave it, whatever is there.
    fn has_address(&self, network: &str, ip: IpAddr) -> bool {
        self.is_inside(&Reference::Ip(NetworkIp { network: network.into(), ip }))
    }

    /// By hostname: its service has a healthy endpoint. What is behind an address is not watched, nor what the control plane has
    /// not told of: it is enough that it can be dialled.
    fn is_reachable(&self, target: &Target) -> bool {
        let Some(service) = service_of(target).map(Name::from) else { return target.address.is_some() };
        let is_told = self.upstream.get(&service).is_some()
            || given_at(target).is_some_and(|waypoint| self.mesh.is_given(&waypoint));
        if is_told { self.mesh.is_ready(&service) } else { !target.dial.is_empty() }
    }
}

/// The service that a waypoint is named by.
fn service_of(target: &Target) -> Option<String> {
    match &target.address {
        Some(WaypointAddress::Hostname(host)) => Some(format!("{}/{host}", target.gateway.namespace)),
        Some(WaypointAddress::Ip { .. }) | None => None,
    }
}

fn keys(address: &Type) -> Vec<Key> {
    match address {
        Type::Workload(workload) => keys_of_workload(workload),
        Type::Service(service) => keys_of_service(service),
    }
}
