//! What older releases of Istio did otherwise: each rule that moved, below and above the release it moved in.

use wayswitch_sdk::test::{Admits, Mesh, SubjectDraft, gateway, mesh, pod, service, service_entry, waypoint};
use wayswitch_sdk::{Reach, Source};

use super::super::{describe, keys, version};
use super::{BOUND, USE, USE_NS, check};

/// Checks the mesh at every level: before `since` it is one line, from there on the other.
fn moved(since: u8, what: &str, mesh: &Mesh, before: &str, after: &str) {
    for (word, minor) in version::MINORS {
        let mesh = mesh.clone().settings(&format!(r#"{{"istio":"{word}"}}"#));
        let expected = if minor < since { before } else { after };
        check(&format!("{what}, at {word}"), &mesh, expected);
    }
}

fn town() -> Mesh {
    mesh()
        .namespace("ns", &[(USE, "wp")])
        .namespace("other", &[])
        .gateway(waypoint("ns", "wp").without_addresses().ip("10.0.0.1").label(keys::WAYPOINT_FOR, "all"))
        .gateway(
            waypoint("other", "far").without_addresses().ip("10.0.0.2").label(keys::WAYPOINT_FOR, "all").only_listener(
                15008,
                "HBONE",
                Admits::from("All"),
            ),
        )
}

fn asking(value: &str) -> SubjectDraft {
    pod("ns").label(USE, value)
}

#[test]
fn section_18_the_levels_are_those_of_the_table_and_the_newest_is_the_default() {
    assert_eq!(version::MINORS.map(|(_, minor)| minor), std::array::from_fn(|at| 22 + u8::try_from(at).unwrap()));
    for (word, minor) in version::MINORS {
        assert_eq!(word, format!("1.{minor}"));
    }
    let newest = describe(r#"{"istio":"1.31"}"#).unwrap();
    assert_eq!(describe("").unwrap(), newest);
}

#[test]
fn r15_until_1_22_a_reference_is_one_value() {
    let not_ready = "direct WaypointIsNotReady";
    let far = "other/far 0 WaypointAccepted";
    moved(23, "namespace and name", &town().subject(asking("other/far")), far, not_ready);
    moved(23, "an empty name", &town().subject(asking("other/")), not_ready, not_ready);
    moved(23, "an empty namespace", &town().subject(asking("/wp")), not_ready, not_ready);
    moved(23, "a label beside it", &town().subject(asking("far").label(USE_NS, "other")), not_ready, far);
    moved(23, "a name alone", &town().subject(asking("wp")), BOUND, BOUND);
    moved(23, "none", &town().subject(asking("none")), "direct", "direct");
    for value in ["~", "ns/none", "a/b/none", "/none"] {
        moved(23, value, &town().subject(asking(value)), "direct", not_ready);
    }
    moved(23, "more than one slash", &town().subject(asking("a/b/c")), BOUND, not_ready);
    let malformed = || mesh().namespace("ns", &[(USE, "a/b/c")]).gateway(waypoint("ns", "wp"));
    moved(23, "more than one slash above", &malformed().subject(pod("ns")), "direct", not_ready);
    moved(23, "the namespace's word", &malformed().subject(asking("a/b/c")), "direct", not_ready);
}

#[test]
fn r15_at_1_22_every_gateway_is_a_candidate_for_no_reference_can_say_which() {
    for (word, minor) in version::MINORS {
        let description = describe(&format!(r#"{{"istio":"{word}"}}"#)).unwrap();
        assert_eq!(description.reach == Reach::All, minor < 23, "{word}");
        let used = description.references.iter().any(|reference| reference.name_label == USE);
        assert_eq!(used, minor >= 23, "{word}");
    }
}

#[test]
fn only_what_a_level_reads_is_declared() {
    let since = [
        (keys::USE_WAYPOINT_NAMESPACE, Source::SubjectLabel, 23),
        (keys::USE_WAYPOINT_NAMESPACE, Source::NamespaceLabel, 23),
        (keys::INGRESS_USE_WAYPOINT, Source::SubjectLabel, 24),
        (keys::INGRESS_USE_WAYPOINT, Source::NamespaceLabel, 25),
        (keys::CANARY, Source::SubjectLabel, 31),
        (keys::CANARY_NAMESPACE, Source::NamespaceLabel, 31),
        (keys::CANARY_WEIGHT, Source::NamespaceAnnotation, 31),
    ];
    for (word, minor) in version::MINORS {
        let description = describe(&format!(r#"{{"istio":"{word}"}}"#)).unwrap();
        for (key, at, since) in since {
            let read = description.reads.iter().any(|read| read.at == at && read.key == key);
            assert_eq!(read, minor >= since, "{key} at {word}");
        }
        let canary = description.references.iter().any(|reference| reference.name_label == keys::CANARY);
        assert_eq!(canary, minor >= 31, "{word}");
    }
}

#[test]
fn r11_until_1_22_nobody_asks_whom_a_waypoint_admits() {
    let closed = waypoint("other", "closed").without_addresses().ip("10.0.0.3").label(keys::WAYPOINT_FOR, "all");
    let subject = pod("ns").label(USE, "other/closed").label(USE_NS, "other");
    let town = mesh().namespace("ns", &[]).gateway(closed);
    moved(23, "closed", &town.clone().subject(subject), "other/closed 0 WaypointAccepted", "direct WaypointIsNotReady");
    let subject = service("ns").label(USE, "wp");
    let picky = waypoint("ns", "wp").without_addresses().ip("10.0.0.4");
    let picky = picky.only_listener(15008, "HBONE", Admits::selected(&["other"]));
    moved(23, "its own namespace", &town.gateway(picky).subject(subject), BOUND, "direct AttachmentDenied");
}

#[test]
fn r5_until_1_23_an_address_is_an_ip() {
    let wp = waypoint("ns", "wp").ip("10.0.0.1");
    let town = mesh().namespace("ns", &[(USE, "wp")]).gateway(wp).subject(service("ns"));
    moved(24, "both", &town, "ns/wp 1 WaypointAccepted", BOUND);
    let town = mesh().namespace("ns", &[(USE, "wp")]).gateway(waypoint("ns", "wp")).subject(service("ns"));
    moved(24, "a hostname alone", &town, "ns/wp - WaypointAccepted", BOUND);
}

#[test]
fn r70_the_ingress_label_came_for_objects_and_then_for_namespaces() {
    let label = (keys::INGRESS_USE_WAYPOINT, "true");
    let through = "ns/wp 0 WaypointAccepted ingress";
    moved(24, "its own", &town().subject(service("ns").label(label.0, label.1)), BOUND, through);
    let wp = waypoint("ns", "wp").without_addresses().ip("10.0.0.1");
    let town = mesh().namespace("ns", &[(USE, "wp"), label]).gateway(wp);
    moved(25, "the namespace's", &town.clone().subject(service("ns")), BOUND, through);
    let no = service("ns").label(label.0, "false");
    moved(25, "its own word first", &town.subject(no), BOUND, BOUND);
}

#[test]
fn r10_until_1_25_the_listener_for_hbone_counts_whatever_is_bound() {
    let sandwich = |bound, hbone| {
        let draft = gateway("other", "wp").ip("10.0.0.1").annotation(keys::INBOUND_BINDING, "PROXY/15088");
        let draft = draft.listener(15088, "istio.io/PROXY", bound).listener(15008, "HBONE", hbone);
        let subject = service("ns").label(USE, "wp").label(USE_NS, "other");
        mesh().namespace("ns", &[]).namespace("other", &[]).gateway(draft).subject(subject)
    };
    let (yes, no) = ("other/wp 0 WaypointAccepted", "direct AttachmentDenied");
    let open = || Admits::from("All");
    // Below 1.23 the reference is another; that is tested above.
    let from_1_23 = |what, mesh: Mesh, before, after| {
        for (word, minor) in version::MINORS.into_iter().filter(|(_, minor)| *minor >= 23) {
            let mesh = mesh.clone().settings(&format!(r#"{{"istio":"{word}"}}"#));
            check(what, &mesh, if minor < 26 { before } else { after });
        }
    };
    from_1_23("the bound one is open", sandwich(open(), Admits::Unsaid), no, yes);
    from_1_23("the other is open", sandwich(Admits::Unsaid, open()), yes, no);
    let instance = gateway("ns", "wp").ip("10.0.0.1").annotation(keys::INBOUND_BINDING, "PROXY/15088");
    let instance = mesh().namespace("ns", &[]).gateway(instance).subject(pod("ns").label(keys::GATEWAY_NAME, "wp"));
    moved(22, "R45: the tunnel is of all of them", &instance, "", "direct tunnel PROXY/15088");
}

#[test]
fn r47_until_1_29_a_pod_is_refused_what_it_only_inherited() {
    let wp = || waypoint("ns", "wp").without_addresses().ip("10.0.0.1");
    let town = mesh().namespace("ns", &[(USE, "wp")]).gateway(wp());
    let typed = "direct UnsupportedTrafficType";
    moved(30, "inherited", &town.clone().subject(pod("ns")), typed, "direct");
    moved(30, "its own", &town.clone().subject(asking("wp")), typed, typed);
    let blocked = town.settings(r#"{"unbound":"blocked","istio":"1.29"}"#).subject(pod("ns"));
    check("blocked with the rest", &blocked, "blocked UnsupportedTrafficType");
}

#[test]
fn r30_r60_until_1_30_neither_visibility_nor_a_second_waypoint() {
    let wp = || waypoint("ns", "wp").without_addresses().ip("10.0.0.1").label(keys::WAYPOINT_FOR, "all");
    let new = waypoint("ns", "new").without_addresses().ip("10.0.0.2");
    let subject = service("ns").label(USE, "wp").label(keys::CANARY, "new").annotation(keys::CANARY_WEIGHT, "10");
    let second = mesh().namespace("ns", &[]).gateway(wp()).gateway(new).subject(subject);
    moved(31, "canary", &second, BOUND, "ns/wp 0 90% ns/new 0 10% WaypointAccepted");
    let bad = service("ns").label(USE, "wp").label(keys::CANARY, "wp");
    let bad = mesh().namespace("ns", &[]).gateway(wp()).subject(bad);
    moved(31, "nor its errors", &bad, BOUND, "ns/wp 0 WaypointAccepted second CanarySameAsPrimary");
    let entry = service_entry("ns").visible_in_own_namespace().label(USE, "far").label(USE_NS, "other");
    for (word, minor) in version::MINORS.into_iter().filter(|(_, minor)| *minor >= 23) {
        let mesh = town().settings(&format!(r#"{{"istio":"{word}"}}"#)).subject(entry.clone());
        let forbidden = "direct CrossNamespaceWaypointForbidden";
        check(word, &mesh, if minor < 31 { "other/far 0 WaypointAccepted" } else { forbidden });
    }
}
