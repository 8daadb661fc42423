//! What ztunnels are told, as a place that decisions are put into: builds resources from objects and decisions, and hands
//! the newest snapshot to the server.

use std::sync::Arc;

use model::sink::{Decided, Sink, SinkError, Step};
use model::{Store, Table};
use tokio::sync::watch;

use crate::clients::Clients;
use crate::mesh::{self, Options};
use crate::resource::Snapshot;

const NAME: &str = "xds";

/// See the module.
pub struct XdsSink {
    options: Options,
    newest: watch::Sender<Arc<Snapshot>>,
    clients: Arc<Clients>,
    current: Option<Built>,
    prepared: Option<Built>,
}

/// A snapshot, and what it was made from.
#[derive(Clone)]
struct Built {
    snapshot: Snapshot,
    store: Store,
    table: Table,
}

impl XdsSink {
    /// A sink, and where the server looks for the newest snapshot. `clients`: whose counters are the sink's.
    pub fn new(options: Options, clients: Arc<Clients>) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (newest, receiver) = watch::channel(Arc::default());
        (Self { options, newest, clients, current: None, prepared: None }, receiver)
    }
}

impl Sink for XdsSink {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&mut self, next: Decided<'_>) -> Result<(), SinkError> {
        let built = match &self.current {
            // The mesh is the one that was followed: only what is decided differently is made anew.
            Some(current) if current.store.revision() == next.store.revision() => {
                let step = Step { moved: current.table.diff(next.table), ..Step::default() };
                current.after(next, &step, &self.options)
            }
            _ => Built::whole(next, &self.options),
        };
        self.prepared = Some(built);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        let Some(built) = self.prepared.take() else {
            return Err(SinkError { sink: NAME, what: "nothing is prepared: prepare a table first".to_owned() });
        };
        self.newest.send_replace(Arc::new(built.snapshot.clone()));
        self.current = Some(built);
        Ok(())
    }

    fn abort(&mut self) {
        self.prepared = None;
    }

    fn update(&mut self, now: Decided<'_>, step: &Step) -> Result<(), SinkError> {
        let Some(current) = &self.current else {
            return Err(SinkError { sink: NAME, what: "there is no snapshot yet: prepare the whole table".to_owned() });
        };
        let built = current.after(now, step, &self.options);
        self.newest.send_replace(Arc::new(built.snapshot.clone()));
        self.current = Some(built);
        Ok(())
    }

    fn counters(&mut self) -> Vec<(String, u64)> {
        let mut counters = self.clients.counters();
        if let Some(Built { snapshot, store, table }) = &self.current {
            let guarded = mesh::guarded(Decided { store, table }, &self.options).count();
            counters.push(("waypoint_services_guarded".to_owned(), guarded as u64));
            counters.push(("addresses".to_owned(), snapshot.addresses.len() as u64));
            counters.push(("authorizations".to_owned(), snapshot.authorizations.len() as u64));
        }
        counters
    }
}

impl Built {
    fn whole(now: Decided<'_>, options: &Options) -> Self {
        Self { snapshot: mesh::snapshot(now, options), store: now.store.clone(), table: now.table.clone() }
    }

    /// The same, one step later. What did not change is shared.
    fn after(&self, now: Decided<'_>, step: &Step, options: &Options) -> Self {
        let mut snapshot = self.snapshot.clone();
        mesh::update(&mut snapshot, &self.store, now, step, options);
        (snapshot.rules, snapshot.revision) = (now.table.rules, now.store.revision());
        Self { snapshot, store: now.store.clone(), table: now.table.clone() }
    }
}
