//! What the component reads, and so what a label can mean at all: the reference of a row, its canary, and where each is
//! written. Whether a reference leads anywhere is the component's word, not decided here.

use crate::description::{Description, Reference, Source};
use crate::gateway::GatewayKey;
use crate::input::{Input, SubjectKind};
use crate::name::{Labels, Name};
use crate::store::{RowObject, Store};
use crate::table::{RowKey, RowKind};

use super::affected::Anchor;
use super::labels::{self, own_value, value};

/// The labels that name Gateways, as the component declared them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    description: &'a Description,
    /// The one that names a row's waypoint.
    pub(super) primary: Option<Pointer<'a>>,
    /// The one that names its second waypoint.
    pub(super) canary: Option<Pointer<'a>>,
}

/// A label that names a Gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointer<'a> {
    /// The label with the name.
    pub(super) name: &'a str,
    /// The label with the namespace.
    pub(super) namespace: Option<&'a str>,
    inherit: bool,
    /// Name and namespace in one value, as before Istio 1.23.
    in_one_value: bool,
}

/// What a row's labels, or those of its namespace, name.
#[derive(Clone, Debug)]
pub(super) struct Wish<'a> {
    pub(super) pointer: Pointer<'a>,
    /// The row's own label, not its namespace's.
    pub(super) own: bool,
    /// The value as written.
    pub(super) value: Name,
    /// The namespace label is there, and empty.
    pub(super) empty_namespace: bool,
    /// It says that there is to be none.
    pub(super) opt_out: bool,
    /// The Gateway that it names, be it there or not.
    pub(super) gateway: GatewayKey,
}

impl<'a> Reading<'a> {
    pub(super) fn of(description: &'a Description) -> Self {
        let named = |label: &str| description.references.iter().find(|it| *it.name_label == *label);
        let known = |it: &&Reference| [labels::GATEWAY_NAME, labels::CANARY].contains(&&*it.name_label);
        let mut reading = Self { description, primary: None, canary: named(labels::CANARY).map(Pointer::of) };
        let in_one_value = || {
            let inherit = reading.reads(Source::NamespaceLabel, labels::USE_WAYPOINT);
            let pointer = Pointer { name: labels::USE_WAYPOINT, namespace: None, inherit, in_one_value: true };
            reading.reads(Source::SubjectLabel, labels::USE_WAYPOINT).then_some(pointer)
        };
        // Another component may have labels of its own.
        let other = || description.references.iter().find(|it| !known(it)).map(Pointer::of);
        reading.primary = named(labels::USE_WAYPOINT).map(Pointer::of).or_else(in_one_value).or_else(other);
        reading
    }

    /// Whether the component reads a key there.
    pub(super) fn reads(&self, at: Source, key: &str) -> bool {
        let one: Labels = [(key, "")].into_iter().collect();
        !self.description.pick(at, &one).is_empty()
    }
}

impl<'a> Pointer<'a> {
    fn of(reference: &'a Reference) -> Self {
        Self {
            name: &reference.name_label,
            namespace: reference.namespace_label.as_deref(),
            inherit: reference.inherit,
            in_one_value: false,
        }
    }

    /// What a row asks for: by its own label, else by its namespace's (R17).
    pub(super) fn wish(self, input: &Input) -> Option<Wish<'a>> {
        if matches!(input.kind, SubjectKind::ImpliedEndpoint | SubjectKind::SliceEndpoint) {
            return None;
        }
        if own_value(&input.labels, self.name).is_some() {
            return self.written(input.labels.as_ref()?, &input.namespace.name, true);
        }
        let inherited = (self.inherit && input.labels.is_some()).then_some(&input.namespace.labels)?;
        self.written(inherited, &input.namespace.name, false)
    }

    /// What the labels of one object name.
    pub(super) fn written(self, pairs: &[(Name, Name)], default: &Name, own: bool) -> Option<Wish<'a>> {
        let value = value(pairs, self.name)?.clone();
        let beside = self.namespace.and_then(|label| labels::value(pairs, label));
        let (namespace, name) = match value.split_once('/').filter(|_| self.in_one_value) {
            Some((namespace, name)) => (namespace.into(), name.into()),
            None => (beside.unwrap_or(default).clone(), value.clone()),
        };
        let opt_out = *value == *labels::NONE
            || self.name == labels::CANARY && value.is_empty()
            || self.in_one_value && (&*value == "~" || value.ends_with("/none"));
        let empty_namespace = beside.is_some_and(|it| it.is_empty());
        let gateway = GatewayKey { namespace, name };
        Some(Wish { pointer: self, own, value, empty_namespace, opt_out, gateway })
    }
}

impl Wish<'_> {
    /// Where the label is written.
    pub(super) fn anchor(&self, row: &RowKey) -> Anchor {
        if self.own { Anchor::of_row(row) } else { Anchor::namespace(&row.namespace) }
    }

    /// The path of the label there.
    pub(super) fn field(&self, store: &Store, row: &RowKey) -> String {
        if self.own { own_label(store, row, self.pointer.name) } else { labels::label(self.pointer.name) }
    }
}

/// The path of a row's own label: not all kinds have them in their metadata (R50, R53).
pub(super) fn own_label(store: &Store, row: &RowKey, key: &str) -> String {
    match (row.kind, store.row(row)) {
        (RowKind::ServiceEntryEndpoint, _) => format!("spec.endpoints[].labels[\"{key}\"]"),
        (_, Some(RowObject::WorkloadEntry(entry))) if entry.meta.labels.get(key).is_none() => {
            format!("spec.labels[\"{key}\"]")
        }
        _ => labels::label(key),
    }
}
