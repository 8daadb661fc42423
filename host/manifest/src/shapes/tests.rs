//! What is read of each kind of Istio's, and of the parts of others that only they need. The other kinds are in the tests
//! of [`crate::text`].

use model::peer_authentication::MtlsMode;
use model::policy::{Condition, Field, PolicyTarget};
use model::service::{Distribution, IpFamilies, Port};
use model::service_entry::{AddressRange, EntryEndpoint, Resolution};
use model::{
    AuthorizationPolicy, EndpointSlice, Labels, Object, PeerAuthentication, Pod, Service, ServiceEntry, WorkloadEntry,
};

use crate::limits::Limits;
use crate::text::{Format, Found, read_text};

/// The only object of a text, or the problem with it.
fn read_within(text: &str, limits: &Limits) -> Result<Object, String> {
    let mut found = Vec::new();
    read_text(&"mesh.yaml".into(), text, Format::Yaml, limits, &mut |next| found.push(next));
    match <[Found; 1]>::try_from(found) {
        Ok([Found::Object { object, .. }]) => Ok(object),
        Ok([Found::Problem(problem)]) => Err(problem.to_string()),
        other => panic!("{text}\n{other:?}"),
    }
}

fn read(text: &str) -> Result<Object, String> {
    read_within(text, &Limits::default())
}

const ENTRY: &str = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, namespace: shop}\n";
const WORKLOAD: &str =
    "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm, namespace: shop}\n";
const SLICE: &str = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: cart-1, namespace: shop}\n";
const POLICY: &str =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n";

fn entry(rest: &str) -> ServiceEntry {
    match read(&format!("{ENTRY}{rest}")) {
        Ok(Object::ServiceEntry(entry)) => entry,
        other => panic!("{rest}\n{other:?}"),
    }
}

fn slice(rest: &str) -> EndpointSlice {
    match read(&format!("{SLICE}{rest}")) {
        Ok(Object::EndpointSlice(slice)) => slice,
        other => panic!("{rest}\n{other:?}"),
    }
}

fn policy(rest: &str) -> AuthorizationPolicy {
    match read(&format!("{POLICY}{rest}")) {
        Ok(Object::AuthorizationPolicy(policy)) => policy,
        other => panic!("{rest}\n{other:?}"),
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

#[test]
fn a_service_entry_in_full() {
    let text = "\
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata: {name: api, namespace: shop, creationTimestamp: 2024-01-01T00:00:00Z, labels: {istio.io/use-waypoint: w}}
spec:
  hosts: [b.example, a.example, b.example, '*.example']
  addresses: [240.0.0.1, 10.0.0.0/8, 'fd00::/64']
  ports:
  - {name: https, number: 443, protocol: TLS, targetPort: 8443}
  - {name: http, number: 80, protocol: HTTP}
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
  - {address: 10.0.0.2, labels: {version: v2}, network: far, serviceAccount: robot, ports: {http: 8080}, weight: 3, locality: r/z}
  - {address: 10.0.0.1}
  - {address: 10.0.0.2, network: near}
  workloadSelector: {labels: {app: api}}
  subjectAltNames: ['spiffe://td/ns/a/sa/b']
  exportTo: ['*']
status:
  addresses: [{value: 240.240.0.1, host: a.example}, {value: 240.240.0.2}, {value: nonsense}, {host: b.example}]
";
    let Ok(Object::ServiceEntry(entry)) = read(text) else { panic!("{:?}", read(text)) };
    let name = |name: &str| model::Name::from(name);
    let port = |name: &str, number, protocol: &str, target: Option<&str>| Port {
        name: name.into(),
        number,
        protocol: protocol.into(),
        target: target.map(Into::into),
    };
    let expected = ServiceEntry {
        meta: model::Meta { labels: labels(&[("istio.io/use-waypoint", "w")]), ..model::Meta::named("shop", "api") },
        created: Some(1_704_067_200),
        hosts: vec![name("b.example"), name("a.example"), name("*.example")],
        addresses: ["240.0.0.1", "10.0.0.0/8", "fd00::/64"].map(|it| AddressRange::parse(it).unwrap()).to_vec(),
        bad_address: None,
        auto_addresses: vec![(Some(name("a.example")), [240, 240, 0, 1].into()), (None, [240, 240, 0, 2].into())],
        ports: vec![port("https", 443, "TLS", Some("8443")), port("http", 80, "HTTP", None)],
        resolution: Resolution::Static,
        mesh_internal: true,
        endpoints: vec![
            EntryEndpoint::at("10.0.0.1"),
            EntryEndpoint {
                address: name("10.0.0.2"),
                labels: labels(&[("version", "v2")]),
                network: Some(name("far")),
                service_account: name("robot"),
                ports: vec![(name("http"), 8080)],
                locality: Some(name("r/z")),
                weight: 3,
            },
        ],
        selector: Some(labels(&[("app", "api")])),
        subject_alt_names: vec![name("spiffe://td/ns/a/sa/b")].into(),
    };
    assert_eq!(entry, expected);
}

#[test]
fn parts_of_a_service_entry_that_are_not_written() {
    for rest in [
        "",
        "spec: ~\nstatus: ~\n",
        "spec: {hosts: ~, addresses: ~, ports: ~, resolution: ~, location: ~, endpoints: ~, workloadSelector: ~}\n",
        "spec: {hosts: [], location: MESH_EXTERNAL, resolution: NONE, endpoints: []}\nstatus: {addresses: []}\n",
    ] {
        assert_eq!(entry(rest), ServiceEntry::named("shop", "api"), "{rest}");
    }
    for empty in ["{}", "{labels: {}}", "{labels: ~}"] {
        assert_eq!(
            entry(&format!("spec: {{workloadSelector: {empty}}}\n")).selector,
            Some(Labels::default()),
            "{empty}"
        );
    }
    for (word, expected) in super::istio::RESOLUTIONS {
        assert_eq!(entry(&format!("spec: {{resolution: {word}}}\n")).resolution, expected);
    }
    let bad = entry("spec: {addresses: [10.0.0.1, 10.0.0.0/33, nonsense]}\n");
    assert_eq!((bad.addresses.len(), bad.bad_address.as_deref(), bad.is_valid()), (1, Some("10.0.0.0/33"), false));
}

#[test]
fn a_service_entry_with_a_mistake_names_it() {
    let at = |line: &str, what: &str| format!("mesh.yaml:{line}: document 1: ServiceEntry shop/api: {what}");
    let created = |value: &str| ENTRY.replace("{name", &format!("{{creationTimestamp: {value}, name"));
    for (text, expected) in [
        (
            created("yesterday"),
            at("3:12", "metadata.creationTimestamp \"yesterday\" is not a time like 2024-01-31T12:00:00Z"),
        ),
        (created("2024"), at("3:12", "metadata.creationTimestamp must be text, found a number; put it in quotes")),
        (
            format!("{ENTRY}spec:\n  resolution: static\n"),
            at(
                "5:3",
                "spec.resolution is \"static\", which is none of NONE, STATIC, DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS",
            ),
        ),
        (
            format!("{ENTRY}spec:\n  location: ''\n"),
            at("5:3", "spec.location is \"\", which is none of MESH_EXTERNAL, MESH_INTERNAL"),
        ),
        (
            format!("{ENTRY}spec:\n  hosts: [a, '']\n"),
            at("5:3", "spec.hosts[1] \"\" is not usable: 1 to 253 bytes, without control characters and spaces"),
        ),
        (
            format!("{ENTRY}spec:\n  endpoints:\n  - address: 'a b'\n"),
            at(
                "6:5",
                "spec.endpoints[0].address \"a b\" is not usable: 0 to 253 bytes, without control characters and spaces",
            ),
        ),
        (
            format!("{ENTRY}spec:\n  ports:\n  - number: '80'\n"),
            at("6:5", "spec.ports[0].number must be a number, found text"),
        ),
        (
            format!("{ENTRY}spec:\n  ports:\n  - targetPort: [80]\n"),
            at("6:5", "spec.ports[0].targetPort must be a number or text, found a list"),
        ),
    ] {
        assert_eq!(read(&text), Err(expected), "{text}");
    }
}

#[test]
fn lists_of_a_service_entry_are_bounded() {
    let limits = Limits { hosts_max: 2, endpoints_max: 2, ..Limits::default() };
    for (rest, expected) in [
        ("spec: {hosts: [a, a, b]}", "spec.hosts has 3 entries, more than the 2 allowed; split the object"),
        ("spec: {endpoints: [{}, {}, {}]}", "spec.endpoints has 3 entries, more than the 2 allowed; split the object"),
        (
            "status: {addresses: [{}, {}, {}]}",
            "status.addresses has 3 entries, more than the 2 allowed; split the object",
        ),
    ] {
        let problem = read_within(&format!("{ENTRY}{rest}\n"), &limits).unwrap_err();
        assert!(problem.ends_with(&format!("ServiceEntry shop/api: {expected}")), "{problem}");
    }
    let endpoints: String = (0..100_000).map(|i| format!("  - {{address: 10.0.0.1, network: n{i}}}\n")).collect();
    let problem = read(&format!("{ENTRY}spec:\n  endpoints:\n{endpoints}")).unwrap_err();
    assert!(problem.contains("ServiceEntry shop/api: is too large"), "{problem}");
    let endpoints: String = (0..10_000).map(|i| format!("  - {{address: a{i}, labels: {{a: b}}}}\n")).collect();
    assert_eq!(entry(&format!("spec:\n  endpoints:\n{endpoints}")).endpoints.len(), 10_000);
}

#[test]
fn a_workload_entry_is_read() {
    let rest = "spec: {address: 10.0.0.1, labels: {app: vm}, network: far, serviceAccount: robot, ports: {http: 80, grpc: 90}, locality: r, weight: 5}\n";
    let Ok(Object::WorkloadEntry(found)) = read(&format!("{WORKLOAD}{rest}")) else { panic!("no entry") };
    let expected = WorkloadEntry {
        spec_labels: labels(&[("app", "vm")]),
        address: "10.0.0.1".into(),
        network: Some("far".into()),
        service_account: "robot".into(),
        ports: vec![("grpc".into(), 90), ("http".into(), 80)],
        locality: Some("r".into()),
        weight: 5,
        ..WorkloadEntry::named("shop", "vm")
    };
    assert_eq!(found, expected);
    for rest in ["", "spec: {address: '', network: '', ports: ~, labels: ~}\n"] {
        let Ok(Object::WorkloadEntry(found)) = read(&format!("{WORKLOAD}{rest}")) else { panic!("no entry") };
        assert_eq!(found, WorkloadEntry::named("shop", "vm"));
    }
    let problem = read(&format!("{WORKLOAD}spec:\n  ports: {{http: web}}\n")).unwrap_err();
    assert!(problem.ends_with("WorkloadEntry shop/vm: spec.ports.http must be a number, found text"), "{problem}");
}

#[test]
fn endpoints_of_a_slice_are_pods_or_addresses() {
    let rest = "\
addressType: IPv4
endpoints:
- {addresses: [10.0.0.2], targetRef: {kind: Pod, name: cart-b, namespace: shop}}
- {addresses: [10.0.0.1], targetRef: {kind: Pod, name: cart-a}}
- {addresses: [10.0.0.1], targetRef: {kind: Pod, name: cart-a}}
- {addresses: [10.0.0.3], targetRef: {kind: Pod, name: other, namespace: elsewhere}}
- {addresses: [10.0.0.9, 10.0.0.8], conditions: {ready: false}}
- {addresses: [10.0.0.8], targetRef: {kind: Node, name: n}}
ports: [{port: 80}, {name: dns, port: 53, protocol: UDP}, {name: web, port: 8080, protocol: TCP}, {name: none}]
";
    let found = slice(rest);
    assert_eq!(found.pods.iter().map(|it| &**it).collect::<Vec<_>>(), ["cart-a", "cart-b"]);
    assert_eq!(found.addresses.iter().map(|it| &**it).collect::<Vec<_>>(), ["10.0.0.8", "10.0.0.9"]);
    assert_eq!(found.unready, found.addresses, "of two with one address the first counts");
    assert_eq!(found.ports, [("".into(), 80), ("web".into(), 8080)]);
    assert_eq!(slice("endpoints: ~\n"), EndpointSlice::named("shop", "cart-1"));
    let limits = Limits { endpoints_max: 1, ..Limits::default() };
    let problem = read_within(&format!("{SLICE}endpoints: [{{}}, {{}}]\n"), &limits).unwrap_err();
    assert!(problem.contains("EndpointSlice shop/cart-1: endpoints has 2 entries"), "{problem}");
}

#[test]
fn an_authorization_policy_in_full() {
    let found = policy(
        "\
spec:
  selector: {matchLabels: {app: cart}}
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: w}, {kind: Service, name: s, namespace: other}]
  targetRef: {kind: Service, name: old, group: ''}
  action: DENY
  rules:
  - from:
    - source: {principals: [a, b], notNamespaces: [ns], ipBlocks: []}
    - {}
    to:
    - operation: {ports: ['80'], methods: [GET]}
    when:
    - {key: source.ip, values: [10.0.0.1], notValues: [10.0.0.2]}
    - {key: source.ip}
  - {}
",
    );
    let field = |name: &str, values: &[&str]| Field {
        name: name.into(),
        values: values.iter().map(|value| model::Name::from(*value)).collect(),
    };
    assert_eq!((found.selector, &*found.action), (Some(labels(&[("app", "cart")])), "DENY"));
    let target = |group: &str, kind: &str, namespace: Option<&str>, name: &str| PolicyTarget {
        group: group.into(),
        kind: kind.into(),
        namespace: namespace.map(Into::into),
        name: name.into(),
    };
    assert_eq!(
        found.targets,
        [
            target("gateway.networking.k8s.io", "Gateway", None, "w"),
            target("", "Service", Some("other"), "s"),
            target("", "Service", None, "old"),
        ]
    );
    let [rule, empty] = &*found.rules else { panic!("{:?}", found.rules) };
    assert_eq!(rule.from, [vec![field("notNamespaces", &["ns"]), field("principals", &["a", "b"])], vec![]]);
    assert_eq!(rule.to, [vec![field("methods", &["GET"]), field("ports", &["80"])]]);
    let condition = |values: &[&str], not_values: &[&str]| Condition {
        key: "source.ip".into(),
        values: values.iter().map(|it| (*it).into()).collect(),
        not_values: not_values.iter().map(|it| (*it).into()).collect(),
    };
    assert_eq!(rule.when, [condition(&["10.0.0.1"], &["10.0.0.2"]), condition(&[], &[])]);
    assert_eq!(*empty, model::policy::Rule::default());
}

#[test]
fn parts_of_a_policy_that_are_not_written_and_mistakes() {
    for rest in [
        "",
        "spec: ~\n",
        "spec: {selector: ~, targetRefs: ~, targetRef: ~, action: ~, rules: ~}\n",
        "spec: {action: ''}\n",
    ] {
        assert_eq!(policy(rest), AuthorizationPolicy::named("shop", "p"), "{rest}");
    }
    assert_eq!(policy("spec: {selector: {}}\n").selector, Some(Labels::default()));
    for (rest, expected) in [
        (
            "  rules:\n  - to:\n    - operation:\n        ports: [80]\n",
            "8:9: spec.rules[0].to[0].operation.ports[0] must be text, found a number; put it in quotes",
        ),
        (
            "  rules:\n  - from:\n    - source:\n        principals: a\n",
            "8:9: spec.rules[0].from[0].source.principals must be a list, found text",
        ),
        ("  rules: {}\n", "5:3: spec.rules must be a list, found a mapping"),
        ("  targetRef: [a]\n", "5:3: spec.targetRef must be a mapping, found a list"),
    ] {
        let problem = read(&format!("{POLICY}spec:\n{rest}")).unwrap_err();
        let (place, expected) = expected.split_once(": ").unwrap();
        assert_eq!(problem, format!("mesh.yaml:{place}: document 1: AuthorizationPolicy shop/p: {expected}"));
    }
}

#[test]
fn ports_of_a_service_and_whether_it_is_headless() {
    let service =
        |rest: &str| match read(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {rest}\n")) {
            Ok(Object::Service(service)) => service,
            other => panic!("{rest}\n{other:?}"),
        };
    let found = service(
        "{ports: [{name: http, port: 80, protocol: TCP, appProtocol: http2, targetPort: web}, {port: 53, protocol: UDP, targetPort: 5353}, {port: 1, targetPort: 0, appProtocol: ''}]}",
    );
    let port = |name: &str, number, protocol: &str, target: Option<&str>| Port {
        name: name.into(),
        number,
        protocol: protocol.into(),
        target: target.map(Into::into),
    };
    assert_eq!(
        found.ports,
        [port("http", 80, "http2", Some("web")), port("", 53, "UDP", Some("5353")), port("", 1, "", None)]
    );
    for (rest, headless) in [
        ("{clusterIP: None}", true),
        ("{clusterIP: None, clusterIPs: [None]}", true),
        ("{clusterIP: ''}", false),
        ("{clusterIP: 10.0.0.1}", false),
        ("~", false),
    ] {
        assert_eq!(service(rest).headless, headless, "{rest}");
    }
    assert_eq!(service("{}"), Service::named("default", "a"));
}

#[test]
fn a_pod_has_a_proxy_if_a_container_is_called_so() {
    let pod = |spec: &str| match read(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n")) {
        Ok(Object::Pod(pod)) => pod,
        other => panic!("{spec}\n{other:?}"),
    };
    for (spec, expected) in [
        ("{containers: [{name: app}, {name: istio-proxy}]}", true),
        (
            "{initContainers: [{name: istio-init}, {name: istio-proxy, restartPolicy: Always}], containers: [{name: app}]}",
            true,
        ),
        ("{initContainers: [{name: istio-init}], containers: [{name: app, image: istio-proxy}, {}]}", false),
        ("{containers: ~}", false),
    ] {
        assert_eq!(pod(spec).has_proxy, expected, "{spec}");
    }
    assert_eq!(pod("{}"), Pod::named("default", "a"));
}

#[test]
fn what_ztunnel_is_told_of_a_pod() {
    let pod = |meta: &str, rest: &str| match read(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a{meta}}}\n{rest}\n"
    )) {
        Ok(Object::Pod(pod)) => pod,
        other => panic!("{rest}\n{other:?}"),
    };
    let ready = |rest: &str| pod("", &format!("status: {{{rest}}}")).ready;
    assert!(ready("phase: Running") && ready("conditions: []"));
    assert!(ready("conditions: [{type: Initialized, status: 'False'}, {type: Ready, status: 'True'}]"));
    assert!(!ready("conditions: [{type: Ready, status: 'False'}]") && !ready("conditions: [{type: Initialized}]"));
    let gone = pod(", deletionTimestamp: 2024-01-01T00:00:00Z", "");
    assert_eq!((gone.terminating, gone.is_healthy()), (true, false));
    let spec = "spec: {nodeName: n, containers: [{ports: [{name: web, containerPort: 80}, {containerPort: 81}, {name: dns, containerPort: 53, protocol: UDP}]}, {ports: [{name: web, containerPort: 82}]}]}";
    let found = pod("", spec);
    assert_eq!((found.node.as_deref(), &*found.template.ports), (Some("n"), &[("web".into(), 80)][..]));
    assert_eq!((found.template.port("web"), found.template.port("dns"), &**found.workload()), (Some(80), None, "a"));
}

#[test]
fn the_workload_of_a_pod_is_what_runs_it() {
    let workload = |owner: &str, labels: &str| {
        let meta = format!("{{name: a, generateName: x-, labels: {{{labels}}}, ownerReferences: [{{{owner}}}]}}");
        match read(&format!("apiVersion: v1\nkind: Pod\nmetadata: {meta}\n")) {
            Ok(Object::Pod(pod)) => pod.workload().to_string(),
            other => panic!("{owner}\n{other:?}"),
        }
    };
    for (owner, labels, expected) in [
        ("kind: ReplicaSet, name: cart-f5b, controller: true", "pod-template-hash: f5b", "cart"),
        ("kind: ReplicaSet, name: cart-f5b, controller: true", "", "cart-f5b"),
        ("kind: ReplicaSet, name: cart-f5b, controller: true", "pod-template-hash: d7", "cart-f5b"),
        ("kind: ReplicaSet, name: cart-f5b, controller: true", "rollouts-pod-template-hash: f5b", "cart"),
        ("kind: StatefulSet, name: db-12345678, controller: true", "", "db-12345678"),
        ("kind: Job, name: report-28374650, controller: true", "", "report"),
        ("kind: Job, name: report-1, controller: true", "", "report-1"),
        ("kind: ReplicaSet, name: cart-f5b", "pod-template-hash: f5b", "a"),
    ] {
        assert_eq!(workload(owner, labels), expected, "{owner}");
    }
    let named = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, ownerReferences: [{kind: DaemonSet, name: d, controller: true}]}\n";
    let Ok(Object::Pod(pod)) = read(named) else { panic!("{:?}", read(named)) };
    assert_eq!(&**pod.workload(), "a", "its name was not generated");
}

#[test]
fn how_a_service_is_balanced() {
    let service =
        |rest: &str| match read(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {rest}\n")) {
            Ok(Object::Service(service)) => service,
            other => panic!("{rest}\n{other:?}"),
        };
    let found = service(
        "{publishNotReadyAddresses: true, internalTrafficPolicy: Local, trafficDistribution: PreferClose, ipFamilies: [IPv6, IPv4]}",
    );
    assert_eq!((found.publish_not_ready, found.node_local), (true, true));
    assert_eq!((found.distribution, found.families), (Some(Distribution::SameZone), IpFamilies::Dual));
    let found = service("{internalTrafficPolicy: Cluster, trafficDistribution: preferclose, ipFamilies: [IPv6]}");
    assert_eq!((found.node_local, found.distribution, found.families), (false, None, IpFamilies::V6));
}

#[test]
fn modes_of_mutual_tls_are_read_at_every_level() {
    let head = "apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: shop";
    let peer = |rest: &str| match read(&format!("{head}{rest}\n")) {
        Ok(Object::PeerAuthentication(peer)) => Ok(peer),
        Ok(other) => panic!("{other:?}"),
        Err(why) => Err(why),
    };
    let ports = "{9: {mode: DISABLE}, '80': {mode: STRICT}, 443: {}}";
    let spec =
        format!("spec: {{selector: {{matchLabels: {{app: a}}}}, mtls: {{mode: PERMISSIVE}}, portLevelMtls: {ports}}}");
    let found = peer(&format!(", creationTimestamp: '2024-01-01T00:00:00Z'}}\n{spec}")).unwrap();
    assert_eq!((found.created, found.mode), (Some(1_704_067_200), MtlsMode::Permissive));
    assert_eq!(found.selector.as_ref().and_then(|it| it.get("app")).map(|it| &**it), Some("a"));
    assert_eq!(found.ports, [(9, MtlsMode::Disable), (80, MtlsMode::Strict), (443, MtlsMode::Unset)]);
    let bare = |rest: &str| peer(&format!("}}\n{rest}"));
    for nothing in ["", "spec: {}", "spec: {mtls: {}}", "spec: {mtls: {mode: UNSET}, portLevelMtls: null}"] {
        assert_eq!(bare(nothing).unwrap(), PeerAuthentication::named("shop", "a"), "{nothing}");
    }
    assert_eq!(bare("spec: {selector: {}}").unwrap().selector, Some(Labels::default()));
    for (bad, told) in [
        ("spec: {mtls: {mode: strict}}", "spec.mtls.mode"),
        ("spec: {portLevelMtls: {web: {mode: STRICT}}}", "web"),
        ("spec: {portLevelMtls: {80: STRICT}}", "spec.portLevelMtls"),
    ] {
        let why = bare(bad).unwrap_err();
        assert!(why.contains(told), "{why}");
    }
}
