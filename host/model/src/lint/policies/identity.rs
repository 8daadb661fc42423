//! Workloads behind a waypoint whose L4 policies allow by identity and leave out the waypoint's (R124): what comes
//! through the waypoint has its identity, and is refused. Ports and addresses are not looked at: what they allow is given the
//! benefit of the doubt.

use std::collections::{BTreeMap, BTreeSet};

use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::object::ObjectKey;
use crate::policy::{AuthorizationPolicy, Condition, Field, Rule};
use crate::table::{RowKey, RowKind};

use super::super::affected::{Affected, gateway_object};
use super::super::labels::{GATEWAY_NAME, ISTIO_WAYPOINT};
use super::super::survey::Survey;
use super::super::{Findings, codes};
use super::{Workload, Workloads, fields, is_in_scope, key, selects};

pub(super) fn check(survey: &Survey<'_>, workloads: &Workloads<'_>, found: &mut Findings) {
    let is_allow = |policy: &&AuthorizationPolicy| policy.targets.is_empty() && matches!(&*policy.action, "ALLOW" | "");
    let allow: Vec<&AuthorizationPolicy> = survey.store.policies().filter(is_allow).collect();
    if !allow.iter().any(|policy| names_identities(policy)) {
        return;
    }
    let mut accounts = Accounts::of(survey);
    let mut denied: BTreeMap<(usize, GatewayKey), (Affected, Name)> = BTreeMap::new();
    for (workload, gateways) in behind_waypoints(survey, workloads, &allow) {
        let scope = allow.iter().enumerate().filter(|(_, policy)| {
            is_in_scope(survey, policy, &workload.key.namespace) && selects(policy, &workload.labels)
        });
        let scope: Vec<(usize, &&AuthorizationPolicy)> = scope.collect();
        for gateway in gateways {
            let Some(account) = accounts.left_out(survey, gateway, |peer| scope.iter().any(|(_, it)| admits(it, peer)))
            else {
                continue;
            };
            let Some(decision) = survey.decision(workload.key) else {
                continue;
            };
            for (index, _) in scope.iter().filter(|(_, policy)| names_identities(policy)) {
                let group = denied.entry((*index, gateway.clone()));
                group.or_insert_with(|| (Affected::default(), account.clone())).0.add(workload.key, decision);
            }
        }
    }
    for ((index, gateway), (affected, account)) in denied {
        if let Some(policy) = allow.get(index) {
            report(survey, policy, &gateway, &affected, &account, found);
        }
    }
}

fn report(
    survey: &Survey<'_>,
    policy: &AuthorizationPolicy,
    gateway: &GatewayKey,
    affected: &Affected,
    account: &Name,
    found: &mut Findings,
) {
    let (object, Peer { principal, .. }) = (key(policy), Peer::new(survey, &gateway.namespace, account));
    let text = format!(
        "{object} allows by identity, and neither it nor another policy allows {principal}, the identity of waypoint \
         {gateway}: what comes through it to {affected} is refused"
    );
    let fix = format!(
        "add {principal:?} to the principals of a rule of {object}, or attach it to the waypoint with spec.targetRefs; not \
         needed where istiod allows waypoints by itself (PILOT_AUTO_ALLOW_WAYPOINT_POLICY)"
    );
    let related: Vec<ObjectKey> = std::iter::once(gateway_object(gateway)).chain(affected.objects()).collect();
    found.add(&codes::DENIES_WAYPOINT, object, "spec.rules".to_owned(), text, fix).relating(related);
}

/// Whether some rule that ztunnel is sent asks who the source is.
fn names_identities(policy: &AuthorizationPolicy) -> bool {
    let names = |name: &str| matches!(name, "principals" | "namespaces" | "serviceAccounts");
    policy.rules.iter().filter(|rule| !fields::is_http(rule)).any(|rule| {
        rule.from.iter().flatten().any(|field| names(&field.name) && !field.values.is_empty())
            || rule
                .when
                .iter()
                .any(|it| matches!(&*it.key, "source.principal" | "source.namespace") && !it.values.is_empty())
    })
}

/// Workloads that some of the policies may concern, with the waypoints whose traffic reaches them: their own, and those of
/// the services they stand behind.
fn behind_waypoints<'a, 'b>(
    survey: &'b Survey<'a>,
    workloads: &'b Workloads<'a>,
    policies: &[&AuthorizationPolicy],
) -> Vec<(&'b Workload<'a>, BTreeSet<&'a GatewayKey>)> {
    let concerned = |namespace: &Name| policies.iter().any(|policy| is_in_scope(survey, policy, namespace));
    let mut behind: BTreeMap<RowKey, BTreeSet<&GatewayKey>> = BTreeMap::new();
    for row in survey.rows().filter(|row| !row.decision.targets().is_empty() && concerned(&row.key.namespace)) {
        let gateways: BTreeSet<&GatewayKey> = row.decision.targets().iter().map(|target| &target.gateway).collect();
        let reached = match row.key.kind.is_service() {
            true => survey.store.workloads_of(row.key),
            false => BTreeSet::from([row.key.clone()]),
        };
        for workload in reached {
            behind.entry(workload).or_default().extend(&gateways);
        }
    }
    let all = workloads.0.values().flatten();
    all.filter_map(|workload| Some((workload, behind.get(workload.key)?.clone()))).collect()
}

/// The service accounts that waypoints run as (R12).
struct Accounts(BTreeMap<GatewayKey, BTreeSet<Name>>);

impl Accounts {
    fn of(survey: &Survey<'_>) -> Self {
        let mut accounts: BTreeMap<GatewayKey, BTreeSet<Name>> = BTreeMap::new();
        for row in survey.rows().filter(|row| row.key.kind == RowKind::Pod) {
            if let Some(pod) = survey.store.pod(&row.key.namespace, &row.key.name)
                && let Some(name) = pod.meta.labels.get(GATEWAY_NAME)
            {
                let key = GatewayKey { namespace: row.key.namespace.clone(), name: name.clone() };
                accounts.entry(key).or_default().insert(pod.service_account().clone());
            }
        }
        Self(accounts)
    }

    /// An account of the waypoint that is not admitted. Where none of its pods is known it is the one that Istio makes for
    /// its own class, which has the Gateway's name.
    fn left_out(
        &mut self,
        survey: &Survey<'_>,
        gateway: &GatewayKey,
        admitted: impl Fn(&Peer) -> bool,
    ) -> Option<Name> {
        let is_istio = || survey.store.gateway(gateway).is_some_and(|it| *it.class == *ISTIO_WAYPOINT);
        if !self.0.contains_key(gateway) {
            let made = is_istio().then(|| gateway.name.clone());
            self.0.insert(gateway.clone(), made.into_iter().collect());
        }
        let accounts = self.0.get(gateway)?;
        accounts.iter().find(|account| !admitted(&Peer::new(survey, &gateway.namespace, account))).cloned()
    }
}

/// Who a connection comes from.
struct Peer {
    namespace: Name,
    account: Name,
    principal: String,
}

impl Peer {
    fn new(survey: &Survey<'_>, namespace: &Name, account: &Name) -> Self {
        let domain = &survey.store.facts().mesh.trust_domain;
        let principal = format!("{domain}/ns/{namespace}/sa/{account}");
        Self { namespace: namespace.clone(), account: account.clone(), principal }
    }

    /// R114: `namespace/name`, or a name in the policy's own namespace.
    fn has_account(&self, value: &str, policy_namespace: &str) -> bool {
        let (namespace, name) = value.split_once('/').unwrap_or((policy_namespace, value));
        *self.namespace == *namespace && *self.account == *name
    }
}

/// Whether a policy allows connections of the peer, as far as that is about identity.
fn admits(policy: &AuthorizationPolicy, peer: &Peer) -> bool {
    policy
        .rules
        .iter()
        .filter(|rule| !fields::is_http(rule))
        .any(|rule| rule_admits(rule, peer, &policy.meta.namespace))
}

fn rule_admits(rule: &Rule, peer: &Peer, policy_namespace: &str) -> bool {
    let source = |fields: &Vec<Field>| {
        fields.iter().filter(|field| !field.values.is_empty()).all(|field| {
            let any = |matches: &dyn Fn(&str) -> bool| field.values.iter().any(|value| matches(value));
            match &*field.name {
                "principals" => any(&|value| matches(value, &peer.principal)),
                "notPrincipals" => !any(&|value| matches(value, &peer.principal)),
                "namespaces" => any(&|value| matches(value, &peer.namespace)),
                "notNamespaces" => !any(&|value| matches(value, &peer.namespace)),
                "serviceAccounts" => any(&|value| peer.has_account(value, policy_namespace)),
                "notServiceAccounts" => !any(&|value| peer.has_account(value, policy_namespace)),
                _ => true,
            }
        })
    };
    let condition = |it: &Condition| {
        let actual = match &*it.key {
            "source.principal" => &*peer.principal,
            "source.namespace" => &*peer.namespace,
            _ => return true,
        };
        let any = |values: &[Name]| values.iter().any(|value| matches(value, actual));
        (it.values.is_empty() || any(&it.values)) && !any(&it.not_values)
    };
    (rule.from.is_empty() || rule.from.iter().any(source)) && rule.when.iter().all(condition)
}

/// R113: presence, suffix, prefix, else the exact text, tried in that order.
fn matches(pattern: &str, text: &str) -> bool {
    if pattern == "*" {
        return !text.is_empty();
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        return text.ends_with(suffix);
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn r113_a_pattern_is_presence_suffix_prefix_or_exact() {
        let rows = [("*", "a", true), ("*", "", false), ("*b", "ab", true), ("a*", "ab", true), ("a*", "ba", false)];
        for (pattern, text, expected) in rows {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(matches("ab", "ab") && !matches("ab", "abc"));
    }
}
