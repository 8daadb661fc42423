//! The mesh as a control plane told it, and as clients are told it: the same bytes, but for the waypoints of what was decided
//! otherwise. A change costs what it touches.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use model::decision::{OnUnreachable, Target, WaypointAddress};
use model::learned::decider::LearnedRow;
use model::learned::{LearnedChanges, LearnedEvent, LearnedMesh};
use model::{Facts, Name};

use super::{decoded, subject};
use crate::client::state::{Update, UpstreamResource};
use crate::fallback::Instead;
use crate::proto::workload::address::Type;
use crate::reload::chain;
use crate::resource::{Key, Resource, ResourceType, Resources, Snapshot, Stamp, keys_of_service, keys_of_workload};
use crate::rewrite::rewritten;
use crate::waypoint::{Told, of_service};

/// See the module. A clone costs next to nothing, and is a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// As they came, with the control plane's own versions.
    upstream: OrdMap<Arc<str>, UpstreamResource>,
    policies: OrdMap<Arc<str>, UpstreamResource>,
    mesh: LearnedMesh,
    addresses: Resources,
    authorizations: Resources,
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
}

impl Mirror {
    /// Takes up what the control plane said. Policies count at once; Addresses when they are published, after the component
    /// was asked about what is touched.
    pub fn apply(&mut self, update: &Update, facts: &Facts) -> Touched {
        let mut touched = Touched::default();
        match update.of {
            ResourceType::Authorization => self.apply_policies(update),
            ResourceType::Address => {
                let mut events = Vec::with_capacity(update.changed.len() + update.removed.len());
                for name in &update.removed {
                    self.upstream.remove(name);
                    events.push(LearnedEvent::Remove(name.clone()));
                }
                for resource in &update.changed {
                    let subject = decoded(&resource.body).and_then(|address| subject(&resource.name, &address, facts));
                    let name = resource.name.clone();
                    events.push(subject.map_or(LearnedEvent::Remove(name.clone()), |it| LearnedEvent::Put(name, it)));
                    self.upstream.insert(resource.name.clone(), resource.clone());
                }
                let names = update.changed.iter().map(|it| &it.name).chain(&update.removed);
                touched.addresses = names.cloned().collect();
                touched.learned = self.mesh.apply(events);
                touched.reachable = std::mem::take(&mut touched.learned.reachable);
            }
        }
        touched
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
        let mut failed = Vec::new();
        for name in names {
            let Some(upstream) = self.upstream.get(&name) else {
                self.addresses.remove(&name);
                continue;
            };
            let row = rewriting.rows.get(&name);
            let body = self.body(&upstream.body, row).unwrap_or_else(|why| {
                failed.push((name.clone(), why));
                upstream.body.clone()
            });
            let stamp = Stamp { rules: rewriting.rules, revision: row.map_or(0, |row| row.revision) };
            let keys = decoded(&body).map(|it| keys(&it)).unwrap_or_default();
            self.addresses.put(Resource::new(name, body, keys, stamp));
        }
        failed
    }

    /// Publishes everything, for instance under new rules.
    pub fn publish_all(&mut self, rewriting: Rewriting<'_>) -> Vec<(Arc<str>, String)> {
        let names: Vec<_> = self.upstream.keys().cloned().collect();
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
    pub fn upstream(&self, of: ResourceType) -> impl ExactSizeIterator<Item = &UpstreamResource> {
        match of {
            ResourceType::Address => self.upstream.values(),
            ResourceType::Authorization => self.policies.values(),
        }
    }

    fn apply_policies(&mut self, update: &Update) {
        for name in &update.removed {
            self.policies.remove(name);
            self.authorizations.remove(name);
        }
        for resource in &update.changed {
            let UpstreamResource { name, body, .. } = resource;
            self.authorizations.put(Resource::new(name.clone(), body.clone(), [], Stamp::default()));
            self.policies.insert(name.clone(), resource.clone());
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
    /// The control plane gave the address, or the operator said that it is as good: nothing is put in its place here.
    fn has_address(&self, _: &str, _: IpAddr) -> bool {
        true
    }

    /// By hostname: its service has a healthy endpoint. What is behind an address is not watched.
    fn is_reachable(&self, target: &Target) -> bool {
        service_of(target).map_or(target.address.is_some(), |service| self.mesh.is_ready(&service.into()))
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
