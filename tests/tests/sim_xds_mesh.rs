//! What ztunnel is told and kept up while a mesh changes equals what a fresh look at the same mesh gives, for generated
//! histories over all kinds of objects; and what is not told differently keeps its version. No component: the rules are plain
//! ones, which let traffic go past a waypoint that cannot be reached, so that its health counts too.
//!
//! `WAYSWITCH_HISTORIES` says how many histories (2,000 unless set); proptest keeps what failed in `proptest-regressions/`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use model::batch::{Answer, AnswerChoice, AnswerTarget, Batch};
use model::decider::Terms;
use model::decision::{Choice, OnUnreachable};
use model::description::{Fields, Reach};
use model::object::ObjectKey;
use model::policy::{Field, Rule};
use model::service::{Distribution, Port, TRAFFIC_DISTRIBUTION};
use model::sink::{Decided, Step};
use model::store::{Changes, NETWORK};
use model::workload::PodTemplate;
use model::{
    AuthorizationPolicy, Decider, Event, Facts, IstioVersion, Labels, Mesh, Name, Object, Pod, ResolveFailure,
    Resolver, Store,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use tests::mesh::history::{Effect, History, histories};
use tests::mesh::rules;
use xds::mesh::{self, Options};
use xds::resource::{Resources, Snapshot, Version};

const HISTORIES: u32 = 2_000;
/// Steps of a history after the first.
const STEPS_MAX: usize = 20;
/// Its policies hold everywhere.
const ROOT: &str = "ns0";

type Checked = Result<(), TestCaseError>;

#[test]
fn what_is_kept_up_equals_what_is_made_afresh() {
    let count = std::env::var("WAYSWITCH_HISTORIES").map_or(HISTORIES, |text| text.parse().expect("a number"));
    let config = Config {
        cases: count,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/sim_xds_mesh.txt"
        )))),
        ..Config::default()
    };
    let versions = prop::sample::select(vec!["1.31", "1.29", "1.22"]).prop_map(|it| it.parse().expect("a version"));
    let cases = (histories(STEPS_MAX), versions, any::<bool>());
    let result = TestRunner::new(config).run(&cases, |(history, istio, guard)| replay(&history, istio, guard));
    if let Err(why) = result {
        std::panic::panic_any(why.to_string());
    }
}

fn replay(history: &History, istio: IstioVersion, guard: bool) -> Checked {
    let mesh = Mesh { root_namespace: ROOT.into(), trust_domain: "td".into(), ..Mesh::default() };
    let mut store = Store::new(Facts { istio, mesh, ..Facts::default() });
    let options = Options { guard_waypoint_services: guard };
    let description = rules::description(Reach::Referenced, Fields::default());
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    let decide = |store: &Store| {
        let decider = Decider::new(1, description.clone(), Arc::new(Lenient), terms.clone(), store);
        decider.map_err(|(_, why)| TestCaseError::fail(why.to_string()))
    };
    let mut decider = decide(&store)?;
    let mut kept = mesh::snapshot(Decided { store: &store, table: decider.table() }, &options);
    for (at, operations) in history.steps.iter().enumerate() {
        let before = store.clone();
        let mut step = Step::default();
        for (place, operation) in operations.iter().enumerate() {
            let changes = carry_out(operation.effect(), (at * 8 + place) as u64, &mut store, &mut step);
            step.changes.merge(changes);
        }
        step.moved = decider.apply(&store, &step.changes);
        let now = Decided { store: &store, table: decider.table() };
        let old = kept.clone();
        mesh::update(&mut kept, &before, now, &step, &options);
        same(&kept, &mesh::snapshot(now, &options), at)?;
        moved_only_what_is_different(&old.addresses, &kept.addresses)?;
        moved_only_what_is_different(&old.authorizations, &kept.authorizations)?;
        if before.facts().network != store.facts().network {
            // Everything is decided anew, and told anew.
            decider = decide(&store)?;
            kept = mesh::snapshot(Decided { store: &store, table: decider.table() }, &options);
        }
    }
    Ok(())
}

fn carry_out(effect: Effect, seed: u64, store: &mut Store, step: &mut Step) -> Changes {
    match effect {
        Effect::Event(event) => {
            let event = match event {
                Event::Apply(object) => Event::Apply(dressed(object, seed)),
                gone @ Event::Delete(_) => gone,
            };
            step.objects.push(event.key());
            store.apply(event)
        }
        Effect::Mesh(mesh) => {
            step.mesh = true;
            store.set_mesh(Mesh { root_namespace: ROOT.into(), ..mesh })
        }
    }
}

fn same(kept: &Snapshot, fresh: &Snapshot, at: usize) -> Checked {
    prop_assert_eq!((kept.rules, kept.revision), (fresh.rules, fresh.revision));
    for (kept, fresh) in [(&kept.addresses, &fresh.addresses), (&kept.authorizations, &fresh.authorizations)] {
        let (kept, fresh) = (looks(kept), looks(fresh));
        for name in kept.keys().chain(fresh.keys()) {
            prop_assert_eq!(kept.get(name), fresh.get(name), "{} after step {}", name, at);
        }
    }
    Ok(())
}

fn looks(resources: &Resources) -> BTreeMap<Name, (Version, String)> {
    let look = |body: &[u8]| match prost::Message::decode(body) {
        Ok(xds::proto::workload::Address { r#type: Some(it) }) => format!("{it:?}"),
        _ => format!("{body:?}"),
    };
    let all = resources.by_name().iter();
    all.map(|(name, it)| (Name::clone(name), (it.version(), look(it.body())))).collect()
}

/// A version says what the bytes are, and nothing but that.
fn moved_only_what_is_different(old: &Resources, new: &Resources) -> Checked {
    for (name, resource) in new.by_name() {
        if let Some(before) = old.get(name) {
            prop_assert_eq!(before.version() == resource.version(), before.body() == resource.body(), "{}", name);
        }
    }
    Ok(())
}

/// Gives an object what only ztunnel is told: histories are about what is decided.
fn dressed(object: Object, seed: u64) -> Object {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    let luck = hasher.finish();
    let one_of = |bit: u32, of: u64| luck.rotate_right(bit) % of;
    match object {
        Object::Pod(pod) => Object::Pod(dressed_pod(pod, one_of)),
        Object::Service(mut service) => {
            service.ports = ports(one_of(0, 4));
            service.publish_not_ready = one_of(3, 4) == 0;
            service.node_local = one_of(5, 4) == 0;
            service.distribution = (one_of(7, 4) == 0).then_some(Distribution::SameNode);
            Object::Service(service)
        }
        Object::ServiceEntry(mut entry) => {
            entry.ports = ports(one_of(0, 4));
            let names: Vec<Name> = (0..one_of(3, 2)).map(|_| "spiffe://td/ns/a/sa/b".into()).collect();
            entry.subject_alt_names = names.into();
            if one_of(5, 2) == 0 {
                entry.meta.labels = annotated(&entry.meta.labels, "app", "0");
            }
            Object::ServiceEntry(entry)
        }
        Object::EndpointSlice(mut slice) => {
            slice.unready = slice.addresses.iter().filter(|_| one_of(0, 2) == 0).cloned().collect();
            slice.ports = if one_of(3, 2) == 0 { vec![("web".into(), 80)] } else { Vec::new() };
            Object::EndpointSlice(slice)
        }
        Object::Gateway(mut gateway) => {
            if one_of(0, 3) == 0 {
                gateway.class = "istio-remote".into();
                let network = if one_of(2, 3) == 0 { "n" } else { "far" };
                gateway.meta.labels = annotated(&gateway.meta.labels, NETWORK, network);
            }
            Object::Gateway(gateway)
        }
        Object::WorkloadEntry(mut entry) => {
            entry.network = match one_of(0, 3) {
                0 => None,
                1 => Some("far".into()),
                _ => Some("n".into()),
            };
            Object::WorkloadEntry(entry)
        }
        Object::Namespace(mut namespace) => {
            if one_of(4, 4) == 0 {
                namespace.meta.labels = annotated(&namespace.meta.labels, NETWORK, "n");
            }
            if one_of(0, 3) == 0 {
                let annotations = &mut namespace.meta.annotations;
                *annotations = annotated(annotations, TRAFFIC_DISTRIBUTION, "PreferClose");
            }
            Object::Namespace(namespace)
        }
        Object::AuthorizationPolicy(policy) => Object::AuthorizationPolicy(dressed_policy(policy, one_of)),
        other => other,
    }
}

fn annotated(labels: &Labels, key: &str, value: &str) -> Labels {
    labels.iter().cloned().chain([(key.into(), value.into())]).collect()
}

fn dressed_pod(mut pod: Pod, one_of: impl Fn(u32, u64) -> u64) -> Pod {
    pod.ready = one_of(0, 3) > 0;
    pod.terminating = one_of(2, 8) == 0;
    pod.node = pod.node.filter(|_| one_of(5, 4) > 0);
    let ports = if one_of(7, 2) == 0 { vec![("web".into(), 8080)] } else { Vec::new() };
    let workload = (one_of(9, 2) == 0).then(|| "runs".into());
    pod.template = PodTemplate { workload, ports, ..PodTemplate::clone(&pod.template) }.into();
    if one_of(11, 2) == 0 {
        pod.meta.annotations = annotated(&pod.meta.annotations, "ambient.istio.io/redirection", "enabled");
    }
    pod
}

fn dressed_policy(mut policy: AuthorizationPolicy, one_of: impl Fn(u32, u64) -> u64) -> AuthorizationPolicy {
    policy.action = match one_of(0, 3) {
        0 => "ALLOW".into(),
        1 => "DENY".into(),
        _ => "AUDIT".into(),
    };
    policy.selector = match one_of(3, 4) {
        0 => None,
        1 => Some(Labels::default()),
        it => Some([("app", if it == 2 { "0" } else { "1" })].into_iter().collect()),
    };
    let field = Field { name: "ports".into(), values: vec!["80".into()] };
    policy.rules = vec![Rule { to: vec![vec![field]], ..Rule::default() }];
    policy
}

fn ports(kind: u64) -> Vec<Port> {
    let port = |target: Option<&str>| Port {
        name: "web".into(),
        number: 80,
        protocol: "TCP".into(),
        target: target.map(Into::into),
    };
    match kind {
        0 => vec![],
        1 => vec![port(None)],
        2 => vec![port(Some("web"))],
        _ => vec![port(Some("8081"))],
    }
}

/// [`rules::PlainRules`] that let traffic go past a waypoint that cannot be reached, give some rows a second waypoint and
/// block others.
struct Lenient;

impl Resolver for Lenient {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let mut answers = rules::PlainRules.resolve(batch)?;
        for (answer, question) in answers.iter_mut().zip(&batch.subjects) {
            if answer.reason.as_deref() == Some("AttachmentDenied") {
                answer.choice = AnswerChoice::Blocked;
            }
            if let AnswerChoice::Waypoints(targets) = &mut answer.choice {
                answer.on_unreachable = OnUnreachable::Bypass;
                answer.ingress = true;
                let [first] = targets.as_mut_slice() else { continue };
                let other = question.candidates.iter().find(|index| **index != first.gateway);
                if let Some(gateway) = other {
                    first.weight = 60;
                    let second = AnswerTarget { gateway: *gateway, address: None, weight: 40 };
                    targets.push(second);
                }
            }
        }
        Ok(answers)
    }
}

/// What the test above would not find: keys of objects that the step names and that are not in its changes.
#[test]
fn an_object_that_changed_nothing_concerns_nobody() {
    let store = Store::new(Facts::default());
    let description = rules::description(Reach::Referenced, Fields::default());
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    let decider = Decider::new(1, description, Arc::new(Lenient), terms, &store).expect("nothing to decide");
    let now = Decided { store: &store, table: decider.table() };
    let mut kept = mesh::snapshot(now, &Options::default());
    let objects = model::Kind::ALL.into_iter().map(|kind| ObjectKey::new(kind, "ns", "nobody")).collect();
    mesh::update(&mut kept, &store, now, &Step { objects, ..Step::default() }, &Options::default());
    assert!(kept.addresses.is_empty() && kept.authorizations.is_empty());
}
