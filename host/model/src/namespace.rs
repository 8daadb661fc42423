//! Namespaces: only what their labels and annotations say matters to a decision.

use crate::object::Meta;

/// A Namespace object. Its own `meta.namespace` is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// Metadata.
    pub meta: Meta,
}
