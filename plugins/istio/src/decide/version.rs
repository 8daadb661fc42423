//! The release of Istio whose rules are followed, and which of the rules moved when. What a rule does is elsewhere; the
//! rules that moved in the host's part (conflicts of hosts, who sees an entry) are not here.

/// The minor number of a 1.x release: a number, so that asking costs the rows one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version(u8);

/// Every release there is a level for, as it is written in the settings, and its minor number.
pub(super) const MINORS: [(&str, u8); 10] = [
    ("1.22", 22),
    ("1.23", 23),
    ("1.24", 24),
    ("1.25", 25),
    ("1.26", 26),
    ("1.27", 27),
    ("1.28", 28),
    ("1.29", 29),
    ("1.30", 30),
    ("1.31", 31),
];

/// The level where none is set.
pub(super) const NEWEST: u8 = 31;

impl Version {
    pub(super) const fn of_minor(minor: u8) -> Self {
        Self(minor)
    }

    /// Whether this rule is as it is since that release; the numbers are named below.
    pub(super) fn has(self, since: u8) -> bool {
        self.0 >= since
    }
}

/// For keys that every release reads.
pub(super) const ALWAYS: u8 = 0;
/// The namespace of a reference has a label of its own (R15). Before, the name's value was `name` or `namespace/name`, with
/// more words to opt out.
pub(super) const NAMESPACE_LABEL: u8 = 23;
/// A waypoint's owner is asked whom it admits (R11, R20). The host's floor asks at every level.
pub(super) const ADMISSION: u8 = 23;
/// An address may be a hostname (R5).
pub(super) const HOSTNAMES: u8 = 24;
/// A service may send gateways through its waypoint (R70).
pub(super) const INGRESS_LABEL: u8 = 24;
/// Its namespace may say so for it.
pub(super) const INHERITED_INGRESS: u8 = 25;
/// The listener that an inbound binding names counts (R10 a, b); before, always the one for HBONE.
pub(super) const BOUND_LISTENERS: u8 = 26;
/// A workload that only inherited a waypoint for services has asked for nothing (R47); before, it was refused one.
pub(super) const EXCUSED_HEIRS: u8 = 30;
/// There is a second waypoint (R60).
pub(super) const CANARY: u8 = 31;
/// An entry that only its namespace sees takes no waypoint of another one (R30).
pub(super) const VISIBILITY: u8 = 31;
