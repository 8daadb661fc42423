//! Every decision of a small universe, compared with the rules written down a second time, as plainly as they can be:
//! section 21 of the specification word for word, without sharing, short cuts or levels. Also over that universe: the
//! explanation agrees, the rest of the batch does not matter, and what the edits promise is true.

use wayswitch_sdk::test::{
    Admits, GatewayDraft, Mesh, SubjectDraft, entry_endpoint, gateway, implied_endpoint, mesh, pod, service,
    service_entry, slice_endpoint, waypoint, workload_entry,
};
use wayswitch_sdk::{Batch, Edit, Gateway, Level, Namespace, Pair, SubjectKind, Visibility};

use super::super::{describe, explain, keys, resolve};
use super::shown;

type Labels = Vec<(&'static str, &'static str)>;

fn wishes() -> Vec<Labels> {
    let mut all = vec![vec![], vec![(keys::USE_WAYPOINT, "none")], vec![(keys::USE_WAYPOINT, "")]];
    for name in ["wp", "b", "absent"] {
        all.push(vec![(keys::USE_WAYPOINT, name)]);
        all.push(vec![(keys::USE_WAYPOINT, name), (keys::USE_WAYPOINT_NAMESPACE, "other")]);
    }
    all
}

/// Shapes of the waypoint `wp`; `b` stays as it is.
fn shapes(namespace: &str) -> Vec<GatewayDraft> {
    let wp = || waypoint(namespace, "wp");
    let admitting = |admits| wp().only_listener(15008, "HBONE", admits).label(keys::WAYPOINT_FOR, "all");
    vec![
        wp(),
        wp().without_addresses(),
        wp().label(keys::WAYPOINT_FOR, "workload"),
        wp().label(keys::WAYPOINT_FOR, "none"),
        wp().class("c", &[(keys::WAYPOINT_FOR, "all")]),
        admitting(Admits::from("All")),
        admitting(Admits::selected(&["ns"])),
        admitting(Admits::selected(&["other"])),
        admitting(Admits::from("Selector")),
        gateway(namespace, "wp").ip("x").ip("10.0.0.1").annotation(keys::INBOUND_BINDING, "PROXY/1"),
    ]
}

fn subjects() -> Vec<SubjectDraft> {
    let kinds = [service, service_entry, pod, workload_entry, entry_endpoint, implied_endpoint, slice_endpoint];
    let mut all: Vec<_> = kinds.iter().map(|kind| kind("ns")).collect();
    all.push(service_entry("ns").visible_in_own_namespace());
    all.push(service("ns").label(keys::MANAGED, keys::MESH_CONTROLLER));
    all.push(pod("ns").label(keys::GATEWAY_NAME, "wp"));
    all.push(service("ns").label(keys::INGRESS_USE_WAYPOINT, "true"));
    all.push(pod("ns").labels_unknown());
    all
}

/// 9 wishes x 10 of the namespace x 10 shapes x 2 places x 2 settings, each with 12 subjects in one batch.
fn each_mesh(mut see: impl FnMut(Mesh)) {
    let namespaces = wishes().into_iter().map(Some).chain([None]);
    for said in namespaces {
        for (place, shape) in
            ["ns", "other"].into_iter().flat_map(|place| shapes(place).into_iter().map(move |it| (place, it)))
        {
            for settings in ["", r#"{"unbound":"blocked"}"#] {
                for own in wishes() {
                    let b = waypoint(place, "b")
                        .only_listener(15008, "HBONE", Admits::from("All"))
                        .label(keys::WAYPOINT_FOR, "all");
                    let town = mesh().settings(settings).gateway(shape.clone()).gateway(b).namespace("other", &[]);
                    let town = said.iter().fold(town, |town, labels| town.namespace("ns", labels));
                    let label =
                        |subject: SubjectDraft| own.iter().fold(subject, |it, (key, value)| it.label(key, value));
                    let unknown = pod("ns").labels_unknown();
                    let all = subjects().into_iter().take(11).map(label).chain([unknown]);
                    see(all.fold(town, Mesh::subject));
                }
            }
        }
    }
}

fn find<'a>(pairs: &'a [Pair], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

/// Q: which traffic, as the specification's pseudocode has it.
fn kind_of(gateway: &Gateway) -> &str {
    let class = gateway.gateway_class.as_ref().and_then(|class| find(&class.labels, keys::WAYPOINT_FOR));
    find(&gateway.labels, keys::WAYPOINT_FOR).or(class).unwrap_or("service")
}

fn admitted(gateway: &Gateway, namespace: &Namespace) -> bool {
    let listener = gateway.listeners.iter().find(|it| it.port == 15008 && it.app_protocol == "HBONE");
    match listener.and_then(|listener| listener.admits_from.as_deref()) {
        Some("All") => true,
        Some("Selector") => {
            let selector = listener.and_then(|listener| listener.selector);
            namespace.selected_by.iter().any(|id| Some(*id) == selector)
        }
        _ => gateway.namespace == namespace.name,
    }
}

/// The expected line for one subject.
fn oracle(batch: &Batch, at: usize, blocked: bool) -> String {
    let subject = &batch.subjects[at];
    let namespace = &batch.namespaces[subject.namespace as usize];
    let in_set = |ns: &str, name: &str| {
        batch.gateways.iter().find(|it| it.namespace == ns && it.name == name && !it.addresses.is_empty())
    };
    if matches!(subject.kind, SubjectKind::ImpliedEndpoint | SubjectKind::SliceEndpoint) {
        return "direct".to_owned();
    }
    let Some(labels) = &subject.labels else {
        return "keep".to_owned();
    };
    let is_service = matches!(subject.kind, SubjectKind::Service | SubjectKind::ServiceEntry);
    if is_service && find(labels, keys::MANAGED) == Some(keys::MESH_CONTROLLER) {
        return "direct".to_owned();
    }
    if !is_service
        && let Some(instance) = find(labels, keys::GATEWAY_NAME).and_then(|name| in_set(&namespace.name, name))
    {
        let tunnel = find(&instance.annotations, keys::INBOUND_BINDING).map_or("", |_| " tunnel PROXY/1");
        return format!("direct{tunnel}");
    }
    let explicit = find(labels, keys::USE_WAYPOINT).is_some();
    let from = if explicit { labels } else { &namespace.labels };
    let refused = |reason: &str| format!("{} {reason}", if blocked { "blocked" } else { "direct" });
    let name = match find(from, keys::USE_WAYPOINT) {
        None | Some("none") => return "direct".to_owned(),
        Some(name) => name,
    };
    let Some(found) = in_set(find(from, keys::USE_WAYPOINT_NAMESPACE).unwrap_or(&namespace.name), name) else {
        return refused("WaypointIsNotReady");
    };
    if !admitted(found, namespace) {
        return refused("AttachmentDenied");
    }
    let wanted = if is_service { "service" } else { "workload" };
    if ![wanted, "all"].contains(&kind_of(found)) {
        return if is_service || explicit { refused("UnsupportedTrafficType") } else { "direct".to_owned() };
    }
    if subject.visibility == Visibility::OwnNamespace && found.namespace != namespace.name {
        return refused("CrossNamespaceWaypointForbidden");
    }
    let address = found.addresses.iter().position(|it| it.kind.as_deref() == Some("Hostname")).unwrap_or(1);
    let address = if found.addresses.len() == 1 { 0 } else { address };
    let ingress = is_service && find(labels, keys::INGRESS_USE_WAYPOINT) == Some("true");
    let ingress = if ingress { " ingress" } else { "" };
    format!("{}/{} {address} WaypointAccepted{ingress}", found.namespace, found.name)
}

/// The batch with only one of its subjects.
fn alone(batch: &Batch, at: usize) -> Batch {
    Batch { subjects: vec![batch.subjects[at].clone()], ..batch.clone() }
}

#[test]
fn every_decision_is_what_the_rules_say_and_its_explanation_says_the_same() {
    let description = describe("").unwrap();
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    each_mesh(|mesh| {
        let batch = mesh.batch_for(&description);
        let decisions = resolve(&batch).unwrap();
        assert_eq!(decisions.len(), batch.subjects.len());
        for (at, decision) in decisions.iter().enumerate() {
            let expected = oracle(&batch, at, !batch.settings.is_empty());
            assert_eq!(shown(&batch, decision), expected, "{:#?}", alone(&batch, at));
            *seen.entry(expected.clone()).or_default() += 1;
            let alone = alone(&batch, at);
            assert_eq!(
                resolve(&alone).unwrap(),
                std::slice::from_ref(decision),
                "the rest of the batch matters: {alone:#?}"
            );
            let explained = explain(&alone).unwrap();
            assert_eq!(&explained.decision, decision);
            let decisive = explained.findings.iter().filter(|finding| finding.decisive).count();
            assert_eq!(decisive, 1, "{:#?}", explained.findings);
        }
    });
    for reason in
        ["WaypointAccepted", "WaypointIsNotReady", "AttachmentDenied", "UnsupportedTrafficType", "CrossNamespace"]
    {
        assert!(seen.keys().any(|line| line.contains(reason)), "the universe has no {reason}: {seen:?}");
    }
    assert!(seen.keys().any(|line| line.contains("tunnel")) && seen.keys().any(|line| line.contains("ingress")));
}

/// Makes the edit in the batch, as the host does before it shows it.
fn apply(batch: &mut Batch, edit: &Edit) {
    let set = |pairs: &mut Vec<Pair>| {
        pairs.retain(|pair| pair.key != edit.key);
        pairs.extend(edit.value.iter().map(|value| Pair { key: edit.key.clone(), value: value.clone() }));
        pairs.sort_by(|a, b| a.key.cmp(&b.key));
    };
    let gateway = edit.gateway.map(|index| index as usize);
    match edit.at {
        Level::Subject => set(batch.subjects[0].labels.as_mut().unwrap()),
        Level::Gateway => set(&mut batch.gateways[gateway.unwrap()].labels),
        Level::Settings => batch.settings = format!("{{\"{}\":\"{}\"}}", edit.key, edit.value.as_ref().unwrap()),
        Level::Listener => {
            assert_eq!(edit.key, "allowedRoutes.namespaces.from");
            batch.gateways[gateway.unwrap()].listeners[0].admits_from = edit.value.clone();
        }
        other => panic!("no edit is made at {other:?}"),
    }
}

#[test]
fn every_edit_changes_the_decision_and_those_for_the_owner_take_the_reason_away() {
    let description = describe("").unwrap();
    let mut made = 0;
    each_mesh(|mesh| {
        // All Gateways are candidates here, so that a changed reference finds what it then names.
        let batch = Batch { subjects: mesh.batch().subjects, ..mesh.batch_for(&description) };
        for at in 0..batch.subjects.len() {
            let before = alone(&batch, at);
            let explained = explain(&before).unwrap();
            for edit in &explained.edits {
                let mut after = before.clone();
                apply(&mut after, edit);
                let decision = resolve(&after).unwrap().remove(0);
                made += 1;
                let inherits_the_same = edit.at == Level::Subject && edit.value.is_none();
                assert!(decision != explained.decision || inherits_the_same, "{edit:?} changes nothing: {before:#?}");
                if matches!(edit.at, Level::Gateway | Level::Listener) {
                    assert_ne!(decision.reason, explained.decision.reason, "{edit:?} {before:#?}");
                }
            }
        }
    });
    assert!(made > 1_000, "only {made} edits");
}
