//! From the entry that was found to what happens: pure, total, and closed on everything it does not know.

use crate::{Address, Value};

/// Linux error numbers, equal on every architecture BPF runs on but MIPS and SPARC (which aya does not build for).
const ECONNREFUSED: u32 = 111;
const EHOSTUNREACH: u32 = 113;
const ERRNO_MAX: u32 = 4095;

/// What a rule does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// Leave it alone.
    Pass = 1,
    /// Give it to a proxy on this node. Reserved: refused until there is one.
    Proxy = 2,
    /// Connect to another address.
    Redirect = 3,
    /// Fail it.
    Deny = 4,
}

impl Action {
    /// The action of a stored number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Pass),
            2 => Some(Self::Proxy),
            3 => Some(Self::Redirect),
            4 => Some(Self::Deny),
            _ => None,
        }
    }
}

/// Address family of the connecting socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// AF_INET: can only go to IPv4.
    V4 = 4,
    /// AF_INET6: goes to both, to IPv4 as v4-mapped (unless the socket is IPV6_V6ONLY: then the kernel refuses).
    V6 = 6,
}

/// What happens while there are no rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum BeforeRules {
    /// Every TCP connect of the cgroup is refused.
    #[default]
    Deny = 0,
    /// Every connect passes.
    Pass = 1,
}

/// Why a connect went as it went: the index into STATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Reason {
    /// No rule names this destination: untouched.
    Miss = 0,
    /// A rule lets it pass.
    Pass = 1,
    /// A rule sends it elsewhere.
    Redirect = 2,
    /// A rule denies it.
    Deny = 3,
    /// There are no rules, and the configuration says deny.
    BeforeRulesDenied = 4,
    /// There are no rules, and the configuration says pass.
    BeforeRulesPassed = 5,
    /// The rule wants a proxy, and there is none: refused.
    ProxyReserved = 6,
    /// The entry makes no sense to this program: refused.
    Malformed = 7,
    /// An IPv4 socket and a waypoint without an IPv4 address: refused.
    NoV4Address = 8,
    /// The record of a redirected connection could not be kept: refused.
    RecordFailed = 9,
    /// The entry changed under the program twice: refused.
    Torn = 10,
    /// An epoch is active, its rules are not there: refused.
    SlotMissing = 11,
    /// The record waits for the peer.
    PairStored = 12,
    /// No room for one more record; the peer will find none and must close.
    PairFull = 13,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Miss,
        Self::Pass,
        Self::Redirect,
        Self::Deny,
        Self::BeforeRulesDenied,
        Self::BeforeRulesPassed,
        Self::ProxyReserved,
        Self::Malformed,
        Self::NoV4Address,
        Self::RecordFailed,
        Self::Torn,
        Self::SlotMissing,
        Self::PairStored,
        Self::PairFull,
    ];

    /// The word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Pass => "pass",
            Self::Redirect => "redirect",
            Self::Deny => "deny",
            Self::BeforeRulesDenied => "before_rules_denied",
            Self::BeforeRulesPassed => "before_rules_passed",
            Self::ProxyReserved => "proxy_reserved",
            Self::Malformed => "malformed",
            Self::NoV4Address => "no_v4_address",
            Self::RecordFailed => "record_failed",
            Self::Torn => "torn",
            Self::SlotMissing => "slot_missing",
            Self::PairStored => "pair_stored",
            Self::PairFull => "pair_full",
        }
    }
}

/// What the program does, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it go, unchanged.
    Pass {
        /// Counted as.
        reason: Reason,
    },
    /// Change the destination.
    Redirect {
        /// New address.
        address: Address,
        /// New port, network byte order.
        port: u16,
    },
    /// Fail the call.
    Deny {
        /// Positive error number.
        errno: u32,
        /// Counted as.
        reason: Reason,
    },
}

impl Verdict {
    /// Refused for a reason that is not a rule's.
    #[inline(always)]
    #[must_use]
    pub const fn refuse(reason: Reason) -> Self {
        Self::Deny { errno: ECONNREFUSED, reason }
    }
}

/// What an entry does with a socket of this family.
#[inline(always)]
#[must_use]
pub const fn decide(value: &Value, family: Family) -> Verdict {
    match Action::from_number(value.action) {
        Some(Action::Pass) => Verdict::Pass { reason: Reason::Pass },
        Some(Action::Proxy) => Verdict::refuse(Reason::ProxyReserved),
        Some(Action::Deny) => {
            // Zero would read as success, and what is beyond the kernel's range as EPERM: neither is what a rule says.
            let errno = if value.errno == 0 || value.errno > ERRNO_MAX { ECONNREFUSED } else { value.errno };
            Verdict::Deny { errno, reason: Reason::Deny }
        }
        Some(Action::Redirect) if value.port == 0 => Verdict::refuse(Reason::Malformed),
        Some(Action::Redirect) => match (family, value.address.v4()) {
            (Family::V4, None) => Verdict::Deny { errno: EHOSTUNREACH, reason: Reason::NoV4Address },
            _ => Verdict::Redirect { address: value.address, port: value.port },
        },
        None => Verdict::refuse(Reason::Malformed),
    }
}

/// What happens while ACTIVE is 0; a number that is not known denies.
#[inline(always)]
#[must_use]
pub const fn before_rules(configured: u8) -> Verdict {
    if configured == BeforeRules::Pass as u8 {
        Verdict::Pass { reason: Reason::BeforeRulesPassed }
    } else {
        Verdict::refuse(Reason::BeforeRulesDenied)
    }
}
