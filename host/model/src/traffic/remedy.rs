//! Changes that may send a connection through a waypoint and are about the client, or about gateways. Those of the
//! destination's own decision are its component's to propose. Whether one helps is told by asking for the path again.

use super::client::{AMBIENT, DATAPLANE_MODE};
use super::{ClientKind, NotEnrolled, Path};
use crate::object::ObjectKey;
use crate::store::Store;
use crate::whatif::{Change, Place, Write};

/// Label of a service: gateways go through its waypoint too (R70).
const INGRESS_USE_WAYPOINT: &str = "istio.io/ingress-use-waypoint";

/// Changes worth a try, the likeliest first.
pub fn remedies(store: &Store, path: &Path) -> Vec<Change> {
    let label = |key: ObjectKey, label: &str, value: &str| {
        let write = Write { place: Place::Label(label.into()), value: Some(value.into()) };
        Change::of(store.object(&key)?, vec![write]).ok()
    };
    match path.client.kind {
        ClientKind::NotEnrolled(NotEnrolled::OptedOut | NotEnrolled::NotAsked) => {
            label(path.client.key.object(), DATAPLANE_MODE, AMBIENT).into_iter().collect()
        }
        ClientKind::IngressGateway => {
            let services =
                path.legs.iter().filter_map(|leg| leg.decided_by.as_ref()).filter(|row| row.kind.is_service());
            services.filter_map(|row| label(row.object(), INGRESS_USE_WAYPOINT, "true")).collect()
        }
        _ => Vec::new(),
    }
}
