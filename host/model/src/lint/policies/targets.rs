//! What a policy for a waypoint is attached to (R119-R123).

use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::object::{Kind, ObjectKey};
use crate::policy::{AuthorizationPolicy, PolicyTarget};
use crate::table::{RowKey, RowKind};

use super::super::Findings;
use super::super::affected::gateway_object;
use super::super::codes::{self, Code};
use super::super::labels::{ISTIO_WAYPOINT, USE_WAYPOINT, quoted};
use super::super::survey::Survey;
use super::key;

pub(super) fn check(survey: &Survey<'_>, policy: &AuthorizationPolicy, found: &mut Findings) {
    for (index, target) in policy.targets.iter().enumerate() {
        if let Some(Wrong { code, text, fix, related }) = wrong(survey, policy, target) {
            let field = format!("spec.targetRefs[{index}]");
            found.add(code, key(policy), field, text, fix).relating(related);
        }
    }
}

/// What is wrong with one target.
struct Wrong {
    code: &'static Code,
    text: String,
    fix: String,
    related: Option<ObjectKey>,
}

fn wrong(survey: &Survey<'_>, policy: &AuthorizationPolicy, target: &PolicyTarget) -> Option<Wrong> {
    let own = &policy.meta.namespace;
    match (&*target.group, &*target.kind) {
        ("gateway.networking.k8s.io", "GatewayClass") => wrong_class(survey, policy, &target.name),
        ("gateway.networking.k8s.io", "Gateway") => {
            foreign(policy, target).or_else(|| wrong_gateway(survey, policy, &target.name))
        }
        ("" | "core", "Service") => {
            foreign(policy, target).or_else(|| wrong_service(survey, policy, RowKind::Service, own, &target.name))
        }
        ("networking.istio.io", "ServiceEntry") => {
            foreign(policy, target).or_else(|| wrong_service(survey, policy, RowKind::ServiceEntry, own, &target.name))
        }
        _ => Some(Wrong {
            code: &codes::TARGET_KIND,
            text: format!(
                "{} is for a {} of group {}, and no waypoint enforces policies for that kind",
                key(policy),
                quoted(&target.kind),
                quoted(&target.group)
            ),
            fix: "target a Service, a networking.istio.io ServiceEntry, or a gateway.networking.k8s.io Gateway or GatewayClass"
                .to_owned(),
            related: None,
        }),
    }
}

/// Enforcement looks in the policy's own namespace (R119).
fn foreign(policy: &AuthorizationPolicy, target: &PolicyTarget) -> Option<Wrong> {
    let namespace = target.namespace.as_ref().filter(|namespace| **namespace != policy.meta.namespace)?;
    let object = key(policy);
    Some(Wrong {
        code: &codes::TARGET_FOREIGN,
        text: format!(
            "{object} is for {} {namespace}/{}, and a waypoint only enforces policies of the same namespace",
            target.kind, target.name
        ),
        fix: format!("move {object} to namespace {namespace}"),
        related: None,
    })
}

fn wrong_class(survey: &Survey<'_>, policy: &AuthorizationPolicy, name: &Name) -> Option<Wrong> {
    let (object, root) = (key(policy), &survey.store.facts().mesh.root_namespace);
    let class = ObjectKey::new(Kind::GatewayClass, "", name);
    let (code, text, fix) = if policy.meta.namespace != *root {
        (
            &codes::CLASS_NAMESPACE,
            format!("{object} is for {class} and not in the root namespace {root}: nobody enforces it"),
            format!("move {object} to namespace {root}, or target the Gateways of its own namespace"),
        )
    } else if **name != *ISTIO_WAYPOINT {
        (
            &codes::CLASS_NOT_ENFORCED,
            format!("{object} is for {class}, and waypoints enforce policies for the class {ISTIO_WAYPOINT} only"),
            format!("target {ISTIO_WAYPOINT} in {object}, or the Gateways of {class} one by one, in their namespaces"),
        )
    } else if survey.store.class(name).is_none() {
        (
            &codes::TARGET_MISSING,
            format!("{object} is for {class}, which does not exist"),
            format!("create {class}, or correct spec.targetRefs of {object}"),
        )
    } else {
        return None;
    };
    Some(Wrong { code, text, fix, related: Some(class) })
}

fn wrong_gateway(survey: &Survey<'_>, policy: &AuthorizationPolicy, name: &Name) -> Option<Wrong> {
    let gateway = GatewayKey { namespace: policy.meta.namespace.clone(), name: name.clone() };
    let (object, target) = (key(policy), gateway_object(&gateway));
    let (text, fix) = match survey.store.gateway(&gateway) {
        None => (
            format!("{object} is for {target}, which does not exist"),
            format!("create {target}, or correct spec.targetRefs of {object}"),
        ),
        Some(found) if found.addresses.is_empty() => (
            format!("{object} is for {target}, which reports no address and so is no waypoint"),
            format!("find out why status.addresses of {target} is empty"),
        ),
        Some(_) => return None,
    };
    Some(Wrong { code: &codes::TARGET_MISSING, text, fix, related: Some(target) })
}

/// A Service or ServiceEntry has to be there and bound, by whatever component decides.
fn wrong_service(
    survey: &Survey<'_>,
    policy: &AuthorizationPolicy,
    kind: RowKind,
    namespace: &Name,
    name: &Name,
) -> Option<Wrong> {
    let row = RowKey { kind, namespace: namespace.clone(), name: name.clone(), part: None };
    let (object, target) = (key(policy), row.object());
    if survey.store.object(&target).is_none() {
        let text = format!("{object} is for {target}, which does not exist");
        let fix = format!("correct spec.targetRefs of {object}, or create {target}");
        return Some(Wrong { code: &codes::TARGET_MISSING, text, fix, related: None });
    }
    let decision = survey.decision(&row);
    if decision.is_some_and(|decision| !decision.targets().is_empty()) {
        return None;
    }
    let why = match decision {
        None => "is not published".to_owned(),
        Some(decision) => format!("has no waypoint, its decision is {decision}"),
    };
    let text = format!("{object} is for {target}, which {why}: nobody enforces the policy");
    let label = survey.reading.primary.map_or(USE_WAYPOINT, |pointer| pointer.name);
    let fix = format!("give {target} a waypoint with {label}; wayswitch explain says why it has none");
    Some(Wrong { code: &codes::TARGET_UNBOUND, text, fix, related: Some(target) })
}
