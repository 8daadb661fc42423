//! Every config store under one suite (`tests::config_store`): in memory, of manifest files, and aggregates of them.
//!
//! `WAYSWITCH_HISTORIES` says how many histories all stores together go through (1,000 unless set), `WAYSWITCH_SEED` repeats
//! a run. A history that failed is kept in `proptest-regressions/` and tried first from then on.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by a panic")]

use std::fs;
use std::sync::Arc;

use manifest::{FolderStore, Limits};
use model::config_store::{Aggregate, ConfigStore, Delivery, MemoryStore, Subscription, WriteError};
use model::object::Kind;
use model::{Object, ObjectKey};
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestError, TestRng, TestRunner};
use tempfile::TempDir;
use tests::config_store::{Harness, check_laws, replay, steps};
use tests::mesh::manifests::manifest;

/// Histories of all tests of this file together.
const HISTORIES: u32 = 1_000;
const STEPS_MAX: usize = 60;
/// So few that followers are often too far behind.
const NOTICES_MAX: usize = 4;

#[test]
fn a_store_in_memory() {
    check("memory", &|max| Bench::new(memory(max), Some(0)));
}

#[test]
fn a_folder_of_manifests() {
    check("folder", &|max| Bench::new(folder(max), None));
}

#[test]
fn an_aggregate_of_one() {
    check("one", &|max| Bench::new(several([memory(max)], Some(0), max), Some(0)));
}

#[test]
fn a_folder_that_wins_over_a_store_that_is_written_to() {
    check("folder-memory", &|max| Bench::new(several([folder(max), memory(max)], Some(1), max), Some(1)));
}

#[test]
fn a_store_that_is_written_to_and_wins_over_folders() {
    let stores = |max| [memory(max), folder(max), folder(max)];
    check("memory-folders", &|max| Bench::new(several(stores(max), Some(0), max), Some(0)));
}

#[test]
fn folders_that_nobody_writes_to() {
    check("folders", &|max| Bench::new(several([folder(max), folder(max)], None, max), None));
}

#[test]
fn an_aggregate_of_aggregates() {
    let inner = |max| several([folder(max), memory(max)], Some(1), max);
    let other = |max| several([memory(max), memory(max)], None, max);
    check("nested", &|max| Bench::new(several([other(max), inner(max)], Some(1), max), Some(3)));
}

const STORES: u32 = 7;

fn check(name: &str, new: &dyn Fn(usize) -> Bench) {
    check_laws(&|max| Box::new(new(max)));

    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = setting("WAYSWITCH_SEED").unwrap_or_else(some_seed);
    let cases = setting("WAYSWITCH_HISTORIES").map_or(HISTORIES, |n| u32::try_from(n).expect("a number of histories"));
    // A history means the same to every store, so each of them tries what failed for any of them.
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/proptest-regressions/sim_config_store.txt");
    let config = Config {
        cases: cases.div_ceil(STORES),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    match runner.run(&steps(STEPS_MAX), |history| replay(&mut new(NOTICES_MAX), NOTICES_MAX, &history)) {
        Ok(()) => {}
        Err(TestError::Fail(why, history)) => {
            panic!("{why}\n\n{name}; WAYSWITCH_SEED={seed}; the shortest history that fails:\n{history:#?}")
        }
        Err(TestError::Abort(why)) => panic!("gave up: {why}; WAYSWITCH_SEED={seed}"),
    }
}

/// Another one for every run: the standard library draws the keys of its hash maps.
fn some_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one("seed")
}

fn memory(max: usize) -> Tree {
    Tree::Memory(MemoryStore::awaiting_load(max))
}

fn folder(max: usize) -> Tree {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::with_queue(vec![folder.path().to_owned()], Limits::default(), max);
    Tree::Folder(Box::new(store), folder)
}

fn several<const N: usize>(stores: [Tree; N], writer: Option<usize>, max: usize) -> Tree {
    Tree::Several(Aggregate::with_queue(Vec::from(stores), writer, max))
}

/// A store, or several as one. Its leaves are the sources, in the order in which they win.
enum Tree {
    Memory(MemoryStore),
    Folder(Box<FolderStore>, TempDir),
    Several(Aggregate<Tree>),
}

impl Tree {
    fn store(&self) -> &dyn ConfigStore {
        match self {
            Self::Memory(store) => store,
            Self::Folder(store, _) => store,
            Self::Several(store) => store,
        }
    }

    fn store_mut(&mut self) -> &mut dyn ConfigStore {
        match self {
            Self::Memory(store) => store,
            Self::Folder(store, _) => store,
            Self::Several(store) => store,
        }
    }

    fn leaves(&self) -> usize {
        let Self::Several(stores) = self else { return 1 };
        (0..).map_while(|at| stores.store(at)).map(Tree::leaves).sum()
    }

    /// Gives one leaf to `change`, as whoever owns the store would.
    fn with_leaf(&mut self, mut leaf: usize, change: &mut dyn FnMut(&mut Tree)) {
        let Self::Several(stores) = self else { return change(self) };
        for at in 0.. {
            let leaves = stores.store(at).expect("no such leaf").leaves();
            if leaf < leaves {
                stores.with_store(at, |store| store.with_leaf(leaf, change));
                return;
            }
            leaf -= leaves;
        }
    }
}

impl ConfigStore for Tree {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.store().get(key)
    }

    fn list(&self, kind: Option<Kind>, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.store().list(kind, namespace)
    }

    fn create(&mut self, object: Object) -> Result<(), WriteError> {
        self.store_mut().create(object)
    }

    fn update(&mut self, object: Object, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        self.store_mut().update(object, expected)
    }

    fn delete(&mut self, key: &ObjectKey, expected: Option<&Arc<Object>>) -> Result<(), WriteError> {
        self.store_mut().delete(key, expected)
    }

    fn refresh(&mut self) {
        self.store_mut().refresh();
    }

    fn subscribe(&mut self) -> Subscription {
        self.store_mut().subscribe()
    }

    fn poll(&self, subscription: &mut Subscription) -> Delivery {
        self.store().poll(subscription)
    }

    fn has_synced(&self) -> bool {
        self.store().has_synced()
    }
}

/// A store on the workbench.
struct Bench {
    tree: Tree,
    writer: Option<usize>,
    is_loaded: Vec<bool>,
    /// Files are read at once, whatever was done to them before.
    tells_each: Vec<bool>,
}

impl Bench {
    fn new(mut tree: Tree, writer: Option<usize>) -> Self {
        let leaves = tree.leaves();
        let mut tells_each = Vec::new();
        for leaf in 0..leaves {
            tree.with_leaf(leaf, &mut |leaf| tells_each.push(matches!(leaf, Tree::Memory(_))));
        }
        Self { tree, writer, is_loaded: vec![false; leaves], tells_each }
    }
}

impl Harness for Bench {
    fn store(&mut self) -> &mut dyn ConfigStore {
        &mut self.tree
    }

    fn sources(&self) -> usize {
        self.is_loaded.len()
    }

    fn writer(&self) -> Option<usize> {
        self.writer
    }

    fn load(&mut self, source: usize) {
        self.is_loaded[source] = true;
        self.tree.with_leaf(source, &mut |leaf| match leaf {
            Tree::Memory(store) => store.finish_load(),
            other => other.refresh(),
        });
    }

    fn change(&mut self, source: usize, changes: &[(ObjectKey, Option<Object>)]) {
        let is_loaded = self.is_loaded[source];
        self.tree.with_leaf(source, &mut |leaf| match leaf {
            Tree::Memory(store) => changes.iter().for_each(|(key, now)| match now {
                Some(object) => store.put(object.clone()),
                None => drop(store.remove(key)),
            }),
            Tree::Folder(store, folder) => {
                changes.iter().for_each(|(key, now)| write(folder, key, now.as_ref()));
                if is_loaded {
                    store.refresh();
                    assert!(store.problems().is_empty() && store.warnings().is_empty(), "{:?}", store.problems());
                }
            }
            Tree::Several(_) => unreachable!("not a leaf"),
        });
    }

    fn tells_each(&self, source: usize) -> bool {
        self.tells_each[source]
    }
}

fn write(folder: &TempDir, key: &ObjectKey, now: Option<&Object>) {
    let file = folder.path().join(format!("{}-{}-{}.json", key.kind, key.namespace, key.name));
    match now {
        Some(object) => fs::write(file, manifest(object).to_string()).expect("a manifest"),
        // It may not be there, which is a case of its own.
        None => drop(fs::remove_file(file)),
    }
}
