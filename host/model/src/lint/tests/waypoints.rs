//! Waypoints themselves: addresses, traffic type, listeners, bindings, their own Services, hosts behind them.

use super::*;
use crate::selector::{Requirement, Selector};

pub(super) fn all() {
    a_traffic_type_that_is_no_word_is_found_once();
    waypoints_that_cannot_be_reached_are_found();
    listeners_are_looked_at();
    inbound_bindings_are_looked_at();
    a_waypoint_that_is_bound_is_found();
    hosts_that_collide_are_found();
}

fn with_waypoint(gateway: Gateway) -> Vec<Object> {
    vec![namespace("shop", &[]), Object::Gateway(gateway), service("cart", &[(USE, "w")])]
}

#[test]
fn a_traffic_type_that_is_no_word_is_found_once() {
    let of = |value: &str| {
        let mut gateway = waypoint("w");
        gateway.meta.labels = pairs(&[("istio.io/waypoint-for", value)]);
        with_waypoint(gateway)
    };
    let found = check("waypoint-for-unknown", "Gateway shop/w", of("Services"), of("service"));
    assert_eq!(found.fix, "set istio.io/waypoint-for: service on Gateway shop/w");
    assert!(found.text.contains("traffic to Service shop/cart goes direct"), "{}", found.text);
    assert_eq!(findings(of("Services")).len(), 1);

    // Also where nobody refers to it, and on a class.
    let unused = |value: &str| of(value).into_iter().take(2).collect::<Vec<_>>();
    check("waypoint-for-unknown", "Gateway shop/w", unused("svc"), unused("none"));
    let mut gateway = waypoint("w");
    gateway.meta.labels = Labels::default();
    let of_class = |value: &str| with(with_waypoint(gateway.clone()), [class(&[("istio.io/waypoint-for", value)])]);
    let found = check("waypoint-for-unknown", "GatewayClass istio-waypoint", of_class("ALL"), of_class("all"));
    assert_eq!(found.fix, "set istio.io/waypoint-for: all on GatewayClass istio-waypoint");
}

#[test]
fn waypoints_that_cannot_be_reached_are_found() {
    let right = with_waypoint(waypoint("w"));
    let bad = vec![StatusAddress { kind: Some("IPAddress".into()), value: "w.example".into() }];
    let wrong = with_waypoint(Gateway { addresses: bad, ..waypoint("w") });
    let found = check("bound-without-address", "Gateway shop/w", wrong, right);
    assert!(found.text.ends_with("of use: connections to Service shop/cart fail"), "{}", found.text);

    let known_by = |host: &str| with_waypoint(Gateway { addresses: hostname(host), ..waypoint("w") });
    let own = || service_at("w", &[(USE, "none")], "10.9.0.1");
    let right = with(known_by("w.shop.svc.cluster.local"), [own()]);
    check("waypoint-host-unknown", "Gateway shop/w", known_by("w.shop.svc.cluster.local"), right);
    // The host is looked up in the Gateway's own namespace.
    let wrong = with(known_by("w.other.svc.cluster.local"), [own()]);
    check("waypoint-host-unknown", "Gateway shop/w", wrong, quiet());
    // With an IP beside it, that one can be dialled at least without a node proxy.
    let mut addresses = hostname("w.shop.svc.cluster.local");
    addresses.extend(waypoint("w").addresses);
    let wrong = with_waypoint(Gateway { addresses, ..waypoint("w") });
    let found = check("waypoint-host-unknown", "Gateway shop/w", wrong, quiet());
    assert!(found.text.ends_with("only the IPs beside the host can be dialled"), "{}", found.text);
}

#[test]
fn listeners_are_looked_at() {
    let with_listener = |listener: Listener| with_waypoint(Gateway { listeners: vec![listener], ..waypoint("w") });
    let right = with_listener(tunnel("Same"));
    let found = check("admits-none", "Gateway shop/w", with_listener(tunnel("None")), right.clone());
    assert_eq!(found.field, "spec.listeners[0].allowedRoutes.namespaces.from");

    let select = |operator: &str| Selector {
        requirements: vec![Requirement { key: "team".into(), operator: operator.into(), values: Vec::new() }],
        ..Selector::default()
    };
    let selecting = |selector| with_listener(Listener { selector, ..tunnel("Selector") });
    check("admits-selector", "Gateway shop/w", selecting(None), selecting(Some(Selector::default())));
    check("admits-selector", "Gateway shop/w", selecting(Some(select("In"))), selecting(Some(select("Exists"))));

    let plain = Listener { port: 80, protocol: "HTTP".into(), ..tunnel("Same") };
    let found = check("listener-not-hbone", "Gateway shop/w", with_listener(plain.clone()), right);
    assert!(found.text.contains("its listener 0 is \"HTTP\" on 80"), "{}", found.text);
    let other = Gateway { class: "other".into(), listeners: vec![plain], ..waypoint("w") };
    assert_eq!(findings(with_waypoint(other)), []);
}

#[test]
fn a_gateway_that_nobody_uses_as_a_waypoint_is_left_alone() {
    let mut ingress = waypoint("ingress");
    ingress.class = "istio".into();
    ingress.meta.labels = Labels::default();
    ingress.listeners = vec![Listener { port: 80, protocol: "HTTP".into(), ..tunnel("None") }];
    let mut objects = vec![namespace("shop", &[]), Object::Gateway(ingress)];
    assert_eq!(findings(objects.clone()), []);
    objects.push(pod("cart-1", &[(USE, "ingress")]));
    assert!(findings(objects).iter().any(|it| it.code.id == "admits-none"), "now it is one");
}

#[test]
fn inbound_bindings_are_looked_at() {
    let proxy = Listener { port: 15088, protocol: "istio.io/PROXY".into(), ..tunnel("Same") };
    let bound = |value: &str| {
        let mut gateway = Gateway { class: "other".into(), ..waypoint("w") };
        gateway.meta.annotations = pairs(&[("ambient.istio.io/waypoint-inbound-binding", value)]);
        gateway.listeners.push(proxy.clone());
        with_waypoint(gateway)
    };
    for bad in ["", "proxy", "TCP/1", "PROXY/1/2"] {
        check("inbound-binding", "Gateway shop/w", bound(bad), bound("PROXY/15088"));
    }
    for bad in ["PROXY/abc", "PROXY/99999999999", "PROXY/70000", "PROXY/-1"] {
        check("inbound-binding-port", "Gateway shop/w", bound(bad), bound("PROXY"));
    }
    check("inbound-binding-listener", "Gateway shop/w", bound("PROXY/15089"), bound("PROXY/15088"));
    let without = |value: &str| {
        let mut objects = bound(value);
        if let Object::Gateway(gateway) = &mut objects[1] {
            gateway.listeners.pop();
        }
        objects
    };
    check("inbound-binding-listener", "Gateway shop/w", without("PROXY"), without("NONE"));

    // Of a class it is found at the class, once.
    let mut of_class = class(&[]);
    of_class.meta_mut().annotations = pairs(&[("ambient.istio.io/waypoint-inbound-binding", "PROXY/x")]);
    let found = findings(with(with_waypoint(waypoint("w")), [of_class]));
    assert_eq!(found.iter().map(|it| it.object.kind).collect::<Vec<_>>(), [Kind::GatewayClass]);
}

#[test]
fn a_waypoint_that_is_bound_is_found() {
    let known = |name: &str, by: &str| {
        let host = format!("{name}-svc.shop.svc.cluster.local");
        let mut objects = shop();
        objects[1] = Object::Gateway(waypoint("w"));
        objects[2] = service_at("w-svc", &[(USE, "none")], "10.9.0.1");
        let gateway = Gateway { addresses: hostname(&host), class: "other".into(), ..waypoint(name) };
        objects.extend([Object::Gateway(gateway), service_at(&format!("{name}-svc"), &[(USE, by)], "10.9.0.2")]);
        objects
    };
    let found = check("waypoint-bound-to-itself", "Service shop/v-svc", known("v", "v"), known("v", "none"));
    assert!(found.fix.starts_with("set istio.io/use-waypoint: none on Service shop/v-svc"), "{}", found.fix);
    check("waypoint-bound-to-another", "Service shop/v-svc", known("v", "w"), known("v", "none"));

    // By address, and by what the namespace names.
    let by_address = |labels: &[(&str, &str)]| {
        let mut objects = shop();
        objects[2] = service_at("w-svc", labels, "10.9.0.1");
        objects
    };
    let found = check("waypoint-bound-to-itself", "Service shop/w-svc", by_address(&[]), by_address(&[(USE, "none")]));
    assert!(found.text.contains(", which Namespace shop names"), "{}", found.text);
    // By label.
    let labelled = |managed| {
        let labels = [(labels::GATEWAY_NAME, "w"), (labels::MANAGED, managed)];
        with(shop(), [service_at("third", &labels, "10.9.0.3")])
    };
    check("waypoint-bound-to-itself", "Service shop/third", labelled("else"), labelled("istio.io-mesh-controller"));
}

#[test]
fn hosts_that_collide_are_found() {
    let of = |namespace: &str, host: &str| {
        let mut it = entry("api", host, &[(USE, "w"), (USE_NAMESPACE, "shop")]);
        it.meta.namespace = namespace.into();
        Object::ServiceEntry(it)
    };
    let objects = |second: &str| {
        vec![
            namespace("shop", &[]),
            namespace("pay", &[]),
            Object::Gateway(Gateway { listeners: vec![tunnel("All")], ..waypoint("w") }),
            of("shop", "api.example"),
            of("pay", second),
        ]
    };
    let found = check("host-collision", "ServiceEntry shop/api", objects("api.example"), objects("other.example"));
    assert!(found.text.contains("\"api.example\" for ServiceEntry pay/api, ServiceEntry shop/api"), "{}", found.text);
    assert!(found.related.contains(&ObjectKey::new(Kind::ServiceEntry, "pay", "api")));
}
