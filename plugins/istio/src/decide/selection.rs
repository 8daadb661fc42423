//! The selection for one subject, in Istio's order of checks (R27, R45-R47). Facts that many rows share are handed in;
//! the words for each step are in `steps`.

use wayswitch_sdk::text::same;
use wayswitch_sdk::{Batch, Level, Namespace, Pair, Row, Subject, SubjectKind, Visibility, lookup_value};

use super::canary::CanaryFacts;
use super::outcome::{Outcome, Refusal, Refused, Second};
use super::reference::{Named, Wish};
use super::required::Required;
use super::settings::{ExcludeGateways, Settings};
use super::trace::Trace;
use super::waypoint::Waypoint;
use super::{keys, steps, version};

/// What one object says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) labels: &'a [Pair],
    pub(super) annotations: &'a [Pair],
}

impl<'a> Said<'a> {
    /// None where the labels are unknown, which is not the same as having none.
    pub(super) fn by_subject(subject: &'a Subject) -> Option<Self> {
        let annotations = subject.annotations.as_deref().unwrap_or_default();
        Some(Self { labels: subject.labels.as_deref()?, annotations })
    }

    /// A namespace whose object is missing says nothing (R22).
    pub(super) fn by_namespace(namespace: &'a Namespace) -> Self {
        match namespace.known {
            true => Self { labels: &namespace.labels, annotations: &namespace.annotations },
            false => Self { labels: &[], annotations: &[] },
        }
    }
}

/// What a namespace says to all its subjects, worked out once.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamespaceFacts<'a> {
    pub(super) said: Said<'a>,
    pub(super) wish: Wish<'a>,
    /// Present, and whether it says true (R70).
    ingress: Option<bool>,
    pub(super) canary: CanaryFacts<'a>,
    pub(super) required: Option<Required>,
}

impl<'a> NamespaceFacts<'a> {
    pub(super) fn of(said: Said<'a>, settings: &Settings) -> Self {
        let ingress = if settings.istio.has(version::INHERITED_INGRESS) { ingress_label(said.labels) } else { None };
        Self {
            said,
            wish: Wish::of(said.labels, settings.istio),
            ingress,
            canary: CanaryFacts::of(said),
            required: Required::of(said.labels),
        }
    }
}

/// Present, and whether it is one of the spellings of true (R70); anything else is false.
fn ingress_label(labels: &[Pair]) -> Option<bool> {
    let value = lookup_value(labels, keys::INGRESS_USE_WAYPOINT)?;
    Some(matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// A waypoint that was asked for and may be used as far as its own word goes.
pub(super) struct Target<'a, 'b> {
    pub(super) gateway: u32,
    waypoint: &'b Waypoint<'a>,
}

impl Target<'_, '_> {
    fn refused(&self, why: Refusal) -> Wrong {
        (Some(self.gateway), why)
    }
}

/// The Gateway, where there is one, and what is wrong with a reference to it.
pub(super) type Wrong = (Option<u32>, Refusal);

/// One subject and all that its decision depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection<'a, 'b> {
    pub(super) batch: &'a Batch,
    /// Its kind, candidates and namespace; what it says is beside it.
    pub(super) row: Row<'a>,
    /// None: unknown.
    pub(super) own: Option<Said<'a>>,
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

    /// R27: generated Services, the reference, what the waypoint serves, who sees the entry; then the second waypoint.
    fn service(&self, trace: &mut Trace) -> Outcome<'a> {
        let Some(labels) = self.labels(trace) else {
            return Outcome::Unknown;
        };
        if let Some(by) = lookup_value(labels, keys::MANAGED)
            && let Some(all) = self.excluded(by)
        {
            trace.note(|| steps::managed(by, all));
            return Outcome::Managed;
        }
        let named = match self.named(labels, trace) {
            Ok(named) => named,
            Err(outcome) => return outcome,
        };
        match self.serving_services(named, self.settings.istio.has(version::VISIBILITY), trace) {
            Err((gateway, why)) => Outcome::Refused(Refused { named, gateway, why }),
            Ok(target) => {
                let second = self.second(labels, &named, trace);
                Outcome::Bound { gateway: target.gateway, second }
            }
        }
    }

    /// Whether Services that `by` generated have no waypoint; then, whether only the setting says so (R28, Q6).
    fn excluded(&self, by: &str) -> Option<bool> {
        let of_istio = same(by, keys::MESH_CONTROLLER) || same(by, keys::EAST_WEST_CONTROLLER);
        (of_istio || self.settings.exclude_gateways == ExcludeGateways::All).then_some(!of_istio)
    }

    /// The waypoint of a service; `visibility`: whether it matters who sees the entry.
    pub(super) fn serving_services(
        &self,
        named: Named<'a>,
        visibility: bool,
        trace: &mut Trace,
    ) -> Result<Target<'a, 'b>, Wrong> {
        let target = self.target(named, trace)?;
        let (gateway, serves) = (target.gateway, target.waypoint.serves);
        if !serves.services {
            // Also where it was only inherited: an error for services, other than for workloads (R29, R47).
            trace.note(|| steps::serves_other("R29", gateway, serves, "does not serve services"));
            return Err(target.refused(Refusal::OtherTraffic));
        }
        trace.note(|| steps::serves("R4", gateway, serves, "serves services"));
        if visibility && !self.sees(target.waypoint) {
            trace.note(steps::foreign_namespace);
            return Err(target.refused(Refusal::ForeignNamespace));
        }
        Ok(target)
    }

    /// An entry that only its namespace sees sees no waypoint of another (R30).
    fn sees(&self, waypoint: &Waypoint<'_>) -> bool {
        self.row.subject.visibility == Visibility::Everywhere || same(waypoint.namespace, &self.row.namespace.name)
    }

    /// R45-R47: an instance of a waypoint, the reference, what the waypoint serves.
    fn workload(&self, trace: &mut Trace) -> Outcome<'a> {
        let Some(labels) = self.labels(trace) else {
            return Outcome::Unknown;
        };
        if let Some(gateway) = self.instance_of(labels, trace) {
            return Outcome::Instance { gateway };
        }
        let named = match self.named(labels, trace) {
            Ok(named) => named,
            Err(outcome) => return outcome,
        };
        let refused = |(gateway, why)| Outcome::Refused(Refused { named, gateway, why });
        let target = match self.target(named, trace) {
            Ok(target) => target,
            Err(wrong) => return refused(wrong),
        };
        let (gateway, serves) = (target.gateway, target.waypoint.serves);
        if serves.workloads {
            trace.note(|| steps::serves("R46", gateway, serves, "serves workloads"));
            return Outcome::Bound { gateway, second: Second::NotAsked };
        }
        if named.explicit() || !self.settings.istio.has(version::EXCUSED_HEIRS) {
            trace.note(|| steps::serves_other("R47", gateway, serves, "does not serve workloads"));
            return refused(target.refused(Refusal::OtherTraffic));
        }
        let text = "does not serve workloads, and was only inherited: nothing was asked for";
        trace.note(|| steps::serves_other("R47", gateway, serves, text));
        Outcome::NotMeant { gateway }
    }

    /// The subject's labels; none where its source carries none, which is not the same as having none.
    fn labels(&self, trace: &mut Trace) -> Option<&'a [Pair]> {
        let labels = self.own.map(|own| own.labels);
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

    /// The waypoint of that name, if it is ready and admits the subject's namespace (R19-R22). Inlined, as below: to hand
    /// over what it finds costs a row more than the copies cost a swap.
    #[inline(always)]
    fn target(&self, named: Named<'a>, trace: &mut Trace) -> Result<Target<'a, 'b>, Wrong> {
        let Some((gateway, object)) = self.batch.candidate(self.row.subject, named.namespace, named.name) else {
            trace.note(|| steps::no_such_gateway(&named));
            return Err((None, Refusal::NotReady));
        };
        let Some(waypoint) = self.waypoint(gateway) else {
            trace.note(|| steps::no_address(gateway));
            return Err((Some(gateway), Refusal::NotReady));
        };
        let target = Target { gateway, waypoint };
        let admitted = waypoint.admits(self.row.namespace);
        trace.note(|| steps::admission(gateway, Some(object), waypoint, admitted));
        if admitted { Ok(target) } else { Err(target.refused(Refusal::NotAdmitted)) }
    }

    /// The object's own wish, whatever it leads to; the namespace's only where the object has none (R17, R18).
    #[inline(always)]
    fn named(&self, labels: &'a [Pair], trace: &mut Trace) -> Result<Named<'a>, Outcome<'a>> {
        let (mut level, mut wish) = (Level::Subject, Wish::of(labels, self.settings.istio));
        trace.note(|| steps::wish(level, wish, self));
        if wish.says_nothing() {
            (level, wish) = (Level::Namespace, self.namespace.wish);
            trace.note(|| steps::wish(level, wish, self));
        }
        match wish {
            Wish::Absent | Wish::Ignored => Err(Outcome::NotAsked),
            Wish::OptOut => Err(Outcome::OptedOut { level }),
            Wish::Named { name, namespace } => {
                let namespace = namespace.unwrap_or(&self.row.namespace.name);
                Ok(Named { level, label: keys::USE_WAYPOINT, name, namespace })
            }
        }
    }

    /// The labels of the subject or of its namespace.
    pub(super) fn labels_at(&self, level: Level) -> &'a [Pair] {
        match level {
            Level::Subject => self.own.map_or(&[], |own| own.labels),
            _ => self.namespace.said.labels,
        }
    }

    /// Whether a subject of this kind and namespace would be bound to it.
    pub(super) fn could_have(&self, waypoint: &Waypoint<'_>) -> bool {
        let serves = if self.is_service() { waypoint.serves.services } else { waypoint.serves.workloads };
        serves && waypoint.admits(self.row.namespace) && self.sees(waypoint)
    }

    /// The address of a waypoint that was chosen; none is possible (R7).
    pub(super) fn address(&self, gateway: u32, trace: &mut Trace) -> Option<u32> {
        let address = self.waypoint(gateway)?.address;
        trace.note(|| steps::address(gateway, self.batch.gateway(gateway), address));
        address
    }

    /// Whether gateways go through the waypoint too; only asked of services that have one (R70).
    pub(super) fn ingress(&self, trace: &mut Trace) -> bool {
        if !self.is_service() || !self.settings.istio.has(version::INGRESS_LABEL) {
            return false;
        }
        let own = self.own.and_then(|own| ingress_label(own.labels));
        let level = if own.is_some() { Level::Subject } else { Level::Namespace };
        let Some(through) = own.or(self.namespace.ingress) else {
            return false;
        };
        trace.note(|| steps::ingress(level, self, through));
        through
    }
}
