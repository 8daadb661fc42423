//! Edits keep their promise. Every decision of the conformance cases is explained; each edit that is offered is carried out,
//! once on the objects and once on the text of the manifest, the mesh is decided afresh, and the row must be as promised.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent::explanation::{Explainer, Means, Offer, RowExplained};
use anyhow::{Context as _, Result, ensure};
use engine::{Candidate, Engine, Limits, Loaded};
use manifest::FolderSource;
use model::decider::Asking;
use model::table::{RowKey, Table};
use model::{Decision, Event, Facts, Object, Store};
use serde_json::Value;
use tests::candidate::{artifact, terms};
use tests::conformance::{Case, cases};
use tests::edited;

/// Refused decisions that the cases have at least. Fewer mean that the test looks at the wrong thing.
const REFUSED_MIN: usize = 40;
/// Refused canaries.
const CANARIES_MIN: usize = 10;

fn component() -> Result<Loaded> {
    let engine = Engine::new(Limits::default())?;
    Ok(engine.load(&artifact("istio")?, None, "", engine.limits())?)
}

/// The mesh of some manifests, the later ones winning.
fn read(case: &Case, more: Option<PathBuf>) -> Result<Store> {
    let limits = manifest::Limits::default();
    let mut facts = Facts::default();
    if let Some(file) = &case.mesh_config {
        let text = std::fs::read_to_string(file)?;
        facts.mesh =
            manifest::mesh_config("mesh.yaml", &text, &limits).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    }
    let paths = std::iter::once(case.manifest.clone()).chain(more).collect();
    let snapshot = FolderSource::new(paths, limits).load();
    ensure!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
    let mut store = Store::new(facts);
    store.apply_all(snapshot.objects.into_values().map(|entry| Event::Apply(Object::clone(&entry.object))));
    Ok(store)
}

/// How the whole mesh is decided afresh: not by the way on which edits are tried.
fn decided(component: &Loaded, settings: &str, store: &Store) -> Result<Table> {
    Ok(Candidate::shadow(Arc::clone(component), terms(settings), 1, store)?.decider.table().clone())
}

fn is_refused(decision: &Decision) -> bool {
    decision.reason.as_deref().is_some_and(|reason| reason != "WaypointAccepted")
}

/// A case with its mesh and decisions.
struct Decided<'a> {
    case: &'a Case,
    component: &'a Loaded,
    store: Store,
    table: Table,
}

impl Decided<'_> {
    fn explain(&self, key: &RowKey) -> Result<RowExplained> {
        let terms = terms("");
        let explainer = Explainer { store: &self.store, table: &self.table, component: self.component, terms: &terms };
        Ok(explainer.row(key)?)
    }

    /// What the row gets when nothing else is decided.
    fn alone(&self, key: &RowKey) -> Result<Option<Decision>> {
        let terms = terms("");
        let asking =
            Asking { resolver: self.component.as_ref(), description: self.component.description(), terms: &terms };
        Ok(asking.decide(&self.store, key)?)
    }

    /// Carries an edit out in both ways.
    fn check(&self, key: &RowKey, offer: &Offer, printed: &Value) -> Result<()> {
        let promised = |table: &Table| {
            let decision = table.get(key).map(|row| Decision::clone(&row.decision));
            ensure!(decision.as_ref() == Some(&offer.promises), "{decision:?} instead of {:?}", offer.promises);
            Ok(())
        };
        match &offer.means {
            Means::Object(change) => {
                let table = decided(self.component, "", &change.applied_to(&self.store))?;
                promised(&table).context("on the objects")?;
                let folder = tempfile::tempdir()?;
                let more = edited::file(folder.path(), &self.case.manifest, printed)?;
                let table = decided(self.component, "", &read(self.case, Some(more))?)?;
                promised(&table).context("on the manifest")
            }
            Means::Settings(settings) => {
                let component = self.component.under(settings)?;
                promised(&decided(&component, settings, &self.store)?).context("under the settings")
            }
        }
    }
}

#[test]
fn every_printed_edit_gives_the_promised_decision_and_every_refusal_has_one() -> Result<()> {
    let component = component()?;
    let (mut rows, mut refused, mut canaries) = (0, 0, 0);
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases()?.iter().filter(|case| !case.is_about_the_command()) {
        let store = read(case, None).with_context(|| case.id.clone())?;
        let table = decided(&component, "", &store)?;
        let decided = Decided { case, component: &component, store, table };
        for (key, row) in decided.table.iter() {
            let at = || format!("{}: {key}", case.id);
            ensure!(decided.alone(key)?.as_ref() == Some(&*row.decision), "{}: decided otherwise when alone", at());
            let explained = decided.explain(key).with_context(at)?;
            ensure!(explained.dropped.is_empty(), "{}: {:?}", at(), explained.dropped);
            let printed = explained.to_json();
            let edits = printed["edits"].as_array().context("no list of edits")?;
            for (offer, edit) in explained.offers.iter().zip(edits) {
                decided.check(key, offer, edit).with_context(|| format!("{}: {edit}", at()))?;
                *places.entry(place(edit)).or_default() += 1;
            }
            rows += 1;
            refused += usize::from(is_refused(&row.decision));
            canaries += usize::from(row.decision.second_reason.is_some());
            if is_refused(&row.decision) || row.decision.second_reason.is_some() {
                ensure!(!edits.is_empty(), "{}: {} and nothing to do about it", at(), row.decision);
            }
        }
    }
    println!("{rows} rows, {refused} refused, {canaries} canaries refused; edits by place: {places:#?}");
    assert!(refused >= REFUSED_MIN && canaries >= CANARIES_MIN, "{refused} refused, {canaries} canaries refused");
    for place in ["metadata.labels", "metadata.annotations", "spec.listeners", "status.addresses", "spec.endpoints"] {
        assert!(places.contains_key(place), "no edit of {place}: {places:?}");
    }
    Ok(())
}

/// The first two steps of the first path of an edit.
fn place(edit: &Value) -> String {
    let path = edit.pointer("/writes/0/path").and_then(Value::as_array);
    let steps = path.into_iter().flatten().take(2).filter_map(Value::as_str);
    let steps: Vec<&str> = steps.collect();
    if steps.is_empty() { "settings".to_owned() } else { steps.join(".") }
}

#[test]
fn what_is_absent_from_the_decisions_says_why() -> Result<()> {
    let component = component()?;
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases()?.iter().filter(|case| !case.is_about_the_command()) {
        let store = read(case, None)?;
        let table = decided(&component, "", &store)?;
        let decided = Decided { case, component: &component, store, table };
        for absent in &case.absent {
            let text = |key: &str| absent.get(key).and_then(Value::as_str);
            let (Some(kind), Some(namespace), Some(name)) = (text("kind"), text("namespace"), text("name")) else {
                continue;
            };
            let part = text("address").map(Into::into);
            let key = RowKey { part, ..RowKey::new(kind.parse().map_err(anyhow::Error::msg)?, namespace, name) };
            // A ServiceEntry may be there for other hosts than the one that is absent.
            if decided.table.get(&key).is_some() {
                continue;
            }
            let why = decided.store.unpublished(&key).with_context(|| format!("{}: {key} is published", case.id))?;
            let not = decided.explain(&key).err().with_context(|| format!("{}: {key} is explained", case.id))?;
            ensure!(not.to_string().contains(&why.to_string()), "{}: {not}", case.id);
            *reasons.entry(why.rule().unwrap_or("none").to_owned()).or_default() += 1;
        }
    }
    println!("{reasons:?}");
    for rule in ["R32", "R35", "R36", "R42", "R48"] {
        assert!(reasons.contains_key(rule), "{rule} is not among {reasons:?}");
    }
    Ok(())
}

#[test]
fn an_edit_of_the_settings_is_tried_with_the_component_under_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("mesh.yaml");
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: cart\n  namespace: shop\n  labels: {istio.io/use-waypoint: w}\n";
    std::fs::write(&manifest, text)?;
    let case = Case {
        id: "settings".to_owned(),
        manifest,
        mesh_config: None,
        wanted: Vec::new(),
        absent: Vec::new(),
        args: Vec::new(),
        exit: 0,
    };
    let store = read(&case, None)?;
    let engine = Engine::new(Limits::default())?;
    let settings = r#"{"unbound":"blocked"}"#;
    let component = engine.load(&artifact("istio")?, None, settings, engine.limits())?;
    let (table, terms) = (decided(&component, settings, &store)?, terms(settings));
    let explainer = Explainer { store: &store, table: &table, component: &component, terms: &terms };
    let key: RowKey = RowKey::new(model::table::RowKind::Service, "shop", "cart");
    let explained = explainer.row(&key)?;
    let offer = explained.offers.iter().find(|offer| matches!(offer.means, Means::Settings(_)));
    let offer = offer.context("no edit of the settings")?;
    let Means::Settings(then) = &offer.means else { anyhow::bail!("checked above") };
    assert_eq!(then, r#"{"unbound":"direct"}"#);
    let table = decided(&component.under(then)?, then, &store)?;
    assert_eq!(table.get(&key).map(|row| Decision::clone(&row.decision)), Some(offer.promises.clone()));
    Ok(())
}
