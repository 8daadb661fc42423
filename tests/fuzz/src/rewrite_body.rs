//! What holds for any Address that comes from a control plane, as a plain function: see `bodies.rs`. prost is the reference:
//! it says what is well-formed, and what a reader sees.

#![allow(clippy::panic, reason = "a panic is how a fuzz target says that something does not hold")]

use bytes::Bytes;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use xds::proto::workload::address::Type;
use xds::proto::workload::{Address, Service};
use xds::rewrite::{WaypointFields, rewritten, waypoints_of};
use xds::wire::{AddressFields, Fields, Member};

/// The first byte says how many of the next are the waypoints to write, as fields of a service; the rest is the Address.
pub(crate) fn rewrite(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (waypoints, address) = rest.split_at(usize::from(*length).min(rest.len()));
    well_formed(address);
    let address = Bytes::copy_from_slice(address);
    let service = Service::decode(waypoints).unwrap_or_default();
    let wanted = WaypointFields { waypoint: service.waypoint, weighted: service.weighted_waypoints };
    one_way(&address, &wanted);
    one_way(&address, &WaypointFields::default());
    // What it says already.
    if let Ok(Some(same)) = waypoints_of(&address) {
        let after = read(rewritten(&address, &same));
        assert_eq!(after.as_ptr(), address.as_ptr(), "not even copied");
    }
}

/// The walk accepts the shape that prost accepts, and every Address that prost accepts.
fn well_formed(address: &[u8]) {
    let walked = Fields::of(address).collect::<Result<Vec<_>, _>>();
    assert_eq!(walked.is_ok(), <() as Message>::decode(address).is_ok(), "{walked:?}");
    if let Ok(fields) = &walked {
        assert_eq!(fields.iter().flat_map(|it| it.bytes).copied().collect::<Vec<_>>(), address);
    }
    let walked = AddressFields::of(address);
    let waypoints = walked.as_ref().map(AddressFields::waypoints);
    match Address::decode(address) {
        Ok(_) if has_lenient_map(address) => {}
        Ok(decoded) => {
            assert!(matches!(waypoints, Ok(Ok(_))), "{waypoints:?}");
            assert_eq!(walked.ok().and_then(|it| it.member()), decoded.r#type.as_ref().map(member));
        }
        // Of the inside of a member the walk knows the waypoints alone.
        Err(_) => assert!(waypoints_of(address).is_err() || matches!(waypoints, Ok(Ok(_)))),
    }
}

fn one_way(address: &Bytes, wanted: &WaypointFields) {
    let is_readable = AddressFields::of(address).is_ok_and(|it| it.waypoints().is_ok());
    let after = rewritten(address, wanted);
    assert_eq!(after.is_ok(), is_readable, "{after:?}");
    let Ok(after) = after else { return };
    assert_eq!(without_waypoints(address), without_waypoints(&after), "something else changed");
    assert_eq!(read(rewritten(&after, wanted)), after, "once is not twice");
    let wanted = match AddressFields::of(address).ok().and_then(|it| it.member()) {
        None => None,
        Some(Member::Workload) => Some(WaypointFields { waypoint: wanted.waypoint.clone(), weighted: Vec::new() }),
        Some(Member::Service) => Some(wanted.clone()),
    };
    assert_eq!(read(waypoints_of(&after)), wanted);
    if wanted.is_none() {
        assert_eq!(after, address);
    }
    if let Ok(mut expected) = Address::decode(address.clone())
        && !has_lenient_map(address)
    {
        put(&mut expected, wanted.unwrap_or_default());
        assert_eq!(read(Address::decode(after)), expected, "a reader sees something else");
    }
}

/// prost reads an entry of a map, of which a workload has one, with a length whatever its key says; the walk goes by the key,
/// as protobuf does.
fn has_lenient_map(address: &[u8]) -> bool {
    const SERVICES: u32 = 22;
    let is_lenient = |mut rest: &[u8]| {
        while let Ok((number, wire_type)) = decode_key(&mut rest) {
            if number == SERVICES && wire_type != WireType::LengthDelimited {
                return true;
            }
            if skip_field(wire_type, number, &mut rest, DecodeContext::default()).is_err() {
                return false;
            }
        }
        false
    };
    split(address).into_iter().any(|(number, _, content)| number == 1 && is_lenient(content))
}

fn member(of: &Type) -> Member {
    match of {
        Type::Workload(_) => Member::Workload,
        Type::Service(_) => Member::Service,
    }
}

fn put(address: &mut Address, waypoints: WaypointFields) {
    match &mut address.r#type {
        Some(Type::Workload(workload)) => workload.waypoint = waypoints.waypoint,
        Some(Type::Service(service)) => {
            service.waypoint = waypoints.waypoint;
            service.weighted_waypoints = waypoints.weighted;
        }
        None => {}
    }
}

fn read<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(it) => it,
        Err(error) => panic!("{error:?}"),
    }
}

/// An Address as prost splits it: each field as it is written, of a member its number and its content. Of the members that
/// count, those of the last kind behind all of the other kind, the waypoints are left out.
fn without_waypoints(address: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let fields = split(address);
    let last = fields.iter().rev().map(|(number, ..)| *number).find(|number| matches!(number, 1 | 2));
    let other = fields.iter().rposition(|(number, ..)| matches!(number, 1 | 2) && Some(*number) != last);
    let bare = |(at, (number, bytes, content)): (usize, &(u32, &[u8], &[u8]))| {
        let waypoints: &[u32] = match number {
            1 => &[8],
            2 => &[7, 13],
            _ => return (*number, bytes.to_vec()),
        };
        if other.is_some_and(|other| at <= other) {
            return (*number, bytes.to_vec());
        }
        let rest = split(content).into_iter().filter(|(number, ..)| !waypoints.contains(number));
        (*number, rest.flat_map(|(_, bytes, _)| bytes).copied().collect())
    };
    fields.iter().enumerate().map(bare).collect()
}

/// The fields of a message: number, all of it, and its content where it has a length.
fn split(message: &[u8]) -> Vec<(u32, &[u8], &[u8])> {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let (start, mut at) = (rest, rest);
        let (number, wire_type) = read(decode_key(&mut at));
        let mut content = at;
        read(skip_field(wire_type, number, &mut at, DecodeContext::default()));
        if wire_type == WireType::LengthDelimited {
            read(decode_varint(&mut content));
            content = content.split_at(content.len() - at.len()).0;
        }
        fields.push((number, start.split_at(start.len() - at.len()).0, content));
        rest = at;
    }
    fields
}
