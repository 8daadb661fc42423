//! Of the walk and the edit: generated messages against an edit of the list they were written from, and the bytes that are
//! no message.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::proto::workload::address::Type;
use crate::proto::workload::{Address, GatewayAddress, NamespacedHostname, Service, WeightedWaypoint, Workload};

/// A field before it is written.
#[derive(Clone, Debug)]
enum Value {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Length(Vec<u8>),
    Group(Vec<(u32, Value)>),
}

fn put_key(number: u32, low: u32, to: &mut Vec<u8>) {
    prost::encoding::encode_varint(u64::from(number << 3 | low), to);
}

fn put(number: u32, value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Varint(value) => {
            put_key(number, 0, to);
            prost::encoding::encode_varint(*value, to);
        }
        Value::Fixed64(value) => {
            put_key(number, 1, to);
            to.extend(value.to_le_bytes());
        }
        Value::Length(value) => {
            put_key(number, 2, to);
            prost::encoding::encode_varint(value.len() as u64, to);
            to.extend(value);
        }
        Value::Group(fields) => {
            put_key(number, 3, to);
            fields.iter().for_each(|(number, value)| put(*number, value, to));
            put_key(number, 4, to);
        }
        Value::Fixed32(value) => {
            put_key(number, 5, to);
            to.extend(value.to_le_bytes());
        }
    }
}

fn written(fields: &[(u32, Value)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    fields.iter().for_each(|(number, value)| put(*number, value, &mut bytes));
    bytes
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(Value::Varint),
        any::<u64>().prop_map(Value::Fixed64),
        any::<u32>().prop_map(Value::Fixed32),
        vec(any::<u8>(), 0..200).prop_map(Value::Length),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| vec((1..40u32, inner), 0..4).prop_map(Value::Group))
}

/// Known numbers often, the waypoints' more often, unknown ones up to the highest possible.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(7u32), 3 => Just(8u32), 3 => Just(13u32), 6 => 1..40u32, 1 => Just((1 << 29) - 1)]
}

fn message() -> impl Strategy<Value = Vec<(u32, Value)>> {
    vec((number(), value()), 0..8)
}

/// A field of an Address: a part of a member, or something unknown.
#[derive(Clone, Debug)]
enum Top {
    Part(u32, Vec<(u32, Value)>),
    Unknown(u32, Value),
}

fn address() -> impl Strategy<Value = Vec<Top>> {
    let part = (1..3u32, message()).prop_map(|(number, fields)| Top::Part(number, fields));
    let unknown = (3..40u32, value()).prop_map(|(number, value)| Top::Unknown(number, value));
    vec(prop_oneof![4 => part, 1 => unknown], 0..6)
}

fn address_written(address: &[Top]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for top in address {
        match top {
            Top::Part(number, fields) => put(*number, &Value::Length(written(fields)), &mut bytes),
            Top::Unknown(number, value) => put(*number, value, &mut bytes),
        }
    }
    bytes
}

/// The edit done on the list and not on the bytes: the waypoints go from every part that counts, others come into the last.
fn edited_list(address: &[Top], added: &[u8]) -> Vec<u8> {
    let parts = || address.iter().enumerate().filter_map(|(at, top)| Some((at, part_number(top)?)));
    let last = parts().next_back();
    let mut bytes = Vec::new();
    for (at, top) in address.iter().enumerate() {
        let counts = last.is_some_and(|(_, member)| {
            part_number(top) == Some(member) && parts().all(|(other, number)| other < at || number == member)
        });
        match (top, last) {
            (Top::Part(number, fields), Some((last, member))) if counts => {
                let waypoints: &[u32] = if member == 1 { &[8] } else { &[7, 13] };
                let mut rest = fields.clone();
                rest.retain(|(number, _)| !waypoints.contains(number));
                let mut content = written(&rest);
                if at == last {
                    content.extend(added);
                }
                put(*number, &Value::Length(content), &mut bytes);
            }
            _ => bytes.extend(address_written(std::slice::from_ref(top))),
        }
    }
    bytes
}

fn part_number(top: &Top) -> Option<u32> {
    match top {
        Top::Part(number, _) => Some(*number),
        Top::Unknown(..) => None,
    }
}

proptest! {
    #[test]
    fn a_walk_meets_every_byte_once_in_order(fields in message()) {
        let bytes = written(&fields);
        let walked: Vec<_> = Fields::of(&bytes).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(walked.iter().map(|it| it.number).collect::<Vec<_>>(), fields.iter().map(|it| it.0).collect::<Vec<_>>());
        prop_assert_eq!(walked.iter().flat_map(|it| it.bytes.iter().copied()).collect::<Vec<_>>(), bytes);
    }

    #[test]
    fn everything_but_the_waypoints_stays_byte_for_byte(address in address(), added in message()) {
        let before = address_written(&address);
        let added = written(&added);
        let walked = AddressFields::of(&before).unwrap();
        prop_assert_eq!(walked.with_waypoints(&added).unwrap(), edited_list(&address, &added));
        // Taken out again, nothing else differs from what came in without them.
        let bare = walked.with_waypoints(&[]).unwrap();
        let gateway = GatewayAddress { hbone_mtls_port: 15008, ..GatewayAddress::default() };
        let waypoint = Service { waypoint: Some(gateway.clone()), ..Service::default() };
        let waypoint = match walked.member() {
            Some(Member::Workload) => Workload { waypoint: Some(gateway), ..Workload::default() }.encode_to_vec(),
            _ => waypoint.encode_to_vec(),
        };
        let after = walked.with_waypoints(&waypoint).unwrap();
        prop_assert_eq!(AddressFields::of(&after).unwrap().with_waypoints(&[]).unwrap(), bare);
    }

    #[test]
    fn a_reader_sees_the_new_waypoints_and_all_else_as_before(
        parts in vec((any::<bool>(), "[a-z]{0,8}", "[a-z]{0,8}", any::<bool>(), 0..3usize), 1..5),
        port in 1..u32::from(u16::MAX),
    ) {
        let mut bytes = Vec::new();
        for (is_service, name, hostname, has_waypoint, weighted) in parts {
            let destination = GatewayAddress { hbone_mtls_port: 1, ..to(&hostname) };
            let waypoint = has_waypoint.then_some(destination.clone());
            let weighted = vec![WeightedWaypoint { destination: Some(destination), weight: 1 }; weighted];
            let part = if is_service {
                Type::Service(Service { name, hostname, waypoint, weighted_waypoints: weighted, ..Service::default() })
            } else {
                Type::Workload(Workload { name, hostname, waypoint, ..Workload::default() })
            };
            bytes.extend(Address { r#type: Some(part) }.encode_to_vec());
        }
        let new = GatewayAddress { hbone_mtls_port: port, ..to("new") };
        let mut expected = Address::decode(&*bytes).unwrap();
        let added = match expected.r#type.as_mut().unwrap() {
            Type::Service(service) => {
                service.waypoint = Some(new.clone());
                service.weighted_waypoints.clear();
                Service { waypoint: Some(new), ..Service::default() }.encode_to_vec()
            }
            Type::Workload(workload) => {
                workload.waypoint = Some(new.clone());
                Workload { waypoint: Some(new), ..Workload::default() }.encode_to_vec()
            }
        };
        let after = AddressFields::of(&bytes).unwrap().with_waypoints(&added).unwrap();
        prop_assert_eq!(Address::decode(&*after).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_a_message_or_are_refused_and_prost_agrees(bytes in vec(any::<u8>(), 0..64)) {
        // Without any field of its own, prost checks nothing but the shape.
        let walked = Fields::of(&bytes).collect::<Result<Vec<_>, _>>();
        prop_assert_eq!(walked.is_ok(), <() as Message>::decode(&*bytes).is_ok(), "{:?}", walked);
        if let Ok(address) = AddressFields::of(&bytes) {
            // Both look at the same parts, and at nothing else.
            prop_assert_eq!(address.with_waypoints(&bytes).is_ok(), address.waypoints().is_ok());
        }
    }
}

fn to(hostname: &str) -> GatewayAddress {
    use crate::proto::workload::gateway_address::Destination;
    let hostname = NamespacedHostname { namespace: "ns".into(), hostname: hostname.into() };
    GatewayAddress { destination: Some(Destination::Hostname(hostname)), hbone_mtls_port: 15008 }
}

#[test]
fn bytes_that_are_no_message_are_refused_with_the_place() {
    let check = |bytes: &[u8], at: usize, what: Fault| {
        let found = Fields::of(bytes).find_map(Result::err);
        assert_eq!(found, Some(Malformed { at, what }), "{bytes:?}");
    };
    check(&[0x80], 0, Fault::Truncated);
    check(&[0xff; 10], 0, Fault::Varint);
    check(&[0x00], 0, Fault::Key);
    check(&[0x0f], 0, Fault::Key);
    check(&[0x08, 0x01, 0x12, 0x02, 0x00], 3, Fault::Truncated);
    check(&[0x0d, 0, 0, 0], 1, Fault::Truncated);
    check(&[0x0c], 0, Fault::Group);
    check(&[0x0b, 0x14], 1, Fault::Group);
    check(&[0x0b; 101], 100, Fault::Depth);
    check(&[0x0b; 100], 100, Fault::Truncated);
}

#[test]
fn a_member_that_is_no_message_is_refused() {
    assert_eq!(AddressFields::of(&[0x08, 0x01]).unwrap_err(), Malformed { at: 0, what: Fault::Member });
    let inner = [0x12, 0x01, 0x80];
    let walked = AddressFields::of(&inner).unwrap();
    assert_eq!(walked.with_waypoints(&[]).unwrap_err(), Malformed { at: 0, what: Fault::Truncated });
    assert!(walked.waypoints().is_err());
}

#[test]
fn of_two_members_the_one_written_last_counts() {
    let (workload, service) = (vec![0x0a, 0x02, 0x40, 0x01], vec![0x12, 0x02, 0x38, 0x01]);
    let both = [workload.clone(), service.clone()].concat();
    let walked = AddressFields::of(&both).unwrap();
    assert_eq!(walked.member(), Some(Member::Service));
    assert_eq!(walked.with_waypoints(&[]).unwrap(), [workload, vec![0x12, 0x00]].concat());
    assert_eq!(AddressFields::of(&[0x1a, 0x00]).unwrap().member(), None);
}
