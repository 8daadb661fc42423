//! Enforcement: what becomes of traffic that must not go past a waypoint, and the settings of ours.

use wayswitch_sdk::Source;
use wayswitch_sdk::test::{
    GatewayDraft, Mesh, SubjectDraft, entry_endpoint, implied_endpoint, mesh, pod, service, service_entry,
    slice_endpoint, waypoint, workload_entry,
};

use super::super::{describe, keys};
use super::{BOUND, USE, check};

const REQUIRED: &str = keys::REQUIRED;

fn town(required: Option<&str>) -> Mesh {
    let labels: Vec<_> = required.into_iter().map(|value| (REQUIRED, value)).collect();
    let all = |draft: GatewayDraft| draft.label(keys::WAYPOINT_FOR, "all");
    mesh()
        .namespace("ns", &labels)
        .gateway(all(waypoint("ns", "wp")))
        .gateway(waypoint("ns", "for-services"))
        .gateway(waypoint("ns", "for-workloads").label(keys::WAYPOINT_FOR, "workload"))
}

fn kinds() -> [(SubjectDraft, bool); 5] {
    [
        (service("ns"), true),
        (service_entry("ns"), true),
        (pod("ns"), false),
        (workload_entry("ns"), false),
        (entry_endpoint("ns"), false),
    ]
}

#[test]
fn traffic_of_the_named_kind_is_blocked_where_it_would_be_direct() {
    let rows = [
        ("service", true, false),
        ("workload", false, true),
        ("all", true, true),
        ("true", true, true),
        ("none", false, false),
        ("false", false, false),
        ("a typing error", true, true),
        ("", true, true),
    ];
    for (value, services, workloads) in rows {
        for (subject, is_service) in kinds() {
            let blocked = if is_service { services } else { workloads };
            let line = |reason: &str| if blocked { format!("blocked {reason}") } else { "direct".to_owned() };
            let refused = if blocked { "blocked WaypointIsNotReady" } else { "direct WaypointIsNotReady" };
            let asking = |name: &str| subject.clone().label(USE, name);
            // Said by the namespace, by the object, and by the object against its namespace.
            let own = |subject: &SubjectDraft| subject.clone().label(REQUIRED, value);
            for (town, by) in [(town(Some(value)), None), (town(None), Some(value)), (town(Some("x")), Some(value))] {
                let said = |subject: SubjectDraft| if by.is_some() { own(&subject) } else { subject };
                let town = |subject| town.clone().subject(said(subject));
                check(value, &town(subject.clone()), &line("WaypointRequired"));
                check(value, &town(asking("none")), &line("WaypointRequired"));
                check(value, &town(asking("absent")), refused);
                check(value, &town(asking("wp")), BOUND);
            }
        }
    }
}

#[test]
fn what_istio_would_call_nothing_asked_for_is_blocked_as_well() {
    let heir = |required: &str| {
        let labels = [(USE, "for-services"), (REQUIRED, required)];
        mesh().namespace("ns", &labels).gateway(waypoint("ns", "for-services")).subject(pod("ns"))
    };
    check("not meant for pods", &heir("service"), "direct");
    check("but required", &heir("workload"), "blocked WaypointRequired");
    let typed = town(Some("all")).subject(service("ns").label(USE, "for-workloads"));
    check("the reason stays", &typed, "blocked UnsupportedTrafficType");
}

#[test]
fn what_cannot_have_a_waypoint_is_never_blocked() {
    let town = || town(Some("all"));
    check("an instance", &town().subject(pod("ns").label(keys::GATEWAY_NAME, "wp")), "direct");
    let managed = service("ns").label(keys::MANAGED, keys::MESH_CONTROLLER).label(REQUIRED, "all");
    check("a generated Service", &town().subject(managed), "direct");
    for kind in [implied_endpoint, slice_endpoint] {
        check("never has one", &town().subject(kind("ns").label(REQUIRED, "all")), "direct");
    }
    for kind in [service, service_entry, pod, workload_entry, entry_endpoint] {
        check("unknown labels", &town().subject(kind("ns").labels_unknown()), "keep");
    }
    let mut batch = town().subject(pod("ns")).batch();
    batch.namespaces[0].known = false;
    let decision = super::resolve(&batch).unwrap().remove(0);
    assert_eq!(super::shown(&batch, &decision), "direct", "a namespace that is not known says nothing");
}

#[test]
fn the_label_is_neither_honoured_nor_read_where_that_is_set() {
    let ignoring = r#"{"required":"ignored"}"#;
    check("ignored", &town(Some("all")).settings(ignoring).subject(pod("ns").label(REQUIRED, "all")), "direct");
    let read = |settings| {
        let description = describe(settings).unwrap();
        let reads = description.reads.into_iter().filter(|read| read.key == REQUIRED);
        reads.map(|read| read.at).collect::<Vec<_>>()
    };
    assert_eq!(read(""), [Source::SubjectLabel, Source::NamespaceLabel]);
    assert_eq!(read(ignoring), []);
}

#[test]
fn what_is_bound_may_bypass_a_dead_waypoint_unless_one_is_required() {
    let bypass = r#"{"unreachable":"bypass"}"#;
    for (subject, is_service) in kinds() {
        let kind = if is_service { "service" } else { "workload" };
        let bound = || subject.clone().label(USE, "wp");
        let town = |required| town(required).settings(bypass);
        check("set", &town(None).subject(bound()), "ns/wp 0 WaypointAccepted bypass");
        check("required", &town(Some(kind)).subject(bound()), BOUND);
        check("required of it alone", &town(None).subject(bound().label(REQUIRED, "all")), BOUND);
        let other = if is_service { "workload" } else { "service" };
        check("of the other kind", &town(Some(other)).subject(bound()), "ns/wp 0 WaypointAccepted bypass");
        check("not bound", &town(None).subject(subject.clone()), "direct");
    }
    check("fail", &town(None).settings(r#"{"unreachable":"fail"}"#).subject(pod("ns").label(USE, "wp")), BOUND);
}

#[test]
fn q6_all_generated_services_are_excluded_where_that_is_set() {
    let rows = [
        ("istio.io-mesh-controller", "direct", "direct"),
        ("istio.io-eastwest-controller", "direct", "direct"),
        ("istio.io-agentgateway-waypoint-controller", BOUND, "direct"),
        ("istio.io-gateway-controller", BOUND, "direct"),
        ("", BOUND, "direct"),
    ];
    let all = r#"{"exclude-gateways":"all"}"#;
    for (by, istio, excluded) in rows {
        let subject = || service("ns").label(USE, "wp").label(keys::MANAGED, by);
        check(by, &town(None).subject(subject()), istio);
        check(by, &town(None).settings(all).subject(subject()), excluded);
        check(by, &town(Some("all")).settings(all).subject(subject()), excluded);
    }
    check("not generated", &town(None).settings(all).subject(service("ns").label(USE, "wp")), BOUND);
    let pod = pod("ns").label(USE, "wp").label(keys::MANAGED, "x");
    check("a pod is no Service", &town(None).settings(all).subject(pod), BOUND);
}
