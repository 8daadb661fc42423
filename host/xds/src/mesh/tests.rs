//! Which field comes from where, kind by kind; and what an update touches. That an update misses nothing is shown by
//! generated histories, beside the other tests of whole meshes.

use model::batch::{Answer, AnswerChoice, AnswerTarget, Batch};
use model::decider::Terms;
use model::decision::{Choice, OnUnreachable, Tunnel, TunnelProtocol};
use model::description::{Fields, Reach, Read, Reference, Source};
use model::endpoint_slice::SERVICE_NAME;
use model::gateway::{Gateway, Listener, StatusAddress};
use model::peer_authentication::MtlsMode;
use model::service::{Distribution, Port};
use model::service_entry::{EntryEndpoint, Resolution};
use model::workload::PodTemplate;
use model::{
    AuthorizationPolicy, Decider, Description, EndpointSlice, Event, Facts, Labels, Mesh, Meta, Namespace, Node,
    Object, PeerAuthentication, Pod, ResolveFailure, Resolver, Service, ServiceEntry, WorkloadEntry,
};
use prost::Message;

use super::*;
use crate::proto::workload::address::Type;
use crate::proto::workload::gateway_address::Destination;
use crate::proto::workload::{self as proto, Address, GatewayAddress, NetworkMode, TunnelProtocol as Wire};

const WISH: &str = "istio.io/use-waypoint";

/// Sends everything through the Gateway that its label names, and past it if it cannot be reached and is called `soft`.
struct Wishes;

impl Resolver for Wishes {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let answer = |question: &model::batch::Question<'_>| {
            let first = question.candidates.first().and_then(|at| Some((*at, batch.gateways.get(*at as usize)?)));
            let target = first.filter(|(_, gateway)| !gateway.addresses.is_empty());
            let choice = target.map_or(AnswerChoice::Direct, |(gateway, _)| {
                AnswerChoice::Waypoints(vec![AnswerTarget { gateway, address: Some(0), weight: 100 }])
            });
            let is_soft = target.is_some_and(|(_, gateway)| &*gateway.key.name == "soft");
            Answer {
                choice,
                on_unreachable: if is_soft { OnUnreachable::Bypass } else { OnUnreachable::Fail },
                reason: None,
                second_reason: None,
                ingress: true,
                tunnel: first.is_none().then_some(Tunnel { protocol: TunnelProtocol::Proxy, port: 15088 }),
            }
        };
        Ok(batch.subjects.iter().map(answer).collect())
    }
}

struct World {
    store: Store,
    decider: Decider,
    options: Options,
    snapshot: Snapshot,
}

impl World {
    fn of(objects: impl IntoIterator<Item = Object>) -> Self {
        Self::with(Facts::default(), Options::default(), objects)
    }

    fn with(facts: Facts, options: Options, objects: impl IntoIterator<Item = Object>) -> Self {
        let mut store = Store::new(facts);
        store.apply_all(objects.into_iter().map(Event::Apply));
        let description = Arc::new(Description {
            name: "wishes".into(),
            version: "0".into(),
            reads: vec![Read { at: Source::SubjectLabel, key: WISH.into() }],
            fields: Fields::default(),
            references: vec![Reference { name_label: WISH.into(), namespace_label: None, inherit: true }],
            reach: Reach::Referenced,
        });
        let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
        let decider = Decider::new(7, description, Arc::new(Wishes), terms, &store).map_err(|(_, why)| why).unwrap();
        let snapshot = snapshot(Decided { store: &store, table: decider.table() }, &options);
        Self { store, decider, options, snapshot }
    }

    /// One step; the names of what is told differently.
    fn step(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<String> {
        let (before, old) = (self.store.clone(), self.snapshot.clone());
        let mut step = Step::default();
        for event in events {
            step.objects.push(event.key());
            step.changes.merge(self.store.apply(event));
        }
        step.moved = self.decider.apply(&self.store, &step.changes);
        let now = Decided { store: &self.store, table: self.decider.table() };
        update(&mut self.snapshot, &before, now, &step, &self.options);
        let fresh = snapshot(now, &self.options);
        assert_eq!(self.snapshot.addresses.by_name(), fresh.addresses.by_name());
        assert_eq!(self.snapshot.authorizations.by_name(), fresh.authorizations.by_name());
        let (old, new) = (old.addresses.by_name(), fresh.addresses.by_name());
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        names.into_iter().filter(|name| old.get(*name) != new.get(*name)).map(ToString::to_string).collect()
    }

    fn address(&self, name: &str) -> Option<Type> {
        Address::decode(self.snapshot.addresses.get(name)?.body().clone()).unwrap().r#type
    }

    #[track_caller]
    fn workload(&self, uid: &str) -> proto::Workload {
        match self.address(uid) {
            Some(Type::Workload(workload)) => workload,
            other => panic!("{uid}: {other:?} of {:?}", self.snapshot.addresses.by_name().keys().collect::<Vec<_>>()),
        }
    }

    #[track_caller]
    fn service(&self, name: &str) -> proto::Service {
        match self.address(name) {
            Some(Type::Service(service)) => service,
            other => panic!("{name}: {other:?} of {:?}", self.snapshot.addresses.by_name().keys().collect::<Vec<_>>()),
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn meta(name: &str, pairs: &[(&str, &str)]) -> Meta {
    Meta { labels: labels(pairs), ..Meta::named("shop", name) }
}

fn port(name: &str, number: u32, target: Option<&str>) -> Port {
    Port { name: name.into(), number, protocol: "TCP".into(), target: target.map(Into::into) }
}

fn pod(name: &str, last: u8, pairs: &[(&str, &str)]) -> Pod {
    Pod { meta: meta(name, pairs), addresses: [[10, 0, 0, last].into()].into(), ..Pod::named("", "") }
}

fn service(name: &str, app: &str) -> Service {
    let selector = if app.is_empty() { Labels::default() } else { labels(&[("app", app)]) };
    let (addresses, ports) = ([[10, 9, 0, 1].into()].into(), vec![port("http", 80, Some("web"))]);
    Service { meta: meta(name, &[]), addresses, ports, selector, ..Service::named("", "") }
}

/// Reached by one hostname, or address.
fn waypoint(name: &str, kind: &str, value: &str) -> Object {
    let hbone = Listener { port: 15008, protocol: "HBONE".into(), admits_from: None, selector: None };
    Object::Gateway(Gateway {
        meta: meta(name, &[]),
        class: "istio-waypoint".into(),
        listeners: vec![hbone],
        addresses: vec![StatusAddress { kind: Some(kind.into()), value: value.into() }],
    })
}

fn numbers(ports: &[proto::Port]) -> Vec<(u32, u32)> {
    ports.iter().map(|port| (port.service_port, port.target_port)).collect()
}

fn leads_to(waypoint: Option<&GatewayAddress>) -> Option<String> {
    waypoint.map(|waypoint| match waypoint.destination.as_ref().unwrap() {
        Destination::Hostname(name) => format!("{}/{}", name.namespace, name.hostname),
        Destination::Address(address) => crate::resource::ip_of_bytes(&address.address).unwrap().to_string(),
    })
}

const CART: &str = "Kubernetes//Pod/shop/cart-1";
const CART_HOST: &str = "shop/cart.shop.svc.cluster.local";

#[test]
fn a_pod_in_full() {
    let template = PodTemplate {
        service_account: "robot".into(),
        workload: Some("cart".into()),
        ports: vec![("web".into(), 8080)],
    };
    let annotations = labels(&[("ambient.istio.io/redirection", "enabled")]);
    let cart = pod("cart-1", 1, &[("app", "cart"), ("version", "v2"), (WISH, "w")]);
    let cart =
        Pod { meta: Meta { annotations, ..cart.meta }, node: Some("here".into()), template: template.into(), ..cart };
    let node = model::store::Node { name: Some("here".into()), zone: Some("z".into()), ..Default::default() };
    let mesh = Mesh { trust_domain: "td".into(), ..Mesh::default() };
    let facts = Facts { node, mesh, network: "n".into(), cluster_id: "c".into(), ..Facts::default() };
    let policy = |namespace: &str, name: &str, selector: &[(&str, &str)]| {
        let selector = Some(labels(selector));
        Object::AuthorizationPolicy(AuthorizationPolicy { selector, ..AuthorizationPolicy::named(namespace, name) })
    };
    let world = World::with(
        facts,
        Options::default(),
        [
            Object::Pod(cart.clone()),
            Object::Pod(Pod { terminating: true, host_network: true, ..pod("cart-2", 2, &[]) }),
            Object::Service(service("cart", "cart")),
            waypoint("w", "Hostname", "w.example"),
            policy("shop", "b", &[("app", "cart")]),
            policy("shop", "a", &[("app", "cart"), ("version", "v1")]),
            policy("istio-system", "z", &[("app", "cart")]),
            policy("other", "c", &[("app", "cart")]),
            policy("shop", "nobody", &[]),
        ],
    );
    let told = world.workload("c//Pod/shop/cart-1");
    assert_eq!((&*told.name, &*told.namespace, &*told.service_account), ("cart-1", "shop", "robot"));
    assert_eq!((&*told.network, &*told.trust_domain, &*told.cluster_id, &*told.node), ("n", "td", "c", "here"));
    assert_eq!((&*told.canonical_name, &*told.canonical_revision, &*told.workload_name), ("cart", "v2", "cart"));
    assert_eq!((told.tunnel_protocol(), told.native_tunnel), (Wire::Hbone, false));
    assert_eq!((told.status(), told.workload_type()), (proto::WorkloadStatus::Healthy, proto::WorkloadType::Pod));
    assert_eq!(told.locality.unwrap().zone, "z");
    assert_eq!(told.authorization_policies, ["istio-system/z", "shop/b"]);
    assert_eq!(numbers(&told.services[CART_HOST].ports), [(80, 8080)]);
    assert_eq!(leads_to(told.waypoint.as_ref()).as_deref(), Some("shop/w.example"));
    assert_eq!(world.snapshot.addresses.get("c//Pod/shop/cart-1").unwrap().stamp().rules, 7);
    let other = world.workload("c//Pod/shop/cart-2");
    assert_eq!((other.status(), other.network_mode()), (proto::WorkloadStatus::Unhealthy, NetworkMode::HostNetwork));
    assert_eq!((other.tunnel_protocol(), other.locality, other.waypoint), (Wire::None, None, None));
    assert_eq!(
        (&*other.canonical_name, &*other.canonical_revision, &*other.workload_name),
        ("cart-2", "latest", "cart-2")
    );
    assert_eq!(other.application_tunnel.unwrap().port, 15088);
}

#[test]
fn a_pod_is_where_its_node_is_and_goes_with_it() {
    let on = |name: &str, last, node: &str| Object::Pod(Pod { node: Some(node.into()), ..pod(name, last, &[]) });
    let node = |name: &str, zone: &str| {
        let zone = labels(&[("topology.kubernetes.io/region", "r"), ("topology.kubernetes.io/zone", zone)]);
        Object::Node(Node::new(name, &zone))
    };
    let mut world = World::of([on("cart-1", 1, "a"), on("cart-2", 2, "b"), node("b", "z2")]);
    let zone = |world: &World, uid: &str| world.workload(uid).locality.map(|it| format!("{}/{}", it.region, it.zone));
    let both = |world: &World| [CART, "Kubernetes//Pod/shop/cart-2"].map(|uid| zone(world, uid));
    assert_eq!(both(&world), [None, Some("r/z2".into())]);
    // It comes later, lies elsewhere, says the same again, and goes.
    assert_eq!(world.step([Event::Apply(node("a", "z1"))]), [CART]);
    assert_eq!(world.step([Event::Apply(node("a", "z3"))]), [CART]);
    assert_eq!(both(&world), [Some("r/z3".into()), Some("r/z2".into())]);
    assert_eq!(world.step([Event::Apply(node("a", "z3"))]), [""; 0]);
    assert_eq!(world.step([Event::Delete(node("a", "").key())]), [CART]);
    assert_eq!(both(&world), [None, Some("r/z2".into())]);
}

#[test]
fn who_is_strict_lists_a_policy_and_follows_what_counts() {
    const STRICT: &str = "istio-system/istio_converted_static_strict";
    const OWN: &str = "shop/converted_peer_authentication_p";
    let at = |namespace: &str, mode| PeerAuthentication { mode, ..PeerAuthentication::named(namespace, "p") };
    let put = |it: PeerAuthentication| Event::Apply(Object::PeerAuthentication(it));
    let entry = WorkloadEntry { meta: meta("vm", &[("app", "cart")]), ..WorkloadEntry::named("", "") };
    let mut world = World::of([Object::Pod(pod("cart-1", 1, &[("app", "cart")])), Object::WorkloadEntry(entry)]);
    let listed = |world: &World| world.workload(CART).authorization_policies;
    let told =
        |world: &World| world.snapshot.authorizations.by_name().keys().map(ToString::to_string).collect::<Vec<_>>();
    let vm = "Kubernetes/networking.istio.io/WorkloadEntry/shop/vm";
    assert_eq!(world.step([put(at("istio-system", MtlsMode::Strict))]), [CART, vm]);
    assert_eq!((listed(&world), told(&world)), (vec![STRICT.into()], vec![STRICT.into()]));
    // The policy of its own comes and goes with the ports, and with what is inherited.
    let of_cart = |ports: &[(u32, MtlsMode)]| PeerAuthentication {
        selector: Some(labels(&[("app", "cart")])),
        ports: ports.to_vec(),
        ..at("shop", MtlsMode::Unset)
    };
    assert_eq!(world.step([put(of_cart(&[]))]), [""; 0]);
    assert_eq!(world.step([put(of_cart(&[(80, MtlsMode::Permissive)]))]), [CART, vm]);
    assert_eq!((listed(&world), told(&world)), (vec![OWN.into()], vec![STRICT.into(), OWN.into()]));
    let namespace = PeerAuthentication { meta: Meta::named("shop", "q"), ..at("shop", MtlsMode::Permissive) };
    assert_eq!(world.step([put(namespace.clone())]), [CART, vm]);
    assert_eq!((listed(&world), told(&world)), (vec![], vec![STRICT.to_owned()]));
    let gone = |it: PeerAuthentication| Event::Delete(Object::PeerAuthentication(it).key());
    assert_eq!(world.step([gone(of_cart(&[])), gone(namespace)]), [CART, vm]);
    assert_eq!(world.step([gone(at("istio-system", MtlsMode::Unset))]), [CART, vm]);
    assert_eq!((listed(&world), told(&world)), (vec![], vec![]));
}

/// A Gateway that stands for one of another network, with a tunnel listener.
fn remote(name: &str, network: &str, addresses: &[(Option<&str>, &str)]) -> Gateway {
    let address =
        |(kind, value): &(Option<&str>, &str)| StatusAddress { kind: kind.map(Into::into), value: (*value).into() };
    let listener =
        |port, protocol: &str| Listener { port, protocol: protocol.into(), admits_from: None, selector: None };
    Gateway {
        meta: meta(name, &[("topology.istio.io/network", network)]),
        class: "istio-remote".into(),
        listeners: vec![listener(15021, "TCP"), listener(15009, "HBONE")],
        addresses: addresses.iter().map(address).collect(),
    }
}

#[test]
fn a_workload_of_another_network_is_reached_through_its_gateway() {
    let vm = |name: &str, network: Option<&str>| {
        let entry = WorkloadEntry { address: "10.7.0.1".into(), ..WorkloadEntry::named("shop", name) };
        Object::WorkloadEntry(WorkloadEntry { network: network.map(Into::into), ..entry })
    };
    let (east, own) = (remote("east", "far", &[(None, "192.0.2.9"), (Some("IPAddress"), "192.0.2.1")]), "near");
    let facts = Facts { network: own.into(), ..Facts::default() };
    let objects = [vm("far", Some("far")), vm("near", Some(own)), vm("here", None), vm("lost", Some("elsewhere"))];
    let mut world = World::with(facts, Options::default(), objects);
    let uid = |name: &str| format!("Kubernetes/networking.istio.io/WorkloadEntry/shop/{name}");
    let reached = |world: &World, name: &str| leads_to(world.workload(&uid(name)).network_gateway.as_ref());
    assert_eq!(reached(&world, "far"), None, "nobody knows how");
    let gateway = "NetworkGateway/far/192.0.2.1/15009";
    assert_eq!(world.step([Event::Apply(Object::Gateway(east.clone()))]), [uid("far"), gateway.to_owned()]);
    assert_eq!(reached(&world, "far").as_deref(), Some("192.0.2.1"));
    assert!(["near", "here", "lost"].iter().all(|name| reached(&world, name).is_none()));
    let told = world.workload(gateway);
    assert_eq!((&*told.service_account, &*told.namespace, &*told.network), ("east-istio-remote", "shop", "far"));
    assert_eq!(world.workload(&uid("far")).network_gateway.unwrap().hbone_mtls_port, 15009);
    // By a hostname, as another account; and not a remote one any more.
    let annotations = labels(&[("gateway.istio.io/service-account", "robot")]);
    let named = remote("east", "far", &[(Some("Hostname"), "east.example")]);
    let named = Gateway { meta: Meta { annotations, ..named.meta }, ..named };
    world.step([Event::Apply(Object::Gateway(named))]);
    assert_eq!(reached(&world, "far").as_deref(), Some("shop/east.example"));
    let told = world.workload("NetworkGateway/far/east.example/15009");
    assert_eq!((&*told.service_account, &*told.hostname), ("robot", "east.example"));
    world.step([Event::Apply(Object::Gateway(Gateway { class: "istio-east-west".into(), ..east }))]);
    assert_eq!(reached(&world, "far"), None, "the gateway of this cluster is for others");
}

#[test]
fn the_root_namespace_says_on_which_network_everything_is() {
    let root = |network: &str| {
        let labels = labels(&[("topology.istio.io/network", network)]);
        Object::Namespace(Namespace { meta: Meta { labels, ..Meta::named("", "istio-system") } })
    };
    let mut world = World::of([Object::Pod(pod("cart-1", 1, &[])), Object::Service(service("cart", "")), root("n1")]);
    let network = |world: &World| (world.workload(CART).network, world.service(CART_HOST).addresses[0].network.clone());
    assert_eq!(network(&world), ("n1".into(), "n1".into()));
    world.step([Event::Apply(root("n2"))]);
    assert_eq!(network(&world), ("n2".into(), "n2".into()));
    world.step([Event::Delete(root("").key())]);
    assert_eq!(network(&world), (String::new(), String::new()));
}

/// It stands for what its hosts resolve to.
fn by_name() -> ServiceEntry {
    ServiceEntry {
        hosts: vec!["c.example".into(), "d.example".into()],
        ports: vec![port("http", 80, None)],
        resolution: Resolution::Dns,
        ..ServiceEntry::named("shop", "dns")
    }
}

#[test]
fn workloads_that_are_no_pods() {
    let endpoint = EntryEndpoint {
        network: Some("far".into()),
        ports: vec![("http".into(), 8081)],
        locality: Some("r/z/s".into()),
        weight: 3,
        ..EntryEndpoint::at("10.4.0.1")
    };
    let entry = ServiceEntry {
        meta: meta("api", &[("app", "api"), ("networking.istio.io/tunnel", "http")]),
        hosts: vec!["a.example".into(), "b.example".into()],
        ports: vec![port("http", 80, None)],
        resolution: Resolution::Static,
        endpoints: EntryEndpoint::sorted(vec![endpoint, EntryEndpoint::at("vm.example")]),
        ..ServiceEntry::named("", "")
    };
    let vm = WorkloadEntry {
        meta: meta("vm", &[("app", "vm")]),
        spec_labels: labels(&[("app", "old"), ("version", "v3")]),
        address: "10.5.0.1".into(),
        ports: vec![("web".into(), 8082)],
        weight: 2,
        ..WorkloadEntry::named("", "")
    };
    let slice = |name: &str, service: &str| EndpointSlice {
        meta: meta(name, &[(SERVICE_NAME, service)]),
        addresses: vec!["10.6.0.1".into(), "10.6.0.2".into(), "host.example".into()],
        unready: vec!["10.6.0.2".into()],
        ports: vec![("http".into(), 8083)],
        ..EndpointSlice::named("", "")
    };
    let world = World::of([
        Object::ServiceEntry(entry),
        Object::ServiceEntry(by_name()),
        Object::WorkloadEntry(vm),
        Object::Service(service("vm", "vm")),
        Object::EndpointSlice(slice("vm-1", "vm")),
        Object::EndpointSlice(slice("lost-1", "lost")),
    ]);
    let told = world.workload("Kubernetes/networking.istio.io/ServiceEntry/shop/api/10.4.0.1");
    assert_eq!(told.services.keys().collect::<Vec<_>>(), ["shop/a.example", "shop/b.example"]);
    assert_eq!(numbers(&told.services["shop/b.example"].ports), [(80, 8081)]);
    assert_eq!(
        (&*told.network, told.capacity, &*told.canonical_name, told.native_tunnel),
        ("far", Some(3), "api", true)
    );
    assert_eq!(told.locality.unwrap().subzone, "s");
    let named = world.workload("Kubernetes/networking.istio.io/ServiceEntry/shop/api/vm.example");
    assert_eq!((named.addresses.len(), &*named.hostname, named.capacity), (0, "vm.example", None));
    let implied = world.workload("Kubernetes/networking.istio.io/ServiceEntry/shop/dns/d.example");
    assert_eq!(
        (implied.services.keys().collect::<Vec<_>>(), &*implied.hostname),
        (vec![&"shop/d.example".to_owned()], "d.example")
    );
    let vm = world.workload("Kubernetes/networking.istio.io/WorkloadEntry/shop/vm");
    assert_eq!((&*vm.canonical_name, &*vm.canonical_revision, vm.capacity), ("vm", "v3", Some(2)));
    assert_eq!(numbers(&vm.services["shop/vm.shop.svc.cluster.local"].ports), [(80, 8082)]);
    let of_slice =
        |last: u8| world.workload(&format!("Kubernetes/discovery.k8s.io/EndpointSlice/shop/vm-1/10.6.0.{last}"));
    assert_eq!(numbers(&of_slice(1).services["shop/vm.shop.svc.cluster.local"].ports), [(80, 8083)]);
    assert_eq!(
        (of_slice(1).status(), of_slice(2).status()),
        (proto::WorkloadStatus::Healthy, proto::WorkloadStatus::Unhealthy)
    );
    assert_eq!(of_slice(1).network_mode(), NetworkMode::HostNetwork);
    let slices = world.snapshot.addresses.by_name().keys().filter(|name| name.contains("EndpointSlice"));
    assert_eq!(slices.count(), 2, "neither a name nor endpoints of nothing");
}

#[test]
fn services_and_how_they_are_balanced() {
    let annotations = labels(&[("networking.istio.io/traffic-distribution", "PreferClose")]);
    let namespace = Namespace { meta: Meta { annotations, ..Meta::named("", "shop") } };
    let entry = |name: &str, created, resolution| ServiceEntry {
        created: Some(created),
        hosts: vec!["a.example".into()],
        subject_alt_names: vec!["spiffe://td/ns/a/sa/b".into()].into(),
        ports: vec![port("tls", 443, Some("8443"))],
        addresses: vec!["10.8.0.0/16".parse::<IpAddr>().map_or_else(
            |_| model::service_entry::AddressRange::parse("10.8.0.0/16").unwrap(),
            model::service_entry::AddressRange::single,
        )],
        resolution,
        ..ServiceEntry::named(name, "entry")
    };
    let world = World::of([
        Object::Namespace(namespace),
        Object::Service(Service { meta: meta("cart", &[(WISH, "w")]), ..service("cart", "cart") }),
        Object::Service(Service { node_local: true, publish_not_ready: true, ..service("local", "") }),
        Object::Service(Service { distribution: Some(Distribution::SameNode), ..service("near", "") }),
        waypoint("w", "Hostname", "w.example"),
        Object::ServiceEntry(entry("other", 2, Resolution::Static)),
        Object::ServiceEntry(entry("shop", 1, Resolution::None)),
    ]);
    let cart = world.service(CART_HOST);
    assert!(cart.canonical && cart.ingress_use_waypoint && cart.weighted_waypoints.is_empty());
    assert_eq!((&*cart.name, numbers(&cart.ports), cart.addresses.len()), ("cart", vec![(80, 0)], 1));
    assert_eq!(leads_to(cart.waypoint.as_ref()).as_deref(), Some("shop/w.example"));
    let balancing = |name: &str| {
        let balancing = world.service(name).load_balancing.unwrap_or_default();
        (balancing.mode(), balancing.routing_preference.len(), balancing.health_policy())
    };
    use proto::load_balancing::{HealthPolicy, Mode};
    assert_eq!(balancing(CART_HOST), (Mode::Failover, 3, HealthPolicy::OnlyHealthy), "as its Namespace says");
    assert_eq!(balancing("shop/local.shop.svc.cluster.local"), (Mode::Strict, 1, HealthPolicy::AllowAll));
    assert_eq!(balancing("shop/near.shop.svc.cluster.local"), (Mode::Failover, 5, HealthPolicy::OnlyHealthy));
    assert_eq!(balancing("shop/a.example"), (Mode::Passthrough, 0, HealthPolicy::AllowAll));
    let entry = world.service("shop/a.example");
    assert_eq!((entry.canonical, &*entry.subject_alt_names), (true, &["spiffe://td/ns/a/sa/b".to_owned()][..]));
    assert_eq!((numbers(&entry.ports), entry.addresses[0].length), (vec![(443, 8443)], Some(16)));
    assert!(!world.service("other/a.example").canonical, "the older one is");
}

#[test]
fn a_waypoints_own_service_is_never_sent_to_one() {
    let objects = || {
        let own = |name: &str, pairs: &[(&str, &str)]| Service { meta: meta(name, pairs), ..service(name, "") };
        let managed = ("gateway.istio.io/managed", "istio.io-agentgateway-waypoint-controller");
        [
            waypoint("w", "Hostname", "w.shop.svc.cluster.local"),
            Object::Service(own("w", &[(WISH, "w")])),
            Object::Service(own("made", &[(WISH, "w"), managed])),
            Object::Service(own("cart", &[(WISH, "w")])),
        ]
    };
    let has_waypoint = |world: &World| {
        ["w", "made", "cart"]
            .map(|name| world.service(&format!("shop/{name}.shop.svc.cluster.local")).waypoint.is_some())
    };
    let guarded_rows = |world: &World| {
        let now = Decided { store: &world.store, table: world.decider.table() };
        guarded(now, &world.options).map(|key| key.name.to_string()).collect::<Vec<_>>()
    };
    let mut world = World::of(objects());
    assert_eq!((has_waypoint(&world), guarded_rows(&world)), ([false, false, true], vec!["made".into(), "w".into()]));
    let off = World::with(Facts::default(), Options { guard_waypoint_services: false }, objects());
    assert_eq!((has_waypoint(&off), guarded_rows(&off)), ([true; 3], vec![]), "as Istio has it (X08)");
    let moved = world.step([Event::Apply(waypoint("w", "Hostname", "other.example"))]);
    assert_eq!(has_waypoint(&world), [true, false, true], "it is its own no more");
    assert!(moved.contains(&"shop/w.shop.svc.cluster.local".to_owned()));
}

#[test]
fn a_waypoint_that_is_not_in_the_mesh_is_published_while_somebody_refers_to_it() {
    let outside = Object::Gateway(Gateway {
        addresses: vec![
            StatusAddress { kind: Some("Hostname".into()), value: "w.example".into() },
            StatusAddress { kind: Some("IPAddress".into()), value: "10.7.0.1".into() },
        ],
        ..match waypoint("w", "Hostname", "") {
            Object::Gateway(gateway) => gateway,
            _ => unreachable!(),
        }
    });
    let wishing = |wish: &str| Object::Pod(pod("cart-1", 1, &[("app", "cart"), (WISH, wish)]));
    let mut world = World::of([outside, waypoint("ip", "IPAddress", "10.7.0.2"), wishing("w")]);
    let (uid, name) = ("wayswitch//waypoint/shop/w.example", "shop/w.example");
    let told = world.workload(uid);
    assert_eq!((told.network_mode(), &*told.node, &*told.service_account), (NetworkMode::HostNetwork, "", "w"));
    assert_eq!(numbers(&told.services[name].ports), [(15008, 15008)]);
    let service = world.service(name);
    assert_eq!(
        (service.addresses.len(), &*service.subject_alt_names),
        (0, &["spiffe://cluster.local/ns/shop/sa/w".to_owned()][..])
    );
    // It comes into the mesh, and leaves it again.
    let entry = ServiceEntry { hosts: vec!["w.example".into()], ..ServiceEntry::named("shop", "w") };
    let key = Object::ServiceEntry(entry.clone()).key();
    world.step([Event::Apply(Object::ServiceEntry(entry))]);
    assert!(world.address(uid).is_none() && world.service(name).subject_alt_names.is_empty());
    world.step([Event::Delete(key)]);
    assert!(world.address(uid).is_some());
    // By its IP, while nobody has that; then nobody refers to the other.
    world.step([Event::Apply(wishing("ip"))]);
    assert!(world.address(uid).is_none() && world.address(name).is_none());
    let outside = "wayswitch-waypoints/10-7-0-2.waypoint.wayswitch.invalid";
    assert_eq!(leads_to(world.workload(CART).waypoint.as_ref()).as_deref(), Some(outside));
    assert_eq!(world.workload(&format!("wayswitch//waypoint/{outside}")).addresses.len(), 1);
    let holder = Pod { addresses: [[10, 7, 0, 2].into()].into(), ..pod("holder", 2, &[]) };
    let moved = world.step([Event::Apply(Object::Pod(holder.clone()))]);
    assert_eq!(leads_to(world.workload(CART).waypoint.as_ref()).as_deref(), Some("10.7.0.2"));
    assert_eq!(moved.len(), 4, "the new Pod, who refers to it, and what stood for it: {moved:?}");
    world.step([Event::Delete(Object::Pod(holder).key())]);
    assert_eq!(leads_to(world.workload(CART).waypoint.as_ref()).as_deref(), Some(outside));
}

#[test]
fn traffic_goes_past_a_soft_waypoint_while_it_has_nobody_healthy() {
    let instance = |ready: bool| Object::Pod(Pod { ready, ..pod("soft-1", 9, &[("app", "soft")]) });
    let mut world = World::of([
        waypoint("soft", "Hostname", "soft.shop.svc.cluster.local"),
        Object::Service(Service { meta: meta("soft", &[]), ..service("soft", "soft") }),
        instance(true),
        Object::Pod(pod("cart-1", 1, &[("app", "cart"), (WISH, "soft")])),
        Object::Service(Service { meta: meta("cart", &[(WISH, "soft")]), ..service("cart", "cart") }),
    ]);
    assert!(world.workload(CART).waypoint.is_some() && world.service(CART_HOST).ingress_use_waypoint);
    let moved = world.step([Event::Apply(instance(false))]);
    assert_eq!(moved, [CART, "Kubernetes//Pod/shop/soft-1", CART_HOST]);
    assert!(world.workload(CART).waypoint.is_none() && !world.service(CART_HOST).ingress_use_waypoint);
    world.step([Event::Apply(instance(true))]);
    assert!(world.workload(CART).waypoint.is_some());
}

#[test]
fn a_step_moves_what_it_concerns_and_nothing_else() {
    let mut objects = vec![Object::Service(service("cart", "cart")), Object::Service(service("by-slice", ""))];
    objects.extend((1..100).map(|at| Object::Pod(pod(&format!("cart-{at}"), at, &[("app", "cart")]))));
    objects.extend((1..100).map(|at| Object::Pod(pod(&format!("till-{at}"), 100 + at, &[("app", "till")]))));
    let mut world = World::of(objects);
    let ready = |ready| Object::Pod(Pod { ready, ..pod("cart-1", 1, &[("app", "cart")]) });
    assert_eq!(world.step([Event::Apply(ready(false))]), [CART]);
    assert_eq!(world.step([Event::Apply(ready(false))]), [""; 0], "said twice");
    let slice = EndpointSlice {
        meta: meta("by-slice-1", &[(SERVICE_NAME, "by-slice")]),
        pods: vec!["cart-1".into(), "till-7".into()],
        ..EndpointSlice::named("", "")
    };
    let pods = [CART, "Kubernetes//Pod/shop/till-7"];
    assert_eq!(world.step([Event::Apply(Object::EndpointSlice(slice.clone()))]), pods);
    assert_eq!(world.step([Event::Delete(Object::EndpointSlice(slice).key())]), pods);
    let ports = Service { ports: vec![port("http", 81, None)], ..service("cart", "cart") };
    assert_eq!(world.step([Event::Apply(Object::Service(ports))]).len(), 100, "its Pods and itself");
    let policy = |selector: &str| {
        let selector = Some(labels(&[("app", selector)]));
        Object::AuthorizationPolicy(AuthorizationPolicy { selector, ..AuthorizationPolicy::named("shop", "p") })
    };
    assert_eq!(world.step([Event::Apply(policy("till"))]).len(), 99);
    assert_eq!(world.step([Event::Apply(policy("cart"))]).len(), 198, "who is selected now, and who was");
    assert_eq!(world.snapshot.authorizations.len(), 1);
    assert_eq!(world.step([Event::Delete(policy("cart").key())]).len(), 99);
    assert!(world.snapshot.authorizations.is_empty());
}
