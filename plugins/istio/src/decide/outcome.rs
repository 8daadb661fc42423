//! How a selection can end, and what each end means as a decision. Finding the end is elsewhere.

use wayswitch_sdk::{Decision, Level};

use super::reference::Named;
use super::selection::Selection;
use super::settings::Unbound;
use super::trace::Trace;

/// Every end of a selection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome<'a> {
    /// Of a kind that never has a waypoint (R54, R57).
    NeverHasOne,
    /// The labels are unknown: what the control plane said stands.
    Unknown,
    /// The Service of a waypoint or an east-west gateway (R28).
    Managed,
    /// An instance of this waypoint (R45).
    Instance { gateway: u32 },
    /// Neither the object nor its namespace says anything (R17).
    NotAsked,
    /// `none` at this level (R18).
    OptedOut { level: Level },
    /// A workload inherited a waypoint that does not serve workloads (R47): nothing was asked for.
    NotMeant { gateway: u32 },
    /// Asked for, and refused.
    Refused { named: Named<'a>, gateway: Option<u32>, why: Refusal },
    /// Bound to this waypoint.
    Bound { gateway: u32 },
}

/// Why a waypoint that was asked for is not used; the reasons of R80.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Missing, or without an address yet (R19).
    NotReady,
    /// It does not admit the subject's namespace (R20).
    NotAdmitted,
    /// It serves the other kind of destination (R29, R47).
    OtherTraffic,
    /// A ServiceEntry that only its namespace sees, and a waypoint of another one (R30).
    ForeignNamespace,
}

/// The reason of a bound subject (R76).
const ACCEPTED: &str = "WaypointAccepted";

impl Refusal {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NotReady => "WaypointIsNotReady",
            Self::NotAdmitted => "AttachmentDenied",
            Self::OtherTraffic => "UnsupportedTrafficType",
            Self::ForeignNamespace => "CrossNamespaceWaypointForbidden",
        }
    }
}

impl Outcome<'_> {
    pub(super) fn decision(&self, selection: &Selection<'_, '_>, trace: &mut Trace) -> Decision {
        match *self {
            Self::Unknown => Decision::keep(),
            Self::NeverHasOne | Self::Managed | Self::NotAsked | Self::OptedOut { .. } | Self::NotMeant { .. } => {
                Decision::direct(None)
            }
            Self::Instance { gateway } => {
                let tunnel = selection.waypoint(gateway).and_then(|waypoint| waypoint.binding);
                Decision::direct(None).with_tunnel(tunnel)
            }
            Self::Refused { why, .. } => match selection.unbound(trace) {
                Unbound::Direct => Decision::direct(Some(why.reason())),
                Unbound::Blocked => Decision::blocked(Some(why.reason())),
            },
            Self::Bound { gateway } => {
                let address = selection.address(gateway, trace);
                Decision::bound(gateway, address, ACCEPTED).with_ingress(selection.ingress(trace))
            }
        }
    }
}
