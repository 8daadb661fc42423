//! Which Gateways are waypoints under the old rules, and for whom. It does not know who asks.

use std::net::IpAddr;

use wayswitch_sdk::Gateway;

use super::FOR_SERVICE_ACCOUNT;

/// The only class whose Gateways counted.
const CLASS: &str = "istio-waypoint";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waypoint<'a> {
    /// The service account it is for; none: every workload of its namespace.
    pub(super) account: Option<&'a str>,
    /// Index of its first IP address; a hostname was no address in those versions.
    pub(super) address: u32,
}

impl<'a> Waypoint<'a> {
    pub(super) fn of(gateway: &'a Gateway) -> Option<Self> {
        if gateway.gateway_class.as_ref()?.name != CLASS {
            return None;
        }
        let mut each = gateway.addresses.iter().zip(0..);
        let (_, address) = each.find(|(address, _)| {
            address.kind.as_deref() == Some("IPAddress") && address.value.parse::<IpAddr>().is_ok()
        })?;
        let account = gateway.annotation(FOR_SERVICE_ACCOUNT).filter(|account| !account.is_empty());
        Some(Self { account, address })
    }
}
