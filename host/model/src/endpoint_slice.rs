//! EndpointSlices: which Pods stand behind a Service without a selector (R140), and endpoints that are no Pod (R57).

use crate::name::Name;
use crate::object::Meta;

/// The label that names the Service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointSlice {
    /// Metadata.
    pub meta: Meta,
    /// Names of the Pods, of its own namespace, that its endpoints refer to; sorted, each once.
    pub pods: Vec<Name>,
    /// Addresses of the endpoints that refer to no Pod, as written; sorted, each once.
    pub addresses: Vec<Name>,
    /// Those of `addresses` that are not ready; sorted.
    pub unready: Vec<Name>,
    /// Its TCP ports: the name that the Service's port has, and the number that is dialled.
    pub ports: Vec<(Name, u32)>,
}

impl EndpointSlice {
    /// A slice with nothing but a name.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            meta: Meta::named(namespace, name),
            pods: Vec::new(),
            addresses: Vec::new(),
            unready: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// Whether the endpoint with this address takes connections.
    pub fn is_ready(&self, address: &Name) -> bool {
        self.unready.binary_search(address).is_err()
    }

    /// The name of its Service, in its own namespace.
    pub fn service(&self) -> Option<&Name> {
        self.meta.labels.get(SERVICE_NAME)
    }
}
