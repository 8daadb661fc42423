//! A waypoint that is named by a hostname whose Service is not known yet, appears, changes its address, disappears and comes
//! back: decisions follow, exactly the rows concerned are announced, both directions of the association agree, and nothing
//! is left behind. Decided by the default component's own code, natively.
#![expect(clippy::panic, clippy::expect_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use model::decider::Terms;
use model::decision::{Choice, OnUnreachable};
use model::gateway::GatewayKey;
use model::object::Kind;
use model::projection::project;
use model::table::RowKind;
use model::waypoint_view::{Bound, WaypointViews};
use model::{Decider, Description, Event, Facts, Object, ObjectKey, Row, RowKey, Store, Table};
use plugin_istio::Istio;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tests::mesh::{USE_WAYPOINT, WAYPOINT_FOR, gateway, hbone, namespace, pod, service, service_entry, waypoint};
use tests::native::Native;

const HOST: &str = "w.shop.svc.cluster.local";

/// A mesh that is followed, and everything that follows it.
struct Followed {
    store: Store,
    description: Arc<Description>,
    terms: Terms,
    decider: Decider,
}

impl Followed {
    fn new(settings: &str, unresolved: Option<OnUnreachable>) -> Self {
        let store = Store::new(Facts::default());
        let (resolver, description) = Native::<Istio>::new(settings).expect("settings");
        let denied = Choice::Direct;
        let terms = Terms { settings: settings.into(), denied, undecided: Choice::Blocked, unresolved };
        let decider = Decider::new(1, description.clone(), Arc::new(resolver), terms.clone(), &store)
            .unwrap_or_else(|(_, why)| panic!("{why}"));
        Self { store, description, terms, decider }
    }

    /// One step: what was announced is what is other than before, and the rest is as if it had always been so.
    fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> BTreeSet<RowKey> {
        let before = self.decider.table().clone();
        let changes = self.store.apply_all(events);
        let announced: BTreeSet<RowKey> =
            self.decider.apply(&self.store, &changes).into_iter().map(|change| change.key).collect();
        let moved: BTreeSet<RowKey> = before.diff(self.decider.table()).into_iter().map(|change| change.key).collect();
        assert_eq!(announced, moved, "announced, and really moved");
        self.check_against_fresh();
        check_both_directions(&self.store, self.decider.table());
        announced
    }

    fn put(&mut self, object: impl Into<Object>) -> BTreeSet<RowKey> {
        self.apply([Event::Apply(object.into())])
    }

    fn delete(&mut self, kind: Kind, namespace: &str, name: &str) -> BTreeSet<RowKey> {
        self.apply([Event::Delete(ObjectKey::new(kind, namespace, name))])
    }

    fn check_against_fresh(&self) {
        let (resolver, _) = Native::<Istio>::new(&self.terms.settings).expect("settings");
        let fresh = Decider::new(1, self.description.clone(), Arc::new(resolver), self.terms.clone(), &self.store)
            .unwrap_or_else(|(_, why)| panic!("{why}"));
        let differing = fresh.table().diff(self.decider.table());
        // The revision tells when a row moved, which a fresh table cannot know.
        assert!(differing.is_empty(), "{:?}", differing.iter().map(|it| it.key.to_string()).collect::<Vec<_>>());
        let projected = project(&self.description, &self.store);
        assert!(projected.keys().eq(self.decider.table().iter().map(|(key, _)| key)));
    }

    fn row(&self, key: &RowKey) -> &Row {
        self.decider.table().get(key).unwrap_or_else(|| panic!("{key} is not there"))
    }

    /// Where the row's first waypoint is dialled, and what happens where it cannot be.
    fn dial(&self, key: &RowKey) -> (Vec<IpAddr>, OnUnreachable) {
        let decision = &self.row(key).decision;
        (decision.targets().first().map_or_else(Vec::new, |it| it.dial.clone()), decision.on_unreachable)
    }
}

/// Whatever a row goes through knows the row or says why not, and whatever a waypoint knows goes through it.
fn check_both_directions(store: &Store, table: &Table) {
    let views = WaypointViews::new(store, table);
    for (key, row) in table.iter() {
        for of in views.of_row(key, row) {
            let view = views.get(&of.target.gateway).expect("a view of every waypoint that is named");
            let is_bound = |bound: &Bound| bound.row == *key && bound.named == of.target.gateway;
            let bound = view.services.iter().chain(&view.workloads).any(is_bound);
            assert!(bound || !of.left_out.is_empty(), "{key} goes through {} in vain, and nobody says so", view.key);
        }
    }
    for view in views.iter() {
        for bound in view.services.iter().chain(&view.workloads) {
            let row = table.get(&bound.row).expect("a row of everything that is bound");
            let named = row.decision.targets().iter().any(|target| target.gateway == bound.named);
            assert!(named, "{} is known to {}, and does not go there", bound.row, view.key);
        }
        assert!(view.standing.is_some() || !view.left_out.is_empty(), "{} was left behind", view.key);
    }
}

fn key(kind: RowKind, name: &str) -> RowKey {
    RowKey::new(kind, "shop", name)
}

fn cart() -> RowKey {
    key(RowKind::Service, "cart")
}

/// The rows that go through the waypoint.
fn concerned() -> BTreeSet<RowKey> {
    [cart(), key(RowKind::Pod, "cart-1"), key(RowKind::ServiceEntry, "api")].into()
}

/// Three rows through a waypoint that is only known by its hostname, and some that have nothing to do with it.
fn objects() -> Vec<Object> {
    vec![
        namespace("shop").into(),
        gateway("shop", "w").listeners([hbone()]).hostname(HOST).label(WAYPOINT_FOR, "all").into(),
        waypoint("shop", "other").into(),
        service("shop", "cart").address("10.1.0.1").label(USE_WAYPOINT, "w").into(),
        pod("shop", "cart-1").address("10.2.0.1").label(USE_WAYPOINT, "w").into(),
        service_entry("shop", "api").host("api.example").address("10.3.0.1").label(USE_WAYPOINT, "w").into(),
        service("shop", "elsewhere").address("10.1.0.2").label(USE_WAYPOINT, "other").into(),
        service("shop", "direct").address("10.1.0.3").into(),
    ]
}

/// `Service shop/w` at an address, beside what Istio puts on it.
fn in_front(ip: &str) -> Object {
    service("shop", "w").address(ip).label("gateway.istio.io/managed", "istio.io-mesh-controller").into()
}

fn ip(text: &str) -> Vec<IpAddr> {
    vec![text.parse().expect("an address")]
}

/// The rows that go through the waypoint, and another that came or went with the step.
fn concerned_and(kind: RowKind, name: &str) -> BTreeSet<RowKey> {
    concerned().into_iter().chain([key(kind, name)]).collect()
}

/// The whole life of the hostname. While it leads nowhere, connections fail or bypass as declared; while it leads somewhere,
/// as the component said.
fn follow(settings: &str, unresolved: Option<OnUnreachable>, nowhere: OnUnreachable, somewhere: OnUnreachable) {
    let mut mesh = Followed::new(settings, unresolved);
    mesh.apply(objects().into_iter().map(Event::Apply));
    assert_eq!(mesh.dial(&cart()), (vec![], nowhere), "its Service is not known yet");
    assert_eq!(mesh.row(&cart()).decision.reason.as_deref(), Some("WaypointAccepted"), "bound all the same (R92)");

    assert_eq!(mesh.put(in_front("10.0.0.1")), concerned_and(RowKind::Service, "w"), "it appears");
    for key in concerned() {
        assert_eq!(mesh.dial(&key), (ip("10.0.0.1"), somewhere), "{key}");
    }
    assert_eq!(mesh.put(in_front("10.0.0.2")), concerned_and(RowKind::Service, "w"), "it moves");
    assert_eq!(mesh.dial(&cart()), (ip("10.0.0.2"), somewhere));

    let headless = service("shop", "w").headless();
    mesh.put(headless);
    assert_eq!(mesh.dial(&cart()), (vec![], nowhere), "it is there, and has no address");

    mesh.put(in_front("10.0.0.3"));
    assert_eq!(mesh.delete(Kind::Service, "shop", "w"), concerned_and(RowKind::Service, "w"), "it disappears");
    assert_eq!(mesh.dial(&cart()), (vec![], nowhere));

    let foreign = service_entry("elsewhere", "w").host(HOST).address("10.0.0.8");
    let came: BTreeSet<RowKey> = [RowKey::new(RowKind::ServiceEntry, "elsewhere", "w")].into();
    assert_eq!(mesh.put(foreign), came, "a host means one of the Gateway's own namespace (R5)");
    let entry = |ip: &str| service_entry("shop", "w").host(HOST).address(ip);
    assert_eq!(mesh.put(entry("10.0.0.9")), concerned_and(RowKind::ServiceEntry, "w"), "it comes back as an entry");
    assert_eq!(mesh.dial(&cart()), (ip("10.0.0.9"), somewhere));
    mesh.put(entry("10.0.0.0/24"));
    assert_eq!(mesh.dial(&cart()), (vec![], nowhere), "a range is nowhere to dial");

    assert_eq!(mesh.delete(Kind::Gateway, "shop", "w"), concerned());
    assert_eq!(mesh.row(&cart()).decision.to_string(), "direct (WaypointIsNotReady)");
    let keys: Vec<ObjectKey> = mesh.store.object_keys().collect();
    mesh.apply(keys.into_iter().map(Event::Delete));
    check_nothing_is_left(&mesh);
}

fn check_nothing_is_left(mesh: &Followed) {
    assert!(mesh.store.is_empty() && mesh.store.hosts().is_empty());
    assert!(mesh.decider.table().is_empty() && mesh.decider.degraded().is_empty());
    assert_eq!((mesh.decider.distinct(), mesh.decider.table().len()), (0, 0));
    assert_eq!(WaypointViews::new(&mesh.store, mesh.decider.table()).iter().len(), 0);
}

#[test]
fn a_hostname_that_leads_nowhere_fails_unless_the_operator_or_the_component_says_otherwise() {
    use OnUnreachable::{Bypass, Fail};
    let bypass = r#"{"unreachable": "bypass"}"#;
    for (settings, unresolved, nowhere, somewhere) in [
        ("", None, Fail, Fail),
        ("", Some(Fail), Fail, Fail),
        ("", Some(Bypass), Bypass, Fail),
        (bypass, None, Bypass, Bypass),
        (bypass, Some(Fail), Fail, Bypass),
        (bypass, Some(Bypass), Bypass, Bypass),
    ] {
        follow(settings, unresolved, nowhere, somewhere);
    }
}

#[test]
fn what_the_gateway_reports_beside_the_hostname_stands_in_for_its_service() {
    let mut mesh = Followed::new("", Some(OnUnreachable::Bypass));
    mesh.apply(objects().into_iter().map(Event::Apply));
    let reporting =
        gateway("shop", "w").listeners([hbone()]).hostname(HOST).address("10.9.0.1").label(WAYPOINT_FOR, "all");
    assert_eq!(mesh.put(reporting), concerned());
    assert_eq!(mesh.dial(&cart()), (ip("10.9.0.1"), OnUnreachable::Fail), "it is resolved (R14)");
    mesh.put(in_front("10.0.0.1"));
    assert_eq!(mesh.dial(&cart()).0, ip("10.0.0.1"), "the Service knows better");
}

#[test]
fn a_waypoint_is_found_from_a_row_and_a_row_from_its_waypoint() {
    let mut mesh = Followed::new("", None);
    mesh.apply(objects().into_iter().map(Event::Apply));
    let views = WaypointViews::new(&mesh.store, mesh.decider.table());
    let view = views.get(&GatewayKey::new("shop", "w")).expect("a view");
    let bound: BTreeSet<RowKey> = view.services.iter().chain(&view.workloads).map(|it| it.row.clone()).collect();
    assert_eq!(bound, concerned());
    assert!(!views.of_row(&cart(), mesh.row(&cart()))[0].is_resolved());
    mesh.put(in_front("10.0.0.1"));
    let views = WaypointViews::new(&mesh.store, mesh.decider.table());
    assert!(views.of_row(&cart(), mesh.row(&cart()))[0].is_resolved());
}

/// Something that happens to the hostname, the Gateway, or a row that names it.
fn happening() -> impl Strategy<Value = Event> {
    let address = (1..4_u8).prop_map(|n| format!("10.0.0.{n}"));
    let deleted = |kind, name: &'static str| Just(Event::Delete(ObjectKey::new(kind, "shop", name)));
    let apply = |object: Object| Event::Apply(object);
    prop_oneof![
        3 => address.clone().prop_map(move |ip| apply(in_front(&ip))),
        2 => deleted(Kind::Service, "w"),
        2 => address.clone().prop_map(move |ip| apply(service_entry("shop", "w").host(HOST).address(&ip).into())),
        2 => deleted(Kind::ServiceEntry, "w"),
        1 => address.clone().prop_map(move |ip| apply(service_entry("elsewhere", "w").host(HOST).address(&ip).into())),
        3 => (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(move |(host, ip, all)| {
            let plain = gateway("shop", "w").listeners([hbone()]).label(WAYPOINT_FOR, if all { "all" } else { "service" });
            let named = if host { plain.hostname(HOST) } else { plain };
            apply(if ip { named.address("10.9.0.1") } else { named }.into())
        }),
        1 => deleted(Kind::Gateway, "w"),
        // Another waypoint with the same hostname: what is bound to one is bound to both (R98).
        1 => any::<bool>().prop_map(move |same| {
            let other = gateway("shop", "other").listeners([hbone()]);
            apply(if same { other.hostname(HOST) } else { other.hostname("other.shop.svc.cluster.local") }.into())
        }),
        2 => prop_oneof![Just("w"), Just("other"), Just("none")].prop_map(move |to| {
            apply(service("shop", "cart").address("10.1.0.1").label(USE_WAYPOINT, to).into())
        }),
        1 => deleted(Kind::Service, "cart"),
    ]
}

/// A history that failed is kept there and tried first from then on.
fn kept() -> FileFailurePersistence {
    FileFailurePersistence::Direct(concat!(env!("CARGO_MANIFEST_DIR"), "/proptest-regressions/sim_waypoint_cache.txt"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: Some(Box::new(kept())), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_a_hostname_is_followed_and_forgotten(history in prop::collection::vec(happening(), 1..25)) {
        let mut mesh = Followed::new("", Some(OnUnreachable::Bypass));
        mesh.apply(objects().into_iter().map(Event::Apply));
        for event in history {
            mesh.apply([event]);
        }
        let keys: Vec<ObjectKey> = mesh.store.object_keys().collect();
        mesh.apply(keys.into_iter().map(Event::Delete));
        check_nothing_is_left(&mesh);
    }
}
