//! An object as text, with the little of its metadata that following it needs.
//!
//! An object that kube could not read would fail the page of a list that it is on, for ever. So nothing of it is read here that
//! can be wrong, and the text is read once, straight into an object of the model, by the crate that knows its shape.

use std::borrow::Cow;

use kube::Resource;
use kube::api::{ApiResource, ObjectMeta, PartialObjectMeta};
use kube::core::DynamicResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    /// Only `name`, `namespace` and `resourceVersion`.
    meta: ObjectMeta,
    json: Box<RawValue>,
}

impl Raw {
    /// The object, as it was sent.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }

    /// Namespace and name, empty where there is none.
    pub(crate) fn names(&self) -> (&str, &str) {
        (self.meta.namespace.as_deref().unwrap_or_default(), self.meta.name.as_deref().unwrap_or_default())
    }

    /// The version, as the number that it is everywhere; none where it is not.
    pub(crate) fn version(&self) -> Option<u64> {
        self.meta.resource_version.as_deref()?.parse().ok()
    }
}

impl Raw {
    /// What is needed of an object of which only the metadata was asked for.
    pub(crate) fn of_metadata(object: PartialObjectMeta<Self>) -> Self {
        let ObjectMeta { name, namespace, resource_version, labels, .. } = object.metadata;
        let text = serde_json::json!({ "metadata": { "name": name, "namespace": namespace, "labels": labels } });
        let meta = ObjectMeta { name, namespace, resource_version, ..ObjectMeta::default() };
        // A JSON value is always JSON; were it not, the reader would say so.
        let json = serde_json::value::to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { meta, json }
    }
}

#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Names,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Names {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        // What is no object has no name; the reader says so.
        let Names { name, namespace, resource_version } =
            serde_json::from_str::<Head>(json.get()).unwrap_or_default().metadata;
        let meta = ObjectMeta { name, namespace, resource_version, ..ObjectMeta::default() };
        Ok(Self { meta, json })
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn api_version(of: &ApiResource) -> Cow<'_, str> {
        of.api_version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{ObjectList, WatchEvent};

    use super::*;

    #[test]
    fn an_object_that_makes_no_sense_spoils_no_list() {
        let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},
            "items":[{"metadata":{"name":"a","namespace":"n","resourceVersion":"7"}},{"metadata":{"name":7}},[]]}"#;
        let list: ObjectList<Raw> = serde_json::from_str(list).unwrap();
        let names: Vec<_> = list.items.iter().map(|it| (it.names(), it.version())).collect();
        assert_eq!(names, [(("n", "a"), Some(7)), (("", ""), None), (("", ""), None)]);
    }

    #[test]
    fn an_event_of_a_watch_keeps_its_text() {
        let event = r#"{"type":"ADDED","object":{"metadata":{"name":"a"},"spec":{ "x": 1 }}}"#;
        let WatchEvent::Added(raw) = serde_json::from_str::<WatchEvent<Raw>>(event).unwrap() else { panic!() };
        assert_eq!(raw.json(), r#"{"metadata":{"name":"a"},"spec":{ "x": 1 }}"#);
    }
}
