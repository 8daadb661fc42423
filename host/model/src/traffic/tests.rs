//! Paths as rows: a client and a destination in one mesh, the verdict, and the rule that settled it.

use std::collections::HashMap;

use super::*;
use crate::decision::{Choice, OnUnreachable, Target, WaypointAddress};
use crate::endpoint_slice::{EndpointSlice, SERVICE_NAME};
use crate::gateway::{Gateway, GatewayClass, Listener};
use crate::mesh::{EntryVisibility, EntryVisibilityRules, Mesh, VisibilityPolicy};
use crate::name::Labels;
use crate::namespace::Namespace;
use crate::object::{Meta, Object};
use crate::selector::Selector;
use crate::service::{Port, Service};
use crate::service_entry::{AddressRange, EntryEndpoint, Resolution, ServiceEntry};
use crate::store::{Event, Facts};
use crate::workload::Pod;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn namespace(name: &str, pairs: &[(&str, &str)]) -> Object {
    Object::Namespace(Namespace { meta: Meta { labels: labels(pairs), ..Meta::named("", name) } })
}

fn pod(namespace: &str, name: &str, ip: [u8; 4], pairs: &[(&str, &str)]) -> Pod {
    let meta = Meta { labels: labels(pairs), ..Meta::named(namespace, name) };
    Pod { meta, addresses: [ip.into()].into(), ..Pod::named(namespace, name) }
}

fn service(namespace: &str, name: &str, ip: Option<[u8; 4]>) -> Service {
    let port = Port { name: "http".into(), number: 80, protocol: "TCP".into(), target: None };
    let addresses = ip.map(Into::into).into_iter().collect();
    let selector = labels(&[("app", name)]);
    Service { addresses, ports: vec![port], selector, ..Service::named(namespace, name) }
}

fn entry(namespace: &str, name: &str, host: &str, addresses: &[&str]) -> ServiceEntry {
    let addresses = addresses.iter().map(|text| AddressRange::parse(text).unwrap()).collect();
    ServiceEntry { hosts: vec![host.into()], addresses, ..ServiceEntry::named(namespace, name) }
}

fn gateway(name: &str, class: &str, protocol: &str) -> Object {
    let listener = Listener { port: 15008, protocol: protocol.into(), admits_from: None, selector: None };
    let meta = Meta::named("shop", name);
    Object::Gateway(Gateway { meta, class: class.into(), listeners: vec![listener], addresses: Vec::new() })
}

const INSTANCE: &str = "gateway.networking.k8s.io/gateway-name";
const MANAGED: &str = "gateway.istio.io/managed";
const MODE: &str = "istio.io/dataplane-mode";

fn clients() -> Vec<Object> {
    let annotated = |name: &str, ip, value: &str| {
        let mut pod = pod("old", name, ip, &[]);
        pod.meta.annotations = labels(&[("ambient.istio.io/redirection", value)]);
        pod
    };
    let proxied = |pod: Pod| Pod { has_proxy: true, ..pod };
    let pods = [
        pod("shop", "web", [10, 1, 0, 1], &[]),
        pod("shop", "out", [10, 1, 0, 2], &[(MODE, "none")]),
        Pod { host_network: true, ..pod("shop", "node", [10, 1, 0, 3], &[]) },
        proxied(pod("shop", "sidecar", [10, 1, 0, 4], &[])),
        proxied(pod("shop", "ingress", [10, 1, 0, 5], &[(MANAGED, "istio.io-gateway-controller")])),
        proxied(pod("shop", "ingress-2", [10, 1, 0, 6], &[(INSTANCE, "front")])),
        proxied(pod("shop", "east", [10, 1, 0, 7], &[(MANAGED, "istio.io-eastwest-controller"), (INSTANCE, "w")])),
        proxied(pod(
            "shop",
            "w-1",
            [10, 1, 0, 8],
            &[(MANAGED, "istio.io-mesh-controller"), (INSTANCE, "w"), (MODE, "none")],
        )),
        pod("shop", "sandwiched", [10, 1, 0, 9], &[(INSTANCE, "w")]),
        pod("shop", "w-2", [10, 1, 0, 10], &[(INSTANCE, "w"), (MODE, "none")]),
        pod("old", "legacy", [10, 2, 0, 1], &[]),
        pod("old", "in", [10, 2, 0, 2], &[(MODE, "ambient")]),
        annotated("written-in", [10, 2, 0, 3], "enabled"),
        annotated("written-out", [10, 2, 0, 4], "disabled"),
        pod("nowhere", "stray", [10, 3, 0, 1], &[]),
        Pod { finished: true, ..pod("shop", "done", [10, 1, 0, 99], &[]) },
    ];
    pods.into_iter().map(Object::Pod).collect()
}

fn destinations() -> Vec<Object> {
    let app = |name: &str, ip, app: &str| Object::Pod(pod("shop", name, ip, &[("app", app)]));
    let headless = |name: &str| Object::Service(Service { headless: true, ..service("shop", name, None) });
    let resolved = |resolution, entry: ServiceEntry| Object::ServiceEntry(ServiceEntry { resolution, ..entry });
    let slice_meta = Meta { labels: labels(&[(SERVICE_NAME, "external")]), ..Meta::named("shop", "external") };
    let port = vec![Port { name: "tls".into(), number: 443, protocol: "TLS".into(), target: None }];
    vec![
        Object::Service(service("shop", "cart", Some([10, 9, 0, 1]))),
        Object::Service(service("shop", "plain", Some([10, 9, 0, 2]))),
        Object::Service(service("shop", "split", Some([10, 9, 0, 3]))),
        Object::Service(service("shop", "dead", Some([10, 9, 0, 4]))),
        Object::Service(service("shop", "open", Some([10, 9, 0, 5]))),
        Object::Service(service("shop", "closed", Some([10, 9, 0, 6]))),
        Object::Service(service("shop", "kept", Some([10, 9, 0, 7]))),
        Object::Service(service("shop", "half", Some([10, 9, 0, 8]))),
        Object::Service(service("shop", "by-ip", Some([10, 9, 0, 9]))),
        Object::Service(service("shop", "fresh", None)),
        Object::Service(service("shop", "w", Some([10, 9, 0, 100]))),
        Object::Service(service("old", "cart", Some([10, 9, 1, 1]))),
        Object::Service(Service { external_name: true, ..service("shop", "elsewhere", None) }),
        headless("db"),
        headless("nobody"),
        app("cart-1", [10, 4, 0, 1], "cart"),
        app("db-0", [10, 4, 0, 2], "db"),
        app("db-1", [10, 4, 0, 3], "db"),
        app("db-2", [10, 4, 0, 4], "db"),
        Object::EndpointSlice(EndpointSlice {
            meta: slice_meta,
            addresses: vec!["10.5.0.1".into()],
            ..EndpointSlice::named("shop", "external")
        }),
        resolved(
            Resolution::Static,
            ServiceEntry { ports: port.clone(), ..entry("shop", "api", "api.example.com", &["10.8.0.1"]) },
        ),
        resolved(
            Resolution::None,
            ServiceEntry { ports: port, ..entry("shop", "raw", "raw.example.com", &["10.8.1.0/24"]) },
        ),
        resolved(Resolution::Dns, entry("shop", "far", "far.example.com", &[])),
        resolved(Resolution::None, entry("shop", "any", "*.example.org", &["10.8.0.2"])),
        resolved(Resolution::None, entry("shop", "any-deep", "*.deep.example.org", &["10.8.0.3"])),
        resolved(Resolution::Static, entry("old", "private", "private.example.com", &["10.8.0.4"])),
        resolved(
            Resolution::Static,
            ServiceEntry {
                endpoints: vec![EntryEndpoint::at("10.8.0.5"), EntryEndpoint::at("vm.example.com")],
                ..entry("shop", "both", "both.example.com", &["10.8.0.5"])
            },
        ),
        Object::ServiceEntry(entry("shop", "shared", "shared.example.com", &["10.8.0.6"])),
        Object::ServiceEntry(entry("old", "shared", "shared.example.com", &["10.8.0.6"])),
    ]
}

fn store() -> Store {
    let own =
        VisibilityPolicy { visibility: EntryVisibility::Namespace, rules: vec![Some(selector(&[("private", "yes")]))] };
    let rules = EntryVisibilityRules { default: EntryVisibility::Public, policies: vec![own] };
    let mut store =
        Store::new(Facts { mesh: Mesh { entry_visibility: Some(rules), ..Mesh::default() }, ..Facts::default() });
    let class = GatewayClass { meta: Meta::named("", "istio") };
    let frame = vec![
        namespace("shop", &[(MODE, "ambient")]),
        namespace("old", &[("private", "yes")]),
        Object::GatewayClass(class),
        gateway("w", "third-party", "HBONE"),
        gateway("front", "istio", "HTTP"),
    ];
    store.apply_all(frame.into_iter().chain(clients()).chain(destinations()).map(Event::Apply));
    store
}

fn selector(pairs: &[(&str, &str)]) -> Selector {
    Selector { labels: labels(pairs), ..Selector::default() }
}

fn through(targets: &[(&str, u8, Option<WaypointAddress>, bool)]) -> Decision {
    let target = |(name, weight, address, known): &(&str, u8, Option<WaypointAddress>, bool)| Target {
        gateway: GatewayKey::new("shop", name),
        address: address.clone(),
        dial: if *known { vec![[10, 9, 0, 100].into()] } else { Vec::new() },
        weight: *weight,
    };
    let choice = Choice::Waypoints(targets.iter().map(target).collect());
    Decision { choice, ..Decision::without_waypoint(Choice::Direct, Some("WaypointAccepted")) }
}

/// Where `w` is: its Service in the mesh, a hostname or an IP that no service has.
fn at_service() -> Option<WaypointAddress> {
    Some(WaypointAddress::Hostname("w.shop.svc.cluster.local".into()))
}

fn at_nobody() -> Option<WaypointAddress> {
    Some(WaypointAddress::Hostname("lost.shop.svc.cluster.local".into()))
}

fn at_ip(last: u8) -> Option<WaypointAddress> {
    Some(WaypointAddress::Ip { network: "".into(), ip: [10, 9, 0, last].into() })
}

fn decisions() -> HashMap<String, Arc<Decision>> {
    let w = || through(&[("w", 100, at_service(), true)]);
    let without = |choice| Decision::without_waypoint(choice, None);
    let rows = [
        ("Service shop/cart", Decision { ingress: true, ..w() }),
        ("Service shop/plain", Decision::without_waypoint(Choice::Direct, Some("WaypointIsNotReady"))),
        (
            "Service shop/split",
            Decision {
                ingress: true,
                ..through(&[("w", 70, at_service(), true), ("v", 30, at_nobody(), false), ("u", 0, at_service(), true)])
            },
        ),
        ("Service shop/dead", Decision { ingress: true, ..through(&[("w", 100, at_nobody(), false)]) }),
        (
            "Service shop/open",
            Decision { on_unreachable: OnUnreachable::Bypass, ..through(&[("w", 100, at_nobody(), false)]) },
        ),
        ("Service shop/closed", Decision::without_waypoint(Choice::Blocked, Some("WaypointIsNotReady"))),
        ("Service shop/kept", without(Choice::Keep)),
        ("Service shop/half", w()),
        ("Service shop/by-ip", Decision { ingress: true, ..through(&[("w", 100, at_ip(200), true)]) }),
        ("Service shop/fresh", w()),
        ("Service old/cart", without(Choice::Direct)),
        ("Service shop/db", Decision { ingress: true, ..w() }),
        ("Pod shop/cart-1", w()),
        ("Pod shop/db-0", without(Choice::Direct)),
        ("Pod shop/db-1", without(Choice::Direct)),
        ("Pod shop/db-2", w()),
        ("Pod shop/node", w()),
        ("ServiceEntry shop/api", w()),
        ("ServiceEntry shop/raw", without(Choice::Direct)),
        ("ServiceEntry shop/far", w()),
        ("ServiceEntry shop/any", w()),
        ("ServiceEntry shop/any-deep", without(Choice::Direct)),
        ("ServiceEntry old/private", w()),
        ("ServiceEntry shop/both", w()),
        ("ServiceEntryEndpoint shop/both/10.8.0.5", without(Choice::Direct)),
        ("ServiceEntry shop/shared", w()),
        ("ServiceEntry old/shared", without(Choice::Direct)),
    ];
    rows.into_iter().map(|(key, decision)| (key.to_owned(), Arc::new(decision))).collect()
}

fn follow(from: (&str, &str), to: &str) -> Path {
    let (store, decisions) = (store(), decisions());
    let decided = |row: &RowKey| decisions.get(&row.to_string()).cloned();
    path(&store, &decided, from, &to.parse().unwrap()).unwrap()
}

/// The verdicts of the legs, each with the rule of its decisive step.
fn told(path: &Path) -> String {
    let leg = |leg: &Leg| {
        let mut decisive = leg.steps.iter().filter(|step| step.decisive);
        let rule = decisive.next().map(|step| step.rule).unwrap_or("none");
        assert!(decisive.next().is_none(), "one step settles it: {leg:?}");
        let verdict = leg.verdict.to_string();
        let verdict = verdict.split_once(':').map_or(verdict.as_str(), |(word, _)| word).to_owned();
        format!("{verdict} {rule}")
    };
    path.legs.iter().map(leg).collect::<Vec<_>>().join("; ")
}

#[test]
fn an_enrolled_client_follows_the_decision_of_what_it_dialled() {
    let rows = [
        // Names: short, of another namespace, qualified, absolute, with a port.
        ("cart", "through shop/w R87"),
        ("cart:80", "through shop/w R87"),
        ("CART.shop", "through shop/w R87"),
        ("cart.shop.svc", "through shop/w R87"),
        ("cart.shop.svc.cluster.local", "through shop/w R87"),
        ("cart.shop.svc.cluster.local.", "through shop/w R87"),
        ("cart.", "passthrough R86"),
        ("cart.old", "direct R87"),
        ("fresh", "through shop/w R87"),
        // Decisions.
        ("plain", "direct R87"),
        ("split", "through shop/w 70%, shop/v 30% (fails) R87"),
        ("dead", "fails R92"),
        ("open", "direct R92"),
        ("closed", "blocked R92"),
        ("kept", "unknown here R85"),
        // Ports.
        ("cart:81", "fails R89"),
        ("plain:81", "fails R87"),
        ("api.example.com:443", "through shop/w R87"),
        ("api.example.com:80", "fails R89"),
        ("raw.example.com:80", "direct R87"),
        // Headless Services, and what is behind them.
        ("db", "direct R88; through shop/w R88"),
        ("db-0.db", "direct R88"),
        ("db-2.db.shop.svc.cluster.local", "through shop/w R88"),
        ("cart-1.db", "passthrough R86"),
        ("nobody", "passthrough R86"),
        ("elsewhere", "passthrough R86"),
        // Entries: no address, wildcards, visibility, two of one host.
        ("far.example.com", "passthrough R86"),
        ("a.example.org", "through shop/w R87"),
        ("a.b.example.org", "through shop/w R87"),
        ("a.deep.example.org", "direct R87"),
        ("example.org", "passthrough R86"),
        ("private.example.com", "passthrough R86"),
        ("shared.example.com", "through shop/w R87"),
        ("both.example.com", "through shop/w R87"),
        ("nowhere.example.net", "passthrough R86"),
        // Addresses.
        ("10.9.0.1", "through shop/w R87"),
        ("10.9.0.1:81", "fails R89"),
        ("10.8.1.77:443", "direct R87"),
        ("10.4.0.1:9999", "through shop/w R88"),
        ("10.4.0.2", "direct R88"),
        ("10.8.0.5", "direct R88"),
        ("10.8.0.6", "through shop/w R87"),
        ("10.1.0.3", "passthrough R86"),
        ("10.5.0.1", "passthrough R86"),
        ("192.0.2.1:443", "passthrough R86"),
        ("[2001:db8::1]:443", "passthrough R86"),
    ];
    for (to, expected) in rows {
        let path = follow(("shop", "web"), to);
        assert_eq!(path.client.kind, ClientKind::Enrolled);
        assert_eq!(told(&path), expected, "{to}: {path:#?}");
    }
}

#[test]
fn the_namespace_of_the_client_decides_which_of_two_it_means() {
    let rows = [
        (("old", "in"), "cart", "direct R87"),
        (("old", "in"), "cart.shop", "through shop/w R87"),
        (("old", "in"), "shared.example.com", "direct R87"),
        (("old", "in"), "10.8.0.6", "direct R87"),
        (("old", "in"), "private.example.com", "through shop/w R87"),
    ];
    for (from, to, expected) in rows {
        assert_eq!(told(&follow(from, to)), expected, "{from:?} {to}");
    }
}

#[test]
fn what_a_client_is_decides_whether_anybody_looks_for_a_waypoint() {
    use ClientKind::{EastWestGateway, Enrolled, IngressGateway, Sidecar, Waypoint};
    let not = ClientKind::NotEnrolled;
    let rows = [
        (("shop", "web"), Enrolled, "through shop/w R87", "through shop/w R88"),
        (("shop", "out"), not(NotEnrolled::OptedOut), "not in the mesh R86", "not in the mesh R86"),
        (("shop", "node"), not(NotEnrolled::HostNetwork), "not in the mesh R86", "not in the mesh R86"),
        (("shop", "sidecar"), Sidecar, "direct R75", "direct R75"),
        (("shop", "ingress"), IngressGateway, "through shop/w R73", "direct R72"),
        (("shop", "ingress-2"), IngressGateway, "through shop/w R73", "direct R72"),
        (("shop", "east"), EastWestGateway, "through shop/w R73", "direct R72"),
        (("shop", "w-1"), Waypoint, "direct R94", "direct R94"),
        (("shop", "w-2"), Waypoint, "direct R94", "direct R94"),
        // It does not go through itself, but a service that it dials has it as its waypoint all the same.
        (("shop", "sandwiched"), Enrolled, "through shop/w R87", "direct R88"),
        (("old", "legacy"), not(NotEnrolled::NotAsked), "not in the mesh R86", "not in the mesh R86"),
        (("old", "in"), Enrolled, "through shop/w R87", "through shop/w R88"),
        (("old", "written-in"), Enrolled, "through shop/w R87", "through shop/w R88"),
        (("old", "written-out"), not(NotEnrolled::OptedOut), "not in the mesh R86", "not in the mesh R86"),
        (("nowhere", "stray"), not(NotEnrolled::NotAsked), "not in the mesh R86", "not in the mesh R86"),
    ];
    for (from, kind, to_service, to_workload) in rows {
        let path = follow(from, "cart.shop");
        assert_eq!(path.client.kind, kind, "{from:?}");
        assert_eq!(told(&path), to_service, "{from:?}");
        assert_eq!(told(&follow(from, "10.4.0.1")), to_workload, "{from:?}");
    }
}

#[test]
fn a_gateway_follows_the_label_and_only_what_it_can_find() {
    let rows = [
        ("plain", "direct R70", "direct R70"),
        ("half", "direct R70", "through shop/w R73"),
        ("split", "through shop/w R73", "through shop/w R73"),
        ("dead", "fails R73", "fails R73"),
        ("by-ip", "direct R74", "direct R74"),
        ("closed", "direct R70", "direct R70"),
        // Of a headless Service it dials the workloads.
        ("db-2.db", "direct R72", "direct R72"),
    ];
    for (to, ingress, east_west) in rows {
        assert_eq!(told(&follow(("shop", "ingress"), to)), ingress, "{to}");
        assert_eq!(told(&follow(("shop", "east"), to)), east_west, "{to}");
    }
}

#[test]
fn who_goes_past_a_waypoint_is_told_that_nobody_checks() {
    let rules = |path: &Path| path.legs.iter().flat_map(|leg| &leg.steps).map(|step| step.rule).collect::<Vec<_>>();
    for (from, to, unchecked) in [
        (("shop", "sidecar"), "cart", true),
        (("old", "legacy"), "cart.shop", true),
        (("old", "legacy"), "closed.shop", true),
        (("shop", "web"), "far.example.com", true),
        (("shop", "web"), "cart", false),
        (("shop", "web"), "plain", false),
        (("shop", "sidecar"), "plain", false),
        (("shop", "web"), "closed", false),
    ] {
        let path = follow(from, to);
        assert_eq!(rules(&path).contains(&"R93"), unchecked, "{from:?} {to}: {path:#?}");
    }
    // Nobody is behind the Service of the waypoint here.
    assert!(rules(&follow(("shop", "web"), "cart")).contains(&"R13"));
}

#[test]
fn the_steps_name_what_was_meant() {
    let rules = |to: &str| follow(("shop", "web"), to).steps.iter().map(|step| step.rule).collect::<Vec<_>>().join(" ");
    for (to, expected) in [
        ("cart", "R86 R44 R86"),
        ("db", "R86 R44 R33"),
        ("db-0.db", "R86 R33"),
        ("far.example.com", "R86 R44 R37"),
        ("elsewhere", "R86 R32"),
        ("10.1.0.3", "R86 R97"),
        ("10.5.0.1", "R86 R97"),
        ("10.8.0.6", "R86 R86 R44"),
        ("10.8.0.5", "R86 R86 R86"),
    ] {
        assert_eq!(rules(to), expected, "{to}");
    }
}

#[test]
fn what_is_no_client_is_refused() {
    let (store, decisions) = (store(), decisions());
    let decided = |row: &RowKey| decisions.get(&row.to_string()).cloned();
    for (pod, why) in [("done", Unpublished::Finished), ("ghost", Unpublished::NoObject)] {
        let refused = path(&store, &decided, ("shop", pod), &"cart".parse().unwrap()).unwrap_err();
        assert_eq!(refused, NoClient { client: RowKey::new(RowKind::Pod, "shop", pod), why });
    }
}

#[test]
fn a_remedy_is_worth_a_try_where_the_client_is_the_reason() {
    let store = store();
    for (from, to, expected) in [
        (("old", "legacy"), "cart.shop", Some("Pod old/legacy")),
        (("shop", "out"), "cart", Some("Pod shop/out")),
        (("shop", "ingress"), "half", Some("Service shop/half")),
        (("shop", "ingress"), "db", None),
        (("shop", "node"), "cart", None),
        (("shop", "sidecar"), "cart", None),
        (("shop", "web"), "plain", None),
    ] {
        let found: Vec<String> =
            remedies(&store, &follow(from, to)).iter().map(|change| change.object.key().to_string()).collect();
        assert_eq!(found.first().map(String::as_str), expected, "{from:?} {to}");
    }
    assert!(follow(("shop", "sidecar"), "cart").advice.iter().any(|text| text.contains("sidecar")));
    assert!(follow(("shop", "web"), "db").advice.iter().any(|text| text.contains("headless")));
    assert!(follow(("shop", "web"), "far.example.com").advice.iter().any(|text| text.contains("spec.addresses")));
}

#[test]
fn a_destination_is_a_host_or_an_address_with_or_without_a_port() {
    let rows = [
        ("cart", "cart"),
        ("cart:80", "cart:80"),
        ("Cart.Shop.", "cart.shop."),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:80", "[::1]:80"),
        ("_tcp.cart", "_tcp.cart"),
    ];
    for (text, expected) in rows {
        assert_eq!(text.parse::<Destination>().map(|it| it.to_string()).as_deref(), Ok(expected));
    }
    for wrong in [
        "",
        ":80",
        "cart:",
        "cart:0",
        "cart:65536",
        "cart:x",
        "a..b",
        "a b",
        "*.example.org",
        "[::1",
        "[cart]:80",
        "a:b:c",
    ] {
        assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
    }
}
