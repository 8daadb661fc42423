//! What somebody could change so that the decision changes. The host tries each before it shows it; none is a guess at a
//! name that is not there.

use wayswitch_sdk::{Edit, Level};

use super::keys;
use super::outcome::{Outcome, Refusal};
use super::reference::Wish;
use super::selection::Selection;
use super::settings::Unbound;
use super::waypoint::Waypoint;

pub(super) fn edits(outcome: &Outcome<'_>, selection: &Selection<'_, '_>) -> Vec<Edit> {
    match *outcome {
        // Nothing that a label of theirs could change, or no waypoint known that could be named.
        Outcome::NeverHasOne | Outcome::Unknown | Outcome::Managed | Outcome::Instance { .. } | Outcome::NotAsked => {
            Vec::new()
        }
        Outcome::OptedOut { level: Level::Subject } if inherits(selection) => vec![removed()],
        Outcome::OptedOut { .. } => Vec::new(),
        Outcome::NotMeant { gateway } => serving(gateway, keys::ALL),
        Outcome::Bound { .. } => vec![opted_out()],
        Outcome::Refused { named, gateway, why } => {
            let waypoint = gateway.and_then(|gateway| Some((gateway, selection.waypoint(gateway)?)));
            let mut edits =
                waypoint.map_or_else(Vec::new, |(gateway, waypoint)| remedy(gateway, waypoint, why, selection));
            if named.explicit() && inherits(selection) {
                edits.push(removed());
            }
            edits.push(opted_out());
            if selection.settings.unbound == Unbound::Blocked {
                edits.push(Edit {
                    at: Level::Settings,
                    gateway: None,
                    key: "unbound".to_owned(),
                    value: Some("direct".to_owned()),
                });
            }
            edits
        }
    }
}

/// What the waypoint's owner could do.
fn remedy(gateway: u32, waypoint: &Waypoint<'_>, why: Refusal, selection: &Selection<'_, '_>) -> Vec<Edit> {
    match why {
        // Readiness and visibility are no label of anything in the batch.
        Refusal::NotReady | Refusal::ForeignNamespace => Vec::new(),
        Refusal::NotAdmitted if waypoint.admission.listener.is_none() => Vec::new(),
        Refusal::NotAdmitted => vec![Edit {
            at: Level::Listener,
            gateway: Some(gateway),
            key: keys::ADMITS_FROM.to_owned(),
            value: Some("All".to_owned()),
        }],
        Refusal::OtherTraffic => {
            // Keep what it serves today, if it serves anything.
            let serves_something = waypoint.serves.services || waypoint.serves.workloads;
            let wanted = if selection.is_service() { keys::SERVICE } else { keys::WORKLOAD };
            serving(gateway, if serves_something { keys::ALL } else { wanted })
        }
    }
}

fn serving(gateway: u32, value: &str) -> Vec<Edit> {
    let (key, value) = (keys::WAYPOINT_FOR.to_owned(), Some(value.to_owned()));
    vec![Edit { at: Level::Gateway, gateway: Some(gateway), key, value }]
}

/// The namespace would be asked if the object said nothing.
fn inherits(selection: &Selection<'_, '_>) -> bool {
    matches!(selection.namespace.wish, Wish::Named { .. })
}

fn removed() -> Edit {
    Edit { at: Level::Subject, gateway: None, key: keys::USE_WAYPOINT.to_owned(), value: None }
}

fn opted_out() -> Edit {
    Edit { value: Some(keys::NONE.to_owned()), ..removed() }
}
