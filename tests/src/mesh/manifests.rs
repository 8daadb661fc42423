//! Objects of the model as manifests, for tests that go through files.

use model::gateway::{Gateway, Listener};
use model::{Labels, Meta, Object};
use serde_json::{Map, Value, json};

/// The object as Kubernetes would show it, as far as the model knows it.
pub fn manifest(object: &Object) -> Value {
    match object {
        Object::Namespace(o) => document("v1", "Namespace", &o.meta, json!({})),
        Object::GatewayClass(o) => document("gateway.networking.k8s.io/v1", "GatewayClass", &o.meta, json!({})),
        Object::Gateway(o) => document("gateway.networking.k8s.io/v1", "Gateway", &o.meta, gateway(o)),
        Object::Service(o) => {
            let spec = json!({ "clusterIPs": o.addresses, "selector": labels(&o.selector) });
            document("v1", "Service", &o.meta, json!({ "spec": spec }))
        }
        Object::Pod(o) => {
            let ips: Vec<Value> = o.addresses.iter().map(|ip| json!({ "ip": ip })).collect();
            let spec = json!({ "serviceAccountName": o.service_account, "hostNetwork": o.host_network });
            let phase = if o.finished { "Succeeded" } else { "Running" };
            document("v1", "Pod", &o.meta, json!({ "spec": spec, "status": { "phase": phase, "podIPs": ips } }))
        }
    }
}

fn document(version: &str, kind: &str, meta: &Meta, rest: Value) -> Value {
    let mut all = Map::new();
    let namespace = (!meta.namespace.is_empty()).then(|| meta.namespace.clone());
    let metadata = json!({ "name": meta.name, "namespace": namespace, "labels": labels(&meta.labels),
        "annotations": labels(&meta.annotations) });
    all.extend([("apiVersion".into(), json!(version)), ("kind".into(), json!(kind)), ("metadata".into(), metadata)]);
    if let Value::Object(rest) = rest {
        all.extend(rest);
    }
    Value::Object(all)
}

fn gateway(gateway: &Gateway) -> Value {
    let addresses: Vec<Value> = gateway.addresses.iter().map(|a| json!({ "type": a.kind, "value": a.value })).collect();
    let listeners: Vec<Value> = gateway.listeners.iter().map(listener).collect();
    json!({ "spec": { "gatewayClassName": gateway.class, "listeners": listeners }, "status": { "addresses": addresses } })
}

fn listener(listener: &Listener) -> Value {
    let requirement =
        |r: &model::selector::Requirement| json!({ "key": r.key, "operator": r.operator, "values": r.values });
    let selector = listener.selector.as_ref().map(|s| {
        let expressions: Vec<Value> = s.requirements.iter().map(requirement).collect();
        json!({ "matchLabels": labels(&s.labels), "matchExpressions": expressions })
    });
    let allowed =
        listener.admits_from.as_ref().map(|from| json!({ "namespaces": { "from": from, "selector": selector } }));
    json!({ "name": "l", "port": listener.port, "protocol": listener.protocol, "allowedRoutes": allowed })
}

fn labels(labels: &Labels) -> Map<String, Value> {
    labels.iter().map(|(k, v)| (k.to_string(), json!(v))).collect()
}
