//! What a Decider keeps up while a mesh changes equals what it would decide afresh, for generated histories; and what it
//! announces is what changed, neither more nor less. No component: the rules are plain Rust (`tests::mesh::rules`).
//!
//! `WAYSWITCH_HISTORIES` says how many histories (1,000 unless set), `WAYSWITCH_SEED` repeats a run. A history that failed
//! is kept in `proptest-regressions/` and tried first from then on.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test fails by a panic; what a resolver was asked is counted behind a lock that only a failed test poisons"
)]

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use model::batch::{Answer, Batch};
use model::decider::{BATCH_ROWS_MAX, Terms};
use model::decision::Choice;
use model::description::{Description, Fields, Reach};
use model::gateway::GatewayKey;
use model::object::{Kind, ObjectKey};
use model::projection::Projection;
use model::store::Changes;
use model::table::{RowChange, RowKind, Subject};
use model::{
    Decider, Decision, Event, Facts, Labels, Name, Object, ResolveFailure, Resolver, Row, RowKey, Store, Table,
};
use proptest::prelude::*;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};
use tests::mesh::history::{History, Operation, histories};
use tests::mesh::{GATEWAY_NAME, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, WAYPOINT_FOR, rules};
use tests::native::Native;

/// Histories of all tests of this file together.
const HISTORIES: u32 = 1_000;
/// Steps of a history after the first.
const STEPS_MAX: usize = 30;

type Checked = Result<(), TestCaseError>;

#[test]
fn histories_under_rules_that_see_what_is_referenced() {
    check(Reach::Referenced);
}

#[test]
fn histories_under_rules_that_see_their_own_namespace() {
    check(Reach::OwnNamespace);
}

#[test]
fn histories_under_rules_that_see_every_gateway() {
    check(Reach::All);
}

/// A history and what it is decided by.
#[derive(Clone, Debug)]
struct Case {
    /// Whether names, hosts and service accounts are declared: they make every row distinct.
    fields: bool,
    /// Whether the answer tells all inputs apart, or is one that a mesh would get.
    fingerprints: bool,
    history: History,
}

fn check(reach: Reach) {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = setting("WAYSWITCH_SEED").unwrap_or_else(some_seed);
    let cases = setting("WAYSWITCH_HISTORIES").map_or(HISTORIES, |n| u32::try_from(n).expect("a number of histories"));
    let config = Config {
        cases: cases.div_ceil(3),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/sim_decider.txt"
        )))),
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let case = (any::<bool>(), any::<bool>(), histories(STEPS_MAX)).prop_map(|(fields, fingerprints, history)| Case {
        fields,
        fingerprints,
        history,
    });
    match runner.run(&case, |case| replay(reach, &case)) {
        Ok(()) => {}
        Err(TestError::Fail(why, Case { fields, fingerprints, history })) => panic!(
            "{why}\n\nreach {reach:?}, fields {fields}, fingerprints {fingerprints}; WAYSWITCH_SEED={seed}; \
             the shortest history that fails:\n{history:?}"
        ),
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
    let fields = if case.fields {
        Fields { service_account: true, name: true, hosts: true, ..Fields::default() }
    } else {
        Fields::default()
    };
    let mut world = World::new(rules::description(reach, fields), case.fingerprints)?;
    for step in &case.history.steps {
        world.step(step)?;
        if step.len() == 1 {
            world.invariant_saying_it_again_changes_nothing(step)?;
        }
    }
    world.invariant_a_held_table_never_changes()
}

impl World {
    fn new(description: Arc<Description>, fingerprints: bool) -> Result<Self, TestCaseError> {
        let store = Store::new(Facts::default());
        let asked = Arc::new(Asked { fingerprints, questions: Mutex::default() });
        let decider = fresh(&description, asked.clone(), &store)?;
        Ok(Self { objects: BTreeMap::new(), store, description, asked, decider, held: Vec::new() })
    }

    fn step(&mut self, operations: &[Operation]) -> Checked {
        let before = self.decider.table().clone();
        if self.held.len() < 8 {
            self.held.push((before.clone(), looks(&before)));
        }
        let revision = self.store.revision();
        let events: Vec<Event> = operations.iter().map(Operation::event).collect();
        let really = events.iter().filter(|event| self.really_changes(event)).count();
        let changes = self.store.apply_all(events);
        self.invariant_the_revision_counts_real_changes(revision, really, &changes)?;
        let announced = self.decider.apply(&self.store, &changes);
        self.invariant_kept_up_equals_fresh()?;
        self.invariant_announced_is_the_difference(&before, &announced)?;
        self.invariant_only_announced_rows_get_the_new_revision(&before, &announced)?;
        self.invariant_rows_are_what_is_published()?;
        self.invariant_questions_hold_what_was_declared()?;
        self.asked.invariant_each_question_is_asked_once()
    }

    /// Follows the event in a plain map; true when it changed something there.
    fn really_changes(&mut self, event: &Event) -> bool {
        match event {
            Event::Apply(object) => self.objects.insert(object.key(), object.clone()).as_ref() != Some(object),
            Event::Delete(key) => self.objects.remove(key).is_some(),
        }
    }

    fn invariant_the_revision_counts_real_changes(&self, before: u64, really: usize, changes: &Changes) -> Checked {
        prop_assert_eq!(self.store.revision(), before + really as u64, "the revision counts what really changed");
        prop_assert!(really > 0 || changes.is_empty(), "nothing changed, but {:?} is said to be concerned", changes);
        prop_assert_eq!(self.store.len(), self.objects.len());
        Ok(())
    }

    fn invariant_kept_up_equals_fresh(&self) -> Checked {
        let afresh = fresh(&self.description, Arc::new(Asked::silently(self.asked.fingerprints)), &self.store)?;
        let (kept, afresh) = (self.decider.table(), afresh.table());
        prop_assert_eq!((kept.revision, afresh.revision), (self.store.revision(), self.store.revision()));
        let keys = |table: &Table| table.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(keys(kept), keys(afresh), "the same rows");
        for ((key, kept), (_, afresh)) in kept.iter().zip(afresh.iter()) {
            prop_assert_eq!(&*kept.decision, &*afresh.decision, "decision of {}", key);
            prop_assert_eq!(&kept.subject, &afresh.subject, "subject of {}", key);
            prop_assert_eq!(&kept.input, &afresh.input, "question of {}", key);
            prop_assert!(kept.degraded.is_none(), "{} is degraded although nothing fails", key);
        }
        // They differ in the revision at which rows last moved, which no sink cares about.
        prop_assert!(kept.diff(afresh).is_empty(), "a difference of tables that have the same effect");
        Ok(())
    }

    fn invariant_announced_is_the_difference(&self, before: &Table, announced: &[RowChange]) -> Checked {
        let after = self.decider.table();
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

    /// Existence and subjects against the objects themselves (R32, R48, Q7, R97).
    fn invariant_rows_are_what_is_published(&self) -> Checked {
        let mut published = Vec::new();
        for object in self.objects.values() {
            let (kind, addresses, by_address) = match object {
                Object::Service(o) if !o.external_name && o.bad_address.is_none() => {
                    (RowKind::Service, &o.addresses, true)
                }
                Object::Pod(o) if !o.finished && o.bad_address.is_none() && !o.addresses.is_empty() => {
                    (RowKind::Pod, &o.addresses, !o.host_network)
                }
                _ => continue,
            };
            let meta = object.meta();
            published.push((RowKey::new(kind, &meta.namespace, &meta.name), addresses, by_address));
        }
        published.sort();
        let rows = self.decider.table().iter();
        let rows = rows.map(|(key, row)| (key.clone(), &row.subject.addresses, row.subject.dialled_by_address));
        prop_assert_eq!(rows.collect::<Vec<_>>(), published, "rows, and objects that are published");
        Ok(())
    }

    /// The projection against the objects themselves: candidates by brute force, labels and selectors looked up afresh.
    fn invariant_questions_hold_what_was_declared(&self) -> Checked {
        for (key, row) in self.decider.table().iter() {
            let input = &row.input;
            let meta = self.object(row_kind(key.kind), &key.namespace, &key.name).map(Object::meta);
            let Some(meta) = meta else {
                return Err(TestCaseError::fail(format!("{key} has a row but no object")));
            };
            let own_namespace = self.object(Kind::Namespace, "", &key.namespace).map(|object| &object.meta().labels);
            let nothing = Labels::default();
            let ns_labels = own_namespace.unwrap_or(&nothing);
            prop_assert_eq!(input.namespace.known, own_namespace.is_some(), "{}", key);
            prop_assert_eq!(&**input.namespace.labels, &read(ns_labels, "istio.io/use-waypoint"), "{}", key);
            let candidates: Vec<&GatewayKey> = input.candidates.iter().map(|gateway| &gateway.key).collect();
            let expected = self.candidates(&key.namespace, &meta.labels, ns_labels);
            prop_assert_eq!(candidates, expected.iter().collect::<Vec<_>>(), "candidates of {}", key);
            let mut selected = Vec::new();
            for view in &input.candidates {
                let object = self.object(Kind::Gateway, &view.key.namespace, &view.key.name);
                let Some(Object::Gateway(gateway)) = object else {
                    return Err(TestCaseError::fail(format!("{} is a candidate but no object", view.key)));
                };
                prop_assert_eq!(&view.addresses, &gateway.addresses);
                let class = self.object(Kind::GatewayClass, "", &gateway.class).map(|class| &class.meta().labels);
                let seen = view.class.as_ref().map(|class| (class.name.clone(), class.labels.to_vec()));
                let labels = read(class.unwrap_or(&nothing), WAYPOINT_FOR);
                prop_assert_eq!(seen, Some((gateway.class.clone(), labels)), "class of {}", view.key);
                for (shown, listener) in view.listeners.iter().zip(&gateway.listeners) {
                    let matches = listener.selector.as_ref().is_some_and(|selector| selector.matches(ns_labels));
                    prop_assert_eq!(shown.selector.is_some(), listener.selector.is_some());
                    selected.extend(shown.selector.filter(|_| matches));
                }
            }
            selected.sort_unstable();
            selected.dedup();
            prop_assert_eq!(&input.namespace.selected_by, &selected, "selectors that match {}", key.namespace);
        }
        Ok(())
    }

    fn candidates(&self, namespace: &str, own: &Labels, inherited: &Labels) -> Vec<GatewayKey> {
        let names = |gateway: &GatewayKey, labels: &Labels| {
            let place = labels.get(USE_WAYPOINT_NAMESPACE).map_or(namespace, |name| name);
            labels.get(USE_WAYPOINT) == Some(&gateway.name) && *gateway.namespace == *place
        };
        let instance =
            |gateway: &GatewayKey| own.get(GATEWAY_NAME) == Some(&gateway.name) && *gateway.namespace == *namespace;
        let gateways = self.objects.values().filter(|object| object.kind() == Kind::Gateway);
        let keys = gateways.map(|object| GatewayKey::new(&object.meta().namespace, &object.meta().name));
        let within = |key: &GatewayKey| match self.description.reach {
            Reach::All => true,
            Reach::OwnNamespace if *key.namespace == *namespace => true,
            _ => names(key, own) || names(key, inherited) || instance(key),
        };
        keys.filter(within).collect()
    }

    fn object(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Object> {
        self.objects.get(&ObjectKey::new(kind, namespace, name))
    }

    fn invariant_saying_it_again_changes_nothing(&mut self, operations: &[Operation]) -> Checked {
        let (revision, asked) = (self.store.revision(), self.asked.count());
        let changes = self.store.apply_all(operations.iter().map(Operation::event));
        prop_assert!(changes.is_empty(), "said twice: {:?}", changes);
        let announced = self.decider.apply(&self.store, &changes);
        prop_assert!(announced.is_empty(), "said twice: {:?}", announced);
        prop_assert_eq!((self.store.revision(), self.asked.count()), (revision, asked));
        Ok(())
    }

    fn invariant_a_held_table_never_changes(&self) -> Checked {
        for (table, then) in &self.held {
            prop_assert_eq!(&looks(table), then, "the table of revision {}", table.revision);
        }
        Ok(())
    }
}

fn fresh(description: &Arc<Description>, resolver: Arc<dyn Resolver>, store: &Store) -> Result<Decider, TestCaseError> {
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked };
    Decider::new(1, Arc::clone(description), resolver, terms, store)
        .map_err(|(row, why)| TestCaseError::fail(format!("{row:?}: {why}")))
}

fn row_kind(kind: RowKind) -> Kind {
    match kind {
        RowKind::Pod => Kind::Pod,
        RowKind::Service => Kind::Service,
    }
}

fn read(labels: &Labels, prefix: &str) -> Vec<(Name, Name)> {
    labels.iter().filter(|(key, _)| key.starts_with(prefix)).cloned().collect()
}

fn looks(table: &Table) -> Vec<(RowKey, Look)> {
    table.iter().map(|(key, row)| (key.clone(), look(row))).collect()
}

fn look(row: &Row) -> Look {
    ((*row.subject).clone(), (*row.decision).clone(), row.revision, row.degraded.as_deref().map(str::to_owned))
}

fn show(change: &RowChange) -> (String, Option<Look>, Option<Look>) {
    (change.key.to_string(), change.before.as_ref().map(look), change.after.as_ref().map(look))
}

/// A resolver that remembers what it was asked.
struct Asked {
    /// Answers with a hash of the whole question instead of by [`rules::PlainRules`]: then no difference is overlooked.
    fingerprints: bool,
    questions: Mutex<HashMap<u64, u32>>,
}

impl Asked {
    fn silently(fingerprints: bool) -> Self {
        Self { fingerprints, questions: Mutex::default() }
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

impl Resolver for Asked {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let mut hashes = Vec::new();
        for question in &batch.subjects {
            let mut hasher = DefaultHasher::new();
            question.input.hash(&mut hasher);
            hashes.push(hasher.finish());
        }
        let mut distinct = hashes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != hashes.len() {
            let what = "the same question twice in one batch".to_owned();
            return Err(ResolveFailure { limit: None, what, row: None });
        }
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        for hash in &hashes {
            *questions.entry(*hash).or_default() += 1;
        }
        if self.fingerprints {
            Ok(hashes.iter().map(|hash| rules::direct(Some(&format!("F{hash:x}")))).collect())
        } else {
            rules::PlainRules.resolve(batch)
        }
    }
}

/// The plugin's code against rules that were written apart from it. Both stand on the same projection and floor.
#[test]
fn two_sets_of_rules_written_from_the_specification_agree() {
    let (istio, description) = Native::<plugin_istio::Istio>::new("").expect("settings of no text");
    let istio: Arc<dyn Resolver> = Arc::new(istio);
    let mut runner = TestRunner::deterministic();
    let outcome = runner.run(&histories(STEPS_MAX), |history| {
        let mut store = Store::new(Facts::default());
        store.apply_all(history.steps.iter().flatten().map(Operation::event));
        let istio = fresh(&description, Arc::clone(&istio), &store)?;
        let plain =
            fresh(&rules::description(Reach::Referenced, Fields::default()), Arc::new(rules::PlainRules), &store)?;
        let changes = plain.table().diff(istio.table());
        prop_assert!(changes.is_empty(), "plain rules, and the plugin: {:?}", changes.first().map(show));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// What the projection alone says is concerned.
#[test]
fn a_projection_names_exactly_the_rows_whose_question_or_subject_changed() {
    let mut runner = TestRunner::deterministic();
    let description = rules::description(Reach::Referenced, Fields::default());
    let outcome = runner.run(&histories(STEPS_MAX), |history| {
        let mut store = Store::new(Facts::default());
        let mut projection = Projection::new(description.clone(), &store);
        for step in &history.steps {
            let old: HashMap<_, _> = projection.rows().map(|(key, row)| (key.clone(), row.clone())).collect();
            let changes = store.apply_all(step.iter().map(Operation::event));
            let concerned = projection.apply(&store, &changes);
            let keys: std::collections::BTreeSet<_> =
                old.keys().cloned().chain(projection.rows().map(|(key, _)| key.clone())).collect();
            let changed = keys.into_iter().filter(|key| old.get(key) != projection.get(key));
            prop_assert_eq!(concerned, changed.collect::<std::collections::BTreeSet<_>>());
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
