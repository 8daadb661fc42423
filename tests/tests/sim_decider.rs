//! What a Decider keeps up while a mesh changes equals what a fresh store of the same objects would give it, for generated
//! histories over all kinds of objects; and what it announces is what changed, neither more nor less. No component: the rules
//! are the istio plugin's, natively, or plain ones written apart from it, or a fingerprint of the question.
//!
//! `WAYSWITCH_HISTORIES` says how many histories (10,000 unless set), `WAYSWITCH_SEED` repeats a run. A history that failed
//! is kept in `proptest-regressions/` and tried first from then on.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test fails by a panic; what a resolver was asked is counted behind a lock that only a failed test poisons"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::batch::{Answer, Batch};
use model::decider::{BATCH_ROWS_MAX, Terms};
use model::decision::Choice;
use model::description::{Description, Fields, Reach};
use model::object::ObjectKey;
use model::projection::{self, Projected, Projection};
use model::store::Changes;
use model::table::{RowChange, Subject};
use model::{
    Decider, Decision, Event, Facts, IstioVersion, Mesh, Object, ResolveFailure, Resolver, Row, RowKey, Store, Table,
};
use plugin_istio::Istio;
use proptest::prelude::*;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};
use tests::mesh::history::{Effect, History, Operation, histories};
use tests::mesh::rules;
use tests::native::Native;

#[path = "sim_decider/failing.rs"]
mod failing;
#[path = "sim_decider/oracle.rs"]
mod oracle;

use oracle::Oracle;

/// Histories of all tests that follow a Decider, together.
const HISTORIES: u32 = 10_000;
/// Steps of a history after the first.
const STEPS_MAX: usize = 25;

type Checked = Result<(), TestCaseError>;

#[test]
fn histories_under_rules_that_see_what_is_referenced() {
    // Half of all: this is the reach of the plugin that ships.
    check(HISTORIES / 2, any::<Case>, |case| replay(Reach::Referenced, case));
}

#[test]
fn histories_under_rules_that_see_their_own_namespace() {
    check(HISTORIES / 4, any::<Case>, |case| replay(Reach::OwnNamespace, case));
}

#[test]
fn histories_under_rules_that_see_every_gateway() {
    check(HISTORIES / 4, any::<Case>, |case| replay(Reach::All, case));
}

/// A history and what it is decided by.
#[derive(Clone, Debug)]
struct Case {
    answers: Answers,
    /// Whether names, hosts and service accounts are declared: they make every row distinct. Not by the plugin.
    fields: bool,
    istio: IstioVersion,
    history: History,
}

/// What answers questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// A hash of the whole question: then no difference is overlooked.
    Fingerprints,
    /// [`rules::PlainRules`].
    Plain,
    /// The plugin's own code, under what it declares itself: it sees what is referenced.
    Plugin,
}

impl Arbitrary for Case {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> BoxedStrategy<Self> {
        let answers = prop::sample::select(vec![Answers::Fingerprints, Answers::Plain, Answers::Plugin]);
        // Hosts are disputed since 1.29, entries have a visibility since 1.31.
        let istio = prop::sample::select(vec!["1.31", "1.29", "1.22"]).prop_map(|it| it.parse().expect("a version"));
        let case = (answers, any::<bool>(), istio, histories(STEPS_MAX));
        case.prop_map(|(answers, fields, istio, history)| Self { answers, fields, istio, history }).boxed()
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// Runs so many of the ten thousand cases on all processors; a failure names its seed, and is kept.
fn check<C: Debug, S: Strategy<Value = C>>(
    share: u32,
    cases: impl Fn() -> S + Sync,
    replay: impl Fn(&C) -> Checked + Sync,
) {
    let seed = setting("WAYSWITCH_SEED").unwrap_or_else(some_seed);
    let wanted = setting("WAYSWITCH_HISTORIES").unwrap_or(HISTORIES.into()) * u64::from(share);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let each = wanted.div_ceil(u64::from(HISTORIES) * threads);
    let (cases, replay) = (&cases, &replay);
    std::thread::scope(|scope| {
        for at in 0..threads {
            scope.spawn(move || run(seed.wrapping_add(at), each, cases(), replay));
        }
    });
}

/// Panics with the shortest case that fails.
fn run<C: Debug>(seed: u64, count: u64, cases: impl Strategy<Value = C>, replay: &impl Fn(&C) -> Checked) {
    let config = Config {
        cases: u32::try_from(count).expect("a number of histories"),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/sim_decider.txt"
        )))),
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    match runner.run(&cases, |case| replay(&case)) {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => {
            panic!("{why}\n\nWAYSWITCH_SEED={seed}; the shortest history that fails:\n{case:#?}")
        }
        Err(TestError::Abort(why)) => panic!("gave up: {why}; WAYSWITCH_SEED={seed}"),
    }
}

/// Another one for every run: the standard library draws the keys of its hash maps.
fn some_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one("seed")
}

/// The mesh, the Decider that follows it, and what is remembered to judge both.
struct World {
    objects: BTreeMap<ObjectKey, Object>,
    facts: Facts,
    store: Store,
    description: Arc<Description>,
    asked: Arc<Asked>,
    decider: Decider,
    /// What readers took, each with a deep copy of what it looked like.
    held: Vec<(Table, Vec<(RowKey, Look)>)>,
}

/// Everything there is to see of a row.
type Look = (Subject, Decision, u64, Option<String>);

fn replay(reach: Reach, case: &Case) -> Checked {
    let mut steps = case.history.steps.iter();
    // The first step is a mesh that is there before anybody decides.
    let mut world = World::new(reach, case, steps.next().map_or(&[], Vec::as_slice))?;
    for step in steps {
        world.step(step)?;
        if step.len() == 1 {
            world.invariant_saying_it_again_changes_nothing(step)?;
        }
    }
    world.invariant_the_store_answers_as_a_fresh_one()?;
    world.invariant_a_held_table_never_changes()
}

/// What is declared: by the plugin itself, or on behalf of rules that would take anything.
fn declared(reach: Reach, case: &Case) -> Arc<Description> {
    let fields = if case.fields {
        Fields { service_account: true, name: true, hosts: true, ..Fields::default() }
    } else {
        Fields::default()
    };
    match case.answers {
        Answers::Plugin if reach == Reach::Referenced => Native::<Istio>::new("").expect("settings of no text").1,
        _ => rules::description(reach, fields),
    }
}

impl World {
    fn new(reach: Reach, case: &Case, first: &[Operation]) -> Result<Self, TestCaseError> {
        let facts = Facts { istio: case.istio, ..Facts::default() };
        let store = Store::new(facts.clone());
        let asked = Arc::new(Asked::by(case.answers));
        let description = declared(reach, case);
        let decider = fresh(&description, asked.clone(), &store)?;
        let (objects, held) = (BTreeMap::new(), Vec::new());
        let mut world = Self { objects, facts, store, description, asked, decider, held };
        world.change(first)?;
        world.decider = fresh(&world.description, world.asked.clone(), &world.store)?;
        world.invariant_kept_up_equals_fresh(&[])?;
        Ok(world)
    }

    fn step(&mut self, operations: &[Operation]) -> Checked {
        let before = self.decider.table().clone();
        if self.held.len() < 8 {
            self.held.push((before.clone(), looks(&before)));
        }
        let changes = self.change(operations)?;
        let announced = self.decider.apply(&self.store, &changes);
        self.invariant_kept_up_equals_fresh(&announced)?;
        invariant_announced_is_the_difference(&before, self.decider.table(), &announced)?;
        self.invariant_only_announced_rows_get_the_new_revision(&before, &announced)?;
        Oracle::of(&self.objects, &self.facts).check(self.decider.table(), &self.description)?;
        self.asked.invariant_each_question_is_asked_once()
    }

    /// The objects follow in the store and in a plain map.
    fn change(&mut self, operations: &[Operation]) -> Result<Changes, TestCaseError> {
        let (revision, mut changes, mut really) = (self.store.revision(), Changes::default(), 0);
        for effect in operations.iter().map(Operation::effect) {
            really += u64::from(match &effect {
                Effect::Event(event) => self.note(event),
                Effect::Mesh(mesh) => self.note_mesh(mesh),
            });
            changes.merge(effect.apply(&mut self.store));
        }
        prop_assert_eq!(self.store.revision(), revision + really, "the revision counts what really changed");
        prop_assert!(really > 0 || changes.is_empty(), "nothing changed, but {:?} is said to be concerned", changes);
        prop_assert_eq!(self.store.len(), self.objects.len());
        Ok(changes)
    }

    /// True when it changed something.
    fn note(&mut self, event: &Event) -> bool {
        match event {
            Event::Apply(object) => self.objects.insert(object.key(), object.clone()).as_ref() != Some(object),
            Event::Delete(key) => self.objects.remove(key).is_some(),
        }
    }

    fn note_mesh(&mut self, mesh: &Mesh) -> bool {
        let changed = self.facts.mesh != *mesh;
        self.facts.mesh = mesh.clone();
        changed
    }

    /// Another store of the same objects, which come in another order.
    fn rebuilt(&self) -> Store {
        let mut store = Store::new(self.facts.clone());
        store.apply_all(self.objects.values().rev().cloned().map(Event::Apply));
        store
    }

    fn invariant_kept_up_equals_fresh(&self, announced: &[RowChange]) -> Checked {
        let rebuilt = self.rebuilt();
        let afresh = fresh(&self.description, Arc::new(Asked::by(self.asked.answers)), &rebuilt)?;
        let (kept, afresh) = (self.decider.table(), afresh.table());
        prop_assert_eq!(kept.revision, self.store.revision());
        let keys = |table: &Table| table.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(keys(kept), keys(afresh), "the same rows; {} were announced", announced.len());
        for ((key, kept), (_, afresh)) in kept.iter().zip(afresh.iter()) {
            prop_assert_eq!(&*kept.decision, &*afresh.decision, "decision of {}", key);
            prop_assert_eq!(&kept.subject, &afresh.subject, "subject of {}", key);
            prop_assert_eq!(&kept.input, &afresh.input, "question of {}", key);
            prop_assert!(kept.degraded.is_none(), "{} is degraded although nothing fails", key);
        }
        // They differ in the revision at which rows last moved, which no sink cares about.
        prop_assert!(kept.diff(afresh).is_empty(), "a difference of tables that have the same effect");
        prop_assert_eq!(kept.len(), kept.iter().count());
        Ok(())
    }

    fn invariant_only_announced_rows_get_the_new_revision(&self, before: &Table, announced: &[RowChange]) -> Checked {
        let moved: HashMap<&RowKey, &RowChange> = announced.iter().map(|change| (&change.key, change)).collect();
        for (key, row) in self.decider.table().iter() {
            match moved.get(key) {
                Some(_) => prop_assert_eq!(row.revision, self.store.revision(), "{} moved", key),
                None => {
                    let old = before.get(key).map(|row| row.revision);
                    prop_assert_eq!(Some(row.revision), old, "{} did not move", key);
                }
            }
        }
        Ok(())
    }

    fn invariant_saying_it_again_changes_nothing(&mut self, operations: &[Operation]) -> Checked {
        let asked = self.asked.count();
        let changes = self.change(operations)?;
        prop_assert!(changes.is_empty(), "said twice: {:?}", changes);
        let announced = self.decider.apply(&self.store, &changes);
        prop_assert!(announced.is_empty(), "said twice: {:?}", announced);
        prop_assert_eq!(self.asked.count(), asked);
        Ok(())
    }

    /// Who is meant by a host or an address, and who selects whom.
    fn invariant_the_store_answers_as_a_fresh_one(&self) -> Checked {
        let afresh = self.rebuilt();
        let keys = |store: &Store| store.object_keys().collect::<Vec<_>>();
        prop_assert_eq!(keys(&self.store), keys(&afresh));
        for (key, row) in self.decider.table().iter() {
            let namespace = &key.namespace;
            for host in row.subject.hosts.iter() {
                let meant = |store: &Store| {
                    let canonical = store.service_of_host(host, &"elsewhere".into());
                    (store.service_of_host(host, namespace), canonical, store.addresses_of(namespace, host))
                };
                prop_assert_eq!(meant(&self.store), meant(&afresh), "who is meant by {} in {}", host, namespace);
            }
            for ip in &row.subject.addresses {
                prop_assert_eq!(self.store.rows_at(*ip), afresh.rows_at(*ip), "who is at {}", ip);
            }
            prop_assert_eq!(self.store.workloads_of(key), afresh.workloads_of(key), "workloads of {}", key);
            prop_assert_eq!(self.store.services_of(key), afresh.services_of(key), "services of {}", key);
        }
        Ok(())
    }

    fn invariant_a_held_table_never_changes(&self) -> Checked {
        for (table, then) in &self.held {
            prop_assert_eq!(&looks(table), then, "the table of revision {}", table.revision);
        }
        Ok(())
    }
}

fn invariant_announced_is_the_difference(before: &Table, after: &Table, announced: &[RowChange]) -> Checked {
    let shown = |changes: &[RowChange]| changes.iter().map(show).collect::<Vec<_>>();
    let mut naive = Vec::new();
    let (old, new): (HashMap<_, _>, HashMap<_, _>) = (before.iter().collect(), after.iter().collect());
    let mut keys: Vec<&RowKey> = old.keys().chain(new.keys()).copied().collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (old, new) = (old.get(key).copied(), new.get(key).copied());
        let effect = |row: Option<&Row>| row.map(|row| (row.subject.clone(), row.decision.clone()));
        if effect(old) != effect(new) {
            naive.push(RowChange { key: key.clone(), before: old.cloned(), after: new.cloned() });
        }
    }
    prop_assert_eq!(shown(announced), shown(&naive), "announced, and compared row by row");
    prop_assert_eq!(shown(&before.diff(after)), shown(&naive), "Table::diff, and compared row by row");
    Ok(())
}

fn terms() -> Terms {
    Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None }
}

fn fresh(description: &Arc<Description>, resolver: Arc<dyn Resolver>, store: &Store) -> Result<Decider, TestCaseError> {
    Decider::new(1, Arc::clone(description), resolver, terms(), store)
        .map_err(|(row, why)| TestCaseError::fail(format!("{row:?}: {why}")))
}

fn looks(table: &Table) -> Vec<(RowKey, Look)> {
    table.iter().map(|(key, row)| (key.clone(), look(row))).collect()
}

fn look(row: &Row) -> Look {
    (row.subject.clone(), (*row.decision).clone(), row.revision, row.degraded.as_deref().cloned())
}

fn show(change: &RowChange) -> (String, Option<Look>, Option<Look>) {
    (change.key.to_string(), change.before.as_ref().map(look), change.after.as_ref().map(look))
}

/// A resolver that remembers what it was asked.
struct Asked {
    answers: Answers,
    plugin: Native<Istio>,
    questions: Mutex<HashMap<u64, u32>>,
}

impl Asked {
    fn by(answers: Answers) -> Self {
        let (plugin, _) = Native::<Istio>::new("").expect("settings of no text");
        Self { answers, plugin, questions: Mutex::default() }
    }

    fn count(&self) -> u32 {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Within a batch, and in a Decider's life: until so many are known that it may have forgotten some.
    fn invariant_each_question_is_asked_once(&self) -> Checked {
        let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let again = questions.values().filter(|times| **times > 1).count();
        prop_assert!(again == 0 || questions.len() > BATCH_ROWS_MAX, "{} of {} asked again", again, questions.len());
        Ok(())
    }
}

/// Of each question of a batch, which must all be distinct.
fn hashes(batch: &Batch<'_>) -> Result<Vec<u64>, ResolveFailure> {
    let hashes: Vec<u64> = batch.subjects.iter().map(|question| hash(question.input)).collect();
    let mut distinct = hashes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != hashes.len() {
        let what = "the same question twice in one batch".to_owned();
        return Err(ResolveFailure { limit: None, what, row: None });
    }
    Ok(hashes)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Resolver for Asked {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let hashes = hashes(batch)?;
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        for hash in &hashes {
            *questions.entry(*hash).or_default() += 1;
        }
        match self.answers {
            Answers::Fingerprints => Ok(hashes.iter().map(|hash| rules::direct(Some(&format!("F{hash:x}")))).collect()),
            Answers::Plain => rules::PlainRules.resolve(batch),
            Answers::Plugin => self.plugin.resolve(batch),
        }
    }
}

/// The plugin's code against rules that were written apart from it. Both stand on the same projection and floor.
#[test]
fn two_sets_of_rules_written_from_the_specification_agree() {
    let (plugin, description) = Native::<Istio>::new("").expect("settings of no text");
    let plugin: Arc<dyn Resolver> = Arc::new(plugin);
    let through = AtomicU64::new(0);
    check(
        HISTORIES / 10,
        || histories(STEPS_MAX),
        |history: &History| {
            let mut store = Store::new(Facts::default());
            for operation in history.steps.iter().flatten() {
                operation.effect().apply(&mut store);
            }
            let plugin = fresh(&description, Arc::clone(&plugin), &store)?;
            let plain = rules::description(Reach::Referenced, Fields::default());
            let plain = fresh(&plain, Arc::new(rules::PlainRules), &store)?;
            let changes = plain.table().diff(plugin.table());
            prop_assert!(changes.is_empty(), "plain rules, and the plugin: {:?}", changes.first().map(show));
            let bound = plugin.table().iter().filter(|(_, row)| !row.decision.targets().is_empty());
            through.fetch_add(bound.count() as u64, Ordering::Relaxed);
            Ok(())
        },
    );
    assert!(through.into_inner() > 0, "some row goes through a waypoint");
}

/// What the projection alone says is concerned.
#[test]
fn a_projection_names_exactly_the_rows_whose_question_or_subject_changed() {
    let description = rules::description(Reach::Referenced, Fields::default());
    check(
        HISTORIES / 10,
        || histories(STEPS_MAX),
        |history: &History| {
            let mut store = Store::new(Facts::default());
            let (mut projection, _) = Projection::of(description.clone(), &store);
            let mut table = Table::new(1, 0);
            for step in &history.steps {
                let old = projection::project(&description, &store);
                let mut changes = Changes::default();
                for operation in step {
                    changes.merge(operation.effect().apply(&mut store));
                }
                let new = projection::project(&description, &store);
                let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
                let changed: Vec<_> = keys.into_iter().filter(|key| old.get(key) != new.get(key)).collect();
                let moved = projection.apply(&store, &changes, &table);
                prop_assert_eq!(moved.iter().map(|(key, _)| key).collect::<Vec<_>>(), changed);
                for (key, row) in moved {
                    prop_assert_eq!(row.as_ref(), new.get(&key), "{}", key);
                    table.set(key, row.map(undecided));
                }
            }
            Ok(())
        },
    );
}

/// A row that nobody was asked about.
fn undecided(row: Projected) -> Row {
    let decision = Arc::new(Decision::without_waypoint(Choice::Direct, None));
    Row { subject: row.subject, input: row.input, decision, revision: 0, degraded: None }
}
