//! Second waypoints.

use super::*;

const CANARY: &str = "istio.io/use-waypoint-canary";
const CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
const WEIGHT: &str = "istio.io/use-waypoint-canary-weight";

pub(super) fn all() {
    refused_canaries_are_found();
    a_wrong_weight_is_found_where_it_is_written();
    what_belongs_to_no_canary_is_found();
    a_canary_that_is_not_looked_at_is_found();
    a_canary_that_is_not_what_it_seems_is_found();
    a_canary_behind_a_ztunnel_needs_a_tunnel();
}

/// A service with waypoint `w`, these labels on top, and this weight.
fn cart(labels: &[(&str, &str)], weight: Option<&str>) -> Object {
    let mut all = vec![(USE, "w")];
    all.extend(labels);
    let mut cart = service("cart", &all);
    cart.meta_mut().annotations = weight.map(|weight| (WEIGHT, weight)).into_iter().collect();
    cart
}

/// The canary `v`.
fn canary() -> Gateway {
    Gateway { addresses: hostname("w-svc.shop.svc.cluster.local"), ..waypoint("v") }
}

fn mesh(canary: Gateway, cart: Object) -> Vec<Object> {
    with(quiet(), [Object::Gateway(canary), cart])
}

fn in_order() -> Vec<Object> {
    mesh(canary(), cart(&[(CANARY, "v")], Some("10")))
}

#[test]
fn a_canary_in_order_is_only_told_of() {
    let found = findings(in_order());
    assert_eq!(found.iter().map(|it| it.code.id).collect::<Vec<_>>(), ["canary-implicit-allow"]);
}

#[test]
fn refused_canaries_are_found() {
    let labels = [(CANARY, "v")];
    let with_canary = |canary| mesh(canary, cart(&labels, Some("10")));
    let found = check("canary-not-ready", "Service shop/cart", with(quiet(), [cart(&labels, Some("10"))]), in_order());
    assert!(found.text.contains("canary shop/v, named by Service shop/cart, does not exist"), "{}", found.text);
    check(
        "canary-not-ready",
        "Service shop/cart",
        with_canary(Gateway { addresses: Vec::new(), ..canary() }),
        in_order(),
    );
    let mut of_workloads = canary();
    of_workloads.meta.labels = pairs(&[("istio.io/waypoint-for", "workload")]);
    check("canary-traffic-type", "Service shop/cart", with_canary(of_workloads), in_order());
    check(
        "canary-same-as-primary",
        "Service shop/cart",
        mesh(canary(), cart(&[(CANARY, "w")], Some("10"))),
        in_order(),
    );
    let selecting = Listener { selector: None, ..tunnel("Selector") };
    check(
        "canary-denied",
        "Service shop/cart",
        with_canary(Gateway { listeners: vec![selecting], ..canary() }),
        in_order(),
    );
}

#[test]
fn a_wrong_weight_is_found_where_it_is_written() {
    let wrong = mesh(canary(), cart(&[(CANARY, "v")], Some("110")));
    let found = check("canary-weight", "Service shop/cart", wrong, in_order());
    assert_eq!(found.field, "metadata.annotations[\"istio.io/use-waypoint-canary-weight\"]");
    let of_namespace = |weight: &str| {
        let mut objects = with(shop(), [Object::Gateway(canary()), service("cart", &[(CANARY, "v")])]);
        objects[0] = namespace("shop", &[(USE, "w")]);
        objects[0].meta_mut().annotations = pairs(&[(WEIGHT, weight)]);
        objects
    };
    check("canary-weight", "Namespace shop", of_namespace("5%"), of_namespace("5"));
    check("canary-without-weight", "Service shop/cart", mesh(canary(), cart(&[(CANARY, "v")], None)), in_order());
}

#[test]
fn what_belongs_to_no_canary_is_found() {
    let of = |labels: &[(&str, &str)], weight| mesh(canary(), cart(labels, weight));
    check("canary-alone", "Service shop/cart", of(&[], Some("10")), in_order());
    check("canary-alone", "Service shop/cart", of(&[(CANARY_NAMESPACE, "shop")], None), in_order());
    let of_namespace = |more: Option<Object>| {
        let mut objects = with(shop(), [Object::Gateway(canary())]);
        objects[0].meta_mut().annotations = pairs(&[(WEIGHT, "10")]);
        objects.extend(more);
        objects
    };
    let right = of_namespace(Some(service("cart", &[(CANARY, "v")])));
    check("canary-alone", "Namespace shop", of_namespace(None), right);
}

#[test]
fn a_canary_that_is_not_looked_at_is_found() {
    let of = |labels: &[(&str, &str)]| with(quiet(), [Object::Gateway(canary()), service("cart", labels)]);
    check("canary-without-primary", "Service shop/cart", of(&[(CANARY, "v")]), in_order());
    let of_namespace = |labels: &[(&str, &str)]| {
        let mut objects = of(&[(USE, "w")]);
        objects[0] = namespace("shop", labels);
        objects
    };
    let right = of_namespace(&[(USE, "w"), (CANARY, "v")]);
    check("canary-without-primary", "Namespace shop", of_namespace(&[(CANARY, "v")]), right);

    let workload = |labels: &[(&str, &str)]| with(in_order(), [pod("cart-1", labels)]);
    check("canary-on-workload", "Pod shop/cart-1", workload(&[(CANARY, "v")]), workload(&[]));
}

#[test]
fn a_canary_that_is_not_what_it_seems_is_found() {
    let mut foreign = Gateway { listeners: vec![tunnel("All")], ..waypoint("v") };
    foreign.meta.namespace = "infra".into();
    let labels = [(USE, "w"), (CANARY, "v"), (CANARY_NAMESPACE, "infra")];
    let mut api = entry("api", "api.example", &labels);
    api.meta.annotations = pairs(&[(WEIGHT, "10")]);
    let objects = with(quiet(), [namespace("infra", &[]), Object::Gateway(foreign), Object::ServiceEntry(api)]);
    check_under(&private(), "canary-foreign", "ServiceEntry shop/api", objects.clone(), in_order());
    assert!(!findings(objects).iter().any(|it| it.code.id == "canary-foreign"), "everybody sees it");

    let mut none = in_order();
    none.pop();
    check("canary-implicit-allow", "Gateway shop/v", in_order(), none);

    let other_class = mesh(Gateway { class: "other".into(), ..canary() }, cart(&[(CANARY, "v")], Some("10")));
    check("routes-read-otherwise", "Gateway shop/v", other_class, in_order());
}

#[test]
fn a_canary_behind_a_ztunnel_needs_a_tunnel() {
    let instance = |mode: &str| pod("v-1", &[(labels::GATEWAY_NAME, "v"), (labels::DATAPLANE_MODE, mode)]);
    let mut bound = Gateway { class: "istio-waypoint".into(), ..canary() };
    bound.meta.annotations = pairs(&[(labels::INBOUND_BINDING, "PROXY/15008")]);
    let cart = || cart(&[(CANARY, "v")], Some("10"));
    let wrong = with(mesh(canary(), cart()), [instance("ambient")]);
    let found =
        check("canary-tunnel", "Gateway shop/v", wrong.clone(), with(mesh(bound, cart()), [instance("ambient")]));
    assert_eq!(found.code.rule, "Q13");
    check("canary-tunnel", "Gateway shop/v", wrong, with(mesh(canary(), cart()), [instance("none")]));
}
