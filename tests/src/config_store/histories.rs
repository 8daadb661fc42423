//! Generated histories of a store and its followers, and what must come of them. The model is a map for each source and
//! the list of all changes that could be seen from outside.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::config_store::{ConfigStore, Delivery, Handlers, Notice, WriteError};
use model::{Object, ObjectKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{Follower, Harness, all, keys, object};

type Checked = Result<(), TestCaseError>;

/// Followers at most; the first looks after every step, the others when the history says so.
const FOLLOWERS: usize = 3;
/// Different contents of an object. Few, so that some puts change nothing.
const CONTENTS: usize = 4;

/// What happens next. Numbers, because those shrink; each is taken modulo how many there are.
#[derive(Clone, Debug)]
pub enum Step {
    /// A source changes in several places at once.
    Source { source: usize, changes: Vec<(usize, Change)> },
    /// Somebody writes to the store.
    Write { key: usize, write: Write },
    /// Everything is read again; nothing has changed.
    Refresh,
    /// A follower looks.
    Look { follower: usize },
    /// A follower leaves, and a new one takes its place.
    Join { follower: usize },
    /// The handlers run.
    Handle,
}

/// What happens to an object of a source.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is now like this.
    Put(usize),
    /// It is gone, if it was there.
    Remove,
}

/// What is asked of the store.
#[derive(Clone, Debug)]
pub enum Write {
    /// `create`.
    Create(usize),
    /// `update`.
    Update(usize, Expected),
    /// `delete`.
    Delete(Expected),
}

/// The condition of a write.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// None.
    Anything,
    /// What is there.
    Present,
    /// A version that is not there, though it says the same.
    Other,
}

/// Histories of up to `most` steps, three in ten changes a deletion.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let (number, content) = (0..12_usize, 0..CONTENTS);
    let change = prop_oneof![7 => content.clone().prop_map(Change::Put), 3 => Just(Change::Remove)];
    // Mostly one, and sometimes more than a queue holds.
    let change = (number.clone(), change);
    let changes = prop_oneof![4 => vec(change.clone(), 1), 1 => vec(change, 2..10)];
    let condition = || prop::sample::select(vec![Expected::Anything, Expected::Present, Expected::Other]);
    let write = prop_oneof![
        2 => content.clone().prop_map(Write::Create),
        2 => (content, condition()).prop_map(|(says, expected)| Write::Update(says, expected)),
        2 => condition().prop_map(Write::Delete),
    ];
    let step = prop_oneof![
        8 => (number.clone(), changes).prop_map(|(source, changes)| Step::Source { source, changes }),
        4 => (number.clone(), write).prop_map(|(key, write)| Step::Write { key, write }),
        1 => Just(Step::Refresh),
        3 => number.clone().prop_map(|follower| Step::Look { follower }),
        1 => number.prop_map(|follower| Step::Join { follower }),
        2 => Just(Step::Handle),
    ];
    vec(step, 1..most)
}

/// Carries out a history and checks after each step: what the store holds and what each follower is told.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn replay(harness: &mut dyn Harness, notices_max: usize, history: &[Step]) -> Checked {
    (0..harness.sources()).for_each(|source| harness.load(source));
    let sources = vec![BTreeMap::new(); harness.sources()];
    let mut model = Model { writer: harness.writer(), sources, changes: Vec::new(), notices_max, relist_from: 0 };
    let mut followers: Vec<Reader> = (0..FOLLOWERS).map(|_| Reader::new(harness.store())).collect();
    let calls = RefCell::new(Vec::new());
    let mut handlers = Handlers::new(harness.store());
    for who in 0..2 {
        let calls = &calls;
        handlers.register(harness.store(), move |_, notice: &Notice| calls.borrow_mut().push((who, notice.clone())));
    }
    let mut handled = Handled::default();
    for step in history {
        model.step(harness, step)?;
        match step {
            Step::Look { follower } => followers[follower % FOLLOWERS].look(harness.store(), &model)?,
            Step::Join { follower } => followers[follower % FOLLOWERS] = Reader::new(harness.store()),
            Step::Handle => {
                handlers.run(harness.store());
                handled.check(calls.take(), &model)?;
            }
            _ => {}
        }
        followers[0].look(harness.store(), &model)?;
        prop_assert_eq!(plain(&all(harness.store())), model.visible());
    }
    followers.iter_mut().try_for_each(|follower| follower.look(harness.store(), &model))?;
    handlers.run(harness.store());
    handled.check(calls.take(), &model)
}

struct Model {
    writer: Option<usize>,
    sources: Vec<BTreeMap<ObjectKey, Object>>,
    /// Every change that could be seen from outside, in its order.
    changes: Vec<Notice>,
    notices_max: usize,
    /// Who has read fewer changes than this may be relisted for the sake of a store below.
    relist_from: usize,
}

impl Model {
    fn holder(&self, key: &ObjectKey) -> Option<usize> {
        self.sources.iter().position(|source| source.contains_key(key))
    }

    /// The object that counts, and whose it is.
    fn seen(&self, key: &ObjectKey) -> Option<(usize, &Object)> {
        self.sources.iter().enumerate().find_map(|(at, source)| Some((at, source.get(key)?)))
    }

    fn visible(&self) -> Vec<Object> {
        let merged: BTreeMap<_, _> = self.sources.iter().rev().flatten().collect();
        merged.into_values().cloned().collect()
    }

    fn step(&mut self, harness: &mut dyn Harness, step: &Step) -> Checked {
        let keys = keys();
        match step {
            Step::Source { source, changes } => {
                let source = source % self.sources.len();
                let changes: Vec<_> =
                    changes.iter().map(|(key, change)| now(&keys[key % keys.len()], change)).collect();
                harness.change(source, &changes);
                let told = if harness.tells_each(source) { changes } else { self.net(source, changes) };
                if told.len() > self.notices_max {
                    self.relist_from = self.changes.len() + 1;
                }
                told.into_iter().for_each(|(key, now)| self.set(source, &key, now));
            }
            Step::Write { key, write } => self.write(harness.store(), &keys[key % keys.len()], write)?,
            Step::Refresh => harness.store().refresh(),
            Step::Look { .. } | Step::Join { .. } | Step::Handle => {}
        }
        Ok(())
    }

    /// What a source that is looked at only in the end has to say: what is different, first what came, then what went.
    fn net(&self, source: usize, changes: Vec<(ObjectKey, Option<Object>)>) -> Vec<(ObjectKey, Option<Object>)> {
        let last: BTreeMap<_, _> = changes.into_iter().collect();
        let is_news = |(key, now): &(ObjectKey, Option<Object>)| self.sources[source].get(key) != now.as_ref();
        let (came, went): (Vec<_>, Vec<_>) = last.into_iter().filter(is_news).partition(|(_, now)| now.is_some());
        came.into_iter().chain(went).collect()
    }

    /// What a follower that has read so many changes has missed, if it may be told that one by one; and whether it may be
    /// relisted instead. It must be if it is new, or further behind than the queue reaches. It may be if a store below
    /// has changed in more places at once than a queue holds.
    fn missed(&self, read: Option<usize>) -> (Option<&[Notice]>, bool) {
        let missed = read.and_then(|read| self.changes.get(read..)).filter(|missed| missed.len() <= self.notices_max);
        (missed, missed.is_none() || read.is_some_and(|read| read < self.relist_from))
    }

    fn set(&mut self, source: usize, key: &ObjectKey, now: Option<Object>) {
        let before = self.seen(key).map(|(holder, object)| (holder, object.clone()));
        match now {
            Some(object) => drop(self.sources[source].insert(key.clone(), object)),
            None => drop(self.sources[source].remove(key)),
        }
        let after = self.seen(key);
        if before.as_ref().map(|(holder, object)| (*holder, object)) != after {
            let gone = Notice::Delete(key.clone());
            self.changes.push(after.map_or(gone, |(_, object)| Notice::Apply(Arc::new(object.clone()))));
        }
    }

    /// Writes, and checks that the store answers as it must.
    fn write(&mut self, store: &mut dyn ConfigStore, key: &ObjectKey, write: &Write) -> Checked {
        let expected = match write {
            Write::Create(says) => return self.create(store, key, *says),
            Write::Update(_, expected) | Write::Delete(expected) => expected,
        };
        let present = store.get(key);
        let version = match (expected, &present) {
            (Expected::Anything, _) | (Expected::Present, None) => None,
            (Expected::Present, Some(object)) => Some(Arc::clone(object)),
            (Expected::Other, Some(object)) => Some(Arc::new(Object::clone(object))),
            (Expected::Other, None) => Some(Arc::new(object(key, 0))),
        };
        let told = match write {
            Write::Update(says, _) => store.update(object(key, *says), version.as_ref()),
            _ => store.delete(key, version.as_ref()),
        };
        let must = match (self.writer, self.holder(key)) {
            (None, _) => "unsupported",
            (_, None) => "not found",
            (writer, holder) if writer != holder => "unsupported",
            _ if matches!(expected, Expected::Other) => "conflict",
            _ => "done",
        };
        prop_assert_eq!(word(&told), must);
        if let (Ok(()), Some(writer)) = (told, self.writer) {
            let now = if let Write::Update(says, _) = write { Some(object(key, *says)) } else { None };
            self.set(writer, key, now);
        }
        Ok(())
    }

    fn create(&mut self, store: &mut dyn ConfigStore, key: &ObjectKey, says: usize) -> Checked {
        let told = store.create(object(key, says));
        let must = match (self.writer, self.holder(key)) {
            (None, _) => "unsupported",
            (_, Some(_)) => "exists",
            _ => "done",
        };
        prop_assert_eq!(word(&told), must);
        if let (Ok(()), Some(writer)) = (told, self.writer) {
            self.set(writer, key, Some(object(key, says)));
        }
        Ok(())
    }
}

fn now(key: &ObjectKey, change: &Change) -> (ObjectKey, Option<Object>) {
    let now = match change {
        Change::Put(says) => Some(object(key, *says)),
        Change::Remove => None,
    };
    (key.clone(), now)
}

fn word(told: &Result<(), WriteError>) -> &'static str {
    match told {
        Ok(()) => "done",
        Err(WriteError::NotFound { .. }) => "not found",
        Err(WriteError::AlreadyExists { .. }) => "exists",
        Err(WriteError::Conflict { .. }) => "conflict",
        Err(WriteError::Unsupported { .. }) => "unsupported",
    }
}

fn plain(listed: &[Arc<Object>]) -> Vec<Object> {
    listed.iter().map(|object| Object::clone(object)).collect()
}

/// A follower, and which of the model's changes it has been told. None: nothing ever.
struct Reader {
    follower: Follower,
    read: Option<usize>,
}

impl Reader {
    fn new(store: &mut dyn ConfigStore) -> Self {
        Self { follower: Follower::new(store), read: None }
    }

    /// It is told every change since it looked last, one by one and in order; or, if it is new or there were more than the
    /// queue holds, everything there is. Either way it then has what the store lists.
    fn look(&mut self, store: &dyn ConfigStore, model: &Model) -> Checked {
        let (missed, may_relist) = model.missed(self.read);
        match (self.follower.follow(store), missed) {
            (Delivery::Notices(told), Some(missed)) => {
                prop_assert_eq!(told.as_slice(), missed);
                for notice in told {
                    let (cached, now) = (store.get(&notice.key()), model.seen(&notice.key()));
                    let now = now.map(|(_, object)| object);
                    prop_assert_eq!(cached.as_deref(), now, "the cache is older than {:?}", notice);
                }
            }
            (Delivery::Relist(listing), _) if may_relist => prop_assert_eq!(plain(&listing), model.visible()),
            (told, missed) => prop_assert!(false, "missed {:?}, was told {:?}", missed, told),
        }
        self.read = Some(model.changes.len());
        prop_assert_eq!(plain(&self.follower.listed()), model.visible());
        Ok(())
    }
}

/// What two handlers were told.
#[derive(Default)]
struct Handled {
    read: Option<usize>,
    objects: BTreeMap<ObjectKey, Object>,
}

impl Handled {
    fn check(&mut self, calls: Vec<(usize, Notice)>, model: &Model) -> Checked {
        let told: Vec<Notice> = calls.iter().step_by(2).map(|(_, notice)| notice.clone()).collect();
        let both: Vec<_> = told.iter().flat_map(|notice| [(0, notice.clone()), (1, notice.clone())]).collect();
        prop_assert_eq!(&calls, &both, "each change reaches the first handler, then the second");
        let mut is_all_news = true;
        for notice in &told {
            is_all_news &= match notice {
                Notice::Apply(object) => {
                    self.objects.insert(object.key(), Object::clone(object)).is_none_or(|before| before != **object)
                }
                Notice::Delete(key) => self.objects.remove(key).is_some(),
            };
        }
        prop_assert_eq!(self.objects.values().cloned().collect::<Vec<_>>(), model.visible());
        let (missed, may_relist) = model.missed(self.read);
        let is_each = missed.is_some_and(|missed| told == missed);
        prop_assert!(is_each || may_relist && is_all_news, "missed {:?}, was told {:?}", missed, told);
        self.read = Some(model.changes.len());
        Ok(())
    }
}
