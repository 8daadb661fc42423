//! Manifests as JSON values: read from files, told apart by kind and name, and made comparable. Not typed: what a field may
//! be is the schema's business.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Labels that a way of installing adds: who installed, and which chart.
const INSTALLER_LABELS: [&str; 3] = ["app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"];

/// Kind, namespace (empty for none) and name.
pub type Key = (String, String, String);

/// All documents of a text.
///
/// # Errors
/// If it is not YAML.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple::<Value>(text)?)
}

/// All documents of a file below the root.
///
/// # Errors
/// If it cannot be read, or is not YAML.
pub fn read(path: &str) -> Result<Vec<Value>> {
    let text = fs::read_to_string(crate::root().join(path)).with_context(|| format!("cannot read {path}"))?;
    documents(&text).with_context(|| path.to_owned())
}

/// Files below a folder with one of the extensions, by name.
///
/// # Errors
/// If a folder cannot be read.
pub fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().and_then(|it| it.to_str()).is_some_and(|it| extensions.contains(&it)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A string at a JSON pointer, empty if there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements at a JSON pointer, none if there is no list.
pub fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// What tells an object from others.
#[must_use]
pub fn key(object: &Value) -> Key {
    let of = |pointer| text(object, pointer).to_owned();
    (of("/kind"), of("/metadata/namespace"), of("/metadata/name"))
}

/// Whether Helm applies it at certain moments only.
#[must_use]
pub fn is_hook(object: &Value) -> bool {
    !text(object, "/metadata/annotations/helm.sh~1hook").is_empty()
}

/// Objects by key, without what the way of installing adds, so that two ways can be compared.
///
/// # Errors
/// If there are two objects of one key.
pub fn comparable(objects: impl IntoIterator<Item = Value>) -> Result<BTreeMap<Key, Value>> {
    let mut all = BTreeMap::new();
    for mut object in objects {
        let metadata =
            object.get_mut("metadata").and_then(Value::as_object_mut).context("an object without metadata")?;
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.retain(|name, _| !INSTALLER_LABELS.contains(&name.as_str()));
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !name.starts_with("helm.sh/hook"));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        let key = key(&object);
        if all.insert(key.clone(), object).is_some() {
            bail!("{key:?} is there twice");
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str =
        "kind: Pod\nmetadata: {name: a, labels: {x: y, helm.sh/chart: c}, annotations: {helm.sh/hook: test}}";

    #[test]
    fn what_the_installer_adds_does_not_count() {
        let objects = comparable(documents(OBJECT).unwrap()).unwrap();
        let bare = comparable(documents("kind: Pod\nmetadata: {name: a, labels: {x: y}}").unwrap()).unwrap();
        assert_eq!(objects, bare);
    }

    #[test]
    fn an_object_that_is_there_twice_is_an_error() {
        assert!(comparable(documents(&format!("{OBJECT}\n---\n{OBJECT}")).unwrap()).is_err());
    }
}
