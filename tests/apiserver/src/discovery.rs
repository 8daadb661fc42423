//! What the server says about itself: version, groups, kinds, and of OpenAPI what kubectl asks before it writes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::resource::Resource;
use crate::store::Store;

/// The release whose behaviour is meant.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2025-04-23T13:00:00Z", "goVersion": "go1.24.2", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// `/api`.
pub(crate) fn api_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// Groups with their versions, the preferred one first.
fn groups(store: &Store) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, resource) in store.served().filter(|(_, resource)| !resource.group.is_empty()) {
        let versions = groups.entry(&resource.group).or_default();
        for version in &resource.versions {
            if !versions.contains(&version.as_str()) {
                versions.push(version);
            }
        }
    }
    groups
}

fn group(name: &str, versions: &[&str]) -> Value {
    let all: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": all.first(), "versions": all})
}

/// `/apis`.
pub(crate) fn api_groups(store: &Store) -> Value {
    let groups: Vec<Value> = groups(store).into_iter().map(|(name, versions)| group(name, &versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(crate) fn api_group(store: &Store, name: &str) -> Option<Value> {
    let mut found = group(name, groups(store).get(name)?);
    if let Some(fields) = found.as_object_mut() {
        fields.insert("kind".to_owned(), json!("APIGroup"));
        fields.insert("apiVersion".to_owned(), json!("v1"));
    }
    Some(found)
}

fn of<'s>(store: &'s Store, group: &'s str, version: &'s str) -> impl Iterator<Item = &'s Resource> {
    store
        .served()
        .map(|(_, resource)| &**resource)
        .filter(move |resource| resource.group == group && resource.versions.iter().any(|served| served == version))
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(store: &Store, group: &str, version: &str) -> Option<Value> {
    let mut all = Vec::new();
    let mut group_version = String::new();
    for resource in of(store, group, version) {
        group_version = resource.api_version(version);
        let entry = json!({
            "name": resource.plural, "singularName": resource.kind.to_lowercase(), "kind": resource.kind,
            "namespaced": resource.is_namespaced, "shortNames": resource.short_names, "verbs": resource.verbs(),
        });
        all.push(entry);
        if resource.has_status {
            all.push(json!({
                "name": format!("{}/status", resource.plural), "singularName": "", "kind": resource.kind,
                "namespaced": resource.is_namespaced, "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let list =
        || json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": all});
    (!all.is_empty()).then(list)
}

/// `/openapi/v3`: where the documents are.
pub(crate) fn open_api(store: &Store) -> Value {
    let mut paths = Map::new();
    paths.insert("api/v1".to_owned(), json!({"serverRelativeURL": "/openapi/v3/api/v1"}));
    for (name, versions) in groups(store) {
        for version in versions {
            let path = format!("apis/{name}/{version}");
            paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}")}));
        }
    }
    json!({"paths": paths})
}

/// One document: that objects can be patched, with which parameters. No schemas.
pub(crate) fn open_api_of(store: &Store, group: &str, version: &str) -> Option<Value> {
    let mut paths = Map::new();
    for resource in of(store, group, version) {
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let scope = if resource.is_namespaced { "/namespaces/{namespace}" } else { "" };
        let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        let operation = json!({
            "operationId": format!("patch{}{}", version, resource.kind), "parameters": parameters,
            "responses": {"200": {"description": "OK"}}, "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": resource.kind},
        });
        paths.insert(format!("{root}{scope}/{}/{{name}}", resource.plural), json!({"patch": operation}));
    }
    let document = || {
        json!({
            "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.33.0"}, "paths": paths,
            "components": {"schemas": {}},
        })
    };
    (!paths.is_empty()).then(document)
}
