//! How a selection can end, and what each end means as a decision. Finding the end is elsewhere.

use wayswitch_sdk::{Decision, Level, OnUnreachable};

use super::reference::Named;
use super::selection::Selection;
use super::settings::Unbound;
use super::steps;
use super::trace::Trace;

/// Every end of a selection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome<'a> {
    /// Of a kind that never has a waypoint (R54, R57).
    NeverHasOne,
    /// The labels are unknown: what the control plane said stands.
    Unknown,
    /// The Service of a waypoint or an east-west gateway (R28); of any Gateway, where that is set (Q6).
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
    Refused(Refused<'a>),
    /// Bound to this waypoint.
    Bound { gateway: u32, second: Second<'a> },
}

/// What becomes of the second waypoint of a bound service (R63).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Second<'a> {
    NotAsked,
    /// The first has all of the traffic (R65).
    Refused(Refused<'a>),
    /// It has this part of the traffic, which may be nothing or all of it (R64).
    Shares {
        gateway: u32,
        percent: u32,
    },
}

/// A reference that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Refused<'a> {
    pub(super) named: Named<'a>,
    /// None: there is no such Gateway, or it was not looked for.
    pub(super) gateway: Option<u32>,
    pub(super) why: Refusal,
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
    /// The second waypoint is the first (R63).
    SameAsPrimary,
    /// The second waypoint's part is no percentage (R62).
    InvalidWeight,
}

/// The reason of a bound subject (R76).
const ACCEPTED: &str = "WaypointAccepted";
/// The reason of a subject that was not refused anything, but must not do without a waypoint. Ours, not Istio's.
const REQUIRED: &str = "WaypointRequired";

impl Refusal {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NotReady => "WaypointIsNotReady",
            Self::NotAdmitted => "AttachmentDenied",
            Self::OtherTraffic => "UnsupportedTrafficType",
            Self::ForeignNamespace => "CrossNamespaceWaypointForbidden",
            Self::SameAsPrimary => "CanarySameAsPrimary",
            Self::InvalidWeight => "CanaryInvalidWeight",
        }
    }
}

impl Outcome<'_> {
    pub(super) fn decision(&self, selection: &Selection<'_, '_>, trace: &mut Trace) -> Decision {
        match *self {
            Self::Unknown => Decision::keep(),
            Self::NeverHasOne | Self::Managed => Decision::direct(None),
            Self::NotAsked | Self::OptedOut { .. } | Self::NotMeant { .. } => not_asking(selection, trace),
            Self::Instance { gateway } => {
                let tunnel = selection.waypoint(gateway).and_then(|waypoint| waypoint.binding);
                Decision::direct(None).with_tunnel(tunnel)
            }
            Self::Refused(Refused { why, .. }) => refused(why, selection, trace),
            Self::Bound { gateway, second } => bound(gateway, second, selection, trace),
        }
    }
}

/// Direct, unless a waypoint is required.
fn not_asking(selection: &Selection<'_, '_>, trace: &mut Trace) -> Decision {
    let Some(level) = selection.required() else {
        return Decision::direct(None);
    };
    // That nobody asked would have settled it.
    trace.leave_open_from(0);
    trace.note(|| steps::required(level, selection, true));
    Decision::blocked(Some(REQUIRED))
}

/// The reason stays, whatever becomes of the traffic.
fn refused(why: Refusal, selection: &Selection<'_, '_>, trace: &mut Trace) -> Decision {
    if let Some(level) = selection.required() {
        trace.note(|| steps::required(level, selection, false));
        return Decision::blocked(Some(why.reason()));
    }
    let unbound = selection.settings.unbound;
    trace.note(|| steps::unbound(unbound));
    match unbound {
        Unbound::Direct => Decision::direct(Some(why.reason())),
        Unbound::Blocked => Decision::blocked(Some(why.reason())),
    }
}

fn bound(gateway: u32, second: Second<'_>, selection: &Selection<'_, '_>, trace: &mut Trace) -> Decision {
    let mut decision = Decision::bound(gateway, selection.address(gateway, trace), ACCEPTED);
    match second {
        Second::NotAsked => {}
        Second::Refused(Refused { why, .. }) => decision = decision.with_second_reason(why.reason()),
        Second::Shares { gateway, percent } => {
            decision = decision.with_second(gateway, selection.address(gateway, trace), percent);
        }
    }
    if selection.settings.unreachable == OnUnreachable::Bypass {
        let required = selection.required();
        trace.note(|| steps::unreachable(required));
        if required.is_none() {
            decision = decision.with_bypass();
        }
    }
    decision.with_ingress(selection.ingress(trace))
}
