//! Sets of fields, as `FieldsV1` writes them, and what two objects differ in. Who owns them is in `managed`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::{self, Merge, Place};

/// A set of paths. Names are those of FieldsV1: `f:spec`, `k:{"type":"Ready"}`, `v:"x"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// Whether the path to here is in the set.
    pub(crate) is_member: bool,
    pub(crate) children: BTreeMap<String, FieldSet>,
}

/// What one object has and another has not.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

impl FieldSet {
    /// From the JSON of `fieldsV1`. What is not understood is left out.
    pub(crate) fn from_v1(value: &Value) -> Self {
        let mut set = Self::default();
        for (name, below) in value.as_object().into_iter().flatten() {
            if name == "." {
                set.is_member = true;
                continue;
            }
            let mut child = Self::from_v1(below);
            child.is_member |= child.children.is_empty();
            set.children.insert(name.clone(), child);
        }
        set
    }

    pub(crate) fn to_v1(&self) -> Value {
        let mut map = Map::new();
        if self.is_member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (name, child) in &self.children {
            map.insert(name.clone(), child.to_v1());
        }
        Value::Object(map)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_member && self.children.values().all(Self::is_empty)
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.get(name)
    }

    pub(crate) fn union(&mut self, other: &Self) {
        self.is_member |= other.is_member;
        for (name, child) in &other.children {
            self.children.entry(name.clone()).or_default().union(child);
        }
    }

    #[must_use]
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |ours, theirs| ours && theirs, false)
    }

    #[must_use]
    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.combine(other, |ours, theirs| ours && !theirs, true)
    }

    fn combine(&self, other: &Self, rule: fn(bool, bool) -> bool, keeps_rest: bool) -> Self {
        let mut set = Self { is_member: rule(self.is_member, other.is_member), ..Self::default() };
        for (name, child) in &self.children {
            let below = match other.child(name) {
                Some(theirs) => child.combine(theirs, rule, keeps_rest),
                None if keeps_rest => child.clone(),
                None => continue,
            };
            if !below.is_empty() {
                set.children.insert(name.clone(), below);
            }
        }
        set
    }

    /// Takes a path out with everything below it.
    pub(crate) fn forget(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.forget(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// All paths as messages write them: `.status.conditions[type="Ready"].status`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.collect_paths("", &mut all);
        all
    }

    fn collect_paths(&self, here: &str, all: &mut Vec<String>) {
        if self.is_member {
            all.push(here.to_owned());
        }
        for (name, child) in &self.children {
            child.collect_paths(&format!("{here}{}", readable(name)), all);
        }
    }

    /// Every field of a value.
    pub(crate) fn of(place: &Place<'_>, value: &Value) -> Self {
        let mut set = Self::default();
        match (place.merge(value), value) {
            (Merge::Granular, Value::Object(map)) if !map.is_empty() => {
                for (name, below) in map {
                    set.children.insert(format!("f:{name}"), Self::of(&place.field(name), below));
                }
            }
            (merge @ (Merge::Keyed(_) | Merge::Set), Value::Array(_)) => {
                for (name, item) in schema::items(merge, value) {
                    let mut below = if merge == Merge::Set { Self::default() } else { Self::of(&place.item(), item) };
                    below.is_member = true;
                    set.children.insert(name, below);
                }
            }
            _ => set.is_member = true,
        }
        set
    }
}

fn readable(name: &str) -> String {
    if let Some(field) = name.strip_prefix("f:") {
        return format!(".{field}");
    }
    if let Some(value) = name.strip_prefix("v:") {
        return format!("[={value}]");
    }
    let keys: Map<String, Value> =
        name.strip_prefix("k:").and_then(|keys| serde_json::from_str(keys).ok()).unwrap_or_default();
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("[{}]", keys.join(","))
}

impl Difference {
    /// What changed from one value to another at a place.
    pub(crate) fn between(place: &Place<'_>, old: &Value, new: &Value) -> Self {
        let mut difference = Self::default();
        let merge = (place.merge(old), place.merge(new));
        match (old, new) {
            _ if old == new => {}
            (Value::Object(old), Value::Object(new)) if merge.1 == Merge::Granular => {
                for (name, below) in old {
                    difference.step(&format!("f:{name}"), &place.field(name), Some(below), new.get(name));
                }
                for (name, below) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                    difference.step(&format!("f:{name}"), &place.field(name), None, Some(below));
                }
            }
            (Value::Array(_), Value::Array(_)) if merge.0 != Merge::Atomic && merge.0 == merge.1 => {
                let (old, new) = (schema::items(merge.0, old), schema::items(merge.1, new));
                for (name, below) in &old {
                    let other = new.iter().find(|(found, _)| found == name).map(|(_, item)| *item);
                    difference.step(name, &place.item(), Some(below), other);
                }
                for (name, below) in new.iter().filter(|(name, _)| old.iter().all(|(found, _)| found != name)) {
                    difference.step(name, &place.item(), None, Some(below));
                }
            }
            _ => difference.modified.is_member = true,
        }
        difference
    }

    fn step(&mut self, name: &str, place: &Place<'_>, old: Option<&Value>, new: Option<&Value>) {
        let whole = |value: &Value| {
            let mut set = if name.starts_with("v:") { FieldSet::default() } else { FieldSet::of(place, value) };
            // An item of a list is a member itself; so is what is nothing but itself.
            set.is_member |= !name.starts_with("f:");
            set
        };
        let below = match (old, new) {
            (Some(old), Some(new)) => Self::between(place, old, new),
            (None, Some(new)) => Self { added: whole(new), ..Self::default() },
            (Some(old), None) => Self { removed: whole(old), ..Self::default() },
            (None, None) => return,
        };
        for (set, below) in
            [(&mut self.added, below.added), (&mut self.modified, below.modified), (&mut self.removed, below.removed)]
        {
            if !below.is_empty() {
                set.children.insert(name.to_owned(), below);
            }
        }
    }

    /// What the second object has, that the first has not or has otherwise.
    pub(crate) fn written(&self) -> FieldSet {
        let mut set = self.added.clone();
        set.union(&self.modified);
        set
    }
}

/// An applied configuration on top of what is there.
pub(crate) fn merge(place: &Place<'_>, live: Option<&Value>, applied: &Value) -> Value {
    let Some(live) = live else { return applied.clone() };
    let merge_of = place.merge(applied);
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if merge_of == Merge::Granular => {
            let mut merged = live.clone();
            for (name, value) in applied {
                merged.insert(name.clone(), merge(&place.field(name), live.get(name), value));
            }
            Value::Object(merged)
        }
        (Value::Array(_), Value::Array(_)) if merge_of != Merge::Atomic && place.merge(live) == merge_of => {
            let ours = schema::items(merge_of, applied);
            let theirs = schema::items(merge_of, live);
            let mut merged: Vec<Value> = Vec::with_capacity(theirs.len());
            for (name, item) in &theirs {
                let over = ours.iter().find(|(found, _)| found == name).map(|(_, item)| *item);
                merged.push(over.map_or_else(|| (*item).clone(), |over| merge(&place.item(), Some(item), over)));
            }
            let is_new = |name: &String| theirs.iter().all(|(found, _)| found != name);
            merged.extend(ours.iter().filter(|(name, _)| is_new(name)).map(|(_, item)| (*item).clone()));
            Value::Array(merged)
        }
        _ => applied.clone(),
    }
}

/// Takes fields out of a value, but for those that somebody owns. `None` if nothing is left of it.
pub(crate) fn prune(place: &Place<'_>, value: &Value, gone: &FieldSet, owned: &FieldSet) -> Option<Value> {
    if gone.is_member && owned.is_empty() {
        return None;
    }
    let nothing = FieldSet::default();
    let below = |name: &str, place: &Place<'_>, value: &Value| match gone.child(name) {
        Some(gone) => prune(place, value, gone, owned.child(name).unwrap_or(&nothing)),
        None => Some(value.clone()),
    };
    match (place.merge(value), value) {
        (Merge::Granular, Value::Object(map)) => {
            let left: Map<String, Value> = map
                .iter()
                .filter_map(|(name, value)| {
                    Some((name.clone(), below(&format!("f:{name}"), &place.field(name), value)?))
                })
                .collect();
            (!left.is_empty() || map.is_empty()).then_some(Value::Object(left))
        }
        (merge @ (Merge::Keyed(_) | Merge::Set), Value::Array(all)) => {
            let left: Vec<Value> = schema::items(merge, value)
                .into_iter()
                .filter_map(|(name, item)| below(&name, &place.item(), item))
                .collect();
            (!left.is_empty() || all.is_empty()).then_some(Value::Array(left))
        }
        _ => Some(value.clone()),
    }
}
