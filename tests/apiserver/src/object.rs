//! One object as it is kept: its JSON, written once, and the little that selectors ask for. Never changed in place.

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// How an object is written to a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    /// With apiVersion and kind: the text up to `"metadata"`, as [`heading`] makes it.
    Whole(&'a str),
    /// Without apiVersion and kind, as built-in kinds are in lists.
    Item,
    /// Metadata alone (`PartialObjectMetadata`).
    Metadata,
}

/// What stands before `"metadata"` in a whole object.
pub(crate) fn heading(api_version: &str, kind: &str) -> String {
    format!("{{\"apiVersion\":{},\"kind\":{},", json!(api_version), json!(kind))
}

const METADATA: &str = "{\"metadata\":";

/// An object of one version.
#[derive(Debug)]
pub(crate) struct Object {
    /// `{"metadata":...` and the rest, without apiVersion and kind.
    json: Bytes,
    /// Where the value of `metadata` ends.
    metadata_end: usize,
    /// Key, NUL, value, NUL, and so on: one allocation, for there may be hundreds of thousands.
    labels: Box<str>,
    node: Option<Box<str>>,
    version: u64,
}

impl Object {
    /// Writes the object down as of this version. Its apiVersion and kind are the collection's.
    pub(crate) fn new(value: Value, version: u64) -> Self {
        let mut fields = match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        fields.remove("apiVersion");
        fields.remove("kind");
        let mut metadata = match fields.remove("metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        metadata.insert("resourceVersion".to_owned(), Value::String(version.to_string()));
        let labels = pack(metadata.get("labels"));
        let node = fields.get("spec").and_then(|spec| spec.get("nodeName")).and_then(Value::as_str).map(Into::into);
        let mut text = format!("{METADATA}{}", Value::Object(metadata));
        let metadata_end = text.len();
        let rest = Value::Object(fields).to_string();
        if let Some(rest) = rest.strip_prefix('{')
            && rest != "}"
        {
            text.push(',');
            text.push_str(rest);
        } else {
            text.push('}');
        }
        // Not larger than it has to be: there may be hundreds of thousands.
        Self { json: Bytes::from(text.into_boxed_str().into_boxed_bytes()), metadata_end, labels, node, version }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let mut parts = self.labels.split('\0');
        while let (Some(found), Some(value)) = (parts.next(), parts.next()) {
            if found == key {
                return Some(value);
            }
        }
        None
    }

    /// Parsed, without apiVersion and kind.
    pub(crate) fn value(&self) -> Value {
        // It was written by us; were it not JSON, an object without content shows that in every test.
        serde_json::from_slice(&self.json).unwrap_or_else(|_| json!({"metadata": {}}))
    }

    /// Appends the JSON.
    pub(crate) fn write(&self, form: Form<'_>, out: &mut Vec<u8>) {
        match form {
            Form::Whole(heading) => {
                out.extend_from_slice(heading.as_bytes());
                out.extend_from_slice(self.json.get(1..).unwrap_or_default());
            }
            Form::Item => out.extend_from_slice(&self.json),
            Form::Metadata => {
                out.extend_from_slice(heading("meta.k8s.io/v1", "PartialObjectMetadata").as_bytes());
                out.extend_from_slice(self.json.get(1..self.metadata_end).unwrap_or_default());
                out.push(b'}');
            }
        }
    }

    /// Bytes of its JSON.
    pub(crate) fn len(&self) -> usize {
        self.json.len()
    }
}

fn pack(labels: Option<&Value>) -> Box<str> {
    let mut packed = String::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for part in [key.as_str(), value.as_str().unwrap_or_default()] {
            packed.push_str(part);
            packed.push('\0');
        }
    }
    packed.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: Value, form: Form<'_>) -> Value {
        let mut out = Vec::new();
        Object::new(value, 7).write(form, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_form_is_json_and_carries_the_version() {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "addressType": "IPv4", "metadata": {"name": "a"}, "spec": {"x": 1}});
        let whole = written(value.clone(), Form::Whole(&heading("v1", "Pod")));
        assert_eq!(whole["metadata"], json!({"name": "a", "resourceVersion": "7"}));
        assert_eq!((&whole["kind"], &whole["addressType"]), (&json!("Pod"), &json!("IPv4")));
        assert!(written(value.clone(), Form::Item).get("kind").is_none());
        let metadata = written(value, Form::Metadata);
        assert!(metadata.get("spec").is_none());
        assert_eq!(metadata["metadata"]["name"], "a");
        assert_eq!(written(json!({"metadata": {}}), Form::Item), json!({"metadata": {"resourceVersion": "7"}}));
    }
}
