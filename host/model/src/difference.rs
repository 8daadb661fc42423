//! What two tables decide differently, row by row, in words that say what it means for traffic. The tables may have nothing
//! in common but the names of their rows: two meshes, two moments, or two components on one mesh. For what a change of one
//! mesh moved under the same rules there is [`crate::table::Table::diff`], which need not look at every row.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::decision::{Choice, Decision, OnUnreachable, Target};
use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::table::{Row, RowKey, Table};

/// What became of a row. The order is that of how much it matters to who relies on a waypoint; where several apply to one
/// row, the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Went through a waypoint and is direct now, although it still asks for one: nobody wanted this (R92).
    LosesWaypoint,
    /// Was blocked and is direct now.
    Opens,
    /// Went through a waypoint and is direct now, and asks for none.
    LeavesWaypoint,
    /// Goes past its waypoint while that cannot be reached; before, connections failed.
    MayBypass,
    /// Connections fail now.
    Blocked,
    /// Was blocked and goes through a waypoint now.
    Unblocked,
    /// Goes through other waypoints: another first one.
    MovesWaypoint,
    /// Was direct and goes through a waypoint now.
    GainsWaypoint,
    /// The same first waypoint; the second one, or the shares, are others.
    Shares,
    /// Fails while its waypoint cannot be reached; before, connections went past it.
    MustNotBypass,
    /// What the control plane said was left untouched before, or is now.
    Keeping,
    /// Gateways go through the waypoint now, or no longer (R70).
    Ingress,
    /// The same waypoints at other addresses.
    Address,
    /// An instance of a waypoint is handed traffic in another way (R45).
    Tunnel,
    /// The row is no longer there.
    Went,
    /// The row was not there.
    Came,
    /// Other hosts or addresses of the object itself.
    Subject,
    /// Only the reason is another.
    Reason,
}

impl Change {
    /// Whether traffic may go past a waypoint now that could not before.
    pub fn exposes(self) -> bool {
        matches!(self, Self::LosesWaypoint | Self::Opens | Self::LeavesWaypoint | Self::MayBypass)
    }

    /// What became of a row that is in both tables; none where nothing did.
    pub fn between(before: &Row, after: &Row) -> Option<Self> {
        let (old, new) = (&*before.decision, &*after.decision);
        let of_choice = match (&old.choice, &new.choice) {
            (Choice::Waypoints(_), Choice::Direct) if new.reason.is_some() => Some(Self::LosesWaypoint),
            (Choice::Waypoints(_), Choice::Direct) => Some(Self::LeavesWaypoint),
            (Choice::Blocked, Choice::Direct) => Some(Self::Opens),
            (Choice::Blocked, Choice::Waypoints(_)) => Some(Self::Unblocked),
            (Choice::Direct, Choice::Waypoints(_)) => Some(Self::GainsWaypoint),
            (Choice::Keep, Choice::Keep) | (Choice::Direct, Choice::Direct) | (Choice::Blocked, Choice::Blocked) => {
                None
            }
            (_, Choice::Blocked) => Some(Self::Blocked),
            (Choice::Keep, _) | (_, Choice::Keep) => Some(Self::Keeping),
            (Choice::Waypoints(old), Choice::Waypoints(new)) => of_targets(old, new),
        };
        let of_rest = [
            of_unreachable(old, new),
            (old.ingress != new.ingress).then_some(Self::Ingress),
            (old.tunnel != new.tunnel).then_some(Self::Tunnel),
            (before.subject != after.subject).then_some(Self::Subject),
            (reasons(old) != reasons(new)).then_some(Self::Reason),
        ];
        of_choice.into_iter().chain(of_rest.into_iter().flatten()).min()
    }
}

/// It matters only where there was, and is, something to be reached.
fn of_unreachable(old: &Decision, new: &Decision) -> Option<Change> {
    if old.on_unreachable == new.on_unreachable || old.targets().is_empty() || new.targets().is_empty() {
        return None;
    }
    Some(match new.on_unreachable {
        OnUnreachable::Bypass => Change::MayBypass,
        OnUnreachable::Fail => Change::MustNotBypass,
    })
}

fn reasons(decision: &Decision) -> (&Option<Name>, &Option<Name>, bool) {
    (&decision.reason, &decision.second_reason, decision.floor)
}

fn of_targets(old: &[Target], new: &[Target]) -> Option<Change> {
    let first = |targets: &[Target]| targets.first().map(|target| target.gateway.clone());
    let shares = |targets: &[Target]| targets.iter().map(|it| (it.gateway.clone(), it.weight)).collect::<Vec<_>>();
    if first(old) != first(new) {
        Some(Change::MovesWaypoint)
    } else if shares(old) != shares(new) {
        Some(Change::Shares)
    } else {
        (old != new).then_some(Change::Address)
    }
}

/// What became of one row: `loses its waypoint`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LosesWaypoint => "loses its waypoint",
            Self::Opens => "was blocked, goes direct",
            Self::LeavesWaypoint => "leaves its waypoint",
            Self::MayBypass => "may bypass its waypoint",
            Self::Blocked => "becomes blocked",
            Self::Unblocked => "was blocked, goes through a waypoint",
            Self::MovesWaypoint => "moves to another waypoint",
            Self::GainsWaypoint => "gains a waypoint",
            Self::Shares => "has other shares or another second waypoint",
            Self::MustNotBypass => "may no longer bypass its waypoint",
            Self::Keeping => "is left to the control plane, or no longer",
            Self::Ingress => "has another rule for gateways",
            Self::Address => "has its waypoint at another address",
            Self::Tunnel => "has another tunnel",
            Self::Went => "is gone",
            Self::Came => "is new",
            Self::Subject => "has other hosts or addresses",
            Self::Reason => "has another reason",
        })
    }
}

/// A row that is decided differently, or is in one table only.
#[derive(Clone, Debug)]
pub struct Differing {
    /// The row.
    pub key: RowKey,
    /// What became of it.
    pub change: Change,
    /// As it was; none: it was not there.
    pub before: Option<Row>,
    /// As it is; none: it is gone.
    pub after: Option<Row>,
}

/// Where a row's traffic goes, as far as a flow between waypoints is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Through this waypoint first.
    Waypoint(GatewayKey),
    /// Nowhere.
    Blocked,
    /// Straight on.
    Direct,
    /// Where the control plane said.
    Keep,
}

impl Way {
    fn of(decision: &Decision) -> Self {
        match &decision.choice {
            Choice::Keep => Self::Keep,
            Choice::Direct => Self::Direct,
            Choice::Blocked => Self::Blocked,
            Choice::Waypoints(targets) => {
                targets.first().map_or(Self::Direct, |target| Self::Waypoint(target.gateway.clone()))
            }
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waypoint(key) => key.fmt(f),
            Self::Blocked => f.write_str("blocked"),
            Self::Direct => f.write_str("direct"),
            Self::Keep => f.write_str("keep"),
        }
    }
}

/// Everything that two tables decide differently.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// In the order of their keys.
    pub rows: Vec<Differing>,
    /// Rows that are in both tables.
    pub in_both: usize,
}

impl Difference {
    /// Compares two tables by the keys of their rows.
    pub fn between(before: &Table, after: &Table) -> Self {
        let mut difference = Self::default();
        let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return difference,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let before = if order.is_le() { old.next() } else { None };
            let after = if order.is_ge() { new.next() } else { None };
            difference.put(before, after);
        }
    }

    fn put(&mut self, before: Option<(&RowKey, &Row)>, after: Option<(&RowKey, &Row)>) {
        let change = match (before, after) {
            (Some((_, before)), Some((_, after))) => {
                self.in_both += 1;
                Change::between(before, after)
            }
            (Some(_), None) => Some(Change::Went),
            (None, Some(_)) => Some(Change::Came),
            (None, None) => None,
        };
        let key = before.or(after).map(|(key, _)| key.clone());
        if let (Some(change), Some(key)) = (change, key) {
            let row = |side: Option<(&RowKey, &Row)>| side.map(|(_, row)| row.clone());
            self.rows.push(Differing { key, change, before: row(before), after: row(after) });
        }
    }

    /// True when both decide the same.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows of each kind of change there are.
    pub fn counts(&self) -> BTreeMap<Change, usize> {
        counts(&self.rows)
    }

    /// The rows of each namespace: what exposes first, then as much as it matters, then by key.
    pub fn by_namespace(&self) -> BTreeMap<Name, Vec<&Differing>> {
        let mut namespaces: BTreeMap<Name, Vec<&Differing>> = BTreeMap::new();
        for row in &self.rows {
            namespaces.entry(row.key.namespace.clone()).or_default().push(row);
        }
        for rows in namespaces.values_mut() {
            rows.sort_by_key(|row| row.change);
        }
        namespaces
    }

    /// From where to where how many rows of both tables went that go another way now.
    pub fn flows(&self) -> BTreeMap<(Way, Way), usize> {
        let mut flows = BTreeMap::new();
        for row in &self.rows {
            if let (Some(before), Some(after)) = (&row.before, &row.after) {
                let way = (Way::of(&before.decision), Way::of(&after.decision));
                if way.0 != way.1 {
                    *flows.entry(way).or_default() += 1;
                }
            }
        }
        flows
    }
}

/// How many of these rows there are of each kind of change.
pub fn counts<'a>(rows: impl IntoIterator<Item = &'a Differing>) -> BTreeMap<Change, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.change).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
