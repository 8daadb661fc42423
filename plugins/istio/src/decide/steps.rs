//! The words of an explanation: one function per step that a selection can take. Nothing is decided here, and no text
//! holds the name of an object.

use wayswitch_sdk::{Finding, Gateway, Level, lookup_value};

use super::reference::{Named, Wish};
use super::selection::Selection;
use super::settings::{self, Unbound};
use super::waypoint::{Policy, Serves, Waypoint};
use super::{keys, version};

/// The number of the rule by which a label is a reference.
pub(super) const REFERENCE: &str = "R15";

fn step(at: Level, rule: &str, key: &str, value: Option<&str>, text: &str) -> Finding {
    let (rule, key, text) = (rule.to_owned(), key.to_owned(), text.to_owned());
    let value = value.map(str::to_owned);
    Finding { rule, at, gateway: None, key, value, text, decisive: false }
}

/// The same step, taken at a Gateway, its class or a listener of it.
fn of(gateway: u32, finding: Finding) -> Finding {
    Finding { gateway: Some(gateway), ..finding }
}

fn decisive(finding: Finding) -> Finding {
    Finding { decisive: true, ..finding }
}

pub(super) fn never(rule: &str, text: &str) -> Finding {
    decisive(step(Level::Subject, rule, "", None, text))
}

pub(super) fn labels_unknown() -> Finding {
    let text = "its labels are unknown here, so what the control plane said is kept";
    decisive(step(Level::Subject, "labels", "", None, text))
}

/// `by_setting`: Istio itself would let it have one (Q6).
pub(super) fn managed(by: &str, by_setting: bool) -> Finding {
    let text = match by_setting {
        true => "generated for a Gateway, and the settings exclude all of these",
        false => "generated for a waypoint or an east-west gateway, so it has none itself",
    };
    decisive(step(Level::Subject, "R28", keys::MANAGED, Some(by), text))
}

pub(super) fn instance(gateway: u32, name: &str, ready: bool) -> Finding {
    let text = match ready {
        true => "it is an instance of this waypoint, so it has none itself",
        false => "it is an instance of a Gateway that has no address yet, so of no waypoint",
    };
    let finding = of(gateway, step(Level::Gateway, "R45", keys::GATEWAY_NAME, Some(name), text));
    if ready { decisive(finding) } else { finding }
}

pub(super) fn wish(level: Level, wish: Wish<'_>, selection: &Selection<'_, '_>) -> Finding {
    let written = lookup_value(selection.labels_at(level), keys::USE_WAYPOINT);
    let label = |rule, text| step(level, rule, keys::USE_WAYPOINT, written, text);
    let inherited = level == Level::Namespace;
    match wish {
        Wish::Absent if inherited && !selection.row.namespace.known => {
            let text = "the Namespace object is missing, so nothing is inherited";
            decisive(step(level, "R22", "", None, text))
        }
        Wish::Absent if inherited => decisive(label("R17", "the namespace names no waypoint either")),
        Wish::Absent => label("R17", "the object names no waypoint, so its namespace is asked"),
        Wish::Ignored if inherited => decisive(label("R17", "has more than one slash, so it names no waypoint either")),
        Wish::Ignored => label("R17", "has more than one slash, so the namespace is asked"),
        Wish::OptOut => decisive(label("R18", "opts out of any waypoint")),
        Wish::Named { namespace: None, .. } => label(REFERENCE, "names a waypoint of the subject's namespace"),
        Wish::Named { .. } if selection.settings.istio.has(version::NAMESPACE_LABEL) => {
            label(REFERENCE, "names a waypoint of the namespace in the label beside it")
        }
        Wish::Named { .. } => label(REFERENCE, "names a waypoint of the namespace before the slash"),
    }
}

pub(super) fn no_such_gateway(named: &Named<'_>) -> Finding {
    let text = "there is no Gateway of that namespace and name";
    decisive(step(named.level, "R19", named.label, Some(named.name), text))
}

pub(super) fn no_address(gateway: u32) -> Finding {
    let text = "has no address yet, so it is not ready";
    decisive(of(gateway, step(Level::Gateway, "R2", keys::ADDRESSES, None, text)))
}

pub(super) fn admission(gateway: u32, object: Option<&Gateway>, waypoint: &Waypoint<'_>, admitted: bool) -> Finding {
    let listener = waypoint.admission.listener;
    let listener = listener.and_then(|position| object?.listeners.get(position));
    let value = listener.and_then(|listener| listener.admits_from.as_deref());
    let text = match (waypoint.admission.policy, admitted) {
        (Policy::NotAsked, _) => "this Istio asks no waypoint whom it admits",
        (Policy::All, _) => "admits every namespace",
        (Policy::Same, true) => "admits its own namespace, which is the subject's",
        (Policy::Same, false) => "admits its own namespace only",
        (Policy::Selected(_), true) => "its selector matches the subject's namespace",
        (Policy::Selected(_), false) => "its selector does not match the subject's namespace",
    };
    let level = listener.map_or(Level::Gateway, |_| Level::Listener);
    let finding = |rule| of(gateway, step(level, rule, keys::ADMITS_FROM, value, text));
    if admitted { finding("R11") } else { decisive(finding("R20")) }
}

pub(super) fn serves(rule: &str, gateway: u32, serves: Serves<'_>, text: &str) -> Finding {
    let (level, value) = match serves.written {
        Some((level, value)) => (level, Some(value)),
        None => (Level::Gateway, None),
    };
    of(gateway, step(level, rule, keys::WAYPOINT_FOR, value, text))
}

pub(super) fn serves_other(rule: &str, gateway: u32, of: Serves<'_>, text: &str) -> Finding {
    decisive(serves(rule, gateway, of, text))
}

pub(super) fn foreign_namespace() -> Finding {
    let text = "only its own namespace sees the entry, and the waypoint is in another";
    decisive(step(Level::Subject, "R30", "visibility", Some("NAMESPACE"), text))
}

pub(super) fn unbound(unbound: Unbound) -> Finding {
    let (value, text) = match unbound {
        Unbound::Direct => ("direct", "what cannot be bound goes past the waypoint"),
        Unbound::Blocked => ("blocked", "what cannot be bound does not pass"),
    };
    step(Level::Settings, "unbound", settings::UNBOUND, Some(value), text)
}

/// `only`: nothing else was wrong, so that this alone blocks it.
pub(super) fn required(level: Level, selection: &Selection<'_, '_>, only: bool) -> Finding {
    let labels = selection.labels_at(level);
    let value = lookup_value(labels, keys::REQUIRED);
    let text = "such traffic must not go past a waypoint, so it does not pass";
    let finding = step(level, "required", keys::REQUIRED, value, text);
    if only { decisive(finding) } else { finding }
}

/// `required`: the level that requires a waypoint.
pub(super) fn unreachable(required: Option<Level>) -> Finding {
    let text = match required {
        None => "while no waypoint can be reached, connections go past it",
        Some(_) => "does not hold here: a waypoint is required, so connections fail while none can be reached",
    };
    step(Level::Settings, "unreachable", settings::UNREACHABLE, Some("bypass"), text)
}

pub(super) fn canary_wish(level: Level, wish: Wish<'_>, selection: &Selection<'_, '_>) -> Finding {
    let text = match wish {
        Wish::Absent | Wish::Ignored | Wish::OptOut => "opts out of a canary",
        Wish::Named { namespace: None, .. } => "names a canary of the subject's namespace",
        Wish::Named { .. } => "names a canary of the namespace in the label beside it",
    };
    step(level, "R61", keys::CANARY, lookup_value(selection.labels_at(level), keys::CANARY), text)
}

pub(super) fn same_as_primary(named: &Named<'_>) -> Finding {
    step(named.level, "R63", named.label, Some(named.name), "is the primary waypoint already, so there is no canary")
}

pub(super) fn weight(level: Level, written: Option<&str>, percent: Option<u32>) -> Finding {
    let text = match (written, percent) {
        (None, _) => "no weight is written, so the canary gets no traffic",
        (_, Some(_)) => "the canary gets this percentage, the primary the rest",
        (_, None) => "is no whole number from 0 to 100, so there is no canary",
    };
    step(level, "R62", keys::CANARY_WEIGHT, written, text)
}

pub(super) fn address(gateway: u32, object: Option<&Gateway>, index: Option<u32>) -> Finding {
    let index = index.and_then(|index| usize::try_from(index).ok());
    let entry = index.and_then(|index| object?.addresses.get(index));
    let (rule, text) = match entry.and_then(|entry| entry.kind.as_deref()) {
        Some(keys::HOSTNAME) => ("R5", "reached by its first hostname"),
        Some(_) => ("R6", "reached by its first IP address"),
        None => ("R7", "none of its addresses can be used: bound, but nothing reaches it"),
    };
    let value = entry.map(|entry| entry.value.as_str());
    of(gateway, step(Level::Gateway, rule, keys::ADDRESSES, value, text))
}

pub(super) fn ingress(level: Level, selection: &Selection<'_, '_>, through: bool) -> Finding {
    let value = lookup_value(selection.labels_at(level), keys::INGRESS_USE_WAYPOINT);
    let text = match through {
        true => "gateways go through the waypoint as well",
        false => "gateways go past the waypoint",
    };
    step(level, "R70", keys::INGRESS_USE_WAYPOINT, value, text)
}
