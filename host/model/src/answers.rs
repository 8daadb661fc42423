//! The answers to distinct questions: each is asked once, in batches, and forgotten when nobody refers to it any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::batch::Batch;
use crate::decider::{BATCH_ROWS_MAX, FAILED_CALLS_MAX, ResolveFailure, Resolver};
use crate::decision::Decision;
use crate::input::{Input, NodeInput, Shared};
use crate::name::Name;

/// What is asked with, and what was answered.
pub(crate) struct Answers {
    resolver: Arc<dyn Resolver>,
    settings: Arc<str>,
    node: NodeInput,
    network: Name,
    known: HashMap<Shared<Input>, Arc<Decision>>,
    /// How many are kept before those that nobody refers to are forgotten.
    known_max: usize,
}

impl Answers {
    pub(crate) fn new(resolver: Arc<dyn Resolver>, settings: Arc<str>, node: NodeInput, network: Name) -> Self {
        Self { resolver, settings, node, network, known: HashMap::new(), known_max: 0 }
    }

    /// The answer, and the question as it is kept: one value for all that ask the same.
    pub(crate) fn get(&self, input: &Shared<Input>) -> Option<(&Shared<Input>, &Arc<Decision>)> {
        self.known.get_key_value(input)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Those of the questions that were not asked yet, each once. Questions of one namespace share it and most of their
    /// Gateways: beside each other these are passed once.
    pub(crate) fn unknown<'i>(&self, inputs: impl Iterator<Item = &'i Shared<Input>>) -> Vec<Shared<Input>> {
        let mut seen = HashSet::new();
        let mut unknown: Vec<_> =
            inputs.filter(|input| !self.known.contains_key(*input) && seen.insert(*input)).cloned().collect();
        unknown.sort_by(|a, b| a.namespace.name.cmp(&b.namespace.name));
        unknown
    }

    /// Asks one batch; `applied` is what counts of each decision.
    fn ask(
        &mut self,
        inputs: &[Shared<Input>],
        applied: &impl Fn(&Input, Decision) -> Decision,
    ) -> Result<(), ResolveFailure> {
        let batch = Batch::new(&self.settings, &self.node, inputs);
        let decisions = batch.accept(self.resolver.resolve(&batch)?, &self.network)?;
        for (input, decision) in inputs.iter().zip(decisions) {
            self.known.insert(input.clone(), Arc::new(applied(input, decision)));
        }
        Ok(())
    }

    /// Asks all of them.
    ///
    /// # Errors
    /// The first failure, with the question where it is one's.
    pub(crate) fn ask_all(
        &mut self,
        inputs: &[Shared<Input>],
        applied: &impl Fn(&Input, Decision) -> Decision,
    ) -> Result<(), (Option<Shared<Input>>, ResolveFailure)> {
        for batch in inputs.chunks(BATCH_ROWS_MAX) {
            self.ask(batch, applied).map_err(|failure| {
                let row = failure.row.or((batch.len() == 1).then_some(0));
                (row.and_then(|row| batch.get(row)).cloned(), failure)
            })?;
        }
        self.known_max = 2 * self.known.len() + BATCH_ROWS_MAX;
        Ok(())
    }

    /// Asks all of them; a batch that fails is halved until the questions that fail are alone, so that they cost no other its
    /// answer. What failed.
    pub(crate) fn ask_failing_static(
        &mut self,
        inputs: &[Shared<Input>],
        applied: &impl Fn(&Input, Decision) -> Decision,
    ) -> HashMap<Shared<Input>, ResolveFailure> {
        let mut failures = HashMap::new();
        let mut failed = 0;
        let mut waiting: Vec<&[Shared<Input>]> = inputs.chunks(BATCH_ROWS_MAX).rev().collect();
        let mut last: Option<ResolveFailure> = None;
        while let Some(batch) = waiting.pop() {
            let failure = match &last {
                Some(last) if failed == FAILED_CALLS_MAX => last.clone(),
                _ => match self.ask(batch, applied) {
                    Ok(()) => continue,
                    Err(failure) => {
                        failed += 1;
                        failure
                    }
                },
            };
            if batch.len() == 1 || failed == FAILED_CALLS_MAX {
                failures.extend(batch.iter().map(|input| (input.clone(), failure.clone())));
            } else {
                let (first, second) = batch.split_at(batch.len() / 2);
                waiting.extend([second, first]);
            }
            last = Some(failure);
        }
        failures
    }

    /// Forgets answers that nobody refers to, once there may be as many as of the others.
    pub(crate) fn sweep(&mut self) {
        if self.known.len() > self.known_max {
            self.known.retain(|input, _| !input.is_unique());
            self.known_max = 2 * self.known.len() + BATCH_ROWS_MAX;
        }
    }
}
