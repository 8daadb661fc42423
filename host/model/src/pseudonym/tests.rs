//! That nothing is left of a name, and that what belonged together still does. That decisions are the same is tested with
//! whole meshes in the package `tests`.

use std::net::IpAddr;

use super::*;
use crate::decision::{Choice, OnUnreachable, Target, Tunnel, TunnelProtocol, WaypointAddress};
use crate::gateway::{GatewayKey, Listener, StatusAddress};
use crate::mesh::{EntryVisibility, EntryVisibilityRules, Mesh, ServiceScope, VisibilityPolicy};
use crate::name::Labels;
use crate::object::Meta;
use crate::peer_authentication::{MtlsMode, PeerAuthentication};
use crate::policy::{Condition, Field, PolicyTarget, Rule};
use crate::selector::{Requirement, Selector};
use crate::service::Port;
use crate::service_entry::{AddressRange, EntryEndpoint, Resolution};
use crate::store::Node;
use crate::table::RowKind;
use crate::workload::PodTemplate;
use crate::{
    AuthorizationPolicy, EndpointSlice, Gateway, GatewayClass, IstioVersion, Namespace, Pod, Service, ServiceEntry,
    WorkloadEntry,
};

/// In every name of these tests that must not be told.
const SECRET: &str = "secret";

fn pairs(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta {
        labels: pairs(&[
            ("istio.io/use-waypoint", "secret-w"),
            ("istio.io/use-waypoint-namespace", "secret-shared"),
            ("secret.example/team", "secret-team"),
            ("secret-key", "None"),
        ]),
        annotations: pairs(&[("secret-note", "secret"), ("istio.io/for-service-account", "secret-account")]),
        ..Meta::named(namespace, name)
    }
}

fn selector() -> Selector {
    let values = vec!["secret-team".into()];
    let requirement = Requirement { key: "secret.example/team".into(), operator: "In".into(), values };
    let odd = Requirement { key: "secret-key".into(), operator: "secretly".into(), values: Vec::new() };
    Selector { labels: pairs(&[("app", "secret-app")]), requirements: vec![requirement, odd] }
}

fn ports() -> Vec<Port> {
    vec![Port { name: "secret-port".into(), number: 80, protocol: "HTTP".into(), target: Some("secret-web".into()) }]
}

fn gateway() -> Gateway {
    let address = |kind: Option<&str>, value: &str| StatusAddress { kind: kind.map(Name::from), value: value.into() };
    Gateway {
        meta: meta("secret-shared", "secret-w"),
        class: "secret-class".into(),
        listeners: vec![Listener {
            port: 15008,
            protocol: "secret/PROXY".into(),
            admits_from: Some("secret".into()),
            selector: Some(selector()),
        }],
        addresses: vec![
            address(Some("Hostname"), "secret-w.secret-shared.svc.cluster.local"),
            address(Some("IPAddress"), "203.0.113.4"),
            address(Some("IPAddress"), "203.0.113.4.secret"),
            address(Some("secret"), "2001:DB8::203"),
            address(None, "unix:///var/run/secret"),
        ],
    }
}

fn entry() -> ServiceEntry {
    let endpoint = EntryEndpoint {
        labels: pairs(&[("secret-label", "secret")]),
        network: Some("secret-net".into()),
        service_account: "secret-account".into(),
        ..EntryEndpoint::at("203.0.113.9")
    };
    ServiceEntry {
        meta: meta("secret-ns", "secret.entry.example"),
        created: Some(7),
        hosts: vec!["*.secret.example".into(), "api.secret.example".into(), "cart.secret-ns.svc.cluster.local".into()],
        addresses: vec![AddressRange::parse("203.0.113.0/24").unwrap()],
        bad_address: Some("203.0.113.secret".into()),
        auto_addresses: vec![(Some("api.secret.example".into()), ip("203.0.113.7")), (None, ip("2001:db8::203:7"))],
        ports: ports(),
        resolution: Resolution::Dns,
        mesh_internal: true,
        endpoints: EntryEndpoint::sorted(vec![endpoint, EntryEndpoint::at("vm.secret.example")]),
        selector: Some(pairs(&[("app", "secret-app")])),
        subject_alt_names: vec![
            "spiffe://td.secret.example/ns/secret-ns/sa/secret-account".into(),
            "secret.example".into(),
        ]
        .into(),
    }
}

fn policy() -> AuthorizationPolicy {
    let field = |name: &str, values: &[&str]| Field {
        name: name.into(),
        values: values.iter().map(|value| Name::from(*value)).collect(),
    };
    let principal = "cluster.local/ns/secret-ns/sa/secret-account";
    let values: Vec<Name> = vec!["203.0.113.0/24".into(), "secret".into()];
    AuthorizationPolicy {
        meta: meta("secret-ns", "secret-policy"),
        selector: Some(pairs(&[("app", "secret-app")])),
        targets: vec![PolicyTarget {
            group: "secret.example".into(),
            kind: "Secret-kind-secret".into(),
            namespace: Some("secret-ns".into()),
            name: "secret-w".into(),
        }],
        action: "secretly".into(),
        rules: vec![Rule {
            from: vec![vec![field("principals", &[principal, "*/secret-account", "secret*"])]],
            to: vec![vec![field("secretPorts", &["80", "secret"]), field("paths", &["/secret/*"])]],
            when: vec![Condition {
                key: "request.headers[x-secret]".into(),
                values: values.clone(),
                not_values: values,
            }],
        }],
    }
}

/// One object of every kind with something in every field.
fn objects() -> Vec<Object> {
    let addresses: crate::Addresses = vec![ip("203.0.113.5"), ip("2001:db8::203:5")].into();
    vec![
        Object::Namespace(Namespace { meta: meta("", "secret-ns") }),
        Object::GatewayClass(GatewayClass { meta: meta("", "secret-class") }),
        Object::Gateway(gateway()),
        Object::Service(Service {
            meta: meta("secret-ns", "cart"),
            addresses: addresses.clone(),
            bad_address: Some("secret".into()),
            ports: ports(),
            selector: pairs(&[("app", "secret-app")]),
            ..Service::named("", "")
        }),
        Object::Pod(Pod {
            meta: meta("secret-ns", "secret-pod"),
            addresses,
            bad_address: Some(Box::new("203.0.113".into())),
            node: Some("secret-node".into()),
            template: PodTemplate {
                service_account: "secret-account".into(),
                workload: Some("secret-workload".into()),
                ports: vec![("secret-port".into(), 8080)],
            }
            .into(),
            ..Pod::named("", "")
        }),
        Object::ServiceEntry(entry()),
        Object::WorkloadEntry(WorkloadEntry {
            meta: meta("secret-ns", "secret-vm"),
            spec_labels: pairs(&[("app", "secret-app")]),
            address: "203.0.113.8".into(),
            network: Some("secret-net".into()),
            service_account: "secret-account".into(),
            ports: vec![("secret-port".into(), 8080)],
            locality: Some("secret-region/secret-zone".into()),
            weight: 3,
        }),
        Object::EndpointSlice(EndpointSlice {
            meta: meta("secret-ns", "secret-slice"),
            pods: vec!["secret-pod".into()],
            addresses: vec!["203.0.113.6".into(), "secret.example".into()],
            unready: vec!["203.0.113.6".into()],
            ports: vec![("secret-port".into(), 80)],
        }),
        Object::AuthorizationPolicy(policy()),
        Object::Node(crate::node::Node::new(
            "secret-node",
            &pairs(&[("topology.kubernetes.io/zone", "secret-zone"), ("topology.istio.io/subzone", "secret-subzone")]),
        )),
        Object::PeerAuthentication(PeerAuthentication {
            meta: meta("secret-ns", "secret-peer"),
            created: Some(1),
            selector: Some(pairs(&[("app", "secret-app")])),
            mode: MtlsMode::Strict,
            ports: vec![(8080, MtlsMode::Permissive)],
        }),
    ]
}

fn facts() -> Facts {
    Facts {
        cluster_domain: "k8s.secret.example".into(),
        network: "secret-net".into(),
        cluster_id: "secret-cluster".into(),
        istio_revision: "secret-rev".into(),
        istio: IstioVersion::NEWEST,
        mesh: Mesh {
            root_namespace: "secret-root".into(),
            trust_domain: "td.secret.example".into(),
            entry_visibility: Some(EntryVisibilityRules {
                default: EntryVisibility::Public,
                policies: vec![VisibilityPolicy { visibility: EntryVisibility::None, rules: vec![Some(selector())] }],
            }),
            service_scopes: vec![ServiceScope { namespaces: selector(), services: selector(), global: true }],
            discovery_selectors: vec![selector()],
        },
        node: Node {
            name: Some("secret-node".into()),
            labels: pairs(&[("topology.kubernetes.io/zone", "secret-zone")]),
            region: Some("secret-region".into()),
            zone: Some("secret-zone".into()),
            subzone: Some("secret-subzone".into()),
        },
    }
}

/// A row about objects that are gone.
fn row() -> (RowKey, Subject, Decision) {
    let target = |address| Target {
        gateway: GatewayKey::new("secret-gone", "secret-gone-w"),
        address: Some(address),
        dial: vec![ip("203.0.113.77")],
        weight: 50,
    };
    let hostname = WaypointAddress::Hostname("secret-gone-w.secret-gone.svc.cluster.local".into());
    let address = WaypointAddress::Ip { network: "secret-net".into(), ip: ip("203.0.113.77") };
    let decision = Decision {
        choice: Choice::Waypoints([target(hostname), target(address)].into()),
        on_unreachable: OnUnreachable::Fail,
        reason: Some("WaypointAccepted".into()),
        second_reason: None,
        ingress: true,
        tunnel: Some(Tunnel { protocol: TunnelProtocol::Proxy, port: 80 }),
        floor: false,
    };
    let key = RowKey::endpoint(RowKind::ServiceEntryEndpoint, "secret-gone", "secret-entry", "vm.secret.example");
    let subject = Subject {
        hosts: ["secret.example".into()].into(),
        addresses: [ip("203.0.113.78")].into(),
        dialled_by_address: true,
    };
    (key, subject, decision)
}

fn pseudonyms() -> Pseudonyms {
    let mut names = Names::new(Vocabulary::default());
    objects().iter().for_each(|object| names.object(object));
    names.facts(&facts());
    let (key, subject, decision) = row();
    names.row(&key, &subject, &decision);
    names.text("secret-setting");
    names.pseudonyms()
}

fn check(text: &str) {
    for left in [SECRET, "203.0.113", "2001:db8", "2001:DB8", "0203", "unseen"] {
        assert!(!text.contains(left), "{left} is left: {text}");
    }
}

#[test]
fn nothing_is_left_of_any_name_or_address() {
    let pseudonyms = pseudonyms();
    for object in objects() {
        check(&format!("{:?}", pseudonyms.object(&object)));
    }
    check(&format!("{:?}", pseudonyms.facts(&facts())));
    let (key, subject, decision) = row();
    let renamed = (pseudonyms.key(&key), pseudonyms.subject(&subject), pseudonyms.decision(&decision));
    check(&format!("{renamed:?}"));
    assert_eq!(&renamed.2.reason, &decision.reason, "a reason is a component's word");
    check(&pseudonyms.text("secret-setting"));
}

#[test]
fn what_was_equal_is_equal_and_what_was_not_is_not() {
    let pseudonyms = pseudonyms();
    let renamed: Vec<Object> = objects().iter().map(|object| pseudonyms.object(object)).collect();
    let [Object::Namespace(namespace), _, Object::Gateway(gateway), Object::Service(service), Object::Pod(pod), ..] =
        &renamed[..]
    else {
        panic!("{renamed:?}");
    };
    assert_eq!(pod.meta.namespace, namespace.meta.name);
    assert_eq!(pod.meta.labels.get("istio.io/use-waypoint"), Some(&gateway.meta.name));
    assert_eq!(pod.meta.labels.get("istio.io/use-waypoint-namespace"), Some(&gateway.meta.namespace));
    assert_eq!(pod.meta.annotations.get("istio.io/for-service-account"), Some(pod.service_account()));
    assert_eq!(pod.meta.annotations.len(), 1, "what nobody reads is dropped");
    assert!(gateway.listeners[0].selector.as_ref().is_some_and(|it| !it.is_valid()), "an invalid one stays one");
    let hostname = gateway.addresses[0].hostname().unwrap();
    let expected = format!("{}.{}.svc.cluster.local", gateway.meta.name, gateway.meta.namespace);
    assert_eq!(**hostname, *expected);
    assert!(gateway.addresses[1].ip().is_some() && gateway.addresses[2].ip().is_none());
    let names: HashSet<&Name> = renamed.iter().map(|object| &object.meta().name).collect();
    assert_eq!(names.len(), renamed.len());
    let Object::ServiceEntry(entry) = &renamed[5] else { panic!("{renamed:?}") };
    assert_eq!(entry.hosts[2], service.host("cluster.local"), "it claims the host of the service");
    assert!(entry.hosts[1].ends_with(entry.hosts[0].trim_start_matches('*')), "the wildcard is above it: {entry:?}");
    assert!(entry.addresses[0].contains(entry.auto_addresses[0].1), "the range holds the address: {entry:?}");
    let facts = pseudonyms.facts(&facts());
    assert_eq!(facts.node.zone.as_ref(), facts.node.labels.get("topology.kubernetes.io/zone"));
}

#[test]
fn what_means_something_to_everybody_stays() {
    let object = Object::Service(Service {
        meta: Meta {
            labels: pairs(&[
                ("istio.io/use-waypoint", "none"),
                ("istio.io/waypoint-for", "all"),
                ("istio.io/ingress-use-waypoint", "T"),
                ("gateway.istio.io/managed", "istio.io-mesh-controller"),
            ]),
            annotations: pairs(&[
                ("istio.io/use-waypoint-canary-weight", "+10"),
                ("ambient.istio.io/waypoint-inbound-binding", "PROXY/15088"),
            ]),
            ..Meta::named("default", "waypoint")
        },
        ..Service::named("", "")
    });
    let mut names = Names::new(Vocabulary::default());
    names.object(&object);
    names.facts(&Facts::default());
    let pseudonyms = names.pseudonyms();
    assert_eq!(pseudonyms.object(&object), object);
    assert_eq!(pseudonyms.facts(&Facts::default()), Facts::default());
    assert_eq!(pseudonyms.words().count(), 0);
}

#[test]
fn the_mapping_tells_every_original_once() {
    let pseudonyms = pseudonyms();
    let words: Vec<_> = pseudonyms.words().collect();
    assert!(words.iter().any(|(word, _)| &***word == "secret-ns") && words.is_sorted());
    assert!(words.iter().all(|(word, pseudonym)| pseudonyms.text(word) == **pseudonym || word.contains('/')));
    assert!(pseudonyms.addresses().any(|(ip, _)| ip.to_string() == "203.0.113.5"));
}
