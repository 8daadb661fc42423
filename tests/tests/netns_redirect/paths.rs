//! Which way single connections go, by family, action and kind of socket.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use redirect::{Action, BeforeRules, Change, Decided, Destination, Family, Reason};
use rustix::net::{SocketFlags, SocketType};

use crate::harness::{
    at, closed_port, connect, entry, errno, listen, listen_at, outside, record_of, rule, socket, start, stream, taken,
};

const ECONNREFUSED: i32 = 111;
const EHOSTUNREACH: i32 = 113;
/// Times that a free port may turn out to be taken.
const TUPLES_MAX: usize = 20;

#[test]
fn a_redirected_connection_reaches_the_waypoint_and_both_ends_know_its_destination() {
    let Some(mut h) = start("redirected", |_| {}) else {
        return;
    };
    let (v4, v4_at) = listen("127.0.0.1");
    let (v6, v6_at) = listen("::1");
    h.publish(
        7,
        &[
            rule("10.96.0.1", Action::Redirect(v4_at), 1),
            rule("fd00::7", Action::Redirect(v6_at), 2),
            rule("fd00::8", Action::Redirect(v4_at), 3),
        ],
    );
    let records = h.records();
    // What the application asks for, who must get it, where it is told to have wanted to go, by which socket and row.
    let rows = [
        ("10.96.0.1:80", &v4, "10.96.0.1:80", Family::V4, 1),
        ("10.96.0.1:65535", &v4, "10.96.0.1:65535", Family::V4, 1),
        ("[::ffff:10.96.0.1]:80", &v4, "10.96.0.1:80", Family::V6, 1),
        ("[fd00::7]:443", &v6, "[fd00::7]:443", Family::V6, 2),
        ("[fd00::8]:443", &v4, "[fd00::8]:443", Family::V6, 3),
    ];
    for (asked, waypoint, destination, family, row) in rows {
        let (client, accepted) = h.arrive(at(asked), waypoint);
        let record = record_of(&records, &client);
        assert_eq!(record.destination, at(destination), "{asked}");
        assert_eq!((record.family, record.action), (family, Decided::Redirect), "{asked}");
        assert_eq!((record.rules, record.rule_id, record.revision), (7, row, u64::from(row) + 1000), "{asked}");
        assert_eq!(taken(&records, &accepted), Some(record), "{asked}: what the peer is told");
        assert_eq!(taken(&records, &accepted), None, "{asked}: a record is taken once");
        let really = client.peer_addr().unwrap();
        assert_eq!(
            SocketAddr::new(really.ip().to_canonical(), really.port()),
            waypoint.local_addr().unwrap(),
            "{asked}"
        );
    }
    assert_eq!(h.count(Reason::Redirect), 5);
    assert_eq!(h.count(Reason::PairStored), 5);
    assert_eq!(h.count(Reason::PairFull), 0);
}

#[test]
fn a_dual_stack_listener_finds_the_record_of_an_ipv4_client() {
    let Some(mut h) = start("dualstack", |_| {}) else {
        return;
    };
    let (waypoint, address) = listen("::");
    let target = SocketAddr::new("127.0.0.1".parse().unwrap(), address.port());
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(target), 1)]);
    let (client, accepted) = h.arrive(at("10.96.0.1:80"), &waypoint);
    assert!(accepted.peer_addr().unwrap().is_ipv6(), "the listener sees a v4-mapped client");
    let records = h.records();
    assert_eq!(taken(&records, &accepted), Some(record_of(&records, &client)));
}

#[test]
fn a_passed_connection_reaches_its_destination_and_is_recorded() {
    for (name, record_passed) in [("passed-told", true), ("passed", false)] {
        let Some(mut h) = start(name, |config| config.record_passed = record_passed) else {
            return;
        };
        let (v4, v4_at) = listen("127.0.0.1");
        let (v6, v6_at) = listen("::1");
        h.publish(3, &[rule("127.0.0.1", Action::Pass, 1), rule("::1", Action::Pass, 2)]);
        let records = h.records();
        let mapped = at(&format!("[::ffff:127.0.0.1]:{}", v4_at.port()));
        for (asked, listener, destination, row) in
            [(v4_at, &v4, v4_at, 1), (mapped, &v4, v4_at, 1), (v6_at, &v6, v6_at, 2)]
        {
            let (client, accepted) = h.arrive(asked, listener);
            let record = record_of(&records, &client);
            assert_eq!((record.action, record.destination), (Decided::Pass, destination), "{asked}");
            assert_eq!((record.rules, record.rule_id), (3, row), "{asked}");
            assert_eq!(taken(&records, &accepted), record_passed.then_some(record), "{asked}: what the peer is told");
        }
        assert_eq!(h.count(Reason::Pass), 3);
    }
}

#[test]
fn a_denied_connection_fails_with_the_error_of_its_rule() {
    let Some(mut h) = start("denied", |_| {}) else { return };
    let (listener, open) = listen("127.0.0.1");
    listener.set_nonblocking(true).unwrap();
    h.publish(
        4,
        &[
            rule("127.0.0.1", Action::Deny(113), 1),
            rule("::1", Action::Deny(1), 2),
            rule("127.0.0.2", Action::Deny(4095), 3),
        ],
    );
    let records = h.records();
    let mapped = at(&format!("[::ffff:127.0.0.1]:{}", open.port()));
    for (asked, expected, row) in
        [(open, 113, 1), (mapped, 113, 1), (at("[::1]:9"), 1, 2), (at("127.0.0.2:9"), 4095, 3)]
    {
        let (socket, result) = h.connect(asked);
        assert_eq!(errno(result), Some(expected), "{asked}");
        let record = record_of(&records, &socket);
        assert_eq!((record.action, record.rule_id, record.rules), (Decided::Deny, row, 4), "{asked}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nothing reached the listener");
    assert_eq!(h.count(Reason::Deny), 4);
}

#[test]
fn a_destination_without_a_rule_is_untouched() {
    let Some(mut h) = start("miss", |config| config.record_passed = true) else {
        return;
    };
    let (listener, open) = listen("127.0.0.1");
    h.publish(1, &[rule("10.96.0.1", Action::Deny(111), 1)]);
    let (client, accepted) = h.arrive(open, &listener);
    let records = h.records();
    assert_eq!(records.of_socket(&client).unwrap(), None);
    assert_eq!(taken(&records, &accepted), None);
    assert_eq!((h.count(Reason::Miss), h.count(Reason::PairStored)), (1, 0));
}

#[test]
fn an_exact_port_counts_before_every_port() {
    let Some(mut h) = start("ports", |_| {}) else { return };
    let (one, one_at) = listen("127.0.0.1");
    let (two, two_at) = listen("127.0.0.1");
    h.publish(
        1,
        &[
            entry("10.96.0.1", 80, Action::Redirect(one_at), 1),
            entry("10.96.0.1", 0, Action::Redirect(two_at), 2),
            entry("10.96.0.2", 80, Action::Redirect(one_at), 3),
        ],
    );
    let records = h.records();
    for (asked, waypoint, row) in [("10.96.0.1:80", &one, 1), ("10.96.0.1:81", &two, 2), ("10.96.0.2:80", &one, 3)] {
        let (client, accepted) = h.arrive(at(asked), waypoint);
        assert_eq!(record_of(&records, &client).rule_id, row, "{asked}");
        assert_eq!(taken(&records, &accepted).map(|record| record.rule_id), Some(row), "{asked}");
    }
    // Only port 80 of the second address has a rule: another port is a miss, whatever becomes of the connection.
    let misses = h.count(Reason::Miss);
    let (other, address) = closed_port();
    h.publish(2, &[entry("127.0.0.1", address.port() ^ 1, Action::Deny(1), 4)]);
    assert_eq!(errno(h.connect(address).1), Some(ECONNREFUSED));
    drop(other);
    assert_eq!(h.count(Reason::Miss), misses + 1);
}

#[test]
fn the_reserved_proxy_action_is_refused() {
    let Some(mut h) = start("proxy", |_| {}) else { return };
    h.publish(1, &[rule("10.96.0.1", Action::Proxy, 5)]);
    let (socket, result) = h.connect(at("10.96.0.1:80"));
    assert_eq!(errno(result), Some(ECONNREFUSED));
    let record = record_of(&h.records(), &socket);
    assert_eq!((record.action, record.rule_id), (Decided::Deny, 5));
    assert_eq!(h.count(Reason::ProxyReserved), 1);
}

#[test]
fn an_ipv4_socket_is_refused_where_the_waypoint_has_ipv6_only() {
    let Some(mut h) = start("no-v4", |_| {}) else { return };
    let (waypoint, address) = listen("::1");
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(address), 1)]);
    assert_eq!(errno(h.connect(at("10.96.0.1:80")).1), Some(EHOSTUNREACH));
    assert_eq!(h.count(Reason::NoV4Address), 1);
    // The same destination through an IPv6 socket can go there.
    let (client, accepted) = h.arrive(at("[::ffff:10.96.0.1]:80"), &waypoint);
    let records = h.records();
    assert_eq!(taken(&records, &accepted), Some(record_of(&records, &client)));
}

#[test]
fn a_socket_that_connects_again_is_known_by_its_last_destination() {
    let Some(mut h) = start("again", |_| {}) else { return };
    let (waypoint, open) = listen("127.0.0.1");
    let (_kept, closed) = closed_port();
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(closed), 1), rule("10.96.0.2", Action::Redirect(open), 2)]);
    let records = h.records();

    let client = h.socket(at("10.96.0.1:80"));
    assert_eq!(errno(connect(&client, at("10.96.0.1:80"))), Some(ECONNREFUSED));
    assert_eq!(record_of(&records, &client).rule_id, 1);
    connect(&client, at("10.96.0.2:81")).unwrap();
    let record = record_of(&records, &client);
    assert_eq!((record.rule_id, record.destination), (2, at("10.96.0.2:81")));
    let (accepted, _) = waypoint.accept().unwrap();
    assert_eq!(taken(&records, &accepted), Some(record), "and not what the first attempt left");

    // After a redirect that failed, a destination without a rule: nothing of the first may stick to it.
    let client = h.socket(at("10.96.0.1:80"));
    assert_eq!(errno(connect(&client, at("10.96.0.1:80"))), Some(ECONNREFUSED));
    connect(&client, open).unwrap();
    assert_eq!(records.of_socket(&client).unwrap(), None);
    let (accepted, _) = waypoint.accept().unwrap();
    assert_eq!(taken(&records, &accepted), None);
}

#[test]
fn a_tuple_used_again_does_not_bring_back_an_old_record() {
    let Some(mut h) = start("tuple", |_| {}) else { return };
    let (waypoint, open) = listen("127.0.0.1");
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(open), 1)]);
    // A free port is anybody's: another test that is given it here is no reason to fail.
    let tuple = (0..TUPLES_MAX).find_map(|_| {
        let (client, first) = h.arrive(at("10.96.0.1:80"), &waypoint);
        let source = client.local_addr().unwrap();
        // Nobody takes the record; the connection ends by a reset, so that its addresses are free at once.
        rustix::net::sockopt::set_socket_linger(&first, Some(Duration::ZERO)).unwrap();
        drop((client, first));
        let again = h.socket(open);
        rustix::net::bind(&again, &source).is_ok().then_some((again, source))
    });
    let (again, source) = tuple.unwrap();
    connect(&again, open).unwrap();
    let (accepted, peer) = waypoint.accept().unwrap();
    assert_eq!(peer, source, "the same tuple, this time straight to the waypoint");
    assert_eq!(taken(&h.records(), &accepted), None);
}

#[test]
fn a_connect_that_nobody_accepts_leaves_no_record() {
    let Some(mut h) = start("refused", |config| config.pair_entries = 4) else { return };
    let (held, nobody) = closed_port();
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(nobody), 1)]);
    for _ in 0..20 {
        assert_eq!(errno(h.connect(at("10.96.0.1:80")).1), Some(111));
    }
    assert_eq!((h.count(Reason::PairStored), h.count(Reason::PairFull)), (20, 0), "each made room for the next");

    let client = h.socket(nobody);
    rustix::net::bind(&client, &at("127.0.0.1:0")).unwrap();
    let client = TcpStream::from(client);
    let source = client.local_addr().unwrap();
    assert_eq!(errno(connect(&client.into(), at("10.96.0.1:80"))), Some(111));
    drop(held);
    let waypoint = listen_at(nobody);
    // A process that no rule is about, with the same addresses by chance.
    let stranger = outside(|| stream(nobody));
    rustix::net::bind(&stranger, &source).unwrap();
    connect(&stranger, nobody).unwrap();
    let (accepted, peer) = waypoint.accept().unwrap();
    assert_eq!((peer, taken(&h.records(), &accepted)), (source, None));
}

#[test]
fn a_connect_that_does_not_wait_is_redirected_too() {
    let Some(mut h) = start("nonblocking", |_| {}) else {
        return;
    };
    let (waypoint, open) = listen("127.0.0.1");
    h.publish(1, &[rule("10.96.0.1", Action::Redirect(open), 1)]);
    let asked = at("10.96.0.1:80");
    let client = h.inside(|| socket(asked, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC));
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match errno(connect(&client, asked)) {
            // EINPROGRESS and EALREADY: not yet. EISCONN or nothing: there.
            Some(115 | 114) if Instant::now() < deadline => std::thread::yield_now(),
            None | Some(106) => break,
            other => panic!("connect ended with {other:?}"),
        }
    }
    let (accepted, _) = waypoint.accept().unwrap();
    let records = h.records();
    let record = record_of(&records, &client);
    assert_eq!((record.destination, record.action), (asked, Decided::Redirect));
    assert_eq!(taken(&records, &accepted), Some(record));
    assert_eq!(h.count(Reason::Redirect), 1, "asking again how it went is no second decision");
}

#[test]
fn a_socket_from_outside_the_cgroup_is_untouched() {
    let Some(mut h) = start("outside", |_| {}) else { return };
    let (listener, open) = listen("127.0.0.1");
    h.publish(1, &[rule("127.0.0.1", Action::Deny(111), 1), rule("::1", Action::Deny(111), 2)]);
    let client = outside(|| stream(open));
    connect(&client, open).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let records = h.records();
    assert_eq!(records.of_socket(&client).unwrap(), None);
    assert_eq!(taken(&records, &accepted), None);
    assert!(h.redirect().stats().unwrap().iter().all(|(_, count)| count == 0), "no program ran");
    assert_eq!(errno(h.connect(open).1), Some(ECONNREFUSED), "the same destination from inside");
}

#[test]
fn udp_is_untouched() {
    let Some(mut h) = start("udp", |_| {}) else { return };
    h.publish(1, &[rule("127.0.0.1", Action::Deny(111), 1), rule("::1", Action::Deny(111), 2)]);
    for to in [at("127.0.0.1:9"), at("[::1]:9"), at("[::ffff:127.0.0.1]:9")] {
        let client = h.inside(|| socket(to, SocketType::DGRAM, SocketFlags::CLOEXEC));
        connect(&client, to).unwrap();
        assert_eq!(h.records().of_socket(&client).unwrap(), None, "{to}");
    }
    assert!(h.redirect().stats().unwrap().iter().all(|(_, count)| count == 0));
}

#[test]
fn without_rules_the_configuration_decides() {
    for (name, before_rules) in [("before-deny", BeforeRules::Deny), ("before-pass", BeforeRules::Pass)] {
        let Some(mut h) = start(name, |config| config.before_rules = before_rules) else {
            return;
        };
        let (listener, open) = listen("127.0.0.1");
        let (v6_listener, v6_open) = listen("::1");
        assert_eq!(h.redirect().active().unwrap().epoch, 0);
        for (asked, listener) in [(open, &listener), (v6_open, &v6_listener)] {
            let (client, result) = h.connect(asked);
            match before_rules {
                BeforeRules::Deny => assert_eq!(errno(result), Some(ECONNREFUSED), "{asked}"),
                BeforeRules::Pass => {
                    result.unwrap();
                    listener.accept().unwrap();
                }
            }
            assert_eq!(h.records().of_socket(&client).unwrap(), None, "{asked}: no rule decided");
        }
        let counted = [h.count(Reason::BeforeRulesDenied), h.count(Reason::BeforeRulesPassed)];
        assert_eq!(counted, if before_rules == BeforeRules::Deny { [2, 0] } else { [0, 2] });
        // An empty set is a set: from here on everything is a miss.
        h.publish(1, &[]);
        h.arrive(open, &listener);
        assert_eq!(h.count(Reason::Miss), 1);
    }
}

#[test]
fn single_keys_change_in_the_active_set() {
    let Some(mut h) = start("update", |_| {}) else { return };
    let (one, one_at) = listen("127.0.0.1");
    let (two, two_at) = listen("127.0.0.1");
    h.publish(9, &[rule("10.96.0.1", Action::Redirect(one_at), 1)]);
    let records = h.records();
    let asked = at("10.96.0.1:80");
    let (client, _accepted) = h.arrive(asked, &one);
    assert_eq!(record_of(&records, &client).revision, 1001);

    let mut moved = rule("10.96.0.1", Action::Redirect(two_at), 1);
    moved.revision = 2000;
    // The second is the first of its kind with a port: the programs must start to look for such keys.
    h.redirect().update(&[Change::Put(moved), Change::Put(entry("10.96.0.9", 443, Action::Deny(113), 2))]).unwrap();
    let (client, accepted) = h.arrive(asked, &two);
    let record = record_of(&records, &client);
    assert_eq!((record.rules, record.revision), (9, 2000));
    assert_eq!(taken(&records, &accepted), Some(record));
    assert_eq!(errno(h.connect(at("10.96.0.9:443")).1), Some(EHOSTUNREACH));
    assert_eq!(h.redirect().active().unwrap().entries, 2);

    let gone = Destination { ip: "10.96.0.9".parse().unwrap(), port: 443 };
    h.redirect().update(&[Change::Remove(gone), Change::Remove(gone)]).unwrap();
    assert_eq!(h.redirect().active().unwrap().entries, 1);
    // What is now in the kernel is what the agent believes: a restart measures it.
    h.open().unwrap();
    assert_eq!(h.redirect().active().unwrap().entries, 1);
}
