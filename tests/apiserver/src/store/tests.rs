//! Paging over a store that changes meanwhile.

use serde_json::json;

use super::*;

fn store(names: &[&str]) -> (Store, Id) {
    let mut store = Store::new(8);
    let id = store.install(Resource::built_in("", "v1", "configmaps", "ConfigMap"));
    for name in names {
        store.write(id, &Key::new("a", name), json!({"metadata": {"name": name}}));
    }
    (store, id)
}

fn names(page: &Page) -> Vec<String> {
    page.items.iter().map(|object| object.value()["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn range<'a>(selector: &'a Selector, at: u64, after: Option<&'a Key>) -> Range<'a> {
    Range { namespace: None, selector, at, after, limit: 2 }
}

#[test]
fn pages_are_of_one_version_whatever_happens_between_them() {
    let (mut store, id) = store(&["b", "c", "e", "g"]);
    let (selector, at) = (Selector::default(), store.version());
    let first = store.page(id, range(&selector, at, None)).unwrap();
    assert_eq!((names(&first), first.remaining), (vec!["b".to_owned(), "c".to_owned()], 2));
    store.write(id, &Key::new("a", "d"), json!({"metadata": {"name": "d"}}));
    store.write(id, &Key::new("a", "h"), json!({"metadata": {"name": "h"}}));
    store.write(id, &Key::new("a", "e"), json!({"metadata": {"name": "e-new"}}));
    store.remove(id, &Key::new("a", "g"));
    let second = store.page(id, range(&selector, at, first.next.as_ref())).unwrap();
    assert_eq!((names(&second), second.next), (vec!["e".to_owned(), "g".to_owned()], None));
    let now = store.page(id, range(&selector, store.version(), None)).unwrap();
    assert_eq!((names(&now), now.remaining), (vec!["b".to_owned(), "c".to_owned()], 3));
}

#[test]
fn a_version_that_fell_out_of_the_history_is_gone() {
    let (mut store, id) = store(&["a"]);
    let at = store.version();
    for _ in 0..8 {
        store.write(id, &Key::new("a", "a"), json!({"metadata": {"name": "a"}}));
    }
    assert!(store.page(id, range(&Selector::default(), at, None)).is_ok());
    store.write(id, &Key::new("a", "a"), json!({"metadata": {"name": "a"}}));
    assert_eq!(store.page(id, range(&Selector::default(), at, None)).err(), Some(Compacted));
}

#[test]
fn a_namespace_is_a_range_of_its_own() {
    let (mut store, id) = store(&["x"]);
    store.write(id, &Key::new("ab", "y"), json!({"metadata": {"name": "y"}}));
    store.write(id, &Key::new("b", "z"), json!({"metadata": {"name": "z"}}));
    let selector = Selector::default();
    let page = store.page(id, Range { namespace: Some("ab"), ..range(&selector, store.version(), None) }).unwrap();
    assert_eq!((names(&page), page.remaining), (vec!["y".to_owned()], 0));
}

#[test]
fn a_removed_kind_takes_its_objects_along() {
    let (mut store, id) = store(&["x", "y"]);
    assert!(store.uninstall("", "configmaps"));
    assert!(!store.uninstall("", "configmaps"));
    assert!(store.find("", None, "configmaps").is_none());
    assert_eq!(store.install(Resource::built_in("", "v1", "configmaps", "ConfigMap")), id);
    assert_eq!(store.objects(id).count(), 0);
}
