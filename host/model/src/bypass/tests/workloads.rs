//! Workloads with a waypoint of their own.

use super::*;

fn cart_1() -> RowKey {
    RowKey::new(RowKind::Pod, "shop", "cart-1")
}

/// The holes of `cart-1`, which has the waypoint, with some objects more.
fn check(more: Vec<Object>, decided: &[(RowKey, Decision)], expected: &[&str]) {
    let decided = [&[(cart_1(), through_w())], decided].concat();
    let shown = shown(&destination([shop(), more].concat(), &decided, "Pod shop/cart-1"));
    let special: Vec<&str> = shown.iter().map(String::as_str).filter(|hole| *hole != UNENFORCED).collect();
    assert_eq!(special, expected);
}

#[test]
fn a_service_without_a_waypoint_leads_past_that_of_its_pods() {
    check(vec![], &[], &["service-addressed R87 High 2 Service shop/cart"]);
    check(vec![], &[(cart(), through_w())], &[]);
    check(vec![], &[(cart(), Decision::without_waypoint(Choice::Blocked, None))], &[]);
}

#[test]
fn gateways_never_follow_the_waypoint_of_a_workload() {
    let service = |ingress| (cart(), Decision { ingress, ..through_w() });
    check(vec![ingress_pod()], &[service(false)], &["gateway R72 High 1"]);
    check(vec![ingress_pod()], &[service(true)], &[]);
}

#[test]
fn a_pod_on_the_host_network_is_not_looked_up_by_address() {
    let on_host = Pod { host_network: true, ..pod("shop", "cart-1", &[("app", "cart")]) };
    let store = store([shop(), vec![Object::Pod(on_host)]].concat());
    let table = table(&store, &[(cart_1(), through_w()), (cart(), through_w())]);
    let found = destinations(&store, &table, &Asked::Namespace("shop".into()));
    let expected = [
        "no-address R97 High 1 Pod shop/cart-1",
        "host-network R93 High 1",
        "unenforced R93 Low 0 1 of 1: neither ztunnel nor a sidecar takes its connections, so no policy is enforced",
    ];
    assert_eq!(shown(&found[1]), expected);
}

#[test]
fn workloads_that_are_decided_alike_are_told_of_as_one() {
    let more = ["cart-2", "cart-3"].map(|name| Object::Pod(pod("shop", name, &[("app", "cart"), ("n", name)])));
    let store = store([shop(), more.to_vec()].concat());
    let key = |name| RowKey::new(RowKind::Pod, "shop", name);
    let decided = [
        (cart_1(), through_w()),
        (key("cart-2"), through_w()),
        (key("cart-3"), refused("WaypointIsNotReady")),
        (cart(), through_w()),
    ];
    let found = destinations(&store, &table(&store, &decided), &Asked::All);
    let told: Vec<String> = found.iter().map(|it| it.what.to_string()).collect();
    assert_eq!(told, ["Service shop/cart", "Pod shop/cart-1 and 1 more", "Pod shop/cart-3"]);
    assert_eq!(found[1].policy, None, "what these two have in common, the third has as well");
    assert_eq!(shown(&found[2]), ["refused R92 High 4 WaypointIsNotReady"]);
    let fixes: Vec<String> = found[2].holes[0].fixes.iter().map(ToString::to_string).collect();
    assert_eq!(fixes[1], "Namespace shop: set wayswitch.io/waypoint-required=workload");
}

#[test]
fn pods_that_share_a_label_with_nobody_else_are_offered_a_policy() {
    let found = destination(shop(), &[(cart_1(), through_w()), (cart(), through_w())], "Pod shop/cart-1");
    let offered = found.policy.unwrap();
    assert_eq!((offered.name.as_str(), offered.selector), ("w-only-through-waypoint", labels(&[("app", "cart")])));
}
