//! Where in an object something is written, by the words of its manifest. Not every field: those that an edit can change.

use super::NotPossible;
use crate::gateway::{Gateway, StatusAddress};
use crate::name::{Labels, Name};
use crate::object::Object;

const ADDRESSES: &str = "status.addresses";
const LISTENERS: &str = "spec.listeners[";
const ADMITS_FROM: &str = "].allowedRoutes.namespaces.from";

/// A place in an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// `metadata.labels`, this key.
    Label(Name),
    /// `metadata.annotations`, this key.
    Annotation(Name),
    /// `spec.labels` of a WorkloadEntry, this key.
    SpecLabel(Name),
    /// `spec.endpoints[].labels` of a ServiceEntry, this key of the endpoint at this address.
    EndpointLabel {
        /// The endpoint's address as written.
        address: Name,
        /// The key.
        key: Name,
    },
    /// `spec.listeners[N].allowedRoutes.namespaces.from` of a Gateway.
    AdmitsFrom {
        /// Which listener, from 0.
        listener: usize,
    },
    /// `status.addresses` of a Gateway: one entry, `TYPE=VALUE`, in the place of all. Its controller writes it.
    Addresses,
}

/// A step into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A field or key.
    Key(Name),
    /// An item of a list, from 0.
    Index(usize),
    /// The first item of a list whose `address` is this.
    Address(Name),
}

impl Place {
    /// The place of a field of a Gateway; none for anything but the paths that can be edited.
    pub(super) fn field(path: &str) -> Option<Self> {
        if path == ADDRESSES {
            return Some(Self::Addresses);
        }
        let listener = path.strip_prefix(LISTENERS)?.strip_suffix(ADMITS_FROM)?.parse().ok()?;
        Some(Self::AdmitsFrom { listener })
    }

    /// The way to it, from the root of the object.
    pub fn path(&self) -> Vec<Segment> {
        let key = |text: &str| Segment::Key(text.into());
        match self {
            Self::Label(name) => vec![key("metadata"), key("labels"), Segment::Key(name.clone())],
            Self::Annotation(name) => vec![key("metadata"), key("annotations"), Segment::Key(name.clone())],
            Self::SpecLabel(name) => vec![key("spec"), key("labels"), Segment::Key(name.clone())],
            Self::EndpointLabel { address, key: name } => {
                let endpoint = Segment::Address(address.clone());
                vec![key("spec"), key("endpoints"), endpoint, key("labels"), Segment::Key(name.clone())]
            }
            Self::AdmitsFrom { listener } => {
                let field = ["allowedRoutes", "namespaces", "from"].map(key);
                [key("spec"), key("listeners"), Segment::Index(*listener)].into_iter().chain(field).collect()
            }
            Self::Addresses => vec![key("status"), key("addresses")],
        }
    }

    /// Whether a controller writes it, so that nobody can edit it for good.
    pub fn is_status(&self) -> bool {
        matches!(self, Self::Addresses)
    }

    /// Writes `value` there; none takes it away.
    pub(super) fn write(&self, object: &mut Object, value: Option<&Name>) -> Result<(), NotPossible> {
        let named = object.key();
        match (self, object) {
            (Self::Label(key), object) => put(&mut object.meta_mut().labels, key, value),
            (Self::Annotation(key), object) => put(&mut object.meta_mut().annotations, key, value),
            (Self::SpecLabel(key), Object::WorkloadEntry(entry)) => put(&mut entry.spec_labels, key, value),
            (Self::EndpointLabel { address, key }, Object::ServiceEntry(entry)) => {
                let endpoint = entry.endpoints.iter_mut().find(|endpoint| endpoint.address == *address);
                put(&mut endpoint.ok_or(NotPossible::Missing(named))?.labels, key, value);
            }
            (Self::AdmitsFrom { listener: index }, Object::Gateway(gateway)) => {
                let count = gateway.listeners.len();
                let listener = gateway.listeners.get_mut(*index);
                let missing = || NotPossible::NoListener { gateway: named, index: *index, count };
                listener.ok_or_else(missing)?.admits_from = value.cloned();
            }
            (Self::Addresses, Object::Gateway(gateway)) => write_address(gateway, value)?,
            _ => return Err(NotPossible::Missing(named)),
        }
        Ok(())
    }
}

fn put(labels: &mut Labels, key: &Name, value: Option<&Name>) {
    let others = labels.iter().filter(|(other, _)| other != key).cloned();
    *labels = others.chain(value.map(|value| (key.clone(), value.clone()))).collect();
}

fn write_address(gateway: &mut Gateway, value: Option<&Name>) -> Result<(), NotPossible> {
    let entry = |text: &Name| {
        let wrong = || NotPossible::Value { key: ADDRESSES, value: text.to_string() };
        let (kind, value) = text.split_once('=').filter(|(kind, _)| !kind.is_empty()).ok_or_else(wrong)?;
        Ok(StatusAddress { kind: Some(kind.into()), value: value.into() })
    };
    gateway.addresses = value.map(entry).transpose()?.into_iter().collect();
    Ok(())
}
