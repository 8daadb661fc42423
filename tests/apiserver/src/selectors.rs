//! Label and field selectors: parsing and matching. Labels come packed, as the store keeps them.

use serde_json::Value;

use crate::object::Object;
use crate::refusal::Refusal;
use crate::store::Key;

/// Which objects of a collection are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In { key: String, values: Vec<String> },
    NotIn { key: String, values: Vec<String> },
    Exists(String),
    DoesNotExist(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    value: String,
    is_equal: bool,
}

/// Fields that may be selected by, besides name and namespace: kind (plural) and path.
const FIELDS: [(&str, &str); 13] = [
    ("pods", "spec.nodeName"),
    ("pods", "spec.serviceAccountName"),
    ("pods", "spec.restartPolicy"),
    ("pods", "status.phase"),
    ("pods", "status.podIP"),
    ("events", "involvedObject.kind"),
    ("events", "involvedObject.name"),
    ("events", "involvedObject.namespace"),
    ("events", "involvedObject.uid"),
    ("events", "reason"),
    ("events", "type"),
    ("secrets", "type"),
    ("namespaces", "status.phase"),
];

impl Selector {
    /// From the two query parameters.
    pub(crate) fn parse(plural: &str, labels: Option<&str>, fields: Option<&str>) -> Result<Self, Refusal> {
        let labels = match labels {
            Some(text) => split(text).into_iter().map(requirement).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let fields = match fields {
            Some(text) => text
                .split(',')
                .filter(|part| !part.is_empty())
                .map(|part| field(plural, part))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Self { labels, fields })
    }

    /// Whether it selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Adds what a request for one name means for a watch.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.fields.push(FieldRequirement { path: "metadata.name".to_owned(), value: name.to_owned(), is_equal: true });
        self
    }

    pub(crate) fn matches(&self, key: &Key, object: &Object) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(object))
            && self.fields.iter().all(|field| field.matches(key, object))
    }
}

impl Requirement {
    fn matches(&self, object: &Object) -> bool {
        match self {
            Self::In { key, values } => object.label(key).is_some_and(|found| values.iter().any(|v| v == found)),
            Self::NotIn { key, values } => object.label(key).is_none_or(|found| values.iter().all(|v| v != found)),
            Self::Exists(key) => object.label(key).is_some(),
            Self::DoesNotExist(key) => object.label(key).is_none(),
        }
    }
}

impl FieldRequirement {
    fn matches(&self, key: &Key, object: &Object) -> bool {
        let is_same = match self.path.as_str() {
            "metadata.name" => *key.name == *self.value,
            "metadata.namespace" => *key.namespace == *self.value,
            "spec.nodeName" => object.node().unwrap_or_default() == self.value,
            path => {
                let pointer = format!("/{}", path.replace('.', "/"));
                object.value().pointer(&pointer).and_then(Value::as_str).unwrap_or_default() == self.value
            }
        };
        is_same == self.is_equal
    }
}

/// At commas that are not in the brackets of a set.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn requirement(text: &str) -> Result<Requirement, Refusal> {
    let text = text.trim();
    let wrong = || Refusal::BadRequest(format!("unable to parse requirement: {text:?}"));
    if let Some(open) = text.find('(') {
        let (head, set) = text.split_at(open);
        let set = set.strip_prefix('(').and_then(|set| set.strip_suffix(')')).ok_or_else(wrong)?;
        let values: Vec<String> = set.split(',').map(|value| value.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => Ok(Requirement::In { key: key.to_owned(), values }),
            (Some(key), Some("notin"), None) => Ok(Requirement::NotIn { key: key.to_owned(), values }),
            _ => Err(wrong()),
        };
    }
    let pair = |(key, value): (&str, &str)| (key.trim().to_owned(), vec![value.trim().to_owned()]);
    if let Some(found) = text.split_once("!=") {
        let (key, values) = pair(found);
        return Ok(Requirement::NotIn { key, values });
    }
    if let Some(found) = text.split_once("==").or_else(|| text.split_once('=')) {
        let (key, values) = pair(found);
        return Ok(Requirement::In { key, values });
    }
    match text.strip_prefix('!') {
        Some(key) => Ok(Requirement::DoesNotExist(key.trim().to_owned())),
        None if text.contains(char::is_whitespace) => Err(wrong()),
        None => Ok(Requirement::Exists(text.to_owned())),
    }
}

fn field(plural: &str, text: &str) -> Result<FieldRequirement, Refusal> {
    let (path, value, is_equal) = if let Some((path, value)) = text.split_once("!=") {
        (path, value, false)
    } else if let Some((path, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (path, value, true)
    } else {
        return Err(Refusal::BadRequest(format!("invalid selector: '{text}'; can't understand '{text}'")));
    };
    let is_known = ["metadata.name", "metadata.namespace"].contains(&path) || FIELDS.contains(&(plural, path));
    if !is_known {
        return Err(Refusal::BadRequest(format!("field label not supported: {path}")));
    }
    Ok(FieldRequirement { path: path.to_owned(), value: value.to_owned(), is_equal })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(labels: &str, fields: &str) -> bool {
        let object = Object::new(
            json!({"metadata": {"labels": {"app": "web", "tier": ""}},
                   "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}),
            1,
        );
        let selector = Selector::parse("pods", Some(labels), Some(fields)).unwrap();
        selector.matches(&Key::new("prod", "web-0"), &object)
    }

    #[test]
    fn labels_match_by_every_operator() {
        for (labels, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("zone!=a", true),
            ("app in (db, web),tier=", true),
            ("app notin (db,web)", false),
            ("!zone", true),
            ("!app", false),
            ("zone", false),
        ] {
            assert_eq!(check(labels, ""), expected, "{labels}");
        }
    }

    #[test]
    fn fields_match_by_name_namespace_node_and_phase() {
        for (fields, expected) in [
            ("metadata.name=web-0", true),
            ("metadata.name=web-1", false),
            ("metadata.namespace=prod,spec.nodeName=n1", true),
            ("spec.nodeName!=n1", false),
            ("status.phase=Running", true),
        ] {
            assert_eq!(check("", fields), expected, "{fields}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let refusal = Selector::parse("pods", None, Some("spec.color=red")).unwrap_err();
        assert_eq!(refusal, Refusal::BadRequest("field label not supported: spec.color".to_owned()));
        assert!(Selector::parse("pods", Some("a b c"), None).is_err());
    }
}
