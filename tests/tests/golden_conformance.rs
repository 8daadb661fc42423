//! The conformance cases on the way that ships: manifests, model, the default component, the contract's JSON. The few that
//! are about the command itself are with the tests of the binary.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use engine::{Candidate, Engine, Limits, Loaded};
use manifest::FolderSource;
use model::projection::node_input;
use model::{Event, Facts, Object, Store};
use tests::candidate::{artifact, terms};
use tests::conformance::{Case, cases};

/// Cases in the folder that are not about the command, and decisions in them that are compared.
const CASES: usize = 175;
const DECISIONS: usize = 256;

fn read(case: &Case) -> Result<Store> {
    let limits = manifest::Limits::default();
    let snapshot = FolderSource::new(vec![case.manifest.clone()], limits.clone()).load();
    ensure!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
    let mut facts = Facts::default();
    if let Some(file) = &case.mesh_config {
        let text = std::fs::read_to_string(file)?;
        facts.mesh =
            manifest::mesh_config("mesh.yaml", &text, &limits).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    }
    let mut store = Store::new(facts);
    store.apply_all(snapshot.objects.into_values().map(|entry| Event::Apply(Object::clone(&entry.object))));
    Ok(store)
}

fn decide(component: &Loaded, case: &Case) -> Result<(Store, Candidate)> {
    let store = read(case).with_context(|| case.id.clone())?;
    let candidate = Candidate::shadow(Arc::clone(component), terms(""), 1, &store).with_context(|| case.id.clone())?;
    Ok((store, candidate))
}

#[test]
fn every_case_is_decided_as_istio_does() -> Result<()> {
    let engine = Engine::new(Limits::default())?;
    let component = engine.load(&artifact("istio")?, None, "", engine.limits())?;
    let cases: Vec<Case> = cases()?.into_iter().filter(|case| !case.is_about_the_command()).collect();
    let (mut count, mut failures) = (0, Vec::new());
    for case in &cases {
        let (_, candidate) = decide(&component, case)?;
        let compared = case.compare(&agent::output::decisions(candidate.decider.table()), |_| true);
        ensure!(compared.count > 0, "{}: nothing was compared", case.id);
        count += compared.count;
        failures.extend(compared.failures.into_iter().map(|failure| format!("{}: {failure}", case.id)));
    }
    ensure!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    assert_eq!((cases.len(), count), (CASES, DECISIONS), "cases, and decisions compared");
    Ok(())
}

#[test]
fn every_decision_of_the_cases_has_an_explanation_that_agrees_with_it() -> Result<()> {
    let engine = Engine::new(Limits::default())?;
    let component = engine.load(&artifact("istio")?, None, "", engine.limits())?;
    let mut kinds = BTreeSet::new();
    for case in cases()?.iter().filter(|case| !case.is_about_the_command()) {
        let (store, candidate) = decide(&component, case)?;
        let node = node_input(component.description(), store.facts());
        for (key, row) in candidate.decider.table().iter() {
            kinds.insert(row.input.kind);
            let explained = component.explain("", &node, &store.facts().network, &row.input);
            let (decision, explanation) = explained.with_context(|| format!("{}: {key}", case.id))?;
            ensure!(!explanation.findings.is_empty(), "{}: {key}: nothing was found", case.id);
            // The floor never had to change one: the default rules keep to it by themselves.
            ensure!(decision == *row.decision, "{}: {key}: {decision} is explained, {}", case.id, row.decision);
        }
    }
    // Those of EndpointSlices are not printed, so no case can be about them: the test below is.
    assert_eq!(kinds.len(), 6, "kinds of subjects in the cases: {kinds:?}");
    Ok(())
}

#[test]
fn an_endpoint_of_a_slice_never_has_a_waypoint_where_a_pod_has_one() -> Result<()> {
    const MESH: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: ns, labels: {istio.io/use-waypoint: w}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: w, namespace: ns, labels: {istio.io/waypoint-for: all}}
status: {addresses: [{type: IPAddress, value: 10.0.0.1}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: pod, namespace: ns}, status: {podIP: 10.0.0.2}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: slice, namespace: ns, labels: {kubernetes.io/service-name: external}}
endpoints:
- {addresses: [10.0.0.2], targetRef: {kind: Pod, name: pod}}
- {addresses: [192.0.2.1]}
";
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("mesh.yaml");
    std::fs::write(&manifest, MESH)?;
    let case = Case { manifest, ..cases()?.into_iter().next().context("no cases")? };
    let engine = Engine::new(Limits::default())?;
    let component = engine.load(&artifact("istio")?, None, "", engine.limits())?;
    let (_, candidate) = decide(&component, &case)?;
    let rows = candidate.decider.table().iter();
    let shown: Vec<_> = rows.map(|(key, row)| format!("{key}: {}", row.decision)).collect();
    assert_eq!(shown, ["EndpointSliceEndpoint ns/slice/192.0.2.1: direct", "Pod ns/pod: ns/w (WaypointAccepted)"]);
    Ok(())
}
