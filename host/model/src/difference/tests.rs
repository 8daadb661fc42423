//! Each kind of change is told from the others, whatever else changed with it.

use std::sync::Arc;

use super::*;
use crate::decision::{Tunnel, TunnelProtocol, WaypointAddress};
use crate::input::{Input, NamespaceInput, Shared, SubjectKind};
use crate::table::{RowKind, Subject};

/// A decision in short: `direct`, `blocked`, `keep` or waypoints of the namespace `ns` with weights, `w:90 c:10`; behind
/// it a reason.
fn decision(text: &str) -> Decision {
    let (choice, reason) = text.split_once(' ').filter(|(_, rest)| !rest.contains(':')).unwrap_or((text, ""));
    let target = |text: &str| {
        let (name, weight) = text.split_once(':')?;
        let address = Some(WaypointAddress::Hostname(format!("{name}.ns").into()));
        let weight = weight.parse().unwrap();
        Some(Target { gateway: GatewayKey::new("ns", name), address, dial: Vec::new(), weight })
    };
    let choice = match choice {
        "direct" => Choice::Direct,
        "blocked" => Choice::Blocked,
        "keep" => Choice::Keep,
        waypoints => Choice::Waypoints(waypoints.split(' ').map(|it| target(it).unwrap()).collect()),
    };
    Decision::without_waypoint(choice, Some(reason).filter(|reason| !reason.is_empty()))
}

fn row(decision: Decision) -> Row {
    let input = Input::about(SubjectKind::Service, NamespaceInput::named("ns"));
    let subject = Subject { hosts: Arc::default(), addresses: crate::Addresses::default(), dialled_by_address: true };
    Row { subject, input: Shared::new(input), decision: Arc::new(decision), revision: 1, degraded: None }
}

fn check(before: &str, after: &str, expected: Option<Change>) {
    let change = Change::between(&row(decision(before)), &row(decision(after)));
    assert_eq!(change, expected, "{before} -> {after}");
}

#[test]
fn a_change_of_the_choice_is_told_by_what_it_means_for_traffic() {
    use Change::*;
    check("w:100", "direct WaypointIsNotReady", Some(LosesWaypoint));
    check("w:100", "direct", Some(LeavesWaypoint));
    check("blocked", "direct", Some(Opens));
    check("blocked Required", "w:100", Some(Unblocked));
    check("direct", "w:100", Some(GainsWaypoint));
    check("direct", "blocked", Some(Blocked));
    check("w:100", "blocked WaypointIsNotReady", Some(Blocked));
    check("keep", "blocked", Some(Blocked));
    check("keep", "direct", Some(Keeping));
    check("w:100", "keep", Some(Keeping));
}

#[test]
fn a_change_among_waypoints_is_told_by_the_first_one_and_the_shares() {
    use Change::*;
    check("w:100", "v:100", Some(MovesWaypoint));
    check("w:90 c:10", "c:90 w:10", Some(MovesWaypoint));
    check("w:100", "w:90 c:10", Some(Shares));
    check("w:90 c:10", "w:80 c:20", Some(Shares));
    check("w:90 c:10", "w:90 d:10", Some(Shares));
    check("w:90 c:10", "w:100", Some(Shares));
}

#[test]
fn equal_rows_do_not_differ() {
    for same in ["direct", "blocked", "keep", "w:100", "w:90 c:10", "direct WaypointIsNotReady"] {
        check(same, same, None);
    }
}

#[test]
fn the_reason_alone_is_the_least_of_changes() {
    check("direct", "direct WaypointIsNotReady", Some(Change::Reason));
    check("blocked Required", "blocked", Some(Change::Reason));
    let refused_second = Decision { second_reason: Some("CanaryInvalidWeight".into()), ..decision("w:100") };
    assert_eq!(Change::between(&row(decision("w:100")), &row(refused_second)), Some(Change::Reason));
}

#[test]
fn what_changes_beside_the_choice_is_told_unless_the_choice_matters_more() {
    let bypass = |text| Decision { on_unreachable: OnUnreachable::Bypass, ..decision(text) };
    let ingress = |text| Decision { ingress: true, ..decision(text) };
    let tunnel = Tunnel { protocol: TunnelProtocol::Proxy, port: 0 };
    let moved = Target { address: None, ..decision("w:100").targets()[0].clone() };
    let rows = [
        (decision("w:100"), bypass("w:100"), Some(Change::MayBypass)),
        (bypass("w:100"), decision("w:100"), Some(Change::MustNotBypass)),
        (decision("w:100"), bypass("v:100"), Some(Change::MayBypass)),
        (decision("w:100"), bypass("direct X"), Some(Change::LosesWaypoint)),
        (decision("direct"), bypass("direct"), None),
        (decision("direct"), bypass("w:100"), Some(Change::GainsWaypoint)),
        (decision("w:100"), ingress("w:100"), Some(Change::Ingress)),
        (decision("w:100"), ingress("w:90 c:10"), Some(Change::Shares)),
        (decision("direct"), Decision { tunnel: Some(tunnel), ..decision("direct") }, Some(Change::Tunnel)),
        (
            decision("w:100"),
            Decision { choice: Choice::Waypoints([moved].into()), ..decision("w:100") },
            Some(Change::Address),
        ),
    ];
    for (before, after, expected) in rows {
        let change = Change::between(&row(before.clone()), &row(after.clone()));
        assert_eq!(change, expected, "{before:?} -> {after:?}");
    }
    let (before, mut after) = (row(decision("direct")), row(decision("direct X")));
    after.subject.hosts = ["h".into()].into();
    assert_eq!(Change::between(&before, &after), Some(Change::Subject));
}

fn table(rows: &[(&str, &str, &str)]) -> Table {
    let mut table = Table::new(1, 1);
    for (namespace, name, text) in rows {
        table.set(RowKey::new(RowKind::Service, namespace, name), Some(row(decision(text))));
    }
    table
}

#[test]
fn tables_of_different_meshes_are_compared_by_key() {
    let before = table(&[
        ("a", "gone", "w:100"),
        ("a", "loses", "w:100"),
        ("a", "same", "w:100"),
        ("b", "moves", "w:100"),
        ("b", "weighted", "w:100"),
    ]);
    let after = table(&[
        ("a", "loses", "direct X"),
        ("a", "new", "direct"),
        ("a", "same", "w:100"),
        ("b", "moves", "v:100"),
        ("b", "weighted", "w:99 c:1"),
        ("c", "new", "w:100"),
    ]);
    let difference = Difference::between(&before, &after);
    assert_eq!(difference.in_both, 4);
    let told =
        |rows: Vec<&Differing>| rows.iter().map(|row| (row.key.name.to_string(), row.change)).collect::<Vec<_>>();
    let namespaces: Vec<_> = difference.by_namespace().into_iter().map(|(ns, rows)| (ns, told(rows))).collect();
    let row = |name: &str, change| (name.to_owned(), change);
    let expected = [
        ("a", vec![row("loses", Change::LosesWaypoint), row("gone", Change::Went), row("new", Change::Came)]),
        ("b", vec![row("moves", Change::MovesWaypoint), row("weighted", Change::Shares)]),
        ("c", vec![row("new", Change::Came)]),
    ];
    assert_eq!(namespaces, expected.map(|(ns, rows)| (Name::from(ns), rows)));
    assert_eq!(difference.counts().get(&Change::Came), Some(&2));
    let waypoint = |name| Way::Waypoint(GatewayKey::new("ns", name));
    let flows: Vec<_> = difference.flows().into_iter().collect();
    assert_eq!(flows, [((waypoint("w"), waypoint("v")), 1), ((waypoint("w"), Way::Direct), 1)]);
}

#[test]
fn a_table_does_not_differ_from_itself() {
    let table = table(&[("a", "s", "w:100"), ("b", "s", "direct")]);
    let difference = Difference::between(&table, &table);
    assert!(difference.is_empty() && difference.flows().is_empty(), "{difference:?}");
    assert_eq!(difference.in_both, 2);
    assert_eq!(Difference::between(&Table::default(), &table).rows.len(), 2);
    assert_eq!(Difference::between(&table, &Table::default()).rows.len(), 2);
}

#[test]
fn only_what_lets_traffic_past_a_waypoint_exposes() {
    use Change::*;
    for change in [LosesWaypoint, Opens, LeavesWaypoint, MayBypass] {
        assert!(change.exposes(), "{change:?}");
    }
    for change in [Blocked, Unblocked, MovesWaypoint, GainsWaypoint, Shares, MustNotBypass, Went, Came, Reason] {
        assert!(!change.exposes(), "{change:?}");
    }
}
