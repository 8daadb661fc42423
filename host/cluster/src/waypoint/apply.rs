//! Writes a waypoint, by server-side apply, and the labels of those who are to go through it.

use futures_util::future::{try_join, try_join_all};
use kube::api::{Patch, PatchParams};
use model::store::Event;
use model::{Kind, Object, Store};
use serde_json::{Map, Value, json};

use super::objects::{At, Got};
use super::plan::{Enrolment, Found, Plan, Wanted};
use super::seen::{Waypoint, classes};
use super::target::{Target, TargetKind};
use super::{AT_ONCE, FIELD_MANAGER};
use crate::connect::Cluster;
use crate::error::Error;

/// How often labels are written anew when the object changed meanwhile in another place.
const ATTEMPTS_MAX: usize = 5;

/// Reads what a plan depends on.
///
/// # Errors
/// A namespace or target that is not there, no Gateway API, and everything that a request may meet.
pub async fn find(cluster: &Cluster, wanted: &Wanted) -> Result<Found, Error> {
    let namespace = wanted.spec.namespace.as_deref().unwrap_or(&cluster.namespace);
    let mut homes: Vec<&str> = wanted.enrol.iter().map(Target::home).chain([namespace]).collect();
    homes.sort_unstable();
    homes.dedup();
    let mut store = Store::default();
    for homes in homes.chunks(AT_ONCE) {
        let at = |name| At { kind: Kind::Namespace, namespace: "", name };
        let got = try_join_all(homes.iter().map(|name| async move { at(name).get_there(cluster).await })).await?;
        store.apply_all(got.into_iter().map(|got| Event::Apply(got.object)));
    }
    let mut targets = Vec::new();
    for chunk in wanted.enrol.chunks(AT_ONCE) {
        let got = try_join_all(chunk.iter().map(|target| at(target).get_there(cluster))).await?;
        targets.extend(chunk.iter().zip(got).map(|(target, got)| {
            let version = got.resource_version();
            (target.clone(), got.object, version)
        }));
    }
    let gateway = At { kind: Kind::Gateway, namespace, name: &wanted.spec.name };
    let (got, (classes, classes_known)) = try_join(gateway.get(cluster), classes(cluster)).await?;
    let names = classes.object_keys().filter_map(|key| classes.object(&key));
    store.apply_all(names.map(Event::Apply).collect::<Vec<_>>());
    let waypoint = got.and_then(|got| Waypoint::of(got, &classes));
    Ok(Found { waypoint, classes_known, store, targets })
}

fn at(target: &Target) -> At<'_> {
    let namespace = match target.kind {
        TargetKind::Namespace => "",
        _ => target.namespace.as_deref().unwrap_or_default(),
    };
    At { kind: target.kind.kind(), namespace, name: &target.name }
}

/// Applies the Gateway of a plan. What somebody else set is not taken from them.
///
/// # Errors
/// [`Error::Conflict`] names who holds which field; [`Error::NoSuchKind`] where the Gateway API is not installed.
pub async fn apply_gateway(cluster: &Cluster, plan: &Plan, dry_run: bool) -> Result<(), Error> {
    let at = At { kind: Kind::Gateway, namespace: &plan.key.namespace, name: &plan.key.name };
    let params = PatchParams { dry_run, ..PatchParams::apply(FIELD_MANAGER) };
    let done = at.api(cluster).patch(at.name, &params, &Patch::Apply(&plan.gateway)).await;
    done.map(|_| ()).map_err(|error| at.failed("patch", error))
}

/// Writes the labels and annotations of one object, if those that it is about are still as they were when the plan was made.
///
/// # Errors
/// [`Error::Conflict`] where somebody else chose meanwhile.
pub async fn enrol(cluster: &Cluster, enrolment: &Enrolment, dry_run: bool) -> Result<(), Error> {
    let at = at(&enrolment.target);
    let params = PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let mut version = enrolment.resource_version.clone();
    let mut attempts = 1;
    loop {
        let patch = Patch::Merge(patch(enrolment, &version));
        match at.api(cluster).patch(at.name, &params, &patch).await.map_err(|error| at.failed("patch", error)) {
            Ok(_) => return Ok(()),
            Err(error @ Error::Conflict { .. }) if attempts < ATTEMPTS_MAX => {
                // Something else of it, for instance its status, changes all the time.
                let got = at.get_there(cluster).await?;
                if !is_as_before(enrolment, &got.object) {
                    return Err(error);
                }
                version = Got::resource_version(&got);
                attempts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_as_before(enrolment: &Enrolment, object: &Object) -> bool {
    let meta = object.meta();
    let labels = enrolment.labels.iter().map(|(key, (before, _))| (before, meta.labels.get(key)));
    let annotations = enrolment.annotations.iter().map(|(key, (before, _))| (before, meta.annotations.get(key)));
    labels.chain(annotations).all(|(before, now)| before.as_deref() == now.map(|now| &**now))
}

/// All at once, so that a name and its namespace never stand apart.
fn patch(enrolment: &Enrolment, version: &str) -> Value {
    let after = |edits: &std::collections::BTreeMap<&'static str, (Option<String>, Option<String>)>| {
        edits.iter().map(|(key, (_, after))| ((*key).to_owned(), json!(after))).collect::<Map<_, _>>()
    };
    json!({ "metadata": {
        "resourceVersion": version,
        "labels": after(&enrolment.labels),
        "annotations": after(&enrolment.annotations),
    } })
}
