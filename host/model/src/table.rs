//! The table of decisions: persistent, so that one pod's change does not copy 200,000 rows, and shared with readers
//! by a clone that costs nothing to speak of.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde::Serialize;

use crate::decision::Decision;
use crate::input::{Input, Shared};
use crate::name::Name;

/// What a row stands for. The order is that of the names, which is the order of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum RowKind {
    /// A Pod.
    Pod,
    /// A Kubernetes Service.
    Service,
}

impl fmt::Display for RowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "Pod",
            Self::Service => "Service",
        })
    }
}

impl std::str::FromStr for RowKind {
    type Err = String;

    /// The kind by its name, in any case, or its plural.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "pod" | "pods" | "po" => Ok(Self::Pod),
            "service" | "services" | "svc" => Ok(Self::Service),
            _ => Err(format!("unknown kind {text:?}: service and pod are known")),
        }
    }
}

/// Identifies a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RowKey {
    /// The kind.
    pub kind: RowKind,
    /// The namespace.
    pub namespace: Name,
    /// The name of the object.
    pub name: Name,
}

impl RowKey {
    /// A key from its parts.
    pub fn new(kind: RowKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What sinks need to know of a row's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The hosts of a service.
    pub hosts: Vec<Name>,
    /// Virtual addresses of a service, addresses of a workload.
    pub addresses: Vec<IpAddr>,
    /// False for workloads that are never looked up by address (R97).
    pub dialled_by_address: bool,
}

/// A decided row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its object.
    pub subject: Arc<Subject>,
    /// What the component was asked; asking again gives the same.
    pub input: Shared<Input>,
    /// What was decided.
    pub decision: Arc<Decision>,
    /// The revision of the mesh at which this row last moved.
    pub revision: u64,
    /// Why the row holds its last good answer, or the declared default, instead of a fresh one.
    pub degraded: Option<Arc<str>>,
}

impl Row {
    /// Whether a sink would do the same for both.
    pub fn same_effect(&self, other: &Row) -> bool {
        (Arc::ptr_eq(&self.decision, &other.decision) || self.decision == other.decision)
            && (Arc::ptr_eq(&self.subject, &other.subject) || self.subject == other.subject)
    }
}

/// For [`OrdMap::diff`]: cheap and conservative, [`Row::same_effect`] decides what is told.
impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.same_effect(other) && self.revision == other.revision && self.degraded == other.degraded
    }
}

/// All decisions under one set of rules, at one revision of the mesh.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Counts changes of the component or its settings; 0 before the first.
    pub rules: u64,
    /// Counts changes of objects.
    pub revision: u64,
    rows: OrdMap<RowKey, Row>,
}

/// A row that is not what it was. Both sides are never none.
#[derive(Clone, Debug)]
pub struct RowChange {
    /// The row.
    pub key: RowKey,
    /// What it was.
    pub before: Option<Row>,
    /// What it is.
    pub after: Option<Row>,
}

impl Table {
    /// An empty table with this stamp.
    pub fn new(rules: u64, revision: u64) -> Self {
        Self { rules, revision, rows: OrdMap::new() }
    }

    /// One row.
    pub fn get(&self, key: &RowKey) -> Option<&Row> {
        self.rows.get(key)
    }

    /// All rows in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &Row)> {
        self.rows.iter()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts a row in or takes it out; returns what it was.
    pub fn set(&mut self, key: RowKey, row: Option<Row>) -> Option<Row> {
        match row {
            Some(row) => self.rows.insert(key, row),
            None => self.rows.remove(&key),
        }
    }

    /// The rows that a sink would treat differently in `next`, in the order of their keys.
    pub fn diff(&self, next: &Table) -> Vec<RowChange> {
        let mut changes = Vec::new();
        for item in self.rows.diff(&next.rows) {
            match item {
                DiffItem::Add(key, row) => {
                    changes.push(RowChange { key: key.clone(), before: None, after: Some(row.clone()) });
                }
                DiffItem::Remove(key, row) => {
                    changes.push(RowChange { key: key.clone(), before: Some(row.clone()), after: None });
                }
                DiffItem::Update { old: (key, before), new: (_, after) } if !before.same_effect(after) => {
                    let (before, after) = (Some(before.clone()), Some(after.clone()));
                    changes.push(RowChange { key: key.clone(), before, after });
                }
                DiffItem::Update { .. } => {}
            }
        }
        changes
    }
}
