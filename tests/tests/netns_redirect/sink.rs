//! Tables of decisions, through the sink contract, into the kernel and out again as the fate of connections.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use model::Store;
use model::decision::{Choice, Decision, OnUnreachable, Target};
use model::gateway::{GatewayKey, HBONE_PORT};
use model::input::{Input, NamespaceInput, Shared, SubjectKind};
use model::sink::{Sink, Step};
use model::table::{Row, RowChange, RowKey, RowKind, Subject, Table};
use redirect::{Decided, RedirectSink};

use crate::harness::{Harness, at, errno, listen_at, own_loopback, record_of, start};

const SERVICE: &str = "10.96.0.1";
const POD: &str = "10.244.0.1";

/// A listener where waypoints are dialled.
fn waypoint(n: u8) -> TcpListener {
    listen_at(SocketAddr::new(own_loopback(n).into(), HBONE_PORT))
}

/// The decision for that waypoint.
fn through(n: u8) -> Decision {
    let dial = vec![own_loopback(n).into()];
    let target = Target { gateway: GatewayKey::new("ns", "waypoint"), address: None, dial, weight: 100 };
    Decision::without_waypoint(Choice::Waypoints([target].into()), None)
}

fn simply(choice: Choice) -> Decision {
    Decision { on_unreachable: OnUnreachable::Fail, ..Decision::without_waypoint(choice, None) }
}

fn row(address: &str, decision: Decision, revision: u64) -> Row {
    let input = Input::about(SubjectKind::Service, NamespaceInput::named("ns"));
    let addresses = [address.parse().unwrap()].into();
    let subject = Subject { hosts: Arc::default(), addresses, dialled_by_address: true };
    Row { subject, input: Shared::new(input), decision: Arc::new(decision), revision, degraded: None }
}

fn key(kind: RowKind, name: &str) -> RowKey {
    RowKey::new(kind, "ns", name)
}

/// A table with a service and a pod.
fn table(rules: u64, service: Decision, pod: Decision) -> Table {
    let mut table = Table::new(rules, 10);
    table.set(key(RowKind::Service, "service"), Some(row(SERVICE, service, 7)));
    table.set(key(RowKind::Pod, "pod"), Some(row(POD, pod, 8)));
    table
}

/// The redirect looks at nothing but the table.
fn decided<'a>(store: &'a Store, table: &'a Table) -> model::sink::Decided<'a> {
    model::sink::Decided { store, table }
}

/// Changes one row of the table and tells the sink.
fn change(sink: &mut RedirectSink, table: &mut Table, key: RowKey, after: Option<Row>) -> Result<(), String> {
    let before = table.set(key.clone(), after.clone());
    let step = Step { moved: vec![RowChange { key, before, after }], ..Step::default() };
    sink.update(decided(&Store::default(), table), &step).map_err(|error| error.to_string())
}

fn sink(h: &mut Harness) -> RedirectSink {
    RedirectSink::new(h.redirect.take().unwrap())
}

#[test]
fn a_table_decides_once_it_is_committed_and_its_records_name_their_rows() {
    let Some(mut h) = start("sink", |_| {}) else { return };
    let one = waypoint(1);
    let two = waypoint(2);
    let (service, pod) = (at(&format!("{SERVICE}:80")), at(&format!("{POD}:80")));
    let records = h.records();
    let mut sink = sink(&mut h);

    let first = table(1, through(1), simply(Choice::Blocked));
    sink.prepare(decided(&Store::default(), &first)).unwrap();
    assert_eq!(errno(h.connect(service).1), Some(111), "prepared is not committed: still no rules");
    sink.commit().unwrap();
    let (client, _) = h.arrive(service, &one);
    let old = record_of(&records, &client);
    assert_eq!((old.rules, old.revision, old.action), (1, 7, Decided::Redirect));
    assert_eq!(sink.row(&old), Some(&key(RowKind::Service, "service")));
    let (client, result) = h.connect(pod);
    assert_eq!(errno(result), Some(111));
    let denied = record_of(&records, &client);
    assert_eq!((denied.revision, sink.row(&denied)), (8, Some(&key(RowKind::Pod, "pod"))));

    // A second table that is given up leaves the first one.
    let second = table(2, through(2), through(2));
    sink.prepare(decided(&Store::default(), &second)).unwrap();
    sink.abort();
    assert!(sink.commit().is_err(), "what was aborted cannot be committed");
    h.arrive(service, &one);

    sink.prepare(decided(&Store::default(), &second)).unwrap();
    sink.commit().unwrap();
    let (client, _) = h.arrive(service, &two);
    let new = record_of(&records, &client);
    assert_eq!(new.rules, 2);
    assert_eq!(sink.row(&new), sink.row(&old), "a record of the table before still names its row");
    assert_ne!(new.rule_id, old.rule_id);
    h.arrive(pod, &two);
    h.redirect = Some(sink.into_redirect());
}

#[test]
fn changes_of_rows_move_their_keys_alone() {
    let Some(mut h) = start("sink-update", |_| {}) else {
        return;
    };
    let one = waypoint(3);
    let (service, pod) = (at(&format!("{SERVICE}:80")), at(&format!("{POD}:80")));
    let records = h.records();
    let mut sink = sink(&mut h);
    let mut table = table(5, through(3), simply(Choice::Blocked));

    let early = change(&mut sink, &mut table, key(RowKind::Pod, "pod"), Some(row(POD, simply(Choice::Blocked), 9)));
    assert!(early.unwrap_err().contains("does not hold rules 5"));
    sink.prepare(decided(&Store::default(), &table)).unwrap();
    sink.commit().unwrap();
    assert_eq!(errno(h.connect(pod).1), Some(111));

    change(&mut sink, &mut table, key(RowKind::Pod, "pod"), Some(row(POD, through(3), 11))).unwrap();
    let (client, _) = h.arrive(pod, &one);
    let record = record_of(&records, &client);
    assert_eq!((record.rules, record.revision), (5, 11));
    let (client, _) = h.arrive(service, &one);
    assert_eq!(record_of(&records, &client).revision, 7, "the other row did not move");

    // A pod that takes the service's address waits behind it, and comes forward when the service goes.
    change(&mut sink, &mut table, key(RowKind::Pod, "late"), Some(row(SERVICE, simply(Choice::Blocked), 12))).unwrap();
    h.arrive(service, &one);
    change(&mut sink, &mut table, key(RowKind::Service, "service"), None).unwrap();
    let (client, result) = h.connect(service);
    assert_eq!(errno(result), Some(111));
    assert_eq!(sink.row(&record_of(&records, &client)), Some(&key(RowKind::Pod, "late")));

    // The last claim gone, the key is gone: loopback again goes where it says.
    let open = crate::harness::listen(&own_loopback(9).to_string());
    change(
        &mut sink,
        &mut table,
        key(RowKind::Pod, "loop"),
        Some(row(&own_loopback(9).to_string(), simply(Choice::Blocked), 13)),
    )
    .unwrap();
    assert_eq!(errno(h.connect(open.1).1), Some(111));
    change(&mut sink, &mut table, key(RowKind::Pod, "loop"), None).unwrap();
    let (client, _) = h.arrive(open.1, &open.0);
    assert_eq!(records.of_socket(&client).unwrap(), None);
    assert_eq!(sink.active().unwrap().entries, 2);
    h.redirect = Some(sink.into_redirect());
}

#[test]
fn a_sink_that_ran_out_of_room_asks_for_the_whole_table() {
    let Some(mut h) = start("sink-full", |config| config.entries_max = 3) else {
        return;
    };
    let mut sink = sink(&mut h);
    let mut table = table(1, simply(Choice::Direct), simply(Choice::Direct));
    sink.prepare(decided(&Store::default(), &table)).unwrap();
    sink.commit().unwrap();
    change(&mut sink, &mut table, key(RowKind::Pod, "third"), Some(row("10.244.0.3", simply(Choice::Direct), 11)))
        .unwrap();
    let full =
        change(&mut sink, &mut table, key(RowKind::Pod, "fourth"), Some(row("10.244.0.4", simply(Choice::Direct), 12)));
    assert!(full.unwrap_err().starts_with("redirect: the active set is full at 3 entries"));
    let refused = sink.prepare(decided(&Store::default(), &table)).unwrap_err().to_string();
    assert_eq!(refused, "redirect: 4 entries are more than the 3 allowed: raise entries_max");
    // Until a whole table is in, single changes would leave the kernel in between.
    let still = change(&mut sink, &mut table, key(RowKind::Pod, "fourth"), None);
    assert!(still.unwrap_err().contains("publish the whole table"));
    sink.prepare(decided(&Store::default(), &table)).unwrap();
    sink.commit().unwrap();
    assert_eq!(sink.active().unwrap().entries, 3);
    h.redirect = Some(sink.into_redirect());
}
