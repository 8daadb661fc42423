//! The server against kube-rs as it is: what its client and its watcher make of everything that can happen.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what is shared by the tests of this file stops a test as the tests themselves do"
)]

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use apiserver::{Answer, ApiServer, Matching, Options, gateway_api};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::gvk::GroupVersionKind;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn client(server: &ApiServer, token: Option<&str>) -> Client {
    let mut config = Config::new(server.url().parse().unwrap());
    config.auth_info.token = token.map(|token| token.to_owned().into());
    config.default_namespace = "default".to_owned();
    Client::try_from(config).unwrap()
}

async fn start() -> (ApiServer, Client) {
    let options = Options { bookmark_period: Duration::from_millis(100), ..Options::default() };
    let server = ApiServer::start_with(options).await.unwrap();
    let client = client(&server, None);
    (server, client)
}

fn service(name: &str, color: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"color": color}},
           "spec": {"ports": [{"port": 80}]}})
}

/// What a client believes is there: name and label.
#[derive(Default)]
struct Belief {
    objects: BTreeMap<String, String>,
    listed: BTreeMap<String, String>,
    lists: usize,
    errors: Vec<String>,
}

impl Belief {
    fn take<K: ResourceExt>(&mut self, event: Result<Event<K>, watcher::Error>) {
        let entry = |object: K| (object.name_any(), object.labels().get("color").cloned().unwrap_or_default());
        match event {
            Ok(Event::Init) => self.listed.clear(),
            Ok(Event::InitApply(object)) => self.listed.extend([entry(object)]),
            Ok(Event::InitDone) => {
                self.objects = std::mem::take(&mut self.listed);
                self.lists += 1;
            }
            Ok(Event::Apply(object)) => self.objects.extend([entry(object)]),
            Ok(Event::Delete(object)) => drop(self.objects.remove(&object.name_any())),
            Err(error) => self.errors.push(error.to_string()),
        }
    }

    /// Reads events until the client believes this.
    async fn until<K: ResourceExt, S>(&mut self, stream: &mut S, wanted: &[(&str, &str)])
    where
        S: Stream<Item = Result<Event<K>, watcher::Error>> + Unpin,
    {
        let wanted: BTreeMap<String, String> =
            wanted.iter().map(|(name, color)| ((*name).to_owned(), (*color).to_owned())).collect();
        let reading = async {
            while self.objects != wanted || self.lists == 0 {
                let event = stream.next().await.unwrap();
                if event.is_err() {
                    // Instead of a back-off.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                self.take(event);
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            panic!("believes {:?} after {:?}", self.objects, self.errors.last());
        }
    }
}

fn counted(server: &ApiServer, verb: &str, resource: &str) -> u64 {
    server.counts().get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_watcher_survives_dropped_watches_and_lists_again_only_after_410() {
    let (server, client) = start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.put(service(name, "red")).unwrap();
    }
    let api: Api<Service> = Api::all(client);
    let mut stream = pin!(watcher(api, watcher::Config::default().page_size(2)));
    let mut belief = Belief::default();
    let all = [("a", "red"), ("b", "red"), ("c", "red"), ("d", "red"), ("e", "red")];
    belief.until(&mut stream, &all).await;
    assert_eq!(counted(&server, "list", "services"), 3, "pages");

    // A dropped watch goes on where it was.
    server.put(service("a", "blue")).unwrap();
    belief.until(&mut stream, &[&[("a", "blue")], &all[1..]].concat()).await;
    server.faults().drop_watches("services");
    server.put(service("a", "green")).unwrap();
    server.delete("v1", "Service", "default", "b").unwrap();
    let left = [("a", "green"), ("c", "red"), ("d", "red"), ("e", "red")];
    belief.until(&mut stream, &left).await;
    assert_eq!((belief.lists, counted(&server, "list", "services")), (1, 3));

    // While it is away, what it missed is forgotten: only a list can help.
    server.faults().refuse(Matching::of("watch", "services"), Answer::Close, u64::MAX);
    server.faults().drop_watches("");
    server.delete("v1", "Service", "default", "c").unwrap();
    server.put(service("f", "red")).unwrap();
    server.compact();
    server.faults().serve_all();
    belief.until(&mut stream, &[("a", "green"), ("d", "red"), ("e", "red"), ("f", "red")]).await;
    assert_eq!(belief.lists, 2);

    // The same as HTTP 410, and as an event in a watch that is open.
    server.faults().expire_by_http(true);
    server.faults().expire_watches("services");
    server.delete("v1", "Service", "default", "d").unwrap();
    belief.until(&mut stream, &[("a", "green"), ("e", "red"), ("f", "red")]).await;
}

#[tokio::test]
async fn a_watcher_survives_events_twice_in_another_order_and_garbage() {
    let (server, client) = start().await;
    let mut stream = pin!(watcher(Api::<Service>::all(client), watcher::Config::default()));
    let mut belief = Belief::default();
    belief.until(&mut stream, &[]).await;
    server.faults().duplicate_events(true);
    server.faults().reorder_events(Some(Duration::from_millis(20)));
    for color in ["red", "blue", "green"] {
        for name in ["a", "b", "c", "d"] {
            server.put(service(name, color)).unwrap();
        }
    }
    server.delete("v1", "Service", "default", "d").unwrap();
    let all = [("a", "green"), ("b", "green"), ("c", "green")];
    belief.until(&mut stream, &all).await;
    server.faults().garbage("services");
    server.faults().drop_watches_after(Some(1));
    server.put(service("d", "white")).unwrap();
    belief.until(&mut stream, &[&all[..], &[("d", "white")]].concat()).await;
    for name in ["a", "b", "c", "d"] {
        server.put(service(name, "black")).unwrap();
    }
    belief.until(&mut stream, &[("a", "black"), ("b", "black"), ("c", "black"), ("d", "black")]).await;
}

#[tokio::test]
async fn a_streaming_list_ends_with_its_bookmark() {
    let (server, client) = start().await;
    server.put(service("a", "red")).unwrap();
    server.put(service("b", "red")).unwrap();
    let config = watcher::Config::default().streaming_lists().labels("color=red");
    let mut stream = pin!(watcher(Api::<Service>::all(client), config));
    let mut belief = Belief::default();
    belief.until(&mut stream, &[("a", "red"), ("b", "red")]).await;
    assert_eq!(counted(&server, "list", "services"), 0);
    // What leaves the selector is gone.
    server.put(service("a", "blue")).unwrap();
    belief.until(&mut stream, &[("b", "red")]).await;
}

#[tokio::test]
async fn a_kind_comes_and_goes_while_it_is_watched() {
    let options = Options { custom: Vec::new(), ..Options::default() };
    let server = ApiServer::start_with(options).await.unwrap();
    let gateways = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway"));
    let api: Api<DynamicObject> = Api::all_with(client(&server, None), &gateways);
    let mut stream = pin!(watcher(api.clone(), watcher::Config::default()));
    let error = stream.next().await.unwrap();
    assert!(error.is_ok_and(|event| matches!(event, Event::Init)));
    assert!(stream.next().await.unwrap().unwrap_err().to_string().contains("404 page not found"));
    for resource in gateway_api() {
        server.install(&resource).unwrap();
    }
    let waypoint = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "waypoint", "namespace": "prod"}, "spec": {"gatewayClassName": "istio-waypoint"}});
    server.put(waypoint).unwrap();
    let mut belief = Belief::default();
    belief.until(&mut stream, &[("waypoint", "")]).await;
    // A watcher that only finds out between its list and its watch does not list again; this one watches.
    let other = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "other", "namespace": "prod"}, "spec": {"gatewayClassName": "istio-waypoint"}});
    server.put(other).unwrap();
    belief.until(&mut stream, &[("other", ""), ("waypoint", "")]).await;
    assert!(server.uninstall("gateway.networking.k8s.io", "gateways"));
    belief.until(&mut stream, &[]).await;
    assert!(api.list(&ListParams::default()).await.is_err());
}

#[tokio::test]
async fn an_apply_says_who_is_in_the_way_and_takes_only_with_force() {
    let (server, client) = start().await;
    server.put(service("web", "red")).unwrap();
    let api: Api<Service> = Api::default_namespaced(client);
    let labels = |value: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"labels": {"color": value}}});
    let ours = PatchParams::apply("wayswitch");
    let refused = api.patch("web", &ours, &Patch::Apply(labels("blue"))).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let causes = status.details.as_ref().unwrap().causes.clone();
    assert_eq!(
        (causes[0].reason.as_str(), causes[0].field.as_str()),
        ("FieldManagerConflict", ".metadata.labels.color")
    );

    let forced = api.patch("web", &ours.clone().force(), &Patch::Apply(labels("blue"))).await.unwrap();
    assert_eq!(forced.labels().get("color").map(String::as_str), Some("blue"));
    let again = api.patch("web", &ours, &Patch::Apply(labels("blue"))).await.unwrap();
    assert_eq!(again.resource_version(), forced.resource_version(), "nothing changed, nothing was written");

    let condition = json!({"apiVersion": "v1", "kind": "Service", "status": {"conditions": [
        {"type": "istio.io/WaypointBound", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let bound = api.patch_status("web", &ours, &Patch::Apply(condition)).await.unwrap();
    assert_eq!(bound.status.unwrap().conditions.unwrap()[0].type_, "istio.io/WaypointBound");
    let nothing = json!({"apiVersion": "v1", "kind": "Service", "metadata": {}});
    let released = api.patch("web", &ours, &Patch::Apply(nothing)).await.unwrap();
    assert!(released.labels().is_empty() && released.status.is_some_and(|status| status.conditions.is_some()));

    let writes = server.audit();
    let codes: Vec<(u16, bool)> = writes.iter().map(|write| (write.code, write.is_change())).collect();
    assert_eq!(codes, [(409, false), (200, true), (200, false), (200, true), (200, true)]);
    assert!(writes.iter().all(|write| write.field_manager == "wayswitch" && write.name == "web"));
    assert_eq!(writes[3].subresource, "status");
}

#[tokio::test]
async fn of_two_holders_of_a_lease_the_one_with_the_old_version_loses() {
    let (server, client) = start().await;
    let api: Api<Lease> = Api::default_namespaced(client);
    let lease = |holder: &str| -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "leader"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}}))
        .unwrap()
    };
    let params = PostParams { field_manager: Some("first".to_owned()), ..PostParams::default() };
    let first = api.create(&params, &lease("first")).await.unwrap();
    let mut taken = first.clone();
    taken.spec.as_mut().unwrap().holder_identity = Some("second".to_owned());
    let other = PostParams { field_manager: Some("second".to_owned()), ..PostParams::default() };
    api.replace("leader", &other, &taken).await.unwrap();
    let lost = api.replace("leader", &params, &first).await.unwrap_err();
    assert!(matches!(&lost, kube::Error::Api(status) if status.is_conflict()), "{lost}");
    let renewed = json!({"spec": {"renewTime": "2026-01-01T00:00:05.000000Z"}});
    let renewed = api.patch("leader", &PatchParams::default(), &Patch::Strategic(renewed)).await.unwrap();
    assert_eq!(renewed.spec.unwrap().holder_identity.as_deref(), Some("second"));
    let accepted: Vec<String> =
        server.audit().into_iter().filter(apiserver::Write::is_accepted).map(|write| write.field_manager).collect();
    assert_eq!(accepted[..2], ["first", "second"]);
    assert_eq!(accepted.len(), 3);
}

#[tokio::test]
async fn pages_are_of_one_version_and_expire() {
    let (server, client) = start().await;
    for name in ["a", "b", "c", "d"] {
        server.put(service(name, "red")).unwrap();
    }
    let api: Api<Service> = Api::all(client);
    let names = |list: &kube::core::ObjectList<Service>| -> Vec<String> {
        list.items.iter().map(ResourceExt::name_any).collect()
    };
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((names(&first).join(""), first.metadata.remaining_item_count), ("ab".to_owned(), Some(2)));
    server.delete("v1", "Service", "default", "c").unwrap();
    server.put(service("e", "red")).unwrap();
    let next = ListParams::default().limit(9).continue_token(first.metadata.continue_.as_deref().unwrap());
    let second = api.list(&next).await.unwrap();
    assert_eq!(names(&second).join(""), "cd");
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    server.put(service("f", "red")).unwrap();
    server.compact();
    let expired = api.list(&next).await.unwrap_err();
    assert!(
        matches!(&expired, kube::Error::Api(status) if status.code == 410 && status.reason == "Expired"),
        "{expired}"
    );
}

#[tokio::test]
async fn access_is_refused_in_the_words_of_the_api_server() {
    let (server, _) = start().await;
    server.accept_token("t1", "system:serviceaccount:a:b");
    let api: Api<Service> = Api::all(client(&server, Some("t1")));
    assert!(api.list(&ListParams::default()).await.is_ok());
    server.forbid("list", "", "services");
    let error = api.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!(status.code, 403);
    assert_eq!(
        status.message,
        "services is forbidden: User \"system:serviceaccount:a:b\" cannot list resource \"services\" in API group \"\" at the cluster scope"
    );
    server.revoke_token("t1");
    let error = api.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 401), "{error}");
}

#[tokio::test]
async fn a_server_that_is_down_comes_back_on_the_same_port_with_everything() {
    let (server, client) = start().await;
    server.put(service("a", "red")).unwrap();
    let mut stream = pin!(watcher(Api::<Service>::all(client.clone()), watcher::Config::default()));
    let mut belief = Belief::default();
    belief.until(&mut stream, &[("a", "red")]).await;
    server.faults().set_down(true);
    let api: Api<Service> = Api::all(client);
    // Until the connections are broken.
    while api.list(&ListParams::default()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.put(service("b", "red")).unwrap();
    server.faults().set_down(false);
    belief.until(&mut stream, &[("a", "red"), ("b", "red")]).await;

    server.faults().refuse(Matching::of("list", "services"), Answer::InternalError, 1);
    let error = api.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 500), "{error}");
}

#[tokio::test]
async fn what_is_created_and_deleted_by_a_client_is_there_and_gone() {
    let (server, client) = start().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "prod"}})).unwrap();
    let created = namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    assert_eq!(created.labels().get("kubernetes.io/metadata.name").map(String::as_str), Some("prod"));
    let configs: Api<ConfigMap> = Api::namespaced(client, "prod");
    let config: ConfigMap =
        serde_json::from_value(json!({"metadata": {"generateName": "c-"}, "data": {"a": "b"}})).unwrap();
    let config = configs.create(&PostParams::default(), &config).await.unwrap();
    let metadata = configs.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(metadata.items[0].name_any(), config.name_any());
    let wrong = DeleteParams::default().preconditions(kube::api::Preconditions {
        uid: Some("other".to_owned()),
        ..kube::api::Preconditions::default()
    });
    assert!(configs.delete(&config.name_any(), &wrong).await.is_err());
    namespaces.delete("prod", &DeleteParams::default()).await.unwrap();
    assert!(server.names("v1", "ConfigMap").is_empty());
    assert!(configs.get_opt(&config.name_any()).await.unwrap().is_none());
}

/// Kind, name and resourceVersion of the next event.
async fn next(stream: &mut (impl Stream<Item = kube::Result<WatchEvent<Service>>> + Unpin)) -> (String, String, u64) {
    let event = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    let of = |kind: &str, service: Service| {
        let version = service.resource_version().unwrap_or_default().parse().unwrap();
        (kind.to_owned(), service.metadata.name.unwrap_or_default(), version)
    };
    match event {
        WatchEvent::Added(service) => of("ADDED", service),
        WatchEvent::Modified(service) => of("MODIFIED", service),
        WatchEvent::Deleted(service) => of("DELETED", service),
        WatchEvent::Bookmark(bookmark) => {
            ("BOOKMARK".to_owned(), String::new(), bookmark.metadata.resource_version.parse().unwrap())
        }
        WatchEvent::Error(status) => (status.reason, String::new(), 0),
    }
}

#[tokio::test]
async fn a_watch_has_bookmarks_and_lies_on_demand() {
    let (server, client) = start().await;
    server.put(service("a", "red")).unwrap();
    let first = server.version();
    let api: Api<Service> = Api::all(client);
    let mut stream = pin!(api.watch(&WatchParams::default(), "0").await.unwrap());
    let named = |kind: &str, name: &str, version: u64| (kind.to_owned(), name.to_owned(), version);
    assert_eq!(next(&mut stream).await, named("ADDED", "a", first));
    // Of another kind, but the bookmark knows.
    server.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})).unwrap();
    while next(&mut stream).await != named("BOOKMARK", "", first + 1) {}
    server.put(service("a", "blue")).unwrap();
    while next(&mut stream).await != named("MODIFIED", "a", first + 2) {}
    server.faults().rewind_watches("services", 3);
    while next(&mut stream).await != named("ADDED", "a", first) {}
    while next(&mut stream).await != named("MODIFIED", "a", first + 2) {}
    server.faults().nameless_event("services");
    while next(&mut stream).await != named("ADDED", "", first + 2) {}
    server.faults().expire_watches("services");
    while next(&mut stream).await.0 != "Expired" {}
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_list_may_be_slow_refused_or_hold_an_object_without_name() {
    let (server, client) = start().await;
    server.put(service("a", "red")).unwrap();
    let api: Api<Service> = Api::all(client);
    server.faults().nameless_lists(1);
    let names = |list: kube::core::ObjectList<Service>| -> Vec<Option<String>> {
        list.items.into_iter().map(|service| service.metadata.name).collect()
    };
    let list = ListParams::default();
    assert_eq!(names(api.list(&list).await.unwrap()), [None, Some("a".to_owned())]);
    assert_eq!(names(api.list(&list).await.unwrap()), [Some("a".to_owned())]);
    server.faults().slow_lists(Duration::from_millis(60));
    let begin = tokio::time::Instant::now();
    api.list(&list).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(60));
    server.faults().slow_lists(Duration::ZERO);
    // kube tries again by itself, so this is asked without it.
    server.faults().refuse(Matching::of("list", "services"), Answer::TooManyRequests(7), 1);
    server.faults().refuse(Matching::of("list", "services"), Answer::Close, 1);
    let refused = raw(&server, "/api/v1/services").await.to_lowercase();
    assert!(refused.starts_with("http/1.1 429") && refused.contains("retry-after: 7"), "{refused}");
    assert!(refused.contains("\"retryafterseconds\":7"), "{refused}");
    assert_eq!(raw(&server, "/api/v1/services").await, "");
    assert!(raw(&server, "/api/v1/services").await.starts_with("HTTP/1.1 200"));
}

/// What the server says to a GET, as it says it.
async fn raw(server: &ApiServer, path: &str) -> String {
    let address = server.url().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is closed at once may also end with an error.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8(answer).unwrap()
}
