//! What readers see: the active rules with their table, and the history of swaps and refusals. One writer, the
//! conductor; a reader takes a snapshot by one pointer load and is never waited for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use cluster::node_rules::{Phase, Running, Since};
use cluster::write_back;
use engine::{Loaded, Refusal, Stage};
use model::Table;
use model::decider::Terms;
use model::sink::{Decided, Sink, SinkError, Step};
use serde::Serialize;
use tokio::sync::watch;

use crate::kubernetes;
use crate::upstream::Seen;

/// Swaps and refusals that are remembered.
const HISTORY_MAX: usize = 256;

/// Digits of a digest that people are shown: enough to tell components apart.
const DIGEST_SHOWN: usize = 12;

/// The rules in force.
#[derive(Clone)]
pub(crate) struct Active {
    pub(crate) rules: u64,
    pub(crate) component: Loaded,
    pub(crate) terms: Terms,
    /// How the operator calls the component.
    pub(crate) named: String,
}

/// A swap that was carried out.
#[derive(Clone, Debug, Serialize)]
pub struct SwapReport {
    /// The number of the rules.
    pub rules: u64,
    /// The revision of the mesh they were first published at.
    pub revision: u64,
    /// How the operator calls the component.
    pub component: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// Rows decided.
    pub decisions: usize,
    /// Distinct questions they came down to.
    pub distinct: usize,
    /// Rows that a sink treats differently from before.
    pub changed: usize,
    /// Milliseconds for loading, compiling included.
    pub load_ms: f64,
    /// Milliseconds for deciding everything and checking a sample.
    pub shadow_ms: f64,
    /// Milliseconds for preparing all sinks.
    pub prepare_ms: f64,
    /// Microseconds from the first sink's commit to the last one's: the window in which they differ.
    pub window_us: f64,
    /// Milliseconds from the end of the debounce until every sink had committed.
    pub swap_ms: f64,
}

/// A candidate that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// How the operator calls the component.
    pub component: String,
    /// Where and why.
    #[serde(flatten)]
    pub refusal: Refusal,
    /// The rules that stayed in force, 0 if there were none.
    pub active_rules: u64,
}

/// What readers see of the swaps and refusals.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct History {
    pub(crate) swaps: VecDeque<Arc<SwapReport>>,
    pub(crate) refused: VecDeque<Arc<Refused>>,
    pub(crate) swaps_total: u64,
    pub(crate) refused_total: u64,
    /// The same by the stage at which they were.
    pub(crate) refused_at: BTreeMap<Stage, u64>,
}

/// Shared between the conductor and all readers.
#[derive(Default)]
pub struct Published {
    pub(crate) table: ArcSwap<Table>,
    pub(crate) active: ArcSwapOption<Active>,
    pub(crate) history: ArcSwap<History>,
    /// Problems of the last look at the manifests.
    pub(crate) problems: ArcSwap<Vec<String>>,
    /// Faults of manifests since the start, each counted when it appeared.
    pub(crate) manifest_errors: AtomicU64,
    /// Sinks that have fallen behind, with the reason.
    pub(crate) behind: ArcSwap<Vec<SinkError>>,
    /// What this node runs, for who tells it on.
    pub(crate) running: watch::Sender<Running>,
    /// How following the cluster goes, where it is followed.
    pub(crate) kubernetes: Arc<ArcSwap<Option<kubernetes::Seen>>>,
    /// How leading and writing back goes.
    pub(crate) status: watch::Sender<Arc<write_back::Seen>>,
    /// What a control plane told, where there is one.
    pub(crate) upstream: Arc<Seen>,
}

impl Published {
    /// The table as it is now; a reader keeps it as long as it likes.
    pub fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    pub(crate) fn swapped(&self, report: SwapReport) {
        let mut history = History::clone(&self.history.load());
        history.swaps_total += 1;
        self.running.send_replace(Running {
            rules: report.rules,
            revision: report.revision,
            component: report.component.clone(),
            digest: report.digest.chars().take(DIGEST_SHOWN).collect(),
            state: Phase::Active,
            reason: String::new(),
            since: Since::of(SystemTime::now()),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
        });
        push(&mut history.swaps, report);
        self.history.store(Arc::new(history));
    }

    pub(crate) fn refused(&self, refused: Refused) {
        let mut history = History::clone(&self.history.load());
        history.refused_total += 1;
        *history.refused_at.entry(refused.refusal.stage).or_default() += 1;
        self.running.send_modify(|running| {
            running.state = Phase::Refused;
            running.reason = format!("{}: {}", refused.component, refused.refusal);
            running.agent = env!("CARGO_PKG_VERSION").to_owned();
        });
        push(&mut history.refused, refused);
        self.history.store(Arc::new(history));
    }
}

fn push<T>(list: &mut VecDeque<Arc<T>>, item: T) {
    if list.len() >= HISTORY_MAX {
        list.pop_front();
    }
    list.push_back(Arc::new(item));
}

/// The readers' table as a sink: preparing keeps a clone, committing is one pointer store.
pub struct TableSink {
    published: Arc<Published>,
    prepared: Option<Table>,
    /// The table before, until the next swap or tending: whoever drops the last reference to a table frees all its rows,
    /// and that must not be a reader.
    retired: Option<Arc<Table>>,
}

impl TableSink {
    /// A sink over what readers see.
    pub fn new(published: Arc<Published>) -> Self {
        Self { published, prepared: None, retired: None }
    }
}

impl Sink for TableSink {
    fn name(&self) -> &'static str {
        "table"
    }

    fn prepare(&mut self, next: Decided<'_>) -> Result<(), SinkError> {
        // Freed now, and not between the commits of two sinks.
        self.retired = None;
        self.prepared = Some(next.table.clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        let Some(next) = self.prepared.take() else {
            return Err(SinkError { sink: self.name(), what: "nothing is prepared".to_owned() });
        };
        self.retired = Some(self.published.table.swap(Arc::new(next)));
        Ok(())
    }

    fn abort(&mut self) {
        self.prepared = None;
    }

    fn update(&mut self, now: Decided<'_>, _: &Step) -> Result<(), SinkError> {
        self.published.table.store(Arc::new(now.table.clone()));
        Ok(())
    }

    fn tend(&mut self) {
        self.retired = None;
    }
}
