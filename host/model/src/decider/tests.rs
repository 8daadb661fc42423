//! A Decider asks once, fails static, and lets nobody past a waypoint's owner. That it keeps up with changes is tested
//! with generated histories, outside this crate.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::batch::{AnswerChoice, AnswerTarget};
use crate::decision::OnUnreachable;
use crate::description::{Fields, Reach, Read, Reference, Source};
use crate::floor::ATTACHMENT_DENIED;
use crate::gateway::{Gateway, Listener};
use crate::object::{Kind, Meta, Object, ObjectKey};
use crate::store::{Event, Facts};
use crate::table::RowKind;
use crate::workload::Pod;

/// Chooses the first candidate, else none; fails at rows with the label `fail: yes` until it is healed.
#[derive(Default)]
struct Fragile {
    healed: std::sync::atomic::AtomicBool,
    /// Whether a failure says which row it was.
    names_row: bool,
    rows_asked: AtomicUsize,
    calls: AtomicUsize,
}

impl Resolver for Fragile {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.rows_asked.fetch_add(batch.subjects.len(), Ordering::Relaxed);
        let mut answers = Vec::new();
        for (row, question) in batch.subjects.iter().enumerate() {
            let labels = question.input.labels.as_ref().unwrap();
            let marked = labels.iter().any(|(key, value)| &**key == "fail" && &**value == "yes");
            if marked && !self.healed.load(Ordering::Relaxed) {
                let row = self.names_row.then_some(row);
                return Err(ResolveFailure { limit: Some("fuel: 1000".into()), what: "out of fuel".into(), row });
            }
            let target = |gateway: &u32| vec![AnswerTarget { gateway: *gateway, address: None, weight: 100 }];
            answers.push(Answer {
                choice: question
                    .candidates
                    .first()
                    .map_or(AnswerChoice::Direct, |g| AnswerChoice::Waypoints(target(g))),
                on_unreachable: OnUnreachable::Fail,
                reason: None,
                second_reason: None,
                ingress: false,
                tunnel: None,
            });
        }
        Ok(answers)
    }
}

fn description() -> Arc<Description> {
    let read = |key: &str| Read { at: Source::SubjectLabel, key: key.into() };
    let reference = Reference { name_label: "via".into(), namespace_label: None, inherit: false };
    Arc::new(Description {
        name: "fragile".into(),
        version: "1".into(),
        reads: ["fail", "via", "n"].map(read).into(),
        fields: Fields::default(),
        references: vec![reference],
        reach: Reach::Referenced,
    })
}

fn pod(name: &str, labels: &[(&str, &str)]) -> Event {
    Event::Apply(Object::Pod(Pod {
        meta: Meta { labels: labels.iter().copied().collect(), ..Meta::named("ns", name) },
        addresses: [[10, 0, 0, 1].into()].into(),
        ..Pod::named("ns", name)
    }))
}

fn waypoint(admits_from: &str) -> Event {
    let listener =
        Listener { port: 15008, protocol: "HBONE".into(), admits_from: Some(admits_from.into()), selector: None };
    Event::Apply(Object::Gateway(Gateway {
        meta: Meta::named("ns", "w"),
        class: "c".into(),
        listeners: vec![listener],
        addresses: Vec::new(),
    }))
}

fn key(name: &str) -> RowKey {
    RowKey::new(RowKind::Pod, "ns", name)
}

fn store(events: impl IntoIterator<Item = Event>) -> Store {
    let mut store = Store::new(Facts::default());
    store.apply_all(events);
    store
}

fn decide(resolver: &Arc<Fragile>, store: &Store) -> Result<Decider, (Option<RowKey>, ResolveFailure)> {
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    Decider::new(1, description(), Arc::clone(resolver) as Arc<dyn Resolver>, terms, store)
}

/// A mesh being followed, for short tests.
struct Followed {
    resolver: Arc<Fragile>,
    store: Store,
    decider: Decider,
}

impl Followed {
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        let (resolver, store) = (Arc::new(Fragile::default()), store(events));
        let decider = decide(&resolver, &store).unwrap();
        Self { resolver, store, decider }
    }

    /// Carries out one step; the names of the rows that moved.
    fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<String> {
        let changes = self.store.apply_all(events);
        names(self.decider.apply(&self.store, &changes))
    }

    fn shown(&self, name: &str) -> (String, bool) {
        let row = self.decider.table().get(&key(name)).unwrap();
        (row.decision.to_string(), row.degraded.is_some())
    }

    fn asked(&self) -> usize {
        self.resolver.rows_asked.load(Ordering::Relaxed)
    }
}

fn names(changes: Vec<RowChange>) -> Vec<String> {
    changes.into_iter().map(|change| change.key.name.to_string()).collect()
}

#[test]
fn a_first_decision_with_a_row_that_fails_is_refused_and_names_the_row() {
    let resolver = Arc::new(Fragile { names_row: true, ..Fragile::default() });
    let many = (0..700).map(|n| pod(&format!("p{n:03}"), &[("n", &n.to_string())]));
    let store = store(many.chain([pod("p555", &[("fail", "yes")])]));
    let (row, failure) = decide(&resolver, &store).err().unwrap();
    assert_eq!(row, Some(key("p555")), "not the row of that place in the first batch");
    let said = (failure.what.as_str(), failure.limit.as_deref());
    assert_eq!(said, ("out of fuel", Some("fuel: 1000")));
    assert_eq!(failure.to_string(), "out of fuel [limit: fuel: 1000]");
}

#[test]
fn a_failure_that_is_nobodys_names_the_row_only_where_it_was_asked_alone() {
    let resolver = Arc::new(Fragile::default());
    let alone = store([pod("bad", &[("fail", "yes")])]);
    assert_eq!(decide(&resolver, &alone).err().unwrap().0, Some(key("bad")));
    let two = store([pod("bad", &[("fail", "yes")]), pod("good", &[])]);
    assert_eq!(decide(&resolver, &two).err().unwrap().0, None);
}

#[test]
fn a_row_that_fails_keeps_its_last_good_decision_and_costs_no_other_its_own() {
    let mut mesh = Followed::new([waypoint("All"), pod("a", &[("via", "w")]), pod("b", &[("via", "w")])]);
    let moved = mesh.apply([pod("a", &[("fail", "yes")]), pod("b", &[])]);
    assert_eq!(moved, ["b"], "the row that fails does not move");
    assert_eq!(mesh.shown("a"), ("ns/w".into(), true));
    assert_eq!(mesh.shown("b"), ("direct".into(), false));
    assert_eq!(mesh.decider.degraded().iter().collect::<Vec<_>>(), [&key("a")]);
    let row = mesh.decider.table().get(&key("a")).unwrap();
    let why = row.degraded.as_deref().map(String::as_str);
    assert_eq!((why, row.revision), (Some("out of fuel [limit: fuel: 1000]"), 3), "why, and since when it is so");
}

#[test]
fn a_new_row_that_fails_takes_the_declared_default() {
    let mut mesh = Followed::new([pod("a", &[])]);
    assert_eq!(mesh.apply([pod("new", &[("fail", "yes")])]), ["new"]);
    assert_eq!(mesh.shown("new"), ("blocked".into(), true));
    assert_eq!(mesh.apply([Event::Delete(ObjectKey::new(Kind::Pod, "ns", "new"))]), ["new"]);
    assert!(mesh.decider.degraded().is_empty(), "a row that is gone is not degraded");
}

#[test]
fn asking_again_brings_degraded_rows_back() {
    let mut mesh = Followed::new([waypoint("All"), pod("a", &[]), pod("b", &[("via", "w")])]);
    mesh.apply([pod("a", &[("fail", "yes"), ("via", "w")]), pod("b", &[("fail", "yes"), ("via", "w")])]);
    assert_eq!(mesh.decider.retry_degraded().len(), 0, "it still fails");
    assert_eq!(mesh.decider.degraded().len(), 2);
    mesh.resolver.healed.store(true, Ordering::Relaxed);
    assert_eq!(names(mesh.decider.retry_degraded()), ["a"], "only this one's last good answer was another");
    assert_eq!((mesh.shown("a"), mesh.shown("b")), (("ns/w".into(), false), ("ns/w".into(), false)));
    assert!(mesh.decider.degraded().is_empty());
}

#[test]
fn a_degraded_row_comes_back_with_its_next_good_change_too() {
    let mut mesh = Followed::new([pod("a", &[])]);
    mesh.apply([pod("a", &[("fail", "yes")])]);
    assert!(mesh.apply([pod("a", &[("fail", "no")])]).is_empty(), "direct as before");
    assert_eq!(mesh.shown("a"), ("direct".into(), false));
    assert!(mesh.decider.degraded().is_empty());
}

#[test]
fn calls_that_fail_are_bounded() {
    let mut mesh = Followed::new([]);
    let many = (0..3 * BATCH_ROWS_MAX).map(|n| pod(&format!("p{n:03}"), &[("n", &n.to_string()), ("fail", "yes")]));
    let calls = mesh.resolver.calls.load(Ordering::Relaxed);
    mesh.apply(many);
    assert_eq!(mesh.resolver.calls.load(Ordering::Relaxed) - calls, FAILED_CALLS_MAX);
    assert_eq!(mesh.decider.degraded().len(), 3 * BATCH_ROWS_MAX);
}

#[test]
fn a_waypoint_whose_owner_does_not_admit_the_row_gives_way_to_the_floor() {
    let mut mesh = Followed::new([waypoint("All"), pod("a", &[("via", "w")])]);
    assert_eq!(mesh.shown("a").0, "ns/w");
    // The resolver never looks at listeners: the refusal is the host's. No selector object matches nothing (R11).
    assert_eq!(mesh.apply([waypoint("Selector")]), ["a"]);
    let decision = &mesh.decider.table().get(&key("a")).unwrap().decision;
    assert_eq!((decision.floor, decision.reason.as_deref()), (true, Some(ATTACHMENT_DENIED)));
    assert_eq!(decision.choice, Choice::Direct);
}

#[test]
fn a_last_good_decision_does_not_outlive_the_owners_consent() {
    let mut mesh = Followed::new([waypoint("All"), pod("a", &[("via", "w")])]);
    mesh.apply([pod("a", &[("via", "w"), ("fail", "yes")])]);
    assert_eq!(mesh.shown("a"), ("ns/w".into(), true));
    assert_eq!(mesh.apply([waypoint("Selector")]), ["a"]);
    assert_eq!(mesh.shown("a"), ("direct (AttachmentDenied)".into(), true));
}

#[test]
fn equal_questions_are_asked_once_whoever_asks() {
    let mut mesh = Followed::new((0..100).map(|n| pod(&format!("p{n}"), &[("unread", &n.to_string())])));
    assert_eq!((mesh.asked(), mesh.decider.distinct()), (1, 1));
    mesh.apply([pod("another", &[]), pod("p0", &[("n", "1")]), pod("p1", &[("n", "1")])]);
    assert_eq!((mesh.asked(), mesh.decider.distinct()), (2, 2));
}

#[test]
fn answers_that_nobody_needs_are_forgotten_and_the_others_are_not() {
    let mut mesh = Followed::new([pod("first", &[]), pod("second", &[]), pod("busy", &[("n", "start")])]);
    // Who brought the answer leaves; it is still needed by the second, which asked for the same.
    mesh.apply([pod("first", &[("n", "other")])]);
    for n in 0..10 * BATCH_ROWS_MAX {
        mesh.apply([pod("busy", &[("n", &n.to_string())])]);
        assert!(mesh.decider.answers.len() <= 2 * 3 + BATCH_ROWS_MAX + 1, "{} are kept", mesh.decider.answers.len());
    }
    let asked = mesh.asked();
    mesh.apply([pod("third", &[])]);
    assert_eq!(mesh.asked(), asked, "the second's answer was kept");
}

#[test]
fn rows_that_ask_the_same_share_one_question_after_changes_too() {
    let mut mesh = Followed::new([pod("a", &[]), pod("b", &[("n", "1")])]);
    mesh.apply([pod("b", &[])]);
    let input = |name: &str| mesh.decider.table().get(&key(name)).unwrap().input.clone();
    assert!(std::ptr::eq(&*input("a"), &*input("b")), "two values would cost memory for every row");
}

#[test]
fn a_new_number_is_only_a_number() {
    let mut mesh = Followed::new([pod("a", &[])]);
    let before = mesh.decider.table().clone();
    mesh.decider.renumber(7);
    assert_eq!((before.rules, mesh.decider.table().rules), (1, 7));
    assert!(before.diff(mesh.decider.table()).is_empty());
}
