//! Every decision of a small universe, compared with the oracle: all of it under the default settings, and samples of a much
//! larger one in which everything varies. Also there: the explanation agrees, nothing undeclared and nothing else in the
//! batch matters, and what the edits promise is true.

use std::collections::BTreeMap;

use wayswitch_sdk::test::{
    Admits, GatewayDraft, Mesh, SubjectDraft, entry_endpoint, gateway, implied_endpoint, mesh, pod, service,
    service_entry, slice_endpoint, waypoint, workload_entry,
};
use wayswitch_sdk::{Batch, Choice, Decision, Description};

use super::super::{describe, explain, keys, resolve};
use super::oracle::{Asked, Terms};
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

/// Values that only mean something to Istio 1.22.
fn old_wishes() -> Vec<Labels> {
    let value = |value| vec![(keys::USE_WAYPOINT, value)];
    ["ns/wp", "other/wp", "other/b", "~", "other/none", "a/b/c"].map(value).to_vec()
}

fn canaries() -> Vec<Labels> {
    let mut all = vec![vec![], vec![], vec![(keys::CANARY, "")], vec![(keys::CANARY, "none")]];
    for name in ["wp", "b", "absent"] {
        all.push(vec![(keys::CANARY, name)]);
        all.push(vec![(keys::CANARY, name), (keys::CANARY_NAMESPACE, "other")]);
    }
    all
}

const WEIGHTS: [Option<&str>; 6] = [None, Some("0"), Some("+10"), Some("100"), Some("101"), Some("x")];
const REQUIRED: [Option<&str>; 8] =
    [None, None, Some("service"), Some("workload"), Some("true"), Some("none"), Some("false"), Some("?")];
const INGRESS: [Option<&str>; 4] = [None, None, Some("true"), Some("no")];
const MANAGED: [Option<&str>; 5] =
    [None, None, None, Some(keys::EAST_WEST_CONTROLLER), Some("istio.io-agentgateway-waypoint-controller")];

/// What a Gateway may look like.
fn shapes(namespace: &str, name: &str) -> Vec<GatewayDraft> {
    let wp = || waypoint(namespace, name);
    let admitting = |admits| wp().only_listener(15008, "HBONE", admits).label(keys::WAYPOINT_FOR, "all");
    let sandwich = |binding: &str, bound, hbone| {
        let draft = gateway(namespace, name).ip("10.0.0.2").annotation(keys::INBOUND_BINDING, binding);
        let draft = draft.listener(1, "istio.io/PROXY", bound).listener(15008, "HBONE", hbone);
        draft.label(keys::WAYPOINT_FOR, "all")
    };
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
        gateway(namespace, name).ip("x").ip("10.0.0.1").annotation(keys::INBOUND_BINDING, "PROXY/1"),
        sandwich("PROXY", Admits::from("All"), Admits::Unsaid),
        sandwich("PROXY/1", Admits::Unsaid, Admits::from("All")),
        wp().only_listener(80, "HTTP", Admits::from("All")).label(keys::WAYPOINT_FOR, "all").ip("10.0.0.3"),
    ]
}

fn subjects() -> Vec<SubjectDraft> {
    let kinds = [service, service_entry, pod, workload_entry, entry_endpoint, implied_endpoint, slice_endpoint];
    let mut all: Vec<_> = kinds.iter().map(|kind| kind("ns")).collect();
    all.push(service_entry("ns").visible_in_own_namespace());
    all.push(service("ns").label(keys::MANAGED, keys::MESH_CONTROLLER));
    all.push(pod("ns").label(keys::GATEWAY_NAME, "wp"));
    all.push(service("ns").label(keys::INGRESS_USE_WAYPOINT, "true"));
    all
}

fn labelled<'a>(subject: SubjectDraft, labels: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> SubjectDraft {
    labels.into_iter().fold(subject, |it, (key, value)| it.label(key, value))
}

/// 9 wishes x 10 of the namespace x 13 shapes x 2 places, with 12 subjects each.
fn each_by_default(mut see: impl FnMut(&Terms, Mesh, Vec<SubjectDraft>)) {
    let terms = Terms { minor: 31, ..Terms::default() };
    let namespaces = wishes().into_iter().map(Some).chain([None]);
    for said in namespaces {
        let shapes =
            ["ns", "other"].into_iter().flat_map(|place| shapes(place, "wp").into_iter().map(move |it| (place, it)));
        for (place, shape) in shapes {
            for own in wishes() {
                let b = waypoint(place, "b").only_listener(15008, "HBONE", Admits::from("All"));
                let b = b.label(keys::WAYPOINT_FOR, "all");
                let town = mesh().gateway(shape.clone()).gateway(b).namespace("other", &[]);
                let town = said.iter().fold(town, |town, labels| town.namespace("ns", labels));
                let unknown = pod("ns").labels_unknown();
                let all = subjects().into_iter().map(|subject| labelled(subject, &own)).chain([unknown]);
                see(&terms, town, all.collect());
            }
        }
    }
}

/// Chance from a seed: the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn terms(&mut self) -> Terms {
        let minor = if self.one_in(2) { 31 } else { 22 + u8::try_from(self.below(10)).unwrap() };
        let [blocked, bypass, ignored, all_gateways, checked] = std::array::from_fn(|_| self.one_in(3));
        Terms { minor, blocked, bypass, ignored, all_gateways, checked }
    }

    /// What one object says, of everything that counts; no wish for a first waypoint twice as often as each other one.
    fn labels(&mut self, minor: u8) -> Labels {
        let mut wishes = wishes();
        wishes.push(vec![]);
        wishes.extend(old_wishes().into_iter().filter(|_| minor == 22));
        let mut labels = self.pick(&wishes);
        labels.extend(self.pick(&canaries()));
        labels.extend(self.pick(&REQUIRED).map(|value| (keys::REQUIRED, value)));
        labels.extend(self.pick(&INGRESS).map(|value| (keys::INGRESS_USE_WAYPOINT, value)));
        labels
    }
}

/// Samples of a universe in which everything varies that a rule looks at.
fn each_sample(count: u32, mut see: impl FnMut(&Terms, Mesh, Vec<SubjectDraft>)) {
    let mut dice = Dice(0x5eed);
    for _ in 0..count {
        let terms = dice.terms();
        let mut town = mesh().settings(&terms.text()).namespace("other", &[]);
        for (place, name) in [("ns", "wp"), ("ns", "b"), ("other", "wp"), ("other", "b")] {
            let shape = dice.pick(&shapes(place, name));
            town = if dice.one_in(4) { town } else { town.gateway(shape) };
        }
        if !dice.one_in(10) {
            town = town.namespace("ns", &dice.labels(terms.minor));
            town = dice
                .pick(&WEIGHTS)
                .iter()
                .fold(town, |it, weight| it.namespace_annotation(keys::CANARY_WEIGHT, weight));
        }
        let mut asked = Vec::new();
        for subject in subjects().into_iter().chain([service("ns"), service_entry("ns")]) {
            let subject = labelled(subject, &dice.labels(terms.minor));
            let subject = dice.pick(&MANAGED).iter().fold(subject, |it, by| it.label(keys::MANAGED, by));
            asked.push(
                dice.pick(&WEIGHTS).iter().fold(subject, |it, weight| it.annotation(keys::CANARY_WEIGHT, weight)),
            );
        }
        see(&terms, town, asked);
    }
}

fn batch_of(town: &Mesh, subjects: &[SubjectDraft], description: &Description) -> Batch {
    subjects.iter().cloned().fold(town.clone(), Mesh::subject).batch_for(description)
}

/// One decision, by every way there is to it.
fn check(
    terms: &Terms,
    town: &Mesh,
    subject: &SubjectDraft,
    decision: &Decision,
    together: &Batch,
    at: usize,
) -> String {
    let line = shown(together, decision);
    let asked = Asked { batch: together, subject: &together.subjects[at], terms };
    assert_eq!(
        line,
        asked.line(),
        "{terms:?} {:#?}",
        Batch { subjects: vec![together.subjects[at].clone()], ..together.clone() }
    );

    let description = describe(&terms.text()).unwrap();
    let alone = batch_of(town, std::slice::from_ref(subject), &description);
    let by_itself = resolve(&alone).unwrap();
    assert_eq!(shown(&alone, &by_itself[0]), line, "the rest of the batch matters: {alone:#?}");
    let everything = town.clone().subject(subject.clone()).batch();
    assert_eq!(shown(&everything, &resolve(&everything).unwrap()[0]), line, "it reads what it does not declare");

    let explained = explain(&alone).unwrap();
    assert_eq!(explained.decision, by_itself[0]);
    let decisive = explained.findings.iter().filter(|finding| finding.decisive).count();
    assert_eq!(decisive, 1, "{:#?}", explained.findings);

    for reason in decision.reason.iter().chain(&decision.second_reason) {
        let camel = reason.starts_with(|c: char| c.is_ascii_uppercase()) && reason.len() <= 64;
        assert!(camel && reason.chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
    }
    if let Choice::Waypoints(targets) = &decision.choice {
        assert_eq!(targets.iter().map(|target| target.weight).sum::<u32>(), 100);
    }
    line
}

fn check_all(seen: &mut BTreeMap<String, u32>, terms: &Terms, town: &Mesh, subjects: &[SubjectDraft]) {
    let together = batch_of(town, subjects, &describe(&terms.text()).unwrap());
    let decisions = resolve(&together).unwrap();
    assert_eq!(decisions.len(), subjects.len());
    for (at, (subject, decision)) in subjects.iter().zip(&decisions).enumerate() {
        *seen.entry(check(terms, town, subject, decision, &together, at)).or_default() += 1;
        // Blocked is never Istio's own idea.
        let label = |pairs: &[wayswitch_sdk::Pair]| pairs.iter().any(|pair| pair.key == keys::REQUIRED);
        let asked = &together.subjects[at];
        let labelled = asked.labels.as_deref().is_some_and(label);
        let labelled = labelled || label(&together.namespaces[asked.namespace as usize].labels);
        let declared = terms.blocked || (labelled && !terms.ignored);
        assert!(declared || decision.choice != Choice::Blocked, "blocked without being told to");
    }
}

fn all_seen(seen: &BTreeMap<String, u32>, parts: &[&str]) {
    for part in parts {
        assert!(seen.keys().any(|line| line.contains(part)), "the universe has no {part}: {seen:?}");
    }
}

const REASONS: [&str; 5] = [
    "WaypointAccepted",
    "direct WaypointIsNotReady",
    "direct AttachmentDenied",
    "direct UnsupportedTrafficType",
    "direct CrossNamespace",
];

#[test]
fn by_default_every_decision_is_what_the_rules_say() {
    let mut seen = BTreeMap::new();
    each_by_default(|terms, town, subjects| check_all(&mut seen, terms, &town, &subjects));
    all_seen(&seen, &REASONS);
    all_seen(&seen, &["tunnel", "ingress"]);
    assert!(!seen.keys().any(|line| line.contains("blocked")), "{seen:?}");
}

#[test]
fn under_any_settings_every_decision_is_what_the_rules_say() {
    let mut seen = BTreeMap::new();
    each_sample(4_000, |terms, town, subjects| check_all(&mut seen, terms, &town, &subjects));
    all_seen(&seen, &REASONS);
    all_seen(&seen, &["tunnel", "ingress", "bypass", " 10% WaypointAccepted", " 0% WaypointAccepted", "ns/wp - "]);
    all_seen(&seen, &["blocked WaypointRequired", "blocked WaypointIsNotReady", "blocked CrossNamespace"]);
    let second = |reason: &&str| format!("second {reason}");
    let reasons = ["CanarySameAsPrimary", "CanaryInvalidWeight", "WaypointIsNotReady", "AttachmentDenied"];
    let rest = ["UnsupportedTrafficType", "CrossNamespaceWaypointForbidden"];
    let reasons: Vec<_> = reasons.iter().chain(&rest).map(second).collect();
    all_seen(&seen, &reasons.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Makes every edit to the objects of the mesh, as the host does before it shows one, and decides again.
fn check_edits(terms: &Terms, town: &Mesh, subject: &SubjectDraft) -> usize {
    let description = describe(&terms.text()).unwrap();
    let town = town.clone().subject(subject.clone());
    let batch = town.batch_for(&description);
    let explained = explain(&batch).unwrap();
    let now = shown(&batch, &explained.decision);
    for edit in &explained.edits {
        let edited = town.edited(edit, &batch, &description).unwrap_or_else(|why| panic!("{edit:?}: {why}"));
        let description = describe(&edited.batch().settings).unwrap();
        let batch = edited.batch_for(&description);
        let then = shown(&batch, &resolve(&batch).unwrap()[0]);
        assert_ne!(then, now, "{edit:?} changes nothing: {town:#?}");
        let blocks = then.starts_with("blocked") && !now.starts_with("blocked");
        assert!(!blocks || explained.edits.len() == 1, "{edit:?} blocks what passed: {town:#?}");
    }
    let without = matches!(explained.decision.choice, Choice::Direct | Choice::Blocked);
    let refused = without && explained.decision.reason.is_some() || explained.decision.second_reason.is_some();
    assert!(!refused || !explained.edits.is_empty(), "{now}, and nothing can be done: {town:#?}");
    explained.edits.len()
}

#[test]
fn every_edit_changes_the_decision_and_every_refusal_has_one() {
    let mut made = 0;
    let mut edits = |terms: &Terms, town: Mesh, subjects: Vec<SubjectDraft>| {
        made += subjects.iter().map(|subject| check_edits(terms, &town, subject)).sum::<usize>();
    };
    each_by_default(&mut edits);
    each_sample(2_000, &mut edits);
    assert!(made > 30_000, "only {made} edits");
}
