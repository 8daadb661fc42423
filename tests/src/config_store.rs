//! The laws of a config store (K1-K10), for any store to be put through: fixed ones, and generated histories against a model
//! of a few lines. Knows no particular store: [`Harness`] says how to get at one, and at what it takes its objects from.
#![expect(
    clippy::indexing_slicing,
    reason = "support code of tests: an index that is not there is a mistake in a test"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::config_store::{ConfigStore, Delivery, Handlers, Notice, Subscription, WriteError};
use model::object::Kind;
use model::{Object, ObjectKey};

mod histories;

pub use histories::{Change, Expected, Step, Write, replay, steps};

use crate::mesh::{gateway, namespace, pod, service};

/// A store under test, and its sources.
pub trait Harness {
    /// The store.
    fn store(&mut self) -> &mut dyn ConfigStore;
    /// How many sources it has. Of an object that several have, the first one's counts.
    fn sources(&self) -> usize;
    /// The source that writes go to, if the store takes writes.
    fn writer(&self) -> Option<usize>;
    /// The first load of one source. Before, the store need not know what is there.
    fn load(&mut self, source: usize);
    /// In this source these objects are now like this, or gone. Once it was loaded, the store has taken notice on return.
    fn change(&mut self, source: usize, changes: &[(ObjectKey, Option<Object>)]);
    /// Whether the store is told of each of several changes that are made at once, or sees only what became of them.
    fn tells_each(&self, source: usize) -> bool;
}

impl dyn Harness + '_ {
    fn put(&mut self, source: usize, object: Object) {
        self.change(source, &[(object.key(), Some(object))]);
    }

    fn remove(&mut self, source: usize, key: &ObjectKey) {
        self.change(source, &[(key.clone(), None)]);
    }
}

/// Makes a store without objects that has loaded nothing yet, with so many notices that wait for a follower.
pub type New<'a> = &'a dyn Fn(usize) -> Box<dyn Harness>;

/// Far more notices than the fixed laws cause.
const PLENTY: usize = 1_000;

/// Everything but the histories.
pub fn check_laws(new: New<'_>) {
    sync_comes_after_the_first_load_and_after_the_follower_saw_it(new);
    a_late_follower_first_sees_the_present_state(new);
    lists_are_of_one_namespace_or_all(new);
    if new(PLENTY).writer().is_some() {
        writes_obey_their_conditions(new);
        what_was_read_does_not_change(new);
        objects_of_other_sources_are_not_written(new);
    } else {
        a_store_without_a_writer_takes_no_writes(new);
    }
    handlers_are_called_in_their_order(new);
}

/// The objects of the laws: few, of several kinds and namespaces, one name for all.
pub fn keys() -> [ObjectKey; 6] {
    [
        ObjectKey::new(Kind::Namespace, "", "a"),
        ObjectKey::new(Kind::Namespace, "", "b"),
        ObjectKey::new(Kind::Gateway, "a", "x"),
        ObjectKey::new(Kind::Service, "a", "x"),
        ObjectKey::new(Kind::Service, "b", "x"),
        ObjectKey::new(Kind::Pod, "a", "x"),
    ]
}

/// An object with this key, one for each number.
pub fn object(key: &ObjectKey, says: usize) -> Object {
    let (ns, name, says) = (&key.namespace, &key.name, says.to_string());
    match key.kind {
        Kind::Namespace => namespace(name).label("says", &says).into(),
        Kind::Gateway => gateway(ns, name).label("says", &says).into(),
        Kind::Service => service(ns, name).label("says", &says).into(),
        _ => pod(ns, name).label("says", &says).into(),
    }
}

fn loaded(new: New<'_>) -> Box<dyn Harness> {
    let mut harness = new(PLENTY);
    (0..harness.sources()).for_each(|source| harness.load(source));
    harness
}

fn all(store: &dyn ConfigStore) -> Vec<Arc<Object>> {
    store.list(None, None)
}

/// A follower that does what it is told. It must end up with what the store lists.
#[derive(Debug)]
struct Follower {
    subscription: Subscription,
    objects: BTreeMap<ObjectKey, Arc<Object>>,
}

impl Follower {
    fn new(store: &mut dyn ConfigStore) -> Self {
        Self { subscription: store.subscribe(), objects: BTreeMap::new() }
    }

    fn follow(&mut self, store: &dyn ConfigStore) -> Delivery {
        let delivery = store.poll(&mut self.subscription);
        for notice in delivery.clone().into_notices(self.objects.keys().cloned().collect::<Vec<_>>()) {
            match notice {
                Notice::Apply(object) => drop(self.objects.insert(object.key(), object)),
                Notice::Delete(key) => drop(self.objects.remove(&key)),
            }
        }
        delivery
    }

    fn listed(&self) -> Vec<Arc<Object>> {
        self.objects.values().cloned().collect()
    }
}

fn sync_comes_after_the_first_load_and_after_the_follower_saw_it(new: New<'_>) {
    let mut harness = new(PLENTY);
    let mut early = Follower::new(harness.store());
    for source in 0..harness.sources() {
        harness.put(source, object(&keys()[source % keys().len()], source));
    }
    for source in 0..harness.sources() {
        early.follow(harness.store());
        assert!(!harness.store().has_synced(), "source {source} is not loaded");
        assert!(!early.subscription.has_synced(), "source {source} is not loaded");
        harness.load(source);
    }
    assert!(harness.store().has_synced(), "all sources are loaded");
    assert!(!early.subscription.has_synced(), "the follower has not been told yet");
    early.follow(harness.store());
    assert!(early.subscription.has_synced(), "the follower was told");
    assert_eq!(early.objects.len(), harness.sources().min(keys().len()));
    assert_eq!(early.listed(), all(harness.store()));
    // It stays so.
    harness.remove(0, &keys()[0]);
    early.follow(harness.store());
    assert!(harness.store().has_synced() && early.subscription.has_synced());
    let mut late = Follower::new(harness.store());
    assert!(!late.subscription.has_synced(), "it was told nothing yet");
    late.follow(harness.store());
    assert!(late.subscription.has_synced());
}

fn a_late_follower_first_sees_the_present_state(new: New<'_>) {
    let mut harness = loaded(new);
    let put = |harness: &mut dyn Harness, says| keys().iter().for_each(|key| harness.put(0, object(key, says)));
    put(&mut *harness, 1);
    put(&mut *harness, 2);
    harness.remove(0, &keys()[3]);
    let mut late = harness.store().subscribe();
    let present: Vec<_> = keys().iter().filter(|key| **key != keys()[3]).map(|key| object(key, 2)).collect();
    let Delivery::Relist(listing) = harness.store().poll(&mut late) else {
        unreachable!("the first delivery is a listing")
    };
    assert_eq!(listing.iter().map(|object| Object::clone(object)).collect::<Vec<_>>(), present);
    assert!(harness.store().poll(&mut late).is_empty(), "nothing is told twice");
    harness.remove(0, &keys()[5]);
    assert_eq!(harness.store().poll(&mut late), Delivery::Notices(vec![Notice::Delete(keys()[5].clone())]));
}

fn lists_are_of_one_namespace_or_all(new: New<'_>) {
    let mut harness = loaded(new);
    assert_eq!(all(harness.store()), []);
    for (at, key) in keys().iter().enumerate() {
        harness.put(at % harness.sources(), object(key, 1));
    }
    let store = harness.store();
    let kinds = [Kind::Namespace, Kind::GatewayClass, Kind::Gateway, Kind::Service, Kind::Pod];
    for kind in [None].into_iter().chain(kinds.map(Some)) {
        for namespace in [None, Some(""), Some("a"), Some("b"), Some("nowhere")] {
            let is_meant = |key: &&ObjectKey| {
                kind.is_none_or(|kind| key.kind == kind)
                    && namespace.is_none_or(|namespace| *key.namespace == *namespace)
            };
            let mut expected: Vec<ObjectKey> = keys().iter().filter(is_meant).cloned().collect();
            expected.sort();
            let listed: Vec<ObjectKey> = store.list(kind, namespace).iter().map(|object| object.key()).collect();
            assert_eq!(listed, expected, "{kind:?} in {namespace:?}");
        }
    }
    for key in keys() {
        assert_eq!(store.get(&key).as_deref(), Some(&object(&key, 1)));
    }
    assert_eq!(store.get(&ObjectKey::new(Kind::Service, "a", "y")), None);
    assert_eq!(store.get(&ObjectKey::new(Kind::Service, "", "a")), None, "a Namespace, not a Service");
}

fn writes_obey_their_conditions(new: New<'_>) {
    let mut harness = loaded(new);
    let store = harness.store();
    let [key, other, ..] = keys();
    let mut follower = Follower::new(store);
    follower.follow(store);
    let mut check = |store: &mut dyn ConfigStore, expected: &[Notice], now: &[Object]| {
        assert_eq!(follower.follow(store), Delivery::Notices(expected.to_vec()));
        assert_eq!(all(store).iter().map(|object| Object::clone(object)).collect::<Vec<_>>(), now);
    };
    let apply = |says| Notice::Apply(Arc::new(object(&key, says)));
    let [not_found, exists, conflict] = [
        Err(WriteError::NotFound { key: key.clone() }),
        Err(WriteError::AlreadyExists { key: key.clone() }),
        Err(WriteError::Conflict { key: key.clone() }),
    ];

    assert_eq!(store.update(object(&key, 1), None), not_found);
    assert_eq!(store.delete(&key, None), not_found);
    check(store, &[], &[]);
    assert_eq!(store.create(object(&key, 1)), Ok(()));
    check(store, &[apply(1)], &[object(&key, 1)]);
    assert_eq!(store.create(object(&key, 2)), exists);
    check(store, &[], &[object(&key, 1)]);

    let first = store.get(&key).unwrap_or_else(|| unreachable!("just created"));
    assert_eq!(store.update(object(&key, 2), Some(&first)), Ok(()));
    check(store, &[apply(2)], &[object(&key, 2)]);
    assert_eq!(store.update(object(&key, 3), Some(&first)), conflict, "a version that is over");
    assert_eq!(store.delete(&key, Some(&first)), conflict);
    assert_eq!(store.update(object(&key, 3), Some(&Arc::new(object(&other, 2)))), conflict, "no version of it at all");
    check(store, &[], &[object(&key, 2)]);
    assert_eq!(store.update(object(&key, 2), None), Ok(()), "but nothing changes");
    check(store, &[], &[object(&key, 2)]);
    assert_eq!(store.update(object(&key, 3), None), Ok(()), "without a condition");
    check(store, &[apply(3)], &[object(&key, 3)]);

    let third = store.get(&key);
    assert_eq!(store.delete(&key, third.as_ref()), Ok(()));
    check(store, &[Notice::Delete(key.clone())], &[]);
    assert_eq!(store.delete(&key, third.as_ref()), not_found);
    assert_eq!(store.update(object(&key, 4), third.as_ref()), not_found);
    check(store, &[], &[]);
}

fn what_was_read_does_not_change(new: New<'_>) {
    let mut harness = loaded(new);
    let store = harness.store();
    let [key, ..] = keys();
    assert_eq!(store.create(object(&key, 1)), Ok(()));
    let (got, listed) = (store.get(&key), all(store));
    assert_eq!(store.update(object(&key, 2), None), Ok(()));
    assert_eq!(store.delete(&key, None), Ok(()));
    assert_eq!(got.as_deref(), Some(&object(&key, 1)));
    assert_eq!(listed, [Arc::new(object(&key, 1))]);
}

fn objects_of_other_sources_are_not_written(new: New<'_>) {
    let mut harness = loaded(new);
    let others: Vec<usize> = (0..harness.sources()).filter(|source| Some(*source) != harness.writer()).collect();
    for source in others {
        let [key, ..] = keys();
        harness.put(source, object(&key, 1));
        let store = harness.store();
        assert_eq!(store.create(object(&key, 2)), Err(WriteError::AlreadyExists { key: key.clone() }));
        assert!(matches!(store.update(object(&key, 2), None), Err(WriteError::Unsupported { .. })), "{source}");
        assert!(matches!(store.delete(&key, None), Err(WriteError::Unsupported { .. })), "{source}");
        assert_eq!(store.get(&key).as_deref(), Some(&object(&key, 1)));
        harness.remove(source, &key);
    }
}

fn a_store_without_a_writer_takes_no_writes(new: New<'_>) {
    let mut harness = loaded(new);
    let [present, absent, ..] = keys();
    harness.put(0, object(&present, 1));
    let store = harness.store();
    let (mut subscription, before) = (store.subscribe(), all(store));
    store.poll(&mut subscription);
    for key in [present, absent] {
        let refused = |result| matches!(result, Err(WriteError::Unsupported { .. }));
        assert!(refused(store.create(object(&key, 2))), "{key}");
        assert!(refused(store.update(object(&key, 2), None)), "{key}");
        assert!(refused(store.update(object(&key, 2), before.first())), "{key}");
        assert!(refused(store.delete(&key, None)), "{key}");
    }
    assert_eq!(all(store), before);
    assert!(store.poll(&mut subscription).is_empty());
}

fn handlers_are_called_in_their_order(new: New<'_>) {
    let mut harness = loaded(new);
    let [first, second, ..] = keys();
    let calls = RefCell::new(Vec::new());
    let note = |who: usize| {
        let calls = &calls;
        move |_: &dyn ConfigStore, notice: &Notice| calls.borrow_mut().push((who, notice.clone()))
    };
    let mut handlers = Handlers::new(harness.store());
    handlers.register(harness.store(), note(0));
    handlers.register(harness.store(), note(1));
    assert!(!handlers.has_synced(), "they were told nothing yet");
    harness.put(0, object(&first, 1));
    handlers.run(harness.store());
    assert!(handlers.has_synced());
    let apply = |key, says| Notice::Apply(Arc::new(object(key, says)));
    assert_eq!(calls.take(), [(0, apply(&first, 1)), (1, apply(&first, 1))]);

    harness.put(0, object(&second, 1));
    handlers.register(harness.store(), note(2));
    assert_eq!(calls.take(), [(2, apply(&first, 1))], "a late one is told what the others know");
    harness.remove(0, &first);
    assert_eq!(handlers.run(harness.store()), 2);
    let expected = [apply(&second, 1), Notice::Delete(first)];
    let expected: Vec<_> = expected.iter().flat_map(|notice| (0..3).map(|who| (who, notice.clone()))).collect();
    assert_eq!(calls.take(), expected);
}
