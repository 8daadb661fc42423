//! What would close a hole, in words and objects that can be applied. Labels are those of Istio and of the default component;
//! another component may read others.

use std::collections::BTreeSet;
use std::fmt;

use crate::decision::Choice;
use crate::gateway::GatewayKey;
use crate::name::{Labels, Name};
use crate::object::{Kind, ObjectKey};
use crate::store::RowObject;
use crate::table::RowKey;
use crate::waypoint_view::{WAYPOINT_FOR, admits_namespace, serves};

use super::enforcement::{Guard, WhyOpen};
use super::mesh::Mesh;

/// Label of a subject or namespace: its waypoint (R15).
const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// Label beside it: that waypoint's namespace (R15).
const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// Labels by which a Pod is told from its likes of another roll-out: of no use in a selector.
const OF_ONE_ROLLOUT: [&str; 4] = [
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];
/// Objects that get a fix of their own where many need the same.
const SAME_FIX_MAX: usize = 5;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Set a label.
    Label {
        /// On this object.
        on: ObjectKey,
        /// The label.
        key: &'static str,
        /// Its value.
        value: Name,
    },
    /// Apply [`super::Destination::policy`].
    Policy,
    /// Anything else.
    Other(String),
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { on, key, value } => write!(f, "{on}: set {key}={value}"),
            Self::Policy => f.write_str("apply the AuthorizationPolicy below"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// An AuthorizationPolicy that lets in nobody but waypoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlyThrough {
    /// Its namespace: that of the workloads.
    pub namespace: Name,
    /// Its name.
    pub name: String,
    /// The workloads; never empty.
    pub selector: Labels,
    /// `<trust domain>/ns/<namespace>/sa/<account>` of all waypoints that have business with them; never empty.
    pub principals: BTreeSet<String>,
    /// An account was taken from a Gateway's name, because no instance of it is known.
    pub assumed: bool,
    /// Services in front of the same workloads without a waypoint: nobody could use them any more.
    pub cuts_off: Vec<RowKey>,
    /// Policies that would still let in others: ALLOW policies add up.
    pub in_the_way: BTreeSet<ObjectKey>,
}

impl OnlyThrough {
    /// A policy for what a service selects; none where no policy could help.
    pub(super) fn for_service(
        mesh: &Mesh<'_>,
        service: &RowKey,
        guard: &Guard,
        meant: &BTreeSet<GatewayKey>,
    ) -> Option<Self> {
        // Who goes direct does not come through the waypoint either: such a policy would only stop all traffic.
        mesh.decision(service).filter(|decision| decision.choice != Choice::Direct)?;
        let selector = match mesh.store.row(service)? {
            RowObject::Service(service) => service.selector.clone(),
            RowObject::ServiceEntry { entry, .. } => entry.selector.clone()?,
            _ => return None,
        };
        let workloads = mesh.workloads_of(service);
        Self::new(mesh, &service.namespace, &service.name, selector, workloads, guard, meant)
    }

    /// The same for Pods that have enough labels in common to be told from all others.
    pub(super) fn for_workloads(
        mesh: &Mesh<'_>,
        namespace: &Name,
        rows: &BTreeSet<RowKey>,
        guard: &Guard,
        meant: &BTreeSet<GatewayKey>,
    ) -> Option<Self> {
        mesh.decision(rows.first()?).filter(|decision| decision.choice != Choice::Direct)?;
        let selector = common_labels(mesh, rows)?;
        let outside = |(key, labels): &(RowKey, Labels)| selector.is_subset_of(labels) && !rows.contains(key);
        if mesh.pods_in(namespace).any(outside) {
            return None;
        }
        let name = meant.first().map_or_else(|| "workloads".into(), |waypoint| waypoint.name.clone());
        Self::new(mesh, namespace, &name, selector, rows, guard, meant)
    }

    fn new(
        mesh: &Mesh<'_>,
        namespace: &Name,
        name: &Name,
        selector: Labels,
        workloads: &BTreeSet<RowKey>,
        guard: &Guard,
        meant: &BTreeSet<GatewayKey>,
    ) -> Option<Self> {
        let can_be_closed = guard.open.keys().any(|why| matches!(why, WhyOpen::NoPolicy | WhyOpen::AlsoAllows { .. }));
        let (principals, known) = mesh.principals(&mesh.waypoints_before(workloads, meant));
        if !can_be_closed || selector.is_empty() || principals.is_empty() {
            return None;
        }
        let services: BTreeSet<&RowKey> = workloads.iter().flat_map(|workload| mesh.services_of(workload)).collect();
        let without = |service: &&RowKey| mesh.decision(service).is_some_and(|it| it.targets().is_empty());
        let in_the_way = guard.open.keys().filter_map(|why| match why {
            WhyOpen::AlsoAllows { policy } => Some(policy.clone()),
            _ => None,
        });
        Some(Self {
            namespace: namespace.clone(),
            name: format!("{name}-only-through-waypoint"),
            selector,
            principals,
            assumed: !known,
            cuts_off: services.into_iter().filter(without).cloned().collect(),
            in_the_way: in_the_way.collect(),
        })
    }
}

/// The labels that all of these have; none unless all are Pods.
fn common_labels(mesh: &Mesh<'_>, rows: &BTreeSet<RowKey>) -> Option<Labels> {
    let mut common: Option<Labels> = None;
    for row in rows {
        let Some(RowObject::Pod(pod)) = mesh.store.row(row) else { return None };
        let labels = &pod.meta.labels;
        let in_both =
            |pairs: &Labels| pairs.iter().filter(|(key, value)| labels.get(key) == Some(value)).cloned().collect();
        common = Some(common.as_ref().map_or_else(|| labels.clone(), in_both));
    }
    let kept = common?.iter().filter(|(key, _)| !OF_ONE_ROLLOUT.contains(&&**key)).cloned().collect();
    Some(kept)
}

/// What is missing for the Pods behind a service to have this waypoint themselves (R46). A label of their namespace would do
/// as well, and concern everything else in it.
pub(super) fn waypoint_for_pods(mesh: &Mesh<'_>, waypoint: &GatewayKey, namespace: &Name) -> Vec<Fix> {
    let mut fixes = serve(mesh, waypoint, "workload");
    let labels = mesh.store.namespace(namespace).map(|object| &object.meta.labels);
    let named = labels.and_then(|labels| {
        let stated = labels.get(USE_WAYPOINT_NAMESPACE).unwrap_or(namespace);
        labels.get(USE_WAYPOINT).map(|name| GatewayKey { namespace: stated.clone(), name: name.clone() })
    });
    if named.as_ref() != Some(waypoint) {
        let labels = reference(namespace, waypoint).map(|(key, value)| format!("{key}={value}"));
        fixes.push(Fix::Other(format!(
            "set {} on its Pods, in their template",
            labels.collect::<Vec<_>>().join(" and ")
        )));
    }
    fixes
}

/// What is missing for an object of this namespace to have this waypoint.
pub(super) fn name_waypoint(mesh: &Mesh<'_>, on: &ObjectKey, waypoint: &GatewayKey) -> Vec<Fix> {
    let label = |(key, value)| Fix::Label { on: on.clone(), key, value };
    let mut fixes: Vec<Fix> = reference(&on.namespace, waypoint).map(label).collect();
    let gateway = mesh.store.gateway(waypoint);
    if gateway.is_some_and(|gateway| !admits_namespace(mesh.store, gateway, &on.namespace)) {
        fixes.push(admit(&on.namespace, &waypoint.to_string()));
    }
    fixes
}

/// The labels by which an object of this namespace names a waypoint (R15).
fn reference(namespace: &Name, waypoint: &GatewayKey) -> impl Iterator<Item = (&'static str, Name)> {
    let elsewhere = (waypoint.namespace != *namespace).then(|| (USE_WAYPOINT_NAMESPACE, waypoint.namespace.clone()));
    std::iter::once((USE_WAYPOINT, waypoint.name.clone())).chain(elsewhere)
}

/// What the owner of a waypoint would have to do (R11).
pub(super) fn admit(namespace: &Name, waypoint: &str) -> Fix {
    Fix::Other(format!(
        "have the owner of waypoint {waypoint} admit namespace {namespace} in allowedRoutes of its listener"
    ))
}

/// What is missing for a waypoint to serve this kind of traffic as well (R4).
pub(super) fn serve(mesh: &Mesh<'_>, waypoint: &GatewayKey, traffic: &str) -> Vec<Fix> {
    let Some(gateway) = mesh.store.gateway(waypoint) else { return Vec::new() };
    let serves = serves(mesh.store, gateway);
    if *serves == *traffic || &*serves == "all" {
        return Vec::new();
    }
    let on = ObjectKey { kind: Kind::Gateway, namespace: waypoint.namespace.clone(), name: waypoint.name.clone() };
    vec![Fix::Label { on, key: WAYPOINT_FOR, value: "all".into() }]
}

/// The same label on several objects; the first few by name.
pub(super) fn label_each(objects: BTreeSet<ObjectKey>, key: &'static str, value: &str) -> Vec<Fix> {
    let more = objects.len().saturating_sub(SAME_FIX_MAX);
    let label = |on| Fix::Label { on, key, value: value.into() };
    let mut fixes: Vec<Fix> = objects.into_iter().take(SAME_FIX_MAX).map(label).collect();
    if more > 0 {
        fixes.push(Fix::Other(format!("set {key}={value} on {more} more")));
    }
    fixes
}
