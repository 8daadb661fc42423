//! The decision as it would be after an edit, by the code that decides. The host does the same with the objects themselves
//! before it shows an edit.

use wayswitch_sdk::{Decision, Edit, Level, Pair, StatusAddress};

use crate::decide::keys;
use crate::decide::selection::{NamespaceFacts, Said, Selection};
use crate::decide::trace::Trace;
use crate::decide::waypoint::{Policy, Serves, Waypoint};

/// None where the edit cannot be made.
pub(super) fn decision(edit: &Edit, selection: &Selection<'_, '_>) -> Option<Decision> {
    let (pairs, waypoints, namespace, settings);
    let mut then = *selection;
    match edit.at {
        Level::Subject => {
            let own = then.own?;
            pairs = Pairs::edited(own, edit);
            then.own = Some(pairs.said(own));
        }
        // There is no object to edit where it is missing (R22).
        Level::Namespace if then.row.namespace.known => {
            let said = then.namespace.said;
            pairs = Pairs::edited(said, edit);
            namespace = NamespaceFacts::of(pairs.said(said), then.settings);
            then.namespace = &namespace;
        }
        Level::Gateway | Level::Listener => {
            waypoints = with_gateway_edited(edit, selection)?;
            then.waypoints = &waypoints;
        }
        Level::Settings => {
            settings = then.settings.loosened(&edit.key);
            then.settings = &settings;
        }
        Level::Namespace | Level::GatewayClass | Level::Node => return None,
    }
    let mut nobody = Trace::silent();
    Some(then.run(&mut nobody).decision(&then, &mut nobody))
}

/// The labels of an object, or its annotations, after an edit.
struct Pairs {
    annotations: bool,
    list: Vec<Pair>,
}

impl Pairs {
    fn edited(said: Said<'_>, edit: &Edit) -> Self {
        let annotations = edit.key == keys::CANARY_WEIGHT;
        let pairs = if annotations { said.annotations } else { said.labels };
        let mut list = pairs.to_vec();
        list.retain(|pair| pair.key != edit.key);
        if let Some(value) = &edit.value {
            list.push(Pair { key: edit.key.clone(), value: value.clone() });
        }
        Self { annotations, list }
    }

    fn said<'a>(&'a self, before: Said<'a>) -> Said<'a> {
        match self.annotations {
            true => Said { annotations: &self.list, ..before },
            false => Said { labels: &self.list, ..before },
        }
    }
}

fn with_gateway_edited<'a>(edit: &'a Edit, selection: &Selection<'a, '_>) -> Option<Vec<Option<Waypoint<'a>>>> {
    let gateway = edit.gateway?;
    let value = edit.value.as_deref()?;
    let mut waypoints = selection.waypoints.to_vec();
    let slot = waypoints.get_mut(usize::try_from(gateway).ok()?)?;
    match slot {
        None => {
            let (kind, value) = value.split_once('=')?;
            let address = StatusAddress { kind: Some(kind.to_owned()), value: value.to_owned() };
            *slot = Waypoint::at(selection.batch.gateway(gateway)?, &[address], selection.settings.istio);
        }
        Some(waypoint) if edit.at == Level::Listener => waypoint.admission.policy = Policy::All,
        Some(waypoint) => waypoint.serves = Serves::written(Some((Level::Gateway, value))),
    }
    Some(waypoints)
}
