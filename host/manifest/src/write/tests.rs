//! What is written is read back as it was: every kind with everything and with nothing, and all of the project's own
//! manifests.

use std::path::Path;

use model::gateway::GatewayClass;
use model::mesh::EntryVisibility;
use model::policy::Condition;
use model::selector::Requirement;
use model::service_entry::{AddressRange, Resolution};
use model::workload::PodTemplate;
use model::{Kind, Namespace, Node};

use super::*;
use crate::{FolderSource, Format, Found, Limits, mesh_config, read_text};

fn check(object: &Object) {
    let value = write(object);
    for (format, text) in [(Format::Json, value.to_string()), (Format::Yaml, format!("{value:#}"))] {
        let mut found = Vec::new();
        read_text(&"written".into(), &text, format, &Limits::default(), &mut |next| found.push(next));
        match &*found {
            [Found::Object { object: again, .. }] => assert_eq!(again, object, "{text}"),
            other => panic!("{text}\n{other:?}"),
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::from(*name)).collect()
}

fn selectors() -> Selector {
    let requirement = |operator: &str, values| Requirement { key: "env".into(), operator: operator.into(), values };
    Selector {
        labels: labels(&[("team", "a")]),
        requirements: vec![requirement("In", names(&["prod", ""])), requirement("Exists", Vec::new())],
    }
}

fn full_meta(namespace: &str) -> Meta {
    Meta {
        labels: labels(&[("istio.io/use-waypoint", "w"), ("empty", ""), ("odd", "true")]),
        annotations: labels(&[("note", "two\nlines \"quoted\" \u{1f600}")]),
        ..Meta::named(namespace, "it")
    }
}

fn ports() -> Vec<Port> {
    let port = |name: &str, number, protocol: &str, target: Option<&str>| Port {
        name: name.into(),
        number,
        protocol: protocol.into(),
        target: target.map(Into::into),
    };
    vec![
        port("http", 80, "TCP", Some("8080")),
        port("web", 81, "kubernetes.io/h2c", Some("web")),
        port("", 0, "", None),
        port("odd", u32::MAX, "UDP", Some("0080")),
    ]
}

fn full_gateway() -> Gateway {
    let listener = |port, protocol: &str, from: Option<&str>, selector| Listener {
        port,
        protocol: protocol.into(),
        admits_from: from.map(Into::into),
        selector,
    };
    let address = |kind: Option<&str>, value: &str| StatusAddress { kind: kind.map(Into::into), value: value.into() };
    Gateway {
        meta: full_meta("shop"),
        class: "istio-waypoint".into(),
        listeners: vec![
            listener(15008, "HBONE", Some("Selector"), Some(selectors())),
            listener(0, "", None, None),
            listener(1, "TCP", Some(""), Some(Selector::default())),
        ],
        addresses: vec![address(Some("Hostname"), "w.shop"), address(None, ""), address(Some(""), "10.0.0.1")],
    }
}

fn full_service() -> Service {
    Service {
        meta: full_meta("shop"),
        external_name: true,
        headless: false,
        addresses: [[10, 0, 0, 1].into(), "fd00::1".parse().unwrap()].into(),
        bad_address: Some("10.0.0.300".into()),
        ports: ports(),
        selector: labels(&[("app", "cart")]),
        publish_not_ready: true,
        node_local: true,
        distribution: Some(Distribution::SameNode),
        families: IpFamilies::V6,
    }
}

fn full_entry() -> ServiceEntry {
    let endpoint = |address: &str| EntryEndpoint {
        labels: labels(&[("a", "b")]),
        network: Some("far".into()),
        service_account: "robot".into(),
        ports: vec![("grpc".into(), 1), ("http".into(), 2)],
        locality: Some("r/z".into()),
        weight: 7,
        ..EntryEndpoint::at(address)
    };
    ServiceEntry {
        meta: full_meta("shop"),
        created: Some(-1),
        hosts: names(&["b.example", "*.example"]),
        addresses: ["10.0.0.0/8", "10.0.0.1", "fd00::/64"].map(|it| AddressRange::parse(it).unwrap()).to_vec(),
        bad_address: Some("nonsense".into()),
        auto_addresses: vec![(None, [240, 0, 0, 1].into()), (Some("b.example".into()), [240, 0, 0, 2].into())],
        ports: ports(),
        resolution: Resolution::DynamicDns,
        mesh_internal: true,
        endpoints: EntryEndpoint::sorted(vec![endpoint("10.0.0.1"), EntryEndpoint::at(""), EntryEndpoint::at("b")]),
        selector: Some(Labels::default()),
        subject_alt_names: names(&["spiffe://td/ns/a/sa/b"]).into(),
    }
}

fn full_policy() -> AuthorizationPolicy {
    let field = |name: &str, values: &[&str]| Field { name: name.into(), values: names(values) };
    let target = |namespace: Option<&str>| PolicyTarget {
        group: "gateway.networking.k8s.io".into(),
        kind: "Gateway".into(),
        namespace: namespace.map(Into::into),
        name: "w".into(),
    };
    let condition = Condition { key: "source.ip".into(), values: names(&["10.0.0.1"]), not_values: names(&["::1"]) };
    let rule = Rule {
        from: vec![vec![field("ipBlocks", &["10.0.0.0/8"]), field("notNamespaces", &["a", "b"])], Vec::new()],
        to: vec![vec![field("ports", &["80"])], Vec::new()],
        when: vec![condition, Condition { key: "".into(), values: Vec::new(), not_values: Vec::new() }],
    };
    AuthorizationPolicy {
        meta: full_meta("shop"),
        selector: Some(labels(&[("app", "cart")])),
        targets: vec![target(None), target(Some("other"))],
        action: "CUSTOM".into(),
        rules: vec![rule, Rule::default()],
    }
}

/// One with everything, and one that has a workload and no more.
fn pods() -> (Pod, Pod) {
    let full = Pod {
        meta: full_meta("shop"),
        finished: true,
        addresses: [[10, 0, 0, 1].into(), "::ffff:10.0.0.1".parse().unwrap()].into(),
        bad_address: Some(Box::new("".into())),
        host_network: true,
        has_proxy: true,
        ready: false,
        terminating: true,
        node: Some("node-a".into()),
        template: PodTemplate {
            service_account: "robot".into(),
            workload: Some("cart-12345678".into()),
            ports: vec![("web".into(), 8080), ("grpc".into(), 9090)],
        }
        .into(),
    };
    let portless = PodTemplate { workload: Some("cart".into()), ..PodTemplate::default() };
    let replica = Pod { template: portless.into(), ..Pod::named("shop", "it") };
    (full, replica)
}

fn full_workload_entry() -> WorkloadEntry {
    WorkloadEntry {
        meta: full_meta("shop"),
        spec_labels: labels(&[("app", "vm")]),
        address: "10.0.0.1".into(),
        network: Some("far".into()),
        service_account: "robot".into(),
        ports: vec![("grpc".into(), 90), ("http".into(), 0)],
        locality: Some("r/z/s".into()),
        weight: u32::MAX,
    }
}

/// Everything of `kind`: with every field set, and with none.
fn examples(kind: Kind) -> Vec<Object> {
    let (namespace, name) = ("shop", "it");
    match kind {
        Kind::Namespace => {
            [full_meta(""), Meta::named("", name)].map(|meta| Object::Namespace(Namespace { meta })).to_vec()
        }
        Kind::GatewayClass => {
            [full_meta(""), Meta::named("", name)].map(|meta| Object::GatewayClass(GatewayClass { meta })).to_vec()
        }
        Kind::Gateway => {
            let bare = Gateway {
                meta: Meta::named(namespace, name),
                class: "".into(),
                listeners: Vec::new(),
                addresses: Vec::new(),
            };
            [full_gateway(), bare].map(Object::Gateway).to_vec()
        }
        Kind::Service => {
            let full = full_service();
            let headless = Service { headless: true, ..Service::named(namespace, name) };
            let odd = Service { headless: true, ..full.clone() };
            [full, headless, odd, Service::named(namespace, name)].map(Object::Service).to_vec()
        }
        Kind::Pod => {
            let (full, replica) = pods();
            [full, replica, Pod::named(namespace, name)].map(Object::Pod).to_vec()
        }
        Kind::ServiceEntry => {
            let full = full_entry();
            let selecting = ServiceEntry { selector: Some(labels(&[("app", "vm")])), created: None, ..full.clone() };
            [full, selecting, ServiceEntry::named(namespace, name)].map(Object::ServiceEntry).to_vec()
        }
        Kind::WorkloadEntry => {
            [full_workload_entry(), WorkloadEntry::named(namespace, name)].map(Object::WorkloadEntry).to_vec()
        }
        Kind::EndpointSlice => {
            let (pods, addresses) = (names(&["cart-a", "cart-b"]), names(&["10.0.0.1", "host.example"]));
            let full = EndpointSlice {
                meta: full_meta(namespace),
                pods,
                addresses,
                unready: names(&["host.example"]),
                ports: vec![("http".into(), 80), ("".into(), 1)],
            };
            [full, EndpointSlice::named(namespace, name)].map(Object::EndpointSlice).to_vec()
        }
        Kind::AuthorizationPolicy => {
            let selects_nothing = AuthorizationPolicy {
                selector: Some(Labels::default()),
                ..AuthorizationPolicy::named(namespace, name)
            };
            let bare = AuthorizationPolicy::named(namespace, name);
            [full_policy(), selects_nothing, bare].map(Object::AuthorizationPolicy).to_vec()
        }
        Kind::PeerAuthentication => {
            let full = PeerAuthentication {
                meta: full_meta(namespace),
                created: Some(1_700_000_000),
                selector: Some(labels(&[("app", "cart")])),
                mode: MtlsMode::Strict,
                ports: vec![(0, MtlsMode::Unset), (80, MtlsMode::Disable), (8080, MtlsMode::Permissive)],
            };
            let empty = PeerAuthentication { selector: Some(Labels::default()), ..full.clone() };
            [full, empty, PeerAuthentication::named(namespace, name)].map(Object::PeerAuthentication).to_vec()
        }
        Kind::Node => {
            let zone = labels(&[("topology.kubernetes.io/zone", "z"), ("topology.istio.io/subzone", "")]);
            [Node::new(name, &zone), Node::new(name, &Labels::default())].map(Object::Node).to_vec()
        }
    }
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for kind in Kind::ALL {
        let examples = examples(kind);
        assert!(examples.len() >= 2 && examples.iter().all(|it| it.kind() == kind), "{kind}");
        examples.iter().for_each(check);
    }
}

#[test]
fn the_projects_own_manifests_come_back_as_they_were() {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data"));
    let mut paths: Vec<_> = std::fs::read_dir(data.join("conformance")).unwrap().map(|it| it.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    paths.push(data.join("bookinfo/manifests"));
    let mut objects = 0;
    for path in paths {
        if path.to_string_lossy().ends_with(".mesh.yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            check_mesh(&mesh_config("mesh.yaml", &text, &Limits::default()).unwrap());
            continue;
        }
        for entry in FolderSource::new(vec![path], Limits::default()).load().objects.into_values() {
            check(&entry.object);
            objects += 1;
        }
    }
    assert!(objects > 900, "{objects}");
}

fn check_mesh(mesh: &Mesh) {
    let value = write_mesh(mesh);
    for text in [value.to_string(), format!("{value:#}")] {
        assert_eq!(&mesh_config("written", &text, &Limits::default()).unwrap(), mesh, "{text}");
    }
}

#[test]
fn a_mesh_comes_back_as_it_was() {
    check_mesh(&Mesh::default());
    let policy = |visibility, rules| VisibilityPolicy { visibility, rules };
    let scope = |global| ServiceScope { namespaces: selectors(), services: Selector::default(), global };
    check_mesh(&Mesh {
        root_namespace: "root".into(),
        trust_domain: "example.org".into(),
        entry_visibility: Some(EntryVisibilityRules {
            default: EntryVisibility::None,
            policies: vec![
                policy(EntryVisibility::Public, vec![None, Some(Selector::default()), Some(selectors())]),
                policy(EntryVisibility::Namespace, Vec::new()),
            ],
        }),
        service_scopes: vec![scope(true), scope(false)],
        discovery_selectors: vec![selectors(), Selector::default()],
    });
}

#[test]
fn what_is_empty_is_not_written() {
    let pod = write(&Object::Pod(Pod::named("shop", "it")));
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "it", "namespace": "shop" },
        "spec": { "serviceAccountName": "default" },
    });
    assert_eq!(pod, expected);
}
