//! The selection for one subject, in Istio's order of checks (R27, R45-R47). Facts that many rows share are handed in;
//! the words for each step are in `steps`.

use wayswitch_sdk::text::same;
use wayswitch_sdk::{Batch, Level, Namespace, Pair, Row, SubjectKind, Visibility, lookup_value};

use super::outcome::{Outcome, Refusal};
use super::reference::{Named, Wish};
use super::settings::{Settings, Unbound};
use super::trace::Trace;
use super::waypoint::Waypoint;
use super::{keys, steps};

/// What a namespace says to all its subjects.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamespaceFacts<'a> {
    pub(super) wish: Wish<'a>,
    /// Present, and whether it says true (R70).
    ingress: Option<bool>,
}

impl<'a> NamespaceFacts<'a> {
    /// A namespace whose object is missing says nothing (R22).
    pub(super) fn of(namespace: &'a Namespace) -> Self {
        let labels: &[Pair] = if namespace.known { &namespace.labels } else { &[] };
        Self { wish: Wish::of(labels), ingress: ingress_label(labels) }
    }
}

/// Present, and whether it is one of the spellings of true (R70); anything else is false.
fn ingress_label(labels: &[Pair]) -> Option<bool> {
    let value = lookup_value(labels, keys::INGRESS_USE_WAYPOINT)?;
    Some(matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// A waypoint that was asked for and may be used as far as its own word goes.
struct Target<'a, 'b> {
    named: Named<'a>,
    gateway: u32,
    waypoint: &'b Waypoint<'a>,
}

impl<'a> Target<'a, '_> {
    fn refused(&self, why: Refusal) -> Outcome<'a> {
        Outcome::Refused { named: self.named, gateway: Some(self.gateway), why }
    }
}

/// One subject and all that its decision depends on.
pub(super) struct Selection<'a, 'b> {
    pub(super) batch: &'a Batch,
    pub(super) row: Row<'a>,
    pub(super) namespace: &'b NamespaceFacts<'a>,
    pub(super) waypoints: &'b [Option<Waypoint<'a>>],
    pub(super) settings: &'b Settings,
}

impl<'a, 'b> Selection<'a, 'b> {
    pub(super) fn run(&self, trace: &mut Trace) -> Outcome<'a> {
        match self.row.subject.kind {
            SubjectKind::Service | SubjectKind::ServiceEntry => self.service(trace),
            SubjectKind::Pod | SubjectKind::WorkloadEntry | SubjectKind::EntryEndpoint => self.workload(trace),
            SubjectKind::ImpliedEndpoint => {
                trace.note(|| steps::never("R54", "stands for a DNS name, so it never has a waypoint"));
                Outcome::NeverHasOne
            }
            SubjectKind::SliceEndpoint => {
                trace.note(|| steps::never("R57", "an endpoint of an EndpointSlice never has a waypoint"));
                Outcome::NeverHasOne
            }
        }
    }

    pub(super) fn waypoint(&self, gateway: u32) -> Option<&'b Waypoint<'a>> {
        self.waypoints.get(usize::try_from(gateway).ok()?)?.as_ref()
    }

    pub(super) fn is_service(&self) -> bool {
        matches!(self.row.subject.kind, SubjectKind::Service | SubjectKind::ServiceEntry)
    }

    /// R27: generated Services, the reference, what the waypoint serves, who sees the entry.
    fn service(&self, trace: &mut Trace) -> Outcome<'a> {
        let Some(labels) = self.labels(trace) else {
            return Outcome::Unknown;
        };
        if let Some(by) = lookup_value(labels, keys::MANAGED)
            && (same(by, keys::MESH_CONTROLLER) || same(by, keys::EAST_WEST_CONTROLLER))
        {
            trace.note(|| steps::managed(by));
            return Outcome::Managed;
        }
        let target = match self.target(labels, trace) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        let (gateway, serves) = (target.gateway, target.waypoint.serves);
        if !serves.services {
            // Also where it was only inherited: an error for services, other than for workloads (R29, R47).
            trace.note(|| steps::serves_other("R29", gateway, serves, "does not serve services"));
            return target.refused(Refusal::OtherTraffic);
        }
        trace.note(|| steps::serves("R4", gateway, serves, "serves services"));
        let foreign = !same(target.waypoint.namespace, &self.row.namespace.name);
        if self.row.subject.visibility == Visibility::OwnNamespace && foreign {
            trace.note(steps::foreign_namespace);
            return target.refused(Refusal::ForeignNamespace);
        }
        Outcome::Bound { gateway }
    }

    /// R45-R47: an instance of a waypoint, the reference, what the waypoint serves.
    fn workload(&self, trace: &mut Trace) -> Outcome<'a> {
        let Some(labels) = self.labels(trace) else {
            return Outcome::Unknown;
        };
        if let Some(gateway) = self.instance_of(labels, trace) {
            return Outcome::Instance { gateway };
        }
        let target = match self.target(labels, trace) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        let (gateway, serves) = (target.gateway, target.waypoint.serves);
        if serves.workloads {
            trace.note(|| steps::serves("R46", gateway, serves, "serves workloads"));
            return Outcome::Bound { gateway };
        }
        if target.named.explicit() {
            trace.note(|| steps::serves_other("R47", gateway, serves, "does not serve workloads"));
            return target.refused(Refusal::OtherTraffic);
        }
        let text = "does not serve workloads, and was only inherited: nothing was asked for";
        trace.note(|| steps::serves_other("R47", gateway, serves, text));
        Outcome::NotMeant { gateway }
    }

    /// The subject's labels; none where its source carries none, which is not the same as having none.
    fn labels(&self, trace: &mut Trace) -> Option<&'a [Pair]> {
        let labels = self.row.subject.labels.as_deref();
        if labels.is_none() {
            trace.note(steps::labels_unknown);
        }
        labels
    }

    /// The waypoint, in the subject's own namespace, that it is an instance of (R45). While that Gateway has no address
    /// the rule does not apply, and what the subject names or inherits counts.
    fn instance_of(&self, labels: &'a [Pair], trace: &mut Trace) -> Option<u32> {
        let name = lookup_value(labels, keys::GATEWAY_NAME)?;
        let (gateway, _) = self.batch.candidate(self.row.subject, &self.row.namespace.name, name)?;
        let ready = self.waypoint(gateway).is_some();
        trace.note(|| steps::instance(gateway, name, ready));
        ready.then_some(gateway)
    }

    /// The waypoint that is asked for, if it is ready and admits the subject's namespace (R15-R22).
    fn target(&self, labels: &'a [Pair], trace: &mut Trace) -> Result<Target<'a, 'b>, Outcome<'a>> {
        let named = self.named(labels, trace)?;
        let Some((gateway, object)) = self.batch.candidate(self.row.subject, named.namespace, named.name) else {
            trace.note(|| steps::no_such_gateway(&named));
            return Err(Outcome::Refused { named, gateway: None, why: Refusal::NotReady });
        };
        let Some(waypoint) = self.waypoint(gateway) else {
            trace.note(|| steps::no_address(gateway));
            return Err(Outcome::Refused { named, gateway: Some(gateway), why: Refusal::NotReady });
        };
        let target = Target { named, gateway, waypoint };
        let admitted = waypoint.admits(self.row.namespace);
        trace.note(|| steps::admission(gateway, Some(object), waypoint, admitted));
        if admitted { Ok(target) } else { Err(target.refused(Refusal::NotAdmitted)) }
    }

    /// The object's own wish, whatever it leads to; the namespace's only where the object has none (R17, R18).
    fn named(&self, labels: &'a [Pair], trace: &mut Trace) -> Result<Named<'a>, Outcome<'a>> {
        let known = self.row.namespace.known;
        let (mut level, mut wish) = (Level::Subject, Wish::of(labels));
        trace.note(|| steps::wish(level, wish, known));
        if wish == Wish::Absent {
            (level, wish) = (Level::Namespace, self.namespace.wish);
            trace.note(|| steps::wish(level, wish, known));
        }
        match wish {
            Wish::Absent => Err(Outcome::NotAsked),
            Wish::OptOut => Err(Outcome::OptedOut { level }),
            Wish::Named { name, namespace } => {
                let namespace = namespace.unwrap_or(&self.row.namespace.name);
                Ok(Named { level, name, namespace })
            }
        }
    }

    /// What becomes of a subject that was refused.
    pub(super) fn unbound(&self, trace: &mut Trace) -> Unbound {
        trace.note(|| steps::unbound(self.settings.unbound));
        self.settings.unbound
    }

    /// The address of a waypoint that was chosen; none is possible (R7).
    pub(super) fn address(&self, gateway: u32, trace: &mut Trace) -> Option<u32> {
        let address = self.waypoint(gateway)?.address;
        trace.note(|| steps::address(gateway, self.batch.gateway(gateway), address));
        address
    }

    /// Whether gateways go through the waypoint too; only asked of services that have one (R70).
    pub(super) fn ingress(&self, trace: &mut Trace) -> bool {
        if !self.is_service() {
            return false;
        }
        let own = self.row.subject.labels.as_deref().and_then(ingress_label);
        let level = if own.is_some() { Level::Subject } else { Level::Namespace };
        let Some(through) = own.or(self.namespace.ingress) else {
            return false;
        };
        trace.note(|| steps::ingress(level, self, through));
        through
    }
}
