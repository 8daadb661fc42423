//! Following an API server: what is told is what is there, whatever happens to the connection, the history, the permissions
//! and the definitions of kinds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

mod followed;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use apiserver::{Answer, ApiServer, Matching, Options};
use cluster::source::State;
use followed::{Followed, connect, expected, found, namespace, service};
use model::store::{Event, Facts};
use model::{Kind, ObjectKey, Store};
use proptest::prelude::RngExt;
use proptest::test_runner::{Config, RngAlgorithm, TestRng};
use serde_json::json;

const GATEWAY: &str = "gateway.networking.k8s.io/v1";

async fn server() -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    server.put(namespace("shop")).unwrap();
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_read_and_followed() {
    let server = server().await;
    let text = include_str!("../data/every-kind.yaml");
    server.put_yaml(text).unwrap();
    let followed = Followed::fresh(connect(&server, None).await);
    followed.until_whole().await;
    let kinds: BTreeSet<Kind> = followed.heard.lock().await.store.object_keys().map(|key| key.kind).collect();
    assert_eq!(kinds, BTreeSet::from(Kind::ALL));
    assert!(followed.heard.lock().await.unread.is_empty());
    server.delete("v1", "Pod", "shop", "cart-1").unwrap();
    let gone = ObjectKey::new(Kind::Pod, "shop", "cart-1");
    followed.until("the Pod is gone", |heard| heard.store.object(&gone).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_node_only_where_it_is_is_asked_for_and_its_heartbeat_is_no_change() {
    let server = server().await;
    let node = |pool: &str, heartbeat: u32| {
        json!({ "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "n1", "labels": { "topology.kubernetes.io/zone": "z1", "pool": pool } },
            "status": { "images": ["x".repeat(1000)], "heartbeat": heartbeat.to_string() } })
    };
    server.put(node("old", 0)).unwrap();
    let followed = Followed::fresh(connect(&server, None).await);
    followed.until_whole().await;
    let (revision, events) = (followed.heard.lock().await.store.revision(), followed.events.load(Ordering::Relaxed));
    server.put(node("old", 1)).unwrap();
    server.put(node("new", 2)).unwrap();
    server.put(service("shop", "last", 0)).unwrap();
    followed.until("the Service is there", |heard| heard.store.service(&"shop".into(), &"last".into()).is_some()).await;
    let nodes = |heard: &followed::Heard| heard.store.node("n1").map(|node| node.meta.labels.iter().count());
    followed.until("both heartbeats are told", |_| followed.events.load(Ordering::Relaxed) == events + 3).await;
    let heard = followed.heard.lock().await;
    assert_eq!((nodes(&heard), heard.store.revision()), (Some(1), revision + 1), "only the Service is a change");
    drop(heard);
    server.delete("v1", "Node", "", "n1").unwrap();
    followed.until("the Node is gone", |heard| heard.store.node("n1").is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_duplicates_and_another_order_make_no_difference() {
    let server = server().await;
    for at in 0..1_203 {
        server.put(service("shop", &format!("s{at}"), 0)).unwrap();
    }
    let followed = Followed::fresh(connect(&server, None).await);
    followed.until_whole().await;
    assert_eq!(found(&followed.heard.lock().await.store), expected(&server));
    server.faults().duplicate_events(true);
    server.faults().reorder_events(Some(Duration::from_millis(20)));
    for at in 0..200 {
        server.put(service("shop", &format!("s{}", at % 50), at)).unwrap();
    }
    followed.until("all is followed", |heard| found(&heard.store) == expected(&server)).await;
}

/// Names that come and go; few, so that they come again.
const NAMES: u64 = 12;

/// One generated history: objects change while the connection, the server and its memory do what they do.
async fn history(seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let server = ApiServer::start_with(Options { history_max: 25, ..Options::default() }).await.unwrap();
    server.put(namespace("shop")).unwrap();
    let followed = Followed::fresh(connect(&server, None).await);
    let mut told = Vec::new();
    for version in 0..80 {
        let name = format!("s{}", random.random_range(0..NAMES));
        let action = random.random_range(0..40u64);
        told.push((version, action, name.clone()));
        match action {
            0..=18 => drop(server.put(service("shop", &name, version)).unwrap()),
            // Of what is not there, nothing goes.
            19..=28 => drop(server.delete("v1", "Service", "shop", &name)),
            29 | 30 => server.faults().drop_watches(""),
            31 | 32 => server.faults().expire_watches("services"),
            33 | 34 => server.faults().garbage("services"),
            35 | 36 => server.faults().rewind_watches("services", 5),
            37 | 38 => server.faults().nameless_event("services"),
            _ => {
                server.faults().refuse(Matching::of("watch", "services"), Answer::InternalError, 1);
                server.faults().drop_watches("services");
                server.compact();
            }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await;
    }
    // After each failure kube waits twice as long as before, up to 30 s: a server that stays ill is another test.
    server.faults().serve_all();
    let what = format!("seed {seed}: expected {:?}, after {told:?}", expected(&server).values());
    followed.until(&what, |heard| found(&heard.store) == expected(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_history_what_is_told_is_what_is_there() {
    // The seeds are kept: a failure prints its own, which comes here.
    let histories = (0..u64::from(Config::default().cases.min(24))).map(|seed| tokio::spawn(history(seed)));
    for history in histories.collect::<Vec<_>>() {
        history.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_is_not_installed_is_empty_and_appears_later_and_goes_again() {
    let server = ApiServer::start_with(Options { custom: Vec::new(), ..Options::default() }).await.unwrap();
    let followed = Followed::fresh(connect(&server, None).await);
    followed.until_whole().await;
    assert_eq!(followed.heard.lock().await.states.get(&Kind::Gateway), Some(&State::Absent));
    for resource in apiserver::gateway_api() {
        server.install(&resource).unwrap();
    }
    server.put(namespace("shop")).unwrap();
    let gateway = || {
        json!({ "apiVersion": GATEWAY, "kind": "Gateway", "metadata": { "name": "waypoint", "namespace": "shop" },
        "spec": { "gatewayClassName": "istio-waypoint", "listeners": [] } })
    };
    server.put(gateway()).unwrap();
    let key = ObjectKey::new(Kind::Gateway, "shop", "waypoint");
    followed.until("the Gateway appears", |heard| heard.store.object(&key).is_some()).await;
    followed.until("it is followed", |heard| heard.states.get(&Kind::Gateway) == Some(&State::Followed)).await;
    assert!(server.uninstall("gateway.networking.k8s.io", "gateways"));
    followed.until("the Gateway is gone", |heard| heard.store.object(&key).is_none()).await;
    followed.until("it is absent", |heard| heard.states.get(&Kind::Gateway) == Some(&State::Absent)).await;
    // And once more.
    for resource in apiserver::gateway_api() {
        server.install(&resource).unwrap();
    }
    server.put(gateway()).unwrap();
    followed.until("the Gateway appears again", |heard| heard.store.object(&key).is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_may_not_be_read_is_named_with_its_verb_and_the_rest_goes_on() {
    let server = server().await;
    server.forbid("list", "", "pods");
    let followed = Followed::fresh(connect(&server, None).await);
    followed.until_whole().await;
    let states = followed.heard.lock().await.states.clone();
    let Some(State::Forbidden(why)) = states.get(&Kind::Pod) else { panic!("{states:?}") };
    assert!(why.contains("may not list pods"), "{why}");
    assert_eq!(states.get(&Kind::Service), Some(&State::Followed));
    server.permit("list", "", "pods");
    followed.until("it may be read", |heard| heard.states.get(&Kind::Pod) == Some(&State::Followed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_taken_away_leaves_what_was_known() {
    let server = server().await;
    server.put(service("shop", "cart", 1)).unwrap();
    let followed = Followed::fresh(connect(&server, None).await);
    followed.until_whole().await;
    server.forbid("list", "", "services");
    server.forbid("watch", "", "services");
    server.faults().drop_watches("services");
    let is_behind =
        |state: Option<&State>| matches!(state, Some(State::Behind(why)) if why.contains("may not watch services"));
    followed.until("it is behind", |heard| is_behind(heard.states.get(&Kind::Service))).await;
    assert_eq!(found(&followed.heard.lock().await.store), expected(&server));
    for verb in ["list", "watch"] {
        server.permit(verb, "", "services");
    }
    server.put(service("shop", "cart", 2)).unwrap();
    followed.until("it goes on", |heard| found(&heard.store) == expected(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ran_out_is_said_and_what_was_known_stays() {
    let server = server().await;
    server.accept_token("good", "system:serviceaccount:wayswitch-system:wayswitch");
    let followed = Followed::fresh(connect(&server, Some("good")).await);
    followed.until_whole().await;
    server.revoke_token("good");
    server.faults().drop_watches("");
    let is_out = |state: &State| matches!(state, State::Behind(why) if why.contains("does not accept our credentials"));
    followed.until("it is out", |heard| heard.states.values().all(is_out)).await;
    assert!(!found(&followed.heard.lock().await.store).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_makes_no_sense_is_named_and_keeps_what_it_was() {
    let server = server().await;
    server.put(service("shop", "cart", 1)).unwrap();
    server.faults().nameless_lists(1);
    let followed = Followed::fresh(connect(&server, None).await);
    followed.until_whole().await;
    let mut broken = service("shop", "cart", 2);
    broken["spec"]["ports"] = json!("none");
    server.put(broken).unwrap();
    let cart = ObjectKey::new(Kind::Service, "shop", "cart");
    let names_it =
        |lines: Option<&Vec<String>>| lines.is_some_and(|it| it.iter().any(|line| line.contains("Service shop/cart")));
    followed.until("it is named", |heard| names_it(heard.unread.get(&Kind::Service))).await;
    assert_eq!(found(&followed.heard.lock().await.store).get(&cart), Some(&Some("1".to_owned())));
    // Also where everything is listed anew.
    server.faults().expire_watches("services");
    server.put(service("shop", "other", 1)).unwrap();
    let other = ObjectKey::new(Kind::Service, "shop", "other");
    followed.until("the rest goes on", |heard| heard.store.object(&other).is_some()).await;
    assert!(followed.heard.lock().await.store.object(&cart).is_some());
    server.put(service("shop", "cart", 3)).unwrap();
    followed.until("it is read again", |heard| !names_it(heard.unread.get(&Kind::Service))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_saved_and_is_gone_by_now_goes() {
    let server = server().await;
    server.put(service("shop", "cart", 2)).unwrap();
    let mut store = Store::new(Facts::default());
    let saved = ["cart", "gone"].map(|name| {
        let object = model::Object::Service(model::Service::named("shop", name));
        let key = object.key();
        store.apply(Event::Apply(object));
        key
    });
    let followed = Followed::start(connect(&server, None).await, saved.to_vec(), store);
    followed.until_whole().await;
    assert_eq!(found(&followed.heard.lock().await.store), expected(&server));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_or_busy_is_waited_for() {
    let server = server().await;
    server.faults().refuse(Matching::of("list", ""), Answer::TooManyRequests(1), 9);
    server.faults().slow_lists(Duration::from_millis(100));
    let followed = Followed::fresh(connect(&server, None).await);
    followed.until_whole().await;
    server.faults().slow_lists(Duration::ZERO);
    server.faults().set_down(true);
    server.put(service("shop", "meanwhile", 1)).unwrap();
    let is_behind = |state: &State| matches!(state, State::Behind(_));
    followed.until("it is behind", |heard| heard.states.values().any(is_behind)).await;
    server.faults().set_down(false);
    followed.until("it is told", |heard| found(&heard.store) == expected(&server)).await;
    // Nothing changed: nothing more is told.
    let events = followed.events.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(followed.events.load(Ordering::Relaxed), events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_once_is_what_following_tells() {
    let server = server().await;
    server.put_yaml(include_str!("../data/every-kind.yaml")).unwrap();
    server.uninstall("security.istio.io", "authorizationpolicies");
    let cluster = connect(&server, None).await;
    let listing = cluster.list(&Kind::ALL, &|_| {}).await.unwrap();
    assert_eq!(listing.absent, [Kind::AuthorizationPolicy]);
    let mut store = Store::new(Facts::default());
    store.apply_all(listing.events);
    let followed = Followed::fresh(cluster.clone());
    followed.until_whole().await;
    assert_eq!(found(&store), found(&followed.heard.lock().await.store));
    server.forbid("list", "", "pods");
    let refused = cluster.list(&Kind::ALL, &|_| {}).await.unwrap_err().to_string();
    assert!(refused.contains("may not list pods"), "{refused}");
}
