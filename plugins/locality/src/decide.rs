//! The nearest of the waypoints that a subject may use.
//!
//! What it may use: the waypoints that the control plane programmed for it, where one was asked (R98); else those that
//! Istio's rules bind it to, the canary with them. What those rules refuse, leave direct or block stays so: this only
//! chooses among what is allowed. All of a subject's connections from this node go to the one that is chosen; weights
//! between a waypoint and its canary do not count then.
//!
//! The settings are those of Istio's rules.

use plugin_istio::decide as istio;
use wayswitch_sdk::text::same;
use wayswitch_sdk::{
    Batch, Choice, Decision, Description, Explanation, Failure, Fields, Finding, Gateway, Level, Row, Target,
};

/// Reasons of a choice that is not the first waypoint.
const IN_ZONE: &str = "WaypointInZone";
const IN_REGION: &str = "WaypointInRegion";
const RULE: &str = "locality";

#[cfg(test)]
mod tests;

/// Istio's description, with what is needed to tell near from far.
///
/// # Errors
/// One line for the operator when the settings are not Istio's.
pub fn describe(settings: &str) -> Result<Description, String> {
    let mut description = istio::describe(settings)?;
    "locality".clone_into(&mut description.name);
    env!("CARGO_PKG_VERSION").clone_into(&mut description.version);
    description.fields |= Fields::UPSTREAM | Fields::ENDPOINTS | Fields::NODE_LOCALITY;
    Ok(description)
}

/// One decision for each subject, in their order.
///
/// # Errors
/// As Istio's rules.
pub fn resolve(batch: &Batch) -> Result<Vec<Decision>, Failure> {
    let decisions = istio::resolve(batch)?;
    batch.rows().zip(decisions).map(|(row, decision)| Ok(nearest(batch, row?, decision).0)).collect()
}

/// The same for the only subject, with Istio's reasons and one more.
///
/// # Errors
/// As Istio's rules.
pub fn explain(batch: &Batch) -> Result<Explanation, Failure> {
    let mut explanation = istio::explain(batch)?;
    let (decision, chosen) = nearest(batch, batch.only_row()?, explanation.decision);
    if let Some(chosen) = chosen {
        explanation.findings.iter_mut().for_each(|finding| finding.decisive = false);
        explanation.findings.push(finding(batch, chosen));
        // Istio's advice is about Istio's decision.
        explanation.edits.clear();
    }
    Ok(Explanation { decision, ..explanation })
}

/// How near a waypoint's ready endpoints are; the nearest is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Zone,
    Region,
    Further,
}

/// The decision with the nearest waypoint in it, and that waypoint where it is another than the first.
fn nearest(batch: &Batch, row: Row<'_>, decision: Decision) -> (Decision, Option<(u32, Distance)>) {
    let allowed = allowed(batch, row, &decision);
    // Of equally near ones the first; a minimum is the first of its equals.
    let near = allowed.iter().filter_map(|target| Some((target, distance(batch, batch.gateway(target.gateway)?))));
    let Some((target, distance)) = near.min_by_key(|(_, distance)| *distance) else { return (decision, None) };
    let is_first = allowed.first().is_some_and(|first| first.gateway == target.gateway);
    if is_first && decision.choice == Choice::Keep || distance == Distance::Further {
        return (decision, None);
    }
    let reason = if distance == Distance::Zone { IN_ZONE } else { IN_REGION };
    let reason = if is_first { decision.reason.clone() } else { Some(reason.to_owned()) };
    let choice = Choice::Waypoints(vec![Target { weight: 100, ..*target }]);
    (Decision { choice, reason, ..decision }, (!is_first).then_some((target.gateway, distance)))
}

/// What may be chosen, the first by default first.
fn allowed(batch: &Batch, row: Row<'_>, decision: &Decision) -> Vec<Target> {
    let bound: &[Target] = match &decision.choice {
        Choice::Waypoints(targets) => targets,
        Choice::Keep => &[],
        Choice::Direct | Choice::Blocked => return Vec::new(),
    };
    let Some(programmed) = &row.subject.upstream else { return bound.to_vec() };
    let target = |gateway: &u32| {
        let of_rules = bound.iter().find(|target| target.gateway == *gateway).map(|target| target.address);
        let has_address = || batch.gateway(*gateway).is_some_and(|gateway| !gateway.addresses.is_empty());
        let address = of_rules.unwrap_or_else(|| has_address().then_some(0));
        Target { gateway: *gateway, address, weight: 100 }
    };
    programmed.iter().map(target).filter(|target| target.address.is_some()).collect()
}

fn distance(batch: &Batch, gateway: &Gateway) -> Distance {
    let node = &batch.node.locality;
    let ready =
        || gateway.endpoints.iter().filter(|endpoints| endpoints.ready > 0).map(|endpoints| &endpoints.locality);
    let in_region = |region: &str| !node.region.is_empty() && same(region, &node.region);
    // A zone is told apart within its region.
    if !node.zone.is_empty() && ready().any(|it| same(&it.zone, &node.zone) && same(&it.region, &node.region)) {
        Distance::Zone
    } else if ready().any(|it| in_region(&it.region)) {
        Distance::Region
    } else {
        Distance::Further
    }
}

fn finding(batch: &Batch, (gateway, distance): (u32, Distance)) -> Finding {
    let node = &batch.node.locality;
    let (key, value, text) = match distance {
        Distance::Zone => {
            ("zone", &node.zone, "it has ready endpoints in the zone of this node, and those before it have none")
        }
        Distance::Region | Distance::Further => {
            ("region", &node.region, "it has ready endpoints in the region of this node, and those before it have none")
        }
    };
    Finding {
        rule: RULE.to_owned(),
        at: Level::Gateway,
        gateway: Some(gateway),
        key: key.to_owned(),
        value: Some(value.clone()),
        text: text.to_owned(),
        decisive: true,
    }
}
