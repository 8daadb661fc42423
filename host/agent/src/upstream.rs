//! A control plane upstream: what it said, what the rules make of that, and what ztunnels are told in its place.
//!
//! Owned by the conductor. The mesh that the control plane knows is held beside the store, and decided by the same component
//! under the same rules; what nobody decides passes byte for byte. While the control plane is away, the last mesh that
//! it told is served, also after a restart.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use arc_swap::ArcSwap;
use engine::{Refusal, Stage};
use model::decider::Terms;
use model::decision::Choice;
use model::learned::decider::{LearnedDecider, LearnedRow, LearnedTerms};
use model::sorted::Sorted;
use model::store::Changes;
use model::table::{RowKey, RowKind};
use model::{Description, Name, Resolver, Store};
use xds::client::Event;
use xds::client::state::{Update, UpstreamResource};
use xds::client::status::{Freshness, Status};
use xds::fallback::Outlet;
use xds::learned::mirror::{Mirror, Rewriting, Touched};
use xds::resource::ResourceType;

use crate::learned::Learned;
use crate::ztunnels::UpstreamConfig;

/// What is written to disk: all resources by type.
pub(crate) type Saved = Vec<(ResourceType, Sorted<UpstreamResource>)>;

/// What readers see of it.
#[derive(Default)]
pub(crate) struct Seen {
    /// Whether the mesh is fresh, since when not, and why.
    pub(crate) status: ArcSwap<Option<Status>>,
    /// What it told, with the decisions.
    pub(crate) learned: ArcSwap<Learned>,
}

/// See the module.
pub(crate) struct Upstream {
    mirror: Mirror,
    status: Status,
    seen: Arc<Seen>,
    ruling: Option<Ruling>,
    allow_unprogrammed: bool,
    guard_waypoint_services: bool,
    newest: Outlet,
    saver: SyncSender<Saved>,
    /// Updates of the control plane; counts for the revision as changes of objects do.
    updates: u64,
    is_unsaved: bool,
}

struct Ruling {
    decider: LearnedDecider,
    rules: u64,
}

/// Decisions under rules that are not in charge yet.
pub(crate) struct Prepared(LearnedDecider);

impl Upstream {
    /// `restored`: what an earlier agent saved. Nothing is served before there are rules and, where nothing was restored, before
    /// the control plane has answered.
    pub(crate) fn new(
        restored: &[Update],
        store: &Store,
        config: &UpstreamConfig,
        seen: Arc<Seen>,
        newest: Outlet,
        saver: SyncSender<Saved>,
    ) -> Self {
        let status = Status::new(!restored.is_empty());
        let mut upstream = Self {
            mirror: Mirror::default(),
            status,
            seen,
            ruling: None,
            allow_unprogrammed: config.allow_unprogrammed,
            guard_waypoint_services: config.guard_waypoint_services,
            newest,
            saver,
            updates: 0,
            is_unsaved: false,
        };
        for update in restored {
            // Nobody has decided anything yet: all of it is decided and published with the first rules.
            let _touched = upstream.mirror.apply(update, store.facts());
        }
        upstream.seen.status.store(Arc::new(Some(upstream.status.clone())));
        upstream
    }

    /// Takes up what the client has to say.
    pub(crate) fn take(&mut self, event: &Event, store: &Store) {
        self.status.observe(event, Instant::now());
        if let Event::Update(update) = event {
            let touched = self.mirror.apply(update, store.facts());
            self.updates += 1;
            self.is_unsaved = true;
            self.move_rows(&Changes::default(), &touched, store);
        }
        self.seen.status.store(Arc::new(Some(self.status.clone())));
    }

    /// Follows objects: their labels may be those of what the control plane told.
    pub(crate) fn follow(&mut self, store: &Store, changes: &Changes) {
        self.move_rows(changes, &Touched::default(), store);
    }

    fn move_rows(&mut self, changes: &Changes, touched: &Touched, store: &Store) {
        let revision = self.revision(store);
        let Some(ruling) = &mut self.ruling else { return };
        let moved = ruling.decider.apply(store, changes, self.mirror.mesh(), &touched.learned, revision);
        let names = touched.addresses.iter().cloned().chain(moved.into_iter().map(|it| it.name));
        // A Service's labels say whether it is a waypoint's own, whatever was decided.
        let domain = &store.facts().cluster_domain;
        let services = changes.rows.iter().filter(|row| row.kind == RowKind::Service);
        let services = services
            .map(|RowKey { namespace, name, .. }| Name::from(format!("{namespace}/{name}.{namespace}.svc.{domain}")));
        let names = names.chain(services);
        if !changes.gateways.is_empty() {
            self.mirror.note_gateways();
        }
        let rewriting = Rewriting {
            rows: ruling.decider.rows(),
            rules: ruling.rules,
            store,
            guard_waypoint_services: self.guard_waypoint_services,
            allow_unprogrammed: self.allow_unprogrammed,
        };
        told(&self.mirror.publish(names, &touched.reachable, rewriting));
        self.publish(store);
    }

    /// Decides everything under other rules, without any effect yet.
    ///
    /// # Errors
    /// A resource that cannot be decided.
    pub(crate) fn prepare(
        &self,
        resolver: Arc<dyn Resolver>,
        description: Arc<Description>,
        terms: &Terms,
        store: &Store,
    ) -> Result<Prepared, Refusal> {
        // What never was decided stays what the control plane said.
        let terms = Terms { undecided: Choice::Keep, ..terms.clone() };
        let terms = LearnedTerms { terms, allow_unprogrammed: self.allow_unprogrammed };
        let (mesh, revision) = (self.mirror.mesh(), self.revision(store));
        let decider = LearnedDecider::new(description, resolver, terms, store, mesh, revision);
        let decider = decider.map_err(|(name, failure)| {
            let mut refusal = Refusal::of_call(Stage::Shadow, failure);
            if let Some(name) = name {
                refusal.reason = format!("{name}: {}", refusal.reason);
            }
            refusal
        })?;
        Ok(Prepared(decider))
    }

    /// Puts them in charge.
    pub(crate) fn commit(&mut self, Prepared(decider): Prepared, rules: u64, store: &Store) {
        let before = self.ruling.replace(Ruling { decider, rules });
        let Some(Ruling { decider, .. }) = &self.ruling else { return };
        let rewriting = Rewriting {
            rows: decider.rows(),
            rules,
            store,
            guard_waypoint_services: self.guard_waypoint_services,
            allow_unprogrammed: self.allow_unprogrammed,
        };
        let failed = match before {
            None => self.mirror.publish_all(rewriting),
            // Only what is decided differently is written again.
            Some(before) => {
                let is_same = |name: &Name, row: &Arc<LearnedRow>| {
                    before.decider.rows().get(name).is_some_and(|before| before.same_effect(row))
                };
                let moved = decider.rows().iter().filter(|(name, row)| !is_same(name, row));
                let moved: Vec<Name> = moved.map(|(name, _)| name.clone()).collect();
                self.mirror.publish(moved, &Default::default(), rewriting)
            }
        };
        told(&failed);
        self.publish(store);
    }

    /// Housekeeping: asks degraded rows again, and saves what changed.
    pub(crate) fn tend(&mut self, store: &Store) {
        let revision = self.revision(store);
        if let Some(ruling) = &mut self.ruling {
            let moved = ruling.decider.retry_degraded(store, self.mirror.mesh(), revision);
            if !moved.is_empty() {
                let touched =
                    Touched { addresses: moved.into_iter().map(|it| it.name).collect(), ..Touched::default() };
                self.move_rows(&Changes::default(), &touched, store);
            }
        }
        self.save();
    }

    /// Hands the mesh to the saver, unless that is still busy with the one before.
    fn save(&mut self) {
        let Some(mesh) = self.unsaved() else { return };
        match self.saver.try_send(mesh) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => self.is_unsaved = false,
            Err(TrySendError::Full(_)) => {}
        }
    }

    /// The end: the saver is waited for, so that the last mesh is the one that is saved.
    pub(crate) fn end(self) {
        if let Some(mesh) = self.unsaved() {
            // Without a saver there is nobody to tell.
            let _gone = self.saver.send(mesh);
        }
    }

    /// What is to be saved. Not half a mesh: whoever restored workloads without the policies that came after them would let
    /// through what those forbid.
    fn unsaved(&self) -> Option<Saved> {
        let is_whole = *self.status.freshness() != Freshness::Unknown;
        let of = |of| (of, self.mirror.upstream(of).clone());
        (self.is_unsaved && is_whole).then(|| ResourceType::ALL.map(of).into())
    }

    /// What it counts, for metrics.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        let of = |of| self.mirror.upstream(of).len() as u64;
        let refused = self.ruling.as_ref().map_or(0, |it| it.decider.refused().len() as u64);
        let degraded = self.ruling.as_ref().map_or(0, |it| it.decider.degraded().len() as u64);
        [
            ("addresses", of(ResourceType::Address)),
            ("authorizations", of(ResourceType::Authorization)),
            ("updates", self.updates),
            ("failures", self.status.failures),
            ("rejected", self.status.rejected),
            ("refused_unprogrammed", refused),
            ("degraded", degraded),
            ("waypoint_services_guarded", self.mirror.guarded().len() as u64),
            ("fallbacks", self.newest.fallbacks() as u64),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into()
    }

    fn revision(&self, store: &Store) -> u64 {
        store.revision() + self.updates
    }

    fn publish(&self, store: &Store) {
        let Some(ruling) = &self.ruling else { return };
        let (mesh, rows) = (self.mirror.mesh().clone(), ruling.decider.rows().clone());
        let guarded = self.mirror.guarded().clone();
        self.seen.learned.store(Arc::new(Learned { mesh, rows, guarded, rules: ruling.rules }));
        // A mesh that nobody has told yet is not an empty one.
        if *self.status.freshness() != Freshness::Unknown {
            self.newest.publish(self.mirror.snapshot(ruling.rules, self.revision(store)));
        }
    }
}

fn told(failed: &[(Arc<str>, String)]) {
    for (resource, why) in failed {
        tracing::warn!(%resource, why, "a decision could not be written into a resource; clients are told what the control plane said");
    }
}
