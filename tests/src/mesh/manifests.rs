//! Objects of the model as manifests, for tests that go through files: one at a time, or a whole mesh as a stream of them.
//! Fields that the model does not know are there only where a test of size needs them ([`Dress::Full`]).

use std::io::{self, Write};
use std::path::Path;

use model::gateway::{Gateway, Listener};
use model::policy::{AuthorizationPolicy, Field, Rule};
use model::service::Port;
use model::service_entry::Resolution;
use model::{EndpointSlice, Labels, Meta, Object, Pod, Service, ServiceEntry, WorkloadEntry};
use serde_json::{Map, Value, json};

const CORE: &str = "v1";
const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";
const ISTIO: &str = "networking.istio.io/v1";

/// The object as Kubernetes would show it, as far as the model knows it.
pub fn manifest(object: &Object) -> Value {
    match object {
        Object::Namespace(o) => document(CORE, "Namespace", &o.meta, json!({})),
        Object::PeerAuthentication(_) => manifest::write(object),
        Object::Node(o) => document(CORE, "Node", &o.meta, json!({})),
        Object::GatewayClass(o) => document(GATEWAY_API, "GatewayClass", &o.meta, json!({})),
        Object::Gateway(o) => document(GATEWAY_API, "Gateway", &o.meta, gateway(o)),
        Object::Service(o) => document(CORE, "Service", &o.meta, json!({ "spec": service(o) })),
        Object::Pod(o) => document(CORE, "Pod", &o.meta, pod(o)),
        Object::ServiceEntry(o) => {
            let mut document = document(ISTIO, "ServiceEntry", &o.meta, service_entry(o));
            if let (Some(created), Some(meta)) = (o.created, document.pointer_mut("/metadata")) {
                meta["creationTimestamp"] = json!(timestamp(created));
            }
            document
        }
        Object::WorkloadEntry(o) => document(ISTIO, "WorkloadEntry", &o.meta, json!({ "spec": workload_entry(o) })),
        Object::EndpointSlice(o) => document("discovery.k8s.io/v1", "EndpointSlice", &o.meta, slice(o)),
        Object::AuthorizationPolicy(o) => {
            document("security.istio.io/v1", "AuthorizationPolicy", &o.meta, json!({ "spec": policy(o) }))
        }
    }
}

/// How much of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dress {
    /// What the model knows.
    Bare,
    /// Pods also have what an API server shows of them and nobody here reads: about 1.3 kB each.
    Full,
}

/// Writes a v1 List of these objects, one at a time, as JSON.
///
/// # Errors
/// What the writer says.
pub fn write_list(objects: impl IntoIterator<Item = Object>, dress: Dress, to: &mut impl Write) -> io::Result<()> {
    to.write_all(b"{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[")?;
    for (at, object) in objects.into_iter().enumerate() {
        to.write_all(if at == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *to, &dressed(&object, dress))?;
    }
    to.write_all(b"\n]}\n")
}

/// Writes these objects into a folder, so many documents to a file, in their order.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write_folder(
    objects: impl IntoIterator<Item = Object>,
    dress: Dress,
    documents: usize,
    folder: &Path,
) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = None;
    for (at, object) in objects.into_iter().enumerate() {
        if at % documents.max(1) == 0 {
            let name = format!("mesh-{:05}.yaml", at / documents.max(1));
            file = Some(io::BufWriter::new(std::fs::File::create(folder.join(name))?));
        }
        if let Some(file) = &mut file {
            file.write_all(b"---\n")?;
            serde_json::to_writer(&mut *file, &dressed(&object, dress))?;
            file.write_all(b"\n")?;
        }
    }
    file.map_or(Ok(()), |mut file| file.flush())
}

fn dressed(object: &Object, dress: Dress) -> Value {
    let mut document = manifest(object);
    if let (Object::Pod(pod), Dress::Full) = (object, dress) {
        dress_up(pod, &mut document);
    }
    document
}

/// What an ordinary Pod of a Deployment has beside what matters here.
fn dress_up(pod: &Pod, document: &mut Value) {
    let name = &pod.meta.name;
    let hash = pod.meta.labels.get("pod-template-hash").map_or("0", |hash| hash);
    let mut set = |pointer: &str, fields: Value| {
        if let (Some(Value::Object(of)), Value::Object(fields)) = (document.pointer_mut(pointer), fields) {
            of.extend(fields);
        }
    };
    let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": hash, "controller": true,
        "blockOwnerDeletion": true, "uid": "6fb6ab8c-7a1c-4a2c-9a40-55d8a9d3a5f1" });
    set(
        "/metadata",
        json!({ "creationTimestamp": "2025-01-01T00:00:00Z", "generateName": format!("{hash}-"),
            "ownerReferences": [owner], "resourceVersion": "123456789", "uid": "0f0f4c9e-94dd-4d31-8f33-97e1c2f3d4b5" }),
    );
    let env = |key: &str, value: &str| json!({ "name": key, "value": value });
    let container = json!({ "name": "app", "image": "registry.example/team/application:1.2.3",
        "imagePullPolicy": "IfNotPresent", "ports": [{ "containerPort": 8080, "name": "http", "protocol": "TCP" }],
        "env": [env("LOG_LEVEL", "info"), env("JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=75")],
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
        "readinessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "periodSeconds": 10 },
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File" });
    set(
        "/spec",
        json!({ "containers": [container], "dnsPolicy": "ClusterFirst", "nodeName": "node-0042.example",
            "restartPolicy": "Always", "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30 }),
    );
    let is = |kind: &str| json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2025-01-01T00:00:05Z" });
    let status = json!({ "name": "app", "ready": true, "restartCount": 0, "started": true, "containerID":
        format!("containerd://{name}"), "state": { "running": { "startedAt": "2025-01-01T00:00:04Z" } } });
    set(
        "/status",
        json!({ "conditions": [is("Initialized"), is("Ready"), is("ContainersReady"), is("PodScheduled")],
            "containerStatuses": [status], "hostIP": "192.0.2.42", "qosClass": "Burstable",
            "startTime": "2025-01-01T00:00:00Z" }),
    );
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

fn service(o: &Service) -> Value {
    let mut ips: Vec<String> = o.addresses.iter().map(ToString::to_string).collect();
    ips.extend(o.bad_address.as_deref().map(str::to_owned));
    ips.extend(o.headless.then(|| "None".to_owned()));
    let kind = if o.external_name { "ExternalName" } else { "ClusterIP" };
    json!({ "type": kind, "clusterIPs": ips, "selector": labels(&o.selector), "ports": ports(&o.ports) })
}

fn ports(ports: &[Port]) -> Vec<Value> {
    let port = |port: &Port| {
        let target = port.target.as_deref().map(|target| target.parse::<u32>().map_or(json!(target), |n| json!(n)));
        json!({ "name": port.name, "port": port.number, "appProtocol": port.protocol, "targetPort": target })
    };
    ports.iter().map(port).collect()
}

fn pod(o: &Pod) -> Value {
    let mut ips: Vec<Value> = o.addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    ips.extend(o.bad_address.iter().map(|ip| json!({ "ip": ip })));
    let containers = if o.has_proxy { json!([{ "name": "istio-proxy" }]) } else { json!([]) };
    let spec = json!({ "serviceAccountName": o.service_account(), "hostNetwork": o.host_network,
        "containers": containers });
    let phase = if o.finished { "Succeeded" } else { "Running" };
    json!({ "spec": spec, "status": { "phase": phase, "podIPs": ips } })
}

fn service_entry(o: &ServiceEntry) -> Value {
    let resolution = match o.resolution {
        Resolution::None => "NONE",
        Resolution::Static => "STATIC",
        Resolution::Dns => "DNS",
        Resolution::DnsRoundRobin => "DNS_ROUND_ROBIN",
        Resolution::DynamicDns => "DYNAMIC_DNS",
    };
    let range = |range: &model::service_entry::AddressRange| match range.as_single() {
        Some(ip) => ip.to_string(),
        None => format!("{}/{}", range.ip, range.prefix),
    };
    let mut addresses: Vec<String> = o.addresses.iter().map(range).collect();
    addresses.extend(o.bad_address.as_deref().map(str::to_owned));
    let ports = o.ports.iter().map(|port| {
        json!({ "name": port.name, "number": port.number, "protocol": port.protocol,
            "targetPort": port.target.as_deref().and_then(|target| target.parse::<u32>().ok()) })
    });
    let endpoints = o.endpoints.iter().map(|it| {
        json!({ "address": it.address, "labels": labels(&it.labels), "network": it.network,
            "serviceAccount": it.service_account })
    });
    let selector = o.selector.as_ref().map(|selector| json!({ "labels": labels(selector) }));
    let allocated: Vec<Value> =
        o.auto_addresses.iter().map(|(host, ip)| json!({ "host": host, "value": ip.to_string() })).collect();
    json!({
        "spec": { "hosts": o.hosts, "addresses": addresses, "ports": ports.collect::<Vec<_>>(), "resolution": resolution,
            "location": if o.mesh_internal { "MESH_INTERNAL" } else { "MESH_EXTERNAL" }, "endpoints": endpoints.collect::<Vec<_>>(),
            "workloadSelector": selector },
        "status": { "addresses": allocated },
    })
}

fn workload_entry(o: &WorkloadEntry) -> Value {
    let ports: Map<String, Value> = o.ports.iter().map(|(name, number)| (name.to_string(), json!(number))).collect();
    json!({ "address": o.address, "labels": labels(&o.spec_labels), "network": o.network,
        "serviceAccount": o.service_account, "ports": ports })
}

fn slice(o: &EndpointSlice) -> Value {
    let pods = o.pods.iter().map(|name| {
        json!({ "addresses": ["192.0.2.1"], "targetRef": { "kind": "Pod", "namespace": o.meta.namespace, "name": name } })
    });
    let others = o.addresses.iter().map(|address| json!({ "addresses": [address] }));
    let endpoints: Vec<Value> = pods.chain(others).collect();
    json!({ "addressType": "IPv4", "endpoints": endpoints })
}

fn policy(o: &AuthorizationPolicy) -> Value {
    let fields = |fields: &Vec<Field>| -> Value {
        fields.iter().map(|field| (field.name.to_string(), json!(field.values))).collect::<Map<_, _>>().into()
    };
    let clause = |word: &str, lists: &[Vec<Field>]| -> Vec<Value> {
        lists.iter().map(|list| json!({ word: fields(list) })).collect()
    };
    let rule = |rule: &Rule| {
        let when = rule.when.iter().map(|it| json!({ "key": it.key, "values": it.values, "notValues": it.not_values }));
        json!({ "from": clause("source", &rule.from), "to": clause("operation", &rule.to),
            "when": when.collect::<Vec<_>>() })
    };
    let target = |it: &model::policy::PolicyTarget| json!({ "group": it.group, "kind": it.kind, "namespace": it.namespace, "name": it.name });
    let selector = o.selector.as_ref().map(|selector| json!({ "matchLabels": labels(selector) }));
    json!({ "selector": selector, "targetRefs": o.targets.iter().map(target).collect::<Vec<_>>(), "action": o.action,
        "rules": o.rules.iter().map(rule).collect::<Vec<_>>() })
}

fn labels(labels: &Labels) -> Map<String, Value> {
    labels.iter().map(|(k, v)| (k.to_string(), json!(v))).collect()
}

/// Seconds since 1970 as the API server writes them.
fn timestamp(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (mut year, mut day) = (1970, days);
    let is_leap = |year: i64| year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let length = |year| if is_leap(year) { 366 } else { 365 };
    while day < 0 {
        year -= 1;
        day += length(year);
    }
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", day + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_timestamp() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
        }
    }
}
