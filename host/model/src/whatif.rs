//! What would happen if somebody made an edit: the object as it would be, and the decision that the row would get. Each
//! edit that a component proposes is tried like this before it is shown. Nothing here changes the mesh, and an edit of
//! the component's settings, which are text that only the component understands, is the caller's business.

use crate::decider::{Asking, ResolveFailure};
use crate::decision::Decision;
use crate::description::{Description, Source};
use crate::explain::{Edit, Level};
use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::object::{Kind, Object, ObjectKey};
use crate::store::{Event, RowObject, Store};
use crate::table::RowKey;

mod place;
pub use place::{Place, Segment};

/// A change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The object as it would be.
    pub object: Object,
    /// What is written differently: one place, or two where a WorkloadEntry says the same in both.
    pub writes: Vec<Write>,
}

/// One place of an object, and what is written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub place: Place,
    /// The new value; none: nothing.
    pub value: Option<Name>,
}

/// An edit that keeps its promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// As the component words it.
    pub edit: Edit,
    /// What it means for the objects.
    pub change: Change,
    /// The decision that the row gets by it.
    pub promises: Decision,
}

/// Why an edit cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPossible {
    /// It is about no object.
    #[error("{0} are no object of the mesh: change them where they are set")]
    NoObject(&'static str),
    /// The object is not there.
    #[error("there is no {0} to edit: create it first")]
    Missing(ObjectKey),
    /// It is about a Gateway and does not say which.
    #[error("the edit names no Gateway: the component has to")]
    NoGateway,
    /// The row has no labels of its own.
    #[error("{0} has no labels of its own: edit its namespace or a Gateway")]
    NothingWritten(RowKey),
    /// It is neither a declared label or annotation nor a field that can be edited.
    #[error("{key:?} is neither a label or annotation that the component declared, nor a field that can be edited")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// The Gateway has no such listener.
    #[error("{gateway} has no listener {index}: it has {count}")]
    NoListener {
        /// The Gateway.
        gateway: ObjectKey,
        /// Counts from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The value does not fit.
    #[error("{value:?} is no value of {key}")]
    Value {
        /// The field.
        key: &'static str,
        /// The value.
        value: String,
    },
}

/// Why an edit is not offered. All but the first are defects of the component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It cannot be made.
    #[error("the edit cannot be made")]
    NotPossible(#[from] NotPossible),
    /// The decision stays as it is.
    #[error("the decision would stay as it is")]
    NothingChanges,
    /// The row cannot be decided then.
    #[error("the row could not be decided after it")]
    Undecided(#[source] ResolveFailure),
    /// The row would not be published any more.
    #[error("the row would not be published after it")]
    Unpublished,
}

/// Tries an edit of a row that is decided as `now`: on a copy of the store, and with this row only.
///
/// # Errors
/// Why the edit is not worth showing.
pub fn verify(
    asking: &Asking<'_>,
    store: &Store,
    row: &RowKey,
    edit: &Edit,
    now: &Decision,
) -> Result<Verified, Dropped> {
    let change = change(asking.description, store, row, edit)?;
    let after = change.applied_to(store);
    match asking.decide(&after, row) {
        Err(failure) => Err(Dropped::Undecided(failure)),
        Ok(None) => Err(Dropped::Unpublished),
        Ok(Some(then)) if then == *now => Err(Dropped::NothingChanges),
        Ok(Some(promises)) => Ok(Verified { edit: edit.clone(), change, promises }),
    }
}

/// What an edit means for the objects.
///
/// # Errors
/// Why it cannot be made.
pub fn change(description: &Description, store: &Store, row: &RowKey, edit: &Edit) -> Result<Change, NotPossible> {
    let key = object_of(store, row, edit)?;
    let object = store.object(&key).ok_or(NotPossible::Missing(key))?;
    let write = |place| Write { place, value: edit.value.as_deref().map(Name::from) };
    let writes = places(description, store, row, edit, &object)?.into_iter().map(write).collect();
    Change::of(object, writes)
}

impl Change {
    /// The object with these writes.
    ///
    /// # Errors
    /// A place that the object does not have, or a value that does not fit there.
    pub fn of(mut object: Object, writes: Vec<Write>) -> Result<Self, NotPossible> {
        for Write { place, value } in &writes {
            place.write(&mut object, value.as_ref())?;
        }
        Ok(Self { object, writes })
    }

    /// A copy of the store in which it was made; costs nothing to speak of.
    pub fn applied_to(&self, store: &Store) -> Store {
        let mut after = store.clone();
        after.apply(Event::Apply(self.object.clone()));
        after
    }
}

/// The object that an edit is about.
fn object_of(store: &Store, row: &RowKey, edit: &Edit) -> Result<ObjectKey, NotPossible> {
    let gateway = || edit.gateway.as_ref().ok_or(NotPossible::NoGateway);
    let key_of = |GatewayKey { namespace, name }: &GatewayKey| ObjectKey {
        kind: Kind::Gateway,
        namespace: namespace.clone(),
        name: name.clone(),
    };
    match edit.at {
        Level::Subject => Ok(row.object()),
        Level::Namespace => Ok(ObjectKey::new(Kind::Namespace, "", &row.namespace)),
        Level::Gateway | Level::Listener => gateway().map(key_of),
        Level::GatewayClass => {
            let key = gateway()?;
            let gateway = store.gateway(key).ok_or_else(|| NotPossible::Missing(key_of(key)))?;
            Ok(ObjectKey::new(Kind::GatewayClass, "", &gateway.class))
        }
        Level::Node => Err(NotPossible::NoObject("labels of a node")),
        Level::Settings => Err(NotPossible::NoObject("settings")),
    }
}

fn places(
    description: &Description,
    store: &Store,
    row: &RowKey,
    edit: &Edit,
    object: &Object,
) -> Result<Vec<Place>, NotPossible> {
    let (labels, annotations) = match edit.at {
        Level::Subject => (Source::SubjectLabel, Source::SubjectAnnotation),
        Level::Namespace => (Source::NamespaceLabel, Source::NamespaceAnnotation),
        Level::GatewayClass => (Source::ClassLabel, Source::ClassAnnotation),
        _ => (Source::GatewayLabel, Source::GatewayAnnotation),
    };
    if let Some(field) = Place::field(&edit.key).filter(|_| matches!(object, Object::Gateway(_))) {
        return Ok(vec![field]);
    }
    let key = Name::from(edit.key.as_str());
    if names_gateways(description, edit.at, &key) || description.declares(labels, &key) {
        return if edit.at == Level::Subject { own_label(store, row, edit, key) } else { Ok(vec![Place::Label(key)]) };
    }
    // Endpoints have no annotations; a component that declares one is given none for them.
    if description.declares(annotations, &key) && row.part.is_none() {
        return Ok(vec![Place::Annotation(key)]);
    }
    Err(NotPossible::UnknownKey { key: edit.key.clone() })
}

/// The host reads references whether or not the component declared that it does.
fn names_gateways(description: &Description, at: Level, key: &Name) -> bool {
    let mut references = description.references.iter();
    references.any(|reference| {
        let is_read = at == Level::Subject || at == Level::Namespace && reference.inherit;
        is_read && (reference.name_label == *key || reference.namespace_label.as_ref() == Some(key))
    })
}

/// Where a label of the row's own is written.
fn own_label(store: &Store, row: &RowKey, edit: &Edit, key: Name) -> Result<Vec<Place>, NotPossible> {
    match store.row(row) {
        Some(RowObject::EntryEndpoint { endpoint, .. }) => {
            Ok(vec![Place::EndpointLabel { address: endpoint.address.clone(), key }])
        }
        Some(RowObject::ImpliedEndpoint { .. } | RowObject::SliceEndpoint { .. }) => {
            Err(NotPossible::NothingWritten(row.clone()))
        }
        // Metadata overlays the spec (R50): there a label is set; but both may hold one that has to go.
        Some(RowObject::WorkloadEntry(entry)) if edit.value.is_none() && entry.spec_labels.get(&key).is_some() => {
            let beside = entry.meta.labels.get(&key).is_some().then(|| Place::Label(key.clone()));
            Ok([Place::SpecLabel(key)].into_iter().chain(beside).collect())
        }
        None if row.part.is_some() => Err(NotPossible::NothingWritten(row.clone())),
        _ => Ok(vec![Place::Label(key)]),
    }
}

#[cfg(test)]
mod tests;
