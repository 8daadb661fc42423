//! Objects of the model as Kubernetes writes them: what the readers in [`crate::shapes`] take, they take back unchanged.
//! Only what the model keeps: not what the object once was.

use model::gateway::{Gateway, Listener, StatusAddress};
use model::mesh::{EntryVisibilityRules, Mesh, ServiceScope, VisibilityPolicy};
use model::peer_authentication::MtlsMode;
use model::policy::{Field, PolicyTarget, Rule};
use model::selector::Selector;
use model::service::{Distribution, IpFamilies, Port};
use model::service_entry::EntryEndpoint;
use model::{
    AuthorizationPolicy, EndpointSlice, Labels, Meta, Name, Object, PeerAuthentication, Pod, Service, ServiceEntry,
    WorkloadEntry,
};
use serde_json::{Map, Value, json};

use crate::mesh_config::{SCOPES, VISIBILITIES};
use crate::shapes::istio::{LOCATIONS, RESOLUTIONS};
use crate::shapes::peer::MODES;
use crate::shapes::pod::PROXY_CONTAINER;
use crate::timestamp;

mod yaml;

pub use yaml::write_yaml;

/// Writes an object. Reading it again gives an equal one, unless a limit of the reader is lower than when it was read first.
pub fn write(object: &Object) -> Value {
    let (api_version, fields) = match object {
        Object::Namespace(_) => ("v1", Fields::default()),
        Object::GatewayClass(_) => ("gateway.networking.k8s.io/v1", Fields::default()),
        Object::Gateway(it) => ("gateway.networking.k8s.io/v1", gateway(it)),
        Object::Service(it) => ("v1", service(it)),
        Object::Pod(it) => ("v1", pod(it)),
        Object::ServiceEntry(it) => ("networking.istio.io/v1", service_entry(it)),
        Object::WorkloadEntry(it) => ("networking.istio.io/v1", workload_entry(it)),
        Object::EndpointSlice(it) => ("discovery.k8s.io/v1", endpoint_slice(it)),
        Object::AuthorizationPolicy(it) => ("security.istio.io/v1", policy(it)),
        Object::Node(_) => ("v1", Fields::default()),
        Object::PeerAuthentication(it) => ("security.istio.io/v1", peer(it)),
    };
    let created = match object {
        Object::ServiceEntry(entry) => entry.created,
        Object::PeerAuthentication(peer) => peer.created,
        _ => None,
    };
    let fields = fields.with("apiVersion", api_version).with("kind", object.kind().to_string());
    let meta = meta(object.meta(), created);
    let meta = if let Object::Pod(pod) = object { owned(meta, pod) } else { meta };
    fields.with("metadata", meta.value()).value()
}

/// Writes what is known of MeshConfig.
pub fn write_mesh(mesh: &Mesh) -> Value {
    let scope = |scope: &ServiceScope| {
        json!({
            "namespaceSelector": selector(&scope.namespaces),
            "servicesSelector": selector(&scope.services),
            "scope": word(&SCOPES, scope.global),
        })
    };
    Fields::default()
        .with("rootNamespace", text(&mesh.root_namespace))
        .with("trustDomain", text(&mesh.trust_domain))
        .with("serviceEntryVisibility", mesh.entry_visibility.as_ref().map(visibility))
        .with("serviceScopeConfigs", list(&mesh.service_scopes, scope))
        .with("discoverySelectors", list(&mesh.discovery_selectors, selector))
        .value()
}

/// A mapping without what is empty: absent and empty mean the same to the readers, but where `with_present` says otherwise.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let is_empty = match &value {
            Value::Null => true,
            Value::Bool(set) => !set,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Number(_) => false,
        };
        if !is_empty {
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    /// The same, kept where it is there at all.
    fn with_present(mut self, name: &str, value: Option<Value>) -> Self {
        self.0.extend(value.map(|value| (name.to_owned(), value)));
        self
    }

    fn value(self) -> Value {
        Value::Object(self.0)
    }
}

fn text(name: &Name) -> Value {
    Value::String(name.to_string())
}

fn optional(name: Option<&Name>) -> Value {
    name.map_or(Value::Null, text)
}

fn list<T>(of: &[T], each: impl Fn(&T) -> Value) -> Value {
    of.iter().map(each).collect()
}

fn pairs(labels: &Labels) -> Value {
    labels.iter().map(|(key, value)| (key.to_string(), text(value))).collect::<Map<_, _>>().into()
}

/// The word for `meaning` in a table that has all meanings.
fn word<T: PartialEq>(words: &[(&'static str, T)], meaning: T) -> &'static str {
    words.iter().find(|(_, of)| *of == meaning).map_or("", |(word, _)| word)
}

fn meta(meta: &Meta, created: Option<i64>) -> Fields {
    Fields::default()
        .with("name", text(&meta.name))
        .with("namespace", text(&meta.namespace))
        .with("labels", pairs(&meta.labels))
        .with("annotations", pairs(&meta.annotations))
        .with("creationTimestamp", created.map(timestamp::format))
}

/// What the metadata of a Pod says of what runs it, and whether it goes. When it goes is not kept.
fn owned(meta: Fields, pod: &Pod) -> Fields {
    let owner = |name: &Name| json!([{ "kind": "StatefulSet", "name": text(name), "controller": true }]);
    let workload = pod.template.workload.as_ref();
    meta.with("generateName", workload.map(|name| format!("{name}-")))
        .with_present("ownerReferences", workload.map(owner))
        .with("deletionTimestamp", pod.terminating.then(|| timestamp::format(0)))
}

fn selector(selector: &Selector) -> Value {
    let requirements = list(&selector.requirements, |it| {
        let fields = Fields::default().with("key", text(&it.key)).with("operator", text(&it.operator));
        fields.with("values", list(&it.values, text)).value()
    });
    Fields::default().with("matchLabels", pairs(&selector.labels)).with("matchExpressions", requirements).value()
}

fn gateway(gateway: &Gateway) -> Fields {
    let address = |it: &StatusAddress| json!({ "type": it.kind.as_ref().map(text), "value": text(&it.value) });
    let spec = Fields::default()
        .with("gatewayClassName", text(&gateway.class))
        .with("listeners", list(&gateway.listeners, listener));
    let status = Fields::default().with("addresses", list(&gateway.addresses, address));
    Fields::default().with("spec", spec.value()).with("status", status.value())
}

fn listener(listener: &Listener) -> Value {
    let namespaces = Fields::default()
        .with_present("from", listener.admits_from.as_ref().map(text))
        .with_present("selector", listener.selector.as_ref().map(selector));
    let routes = Fields::default().with("namespaces", namespaces.value());
    Fields::default()
        .with("port", listener.port)
        .with("protocol", text(&listener.protocol))
        .with("allowedRoutes", routes.value())
        .value()
}

fn service(service: &Service) -> Fields {
    let mut ips: Vec<String> = service.headless.then(|| "None".to_owned()).into_iter().collect();
    ips.extend(service.addresses.iter().map(ToString::to_string));
    ips.extend(service.bad_address.iter().map(ToString::to_string));
    let spec = Fields::default()
        .with("type", service.external_name.then_some("ExternalName"))
        .with("clusterIP", ips.first().cloned())
        .with("clusterIPs", ips)
        .with("selector", pairs(&service.selector))
        .with("ports", list(&service.ports, service_port))
        .with("publishNotReadyAddresses", service.publish_not_ready)
        .with("internalTrafficPolicy", service.node_local.then_some("Local"))
        .with("trafficDistribution", service.distribution.map(distribution))
        .with("ipFamilies", families(service.families));
    Fields::default().with("spec", spec.value())
}

fn distribution(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::SameZone => "PreferSameZone",
        Distribution::SameNode => "PreferSameNode",
    }
}

fn families(families: IpFamilies) -> Vec<&'static str> {
    match families {
        IpFamilies::Automatic => vec![],
        IpFamilies::V4 => vec!["IPv4"],
        IpFamilies::V6 => vec!["IPv6"],
        IpFamilies::Dual => vec!["IPv4", "IPv6"],
    }
}

fn service_port(port: &Port) -> Value {
    // The model has one word for both.
    let field = if matches!(&*port.protocol, "TCP" | "UDP" | "SCTP") { "protocol" } else { "appProtocol" };
    self::port(port, "port").with(field, text(&port.protocol)).value()
}

fn port(port: &Port, number: &str) -> Fields {
    let target = port.target.as_ref().map(|target| match target.parse::<u32>() {
        Ok(number) if number.to_string() == **target => number.into(),
        _ => text(target),
    });
    Fields::default().with("name", text(&port.name)).with(number, port.number).with_present("targetPort", target)
}

fn pod(pod: &Pod) -> Fields {
    // All ports are in one container: which had which is not kept.
    let port = |(name, number): &(Name, u32)| json!({ "name": text(name), "containerPort": number });
    let name = pod.has_proxy.then_some(PROXY_CONTAINER);
    let container = Fields::default().with("name", name).with("ports", list(&pod.template.ports, port));
    let containers: Vec<Value> = Some(container.value()).into_iter().filter(|it| *it != json!({})).collect();
    let unready = (!pod.ready).then(|| json!([{ "type": "Ready", "status": "False" }]));
    let ips = pod.addresses.iter().map(ToString::to_string).chain(pod.bad_address.iter().map(ToString::to_string));
    let spec = Fields::default()
        .with("serviceAccountName", text(pod.service_account()))
        .with("hostNetwork", pod.host_network)
        .with("nodeName", optional(pod.node.as_ref()))
        .with("containers", containers);
    let status = Fields::default()
        .with_present("conditions", unready)
        .with("phase", pod.finished.then_some("Succeeded"))
        .with("podIPs", ips.map(|ip| json!({ "ip": ip })).collect::<Vec<_>>());
    Fields::default().with("spec", spec.value()).with("status", status.value())
}

fn service_entry(entry: &ServiceEntry) -> Fields {
    let addresses =
        entry.addresses.iter().map(ToString::to_string).chain(entry.bad_address.iter().map(ToString::to_string));
    let spec = Fields::default()
        .with("hosts", list(&entry.hosts, text))
        .with("addresses", addresses.collect::<Vec<_>>())
        .with("ports", list(&entry.ports, |it| port(it, "number").with("protocol", text(&it.protocol)).value()))
        .with("resolution", word(&RESOLUTIONS, entry.resolution))
        .with("location", word(&LOCATIONS, entry.mesh_internal))
        .with("endpoints", list(&entry.endpoints, endpoint))
        .with_present("workloadSelector", entry.selector.as_ref().map(|it| json!({ "labels": pairs(it) })))
        .with("subjectAltNames", list(&entry.subject_alt_names, text));
    let allocated = list(&entry.auto_addresses, |(host, ip)| {
        Fields::default().with("value", ip.to_string()).with("host", optional(host.as_ref())).value()
    });
    let status = Fields::default().with("addresses", allocated);
    Fields::default().with("spec", spec.value()).with("status", status.value())
}

fn endpoint(endpoint: &EntryEndpoint) -> Value {
    let fields = located(&endpoint.address, &endpoint.labels, endpoint.network.as_ref(), &endpoint.service_account);
    balanced(fields, &endpoint.ports, endpoint.locality.as_ref(), endpoint.weight).value()
}

/// What endpoints and WorkloadEntries have in common.
fn located(address: &Name, labels: &Labels, network: Option<&Name>, service_account: &Name) -> Fields {
    Fields::default()
        .with("address", text(address))
        .with("labels", pairs(labels))
        .with("network", optional(network))
        .with("serviceAccount", text(service_account))
}

/// The rest of it.
fn balanced(fields: Fields, ports: &[(Name, u32)], locality: Option<&Name>, weight: u32) -> Fields {
    let ports: Map<String, Value> = ports.iter().map(|(name, port)| (name.to_string(), (*port).into())).collect();
    let fields = fields.with("ports", ports).with("locality", optional(locality));
    fields.with("weight", (weight > 0).then_some(weight))
}

fn workload_entry(entry: &WorkloadEntry) -> Fields {
    let spec = located(&entry.address, &entry.spec_labels, entry.network.as_ref(), &entry.service_account);
    let spec = balanced(spec, &entry.ports, entry.locality.as_ref(), entry.weight);
    Fields::default().with("spec", spec.value())
}

fn endpoint_slice(slice: &EndpointSlice) -> Fields {
    let pod = |name: &Name| json!({ "targetRef": { "kind": "Pod", "name": text(name) } });
    let mut endpoints: Vec<Value> = slice.pods.iter().map(pod).collect();
    // One endpoint may have many addresses.
    let (unready, ready): (Vec<&Name>, Vec<&Name>) = slice.addresses.iter().partition(|it| !slice.is_ready(it));
    if !ready.is_empty() {
        endpoints.push(json!({ "addresses": list(&ready, |it| text(it)) }));
    }
    if !unready.is_empty() {
        endpoints.push(json!({ "addresses": list(&unready, |it| text(it)), "conditions": { "ready": false } }));
    }
    let port = |(name, number): &(Name, u32)| json!({ "name": text(name), "port": number });
    Fields::default().with("endpoints", endpoints).with("ports", list(&slice.ports, port))
}

fn policy(policy: &AuthorizationPolicy) -> Fields {
    let spec = Fields::default()
        .with_present("selector", policy.selector.as_ref().map(|it| json!({ "matchLabels": pairs(it) })))
        .with("targetRefs", list(&policy.targets, target))
        .with("action", text(&policy.action))
        .with("rules", list(&policy.rules, rule));
    Fields::default().with("spec", spec.value())
}

fn peer(peer: &PeerAuthentication) -> Fields {
    let mode = |mode: MtlsMode| json!({ "mode": word(&MODES, mode) });
    let ports: Map<String, Value> = peer.ports.iter().map(|(port, of)| (port.to_string(), mode(*of))).collect();
    let spec = Fields::default()
        .with_present("selector", peer.selector.as_ref().map(|it| json!({ "matchLabels": pairs(it) })))
        .with_present("mtls", (peer.mode != MtlsMode::Unset).then(|| mode(peer.mode)))
        .with("portLevelMtls", ports);
    Fields::default().with("spec", spec.value())
}

fn target(target: &PolicyTarget) -> Value {
    Fields::default()
        .with("group", text(&target.group))
        .with("kind", text(&target.kind))
        .with("namespace", optional(target.namespace.as_ref()))
        .with("name", text(&target.name))
        .value()
}

fn rule(rule: &Rule) -> Value {
    let fields = |fields: &Vec<Field>| -> Value {
        fields.iter().map(|it| (it.name.to_string(), list(&it.values, text))).collect::<Map<_, _>>().into()
    };
    let when = list(&rule.when, |it| {
        let condition = Fields::default().with("key", text(&it.key)).with("values", list(&it.values, text));
        condition.with("notValues", list(&it.not_values, text)).value()
    });
    Fields::default()
        .with("from", list(&rule.from, |it| json!({ "source": fields(it) })))
        .with("to", list(&rule.to, |it| json!({ "operation": fields(it) })))
        .with("when", when)
        .value()
}

fn visibility(rules: &EntryVisibilityRules) -> Value {
    let rule = |rule: &Option<Selector>| {
        Fields::default().with_present("namespaceSelector", rule.as_ref().map(selector)).value()
    };
    let policy = |policy: &VisibilityPolicy| json!({ "visibility": word(&VISIBILITIES, policy.visibility), "matchingRules": list(&policy.rules, rule) });
    json!({ "defaultVisibility": word(&VISIBILITIES, rules.default), "policies": list(&rules.policies, policy) })
}

#[cfg(test)]
mod tests;
