//! What an object or its namespace asks for (R15-R24, R61). Whether it can be had is decided elsewhere.

use wayswitch_sdk::text::same;
use wayswitch_sdk::{Level, Pair, lookup_value};

use super::keys;
use super::version::{self, Version};

/// What the labels of one object say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish<'a> {
    Absent,
    /// Written, but with more than one slash, which says nothing; only before 1.23.
    Ignored,
    OptOut,
    /// `namespace`: none stands for the subject's own, also where a namespace's label is inherited (R16).
    Named {
        name: &'a str,
        namespace: Option<&'a str>,
    },
}

impl<'a> Wish<'a> {
    /// Both labels are read from the same object, never one from each level (R15, R23). Any other value than exactly `none` is
    /// a name, the empty one too: it then names a waypoint that is not there.
    pub(super) fn of(labels: &'a [Pair], istio: Version) -> Self {
        match lookup_value(labels, keys::USE_WAYPOINT) {
            None => Self::Absent,
            Some(value) if !istio.has(version::NAMESPACE_LABEL) => Self::in_one_value(value),
            Some(name) if same(name, keys::NONE) => Self::OptOut,
            Some(name) => Self::Named { name, namespace: lookup_value(labels, keys::USE_WAYPOINT_NAMESPACE) },
        }
    }

    /// As Istio 1.22 read it: `name` or `namespace/name`, and three ways to opt out.
    #[cold]
    fn in_one_value(value: &'a str) -> Self {
        if value == keys::NONE || value == "~" || value.ends_with("/none") {
            return Self::OptOut;
        }
        match value.split_once('/') {
            None => Self::Named { name: value, namespace: None },
            Some((_, name)) if name.contains('/') => Self::Ignored,
            Some((namespace, name)) => Self::Named { name, namespace: Some(namespace) },
        }
    }

    /// The second waypoint. Other than for the first, the empty value is no name but opts out (R61).
    pub(super) fn of_canary(labels: &'a [Pair]) -> Self {
        match lookup_value(labels, keys::CANARY) {
            None => Self::Absent,
            Some(name) if name.is_empty() || same(name, keys::NONE) => Self::OptOut,
            Some(name) => Self::Named { name, namespace: lookup_value(labels, keys::CANARY_NAMESPACE) },
        }
    }

    /// Nothing that counts is written, so the next level is asked (R17).
    pub(super) fn says_nothing(&self) -> bool {
        matches!(self, Self::Absent | Self::Ignored)
    }
}

/// A named waypoint and where the name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) level: Level,
    /// The label that holds the name.
    pub(super) label: &'static str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
}

impl Named<'_> {
    /// The object names it itself, rather than inheriting it.
    pub(super) fn explicit(&self) -> bool {
        self.level == Level::Subject
    }

    /// Both name one Gateway, be it there or not.
    pub(super) fn same_gateway(&self, other: &Named<'_>) -> bool {
        same(self.name, other.name) && same(self.namespace, other.namespace)
    }
}
