//! One namespace of a decided mesh.

use std::collections::BTreeSet;

use model::store::Event;
use model::{Kind, Name, ObjectKey, Store, Table};

use crate::capture::Capture;

/// The decisions for what is in a namespace.
pub(crate) fn rows_of(table: &Table, namespace: &str) -> Table {
    let mut rows = Table::new(table.rules, table.revision);
    let namespace = Name::from(namespace);
    for key in table.keys_in(&namespace) {
        rows.set(key.clone(), table.get(key).cloned());
    }
    rows
}

/// A capture of one namespace: its objects and decisions, and of the rest of the mesh the objects by which these are decided again:
/// all Gateways and Nodes, what is in the namespaces of those that were chosen and in Istio's root namespace, and the Namespaces of all
/// that. What hosts of other namespaces mean is not among it.
pub(crate) fn capture_of(capture: Capture, namespace: &str) -> Capture {
    let Capture { header, store, table, mut learned } = capture;
    let table = rows_of(&table, namespace);
    learned.retain(|key, _| *key.namespace == *namespace);
    let chosen = table.iter().flat_map(|(_, row)| row.decision.targets()).map(|target| &target.gateway.namespace);
    let whole: BTreeSet<&str> =
        chosen.map(|it| &**it).chain([namespace, &*store.facts().mesh.root_namespace]).collect();
    let with_gateways: BTreeSet<&str> = store.gateways().map(|(key, _)| &*key.namespace).collect();
    let is_kept = |key: &ObjectKey| match key.kind {
        Kind::Gateway => true,
        Kind::Namespace => whole.contains(&*key.name) || with_gateways.contains(&*key.name),
        kind if kind.is_cluster_scoped() => true,
        _ => whole.contains(&*key.namespace),
    };
    let mut kept = Store::new(store.facts().clone());
    let keys = store.object_keys().filter(is_kept);
    kept.apply_all(keys.filter_map(|key| store.object(&key)).map(Event::Apply));
    Capture { header, store: kept, table, learned }
}
