//! What ztunnel makes of the fields of a policy: HTTP attributes that it cannot know (R111, R112), ports and addresses that
//! are dropped because they are none (R115, Q16).

use std::collections::BTreeSet;

use crate::name::Name;
use crate::policy::{AuthorizationPolicy, Field, Rule};
use crate::service_entry::AddressRange;

use super::super::labels::quoted;
use super::super::{Findings, codes};
use super::key;

/// What a field's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Ports,
    Addresses,
    /// Names of namespaces, accounts and principals: never bad.
    Names,
    /// Known to HTTP only.
    Http,
}

/// By the name of a field of `from` or `to` (R110). What is not known there is HTTP's.
fn values_of(field: &str) -> Values {
    match field {
        "ports" | "notPorts" => Values::Ports,
        "ipBlocks" | "notIpBlocks" => Values::Addresses,
        "namespaces" | "notNamespaces" | "serviceAccounts" | "notServiceAccounts" | "principals" | "notPrincipals" => {
            Values::Names
        }
        _ => Values::Http,
    }
}

/// By the key of a condition.
fn values_of_key(key: &str) -> Values {
    match key {
        "destination.port" => Values::Ports,
        "source.ip" | "destination.ip" => Values::Addresses,
        "source.namespace" | "source.principal" => Values::Names,
        _ => Values::Http,
    }
}

impl Values {
    fn is_good(self, value: &str) -> bool {
        match self {
            Self::Ports => value.parse::<u16>().is_ok(),
            Self::Addresses => AddressRange::parse(value).is_some(),
            Self::Names | Self::Http => true,
        }
    }
}

/// Whether some attribute of the rule is known to HTTP only.
pub(super) fn is_http(rule: &Rule) -> bool {
    !http_attributes(rule).is_empty()
}

pub(crate) fn http_attributes(rule: &Rule) -> BTreeSet<&Name> {
    let is_http = |field: &&Field| values_of(&field.name) == Values::Http && !field.values.is_empty();
    let fields = rule.from.iter().chain(&rule.to).flatten().filter(is_http).map(|field| &field.name);
    let keys = rule.when.iter().map(|condition| &condition.key).filter(|key| values_of_key(key) == Values::Http);
    fields.chain(keys).collect()
}

pub(super) fn check(policy: &AuthorizationPolicy, found: &mut Findings) {
    let is_deny = &*policy.action == "DENY";
    let mut http: BTreeSet<&Name> = BTreeSet::new();
    let mut rules = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        let of_rule = http_attributes(rule);
        if !of_rule.is_empty() {
            rules.push(index);
            http.extend(of_rule);
        }
        bad_values(policy, index, rule, found);
    }
    if rules.is_empty() {
        return;
    }
    let object = key(policy);
    let attributes = http.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let indexes = rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let asks = format!("{object} asks for {attributes} in rule {indexes}, which ztunnel does not know");
    let (code, text) = match is_deny {
        false => {
            let rest = if rules.len() == policy.rules.len() { ", and nothing is allowed any more" } else { "" };
            (&codes::ALLOW_DROPPED, format!("{asks}: what these rules allow is refused{rest}"))
        }
        true if policy.rules.iter().any(is_effective) => (
            &codes::DENY_WIDENED,
            format!("{asks}: the rest of these rules is enforced, and denies more or never fires"),
        ),
        true => (&codes::DENY_WITHOUT_EFFECT, format!("{asks}: nothing of it is enforced")),
    };
    let fix = format!("attach {object} to the waypoint with spec.targetRefs, or leave HTTP attributes out of it");
    found.add(code, object, "spec.rules".to_owned(), text, fix);
}

/// Whether a DENY rule still fires when ztunnel has left out what it does not know: every clause has something that is
/// not empty (R112). A rule without clauses matches everything.
pub(crate) fn is_effective(rule: &Rule) -> bool {
    let remains = |fields: &Vec<Field>| {
        fields.iter().any(|field| values_of(&field.name) != Values::Http && !field.values.is_empty())
    };
    let clause = |items: &Vec<Vec<Field>>| items.is_empty() || items.iter().any(remains);
    let known = rule.when.iter().all(|condition| values_of_key(&condition.key) != Values::Http);
    clause(&rule.from) && clause(&rule.to) && known
}

fn bad_values(policy: &AuthorizationPolicy, index: usize, rule: &Rule, found: &mut Findings) {
    let clauses = [("from", "source", &rule.from), ("to", "operation", &rule.to)];
    for (clause, item, alternatives) in clauses {
        for (at, fields) in alternatives.iter().enumerate() {
            for field in fields {
                let path = format!("spec.rules[{index}].{clause}[{at}].{item}.{}", field.name);
                values(policy, values_of(&field.name), &field.values, path, found);
            }
        }
    }
    for (at, condition) in rule.when.iter().enumerate() {
        let kind = values_of_key(&condition.key);
        values(policy, kind, &condition.values, format!("spec.rules[{index}].when[{at}].values"), found);
        values(policy, kind, &condition.not_values, format!("spec.rules[{index}].when[{at}].notValues"), found);
    }
}

fn values(policy: &AuthorizationPolicy, kind: Values, values: &[Name], field: String, found: &mut Findings) {
    let bad: Vec<&Name> = values.iter().filter(|value| !kind.is_good(value)).collect();
    let Some(first) = bad.first() else {
        return;
    };
    let object = key(policy);
    let noun = if kind == Values::Ports { "port from 0 to 65535" } else { "IP address or CIDR" };
    let (code, effect) = match bad.len() == values.len() {
        true => (&codes::RULE_WIDENED, "no value remains, and the field restricts nothing any more"),
        false => (&codes::VALUE_DROPPED, "it is dropped without a word"),
    };
    let text = format!("{} of {object} is no {noun}, in {field}: {effect}", quoted(first));
    let fix = format!("correct {field} of {object}");
    found.add(code, object, field, text, fix);
}
