//! Rules that fail for some rows for a while: what is held meanwhile, and that nothing is left of it once they answer again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::batch::{Answer, Batch};
use model::input::Input;
use model::{Decision, ResolveFailure, Resolver};
use proptest::collection::vec;
use proptest::prelude::*;
use tests::mesh::history::{History, histories};
use tests::mesh::rules;

use super::*;

/// Answers like the plain rules, but fails where one of certain questions is asked while it is ill.
#[derive(Default)]
struct Fragile {
    ill: AtomicBool,
    /// Whether a failure says which row it was.
    names_row: bool,
}

/// One of three: some rows of nearly every mesh, seldom all.
fn is_hard(input: &Input) -> bool {
    hash(input).is_multiple_of(3)
}

impl Resolver for Fragile {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let hard = batch.subjects.iter().position(|question| is_hard(question.input));
        match hard.filter(|_| self.ill.load(Ordering::Relaxed)) {
            Some(row) => {
                let row = self.names_row.then_some(row);
                Err(ResolveFailure { limit: Some("fuel: 1".into()), what: "too hard".into(), row })
            }
            None => rules::PlainRules.resolve(batch),
        }
    }
}

#[derive(Clone, Debug)]
struct Illness {
    history: History,
    /// By step: whether the rules are ill. What is beyond the list is not.
    ill: Vec<bool>,
    names_row: bool,
}

impl Arbitrary for Illness {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> BoxedStrategy<Self> {
        let case = (histories(STEPS_MAX), vec(any::<bool>(), 2..STEPS_MAX), any::<bool>());
        case.prop_map(|(history, ill, names_row)| Self { history, ill, names_row }).boxed()
    }
}

#[test]
fn rows_that_cannot_be_decided_are_held_and_come_back() {
    let held = AtomicU64::new(0);
    check(HISTORIES / 10, any::<Illness>, |case: &Illness| {
        let rules = Arc::new(Fragile { names_row: case.names_row, ..Fragile::default() });
        let description = rules::description(Reach::Referenced, Fields::default());
        let mut store = Store::new(Facts::default());
        let mut decider = fresh(&description, rules.clone(), &store)?;
        for (at, step) in case.history.steps.iter().enumerate() {
            rules.ill.store(case.ill.get(at).copied().unwrap_or(false), Ordering::Relaxed);
            let before = decider.table().clone();
            let mut changes = Changes::default();
            for operation in step {
                changes.merge(operation.effect().apply(&mut store));
            }
            let announced = decider.apply(&store, &changes);
            invariant_announced_is_the_difference(&before, decider.table(), &announced)?;
            let well = fresh(&description, Arc::new(Fragile::default()), &store)?;
            invariant_held_rows_are_marked_and_the_others_fresh(&before, &decider, well.table())?;
            held.fetch_add(decider.degraded().len() as u64, Ordering::Relaxed);
            // The rules may well be ill when they are asked again.
            let before = decider.table().clone();
            let announced = if at % 3 == 0 { decider.retry_degraded() } else { Vec::new() };
            invariant_announced_is_the_difference(&before, decider.table(), &announced)?;
        }
        rules.ill.store(false, Ordering::Relaxed);
        let before = decider.table().clone();
        let announced = decider.retry_degraded();
        invariant_announced_is_the_difference(&before, decider.table(), &announced)?;
        prop_assert!(decider.degraded().is_empty(), "all are back: {:?}", decider.degraded());
        let well = fresh(&description, Arc::new(Fragile::default()), &store)?;
        prop_assert!(decider.table().iter().all(|(_, row)| row.degraded.is_none()));
        prop_assert_eq!(looks_at_once(decider.table()), looks_at_once(well.table()));
        Ok(())
    });
    assert!(held.into_inner() > 0, "some row is held now and then");
}

/// Everything but when a row last moved.
fn looks_at_once(table: &Table) -> Vec<(RowKey, Subject, Decision)> {
    looks(table).into_iter().map(|(key, (subject, decision, _, _))| (key, subject, decision)).collect()
}

/// `well`: what all rows would be by now, were the rules well.
fn invariant_held_rows_are_marked_and_the_others_fresh(before: &Table, decider: &Decider, well: &Table) -> Checked {
    let table = decider.table();
    let marked = table.iter().filter(|(_, row)| row.degraded.is_some()).map(|(key, _)| key);
    prop_assert_eq!(marked.collect::<Vec<_>>(), decider.degraded().iter().collect::<Vec<_>>());
    prop_assert_eq!(table.len(), well.len());
    for ((key, row), (_, well)) in table.iter().zip(well.iter()) {
        prop_assert_eq!((&row.subject, &row.input), (&well.subject, &well.input), "held or not: {}", key);
        if row.degraded.is_none() {
            prop_assert_eq!(&row.decision, &well.decision, "{} is not held", key);
            continue;
        }
        prop_assert!(is_hard(&row.input), "{} could have been decided", key);
        match before.get(key) {
            None => prop_assert_eq!(&row.decision.choice, &terms().undecided, "{} never was decided", key),
            // Consent that was withdrawn is another test's: `decider/tests.rs`.
            Some(last) if !row.decision.floor => prop_assert_eq!(&row.decision, &last.decision, "{} is held", key),
            Some(_) => prop_assert_eq!(&row.decision.choice, &terms().denied, "{}", key),
        }
    }
    Ok(())
}
