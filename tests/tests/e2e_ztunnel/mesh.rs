//! The mesh of these tests: one namespace, a client, a server behind several services, and two waypoints. Said twice: as
//! Kubernetes objects for the agent, and as ztunnel's own static file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::waypoint::WAYPOINT_PORT;

/// Of everything here.
pub(crate) const NAMESPACE: &str = "shop";
/// ztunnel's and the agent's node.
pub(crate) const NODE_NAME: &str = "node-a";
/// The port of every service, and the one its pods listen on.
pub(crate) const SERVICE_PORT: u16 = 80;
pub(crate) const SERVER_PORT: u16 = 8080;
pub(crate) const HBONE_PORT: u16 = 15008;
/// Not Istio's own waypoints, which would take over tunnels themselves.
const CLASS: &str = "sandwiched";
const CONTROLLER: &str = "shop.example/waypoints";

/// Which addresses everything has: no network here has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// All pods are captured, the waypoints too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) name: &'static str,
    /// The last part of its address.
    pub(crate) number: u8,
}

pub(crate) const CLIENT: Pod = Pod { name: "client", number: 10 };
pub(crate) const SERVER: Pod = Pod { name: "server", number: 20 };
/// Where the services' owner asked them to be; their canary is the other.
pub(crate) const FIRST: Pod = Pod { name: "first", number: 31 };
pub(crate) const SECOND: Pod = Pod { name: "second", number: 32 };

impl Family {
    /// An address of the network of pods.
    pub(crate) fn pod_ip(self, number: u8) -> IpAddr {
        self.ip(244, 0, number.into())
    }

    fn ip(self, network: u8, part: u8, number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        match self {
            Self::V4 if high == 0 => Ipv4Addr::new(10, network, part, low).into(),
            Self::V4 => Ipv4Addr::new(10, network, high, low).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0x10, network.into(), part.into(), 0, 0, 0, number).into(),
        }
    }

    /// The address at which a process listens for its own pod only.
    pub(crate) fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl Pod {
    pub(crate) fn ip(&self, family: Family) -> IpAddr {
        family.pod_ip(self.number)
    }

    /// Whether an address is this pod's: its two are nobody else's.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        [Family::V4, Family::V6].iter().any(|family| self.ip(*family) == ip)
    }

    /// Each pod has an account of its own.
    pub(crate) fn account(&self) -> &'static str {
        self.name
    }

    /// What the kubelet calls it.
    pub(crate) fn zds_uid(&self) -> String {
        format!("{}-0", self.name)
    }

    pub(crate) fn is_waypoint(&self) -> bool {
        *self == FIRST || *self == SECOND
    }
}

/// The services that change their waypoint. Their order is that of their addresses.
pub(crate) const SERVICES: [&str; 8] =
    ["basket", "catalog", "checkout", "invoices", "orders", "payments", "reviews", "stock"];

/// The address of a service, by its place in [`SERVICES`].
pub(crate) fn service_ip(family: Family, number: usize) -> IpAddr {
    family.ip(96, 0, u8::try_from(number + 1).unwrap_or(u8::MAX).into())
}

fn unasked_ip(family: Family, number: usize) -> IpAddr {
    family.ip(97, 0, u16::try_from(number).unwrap_or(u16::MAX))
}

/// The address of a waypoint's Service.
pub(crate) fn waypoint_ip(family: Family, pod: &Pod) -> IpAddr {
    family.ip(96, 1, pod.number.into())
}

/// The name by which a Service is found.
pub(crate) fn hostname(service: &str) -> String {
    format!("{service}.{NAMESPACE}.svc.cluster.local")
}

/// The mesh for ztunnel itself, every service with this waypoint, as YAML.
pub(crate) fn static_mesh(waypoint: &Pod) -> String {
    let gateway = json!({
        "destination": format!("{NAMESPACE}/{}", hostname(waypoint.name)), "hboneMtlsPort": HBONE_PORT
    });
    let behind_waypoint = SERVICES.iter().enumerate().map(|(number, name)| {
        let mut service = static_service(name, service_ip(Family::V4, number), SERVICE_PORT, SERVER_PORT);
        if let Some(fields) = service.as_object_mut() {
            fields.insert("waypoint".to_owned(), gateway.clone());
        }
        service
    });
    let of_waypoints =
        [FIRST, SECOND].map(|pod| static_service(pod.name, waypoint_ip(Family::V4, &pod), HBONE_PORT, HBONE_PORT));
    let services: Vec<Value> = behind_waypoint.chain(of_waypoints).collect();
    let workloads = [CLIENT, SERVER, FIRST, SECOND].map(|pod| static_workload(&pod));
    let mut yaml = json!({"workloads": workloads, "services": services}).to_string();
    // JSON is YAML, but its keys are texts, and ztunnel wants numbers for ports.
    for port in [SERVICE_PORT, HBONE_PORT] {
        yaml = yaml.replace(&format!("\"{port}\":"), &format!("{port}: "));
    }
    yaml
}

fn static_service(name: &str, ip: IpAddr, port: u16, target: u16) -> Value {
    json!({
        "name": name, "namespace": NAMESPACE, "hostname": hostname(name), "vips": [format!("/{ip}")],
        "ports": {port.to_string(): target}, "canonical": true,
    })
}

fn static_workload(pod: &Pod) -> Value {
    let ports = |port: u16, target: u16| json!({port.to_string(): target});
    let key = |name: &str| format!("{NAMESPACE}/{}", hostname(name));
    let services: serde_json::Map<String, Value> = if pod.is_waypoint() {
        [(key(pod.name), ports(HBONE_PORT, HBONE_PORT))].into_iter().collect()
    } else if *pod == SERVER {
        SERVICES.iter().map(|name| (key(name), ports(SERVICE_PORT, SERVER_PORT))).collect()
    } else {
        serde_json::Map::new()
    };
    let mut workload = json!({
        "uid": format!("Kubernetes//Pod/{NAMESPACE}/{}", pod.name), "name": pod.name, "namespace": NAMESPACE,
        "serviceAccount": pod.account(), "trustDomain": "cluster.local", "workloadIps": [pod.ip(Family::V4)], "protocol": "HBONE",
        "node": NODE_NAME, "network": "", "clusterId": "Kubernetes", "services": services,
    });
    if let (true, Some(fields)) = (pod.is_waypoint(), workload.as_object_mut()) {
        fields.insert("applicationTunnel".to_owned(), json!({"protocol": "PROXY", "port": WAYPOINT_PORT}));
    }
    workload
}

/// The mesh for the agent: objects as the Kubernetes API has them. Each service asks for [`FIRST`], with all of its
/// connections for the canary [`SECOND`]: who knows no canaries decides otherwise for every service. There are `more` services
/// that nobody asks, up to 65,536.
pub(crate) fn manifests(family: Family, more: usize) -> String {
    let mut objects = vec![
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"istio.io/dataplane-mode": "ambient"}},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": CLASS}, "spec": {"controllerName": CONTROLLER},
        }),
    ];
    let asked = SERVICES.iter().enumerate().map(|(number, name)| ((*name).to_owned(), service_ip(family, number)));
    let unasked = (0..more).map(|number| (format!("unasked-{number}"), unasked_ip(family, number)));
    for (name, ip) in asked.chain(unasked) {
        let metadata = json!({
            "name": name, "namespace": NAMESPACE,
            "labels": {"istio.io/use-waypoint": FIRST.name, "istio.io/use-waypoint-canary": SECOND.name},
            "annotations": {"istio.io/use-waypoint-canary-weight": "100"},
        });
        objects.push(service(family, &metadata, ip, &SERVER, SERVICE_PORT, SERVER_PORT));
    }
    for pod in [FIRST, SECOND] {
        let metadata = json!({"name": pod.name, "namespace": NAMESPACE, "labels": generated_labels(&pod)});
        objects.push(service(family, &metadata, waypoint_ip(family, &pod), &pod, HBONE_PORT, HBONE_PORT));
        objects.push(gateway(&pod));
    }
    objects.extend([CLIENT, SERVER, FIRST, SECOND].map(|pod| pod_object(family, &pod)));
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    documents.join("\n---\n")
}

fn service(family: Family, metadata: &Value, ip: IpAddr, of: &Pod, port: u16, target: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {
            "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": [family.name()], "selector": {"app": of.name},
            "ports": [{"name": "tcp", "port": port, "targetPort": target, "protocol": "TCP"}],
        },
    })
}

fn gateway(of: &Pod) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {
            "name": of.name, "namespace": NAMESPACE, "labels": {"istio.io/waypoint-for": "service"},
            "annotations": {"ambient.istio.io/waypoint-inbound-binding": format!("PROXY/{WAYPOINT_PORT}")},
        },
        "spec": {
            "gatewayClassName": CLASS,
            "listeners": [
                {"name": "mesh", "port": WAYPOINT_PORT, "protocol": "istio.io/PROXY",
                 "allowedRoutes": {"namespaces": {"from": "Same"}}},
            ],
        },
        "status": {
            "addresses": [{"type": "Hostname", "value": hostname(of.name)}],
            "conditions": [{"type": "Programmed", "status": "True"}],
        },
    })
}

fn generated_labels(of: &Pod) -> Value {
    json!({
        "app": of.name, "gateway.istio.io/managed": CONTROLLER.replace('/', "-"),
        "gateway.networking.k8s.io/gateway-name": of.name,
    })
}

fn pod_object(family: Family, pod: &Pod) -> Value {
    let ip = pod.ip(family);
    let labels = if pod.is_waypoint() { generated_labels(pod) } else { json!({"app": pod.name}) };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod.name, "namespace": NAMESPACE, "uid": pod.zds_uid(), "labels": labels,
            "annotations": {"ambient.istio.io/redirection": "enabled"},
        },
        "spec": {
            "nodeName": NODE_NAME, "serviceAccountName": pod.account(),
            "containers": [{"name": "main", "image": "shop.example/main:1.0"}],
        },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}
