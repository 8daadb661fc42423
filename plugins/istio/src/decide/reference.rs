//! What an object or its namespace asks for (R15-R24). Whether it can be had is decided elsewhere.

use wayswitch_sdk::text::same;
use wayswitch_sdk::{Level, Pair, lookup_value};

use super::keys;

/// What the labels of one object say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish<'a> {
    Absent,
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
    pub(super) fn of(labels: &'a [Pair]) -> Self {
        match lookup_value(labels, keys::USE_WAYPOINT) {
            None => Self::Absent,
            Some(name) if same(name, keys::NONE) => Self::OptOut,
            Some(name) => Self::Named { name, namespace: lookup_value(labels, keys::USE_WAYPOINT_NAMESPACE) },
        }
    }
}

/// A named waypoint and where the name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) level: Level,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
}

impl Named<'_> {
    /// The object names it itself, rather than inheriting it.
    pub(super) fn explicit(&self) -> bool {
        self.level == Level::Subject
    }
}
