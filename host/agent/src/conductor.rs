//! The one writer: follows objects, publishes rules, and keeps all sinks in step. One thread, one message at a time.
//!
//! A swap is prepared in every sink before it is committed in any, in the order of the sinks; a sink that cannot
//! prepare refuses the swap for all. What readers see ([`Published`]) is itself the last of the sinks, so that nobody
//! reads a table that the kernel does not have yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use engine::{Candidate, Loaded, Refusal, Stage};
use model::decider::Terms;
use model::overlay::Overlay;
use model::projection::node_input;
use model::sink::{Decided, Sink, Step};
use model::store::{Changes, Event, Node};
use model::{Decider, Mesh, Name, Store, Table};
use tokio::sync::oneshot;

use crate::published::{Active, Published, Refused, SwapReport};
use crate::sources::Source;
use crate::upstream::{self, Upstream};

/// Changes that are remembered for a candidate that was decided on an older mesh.
const RECENT_MAX: usize = 4096;
/// Things that these changes touched, all together.
const RECENT_SIZE_MAX: usize = 200_000;
/// How often sinks are tended and rows that hold an old answer are asked again.
const TEND_EVERY: Duration = Duration::from_secs(30);

/// Rows that a refusal of the guard names.
const GUARD_ROWS: usize = 5;

/// A sink's name and its counters.
pub(crate) type SinkCounters = (&'static str, Vec<(String, u64)>);

/// What the conductor is told.
pub(crate) enum Message {
    /// Objects came, changed or went, in one of the sources.
    Objects(Origin, Vec<Event>),
    /// All that a source has at its start was told before this.
    Whole(Source),
    /// This node has other labels.
    Node(Box<Node>),
    /// MeshConfig says something else.
    Mesh(Box<Mesh>),
    /// What the control plane said, or that it is gone.
    Upstream(Box<xds::client::Event>),
    /// Rules that may be published. `at`: the end of the debounce. `done` is told why they were refused after all.
    Candidate {
        named: String,
        at: Instant,
        candidate: Box<Candidate>,
        changes_max: Option<usize>,
        done: SyncSender<Option<Refusal>>,
    },
    /// Rules that may not.
    Refused { named: String, refusal: Refusal },
    /// Go back to the rules before.
    Rollback(oneshot::Sender<Result<SwapReport, String>>),
    /// What the sinks have counted.
    Counters(oneshot::Sender<Vec<SinkCounters>>),
    /// The end: what was begun is finished.
    Stop,
}

/// Where objects come from. Those of files lie over those of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Files,
    Cluster,
}

/// See the module.
pub(crate) struct Conductor {
    store: Store,
    snapshot: Arc<ArcSwap<Store>>,
    published: Arc<Published>,
    sinks: Vec<Box<dyn Sink + Send>>,
    ruling: Option<Ruling>,
    before: Option<Active>,
    /// The number of the last rules, of this process or of the one before it.
    rules: u64,
    recent: VecDeque<(u64, Changes)>,
    recent_size: usize,
    /// The revision just before the first of `recent`.
    recent_from: u64,
    /// The control plane, where there is one.
    upstream: Option<Upstream>,
    /// Where there are files and a cluster.
    overlay: Option<Overlay>,
}

struct Ruling {
    active: Active,
    decider: Decider,
}

impl Conductor {
    /// `rules`: the number of the last rules that a sink still has from an earlier agent, 0 for none.
    pub(crate) fn new(
        store: Store,
        snapshot: Arc<ArcSwap<Store>>,
        published: Arc<Published>,
        sinks: Vec<Box<dyn Sink + Send>>,
        rules: u64,
        upstream: Option<Upstream>,
        overlay: Option<Overlay>,
    ) -> Self {
        let recent_from = store.revision();
        let recent = VecDeque::new();
        Self {
            store,
            snapshot,
            published,
            sinks,
            ruling: None,
            before: None,
            rules,
            recent,
            recent_size: 0,
            recent_from,
            upstream,
            overlay,
        }
    }

    /// Works until it is told to stop or everybody who could tell it something is gone.
    pub(crate) fn run(mut self, messages: &Receiver<Message>) {
        let mut tend = Instant::now() + TEND_EVERY;
        loop {
            match messages.recv_timeout(tend.saturating_duration_since(Instant::now())) {
                Ok(Message::Objects(origin, events)) => {
                    let events = self.merged(origin, events);
                    let objects = events.iter().map(Event::key).collect();
                    let network = self.store.facts().network.clone();
                    self.follow(Step { objects, ..Step::default() }, |store| store.apply_all(events));
                    self.follow_network(&network);
                }
                Ok(Message::Mesh(mesh)) => {
                    let network = self.store.facts().network.clone();
                    self.follow(Step { mesh: true, ..Step::default() }, |store| store.set_mesh(*mesh));
                    self.follow_network(&network);
                }
                Ok(Message::Whole(source)) => source.done(),
                Ok(Message::Node(node)) => self.follow_node(*node),
                Ok(Message::Upstream(event)) => {
                    if let Some(upstream) = &mut self.upstream {
                        upstream.take(&event, &self.store);
                    }
                }
                Ok(Message::Candidate { named, at, candidate, changes_max, done }) => {
                    let _gone = done.send(self.publish(named, at, *candidate, changes_max).err());
                }
                Ok(Message::Refused { named, refusal }) => self.refuse(named, refusal),
                Ok(Message::Rollback(reply)) => {
                    let _gone = reply.send(self.roll_back());
                }
                Ok(Message::Counters(reply)) => {
                    let sinks = self.sinks.iter_mut().map(|sink| (sink.name(), sink.counters()));
                    let upstream = self.upstream.iter().map(|it| ("upstream", it.counters()));
                    let _gone = reply.send(sinks.chain(upstream).collect());
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    if let Some(upstream) = self.upstream {
                        upstream.end();
                    }
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.tend();
                    tend = Instant::now() + TEND_EVERY;
                }
            }
        }
    }

    /// What events of one of the sources mean for the store of both.
    fn merged(&mut self, origin: Origin, events: Vec<Event>) -> Vec<Event> {
        let Some(overlay) = &mut self.overlay else { return events };
        match origin {
            Origin::Files => events.into_iter().map(|event| overlay.over(event, &self.store)).collect(),
            Origin::Cluster => events.into_iter().filter_map(|event| overlay.under(event)).collect(),
        }
    }

    /// A component that was told where this node lies is asked everything anew, as if it were another one.
    fn follow_node(&mut self, node: Node) {
        let told = |conductor: &Self| {
            let active = &conductor.ruling.as_ref()?.active;
            Some(node_input(active.component.description(), conductor.store.facts()))
        };
        let (before, revision) = (told(self), self.store.revision());
        self.follow(Step { mesh: true, ..Step::default() }, |store| store.set_node(node));
        if self.store.revision() == revision {
            return;
        }
        self.forget_recent();
        if before != told(self) {
            self.decide_anew("this node has other labels");
        }
    }

    /// Decisions name the network of the cluster: where the root namespace says another one, all are made anew.
    fn follow_network(&mut self, before: &Name) {
        if self.store.facts().network != *before {
            self.forget_recent();
            self.decide_anew("the network of the cluster is another one");
        }
    }

    /// A candidate that was decided before was told something else.
    fn forget_recent(&mut self) {
        self.recent.clear();
        (self.recent_size, self.recent_from) = (0, self.store.revision());
    }

    fn decide_anew(&mut self, why: &str) {
        let Some(active) = self.ruling.as_ref().map(|ruling| ruling.active.clone()) else { return };
        tracing::info!("{why}: deciding everything anew");
        // Refused or published: both are told there.
        let _told = self.publish_again(active);
    }

    fn follow(&mut self, mut step: Step, change: impl FnOnce(&mut Store) -> Changes) {
        let before = self.store.revision();
        let changes = change(&mut self.store);
        // Changes may be empty all the same: some objects only matter to who looks at the whole mesh.
        if self.store.revision() == before {
            return;
        }
        self.snapshot.store(Arc::new(self.store.clone()));
        self.recent_size += size(&changes);
        self.recent.push_back((self.store.revision(), changes.clone()));
        while self.recent.len() > RECENT_MAX || self.recent_size > RECENT_SIZE_MAX {
            let Some((revision, forgotten)) = self.recent.pop_front() else { break };
            self.recent_size -= size(&forgotten);
            self.recent_from = revision;
        }
        if let Some(upstream) = &mut self.upstream {
            upstream.follow(&self.store, &changes);
        }
        if let Some(ruling) = &mut self.ruling {
            step.moved = ruling.decider.apply(&self.store, &changes);
            step.changes = changes;
            let revision = self.store.revision();
            tracing::info!(revision, events = revision - before, moved = step.moved.len(), "the mesh changed");
            self.update_sinks(&step);
        }
    }

    /// Moves single rows in every sink. One that fails gets the whole table again.
    fn update_sinks(&mut self, step: &Step) {
        let Some(ruling) = &self.ruling else { return };
        let now = Decided { store: &self.store, table: ruling.decider.table() };
        let mut behind = Vec::new();
        for sink in &mut self.sinks {
            let Err(error) = sink.update(now, step) else { continue };
            tracing::warn!(%error, "rows could not be moved; publishing the whole table again");
            if let Err(error) = sink.prepare(now).and_then(|()| sink.commit()) {
                tracing::error!(%error, "a sink is behind the table");
                behind.push(error);
            }
        }
        self.published.behind.store(Arc::new(behind));
    }

    /// Brings a candidate up to the present mesh and puts it in charge.
    fn publish(
        &mut self,
        named: String,
        at: Instant,
        candidate: Candidate,
        changes_max: Option<usize>,
    ) -> Result<SwapReport, Refusal> {
        let (component, load_ms, shadow_ms) = (candidate.component.clone(), candidate.load_ms, candidate.shadow_ms);
        let terms = candidate.terms.clone();
        let published = self.catch_up(candidate).and_then(|candidate| {
            let mut decider = candidate.decider;
            self.guard(decider.table(), changes_max)?;
            decider.renumber(self.rules + 1);
            let learned = self.prepare_upstream(&component, &terms)?;
            let prepare_ms = self.prepare(decider.table(), &terms)?;
            let window_us = self.commit()?;
            if let (Some(upstream), Some(learned)) = (&mut self.upstream, learned) {
                upstream.commit(learned, self.rules + 1, &self.store);
            }
            Ok((decider, prepare_ms, window_us))
        });
        let (decider, prepare_ms, window_us) = match published {
            Ok(published) => published,
            Err(refusal) => {
                self.refuse(named, refusal.clone());
                return Err(refusal);
            }
        };
        let swap_ms = at.elapsed().as_secs_f64() * 1e3;
        self.rules += 1;
        let before = self.ruling.as_ref().map(|ruling| ruling.decider.table().clone()).unwrap_or_default();
        let report = SwapReport {
            rules: self.rules,
            revision: self.store.revision(),
            component: named.clone(),
            digest: component.facts().digest.clone(),
            decisions: decider.table().len(),
            distinct: decider.distinct(),
            changed: before.diff(decider.table()).len(),
            load_ms,
            shadow_ms,
            prepare_ms,
            window_us,
            swap_ms,
        };
        tracing::info!(
            rules = report.rules, revision = report.revision, component = %named, digest = %report.digest,
            decisions = report.decisions, distinct = report.distinct, changed = report.changed, swap_ms, "new rules"
        );
        let active = Active { rules: self.rules, component, terms, named };
        self.published.behind.store(Arc::default());
        self.published.swapped(report.clone());
        // Last: whoever sees these rules as the active ones finds their table and their swap as well.
        self.published.active.store(Some(Arc::new(active.clone())));
        self.before = self.ruling.replace(Ruling { active, decider }).map(|ruling| ruling.active);
        // What the next swap would wait for otherwise.
        self.sinks.iter_mut().for_each(|sink| sink.tend());
        Ok(report)
    }

    /// A candidate was decided on a snapshot; the mesh has gone on since.
    fn catch_up(&self, mut candidate: Candidate) -> Result<Candidate, Refusal> {
        if candidate.revision < self.recent_from {
            return Candidate::shadow(candidate.component, candidate.terms, 0, &self.store);
        }
        let mut missed = Changes::default();
        for (_, changes) in self.recent.iter().filter(|(revision, _)| *revision > candidate.revision) {
            missed.merge(changes.clone());
        }
        candidate.decider.apply(&self.store, &missed);
        match candidate.decider.degraded().first() {
            Some(row) => {
                Err(Refusal::new(Stage::Shadow, format!("{row} changed in the meantime and cannot be decided")))
            }
            None => Ok(candidate),
        }
    }

    /// A swap that moves more than it may is refused; not the first one, which has nothing to be compared with.
    fn guard(&self, next: &Table, changes_max: Option<usize>) -> Result<(), Refusal> {
        let (Some(ruling), Some(changes_max)) = (&self.ruling, changes_max) else { return Ok(()) };
        let changes = ruling.decider.table().diff(next);
        if changes.len() <= changes_max {
            return Ok(());
        }
        let named: Vec<String> = changes.iter().take(GUARD_ROWS).map(|change| change.key.to_string()).collect();
        let more = if changes.len() > named.len() { ", ..." } else { "" };
        Err(Refusal {
            stage: Stage::Guard,
            limit: Some(format!("changesMax {changes_max}")),
            reason: format!(
                "it would change {} decisions, more than {changes_max}: {}{more}",
                changes.len(),
                named.join(", ")
            ),
        })
    }

    /// Decides what the control plane said under rules that are to come.
    fn prepare_upstream(&self, component: &Loaded, terms: &Terms) -> Result<Option<upstream::Prepared>, Refusal> {
        let Some(upstream) = &self.upstream else { return Ok(None) };
        let description = Arc::clone(component.description());
        upstream.prepare(Arc::clone(component) as _, description, terms, &self.store).map(Some)
    }

    /// Prepares all sinks or none.
    fn prepare(&mut self, next: &Table, terms: &Terms) -> Result<f64, Refusal> {
        let start = Instant::now();
        let next = Decided { store: &self.store, table: next };
        let failed = self.sinks.iter_mut().find_map(|sink| {
            sink.declare(terms);
            sink.prepare(next).err()
        });
        if let Some(error) = failed {
            self.sinks.iter_mut().for_each(|sink| sink.abort());
            return Err(Refusal::new(Stage::Prepare, error.to_string()));
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// Commits all sinks in their order. If one fails, those before it are given the active rules again.
    fn commit(&mut self) -> Result<f64, Refusal> {
        let mut first = None;
        for at in 0..self.sinks.len() {
            let Some(sink) = self.sinks.get_mut(at) else { break };
            if let Err(error) = sink.commit() {
                self.sinks.iter_mut().for_each(|sink| sink.abort());
                self.restore(at);
                return Err(Refusal::new(Stage::Commit, error.to_string()));
            }
            first.get_or_insert_with(Instant::now);
        }
        Ok(first.map_or(0.0, |first: Instant| first.elapsed().as_secs_f64() * 1e6))
    }

    fn restore(&mut self, count: usize) {
        let Some(ruling) = &self.ruling else { return };
        let active = Decided { store: &self.store, table: ruling.decider.table() };
        for sink in self.sinks.iter_mut().take(count) {
            sink.declare(&ruling.active.terms);
            if let Err(error) = sink.prepare(active).and_then(|()| sink.commit()) {
                tracing::error!(%error, "a sink could not be given the active rules again");
            }
        }
    }

    fn refuse(&self, named: String, refusal: Refusal) {
        tracing::error!(component = %named, active_rules = self.active_rules(), "{refusal}");
        self.published.refused(Refused { component: named, refusal, active_rules: self.active_rules() });
    }

    fn active_rules(&self) -> u64 {
        self.ruling.as_ref().map_or(0, |ruling| ruling.decider.table().rules)
    }

    fn roll_back(&mut self) -> Result<SwapReport, String> {
        let Some(before) = self.before.clone() else { return Err("there are no rules to go back to".to_owned()) };
        self.publish_again(before).map_err(|refusal| refusal.to_string())
    }

    /// Puts rules in charge that were before, or are.
    fn publish_again(&mut self, rules: Active) -> Result<SwapReport, Refusal> {
        let at = Instant::now();
        match Candidate::shadow(rules.component, rules.terms, 0, &self.store) {
            Ok(candidate) => self.publish(rules.named, at, candidate, None),
            Err(refusal) => {
                self.refuse(rules.named, refusal.clone());
                Err(refusal)
            }
        }
    }

    fn tend(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.tend());
        if let Some(upstream) = &mut self.upstream {
            upstream.tend(&self.store);
        }
        let Some(ruling) = &mut self.ruling else { return };
        let degraded = ruling.decider.degraded().len();
        let moved = ruling.decider.retry_degraded();
        let healed = degraded != ruling.decider.degraded().len();
        // A sink that is behind fails again or gets the whole table, also when nothing moved; a row that is well again may
        // have the decision that it held.
        if !moved.is_empty() || healed || !self.published.behind.load().is_empty() {
            self.update_sinks(&Step { moved, ..Step::default() });
        }
    }
}

fn size(changes: &Changes) -> usize {
    changes.namespaces.len() + changes.gateways.len() + changes.rows.len() + changes.nodes.len()
}
