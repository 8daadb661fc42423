//! Patches other than server-side apply: merge (RFC 7386), strategic merge, JSON patch (RFC 6902). Pure values.

use serde_json::{Map, Value};

use crate::managed::fields_of;
use crate::refusal::Refusal;
use crate::schema::{self, Merge, Place};

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let fields = fields_of(target);
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// As `merge`, but lists with keys merge item by item; `$patch: delete` and `$patch: replace` are known.
pub(crate) fn strategic(place: &Place<'_>, target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) if place.merge(patch) == Merge::Granular || fields.contains_key("$patch") => {
            if fields.get("$patch").and_then(Value::as_str) == Some("replace") {
                *target = without_directives(fields);
                return;
            }
            let old = fields_of(target);
            for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with('$')) {
                if value.is_null() || value.get("$patch").and_then(Value::as_str) == Some("delete") {
                    old.remove(name);
                } else {
                    strategic(&place.field(name), old.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        Value::Array(items) => match (place.merge(patch), target.as_array_mut()) {
            (Merge::Keyed(keys), Some(old)) => {
                for item in items {
                    let key = schema::item_key(keys, item);
                    let at = old.iter().position(|found| schema::item_key(keys, found) == key);
                    let is_deletion = item.get("$patch").and_then(Value::as_str) == Some("delete");
                    match at {
                        Some(at) if is_deletion => {
                            old.remove(at);
                        }
                        Some(at) => old.get_mut(at).into_iter().for_each(|old| strategic(&place.item(), old, item)),
                        None if is_deletion => {}
                        None => old.push(item.clone()),
                    }
                }
            }
            (Merge::Set, Some(old)) => {
                let new: Vec<Value> = items.iter().filter(|item| !old.contains(item)).cloned().collect();
                old.extend(new);
            }
            _ => *target = patch.clone(),
        },
        _ => *target = patch.clone(),
    }
}

fn without_directives(fields: &Map<String, Value>) -> Value {
    Value::Object(
        fields.iter().filter(|(name, _)| !name.starts_with('$')).map(|(n, v)| (n.clone(), v.clone())).collect(),
    )
}

/// RFC 6902.
pub(crate) fn json(target: &mut Value, patch: &Value) -> Result<(), Refusal> {
    let steps =
        patch.as_array().ok_or_else(|| Refusal::BadRequest("a JSON patch is a list of operations".to_owned()))?;
    for step in steps {
        let text = |name: &str| step.get(name).and_then(Value::as_str);
        let missing = |name: &str| Refusal::BadRequest(format!("JSON patch: {step} has no {name}"));
        let path = text("path").ok_or_else(|| missing("path"))?;
        let value = || step.get("value").cloned().ok_or_else(|| missing("value"));
        match text("op") {
            Some("add") => add(target, path, value()?)?,
            Some("remove") => drop(remove(target, path)?),
            Some("replace") => {
                let found = target.pointer_mut(path).ok_or_else(|| nothing(path))?;
                *found = value()?;
            }
            Some("test") => {
                if target.pointer(path) != Some(&value()?) {
                    return Err(Refusal::BadRequest(format!("JSON patch: testing value {path} failed: test failed")));
                }
            }
            Some("move") => {
                let moved = remove(target, text("from").ok_or_else(|| missing("from"))?)?;
                add(target, path, moved)?;
            }
            Some("copy") => {
                let from = text("from").ok_or_else(|| missing("from"))?;
                let copied = target.pointer(from).cloned().ok_or_else(|| nothing(from))?;
                add(target, path, copied)?;
            }
            _ => return Err(missing("known op")),
        }
    }
    Ok(())
}

fn nothing(path: &str) -> Refusal {
    Refusal::BadRequest(format!("JSON patch: doc is missing path: {path}: missing value"))
}

fn split(path: &str) -> Result<(&str, String), Refusal> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| nothing(path))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), Refusal> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.insert(last, value);
        }
        Some(Value::Array(items)) if last == "-" => items.push(value),
        Some(Value::Array(items)) => {
            let at = last.parse::<usize>().ok().filter(|at| *at <= items.len()).ok_or_else(|| nothing(path))?;
            items.insert(at, value);
        }
        _ => return Err(nothing(path)),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, Refusal> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent) {
        Some(Value::Object(fields)) => fields.remove(&last).ok_or_else(|| nothing(path)),
        Some(Value::Array(items)) => {
            let at = last.parse::<usize>().ok().filter(|at| *at < items.len()).ok_or_else(|| nothing(path))?;
            Ok(items.remove(at))
        }
        _ => Err(nothing(path)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_sets_and_removes_and_replaces_lists() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut target, &json!({"a": {"b": null, "e": {"f": null, "g": 1}}, "d": [3]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": {"g": 1}}, "d": [3]}));
    }

    #[test]
    fn a_strategic_patch_merges_conditions_by_type() {
        let mut target = json!({"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "x": 1}]}});
        let patch = json!({"status": {"conditions": [
            {"type": "B", "status": "False"}, {"type": "C"}, {"type": "A", "$patch": "delete"}]}});
        strategic(&Place::root("services"), &mut target, &patch);
        assert_eq!(
            target,
            json!({"status": {"conditions": [{"type": "B", "x": 1, "status": "False"}, {"type": "C"}]}})
        );
    }

    #[test]
    fn a_json_patch_escapes_slashes_and_stops_at_a_failed_test() {
        let mut target = json!({"metadata": {"labels": {}}, "list": [1, 3]});
        let patch = json!([
            {"op": "add", "path": "/metadata/labels/istio.io~1use-waypoint", "value": "w"},
            {"op": "add", "path": "/list/1", "value": 2},
            {"op": "test", "path": "/list/2", "value": 3},
            {"op": "remove", "path": "/list/0"}
        ]);
        json(&mut target, &patch).unwrap();
        assert_eq!(target, json!({"metadata": {"labels": {"istio.io/use-waypoint": "w"}}, "list": [2, 3]}));
        assert!(json(&mut target, &json!([{"op": "test", "path": "/list/0", "value": 9}])).is_err());
        assert!(json(&mut target, &json!([{"op": "remove", "path": "/none"}])).is_err());
    }
}
