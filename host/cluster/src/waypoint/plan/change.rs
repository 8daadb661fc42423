//! What the Gateway should be, beside what it is: what was not asked for stays, so that enrolling one more namespace does not
//! change the traffic type of a waypoint that others use.

use model::gateway::HBONE_PORT;
use model::store::REVISION;
use model::waypoint_view::WAYPOINT_FOR;
use serde_json::{Map, Value, json};

use super::super::objects::text;
use super::super::spec::{IMAGE, Spec};

/// The parts of a Gateway that are ours to set, as JSON pointers, and what they are called.
fn parts(name: &str) -> [(String, String); 4] {
    let label = |key: &str| format!("/metadata/labels/{}", key.replace('/', "~1"));
    let annotation = format!("/metadata/annotations/{}", IMAGE.replace('/', "~1"));
    [
        (label(WAYPOINT_FOR), format!("label {WAYPOINT_FOR}")),
        (label(REVISION), format!("label {REVISION}")),
        (annotation, format!("annotation {IMAGE}")),
        ("/spec/gatewayClassName".to_owned(), format!("gatewayClassName of {name}")),
    ]
}

/// What is applied: as the spec says, and where it says nothing as it is now.
pub(super) fn desired(spec: &Spec, now: Option<&Value>) -> Value {
    let mut desired = spec.gateway();
    let Some(now) = now else { return desired };
    for (map, keys) in [("labels", &[WAYPOINT_FOR, REVISION][..]), ("annotations", &[IMAGE])] {
        for key in keys {
            let kept = now.pointer("/metadata").and_then(|meta| meta.get(map)?.get(*key));
            if let Some(kept) = kept
                && let Some(meta) = desired.pointer_mut("/metadata").and_then(Value::as_object_mut)
                && let Some(values) = meta.entry(map).or_insert_with(|| json!({})).as_object_mut()
            {
                values.entry(*key).or_insert_with(|| kept.clone());
            }
        }
    }
    if let Some(class) = now.pointer("/spec/gatewayClassName").filter(|_| spec.class.is_none())
        && let Some(slot) = desired.pointer_mut("/spec/gatewayClassName")
    {
        *slot = class.clone();
    }
    if let (Some(tunnel), Some(listener)) =
        (tunnel(now), desired.pointer_mut("/spec/listeners/0").and_then(Value::as_object_mut))
    {
        // Two listeners on one port would be refused: whoever named it, it is the same one.
        listener.extend(tunnel.get("name").map(|name| ("name".to_owned(), name.clone())));
        // What nobody asked for is not taken over from who set it, nor from the API server's default.
        let from = tunnel.get("allowedRoutes").filter(|it| text(it, "/namespaces/from").is_some_and(|it| it != "Same"));
        if let Some(routes) = from.filter(|_| spec.admit.is_none()) {
            listener.insert("allowedRoutes".to_owned(), routes.clone());
        }
    }
    desired
}

/// The listener that is the tunnel's.
fn tunnel(gateway: &Value) -> Option<&Value> {
    let is_tunnel = |it: &&Value| {
        text(it, "/protocol") == Some("HBONE") && it.get("port").and_then(Value::as_u64) == Some(HBONE_PORT.into())
    };
    gateway.pointer("/spec/listeners")?.as_array()?.iter().find(is_tunnel)
}

/// The Gateway as it will be: what it is now, with what is applied over it.
pub(super) fn overlaid(now: Option<&Value>, desired: &Value) -> Value {
    let Some(now) = now else { return desired.clone() };
    let mut after = now.clone();
    for map in ["labels", "annotations"] {
        let set = desired.pointer("/metadata").and_then(|meta| meta.get(map)?.as_object());
        if let (Some(set), Some(meta)) = (set, after.pointer_mut("/metadata").and_then(Value::as_object_mut))
            && let Some(values) = meta.entry(map).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
        {
            values.extend(set.clone());
        }
    }
    let (Some(spec), Some(wanted)) = (after.get_mut("spec").and_then(Value::as_object_mut), desired.get("spec")) else {
        return desired.clone();
    };
    spec.extend(wanted.get("gatewayClassName").map(|class| ("gatewayClassName".to_owned(), class.clone())));
    let wanted = wanted.pointer("/listeners/0");
    if let (Some(wanted), Some(listeners)) =
        (wanted, spec.entry("listeners").or_insert_with(|| json!([])).as_array_mut())
    {
        let same = listeners.iter_mut().find(|it| it.get("name") == wanted.get("name"));
        match same.and_then(Value::as_object_mut).zip(wanted.as_object()) {
            Some((listener, wanted)) => listener.extend(wanted.clone()),
            None => listeners.push(wanted.clone()),
        }
    }
    after
}

/// What applying changes of the Gateway as it is, a line each.
pub(super) fn differences(now: &Value, desired: &Value) -> Vec<String> {
    let after = overlaid(Some(now), desired);
    let mut lines = Vec::new();
    for (pointer, what) in parts("the Gateway") {
        let (before, after) = (text(now, &pointer), text(&after, &pointer));
        if before != after {
            lines.push(format!("{what}: {} -> {}", before.unwrap_or("none"), after.unwrap_or("none")));
        }
    }
    let admits = |gateway: &Value| {
        let routes = tunnel(gateway).and_then(|listener| listener.get("allowedRoutes"));
        let from = routes.and_then(|routes| text(routes, "/namespaces/from")).unwrap_or("Same").to_owned();
        let selector = routes.and_then(|routes| routes.pointer("/namespaces/selector")).filter(|_| from == "Selector");
        (from, selector.map(ToString::to_string).unwrap_or_default())
    };
    if tunnel(now).is_none() {
        lines.push("a listener for the tunnel, which it has not".to_owned());
    } else if admits(now) != admits(&after) {
        let shown = |(from, selector): (String, String)| format!("{from} {selector}").trim_end().to_owned();
        lines.push(format!("allowedRoutes: {} -> {}", shown(admits(now)), shown(admits(&after))));
    }
    lines
}
