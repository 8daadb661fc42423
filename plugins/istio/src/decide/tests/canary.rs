//! The second waypoint of a service: R60-R69, and Q10.

use wayswitch_sdk::test::{
    Admits, Mesh, SubjectDraft, entry_endpoint, mesh, pod, service, service_entry, waypoint, workload_entry,
};

use super::super::{describe, keys};
use super::{USE, USE_NS, check};

const CANARY: &str = keys::CANARY;
const CANARY_NS: &str = keys::CANARY_NAMESPACE;
const WEIGHT: &str = keys::CANARY_WEIGHT;

/// What is tested, labels, the weight, the reason.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);

/// Bound to `ns/wp` alone.
const ALONE: &str = "ns/wp 0 WaypointAccepted";

/// Namespace `ns` with these labels and, if any, this weight; waypoints to choose a second one from.
fn town(labels: &[(&str, &str)], weight: Option<&str>) -> Mesh {
    let far =
        waypoint("other", "far").only_listener(15008, "HBONE", Admits::from("All")).label(keys::WAYPOINT_FOR, "all");
    let town = mesh().namespace("ns", labels);
    let town = weight.into_iter().fold(town, |town, weight| town.namespace_annotation(WEIGHT, weight));
    town.namespace("other", &[])
        .gateway(waypoint("ns", "wp").label(keys::WAYPOINT_FOR, "all"))
        .gateway(waypoint("ns", "new").label(keys::WAYPOINT_FOR, "all"))
        .gateway(waypoint("ns", "newer"))
        .gateway(waypoint("ns", "unready").without_addresses())
        .gateway(waypoint("ns", "for-workloads").label(keys::WAYPOINT_FOR, "workload"))
        .gateway(waypoint("other", "closed").label(keys::WAYPOINT_FOR, "all"))
        .gateway(far)
}

/// A Service that names its first waypoint itself.
fn own(labels: &[(&str, &str)], weight: Option<&str>) -> SubjectDraft {
    let subject = labels.iter().fold(service("ns").label(USE, "wp"), |it, (key, value)| it.label(key, value));
    weight.into_iter().fold(subject, |it, weight| it.annotation(WEIGHT, weight))
}

fn shared(second: &str, percent: u32) -> String {
    format!("ns/wp 0 {}% {second} 0 {percent}% WaypointAccepted", 100 - percent)
}

fn refused(reason: &str) -> String {
    format!("{ALONE} second {reason}")
}

#[test]
fn r62_r64_two_shares_also_where_one_is_nothing() {
    for (weight, percent) in [("0", 0), ("1", 1), ("42", 42), ("+99", 99), ("100", 100)] {
        let subject = own(&[(CANARY, "new")], Some(weight));
        check(weight, &town(&[], None).subject(subject), &shared("ns/new", percent));
    }
    check("no weight", &town(&[], None).subject(own(&[(CANARY, "new")], None)), &shared("ns/new", 0));
    for weight in ["101", "-1", "", "ten", "10%", " 10"] {
        let subject = own(&[(CANARY, "new")], Some(weight));
        check(weight, &town(&[], None).subject(subject), &refused("CanaryInvalidWeight"));
    }
}

#[test]
fn r60_a_namespace_has_a_say_only_where_the_first_waypoint_is_its_own_word_too() {
    let labels = [(USE, "wp"), (CANARY, "new")];
    let inheriting = || town(&labels, Some("30"));
    check("all of it", &inheriting().subject(service("ns")), &shared("ns/new", 30));
    check("the entry as well", &inheriting().subject(service_entry("ns")), &shared("ns/new", 30));
    check("an own first waypoint", &inheriting().subject(own(&[], None)), ALONE);
    check("and no weight", &inheriting().subject(own(&[(CANARY, "new")], None)), &shared("ns/new", 0));
    check("opted out of the first", &inheriting().subject(service("ns").label(USE, "none")), "direct");
    let silent = || town(&[(CANARY, "new")], Some("30"));
    check("no first waypoint at all", &silent().subject(service("ns")), "direct");
}

#[test]
fn r61_the_objects_label_even_if_empty_then_the_namespaces() {
    let inheriting = || town(&[(USE, "wp"), (CANARY, "new"), (CANARY_NS, "ns")], Some("30"));
    let with = |key, value| inheriting().subject(service("ns").label(key, value));
    check("its own", &with(CANARY, "newer"), &shared("ns/newer", 30));
    check("empty", &with(CANARY, ""), ALONE);
    check("none", &with(CANARY, "none"), ALONE);
    check("None is a name", &with(CANARY, "None"), &refused("WaypointIsNotReady"));
    check("half a reference", &with(CANARY_NS, "other"), &shared("ns/new", 30));
    let far = service("ns").label(CANARY, "far").label(CANARY_NS, "other");
    check("another namespace", &inheriting().subject(far), &shared("other/far", 30));
    let far = town(&[(USE, "wp"), (CANARY, "far"), (CANARY_NS, "other")], None);
    check("the namespace's, of another", &far.clone().subject(service("ns")), &shared("other/far", 0));
    check("its own means its own", &far.subject(service("ns").label(CANARY, "new")), &shared("ns/new", 0));
    for value in ["", "none"] {
        check(
            "the namespace opts out",
            &town(&[(USE, "wp"), (CANARY, value)], Some("5")).subject(service("ns")),
            ALONE,
        );
    }
}

#[test]
fn r62_the_weight_comes_from_either_level_wherever_the_label_is() {
    let named_above = || town(&[(USE, "wp"), (CANARY, "new")], Some("30"));
    check("its own", &named_above().subject(service("ns").annotation(WEIGHT, "7")), &shared("ns/new", 7));
    let bad = service("ns").annotation(WEIGHT, "x");
    check("its own, if bad", &named_above().subject(bad), &refused("CanaryInvalidWeight"));
    let weighed_above = || town(&[(USE, "wp")], Some("30"));
    check("the namespace's", &weighed_above().subject(service("ns").label(CANARY, "new")), &shared("ns/new", 30));
    check(
        "bad above",
        &town(&[(USE, "wp")], Some("")).subject(service("ns").label(CANARY, "new")),
        &refused("CanaryInvalidWeight"),
    );
    check("no label, no second", &weighed_above().subject(service("ns").annotation(WEIGHT, "7")), ALONE);
}

#[test]
fn r63_r65_the_first_that_is_wrong_is_the_reason_and_the_first_waypoint_stays() {
    let rows: [Row; 8] = [
        ("the same", &[(CANARY, "wp")], "10", "CanarySameAsPrimary"),
        ("the same, with its namespace", &[(CANARY, "wp"), (CANARY_NS, "ns")], "10", "CanarySameAsPrimary"),
        ("the same, before the weight", &[(CANARY, "wp")], "x", "CanarySameAsPrimary"),
        ("the weight, before the rest", &[(CANARY, "absent")], "x", "CanaryInvalidWeight"),
        ("absent", &[(CANARY, "absent")], "10", "WaypointIsNotReady"),
        ("no address yet", &[(CANARY, "unready")], "10", "WaypointIsNotReady"),
        ("not admitted", &[(CANARY, "closed"), (CANARY_NS, "other")], "10", "AttachmentDenied"),
        ("for workloads", &[(CANARY, "for-workloads")], "0", "UnsupportedTrafficType"),
    ];
    for (what, labels, weight, reason) in rows {
        check(what, &town(&[], None).subject(own(labels, Some(weight))), &refused(reason));
    }
    for name in ["absent", "for-workloads"] {
        let reason = if name == "absent" { "WaypointIsNotReady" } else { "UnsupportedTrafficType" };
        let subject = service("ns").label(USE, name).label(CANARY, "new").annotation(WEIGHT, "x");
        check("a first that is refused says it all", &town(&[], None).subject(subject), &format!("direct {reason}"));
    }
}

#[test]
fn r63_the_same_name_elsewhere_is_another_waypoint() {
    let other = waypoint("other", "wp").only_listener(15008, "HBONE", Admits::from("All"));
    let subject = own(&[(CANARY, "wp"), (CANARY_NS, "other")], Some("10"));
    check("other/wp", &town(&[], None).gateway(other).subject(subject), &shared("other/wp", 10));
}

#[test]
fn r66_workloads_have_no_second_waypoint() {
    for kind in [pod, workload_entry, entry_endpoint] {
        let subject = kind("ns").label(USE, "wp").label(CANARY, "new").annotation(WEIGHT, "x");
        check("asked for", &town(&[], None).subject(subject), ALONE);
        check("inherited", &town(&[(USE, "wp"), (CANARY, "new")], Some("5")).subject(kind("ns")), ALONE);
    }
}

#[test]
fn r7_r70_a_second_without_a_usable_address_and_the_ingress_label() {
    let odd = waypoint("ns", "odd").without_addresses().ip("300.1.1.1");
    let subject = own(&[(CANARY, "odd"), (keys::INGRESS_USE_WAYPOINT, "true")], Some("10"));
    let expected = "ns/wp 0 90% ns/odd - 10% WaypointAccepted ingress";
    check("both bound", &town(&[], None).gateway(odd).subject(subject), expected);
}

#[test]
fn r67_q10_who_sees_an_entry_matters_to_its_second_waypoint_only_where_it_is_set() {
    let far = || own_entry().label(CANARY, "far").label(CANARY_NS, "other").annotation(WEIGHT, "10");
    let checked = |subject| town(&[], None).settings(r#"{"canary-visibility":"checked"}"#).subject(subject);
    check("as Istio", &town(&[], None).subject(far()), &shared("other/far", 10));
    check("checked", &checked(far()), &refused("CrossNamespaceWaypointForbidden"));
    check("its own", &checked(own_entry().label(CANARY, "new").annotation(WEIGHT, "10")), &shared("ns/new", 10));
    let public = own(&[(CANARY, "far"), (CANARY_NS, "other")], Some("10"));
    check("seen by all", &checked(public), &shared("other/far", 10));
    let foreign = own_entry().label(USE, "far").label(USE_NS, "other");
    check("the first, under either", &checked(foreign), "direct CrossNamespaceWaypointForbidden");
}

fn own_entry() -> SubjectDraft {
    service_entry("ns").visible_in_own_namespace().label(USE, "wp")
}

#[test]
fn r22_a_missing_namespace_says_nothing_about_it_either() {
    let mesh = mesh().gateway(waypoint("ns", "wp")).gateway(waypoint("ns", "new"));
    check("its own word counts", &mesh.subject(own(&[(CANARY, "new")], Some("5"))), &shared("ns/new", 5));
    let mut batch =
        town(&[(USE, "wp"), (CANARY, "new")], Some("5")).subject(service("ns").label(CANARY, "new")).batch();
    batch.namespaces[0].known = false;
    let decision = super::resolve(&batch).unwrap().remove(0);
    assert_eq!(super::shown(&batch, &decision), "direct", "nothing is inherited");
}

#[test]
fn what_is_declared_lets_a_host_find_both_waypoints() {
    use wayswitch_sdk::Source;
    let description = describe("").unwrap();
    let reference = description.references.iter().find(|it| it.name_label == CANARY).unwrap();
    assert_eq!((reference.namespace_label.as_deref(), reference.inherit), (Some(CANARY_NS), true));
    let reads = |at, key: &str| description.reads.iter().any(|read| read.at == at && read.key == key);
    for (label, annotation) in
        [(Source::SubjectLabel, Source::SubjectAnnotation), (Source::NamespaceLabel, Source::NamespaceAnnotation)]
    {
        assert!(reads(label, CANARY) && reads(label, CANARY_NS) && reads(annotation, WEIGHT));
        assert!(!reads(label, WEIGHT));
    }
}
