//! The floor under readings of `allowedRoutes`.

use std::sync::Arc;

use super::*;
use crate::decision::Target;
use crate::input::{Shared, SubjectKind};

fn listener(port: u32, protocol: &str, from: Option<&str>, selector: Option<u32>) -> ListenerInput {
    ListenerInput { port, protocol: protocol.into(), admits_from: from.map(Into::into), selector }
}

fn gateway(namespace: &str, listeners: Vec<ListenerInput>) -> GatewayInput {
    GatewayInput {
        key: GatewayKey::new(namespace, "w"),
        labels: Shared::new(Vec::new()),
        annotations: Shared::new(Vec::new()),
        class: None,
        listeners,
        addresses: Vec::new(),
        dialled_at: Vec::new(),
        endpoints: Vec::new(),
    }
}

/// The namespace `apps`, which the selector 7 matches.
fn apps() -> NamespaceInput {
    NamespaceInput {
        name: "apps".into(),
        known: true,
        labels: Shared::new(Vec::new()),
        annotations: Shared::new(Vec::new()),
        selected_by: vec![7],
    }
}

fn hbone(from: Option<&str>, selector: Option<u32>) -> ListenerInput {
    listener(15008, "HBONE", from, selector)
}

#[test]
fn some_listener_has_to_admit_the_namespace() {
    let rows = [
        ("apps", vec![], true, "no listener: its own namespace"),
        ("infra", vec![], false, "no listener: no other namespace"),
        ("infra", vec![hbone(Some("All"), None)], true, "all"),
        ("infra", vec![hbone(None, None)], false, "nothing said: its own namespace"),
        ("apps", vec![hbone(None, None)], true, "nothing said: its own namespace"),
        ("infra", vec![hbone(Some("Selector"), Some(7))], true, "a selector that matches"),
        ("infra", vec![hbone(Some("Selector"), Some(8))], false, "a selector that does not"),
        ("infra", vec![hbone(Some("Selector"), None)], false, "no selector matches nothing"),
        ("apps", vec![hbone(Some("Selector"), Some(8))], false, "not even its own namespace (R21)"),
        ("infra", vec![hbone(Some("None"), None)], false, "an unknown word is Same"),
        ("apps", vec![hbone(Some("None"), None)], true, "an unknown word is Same"),
        (
            "infra",
            vec![hbone(Some("Same"), None), listener(80, "HTTP", Some("All"), None)],
            true,
            "another could count",
        ),
        ("apps", vec![listener(80, "HTTP", Some("Selector"), Some(8))], true, "no tunnel listener: Same (R10 d)"),
    ];
    for (namespace, listeners, expected, why) in rows {
        assert_eq!(admits(&gateway(namespace, listeners), &apps()), expected, "{why}");
    }
}

fn through(gateways: &[&GatewayInput]) -> Decision {
    let target = |gateway: &&GatewayInput| Target {
        gateway: gateway.key.clone(),
        address: None,
        dial: Vec::new(),
        weight: 100 / u8::try_from(gateways.len()).unwrap(),
    };
    let targets: Arc<[Target]> = gateways.iter().map(target).collect();
    Decision::without_waypoint(Choice::Waypoints(targets), Some("WaypointAccepted"))
}

/// What is left of decisions through a waypoint that admits, one that does not, and both.
#[test]
fn a_decision_without_consent_gives_way_to_what_was_declared() {
    let (open, shut) = (gateway("open", vec![hbone(Some("All"), None)]), gateway("shut", vec![hbone(None, None)]));
    let decisions = [through(&[&open]), through(&[&shut]), through(&[&open, &shut])];
    let candidates = vec![Shared::new(open), Shared::new(shut)];
    let input = Input { candidates, ..Input::about(SubjectKind::Pod, apps()) };
    let [admitted, denied, half] = decisions;
    assert_eq!(apply(&input, admitted.clone(), &Choice::Blocked), admitted);
    for decision in [denied, half] {
        let left = apply(&input, decision, &Choice::Blocked);
        assert_eq!((left.choice, left.floor, left.reason.as_deref()), (Choice::Blocked, true, Some(ATTACHMENT_DENIED)));
    }
    let direct = Decision::without_waypoint(Choice::Direct, None);
    assert_eq!(apply(&input, direct.clone(), &Choice::Blocked), direct, "nobody's consent is needed");
}
