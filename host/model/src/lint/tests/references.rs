//! References, required waypoints, and labels that refer to nothing.

use super::*;

pub(super) fn all() {
    a_missing_waypoint_is_found();
    a_waypoint_without_address_is_found();
    a_waypoint_that_does_not_admit_is_found();
    a_waypoint_for_something_else_is_found();
    a_foreign_waypoint_of_a_private_entry_is_found();
    slips_of_the_pen_are_found();
    what_has_no_namespace_or_revision_is_found();
    required_waypoints_are_looked_at();
}

#[test]
fn a_missing_waypoint_is_found() {
    let right = with(shop(), [service("cart", &[(USE, "w")])]);
    let found =
        check("waypoint-missing", "Service shop/cart", with(shop(), [service("cart", &[(USE, "gone")])]), right);
    assert_eq!(found.field, "metadata.labels[\"istio.io/use-waypoint\"]");
    assert_eq!(found.text, "waypoint shop/gone, named by Service shop/cart, does not exist: traffic to it goes direct");
    // One of that name elsewhere is most likely meant.
    let mut elsewhere = waypoint("gone");
    elsewhere.meta.namespace = "infra".into();
    let objects = with(shop(), [service("cart", &[(USE, "gone")]), Object::Gateway(elsewhere)]);
    let found = check("waypoint-missing", "Service shop/cart", objects, shop());
    assert!(found.fix.starts_with("set istio.io/use-waypoint-namespace: infra on Service shop/cart"), "{}", found.fix);
    // An empty namespace is a name too.
    let objects = with(shop(), [service("cart", &[(USE, "w"), (USE_NAMESPACE, "")])]);
    let found = check("waypoint-missing", "Service shop/cart", objects, shop());
    assert!(found.fix.starts_with("remove the empty istio.io/use-waypoint-namespace"), "{}", found.fix);
}

#[test]
fn a_missing_waypoint_that_is_only_hidden_is_said_to_be() {
    let visible = crate::selector::Selector { labels: pairs(&[("visible", "yes")]), ..Default::default() };
    let mesh = Mesh { discovery_selectors: vec![visible], ..Mesh::default() };
    let facts = Facts { mesh, ..Facts::default() };
    let mut hidden = waypoint("w");
    hidden.meta.namespace = "infra".into();
    let objects = |labels| {
        vec![
            namespace("shop", &[("visible", "yes")]),
            namespace("infra", labels),
            Object::Gateway(Gateway { listeners: vec![tunnel("All")], ..hidden.clone() }),
            service("cart", &[(USE, "w"), (USE_NAMESPACE, "infra")]),
        ]
    };
    let right = objects(&[("visible", "yes")]);
    let found = check_under(&facts, "waypoint-missing", "Service shop/cart", objects(&[]), right);
    assert!(found.text.contains("is hidden by discoverySelectors"), "{}", found.text);
}

#[test]
fn a_waypoint_without_address_is_found() {
    let starting = Gateway { addresses: Vec::new(), ..waypoint("starting") };
    let wrong = with(shop(), [service("cart", &[(USE, "starting")]), Object::Gateway(starting)]);
    let right = with(shop(), [service("cart", &[(USE, "starting")]), Object::Gateway(waypoint("starting"))]);
    let found = check("waypoint-not-ready", "Service shop/cart", wrong, right);
    assert_eq!(found.related, [ObjectKey::new(Kind::Gateway, "shop", "starting")]);
}

#[test]
fn a_waypoint_that_does_not_admit_is_found() {
    let selector = crate::selector::Selector { labels: pairs(&[("team", "a")]), ..Default::default() };
    let listener = |from: &str| Listener { selector: Some(selector.clone()), ..tunnel(from) };
    let gateway = |from: &str| {
        let mut gateway = Gateway { listeners: vec![listener(from)], ..waypoint("w") };
        gateway.meta.namespace = "infra".into();
        vec![
            namespace("shop", &[]),
            namespace("infra", &[]),
            Object::Gateway(gateway),
            service("cart", &[(USE, "w"), (USE_NAMESPACE, "infra")]),
        ]
    };
    let found = check("attachment-denied", "Service shop/cart", gateway("Selector"), gateway("All"));
    assert!(found.fix.starts_with("label Namespace shop with team: a, as its selector wants"), "{}", found.fix);
    let found = check("attachment-denied", "Service shop/cart", gateway("Same"), gateway("All"));
    assert_eq!(
        found.text,
        "waypoint infra/w does not admit namespace shop, where Service shop/cart names it: traffic to it goes direct"
    );
}

#[test]
fn a_waypoint_for_something_else_is_found() {
    let of = |value: &str| {
        let mut gateway = waypoint("v");
        gateway.meta.labels = pairs(&[("istio.io/waypoint-for", value)]);
        with(quiet(), [Object::Gateway(gateway)])
    };
    let cart = || service("cart", &[(USE, "v")]);
    check("traffic-type-service", "Service shop/cart", with(of("workload"), [cart()]), with(of("service"), [cart()]));
    check("traffic-type-service", "Service shop/cart", with(of("none"), [cart()]), with(of("all"), [cart()]));
    let one = || pod("cart-1", &[(USE, "v")]);
    let found =
        check("traffic-type-workload", "Pod shop/cart-1", with(of("service"), [one()]), with(of("workload"), [one()]));
    assert!(found.fix.ends_with("a label for the service belongs on the Service"), "{}", found.fix);
    // A workload that only inherits it asked for nothing.
    let mut inherited = with(of("service"), [pod("cart-1", &[])]);
    inherited[0] = namespace("shop", &[(USE, "v")]);
    assert_eq!(findings(inherited), []);
}

#[test]
fn a_foreign_waypoint_of_a_private_entry_is_found() {
    let mut foreign = Gateway { listeners: vec![tunnel("All")], ..waypoint("w") };
    foreign.meta.namespace = "infra".into();
    let objects = || {
        vec![
            namespace("shop", &[]),
            namespace("infra", &[]),
            Object::Gateway(foreign.clone()),
            Object::ServiceEntry(entry("api", "api.example", &[(USE, "w"), (USE_NAMESPACE, "infra")])),
        ]
    };
    let found = check_under(&private(), "foreign-waypoint", "ServiceEntry shop/api", objects(), shop());
    assert_eq!(found.code.rule, "R30");
    assert_eq!(findings(objects()), [], "everybody sees it");
}

#[test]
fn slips_of_the_pen_are_found() {
    for value in ["None", "NONE", "", "false", "off"] {
        let wrong = with(shop(), [service("cart", &[(USE, value)])]);
        let right = with(quiet(), [service("cart", &[(USE, "none")])]);
        let found = check("opt-out-misspelled", "Service shop/cart", wrong.clone(), right);
        assert!(found.fix.starts_with("set istio.io/use-waypoint: none on Service shop/cart"), "{}", found.fix);
        assert_eq!(findings(wrong).len(), 1, "{value:?} is one problem");
    }
    // A waypoint may really be called so.
    let mut objects = with(shop(), [service("cart", &[(USE, "off")]), Object::Gateway(waypoint("off"))]);
    assert_eq!(findings(objects.clone()), []);

    objects = with(quiet(), [service("cart", &[(USE_NAMESPACE, "infra")])]);
    let right = with(quiet(), [service("cart", &[(USE, "w"), (USE_NAMESPACE, "shop")])]);
    check("namespace-label-alone", "Service shop/cart", objects, right.clone());
    let mut of_namespace = shop();
    of_namespace[0] = namespace("shop", &[(USE_NAMESPACE, "infra")]);
    check("namespace-label-alone", "Namespace shop", of_namespace, right);

    // Opting out of what the namespace names is fine, but routes do not see it.
    let wrong = with(shop(), [service("cart", &[(USE, "none")])]);
    let found =
        check("routes-read-otherwise", "Service shop/cart", wrong, with(quiet(), [service("cart", &[(USE, "none")])]));
    assert_eq!(found.severity, Severity::Info);
}

#[test]
fn what_has_no_namespace_or_revision_is_found() {
    let cart = || service("cart", &[]);
    let found = check("namespace-unknown", "Namespace shop", vec![cart()], vec![cart(), namespace("shop", &[])]);
    assert_eq!(found.related, [ObjectKey::new(Kind::Service, "shop", "cart")]);

    let of = |labels: &[(&str, &str)]| with(quiet(), [Object::ServiceEntry(entry("api", "api.example", labels))]);
    let wrong = of(&[(USE, "w"), ("istio.io/rev", "next")]);
    check("other-revision", "ServiceEntry shop/api", wrong, of(&[(USE, "w"), ("istio.io/rev", "default")]));
    check(
        "other-revision",
        "ServiceEntry shop/api",
        of(&[(USE, "w"), ("istio.io/rev", "next")]),
        of(&[("istio.io/rev", "next")]),
    );
    let mut vm = workload_entry("vm", &[(USE, "w")]);
    vm.meta.labels = pairs(&[("istio.io/rev", "next")]);
    check("other-revision", "WorkloadEntry shop/vm", with(quiet(), [Object::WorkloadEntry(vm)]), quiet());
}

#[test]
fn labels_of_a_workload_entry_are_found_where_they_are() {
    let vm = workload_entry("vm", &[(USE, "gone")]);
    let found = check("waypoint-missing", "WorkloadEntry shop/vm", with(quiet(), [Object::WorkloadEntry(vm)]), quiet());
    assert_eq!(found.field, "spec.labels[\"istio.io/use-waypoint\"]");
}

#[test]
fn required_waypoints_are_looked_at() {
    const REQUIRED: &str = "wayswitch.io/waypoint-required";
    let cart = |labels: &[(&str, &str)]| with(quiet(), [service("cart", labels)]);
    let right = cart(&[(USE, "w"), (REQUIRED, "service")]);
    let found = check("required-blocks", "Service shop/cart", cart(&[(REQUIRED, "service")]), right.clone());
    assert!(found.text.ends_with("traffic to Service shop/cart is blocked"), "{}", found.text);
    let mut of_namespace =
        with(quiet(), [service("cart", &[]), service("pay", &[]), service("free", &[(REQUIRED, "none")])]);
    of_namespace[0] = namespace("shop", &[(REQUIRED, "service")]);
    let found = check("required-blocks", "Namespace shop", of_namespace, right.clone());
    assert!(found.text.contains("3 services"), "{}", found.text);

    check("required-value", "Service shop/cart", cart(&[(USE, "w"), (REQUIRED, "services")]), right.clone());
    let mut of_namespace = right.clone();
    of_namespace[0] = namespace("shop", &[(REQUIRED, "yes")]);
    check("required-value", "Namespace shop", of_namespace, right);

    // What is refused and required is one problem, and blocked.
    let found = findings(cart(&[(USE, "gone"), (REQUIRED, "all")]));
    assert_eq!(found.iter().map(|it| it.code.id).collect::<Vec<_>>(), ["waypoint-missing"]);
    assert!(found[0].text.ends_with("is blocked"), "{}", found[0].text);
}
