//! Waypoints by service account, as Istio chose them up to 1.21 (section 18 of its history). There are no references, no
//! opt-out and no waypoints for services under these rules; labels of later versions mean nothing here.
//!
//! What that version's description leaves open is decided so:
//! * a Gateway of class `istio-waypoint` without an IP that parses is no waypoint, so the next best one is used;
//! * a workload that Istio generated for a waypoint has none itself, or its traffic would come back to it;
//! * a workload whose account is unknown can only use a waypoint of the whole namespace;
//! * endpoints of a ServiceEntry and of an EndpointSlice are not workloads in this sense and go direct;
//! * what a source without labels reports is kept as it is: nothing is known of its Gateways' classes either.

mod waypoint;

#[cfg(test)]
mod tests;

use wayswitch_sdk::settings;
use wayswitch_sdk::text::same;
use wayswitch_sdk::{
    Batch, Decision, Description, Edit, Explanation, Failure, Fields, Finding, Level, Reach, Row, Source, SubjectKind,
};

use waypoint::Waypoint;

/// Annotation of a Gateway: the service account it is for; absent or empty, the whole namespace.
const FOR_SERVICE_ACCOUNT: &str = "istio.io/for-service-account";
/// Label of what a controller generated, and the controller of waypoints.
const MANAGED: &str = "gateway.istio.io/managed";
const MESH_CONTROLLER: &str = "istio.io-mesh-controller";
const ACCEPTED: &str = "WaypointAccepted";
/// These rules are older than the numbers of today's.
const RULE: &str = "for-service-account";

/// What is read: the Gateways of the workload's own namespace, and its service account.
///
/// # Errors
/// One line for the operator, when anything is set: there is nothing to set.
pub fn describe(settings: &str) -> Result<Description, String> {
    settings::none(settings)?;
    let description = Description::new("service-account", env!("CARGO_PKG_VERSION"))
        .reading(Source::GatewayAnnotation, &[FOR_SERVICE_ACCOUNT])
        .reading(Source::SubjectLabel, &[MANAGED]);
    Ok(Description { fields: Fields::SERVICE_ACCOUNT, reach: Reach::OwnNamespace, ..description })
}

/// One decision for each subject, in their order.
///
/// # Errors
/// Settings that [`describe`] would refuse, and indexes that name nothing; a host sends neither.
pub fn resolve(batch: &Batch) -> Result<Vec<Decision>, Failure> {
    let waypoints = waypoints(batch)?;
    batch.rows().map(|row| Ok(decision(&choose(batch, &waypoints, row?)))).collect()
}

/// The same choice as [`resolve`]'s for the only subject, with the fact that settled it.
///
/// # Errors
/// As [`resolve`]; also when the batch does not hold exactly one subject.
pub fn explain(batch: &Batch) -> Result<Explanation, Failure> {
    let waypoints = waypoints(batch)?;
    let row = batch.only_row()?;
    let chosen = choose(batch, &waypoints, row);
    let (findings, edits) = (vec![finding(&chosen, row)], edits(&chosen, batch, &waypoints, row));
    Ok(Explanation { decision: decision(&chosen), findings, edits })
}

/// By gateway index; none: not a waypoint under these rules.
fn waypoints(batch: &Batch) -> Result<Vec<Option<Waypoint<'_>>>, Failure> {
    settings::none(&batch.settings).map_err(Failure::new)?;
    Ok(batch.gateways.iter().map(Waypoint::of).collect())
}

/// Every end of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    Unknown,
    NoWorkload,
    Generated,
    Nothing,
    Exact { gateway: u32, address: u32 },
    NamespaceWide { gateway: u32, address: u32 },
}

/// The waypoint of the workload's account, else of its namespace; among equals the first by name, which is the order of
/// the candidates.
fn choose(batch: &Batch, waypoints: &[Option<Waypoint<'_>>], row: Row<'_>) -> Chosen {
    if !matches!(row.subject.kind, SubjectKind::Pod | SubjectKind::WorkloadEntry) {
        return Chosen::NoWorkload;
    }
    if row.subject.labels.is_none() {
        return Chosen::Unknown;
    }
    if row.subject.label(MANAGED).is_some_and(|by| same(by, MESH_CONTROLLER)) {
        return Chosen::Generated;
    }
    let account = row.subject.service_account.as_deref();
    let mut wide = Chosen::Nothing;
    for (gateway, Waypoint { account: of, address }) in own(batch, waypoints, row) {
        match of {
            Some(of) if account.is_some_and(|account| same(account, of)) => {
                return Chosen::Exact { gateway, address };
            }
            None if wide == Chosen::Nothing => wide = Chosen::NamespaceWide { gateway, address },
            Some(_) | None => {}
        }
    }
    wide
}

/// The waypoints of the subject's own namespace, by name.
fn own<'a>(
    batch: &'a Batch,
    waypoints: &'a [Option<Waypoint<'a>>],
    row: Row<'a>,
) -> impl Iterator<Item = (u32, Waypoint<'a>)> {
    let each = row.subject.candidates.iter().filter_map(|&gateway| {
        let waypoint = usize::try_from(gateway).ok().and_then(|at| waypoints.get(at)).copied().flatten()?;
        Some((gateway, waypoint))
    });
    each.filter(move |(gateway, _)| batch.gateway(*gateway).is_some_and(|it| same(&it.namespace, &row.namespace.name)))
}

fn decision(chosen: &Chosen) -> Decision {
    match *chosen {
        Chosen::Unknown => Decision::keep(),
        Chosen::NoWorkload | Chosen::Generated | Chosen::Nothing => Decision::direct(None),
        Chosen::Exact { gateway, address } | Chosen::NamespaceWide { gateway, address } => {
            Decision::bound(gateway, Some(address), ACCEPTED)
        }
    }
}

fn finding(chosen: &Chosen, row: Row<'_>) -> Finding {
    let account = row.subject.service_account.as_deref();
    let (at, gateway, key, value, text) = match *chosen {
        Chosen::Unknown => {
            (Level::Subject, None, "", None, "its labels are unknown here, so what the control plane said is kept")
        }
        Chosen::NoWorkload => {
            (Level::Subject, None, "", None, "only pods and WorkloadEntries have waypoints under these rules")
        }
        Chosen::Generated => {
            (Level::Subject, None, MANAGED, Some(MESH_CONTROLLER), "generated for a waypoint, so it has none itself")
        }
        Chosen::Nothing => (
            Level::Subject,
            None,
            "service-account",
            account,
            "no waypoint of its namespace is for this account or for all",
        ),
        Chosen::Exact { gateway, .. } => {
            (Level::Gateway, Some(gateway), FOR_SERVICE_ACCOUNT, account, "it is for this service account")
        }
        Chosen::NamespaceWide { gateway, .. } => (
            Level::Gateway,
            Some(gateway),
            FOR_SERVICE_ACCOUNT,
            None,
            "it is for the whole namespace, and none is for this account",
        ),
    };
    let (key, value) = (key.to_owned(), value.map(str::to_owned));
    Finding { rule: RULE.to_owned(), at, gateway, key, value, text: text.to_owned(), decisive: true }
}

/// A workload without a waypoint, beside one of another account: give that one to this account, or to all. There is no
/// advice on losing one.
fn edits(chosen: &Chosen, batch: &Batch, waypoints: &[Option<Waypoint<'_>>], row: Row<'_>) -> Vec<Edit> {
    let other = own(batch, waypoints, row).next();
    let (Chosen::Nothing, Some((gateway, _))) = (chosen, other) else {
        return Vec::new();
    };
    let account = row.subject.service_account.clone().map(Some);
    let values = account.into_iter().chain([None]);
    let key = FOR_SERVICE_ACCOUNT;
    values.map(|value| Edit { at: Level::Gateway, gateway: Some(gateway), key: key.to_owned(), value }).collect()
}
