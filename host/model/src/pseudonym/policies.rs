//! AuthorizationPolicies under other names. No decision depends on them; what is wrong with one stays wrong: a port that
//! is none, an address that is none, a field that nobody knows.

use super::objects::meta;
use super::text::{Rename, each, host, labels, name, one_of, range};
use super::vocabulary::is_number;
use crate::name::Name;
use crate::policy::{AuthorizationPolicy, Condition, Field, PolicyTarget, Rule};
use crate::service_entry::AddressRange;

const ACTIONS: [&str; 4] = ["ALLOW", "DENY", "AUDIT", "CUSTOM"];
const GROUPS: [&str; 3] = ["core", "gateway.networking.k8s.io", "networking.istio.io"];
const KINDS: [&str; 5] = ["Gateway", "GatewayClass", "Namespace", "Service", "ServiceEntry"];
const FIELDS: [&str; 20] = [
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
    "hosts",
    "notHosts",
    "ports",
    "notPorts",
    "methods",
    "notMethods",
    "paths",
    "notPaths",
];
/// Attributes of conditions; what is in brackets behind one is a name.
const ATTRIBUTES: [&str; 13] = [
    "source.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "remote.ip",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "request.auth.audiences",
    "request.auth.claims",
    "request.auth.presenter",
    "request.auth.principal",
    "request.headers",
];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

pub(super) fn policy(by: &mut impl Rename, policy: &AuthorizationPolicy) -> AuthorizationPolicy {
    let AuthorizationPolicy { meta: of, selector, targets, action, rules } = policy;
    AuthorizationPolicy {
        meta: meta(by, of),
        selector: selector.as_ref().map(|it| labels(by, it)),
        targets: each(targets, |it| target(by, it)),
        action: one_of(by, &ACTIONS, action),
        rules: each(rules, |Rule { from, to, when }| Rule {
            from: each(from, |fields| each(fields, |it| field(by, it))),
            to: each(to, |fields| each(fields, |it| field(by, it))),
            when: each(when, |it| condition(by, it)),
        }),
    }
}

fn target(by: &mut impl Rename, target: &PolicyTarget) -> PolicyTarget {
    let PolicyTarget { group, kind, namespace, name: of } = target;
    PolicyTarget {
        group: one_of(by, &GROUPS, group),
        kind: one_of(by, &KINDS, kind),
        namespace: namespace.as_ref().map(|it| name(by, it)),
        name: name(by, of),
    }
}

fn field(by: &mut impl Rename, field: &Field) -> Field {
    let Field { name: of, values } = field;
    Field { name: one_of(by, &FIELDS, of), values: each(values, |it| operand(by, it)) }
}

fn condition(by: &mut impl Rename, condition: &Condition) -> Condition {
    let Condition { key, values, not_values } = condition;
    let key = match key.split_once('[') {
        None => one_of(by, &ATTRIBUTES, key),
        Some((attribute, inner)) => {
            let (inner, end) = inner.strip_suffix(']').map_or((inner, ""), |inner| (inner, "]"));
            format!("{}[{}{end}", one_of(by, &ATTRIBUTES, attribute), name(by, inner)).into()
        }
    };
    Condition { key, values: each(values, |it| operand(by, it)), not_values: each(not_values, |it| operand(by, it)) }
}

/// Ports, addresses, hosts, principals and paths, whatever the field is called: what looks like a number stays one, what
/// is a range stays one.
fn operand(by: &mut impl Rename, text: &str) -> Name {
    if is_number(text, 5) || METHODS.contains(&text) {
        return text.into();
    }
    if let Some(of) = AddressRange::parse(text) {
        return match text.contains('/') {
            false => host(by, text),
            true => {
                let AddressRange { ip, prefix } = range(by, of);
                format!("{ip}/{prefix}").into()
            }
        };
    }
    let mut renamed = String::with_capacity(text.len());
    for (at, part) in text.split('/').enumerate() {
        if at > 0 {
            renamed.push('/');
        }
        // A star matches what is before or behind it.
        for (at, between) in part.split('*').enumerate() {
            if at > 0 {
                renamed.push('*');
            }
            renamed.push_str(&host(by, between));
        }
    }
    renamed.into()
}
