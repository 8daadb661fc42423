//! Puts a decision's waypoints into what the control plane said about a workload or service. Everything else passes byte for
//! byte; where nothing changes, the very bytes that came in go out, and so the same version.

use bytes::Bytes;
use prost::Message;

use crate::proto::workload::{GatewayAddress, Service, WeightedWaypoint, Workload};
use crate::wire::{AddressFields, Malformed, Member};

/// Through which waypoints something is reached, as an Address says it. Both fields always move together: a reader that
/// finds weights goes by them, whatever `waypoint` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WaypointFields {
    /// `waypoint`; of a workload the only one there is.
    pub waypoint: Option<GatewayAddress>,
    /// `weighted_waypoints`, of services only.
    pub weighted: Vec<WeightedWaypoint>,
}

/// What an encoded Address says about waypoints; none where it is neither workload nor service.
///
/// # Errors
/// When it is no protobuf message, or its waypoints are none.
pub fn waypoints_of(address: &[u8]) -> Result<Option<WaypointFields>, RewriteError> {
    let walked = AddressFields::of(address)?;
    let Some(member) = walked.member() else { return Ok(None) };
    Ok(Some(decoded(member, &walked.waypoints()?)?))
}

/// The encoded Address with these waypoints. The same bytes where it says so already, or is neither workload nor service;
/// a workload has no weights and takes `waypoint` alone.
///
/// # Errors
/// When it is no protobuf message.
pub fn rewritten(address: &Bytes, waypoints: &WaypointFields) -> Result<Bytes, RewriteError> {
    let walked = AddressFields::of(address)?;
    let Some(member) = walked.member() else { return Ok(address.clone()) };
    let wanted = match member {
        Member::Workload => WaypointFields { waypoint: waypoints.waypoint.clone(), weighted: Vec::new() },
        Member::Service => waypoints.clone(),
    };
    // Compared by meaning: what a newer control plane adds to a waypoint of its own stays.
    if decoded(member, &walked.waypoints()?).is_ok_and(|upstream| upstream == wanted) {
        return Ok(address.clone());
    }
    // Without room to spare: each of a mesh may be one.
    Ok(walked.with_waypoints(&encoded(member, wanted))?.into_boxed_slice().into())
}

/// Why an Address could not be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// It is no protobuf message.
    #[error("an Address is not well-formed")]
    Malformed(#[from] Malformed),
    /// Its waypoints are no waypoints.
    #[error("the waypoints of an Address cannot be read; the control plane may be newer than this agent")]
    Waypoints(#[from] prost::DecodeError),
}

fn decoded(member: Member, fields: &[u8]) -> Result<WaypointFields, prost::DecodeError> {
    Ok(match member {
        Member::Workload => WaypointFields { waypoint: Workload::decode(fields)?.waypoint, weighted: Vec::new() },
        Member::Service => {
            let service = Service::decode(fields)?;
            WaypointFields { waypoint: service.waypoint, weighted: service.weighted_waypoints }
        }
    })
}

fn encoded(member: Member, fields: WaypointFields) -> Vec<u8> {
    let WaypointFields { waypoint, weighted: weighted_waypoints } = fields;
    match member {
        Member::Workload => Workload { waypoint, ..Workload::default() }.encode_to_vec(),
        Member::Service => Service { waypoint, weighted_waypoints, ..Service::default() }.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::workload::address::Type;
    use crate::proto::workload::gateway_address::Destination;
    use crate::proto::workload::{Address, NamespacedHostname};
    use crate::resource::Version;

    fn to(hostname: &str) -> GatewayAddress {
        let hostname = NamespacedHostname { namespace: "shop".into(), hostname: hostname.into() };
        GatewayAddress { destination: Some(Destination::Hostname(hostname)), hbone_mtls_port: 15008 }
    }

    fn weights(hosts: &[(&str, u32)]) -> Vec<WeightedWaypoint> {
        hosts.iter().map(|(host, weight)| WeightedWaypoint { destination: Some(to(host)), weight: *weight }).collect()
    }

    /// A service of a control plane that knows fields which this agent does not, one of them inside the waypoint.
    fn from_the_future(waypoint: Option<GatewayAddress>) -> Bytes {
        let mut service =
            Service { name: "cart".into(), namespace: "shop".into(), ..Service::default() }.encode_to_vec();
        if let Some(waypoint) = waypoint {
            let mut content = waypoint.encode_to_vec();
            prost::encoding::string::encode(99, &"new".to_owned(), &mut content);
            prost::encoding::bytes::encode(7, &content, &mut service);
        }
        prost::encoding::string::encode(77, &"unknown".to_owned(), &mut service);
        let mut address = Vec::new();
        prost::encoding::bytes::encode(2, &service, &mut address);
        prost::encoding::uint32::encode(50, &5, &mut address);
        address.into()
    }

    #[test]
    fn what_is_said_already_stays_byte_for_byte() {
        let address = from_the_future(Some(to("wp")));
        let same = WaypointFields { waypoint: Some(to("wp")), weighted: Vec::new() };
        let after = rewritten(&address, &same).unwrap();
        assert_eq!(after, address);
        assert_eq!(after.as_ptr(), address.as_ptr(), "not even copied");
        assert_eq!(Version::of(&after), Version::of(&address));
        let none = from_the_future(None);
        assert_eq!(rewritten(&none, &WaypointFields::default()).unwrap().as_ptr(), none.as_ptr());
    }

    #[test]
    fn there_and_back_again_gives_the_fields_of_the_future_back() {
        let none = from_the_future(None);
        let canary = WaypointFields { waypoint: Some(to("wp")), weighted: weights(&[("wp", 90), ("next", 10)]) };
        let after = rewritten(&none, &canary).unwrap();
        assert_eq!(waypoints_of(&after).unwrap(), Some(canary));
        assert_eq!(rewritten(&after, &WaypointFields::default()).unwrap(), none);
    }

    #[test]
    fn weights_never_stay_behind_when_the_waypoint_moves() {
        let service = Service {
            waypoint: Some(to("a")),
            weighted_waypoints: weights(&[("a", 1), ("b", 9)]),
            ..Service::default()
        };
        let address = Bytes::from(Address { r#type: Some(Type::Service(service)) }.encode_to_vec());
        let moved = WaypointFields { waypoint: Some(to("c")), weighted: Vec::new() };
        assert_eq!(waypoints_of(&rewritten(&address, &moved).unwrap()).unwrap(), Some(moved));
        let direct = rewritten(&address, &WaypointFields::default()).unwrap();
        assert_eq!(waypoints_of(&direct).unwrap(), Some(WaypointFields::default()));
    }

    #[test]
    fn a_workload_takes_no_weights() {
        let workload = Workload {
            uid: "c//Pod/shop/cart".into(),
            service_account: "sa".into(),
            workload_name: "cart".into(),
            ..Workload::default()
        };
        let address = Bytes::from(Address { r#type: Some(Type::Workload(workload.clone())) }.encode_to_vec());
        let canary = WaypointFields { waypoint: Some(to("wp")), weighted: weights(&[("wp", 90), ("next", 10)]) };
        let after = rewritten(&address, &canary).unwrap();
        let expected = Workload { waypoint: Some(to("wp")), ..workload };
        // Fields 7 and 13 of a workload are its service account and its name, and stay.
        assert_eq!(Address::decode(after).unwrap().r#type, Some(Type::Workload(expected)));
    }

    #[test]
    fn what_is_neither_workload_nor_service_passes() {
        let unknown = Bytes::from_static(&[0x1a, 0x02, 0x38, 0x01]);
        let some = WaypointFields { waypoint: Some(to("wp")), weighted: Vec::new() };
        assert_eq!(rewritten(&unknown, &some).unwrap(), unknown);
        assert!(waypoints_of(&unknown).unwrap().is_none());
        assert!(rewritten(&Bytes::from_static(&[0x12, 0x05]), &some).is_err());
    }

    #[test]
    fn unreadable_waypoints_are_replaced_and_not_kept_by_chance() {
        let service = Bytes::from_static(&[0x12, 0x02, 0x38, 0x01]);
        assert!(matches!(waypoints_of(&service), Err(RewriteError::Waypoints(_))));
        assert_eq!(rewritten(&service, &WaypointFields::default()).unwrap(), Bytes::from_static(&[0x12, 0x00]));
    }
}
