//! One problem is one finding, however many rows it concerns; and the order does not depend on the order of events.

use super::*;

#[test]
fn a_namespace_with_a_missing_waypoint_is_one_finding() {
    let services = (0..500).map(|n| service_at(&format!("s{n:03}"), &[], &format!("10.0.{}.{}", n / 200, n % 200 + 1)));
    let mut objects = with(vec![namespace("shop", &[(USE, "gone")])], services);
    objects.push(pod("p-1", &[]));
    let found = findings(objects);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].object, ObjectKey::new(Kind::Namespace, "", "shop"));
    let expected = "waypoint shop/gone, named by Namespace shop, does not exist: traffic to 500 services and 1 workload \
                    (Pod shop/p-1, Service shop/s000, Service shop/s001, …) goes direct";
    assert_eq!(found[0].text, expected);
    assert_eq!(found[0].related.len(), RELATED_MAX);
}

#[test]
fn pods_of_one_template_are_one_finding() {
    let pods = (0..9).map(|n| pod(&format!("cart-{n}"), &[(USE, "gone")]));
    let found = findings(with(quiet(), pods));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].object, ObjectKey::new(Kind::Pod, "shop", "cart-0"));
    assert!(
        found[0].text.starts_with("waypoint shop/gone, named by 9 workloads (Pod shop/cart-0, "),
        "{}",
        found[0].text
    );
}

#[test]
fn services_with_the_same_mistake_are_a_finding_each() {
    let found = findings(with(quiet(), [service("a", &[(USE, "gone")]), service("b", &[(USE, "gone")])]));
    let objects: Vec<String> = found.iter().map(|it| it.object.to_string()).collect();
    assert_eq!(objects, ["Service shop/a", "Service shop/b"]);
}

#[test]
fn findings_do_not_depend_on_the_order_of_the_objects() {
    let objects = with(
        shop(),
        [
            service("a", &[(USE, "gone")]),
            service("b", &[(USE, "None")]),
            pod("p", &[(USE, "gone")]),
            service("c", &[(USE_NAMESPACE, "x")]),
        ],
    );
    let forwards = findings(objects.clone());
    assert!(forwards.len() > 3);
    assert_eq!(forwards, findings(objects.into_iter().rev().collect()));
}
