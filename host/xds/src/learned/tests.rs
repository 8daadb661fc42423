//! Of what is seen of an Address, and of what clients are told because of it.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::batch::{Answer, AnswerChoice, AnswerTarget, Batch};
use model::decider::Terms;
use model::decision::{Choice, OnUnreachable};
use model::description::{Description, Fields, Reach};
use model::gateway::{Gateway, Listener, StatusAddress};
use model::learned::LearnedChanges;
use model::learned::decider::{LearnedDecider, LearnedTerms};
use model::store::{Changes, Event, Store};
use model::{Meta, Object, ResolveFailure, Resolver};

use super::mirror::{Mirror, Rewriting, Touched};
use super::*;
use crate::client::state::{Update, UpstreamResource};
use crate::proto::workload::{Locality, NamespacedHostname, NetworkAddress, PortList, WeightedWaypoint};
use crate::resource::{ResourceType, Version, bytes_of_ip};
use crate::rewrite::{WaypointFields, waypoints_of};

fn to(name: &str) -> GatewayAddress {
    let hostname =
        NamespacedHostname { namespace: "infra".into(), hostname: format!("{name}.infra.svc.cluster.local") };
    GatewayAddress { destination: Some(Destination::Hostname(hostname)), hbone_mtls_port: 15008 }
}

fn host(name: &str) -> LearnedWaypoint {
    LearnedWaypoint::Host { namespace: "infra".into(), host: format!("{name}.infra.svc.cluster.local").into() }
}

fn service(name: &str, namespace: &str, waypoint: Option<GatewayAddress>, canary: &[(&str, u32)]) -> Service {
    let weighted =
        canary.iter().map(|(name, weight)| WeightedWaypoint { destination: Some(to(name)), weight: *weight });
    Service {
        name: name.into(),
        namespace: namespace.into(),
        hostname: format!("{name}.{namespace}.svc.cluster.local"),
        addresses: vec![NetworkAddress { address: bytes_of_ip([10, 1, 0, 1].into()), ..NetworkAddress::default() }],
        waypoint,
        weighted_waypoints: weighted.collect(),
        ..Service::default()
    }
}

fn endpoint(uid: &str, of: &str, status: WorkloadStatus) -> Workload {
    Workload {
        uid: uid.into(),
        status: status.into(),
        services: [(of.to_owned(), PortList::default())].into(),
        ..Workload::default()
    }
}

/// With a field that this agent does not know.
fn sent(address: Type) -> UpstreamResource {
    let name = match &address {
        Type::Workload(it) => it.uid.clone(),
        Type::Service(it) => format!("{}/{}", it.namespace, it.hostname),
    };
    let mut body = Address { r#type: Some(address) }.encode_to_vec();
    prost::encoding::string::encode(1000, &"future".to_owned(), &mut body);
    UpstreamResource { name: name.into(), version: "1".into(), body: body.into() }
}

fn update(changed: Vec<UpstreamResource>, removed: &[&str]) -> Update {
    let removed = removed.iter().map(|name| (*name).into()).collect();
    // What is held besides is only known where it is applied.
    Update { of: ResourceType::Address, changed, removed, rejected: Vec::new(), held: Default::default() }
}

#[test]
fn a_service_is_seen_with_its_waypoints_primary_first_and_each_once() {
    let cart = Type::Service(service("cart", "shop", Some(to("wp")), &[("next", 0), ("wp", 100)]));
    let seen = subject("shop/cart.shop.svc.cluster.local", &cart, &Facts::default()).unwrap();
    assert_eq!((seen.kind, seen.upstream), (SubjectKind::Service, [host("wp"), host("next")].into()));
    assert_eq!((&*seen.name, seen.addresses), ("cart", [("".into(), IpAddr::from([10, 1, 0, 1]))].into()));
    assert_eq!(seen.row.map(|row| row.to_string()).as_deref(), Some("Service shop/cart"));
    assert_eq!(subject("shop/other", &cart, &Facts::default()), None, "a name that is not the key");
}

#[test]
fn a_private_entry_and_a_workload_are_seen_as_what_they_are() {
    let mut books = service("books", "shop", None, &[]);
    books.hostname = "books.example".into();
    books.set_visibility(workload::Visibility::Namespace);
    let seen = subject("shop/books.example", &Type::Service(books), &Facts::default()).unwrap();
    assert_eq!(
        (seen.kind, seen.visibility, seen.upstream.len()),
        (SubjectKind::ServiceEntry, Visibility::OwnNamespace, 0)
    );
    let ip = NetworkAddress { network: "n".into(), address: bytes_of_ip([10, 9, 9, 9].into()), length: None };
    let by_ip = GatewayAddress { destination: Some(Destination::Address(ip)), hbone_mtls_port: 15008 };
    let pod = Workload {
        uid: "Kubernetes//Pod/shop/p".into(),
        namespace: "shop".into(),
        waypoint: Some(by_ip),
        ..Workload::default()
    };
    let seen = subject("Kubernetes//Pod/shop/p", &Type::Workload(pod), &Facts::default()).unwrap();
    assert_eq!(*seen.upstream, [LearnedWaypoint::Ip { network: "n".into(), ip: [10, 9, 9, 9].into() }]);
    assert_eq!((seen.kind, seen.service_account.as_deref()), (SubjectKind::Pod, Some("default")));
}

#[test]
fn a_healthy_workload_is_an_endpoint_where_the_control_plane_says() {
    let at = Locality { region: "r".into(), zone: "a".into(), subzone: String::new() };
    let pod = Workload { locality: Some(at), ..endpoint("c//Pod/infra/a", "infra/wp", WorkloadStatus::Healthy) };
    let seen = |pod: Workload| subject("c//Pod/infra/a", &Type::Workload(pod), &Facts::default()).unwrap().ready;
    let ready = seen(pod.clone()).unwrap();
    assert_eq!((&ready.services[..], ready.locality.join("/")), (&["infra/wp".into()][..], "r/a/".to_owned()));
    assert_eq!(&*seen(Workload { locality: None, ..pod.clone() }).unwrap().locality.join("/"), "//");
    assert_eq!(seen(Workload { status: WorkloadStatus::Unhealthy.into(), ..pod }), None);
}

/// Sends services through the waypoint `next` where it may, and keeps the rest.
struct ToNext(OnUnreachable);

impl Resolver for ToNext {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let next = |index: &&u32| batch.gateways[**index as usize].key.name.starts_with("next.");
        let choice = |found: Option<&u32>| match found {
            Some(gateway) => {
                AnswerChoice::Waypoints(vec![AnswerTarget { gateway: *gateway, address: Some(0), weight: 100 }])
            }
            None => AnswerChoice::Keep,
        };
        let answer = |choice| Answer {
            choice,
            on_unreachable: self.0,
            reason: None,
            second_reason: None,
            ingress: false,
            tunnel: None,
        };
        Ok(batch.subjects.iter().map(|it| answer(choice(it.candidates.iter().find(next)))).collect())
    }
}

/// A mirror and what decides for it.
struct Case {
    mirror: Mirror,
    decider: LearnedDecider,
    store: Store,
    guard_waypoint_services: bool,
    allow_unprogrammed: bool,
}

impl Case {
    fn new(on_unreachable: OnUnreachable) -> Self {
        Self::beside([], false, on_unreachable)
    }

    /// Beside another source that has these; where it is allowed, rules choose what they like.
    fn beside(
        gateways: impl IntoIterator<Item = Gateway>,
        allow_unprogrammed: bool,
        on_unreachable: OnUnreachable,
    ) -> Self {
        let description = Description {
            name: "next".into(),
            version: "1".into(),
            reads: Vec::new(),
            fields: Fields { upstream: true, ..Fields::default() },
            references: Vec::new(),
            reach: Reach::OwnNamespace,
        };
        let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Keep, unresolved: None };
        let terms = LearnedTerms { terms, allow_unprogrammed };
        let (mirror, mut store) = (Mirror::default(), Store::new(Facts::default()));
        store.apply_all(gateways.into_iter().map(|it| Event::Apply(Object::Gateway(it))));
        let resolver = Arc::new(ToNext(on_unreachable));
        let decider = LearnedDecider::new(Arc::new(description), resolver, terms, &store, mirror.mesh(), 0);
        let decider = decider.map_err(|(_, why)| why).unwrap();
        Self { mirror, decider, store, guard_waypoint_services: true, allow_unprogrammed }
    }

    fn apply(&mut self, update: &Update) -> Touched {
        let mut held = self.mirror.upstream(update.of).clone();
        for name in &update.removed {
            held.remove(name);
        }
        for resource in &update.changed {
            held.insert(resource.clone());
        }
        let touched = self.mirror.apply(&Update { held, ..update.clone() }, self.store.facts());
        let moved = self.decider.apply(&self.store, &Changes::default(), self.mirror.mesh(), &touched.learned, 1);
        let names = touched.addresses.iter().cloned().chain(moved.into_iter().map(|it| it.name));
        let rewriting = Rewriting {
            rows: self.decider.rows(),
            rules: 7,
            store: &self.store,
            guard_waypoint_services: self.guard_waypoint_services,
            allow_unprogrammed: self.allow_unprogrammed,
        };
        assert_eq!(self.mirror.publish(names.collect::<Vec<_>>(), &touched.reachable, rewriting), []);
        touched
    }

    fn body(&self, name: &str) -> Bytes {
        self.mirror.snapshot(7, 1).addresses.get(name).unwrap().body().clone()
    }

    fn waypoints(&self, name: &str) -> WaypointFields {
        waypoints_of(&self.body(name)).unwrap().unwrap()
    }
}

const CART: &str = "shop/cart.shop.svc.cluster.local";

#[test]
fn what_is_kept_goes_out_as_it_came_in_and_what_is_moved_but_for_its_waypoints() {
    let mut case = Case::new(OnUnreachable::Fail);
    let kept = sent(Type::Service(service("plain", "shop", Some(to("wp")), &[])));
    let moved = sent(Type::Service(service("cart", "shop", Some(to("wp")), &[("wp", 100), ("next", 0)])));
    let odd = UpstreamResource { name: "odd".into(), version: "".into(), body: Bytes::from_static(&[0x1a, 0x00]) };
    case.apply(&update(vec![kept.clone(), moved, odd.clone()], &[]));
    let snapshot = case.mirror.snapshot(7, 1);
    assert_eq!(snapshot.addresses.len(), 3);
    for same in [&kept, &odd] {
        let resource = snapshot.addresses.get(&same.name).unwrap();
        assert_eq!((resource.body(), resource.version()), (&same.body, Version::of(&same.body)), "{}", same.name);
        assert_eq!(resource.body().as_ptr(), same.body.as_ptr(), "the very bytes");
    }
    assert_eq!(case.waypoints(CART), WaypointFields { waypoint: Some(to("next")), weighted: Vec::new() });
    let Some(Type::Service(told)) = decoded(&case.body(CART)) else { panic!("no service") };
    let expected = Service { waypoint: Some(to("next")), ..service("cart", "shop", None, &[]) };
    assert_eq!(told, expected);
    assert!(case.body(CART).ends_with(b"future"));
    assert_eq!(snapshot.addresses.get(CART).unwrap().stamp().rules, 7);
}

#[test]
fn what_is_not_programmed_any_more_is_kept_and_what_is_gone_is_gone() {
    let mut case = Case::new(OnUnreachable::Fail);
    case.apply(&update(
        vec![sent(Type::Service(service("cart", "shop", Some(to("wp")), &[("wp", 100), ("next", 0)])))],
        &[],
    ));
    let only = sent(Type::Service(service("cart", "shop", Some(to("wp")), &[])));
    case.apply(&update(vec![only.clone()], &[]));
    assert_eq!(case.body(CART), only.body);
    let touched = case.apply(&update(Vec::new(), &[CART]));
    assert_eq!(touched.addresses, BTreeSet::from([CART.into()]));
    assert!(case.mirror.snapshot(7, 1).addresses.is_empty() && case.mirror.mesh().is_empty());
    assert_eq!(case.mirror.upstream(ResourceType::Address).len(), 0);
}

#[test]
fn a_bypass_follows_the_health_of_the_waypoint() {
    let mut case = Case::new(OnUnreachable::Bypass);
    let next = "infra/next.infra.svc.cluster.local";
    let cart = sent(Type::Service(service("cart", "shop", Some(to("wp")), &[("wp", 100), ("next", 0)])));
    case.apply(&update(vec![cart], &[]));
    assert_eq!(case.waypoints(CART), WaypointFields::default(), "nothing is behind it");
    let through = WaypointFields { waypoint: Some(to("next")), weighted: Vec::new() };
    let pod = |uid: &str, status| sent(Type::Workload(endpoint(uid, next, status)));
    let touched = case.apply(&update(
        vec![pod("c//Pod/infra/a", WorkloadStatus::Healthy), pod("c//Pod/infra/b", WorkloadStatus::Healthy)],
        &[],
    ));
    assert_eq!((touched.reachable, case.waypoints(CART)), ([next.into()].into(), through.clone()));
    case.apply(&update(vec![pod("c//Pod/infra/a", WorkloadStatus::Unhealthy)], &[]));
    assert_eq!(case.waypoints(CART), through, "one is left");
    case.apply(&update(Vec::new(), &["c//Pod/infra/b"]));
    assert_eq!(case.waypoints(CART), WaypointFields::default());
    case.apply(&update(vec![pod("c//Pod/infra/a", WorkloadStatus::Healthy)], &[]));
    assert_eq!(case.waypoints(CART), through);
}

#[test]
fn policies_pass_byte_for_byte() {
    let mut mirror = Mirror::default();
    let policy = UpstreamResource {
        name: "shop/deny".into(),
        version: "".into(),
        body: Bytes::from_static(&[0x0a, 0x04, b'd', b'e', b'n', b'y']),
    };
    let update = |changed: Vec<UpstreamResource>, removed| Update {
        of: ResourceType::Authorization,
        held: changed.iter().cloned().collect(),
        changed,
        removed,
        rejected: Vec::new(),
    };
    let touched = mirror.apply(&update(vec![policy.clone()], Vec::new()), &Facts::default());
    assert_eq!(touched.learned, LearnedChanges::default());
    assert_eq!(mirror.snapshot(1, 1).authorizations.get("shop/deny").unwrap().body(), &policy.body);
    mirror.apply(&update(Vec::new(), vec!["shop/deny".into()]), &Facts::default());
    assert!(mirror.snapshot(1, 1).authorizations.is_empty());
}

#[test]
fn new_rules_are_published_whole() {
    let mut case = Case::new(OnUnreachable::Fail);
    let cart = sent(Type::Service(service("cart", "shop", Some(to("wp")), &[("wp", 100), ("next", 0)])));
    case.apply(&update(vec![cart.clone()], &[]));
    let nothing = imbl::OrdMap::new();
    let rewriting = Rewriting {
        rows: &nothing,
        rules: 8,
        store: &case.store,
        guard_waypoint_services: true,
        allow_unprogrammed: false,
    };
    assert_eq!(case.mirror.publish_all(rewriting), []);
    assert_eq!(case.body(CART), cart.body);
    assert_eq!(case.mirror.snapshot(8, 1).addresses.get(CART).unwrap().stamp().rules, 8);
}

/// The Gateway `shop/next.gw`, which another source has, at these addresses.
fn gateway(addresses: &[(&str, &str)]) -> Gateway {
    let hbone = Listener { port: 15008, protocol: "HBONE".into(), admits_from: None, selector: None };
    let address = |(kind, value): &(&str, &str)| StatusAddress { kind: Some((*kind).into()), value: (*value).into() };
    Gateway {
        meta: Meta::named("shop", "next.gw"),
        class: "istio-waypoint".into(),
        listeners: vec![hbone],
        addresses: addresses.iter().map(address).collect(),
    }
}

/// Where a ztunnel would find the waypoint of a service: the addresses of what stands behind its hostname, or its address.
fn found(case: &Case, name: &str) -> Vec<IpAddr> {
    let snapshot = case.mirror.snapshot(7, 1);
    match case.waypoints(name).waypoint.unwrap().destination.unwrap() {
        Destination::Address(at) => ip_of_bytes(&at.address).into_iter().collect(),
        Destination::Hostname(host) => {
            let key = format!("{}/{}", host.namespace, host.hostname);
            let service = Key::Service(key.as_str().into());
            let behind = snapshot.addresses.at(&service);
            let behind = behind.filter_map(|name| decoded(snapshot.addresses.get(name)?.body()));
            let ips = behind.filter_map(|it| if let Type::Workload(it) = it { Some(it.addresses) } else { None });
            assert!(snapshot.addresses.get(&key).is_some(), "ztunnel needs the service as well");
            ips.flatten().filter_map(|bytes| ip_of_bytes(&bytes)).collect()
        }
    }
}

#[test]
fn a_waypoint_of_which_the_control_plane_has_not_told_is_told_while_somebody_is_sent_there() {
    let outside = gateway(&[("Hostname", "w.example"), ("IPAddress", "10.7.0.1")]);
    for on_unreachable in [OnUnreachable::Fail, OnUnreachable::Bypass] {
        let mut case = Case::beside([outside.clone()], true, on_unreachable);
        let cart = || sent(Type::Service(service("cart", "shop", Some(to("wp")), &[])));
        case.apply(&update(vec![cart()], &[]));
        assert_eq!(found(&case, CART), [IpAddr::from([10, 7, 0, 1])]);
        let snapshot = case.mirror.snapshot(7, 1);
        let told = snapshot.addresses.get("wayswitch//waypoint/shop/w.example").unwrap();
        let Some(Type::Workload(told)) = decoded(told.body()) else { panic!("no workload") };
        assert_eq!(
            (told.network_mode(), &*told.node, &*told.service_account),
            (NetworkMode::HostNetwork, "", "next.gw")
        );
        let Some(Type::Service(service)) = decoded(snapshot.addresses.get("shop/w.example").unwrap().body()) else {
            panic!("no service")
        };
        assert_eq!(service.subject_alt_names, ["spiffe://cluster.local/ns/shop/sa/next.gw"]);

        // The control plane tells of it: what it says counts, and nothing stands beside it.
        let entry = Service { hostname: "w.example".into(), ..self::service("w", "shop", None, &[]) };
        let pod = endpoint("c//Pod/shop/w", "shop/w.example", WorkloadStatus::Healthy);
        let real = sent(Type::Service(entry));
        case.apply(&update(vec![real.clone(), sent(Type::Workload(pod))], &[]));
        assert_eq!((case.body("shop/w.example"), case.mirror.snapshot(7, 1).addresses.len()), (real.body, 3));
        case.apply(&update(Vec::new(), &["shop/w.example", "c//Pod/shop/w"]));
        assert_eq!(found(&case, CART), [IpAddr::from([10, 7, 0, 1])], "it has not gone from where it is");
        case.apply(&update(Vec::new(), &[CART]));
        assert!(case.mirror.snapshot(7, 1).addresses.is_empty(), "nobody is sent there any more");
    }
}

#[test]
fn a_waypoint_that_is_known_by_its_address_is_told_by_it_only_where_somebody_has_it() {
    let mut case = Case::beside([gateway(&[("IPAddress", "10.1.0.1")])], true, OnUnreachable::Fail);
    let cart = Service { addresses: Vec::new(), ..service("cart", "shop", None, &[]) };
    case.apply(&update(vec![sent(Type::Service(cart))], &[]));
    let by_host =
        |case: &Case| matches!(case.waypoints(CART).waypoint.unwrap().destination, Some(Destination::Hostname(_)));
    assert!(by_host(&case));
    assert_eq!(found(&case, CART), [IpAddr::from([10, 1, 0, 1])]);
    case.apply(&update(vec![sent(Type::Service(service("gw", "other", None, &[])))], &[]));
    assert!(!by_host(&case), "the service gw has it");
    assert_eq!(case.mirror.snapshot(7, 1).addresses.len(), 2);
    case.apply(&update(Vec::new(), &["other/gw.other.svc.cluster.local"]));
    assert!(by_host(&case));
    assert_eq!((found(&case, CART), case.mirror.snapshot(7, 1).addresses.len()), (vec![[10, 1, 0, 1].into()], 3));
}

#[test]
fn without_leave_nothing_is_told_that_the_control_plane_has_not() {
    let mut case = Case::beside([gateway(&[("IPAddress", "10.7.0.1")])], false, OnUnreachable::Fail);
    let cart = sent(Type::Service(service("cart", "shop", Some(to("wp")), &[])));
    case.apply(&update(vec![cart.clone()], &[]));
    assert_eq!((case.body(CART), case.mirror.snapshot(7, 1).addresses.len()), (cart.body, 1));
}

#[test]
fn a_waypoints_own_service_is_left_as_the_control_plane_has_it() {
    let wp = "infra/wp.infra.svc.cluster.local";
    let own = || sent(Type::Service(service("wp", "infra", Some(to("old")), &[("old", 100), ("next", 0)])));
    let cart = || sent(Type::Service(service("cart", "shop", Some(to("wp")), &[])));
    let mut case = Case::new(OnUnreachable::Fail);
    case.apply(&update(vec![own()], &[]));
    assert_eq!(case.waypoints(wp).waypoint, Some(to("next")), "nobody knows that it is a waypoint");
    // Somebody is given it as a waypoint; of itself nothing changed.
    case.apply(&update(vec![cart()], &[]));
    assert_eq!(case.body(wp), own().body);
    assert_eq!(case.mirror.guarded().iter().map(|it| &**it).collect::<Vec<_>>(), [wp]);
    case.apply(&update(Vec::new(), &[CART]));
    assert_eq!((case.waypoints(wp).waypoint, case.mirror.guarded().len()), (Some(to("next")), 0));

    let mut case = Case { guard_waypoint_services: false, ..Case::new(OnUnreachable::Fail) };
    case.apply(&update(vec![own(), cart()], &[]));
    assert_eq!((case.waypoints(wp).waypoint, case.mirror.guarded().len()), (Some(to("next")), 0));
}

#[test]
fn an_object_says_as_well_that_a_service_is_a_waypoints_own() {
    let name = "shop/gw.shop.svc.cluster.local";
    let gateway = gateway(&[("Hostname", "gw.shop.svc.cluster.local")]);
    let own = || sent(Type::Service(service("gw", "shop", Some(to("old")), &[("old", 100), ("next", 0)])));
    let mut case = Case::new(OnUnreachable::Fail);
    case.store.apply(Event::Apply(Object::Service(model::Service::named("shop", "gw"))));
    case.apply(&update(vec![own()], &[]));
    assert_eq!(case.waypoints(name).waypoint, Some(to("next")));
    let changes =
        case.store.apply(Event::Apply(Object::Gateway(Gateway { meta: Meta::named("shop", "gw"), ..gateway })));
    case.mirror.note_gateways();
    case.decider.apply(&case.store, &changes, case.mirror.mesh(), &LearnedChanges::default(), 2);
    case.apply(&update(Vec::new(), &[]));
    assert_eq!(case.body(name), own().body);
}
