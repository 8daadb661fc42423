//! Verdicts against a naive reference over a small universe, and the properties the seal and the digest promise.

extern crate std;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

const V4: Address = Address::from_words([0, 0, 0xffff_u32.to_be(), 0x0a01_0203_u32.to_be()]);
const V6: Address = Address::from_words([0xfd00_0000_u32.to_be(), 0, 0, 7_u32.to_be()]);

fn value(action: u8, address: Address, port: u16, errno: u32) -> Value {
    Value {
        address,
        port: port.to_be(),
        action,
        reserved: 0,
        errno,
        rule_id: 7,
        padding: 0,
        rules: 3,
        revision: 9,
        seal: 0,
    }
}

fn key(address: Address, port: u16) -> Key {
    Key { address, port: port.to_be(), protocol: TCP, profile: PROFILE_DEFAULT }
}

#[test]
fn both_families_meet_in_one_address() {
    let v4 = Ipv4Addr::new(10, 1, 2, 3);
    assert_eq!(Address::from(v4), V4);
    assert_eq!(Address::from(IpAddr::V6(v4.to_ipv6_mapped())), V4);
    assert_eq!(Address::from_v4(u32::from_ne_bytes([10, 1, 2, 3])), V4);
    assert_eq!(Address::from_words(V4.words()), V4);
    assert_eq!(V4.v4(), Some(u32::from_ne_bytes([10, 1, 2, 3])));
    assert_eq!(V4.to_ip(), IpAddr::V4(v4));
    // In memory it is what the wire has, whatever the byte order of the machine.
    assert_eq!(V4.words().map(u32::to_ne_bytes).concat(), v4.to_ipv6_mapped().octets());
}

#[test]
fn an_ipv6_address_stays_what_it_is() {
    assert_eq!(Address::from(V6.to_ip()), V6);
    assert_eq!(V6.v4(), None);
    // IPv4-compatible (::a.b.c.d), loopback and unspecified look similar and are not IPv4.
    for text in ["::10.1.2.3", "::1", "::", "::fffe:10.1.2.3", "0:0:0:1::ffff:10.1.2.3"] {
        let address = Address::from(text.parse::<Ipv6Addr>().unwrap());
        assert_eq!(address.v4(), None, "{text}");
        assert_eq!(Address::from_words(address.words()), address);
    }
}

/// The same question answered by a table instead of by code.
fn reference(action: u8, target_is_v4: bool, port: u16, errno: u32, family: Family) -> (&'static str, Option<u32>) {
    match (action, family, target_is_v4, port) {
        (1, ..) => ("pass", None),
        (2, ..) => ("proxy_reserved", Some(111)),
        (3, _, _, 0) => ("malformed", Some(111)),
        (3, Family::V4, false, _) => ("no_v4_address", Some(113)),
        (3, ..) => ("redirect", None),
        (4, ..) => ("deny", Some(if (1..=4095).contains(&errno) { errno } else { 111 })),
        _ => ("malformed", Some(111)),
    }
}

#[test]
fn every_verdict_of_a_small_universe_is_the_reference_one() {
    let mut seen = 0;
    for action in 0..=u8::MAX {
        for family in [Family::V4, Family::V6] {
            for target in [V4, V6] {
                for port in [0, 1, 15008, u16::MAX] {
                    for errno in [0, 1, 111, 113, 4095, 4096, u32::MAX] {
                        let value = value(action, target, port, errno);
                        let expected = reference(action, target == V4, port, errno, family);
                        let found = match decide(&value, family) {
                            Verdict::Pass { reason } => (reason.name(), None),
                            Verdict::Redirect { address, port } => {
                                assert_eq!((address, port), (value.address, value.port));
                                ("redirect", None)
                            }
                            Verdict::Deny { errno, reason } => (reason.name(), Some(errno)),
                        };
                        assert_eq!(found, expected, "action {action} {family:?} {target:?} port {port} errno {errno}");
                        seen += 1;
                    }
                }
            }
        }
    }
    assert_eq!(seen, 256 * 2 * 2 * 4 * 7);
}

#[test]
fn without_rules_only_the_configured_number_passes() {
    for configured in 0..=u8::MAX {
        let passes = matches!(before_rules(configured), Verdict::Pass { reason: Reason::BeforeRulesPassed });
        assert_eq!(passes, configured == BeforeRules::Pass as u8, "{configured}");
    }
}

#[test]
fn reasons_are_numbered_in_order_and_named_apart() {
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, index);
        assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1, "{}", reason.name());
    }
}

fn flipped(address: Address, bit: usize) -> Address {
    let mut words = address.words();
    words[bit / 32] ^= 1 << (bit % 32);
    Address::from_words(words)
}

/// Every single-bit difference in any field of key or value, as half-overwritten memory would show.
#[test]
fn the_seal_notices_every_flipped_bit() {
    let key = key(V4, 80);
    let value = value(3, V6, 15008, 0).sealed(&key);
    assert_eq!(value.seal, value.seal_for(&key));
    let check = |field: &str, bits: usize, flip: &dyn Fn(usize, &mut Key, &mut Value)| {
        for bit in 0..bits {
            let (mut key, mut other) = (key, value);
            flip(bit, &mut key, &mut other);
            assert!((key, other) != (self::key(V4, 80), value), "{field} bit {bit} was not flipped");
            assert_ne!(other.seal_for(&key), value.seal, "{field} bit {bit}");
        }
    };
    check("key address", 128, &|bit, key, _| key.address = flipped(key.address, bit));
    check("key port", 16, &|bit, key, _| key.port ^= 1 << bit);
    check("key protocol", 8, &|bit, key, _| key.protocol ^= 1 << bit);
    check("key profile", 8, &|bit, key, _| key.profile ^= 1 << bit);
    check("target address", 128, &|bit, _, value| value.address = flipped(value.address, bit));
    check("target port", 16, &|bit, _, value| value.port ^= 1 << bit);
    check("action", 8, &|bit, _, value| value.action ^= 1 << bit);
    check("reserved", 8, &|bit, _, value| value.reserved ^= 1 << bit);
    check("errno", 32, &|bit, _, value| value.errno ^= 1 << bit);
    check("rule id", 32, &|bit, _, value| value.rule_id ^= 1 << bit);
    check("padding", 32, &|bit, _, value| value.padding ^= 1 << bit);
    check("rules", 64, &|bit, _, value| value.rules ^= 1 << bit);
    check("revision", 64, &|bit, _, value| value.revision ^= 1 << bit);
}

/// What a torn read looks like: words of one entry followed by words of the next user of that memory.
#[test]
fn the_seal_notices_an_entry_made_of_two() {
    let (key_a, key_b) = (key(V4, 80), key(V6, 80));
    let a = value(3, V6, 15008, 0).sealed(&key_a);
    let b = Value { rules: 4, revision: 10, rule_id: 8, ..value(4, V4, 1, 111) }.sealed(&key_b);
    assert_ne!(b.seal_for(&key_a), b.seal, "a whole entry of another key");
    let halves = [
        Value { address: b.address, ..a },
        Value { port: b.port, action: b.action, errno: b.errno, ..a },
        Value { rule_id: b.rule_id, seal: b.seal, ..a },
        Value { rules: b.rules, ..a },
        Value { revision: b.revision, ..a },
        Value { rules: a.rules, revision: a.revision, ..b },
    ];
    for (index, torn) in halves.iter().enumerate() {
        assert_ne!(torn.seal_for(&key_a), torn.seal, "half {index}");
    }
}
