//! How lists and maps merge: by which keys, or as a whole. A table of the kinds served here, not an OpenAPI schema.

use serde_json::{Map, Value};

/// How a list or map is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// As one value.
    Atomic,
    /// Items by these fields; with a default for each, which may be null.
    Keyed(&'static [(&'static str, Option<&'static str>)]),
    /// Items by their value.
    Set,
    /// Maps: field by field.
    Granular,
}

const BY_TYPE: Merge = Merge::Keyed(&[("type", None)]);
const BY_NAME: Merge = Merge::Keyed(&[("name", None)]);
const BY_IP: Merge = Merge::Keyed(&[("ip", None)]);

/// Kind (plural, `*` for all) and path, with `*` for an item of a list. The first that fits counts.
const TABLE: [(&str, &str, Merge); 28] = [
    ("*", "metadata.ownerReferences", Merge::Keyed(&[("uid", None)])),
    ("*", "metadata.finalizers", Merge::Set),
    // Istio's definitions name no keys for conditions: whoever applies one owns the whole list.
    ("serviceentries", "status.conditions", Merge::Atomic),
    ("workloadentries", "status.conditions", Merge::Atomic),
    ("authorizationpolicies", "status.conditions", Merge::Atomic),
    ("peerauthentications", "status.conditions", Merge::Atomic),
    ("serviceentries", "spec.ports", BY_NAME),
    ("*", "status.conditions", BY_TYPE),
    ("services", "spec.ports", Merge::Keyed(&[("port", None), ("protocol", Some("TCP"))])),
    ("services", "spec.selector", Merge::Atomic),
    ("gateways", "spec.listeners", BY_NAME),
    ("gateways", "status.listeners", BY_NAME),
    ("gateways", "status.listeners.*.conditions", BY_TYPE),
    ("nodes", "status.addresses", BY_TYPE),
    ("nodes", "spec.podCIDRs", Merge::Set),
    ("pods", "spec.nodeSelector", Merge::Atomic),
    ("pods", "spec.containers", BY_NAME),
    ("pods", "spec.initContainers", BY_NAME),
    ("pods", "spec.volumes", BY_NAME),
    ("pods", "spec.imagePullSecrets", BY_NAME),
    ("pods", "spec.containers.*.env", BY_NAME),
    ("pods", "spec.containers.*.ports", Merge::Keyed(&[("containerPort", None), ("protocol", Some("TCP"))])),
    ("pods", "spec.containers.*.volumeMounts", Merge::Keyed(&[("mountPath", None)])),
    ("pods", "status.podIPs", BY_IP),
    ("pods", "status.hostIPs", BY_IP),
    ("serviceaccounts", "secrets", BY_NAME),
    ("serviceaccounts", "imagePullSecrets", BY_NAME),
    ("deployments", "spec.template.spec.containers", BY_NAME),
];

/// A place in an object of some kind.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    plural: &'a str,
    path: String,
}

impl<'a> Place<'a> {
    /// The object itself.
    pub(crate) fn root(plural: &'a str) -> Self {
        Self { plural, path: String::new() }
    }

    pub(crate) fn field(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { plural: self.plural, path }
    }

    pub(crate) fn item(&self) -> Self {
        self.field("*")
    }

    /// How what is at this place merges. Lists that are not in the table are replaced, maps are merged.
    pub(crate) fn merge(&self, value: &Value) -> Merge {
        let found = TABLE
            .iter()
            .find(|(plural, path, _)| *path == self.path && (*plural == "*" || *plural == self.plural))
            .map(|(_, _, merge)| *merge);
        match (value, found) {
            (Value::Object(_), Some(Merge::Atomic)) => Merge::Atomic,
            (Value::Object(_), _) => Merge::Granular,
            (Value::Array(items), Some(merge @ Merge::Keyed(keys)))
                if items.iter().all(|item| item_key(keys, item).is_some()) =>
            {
                merge
            }
            (Value::Array(_), Some(Merge::Set)) => Merge::Set,
            _ => Merge::Atomic,
        }
    }
}

/// The key of an item as FieldsV1 writes it: `k:{"port":80,"protocol":"TCP"}`. `None` if it has none.
pub(crate) fn item_key(keys: &[(&str, Option<&str>)], item: &Value) -> Option<String> {
    let mut found = Map::new();
    for (name, default) in keys {
        let value = match (item.get(*name), default) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => Value::String((*default).to_owned()),
            (None, None) => return None,
        };
        found.insert((*name).to_owned(), value);
    }
    Some(format!("k:{}", Value::Object(found)))
}

/// The items of a list, each with its name in FieldsV1.
pub(crate) fn items(merge: Merge, value: &Value) -> Vec<(String, &Value)> {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    match merge {
        Merge::Keyed(keys) => all.filter_map(|item| Some((item_key(keys, item)?, item))).collect(),
        Merge::Set => all.map(|item| (format!("v:{item}"), item)).collect(),
        Merge::Atomic | Merge::Granular => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_keyed_by_number_and_protocol_which_has_a_default() {
        let ports = json!([{"port": 80}, {"port": 80, "protocol": "UDP"}]);
        let merge = Place::root("services").field("spec").field("ports").merge(&ports);
        let names: Vec<String> = items(merge, &ports).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [r#"k:{"port":80,"protocol":"TCP"}"#, r#"k:{"port":80,"protocol":"UDP"}"#]);
    }

    #[test]
    fn a_list_nobody_knows_is_one_value() {
        assert_eq!(Place::root("services").field("spec").field("x").merge(&json!([1])), Merge::Atomic);
        assert_eq!(Place::root("pods").field("status").field("conditions").merge(&json!([{}])), Merge::Atomic);
    }

    #[test]
    fn conditions_are_keyed_but_not_those_of_istio() {
        let of = |plural| Place::root(plural).field("status").field("conditions").merge(&json!([{"type": "A"}]));
        assert_eq!((of("services"), of("gateways"), of("serviceentries")), (BY_TYPE, BY_TYPE, Merge::Atomic));
    }
}
