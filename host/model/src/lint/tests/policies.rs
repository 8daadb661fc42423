//! Policies: what ztunnel makes of them, what they are attached to, whom they refuse.

use super::*;
use crate::policy::{AuthorizationPolicy, Condition, Field, PolicyTarget, Rule};

pub(super) fn all() {
    bad_values_are_found();
    selectors_and_actions_are_looked_at();
    http_attributes_without_a_waypoint_are_found();
    targets_are_looked_at();
    a_policy_that_refuses_the_waypoint_is_found();
}

fn policy() -> AuthorizationPolicy {
    AuthorizationPolicy { rules: vec![Rule::default()], ..AuthorizationPolicy::named("shop", "p") }
}

fn field(name: &str, values: &[&str]) -> Field {
    Field { name: name.into(), values: values.iter().map(|it| Name::from(*it)).collect() }
}

fn from(fields: Vec<Field>) -> Rule {
    Rule { from: vec![fields], ..Rule::default() }
}

fn to(fields: Vec<Field>) -> Rule {
    Rule { to: vec![fields], ..Rule::default() }
}

fn when(key: &str, values: &[&str]) -> Rule {
    let values = values.iter().map(|it| Name::from(*it)).collect();
    Rule { when: vec![Condition { key: key.into(), values, not_values: Vec::new() }], ..Rule::default() }
}

/// The shop with its waypoint, a bound service with a workload, and a policy.
fn mesh(policy: AuthorizationPolicy) -> Vec<Object> {
    let waypoint_pod = pod("w-1", &[(labels::GATEWAY_NAME, "w")]);
    let cart = [service("cart", &[]), pod("cart-1", &[("app", "cart")]), waypoint_pod, class(&[])];
    with(with(shop(), cart), [Object::AuthorizationPolicy(policy)])
}

fn ruled(action: &str, rules: Vec<Rule>) -> Vec<Object> {
    mesh(AuthorizationPolicy { action: action.into(), rules, ..policy() })
}

const P: &str = "AuthorizationPolicy shop/p";

#[test]
fn bad_values_are_found() {
    let right =
        || ruled("ALLOW", vec![to(vec![field("ports", &["80"])]), from(vec![field("ipBlocks", &["10.0.0.0/8"])])]);
    for rule in [
        to(vec![field("ports", &["http"])]),
        to(vec![field("notPorts", &["80", "90"]), field("ports", &["65536"])]),
        from(vec![field("ipBlocks", &["10.0.0.0/40", "a"])]),
        when("destination.port", &["-1"]),
        when("source.ip", &["localhost"]),
    ] {
        let found = check("policy-rule-widened", P, ruled("ALLOW", vec![rule]), right());
        assert!(found.field.starts_with("spec.rules[0]."), "{}", found.field);
    }
    let some = ruled("ALLOW", vec![to(vec![field("ports", &["80", "http"])])]);
    let found = check("policy-value-dropped", P, some, right());
    assert_eq!(found.field, "spec.rules[0].to[0].operation.ports");
}

#[test]
fn selectors_and_actions_are_looked_at() {
    let selecting = |selector| mesh(AuthorizationPolicy { selector, ..policy() });
    check("policy-selector-empty", P, selecting(Some(Labels::default())), selecting(Some(pairs(&[("app", "cart")]))));
    assert_eq!(findings(selecting(None)), []);
    for action in ["AUDIT", "CUSTOM"] {
        check("policy-action", P, ruled(action, vec![Rule::default()]), ruled("DENY", vec![Rule::default()]));
    }
}

#[test]
fn http_attributes_without_a_waypoint_are_found() {
    let (http, port) = (field("methods", &["GET"]), field("ports", &["80"]));
    let right = ruled("ALLOW", vec![to(vec![port.clone()])]);
    let wrong = ruled("ALLOW", vec![to(vec![http.clone(), port.clone()]), Rule::default()]);
    let found = check("policy-allow-dropped", P, wrong, right.clone());
    assert!(found.text.contains("asks for \"methods\" in rule 0"), "{}", found.text);
    check("policy-allow-dropped", P, ruled("ALLOW", vec![when("request.headers[x]", &["y"])]), right.clone());
    check(
        "policy-allow-dropped",
        P,
        ruled("ALLOW", vec![from(vec![field("requestPrincipals", &["*"])])]),
        right.clone(),
    );

    check("policy-deny-without-effect", P, ruled("DENY", vec![to(vec![http.clone()])]), right.clone());
    let other_clause = Rule { from: vec![vec![field("namespaces", &["a"])]], ..to(vec![http.clone()]) };
    check("policy-deny-without-effect", P, ruled("DENY", vec![other_clause]), right.clone());
    check("policy-deny-widened", P, ruled("DENY", vec![to(vec![http.clone(), port])]), right);

    // With a target it is a waypoint's business, and where every workload has a proxy that one's.
    let for_service = PolicyTarget { group: "".into(), kind: "Service".into(), namespace: None, name: "cart".into() };
    let attached = AuthorizationPolicy { targets: vec![for_service], rules: vec![to(vec![http.clone()])], ..policy() };
    assert_eq!(findings(mesh(attached)), []);
    let selector = Some(pairs(&[("app", "cart")]));
    let mut objects = mesh(AuthorizationPolicy { selector, rules: vec![to(vec![http])], ..policy() });
    for object in &mut objects {
        if let Object::Pod(pod) = object {
            pod.has_proxy = true;
        }
    }
    assert_eq!(findings(objects), []);
}

#[test]
fn targets_are_looked_at() {
    const GATEWAY: &str = "gateway.networking.k8s.io";
    let at = |namespace: &str, group: &str, kind: &str, name: &str, of: Option<&str>| {
        let (group, kind, name) = (group.into(), kind.into(), name.into());
        let target = PolicyTarget { group, kind, namespace: of.map(Name::from), name };
        let mut policy = AuthorizationPolicy { targets: vec![target], ..policy() };
        policy.meta.namespace = namespace.into();
        mesh(policy)
    };
    let right = at("shop", "", "Service", "cart", Some("shop"));
    assert_eq!(findings(right.clone()), []);
    let root = "AuthorizationPolicy istio-system/p";
    let rows = [
        ("policy-target-missing", P, at("shop", "", "Service", "gone", None)),
        ("policy-target-missing", P, at("shop", "networking.istio.io", "ServiceEntry", "gone", None)),
        ("policy-target-missing", P, at("shop", GATEWAY, "Gateway", "gone", None)),
        ("policy-target-unbound", P, at("shop", "", "Service", "w-svc", None)),
        ("policy-target-foreign", P, at("shop", "", "Service", "cart", Some("other"))),
        ("policy-target-kind", P, at("shop", "apps", "Deployment", "cart", None)),
        ("policy-target-kind", P, at("shop", "networking.istio.io", "Gateway", "w", None)),
        ("policy-class-namespace", P, at("shop", GATEWAY, "GatewayClass", "istio-waypoint", None)),
        ("policy-class-not-enforced", root, at("istio-system", GATEWAY, "GatewayClass", "other", None)),
    ];
    for (id, object, wrong) in rows {
        let found = check(id, object, wrong, right.clone());
        assert_eq!(found.field, "spec.targetRefs[0]");
    }
    for fine in
        [at("shop", GATEWAY, "Gateway", "w", None), at("istio-system", GATEWAY, "GatewayClass", "istio-waypoint", None)]
    {
        assert_eq!(findings(fine), []);
    }
    let mut starting = at("shop", GATEWAY, "Gateway", "v", None);
    starting.push(Object::Gateway(Gateway { addresses: Vec::new(), ..waypoint("v") }));
    let found = check("policy-target-missing", P, starting, right);
    assert!(found.text.contains("reports no address"), "{}", found.text);
}

#[test]
fn a_policy_that_refuses_the_waypoint_is_found() {
    const W: &str = "cluster.local/ns/shop/sa/default";
    let client = "cluster.local/ns/web/sa/web";
    let principals = |values: &[&str]| ruled("ALLOW", vec![from(vec![field("principals", values)])]);
    let found = check("policy-denies-waypoint", P, principals(&[client]), principals(&[client, W]));
    assert!(found.text.contains("the identity of waypoint shop/w"), "{}", found.text);
    assert!(found.fix.contains(W), "{}", found.fix);
    assert_eq!(found.related[0], ObjectKey::new(Kind::Gateway, "shop", "w"));

    let namespaces = |values: &[&str]| ruled("ALLOW", vec![from(vec![field("namespaces", values)])]);
    check("policy-denies-waypoint", P, namespaces(&["web"]), namespaces(&["sh*"]));
    let accounts = |values: &[&str]| ruled("ALLOW", vec![from(vec![field("serviceAccounts", values)])]);
    check("policy-denies-waypoint", P, accounts(&["web/default"]), accounts(&["default"]));
    let condition = |values: &[&str]| ruled("ALLOW", vec![when("source.principal", values)]);
    check("policy-denies-waypoint", P, condition(&[client]), condition(&["*/sa/default"]));

    // Another policy may allow it, or not care who it is; one that allows nobody at all is meant.
    let open =
        AuthorizationPolicy { rules: vec![Rule::default()], ..AuthorizationPolicy::named("istio-system", "open") };
    assert_eq!(findings(with(principals(&[client]), [Object::AuthorizationPolicy(open)])), []);
    assert_eq!(findings(ruled("ALLOW", Vec::new())), []);
    // Nothing comes through a waypoint where there is none.
    let mut direct = principals(&[client]);
    direct[0] = namespace("shop", &[]);
    assert_eq!(findings(direct), []);
}
