//! Writes back what was decided: conditions and labels, by the agent that leads and by no other. Only what is not there yet, so many
//! objects a second, each write based on the version of the object that it was decided on.
//!
//! Who leads first reads how the objects stand; what an earlier leader wrote is known by its owner and needs no second write.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, select_all};
use futures_util::{FutureExt, Stream, StreamExt};
use kube::api::{Api, ApiResource, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use model::{Kind, ObjectKey};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::boot::BootTime;
use crate::connect::Cluster;
use crate::error::About;
use crate::feed::Feed;
use crate::kinds::{PAGE, about, all, resource};
use crate::leader::Leadership;
use crate::raw::Raw;
use crate::{conditions, labels, ready};

mod remove;
mod seen;
mod writer;

pub use remove::Removed;
pub use seen::{Disagreement, Seen};
use writer::{Due, Writer};

/// Writes under way at once.
const UNDER_WAY_MAX: usize = 8;

/// How long one may take.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// How often what readers see is brought up to date, and what was put off is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Objects that are taken from the watch at once.
const CHUNK: usize = 256;

/// What is done about conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    #[default]
    Off,
    /// They are compared with what somebody else writes.
    Compare,
    /// They are written.
    Write,
}

/// What is written back, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Conditions.
    pub conditions: Mode,
    /// Whether decisions become labels.
    pub labels: bool,
    /// Writes a second, at least 1.
    pub per_second: u32,
}

impl Config {
    /// The kinds that are looked at.
    pub fn kinds(&self) -> Vec<Kind> {
        let conditions = if self.conditions == Mode::Off { &[][..] } else { &model::conditions::KINDS };
        let labels = if self.labels { &model::use_waypoint::KINDS[..] } else { &[] };
        let mut kinds: Vec<Kind> = conditions.iter().chain(labels).copied().collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }
}

/// Which part of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    Conditions,
    Labels,
}

/// One write: a server-side apply of all that is ours of this part, at this version of the object.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: ObjectKey,
    pub(crate) part: Part,
    pub(crate) version: u64,
    /// `status` or fields of `metadata`.
    pub(crate) fields: Value,
}

/// What became of one.
pub(crate) struct Done {
    pub(crate) write: Write,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    Written(Box<Raw>),
    /// We did not lead any more: it was not sent.
    Late,
    /// Somebody else changed the object.
    Outdated,
    /// Somebody else owns the field.
    Owned(String),
    Gone,
    /// RBAC does not let us.
    Forbidden(String),
    Failed(String),
}

/// Writes back what `feed` tells while we lead. Never ends by itself.
pub async fn run(
    cluster: &Cluster,
    config: Config,
    leadership: &Leadership,
    feed: &Feed,
    seen: &watch::Sender<Arc<Seen>>,
) {
    let mut standing = leadership.subscribe();
    loop {
        Seen::publish(seen, |it| it.stand(&leadership.standing()));
        if leadership.may_write() {
            let mut writer = Writer::new(config, feed);
            lead(cluster, &mut writer, leadership, feed, seen).await;
            continue;
        }
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Writes until we do not lead any more.
async fn lead(
    cluster: &Cluster,
    writer: &mut Writer<'_>,
    leadership: &Leadership,
    feed: &Feed,
    seen: &watch::Sender<Arc<Seen>>,
) {
    let mut changes = select_all(feed.kinds().iter().map(|kind| follow(cluster, *kind)));
    let mut news = feed.subscribe();
    news.mark_changed();
    let mut under_way: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
    let mut tick = tokio::time::interval(TICK);
    while leadership.may_write() {
        let due = if under_way.len() < UNDER_WAY_MAX { writer.due() } else { None };
        tokio::select! {
            Some((kind, chunk)) = changes.next() => for event in chunk {
                writer.take(kind, event);
            },
            Ok(()) = news.changed() => {
                // Marked as read before it is: what comes in between is read twice rather than not at all.
                news.mark_unchanged();
                writer.hear(feed.take());
            }
            Some(done) = under_way.next(), if !under_way.is_empty() => writer.settle(done),
            () = until(due), if due.is_some() => if let Some(write) = writer.next_write() {
                under_way.push(send(cluster.clone(), write, leadership.clone()).boxed());
            },
            _ = tick.tick() => {
                writer.tick();
                Seen::publish(seen, |it| {
                    it.stand(&leadership.standing());
                    writer.tell(it, under_way.len());
                });
            }
        }
    }
    tracing::info!("this agent does not write to the cluster any more");
}

async fn until(due: Option<Due>) {
    match due {
        Some(Due::Now) => tokio::task::yield_now().await,
        Some(Due::At(at)) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

type Chunk = Vec<watcher::Result<watcher::Event<Raw>>>;

fn follow(cluster: &Cluster, kind: Kind) -> impl Stream<Item = (Kind, Chunk)> + Unpin {
    let config = watcher::Config::default().page_size(PAGE);
    let stream = ready::chunks(watcher(all(cluster, &resource(kind)), config).default_backoff(), CHUNK);
    Box::pin(stream.map(move |chunk| (kind, chunk)))
}

/// Sends one, if we still lead when it is its turn.
async fn send(cluster: Cluster, write: Write, leadership: Leadership) -> Done {
    let outcome = attempt(&cluster, &write, &leadership).await;
    Done { write, outcome }
}

async fn attempt(cluster: &Cluster, write: &Write, leadership: &Leadership) -> Outcome {
    let resource = resource(write.key.kind);
    let api: Api<Raw> = Api::namespaced_with(cluster.client.clone(), &write.key.namespace, &resource);
    let body = body(&resource, write);
    let is_status = write.part == Part::Conditions;
    let manager = if is_status { conditions::MANAGER } else { labels::MANAGER };
    // Never with force: what somebody else owns is theirs.
    let (params, patch) = (PatchParams::apply(manager), Patch::Apply(&body));
    let sent = async {
        match is_status {
            true => api.patch_status(&write.key.name, &params, &patch).await,
            false => api.patch(&write.key.name, &params, &patch).await,
        }
    };
    let mut sent = pin!(sent);
    // Looked at each time that it would go on: a connection may have to be made first, and the process may have been stopped.
    let while_leading = std::future::poll_fn(|context| match leadership.may_write() {
        true => sent.as_mut().poll(context).map(Some),
        false => std::task::Poll::Ready(None),
    });
    let until = leadership.standing().until.map(|until| until.since(BootTime::now())).unwrap_or_default();
    match tokio::time::timeout(until.min(WRITE_MAX), while_leading).await {
        Ok(Some(Ok(raw))) => Outcome::Written(Box::new(raw)),
        Ok(Some(Err(error))) => failed(&resource, is_status, &write.key, error),
        Ok(None) => Outcome::Late,
        Err(_) if !leadership.may_write() => Outcome::Late,
        Err(_) => Outcome::Failed("the API server does not answer".to_owned()),
    }
}

fn body(resource: &ApiResource, write: &Write) -> Value {
    let mut metadata = json!({ "name": &*write.key.name, "namespace": &*write.key.namespace,
        "resourceVersion": write.version.to_string() });
    let mut object = json!({ "apiVersion": resource.api_version, "kind": resource.kind });
    match (write.part, object.as_object_mut(), metadata.as_object_mut(), &write.fields) {
        (Part::Conditions, Some(object), _, Value::Object(_)) => {
            object.insert("status".to_owned(), write.fields.clone());
        }
        (Part::Labels, _, Some(metadata), Value::Object(fields)) => metadata.extend(fields.clone()),
        // Nothing: what we owned is given up.
        _ => {}
    }
    if let Some(object) = object.as_object_mut() {
        object.insert("metadata".to_owned(), metadata);
    }
    object
}

fn failed(resource: &ApiResource, is_status: bool, key: &ObjectKey, error: kube::Error) -> Outcome {
    let causes = |status: &kube::core::Status| {
        let causes = status.details.iter().flat_map(|it| &it.causes);
        causes.map(|it| it.reason.clone()).collect::<Vec<_>>()
    };
    let plural = if is_status { format!("{}/status", resource.plural) } else { resource.plural.clone() };
    let about = About { namespace: &key.namespace, name: &key.name, resource: &plural, ..about("patch", resource) };
    match &error {
        kube::Error::Api(status) if status.code == 409 => match causes(status).iter().any(|it| it == OWNED) {
            true => Outcome::Owned(status.message.clone()),
            false => Outcome::Outdated,
        },
        kube::Error::Api(status) if status.code == 404 => Outcome::Gone,
        kube::Error::Api(status) if status.code == 403 => Outcome::Forbidden(about.failed(error).to_string()),
        _ => Outcome::Failed(about.failed(error).to_string()),
    }
}

/// How the API server calls a field that another manager owns.
const OWNED: &str = "FieldManagerConflict";

/// When something is to be tried again that failed for a reason that may last.
pub(crate) fn later(failures: u32) -> Instant {
    let seconds = 1u64 << failures.min(5);
    Instant::now() + Duration::from_secs(seconds.min(30))
}
