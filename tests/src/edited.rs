//! Edits as `wayswitch explain -o json` prints them, carried out on manifests: the document of an object is read as it is
//! written, changed where the edit says, and put into a file of its own that wins. Not by the code that promised: nothing of
//! the model is used here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

/// The object of an edit as it is written in a manifest, after the edit.
///
/// # Errors
/// The manifest has no such object, or the edit is about a place that it does not have.
pub fn object(manifest: &Path, edit: &Value) -> Result<Value> {
    let text = |key: &str| edit.pointer(&format!("/object/{key}")).and_then(Value::as_str).unwrap_or_default();
    let (kind, namespace, name) = (text("kind"), text("namespace"), text("name"));
    let is_it = |document: &Value| {
        let of = |key: &str| document.pointer(&format!("/metadata/{key}")).and_then(Value::as_str);
        let place = if namespace.is_empty() { "" } else { of("namespace").unwrap_or("default") };
        document.get("kind").and_then(Value::as_str) == Some(kind) && of("name") == Some(name) && place == namespace
    };
    // Of two documents for one object the later counts.
    let mut object = documents(manifest)?.into_iter().rfind(is_it);
    let object = object.as_mut().with_context(|| format!("no {kind} {namespace}/{name} in {}", manifest.display()))?;
    for write in edit.get("writes").and_then(Value::as_array).into_iter().flatten() {
        let path = write.get("path").and_then(Value::as_array).context("an edit without a path")?;
        put(object, path, written(path, write.get("value").unwrap_or(&Value::Null))?)?;
    }
    Ok(object.take())
}

/// The same as a file in `folder`, to be read after the manifest.
///
/// # Errors
/// As for [`object`]; also when the file cannot be written.
pub fn file(folder: &Path, manifest: &Path, edit: &Value) -> Result<PathBuf> {
    let path = folder.join("edited.json");
    std::fs::write(&path, object(manifest, edit)?.to_string())?;
    Ok(path)
}

/// All documents of a file, lists unfolded, in their order.
fn documents(manifest: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let mut objects = Vec::new();
    for document in documents.iter().filter(|document| document.lines().any(|line| !line.trim().is_empty())) {
        let value: Value = manifest::settings("a document", document, &manifest::Limits::default())
            .map_err(|problem| anyhow::anyhow!("{}: {problem}", manifest.display()))?;
        match value.get("items").and_then(Value::as_array) {
            Some(items) => objects.extend(items.iter().cloned()),
            None => objects.push(value),
        }
    }
    Ok(objects)
}

/// What stands in the manifest: an address of a Gateway is printed as `TYPE=VALUE`.
fn written(path: &[Value], value: &Value) -> Result<Value> {
    if *path != [json!("status"), json!("addresses")] {
        return Ok(value.clone());
    }
    let (kind, value) = value.as_str().and_then(|text| text.split_once('=')).context("an address is TYPE=VALUE")?;
    Ok(json!([{ "type": kind, "value": value }]))
}

/// Writes `value` at the end of `path`; null takes the key away.
fn put(object: &mut Value, path: &[Value], value: Value) -> Result<()> {
    let Some((step, rest)) = path.split_first() else {
        *object = value;
        return Ok(());
    };
    let inside = match step {
        Value::String(key) => {
            if object.is_null() {
                *object = Value::Object(Map::new());
            }
            let fields = object.as_object_mut().with_context(|| format!("{key} of what is no mapping"))?;
            if rest.is_empty() && value.is_null() {
                fields.remove(key);
                return Ok(());
            }
            fields.entry(key.clone()).or_insert(Value::Null)
        }
        Value::Number(index) => {
            let index = index.as_u64().and_then(|index| usize::try_from(index).ok()).context("no index")?;
            object.get_mut(index).with_context(|| format!("no item {index}"))?
        }
        Value::Object(_) => {
            let address = step.get("address").context("an item is found by its address")?;
            let items = object.as_array_mut().context("an address of what is no list")?;
            let found = items.iter_mut().find(|item| item.get("address") == Some(address));
            found.with_context(|| format!("no item with the address {address}"))?
        }
        other => bail!("{other} is no step of a path"),
    };
    put(inside, rest, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_where_the_path_leads_and_nowhere_else() {
        let rows = [
            (
                json!({}),
                json!(["metadata", "labels", "a"]),
                json!("b"),
                json!({ "metadata": { "labels": { "a": "b" } } }),
            ),
            (
                json!({ "metadata": { "labels": { "a": "b", "c": "d" } } }),
                json!(["metadata", "labels", "a"]),
                Value::Null,
                json!({ "metadata": { "labels": { "c": "d" } } }),
            ),
            (
                json!({ "spec": { "listeners": [{ "port": 1 }, { "port": 2 }] } }),
                json!(["spec", "listeners", 1, "allowedRoutes", "namespaces", "from"]),
                json!("All"),
                json!({ "spec": { "listeners": [
                    { "port": 1 },
                    { "port": 2, "allowedRoutes": { "namespaces": { "from": "All" } } },
                ] } }),
            ),
            (
                json!({ "spec": { "endpoints": [{ "address": "a" }, { "address": "b" }] } }),
                json!(["spec", "endpoints", { "address": "b" }, "labels", "k"]),
                json!("v"),
                json!({ "spec": { "endpoints": [{ "address": "a" }, { "address": "b", "labels": { "k": "v" } }] } }),
            ),
        ];
        for (mut object, path, value, expected) in rows {
            put(&mut object, path.as_array().unwrap(), value).unwrap();
            assert_eq!(object, expected);
        }
        let wrong =
            [json!(["spec", "listeners", 0]), json!(["spec", "listeners", { "address": "a" }]), json!(["kind", "a"])];
        for path in wrong {
            let mut object = json!({ "kind": "Gateway", "spec": { "listeners": [] } });
            assert!(put(&mut object, path.as_array().unwrap(), json!("x")).is_err(), "{path}");
        }
    }
}
