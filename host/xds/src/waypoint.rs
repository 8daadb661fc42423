//! From a decision to the fields of an Address: `waypoint` and `weighted_waypoints`, always both. The same for resources
//! that are built from the model ([`crate::mesh`]) and for those that a control plane sent and that are rewritten.

use std::net::IpAddr;

use model::decision::{Choice, Decision, OnUnreachable, Target, WaypointAddress};
use model::gateway::HBONE_PORT;

use crate::proto::workload::gateway_address::Destination;
use crate::proto::workload::{GatewayAddress, NamespacedHostname, NetworkAddress, WeightedWaypoint};
use crate::resource::bytes_of_ip;
use crate::rewrite::WaypointFields;

/// The namespace of a reference that nothing in a mesh answers to: ztunnel cannot resolve it, and so fails the connection
/// instead of letting it go past (R92). A Namespace of this name is nobody's but this program's.
pub const BLOCKED_NAMESPACE: &str = "wayswitch-blocked";
/// Its hostname. `invalid` is a top-level domain that never exists (RFC 2606).
pub const BLOCKED_HOSTNAME: &str = "blocked.wayswitch.invalid";
/// The namespace of services that stand for waypoints which the mesh knows only by an IP.
pub const OUTSIDE_NAMESPACE: &str = "wayswitch-waypoints";
/// What their hostnames end in.
const OUTSIDE_DOMAIN: &str = "waypoint.wayswitch.invalid";

/// What is known of the mesh that clients are told.
pub trait Told {
    /// Whether clients find a service or a workload at this address; else they cannot use it as a waypoint.
    fn has_address(&self, network: &str, ip: IpAddr) -> bool;

    /// Whether connections to the waypoint have a chance. False only where it is known that they have none: nothing to
    /// dial, or no healthy endpoint behind it.
    fn is_reachable(&self, target: &Target) -> bool;
}

/// The waypoints of a service; none: the decision keeps what the control plane said, if anybody did.
pub fn of_service(decision: &Decision, told: &impl Told) -> Option<WaypointFields> {
    let targets = match &decision.choice {
        Choice::Keep => return None,
        Choice::Direct => return Some(WaypointFields::default()),
        Choice::Blocked => return Some(only(blocked())),
        Choice::Waypoints(targets) => targets,
    };
    if is_bypassed(decision, told) {
        return Some(WaypointFields::default());
    }
    let shares: Vec<_> = targets.iter().filter_map(|it| Some((destination(it, decision, told)?, it.weight))).collect();
    let waypoint = shares.first().map(|(destination, _)| destination.clone());
    // A single waypoint needs no weights, and Istio sends none (R60).
    let weighted = if targets.len() > 1 { shares } else { Vec::new() };
    let weighted = weighted
        .into_iter()
        .map(|(destination, weight)| WeightedWaypoint { destination: Some(destination), weight: weight.into() });
    Some(WaypointFields { waypoint, weighted: weighted.collect() })
}

/// The waypoint of a workload, which has no weights (R66): the primary. None: as of a service.
pub fn of_workload(decision: &Decision, told: &impl Told) -> Option<Option<GatewayAddress>> {
    of_service(decision, told).map(|fields| fields.waypoint)
}

/// The reference that nobody can resolve.
pub fn blocked() -> GatewayAddress {
    hostname(BLOCKED_NAMESPACE, BLOCKED_HOSTNAME)
}

/// The hostname in [`OUTSIDE_NAMESPACE`] of a waypoint that the mesh knows only by its IP.
pub fn outside_hostname(network: &str, ip: IpAddr) -> String {
    let ip = ip.to_string().replace(['.', ':'], "-");
    if network.is_empty() { format!("{ip}.{OUTSIDE_DOMAIN}") } else { format!("{ip}.{network}.{OUTSIDE_DOMAIN}") }
}

/// Whether connections go past the waypoints now: none of them can be reached, and that is what the decision says then.
pub fn is_bypassed(decision: &Decision, told: &impl Told) -> bool {
    let targets = decision.targets();
    decision.on_unreachable == OnUnreachable::Bypass
        && !targets.is_empty()
        && !targets.iter().any(|target| target.weight > 0 && told.is_reachable(target))
}

fn only(waypoint: GatewayAddress) -> WaypointFields {
    WaypointFields { waypoint: Some(waypoint), weighted: Vec::new() }
}

/// How the mesh is told of a waypoint. One that reports no usable address (R7) fails its share of the connections, unless
/// they may go elsewhere: then the others have it.
fn destination(target: &Target, decision: &Decision, told: &impl Told) -> Option<GatewayAddress> {
    Some(match &target.address {
        Some(WaypointAddress::Hostname(host)) => hostname(&target.gateway.namespace, host),
        Some(WaypointAddress::Ip { network, ip }) if told.has_address(network, *ip) => address(network, *ip),
        Some(WaypointAddress::Ip { network, ip }) => hostname(OUTSIDE_NAMESPACE, &outside_hostname(network, *ip)),
        None if decision.on_unreachable == OnUnreachable::Bypass => return None,
        None => blocked(),
    })
}

/// The namespace is the Gateway's own (R5), the port always the same (R8).
pub(crate) fn hostname(namespace: &str, hostname: &str) -> GatewayAddress {
    let name = NamespacedHostname { namespace: namespace.to_owned(), hostname: hostname.to_owned() };
    GatewayAddress { destination: Some(Destination::Hostname(name)), hbone_mtls_port: HBONE_PORT.into() }
}

fn address(network: &str, ip: IpAddr) -> GatewayAddress {
    let address = NetworkAddress { network: network.to_owned(), address: bytes_of_ip(ip), length: None };
    GatewayAddress { destination: Some(Destination::Address(address)), hbone_mtls_port: HBONE_PORT.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::gateway::GatewayKey;

    /// Knows 10.0.0.1, and reaches the Gateways with these names.
    struct Known(&'static [&'static str]);

    impl Told for Known {
        fn has_address(&self, _: &str, ip: IpAddr) -> bool {
            ip == IpAddr::from([10, 0, 0, 1])
        }

        fn is_reachable(&self, target: &Target) -> bool {
            self.0.contains(&&*target.gateway.name)
        }
    }

    fn at(name: &str, address: Option<WaypointAddress>, weight: u8) -> Target {
        Target { gateway: GatewayKey::new("ns", name), address, dial: Vec::new(), weight }
    }

    fn host(name: &str, weight: u8) -> Target {
        at(name, Some(WaypointAddress::Hostname(format!("{name}.example").into())), weight)
    }

    fn ip(last: u8) -> Target {
        at("ip", Some(WaypointAddress::Ip { network: "n".into(), ip: [10, 0, 0, last].into() }), 100)
    }

    fn decided(targets: Vec<Target>, on_unreachable: OnUnreachable) -> Decision {
        Decision { on_unreachable, ..Decision::without_waypoint(Choice::Waypoints(targets.into()), None) }
    }

    fn shown(address: &GatewayAddress) -> String {
        assert_eq!(address.hbone_mtls_port, 15008);
        match address.destination.as_ref().unwrap() {
            Destination::Hostname(name) => format!("{}/{}", name.namespace, name.hostname),
            Destination::Address(address) => {
                format!("{} {}", address.network, crate::resource::ip_of_bytes(&address.address).unwrap())
            }
        }
    }

    #[track_caller]
    fn check(decision: &Decision, told: &Known, waypoint: Option<&str>, weighted: &[(&str, u32)]) {
        let fields = of_service(decision, told).unwrap();
        assert_eq!(fields.waypoint.as_ref().map(shown).as_deref(), waypoint);
        let found: Vec<_> =
            fields.weighted.iter().map(|it| (shown(it.destination.as_ref().unwrap()), it.weight)).collect();
        assert_eq!(found, weighted.iter().map(|(at, weight)| ((*at).to_owned(), *weight)).collect::<Vec<_>>());
        assert_eq!(of_workload(decision, told).unwrap(), fields.waypoint);
    }

    #[test]
    fn each_choice_has_its_fields() {
        let (all, fail) = (Known(&["a", "b", "ip"]), OnUnreachable::Fail);
        assert_eq!(of_service(&Decision::without_waypoint(Choice::Keep, None), &all), None);
        check(&Decision::without_waypoint(Choice::Direct, None), &all, None, &[]);
        let nowhere = "wayswitch-blocked/blocked.wayswitch.invalid";
        check(&Decision::without_waypoint(Choice::Blocked, None), &all, Some(nowhere), &[]);
        check(&decided(vec![host("a", 100)], fail), &all, Some("ns/a.example"), &[]);
        let both = [("ns/a.example", 100), ("ns/b.example", 0)];
        check(&decided(vec![host("a", 100), host("b", 0)], fail), &all, Some("ns/a.example"), &both);
    }

    #[test]
    fn an_ip_is_told_as_one_only_where_clients_find_something_there() {
        check(&decided(vec![ip(1)], OnUnreachable::Fail), &Known(&[]), Some("n 10.0.0.1"), &[]);
        let outside = "wayswitch-waypoints/10-0-0-2.n.waypoint.wayswitch.invalid";
        check(&decided(vec![ip(2)], OnUnreachable::Fail), &Known(&[]), Some(outside), &[]);
        assert_eq!(outside_hostname("", "fd00::1".parse().unwrap()), "fd00--1.waypoint.wayswitch.invalid");
    }

    #[test]
    fn past_the_waypoint_goes_only_what_may_and_cannot_reach_any() {
        let two = || vec![host("a", 60), host("b", 40)];
        let both = [("ns/a.example", 60), ("ns/b.example", 40)];
        check(&decided(two(), OnUnreachable::Fail), &Known(&[]), Some("ns/a.example"), &both);
        check(&decided(two(), OnUnreachable::Bypass), &Known(&["b"]), Some("ns/a.example"), &both);
        check(&decided(two(), OnUnreachable::Bypass), &Known(&[]), None, &[]);
        let canary = vec![host("a", 100), host("b", 0)];
        check(&decided(canary, OnUnreachable::Bypass), &Known(&["b"]), None, &[]);
    }

    #[test]
    fn a_waypoint_without_an_address_fails_its_share_or_leaves_it_to_the_others() {
        let two = || vec![at("a", None, 60), host("b", 40)];
        let nowhere = "wayswitch-blocked/blocked.wayswitch.invalid";
        let weighted = [(nowhere, 60), ("ns/b.example", 40)];
        check(&decided(two(), OnUnreachable::Fail), &Known(&["b"]), Some(nowhere), &weighted);
        check(&decided(two(), OnUnreachable::Bypass), &Known(&["b"]), Some("ns/b.example"), &[("ns/b.example", 40)]);
        check(&decided(vec![at("a", None, 100)], OnUnreachable::Fail), &Known(&[]), Some(nowhere), &[]);
        check(&decided(vec![at("a", None, 100)], OnUnreachable::Bypass), &Known(&[]), None, &[]);
    }
}
