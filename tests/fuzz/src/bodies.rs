//! What holds for any input, as plain functions: the fuzz targets call them with what libFuzzer makes up, and an ordinary
//! test with the corpus that was kept. Each panics where something does not hold.

#![allow(clippy::panic, reason = "a panic is how a fuzz target says that something does not hold")]

use std::collections::BTreeMap;

use manifest::{Format, Found, Limits, read_text};
use model::decider::Terms;
use model::decision::Choice;
use model::store::Facts;
use model::{Decider, Event, Name, Object, ObjectKey, Store, Table};
use plugin_istio::Istio;

use crate::native::Native;

/// Small enough that an input which is refused for its size is found quickly.
fn limits() -> Limits {
    Limits { object_bytes_max: 64 << 10, alias_nodes_max: 10_000, ..Limits::default() }
}

/// Reads the text as a file; JSON if it looks like it.
fn read(data: &[u8]) -> Vec<Found> {
    let text = String::from_utf8_lossy(data);
    let format = if text.trim_start().starts_with('{') { Format::Json } else { Format::Yaml };
    let mut found = Vec::new();
    read_text(&"fuzz.yaml".into(), &text, format, &limits(), &mut |it| found.push(it));
    found
}

fn objects(found: Vec<Found>) -> Vec<Object> {
    let object = |it| match it {
        Found::Object { object, .. } => Some(object),
        Found::Unread { .. } | Found::Problem(_) => None,
    };
    found.into_iter().filter_map(object).collect()
}

/// Manifests: a problem is one line of bounded length, and an object that was read comes back when it is written and read again.
pub(crate) fn manifest(data: &[u8]) {
    let found = read(data);
    for problem in found.iter().filter_map(|it| if let Found::Problem(problem) = it { Some(problem) } else { None }) {
        let line = problem.to_string();
        assert!(!line.contains('\n') && line.chars().count() < 4096, "{line:?}");
    }
    for object in objects(found) {
        let text = manifest::write(&object).to_string();
        let mut again = objects(read(text.as_bytes()));
        // A limit of the reader may refuse what is written in a longer form.
        if let Some(again) = again.pop() {
            assert_eq!(again, object, "{text}");
        }
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(mesh) = manifest::mesh_config("fuzz.yaml", &text, &limits()) {
        let again = manifest::mesh_config("again.yaml", &manifest::write_mesh(&mesh).to_string(), &limits());
        assert_eq!(again.ok(), Some(mesh));
    }
}

/// A mesh: documents are events in their order; a label `delete` takes its object away. After each step the table that was kept
/// up is the one of a fresh look, and what was announced is the difference; nothing that looks at a mesh panics.
pub(crate) fn mesh(data: &[u8]) {
    let objects = objects(read(data));
    if objects.is_empty() || objects.len() > 64 {
        return;
    }
    let Ok((resolver, description)) = Native::<Istio>::new("") else {
        panic!("the default rules refuse empty settings");
    };
    let resolver = std::sync::Arc::new(resolver);
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    let fresh = |store: &Store| match Decider::new(1, description.clone(), resolver.clone(), terms.clone(), store) {
        Ok(decider) => decider,
        Err((row, failure)) => panic!("{row:?}: {failure}"),
    };
    let mut store = Store::new(Facts::default());
    let mut kept = fresh(&store);
    // Bounded, so that one long input does not stand for many.
    let every = objects.len().div_ceil(8);
    for chunk in objects.chunks(every) {
        let before = kept.table().clone();
        let changes = store.apply_all(chunk.iter().cloned().map(event));
        let told: BTreeMap<_, _> = kept.apply(&store, &changes).into_iter().map(|it| (it.key.clone(), it)).collect();
        let difference: Vec<_> = before.diff(kept.table()).into_iter().map(|it| it.key).collect();
        assert!(told.keys().eq(&difference), "announced {:?}, moved {difference:?}", told.keys());
        same(kept.table(), fresh(&store).table());
    }
    look(&store, kept.table(), &description);
}

fn event(object: Object) -> Event {
    if object.meta().labels.get("delete").is_some() {
        return Event::Delete(object.key());
    }
    Event::Apply(object)
}

fn same(kept: &Table, fresh: &Table) {
    let rows = |table: &Table| table.iter().map(|(key, row)| (key.clone(), row.clone())).collect::<Vec<_>>();
    let (kept, fresh) = (rows(kept), rows(fresh));
    assert_eq!(kept.len(), fresh.len());
    for ((key, row), (other, again)) in kept.iter().zip(&fresh) {
        assert_eq!(key, other);
        assert!(row.same_effect(again), "{key}: {} is kept, {} is fresh", row.decision, again.decision);
    }
}

/// Everything that answers questions about a whole mesh.
fn look(store: &Store, table: &Table, description: &model::Description) {
    for finding in model::lint::lint(store, table, description) {
        assert!(!finding.text.is_empty() && !finding.fix.is_empty(), "{finding:?}");
    }
    let _views = model::waypoint_view::WaypointViews::new(store, table);
    let _holes = model::bypass::destinations(store, table, &model::bypass::Asked::All);
    for (key, _) in table.iter() {
        for member in store.workloads_of(key) {
            assert!(store.services_of(&member).contains(key), "{member} is behind {key}, and does not say so");
        }
        for ip in table.get(key).map(|row| row.subject.addresses.to_vec()).unwrap_or_default() {
            let dialled = table.get(key).is_some_and(|row| row.subject.dialled_by_address);
            assert!(!dialled || store.rows_at(ip).contains(key), "{key} is not found at {ip}");
        }
    }
    // What is written down reads back to the same mesh.
    let mut again = Store::new(store.facts().clone());
    let keys: Vec<ObjectKey> = store.object_keys().collect();
    for object in keys.iter().filter_map(|key| store.object(key)) {
        again.apply(Event::Apply(object));
    }
    let _names: Vec<Name> = store.hosts().iter().cloned().collect();
    assert_eq!(again.len(), store.len());
}
