//! CustomResourceDefinitions: a kind comes and goes with the object that defines it. No schemas are read.

use serde_json::{Value, json};

use crate::managed::fields_of;
use crate::object::Object;
use crate::resource::Resource;
use crate::store::Store;
use crate::writes::Target;

/// The plural of the kind that defines kinds.
pub(crate) const PLURAL: &str = "customresourcedefinitions";

fn strings(value: Option<&Value>) -> Vec<String> {
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What a definition defines; `None` if it lacks a name.
fn defined(definition: &Value) -> Option<Resource> {
    let spec = definition.get("spec")?;
    let names = spec.get("names")?;
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let versions = spec.get("versions").and_then(Value::as_array)?;
    let served: Vec<&Value> =
        versions.iter().filter(|version| version.get("served").and_then(Value::as_bool) != Some(false)).collect();
    // The stored one first: it is what is preferred here.
    let mut sorted: Vec<&Value> = served.clone();
    sorted.sort_by_key(|version| version.get("storage").and_then(Value::as_bool) != Some(true));
    let found: Vec<String> = sorted.iter().filter_map(|version| text(version, "name")).collect();
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let resource = Resource::custom(&text(spec, "group")?, &found, &text(names, "plural")?, &text(names, "kind")?);
    Some(Resource {
        short_names: strings(names.get("shortNames")),
        is_namespaced: text(spec, "scope")? != "Cluster",
        has_status: served.iter().any(|version| version.pointer("/subresources/status").is_some()),
        ..resource
    })
}

/// The definition of a kind.
pub(crate) fn definition(resource: &Resource) -> Value {
    let versions: Vec<Value> = resource
        .versions
        .iter()
        .enumerate()
        .map(|(index, version)| {
            let subresources = if resource.has_status { json!({"status": {}}) } else { json!({}) };
            json!({
                "name": version, "served": true, "storage": index == 0, "subresources": subresources,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.to_string()},
        "spec": {
            "group": resource.group, "versions": versions,
            "scope": if resource.is_namespaced { "Namespaced" } else { "Cluster" },
            "names": {
                "plural": resource.plural, "singular": resource.kind.to_lowercase(), "kind": resource.kind,
                "listKind": format!("{}List", resource.kind), "shortNames": resource.short_names,
            },
        },
    })
}

/// Says on a definition that it is in force, as the API server does as soon as it is.
pub(crate) fn establish(definition: &mut Value, now: &str) {
    if definition.pointer("/status/acceptedNames").is_some() {
        return;
    }
    let names = definition.pointer("/spec/names").cloned().unwrap_or_default();
    let stored: Vec<Value> = definition
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|version| version.get("storage").and_then(Value::as_bool) == Some(true))
        .filter_map(|version| version.get("name").cloned())
        .collect();
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    let status = json!({
        "acceptedNames": names, "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
    fields_of(definition).insert("status".to_owned(), status);
}

/// Serves what a definition defines, if the object is one.
pub(crate) fn follow(store: &mut Store, target: &Target, object: &Object) {
    if target.resource.plural == PLURAL
        && let Some(resource) = defined(&object.value())
    {
        store.install(resource);
    }
}

/// No longer serves what a definition defined.
pub(crate) fn unfollow(store: &mut Store, target: &Target, object: &Object) {
    if target.resource.plural == PLURAL
        && let Some(resource) = defined(&object.value())
    {
        store.uninstall(&resource.group, &resource.plural);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::gateway_api;

    #[test]
    fn a_definition_defines_what_it_was_made_from() {
        for resource in gateway_api() {
            assert_eq!(defined(&definition(&resource)), Some(resource));
        }
        assert_eq!(defined(&json!({"spec": {"group": "x"}})), None);
    }
}
