//! Waypoints against an API server: what is written, by whom, in which order, and what is left alone.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use apiserver::{Answer, ApiServer, Matching, Write};
use cluster::connect::{Access, Cluster};
use cluster::error::Error;
use cluster::waypoint::{
    Deletion, Found, Plan, Readiness, Refusal, Scope, Spec, Step, Target, TrafficType, Wanted, apply_gateway,
    await_ready, delete, enrol, find, list, plan, references,
};
use model::gateway::GatewayKey;
use model::referrers::referrers;
use serde_json::{Value, json};

const GATEWAY: &str = "gateway.networking.k8s.io/v1";

struct Mesh {
    server: ApiServer,
    cluster: Cluster,
}

impl Mesh {
    /// Two namespaces in the mesh, with Istio's class and a service.
    async fn start() -> Self {
        let server = ApiServer::start().await.unwrap();
        for name in ["shop", "other"] {
            server
                .put(json!({ "apiVersion": "v1", "kind": "Namespace",
                    "metadata": { "name": name, "labels": { "istio.io/dataplane-mode": "ambient" } } }))
                .unwrap();
        }
        server
            .put(json!({ "apiVersion": GATEWAY, "kind": "GatewayClass", "metadata": { "name": "istio-waypoint" },
                "spec": { "controllerName": "istio.io/mesh-controller" } }))
            .unwrap();
        server
            .put(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "cart", "namespace": "shop" },
                "spec": { "clusterIP": "10.0.0.1", "ports": [{ "port": 80 }] } }))
            .unwrap();
        server.clear_audit();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        server.write_kubeconfig(&path, None).unwrap();
        let access = Access { kubeconfig: Some(path), context: None, namespace: Some("shop".to_owned()) };
        let cluster = Cluster::connect(&access).await.unwrap();
        Self { server, cluster }
    }

    fn put_waypoint(&self, namespace: &str, name: &str, status: Value) {
        self.server
            .put(
                json!({ "apiVersion": GATEWAY, "kind": "Gateway", "metadata": { "name": name, "namespace": namespace },
                "spec": { "gatewayClassName": "istio-waypoint",
                    "listeners": [{ "name": "mesh", "port": 15008, "protocol": "HBONE" }] },
                "status": status }),
            )
            .unwrap();
    }

    fn make_ready(&self, namespace: &str, name: &str) {
        self.server.set_status(GATEWAY, "Gateway", namespace, name, ready()).unwrap();
    }

    fn label(&self, kind: &str, namespace: &str, name: &str, label: &str) -> Option<String> {
        let object = self.server.get("v1", kind, namespace, name).unwrap();
        Some(object["metadata"]["labels"].get(label)?.as_str()?.to_owned())
    }

    async fn plan(&self, wanted: &Wanted) -> Result<Plan, Refusal> {
        let found: Found = find(&self.cluster, wanted).await.unwrap();
        plan(wanted, &found)
    }

    /// What the command does, with a wait that is over soon.
    async fn carry_out(&self, plan: &Plan, limit: Duration) -> Result<(), String> {
        for step in &plan.steps {
            match step {
                Step::Create { .. } | Step::Change(_) => {
                    apply_gateway(&self.cluster, plan, false).await.map_err(|error| error.to_string())?;
                }
                Step::Wait => {
                    let scope = Scope::Namespace(plan.key.namespace.to_string());
                    let wanted = BTreeSet::from([plan.key.clone()]);
                    let waited = await_ready(&self.cluster, &scope, &wanted, limit, &mut |_, _| {}).await.unwrap();
                    if let Some((_, missing)) = waited.missing().first() {
                        return Err(missing.to_string());
                    }
                }
                Step::Enrol(enrolment) => {
                    enrol(&self.cluster, enrolment, false).await.map_err(|error| error.to_string())?;
                }
                Step::Keep | Step::Enrolled(_) => {}
            }
        }
        Ok(())
    }

    fn writes(&self) -> Vec<String> {
        let accepted = self.server.audit().into_iter().filter(Write::is_accepted);
        accepted.map(|it| format!("{} {} {}", it.verb, it.resource, it.name)).collect()
    }
}

fn ready() -> Value {
    json!({ "conditions": [{ "type": "Programmed", "status": "True", "reason": "Programmed" }],
        "addresses": [{ "type": "Hostname", "value": "waypoint.shop.svc.cluster.local" }] })
}

fn wanted(name: &str, enrol: &[&str]) -> Wanted {
    Wanted {
        spec: Spec::named(Some("shop"), name),
        enrol: enrol.iter().map(|it| it.parse::<Target>().unwrap().in_namespace("shop")).collect(),
        canary: None,
        overwrite: false,
        wait: false,
    }
}

const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn objects_are_enrolled_only_when_the_waypoint_is_ready() {
    let mesh = Mesh::start().await;
    let wanted = wanted("waypoint", &["ns/shop", "service/cart"]);
    let plan = mesh.plan(&wanted).await.unwrap();
    // Nobody programs it: it is created, and nothing else happens.
    let why = mesh.carry_out(&plan, SOON).await.unwrap_err();
    assert_eq!(why, "no controller has taken it up: it has no conditions");
    assert_eq!(mesh.label("Namespace", "", "shop", "istio.io/use-waypoint"), None);
    assert_eq!(mesh.writes(), ["patch gateways.gateway.networking.k8s.io waypoint"]);

    // The same again while somebody makes it ready, in two steps.
    let plan = mesh.plan(&wanted).await.unwrap();
    let steps = async {
        tokio::time::sleep(SOON).await;
        let programmed = json!({ "conditions": [{ "type": "Programmed", "status": "True" }] });
        mesh.server.set_status(GATEWAY, "Gateway", "shop", "waypoint", programmed).unwrap();
        tokio::time::sleep(SOON).await;
        assert_eq!(mesh.label("Namespace", "", "shop", "istio.io/use-waypoint"), None, "it had no address yet");
        mesh.make_ready("shop", "waypoint");
    };
    let (done, ()) = tokio::join!(mesh.carry_out(&plan, LONG), steps);
    done.unwrap();
    assert_eq!(mesh.label("Namespace", "", "shop", "istio.io/use-waypoint").as_deref(), Some("waypoint"));
    assert_eq!(mesh.label("Service", "shop", "cart", "istio.io/use-waypoint").as_deref(), Some("waypoint"));
    let ours = mesh.server.audit().into_iter().filter(|write| write.field_manager == "wayswitch");
    assert_eq!(ours.count(), 3, "one request for each object: {:?}", mesh.server.audit());

    // And once more: nothing is left to do, and nothing is written.
    mesh.server.clear_audit();
    let plan = mesh.plan(&wanted).await.unwrap();
    assert!(!plan.changes_anything(), "{:?}", plan.steps);
    mesh.carry_out(&plan, SOON).await.unwrap();
    assert!(mesh.writes().is_empty());
}

#[tokio::test]
async fn a_field_that_somebody_else_holds_is_not_taken() {
    let mesh = Mesh::start().await;
    mesh.server
        .put(json!({ "apiVersion": GATEWAY, "kind": "Gateway",
            "metadata": { "name": "waypoint", "namespace": "shop", "labels": { "istio.io/waypoint-for": "service" } },
            "spec": { "gatewayClassName": "istio-waypoint",
                "listeners": [{ "name": "mesh", "port": 15008, "protocol": "HBONE" }] } }))
        .unwrap();
    let mut wanted = wanted("waypoint", &[]);
    wanted.spec.serves = Some(TrafficType::All);
    let plan = mesh.plan(&wanted).await.unwrap();
    assert_eq!(plan.steps, [Step::Change(vec!["label istio.io/waypoint-for: service -> all".to_owned()])]);
    let error = apply_gateway(&mesh.cluster, &plan, false).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Conflict { .. }) && text.contains(ApiServer::MANAGER), "{text}");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let mesh = Mesh::start().await;
    let missing = |error: Error| error.to_string();
    let mut elsewhere = wanted("waypoint", &[]);
    elsewhere.spec.namespace = Some("nowhere".to_owned());
    let text = missing(find(&mesh.cluster, &elsewhere).await.unwrap_err());
    assert_eq!(text, "namespaces nowhere does not exist");
    let text = missing(find(&mesh.cluster, &wanted("w", &["service/nothing"])).await.unwrap_err());
    assert_eq!(text, "services shop/nothing does not exist");

    for plural in ["gateways", "gatewayclasses"] {
        assert!(mesh.server.uninstall("gateway.networking.k8s.io", plural));
    }
    let no_api = "install the CustomResourceDefinitions of gateway.networking.k8s.io";
    let text = missing(find(&mesh.cluster, &wanted("w", &[])).await.unwrap_err());
    assert!(text.contains(no_api), "{text}");
    let text = missing(list(&mesh.cluster, &Scope::All).await.unwrap_err());
    assert!(text.contains(no_api), "{text}");
    let one = BTreeSet::from([GatewayKey::new("shop", "w")]);
    let text = missing(await_ready(&mesh.cluster, &Scope::All, &one, LONG, &mut |_, _| {}).await.unwrap_err());
    assert!(text.contains(no_api), "no waiting mends that: {text}");
}

#[tokio::test]
async fn overwriting_leaves_no_namespace_of_the_earlier_waypoint_behind() {
    let mesh = Mesh::start().await;
    mesh.put_waypoint("shop", "waypoint", ready());
    mesh.server
        .put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop", "labels": {
            "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "shared",
            "istio.io/use-waypoint-namespace": "other" } } }))
        .unwrap();
    let mut wanted = wanted("waypoint", &["ns/shop"]);
    assert_eq!(
        mesh.plan(&wanted).await.unwrap_err().to_string(),
        "namespace/shop names other/shared already: --overwrite replaces that; nothing was changed"
    );
    wanted.overwrite = true;
    let plan = mesh.plan(&wanted).await.unwrap();
    mesh.carry_out(&plan, LONG).await.unwrap();
    assert_eq!(mesh.label("Namespace", "", "shop", "istio.io/use-waypoint").as_deref(), Some("waypoint"));
    assert_eq!(mesh.label("Namespace", "", "shop", "istio.io/use-waypoint-namespace"), None);
    assert_eq!(mesh.label("Namespace", "", "shop", "istio.io/dataplane-mode").as_deref(), Some("ambient"));
}

#[tokio::test]
async fn labels_that_somebody_changed_meanwhile_are_left_alone_and_other_changes_do_not_matter() {
    let mesh = Mesh::start().await;
    mesh.put_waypoint("shop", "waypoint", ready());
    let cart = |labels: Value| {
        let service = json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "cart", "namespace": "shop", "labels": labels },
            "spec": { "clusterIP": "10.0.0.1", "ports": [{ "port": 80 }] } });
        mesh.server.put(service).unwrap();
    };
    let plan = mesh.plan(&wanted("waypoint", &["service/cart"])).await.unwrap();
    cart(json!({ "unrelated": "1" }));
    mesh.carry_out(&plan, LONG).await.unwrap();
    assert_eq!(mesh.label("Service", "shop", "cart", "istio.io/use-waypoint").as_deref(), Some("waypoint"));
    assert_eq!(mesh.label("Service", "shop", "cart", "unrelated").as_deref(), Some("1"));

    cart(json!({}));
    let plan = mesh.plan(&wanted("waypoint", &["service/cart"])).await.unwrap();
    cart(json!({ "istio.io/use-waypoint": "theirs" }));
    assert!(mesh.carry_out(&plan, LONG).await.unwrap_err().contains("somebody else"));
    assert_eq!(mesh.label("Service", "shop", "cart", "istio.io/use-waypoint").as_deref(), Some("theirs"));
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let mesh = Mesh::start().await;
    let plan = mesh.plan(&wanted("waypoint", &["ns/shop"])).await.unwrap();
    apply_gateway(&mesh.cluster, &plan, true).await.unwrap();
    for step in &plan.steps {
        if let Step::Enrol(enrolment) = step {
            enrol(&mesh.cluster, enrolment, true).await.unwrap();
        }
    }
    assert!(mesh.server.audit().iter().all(|write| write.is_dry_run) && mesh.server.audit().len() == 2);
    assert_eq!(mesh.server.get(GATEWAY, "Gateway", "shop", "waypoint"), None);
}

#[tokio::test]
async fn a_wait_outlives_a_server_that_goes_away_and_ends_in_time() {
    let mesh = Mesh::start().await;
    mesh.put_waypoint("shop", "a", json!({}));
    mesh.put_waypoint("other", "b", ready());
    let both = BTreeSet::from([GatewayKey::new("other", "b"), GatewayKey::new("shop", "a")]);
    let mut told: Vec<String> = Vec::new();
    let mut tell = |key: &GatewayKey, state: &Readiness| told.push(format!("{key}: {state}"));
    let break_and_mend = async {
        tokio::time::sleep(SOON).await;
        mesh.server.faults().drop_watches("");
        mesh.server.faults().refuse(Matching::all(), Answer::InternalError, 2);
        mesh.make_ready("shop", "a");
    };
    let (waited, ()) = tokio::join!(await_ready(&mesh.cluster, &Scope::All, &both, LONG, &mut tell), break_and_mend);
    let waited = waited.unwrap();
    assert!(waited.missing().is_empty() && waited.trouble.is_none(), "{:?}", waited.missing());
    assert_eq!(
        told,
        ["other/b: ready", "shop/a: no controller has taken it up: it has no conditions", "shop/a: ready"]
    );

    let absent = BTreeSet::from([GatewayKey::new("shop", "c")]);
    let started = std::time::Instant::now();
    let waited = await_ready(&mesh.cluster, &Scope::Namespace("shop".to_owned()), &absent, SOON, &mut |_, _| {}).await;
    assert_eq!(waited.unwrap().missing(), [(&GatewayKey::new("shop", "c"), Readiness::Absent)]);
    assert!(started.elapsed() < LONG / 2);

    // Without the permission there is nothing to wait for.
    mesh.server.forbid("watch", "gateway.networking.k8s.io", "gateways");
    mesh.server.forbid("list", "gateway.networking.k8s.io", "gateways");
    let refused = await_ready(&mesh.cluster, &Scope::All, &absent, LONG, &mut |_, _| {}).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
}

#[tokio::test]
async fn waypoints_are_listed_and_other_gateways_are_not() {
    let mesh = Mesh::start().await;
    mesh.put_waypoint("shop", "b", ready());
    mesh.put_waypoint("shop", "a", json!({}));
    mesh.put_waypoint("other", "c", json!({}));
    mesh.server
        .put(json!({ "apiVersion": GATEWAY, "kind": "Gateway", "metadata": { "name": "ingress", "namespace": "shop" },
            "spec": { "gatewayClassName": "istio", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] } }))
        .unwrap();
    let names = |found: Vec<cluster::waypoint::Waypoint>| -> Vec<String> {
        found.iter().map(|it| format!("{} {}", it.key(), it.programmed())).collect()
    };
    let (all, unread) = list(&mesh.cluster, &Scope::All).await.unwrap();
    assert_eq!(names(all), ["other/c Unknown", "shop/a Unknown", "shop/b True"]);
    assert!(unread.is_empty());
    let (one, _) = list(&mesh.cluster, &Scope::Namespace("other".to_owned())).await.unwrap();
    assert_eq!(names(one), ["other/c Unknown"]);
}

#[tokio::test]
async fn who_names_a_waypoint_is_found_wherever_it_is_written() {
    let mesh = Mesh::start().await;
    let use_it = json!({ "istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "shop" });
    let put = |object: Value| drop(mesh.server.put(object).unwrap());
    put(
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "far", "namespace": "other", "labels": use_it } }),
    );
    put(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "near", "namespace": "shop",
        "labels": { "istio.io/use-waypoint-canary": "waypoint" } } }));
    put(
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": { "name": "api", "namespace": "shop" },
        "spec": { "hosts": ["api"], "endpoints": [{ "address": "10.1.1.1", "labels": use_it }] } }),
    );
    let found = || async { references(&mesh.cluster).await.unwrap() };
    let texts = |store: &model::Store| -> Vec<String> {
        let all = referrers(store);
        all.get(&GatewayKey::new("shop", "waypoint")).into_iter().flatten().map(ToString::to_string).collect()
    };
    assert_eq!(
        texts(&found().await.0),
        ["Service other/far", "Service shop/near, as second waypoint", "ServiceEntry shop/api, endpoint 10.1.1.1"]
    );
    // A cluster without Istio's own kinds has fewer places to look at.
    mesh.server.uninstall("networking.istio.io", "serviceentries");
    mesh.server.uninstall("networking.istio.io", "workloadentries");
    assert_eq!(texts(&found().await.0).len(), 2);
    mesh.server.forbid("list", "", "pods");
    assert!(matches!(references(&mesh.cluster).await, Err(Error::Forbidden { .. })));
}

#[tokio::test]
async fn only_the_very_waypoint_that_was_seen_is_deleted() {
    let mesh = Mesh::start().await;
    for name in ["a", "b", "c"] {
        mesh.put_waypoint("shop", name, json!({}));
    }
    let (seen, _) = list(&mesh.cluster, &Scope::All).await.unwrap();
    let tried = delete(&mesh.cluster, &seen, true).await;
    assert!(tried.iter().all(|(_, done)| matches!(done, Ok(Deletion::Deleted))), "{tried:?}");
    assert_eq!(mesh.server.names(GATEWAY, "Gateway").len(), 3, "that was a dry run");
    mesh.server.delete(GATEWAY, "Gateway", "shop", "b").unwrap();
    mesh.server.delete(GATEWAY, "Gateway", "shop", "c").unwrap();
    mesh.put_waypoint("shop", "c", json!({}));
    let done: Vec<_> = delete(&mesh.cluster, &seen, false).await.into_iter().map(|(_, done)| done.unwrap()).collect();
    assert_eq!(done, [Deletion::Deleted, Deletion::Gone, Deletion::Replaced]);
    assert_eq!(mesh.server.names(GATEWAY, "Gateway"), [("shop".to_owned(), "c".to_owned())]);
}
