//! Each way past a waypoint, by one object more in a mesh that has only the ways which every mesh has.

use super::*;
use crate::decision::{Target, WaypointAddress};
use crate::description::{Description, Fields, Reach, Reference};
use crate::gateway::{Gateway, StatusAddress};
use crate::name::Labels;
use crate::namespace::Namespace;
use crate::object::{Kind, Meta, Object};
use crate::policy::{AuthorizationPolicy, Condition, Field, PolicyTarget, Rule};
use crate::projection::project;
use crate::service::Service;
use crate::service_entry::{AddressRange, EntryEndpoint, Resolution, ServiceEntry};
use crate::store::{Event, Facts};
use crate::table::{Row, RowKind};
use crate::waypoint_view::GATEWAY_NAME;
use crate::workload::{Pod, PodTemplate};

mod policies;
mod workloads;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn meta(namespace: &str, name: &str, pairs: &[(&str, &str)]) -> Meta {
    Meta { labels: labels(pairs), ..Meta::named(namespace, name) }
}

fn namespace(name: &str, pairs: &[(&str, &str)]) -> Object {
    Object::Namespace(Namespace { meta: meta("", name, pairs) })
}

fn gateway(namespace: &str, name: &str, address: &str, pairs: &[(&str, &str)]) -> Object {
    let kind = if address.parse::<std::net::IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
    Object::Gateway(Gateway {
        meta: meta(namespace, name, pairs),
        class: "istio-waypoint".into(),
        listeners: Vec::new(),
        addresses: vec![StatusAddress { kind: Some(kind.into()), value: address.into() }],
    })
}

fn service(name: &str) -> Service {
    let addresses = [[10, 1, 0, 1].into()].into();
    Service { addresses, selector: labels(&[("app", name)]), ..Service::named("shop", name) }
}

fn pod(namespace: &str, name: &str, pairs: &[(&str, &str)]) -> Pod {
    let addresses = [[10, 0, 0, 1].into()].into();
    Pod { meta: meta(namespace, name, pairs), addresses, ..Pod::named(namespace, name) }
}

/// An instance of waypoint `shop/w`, with an account of this name.
fn instance(account: &str) -> Object {
    let template = PodTemplate { service_account: account.into(), ..PodTemplate::default() };
    Object::Pod(Pod { template: template.into(), ..pod("shop", "w-1", &[(GATEWAY_NAME, "w")]) })
}

/// Service `cart` with one Pod, behind waypoint `w`; the namespace is in the mesh, and so is that of one client.
fn shop() -> Vec<Object> {
    vec![
        namespace("shop", &[(DATAPLANE_MODE, AMBIENT)]),
        namespace("web", &[(DATAPLANE_MODE, AMBIENT)]),
        gateway("shop", "w", "w.shop", &[]),
        instance("w"),
        Object::Service(service("cart")),
        Object::Pod(pod("shop", "cart-1", &[("app", "cart")])),
        Object::Pod(pod("web", "client", &[])),
    ]
}

fn cart() -> RowKey {
    RowKey::new(RowKind::Service, "shop", "cart")
}

/// `ns/name@address weight`: one waypoint of a decision.
fn target(text: &str) -> Target {
    let (at, weight) = text.split_once(' ').unwrap();
    let (gateway, address) = at.split_once('@').unwrap();
    let (namespace, name) = gateway.split_once('/').unwrap();
    let address = match address.parse() {
        Ok(ip) => WaypointAddress::Ip { network: "".into(), ip },
        Err(_) => WaypointAddress::Hostname(address.into()),
    };
    let (weight, dial) = (weight.parse().unwrap(), vec![[10, 9, 0, 1].into()]);
    Target { gateway: GatewayKey::new(namespace, name), address: Some(address), dial, weight }
}

fn through(targets: &[&str]) -> Decision {
    let choice = Choice::Waypoints(targets.iter().map(|it| target(it)).collect());
    Decision::without_waypoint(choice, Some("WaypointAccepted"))
}

fn through_w() -> Decision {
    through(&["shop/w@w.shop 100"])
}

fn refused(reason: &str) -> Decision {
    Decision::without_waypoint(Choice::Direct, Some(reason))
}

fn store(objects: impl IntoIterator<Item = Object>) -> Store {
    let mut store = Store::new(Facts::default());
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}

/// These decisions; all else is direct and asks for nothing.
fn table(store: &Store, decided: &[(RowKey, Decision)]) -> Table {
    let reference = Reference { name_label: "istio.io/use-waypoint".into(), namespace_label: None, inherit: true };
    let description = Description {
        name: "none".into(),
        version: "1".into(),
        reads: Vec::new(),
        fields: Fields::default(),
        references: vec![reference],
        reach: Reach::Referenced,
    };
    let mut table = Table::new(1, 1);
    for (key, projected) in &project(&Arc::new(description), store) {
        let decision = decided.iter().find(|(decided, _)| decided == key).map(|(_, decision)| decision.clone());
        let decision = decision.unwrap_or_else(|| Decision::without_waypoint(Choice::Direct, None));
        let row = Row {
            subject: projected.subject.clone(),
            input: projected.input.clone(),
            decision: Arc::new(decision),
            revision: 1,
            degraded: None,
        };
        table.set(key.clone(), Some(row));
    }
    for (key, _) in decided {
        assert!(table.get(key).is_some(), "{key} is not published");
    }
    table
}

/// Everything about one destination of these objects: the last of two with one key counts.
fn destination(objects: Vec<Object>, decided: &[(RowKey, Decision)], what: &str) -> Destination {
    let store = store(objects);
    let found = destinations(&store, &table(&store, decided), &Asked::All);
    let shown: Vec<String> = found.iter().map(|it| it.what.to_string()).collect();
    let found = found.into_iter().find(|it| it.what.to_string() == what);
    found.unwrap_or_else(|| panic!("{what} is not among {shown:?}"))
}

/// The holes in short: code, rule, how much each matters, how many Pods may take it, and the detail.
fn shown(destination: &Destination) -> Vec<String> {
    let hole = |hole: &Hole| {
        let state = if hole.closed { "closed".to_owned() } else { format!("{:?}", hole.severity) };
        let text = format!("{} {} {state} {} {}", hole.code, hole.rule, hole.clients.pods, hole.detail);
        text.trim_end().to_owned()
    };
    destination.holes.iter().map(hole).collect()
}

/// What is there in every mesh that enforces nothing at the destination.
const WORKLOADS: &str = "workload-addressed R59 Medium 2 1 of 1 workloads";
const UNENFORCED: &str = "unenforced R93 Low 0 1 of 1: no AuthorizationPolicy lets in waypoints only";

/// The holes of `cart` with some objects more, beside those that every mesh has.
fn check(more: Vec<Object>, decision: Decision, expected: &[&str]) {
    let shown = shown(&destination([shop(), more].concat(), &[(cart(), decision)], "Service shop/cart"));
    let special: Vec<&str> =
        shown.iter().map(String::as_str).filter(|hole| ![WORKLOADS, UNENFORCED].contains(hole)).collect();
    assert_eq!(special, expected, "{shown:?}");
}

#[test]
fn a_service_through_a_waypoint_can_be_passed_by_who_dials_its_pods() {
    let destination = destination(shop(), &[(cart(), through_w())], "Service shop/cart");
    assert_eq!(shown(&destination), [WORKLOADS, UNENFORCED]);
    assert_eq!(destination.open().count(), 2);
    let fixes: Vec<String> = destination.holes[0].fixes.iter().map(ToString::to_string).collect();
    let expected = [
        "Gateway shop/w: set istio.io/waypoint-for=all",
        "set istio.io/use-waypoint=w on its Pods, in their template",
        "apply the AuthorizationPolicy below",
    ];
    assert_eq!(fixes, expected);
}

#[test]
fn clients_that_do_not_go_through_ztunnel_are_ways_past() {
    let sidecar = Pod { has_proxy: true, ..pod("web", "old", &[]) };
    check(vec![Object::Pod(sidecar)], through_w(), &["sidecar R75 High 1"]);
    let on_host = Pod { host_network: true, ..pod("web", "exporter", &[]) };
    check(vec![Object::Pod(on_host)], through_w(), &["host-network R93 High 1"]);
    let opted_out = pod("web", "out", &[(DATAPLANE_MODE, "none")]);
    let elsewhere = pod("legacy", "batch", &[]);
    let both = vec![Object::Pod(opted_out), Object::Pod(elsewhere)];
    check(both, through_w(), &["not-captured R93 High 2"]);
    // Its own label counts where its namespace says nothing, and Istio's own Pods are not counted.
    let enrolled = pod("legacy", "enrolled", &[(DATAPLANE_MODE, AMBIENT)]);
    let istiod = pod("istio-system", "istiod", &[]);
    let destination = destination(
        [shop(), vec![Object::Pod(enrolled), Object::Pod(istiod)]].concat(),
        &[(cart(), through_w())],
        "Service shop/cart",
    );
    assert_eq!(shown(&destination), [WORKLOADS.replace("Medium 2", "Medium 3").as_str(), UNENFORCED]);
}

/// The Pod of an ingress gateway.
fn ingress_pod() -> Object {
    Object::Pod(Pod { has_proxy: true, ..pod("istio-system", "ingress", &[("istio", "ingressgateway")]) })
}

#[test]
fn gateways_need_the_label_an_address_and_a_waypoint_that_they_find() {
    let with_label = |decision: Decision| Decision { ingress: true, ..decision };
    check(vec![ingress_pod()], through_w(), &["gateway R70 High 1"]);
    check(vec![ingress_pod()], with_label(through_w()), &[]);
    let by_ip = || with_label(through(&["shop/w@10.9.0.1 100"]));
    check(vec![ingress_pod()], by_ip(), &["gateway R74 High 1"]);
    let in_front = Service { addresses: [[10, 9, 0, 1].into()].into(), ..Service::named("shop", "w") };
    check(vec![ingress_pod(), Object::Service(in_front)], by_ip(), &[]);
    let pending = Service { addresses: [].into(), ..service("cart") };
    let expected = ["no-address R37 High 2 it has no cluster IP", "gateway R72 High 1"];
    check(vec![ingress_pod(), Object::Service(pending)], with_label(through_w()), &expected);
}

#[test]
fn a_headless_service_is_passed_by_everybody_unless_its_pods_have_the_waypoint() {
    let headless = || vec![Object::Service(Service { headless: true, addresses: [].into(), ..service("cart") })];
    let rows = [(cart(), through_w())];
    let shown_of = |decided: &[(RowKey, Decision)]| {
        shown(&destination([shop(), headless()].concat(), decided, "Service shop/cart"))
    };
    assert_eq!(shown_of(&rows), ["headless R33 High 2", UNENFORCED]);
    let own = (RowKey::new(RowKind::Pod, "shop", "cart-1"), through_w());
    let [service] = rows;
    assert_eq!(shown_of(&[service, own]), [UNENFORCED]);
}

#[test]
fn an_entry_needs_an_address_for_each_of_its_hosts() {
    let mut entry = ServiceEntry::named("shop", "api");
    entry.hosts = vec!["api.example".into(), "*.example".into()];
    entry.resolution = Resolution::Static;
    entry.endpoints = vec![EntryEndpoint::at("192.0.2.1")];
    let key = RowKey::new(RowKind::ServiceEntry, "shop", "api");
    let shown = |entry: &ServiceEntry| {
        let objects = [shop(), vec![Object::ServiceEntry(entry.clone())]].concat();
        shown(&destination(objects, &[(key.clone(), through_w())], "ServiceEntry shop/api"))
    };
    let rest = [
        "workload-addressed R59 Medium 2 1 of 1 workloads",
        "unenforced R93 Low 0 1 of 1: it is no Pod, so nothing in this cluster enforces a policy for it",
    ];
    assert_eq!(shown(&entry), ["no-address R37 High 2 api.example, *.example", rest[0], rest[1]]);
    entry.auto_addresses = vec![(None, [240, 240, 0, 1].into())];
    assert_eq!(shown(&entry), ["no-address R37 High 2 *.example", rest[0], rest[1]]);
    entry.addresses = vec![AddressRange::parse("192.0.2.0/24").unwrap()];
    assert_eq!(shown(&entry), rest);
}

#[test]
fn a_refused_destination_is_open_to_everybody_and_says_what_to_do() {
    let rows = [
        (
            "WaypointIsNotReady",
            "see to it that the Gateway it names exists and reports an address, or name one that does",
        ),
        ("AttachmentDenied", "have the owner of waypoint shop/w admit namespace shop in allowedRoutes of its listener"),
        ("UnsupportedTrafficType", "Gateway shop/w: set istio.io/waypoint-for=all"),
        ("CrossNamespaceWaypointForbidden", "name a waypoint of namespace shop"),
        ("SomethingElse", "`wayswitch explain` says what it takes"),
    ];
    for (reason, fix) in rows {
        let mut objects = shop();
        objects.push(gateway("shop", "w", "w.shop", &[("istio.io/waypoint-for", "workload")]));
        let labelled = meta("shop", "cart", &[("istio.io/use-waypoint", "w")]);
        objects.push(Object::Service(Service { meta: labelled, ..service("cart") }));
        let destination = destination(objects, &[(cart(), refused(reason))], "Service shop/cart");
        assert_eq!(shown(&destination), [format!("refused R92 High 2 {reason}")]);
        let fixes: Vec<String> = destination.holes[0].fixes.iter().map(ToString::to_string).collect();
        let required = "Service shop/cart: set wayswitch.io/waypoint-required=true";
        assert_eq!(fixes, [fix, required], "{reason}");
        assert_eq!(destination.policy, None, "it would only stop all traffic");
    }
}

#[test]
fn a_waypoint_that_cannot_be_reached_may_be_passed_where_that_was_decided() {
    let bypass = |decision: Decision| Decision { on_unreachable: OnUnreachable::Bypass, ..decision };
    check(vec![], bypass(through_w()), &["may-bypass R92 Medium 2"]);
    let unresolved = Target { dial: Vec::new(), ..target("shop/w@w.shop 100") };
    let unresolved = Decision { choice: Choice::Waypoints([unresolved].into()), ..bypass(through_w()) };
    check(vec![], unresolved, &["may-bypass R92 High 2 no address of its waypoint is known, so this is so now"]);
}

#[test]
fn an_entry_of_another_namespace_for_the_same_host_takes_its_clients_away() {
    let mut entry = ServiceEntry::named("web", "own-cart");
    entry.hosts = vec!["cart.shop.svc.cluster.local".into()];
    let expected = "shadowed R44 High 1 in namespace web ServiceEntry web/own-cart is meant";
    check(vec![Object::ServiceEntry(entry.clone())], through_w(), &[expected]);
    entry.meta = Meta::named("empty", "own-cart");
    let shadowed = destination(
        [shop(), vec![Object::ServiceEntry(entry.clone())]].concat(),
        &[(cart(), through_w())],
        "Service shop/cart",
    );
    let fixes: Vec<String> = shadowed.holes[0].fixes.iter().map(ToString::to_string).collect();
    let named = "ServiceEntry empty/own-cart: set istio.io/use-waypoint";
    let admit = "have the owner of waypoint shop/w admit namespace empty in allowedRoutes of its listener";
    assert_eq!(fixes, [format!("{named}=w"), format!("{named}-namespace=shop"), admit.to_owned()]);
    let expected = "shadowed R44 Low 0 in namespace empty ServiceEntry empty/own-cart is meant";
    check(vec![Object::ServiceEntry(entry)], through_w(), &[expected]);
}

#[test]
fn a_canary_is_another_waypoint_with_policies_of_its_own() {
    let canary =
        |weight: u8| through(&[&format!("shop/w@w.shop {}", 100 - weight), &format!("shop/c@c.shop {weight}")]);
    check(vec![], canary(0), &[]);
    check(vec![], canary(10), &["canary R64 Low 2 10% through shop/c"]);
    let attached = |names: &[&str]| {
        let mut policy = AuthorizationPolicy::named("shop", "l7");
        let target = |name: &&str| PolicyTarget {
            group: "gateway.networking.k8s.io".into(),
            kind: "Gateway".into(),
            namespace: None,
            name: (*name).into(),
        };
        policy.targets = names.iter().map(target).collect();
        vec![Object::AuthorizationPolicy(policy)]
    };
    check(attached(&["w"]), canary(10), &["canary R64 Medium 2 10% through shop/c, without shop/l7"]);
    check(attached(&["w", "c"]), canary(10), &["canary R64 Low 2 10% through shop/c"]);
}

#[test]
fn what_asks_for_no_waypoint_is_told_only_where_it_is_asked_about() {
    let store = store(shop());
    let table = table(&store, &[]);
    assert!(destinations(&store, &table, &Asked::All).is_empty());
    assert!(destinations(&store, &table, &Asked::Namespace("shop".into())).is_empty());
    let asked = destinations(&store, &table, &Asked::Service(cart()));
    assert_eq!((asked.len(), asked[0].holes.len()), (1, 0));
}

#[test]
fn objects_without_pods_are_judged_by_namespaces_and_selectors() {
    let mut objects: Vec<Object> = shop().into_iter().filter(|object| object.kind() != Kind::Pod).collect();
    objects.push(namespace("legacy", &[]));
    let destination = destination(objects, &[(cart(), through_w())], "Service shop/cart");
    assert_eq!(shown(&destination), ["not-captured R93 High 0", UNENFORCED]);
    assert!(destination.policy.unwrap().assumed, "no instance of the waypoint is known");
}
