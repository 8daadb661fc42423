//! Agents come and go; what is in the kernel stays as it should, once, until it is taken out, and then nothing stays.

use std::fs;
use std::time::{Duration, Instant};

use redirect::{Action, Attached, BeforeRules, Error, LoadedObjects, Reason, Redirect, attached, loaded_objects};

use crate::harness::{at, errno, listen, record_of, rule, start, start_alone, taken};

const NONE: Attached = Attached { connect4: 0, connect6: 0, sockops: 0 };
const PATIENCE: Duration = Duration::from_secs(10);
const ONE: Attached = Attached { connect4: 1, connect6: 1, sockops: 1 };

#[test]
fn a_dead_agent_changes_nothing() {
    let Some(mut h) = start("dead", |_| {}) else { return };
    let (waypoint, open) = listen("127.0.0.1");
    h.publish(5, &[rule("10.96.0.1", Action::Redirect(open), 1)]);
    h.redirect = None;
    let records = h.records();
    let (client, accepted) = h.arrive(at("10.96.0.1:80"), &waypoint);
    let record = record_of(&records, &client);
    assert_eq!((record.rules, record.rule_id), (5, 1));
    assert_eq!(taken(&records, &accepted), Some(record));
}

#[test]
fn twenty_restarts_leave_one_link_per_hook_and_no_object_more() {
    let Some(mut h) = start_alone("restarts", |_| {}) else {
        return;
    };
    let (waypoint, open) = listen("127.0.0.1");
    h.publish(5, &[rule("10.96.0.1", Action::Redirect(open), 1)]);
    h.open().unwrap();
    let before = quiet();
    for restart in 0..20 {
        h.open().unwrap();
        assert_eq!(attached(&h.cgroup).unwrap(), ONE, "restart {restart}");
        let active = h.redirect().active().unwrap();
        assert_eq!((active.epoch, active.rules, active.entries), (1, 5, 1), "restart {restart}");
        let (client, _) = h.arrive(at("10.96.0.1:80"), &waypoint);
        assert_eq!(record_of(&h.records(), &client).rules, 5, "restart {restart}");
    }
    // The kernel frees what was replaced a little later.
    settle(|| loaded_objects() == before, || format!("{before:?} became {:?}", loaded_objects()));
}

#[test]
fn publishing_leaves_no_object_behind() {
    let Some(mut h) = start_alone("publishes", |_| {}) else {
        return;
    };
    for rules in 1..=3 {
        h.publish(rules, &[rule("10.96.0.1", Action::Pass, 1)]);
    }
    let before = quiet();
    for rules in 4..=30 {
        h.publish(rules, &[rule("10.96.0.1", Action::Pass, 1)]);
    }
    settle(|| loaded_objects() == before, || format!("{before:?} became {:?}", loaded_objects()));
}

#[test]
fn a_new_agent_brings_new_settings_into_the_links_that_are_there() {
    let Some(mut h) = start("settings", |_| {}) else { return };
    let (listener, open) = listen("127.0.0.1");
    assert_eq!(errno(h.connect(open).1), Some(111));
    h.config.before_rules = BeforeRules::Pass;
    h.open().unwrap();
    h.arrive(open, &listener);
    assert_eq!(attached(&h.cgroup).unwrap(), ONE);
    assert_eq!(h.count(Reason::BeforeRulesDenied), 1, "counters are those of the maps, not of the agent");
}

#[test]
fn an_agent_for_another_cgroup_takes_the_links_along() {
    let Some(mut h) = start("moved", |_| {}) else { return };
    h.publish(1, &[rule("127.0.0.1", Action::Deny(113), 1)]);
    let other = h.cgroup.join("below");
    fs::create_dir(&other).unwrap();
    h.config.cgroup = other.clone();
    h.open().unwrap();
    assert_eq!((attached(&h.cgroup).unwrap(), attached(&other).unwrap()), (NONE, ONE));
    let (listener, open) = listen("127.0.0.1");
    h.arrive(open, &listener);
    // And a cgroup that is gone is no obstacle.
    fs::remove_dir(&other).unwrap();
    h.config.cgroup = h.cgroup.clone();
    h.open().unwrap();
    assert_eq!(attached(&h.cgroup).unwrap(), ONE);
    assert_eq!(errno(h.connect(open).1), Some(113));
}

#[test]
fn a_second_agent_is_refused() {
    let Some(h) = start("second", |_| {}) else { return };
    let error = Redirect::open(&h.config).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("another agent uses"), "{error}");
}

#[test]
fn a_set_that_was_prepared_and_not_committed_never_decides() {
    let Some(mut h) = start("crash", |_| {}) else { return };
    let (waypoint, open) = listen("127.0.0.1");
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(open), 1)]);
    let prepared = h.redirect().prepare(2, [rule("10.96.0.1", Action::Deny(113), 2)]).unwrap();
    let (client, _) = h.arrive(at("10.96.0.1:80"), &waypoint);
    assert_eq!(record_of(&h.records(), &client).rules, 1);
    // The agent dies between prepare and commit.
    drop(prepared);
    h.redirect = None;
    h.open().unwrap();
    let active = h.redirect().active().unwrap();
    assert_eq!((active.epoch, active.rules, active.entries), (1, 1, 1));
    let (client, _) = h.arrive(at("10.96.0.1:80"), &waypoint);
    assert_eq!(record_of(&h.records(), &client).rules, 1);
    // And the next publish is as if nothing had been.
    h.publish(3, &[rule("10.96.0.1", Action::Deny(113), 3)]);
    assert_eq!(errno(h.connect(at("10.96.0.1:80")).1), Some(113));
    assert_eq!(h.redirect().active().unwrap().epoch, 2);
}

#[test]
fn a_link_of_another_hook_is_refused_and_left_alone() {
    let Some(mut h) = start("wrong-hook", |_| {}) else {
        return;
    };
    h.publish(1, &[rule("127.0.0.1", Action::Deny(113), 1)]);
    h.redirect = None;
    let pin = |name: &str| h.config.pin_dir.join(name);
    let swap = |one: &str, other: &str| {
        fs::rename(pin(one), pin("aside")).unwrap();
        fs::rename(pin(other), pin(one)).unwrap();
        fs::rename(pin("aside"), pin(other)).unwrap();
    };
    for (one, other) in [("link_connect4", "link_connect6"), ("link_connect4", "link_sockops")] {
        swap(one, other);
        let error = Redirect::open(&h.config).unwrap_err();
        assert!(matches!(error, Error::LinkOfAnotherHook { .. }), "{error:?}");
        swap(one, other);
        assert_eq!(attached(&h.cgroup).unwrap(), ONE);
        // Both hooks still run the program they should.
        assert_eq!(errno(h.connect(at("127.0.0.1:9")).1), Some(113));
        assert_eq!(errno(h.connect(at("[::ffff:127.0.0.1]:9")).1), Some(113));
    }
    h.open().unwrap();
}

#[test]
fn maps_of_another_shape_are_refused() {
    let Some(mut h) = start("shape", |config| config.pair_entries = 16) else {
        return;
    };
    h.redirect = None;
    h.config.pair_entries = 32;
    let error = h.open().unwrap_err();
    assert!(
        matches!(error, Error::PinOfAnotherVersion { field: "number of entries", found: 16, expected: 32, .. }),
        "{error:?}"
    );
    assert_eq!(attached(&h.cgroup).unwrap(), ONE, "what was there goes on");
    h.config.pair_entries = 16;
    h.open().unwrap();
}

#[test]
fn detaching_leaves_nothing() {
    let Some(mut h) = start_alone("detach", |_| {}) else {
        return;
    };
    h.redirect.take().unwrap().detach().unwrap();
    let before = quiet();
    h.open().unwrap();
    h.publish(1, &[rule("127.0.0.1", Action::Deny(113), 1)]);
    h.publish(2, &[rule("127.0.0.1", Action::Deny(113), 1)]);
    assert_ne!(loaded_objects(), before);
    let (listener, open) = listen("127.0.0.1");
    assert_eq!(errno(h.connect(open).1), Some(113));

    h.redirect.take().unwrap().detach().unwrap();
    assert!(!h.config.pin_dir.exists());
    assert_eq!(attached(&h.cgroup).unwrap(), NONE);
    let (socket, result) = h.connect(open);
    result.unwrap();
    listener.accept().unwrap();
    drop(socket);
    settle(|| loaded_objects() == before, || format!("{before:?} became {:?}", loaded_objects()));
}

#[test]
fn what_a_dead_agent_left_can_be_detached_without_one() {
    let Some(mut h) = start("detach-dead", |_| {}) else {
        return;
    };
    h.publish(1, &[rule("127.0.0.1", Action::Deny(113), 1)]);
    let error = redirect::detach(&h.config.pin_dir).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "not while the agent lives: {error:?}");
    assert_eq!(attached(&h.cgroup).unwrap(), ONE);
    h.redirect = None;
    assert!(redirect::detach(&h.config.pin_dir).unwrap());
    assert_eq!(attached(&h.cgroup).unwrap(), NONE);
    assert!(!h.config.pin_dir.exists());
    assert!(!redirect::detach(&h.config.pin_dir).unwrap(), "there is nothing left");
}

#[test]
fn what_is_no_cgroup_is_refused_with_where_cgroups_are() {
    let Some(h) = start("no-cgroup", |_| {}) else { return };
    let mut config = h.config.clone();
    config.pin_dir = h.config.pin_dir.with_extension("other");
    config.cgroup = "/proc".into();
    let error = Redirect::open(&config).unwrap_err();
    assert!(error.to_string().starts_with("/proc is not a cgroup of cgroup v2; its tree is mounted at /"), "{error}");
    config.cgroup = "wayswitch-there-is-no-such-cgroup".into();
    let error = Redirect::open(&config).unwrap_err();
    assert!(matches!(error, Error::File { doing: "find the cgroup", .. }), "{error:?}");
    config.cgroup = h.config.cgroup.clone();
    config.pin_dir = std::env::temp_dir().join("wayswitch-no-bpffs");
    let error = Redirect::open(&config).unwrap_err();
    assert!(error.to_string().contains("is not on a BPF filesystem"), "{error}");
    assert!(!config.pin_dir.exists());
}

/// What is loaded once the kernel is done freeing what earlier tests left.
fn quiet() -> LoadedObjects {
    let (mut last, mut since) = (loaded_objects(), Instant::now());
    let deadline = since + PATIENCE;
    while since.elapsed() < Duration::from_millis(300) {
        assert!(Instant::now() < deadline, "objects come and go all the time: {last:?}");
        std::thread::sleep(Duration::from_millis(10));
        if loaded_objects() != last {
            (last, since) = (loaded_objects(), Instant::now());
        }
    }
    last
}

/// Waits for what the kernel does a little later, such as freeing objects.
fn settle(done: impl Fn() -> bool, otherwise: impl FnOnce() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(10));
    }
}
