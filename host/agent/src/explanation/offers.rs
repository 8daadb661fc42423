//! Edits that were tried: on a copy of the objects, or with other settings of the component.

use anyhow::Context as _;
use model::decider::{Asking, Terms};
use model::explain::{Edit, Level};
use model::table::{RowKey, RowKind};
use model::whatif::{self, Change, Segment, Write};
use model::{Decision, Store};
use serde_json::{Map, Value, json};

use super::{Explainer, kubectl};
use crate::output;

/// An edit that keeps its promise.
#[derive(Clone, Debug)]
pub struct Offer {
    /// As the component words it.
    pub edit: Edit,
    /// What it means.
    pub means: Means,
    /// The decision that the row gets by it.
    pub promises: Decision,
}

/// An edit that is not offered.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// As the component words it.
    pub edit: Edit,
    /// Why.
    pub why: String,
}

/// What an edit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// An object of the mesh.
    Object(Box<Change>),
    /// The settings of the component: the whole of them, as they would be.
    Settings(String),
}

pub(super) fn offer(explainer: &Explainer<'_>, key: &RowKey, edit: &Edit, now: &Decision) -> Result<Offer, String> {
    if edit.at != Level::Settings {
        let verified =
            whatif::verify(&explainer.asking(), explainer.store, key, edit, now).map_err(|dropped| chain(&dropped))?;
        return Ok(Offer {
            edit: verified.edit,
            means: Means::Object(Box::new(verified.change)),
            promises: verified.promises,
        });
    }
    let settings = with_setting(&explainer.terms.settings, edit).map_err(|error| format!("{error:#}"))?;
    let means = Means::Settings(settings);
    let then =
        means.then(explainer, |asking, store| asking.decide(store, key).map_err(|failure| failure.to_string()))??;
    match then {
        None => Err("the row would not be published after it".to_owned()),
        Some(then) if then == *now => Err("the decision would stay as it is".to_owned()),
        Some(promises) => Ok(Offer { edit: edit.clone(), means, promises }),
    }
}

/// The settings with one key changed: the value becomes text, as a setting of one word is.
fn with_setting(settings: &str, edit: &Edit) -> anyhow::Result<String> {
    let mut fields: Map<String, Value> = match settings.trim() {
        "" => Map::new(),
        text => {
            serde_json::from_str(text).context("the settings are no JSON object, so a key of them cannot be changed")?
        }
    };
    match &edit.value {
        Some(value) => fields.insert(edit.key.clone(), Value::String(value.clone())),
        None => fields.remove(&edit.key),
    };
    Ok(Value::Object(fields).to_string())
}

impl Means {
    /// What `ask` finds once the change is made, on copies.
    ///
    /// # Errors
    /// When the component refuses the settings.
    pub(super) fn then<T>(
        &self,
        explainer: &Explainer<'_>,
        ask: impl FnOnce(&Asking<'_>, &Store) -> T,
    ) -> Result<T, String> {
        match self {
            Self::Object(change) => Ok(ask(&explainer.asking(), &change.applied_to(explainer.store))),
            Self::Settings(settings) => {
                let component = explainer.component.under(settings).map_err(|refusal| refusal.to_string())?;
                let terms = Terms { settings: settings.as_str().into(), ..explainer.terms.clone() };
                let asking =
                    Asking { resolver: component.as_ref(), description: component.description(), terms: &terms };
                Ok(ask(&asking, explainer.store))
            }
        }
    }

    /// One line that an operator can use.
    pub fn command(&self) -> String {
        kubectl::command(self)
    }

    /// What is changed, where, and how.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let (mut object, mut writes, mut settings) = (Value::Null, Vec::new(), None);
        match self {
            Self::Object(change) => {
                let key = change.object.key();
                object = json!({ "kind": key.kind, "namespace": key.namespace, "name": key.name });
                writes = change.writes.iter().map(write).collect();
            }
            Self::Settings(text) => settings = Some(text),
        }
        let fields = [
            ("object", object),
            ("writes", Value::Array(writes)),
            ("settings", json!(settings)),
            ("command", json!(self.command())),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// `path`: keys, indexes, and for an item of a list that is found by its address `{"address": ...}`.
fn write(write: &Write) -> Value {
    let segment = |segment: &Segment| match segment {
        Segment::Key(key) => json!(key),
        Segment::Index(index) => json!(index),
        Segment::Address(address) => json!({ "address": address }),
    };
    json!({ "path": write.place.path().iter().map(segment).collect::<Vec<_>>(), "value": write.value })
}

impl Offer {
    /// For programs.
    pub(super) fn to_json(&self, kind: RowKind) -> Value {
        let Edit { at, gateway, key, value } = &self.edit;
        let mut fields = self.means.to_json();
        let beside = [
            ("at", json!(at)),
            ("gateway", json!(gateway)),
            ("key", json!(key)),
            ("value", json!(value)),
            ("promises", output::answer(kind, &self.promises)),
        ];
        fields.extend(beside.into_iter().map(|(key, value)| (key.to_owned(), value)));
        Value::Object(fields)
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_of_the_settings_is_changed() {
        let edit = |value: Option<&str>| Edit {
            at: Level::Settings,
            gateway: None,
            key: "unbound".to_owned(),
            value: value.map(str::to_owned),
        };
        let rows = [
            ("", Some("direct"), r#"{"unbound":"direct"}"#),
            (r#"{"unbound":"blocked","a":1}"#, Some("direct"), r#"{"a":1,"unbound":"direct"}"#),
            (r#"{"unbound":"blocked"}"#, None, "{}"),
        ];
        for (settings, value, expected) in rows {
            assert_eq!(with_setting(settings, &edit(value)).unwrap(), expected);
        }
        assert!(with_setting("[]", &edit(None)).is_err());
    }
}
