//! What an operator may set. Written nowhere, each is as in the newest Istio there are rules for; only `required` adds to
//! it, and only for objects with a label that Istio does not know.

use wayswitch_sdk::OnUnreachable;
use wayswitch_sdk::settings::Settings as Written;

use super::version::{self, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) unbound: Unbound,
    /// What a bound subject does while none of its waypoints can be reached. Istio: fail (R13, R92). One that a waypoint is
    /// required for fails under either.
    pub(super) unreachable: OnUnreachable,
    pub(super) required: Required,
    /// Which Istio is followed. At `1.22` a reference is written in one value as `namespace/name`, which no reference of a
    /// description can express: there, and only there, all Gateways are candidates of all subjects, so that any change of a
    /// Gateway asks every row again. That Istio did not ask a waypoint's owner (R11) either; the host's floor still does.
    /// It wrote no status before 1.24; decisions have their reasons all the same, since those are ours.
    pub(super) istio: Version,
    pub(super) exclude_gateways: ExcludeGateways,
    pub(super) canary_visibility: CanaryVisibility,
}

/// What a subject gets that asked for a waypoint (by its own label or its namespace's) and cannot be bound to it. Opting
/// out and not asking are direct under either, and under either one that a waypoint is required for is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unbound {
    /// As Istio: past the waypoint, straight to the destination.
    Direct,
    /// Connections fail until the reference can be bound: nothing passes a waypoint it was meant to go through. This
    /// holds for pods too while an inherited waypoint is not ready, since what it will serve is not final before.
    Blocked,
}

/// Whether the label by which an owner requires a waypoint means anything; see `required`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Required {
    Honoured,
    /// The label is not even read.
    Ignored,
}

/// Which generated Services never have a waypoint (R28, Q6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExcludeGateways {
    /// Those of Istio's waypoints and east-west gateways. A waypoint of another controller may be bound to itself.
    Istio,
    /// Whatever a controller generated for a Gateway.
    All,
}

/// Whether an entry that only its namespace sees may have a second waypoint of another one (R67, Q10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CanaryVisibility {
    /// As Istio: it may.
    Istio,
    /// What holds for the first (R30) holds for the second.
    Checked,
}

/// The keys; the words are where each is read.
pub(super) const UNBOUND: &str = "unbound";
pub(super) const UNREACHABLE: &str = "unreachable";
pub(super) const REQUIRED: &str = "required";
pub(super) const ISTIO: &str = "istio";
pub(super) const EXCLUDE_GATEWAYS: &str = "exclude-gateways";
pub(super) const CANARY_VISIBILITY: &str = "canary-visibility";

impl Settings {
    /// The same, but this one lets pass the most that it can; the words are `direct`, `ignored` and `istio`.
    pub(super) fn loosened(mut self, key: &str) -> Self {
        match key {
            UNBOUND => self.unbound = Unbound::Direct,
            REQUIRED => self.required = Required::Ignored,
            EXCLUDE_GATEWAYS => self.exclude_gateways = ExcludeGateways::Istio,
            CANARY_VISIBILITY => self.canary_visibility = CanaryVisibility::Istio,
            _ => {}
        }
        self
    }
}

/// The words of each key; their numbers are what [`parse`] makes of them. A reader for each type would be a copy of it in the
/// component.
const WORDS: [(&str, &[(&str, u8)]); 6] = [
    (UNBOUND, &[("direct", 0), ("blocked", 1)]),
    (UNREACHABLE, &[("fail", 0), ("bypass", 1)]),
    (REQUIRED, &[("honoured", 0), ("ignored", 1)]),
    (EXCLUDE_GATEWAYS, &[("istio", 0), ("all", 1)]),
    (CANARY_VISIBILITY, &[("istio", 0), ("checked", 1)]),
    (ISTIO, &version::MINORS),
];

pub(super) fn parse(text: &str) -> Result<Settings, String> {
    let written = Written::parse(text)?;
    let mut chosen = [0, 0, 0, 0, 0, version::NEWEST];
    for ((key, words), number) in WORDS.into_iter().zip(&mut chosen) {
        *number = written.choice(key, words)?.unwrap_or(*number);
    }
    written.finish()?;
    let [unbound, unreachable, required, exclude_gateways, canary_visibility, minor] = chosen;
    Ok(Settings {
        unbound: if unbound == 1 { Unbound::Blocked } else { Unbound::Direct },
        unreachable: if unreachable == 1 { OnUnreachable::Bypass } else { OnUnreachable::Fail },
        required: if required == 1 { Required::Ignored } else { Required::Honoured },
        istio: Version::of_minor(minor),
        exclude_gateways: if exclude_gateways == 1 { ExcludeGateways::All } else { ExcludeGateways::Istio },
        canary_visibility: if canary_visibility == 1 { CanaryVisibility::Checked } else { CanaryVisibility::Istio },
    })
}

#[cfg(test)]
mod tests;
