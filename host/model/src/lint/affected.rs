//! Rows that share one problem: counted all, named a few. Also what a problem is a problem of.

use std::fmt;

use crate::decision::{Choice, Decision};
use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::object::{Kind, ObjectKey};
use crate::table::{RowKey, RowKind};

use super::RELATED_MAX;

/// Rows that are named in a text; the others are counted.
const NAMED_MAX: usize = 3;

/// What has to be edited for all rows of one problem at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Anchor {
    /// This object.
    Object(ObjectKey),
    /// Pods of a namespace that say the same: most likely one template.
    Pods(Name),
}

impl Anchor {
    /// Where a label of the row itself is edited.
    pub(super) fn of_row(key: &RowKey) -> Self {
        match key.kind {
            RowKind::Pod => Self::Pods(key.namespace.clone()),
            _ => Self::Object(key.object()),
        }
    }

    pub(super) fn namespace(name: &Name) -> Self {
        Self::Object(namespace_object(name))
    }

    /// The object that a finding is about: of Pods the first.
    pub(super) fn object(&self, affected: &Affected) -> ObjectKey {
        match self {
            Self::Object(key) => key.clone(),
            Self::Pods(namespace) => match affected.some.first() {
                Some(first) => first.object(),
                None => ObjectKey { kind: Kind::Pod, namespace: namespace.clone(), name: "".into() },
            },
        }
    }

    /// Whether it is a Namespace, so that what is affected is something else.
    pub(super) fn is_namespace(&self) -> bool {
        matches!(self, Self::Object(key) if key.kind == Kind::Namespace)
    }
}

/// Rows in the order they were added, which is that of their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Affected {
    services: usize,
    workloads: usize,
    direct: usize,
    blocked: usize,
    some: Vec<RowKey>,
}

impl Affected {
    pub(super) fn add(&mut self, key: &RowKey, decision: &Decision) {
        match decision.choice {
            Choice::Direct => self.direct += 1,
            Choice::Blocked => self.blocked += 1,
            Choice::Keep | Choice::Waypoints(_) => {}
        }
        match key.kind.is_service() {
            true => self.services += 1,
            false => self.workloads += 1,
        }
        if self.some.len() < RELATED_MAX {
            self.some.push(key.clone());
        }
    }

    pub(super) fn count(&self) -> usize {
        self.services + self.workloads
    }

    /// Some of their objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        self.some.iter().map(RowKey::object)
    }

    /// What becomes of the traffic to them.
    pub(super) fn traffic(&self) -> String {
        self.traffic_to(&self.to_string())
    }

    /// The same where they were named just before.
    pub(super) fn traffic_to_it(&self) -> String {
        self.traffic_to(if self.count() == 1 { "it" } else { "them" })
    }

    fn traffic_to(&self, them: &str) -> String {
        match (self.direct, self.blocked) {
            (_, 0) => format!("traffic to {them} goes direct"),
            (0, _) => format!("traffic to {them} is blocked"),
            (direct, blocked) => {
                format!("traffic to {them} goes direct for {direct} of them, is blocked for {blocked}")
            }
        }
    }
}

/// `Service shop/cart`, or `2 services and 1 workload (Service shop/cart, Service shop/pay, Pod shop/pay-1)`.
impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (1, [only]) = (self.count(), self.some.as_slice()) {
            return only.fmt(f);
        }
        let plural = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        match (self.services, self.workloads) {
            (services, 0) => f.write_str(&plural(services, "service"))?,
            (0, workloads) => f.write_str(&plural(workloads, "workload"))?,
            (services, workloads) => {
                write!(f, "{} and {}", plural(services, "service"), plural(workloads, "workload"))?;
            }
        }
        let names: Vec<String> = self.some.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        let more = if self.count() > names.len() { ", …" } else { "" };
        write!(f, " ({}{more})", names.join(", "))
    }
}

/// The object of a Gateway.
pub(super) fn gateway_object(key: &GatewayKey) -> ObjectKey {
    ObjectKey { kind: Kind::Gateway, namespace: key.namespace.clone(), name: key.name.clone() }
}

/// The object of a namespace.
pub(super) fn namespace_object(name: &Name) -> ObjectKey {
    ObjectKey { kind: Kind::Namespace, namespace: "".into(), name: name.clone() }
}
