//! The table of decisions: persistent, so that one pod's change does not copy 200,000 rows, and shared with readers
//! by a clone that costs nothing to speak of.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::addresses::Addresses;
use crate::decision::Decision;
use crate::input::{Input, Shared};
use crate::name::Name;
use crate::object::{Kind, ObjectKey};
use crate::sorted::Sorted;

/// What a row stands for. The order is that of the names, which is the order of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum RowKind {
    /// An endpoint of an EndpointSlice that is no Pod (R57).
    EndpointSliceEndpoint,
    /// A Pod.
    Pod,
    /// A Kubernetes Service.
    Service,
    /// A ServiceEntry.
    ServiceEntry,
    /// An endpoint written in a ServiceEntry (R53), or what a host of it stands for (R54).
    ServiceEntryEndpoint,
    /// A WorkloadEntry.
    WorkloadEntry,
}

impl RowKind {
    /// All kinds, in their order.
    pub const ALL: [Self; 6] = [
        Self::EndpointSliceEndpoint,
        Self::Pod,
        Self::Service,
        Self::ServiceEntry,
        Self::ServiceEntryEndpoint,
        Self::WorkloadEntry,
    ];

    /// Services and ServiceEntries: what clients mean by a name. The rest are workloads.
    pub fn is_service(self) -> bool {
        matches!(self, Self::Service | Self::ServiceEntry)
    }

    /// The kind of the object that a row of this kind is, or is part of.
    pub fn object(self) -> Kind {
        match self {
            Self::EndpointSliceEndpoint => Kind::EndpointSlice,
            Self::Pod => Kind::Pod,
            Self::Service => Kind::Service,
            Self::ServiceEntry | Self::ServiceEntryEndpoint => Kind::ServiceEntry,
            Self::WorkloadEntry => Kind::WorkloadEntry,
        }
    }
}

impl fmt::Display for RowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndpointSliceEndpoint => "EndpointSliceEndpoint",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::ServiceEntry => "ServiceEntry",
            Self::ServiceEntryEndpoint => "ServiceEntryEndpoint",
            Self::WorkloadEntry => "WorkloadEntry",
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
            "serviceentry" | "serviceentries" | "se" => Ok(Self::ServiceEntry),
            "serviceentryendpoint" | "serviceentryendpoints" => Ok(Self::ServiceEntryEndpoint),
            "workloadentry" | "workloadentries" | "we" => Ok(Self::WorkloadEntry),
            "endpointsliceendpoint" | "endpointsliceendpoints" => Ok(Self::EndpointSliceEndpoint),
            _ => {
                let known = Self::ALL.map(|kind| kind.to_string().to_ascii_lowercase()).join(", ");
                Err(format!("unknown kind {text:?}: {known} are known"))
            }
        }
    }
}

/// Identifies a row. The order is that of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RowKey {
    /// The kind.
    pub kind: RowKind,
    /// The namespace.
    pub namespace: Name,
    /// The name of the object.
    pub name: Name,
    /// Which part of the object it is: the address of an endpoint, the host that an implied one stands for.
    pub part: Option<Name>,
}

impl RowKey {
    /// The key of a row that is a whole object.
    pub fn new(kind: RowKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into(), part: None }
    }

    /// The key of an endpoint of an object.
    pub fn endpoint(kind: RowKind, namespace: &str, name: &str, address: &str) -> Self {
        Self { part: Some(address.into()), ..Self::new(kind, namespace, name) }
    }

    /// The key of the object that the row is, or is part of.
    pub fn object(&self) -> ObjectKey {
        ObjectKey { kind: self.kind.object(), namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// How a workload is told apart in the mesh (R58); none for services.
    pub fn uid(&self, cluster_id: &str) -> Option<String> {
        let group = match self.kind {
            RowKind::Service | RowKind::ServiceEntry => return None,
            RowKind::Pod => "/Pod",
            RowKind::WorkloadEntry => "networking.istio.io/WorkloadEntry",
            RowKind::ServiceEntryEndpoint => "networking.istio.io/ServiceEntry",
            RowKind::EndpointSliceEndpoint => "discovery.k8s.io/EndpointSlice",
        };
        let object = format!("{cluster_id}/{group}/{}/{}", self.namespace, self.name);
        Some(self.part.as_ref().map_or(object.clone(), |part| format!("{object}/{part}")))
    }
}

impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // Rows of a namespace share its name, which then needs no look.
        let namespaces = || {
            if Arc::ptr_eq(&self.namespace, &other.namespace) {
                Ordering::Equal
            } else {
                self.namespace.cmp(&other.namespace)
            }
        };
        let order = self.kind.cmp(&other.kind).then_with(namespaces);
        order.then_with(|| self.name.cmp(&other.name)).then_with(|| self.part.cmp(&other.part))
    }
}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)?;
        self.part.as_ref().map_or(Ok(()), |part| write!(f, "/{part}"))
    }
}

/// What sinks need to know of a row's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The hosts of a service; of a ServiceEntry those that no other has in its namespace (R42).
    pub hosts: Arc<[Name]>,
    /// Virtual addresses of a service, of all its hosts; addresses of a workload. Ranges are left out.
    pub addresses: Addresses,
    /// False for workloads that are never looked up by address (R97).
    pub dialled_by_address: bool,
}

/// A decided row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its object.
    pub subject: Subject,
    /// What the component was asked; asking again gives the same.
    pub input: Shared<Input>,
    /// What was decided.
    pub decision: Arc<Decision>,
    /// The revision of the mesh at which this row last moved.
    pub revision: u64,
    /// Why the row holds its last good answer, or the declared default, instead of a fresh one. One word: nearly all rows
    /// have none.
    pub degraded: Option<Arc<String>>,
}

impl Row {
    /// Whether a sink would do the same for both.
    pub fn same_effect(&self, other: &Row) -> bool {
        (Arc::ptr_eq(&self.decision, &other.decision) || self.decision == other.decision)
            && self.subject == other.subject
    }
}

/// All decisions under one set of rules, at one revision of the mesh.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Counts changes of the component or its settings; 0 before the first.
    pub rules: u64,
    /// Counts changes of objects.
    pub revision: u64,
    rows: Sorted<(RowKey, Row)>,
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
        Self { rules, revision, rows: Sorted::default() }
    }

    /// The same with these rows.
    pub fn with_rows(self, rows: Sorted<(RowKey, Row)>) -> Self {
        Self { rows, ..self }
    }

    /// One row.
    pub fn get(&self, key: &RowKey) -> Option<&Row> {
        self.rows.get(key).map(|(_, row)| row)
    }

    /// All rows in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &Row)> {
        self.rows.iter().map(|(key, row)| (key, row))
    }

    /// The keys of the rows of one namespace, in their order.
    pub fn keys_in<'a>(&'a self, namespace: &'a Name) -> impl Iterator<Item = &'a RowKey> {
        RowKind::ALL.into_iter().flat_map(move |kind| {
            let first = RowKey { kind, namespace: namespace.clone(), name: "".into(), part: None };
            let from = self.rows.range_from(&first).map(|(key, _)| key);
            from.take_while(move |key| key.kind == kind && key.namespace == *namespace)
        })
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
            Some(row) => self.rows.insert((key, row)),
            None => self.rows.remove(&key),
        }
        .map(|(_, row)| row)
    }

    /// The rows that a sink would treat differently in `next`, in the order of their keys.
    pub fn diff(&self, next: &Table) -> Vec<RowChange> {
        let mut changes = Vec::new();
        for (before, after) in self.rows.diff(&next.rows) {
            if let (Some((_, before)), Some((_, after))) = (before, after)
                && before.same_effect(after)
            {
                continue;
            }
            let row = |entry: Option<&(RowKey, Row)>| entry.map(|(_, row)| row.clone());
            let key = before.or(after).map(|(key, _)| key.clone());
            changes.extend(key.map(|key| RowChange { key, before: row(before), after: row(after) }));
        }
        changes
    }
}
