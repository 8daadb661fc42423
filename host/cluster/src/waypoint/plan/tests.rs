//! The plan of an apply: what is written, in which order, and what is refused before anything is.

use model::referrers::{CANARY, USE_WAYPOINT};
use serde_json::json;

use super::super::objects::Got;
use super::super::spec::{Admit, TrafficType};
use super::*;

fn object(kind: Kind, json: Value) -> Object {
    object_of(kind, &json).unwrap()
}

fn namespace(name: &str, labels: Value) -> Object {
    object(Kind::Namespace, json!({ "metadata": { "name": name, "labels": labels } }))
}

/// The namespaces `shop`, in the mesh and with these labels beside that, and `other`; and Istio's class.
fn mesh(mut labels: Value) -> Found {
    labels[DATAPLANE_MODE] = json!("ambient");
    let mut store = Store::default();
    let class = object(Kind::GatewayClass, json!({ "metadata": { "name": "istio-waypoint" } }));
    let objects = [namespace("shop", labels), namespace("other", json!({})), class];
    store.apply_all(objects.map(Event::Apply));
    Found { store, waypoint: None, classes_known: true, targets: Vec::new() }
}

fn with_waypoint(mut found: Found, json: Value) -> Found {
    let got = Got { object: object(Kind::Gateway, json.clone()), json };
    found.waypoint = Waypoint::of(got, &found.store);
    found
}

fn gateway(labels: Value, routes: Value) -> Value {
    json!({ "metadata": { "name": "w", "namespace": "shop", "labels": labels },
        "spec": { "gatewayClassName": "istio-waypoint", "listeners": [
            { "name": "http", "port": 80, "protocol": "HTTP" },
            { "name": "tunnel", "port": 15008, "protocol": "HBONE", "allowedRoutes": routes }] },
        "status": { "conditions": [{ "type": "Programmed", "status": "True" }],
            "addresses": [{ "type": "Hostname", "value": "w.shop.svc.cluster.local" }] } })
}

/// Enrols these, each with labels and annotations.
fn ask(found: &mut Found, enrol: &[(&str, Value)]) -> Wanted {
    let mut wanted =
        Wanted { spec: Spec::named(Some("shop"), "w"), enrol: Vec::new(), canary: None, overwrite: false, wait: false };
    for (text, meta) in enrol {
        let target = text.parse::<Target>().unwrap().in_namespace("shop");
        let mut meta = meta.clone();
        meta["name"] = json!(target.name);
        if let Some(namespace) = &target.namespace {
            meta["namespace"] = json!(namespace);
        }
        let object = match target.kind {
            TargetKind::Namespace => {
                Object::Namespace((**found.store.namespace(&target.home().into()).unwrap()).clone())
            }
            kind => object(kind.kind(), json!({ "metadata": meta, "spec": {} })),
        };
        found.targets.push((target.clone(), object, "7".to_owned()));
        wanted.enrol.push(target);
    }
    wanted
}

fn words(plan: &Plan) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::Create { what } => format!("create: {what}"),
        Step::Change(lines) => format!("change: {}", lines.join("; ")),
        Step::Keep => "keep".to_owned(),
        Step::Wait => "wait".to_owned(),
        Step::Enrol(enrolment) => enrolment.to_string(),
        Step::Enrolled(target) => format!("{target} is enrolled"),
    };
    plan.steps.iter().map(word).collect()
}

#[test]
fn the_gateway_comes_first_then_the_wait_then_the_labels() {
    let mut found = mesh(json!({}));
    let wanted = ask(&mut found, &[("ns/shop", json!({})), ("svc/cart", json!({}))]);
    let plan = plan(&wanted, &found).unwrap();
    assert_eq!(
        words(&plan),
        [
            "create: class istio-waypoint, serves service",
            "wait",
            "namespace/shop: istio.io/use-waypoint=w",
            "service/shop/cart: istio.io/use-waypoint=w",
        ]
    );
    assert!(plan.warnings.is_empty() && plan.changes_anything(), "{:?}", plan.warnings);
}

#[test]
fn a_waypoint_that_is_ready_is_not_waited_for_and_nobody_is_enrolled_twice() {
    let mut found = with_waypoint(mesh(json!({ USE_WAYPOINT: "w" })), gateway(json!({}), json!({})));
    let wanted = ask(&mut found, &[("ns/shop", json!({})), ("svc/cart", json!({}))]);
    assert_eq!(
        words(&plan(&wanted, &found).unwrap()),
        ["keep", "namespace/shop is enrolled", "service/shop/cart: istio.io/use-waypoint=w"]
    );
}

#[test]
fn what_was_not_asked_for_stays_as_it_is() {
    let routes = json!({ "namespaces": { "from": "All" } });
    let now = gateway(json!({ "istio.io/waypoint-for": "all", "team": "x" }), routes);
    let mut found = with_waypoint(mesh(json!({})), now.clone());
    let wanted = ask(&mut found, &[("pod/web", json!({}))]);
    let plan = plan(&wanted, &found).unwrap();
    assert_eq!(words(&plan), ["keep", "pod/shop/web: istio.io/use-waypoint=w"]);
    // What is applied has the name of the listener that is there, and nothing of others.
    assert_eq!(
        plan.gateway,
        json!({ "apiVersion": GATEWAY_VERSION, "kind": "Gateway",
            "metadata": { "name": "w", "namespace": "shop", "labels": { "istio.io/waypoint-for": "all" } },
            "spec": { "gatewayClassName": "istio-waypoint", "listeners": [{ "name": "tunnel", "port": 15008,
                "protocol": "HBONE", "allowedRoutes": { "namespaces": { "from": "All" } } }] } })
    );
    let mut changed = wanted.clone();
    changed.enrol.clear();
    changed.spec.serves = Some(TrafficType::Service);
    changed.spec.admit = Some(Admit::Named(vec!["other".to_owned()]));
    let found = Found { targets: Vec::new(), ..found };
    assert_eq!(
        words(&super::plan(&changed, &found).unwrap()),
        ["change: label istio.io/waypoint-for: all -> service; allowedRoutes: All -> Selector \
          {\"matchExpressions\":[{\"key\":\"kubernetes.io/metadata.name\",\"operator\":\"In\",\"values\":[\"other\"]}]}"]
    );
}

const GATEWAY_VERSION: &str = "gateway.networking.k8s.io/v1";

#[test]
fn the_choice_of_somebody_else_is_replaced_only_on_request_and_as_a_whole() {
    let labels = json!({ USE_WAYPOINT: "w", USE_WAYPOINT_NAMESPACE: "other", CANARY: "w", CANARY_NAMESPACE: "shop" });
    let meta = json!({ "labels": labels, "annotations": { CANARY_WEIGHT: "5" } });
    let mut found = mesh(json!({}));
    let mut wanted = ask(&mut found, &[("svc/cart", meta)]);
    assert_eq!(
        plan(&wanted, &found).unwrap_err().to_string(),
        "service/shop/cart names other/w already: --overwrite replaces that; nothing was changed"
    );
    wanted.overwrite = true;
    // It was the second waypoint, and is the first now.
    assert_eq!(
        words(&plan(&wanted, &found).unwrap()).last().unwrap(),
        "service/shop/cart: without istio.io/use-waypoint-canary (was w), without istio.io/use-waypoint-canary-namespace \
         (was shop), without istio.io/use-waypoint-namespace (was other), without istio.io/use-waypoint-canary-weight (was 5)"
    );

    let mut found = mesh(json!({ USE_WAYPOINT: "none" }));
    let wanted = ask(&mut found, &[("ns/shop", json!({}))]);
    let refused = plan(&wanted, &found).unwrap_err().to_string();
    assert!(refused.contains("opts out with istio.io/use-waypoint=none already"), "{refused}");
}

#[test]
fn what_istio_would_not_take_is_refused_before_anything_is_written() {
    let refused = |enrol: &str, edit: &dyn Fn(&mut Wanted)| {
        let mut found = mesh(json!({}));
        let mut wanted = ask(&mut found, &[(enrol, json!({}))]);
        edit(&mut wanted);
        plan(&wanted, &found).map(|_| ()).map_err(|error| error.to_string())
    };
    let nothing = |_: &mut Wanted| {};
    assert_eq!(
        refused("svc/other/cart", &nothing).unwrap_err(),
        "the waypoint admits no object of namespace other: add it with --allow-namespaces; nothing was changed"
    );
    assert_eq!(refused("svc/other/cart", &|it| it.spec.admit = Some(Admit::All)), Ok(()));
    assert_eq!(
        refused("pod/web", &nothing).unwrap_err(),
        "the waypoint serves \"service\", pod/shop/web needs workload or all: say so with --for; nothing was changed"
    );
    let serve = |serves| move |it: &mut Wanted| it.spec.serves = Some(serves);
    assert_eq!(refused("pod/web", &serve(TrafficType::Workload)), Ok(()));
    assert!(refused("svc/cart", &serve(TrafficType::Workload)).unwrap_err().contains("service or all"));
    assert!(refused("ns/shop", &serve(TrafficType::None)).unwrap_err().contains("service, workload or all"));
    let canary = |it: &mut Wanted| {
        it.canary = Some(10);
        it.spec.serves = Some(TrafficType::All);
    };
    assert!(refused("pod/web", &canary).unwrap_err().contains("cannot have a second waypoint"));
    assert!(refused("svc/cart", &canary).unwrap_err().contains("has no first waypoint"));
}

#[test]
fn a_second_waypoint_goes_beside_a_first_one_with_its_share() {
    let second = |of_namespace: Value, of_service: Value, weight| {
        let mut found = mesh(of_namespace);
        let mut wanted = ask(&mut found, &[("svc/cart", of_service)]);
        wanted.canary = Some(weight);
        plan(&wanted, &found).map(|plan| words(&plan).last().unwrap().clone()).map_err(|error| error.to_string())
    };
    let first = json!({ USE_WAYPOINT: "old" });
    let expected = "service/shop/cart: istio.io/use-waypoint-canary=w, istio.io/use-waypoint-canary-weight=10";
    assert_eq!(second(first.clone(), json!({}), 10).as_deref(), Ok(expected));
    assert_eq!(second(json!({}), json!({ "labels": first }), 10).as_deref(), Ok(expected));
    let before = json!({ "labels": { CANARY: "w" }, "annotations": { CANARY_WEIGHT: "10" } });
    assert_eq!(
        second(first.clone(), before.clone(), 50).as_deref(),
        Ok("service/shop/cart: istio.io/use-waypoint-canary-weight=50 (was 10)")
    );
    assert_eq!(second(first.clone(), before, 10).as_deref(), Ok("service/shop/cart is enrolled"));
    let opted_out = json!({ "labels": { USE_WAYPOINT: "none" } });
    assert!(second(first.clone(), opted_out, 10).unwrap_err().contains("has no first waypoint"));
    let same = json!({ "labels": { USE_WAYPOINT: "w" } });
    assert!(second(first.clone(), same, 10).unwrap_err().contains("shop/w is the first waypoint of"));
    let other = json!({ "labels": { CANARY: "x" } });
    assert!(second(first, other, 10).unwrap_err().contains("names shop/x as its second waypoint already"));
}

#[test]
fn the_user_is_told_what_may_surprise() {
    let mut found = mesh(json!({}));
    let mut wanted = ask(&mut found, &[("svc/other/cart", json!({})), ("pod/web", json!({})), ("ns/shop", json!({}))]);
    wanted.spec.class = Some("strange".to_owned());
    wanted.spec.admit = Some(Admit::All);
    wanted.spec.serves = Some(TrafficType::All);
    let warnings = plan(&wanted, &found).unwrap().warnings;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings[0].contains("no GatewayClass strange") && warnings[1].contains("namespace other is not in the mesh")
    );
    assert!(warnings[2].contains("pod/shop/web loses its label"), "{warnings:?}");
    wanted.spec.serves = Some(TrafficType::Workload);
    found.targets.remove(0);
    wanted.enrol.remove(0);
    let warnings = plan(&wanted, &found).unwrap().warnings;
    assert!(warnings.iter().any(|it| it.contains("services of namespace/shop go direct")), "{warnings:?}");
}

#[test]
fn the_mesh_as_it_would_be_has_a_ready_waypoint_and_the_labels() {
    let mut found = mesh(json!({}));
    let wanted = ask(&mut found, &[("ns/shop", json!({}))]);
    let plan = plan(&wanted, &found).unwrap();
    let mut store = found.store.clone();
    let events = plan.events(&store);
    store.apply_all(events);
    let gateway = store.gateway(&GatewayKey::new("shop", "w")).unwrap();
    assert_eq!(&*gateway.addresses[0].value, "w.shop.svc.cluster.local");
    let labels = &store.namespace(&"shop".into()).unwrap().meta.labels;
    assert_eq!(labels.get(USE_WAYPOINT).map(|it| &**it), Some("w"));
    assert_eq!(labels.get(DATAPLANE_MODE).map(|it| &**it), Some("ambient"), "the others stay");
}
