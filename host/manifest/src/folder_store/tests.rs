//! What is particular about manifests as a store: duplicates, unreadable files, no writes. The laws that all stores obey
//! are tested with the other stores, in the crate `tests`.

use std::fs;
use std::path::Path;

use model::config_store::Notice;

use super::*;

fn service(name: &str, ip: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {ip}}}\n")
}

fn store(folder: &Path) -> FolderStore {
    FolderStore::new(vec![folder.to_owned()], Limits::default())
}

/// One line a notice: `+x 10.0.0.1` or `-x`, and `all:` before those of a relist.
fn polled(store: &FolderStore, subscription: &mut Subscription) -> Vec<String> {
    let delivery = store.poll(subscription);
    let relist = matches!(delivery, Delivery::Relist(_)).then(|| "all:".to_owned());
    let line = |notice: Notice| match notice {
        Notice::Apply(object) => match &*object {
            Object::Service(s) => format!("+{} {}", s.meta.name, s.addresses[0]),
            other => panic!("{}", other.key()),
        },
        Notice::Delete(key) => format!("-{}", key.name),
    };
    relist.into_iter().chain(delivery.into_notices([]).into_iter().map(line)).collect()
}

#[test]
fn editing_files_gives_the_difference_only() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", service("a", "10.0.0.1"));
    write("b.yaml", service("b", "10.0.0.2"));
    let mut store = store(folder.path());
    let mut subscription = store.subscribe();
    store.refresh();
    assert_eq!(polled(&store, &mut subscription), ["all:", "+a 10.0.0.1", "+b 10.0.0.2"]);
    store.refresh();
    assert!(store.poll(&mut subscription).is_empty());
    write("a.yaml", format!("# moved within its file\n---\n{}", service("a", "10.0.0.1")));
    write("b.yaml", service("c", "10.0.0.3"));
    store.refresh();
    assert_eq!(polled(&store, &mut subscription), ["+c 10.0.0.3", "-b"]);
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    store.refresh();
    assert_eq!(polled(&store, &mut subscription), ["-a"]);
    assert_eq!(store.len(), 1);
}

#[test]
fn of_two_files_with_one_object_the_later_counts_and_the_earlier_comes_back_as_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("1.yaml", service("a", "10.0.0.1"));
    write("2.yaml", service("a", "10.0.0.2"));
    let mut store = store(folder.path());
    let mut subscription = store.subscribe();
    store.refresh();
    assert_eq!(polled(&store, &mut subscription), ["all:", "+a 10.0.0.2"]);
    write("1.yaml", service("a", "10.0.0.9"));
    store.refresh();
    assert!(store.poll(&mut subscription).is_empty(), "nobody sees what a later file hides");
    fs::remove_file(folder.path().join("2.yaml")).unwrap();
    store.refresh();
    assert_eq!(polled(&store, &mut subscription), ["+a 10.0.0.9"]);
}

#[test]
fn a_file_that_cannot_be_read_delays_the_first_sync_and_later_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", service("a", "10.0.0.1"));
    write("b.yaml", "kind: [".to_owned());
    let mut store = store(folder.path());
    let mut subscription = store.subscribe();
    assert_eq!((store.is_whole(), store.has_synced(), store.is_empty()), (false, false, true));
    store.refresh();
    assert_eq!(polled(&store, &mut subscription), ["all:", "+a 10.0.0.1"]);
    assert_eq!((store.is_whole(), store.has_synced(), subscription.has_synced()), (false, false, false));
    assert!(store.problems()[0].to_string().contains("b.yaml"), "{:?}", store.problems());
    write("b.yaml", service("b", "10.0.0.2"));
    store.refresh();
    assert_eq!((store.is_whole(), store.has_synced(), subscription.has_synced()), (true, true, false));
    assert_eq!(polled(&store, &mut subscription), ["+b 10.0.0.2"]);
    assert!(subscription.has_synced() && store.problems().is_empty());
    write("b.yaml", "kind: [".to_owned());
    store.refresh();
    assert!(store.poll(&mut subscription).is_empty());
    assert_eq!((store.is_whole(), store.has_synced(), store.len()), (false, true, 2));
}

#[test]
fn a_folder_that_is_not_there_is_not_an_empty_mesh() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("later");
    let mut store = store(&folder);
    store.refresh();
    assert_eq!((store.has_synced(), store.problems().len()), (false, 1));
    fs::create_dir(&folder).unwrap();
    store.refresh();
    assert_eq!((store.has_synced(), store.problems().len()), (true, 0));
}

#[test]
fn what_the_model_does_not_know_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let mut store = store(folder.path());
    store.refresh();
    assert_eq!((store.warnings().len(), store.problems().len(), store.has_synced()), (1, 0, true));
}

#[test]
fn an_object_that_was_read_again_is_not_kept_twice() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), service("a", "10.0.0.1")).unwrap();
    let mut store = store(folder.path());
    for _ in 0..3 {
        store.refresh();
        let object = store.list(None, None).pop().unwrap();
        // Ours, the cache's and that of the source, which keeps what each file gave last.
        assert_eq!(Arc::strong_count(&object), 3);
    }
}

#[test]
fn writes_are_refused_with_the_way_to_make_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), service("a", "10.0.0.1")).unwrap();
    let mut store = store(folder.path());
    store.refresh();
    let object = store.list(None, None).pop().unwrap();
    let expected = "Service default/a cannot be written here: manifests are only read; change the file";
    assert_eq!(store.create(Object::clone(&object)).unwrap_err().to_string(), expected);
    assert_eq!(store.update(Object::clone(&object), None).unwrap_err().to_string(), expected);
    assert_eq!(store.delete(&object.key(), None).unwrap_err().to_string(), expected);
    assert_eq!(store.get(&object.key()), Some(object));
}
