//! From bytes to a table that could be published: load, decide everything, check. Nothing here touches what is active.

use std::sync::Arc;
use std::time::Instant;

use model::decider::Terms;
use model::input::{Input, Shared};
use model::projection::node_input;
use model::{Decider, Store};

use crate::check;
use crate::component::{Engine, Loaded};
use crate::limits::Limits;
use crate::refusal::{Refusal, Stage};

/// What a candidate is made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// The component.
    pub bytes: Arc<[u8]>,
    /// The SHA-256 that it must have, in hex.
    pub pin: Option<String>,
    /// How decisions are asked for.
    pub terms: Terms,
    /// Limits for this component; the engine's own are never exceeded.
    pub limits: Limits,
}

/// A component with the decisions it would make. Dropping it changes nothing.
pub struct Candidate {
    /// The component.
    pub component: Loaded,
    /// How it is asked.
    pub terms: Terms,
    /// Its decisions, with everything that keeps them up to date.
    pub decider: Decider,
    /// The revision of the mesh that the decisions are about.
    pub revision: u64,
    /// Milliseconds from bytes to description, compiling included.
    pub load_ms: f64,
    /// Milliseconds for deciding everything and checking a sample.
    pub shadow_ms: f64,
}

impl Candidate {
    /// Loads a component and decides the whole mesh with it.
    ///
    /// # Errors
    /// The stage at which it was refused, and why.
    pub fn prepare(engine: &Engine, source: &Source, rules: u64, store: &Store) -> Result<Self, Refusal> {
        let start = Instant::now();
        let component = engine.load(&source.bytes, source.pin.as_deref(), &source.terms.settings, &source.limits)?;
        let loaded = Instant::now();
        let load_ms = (loaded - start).as_secs_f64() * 1e3;
        let candidate = Self::shadow(component, source.terms.clone(), rules, store)?;
        let sample = sample(&candidate.decider, engine.limits().sample_rows);
        if !sample.is_empty() {
            let node = node_input(candidate.component.description(), store.facts());
            let network = &store.facts().network;
            check::row_by_row(&candidate.component, &candidate.terms.settings, &node, network, &sample)?;
        }
        let shadow_ms = loaded.elapsed().as_secs_f64() * 1e3;
        Ok(Self { load_ms, shadow_ms, ..candidate })
    }

    /// Decides the whole mesh with a component that is loaded already: for going back to the rules before.
    ///
    /// # Errors
    /// When a row cannot be decided.
    pub fn shadow(component: Loaded, terms: Terms, rules: u64, store: &Store) -> Result<Self, Refusal> {
        let start = Instant::now();
        let description = Arc::clone(component.description());
        let decider = Decider::new(rules, description, Arc::clone(&component) as _, terms.clone(), store).map_err(
            |(row, failure)| {
                let mut refusal = Refusal::of_call(Stage::Shadow, failure);
                if let Some(row) = row {
                    refusal.reason = format!("{row}: {}", refusal.reason);
                }
                refusal
            },
        )?;
        let shadow_ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(Self { component, terms, decider, revision: store.revision(), load_ms: 0.0, shadow_ms })
    }
}

/// Distinct questions, spread over the table.
fn sample(decider: &Decider, rows: usize) -> Vec<Shared<Input>> {
    let step = (decider.table().len() / rows.max(1)).max(1);
    let mut seen = std::collections::HashSet::new();
    let inputs = decider.table().iter().step_by(step).map(|(_, row)| row.input.clone());
    inputs.filter(|input| seen.insert(input.clone())).take(rows).collect()
}
