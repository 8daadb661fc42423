//! Server-side apply: who owns what, who is in whose way, what goes when nobody owns it.

use serde_json::json;

use super::*;

fn author(manager: &str) -> Author {
    Author {
        manager: manager.to_owned(),
        api_version: "v1".to_owned(),
        subresource: String::new(),
        time: "2026-01-01T00:00:00Z".to_owned(),
    }
}

/// Applies in turn; conflicts end it.
fn apply(steps: &[(&str, Value)], is_forced: bool) -> Result<(Value, Managers), Vec<FieldConflict>> {
    let mut live = json!({});
    let mut managers = Managers::default();
    for (manager, applied) in steps {
        live = managers.apply("services", &live, applied, &author(manager), is_forced)?;
    }
    Ok((live, managers))
}

fn fields(managers: &Managers, name: &str) -> Value {
    let found = managers.0.iter().find(|manager| manager.author.manager == name);
    found.map_or(Value::Null, |manager| manager.fields.to_v1())
}

#[test]
fn a_field_that_is_no_longer_applied_goes_and_what_others_own_stays() {
    let steps = [
        ("a", json!({"metadata": {"name": "s", "labels": {"x": "1", "y": "1"}}})),
        ("b", json!({"metadata": {"name": "s", "labels": {"y": "1"}}})),
        ("a", json!({"metadata": {"name": "s"}})),
    ];
    let (live, managers) = apply(&steps, false).unwrap();
    assert_eq!(live["metadata"]["labels"], json!({"y": "1"}));
    assert_eq!(fields(&managers, "a"), Value::Null);
    assert_eq!(fields(&managers, "b"), json!({"f:metadata": {"f:labels": {"f:y": {}}}}));
}

#[test]
fn the_last_label_takes_the_map_with_it() {
    let steps =
        [("a", json!({"metadata": {"name": "s", "labels": {"x": "1"}}})), ("a", json!({"metadata": {"name": "s"}}))];
    assert_eq!(apply(&steps, false).unwrap().0, json!({"metadata": {"name": "s"}}));
}

#[test]
fn another_value_for_the_field_of_another_is_a_conflict_and_the_same_value_is_shared() {
    let first = ("a", json!({"metadata": {"labels": {"x": "1"}}}));
    let (_, managers) = apply(&[first.clone(), ("b", json!({"metadata": {"labels": {"x": "1"}}}))], false).unwrap();
    assert_eq!(fields(&managers, "a"), fields(&managers, "b"));
    let second = ("b", json!({"metadata": {"labels": {"x": "2"}}}));
    let conflicts = apply(&[first.clone(), second.clone()], false).unwrap_err();
    assert_eq!(conflicts, [FieldConflict { manager: "\"a\"".to_owned(), field: ".metadata.labels.x".to_owned() }]);
    let (live, managers) = apply(&[first, second], true).unwrap();
    assert_eq!(live["metadata"]["labels"]["x"], "2");
    assert_eq!(fields(&managers, "a"), Value::Null);
}

#[test]
fn conditions_of_two_managers_live_side_by_side() {
    let condition = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
    let steps = [("a", condition("A", "True")), ("b", condition("B", "True")), ("a", condition("A", "False"))];
    let (live, managers) = apply(&steps, false).unwrap();
    assert_eq!(
        live["status"]["conditions"],
        json!([{"type": "A", "status": "False"}, {"type": "B", "status": "True"}])
    );
    assert_eq!(
        fields(&managers, "b"),
        json!({"f:status": {"f:conditions": {"k:{\"type\":\"B\"}": {".": {}, "f:status": {}, "f:type": {}}}}})
    );
    let conflicts = apply(&[("a", condition("A", "True")), ("b", condition("A", "False"))], false).unwrap_err();
    assert_eq!(conflicts[0].field, ".status.conditions[type=\"A\"].status");
    let (live, _) = apply(&[steps[0].clone(), steps[1].clone(), ("a", json!({}))], false).unwrap();
    assert_eq!(live["status"]["conditions"], json!([{"type": "B", "status": "True"}]));
}

#[test]
fn an_update_takes_fields_without_asking() {
    let (live, mut managers) = apply(&[("a", json!({"spec": {"x": 1, "y": 1, "list": [1]}}))], false).unwrap();
    let new = json!({"spec": {"x": 2, "y": 1, "list": [1, 2], "z": {"deep": 1}}});
    managers.update("services", Some(&live), &new, &author("b"));
    assert_eq!(fields(&managers, "a"), json!({"f:spec": {"f:y": {}}}));
    assert_eq!(fields(&managers, "b"), json!({"f:spec": {"f:x": {}, "f:list": {}, "f:z": {"f:deep": {}}}}));
    managers.update("services", Some(&new), &json!({"spec": {"y": 1}}), &author("c"));
    assert_eq!((fields(&managers, "b"), fields(&managers, "c")), (Value::Null, Value::Null));
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let ports = json!({"spec": {"ports": [{"port": 80, "name": "http"}], "selector": {"app": "x"}}});
    let (mut live, managers) =
        apply(&[("a", ports), ("b", json!({"metadata": {"finalizers": ["f"]}}))], false).unwrap();
    let written = managers.to_value().unwrap();
    fields_of(live.get_mut("metadata").unwrap()).insert("managedFields".to_owned(), written.clone());
    assert_eq!(Managers::of(&live).to_value(), Some(written));
    assert_eq!(
        fields(&managers, "a"),
        json!({"f:spec": {
            "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}},
            "f:selector": {}
        }})
    );
    assert_eq!(fields(&managers, "b"), json!({"f:metadata": {"f:finalizers": {"v:\"f\"": {}}}}));
}
