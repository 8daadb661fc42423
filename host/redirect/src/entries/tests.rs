//! Decisions against the entries they become, and claims against a naive recount.

use std::sync::Arc;

use model::decision::WaypointAddress;
use model::gateway::GatewayKey;
use model::input::{Input, NamespaceInput, Shared, SubjectKind};
use model::table::{RowChange, RowKind, Subject};

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn target(weight: u8, dial: &[&str]) -> Target {
    let dial: Vec<IpAddr> = dial.iter().map(|text| ip(text)).collect();
    let address = dial.first().map(|ip| WaypointAddress::Ip { network: "".into(), ip: *ip });
    Target { gateway: GatewayKey::new("ns", "waypoint"), address, dial, weight }
}

fn decision(choice: Choice, on_unreachable: OnUnreachable) -> Decision {
    Decision { on_unreachable, ..Decision::without_waypoint(choice, None) }
}

fn through(targets: &[Target], on_unreachable: OnUnreachable) -> Decision {
    decision(Choice::Waypoints(targets.into()), on_unreachable)
}

fn row(addresses: &[&str], decision: Decision, revision: u64) -> Row {
    let input = Input::about(SubjectKind::Service, NamespaceInput::named("ns"));
    let subject = Subject {
        hosts: Arc::default(),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        dialled_by_address: true,
    };
    Row { subject, input: Shared::new(input), decision: Arc::new(decision), revision, degraded: None }
}

fn service(name: &str) -> RowKey {
    RowKey::new(RowKind::Service, "ns", name)
}

fn pod(name: &str) -> RowKey {
    RowKey::new(RowKind::Pod, "ns", name)
}

fn redirect(to: &str) -> Action {
    Action::Redirect(to.parse().unwrap())
}

#[test]
fn every_choice_becomes_its_action() {
    use OnUnreachable::{Bypass, Fail};
    let rows = [
        (decision(Choice::Keep, Fail), "10.0.0.1", Action::Pass),
        (decision(Choice::Direct, Fail), "10.0.0.1", Action::Pass),
        (decision(Choice::Blocked, Bypass), "10.0.0.1", Action::Deny(111)),
        (through(&[target(100, &["10.1.0.1"])], Fail), "10.0.0.1", redirect("10.1.0.1:15008")),
        (through(&[target(100, &[])], Fail), "10.0.0.1", Action::Deny(113)),
        (through(&[target(100, &[])], Bypass), "10.0.0.1", Action::Pass),
        (through(&[], Fail), "10.0.0.1", Action::Deny(113)),
        // The first with weight and an address; weight 0 is bound and gets nothing.
        (
            through(&[target(0, &["10.1.0.1"]), target(100, &["10.1.0.2"])], Fail),
            "10.0.0.1",
            redirect("10.1.0.2:15008"),
        ),
        (through(&[target(90, &[]), target(10, &["10.1.0.2"])], Fail), "10.0.0.1", redirect("10.1.0.2:15008")),
        (through(&[target(0, &["10.1.0.1"])], Fail), "10.0.0.1", Action::Deny(113)),
        // The destination's own family first, the other one rather than none.
        (through(&[target(100, &["fd00::1", "10.1.0.1"])], Fail), "10.0.0.1", redirect("10.1.0.1:15008")),
        (through(&[target(100, &["10.1.0.1", "fd00::1"])], Fail), "fd00::7", redirect("[fd00::1]:15008")),
        (through(&[target(100, &["10.1.0.1"])], Fail), "fd00::7", redirect("10.1.0.1:15008")),
        (through(&[target(100, &["fd00::1", "10.1.0.1"])], Fail), "::ffff:10.0.0.1", redirect("10.1.0.1:15008")),
        // An address that is none is as good as none.
        (through(&[target(100, &["0.0.0.0"])], Fail), "10.0.0.1", Action::Deny(113)),
        (through(&[target(100, &["::", "10.1.0.1"])], Fail), "fd00::7", redirect("10.1.0.1:15008")),
    ];
    for (decision, destination, expected) in rows {
        assert_eq!(action(&decision, ip(destination)), expected, "{decision} for {destination}");
    }
}

#[test]
fn of_several_rows_with_one_address_the_first_service_counts() {
    let mut table = Table::new(1, 1);
    let direct = || decision(Choice::Direct, OnUnreachable::Fail);
    for (key, revision) in [(pod("a"), 1), (service("z"), 2), (service("b"), 3), (pod("c"), 4)] {
        table.set(key, Some(row(&["10.0.0.1"], direct(), revision)));
    }
    let winner = |table: &Table| {
        let claims = Claims::of(table, 0);
        entry(&claims, table, ip("10.0.0.1")).map(|entry| (entry.revision, claims.row(entry.rule_id).unwrap().clone()))
    };
    for (gone, expected) in [
        (None, Some((3, service("b")))),
        (Some(service("b")), Some((2, service("z")))),
        (Some(service("z")), Some((1, pod("a")))),
        (Some(pod("a")), Some((4, pod("c")))),
        (Some(pod("c")), None),
    ] {
        if let Some(key) = gone {
            table.set(key, None);
        }
        assert_eq!(winner(&table), expected);
    }
}

#[test]
fn a_workload_not_dialled_by_address_has_no_entry() {
    let mut table = Table::new(1, 1);
    let mut row = row(&["10.0.0.1"], decision(Choice::Direct, OnUnreachable::Fail), 1);
    row.subject.dialled_by_address = false;
    table.set(pod("host-network"), Some(row));
    assert_eq!(Claims::of(&table, 0).destinations().count(), 0);
}

#[test]
fn numbers_of_two_tables_in_a_row_are_apart() {
    let mut table = Table::new(1, 1);
    table.set(pod("a"), Some(row(&["10.0.0.1"], decision(Choice::Direct, OnUnreachable::Fail), 1)));
    let first = Claims::of(&table, u32::MAX);
    let second = Claims::of(&table, first.next_id());
    let (one, other) = (first.winner(ip("10.0.0.1")).unwrap(), second.winner(ip("10.0.0.1")).unwrap());
    assert_ne!(one, other);
    assert_eq!((first.row(one), first.row(other)), (Some(&pod("a")), None));
    assert_eq!((second.row(other), second.row(one)), (Some(&pod("a")), None));
}

/// Changes in an order that a fixed sequence of numbers decides; after each, every address must have the entry that a
/// table built from nothing gives it.
#[test]
fn claims_kept_up_by_changes_are_those_of_a_fresh_table() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut table = Table::new(1, 1);
    let mut claims = Claims::of(&table, 0);
    for step in 0..3000 {
        let name = format!("row-{}", next(12));
        let key = if next(2) == 0 { pod(&name) } else { service(&name) };
        let after = (next(4) != 0).then(|| {
            let addresses: Vec<String> = (0..next(3)).map(|_| format!("10.0.0.{}", next(6))).collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            row(
                &addresses,
                decision(if next(2) == 0 { Choice::Direct } else { Choice::Blocked }, OnUnreachable::Fail),
                step,
            )
        });
        let before = table.set(key.clone(), after.clone());
        if before.is_none() && after.is_none() {
            continue;
        }
        let touched: Vec<IpAddr> = claims.apply(&RowChange { key, before, after });
        let fresh = Claims::of(&table, 0);
        for n in 0..6 {
            let ip = ip(&format!("10.0.0.{n}"));
            let kept = claims.winner(ip).and_then(|id| claims.row(id));
            assert_eq!(kept, fresh.winner(ip).and_then(|id| fresh.row(id)), "step {step}, {ip}, touched {touched:?}");
        }
        assert_eq!(claims.destinations().count(), fresh.destinations().count(), "step {step}");
    }
}

#[test]
fn rows_that_come_and_go_end_in_a_whole_publish() {
    let mut table = Table::new(1, 1);
    let mut claims = Claims::of(&table, 0);
    for n in 0..5000 {
        assert_eq!(claims.is_bloated(), n > 4096, "after {n} rows");
        let (key, new) = (pod(&n.to_string()), row(&["10.0.0.1"], decision(Choice::Direct, OnUnreachable::Fail), n));
        claims.apply(&RowChange { key: key.clone(), before: None, after: Some(new.clone()) });
        claims.apply(&RowChange { key: key.clone(), before: Some(new), after: None });
        table.set(key, None);
    }
}
