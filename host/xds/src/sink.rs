//! What ztunnels are told, as a place that decisions are put into: builds resources from objects and decisions, and hands
//! the newest snapshot to the server.

use std::sync::Arc;

use model::decider::Terms;
use model::decision::Choice;
use model::sink::{Decided, Sink, SinkError, Step};
use model::{Store, Table};
use tokio::sync::watch;

use crate::clients::Clients;
use crate::fallback::{Instead, Objections, Outlet};
use crate::mesh::{self, Options};
use crate::resource::Snapshot;
use crate::rewrite::WaypointFields;
use crate::waypoint;

const NAME: &str = "xds";

/// See the module.
pub struct XdsSink {
    options: Options,
    newest: Outlet,
    clients: Arc<Clients>,
    /// What the rules say that are to be prepared, once they were declared.
    declared: Option<Choice>,
    current: Option<Built>,
    prepared: Option<Built>,
}

/// A snapshot, and what it was made from.
#[derive(Clone)]
struct Built {
    snapshot: Snapshot,
    store: Store,
    table: Table,
    /// What a decision gives way to that a client rejects: what the rules say for rows that are not decided.
    undecided: Choice,
}

impl XdsSink {
    /// A sink, and where the server looks for the newest snapshot. `clients`: whose counters are the sink's.
    pub fn new(options: Options, clients: Arc<Clients>) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (newest, receiver) = Outlet::new();
        (Self { options, newest, clients, declared: None, current: None, prepared: None }, receiver)
    }

    /// Where the server says what clients reject.
    pub fn objections(&self) -> Objections {
        self.newest.objections()
    }
}

impl Sink for XdsSink {
    fn name(&self) -> &'static str {
        NAME
    }

    fn declare(&mut self, terms: &Terms) {
        self.declared = Some(terms.undecided.clone());
    }

    fn prepare(&mut self, next: Decided<'_>) -> Result<(), SinkError> {
        let mut built = match &self.current {
            // The mesh is the one that was followed: only what is decided differently is made anew.
            Some(current) if current.store.revision() == next.store.revision() => {
                let step = Step { moved: current.table.diff(next.table), ..Step::default() };
                current.after(next, &step, &self.options)
            }
            _ => Built::whole(next, &self.options),
        };
        let declared = self.declared.take().or_else(|| Some(self.current.as_ref()?.undecided.clone()));
        built.undecided = declared.unwrap_or(built.undecided);
        self.prepared = Some(built);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        let Some(built) = self.prepared.take() else {
            return Err(SinkError { sink: NAME, what: "nothing is prepared: prepare a table first".to_owned() });
        };
        self.newest.publish(built.told());
        self.current = Some(built);
        Ok(())
    }

    fn abort(&mut self) {
        (self.declared, self.prepared) = (None, None);
    }

    fn update(&mut self, now: Decided<'_>, step: &Step) -> Result<(), SinkError> {
        let Some(current) = &self.current else {
            return Err(SinkError { sink: NAME, what: "there is no snapshot yet: prepare the whole table".to_owned() });
        };
        let built = current.after(now, step, &self.options);
        self.newest.publish(built.told());
        self.current = Some(built);
        Ok(())
    }

    fn counters(&mut self) -> Vec<(String, u64)> {
        let mut counters = self.clients.counters();
        if let Some(Built { snapshot, store, table, .. }) = &self.current {
            let guarded = mesh::guarded(Decided { store, table }, &self.options).count();
            counters.push(("waypoint_services_guarded".to_owned(), guarded as u64));
            counters.push(("fallbacks".to_owned(), self.newest.fallbacks() as u64));
            counters.push(("addresses".to_owned(), snapshot.addresses.len() as u64));
            counters.push(("authorizations".to_owned(), snapshot.authorizations.len() as u64));
        }
        counters
    }
}

impl Built {
    fn whole(now: Decided<'_>, options: &Options) -> Self {
        let (store, table) = (now.store.clone(), now.table.clone());
        Self { snapshot: mesh::snapshot(now, options), store, table, undecided: Choice::Blocked }
    }

    /// What clients are told, as far as they take it.
    fn told(&self) -> Snapshot {
        let waypoint = (self.undecided != Choice::Direct).then(waypoint::blocked);
        let instead = Instead::Waypoints(WaypointFields { waypoint, weighted: Vec::new() });
        Snapshot { instead, ..self.snapshot.clone() }
    }

    /// The same, one step later. What did not change is shared.
    fn after(&self, now: Decided<'_>, step: &Step, options: &Options) -> Self {
        let mut snapshot = self.snapshot.clone();
        mesh::update(&mut snapshot, &self.store, now, step, options);
        (snapshot.rules, snapshot.revision) = (now.table.rules, now.store.revision());
        let undecided = self.undecided.clone();
        Self { snapshot, store: now.store.clone(), table: now.table.clone(), undecided }
    }
}
