//! The conformance cases on the way that ships: manifests, model, the default component, the contract's JSON. Here are the
//! groups about Services and Pods; `wit_carries_selection` looks at the others.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use engine::{Candidate, Engine, Limits};
use manifest::FolderSource;
use model::{Event, Facts, Object, Store};
use serde_json::Value;
use tests::candidate::{artifact, source};
use tests::conformance::{Case, cases};

/// Cases in the folder, and decisions in them that are compared.
const CASES: usize = 42;
const DECISIONS: usize = 58;

/// Decisions for kinds that manifests do not give yet: the two WorkloadEntries of F06. That case is about its Pod, which is
/// compared; any other such decision makes the count wrong.
fn is_read(wanted: &Value) -> bool {
    matches!(wanted.get("kind").and_then(Value::as_str), Some("Service" | "Pod"))
}

fn read(case: &Case) -> Result<Store> {
    let snapshot = FolderSource::new(vec![case.manifest.clone()], manifest::Limits::default()).load();
    ensure!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
    let mut store = Store::new(Facts::default());
    store.apply_all(snapshot.objects.into_values().map(|entry| Event::Apply(Object::clone(&entry.object))));
    Ok(store)
}

#[test]
fn cases_about_services_and_pods_are_decided_as_istio_does() -> Result<()> {
    let engine = Engine::new(Limits::default())?;
    let source = source(artifact("istio")?, "");
    let component = engine.load(&source.bytes, None, "", engine.limits())?;
    let cases = cases('A'..='G')?;
    let (mut count, mut failures) = (0, Vec::new());
    for case in &cases {
        let store = read(case).with_context(|| case.id.clone())?;
        let candidate = Candidate::shadow(Arc::clone(&component), source.terms.clone(), 1, &store)?;
        let compared = case.compare(&agent::output::decisions(candidate.decider.table()), is_read);
        ensure!(compared.count > 0, "{}: nothing was compared", case.id);
        count += compared.count;
        failures.extend(compared.failures.into_iter().map(|failure| format!("{}: {failure}", case.id)));
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!((cases.len(), count), (CASES, DECISIONS), "cases, and decisions compared");
    Ok(())
}
