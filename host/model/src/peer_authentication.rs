//! PeerAuthentications as they are written: from whom a workload takes connections without an identity. No decision depends
//! on them; what a node proxy is told does (R118).

use std::cmp::Ordering;

use crate::name::Labels;
use crate::object::Meta;

/// A mode of mutual TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MtlsMode {
    /// As it is one level higher: port, workload, namespace, mesh.
    #[default]
    Unset,
    /// Without. A node proxy takes tunnels all the same: the same as permissive.
    Disable,
    /// With or without.
    Permissive,
    /// With it only.
    Strict,
}

/// A PeerAuthentication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAuthentication {
    /// Metadata.
    pub meta: Meta,
    /// `metadata.creationTimestamp`, seconds since 1970; none is older than any.
    pub created: Option<i64>,
    /// `spec.selector.matchLabels`; none: no selector.
    pub selector: Option<Labels>,
    /// `spec.mtls.mode`.
    pub mode: MtlsMode,
    /// `spec.portLevelMtls`: workload ports with their modes, in their order, each once.
    pub ports: Vec<(u32, MtlsMode)>,
}

impl PeerAuthentication {
    /// One that says nothing about its namespace.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            meta: Meta::named(namespace, name),
            created: None,
            selector: None,
            mode: MtlsMode::Unset,
            ports: Vec::new(),
        }
    }

    /// The labels of the workloads that it is about; none: it is about all in its namespace, or in the mesh.
    pub fn selected(&self) -> Option<&Labels> {
        self.selector.as_ref().filter(|selector| !selector.is_empty())
    }

    /// The older first, of which only the first counts; of equally old ones the first by name (Q8).
    pub fn by_age(&self, other: &Self) -> Ordering {
        (self.created, &self.meta.name).cmp(&(other.created, &other.meta.name))
    }
}
