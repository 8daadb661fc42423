//! The rules of writing, one by one, on a store with nothing else in it.

use super::*;
use crate::deletes::{Preconditions, delete};
use crate::resource::{built_in, gateway_api};

fn store() -> Store {
    let mut store = Store::new(100);
    for resource in built_in().into_iter().chain(gateway_api()) {
        store.install(resource);
    }
    create(&mut store, &target("namespaces", "", ""), json!({"metadata": {"name": "a"}})).unwrap();
    store
}

fn target(plural: &str, namespace: &str, name: &str) -> Target {
    let all = built_in().into_iter().chain(gateway_api());
    let (id, resource) = all.enumerate().find(|(_, resource)| resource.plural == plural).unwrap();
    Target {
        id,
        author: Author {
            manager: "test".to_owned(),
            api_version: resource.api_version(resource.preferred()),
            subresource: String::new(),
            time: "2026-01-01T00:00:00Z".to_owned(),
        },
        resource: Arc::new(resource),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: String::new(),
        is_dry_run: false,
        now: 0,
    }
}

fn status_of(target: Target) -> Target {
    let author = Author { subresource: "status".to_owned(), ..target.author.clone() };
    Target { subresource: "status".to_owned(), author, ..target }
}

fn gateway(store: &mut Store) -> Value {
    let body = json!({"metadata": {"name": "w"}, "spec": {"x": 1}, "status": {"dropped": true}});
    create(store, &target("gateways", "a", ""), body).unwrap().object.value()
}

#[test]
fn a_new_object_gets_its_identity_and_no_status() {
    let mut store = store();
    let value = gateway(&mut store);
    assert_eq!(value.pointer("/metadata/generation"), Some(&json!(1)));
    assert_eq!(value.pointer("/metadata/creationTimestamp"), Some(&json!("1970-01-01T00:00:00Z")));
    assert!(text(&value, "/metadata/uid").len() == 36 && value.get("status").is_none());
    let again = create(&mut store, &target("gateways", "a", ""), json!({"metadata": {"name": "w"}})).unwrap_err();
    assert_eq!(again.code(), (409, "AlreadyExists"));
}

#[test]
fn a_missing_namespace_is_named() {
    let refusal = create(&mut store(), &target("pods", "gone", ""), json!({"metadata": {"name": "p"}})).unwrap_err();
    assert_eq!((refusal.code().0, refusal.to_string()), (404, "namespaces \"gone\" not found".to_owned()));
}

#[test]
fn a_generated_name_begins_as_asked() {
    let body = json!({"metadata": {"generateName": "pod-"}});
    let written = create(&mut store(), &target("pods", "a", ""), body).unwrap();
    let name = text(&written.object.value(), "/metadata/name").to_owned();
    assert!(name.starts_with("pod-") && name.len() == 9, "{name}");
}

#[test]
fn an_old_version_is_a_conflict_and_an_unchanged_object_no_write() {
    let mut store = store();
    let mut value = gateway(&mut store);
    let place = target("gateways", "a", "w");
    let version = store.version();
    let same = update(&mut store, &place, value.clone()).unwrap();
    assert_eq!((same.before, same.object.version(), store.version()), (version, version, version));
    value["spec"]["x"] = json!(2);
    let changed = update(&mut store, &place, value.clone()).unwrap();
    assert_eq!(changed.object.value().pointer("/metadata/generation"), Some(&json!(2)));
    assert_eq!(update(&mut store, &place, value.clone()).unwrap_err(), Refusal::Conflict(place.subject()));
    let patched = json!({"metadata": {"resourceVersion": "1", "labels": {"x": "y"}}});
    assert_eq!(patch(&mut store, &place, PatchKind::Merge, patched).unwrap_err().code().0, 409);
    fields_of(&mut value["metadata"]).remove("resourceVersion");
    assert_eq!(update(&mut store, &place, value).unwrap_err().code().0, 422);
}

#[test]
fn status_and_the_rest_are_written_apart() {
    let mut store = store();
    gateway(&mut store);
    let place = target("gateways", "a", "w");
    let both = json!({"spec": {"x": 5}, "status": {"s": 1}, "metadata": {"labels": {"l": "1"}}});
    let value = patch(&mut store, &place, PatchKind::Merge, both.clone()).unwrap().object.value();
    assert!(value.get("status").is_none() && value["spec"]["x"] == 5);
    let both = json!({"spec": {"x": 6}, "status": {"s": 1}, "metadata": {"labels": {"l": "2"}}});
    let value = patch(&mut store, &status_of(place), PatchKind::Merge, both).unwrap().object.value();
    assert_eq!((&value["status"]["s"], &value["spec"]["x"]), (&json!(1), &json!(5)));
    assert_eq!((&value["metadata"]["labels"]["l"], &value["metadata"]["generation"]), (&json!("1"), &json!(2)));
}

#[test]
fn an_apply_makes_what_is_missing_and_again_changes_nothing() {
    let mut store = store();
    let place = target("configmaps", "a", "c");
    let kind = PatchKind::Apply { is_forced: false };
    let body = json!({"metadata": {"name": "c", "creationTimestamp": null}, "data": {"k": "v"}});
    assert!(patch(&mut store, &place, kind, body.clone()).unwrap().is_created);
    let version = store.version();
    assert_eq!(patch(&mut store, &place, kind, body.clone()).unwrap().object.version(), version);
    let other = Target { author: Author { manager: "other".to_owned(), ..place.author.clone() }, ..place };
    let refusal = patch(&mut store, &other, kind, json!({"data": {"k": "w"}})).unwrap_err();
    assert_eq!(refusal.to_string(), "Apply failed with 1 conflict: conflict with \"test\": .data.k");
    let rehearsal = Target { is_dry_run: true, ..other };
    let forced = PatchKind::Apply { is_forced: true };
    let written = patch(&mut store, &rehearsal, forced, json!({"data": {"k": "w"}})).unwrap();
    assert_eq!((&written.object.value()["data"]["k"], store.version()), (&json!("w"), version));
    assert_eq!(store.get(rehearsal.id, &rehearsal.key()).unwrap().value()["data"]["k"], "v");
}

#[test]
fn finalizers_hold_an_object_until_they_are_gone() {
    let mut store = store();
    let place = target("services", "a", "s");
    let body = json!({"metadata": {"name": "s", "finalizers": ["f"]}});
    create(&mut store, &target("services", "a", ""), body).unwrap();
    assert!(!delete(&mut store, &place, &Preconditions::default()).unwrap().is_deleted);
    let held = store.get(place.id, &place.key()).unwrap().value();
    assert!(!text(&held, "/metadata/deletionTimestamp").is_empty());
    let freed = patch(&mut store, &place, PatchKind::Merge, json!({"metadata": {"finalizers": null}})).unwrap();
    assert!(freed.is_deleted && store.get(place.id, &place.key()).is_none());
}

#[test]
fn a_delete_insists_on_its_preconditions() {
    let mut store = store();
    let value = gateway(&mut store);
    let place = target("gateways", "a", "w");
    let wrong = Preconditions { uid: Some("other".to_owned()), version: None };
    assert_eq!(delete(&mut store, &place, &wrong).unwrap_err().code().0, 409);
    let wrong = Preconditions { uid: None, version: Some("1".to_owned()) };
    assert_eq!(delete(&mut store, &place, &wrong).unwrap_err().code().0, 409);
    let right = Preconditions { uid: Some(text(&value, "/metadata/uid").to_owned()), version: None };
    assert!(delete(&mut store, &place, &right).unwrap().is_deleted);
}

#[test]
fn a_namespace_takes_its_contents_along() {
    let mut store = store();
    gateway(&mut store);
    delete(&mut store, &target("namespaces", "", "a"), &Preconditions::default()).unwrap();
    assert_eq!(store.objects(target("gateways", "a", "").id).count(), 0);
}

#[test]
fn a_definition_makes_its_kind_and_takes_it_away() {
    let mut store = store();
    let definitions = target("customresourcedefinitions", "", "");
    let things = Resource::custom("example.org", &["v1"], "things", "Thing");
    let written = create(&mut store, &definitions, crd::definition(&things)).unwrap();
    assert_eq!(written.object.value().pointer("/status/conditions/1/type"), Some(&json!("Established")));
    assert_eq!(*store.find("example.org", Some("v1"), "things").unwrap().1, things);
    let name = "things.example.org".to_owned();
    delete(&mut store, &Target { name, ..definitions }, &Preconditions::default()).unwrap();
    assert!(store.find("example.org", Some("v1"), "things").is_none());
}

#[test]
fn the_wrong_kind_or_place_is_refused() {
    let mut store = store();
    for body in [
        json!({"kind": "Pod", "metadata": {"name": "x"}}),
        json!({"apiVersion": "v2", "metadata": {"name": "x"}}),
        json!({"metadata": {"name": "x", "namespace": "b"}}),
        json!([]),
    ] {
        assert_eq!(create(&mut store, &target("services", "a", ""), body).unwrap_err().code().0, 400);
    }
    let upper = json!({"metadata": {"name": "X"}});
    assert_eq!(create(&mut store, &target("services", "a", ""), upper).unwrap_err().code().0, 422);
}

#[test]
fn what_a_test_puts_may_be_terminating_and_keeps_its_identity() {
    let mut store = store();
    let body = json!({"metadata": {"name": "p", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}});
    let place = target("pods", "a", "p");
    put(&mut store, &place, body, true).unwrap();
    let later = json!({"metadata": {"name": "p"}, "status": {"phase": "Failed"}});
    let value = put(&mut store, &place, later, true).unwrap().object.value();
    assert_eq!((text(&value, "/metadata/uid"), text(&value, "/status/phase")), ("u", "Failed"));
}
