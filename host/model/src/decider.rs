//! Rows in, decisions out: asks a [`Resolver`] each distinct question once, in batches, and keeps the table.
//!
//! A first decision of everything either succeeds whole or is refused with a reason (a candidate changes nothing).
//! After that it fails static: a row that cannot be decided keeps its last good answer, or takes the declared default,
//! and is marked. It knows neither WASM nor threads; a resolver may be a component or plain code.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::answers::Answers;
use crate::batch::{Answer, Batch, WrongAnswer};
use crate::decision::{Choice, Decision, OnUnreachable};
use crate::description::Description;
use crate::floor;
use crate::input::{Input, Shared};
use crate::projection::{self, Moved, Projected, Projection, node_input};
use crate::sorted::{Building, Sorted};
use crate::store::{Changes, RowObject, Store};
use crate::table::{Row, RowChange, RowKey, Table};

/// Questions of one call. Above this a call costs no less per row; below it a trap costs fewer rows a second call.
pub const BATCH_ROWS_MAX: usize = 256;
/// Calls of one change that may fail; each may take all the time a call has. What is not asked by then takes the last
/// failure. Enough to single out a dozen rows.
pub const FAILED_CALLS_MAX: usize = 128;

/// What answers questions.
pub trait Resolver: Send + Sync {
    /// One answer for each subject, in their order.
    ///
    /// # Errors
    /// Why there is none. It must not depend on earlier calls.
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure>;
}

/// Why a resolver gave no answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", .limit.as_ref().map(|limit| format!(" [limit: {limit}]")).unwrap_or_default())]
pub struct ResolveFailure {
    /// The limit that was reached, with its figure, where it was one.
    pub limit: Option<String>,
    /// What happened.
    pub what: String,
    /// The row of the batch concerned, where it is one row.
    pub row: Option<usize>,
}

impl From<(Option<usize>, WrongAnswer)> for ResolveFailure {
    fn from((row, wrong): (Option<usize>, WrongAnswer)) -> Self {
        Self { limit: None, what: format!("wrong answer: {wrong}"), row }
    }
}

/// What the operator declared about deciding; the same for all rows.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The component's settings, as it is given them.
    pub settings: Arc<str>,
    /// What a row gets whose waypoint's owner does not admit it although the component chose it. Istio: direct.
    pub denied: Choice,
    /// What a row gets that cannot be decided and never was.
    pub undecided: Choice,
    /// What happens to connections while none of a row's waypoints has an address that is known: a hostname whose service
    /// is not there (yet). None: what the component said about waypoints that cannot be reached.
    pub unresolved: Option<OnUnreachable>,
}

impl Terms {
    /// The decision as it counts: above the floor, and with what was declared for waypoints whose address is not known.
    fn applied(&self, input: &Input, decision: Decision) -> Decision {
        let mut decision = floor::apply(input, decision, &self.denied);
        if let Some(declared) = self.unresolved.filter(|_| decision.is_unresolved()) {
            decision.on_unreachable = declared;
        }
        decision
    }
}

/// How single rows are decided beside a table, for instance to see what a change would do. Costs one question, however
/// large the mesh is.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// What answers.
    pub resolver: &'a dyn Resolver,
    /// What it declared under these terms.
    pub description: &'a Arc<Description>,
    /// How it is asked.
    pub terms: &'a Terms,
}

impl Asking<'_> {
    /// The decision that [`Decider::new`] would come to for this row; none where it is not published.
    ///
    /// # Errors
    /// As the resolver's.
    pub fn decide(&self, store: &Store, key: &RowKey) -> Result<Option<Decision>, ResolveFailure> {
        let Some(input) = Projection::input_of(self.description, store, key) else {
            return Ok(None);
        };
        let node = node_input(self.description, store.facts());
        let batch = Batch::new(&self.terms.settings, &node, std::slice::from_ref(&input));
        let decisions = batch.accept(self.resolver.resolve(&batch)?, &store.facts().network)?;
        Ok(decisions.into_iter().next().map(|decision| self.terms.applied(&input, decision)))
    }
}

/// Everything that is asked with, and the table of answers, for one set of rules.
pub struct Decider {
    terms: Terms,
    projection: Projection,
    answers: Answers,
    degraded: BTreeSet<RowKey>,
    table: Table,
}

impl Decider {
    /// Decides every row of `store` under new rules.
    ///
    /// # Errors
    /// When any row cannot be decided: the row where known, and why.
    pub fn new(
        rules: u64,
        description: Arc<Description>,
        resolver: Arc<dyn Resolver>,
        terms: Terms,
        store: &Store,
    ) -> Result<Self, (Option<RowKey>, ResolveFailure)> {
        let node = node_input(&description, store.facts());
        let settings = Arc::clone(&terms.settings);
        let (projection, inputs) = Projection::of(description, store);
        let mut answers = Answers::new(resolver, settings, node, store.facts().network.clone());
        // Most rows are asked what the one before was.
        let runs = inputs.chunk_by(|a, b| a.is(b)).filter_map(<[_]>::first);
        let unknown = answers.unknown(runs);
        answers.ask_all(&unknown, &|input, decision| terms.applied(input, decision)).map_err(|(asked, failure)| {
            let row = asked.and_then(|asked| inputs.iter().position(|input| *input == asked));
            (row.and_then(|row| store.row_keys().nth(row)), failure)
        })?;
        let rows = decided_rows(store, &answers, inputs);
        let table = Table::new(rules, store.revision()).with_rows(rows);
        Ok(Self { terms, projection, answers, degraded: BTreeSet::new(), table })
    }

    /// The decisions as they are.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// How many distinct questions the rows come down to.
    pub fn distinct(&self) -> usize {
        self.table.iter().map(|(_, row)| &row.input).collect::<HashSet<_>>().len()
    }

    /// Rows that hold an answer which is not fresh.
    pub fn degraded(&self) -> &BTreeSet<RowKey> {
        &self.degraded
    }

    /// Gives the table another number, when it takes the place of a table published in the meantime.
    pub fn renumber(&mut self, rules: u64) {
        self.table.rules = rules;
    }

    /// Follows a change of `store`, which has it applied. Returns the rows that moved.
    pub fn apply(&mut self, store: &Store, changes: &Changes) -> Vec<RowChange> {
        let concerned = self.projection.apply(store, changes, &self.table);
        self.table.revision = store.revision();
        self.settle(concerned)
    }

    /// Asks again for all rows whose answer is not fresh. Returns the rows that moved.
    pub fn retry_degraded(&mut self) -> Vec<RowChange> {
        let as_they_are = |key: &RowKey| {
            let row = self.table.get(key)?;
            Some((key.clone(), Some(Projected { subject: row.subject.clone(), input: row.input.clone() })))
        };
        self.settle(self.degraded.iter().filter_map(as_they_are).collect())
    }

    fn settle(&mut self, concerned: Vec<Moved>) -> Vec<RowChange> {
        let inputs = concerned.iter().filter_map(|(_, row)| Some(&row.as_ref()?.input));
        let inputs = self.answers.unknown(inputs);
        let terms = &self.terms;
        let failures = self.answers.ask_failing_static(&inputs, &|input, decision| terms.applied(input, decision));
        let mut moved = Vec::new();
        for (key, row) in concerned {
            let fresh = row.as_ref().and_then(|row| self.decided(row));
            if fresh.is_some() || row.is_none() {
                self.degraded.remove(&key);
            }
            let after = fresh.or_else(|| Some(self.held(&key, row?, &failures)));
            self.place(key, after, &mut moved);
        }
        self.answers.sweep();
        moved
    }

    /// The row with its fresh answer; none when there is none.
    fn decided(&self, row: &Projected) -> Option<Row> {
        // One value for all rows that ask the same: it takes the room once, and tells when nobody refers to the answer.
        let (input, decision) = self.answers.get(&row.input)?;
        Some(Row {
            subject: row.subject.clone(),
            input: input.clone(),
            decision: Arc::clone(decision),
            revision: self.table.revision,
            degraded: None,
        })
    }

    /// The row with its last good answer or the declared default.
    fn held(&mut self, key: &RowKey, row: Projected, failures: &HashMap<Shared<Input>, ResolveFailure>) -> Row {
        let why = failures.get(&row.input).map_or_else(|| "no answer".to_owned(), ToString::to_string);
        let decision = match self.table.get(key) {
            // Consent that was withdrawn in the meantime counts all the same.
            Some(last) if floor::is_withdrawn(&row.input, &last.decision) => {
                Arc::new(floor::denied(&self.terms.denied))
            }
            Some(last) => last.decision.clone(),
            None => Arc::new(Decision::without_waypoint(self.terms.undecided.clone(), None)),
        };
        self.degraded.insert(key.clone());
        let Projected { subject, input } = row;
        Row { subject, input, decision, revision: self.table.revision, degraded: Some(why.into()) }
    }

    /// Puts a row into the table; one that only looks different keeps its revision and is not told.
    fn place(&mut self, key: RowKey, after: Option<Row>, moved: &mut Vec<RowChange>) {
        // The table is not looked at first: in a large mesh, that costs more than all the rest.
        let before = self.table.set(key.clone(), after.clone());
        match (before, after) {
            (None, None) => {}
            (Some(before), Some(mut after)) if before.same_effect(&after) => {
                after.revision = before.revision;
                self.table.set(key, Some(after));
            }
            (before, after) => moved.push(RowChange { key, before, after }),
        }
    }
}

/// All rows of the store, of which each has an answer; `inputs` is what they ask, in their order.
fn decided_rows(store: &Store, answers: &Answers, inputs: Vec<Shared<Input>>) -> Sorted<(RowKey, Row)> {
    let revision = store.revision();
    let mut inputs = inputs.into_iter();
    let mut last: Option<(&Shared<Input>, &Arc<Decision>)> = None;
    let mut rows = Building::default();
    let name = |object: &RowObject<'_>| object.meta().name.bytes().next().map_or(0, usize::from);
    store.each_row(name, |object| {
        let Some(input) = inputs.next() else { return };
        if !last.is_some_and(|(last, _)| last.is(&input)) {
            last = answers.get(&input);
        }
        let Some((known, decision)) = last else { return };
        // As [`Decider::decided`].
        let input = if known.is(&input) { input } else { known.clone() };
        let (subject, decision) = (projection::subject(store, &object), Arc::clone(decision));
        rows.push((object.key(), Row { subject, input, decision, revision, degraded: None }));
    });
    rows.made()
}

#[cfg(test)]
mod tests;
