//! Decisions for a mesh that a control plane tells of, by the same component and with the same contract as
//! [`crate::Decider`]: the first decision of everything succeeds whole or is refused; after that it fails static.
//!
//! One rule is this one's own: a waypoint only serves what it was programmed with (R98). A choice outside what the control
//! plane gave a subject is refused, and what the control plane said stays, unless the operator declared that the waypoints
//! accept it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use imbl::OrdMap;

use super::questions::{Question, Questions, is_known_by_address};
use super::{LearnedChanges, LearnedMesh, LearnedSubject};
use crate::answers::Answers;
use crate::decider::{ResolveFailure, Resolver, Terms};
use crate::decision::{Choice, Decision, Target, WaypointAddress};
use crate::description::Description;
use crate::floor;
use crate::gateway::GatewayKey;
use crate::input::{Input, Shared, SubjectKind};
use crate::name::Name;
use crate::projection::node_input;
use crate::store::{Changes, Store};
use crate::table::RowKind;

/// The reason of a decision that was refused because a waypoint holds no configuration for the subject (R98).
pub const NOT_PROGRAMMED: &str = "NotProgrammed";

/// How a learned mesh is decided.
#[derive(Clone, Debug)]
pub struct LearnedTerms {
    /// As for every mesh. What counts for a row that was never decided should be [`Choice::Keep`] here.
    pub terms: Terms,
    /// The waypoints accept what they were not programmed with: the operator's word.
    pub allow_unprogrammed: bool,
}

/// A decided resource.
#[derive(Clone, Debug)]
pub struct LearnedRow {
    /// What the component was asked; asking again gives the same.
    pub input: Shared<Input>,
    /// What was decided. [`Choice::Keep`]: the bytes of the resource stay as they are.
    pub decision: Arc<Decision>,
    /// What the component chose, where that was refused because a waypoint holds no configuration for the subject.
    pub refused: Option<Arc<Decision>>,
    /// The revision at which it last moved.
    pub revision: u64,
    /// Why it holds its last good answer, or the declared default, instead of a fresh one.
    pub degraded: Option<Arc<String>>,
}

impl LearnedRow {
    /// Whether the same is done for both.
    pub fn same_effect(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.decision, &other.decision) || self.decision == other.decision
    }

    /// Whether it holds the very same, without a look at it. Not of those that are degraded, which are few.
    fn is(&self, other: &Self) -> bool {
        let refused = |it: &Self| it.refused.as_ref().map(Arc::as_ptr);
        self.input.is(&other.input)
            && Arc::ptr_eq(&self.decision, &other.decision)
            && refused(self) == refused(other)
            && self.revision == other.revision
            && self.degraded.is_none()
            && other.degraded.is_none()
    }
}

/// A resource with another decision, or none any more.
#[derive(Clone, Debug)]
pub struct LearnedChange {
    /// The resource.
    pub name: Name,
    /// Its decision; none: it is gone.
    pub row: Option<Arc<LearnedRow>>,
}

/// What decides a learned mesh, and the decisions, for one set of rules.
pub struct LearnedDecider {
    terms: LearnedTerms,
    questions: Questions,
    answers: Answers,
    rows: OrdMap<Name, Arc<LearnedRow>>,
    degraded: BTreeSet<Name>,
    refused: BTreeSet<Name>,
    /// One value for all rows whose choice was refused.
    not_programmed: Arc<Decision>,
}

impl LearnedDecider {
    /// Decides everything under new rules. `store`: what other sources know; may be empty.
    ///
    /// # Errors
    /// When anything cannot be decided: its name where known, and why.
    pub fn new(
        description: Arc<Description>,
        resolver: Arc<dyn Resolver>,
        terms: LearnedTerms,
        store: &Store,
        mesh: &LearnedMesh,
        revision: u64,
    ) -> Result<Self, (Option<Name>, ResolveFailure)> {
        let node = node_input(&description, store.facts());
        let settings = Arc::clone(&terms.terms.settings);
        let not_programmed = Decision::without_waypoint(Choice::Keep, Some(NOT_PROGRAMMED));
        let mut decider = Self {
            terms,
            questions: Questions::new(description),
            answers: Answers::new(resolver, settings, node, store.facts().network.clone()),
            rows: OrdMap::new(),
            degraded: BTreeSet::new(),
            refused: BTreeSet::new(),
            not_programmed: Arc::new(Decision { floor: true, ..not_programmed }),
        };
        let asked: Vec<_> = decider.asked(store, mesh, mesh.iter());
        let inputs = decider.answers.unknown(asked.iter().map(|(_, question)| &question.input));
        let terms = &decider.terms.terms;
        decider.answers.ask_all(&inputs, &|input, decision| applied(terms, input, decision)).map_err(
            |(input, failure)| {
                let is_it = |question: &Question| Some(&question.input) == input.as_ref();
                (asked.iter().find(|(_, question)| is_it(question)).map(|(name, _)| name.clone()), failure)
            },
        )?;
        for (name, question) in asked {
            decider.settle(name, &question, &HashMap::new(), revision, &mut Vec::new());
        }
        Ok(decider)
    }

    /// The decisions as they are, in the order of the names. A clone costs next to nothing.
    pub fn rows(&self) -> &OrdMap<Name, Arc<LearnedRow>> {
        &self.rows
    }

    /// Resources that hold an answer which is not fresh.
    pub fn degraded(&self) -> &BTreeSet<Name> {
        &self.degraded
    }

    /// Resources for which the component chose a waypoint that was not programmed for them.
    pub fn refused(&self) -> &BTreeSet<Name> {
        &self.refused
    }

    /// How many distinct questions are remembered.
    pub fn distinct(&self) -> usize {
        self.answers.len()
    }

    /// Follows a change of `store` and of `mesh`, which have it applied. What moved, in the order of the names. A change of a
    /// Gateway looks at every resource, for any may have been given it.
    pub fn apply(
        &mut self,
        store: &Store,
        changes: &Changes,
        mesh: &LearnedMesh,
        learned: &LearnedChanges,
        revision: u64,
    ) -> Vec<LearnedChange> {
        self.questions.forget(changes, learned);
        let concerned = self.concerned(changes, mesh, learned);
        self.decide(store, mesh, concerned, revision)
    }

    /// Asks again for everything whose answer is not fresh. What moved.
    pub fn retry_degraded(&mut self, store: &Store, mesh: &LearnedMesh, revision: u64) -> Vec<LearnedChange> {
        let concerned = self.degraded.clone();
        self.decide(store, mesh, concerned, revision)
    }

    fn concerned(&self, changes: &Changes, mesh: &LearnedMesh, learned: &LearnedChanges) -> BTreeSet<Name> {
        let waypoints = self.questions.concerning(learned);
        let around = self.questions.looks_around() && (learned.others || !waypoints.is_empty());
        if around || !changes.gateways.is_empty() {
            return mesh.iter().map(|(name, _)| name.clone()).chain(learned.names.iter().cloned()).collect();
        }
        let mut concerned = learned.names.clone();
        concerned.extend(changes.rows.iter().filter_map(|row| mesh.with_row(row).cloned()));
        // Who has a host may be another entry now (R42), of any namespace that has entries.
        let entries = changes.rows.iter().filter(|row| row.kind == RowKind::ServiceEntry);
        let entries: BTreeSet<&Name> = entries.map(|row| &row.namespace).collect();
        let is_concerned = |subject: &LearnedSubject| {
            changes.namespaces.contains(&subject.namespace)
                || subject.kind == SubjectKind::ServiceEntry && entries.contains(&subject.namespace)
                || subject.upstream.iter().any(|waypoint| waypoints.contains(waypoint))
        };
        if !changes.namespaces.is_empty() || !entries.is_empty() || !waypoints.is_empty() {
            concerned.extend(mesh.iter().filter(|(_, it)| is_concerned(it)).map(|(name, _)| name.clone()));
        }
        concerned
    }

    fn asked<'m>(
        &mut self,
        store: &Store,
        mesh: &LearnedMesh,
        subjects: impl Iterator<Item = (&'m Name, &'m Arc<LearnedSubject>)>,
    ) -> Vec<(Name, Question)> {
        // Most ask the same: kept once, while all are held at a time.
        let mut same = HashSet::new();
        let mut asked = Vec::new();
        for (name, subject) in subjects {
            let mut question = self.questions.question(store, mesh, subject);
            match same.get(&question.input) {
                Some(input) => question.input = Shared::clone(input),
                None => drop(same.insert(question.input.clone())),
            }
            asked.push((name.clone(), question));
        }
        asked
    }

    fn decide(
        &mut self,
        store: &Store,
        mesh: &LearnedMesh,
        concerned: BTreeSet<Name>,
        revision: u64,
    ) -> Vec<LearnedChange> {
        let there = concerned.iter().filter_map(|name| Some((name, mesh.get(name)?)));
        let mut asked: BTreeMap<Name, Question> = self.asked(store, mesh, there).into_iter().collect();
        let inputs = self.answers.unknown(asked.values().map(|question| &question.input));
        let terms = &self.terms.terms;
        let failures = self.answers.ask_failing_static(&inputs, &|input, decision| applied(terms, input, decision));
        let mut moved = Vec::new();
        for name in concerned {
            match asked.remove(&name) {
                Some(question) => self.settle(name, &question, &failures, revision, &mut moved),
                None => self.forget(name, &mut moved),
            }
        }
        self.answers.sweep();
        moved
    }

    fn forget(&mut self, name: Name, moved: &mut Vec<LearnedChange>) {
        self.degraded.remove(&name);
        self.refused.remove(&name);
        if self.rows.remove(&name).is_some() {
            moved.push(LearnedChange { name, row: None });
        }
    }

    /// Puts in what was decided; what only looks different keeps its revision and is not told.
    fn settle(
        &mut self,
        name: Name,
        question: &Question,
        failures: &HashMap<Shared<Input>, ResolveFailure>,
        revision: u64,
        moved: &mut Vec<LearnedChange>,
    ) {
        let before = self.rows.get(&name).cloned();
        let mut row = match self.answers.get(&question.input) {
            Some((input, decision)) => {
                let (input, chosen) = (input.clone(), Arc::clone(decision));
                let refused = !self.terms.allow_unprogrammed && !is_programmed(&chosen, &question.programmed);
                let (decision, refused) =
                    if refused { (Arc::clone(&self.not_programmed), Some(chosen)) } else { (chosen, None) };
                LearnedRow { input, decision, refused, revision, degraded: None }
            }
            None => self.held(before.as_deref(), question, failures.get(&question.input), revision),
        };
        if row.degraded.is_some() {
            self.degraded.insert(name.clone())
        } else {
            self.degraded.remove(&name)
        };
        if row.refused.is_some() {
            self.refused.insert(name.clone())
        } else {
            self.refused.remove(&name)
        };
        let same = before.filter(|before| before.same_effect(&row));
        if let Some(before) = &same {
            row.revision = before.revision;
        }
        let row = self.shared(&name, row);
        self.rows.insert(name.clone(), Arc::clone(&row));
        if same.is_none() {
            moved.push(LearnedChange { name, row: Some(row) });
        }
    }

    /// The row of the resource before it where that is the same: most beside one another are.
    fn shared(&self, name: &Name, row: LearnedRow) -> Arc<LearnedRow> {
        let before = self.rows.get_prev(name).map(|(_, before)| before).filter(|before| before.is(&row));
        before.map_or_else(|| Arc::new(row), Arc::clone)
    }

    /// The last good answer as long as it may count, or the declared default.
    fn held(
        &self,
        before: Option<&LearnedRow>,
        question: &Question,
        failure: Option<&ResolveFailure>,
        revision: u64,
    ) -> LearnedRow {
        let terms = &self.terms.terms;
        let decision = match before {
            // Consent that was withdrawn in the meantime counts all the same, and so does another programming.
            Some(last) if floor::is_withdrawn(&question.input, &questionable(&question.input, &last.decision)) => {
                Arc::new(floor::denied(&terms.denied))
            }
            Some(last) if !self.terms.allow_unprogrammed && !is_programmed(&last.decision, &question.programmed) => {
                Arc::clone(&self.not_programmed)
            }
            Some(last) => Arc::clone(&last.decision),
            None => Arc::new(Decision::without_waypoint(terms.undecided.clone(), None)),
        };
        let why = failure.map_or_else(|| "no answer".to_owned(), ToString::to_string);
        LearnedRow { input: question.input.clone(), decision, refused: None, revision, degraded: Some(why.into()) }
    }
}

/// Whether all waypoints of a decision hold configuration for the subject.
fn is_programmed(decision: &Decision, programmed: &[GatewayKey]) -> bool {
    decision.targets().iter().all(|target| programmed.contains(&target.gateway))
}

/// The decision with those of its waypoints whose owner is to be asked. Not asked is who is known by address alone, and was
/// given to the subject by the control plane: that has asked, and nobody else here knows what the owner says.
fn questionable(input: &Input, decision: &Decision) -> Decision {
    let given = |key: &GatewayKey| input.upstream.as_ref().is_some_and(|upstream| upstream.contains(key));
    let by_address = |key: &GatewayKey| input.candidates.iter().any(|it| it.key == *key && is_known_by_address(it));
    let asked = |target: &&Target| !(given(&target.gateway) && by_address(&target.gateway));
    Decision {
        choice: Choice::Waypoints(decision.targets().iter().filter(asked).cloned().collect()),
        ..decision.clone()
    }
}

/// The decision as it counts: above the floor, with addresses on the networks that the control plane named, and with what
/// was declared for waypoints whose address is not known.
fn applied(terms: &Terms, input: &Input, mut decision: Decision) -> Decision {
    let Choice::Waypoints(targets) = &decision.choice else { return decision };
    let judged = floor::apply(input, questionable(input, &decision), &terms.denied);
    if judged.floor {
        return judged;
    }
    let targets = targets.iter().map(|target| Target { address: address_of(input, target), ..target.clone() });
    decision.choice = Choice::Waypoints(targets.collect());
    if let Some(declared) = terms.unresolved.filter(|_| decision.is_unresolved()) {
        decision.on_unreachable = declared;
    }
    decision
}

/// The address of a target; of a Gateway that is known by nothing else, the one that the control plane gave, with its
/// network.
fn address_of(input: &Input, target: &Target) -> Option<WaypointAddress> {
    let gateway = input.candidates.iter().find(|it| it.key == target.gateway && is_known_by_address(it));
    match (&target.address, gateway.and_then(|it| it.key.name.rsplit_once('/'))) {
        (Some(WaypointAddress::Ip { ip, .. }), Some((network, _))) => {
            Some(WaypointAddress::Ip { network: network.into(), ip: *ip })
        }
        (address, _) => address.clone(),
    }
}
