//! What an event counts for. Which rows it moves is tested with generated histories, outside this crate.

use super::*;
use crate::object::Meta;
use crate::selector::Selector;

fn namespace(labels: &[(&str, &str)]) -> Event {
    let labels = labels.iter().copied().collect();
    Event::Apply(Object::Namespace(Namespace { meta: Meta { labels, ..Meta::named("", "ns") } }))
}

fn shown_if_in_the_mesh() -> Mesh {
    let selector = Selector { labels: [("mesh", "yes")].into_iter().collect(), ..Selector::default() };
    Mesh { discovery_selectors: vec![selector], ..Mesh::default() }
}

/// A generated history found it: the relabelling was announced twice and counted not at all.
#[test]
fn a_namespace_that_comes_into_sight_counts_as_a_change() {
    let mut store = Store::new(Facts { mesh: shown_if_in_the_mesh(), ..Facts::default() });
    store.apply(namespace(&[]));
    store.apply(Event::Apply(Object::Pod(Pod { addresses: [[10, 0, 0, 1].into()].into(), ..Pod::named("ns", "pod") })));
    assert_eq!((store.revision(), store.row_keys().count()), (2, 0));
    let changes = store.apply(namespace(&[("mesh", "yes")]));
    assert_eq!((store.revision(), store.row_keys().count()), (3, 1));
    assert!(changes.rows.contains(&RowKey::new(RowKind::Pod, "ns", "pod")));
}

#[test]
fn what_changes_nothing_counts_for_nothing() {
    let mut store = Store::new(Facts::default());
    store.apply(namespace(&[]));
    assert!(store.apply(namespace(&[])).is_empty());
    assert!(store.set_mesh(Mesh::default()).is_empty());
    assert!(store.apply(Event::Delete(ObjectKey::new(Kind::Pod, "ns", "pod"))).is_empty());
    assert_eq!(store.revision(), 1);
}

#[test]
fn another_mesh_config_touches_what_it_shows_or_hides() {
    let mut store = Store::new(Facts::default());
    let service = Event::Apply(Object::Service(Service::named("ns", "cart")));
    store.apply_all([namespace(&[]), service]);
    let changes = store.set_mesh(shown_if_in_the_mesh());
    assert_eq!(changes.rows, BTreeSet::from([RowKey::new(RowKind::Service, "ns", "cart")]));
    assert_eq!((store.revision(), store.row_keys().count()), (3, 0));
    assert_eq!(store.namespace(&"ns".into()), None, "its object has no effect either");
}
