//! Which policies keep all others out, and the policy that would.

use super::*;

const OF_WAYPOINT: &str = "cluster.local/ns/shop/sa/w";

fn field(name: &str, values: &[&str]) -> Field {
    Field { name: name.into(), values: values.iter().map(|value| Name::from(*value)).collect() }
}

/// A rule with one source, with one field.
fn from(name: &str, values: &[&str]) -> Rule {
    Rule { from: vec![vec![field(name, values)]], ..Rule::default() }
}

fn policy(namespace: &str, name: &str, rules: Vec<Rule>) -> AuthorizationPolicy {
    AuthorizationPolicy { rules, ..AuthorizationPolicy::named(namespace, name) }
}

fn selecting(pairs: &[(&str, &str)], policy: AuthorizationPolicy) -> AuthorizationPolicy {
    AuthorizationPolicy { selector: Some(labels(pairs)), ..policy }
}

fn deny(policy: AuthorizationPolicy) -> AuthorizationPolicy {
    AuthorizationPolicy { action: "DENY".into(), ..policy }
}

fn cart_with(policies: Vec<AuthorizationPolicy>) -> Destination {
    let policies = policies.into_iter().map(Object::AuthorizationPolicy).collect();
    destination([shop(), policies].concat(), &[(cart(), through_w())], "Service shop/cart")
}

/// Closed, or why it is not.
fn check(policies: Vec<AuthorizationPolicy>, expected: Result<&str, &str>) {
    let told = format!("{policies:?}");
    let destination = cart_with(policies);
    let guard = &destination.guard;
    let by = guard.by.iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect::<Vec<_>>().join(" ");
    let why = guard.open.keys().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let actual = if guard.is_closed() { Ok(by.as_str()) } else { Err(why.as_str()) };
    assert_eq!(actual, expected, "{told}");
    let open = destination.open().count();
    assert_eq!(open == 0, expected.is_ok(), "{:?}", shown(&destination));
}

#[test]
fn an_allow_policy_for_the_waypoint_alone_closes_every_hole_that_ends_at_the_workload() {
    let only = || policy("shop", "only-w", vec![from("principals", &[OF_WAYPOINT])]);
    check(vec![only()], Ok("shop/only-w"));
    let destination = cart_with(vec![only()]);
    assert_eq!(shown(&destination), ["workload-addressed R59 closed 2 1 of 1 workloads"]);
    assert_eq!(destination.policy, None, "there is nothing left to do");
}

#[test]
fn every_way_to_write_that_policy_is_known() {
    let rule = |rule| vec![policy("shop", "p", vec![rule])];
    let closed = Ok("shop/p");
    check(rule(from("serviceAccounts", &["w"])), closed);
    check(rule(from("serviceAccounts", &["shop/w"])), closed);
    let narrowed = vec![field("principals", &[OF_WAYPOINT]), field("ipBlocks", &["10.0.0.0/8"])];
    check(rule(Rule { from: vec![narrowed], ..Rule::default() }), closed);
    let when = Condition { key: "source.principal".into(), values: vec![OF_WAYPOINT.into()], not_values: Vec::new() };
    check(rule(Rule { when: vec![when], ..Rule::default() }), closed);
    // Nobody at all is allowed; a rule that ztunnel drops allows nobody either.
    check(vec![policy("shop", "p", vec![])], closed);
    check(rule(Rule { to: vec![vec![field("methods", &["GET"])]], ..Rule::default() }), closed);
    check(vec![policy("istio-system", "p", vec![from("principals", &[OF_WAYPOINT])])], Ok("istio-system/p"));
    check(vec![selecting(&[("app", "cart")], policy("shop", "p", vec![from("principals", &[OF_WAYPOINT])]))], closed);
    check(vec![deny(policy("shop", "p", vec![from("notPrincipals", &[OF_WAYPOINT])]))], closed);
}

#[test]
fn a_policy_that_lets_in_anybody_else_closes_nothing() {
    let also = Err("AuthorizationPolicy shop/p lets in others than waypoints");
    let rules = |rules| vec![policy("shop", "p", rules)];
    check(rules(vec![from("principals", &[OF_WAYPOINT, "cluster.local/ns/web/sa/default"])]), also);
    check(rules(vec![from("principals", &["cluster.local/ns/shop/sa/*"])]), also);
    check(rules(vec![from("principals", &["*"])]), also);
    check(rules(vec![from("principals", &["other.domain/ns/shop/sa/w"])]), also);
    check(rules(vec![from("principals", &[])]), also);
    check(rules(vec![from("serviceAccounts", &["web/w"])]), also);
    check(rules(vec![from("namespaces", &["shop"])]), also);
    check(rules(vec![from("notPrincipals", &[OF_WAYPOINT])]), also);
    check(rules(vec![Rule::default()]), also);
    check(
        rules(vec![
            from("principals", &[OF_WAYPOINT]),
            Rule { to: vec![vec![field("ports", &["80"])]], ..Rule::default() },
        ]),
        also,
    );
    let either = vec![vec![field("principals", &[OF_WAYPOINT])], vec![field("ipBlocks", &["10.0.0.0/8"])]];
    check(rules(vec![Rule { from: either, ..Rule::default() }]), also);
}

#[test]
fn a_policy_that_is_not_enforced_for_the_workload_does_not_count() {
    let only = |namespace: &str| policy(namespace, "p", vec![from("principals", &[OF_WAYPOINT])]);
    let none = Err("no AuthorizationPolicy lets in waypoints only");
    check(vec![only("web")], none);
    check(vec![selecting(&[("app", "other")], only("shop"))], none);
    check(vec![selecting(&[], only("shop"))], none);
    let target = PolicyTarget { group: "".into(), kind: "Service".into(), namespace: None, name: "cart".into() };
    check(vec![AuthorizationPolicy { targets: vec![target], ..only("shop") }], none);
    check(vec![AuthorizationPolicy { action: "AUDIT".into(), ..only("shop") }], none);
    let mut tried = only("shop");
    tried.meta.annotations = labels(&[("istio.io/dry-run", "true")]);
    check(vec![tried], none);
    check(vec![deny(policy("shop", "p", vec![from("notPrincipals", &[OF_WAYPOINT, "x"])]))], none);
    check(vec![deny(policy("shop", "p", vec![from("principals", &["x"])]))], none);
}

#[test]
fn allow_policies_add_up_and_a_deny_policy_outweighs_them() {
    let only = || policy("shop", "only-w", vec![from("principals", &[OF_WAYPOINT])]);
    let open = || policy("shop", "open", vec![Rule::default()]);
    check(vec![only(), open()], Err("AuthorizationPolicy shop/open lets in others than waypoints"));
    let others = deny(policy("shop", "others", vec![from("notPrincipals", &[OF_WAYPOINT])]));
    check(vec![only(), open(), others], Ok("shop/others"));
}

#[test]
fn nobody_enforces_a_policy_for_a_pod_that_is_not_captured() {
    let only = policy("shop", "p", vec![from("principals", &[OF_WAYPOINT])]);
    let opted_out = pod("shop", "cart-2", &[("app", "cart"), (DATAPLANE_MODE, "none")]);
    let more = vec![Object::AuthorizationPolicy(only), Object::Pod(opted_out)];
    let destination = destination([shop(), more].concat(), &[(cart(), through_w())], "Service shop/cart");
    assert_eq!((destination.guard.closed, destination.guard.workloads), (1, 2));
    assert!(destination.open().any(|hole| hole.code == Code::Unenforced));
    assert_eq!(destination.policy, None, "another policy would not help");
    let fixes: Vec<String> = destination.holes.iter().flat_map(|hole| &hole.fixes).map(ToString::to_string).collect();
    assert!(fixes.last().unwrap().starts_with("keep them out by a NetworkPolicy"), "{fixes:?}");
}

#[test]
fn the_policy_that_is_offered_closes_what_it_is_offered_for() {
    let before = cart_with(vec![]);
    let offered = before.policy.unwrap();
    assert_eq!(offered.name, "cart-only-through-waypoint");
    assert_eq!(offered.principals.iter().collect::<Vec<_>>(), [OF_WAYPOINT]);
    assert!(!offered.assumed && offered.in_the_way.is_empty() && offered.cuts_off.is_empty());
    let principals: Vec<&str> = offered.principals.iter().map(String::as_str).collect();
    let applied = policy(&offered.namespace, &offered.name, vec![from("principals", &principals)]);
    let applied = AuthorizationPolicy { selector: Some(offered.selector), ..applied };
    check(vec![applied], Ok("shop/cart-only-through-waypoint"));
}

#[test]
fn the_policy_that_is_offered_names_whom_it_would_cut_off_and_what_is_in_its_way() {
    let open = policy("shop", "open", vec![Rule::default()]);
    let mut other = Service { addresses: [[10, 1, 0, 2].into()].into(), ..service("cart") };
    other.meta = Meta::named("shop", "cart-direct");
    let canary =
        Service { addresses: [[10, 1, 0, 3].into()].into(), meta: Meta::named("shop", "cart-c"), ..service("cart") };
    let more = vec![Object::AuthorizationPolicy(open), Object::Service(other), Object::Service(canary)];
    let through_c = (RowKey::new(RowKind::Service, "shop", "cart-c"), through(&["other/c@c.other 100"]));
    let decided = [(cart(), through_w()), through_c];
    let offered = destination([shop(), more].concat(), &decided, "Service shop/cart").policy.unwrap();
    assert_eq!(offered.cuts_off, [RowKey::new(RowKind::Service, "shop", "cart-direct")]);
    let in_the_way: Vec<String> = offered.in_the_way.iter().map(ToString::to_string).collect();
    assert_eq!(in_the_way, ["AuthorizationPolicy shop/open"]);
    let principals: Vec<&str> = offered.principals.iter().map(String::as_str).collect();
    assert_eq!(principals, ["cluster.local/ns/other/sa/c", OF_WAYPOINT], "of all waypoints before the same Pods");
    assert!(offered.assumed, "no instance of other/c is known");
}
