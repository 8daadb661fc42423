//! What is to be looked at and written, as a value: told what objects hold and what was decided, asked for the next write, and
//! told what became of it. Sends nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher;
use model::use_waypoint::wanted;
use model::{Kind, ObjectKey};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Config, Disagreement, Done, Mode, Outcome, Part, Seen, Write, later};
use crate::boot::BootTime;
use crate::conditions::{self, Differs};
use crate::error::Error;
use crate::feed::{Concerned, Decisions, Feed, News};
use crate::held::Held;
use crate::kinds::{about, resource};
use crate::labels;
use crate::raw::Raw;

/// Objects that are looked at without a pause.
const LOOKED_AT_MAX: usize = 256;

/// How long a difference must last: who writes the other side needs some time as well.
const SETTLED: Duration = Duration::from_secs(10);

/// Disagreements that are named.
const NAMED_MAX: usize = 1000;

/// Disagreements that are logged while we lead.
const LOGGED_MAX: usize = 100;

/// How long a kind is left alone that we may not write.
const BARRED: Duration = Duration::from_secs(60);

/// When the next object can be looked at or written.
pub(super) enum Due {
    Now,
    At(Instant),
}

/// See the module.
pub(super) struct Writer<'a> {
    config: Config,
    feed: &'a Feed,
    newest: Option<Arc<Decisions>>,
    held: HashMap<ObjectKey, Held>,
    /// Kinds of which all was read.
    whole: BTreeSet<Kind>,
    /// What the lists have that are being read.
    listed: HashMap<Kind, HashSet<ObjectKey>>,
    todo: BTreeSet<ObjectKey>,
    /// Writes that were decided on, an object's second one waits for the first.
    ready: Option<Write>,
    under_way: HashSet<ObjectKey>,
    /// Objects to be looked at again once the watch tells them.
    outdated: HashSet<ObjectKey>,
    /// Objects of which somebody else owns a field: not again while they are as they were.
    owned: HashMap<(ObjectKey, Part), u64>,
    barred: BTreeMap<(Kind, Part), (Instant, String)>,
    next: Instant,
    failures: u32,
    /// Why nothing could be written or read, by kind.
    problems: BTreeMap<(Option<Kind>, &'static str), String>,
    suspects: BTreeMap<ObjectKey, Instant>,
    disagreements: BTreeMap<ObjectKey, Arc<[Differs]>>,
    is_told_anew: bool,
    logged: usize,
    labels_in_the_way: BTreeSet<ObjectKey>,
    counted: Counted,
}

/// Since readers were told last.
#[derive(Default)]
struct Counted {
    writes: u64,
    refused: u64,
    late: u64,
    failed: u64,
    last_write: Option<BootTime>,
    progress: Option<BootTime>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(config: Config, feed: &'a Feed) -> Self {
        Self {
            config,
            feed,
            newest: None,
            held: HashMap::new(),
            whole: BTreeSet::new(),
            listed: HashMap::new(),
            todo: BTreeSet::new(),
            ready: None,
            under_way: HashSet::new(),
            outdated: HashSet::new(),
            owned: HashMap::new(),
            barred: BTreeMap::new(),
            next: Instant::now(),
            failures: 0,
            problems: BTreeMap::new(),
            suspects: BTreeMap::new(),
            disagreements: BTreeMap::new(),
            is_told_anew: true,
            logged: 0,
            labels_in_the_way: BTreeSet::new(),
            counted: Counted::default(),
        }
    }

    /// What the watch of a kind tells.
    pub(super) fn take(&mut self, kind: Kind, event: watcher::Result<watcher::Event<Raw>>) {
        match event {
            Ok(watcher::Event::Init) => drop(self.listed.insert(kind, HashSet::new())),
            Ok(watcher::Event::InitApply(raw)) => {
                let key = key(kind, &raw);
                if let Some(listed) = self.listed.get_mut(&kind) {
                    listed.insert(key.clone());
                }
                self.look(key, &raw);
            }
            Ok(watcher::Event::InitDone) => {
                let listed = self.listed.remove(&kind).unwrap_or_default();
                self.held.retain(|key, _| key.kind != kind || listed.contains(key));
                self.whole.insert(kind);
                self.problems.remove(&(Some(kind), "read"));
                self.everything(&[kind]);
            }
            Ok(watcher::Event::Apply(raw)) => self.look(key(kind, &raw), &raw),
            Ok(watcher::Event::Delete(raw)) => self.forget(&key(kind, &raw)),
            Err(error) => match about("watch", &resource(kind)).following(error) {
                None => {}
                // Not installed: there are none.
                Some(Error::NoSuchKind { .. }) => self.held.retain(|key, _| key.kind != kind),
                Some(error) => {
                    let what = format!("{kind} cannot be followed, and is not written: {error}");
                    self.problem((Some(kind), "read"), what);
                }
            },
        }
    }

    fn look(&mut self, key: ObjectKey, raw: &Raw) {
        let held = Held::read(key.kind, raw.version().unwrap_or_default(), raw.json());
        let before = self.held.get(&key);
        if before.is_some_and(|before| held.version < before.version) {
            return;
        }
        let is_news = before.is_none_or(|before| !before.is_like(&held)) || self.outdated.remove(&key);
        self.held.insert(key.clone(), held);
        if is_news {
            self.add(key);
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.held.remove(key);
        self.todo.remove(key);
        self.outdated.remove(key);
        self.suspects.remove(key);
        self.is_told_anew |= self.disagreements.remove(key).is_some();
        self.labels_in_the_way.remove(key);
        self.owned.retain(|(it, _), _| it != key);
    }

    /// What was decided.
    pub(super) fn hear(&mut self, news: News) {
        self.newest = news.decisions;
        match news.concerned {
            Concerned::Everything => self.everything(self.feed.kinds()),
            Concerned::These(keys) => keys.into_iter().for_each(|key| self.add(key)),
        }
    }

    /// All objects of these kinds that have something to say, and those that we wrote on.
    fn everything(&mut self, kinds: &[Kind]) {
        let Some(newest) = self.newest.clone() else { return };
        model::conditions::keys(newest.decided(), kinds).for_each(|key| self.add(key));
        let touched = self.held.iter().filter(|(key, held)| kinds.contains(&key.kind) && is_of_interest(held));
        let touched: Vec<ObjectKey> = touched.map(|(key, _)| key.clone()).collect();
        touched.into_iter().for_each(|key| self.add(key));
    }

    fn add(&mut self, key: ObjectKey) {
        // Of a kind that is being read everything is looked at once it is.
        if self.whole.contains(&key.kind) {
            self.todo.insert(key);
        }
    }

    /// When there is something to do; none while there is not.
    pub(super) fn due(&self) -> Option<Due> {
        if self.ready.is_some() {
            return Some(Due::At(self.next));
        }
        (!self.todo.is_empty() && self.newest.is_some()).then_some(Due::Now)
    }

    /// Looks at some objects. The next write, if it is its time.
    pub(super) fn next_write(&mut self) -> Option<Write> {
        if self.ready.is_none() {
            self.ready = self.find();
        }
        if Instant::now() < self.next {
            return None;
        }
        let write = self.ready.take()?;
        let pause = Duration::from_secs(1) / self.config.per_second.max(1);
        // A pause is not made up for.
        self.next = (self.next + pause).max(Instant::now());
        self.under_way.insert(write.key.clone());
        Some(write)
    }

    fn find(&mut self) -> Option<Write> {
        let newest = self.newest.clone()?;
        for _ in 0..LOOKED_AT_MAX {
            let key = self.todo.pop_first()?;
            if self.under_way.contains(&key) {
                // Looked at again when it is done.
                self.outdated.insert(key);
                continue;
            }
            let Some(held) = self.held.get(&key).cloned() else { continue };
            let conditions = self.conditions_of(&newest, &key, &held);
            let labels = self.labels_of(&newest, &key, &held);
            if conditions.is_some() && labels.is_some() {
                // One after the other: the second needs the version that the first makes.
                self.todo.insert(key);
                return conditions;
            }
            if let Some(write) = conditions.or(labels) {
                return Some(write);
            }
        }
        None
    }

    fn conditions_of(&mut self, newest: &Decisions, key: &ObjectKey, held: &Held) -> Option<Write> {
        if self.config.conditions == Mode::Off || !model::conditions::KINDS.contains(&key.kind) {
            return None;
        }
        let wanted = model::conditions::of(newest.decided(), key, newest.is_for_all);
        let is_compared = self.config.conditions == Mode::Compare;
        let differences = conditions::differences(&wanted, held, is_compared);
        self.compare(key, differences, Instant::now());
        if is_compared {
            return None;
        }
        let plan = conditions::plan(&wanted, held, Timestamp::now())?;
        let fields = if plan.is_empty() { Value::Null } else { json!({ "conditions": plan }) };
        self.write(key, Part::Conditions, held, fields)
    }

    fn labels_of(&mut self, newest: &Decisions, key: &ObjectKey, held: &Held) -> Option<Write> {
        if !self.config.labels || !model::use_waypoint::KINDS.contains(&key.kind) {
            return None;
        }
        let wanted = wanted(newest.decided(), key, newest.is_for_all);
        let (plan, is_in_the_way) = labels::plan(&wanted, &held.label);
        if is_in_the_way {
            self.labels_in_the_way.insert(key.clone());
        } else {
            self.labels_in_the_way.remove(key);
        }
        match plan {
            labels::Plan::Nothing => None,
            labels::Plan::Write(written) => self.write(key, Part::Labels, held, labels::metadata(&written)),
            labels::Plan::Remove => self.write(key, Part::Labels, held, Value::Null),
        }
    }

    fn write(&self, key: &ObjectKey, part: Part, held: &Held, fields: Value) -> Option<Write> {
        let is_barred = self.barred.contains_key(&(key.kind, part));
        let is_owned = self.owned.get(&(key.clone(), part)) == Some(&held.version);
        let can = held.version != 0 && !is_barred && !is_owned;
        can.then(|| Write { key: key.clone(), part, version: held.version, fields })
    }

    /// What became of a write.
    pub(super) fn settle(&mut self, Done { write, outcome }: Done) {
        let Write { key, part, version, .. } = write;
        self.under_way.remove(&key);
        self.counted.progress = Some(BootTime::now());
        let mut again = self.outdated.remove(&key);
        match outcome {
            Outcome::Written(raw) => {
                self.counted.writes += 1;
                self.counted.last_write = self.counted.progress;
                self.failures = 0;
                self.problems.remove(&(None, "write"));
                tracing::debug!(object = %key, ?part, "written");
                self.look(key.clone(), &raw);
            }
            Outcome::Late => self.counted.late += 1,
            Outcome::Outdated => {
                self.counted.refused += 1;
                // The watch may have told it by now, or will.
                let is_told = self.held.get(&key).is_none_or(|held| held.version != version);
                again |= is_told;
                if !is_told {
                    self.outdated.insert(key.clone());
                }
            }
            Outcome::Owned(why) => {
                self.counted.refused += 1;
                tracing::warn!(object = %key, "left to its owner: {why}");
                self.owned.insert((key.clone(), part), version);
            }
            Outcome::Gone => self.forget(&key),
            Outcome::Forbidden(why) => {
                self.counted.failed += 1;
                tracing::error!("{why}");
                self.barred.insert((key.kind, part), (Instant::now() + BARRED, why));
            }
            Outcome::Failed(why) => {
                self.counted.failed += 1;
                self.next = later(self.failures);
                self.failures += 1;
                self.problem((None, "write"), format!("cannot write to the cluster: {why}"));
                again = true;
            }
        }
        if again {
            self.add(key);
        }
    }

    /// Now and then.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        let over: Vec<(Kind, Part)> =
            self.barred.iter().filter(|(_, (until, _))| *until <= now).map(|(it, _)| *it).collect();
        for it in over {
            self.barred.remove(&it);
            self.everything(&[it.0]);
        }
        let settled = self.suspects.iter().filter(|(_, since)| now.duration_since(**since) >= SETTLED);
        let settled: Vec<ObjectKey> = settled.map(|(key, _)| key.clone()).collect();
        settled.into_iter().for_each(|key| self.add(key));
    }

    /// Remembers what somebody else says otherwise, once it lasted.
    fn compare(&mut self, key: &ObjectKey, differences: Vec<Differs>, now: Instant) {
        if differences.is_empty() {
            self.suspects.remove(key);
            self.is_told_anew |= self.disagreements.remove(key).is_some();
            return;
        }
        if self.disagreements.get(key).is_some_and(|known| **known == *differences) {
            return;
        }
        let since = *self.suspects.entry(key.clone()).or_insert(now);
        if now.duration_since(since) < SETTLED {
            return;
        }
        self.suspects.remove(key);
        let disagreement = Disagreement { object: key.clone(), differs: differences.into() };
        let is_new = self.disagreements.insert(key.clone(), Arc::clone(&disagreement.differs)).is_none();
        self.is_told_anew = true;
        if is_new && self.logged <= LOGGED_MAX {
            self.logged += 1;
            for line in disagreement.lines() {
                tracing::warn!("conditions disagree: {line}");
            }
            if self.logged > LOGGED_MAX {
                tracing::warn!("more conditions disagree; they are counted, and the first are in /conditions");
            }
        }
    }

    fn problem(&mut self, at: (Option<Kind>, &'static str), what: String) {
        if self.problems.get(&at) != Some(&what) {
            tracing::warn!("{what}");
            self.problems.insert(at, what);
        }
    }

    /// Tells readers how it goes.
    pub(super) fn tell(&mut self, seen: &mut Seen, under_way: usize) {
        let counted = std::mem::take(&mut self.counted);
        seen.writes += counted.writes;
        seen.refused += counted.refused;
        seen.late += counted.late;
        seen.failed += counted.failed;
        seen.last_write = counted.last_write.or(seen.last_write);
        seen.progress = counted.progress.or(seen.progress);
        seen.pending = self.todo.len() + usize::from(self.ready.is_some()) + under_way;
        if seen.pending == 0 && self.newest.is_some() && !self.whole.is_empty() {
            let now = Some(BootTime::now());
            (seen.last_round, seen.progress) = (now, now);
        }
        seen.disagreeing = self.disagreements.len();
        seen.labels_in_the_way = self.labels_in_the_way.len();
        let barred = self.barred.values().map(|(_, why)| why.clone());
        seen.problems = self.problems.values().cloned().chain(barred).collect();
        if std::mem::take(&mut self.is_told_anew) {
            let first = self.disagreements.iter().take(NAMED_MAX);
            let named = first.map(|(key, differs)| Disagreement { object: key.clone(), differs: Arc::clone(differs) });
            seen.disagreements = named.collect();
        }
    }
}

/// Whether there may be something to do about it that no decision names.
fn is_of_interest(held: &Held) -> bool {
    held.is_touched() || !held.conditions.is_empty()
}

fn key(kind: Kind, raw: &Raw) -> ObjectKey {
    let (namespace, name) = raw.names();
    ObjectKey::new(kind, namespace, name)
}
