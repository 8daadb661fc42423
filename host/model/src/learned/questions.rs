//! What a component is asked about something that a control plane told of: what that says, what another source adds, and
//! the Gateways, of which there may be no more than a name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{LearnedChanges, LearnedMesh, LearnedSubject, LearnedWaypoint};
use crate::description::{Description, Fields, Reach};
use crate::gateway::{GatewayKey, StatusAddress};
use crate::input::{GatewayInput, Input, Shared, SubjectKind};
use crate::projection::{Beside, Projection};
use crate::store::{Changes, Store};
use crate::table::{RowKey, RowKind};

/// Makes the questions of one description. What it knows of the store it forgets when that changes.
pub(super) struct Questions {
    description: Arc<Description>,
    /// Has no rows of its own: it knows Gateways and namespaces as the description shows them.
    projection: Projection,
    waypoints: HashMap<LearnedWaypoint, Known>,
}

/// A waypoint as components see it.
#[derive(Clone)]
enum Known {
    /// Another source has the Gateway; beside its name what components see of it, if they are told of its endpoints.
    Gateway(GatewayKey, Option<Shared<GatewayInput>>),
    /// There is no more than its address.
    Address(Shared<GatewayInput>),
}

impl Known {
    fn key(&self) -> &GatewayKey {
        match self {
            Self::Gateway(key, _) => key,
            Self::Address(input) => &input.key,
        }
    }
}

/// A question, and what its answer is held against.
pub(super) struct Question {
    pub(super) input: Shared<Input>,
    /// The Gateways that the control plane programmed for the subject, primary first.
    pub(super) programmed: Vec<GatewayKey>,
}

impl Questions {
    pub(super) fn new(description: Arc<Description>) -> Self {
        // Where the control plane says who is ready, what another source knows of it does not count: that sees the Pods of
        // this node, if any.
        let fields = Fields { endpoints: false, ..description.fields };
        let projection = Projection::empty(Arc::new(Description { fields, ..Description::clone(&description) }));
        Self { description, projection, waypoints: HashMap::new() }
    }

    /// Forgets what is not as it was.
    pub(super) fn forget(&mut self, changes: &Changes, learned: &LearnedChanges) {
        self.projection.forget_objects(changes);
        // One that was given to nobody for a while may have changed unnoticed.
        if !changes.gateways.is_empty() || learned.others {
            self.waypoints.clear();
        }
        for waypoint in self.concerning(learned) {
            self.waypoints.remove(waypoint);
        }
    }

    /// The waypoints of which something is different that components are told.
    pub(super) fn concerning<'c>(&self, learned: &'c LearnedChanges) -> BTreeSet<&'c LearnedWaypoint> {
        let endpoints = learned.endpoints.iter().filter(|_| self.shows_endpoints());
        learned.waypoints.iter().chain(endpoints).collect()
    }

    fn shows_endpoints(&self) -> bool {
        self.description.fields.upstream && self.description.fields.endpoints
    }

    /// Whether what is asked about one subject depends on which waypoints others were given.
    pub(super) fn looks_around(&self) -> bool {
        self.description.fields.upstream && self.description.reach != Reach::Referenced
    }

    /// What is asked about a subject now.
    pub(super) fn question(&mut self, store: &Store, mesh: &LearnedMesh, subject: &LearnedSubject) -> Question {
        let upstream: Vec<Known> = subject.upstream.iter().map(|it| self.waypoint(store, mesh, it)).collect();
        let mut programmed: Vec<GatewayKey> = Vec::with_capacity(upstream.len());
        for waypoint in &upstream {
            // Two addresses may be of one Gateway.
            if !programmed.contains(waypoint.key()) {
                programmed.push(waypoint.key().clone());
            }
        }
        let candidates =
            if self.description.fields.upstream { self.offered(store, mesh, subject, upstream) } else { Vec::new() };
        let row = row_of(store, subject);
        let beside = Beside {
            row: row.as_ref(),
            kind: subject.kind,
            namespace: &subject.namespace,
            name: &subject.name,
            hosts: &subject.hosts,
            service_account: subject.service_account.as_ref(),
            visibility: subject.visibility,
            named: candidates.iter().filter_map(|it| if let Known::Gateway(key, _) = it { Some(key) } else { None }),
        };
        let (known, has_labels) = self.projection.beside(store, beside);
        let mut all: BTreeMap<&GatewayKey, &Shared<GatewayInput>> =
            known.candidates.iter().map(|it| (&it.key, it)).collect();
        // Of two addresses of one Gateway the first counts.
        for candidate in candidates.iter().rev() {
            match candidate {
                Known::Address(input) => drop(all.entry(&input.key).or_insert(input)),
                Known::Gateway(key, Some(input)) if all.contains_key(key) => drop(all.insert(&input.key, input)),
                Known::Gateway(..) => {}
            }
        }
        // A Gateway may have gone since it was looked up: it is no candidate then.
        let is_candidate = |key: &&GatewayKey| all.contains_key(*key);
        let upstream = programmed.iter().filter(is_candidate).cloned().collect();
        let input = Input {
            kind: known.kind,
            namespace: known.namespace.clone(),
            labels: known.labels.clone().filter(|_| has_labels),
            annotations: known.annotations.clone().filter(|_| has_labels),
            visibility: known.visibility,
            service_account: known.service_account.clone(),
            name: known.name.clone(),
            hosts: known.hosts.clone(),
            upstream: self.description.fields.upstream.then_some(upstream),
            candidates: all.into_values().cloned().collect(),
        };
        Question { input: Shared::new(input), programmed }
    }

    /// The waypoints that a subject may mean because the control plane gave them to somebody.
    fn offered(&mut self, store: &Store, mesh: &LearnedMesh, subject: &LearnedSubject, own: Vec<Known>) -> Vec<Known> {
        let mut offered = own;
        let is_near = |it: &&LearnedWaypoint| match (self.description.reach, it) {
            (Reach::Referenced, _) => false,
            (Reach::OwnNamespace, LearnedWaypoint::Host { namespace, .. }) => *namespace == subject.namespace,
            (Reach::OwnNamespace, LearnedWaypoint::Ip { .. }) => false,
            (Reach::All, _) => true,
        };
        let near: Vec<LearnedWaypoint> = if self.description.reach == Reach::Referenced {
            Vec::new()
        } else {
            mesh.waypoints().filter(is_near).cloned().collect()
        };
        offered.extend(near.iter().map(|waypoint| self.waypoint(store, mesh, waypoint)));
        offered
    }

    fn waypoint(&mut self, store: &Store, mesh: &LearnedMesh, waypoint: &LearnedWaypoint) -> Known {
        if let Some(known) = self.waypoints.get(waypoint) {
            return known.clone();
        }
        let endpoints = if self.shows_endpoints() { mesh.endpoints_of(waypoint) } else { Vec::new() };
        let known = match waypoint.gateway(store) {
            Some(key) => {
                let seen = self.projection.gateway(store, &key).filter(|_| self.shows_endpoints());
                let shown = seen.map(|seen| match endpoints.is_empty() {
                    true => seen,
                    false => Shared::new(GatewayInput { endpoints, ..GatewayInput::clone(&seen) }),
                });
                Known::Gateway(key, shown)
            }
            None => Known::Address(Shared::new(GatewayInput { endpoints, ..known_by_address(mesh, waypoint) })),
        };
        self.waypoints.insert(waypoint.clone(), known.clone());
        known
    }
}

/// A Gateway of which there is no more than an address: no class, no listeners, no labels.
fn known_by_address(mesh: &LearnedMesh, waypoint: &LearnedWaypoint) -> GatewayInput {
    let no_pairs = Shared::new(Vec::new());
    let (kind, value) = match waypoint {
        LearnedWaypoint::Host { host, .. } => ("Hostname", host.clone()),
        LearnedWaypoint::Ip { ip, .. } => ("IPAddress", ip.to_string().into()),
    };
    GatewayInput {
        key: waypoint.key(),
        labels: no_pairs.clone(),
        annotations: no_pairs,
        class: None,
        listeners: Vec::new(),
        addresses: vec![StatusAddress { kind: Some(kind.into()), value }],
        dialled_at: vec![mesh.addresses_of(waypoint)],
        endpoints: Vec::new(),
    }
}

/// Whether nothing but its address is known of a Gateway: one of the API has a class.
pub(super) fn is_known_by_address(gateway: &GatewayInput) -> bool {
    gateway.class.is_none() && gateway.listeners.is_empty()
}

/// The row of another source that is the same thing.
fn row_of(store: &Store, subject: &LearnedSubject) -> Option<RowKey> {
    if subject.kind != SubjectKind::ServiceEntry {
        return subject.row.clone();
    }
    let entry = store.entry_with_host(subject.hosts.first()?, &subject.namespace)?;
    Some(RowKey::new(RowKind::ServiceEntry, &entry.meta.namespace, &entry.meta.name))
}
