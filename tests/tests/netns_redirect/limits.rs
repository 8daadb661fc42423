//! What happens when something is full, too large or contradictory: a refusal with a reason, never a bypass.

use std::net::IpAddr;
use std::time::Duration;

use redirect::{Action, Change, Decided, Destination, Entry, Error, Reason};

use crate::harness::{at, listen, record_of, rule, start, taken};

fn many(from: u32, count: u32) -> impl Iterator<Item = Entry> {
    (from..from + count).map(|n| {
        let ip = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        Entry { destination: Destination::any_port(ip), action: Action::Deny(111), rule_id: n, revision: 1 }
    })
}

#[test]
fn a_set_larger_than_allowed_is_refused_and_the_active_one_stays() {
    let Some(mut h) = start("entries-max", |config| config.entries_max = 100) else {
        return;
    };
    h.publish(1, &many(0, 100).collect::<Vec<_>>());
    let error = h.redirect().prepare(2, many(0, 101)).unwrap_err();
    assert!(matches!(error, Error::TooManyEntries { entries: 101, entries_max: 100 }), "{error:?}");
    assert_eq!(error.to_string(), "101 entries are more than the 100 allowed: raise entries_max");
    let active = h.redirect().active().unwrap();
    assert_eq!((active.epoch, active.rules, active.entries), (1, 1, 100));
}

#[test]
fn two_entries_for_one_destination_are_refused() {
    let Some(mut h) = start("duplicate", |_| {}) else {
        return;
    };
    let twice = [rule("10.0.0.1", Action::Pass, 1), rule("::ffff:10.0.0.1", Action::Deny(111), 2)];
    let error = h.redirect().prepare(1, twice).unwrap_err();
    assert!(matches!(error, Error::DuplicateDestination { port: 0, .. }), "{error:?}");
    assert_eq!(h.redirect().active().unwrap().epoch, 0);
}

#[test]
fn a_live_set_that_is_full_says_so_and_a_publish_makes_room() {
    let Some(mut h) = start("full", |_| {}) else { return };
    h.publish(1, &many(0, 10).collect::<Vec<_>>());
    let changes: Vec<Change> = many(1000, 100_000).map(Change::Put).collect();
    let error = h.redirect().update(&changes).unwrap_err();
    let Error::Full { capacity, applied } = error else { panic!("{error:?}") };
    assert_eq!(applied, capacity as usize - 10, "the keys before the first that had no room");
    assert_eq!(h.redirect().active().unwrap().entries, u64::from(capacity));
    // What was in before is still decided on, and replaced keys need no room.
    assert_eq!(h.connect(at("10.0.0.3:80")).1.unwrap_err().raw_os_error(), Some(111));
    let mut replaced = many(3, 1).next().unwrap();
    replaced.action = Action::Deny(113);
    h.redirect().update(&[Change::Put(replaced)]).unwrap();
    assert_eq!(h.connect(at("10.0.0.3:80")).1.unwrap_err().raw_os_error(), Some(113));

    h.publish(1, &many(0, capacity + 1).collect::<Vec<_>>());
    h.redirect().update(&many(1_000_000, 1).map(Change::Put).collect::<Vec<_>>()).unwrap();
}

#[test]
fn a_record_without_room_is_counted_and_the_peer_finds_none() {
    let Some(mut h) = start("pair-full", |config| config.pair_entries = 4) else {
        return;
    };
    let (waypoint, open) = listen("127.0.0.1");
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(open), 1)]);
    let mut ends = Vec::new();
    for _ in 0..6 {
        ends.push(h.arrive(at("10.96.0.1:80"), &waypoint));
    }
    assert_eq!((h.count(Reason::PairStored), h.count(Reason::PairFull)), (4, 2));
    let records = h.records();
    let found: Vec<bool> = ends.iter().map(|(_, accepted)| taken(&records, accepted).is_some()).collect();
    assert_eq!(found, [true, true, true, true, false, false]);
    // The socket's own record does not depend on that map, and room comes back.
    assert_eq!(record_of(&records, &ends[5].0).action, Decided::Redirect);
    let (_client, accepted) = h.arrive(at("10.96.0.1:80"), &waypoint);
    assert!(taken(&records, &accepted).is_some());
}

#[test]
fn records_nobody_takes_are_swept_by_age() {
    let Some(mut h) = start("sweep", |_| {}) else { return };
    let (waypoint, open) = listen("127.0.0.1");
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(open), 1)]);
    let kept: Vec<_> = (0..3).map(|_| h.arrive(at("10.96.0.1:80"), &waypoint)).collect();
    assert_eq!(h.redirect().sweep(Duration::from_secs(60)).unwrap(), 0, "all are younger");
    assert_eq!(h.redirect().sweep(Duration::ZERO).unwrap(), 3);
    assert_eq!(taken(&h.records(), &kept[0].1), None);
}

#[test]
fn only_what_was_prepared_last_can_be_committed() {
    let Some(mut h) = start("superseded", |_| {}) else {
        return;
    };
    let first = h.redirect().prepare(1, many(0, 1)).unwrap();
    let second = h.redirect().prepare(2, many(0, 2)).unwrap();
    let error = h.redirect().commit(first).unwrap_err();
    assert!(matches!(error, Error::Superseded { epoch: 1 }), "{error:?}");
    assert_eq!(h.redirect().active().unwrap().epoch, 0);
    assert_eq!(h.redirect().commit(second).unwrap().rules, 2);
    let third = h.redirect().prepare(3, many(0, 3)).unwrap();
    h.redirect().abort(third);
    let active = h.redirect().active().unwrap();
    assert_eq!((active.epoch, active.rules, active.entries), (1, 2, 2));
}

#[test]
fn changes_before_the_first_set_are_refused() {
    let Some(mut h) = start("too-early", |_| {}) else {
        return;
    };
    let error = h.redirect().update(&[Change::Put(rule("10.0.0.1", Action::Pass, 1))]).unwrap_err();
    assert!(matches!(error, Error::NoActiveRules), "{error:?}");
}
