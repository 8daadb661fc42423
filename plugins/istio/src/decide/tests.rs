//! The rules through the front door: a mesh in, a decision out. Each row is also seen with everything undeclared in view,
//! which must change nothing, and explained, which must give the same decision.

mod canary;
mod explained;
mod levels;
mod oracle;
mod required;
mod universe;

use wayswitch_sdk::test::{
    Admits, Mesh, entry_endpoint, gateway, implied_endpoint, mesh, pod, service, service_entry, slice_endpoint,
    waypoint, workload_entry,
};
use wayswitch_sdk::{Batch, Choice, Decision, Fields, OnUnreachable, Reach, Target, TunnelProtocol};

use super::{describe, explain, keys, resolve};

const USE: &str = keys::USE_WAYPOINT;
const USE_NS: &str = keys::USE_WAYPOINT_NAMESPACE;
const BOUND: &str = "ns/wp 0 WaypointAccepted";

/// What is tested, labels, the expected line.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// A decision in a line: the choice, the reason, what else is set. Weights are only shown where there are two.
fn shown(batch: &Batch, decision: &Decision) -> String {
    let place = |target: &Target| {
        let gateway = batch.gateway(target.gateway).unwrap();
        let address = target.address.map_or("-".to_owned(), |index| index.to_string());
        format!("{}/{} {address}", gateway.namespace, gateway.name)
    };
    let mut line = match &decision.choice {
        Choice::Keep => "keep".to_owned(),
        Choice::Direct => "direct".to_owned(),
        Choice::Blocked => "blocked".to_owned(),
        Choice::Waypoints(targets) => match targets.as_slice() {
            [only] if only.weight == 100 => place(only),
            [first, second] => format!("{} {}% {} {}%", place(first), first.weight, place(second), second.weight),
            other => panic!("{other:?}"),
        },
    };
    line.extend(decision.reason.iter().flat_map(|reason| [" ", reason]));
    line.extend(decision.second_reason.iter().flat_map(|reason| [" second ", reason]));
    if decision.on_unreachable == OnUnreachable::Bypass {
        line.push_str(" bypass");
    }
    if decision.ingress {
        line.push_str(" ingress");
    }
    if let Some(tunnel) = decision.tunnel {
        let protocol = if tunnel.app_protocol == TunnelProtocol::Proxy { "PROXY" } else { "NONE" };
        line.push_str(&format!(" tunnel {protocol}/{}", tunnel.port));
    }
    line
}

fn check(what: &str, mesh: &Mesh, expected: &str) {
    let declared = mesh.batch_for(&describe(&mesh.batch().settings).unwrap());
    for batch in [&declared, &mesh.batch()] {
        let decisions = resolve(batch).unwrap();
        assert_eq!(decisions.len(), 1, "{what}");
        assert_eq!(shown(batch, &decisions[0]), expected, "{what}");
        assert_eq!(explain(batch).unwrap().decision, decisions[0], "{what}");
    }
}

/// Namespace `ns`, whose label names the ready waypoint `wp` for all traffic; `other/far` for all, open to all.
fn town() -> Mesh {
    let far =
        waypoint("other", "far").only_listener(15008, "HBONE", Admits::from("All")).label(keys::WAYPOINT_FOR, "all");
    mesh()
        .namespace("ns", &[(USE, "wp")])
        .namespace("other", &[])
        .gateway(waypoint("ns", "wp").label(keys::WAYPOINT_FOR, "all"))
        .gateway(far)
        .gateway(waypoint("ns", "unready").without_addresses())
        .gateway(waypoint("other", "closed").label(keys::WAYPOINT_FOR, "all"))
        .gateway(waypoint("ns", "for-workloads").label(keys::WAYPOINT_FOR, "workload"))
        .gateway(waypoint("ns", "for-services"))
        .gateway(waypoint("ns", "for-nobody").label(keys::WAYPOINT_FOR, "none"))
}

#[test]
fn only_what_the_rules_need_is_declared() {
    let description = describe("").unwrap();
    assert_eq!(description.fields, Fields::empty());
    assert_eq!(description.reach, Reach::Referenced);
    assert_eq!(description.references.len(), 3);
    assert!(description.reads.iter().all(|read| !read.key.contains('*')));
    assert!(describe("{\"x\":1}").unwrap_err().contains("`x`"));
}

#[test]
fn r15_to_r23_services_and_workloads_read_references_alike() {
    let rows: [Row; 15] = [
        ("R17: inherits its namespace's", &[], BOUND),
        ("R15: its own, in its own namespace", &[(USE, "wp")], BOUND),
        ("R15: its own, in another namespace", &[(USE, "far"), (USE_NS, "other")], "other/far 0 WaypointAccepted"),
        ("R15: the namespace alone has no effect", &[(USE_NS, "other")], BOUND),
        ("R15: an empty name is a name", &[(USE, "")], "direct WaypointIsNotReady"),
        ("R15: an empty namespace is a namespace", &[(USE, "wp"), (USE_NS, "")], "direct WaypointIsNotReady"),
        ("R15: None is a name", &[(USE, "None")], "direct WaypointIsNotReady"),
        ("R15: ~ is a name", &[(USE, "~")], "direct WaypointIsNotReady"),
        ("R15: ns/name is a name", &[(USE, "ns/wp")], "direct WaypointIsNotReady"),
        ("R18: opts out", &[(USE, "none")], "direct"),
        ("R18: opts out, whatever the namespace label", &[(USE, "none"), (USE_NS, "other")], "direct"),
        ("R19: missing, and no fallback", &[(USE, "absent")], "direct WaypointIsNotReady"),
        ("R2: no address yet", &[(USE, "unready")], "direct WaypointIsNotReady"),
        ("R20: not admitted", &[(USE, "closed"), (USE_NS, "other")], "direct AttachmentDenied"),
        ("R23: names are not looked for elsewhere", &[(USE, "far")], "direct WaypointIsNotReady"),
    ];
    for (what, labels, expected) in rows {
        for subject in [service("ns"), service_entry("ns"), pod("ns"), workload_entry("ns"), entry_endpoint("ns")] {
            let subject = labels.iter().fold(subject, |subject, (key, value)| subject.label(key, value));
            check(what, &town().subject(subject), expected);
        }
    }
}

#[test]
fn r16_to_r22_what_a_namespace_says() {
    let far = || waypoint("other", "far").only_listener(15008, "HBONE", Admits::from("All"));
    let rows: [Row; 5] = [
        ("R16: means its own namespace", &[(USE, "wp")], BOUND),
        ("R15: means another", &[(USE, "far"), (USE_NS, "other")], "other/far 0 WaypointAccepted"),
        ("R18: opts out", &[(USE, "none")], "direct"),
        ("R19: names nothing", &[(USE, "absent")], "direct WaypointIsNotReady"),
        ("R24: says nothing, and there is no other level", &[(USE_NS, "other")], "direct"),
    ];
    for (what, labels, expected) in rows {
        let mesh = mesh().namespace("ns", labels).gateway(waypoint("ns", "wp")).gateway(far());
        check(what, &mesh.subject(service("ns")), expected);
    }
}

#[test]
fn r22_a_missing_namespace_gives_nothing_to_inherit_and_matches_no_selector() {
    let open = waypoint("other", "open").only_listener(15008, "HBONE", Admits::from("All"));
    let selecting = waypoint("other", "selecting").only_listener(15008, "HBONE", Admits::selected(&["other"]));
    let town = mesh().gateway(waypoint("ns", "wp")).gateway(open).gateway(selecting);
    let to = |name: &str| service("ns").label(USE, name).label(USE_NS, "other");
    check("nothing inherited", &town.clone().subject(service("ns")), "direct");
    check("its own namespace", &town.clone().subject(service("ns").label(USE, "wp")), BOUND);
    check("open to all", &town.clone().subject(to("open")), "other/open 0 WaypointAccepted");
    check("by selector", &town.clone().subject(to("selecting")), "direct AttachmentDenied");

    let mut batch =
        town.namespace("ns", &[(USE, "wp"), (keys::INGRESS_USE_WAYPOINT, "true")]).subject(service("ns")).batch();
    batch.namespaces[0].known = false;
    assert_eq!(shown(&batch, &resolve(&batch).unwrap()[0]), "direct", "labels of a namespace that is not known");
}

#[test]
fn r27_r28_generated_gateway_services_have_none() {
    let rows = [
        ("istio.io-mesh-controller", "direct"),
        ("istio.io-eastwest-controller", "direct"),
        ("istio.io-agentgateway-waypoint-controller", BOUND), // Q6
        ("istio.io-gateway-controller", BOUND),
        ("", BOUND),
    ];
    for (by, expected) in rows {
        for subject in [service("ns"), service_entry("ns")] {
            check(by, &town().subject(subject.clone().label(keys::MANAGED, by)), expected);
        }
        check("a pod is no Service", &town().subject(pod("ns").label(keys::MANAGED, by)), BOUND);
    }
    let absent = service("ns").label(keys::MANAGED, keys::MESH_CONTROLLER).label(USE, "absent");
    check("R27: before the reference", &town().subject(absent), "direct");
}

#[test]
fn r29_r46_r47_what_a_waypoint_serves() {
    const TYPE: &str = "direct UnsupportedTrafficType";
    let rows = [
        ("for-services", ("ns/for-services 0 WaypointAccepted", TYPE, "direct")),
        ("for-workloads", (TYPE, "ns/for-workloads 0 WaypointAccepted", "ns/for-workloads 0 WaypointAccepted")),
        ("for-nobody", (TYPE, TYPE, "direct")),
        ("wp", (BOUND, BOUND, BOUND)),
    ];
    for (name, (of_service, of_pod, of_heir)) in rows {
        let inheriting = |subject| {
            let town = mesh().namespace("ns", &[(USE, name)]).gateway(waypoint("ns", "for-services"));
            let town = town.gateway(waypoint("ns", "for-workloads").label(keys::WAYPOINT_FOR, "workload"));
            let town = town.gateway(waypoint("ns", "for-nobody").label(keys::WAYPOINT_FOR, "none"));
            town.gateway(waypoint("ns", "wp").label(keys::WAYPOINT_FOR, "all")).subject(subject)
        };
        for kind in [service, service_entry] {
            check("R29", &town().subject(kind("ns").label(USE, name)), of_service);
            check("R29: inherited too", &inheriting(kind("ns")), of_service);
        }
        for kind in [pod, workload_entry, entry_endpoint] {
            check("R46, R47: explicit", &town().subject(kind("ns").label(USE, name)), of_pod);
            check("R47: inherited, no error", &inheriting(kind("ns")), of_heir);
        }
    }
}

#[test]
fn r30_an_entry_of_its_namespace_only_takes_no_waypoint_of_another() {
    let to_far = |subject: wayswitch_sdk::test::SubjectDraft| subject.label(USE, "far").label(USE_NS, "other");
    let local = || service_entry("ns").visible_in_own_namespace();
    check("foreign", &town().subject(to_far(local())), "direct CrossNamespaceWaypointForbidden");
    check("its own", &town().subject(local()), BOUND);
    check("public", &town().subject(to_far(service_entry("ns"))), "other/far 0 WaypointAccepted");
    let closed = local().label(USE, "closed").label(USE_NS, "other");
    check("R27: after admission", &town().subject(closed), "direct AttachmentDenied");
    let nobody =
        waypoint("other", "x").only_listener(15008, "HBONE", Admits::from("All")).label(keys::WAYPOINT_FOR, "none");
    let typed = local().label(USE, "x").label(USE_NS, "other");
    check("R27: after the type", &town().gateway(nobody).subject(typed), "direct UnsupportedTrafficType");
}

#[test]
fn r45_an_instance_of_a_waypoint_has_none_and_may_have_a_tunnel() {
    let bound = |draft: wayswitch_sdk::test::GatewayDraft| draft.annotation(keys::INBOUND_BINDING, "PROXY/15088");
    let ingress = gateway("ns", "ingress").class("istio", &[]).ip("10.0.0.1");
    let town = town()
        .gateway(bound(waypoint("ns", "sandwich")))
        .gateway(bound(waypoint("ns", "late").without_addresses()))
        .gateway(bound(waypoint("other", "elsewhere")))
        .gateway(ingress);
    let rows = [
        ("wp", "direct"),
        ("sandwich", "direct tunnel PROXY/15088"),
        ("ingress", "direct"),
        ("late", BOUND),
        ("elsewhere", BOUND),
        ("absent", BOUND),
        ("", BOUND),
    ];
    for (name, expected) in rows {
        for kind in [pod, workload_entry, entry_endpoint] {
            check(name, &town.clone().subject(kind("ns").label(keys::GATEWAY_NAME, name)), expected);
        }
        check("a Service is no instance", &town.clone().subject(service("ns").label(keys::GATEWAY_NAME, name)), BOUND);
    }
    let asking = pod("ns").label(keys::GATEWAY_NAME, "wp").label(USE, "absent");
    check("before its own reference", &town.subject(asking), "direct");
}

#[test]
fn r54_r57_endpoints_that_stand_for_something_else_never_have_one() {
    for subject in [implied_endpoint("ns"), slice_endpoint("ns")] {
        check("inherited", &town().subject(subject.clone()), "direct");
        check("asked for", &town().subject(subject.clone().label(USE, "wp")), "direct");
        check("labels unknown", &town().subject(subject.labels_unknown()), "direct");
    }
}

#[test]
fn unknown_labels_keep_what_the_control_plane_said() {
    for kind in [service, service_entry, pod, workload_entry, entry_endpoint] {
        check("unknown is not empty", &town().subject(kind("ns").labels_unknown()), "keep");
    }
}

#[test]
fn r7_q1_bound_without_a_usable_address() {
    let wp = waypoint("ns", "wp").without_addresses().ip("300.1.1.1");
    let town = mesh().namespace("ns", &[(USE, "wp"), (keys::INGRESS_USE_WAYPOINT, "true")]).gateway(wp);
    check("still bound", &town.subject(service("ns")), "ns/wp - WaypointAccepted ingress");
}

#[test]
fn r70_gateways_go_through_where_a_waypoint_is_bound_and_the_label_says_so() {
    const INGRESS: &str = keys::INGRESS_USE_WAYPOINT;
    let through = "ns/wp 0 WaypointAccepted ingress";
    let with = |value: &str| {
        let label = [(USE, "wp"), (INGRESS, value)];
        mesh().namespace("ns", &label).gateway(waypoint("ns", "wp").label(keys::WAYPOINT_FOR, "all"))
    };
    for value in ["1", "t", "T", "true", "TRUE", "True"] {
        check(value, &town().subject(service("ns").label(INGRESS, value)), through);
        check(value, &with(value).subject(service_entry("ns")), through);
        check("a pod has none", &with(value).subject(pod("ns")), BOUND);
        check("the object's word first", &with(value).subject(service("ns").label(INGRESS, "no")), BOUND);
        check("not bound", &with(value).subject(service("ns").label(USE, "none")), "direct");
        check("refused", &with(value).subject(service("ns").label(USE, "x")), "direct WaypointIsNotReady");
    }
    for value in ["0", "f", "F", "false", "FALSE", "False", "", "yes", "tRUE", " true"] {
        check(value, &town().subject(service("ns").label(INGRESS, value)), BOUND);
        check(value, &with(value).subject(service("ns")), BOUND);
    }
}

#[test]
fn what_cannot_be_bound_is_blocked_where_the_operator_wants_it_and_nothing_else_is() {
    let town = || town().settings(r#"{"unbound":"blocked"}"#);
    let ask = |name: &str| town().subject(service("ns").label(USE, name));
    check("missing", &ask("absent"), "blocked WaypointIsNotReady");
    check("no address", &ask("unready"), "blocked WaypointIsNotReady");
    check("wrong type", &ask("for-workloads"), "blocked UnsupportedTrafficType");
    check(
        "not admitted",
        &town().subject(pod("ns").label(USE, "closed").label(USE_NS, "other")),
        "blocked AttachmentDenied",
    );
    check("opted out", &ask("none"), "direct");
    check("bound", &ask("wp"), BOUND);
    check("never has one", &town().subject(slice_endpoint("ns")), "direct");
    check("unknown", &town().subject(pod("ns").labels_unknown()), "keep");
    let heir =
        mesh().settings(r#"{"unbound":"blocked"}"#).namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp"));
    check("not meant for pods", &heir.subject(pod("ns")), "direct");
    let silent = mesh().settings(r#"{"unbound":"blocked"}"#).namespace("ns", &[]);
    check("not asked", &silent.subject(pod("ns")), "direct");
}

#[test]
fn a_batch_that_no_host_sends_is_a_failure_and_no_trap() {
    let mut batch = town().subject(pod("ns")).subject(pod("ns")).batch();
    assert_eq!(explain(&batch).unwrap_err().text, "explain is asked about one subject, not 2");
    batch.subjects[1].namespace = 9;
    assert_eq!(resolve(&batch).unwrap_err().subject, Some(1));
    batch.subjects[1].namespace = 0;
    batch.subjects[1].candidates = vec![77];
    assert_eq!(resolve(&batch).unwrap().len(), 2, "an index that names nothing is no candidate");
    batch.settings = "{\"unbound\":1}".to_owned();
    let failure = resolve(&batch).unwrap_err();
    assert_eq!((failure.subject, failure.text.contains("`unbound`")), (None, true));
}
