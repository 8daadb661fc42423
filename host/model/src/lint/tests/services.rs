//! Services and entries that are left out or not recognised, and the ingress label.

use super::*;
use crate::service_entry::AddressRange;

pub(super) fn all() {
    services_that_are_never_dialled_are_found();
    services_that_are_left_out_are_found();
    entries_that_need_a_waypoint_are_found();
    an_entry_that_loses_a_host_is_found();
    the_ingress_label_is_looked_at();
}

#[test]
fn services_that_are_never_dialled_are_found() {
    let headless = |labels: &[(&str, &str)]| {
        let meta = labelled("shop", "db", labels);
        Object::Service(Service { meta, headless: true, ..Service::named("shop", "db") })
    };
    let found = check(
        "headless-with-waypoint",
        "Service shop/db",
        with(quiet(), [headless(&[(USE, "w")])]),
        with(quiet(), [headless(&[])]),
    );
    assert_eq!(found.severity, Severity::Warning);
    let found = check(
        "headless-with-waypoint",
        "Namespace shop",
        with(shop(), [headless(&[])]),
        with(shop(), [headless(&[(USE, "none")])]),
    );
    assert!(found.text.contains("Service shop/db"), "{}", found.text);

    let api = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|it| AddressRange::parse(it).unwrap()).collect();
        Object::ServiceEntry(ServiceEntry { addresses, ..entry("api", "api.example", &[(USE, "w")]) })
    };
    check(
        "entry-without-address",
        "ServiceEntry shop/api",
        with(quiet(), [api(&[])]),
        with(quiet(), [api(&["10.2.0.1"])]),
    );
}

#[test]
fn services_that_are_left_out_are_found() {
    let external = |labels: &[(&str, &str)]| {
        let meta = labelled("shop", "mail", labels);
        with(quiet(), [Object::Service(Service { meta, external_name: true, ..Service::named("shop", "mail") })])
    };
    check("external-name-with-waypoint", "Service shop/mail", external(&[(USE, "w")]), external(&[(USE, "none")]));

    let broken = |bad: Option<&str>| {
        let cart = Service { bad_address: bad.map(Name::from), ..Service::named("shop", "cart") };
        with(quiet(), [Object::Service(cart)])
    };
    check("cluster-ip-invalid", "Service shop/cart", broken(Some("10.0.0.256")), broken(None));

    let broken = |bad: Option<&str>| {
        let api = ServiceEntry { bad_address: bad.map(Name::from), ..entry("api", "api.example", &[]) };
        with(quiet(), [Object::ServiceEntry(api)])
    };
    let found = check("entry-address-invalid", "ServiceEntry shop/api", broken(Some("10.0.0.0/40")), broken(None));
    assert!(found.text.contains("\"10.0.0.0/40\""), "{}", found.text);
}

#[test]
fn entries_that_need_a_waypoint_are_found() {
    let with_entry = |it: ServiceEntry| with(quiet(), [Object::ServiceEntry(it)]);
    let wildcard = |labels: &[(&str, &str)]| with_entry(entry("api", "*.example", labels));
    check("wildcard-without-waypoint", "ServiceEntry shop/api", wildcard(&[]), wildcard(&[(USE, "w")]));
    let dynamic = |resolution| with_entry(ServiceEntry { resolution, ..entry("api", "api.example", &[]) });
    let (wrong, right) = (dynamic(Resolution::DynamicDns), dynamic(Resolution::Dns));
    let found = check("wildcard-without-waypoint", "ServiceEntry shop/api", wrong, right);
    assert_eq!(found.field, "spec.resolution");
}

#[test]
fn an_entry_that_loses_a_host_is_found() {
    let young = |host: &str| Object::ServiceEntry(ServiceEntry { created: Some(9), ..entry("young", host, &[]) });
    let old = || Object::ServiceEntry(ServiceEntry { created: Some(1), ..entry("old", "api.example", &[]) });
    let right = with(quiet(), [old(), young("other.example")]);
    let found =
        check("hostname-lost", "ServiceEntry shop/young", with(quiet(), [old(), young("api.example")]), right.clone());
    assert!(found.text.contains("loses \"api.example\" to ServiceEntry shop/old"), "{}", found.text);
    assert!(found.text.ends_with("it has no host left, and its endpoints are left out too"), "{}", found.text);
    let of_service = with(quiet(), [service("cart", &[]), young("cart.shop.svc.cluster.local")]);
    let found = check("hostname-lost", "ServiceEntry shop/young", of_service, right);
    assert_eq!(found.related, [ObjectKey::new(Kind::Service, "shop", "cart")]);
    // Before 1.29 every entry kept its hosts.
    let facts = Facts { istio: "1.28".parse().unwrap(), ..Facts::default() };
    assert_eq!(findings_under(facts, with(quiet(), [old(), young("api.example")])), []);
}

#[test]
fn the_ingress_label_is_looked_at() {
    const INGRESS: &str = "istio.io/ingress-use-waypoint";
    let cart = |labels: &[(&str, &str)]| with(quiet(), [service("cart", labels)]);
    let right = cart(&[(USE, "w"), (INGRESS, "true")]);
    assert_eq!(findings(right.clone()), []);
    check("ingress-value", "Service shop/cart", cart(&[(USE, "w"), (INGRESS, "yes")]), right.clone());
    check("ingress-unused", "Service shop/cart", cart(&[(INGRESS, "true")]), right.clone());
    let of_namespace = |value: &str, cart: &[(&str, &str)]| {
        let mut objects = with(quiet(), [service("cart", cart)]);
        objects[0] = namespace("shop", &[(INGRESS, value)]);
        objects
    };
    check("ingress-value", "Namespace shop", of_namespace("on", &[]), of_namespace("false", &[]));
    check("ingress-unused", "Namespace shop", of_namespace("true", &[]), of_namespace("true", &[(USE, "w")]));

    // The service of the waypoint's address is not there.
    let mut wrong = right.clone();
    wrong.remove(2);
    let found = check("ingress-unresolved", "Gateway shop/w", wrong, right);
    assert!(found.text.contains("10.9.0.1"), "{}", found.text);
}
