//! What is chosen where, natively.

use wayswitch_sdk::test::{Mesh, mesh, service, waypoint};
use wayswitch_sdk::{Locality, Node};

use super::*;

fn at(zone: &str) -> Locality {
    Locality {
        region: zone.split('-').next().unwrap_or_default().to_owned(),
        zone: zone.to_owned(),
        subzone: String::new(),
    }
}

fn node(zone: &str) -> Node {
    Node { name: "n".to_owned(), locality: at(zone), labels: Vec::new() }
}

/// Zones, and how many endpoints are ready in each.
type Ready = &'static [(&'static str, u32)];

/// A service bound to `first`, with `second` as a canary of weight 0; each has endpoints where it is said.
fn two(first: Ready, second: Ready, zone: &str) -> Mesh {
    let endpoints = |of: Ready| of.iter().map(|(zone, ready)| (at(zone), *ready)).collect::<Vec<_>>();
    let labels = [
        ("istio.io/use-waypoint", "first"),
        ("istio.io/use-waypoint-canary", "second"),
        ("istio.io/use-waypoint-canary-weight", "0"),
    ];
    let subject = labels.into_iter().fold(service("shop"), |it, (key, value)| it.label(key, value));
    mesh()
        .node(node(zone))
        .namespace("shop", &[])
        .gateway(waypoint("shop", "first").endpoints(&endpoints(first)))
        .gateway(waypoint("shop", "second").endpoints(&endpoints(second)))
        .subject(subject)
}

/// The waypoint of the only subject, with its reason.
fn chosen(mesh: &Mesh) -> (Vec<String>, Option<String>) {
    let batch = mesh.batch_for(&describe("").unwrap());
    let decision = resolve(&batch).unwrap().remove(0);
    let explained = explain(&batch).unwrap();
    assert_eq!(explained.decision, decision, "the explanation is of another decision");
    assert_eq!(explained.findings.iter().filter(|it| it.decisive).count(), 1);
    let name = |target: &Target| batch.gateway(target.gateway).unwrap().name.clone();
    let Choice::Waypoints(targets) = &decision.choice else { return (Vec::new(), decision.reason) };
    (targets.iter().map(name).collect(), decision.reason)
}

#[test]
fn the_nearest_with_ready_endpoints_is_chosen() {
    // Where the first is, where the second, where the node; what is chosen, and why.
    type Story = (Ready, Ready, &'static str, &'static [&'static str], &'static str);
    let (accepted, zone, region) = ("WaypointAccepted", IN_ZONE, IN_REGION);
    let rows: [Story; 9] = [
        (&[("eu-1", 1)], &[("eu-2", 1)], "eu-1", &["first"], accepted),
        (&[("eu-1", 1)], &[("eu-2", 1)], "eu-2", &["second"], zone),
        (&[("eu-1", 1)], &[("us-1", 1)], "us-9", &["second"], region),
        (&[("eu-1", 1)], &[("eu-2", 1)], "eu-3", &["first"], accepted),
        (&[("eu-1", 1)], &[("eu-2", 0)], "eu-2", &["first"], accepted),
        (&[("eu-1", 0)], &[("eu-2", 1)], "eu-1", &["second"], region),
        (&[("us-1", 3), ("eu-1", 1)], &[("eu-1", 9)], "eu-1", &["first"], accepted),
        (&[("eu-1", 1)], &[("eu-2", 1)], "as-1", &["first", "second"], accepted),
        (&[("eu-1", 1)], &[("eu-2", 1)], "", &["first", "second"], accepted),
    ];
    for (first, second, node, expected, reason) in rows {
        let (names, why) = chosen(&two(first, second, node));
        assert_eq!(
            (names, why.as_deref()),
            (expected.iter().map(|it| (*it).to_owned()).collect(), Some(reason)),
            "{node}"
        );
    }
}

#[test]
fn only_what_is_programmed_is_chosen_from() {
    let both = two(&[("eu-1", 1)], &[("eu-2", 1)], "eu-2");
    let programmed = |names: &[&str]| {
        let batch = both.clone().upstream(names);
        chosen(&batch)
    };
    assert_eq!(programmed(&["first"]).0, ["first"]);
    assert_eq!(programmed(&["first", "second"]).0, ["second"]);
    assert_eq!(programmed(&[]).0, ["first", "second"], "nothing is: what the rules say, and the host has its floor");
}

#[test]
fn a_mesh_without_labels_is_kept_unless_another_is_nearer() {
    let unknown = |names: &[&str], zone: &str| {
        let mesh = two(&[("eu-1", 1)], &[("eu-2", 1)], zone).unlabelled().upstream(names);
        let batch = mesh.batch_for(&describe("").unwrap());
        resolve(&batch).unwrap().remove(0)
    };
    assert_eq!(unknown(&["first", "second"], "eu-1"), Decision::keep());
    assert_eq!(unknown(&["first"], "eu-2"), Decision::keep());
    let second = unknown(&["first", "second"], "eu-2");
    assert_eq!((second.reason.as_deref(), second.choice != Choice::Keep), (Some(IN_ZONE), true));
}

#[test]
fn what_istio_refuses_stays_refused() {
    let mesh = mesh()
        .node(node("eu-1"))
        .namespace("shop", &[])
        .gateway(waypoint("shop", "near").endpoints(&[(at("eu-1"), 3)]))
        .subject(service("shop").label("istio.io/use-waypoint", "missing"))
        .upstream(&["near"]);
    assert_eq!(chosen(&mesh).0, Vec::<String>::new());
}
