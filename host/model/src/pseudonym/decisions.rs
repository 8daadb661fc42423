//! Rows and decisions under other names.

use super::text::{Rename, each, host, name};
use crate::decision::{Choice, Decision, Target, WaypointAddress};
use crate::gateway::GatewayKey;
use crate::table::{RowKey, Subject};

pub(super) fn key(by: &mut impl Rename, key: &RowKey) -> RowKey {
    let RowKey { kind, namespace, name: of, part } = key;
    let (namespace, name) = (name(by, namespace), name(by, of));
    RowKey { kind: *kind, namespace, name, part: part.as_ref().map(|part| host(by, part)) }
}

pub(super) fn subject(by: &mut impl Rename, subject: &Subject) -> Subject {
    let Subject { hosts, addresses, dialled_by_address } = subject;
    Subject {
        hosts: each(hosts, |it| host(by, it)).into(),
        addresses: each(addresses, |ip| by.address(*ip)).into(),
        dialled_by_address: *dialled_by_address,
    }
}

pub(super) fn decision(by: &mut impl Rename, decision: &Decision) -> Decision {
    let Decision { choice, on_unreachable, reason, second_reason, ingress, tunnel, floor } = decision;
    Decision {
        choice: match choice {
            Choice::Waypoints(targets) => Choice::Waypoints(targets.iter().map(|it| target(by, it)).collect()),
            Choice::Keep | Choice::Direct | Choice::Blocked => choice.clone(),
        },
        on_unreachable: *on_unreachable,
        reason: reason.clone(),
        second_reason: second_reason.clone(),
        ingress: *ingress,
        tunnel: *tunnel,
        floor: *floor,
    }
}

fn target(by: &mut impl Rename, target: &Target) -> Target {
    let Target { gateway: GatewayKey { namespace, name: of }, address, dial, weight } = target;
    let address = address.as_ref().map(|address| match address {
        WaypointAddress::Hostname(hostname) => WaypointAddress::Hostname(host(by, hostname)),
        WaypointAddress::Ip { network, ip } => WaypointAddress::Ip { network: name(by, network), ip: by.address(*ip) },
    });
    Target {
        gateway: GatewayKey { namespace: name(by, namespace), name: name(by, of) },
        address,
        dial: each(dial, |ip| by.address(*ip)),
        weight: *weight,
    }
}
