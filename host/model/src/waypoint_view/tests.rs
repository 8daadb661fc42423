//! Which rows a waypoint is programmed with, by decisions made by hand; that they follow a mesh is tested outside this crate.

use std::sync::Arc;

use super::*;
use crate::decision::{Choice, Decision};
use crate::description::{Description, Fields, Reach};
use crate::gateway::{Gateway, GatewayClass, Listener, StatusAddress};
use crate::object::{Meta, Object};
use crate::projection::project;
use crate::selector::Selector;
use crate::service::Service;
use crate::service_entry::{EntryEndpoint, ServiceEntry};
use crate::store::{Event, Facts};
use crate::table::RowKind;
use crate::workload::Pod;
use crate::workload_entry::WorkloadEntry;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

/// A Gateway that reports these addresses: an IP is one of that type, anything else a hostname.
fn gateway(namespace: &str, name: &str, addresses: &[&str]) -> Gateway {
    let address = |text: &&str| {
        let kind = if text.parse::<IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
        StatusAddress { kind: Some(kind.into()), value: (*text).into() }
    };
    Gateway {
        meta: Meta::named(namespace, name),
        class: "istio-waypoint".into(),
        listeners: Vec::new(),
        addresses: addresses.iter().map(address).collect(),
    }
}

fn service(namespace: &str, name: &str, ip: [u8; 4], selector: &[(&str, &str)]) -> Object {
    let selector = labels(selector);
    Object::Service(Service { addresses: [ip.into()].into(), selector, ..Service::named(namespace, name) })
}

fn entry(namespace: &str, name: &str, hosts: &[&str], created: i64) -> ServiceEntry {
    let hosts = hosts.iter().map(|host| Name::from(*host)).collect();
    let created = Some(created);
    ServiceEntry { hosts, created, resolution: Resolution::Static, ..ServiceEntry::named(namespace, name) }
}

fn pod(namespace: &str, name: &str, pairs: &[(&str, &str)]) -> Pod {
    let mut pod = Pod { addresses: [[10, 0, 0, 9].into()].into(), ..Pod::named(namespace, name) };
    pod.meta.labels = labels(pairs);
    pod
}

fn store(objects: impl IntoIterator<Item = Object>) -> Store {
    let mut store = Store::new(Facts { network: "net".into(), ..Facts::default() });
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}

/// `ns/name@address weight`: a waypoint of a decision; without an address `ns/name weight`.
fn target(text: &str) -> Target {
    let (at, weight) = text.split_once(' ').unwrap();
    let (gateway, address) = at.split_once('@').map_or((at, None), |(gateway, address)| (gateway, Some(address)));
    let (namespace, name) = gateway.split_once('/').unwrap();
    let address = address.map(|text| match text.parse() {
        Ok(ip) => WaypointAddress::Ip { network: "net".into(), ip },
        Err(_) => WaypointAddress::Hostname(text.into()),
    });
    let weight = weight.parse().unwrap();
    Target { gateway: GatewayKey::new(namespace, name), address, dial: Vec::new(), weight }
}

/// A table in which these rows go through these waypoints, and no other through any.
fn table(store: &Store, bound: &[(RowKey, &[&str])]) -> Table {
    let description = Description {
        name: "none".into(),
        version: "1".into(),
        reads: Vec::new(),
        fields: Fields::default(),
        references: Vec::new(),
        reach: Reach::Referenced,
    };
    let rows = project(&Arc::new(description), store);
    let mut table = Table::new(1, 1);
    for (key, targets) in bound {
        let projected = rows.get(key).unwrap_or_else(|| panic!("{key} is not published"));
        let choice = Choice::Waypoints(targets.iter().map(|it| target(it)).collect());
        let row = Row {
            subject: projected.subject.clone(),
            input: projected.input.clone(),
            decision: Arc::new(Decision::without_waypoint(choice, None)),
            revision: 1,
            degraded: None,
        };
        table.set(key.clone(), Some(row));
    }
    table
}

fn service_key(namespace: &str, name: &str) -> RowKey {
    RowKey::new(RowKind::Service, namespace, name)
}

fn entry_key(namespace: &str, name: &str) -> RowKey {
    RowKey::new(RowKind::ServiceEntry, namespace, name)
}

/// What a waypoint is programmed with, in short, and what it is not.
fn shown(views: &WaypointViews, namespace: &str, name: &str) -> (Vec<String>, Vec<String>) {
    let view = views.get(&GatewayKey::new(namespace, name)).unwrap();
    let bound = |it: &Bound| format!("{} {:?} {}%", it.row, it.role, it.weight);
    let left_out = |it: &LeftOut| match &it.host {
        None => format!("{}: {:?}", it.row, it.why),
        Some(host) => format!("{} {host}: {:?}", it.row, it.why),
    };
    let served = view.services.iter().chain(&view.workloads).map(bound).collect();
    (served, view.left_out.iter().map(left_out).collect())
}

fn check(views: &WaypointViews, waypoint: (&str, &str), served: &[&str], left_out: &[&str]) {
    let (is_served, is_left_out) = shown(views, waypoint.0, waypoint.1);
    assert_eq!((is_served, is_left_out), (strings(served), strings(left_out)), "{}/{}", waypoint.0, waypoint.1);
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn every_share_of_a_row_binds_the_empty_one_too() {
    let store = store([
        Object::Gateway(gateway("ns", "w", &["w.ns"])),
        Object::Gateway(gateway("ns", "c", &["10.9.0.1"])),
        service("ns", "a", [10, 0, 0, 1], &[]),
        service("ns", "b", [10, 0, 0, 2], &[]),
    ]);
    let bound: &[(RowKey, &[&str])] = &[
        (service_key("ns", "a"), &["ns/w@w.ns 100", "ns/c@10.9.0.1 0"]),
        (service_key("ns", "b"), &["ns/w@w.ns 100"]),
    ];
    let views = WaypointViews::new(&store, &table(&store, bound));
    check(&views, ("ns", "w"), &["Service ns/a Primary 100%", "Service ns/b Primary 100%"], &[]);
    check(&views, ("ns", "c"), &["Service ns/a Canary 0%"], &[]);
}

#[test]
fn an_address_is_what_binds_whoever_was_named() {
    let mut instance = pod("ns", "c-1", &[(GATEWAY_NAME, "c")]);
    std::sync::Arc::make_mut(&mut instance.template).service_account = "c-account".into();
    let store = store([
        Object::Gateway(gateway("ns", "w", &["shared.ns"])),
        Object::Gateway(gateway("ns", "same", &["shared.ns"])),
        // A hostname means the one of the Gateway's own namespace.
        Object::Gateway(gateway("other", "w", &["shared.ns"])),
        // This one reports nothing of its own Service, whose address a third one reports.
        Object::Gateway(gateway("ns", "c", &["c.ns"])),
        Object::Gateway(gateway("other", "by-ip", &["10.9.0.1"])),
        Object::Pod(instance),
        service("ns", "in-front", [10, 9, 0, 1], &[(GATEWAY_NAME, "c")]),
        service("ns", "a", [10, 0, 0, 1], &[]),
        service("ns", "b", [10, 0, 0, 2], &[]),
    ]);
    let bound: &[(RowKey, &[&str])] =
        &[(service_key("ns", "a"), &["ns/w@shared.ns 100"]), (service_key("ns", "b"), &["other/by-ip@10.9.0.1 100"])];
    let views = WaypointViews::new(&store, &table(&store, bound));
    check(&views, ("ns", "w"), &["Service ns/a Primary 100%"], &[]);
    check(&views, ("ns", "same"), &["Service ns/a Primary 100%"], &[]);
    check(&views, ("other", "w"), &[], &[]);
    check(&views, ("other", "by-ip"), &["Service ns/b Primary 100%"], &[]);
    check(&views, ("ns", "c"), &["Service ns/b Primary 100%"], &[]);
    let named =
        |namespace, name: &str| views.get(&GatewayKey::new(namespace, name)).unwrap().services[0].named.to_string();
    assert_eq!((named("ns", "same"), named("ns", "c")), ("ns/w".to_owned(), "other/by-ip".to_owned()));
    let standing = views.get(&GatewayKey::new("ns", "c")).unwrap().standing.clone().unwrap();
    assert_eq!(standing.accounts, BTreeSet::from(["c-account".into()]));
}

#[test]
fn an_address_on_another_network_is_another_address() {
    let store = store([Object::Gateway(gateway("ns", "w", &["10.9.0.1"])), service("ns", "a", [10, 0, 0, 1], &[])]);
    let mut table = table(&store, &[(service_key("ns", "a"), &["ns/w@10.9.0.1 100"])]);
    let mut row = table.get(&service_key("ns", "a")).unwrap().clone();
    let mut other = target("ns/w@10.9.0.1 100");
    other.address = Some(WaypointAddress::Ip { network: "elsewhere".into(), ip: [10, 9, 0, 1].into() });
    row.decision = Arc::new(Decision::without_waypoint(Choice::Waypoints([other].into()), None));
    table.set(service_key("ns", "a"), Some(row));
    let views = WaypointViews::new(&store, &table);
    check(&views, ("ns", "w"), &[], &["Service ns/a: FormerAddress"]);
}

#[test]
fn what_a_waypoint_is_never_programmed_with_is_listed_with_the_reason() {
    let managed = |value: &str| labels(&[(MANAGED, value)]);
    let mut east_west = gateway("ns", "ew", &["ew.ns"]);
    east_west.class = EAST_WEST_CLASS.into();
    let mut generated = pod("ns", "generated", &[]);
    generated.meta.labels = managed(MESH_CONTROLLER);
    let mut vm = WorkloadEntry { address: "10.0.0.7".into(), ..WorkloadEntry::named("ns", "vm") };
    vm.spec_labels = managed(EAST_WEST_CONTROLLER);
    let mut dynamic = ServiceEntry { resolution: Resolution::DynamicDns, ..entry("ns", "dynamic", &["d"], 1) };
    dynamic.mesh_internal = true;
    let external = ServiceEntry { mesh_internal: false, hosts: vec!["e".into()], ..dynamic.clone() };
    let external = ServiceEntry { meta: Meta::named("ns", "external"), ..external };
    let selects = ServiceEntry { selector: Some(managed(MESH_CONTROLLER)), ..entry("ns", "selects", &["s"], 1) };
    let labelled = Service {
        meta: Meta { labels: managed(MESH_CONTROLLER), ..Meta::named("ns", "only-labelled") },
        ..Service::named("ns", "x")
    };
    let store = store([
        Object::Gateway(gateway("ns", "w", &["w.ns"])),
        Object::Gateway(east_west),
        service("ns", "front", [10, 0, 0, 1], &[(MANAGED, MESH_CONTROLLER)]),
        Object::Service(labelled),
        Object::Pod(generated),
        Object::Pod(pod("ns", "plain", &[])),
        Object::WorkloadEntry(vm),
        Object::ServiceEntry(dynamic),
        Object::ServiceEntry(external),
        Object::ServiceEntry(selects),
    ]);
    let w: &[&str] = &["ns/w@w.ns 100"];
    let bound = [
        (service_key("ns", "front"), w),
        (service_key("ns", "only-labelled"), w),
        (RowKey::new(RowKind::Pod, "ns", "generated"), w),
        (RowKey::new(RowKind::Pod, "ns", "plain"), &["ns/ew@ew.ns 100"]),
        (RowKey::new(RowKind::WorkloadEntry, "ns", "vm"), w),
        (entry_key("ns", "dynamic"), w),
        (entry_key("ns", "external"), &["ns/w 100"]),
        (entry_key("ns", "selects"), w),
    ];
    let views = WaypointViews::new(&store, &table(&store, &bound));
    check(
        &views,
        ("ns", "w"),
        &["Service ns/only-labelled Primary 100%"],
        &[
            "Pod ns/generated: IsGateway",
            "Service ns/front: SelectsGateways",
            "ServiceEntry ns/dynamic: DynamicInternal",
            "ServiceEntry ns/external: NoAddress",
            "ServiceEntry ns/selects: SelectsGateways",
            "WorkloadEntry ns/vm: IsGateway",
        ],
    );
    check(&views, ("ns", "ew"), &[], &["Pod ns/plain: EastWest"]);
}

#[test]
fn a_host_leads_to_one_service_at_a_waypoint() {
    let k8s = "cart.a.svc.cluster.local";
    let store = store([
        Object::Gateway(gateway("own", "w", &["w.own"])),
        Object::ServiceEntry(entry("z-old", "e", &["h", "only-old"], 1)),
        Object::ServiceEntry(entry("own", "e", &["h"], 9)),
        Object::ServiceEntry(entry("b-young", "e", &["i"], 9)),
        Object::ServiceEntry(entry("c-old", "e", &["i", k8s], 2)),
        service("a", "cart", [10, 0, 0, 1], &[]),
    ]);
    let w: &[&str] = &["own/w@w.own 100"];
    let entries = ["z-old", "own", "b-young", "c-old"].map(|namespace| (entry_key(namespace, "e"), w));
    let bound: Vec<_> = entries.into_iter().chain([(service_key("a", "cart"), w)]).collect();
    let table = table(&store, &bound);
    let views = WaypointViews::new(&store, &table);
    let view = views.get(&GatewayKey::new("own", "w")).unwrap();
    let hosts: Vec<_> = view.services.iter().map(|it| (it.row.to_string(), it.hosts.join(" "))).collect();
    let row = |row: &str, hosts: &str| (row.to_owned(), hosts.to_owned());
    assert_eq!(
        hosts,
        [
            row("Service a/cart", k8s),
            row("ServiceEntry c-old/e", "i"),
            row("ServiceEntry own/e", "h"),
            row("ServiceEntry z-old/e", "only-old"),
        ]
    );
    let lost: Vec<_> = view.left_out.iter().map(|it| (it.row.to_string(), it.host.as_deref().unwrap())).collect();
    let row = |row: &str, host| (row.to_owned(), host);
    assert_eq!(
        lost,
        [row("ServiceEntry b-young/e", "i"), row("ServiceEntry c-old/e", k8s), row("ServiceEntry z-old/e", "h")]
    );
    let of_row = views.of_row(&entry_key("b-young", "e"), table.get(&entry_key("b-young", "e")).unwrap());
    assert_eq!(of_row[0].left_out[0].why, WhyLeftOut::HostTaken { by: entry_key("c-old", "e") });
    assert!(!of_row[0].is_resolved());
}

#[test]
fn workloads_come_in_the_order_of_their_uids() {
    let with_endpoint = ServiceEntry { endpoints: vec![EntryEndpoint::at("10.0.0.5")], ..entry("a", "e", &["h"], 1) };
    let store = store([
        Object::Gateway(gateway("ns", "w", &["w.ns"])),
        Object::WorkloadEntry(WorkloadEntry { address: "10.0.0.7".into(), ..WorkloadEntry::named("a", "vm") }),
        Object::ServiceEntry(with_endpoint),
        Object::Pod(pod("z", "p", &[])),
    ]);
    let w: &[&str] = &["ns/w@w.ns 100"];
    let bound = [
        (RowKey::new(RowKind::WorkloadEntry, "a", "vm"), w),
        (RowKey::endpoint(RowKind::ServiceEntryEndpoint, "a", "e", "10.0.0.5"), w),
        (RowKey::new(RowKind::Pod, "z", "p"), w),
    ];
    let views = WaypointViews::new(&store, &table(&store, &bound));
    let expected =
        ["Pod z/p Primary 100%", "ServiceEntryEndpoint a/e/10.0.0.5 Primary 100%", "WorkloadEntry a/vm Primary 100%"];
    check(&views, ("ns", "w"), &expected, &[]);
}

#[test]
fn a_waypoint_that_is_gone_is_shown_as_long_as_a_row_holds_an_answer_with_it() {
    let store = store([service("ns", "a", [10, 0, 0, 1], &[])]);
    let mut table = table(&store, &[(service_key("ns", "a"), &["ns/gone@gone.ns 100"])]);
    let views = WaypointViews::new(&store, &table);
    assert_eq!(views.get(&GatewayKey::new("ns", "gone")).unwrap().standing, None);
    check(&views, ("ns", "gone"), &[], &["Service ns/a: FormerAddress"]);
    table.set(service_key("ns", "a"), None);
    assert_eq!(WaypointViews::new(&store, &table).iter().len(), 0);
}

/// A Gateway's standing in a store with a class and a Service that hostnames may lead to.
fn standing(gateway: Gateway) -> Standing {
    let mut class = GatewayClass { meta: Meta::named("", "istio-waypoint") };
    class.meta.labels = labels(&[("istio.io/waypoint-for", "workload")]);
    let key = gateway.key();
    let in_front = service("ns", "w", [10, 0, 0, 1], &[]);
    let store = store([Object::GatewayClass(class), in_front, Object::Gateway(gateway)]);
    WaypointViews::new(&store, &Table::default()).get(&key).unwrap().standing.clone().unwrap()
}

#[test]
fn a_waypoint_is_known_by_its_first_hostname_and_dialled_where_that_leads() {
    let host = "w.ns.svc.cluster.local";
    let check = |addresses: &[&str], address: Option<&str>, dial: &[[u8; 4]]| {
        let standing = standing(gateway("ns", "w", addresses));
        let dial: Vec<IpAddr> = dial.iter().map(|ip| IpAddr::from(*ip)).collect();
        assert_eq!((standing.address.as_deref(), standing.dial), (address, dial));
        assert_eq!(standing.ready, !addresses.is_empty());
    };
    check(&[], None, &[]);
    check(&["10.9.0.1", "10.9.0.2"], Some("10.9.0.1"), &[[10, 9, 0, 1]]);
    check(&["10.9.0.1", host], Some(host), &[[10, 0, 0, 1]]);
    check(&["10.9.0.1", "nobody.ns"], Some("nobody.ns"), &[[10, 9, 0, 1]]);
    check(&["nobody.ns"], Some("nobody.ns"), &[]);
}

#[test]
fn a_gateway_says_more_than_its_class() {
    assert_eq!(&*standing(gateway("ns", "w", &[])).serves, "workload");
    let mut own = gateway("ns", "w", &[]);
    own.meta.labels = labels(&[("istio.io/waypoint-for", "all")]);
    assert_eq!(&*standing(own).serves, "all");
    let mut other = gateway("ns", "w", &[]);
    other.class = "unknown".into();
    assert_eq!(&*standing(other).serves, "service");
}

#[test]
fn the_listener_that_counts_says_who_is_admitted() {
    let listener = |port, protocol: &str, from: Option<&str>, selector: Option<Selector>| Listener {
        port,
        protocol: protocol.into(),
        admits_from: from.map(Name::from),
        selector,
    };
    let hbone = |from| listener(15008, "HBONE", from, None);
    let team = Selector { labels: labels(&[("team", "a")]), requirements: Vec::new() };
    let rows = [
        ("", vec![], "own namespace"),
        ("", vec![hbone(None)], "own namespace"),
        ("", vec![hbone(Some("None"))], "own namespace"),
        ("", vec![listener(80, "HTTP", Some("All"), None), hbone(Some("Same"))], "own namespace"),
        ("", vec![hbone(Some("All"))], "all namespaces"),
        ("", vec![hbone(Some("Selector"))], "nobody"),
        ("", vec![listener(15008, "HBONE", Some("Selector"), Some(Selector::default()))], "all namespaces"),
        ("", vec![listener(15008, "HBONE", Some("Selector"), Some(team))], "team=a"),
        ("PROXY", vec![hbone(Some("Same")), listener(15088, "istio.io/PROXY", Some("All"), None)], "all namespaces"),
        ("PROXY/15088", vec![hbone(Some("Same")), listener(15088, "TCP", Some("All"), None)], "all namespaces"),
        ("NONE", vec![hbone(Some("All")), listener(15088, "istio.io/PROXY", None, None)], "all namespaces"),
        ("NONE/15088/1", vec![hbone(Some("All")), listener(15088, "TCP", None, None)], "all namespaces"),
        (
            "PROXY/none",
            vec![hbone(Some("Same")), listener(15088, "istio.io/PROXY", Some("All"), None)],
            "all namespaces",
        ),
    ];
    for (binding, listeners, expected) in rows {
        let mut gateway = gateway("ns", "w", &[]);
        if !binding.is_empty() {
            gateway.meta.annotations = labels(&[("ambient.istio.io/waypoint-inbound-binding", binding)]);
        }
        gateway.listeners = listeners;
        let shown = format!("{binding} {:?}", gateway.listeners);
        assert_eq!(standing(gateway).admits.to_string(), expected, "{shown}");
    }
}

#[test]
fn whom_an_owner_admits_is_asked_of_the_namespaces_labels() {
    let namespace = |name: &str, pairs: &[(&str, &str)]| {
        let meta = Meta { labels: labels(pairs), ..Meta::named("", name) };
        Object::Namespace(crate::namespace::Namespace { meta })
    };
    let store = store([namespace("a", &[("team", "a")]), namespace("ns", &[])]);
    let check = |from: Option<&str>, selector: Option<Selector>, admitted: [bool; 3]| {
        let admits_from = from.map(Name::from);
        let listener = Listener { port: 15008, protocol: "HBONE".into(), admits_from, selector };
        let gateway = Gateway { listeners: vec![listener], ..gateway("ns", "w", &[]) };
        let admits = ["ns", "a", "unknown"].map(|name| admits_namespace(&store, &gateway, &name.into()));
        assert_eq!(admits, admitted, "{:?}", gateway.listeners);
    };
    let team = Selector { labels: labels(&[("team", "a")]), requirements: Vec::new() };
    check(None, None, [true, false, false]);
    check(Some("All"), None, [true, true, true]);
    check(Some("Selector"), None, [false, false, false]);
    check(Some("Selector"), Some(team), [false, true, false]);
    check(Some("Selector"), Some(Selector::default()), [true, true, true]);
}
