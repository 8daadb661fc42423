//! Rules in plain Rust for tests of the model: references, readiness, traffic type, the owner's consent, visibility. Written from the
//! specification a second time on purpose; neither the plugins' code nor a complete copy of it (no binding, no ingress).

use std::sync::Arc;

use model::batch::{Answer, AnswerChoice, AnswerTarget, Batch, Question};
use model::decision::OnUnreachable;
use model::description::{Fields, Reach, Read, Reference, Source};
use model::gateway::HBONE_PORT;
use model::input::{GatewayInput, NamespaceInput, SubjectKind, Visibility};
use model::{Description, Name, ResolveFailure, Resolver};

use super::{GATEWAY_NAME, MANAGED, MESH_CONTROLLER, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, WAYPOINT_FOR};

/// Istio's rules as far as a mesh without canaries, bindings and ingress needs them. Where a subject names no waypoint
/// and other candidates were declared, the first ready one that fits is taken, so that their edges matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainRules;

/// What [`PlainRules`] declare under this reach, with these fields on top.
pub fn description(reach: Reach, fields: Fields) -> Arc<Description> {
    let read = |at, key: &str| Read { at, key: key.into() };
    let reference = |name: &str, namespace: Option<&str>, inherit| Reference {
        name_label: name.into(),
        namespace_label: namespace.map(Name::from),
        inherit,
    };
    Arc::new(Description {
        name: "plain".into(),
        version: "0".into(),
        reads: vec![
            read(Source::SubjectLabel, "istio.io/use-waypoint*"),
            read(Source::SubjectLabel, MANAGED),
            read(Source::SubjectLabel, GATEWAY_NAME),
            read(Source::NamespaceLabel, "istio.io/use-waypoint*"),
            read(Source::GatewayLabel, WAYPOINT_FOR),
            read(Source::ClassLabel, WAYPOINT_FOR),
        ],
        fields,
        references: vec![
            reference(USE_WAYPOINT, Some(USE_WAYPOINT_NAMESPACE), true),
            reference(GATEWAY_NAME, None, false),
        ],
        reach,
    })
}

impl Resolver for PlainRules {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        batch.subjects.iter().map(|question| decide(batch, question)).collect()
    }
}

/// An answer without a waypoint.
pub fn direct(reason: Option<&str>) -> Answer {
    Answer {
        choice: AnswerChoice::Direct,
        on_unreachable: OnUnreachable::Fail,
        reason: reason.map(str::to_owned),
        second_reason: None,
        ingress: false,
        tunnel: None,
    }
}

/// A candidate and its index in the batch.
type Candidate<'a> = (u32, &'a GatewayInput);

fn decide(batch: &Batch<'_>, question: &Question<'_>) -> Result<Answer, ResolveFailure> {
    let outside = |what: &str| ResolveFailure { limit: None, what: format!("{what} is not in the batch"), row: None };
    let namespace = batch.namespaces.get(question.namespace as usize).ok_or_else(|| outside("a namespace"))?;
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for index in &question.candidates {
        candidates.push((*index, batch.gateways.get(*index as usize).ok_or_else(|| outside("a gateway"))?));
    }
    let labels = question.input.labels.as_ref().map_or(&[][..], |labels| labels);
    let find = |ns: &str, name: &str| {
        let named = |(_, gateway): &&Candidate<'_>| *gateway.key.namespace == *ns && *gateway.key.name == *name;
        candidates.iter().find(named).filter(|(_, gateway)| !gateway.addresses.is_empty()).copied()
    };
    let is_workload = match question.input.kind {
        SubjectKind::Service | SubjectKind::ServiceEntry => false,
        SubjectKind::Pod | SubjectKind::WorkloadEntry | SubjectKind::EntryEndpoint => true,
        // They never have a waypoint (R54, R57).
        SubjectKind::ImpliedEndpoint | SubjectKind::SliceEndpoint => return Ok(direct(None)),
    };
    let its_own = value(labels, GATEWAY_NAME).is_some_and(|name| find(&namespace.name, name).is_some());
    if is_workload && its_own || !is_workload && value(labels, MANAGED).is_some_and(|by| &**by == MESH_CONTROLLER) {
        return Ok(direct(None));
    }
    let own = wish(labels, namespace);
    let chosen = match own.or_else(|| wish(&namespace.labels, namespace)) {
        Some((_, "none")) => return Ok(direct(None)),
        Some((ns, name)) => find(ns, name),
        None => match candidates.iter().find(|(_, g)| !g.addresses.is_empty() && fits(g, is_workload)) {
            Some(first) => Some(*first),
            None => return Ok(direct(None)),
        },
    };
    let Some((index, gateway)) = chosen else {
        return Ok(direct(Some("WaypointIsNotReady")));
    };
    if !admitted(gateway, namespace) {
        return Ok(direct(Some("AttachmentDenied")));
    }
    if !fits(gateway, is_workload) {
        // A workload says so only where it was named itself (R47).
        return Ok(direct((own.is_some() || !is_workload).then_some("UnsupportedTrafficType")));
    }
    if question.input.visibility == Visibility::OwnNamespace && gateway.key.namespace != namespace.name {
        return Ok(direct(Some("CrossNamespaceWaypointForbidden")));
    }
    let choice = AnswerChoice::Waypoints(vec![AnswerTarget { gateway: index, address: address(gateway), weight: 100 }]);
    Ok(Answer { choice, ..direct(Some("WaypointAccepted")) })
}

fn value<'a>(pairs: &'a [(Name, Name)], key: &str) -> Option<&'a Name> {
    pairs.iter().find(|(k, _)| **k == *key).map(|(_, v)| v)
}

/// The namespace and name of the waypoint that these labels name (R15, R16).
fn wish<'a>(pairs: &'a [(Name, Name)], subject: &'a NamespaceInput) -> Option<(&'a str, &'a str)> {
    let name = value(pairs, USE_WAYPOINT)?;
    Some((value(pairs, USE_WAYPOINT_NAMESPACE).unwrap_or(&subject.name), name))
}

/// Whether the Gateway serves this kind of subject (R4).
fn fits(gateway: &GatewayInput, is_workload: bool) -> bool {
    let of_class = gateway.class.as_ref().and_then(|class| value(&class.labels, WAYPOINT_FOR));
    let serves = value(&gateway.labels, WAYPOINT_FOR).or(of_class).map_or("service", |word| word);
    serves == "all" || serves == if is_workload { "workload" } else { "service" }
}

/// Whether the tunnel listener's policy admits the namespace (R10 c and d, R11).
fn admitted(gateway: &GatewayInput, namespace: &NamespaceInput) -> bool {
    let mut listeners = gateway.listeners.iter();
    let tunnel = listeners.find(|listener| listener.port == u32::from(HBONE_PORT) && &*listener.protocol == "HBONE");
    match tunnel.and_then(|listener| Some((listener.admits_from.as_deref()?, listener.selector))) {
        Some(("All", _)) => true,
        Some(("Selector", id)) => id.is_some_and(|id| namespace.selected_by.binary_search(&id).is_ok()),
        _ => gateway.key.namespace == namespace.name,
    }
}

/// The first hostname, else the first IP (R5, R6).
fn address(gateway: &GatewayInput) -> Option<u32> {
    let addresses = || (0..).zip(&gateway.addresses);
    let hostname = addresses().find(|(_, address)| address.hostname().is_some());
    hostname.or_else(|| addresses().find(|(_, address)| address.ip().is_some())).map(|(at, _)| at)
}
