//! Deletes waypoints, and finds who names them before that.

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use kube::api::{DeleteParams, Preconditions};
use model::gateway::GatewayKey;
use model::referrers::{CANARY, USE_WAYPOINT};
use model::store::Event;
use model::{Kind, Store};

use super::AT_ONCE;
use super::objects::At;
use super::seen::{Waypoint, pages};
use crate::connect::Cluster;
use crate::error::Error;

/// What became of a waypoint that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Deleted,
    /// Somebody else was faster.
    Gone,
    /// There is another one of this name by now, which stays.
    Replaced,
}

/// Deletes these, several at once, each only if it is still the very object that was seen.
pub async fn delete(
    cluster: &Cluster,
    waypoints: &[Waypoint],
    dry_run: bool,
) -> Vec<(GatewayKey, Result<Deletion, Error>)> {
    let requests = waypoints.iter().map(|waypoint| async move {
        let key = waypoint.key();
        let done = delete_one(cluster, &key, waypoint.uid(), dry_run).await;
        (key, done)
    });
    futures_util::stream::iter(requests).buffered(AT_ONCE).collect().await
}

async fn delete_one(cluster: &Cluster, key: &GatewayKey, uid: &str, dry_run: bool) -> Result<Deletion, Error> {
    let at = At { kind: Kind::Gateway, namespace: &key.namespace, name: &key.name };
    let same = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let params = DeleteParams { dry_run, preconditions: Some(same), ..DeleteParams::default() };
    match at.api(cluster).delete(at.name, &params).await.map_err(|error| at.failed("delete", error)) {
        Ok(_) => Ok(Deletion::Deleted),
        Err(Error::NotFound { .. }) => Ok(Deletion::Gone),
        Err(Error::Conflict { .. }) => Ok(Deletion::Replaced),
        Err(error) => Err(error),
    }
}

/// The objects that name waypoints, of all namespaces, for [`model::referrers::referrers`]; with what could not be read, a line
/// each. Of Services and Pods only those that have such a label are asked for.
///
/// # Errors
/// A kind that may not be listed: then nobody can say who names one.
pub async fn references(cluster: &Cluster) -> Result<(Store, Vec<String>), Error> {
    let asked: [(Kind, &str); 7] = [
        (Kind::Namespace, USE_WAYPOINT),
        (Kind::Namespace, CANARY),
        (Kind::Service, USE_WAYPOINT),
        (Kind::Service, CANARY),
        (Kind::Pod, USE_WAYPOINT),
        // These have labels in other places as well, which the API server does not look at.
        (Kind::ServiceEntry, ""),
        (Kind::WorkloadEntry, ""),
    ];
    let lists = asked.iter().map(|(kind, label)| async move {
        match pages(cluster, At { kind: *kind, namespace: "", name: "" }, label).await {
            // A cluster without Istio's own kinds.
            Err(Error::NoSuchKind { .. }) => Ok(Vec::new()),
            other => other,
        }
    });
    let (mut store, mut unread) = (Store::default(), Vec::new());
    for got in try_join_all(lists).await?.into_iter().flatten() {
        match got {
            Ok(got) => drop(store.apply(Event::Apply(got.object))),
            Err(error) => unread.push(error.to_string()),
        }
    }
    Ok((store, unread))
}
