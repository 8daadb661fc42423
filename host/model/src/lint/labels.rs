//! The labels and annotations that lint knows by name, and how they are shown. Which of them count is in `reading`.

use crate::explain::shown;
use crate::input::Pairs;
use crate::name::Name;

pub(super) const USE_WAYPOINT: &str = "istio.io/use-waypoint";
pub(super) const NONE: &str = "none";
pub(super) const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
pub(super) const INGRESS: &str = "istio.io/ingress-use-waypoint";
pub(super) const CANARY: &str = "istio.io/use-waypoint-canary";
pub(super) const CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";
pub(super) const INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
pub(super) const MANAGED: &str = "gateway.istio.io/managed";
pub(super) const MESH_CONTROLLER: &str = "istio.io-mesh-controller";
pub(super) const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
pub(super) const REQUIRED: &str = "wayswitch.io/waypoint-required";

/// The class of Istio's own waypoints.
pub(super) const ISTIO_WAYPOINT: &str = "istio-waypoint";
/// Protocols of a waypoint's listener (R10).
pub(super) const HBONE: &str = "HBONE";
pub(super) const PROXY_LISTENER: &str = "istio.io/PROXY";

/// The value of a key of an input.
pub(super) fn value<'a>(pairs: &'a [(Name, Name)], key: &str) -> Option<&'a Name> {
    pairs.iter().find(|(k, _)| **k == *key).map(|(_, value)| value)
}

/// The same where there may be no labels at all.
pub(super) fn own_value<'a>(pairs: &'a Option<Pairs>, key: &str) -> Option<&'a Name> {
    value(pairs.as_ref()?, key)
}

/// The path of a label.
pub(super) fn label(key: &str) -> String {
    format!("metadata.labels[\"{key}\"]")
}

/// The path of an annotation.
pub(super) fn annotation(key: &str) -> String {
    format!("metadata.annotations[\"{key}\"]")
}

/// A value of the input in quotes, fit to be shown.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut shown = shown(text);
    if let Some((end, _)) = shown.char_indices().nth(CHARS_MAX) {
        shown.truncate(end);
        shown.push('…');
    }
    format!("\"{shown}\"")
}
