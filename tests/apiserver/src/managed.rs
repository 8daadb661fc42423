//! Who owns which fields (`metadata.managedFields`), and server-side apply. Objects come and go as values.

use serde_json::{Map, Value, json};

use crate::fields::{self, Difference, FieldSet};
use crate::refusal::FieldConflict;
use crate::schema::Place;

/// How a manager came to its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// Whose write it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) manager: String,
    /// As the client named it.
    pub(crate) api_version: String,
    /// `status`, or empty.
    pub(crate) subresource: String,
    /// RFC 3339.
    pub(crate) time: String,
}

#[derive(Clone, Debug)]
struct Manager {
    author: Author,
    operation: Operation,
    fields: FieldSet,
}

/// What a manager would own of an object: neither its identity nor what the server writes itself.
const NOT_OWNED: [&[&str]; 10] = [
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:selfLink"],
];

impl Manager {
    fn is(&self, author: &Author, operation: Operation) -> bool {
        self.operation == operation
            && self.author.manager == author.manager
            && self.author.api_version == author.api_version
            && self.author.subresource == author.subresource
    }

    /// As conflicts name it.
    fn named(&self) -> String {
        let mut text = format!("{:?}", self.author.manager);
        if !self.author.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.author.subresource));
        }
        // Two that apply are told apart by name alone.
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.author.api_version));
        }
        text
    }
}

/// All entries of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Managers(Vec<Manager>);

impl Managers {
    /// From `metadata.managedFields`.
    pub(crate) fn of(object: &Value) -> Self {
        let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
        let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self(
            entries
                .into_iter()
                .flatten()
                .map(|entry| Manager {
                    author: Author {
                        manager: text(entry, "manager"),
                        api_version: text(entry, "apiVersion"),
                        subresource: text(entry, "subresource"),
                        time: text(entry, "time"),
                    },
                    operation: if text(entry, "operation") == "Apply" { Operation::Apply } else { Operation::Update },
                    fields: entry.get("fieldsV1").map(FieldSet::from_v1).unwrap_or_default(),
                })
                .filter(|manager| !manager.fields.is_empty())
                .collect(),
        )
    }

    /// As `metadata.managedFields`: who applied first, then by time and name.
    pub(crate) fn to_value(&self) -> Option<Value> {
        let mut all: Vec<&Manager> = self.0.iter().collect();
        all.sort_by(|a, b| {
            (a.operation, &a.author.time, &a.author.manager, &a.author.subresource).cmp(&(
                b.operation,
                &b.author.time,
                &b.author.manager,
                &b.author.subresource,
            ))
        });
        let entries: Vec<Value> = all
            .into_iter()
            .map(|manager| {
                let mut entry = json!({
                    "manager": manager.author.manager, "operation": format!("{:?}", manager.operation),
                    "apiVersion": manager.author.api_version, "time": manager.author.time,
                    "fieldsType": "FieldsV1", "fieldsV1": manager.fields.to_v1(),
                });
                if !manager.author.subresource.is_empty() {
                    fields_of(&mut entry).insert("subresource".to_owned(), json!(manager.author.subresource));
                }
                entry
            })
            .collect();
        (!entries.is_empty()).then_some(Value::Array(entries))
    }

    /// After a write that is not an apply: what it changed is its author's, whoever had it before.
    pub(crate) fn update(&mut self, plural: &str, old: Option<&Value>, new: &Value, author: &Author) {
        let difference = match old {
            Some(old) => owned_difference(plural, old, new),
            None => Difference { added: owned(FieldSet::of(&Place::root(plural), new)), ..Difference::default() },
        };
        self.take(&difference.modified, |manager| manager.is(author, Operation::Update));
        self.take(&difference.removed, |_| false);
        let written = difference.written();
        match self.0.iter_mut().find(|manager| manager.is(author, Operation::Update)) {
            Some(manager) if !written.is_empty() => {
                manager.fields.union(&written);
                manager.author.time.clone_from(&author.time);
            }
            None if !written.is_empty() => {
                self.0.push(Manager { author: author.clone(), operation: Operation::Update, fields: written });
            }
            _ => {}
        }
    }

    /// Takes fields from everybody but those that are spared.
    fn take(&mut self, fields: &FieldSet, is_spared: impl Fn(&Manager) -> bool) {
        for manager in self.0.iter_mut().filter(|manager| !is_spared(manager)) {
            manager.fields = manager.fields.minus(fields);
        }
        self.0.retain(|manager| !manager.fields.is_empty());
    }

    /// Server-side apply. Gives the object that results, without `managedFields`.
    pub(crate) fn apply(
        &mut self,
        plural: &str,
        live: &Value,
        applied: &Value,
        author: &Author,
        is_forced: bool,
    ) -> Result<Value, Vec<FieldConflict>> {
        let root = Place::root(plural);
        let is_author = |manager: &Manager| manager.is(author, Operation::Apply);
        let mut wanted = owned(FieldSet::of(&root, applied));
        wanted.is_member = false;
        let merged = fields::merge(&root, Some(live), applied);
        let changed = owned_difference(plural, live, &merged);
        let written = changed.written();
        let conflicts: Vec<FieldConflict> = self
            .0
            .iter()
            .filter(|manager| !is_author(manager))
            .flat_map(|manager| {
                let fields = manager.fields.intersection(&written).paths();
                fields.into_iter().map(|field| FieldConflict { manager: manager.named(), field })
            })
            .collect();
        if !conflicts.is_empty() && !is_forced {
            return Err(conflicts);
        }
        self.take(&written, is_author);
        let before = self.0.iter().find(|manager| is_author(manager)).map(|manager| manager.fields.clone());
        let mut others = FieldSet::default();
        for manager in self.0.iter().filter(|manager| !is_author(manager)) {
            others.union(&manager.fields);
        }
        others.union(&wanted);
        let gone = before.clone().unwrap_or_default().minus(&wanted);
        let result = fields::prune(&root, &merged, &gone, &others).unwrap_or_else(|| json!({}));
        let removed = owned_difference(plural, &merged, &result).removed;
        self.take(&removed, is_author);
        if before.as_ref() != Some(&wanted) {
            self.0.retain(|manager| !is_author(manager));
            if !wanted.is_empty() {
                self.0.push(Manager { author: author.clone(), operation: Operation::Apply, fields: wanted });
            }
        } else if let Some(manager) = self.0.iter_mut().find(|manager| is_author(manager))
            && (!written.is_empty() || !removed.is_empty())
        {
            manager.author.time.clone_from(&author.time);
        }
        Ok(result)
    }
}

fn owned(mut set: FieldSet) -> FieldSet {
    for path in NOT_OWNED {
        set.forget(path);
    }
    if set.child("f:metadata").is_some_and(|metadata| metadata.children.is_empty()) {
        set.children.remove("f:metadata");
    }
    set
}

fn owned_difference(plural: &str, old: &Value, new: &Value) -> Difference {
    let Difference { added, modified, removed } = Difference::between(&Place::root(plural), old, new);
    Difference { added: owned(added), modified: owned(modified), removed: owned(removed) }
}

/// The fields of an object; empty ones if it is none.
pub(crate) fn fields_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        // Made an object just above.
        _ => unreachable!("a value that was made an object is one"),
    }
}

#[cfg(test)]
mod tests;
