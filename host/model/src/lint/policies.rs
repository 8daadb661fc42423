//! AuthorizationPolicies that do not do what they seem to say, where traffic goes through ztunnel and waypoints
//! (R105-R124). Policies themselves are enforced elsewhere; nothing here decides about a connection.

use std::collections::BTreeMap;

use crate::name::{Labels, Name};
use crate::object::{Kind, ObjectKey};
use crate::policy::AuthorizationPolicy;
use crate::store::RowObject;
use crate::table::RowKey;

use super::labels::quoted;
use super::survey::Survey;
use super::{Findings, codes};

pub(crate) mod fields;
mod identity;
mod targets;

pub(super) fn check(survey: &Survey<'_>, found: &mut Findings) {
    let mut policies = survey.store.policies().peekable();
    if policies.peek().is_none() {
        return;
    }
    let workloads = Workloads::of(survey);
    for policy in policies {
        if !policy.targets.is_empty() {
            // For a waypoint: ztunnel is not sent it (R105).
            targets::check(survey, policy, found);
            continue;
        }
        selector(policy, found);
        if !is_sent(policy) {
            action(policy, found);
        } else if workloads.has_ztunnel_in_scope(survey, policy) {
            fields::check(policy, found);
        }
    }
    identity::check(survey, &workloads, found);
}

fn key(policy: &AuthorizationPolicy) -> ObjectKey {
    ObjectKey {
        kind: Kind::AuthorizationPolicy,
        namespace: policy.meta.namespace.clone(),
        name: policy.meta.name.clone(),
    }
}

/// Whether ztunnel is sent policies with its action (R108).
fn is_sent(policy: &AuthorizationPolicy) -> bool {
    matches!(&*policy.action, "ALLOW" | "DENY" | "")
}

fn selector(policy: &AuthorizationPolicy, found: &mut Findings) {
    if policy.selector.as_ref().is_some_and(Labels::is_empty) {
        let object = key(policy);
        let text = format!("{object} has an empty selector: it applies to nobody, and not to its whole namespace");
        let fix = format!("remove spec.selector of {object}, or select labels");
        found.add(&codes::SELECTOR_EMPTY, object, "spec.selector".to_owned(), text, fix);
    }
}

fn action(policy: &AuthorizationPolicy, found: &mut Findings) {
    let object = key(policy);
    let text =
        format!("ztunnel is not sent {object}: its action is {}, and only ALLOW and DENY are", quoted(&policy.action));
    let fix = format!("attach {object} to a waypoint with spec.targetRefs, or use ALLOW or DENY");
    found.add(&codes::ACTION, object, "spec.action".to_owned(), text, fix);
}

/// The workloads of the mesh by namespace.
struct Workloads<'a>(BTreeMap<&'a Name, Vec<Workload<'a>>>);

struct Workload<'a> {
    key: &'a RowKey,
    /// Those that selectors of policies see: of an entry's endpoint the entry's (R55).
    labels: Labels,
    has_proxy: bool,
}

impl<'a> Workloads<'a> {
    fn of(survey: &Survey<'a>) -> Self {
        let mut workloads: BTreeMap<&Name, Vec<Workload<'_>>> = BTreeMap::new();
        for row in survey.rows().filter(|row| !row.key.kind.is_service()) {
            let (labels, has_proxy) = match survey.store.row(row.key) {
                Some(RowObject::Pod(pod)) => (pod.meta.labels.clone(), pod.has_proxy),
                Some(RowObject::WorkloadEntry(entry)) => (entry.labels(), false),
                Some(RowObject::EntryEndpoint { entry, .. } | RowObject::ImpliedEndpoint { entry, .. }) => {
                    (entry.meta.labels.clone(), false)
                }
                // Endpoints of slices have no policies (R57).
                _ => continue,
            };
            workloads.entry(&row.key.namespace).or_default().push(Workload { key: row.key, labels, has_proxy });
        }
        Self(workloads)
    }

    /// Those that a policy without targets applies to (R107, R116).
    fn in_scope<'b>(
        &'b self,
        survey: &'b Survey<'_>,
        policy: &'b AuthorizationPolicy,
    ) -> impl Iterator<Item = &'b Workload<'a>> {
        let namespaces = self.0.iter().filter(|(namespace, _)| is_in_scope(survey, policy, namespace));
        namespaces.flat_map(|(_, workloads)| workloads).filter(|workload| selects(policy, &workload.labels))
    }

    /// Whether the policy is enforced by a ztunnel anywhere: not if all of its workloads have a proxy of their own, which
    /// understands all of it. One whose workloads are not known is held to be.
    fn has_ztunnel_in_scope(&self, survey: &Survey<'_>, policy: &AuthorizationPolicy) -> bool {
        let mut workloads = self.in_scope(survey, policy).peekable();
        workloads.peek().is_none() || workloads.any(|workload| !workload.has_proxy)
    }
}

/// The root namespace speaks for all.
fn is_in_scope(survey: &Survey<'_>, policy: &AuthorizationPolicy, namespace: &str) -> bool {
    let of = &*policy.meta.namespace;
    of == namespace || of == &*survey.store.facts().mesh.root_namespace
}

/// No selector is everything, an empty one nothing (Q19).
fn selects(policy: &AuthorizationPolicy, labels: &Labels) -> bool {
    policy.selector.as_ref().is_none_or(|selector| !selector.is_empty() && selector.is_subset_of(labels))
}
