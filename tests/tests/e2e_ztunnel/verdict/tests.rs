//! The verdict on connections that nobody made.

use super::*;
use crate::mesh::{FIRST, Family, SECOND, SERVER, SERVICE_PORT, service_ip};
use crate::proxy_header::ProxyHeader;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn connection(number: u64, service: usize, begun: u64, ended: u64, via: Pod) -> Connection {
    let from = Some(SocketAddr::new(CLIENT.ip(Family::V4), 40_000 + u16::try_from(number).unwrap()));
    let to = SocketAddr::new(service_ip(Family::V4, service), SERVICE_PORT);
    Connection { number, service, to, begun: ms(begun), ended: ms(ended), from, via: Ok(via.ip(Family::V4)) }
}

const SWAP: Swap = Swap { from: FIRST, to: SECOND, begun: ms(1000), settled: ms(1100) };

/// All services before the swap and after it, and one connection across.
fn clean() -> Vec<Connection> {
    let each = |at: u64, via: Pod| (0..SERVICES.len()).map(move |service| connection(at, service, at, at + 5, via));
    let mut all: Vec<Connection> = each(900, FIRST).chain(each(1200, SECOND)).collect();
    all.push(connection(0, 0, 990, 1010, FIRST));
    for (number, connection) in (1..).zip(&mut all) {
        connection.number = number;
    }
    all
}

fn order(connections: &[Connection]) -> (Faults, Vec<Met>) {
    let mut faults = Faults::default();
    let met = check_order(connections, &[SWAP], &mut faults);
    (faults, met)
}

#[test]
fn a_clean_swap_has_no_fault() {
    let (faults, met) = order(&clean());
    assert!(faults.is_empty(), "{faults}");
    assert_eq!(met, [Met { old: 9, new: 8, during: 1, gap: Some(ms(215)) }]);
}

#[test]
fn old_rules_after_an_answer_under_the_new_ones_are_a_mixture() {
    let mut connections = clean();
    // Open at the same time: either may have come first.
    connections.push(connection(100, 1, 1020, 1040, SECOND));
    connections.push(connection(101, 2, 1039, 1060, FIRST));
    assert!(order(&connections).0.is_empty());
    connections.push(connection(102, 3, 1041, 1060, FIRST));
    let (faults, _) = order(&connections);
    assert_eq!((faults.count(MIXED), faults.count(LATE)), (1, 0), "{faults}");
}

#[test]
fn rules_that_come_early_or_late_are_faults() {
    let mut connections = clean();
    connections.push(connection(100, 1, 500, 510, SECOND));
    assert_eq!(order(&connections).0.count(EARLY), 1);
    let mut connections = clean();
    connections.push(connection(100, 1, 1101, 1110, FIRST));
    assert_eq!(order(&connections).0.count(LATE), 1);
}

#[test]
fn a_connection_past_the_waypoints_is_a_fault() {
    let mut connections = clean();
    connections.push(connection(100, 1, 1101, 1110, CLIENT));
    assert_eq!(order(&connections).0.count(ELSEWHERE), 1);
}

#[test]
fn a_swap_that_no_connection_met_proves_nothing() {
    let mut connections = clean();
    connections.pop();
    assert_eq!(order(&connections).0.count(UNPROVEN), 1);
    connections.retain(|connection| connection.service != 3);
    assert_eq!(order(&connections).0.count(UNPROVEN), 2);
}

#[test]
fn every_swap_is_judged_by_its_own_time() {
    let back = Swap { from: SECOND, to: FIRST, begun: ms(2000), settled: ms(2100) };
    let mut connections = clean();
    let each = |at: u64, via: Pod| (0..SERVICES.len()).map(move |service| connection(at, service, at, at + 5, via));
    connections.extend(each(2200, FIRST));
    connections.push(connection(100, 0, 1990, 2010, SECOND));
    let mut faults = Faults::default();
    let met = check_order(&connections, &[SWAP, back], &mut faults);
    assert!(faults.is_empty(), "{faults}");
    assert_eq!(met.iter().map(|met| (met.old, met.new)).collect::<Vec<_>>(), [(9, 8), (9, 8)]);
    // What was fine in the first swap is a mixture in the second.
    connections.push(connection(101, 0, 2300, 2310, SECOND));
    check_order(&connections, &[SWAP, back], &mut faults);
    assert_eq!((faults.count(MIXED), faults.count(LATE)), (1, 1), "{faults}");
}

#[test]
fn a_connection_without_an_answer_is_a_fault() {
    let mut connections = clean();
    connections[0].via = Err("connection reset".to_owned());
    let mut faults = Faults::default();
    check_answers(&connections, &mut faults);
    assert_eq!(faults.count(FAILED), 1);
}

fn passage(of: &Connection) -> Passage {
    let header = ProxyHeader {
        source: SocketAddr::new(CLIENT.ip(Family::V4), 1),
        destination: of.to,
        identity: Some("spiffe://cluster.local/ns/shop/sa/client".to_owned()),
    };
    Passage { header, outcome: Outcome::Relayed(of.number) }
}

#[test]
fn the_waypoints_saw_what_the_clients_saw() {
    let connections = clean();
    let of = |pod: Pod| {
        let seen = connections.iter().filter(|connection| connection.via == Ok(pod.ip(Family::V4)));
        (pod, seen.map(passage).collect::<Vec<_>>())
    };
    let faults = |records: &[(Pod, Vec<Passage>)]| {
        let mut faults = Faults::default();
        check_records(&connections, records, &mut faults);
        faults.count(RECORD)
    };
    let mut records = [of(FIRST), of(SECOND)];
    assert_eq!(faults(&records), 0);
    records[0].1[0].header.identity = None;
    assert_eq!(faults(&records), 1);
    records[0].1.remove(0);
    assert_eq!(faults(&records), 1);
    let stray = passage(&connection(777, 1, 0, 1, FIRST));
    records[1].1.push(stray.clone());
    assert_eq!(faults(&records), 2);
    records[1].1.push(Passage { outcome: Outcome::NotProgrammed, ..stray });
    assert_eq!(faults(&records), 3);
}

#[test]
fn the_access_log_has_every_connection_with_its_waypoint() {
    let connections = clean();
    let line = |of: &Connection| Access {
        source: of.from.unwrap(),
        dialled: of.to.to_string(),
        to: if of.via == Ok(FIRST.ip(Family::V4)) { FIRST.name.to_owned() } else { SECOND.name.to_owned() },
        error: None,
    };
    let faults = |log: &[Access]| {
        let mut faults = Faults::default();
        check_log(&connections, log, &[FIRST, SECOND, SERVER], &mut faults);
        faults.count(LOG)
    };
    let mut log: Vec<Access> = connections.iter().map(line).collect();
    log.reverse();
    assert_eq!(faults(&log), 0);
    let last = log.pop().unwrap();
    assert_eq!(faults(&log), 1);
    log.push(Access { to: SERVER.name.to_owned(), ..last.clone() });
    assert_eq!(faults(&log), 1);
    log.push(Access { error: Some("broken".to_owned()), ..last });
    assert_eq!(faults(&log), 2);
}
