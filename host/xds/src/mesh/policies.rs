//! AuthorizationPolicies as ztunnel takes them (R105-R116), and which of them a workload lists.

use model::policy::{Condition, Field, Rule};
use model::service_entry::AddressRange;
use model::{AuthorizationPolicy, Labels, Name};

use crate::proto::authorization::string_match::MatchType;
use crate::proto::authorization::{
    Action, Address, Authorization, Clause, Match, Rule as Group, Scope, ServiceAccountMatch, StringMatch,
};
use crate::resource::bytes_of_ip;

/// The annotation by which a policy only pretends (R106).
const DRY_RUN: &str = "istio.io/dry-run";

/// The policy for ztunnel; none where it is for a waypoint (R105), pretends (R106), or does neither allow nor deny (R108).
pub(super) fn authorization(policy: &AuthorizationPolicy, root_namespace: &Name) -> Option<Authorization> {
    let action = action(policy)?;
    let scope = match &policy.selector {
        Some(_) => Scope::WorkloadSelector,
        None if policy.meta.namespace == *root_namespace => Scope::Global,
        None => Scope::Namespace,
    };
    Some(Authorization {
        name: policy.meta.name.to_string(),
        namespace: policy.meta.namespace.to_string(),
        scope: scope.into(),
        action: action.into(),
        rules: policy.rules.iter().filter_map(|rule| group(rule, action, &policy.meta.namespace)).collect(),
        ..Authorization::default()
    })
}

/// What the labels of the workloads that list it must have (R116); none where no workload lists it: it has no selector, an
/// empty one (Q19), or is not sent.
pub(super) fn selector(policy: &AuthorizationPolicy) -> Option<&Labels> {
    policy.selector.as_ref().filter(|selector| !selector.is_empty() && action(policy).is_some())
}

fn action(policy: &AuthorizationPolicy) -> Option<Action> {
    let pretends = policy.meta.annotations.get(DRY_RUN).is_some_and(|value| is_true(value));
    match &*policy.action {
        _ if pretends || !policy.targets.is_empty() => None,
        "ALLOW" => Some(Action::Allow),
        "DENY" => Some(Action::Deny),
        _ => None,
    }
}

/// As Go reads it.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

/// None: an ALLOW rule that needs more than ztunnel knows. A DENY rule keeps what ztunnel knows; where nothing is left of
/// an item its match is empty, and ztunnel takes an empty match for one that never holds (R111).
fn group(rule: &Rule, action: Action, namespace: &Name) -> Option<Group> {
    let mut is_whole = true;
    let mut clauses = Vec::new();
    for items in [&rule.to, &rule.from] {
        let mut matches = Vec::new();
        for fields in items {
            let mut of_item = Match::default();
            fields.iter().for_each(|field| is_whole &= add_field(&mut of_item, field, namespace));
            matches.push(of_item);
        }
        if !matches.is_empty() {
            clauses.push(Clause { matches });
        }
    }
    for condition in &rule.when {
        let mut of_item = Match::default();
        is_whole &= add_condition(&mut of_item, condition);
        clauses.push(Clause { matches: vec![of_item] });
    }
    (is_whole || action == Action::Deny).then_some(Group { clauses })
}

/// False: ztunnel does not know the field, as it is about requests (R111), or nobody does.
fn add_field(to: &mut Match, field: &Field, namespace: &Name) -> bool {
    let values = &field.values;
    match &*field.name {
        "ports" => to.destination_ports = ports(values),
        "notPorts" => to.not_destination_ports = ports(values),
        "ipBlocks" => to.source_ips = addresses(values),
        "notIpBlocks" => to.not_source_ips = addresses(values),
        "namespaces" => to.namespaces = strings(values),
        "notNamespaces" => to.not_namespaces = strings(values),
        "principals" => to.principals = strings(values),
        "notPrincipals" => to.not_principals = strings(values),
        "serviceAccounts" => to.service_accounts = accounts(values, namespace),
        "notServiceAccounts" => to.not_service_accounts = accounts(values, namespace),
        _ => return false,
    }
    true
}

fn add_condition(to: &mut Match, condition: &Condition) -> bool {
    let Condition { key, values, not_values } = condition;
    match &**key {
        "source.ip" => (to.source_ips, to.not_source_ips) = (addresses(values), addresses(not_values)),
        "source.namespace" => (to.namespaces, to.not_namespaces) = (strings(values), strings(not_values)),
        "source.principal" => (to.principals, to.not_principals) = (strings(values), strings(not_values)),
        "destination.ip" => (to.destination_ips, to.not_destination_ips) = (addresses(values), addresses(not_values)),
        "destination.port" => (to.destination_ports, to.not_destination_ports) = (ports(values), ports(not_values)),
        _ => return false,
    }
    true
}

/// What is no port is dropped (R115).
fn ports(values: &[Name]) -> Vec<u32> {
    values.iter().filter_map(|value| value.parse::<u16>().ok()).map(u32::from).collect()
}

/// What is no address is dropped (R115).
fn addresses(values: &[Name]) -> Vec<Address> {
    let ranges = values.iter().filter_map(|value| AddressRange::parse(value));
    ranges.map(|range| Address { address: bytes_of_ip(range.ip), length: range.prefix.into() }).collect()
}

fn strings(values: &[Name]) -> Vec<StringMatch> {
    let matched = |value: &Name| match &**value {
        "*" => MatchType::Presence(()),
        value => match (value.strip_prefix('*'), value.strip_suffix('*')) {
            (Some(suffix), _) => MatchType::Suffix(suffix.to_owned()),
            (None, Some(prefix)) => MatchType::Prefix(prefix.to_owned()),
            (None, None) => MatchType::Exact(value.to_owned()),
        },
    };
    values.iter().map(|value| StringMatch { match_type: Some(matched(value)) }).collect()
}

/// `namespace/name`, or a name in the policy's own namespace (R114).
fn accounts(values: &[Name], namespace: &Name) -> Vec<ServiceAccountMatch> {
    let account = |value: &Name| {
        let (of, name) = value.split_once('/').unwrap_or((namespace, value));
        ServiceAccountMatch { namespace: of.to_owned(), service_account: name.to_owned() }
    };
    values.iter().map(account).collect()
}

#[cfg(test)]
mod tests {
    use model::Meta;
    use model::policy::PolicyTarget;

    use super::*;

    fn field(name: &str, values: &[&str]) -> Field {
        Field { name: name.into(), values: values.iter().map(|it| Name::from(*it)).collect() }
    }

    fn policy(action: &str, rules: Vec<Rule>) -> AuthorizationPolicy {
        AuthorizationPolicy { action: action.into(), rules, ..AuthorizationPolicy::named("shop", "p") }
    }

    fn told(policy: &AuthorizationPolicy) -> Option<Authorization> {
        authorization(policy, &"istio-system".into())
    }

    #[test]
    fn only_what_allows_or_denies_at_l4_is_sent() {
        assert!(told(&policy("ALLOW", vec![])).is_some() && told(&policy("DENY", vec![])).is_some());
        assert!(told(&policy("AUDIT", vec![])).is_none() && told(&policy("CUSTOM", vec![])).is_none());
        let target = PolicyTarget { group: "".into(), kind: "Service".into(), namespace: None, name: "a".into() };
        assert!(told(&AuthorizationPolicy { targets: vec![target], ..policy("ALLOW", vec![]) }).is_none());
        for (value, is_sent) in [("true", false), ("1", false), ("false", true), ("yes", true)] {
            let annotations = [(DRY_RUN, value)].into_iter().collect();
            let meta = Meta { annotations, ..Meta::named("shop", "p") };
            assert_eq!(told(&AuthorizationPolicy { meta, ..policy("DENY", vec![]) }).is_some(), is_sent, "{value}");
        }
    }

    #[test]
    fn the_scope_follows_from_namespace_and_selector() {
        let scope = |namespace: &str, selector: Option<Labels>| {
            let policy = AuthorizationPolicy { selector, ..AuthorizationPolicy::named(namespace, "p") };
            (told(&policy).unwrap().scope(), super::selector(&policy).is_some())
        };
        assert_eq!(scope("istio-system", None), (Scope::Global, false));
        assert_eq!(scope("shop", None), (Scope::Namespace, false));
        assert_eq!(scope("shop", Some(Labels::default())), (Scope::WorkloadSelector, false), "listed by nobody (Q19)");
        let app = [("app", "a")].into_iter().collect();
        assert_eq!(scope("istio-system", Some(app)), (Scope::WorkloadSelector, true));
    }

    #[test]
    fn rules_become_groups_of_clauses() {
        let rule = Rule {
            from: vec![
                vec![field("principals", &["*", "*/sa/a", "td/*", "td/ns/a/sa/b"]), field("notNamespaces", &["x"])],
                vec![field("serviceAccounts", &["a", "other/b"]), field("ipBlocks", &["10.0.0.0/8", "bad", "::1"])],
            ],
            to: vec![vec![field("ports", &["80", "70000", "web"]), field("notPorts", &["81"])]],
            when: vec![Condition {
                key: "destination.ip".into(),
                values: vec!["10.0.0.1".into()],
                not_values: vec!["10.0.0.2".into()],
            }],
        };
        let found = told(&policy("ALLOW", vec![rule, Rule::default()])).unwrap();
        let [group, everything] = &*found.rules else { panic!("{found:?}") };
        assert!(everything.clauses.is_empty(), "matches everything");
        let [to, from, when] = &*group.clauses else { panic!("{group:?}") };
        assert_eq!((&*to.matches[0].destination_ports, &*to.matches[0].not_destination_ports), (&[80][..], &[81][..]));
        let kinds: Vec<_> = from.matches[0].principals.iter().map(|it| it.match_type.clone().unwrap()).collect();
        let expected = [
            MatchType::Presence(()),
            MatchType::Suffix("/sa/a".into()),
            MatchType::Prefix("td/".into()),
            MatchType::Exact("td/ns/a/sa/b".into()),
        ];
        assert_eq!(kinds, expected);
        let accounts = &from.matches[1].service_accounts;
        assert_eq!((&*accounts[0].namespace, &*accounts[0].service_account), ("shop", "a"));
        assert_eq!((&*accounts[1].namespace, &*accounts[1].service_account), ("other", "b"));
        let lengths: Vec<u32> = from.matches[1].source_ips.iter().map(|it| it.length).collect();
        assert_eq!(lengths, [8, 128]);
        assert_eq!((when.matches[0].destination_ips.len(), when.matches[0].not_destination_ips.len()), (1, 1));
    }

    #[test]
    fn what_ztunnel_cannot_see_closes() {
        let rule = || Rule {
            to: vec![vec![field("methods", &["GET"])], vec![field("paths", &["/a"]), field("ports", &["80"])]],
            ..Rule::default()
        };
        assert!(told(&policy("ALLOW", vec![rule()])).unwrap().rules.is_empty(), "allows nothing");
        let denied = told(&policy("DENY", vec![rule()])).unwrap();
        let matches = &denied.rules[0].clauses[0].matches;
        assert_eq!(matches[0], Match::default(), "never holds");
        assert_eq!(matches[1].destination_ports, [80]);
        let when = Condition { key: "request.headers[a]".into(), values: vec!["b".into()], not_values: vec![] };
        let rule = Rule { when: vec![when], ..Rule::default() };
        assert_eq!(told(&policy("DENY", vec![rule])).unwrap().rules[0].clauses[0].matches, [Match::default()]);
    }
}
