//! What is particular about each piece: limits, places, shadows, messages. The laws that all stores obey, over generated
//! histories, are in the crate `tests`.

use std::cell::RefCell;

use super::*;
use crate::namespace::Namespace;
use crate::object::Meta;

/// A Namespace that says something, so that its versions differ.
fn object(name: &str, says: u32) -> Object {
    let labels = [("says", says.to_string())].into_iter().collect();
    Object::Namespace(Namespace { meta: Meta { labels, ..Meta::named("", name) } })
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Namespace, "", name)
}

fn shown(object: &Object) -> String {
    let meta = object.meta();
    format!("{}={}", meta.name, meta.labels.get("says").map_or("", |says| &**says))
}

fn line(notice: &Notice) -> String {
    match notice {
        Notice::Apply(object) => shown(object),
        Notice::Delete(key) => format!("-{}", key.name),
    }
}

/// The notices as `a=1` and `-a`, those of a relist after `all:`.
fn polled(store: &dyn ConfigStore, subscription: &mut Subscription) -> String {
    match store.poll(subscription) {
        Delivery::Notices(notices) => notices.iter().map(line).collect::<Vec<_>>().join(" "),
        Delivery::Relist(all) => format!("all: {}", all.iter().map(|o| shown(o)).collect::<Vec<_>>().join(" ")),
    }
}

fn memory(objects: &[(&str, u32)]) -> MemoryStore {
    let mut store = MemoryStore::default();
    objects.iter().for_each(|(name, says)| store.put(object(name, *says)));
    store
}

#[test]
fn a_follower_that_falls_too_far_behind_is_relisted_and_one_that_does_not_is_not() {
    let mut store = MemoryStore::awaiting_load(3);
    let (mut quick, mut slow) = (store.subscribe(), store.subscribe());
    assert_eq!((polled(&store, &mut quick), polled(&store, &mut slow)), ("all: ".into(), "all: ".into()));
    for says in 1..=3 {
        store.put(object("a", says));
        assert_eq!(polled(&store, &mut quick), format!("a={says}"));
    }
    assert_eq!(polled(&store, &mut slow), "a=1 a=2 a=3");
    for says in 4..=7 {
        store.put(object("a", says));
        assert_eq!(polled(&store, &mut quick), format!("a={says}"));
    }
    assert_eq!(polled(&store, &mut slow), "all: a=7");
    store.remove(&key("a"));
    assert_eq!((polled(&store, &mut quick), polled(&store, &mut slow)), ("-a".into(), "-a".into()));
}

#[test]
fn the_queue_keeps_only_what_somebody_has_yet_to_read() {
    let mut store = MemoryStore::awaiting_load(10);
    for says in 0..5 {
        store.put(object("a", says));
    }
    assert_eq!(store.waiting(), 0, "nobody follows");
    let mut slow = store.subscribe();
    for says in 5..10 {
        store.put(object("a", says));
    }
    assert_eq!(store.waiting(), 0, "a new follower is listed everything anyway");
    polled(&store, &mut slow);
    let mut quick = store.subscribe();
    polled(&store, &mut quick);
    for says in 10..14 {
        store.put(object("a", says));
        polled(&store, &mut quick);
    }
    assert_eq!(store.waiting(), 4);
    drop(slow);
    store.put(object("a", 14));
    assert_eq!(store.waiting(), 1, "who left holds nothing");
    for says in 20..40 {
        store.put(object("a", says));
    }
    assert_eq!(store.waiting(), 0, "who is to be relisted holds nothing");
    assert_eq!(polled(&store, &mut quick), "all: a=39");
}

#[test]
fn a_subscription_of_another_store_is_always_relisted_and_keeps_its_own_place() {
    let (mut ours, other) = (memory(&[("a", 1)]), memory(&[("b", 1)]));
    let mut subscription = ours.subscribe();
    polled(&ours, &mut subscription);
    ours.put(object("a", 2));
    assert_eq!(polled(&other, &mut subscription), "all: b=1");
    assert_eq!(polled(&other, &mut subscription), "all: b=1");
    assert_eq!(polled(&ours, &mut subscription), "a=2");
}

#[test]
fn replacing_all_objects_announces_what_is_different_first_what_came_then_what_went() {
    let mut store = memory(&[("a", 1), ("b", 1), ("c", 1)]);
    let mut subscription = store.subscribe();
    polled(&store, &mut subscription);
    let now = [object("b", 1), object("c", 2), object("d", 1)];
    store.replace(now.into_iter().map(|object| (object.key(), Arc::new(object))).collect());
    assert_eq!(polled(&store, &mut subscription), "c=2 d=1 -a");
    assert_eq!(store.len(), 3);
}

#[test]
fn a_relist_becomes_deletions_of_what_is_not_listed() {
    let listing = ["a", "c"].map(|name| Arc::new(object(name, 1))).to_vec();
    let notices = Delivery::Relist(listing).into_notices(["b", "c", "d"].map(key));
    assert_eq!(notices.iter().map(line).collect::<Vec<_>>(), ["a=1", "c=1", "-b", "-d"]);
    let notices = Delivery::Notices(vec![Notice::Delete(key("x"))]).into_notices(["b"].map(key));
    assert_eq!(notices.iter().map(line).collect::<Vec<_>>(), ["-x"]);
    assert!(Delivery::Notices(Vec::new()).is_empty() && !Delivery::Relist(Vec::new()).is_empty());
}

#[test]
fn an_object_that_was_made_anew_is_another_version_even_if_it_says_the_same() {
    let mut store = memory(&[("a", 1)]);
    let read = store.get(&key("a")).unwrap();
    store.update(object("a", 1), Some(&read)).unwrap();
    assert!(Arc::ptr_eq(&read, &store.get(&key("a")).unwrap()), "an update that says the same is none");
    store.delete(&key("a"), Some(&read)).unwrap();
    store.create(object("a", 1)).unwrap();
    let conflict = Err(WriteError::Conflict { key: key("a") });
    assert_eq!(store.update(object("a", 2), Some(&read)), conflict);
    assert_eq!(store.delete(&key("a"), Some(&read)), conflict);
    assert_eq!(store.get(&key("a")).as_deref(), Some(&object("a", 1)));
}

#[test]
fn the_first_store_wins_and_what_it_shadows_comes_to_light_when_it_goes() {
    let mut both = Aggregate::new(vec![memory(&[("a", 1)]), memory(&[("a", 2), ("b", 2)])], None);
    let mut subscription = both.subscribe();
    assert_eq!(polled(&both, &mut subscription), "all: a=1 b=2");
    both.with_store(1, |second| second.put(object("a", 3)));
    assert_eq!(polled(&both, &mut subscription), "", "it is shadowed");
    both.with_store(0, |first| first.remove(&key("a")));
    assert_eq!(polled(&both, &mut subscription), "a=3", "an update, not a deletion");
    both.with_store(0, |first| first.put(object("b", 1)));
    assert_eq!(polled(&both, &mut subscription), "b=1");
    both.with_store(1, |second| (second.remove(&key("b")), second.remove(&key("a"))));
    assert_eq!(polled(&both, &mut subscription), "-a");
    assert_eq!(both.get(&key("b")).as_deref(), Some(&object("b", 1)));
    assert!(both.with_store(2, |_| ()).is_none() && both.store(2).is_none() && both.store(1).unwrap().is_empty());
}

/// Within one change of a store every notice is judged by what the others hold, not by what this one holds in the end.
#[test]
fn a_store_that_changes_several_times_at_once_is_followed_step_by_step() {
    let mut both = Aggregate::new(vec![memory(&[]), memory(&[("a", 2)])], None);
    let mut subscription = both.subscribe();
    polled(&both, &mut subscription);
    both.with_store(0, |first| {
        first.put(object("a", 1));
        first.remove(&key("a"));
        first.put(object("a", 3));
    });
    assert_eq!(polled(&both, &mut subscription), "a=1 a=2 a=3");
}

#[test]
fn a_relist_of_one_store_is_a_relist_of_the_aggregate() {
    let mut both = Aggregate::new(vec![MemoryStore::awaiting_load(2), MemoryStore::awaiting_load(2)], None);
    let mut subscription = both.subscribe();
    polled(&both, &mut subscription);
    both.with_store(0, |first| first.put(object("a", 1)));
    assert_eq!(polled(&both, &mut subscription), "a=1");
    both.with_store(1, |second| ["b", "c", "d"].map(|name| second.put(object(name, 1))));
    assert_eq!(polled(&both, &mut subscription), "all: a=1 b=1 c=1 d=1");
    assert_eq!(polled(&both, &mut subscription), "");
}

#[test]
fn an_aggregate_writes_what_its_writer_holds_and_nothing_else() {
    let stores = || vec![memory(&[("a", 1)]), memory(&[("a", 2), ("b", 2)]), memory(&[("c", 3)])];
    let mut several = Aggregate::new(stores(), Some(1));
    let not_there = |name: &str| Err(WriteError::Unsupported { key: key(name), reason: aggregate::NOT_THE_WRITERS });
    for name in ["a", "b", "c"] {
        assert_eq!(several.create(object(name, 9)), Err(WriteError::AlreadyExists { key: key(name) }));
    }
    for name in ["a", "c"] {
        assert_eq!(several.update(object(name, 9), None), not_there(name));
        assert_eq!(several.delete(&key(name), None), not_there(name));
    }
    assert_eq!(several.update(object("d", 9), None), Err(WriteError::NotFound { key: key("d") }));
    several.update(object("b", 9), None).unwrap();
    several.create(object("d", 9)).unwrap();
    let all: Vec<String> = several.list(None, None).iter().map(|object| shown(object)).collect();
    assert_eq!(all, ["a=1", "b=9", "c=3", "d=9"]);
    assert_eq!(several.store(1).unwrap().len(), 3);

    for writer in [None, Some(3)] {
        let mut unwritten = Aggregate::new(stores(), writer);
        assert!(matches!(unwritten.create(object("d", 9)), Err(WriteError::Unsupported { .. })), "{writer:?}");
        assert!(matches!(unwritten.update(object("b", 9), None), Err(WriteError::Unsupported { .. })), "{writer:?}");
        assert!(matches!(unwritten.delete(&key("b"), None), Err(WriteError::Unsupported { .. })), "{writer:?}");
    }
}

#[test]
fn a_deletion_in_an_aggregate_shows_what_was_shadowed() {
    let mut both = Aggregate::new(vec![memory(&[("a", 1)]), memory(&[("a", 2)])], Some(0));
    let mut subscription = both.subscribe();
    polled(&both, &mut subscription);
    let read = both.get(&key("a")).unwrap();
    both.delete(&key("a"), Some(&read)).unwrap();
    assert_eq!(polled(&both, &mut subscription), "a=2");
}

#[test]
fn an_aggregate_has_synced_when_all_its_stores_have() {
    let mut both = Aggregate::new(vec![MemoryStore::default(), MemoryStore::awaiting_load(9)], None);
    let mut subscription = both.subscribe();
    both.with_store(1, |second| second.put(object("a", 1)));
    both.poll(&mut subscription);
    assert!(!both.has_synced() && !subscription.has_synced());
    both.with_store(1, MemoryStore::finish_load);
    assert!(both.has_synced() && !subscription.has_synced(), "the follower has not looked since");
    both.poll(&mut subscription);
    assert!(subscription.has_synced());
    assert!(Aggregate::<MemoryStore>::new(Vec::new(), None).has_synced(), "nothing to wait for");
}

#[test]
fn handlers_are_called_for_each_change_in_the_order_they_were_registered() {
    let calls = RefCell::new(Vec::new());
    let note = |who: &'static str| {
        let calls = &calls;
        move |store: &dyn ConfigStore, notice: &Notice| {
            let now = store.get(&notice.key()).map_or_else(|| "-".to_owned(), |object| shown(&object));
            calls.borrow_mut().push(format!("{who} {} now {now}", line(notice)));
        }
    };
    let mut store = memory(&[("a", 1)]);
    let mut handlers = Handlers::new(&mut store);
    handlers.register(&store, note("first"));
    handlers.register(&store, note("second"));
    assert!(calls.borrow().is_empty() && !handlers.has_synced());
    assert_eq!(handlers.run(&store), 1);
    assert!(handlers.has_synced());
    assert_eq!(calls.take(), ["first a=1 now a=1", "second a=1 now a=1"]);

    store.put(object("b", 1));
    store.remove(&key("b"));
    // The late one is told what the others were told so far, then goes on with them.
    handlers.register(&store, note("late"));
    assert_eq!(calls.take(), ["late a=1 now a=1"]);
    assert_eq!(handlers.run(&store), 2);
    assert_eq!(
        calls.take(),
        ["first b=1 now -", "second b=1 now -", "late b=1 now -", "first -b now -", "second -b now -", "late -b now -"]
    );
    assert_eq!(handlers.run(&store), 0);
    assert_eq!(format!("{handlers:?}"), "Handlers { told: 1, handlers: 3, .. }");
}

#[test]
fn a_relist_reaches_handlers_as_the_changes_it_amounts_to() {
    let calls = RefCell::new(Vec::new());
    let mut store = MemoryStore::awaiting_load(2);
    ["a", "b", "c"].iter().for_each(|name| store.put(object(name, 1)));
    let mut handlers = Handlers::new(&mut store);
    handlers.register(&store, |_, notice| calls.borrow_mut().push(line(notice)));
    handlers.run(&store);
    assert_eq!(calls.take(), ["a=1", "b=1", "c=1"]);
    store.put(object("b", 2));
    store.remove(&key("c"));
    store.put(object("d", 1));
    assert_eq!(handlers.run(&store), 3);
    assert_eq!(calls.take(), ["b=2", "d=1", "-c"]);
}

#[test]
fn a_refused_write_says_what_to_do() {
    let key = key("a");
    let check = |error: WriteError, expected: &str| assert_eq!(error.to_string(), expected);
    check(WriteError::NotFound { key: key.clone() }, "Namespace a is not there; create it");
    check(
        WriteError::AlreadyExists { key: key.clone() },
        "Namespace a exists already; update it, or choose another name",
    );
    check(
        WriteError::Conflict { key: key.clone() },
        "Namespace a has changed since it was read; read it again and repeat the change",
    );
    check(
        WriteError::Unsupported { key, reason: aggregate::NO_WRITER },
        "Namespace a cannot be written here: none of the stores takes writes; change it where it comes from",
    );
}

#[test]
fn a_waiting_notice_is_small() {
    assert_eq!(size_of::<Notice>(), 40);
}
