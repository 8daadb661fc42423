//! What applying a waypoint would do, worked out before anything is written: the Gateway first, then the wait until it is ready,
//! and only then the labels. So there is no moment at which objects name a waypoint that cannot take their traffic, which
//! Istio would send direct (R92). No request is made here.

use std::collections::BTreeMap;
use std::fmt;

use model::gateway::{GatewayKey, StatusAddress};
use model::referrers::{CANARY, CANARY_NAMESPACE, CANARY_WEIGHT, NONE, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, named};
use model::store::Event;
use model::waypoint_view::{Role, admits_namespace, serves};
use model::{Gateway, Kind, Labels, Name, Object, Store};
use serde_json::Value;

use super::object_of;
use super::seen::{Readiness, Waypoint};
use super::spec::Spec;
use super::target::{Target, TargetKind};

mod change;

/// Label of a Namespace or Pod: whose data plane it is in.
const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";

/// What somebody wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The waypoint, with its namespace.
    pub spec: Spec,
    /// Who is to go through it.
    pub enrol: Vec<Target>,
    /// As their second waypoint, with this percentage of their new connections; none: as their first.
    pub canary: Option<u8>,
    /// Whether a waypoint that they name now may be replaced.
    pub overwrite: bool,
    /// Whether to wait until it is ready although nobody is enrolled.
    pub wait: bool,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The Namespaces of the waypoint and of all targets, and the waypoint's class.
    pub store: Store,
    /// The Gateway as it is.
    pub waypoint: Option<Waypoint>,
    /// Whether it could be seen which classes there are.
    pub classes_known: bool,
    /// The objects to enrol, with their `resourceVersion`.
    pub targets: Vec<(Target, Object, String)>,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody chose already.
    #[error("{target} {now} already: --overwrite replaces that; nothing was changed")]
    Taken {
        /// The object.
        target: Target,
        /// What it says now.
        now: String,
    },
    /// The owner's own listener would refuse them (R20).
    #[error(
        "the waypoint admits no object of namespace {namespace}: add it with --allow-namespaces; nothing was changed"
    )]
    NotAdmitted {
        /// The namespace.
        namespace: String,
    },
    /// Traffic to such an object is not what it is for (R29, R46).
    #[error("the waypoint serves {serves:?}, {target} needs {needs}: say so with --for; nothing was changed")]
    NotServed {
        /// The object.
        target: Target,
        /// The traffic type.
        serves: String,
        /// The types that would do.
        needs: &'static str,
    },
    /// Workloads have one waypoint (R66).
    #[error("{target} cannot have a second waypoint: only services can, and namespaces for them; nothing was changed")]
    NoCanary {
        /// The object.
        target: Target,
    },
    /// A second waypoint counts beside a first one only (R63).
    #[error(
        "{target} has no first waypoint, and without one a second does nothing: enrol it with one first; nothing was changed"
    )]
    NoPrimary {
        /// The object.
        target: Target,
    },
    /// One waypoint twice (R63).
    #[error("{waypoint} is the first waypoint of {target} already; nothing was changed")]
    CanarySameAsPrimary {
        /// The object.
        target: Target,
        /// The waypoint.
        waypoint: GatewayKey,
    },
    /// The Gateway would not be one.
    #[error("the Gateway cannot be read as one: {0}")]
    Unreadable(String),
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The Gateway is created.
    Create {
        /// Its class and traffic type.
        what: String,
    },
    /// The Gateway is changed: each a line.
    Change(Vec<String>),
    /// The Gateway is as it should be.
    Keep,
    /// Until it is ready.
    Wait,
    /// Labels and annotations of an object are changed.
    Enrol(Enrolment),
    /// It names the waypoint already.
    Enrolled(Target),
}

/// The labels and annotations of one object that change; none: it is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The object.
    pub target: Target,
    /// Its version when this was worked out.
    pub resource_version: String,
    /// Labels: before and after.
    pub labels: BTreeMap<&'static str, (Option<String>, Option<String>)>,
    /// Annotations: before and after.
    pub annotations: BTreeMap<&'static str, (Option<String>, Option<String>)>,
}

/// What would be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The waypoint.
    pub key: GatewayKey,
    /// What is applied.
    pub gateway: Value,
    /// In their order.
    pub steps: Vec<Step>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The Gateway as it would be when it is ready.
    after: Gateway,
}

/// Works out what to do.
///
/// # Errors
/// Why Istio would make nothing of it, or whose choice it would take away.
pub fn plan(wanted: &Wanted, found: &Found) -> Result<Plan, Refusal> {
    let now = found.waypoint.as_ref().map(|waypoint| &waypoint.json);
    let gateway = change::desired(&wanted.spec, now);
    let after = match object_of(Kind::Gateway, &change::overlaid(now, &gateway)) {
        Ok(Object::Gateway(after)) => after,
        Ok(_) => return Err(Refusal::Unreadable("it is none".to_owned())),
        Err(why) => return Err(Refusal::Unreadable(why)),
    };
    let mut store = found.store.clone();
    store.apply(Event::Apply(Object::Gateway(after.clone())));
    let serves = serves(&store, &after);
    let key = after.key();
    let planning = Planning { wanted, store: &store, after: &after, key: &key, serves: &serves };
    let mut steps = vec![match now {
        None => Step::Create { what: format!("class {}, serves {serves}", after.class) },
        Some(now) => match change::differences(now, &gateway) {
            none if none.is_empty() => Step::Keep,
            lines => Step::Change(lines),
        },
    }];
    let enrolments = found.targets.iter().map(|(target, object, version)| planning.enrolment(target, object, version));
    let enrolments: Vec<Step> = enrolments.collect::<Result<_, _>>()?;
    let is_ready = found.waypoint.as_ref().is_some_and(|it| it.readiness() == Readiness::Ready);
    let settled = is_ready && steps == [Step::Keep];
    if (wanted.wait || enrolments.iter().any(|step| matches!(step, Step::Enrol(_)))) && !settled {
        steps.push(Step::Wait);
    }
    steps.extend(enrolments);
    let warnings = planning.warnings(found);
    Ok(Plan { key, gateway, steps, warnings, after })
}

impl Plan {
    /// Whether anything would be written.
    pub fn changes_anything(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Create { .. } | Step::Change(_) | Step::Enrol(_)))
    }

    /// The same for the mesh of `store`: the Gateway as it would be when it is ready, at the address that Istio would report,
    /// and the objects with their labels.
    pub fn events(&self, store: &Store) -> Vec<Event> {
        let mut gateway = self.after.clone();
        if gateway.addresses.is_empty() {
            let GatewayKey { namespace, name } = &self.key;
            let host = format!("{name}.{namespace}.svc.{}", store.facts().cluster_domain);
            gateway.addresses = vec![StatusAddress { kind: Some("Hostname".into()), value: host.into() }];
        }
        let labelled = self.steps.iter().filter_map(|step| match step {
            Step::Enrol(enrolment) => {
                let mut object = store.object(&enrolment.target.key())?;
                let meta = object.meta_mut();
                meta.labels = edited(&meta.labels, &enrolment.labels);
                meta.annotations = edited(&meta.annotations, &enrolment.annotations);
                Some(object)
            }
            _ => None,
        });
        labelled.chain([Object::Gateway(gateway)]).map(Event::Apply).collect()
    }
}

/// Labels with some of them set or removed.
fn edited(labels: &Labels, edits: &BTreeMap<&'static str, (Option<String>, Option<String>)>) -> Labels {
    let kept = labels.iter().filter(|(key, _)| !edits.contains_key(&**key)).cloned();
    let set = edits.iter().filter_map(|(key, (_, after))| Some((Name::from(*key), Name::from(after.as_deref()?))));
    kept.chain(set).collect()
}

struct Planning<'a> {
    wanted: &'a Wanted,
    store: &'a Store,
    after: &'a Gateway,
    key: &'a GatewayKey,
    serves: &'a Name,
}

impl Planning<'_> {
    fn enrolment(&self, target: &Target, object: &Object, version: &str) -> Result<Step, Refusal> {
        self.check(target)?;
        let mut edits = Edits::of(object, target);
        match self.wanted.canary {
            None => self.enrol_first(&mut edits)?,
            Some(weight) => self.enrol_second(&mut edits, weight)?,
        }
        let Edits { labels, annotations, .. } = edits;
        if labels.is_empty() && annotations.is_empty() {
            return Ok(Step::Enrolled(target.clone()));
        }
        let resource_version = version.to_owned();
        Ok(Step::Enrol(Enrolment { target: target.clone(), resource_version, labels, annotations }))
    }

    /// Whether Istio would take it.
    fn check(&self, target: &Target) -> Result<(), Refusal> {
        let home = Name::from(target.home());
        if !admits_namespace(self.store, self.after, &home) {
            return Err(Refusal::NotAdmitted { namespace: home.to_string() });
        }
        if self.wanted.canary.is_some() && target.kind.is_workload() {
            return Err(Refusal::NoCanary { target: target.clone() });
        }
        let (fits, needs) = match (&**self.serves, target.kind) {
            ("all", _) | ("service" | "workload", TargetKind::Namespace) => (true, ""),
            (serves, TargetKind::Pod | TargetKind::WorkloadEntry) => (serves == "workload", "workload or all"),
            (serves, TargetKind::Service | TargetKind::ServiceEntry) => (serves == "service", "service or all"),
            (_, TargetKind::Namespace) => (false, "service, workload or all"),
        };
        let serves = self.serves.to_string();
        if fits { Ok(()) } else { Err(Refusal::NotServed { target: target.clone(), serves, needs }) }
    }

    fn enrol_first(&self, edits: &mut Edits<'_>) -> Result<(), Refusal> {
        let now = edits.label(USE_WAYPOINT);
        let named = edits.named(Role::Primary);
        if let Some(now) = now.filter(|_| named.as_ref() != Some(self.key) && !self.wanted.overwrite) {
            let now = match named {
                None => format!("opts out with {USE_WAYPOINT}={now}"),
                Some(named) => format!("names {named}"),
            };
            return Err(Refusal::Taken { target: edits.target.clone(), now });
        }
        self.name_it(edits, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE);
        if edits.named(Role::Canary).as_ref() == Some(self.key) {
            // It is the first now: as the second it would be a fault (R63).
            edits.set_label(CANARY, None);
            edits.set_label(CANARY_NAMESPACE, None);
            edits.set_annotation(CANARY_WEIGHT, None);
        }
        Ok(())
    }

    fn enrol_second(&self, edits: &mut Edits<'_>, weight: u8) -> Result<(), Refusal> {
        let target = || edits.target.clone();
        match self.primary(edits) {
            None => return Err(Refusal::NoPrimary { target: target() }),
            Some(first) if first == *self.key => {
                return Err(Refusal::CanarySameAsPrimary { target: target(), waypoint: first });
            }
            Some(_) => {}
        }
        let named = edits.named(Role::Canary);
        if let Some(named) = named.filter(|named| named != self.key && !self.wanted.overwrite) {
            return Err(Refusal::Taken { target: target(), now: format!("names {named} as its second waypoint") });
        }
        self.name_it(edits, CANARY, CANARY_NAMESPACE);
        edits.set_annotation(CANARY_WEIGHT, Some(weight.to_string()));
        Ok(())
    }

    /// The first waypoint that counts: the object's own, or its namespace's where it says nothing (R17).
    fn primary(&self, edits: &Edits<'_>) -> Option<GatewayKey> {
        if edits.label(USE_WAYPOINT).is_some() {
            return edits.named(Role::Primary);
        }
        let home = Name::from(edits.target.home());
        named(&self.store.namespace(&home)?.meta.labels, &home, Role::Primary)
    }

    /// The name, and the namespace where it is another; a namespace that was left there would make it mean another waypoint.
    fn name_it(&self, edits: &mut Edits<'_>, name: &'static str, namespace: &'static str) {
        let GatewayKey { namespace: of, name: is } = self.key;
        edits.set_label(name, Some(is.to_string()));
        let elsewhere = **of != *edits.target.home();
        edits.set_label(namespace, elsewhere.then(|| of.to_string()));
    }

    fn warnings(&self, found: &Found) -> Vec<String> {
        let mut warnings = Vec::new();
        let class = &self.after.class;
        if found.classes_known && self.store.class(class).is_none() {
            warnings.push(format!("there is no GatewayClass {class}: no controller will take the waypoint up"));
        }
        let mut homes: Vec<&str> = self.wanted.enrol.iter().map(Target::home).collect();
        homes.sort_unstable();
        homes.dedup();
        for home in homes {
            let mode = self.store.namespace(&home.into()).and_then(|it| it.meta.labels.get(DATAPLANE_MODE).cloned());
            if mode.is_none_or(|mode| &*mode == NONE) {
                warnings.push(format!(
                    "namespace {home} is not in the mesh, so that its own Pods go through no waypoint: kubectl label namespace \
                     {home} {DATAPLANE_MODE}=ambient"
                ));
            }
        }
        for target in &self.wanted.enrol {
            match target.kind {
                TargetKind::Pod => warnings.push(format!(
                    "{target} loses its label when it is replaced: label the template of what makes it as well"
                )),
                TargetKind::Namespace if **self.serves == *"workload" => warnings.push(format!(
                    "services of {target} go direct: the waypoint serves workloads only, and they have no other (R29)"
                )),
                _ => {}
            }
        }
        warnings
    }
}

/// Labels and annotations of one object that are to change.
struct Edits<'a> {
    target: &'a Target,
    object: &'a Object,
    labels: BTreeMap<&'static str, (Option<String>, Option<String>)>,
    annotations: BTreeMap<&'static str, (Option<String>, Option<String>)>,
}

impl<'a> Edits<'a> {
    fn of(object: &'a Object, target: &'a Target) -> Self {
        Self { target, object, labels: BTreeMap::new(), annotations: BTreeMap::new() }
    }

    /// As it is now.
    fn label(&self, key: &str) -> Option<&'a Name> {
        self.object.meta().labels.get(key)
    }

    /// As it is now.
    fn named(&self, role: Role) -> Option<GatewayKey> {
        named(&self.object.meta().labels, &self.target.home().into(), role)
    }

    fn set_label(&mut self, key: &'static str, after: Option<String>) {
        let before = self.label(key).map(ToString::to_string);
        if before != after {
            self.labels.insert(key, (before, after));
        }
    }

    fn set_annotation(&mut self, key: &'static str, after: Option<String>) {
        let before = self.object.meta().annotations.get(key).map(ToString::to_string);
        if before != after {
            self.annotations.insert(key, (before, after));
        }
    }
}

/// `namespace/shop: istio.io/use-waypoint=waypoint, without istio.io/use-waypoint-namespace`.
impl fmt::Display for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.target)?;
        let edits = self.labels.iter().chain(&self.annotations);
        let words = edits.map(|(key, (before, after))| match (before, after) {
            (Some(before), Some(after)) => format!("{key}={after} (was {before})"),
            (None, Some(after)) => format!("{key}={after}"),
            (Some(before), None) => format!("without {key} (was {before})"),
            (None, None) => format!("without {key}"),
        });
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests;
