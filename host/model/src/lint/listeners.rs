//! What the listeners of a waypoint and its inbound binding say, where that is read otherwise than it looks.

use crate::description::Source;
use crate::gateway::{Gateway, HBONE_PORT, Listener};
use crate::object::{Meta, ObjectKey};

use super::affected::gateway_object;
use super::labels::{self, annotation, quoted};
use super::survey::{Survey, classes};
use super::{Findings, codes};

pub(super) fn check(survey: &Survey<'_>, found: &mut Findings) {
    for gateway in survey.waypoints() {
        for (index, listener) in gateway.listeners.iter().enumerate() {
            admission(gateway, index, listener, found);
        }
        if *gateway.class == *labels::ISTIO_WAYPOINT {
            not_hbone(gateway, found);
        }
        binding_of(survey, gateway, found);
    }
    for key in classes(survey.store) {
        if let Some(class) = survey.store.class(&key.name) {
            written_binding(survey, Source::ClassAnnotation, key, &class.meta, found);
        }
    }
}

/// Whom a listener admits (R11).
fn admission(gateway: &Gateway, index: usize, listener: &Listener, found: &mut Findings) {
    let (object, key) = (gateway_object(&gateway.key()), gateway.key());
    let field = |of: &str| format!("spec.listeners[{index}].allowedRoutes.namespaces.{of}");
    match listener.admits_from.as_deref() {
        None | Some("Same" | "All") => {}
        Some("Selector") => {
            let what = match &listener.selector {
                None => "there is no selector",
                Some(selector) if !selector.is_valid() => "its selector is invalid",
                Some(_) => return,
            };
            let text = format!("listener {index} of waypoint {key} admits by a selector, and {what}: it admits nobody");
            let fix = format!(
                "write a valid selector on Gateway {key}: In and NotIn need values, Exists and DoesNotExist none"
            );
            found.add(&codes::ADMITS_SELECTOR, object, field("selector"), text, fix);
        }
        Some(other) => {
            let text = format!(
                "listener {index} of waypoint {key} admits from {}, which is read as Same: namespace {} is admitted",
                quoted(other),
                key.namespace
            );
            let fix = format!("write Same on Gateway {key}, or a Selector that matches nothing");
            found.add(&codes::ADMITS_NONE, object, field("from"), text, fix);
        }
    }
}

/// Listeners that Istio's controller does not accept (R104).
fn not_hbone(gateway: &Gateway, found: &mut Findings) {
    let is_tunnel = |it: &Listener| *it.protocol == *labels::HBONE && it.port == u32::from(HBONE_PORT);
    let wrong: Vec<String> = gateway
        .listeners
        .iter()
        .enumerate()
        .filter(|(_, it)| !is_tunnel(it))
        .map(|(index, it)| format!("{index} is {} on {}", quoted(&it.protocol), it.port))
        .collect();
    if !wrong.is_empty() {
        let key = gateway.key();
        let text = format!(
            "waypoint {key} is of class {} and its listener {}: Istio accepts HBONE on {HBONE_PORT} only",
            gateway.class,
            wrong.join(", ")
        );
        let fix = format!("set protocol: HBONE and port: {HBONE_PORT} on that listener of Gateway {key}, or remove it");
        found.add(&codes::LISTENER, gateway_object(&key), "spec.listeners".to_owned(), text, fix);
    }
}

/// A binding as far as it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    is_proxy: bool,
    /// None: not written, or no port; both count as 0.
    port: Option<u32>,
    /// The port is written and is none.
    bad_port: bool,
}

impl Binding {
    /// `NONE` or `PROXY`, optionally with `/` and a port (R9).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (protocol, port) = match text.split_once('/') {
            Some((_, port)) if port.contains('/') => return None,
            Some((protocol, port)) => (protocol, Some(port)),
            None => (text, None),
        };
        let is_proxy = match protocol {
            "NONE" => false,
            "PROXY" => true,
            _ => return None,
        };
        let digits = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|port| port.parse::<u32>().ok());
        let is_port = number.is_some_and(|number| (1..=u32::from(u16::MAX)).contains(&number));
        let is_zero = number == Some(0);
        Some(Self {
            is_proxy,
            port: number.filter(|number| *number != 0),
            bad_port: port.is_some() && !is_port && !is_zero,
        })
    }
}

/// The binding that counts for a Gateway: its own annotation, be it valid or not, else its class's (R9).
pub(super) fn binding(survey: &Survey<'_>, gateway: &Gateway) -> Option<Binding> {
    let own = gateway.meta.annotations.get(labels::INBOUND_BINDING).cloned();
    let class = || survey.store.class(&gateway.class)?.meta.annotations.get(labels::INBOUND_BINDING).cloned();
    Binding::parse(&own.or_else(class)?)
}

fn binding_of(survey: &Survey<'_>, gateway: &Gateway, found: &mut Findings) {
    let key = gateway.key();
    if !survey.reading.reads(Source::GatewayAnnotation, labels::INBOUND_BINDING) {
        return;
    }
    written_binding(survey, Source::GatewayAnnotation, gateway_object(&key), &gateway.meta, found);
    let Some(binding) = binding(survey, gateway).filter(|binding| !binding.bad_port) else {
        return;
    };
    let (fits, wanted) = match binding {
        Binding { port: Some(port), .. } => {
            (gateway.listeners.iter().any(|it| it.port == port), format!("on port {port}"))
        }
        Binding { is_proxy: true, .. } => {
            let fits = gateway.listeners.iter().any(|it| *it.protocol == *labels::PROXY_LISTENER);
            (fits, format!("of protocol {}", labels::PROXY_LISTENER))
        }
        // Without a port there is no listener to look for.
        Binding { .. } => return,
    };
    if !fits {
        let text = format!(
            "waypoint {key} has an inbound binding and no listener {wanted}: whom it admits is read from its HBONE listener"
        );
        let fix = format!("add a listener {wanted} to Gateway {key}, or correct {}", labels::INBOUND_BINDING);
        found.add(&codes::BINDING_LISTENER, gateway_object(&key), "spec.listeners".to_owned(), text, fix);
    }
}

/// The annotation where it is written: of a Gateway or of a class.
fn written_binding(survey: &Survey<'_>, at: Source, object: ObjectKey, meta: &Meta, found: &mut Findings) {
    let value = meta.annotations.get(labels::INBOUND_BINDING);
    let Some(value) = value.filter(|_| survey.reading.reads(at, labels::INBOUND_BINDING)) else {
        return;
    };
    let field = annotation(labels::INBOUND_BINDING);
    match Binding::parse(value) {
        None => {
            let text = format!("the inbound binding {} of {object} cannot be read, so there is none", quoted(value));
            let fix = format!("set it to NONE or PROXY on {object}, with / and a port behind it where needed");
            found.add(&codes::BINDING, object, field, text, fix);
        }
        Some(Binding { bad_port: true, .. }) => {
            let text = format!("the inbound binding {} of {object} has no port from 1 to 65535", quoted(value));
            let fix = format!("correct the port on {object}, or leave it out with the slash");
            found.add(&codes::BINDING_PORT, object, field, text, fix);
        }
        Some(_) => {}
    }
}
