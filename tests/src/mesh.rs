//! Meshes for tests and benchmarks: objects in domain words, a generator of realistic ones, and plain rules to decide
//! them by. Not manifests: nothing here is parsed, and no file is read.
//!
//! ```
//! use tests::mesh::{hbone, namespace, service, store, waypoint};
//!
//! let store = store([
//!     namespace("shop").label("istio.io/use-waypoint", "w").into(),
//!     waypoint("shop", "w").into(),
//!     waypoint("shared", "w").listeners([hbone().from_namespaces_with([("team", "a")])]).into(),
//!     service("shop", "cart").address("10.0.0.1").into(),
//! ]);
//! assert_eq!(store.row_keys().count(), 1);
//! ```

mod draft;
mod generate;
pub mod history;
pub mod manifests;
pub mod rules;

pub use draft::{
    Draft, EndpointDraft, ListenerDraft, at, authorization_policy, endpoint_slice, gateway, gateway_class, hbone,
    listener, namespace, pod, service, service_entry, waypoint, workload_entry,
};
pub use generate::{MeshSize, Objects};

use model::{Event, Facts, Object, Store};

/// Label of a subject or namespace: its waypoint's name, or `none` (R15).
pub const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// Label beside it: that waypoint's namespace (R15).
pub const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// Label of a Gateway or its class: what it serves (R4).
pub const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
/// Label of a workload: the Gateway it is an instance of (R45).
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Label of what a controller generated (R28).
pub const MANAGED: &str = "gateway.istio.io/managed";
/// Its value on what belongs to a waypoint (R28).
pub const MESH_CONTROLLER: &str = "istio.io-mesh-controller";

/// A store of these objects, with the default facts.
pub fn store(objects: impl IntoIterator<Item = Object>) -> Store {
    let mut store = Store::new(Facts::default());
    store.apply_all(objects.into_iter().map(Event::Apply));
    store
}
