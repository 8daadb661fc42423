//! What an object has now of what we may write: its conditions and labels, and whose they are. A few bytes of each object, read
//! from its text; what makes no sense is as if it were not there.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use model::Kind;
use model::conditions::ConditionType;
use model::use_waypoint::{USE_WAYPOINT, USE_WAYPOINT_NAMESPACE};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{conditions, labels};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// The version that a write has to be based on; 0: there is none that is a number, and nothing is written.
    pub(crate) version: u64,
    /// Conditions of our types, in their order.
    pub(crate) conditions: Vec<HeldCondition>,
    /// The list of conditions has one owner (there is no key to its items in the kind's definition), and that is not us.
    pub(crate) is_closed: bool,
    /// The label that names its waypoint.
    pub(crate) label: HeldLabel,
}

/// A condition as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldCondition {
    pub(crate) kind: ConditionType,
    pub(crate) status: Box<str>,
    pub(crate) reason: Box<str>,
    /// Of the message: it is only compared.
    pub(crate) message: u64,
    /// `lastTransitionTime` as written.
    pub(crate) since: Box<str>,
    /// We are its owner.
    pub(crate) is_ours: bool,
}

/// The label as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldLabel {
    /// `NAME` or `NAMESPACE/NAME`.
    pub(crate) says: Option<Box<str>>,
    /// What we wrote, as we wrote it down beside.
    pub(crate) written: Option<Box<str>>,
    /// We own something of its metadata.
    pub(crate) is_ours: bool,
}

impl Held {
    /// Whether it has anything that we wrote.
    pub(crate) fn is_touched(&self) -> bool {
        self.label.is_ours || self.conditions.iter().any(|it| it.is_ours)
    }

    /// Whether the other differs in more than its version.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.conditions == other.conditions && self.is_closed == other.is_closed && self.label == other.label
    }

    /// Reads an object.
    pub(crate) fn read(kind: Kind, version: u64, json: &str) -> Self {
        let read: Parts<'_> = serde_json::from_str(json).unwrap_or_default();
        let Parts { metadata, status } = read;
        let mut ours = Owned::default();
        // Services have it in their definition; of others it shows once somebody owns an item.
        let mut is_keyed = kind == Kind::Service;
        let mut is_labelled = false;
        for entry in metadata.managed_fields.unwrap_or_default() {
            let Some(fields) = entry.fields_v1.map(RawValue::get) else { continue };
            is_keyed |= fields.contains(r#""f:conditions":{"k:"#);
            match entry.manager.as_deref() {
                Some(conditions::MANAGER) => ours = Owned::read(fields),
                Some(labels::MANAGER) => is_labelled = true,
                _ => {}
            }
        }
        let present = status.conditions.unwrap_or_default();
        let is_closed = !is_keyed && !present.is_empty() && !ours.list;
        let of_ours = present.into_iter().filter_map(|it| HeldCondition::of(it, &ours));
        let mut conditions: Vec<HeldCondition> = of_ours.collect();
        conditions.sort_by_key(|it| it.kind);
        let label = |key: &str| metadata.labels.as_ref().and_then(|it| it.get(key));
        let says = label(USE_WAYPOINT).map(|name| match label(USE_WAYPOINT_NAMESPACE) {
            Some(namespace) => format!("{namespace}/{name}").into(),
            None => name.clone(),
        });
        let written = metadata.annotations.as_ref().and_then(|it| it.get(labels::WRITTEN)).cloned();
        Self { version, conditions, is_closed, label: HeldLabel { says, written, is_ours: is_labelled } }
    }
}

/// The hash of a message.
pub(crate) fn hash(message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

impl HeldCondition {
    fn of(it: Written, ours: &Owned) -> Option<Self> {
        let kind = ConditionType::named(&it.kind?)?;
        Some(Self {
            kind,
            status: it.status.unwrap_or_default(),
            reason: it.reason.unwrap_or_default(),
            message: hash(&it.message.unwrap_or_default()),
            since: it.last_transition_time.unwrap_or_default(),
            is_ours: ours.list || ours.types.contains(&kind),
        })
    }
}

/// What of the conditions is ours.
#[derive(Default)]
struct Owned {
    /// The whole list.
    list: bool,
    types: Vec<ConditionType>,
}

impl Owned {
    /// From what the API server keeps about us.
    fn read(fields: &str) -> Self {
        let fields: Value = serde_json::from_str(fields).unwrap_or_default();
        let Some(items) = fields.pointer("/f:status/f:conditions").and_then(Value::as_object) else {
            return Self::default();
        };
        let kind = |key: &String| {
            let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
            ConditionType::named(key.get("type")?.as_str()?)
        };
        Self { list: items.is_empty(), types: items.keys().filter_map(kind).collect() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata<'a> {
    labels: Option<BTreeMap<Box<str>, Box<str>>>,
    annotations: Option<BTreeMap<Box<str>, Box<str>>>,
    #[serde(borrow)]
    managed_fields: Option<Vec<Manager<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Manager<'a> {
    manager: Option<String>,
    #[serde(borrow, rename = "fieldsV1")]
    fields_v1: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Written>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    #[serde(rename = "type")]
    kind: Option<String>,
    status: Option<Box<str>>,
    reason: Option<Box<str>>,
    message: Option<String>,
    last_transition_time: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_read_from_who_owns_it() {
        let json = r#"{"metadata":{"managedFields":[
            {"manager":"kubectl","fieldsV1":{"f:metadata":{}}},
            {"manager":"wayswitch-conditions","subresource":"status","fieldsV1":{"f:status":{"f:conditions":{
                "k:{\"type\":\"istio.io/WaypointBound\"}":{".":{},"f:reason":{}}}}}}]},
            "status":{"conditions":[
            {"type":"Other","status":"True"},
            {"type":"istio.io/WaypointMissing","status":"True","reason":"X"},
            {"type":"istio.io/WaypointBound","status":"False","reason":"R","message":"m","lastTransitionTime":"t"}]}}"#;
        let held = Held::read(Kind::Service, 7, json);
        let found: Vec<_> = held.conditions.iter().map(|it| (it.kind, &*it.status, it.is_ours)).collect();
        let expected = [(ConditionType::WaypointBound, "False", true), (ConditionType::WaypointMissing, "True", false)];
        assert_eq!(found, expected);
        assert!(!held.is_closed && held.is_touched());
        assert_eq!(held.conditions[0].message, hash("m"));
    }

    #[test]
    fn a_list_with_one_owner_is_closed_to_all_others() {
        let of = |manager: &str| {
            format!(
                r#"{{"metadata":{{"managedFields":[{{"manager":"{manager}","fieldsV1":{{"f:status":{{"f:conditions":{{}}}}}}}}]}},
                "status":{{"conditions":[{{"type":"istio.io/WaypointBound","status":"True"}}]}}}}"#
            )
        };
        let held = |manager| Held::read(Kind::ServiceEntry, 1, &of(manager));
        assert!(held("istio-ambient-service").is_closed && !held("istio-ambient-service").is_touched());
        assert!(!held("wayswitch-conditions").is_closed && held("wayswitch-conditions").is_touched());
        assert!(!Held::read(Kind::ServiceEntry, 1, "{}").is_closed, "nobody has it yet");
    }

    #[test]
    fn a_label_is_read_with_its_namespace_and_what_we_wrote_down() {
        let json = r#"{"metadata":{"labels":{"istio.io/use-waypoint":"w","istio.io/use-waypoint-namespace":"infra"},
            "annotations":{"wayswitch.io/labels-written":"infra/w"},
            "managedFields":[{"manager":"wayswitch-labels","fieldsV1":{}}]}}"#;
        let label = Held::read(Kind::Pod, 1, json).label;
        assert_eq!((label.says.as_deref(), label.written.as_deref()), (Some("infra/w"), Some("infra/w")));
        assert!(label.is_ours);
    }

    #[test]
    fn what_makes_no_sense_is_as_if_it_were_not_there() {
        for json in ["[]", "{\"metadata\":7}", "{\"status\":{\"conditions\":{}}}", "nonsense"] {
            assert_eq!(Held::read(Kind::Service, 1, json), Held { version: 1, ..Held::default() }, "{json}");
        }
    }
}
