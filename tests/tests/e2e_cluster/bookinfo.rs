//! The example mesh in namespaces of this story, with statuses as its manifests have them. What `expected.json` says about it must
//! come out again.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Result, ensure};
use deploy_checks::manifest::{documents, text};
use serde_json::{Map, Value, json};

use crate::ground::Ground;

/// A controller that nobody has: on a cluster with Istio its own would take the Gateways over.
const CONTROLLER: &str = "wayswitch.io/e2e";
/// A scheduler that nobody has: no Pod gets a node, and no kubelet changes its status.
const SCHEDULER: &str = "wayswitch-e2e-none";
const NAMESPACE_LABEL: &str = "istio.io/use-waypoint-namespace";

/// Applies it; the objects.
pub(crate) fn apply(ground: &Ground) -> Result<Vec<Value>> {
    let objects = read(ground)?;
    ground.kubectl.apply(&objects)?;
    ground.kubectl.set_status(&objects)?;
    Ok(objects)
}

fn read(ground: &Ground) -> Result<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/bookinfo/manifests");
    let mut files: Vec<_> = fs::read_dir(folder)?.map(|it| Ok(it?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        objects.extend(documents(&fs::read_to_string(file)?)?.into_iter().map(|object| renamed(ground, object)));
    }
    ensure!(objects.len() > 30, "the example is not there");
    Ok(objects)
}

/// The class of waypoints of this story.
pub(crate) fn class(ground: &Ground) -> Value {
    let mut class = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": { "name": ground.named("waypoint") }, "spec": { "controllerName": CONTROLLER } });
    ground.label(&mut class);
    class
}

fn renamed(ground: &Ground, mut object: Value) -> Value {
    match text(&object, "/kind") {
        "GatewayClass" => return class(ground),
        "Namespace" => {
            let name = ground.named(text(&object, "/metadata/name"));
            object["metadata"]["name"] = json!(name);
            ground.label(&mut object);
        }
        "Gateway" => {
            object["spec"]["gatewayClassName"] = json!(ground.named("waypoint"));
            // A real API server takes no other text for an IP than one: the Gateway `broken` is as unreachable by a host.
            for address in object.pointer_mut("/status/addresses").and_then(Value::as_array_mut).into_iter().flatten() {
                if text(address, "/value").parse::<IpAddr>().is_err() {
                    address["type"] = json!("Hostname");
                }
            }
        }
        "Pod" => object["spec"]["schedulerName"] = json!(SCHEDULER),
        // Addresses are the cluster's to give, of the families it has.
        "Service" if text(&object, "/spec/clusterIP") != "None" => {
            let spec = object["spec"].as_object_mut();
            spec.into_iter().for_each(|spec| {
                spec.retain(|field, _| {
                    !["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"].contains(&field.as_str())
                });
            });
        }
        _ => {}
    }
    if !text(&object, "/metadata/namespace").is_empty() {
        object["metadata"]["namespace"] = json!(ground.named(text(&object, "/metadata/namespace")));
    }
    let named = text(&object["metadata"]["labels"], &format!("/{}", NAMESPACE_LABEL.replace('/', "~1"))).to_owned();
    if !named.is_empty() {
        object["metadata"]["labels"][NAMESPACE_LABEL] = json!(ground.named(&named));
    }
    object
}

/// What must be decided by a component, as `expected.json` has it.
pub(crate) fn expected(component: &str) -> Result<Value> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/bookinfo/expected.json"))?;
    let mut all: Value = serde_json::from_str(&text)?;
    Ok(all[component].take())
}

/// Decisions of this story's Services and Pods, under the names of the example.
pub(crate) fn short(ground: &Ground, decisions: &Value) -> Value {
    let prefix = format!("{}-", ground.prefix);
    let own = |namespace: &str| namespace.strip_prefix(&prefix).map(str::to_owned);
    let mut rows = Map::new();
    for row in decisions["decisions"].as_array().into_iter().flatten() {
        let Some(namespace) = own(text(row, "/namespace")).filter(|it| it != "system") else { continue };
        let waypoint = text(row, "/waypoint/name");
        let waypoint = (!waypoint.is_empty())
            .then(|| format!("{}/{waypoint}", own(text(row, "/waypoint/namespace")).unwrap_or_default()));
        let name = format!("{} {namespace}/{}", text(row, "/kind"), text(row, "/name"));
        rows.insert(name, json!({ "waypoint": waypoint, "reason": row["reason"] }));
    }
    rows.into()
}
