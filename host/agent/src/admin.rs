//! What operators ask a running agent, over HTTP on a unix socket or loopback. Read-only but for the way back.
//!
//! Answers are JSON. Nothing here decides or waits for the conductor; `/rollback` is handed to it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Add;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use anyhow::Context;
use arc_swap::ArcSwap;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cluster::node_rules::Phase;
use model::Store;
use model::table::{RowKey, RowKind};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot, watch};
use xds::client::status::Freshness;
use xds::clients::Clients;
use xds::resource::{ResourceType, Snapshot};

use crate::capture;
use crate::commands::explain::print;
use crate::conductor::{Message, SinkCounters};
use crate::config::AdminAddress;
use crate::explanation::{Dropped, Explainer, NotExplained, RowExplained};
use crate::learned::LearnedExplained;
use crate::output;
use crate::published::Published;
use crate::ztunnels;

/// Decisions of one answer; more are asked for by namespace.
const DECISIONS_MAX: usize = 50_000;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) published: Arc<Published>,
    pub(crate) store: Arc<ArcSwap<Store>>,
    pub(crate) conductor: SyncSender<Message>,
    pub(crate) explanations: Arc<Semaphore>,
    pub(crate) captures: Arc<Semaphore>,
    /// Where ztunnels are served.
    pub(crate) clients: Option<Arc<Clients>>,
    /// What they are told.
    pub(crate) newest: Option<watch::Receiver<Arc<Snapshot>>>,
}

/// Explanations under way at once.
pub(crate) const EXPLANATIONS_MAX: usize = 2;

/// Serves until `stop` completes.
pub(crate) async fn serve(
    address: AdminAddress,
    admin: Admin,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/rules", get(rules))
        .route("/decisions", get(decisions))
        .route("/explain", get(explain))
        .route("/capture", get(capture))
        .route("/sinks", get(sinks))
        .route("/conditions", get(conditions))
        .route("/xds", get(xds))
        .route("/xds/resources", get(resources));
    // A port can be reached by every process of the network namespace: there only questions are answered.
    let router = match &address {
        AdminAddress::Unix(_) => router.route("/rollback", post(rollback)),
        AdminAddress::Tcp(_) | AdminAddress::Off => router,
    };
    let router = router.with_state(admin);
    match address {
        AdminAddress::Off => {
            stop.await;
            Ok(())
        }
        AdminAddress::Tcp(address) => {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("admin cannot listen on {address}"))?;
            tracing::info!(address = %listener.local_addr()?, "admin listens");
            Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?)
        }
        AdminAddress::Unix(path) => {
            let listener = bind(&path).with_context(|| format!("admin cannot listen on {}", path.display()))?;
            tracing::info!(path = %path.display(), "admin listens");
            let served = axum::serve(listener, router).with_graceful_shutdown(stop).await;
            // Gone is as good as removed.
            let _gone = std::fs::remove_file(&path);
            Ok(served?)
        }
    }
}

/// A socket that only its owner may use from the moment it can be reached. One that nobody listens on is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent listens there"));
    }
    remove_socket(path)?;
    // Made under another name first, so that nobody finds it before the mode is right.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    remove_socket(&aside)?;
    let listener = UnixListener::bind(&aside)?;
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&aside, path)?;
    Ok(listener)
}

/// Removes what an earlier agent left; anything but a socket is somebody else's.
fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Ready: rules are in force and every sink has them.
pub(crate) fn is_ready(admin: &Admin) -> bool {
    let upstream = admin.published.upstream.status.load();
    let is_told = upstream.as_ref().as_ref().is_none_or(|it| *it.freshness() != Freshness::Unknown);
    admin.published.active.load().is_some() && admin.published.behind.load().is_empty() && is_told
}

/// What the sinks have counted; none when the agent is stopping.
pub(crate) async fn counters(admin: Admin) -> Option<Vec<SinkCounters>> {
    let clients = admin.clients.clone();
    let mut counters = ask(admin, Message::Counters).await?;
    // Where a control plane is followed there is no sink for clients, but there are clients.
    if let Some(clients) = clients.filter(|_| counters.iter().all(|(sink, _)| *sink != "xds")) {
        counters.push(("xds", clients.counters()));
    }
    Some(counters)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let behind = admin.published.behind.load_full();
    let upstream = admin.published.upstream.status.load_full();
    let ready = is_ready(&admin);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let table = admin.published.table.load();
    let problems = admin.published.problems.load_full();
    let mut body = json!({ "ready": ready, "rules": table.rules, "revision": table.revision,
        "behind": behind.iter().map(ToString::to_string).collect::<Vec<_>>(), "manifestProblems": *problems });
    let kubernetes = admin.published.kubernetes.load_full();
    if let Value::Object(fields) = &mut body {
        if let Some(status) = &*upstream {
            fields.insert("upstream".to_owned(), ztunnels::freshness(status));
        }
        if let Some(seen) = &*kubernetes {
            fields.insert("kubernetes".to_owned(), json!(seen));
        }
        let status = Arc::clone(&admin.published.status.borrow());
        if let Some(stuck) = status.stuck() {
            // Traffic does not depend on it: this agent stays ready.
            fields.insert("stuckLeaderSeconds".to_owned(), json!(stuck.as_secs()));
        }
    }
    (status, Json(body)).into_response()
}

async fn rules(State(admin): State<Admin>) -> Json<Value> {
    // The active rules are stored last in a swap, so they are read first: table and history are theirs, or newer.
    let active = admin.published.active.load_full();
    let table = admin.published.table.load_full();
    let history = admin.published.history.load_full();
    let rules = active.as_ref().map_or(0, |active| active.rules);
    let active = active.map(|active| {
        json!({ "component": active.named, "facts": active.component.facts(),
            "description": **active.component.description(), "settings": &*active.terms.settings })
    });
    let waiting = {
        let running = admin.published.running.borrow();
        (running.state == Phase::Waiting && !running.reason.is_empty()).then(|| running.reason.clone())
    };
    let degraded = table.iter().filter(|(_, row)| row.degraded.is_some()).count();
    Json(json!({ "rules": rules, "revision": table.revision, "decisions": table.len(), "degraded": degraded,
        "active": active, "waiting": waiting, "history": *history }))
}

#[derive(Deserialize)]
struct Which {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    /// Of an endpoint: its address, or the host that it stands for.
    part: Option<String>,
    /// Only those of objects, or only those on what a control plane told.
    source: Option<Source>,
    /// How an explanation is written.
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Objects,
    Upstream,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Text,
}

impl Which {
    fn kind(&self) -> Result<Option<RowKind>, String> {
        self.kind.as_deref().map(str::parse).transpose()
    }
}

async fn decisions(State(admin): State<Admin>, Query(which): Query<Which>) -> Response {
    let kind = match which.kind() {
        Ok(kind) => kind,
        Err(what) => return error(StatusCode::BAD_REQUEST, &what),
    };
    let table = admin.published.table.load_full();
    let wanted = |key: &RowKey| {
        kind.is_none_or(|kind| kind == key.kind)
            && which.namespace.as_deref().is_none_or(|namespace| *namespace == *key.namespace)
            && which.name.as_deref().is_none_or(|name| *name == *key.name)
    };
    let newest = admin.newest.as_ref().map(|it| Arc::clone(&it.borrow())).unwrap_or_default();
    let facts = admin.store.load_full();
    let learned = admin.published.upstream.learned.load_full();
    let is_asked = |source| which.source.is_none_or(|only| only == source);
    let mut rows = table.iter().filter(|(key, _)| is_asked(Source::Objects) && wanted(key));
    let mut told = learned.iter().filter(|it| is_asked(Source::Upstream) && wanted(&it.key()));
    let list = rows.by_ref().take(DECISIONS_MAX).flat_map(|(key, row)| {
        let mut decisions = output::decisions_of(key, row);
        // What ztunnels are told is decided on what the control plane told, where there is one.
        if learned.rules == 0 {
            decisions.iter_mut().for_each(|it| ztunnels::mark_fallback(it, key, facts.facts(), &newest));
        }
        decisions
    });
    let mut list: Vec<Value> = list.collect();
    let room = DECISIONS_MAX.saturating_sub(list.len());
    list.extend(told.by_ref().take(room).map(|it| it.to_json(&newest)));
    let more = rows.count() + told.count();
    Json(json!({ "rules": table.rules, "revision": table.revision, "decisions": list, "more": more })).into_response()
}

async fn explain(State(admin): State<Admin>, Query(which): Query<Which>) -> Response {
    let format = which.format;
    let (kind, namespace, name) = match (which.kind(), which.namespace, which.name) {
        (Err(what), ..) => return error(StatusCode::BAD_REQUEST, &what),
        (Ok(Some(kind)), Some(namespace), Some(name)) => (kind, namespace, name),
        _ => return error(StatusCode::BAD_REQUEST, "kind, namespace and name are needed"),
    };
    let key = RowKey { part: which.part.as_deref().map(Into::into), ..RowKey::new(kind, &namespace, &name) };
    // Each takes an instance from the pool that the decider and candidates need too.
    let Ok(_turn) = admin.explanations.clone().try_acquire_owned() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "other explanations are under way: ask again");
    };
    // A component may take its time; the runtime must not wait for it.
    let explained = tokio::task::spawn_blocking(move || explained(&admin, &key, format)).await;
    match explained {
        Ok(answer) => answer,
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the explanation was given up"),
    }
}

fn explained(admin: &Admin, key: &RowKey, format: Format) -> Response {
    let table = admin.published.table.load_full();
    let Some(active) = admin.published.active.load_full() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "no rules yet");
    };
    if active.rules != table.rules {
        return error(StatusCode::SERVICE_UNAVAILABLE, "rules are being swapped: ask again");
    }
    let store = admin.store.load_full();
    let explainer = Explainer { store: &store, table: &table, component: &active.component, terms: &active.terms };
    let newest = admin.newest.as_ref().map(|it| Arc::clone(&it.borrow())).unwrap_or_default();
    let learned = admin.published.upstream.learned.load_full();
    // Its questions are those of the component that decided; another one may ask differently.
    if learned.rules != 0 && learned.rules != table.rules {
        return error(StatusCode::SERVICE_UNAVAILABLE, "rules are being swapped: ask again");
    }
    let told: Result<Vec<_>, _> = learned.of(key).map(|it| it.explained(&explainer, &newest)).collect();
    let told = match told {
        Ok(told) => told,
        Err(failure) => {
            let what = format!("{key} cannot be explained: {failure}");
            return error(StatusCode::INTERNAL_SERVER_ERROR, &what);
        }
    };
    let mut value = match explainer.row(key) {
        Ok(explained) => {
            for Dropped { edit, why } in &explained.dropped {
                tracing::warn!(row = %key, ?edit, why, component = active.named, "an edit does not keep its promise");
            }
            if format == Format::Text {
                return text(Some(&explained), &told);
            }
            explained.to_json()
        }
        Err(not @ NotExplained::Failed(..)) => return error(StatusCode::INTERNAL_SERVER_ERROR, &not.to_string()),
        // There is no object, or none with a decision; what the control plane told has one all the same.
        Err(_) if !told.is_empty() => {
            if format == Format::Text {
                return text(None, &told);
            }
            json!({ "decisions": [] })
        }
        Err(not) => {
            let body = json!({ "error": not.to_string(), "unpublished": not.unpublished() });
            return (StatusCode::NOT_FOUND, Json(body)).into_response();
        }
    };
    if let Value::Object(fields) = &mut value {
        let beside =
            [("rules", json!(table.rules)), ("revision", json!(table.revision)), ("component", json!(active.named))];
        fields.extend(beside.map(|(key, value)| (key.to_owned(), value)));
        let told: Vec<Value> = told.into_iter().map(LearnedExplained::into_json).collect();
        fields.extend((!told.is_empty()).then(|| ("upstream".to_owned(), Value::Array(told))));
    }
    Json(value).into_response()
}

/// The explanation as the command prints it.
fn text(explained: Option<&RowExplained>, told: &[LearnedExplained]) -> Response {
    let mut text = Vec::new();
    // Into memory: it cannot fail.
    let _written = explained.map(|it| print::row(&mut text, it));
    let told = told.iter().map(ToString::to_string).collect::<String>();
    String::from_utf8_lossy(&text).into_owned().add(&told).into_response()
}

/// Everything that is known and decided, written while it is read: see [`crate::capture`].
async fn capture(State(admin): State<Admin>) -> Response {
    let Ok(turn) = admin.captures.try_acquire_owned() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "another capture is under way: ask again");
    };
    match capture::stream(admin.published, admin.store, turn) {
        Ok(body) => ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response(),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "there is no thread for a capture"),
    }
}

async fn sinks(State(admin): State<Admin>) -> Response {
    match counters(admin).await {
        Some(counters) => {
            let counters: BTreeMap<_, BTreeMap<_, _>> =
                counters.into_iter().map(|(sink, counters)| (sink, counters.into_iter().collect())).collect();
            Json(counters).into_response()
        }
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping"),
    }
}

/// Who writes to the cluster, how far it is, and where conditions of others say something else.
async fn conditions(State(admin): State<Admin>) -> Response {
    let seen = Arc::clone(&admin.published.status.borrow());
    match seen.is_on {
        true => Json(seen.to_json()).into_response(),
        false => error(
            StatusCode::NOT_FOUND,
            "nothing is written to the cluster: --conditions is off, and so is --write-labels",
        ),
    }
}

/// Who is served over xDS, how far each is, and what was not taken.
async fn xds(State(admin): State<Admin>) -> Response {
    match (admin.clients, admin.newest) {
        (Some(clients), Some(newest)) => {
            let newest = Arc::clone(&newest.borrow());
            Json(ztunnels::to_json(&clients, &newest)).into_response()
        }
        _ => error(StatusCode::NOT_FOUND, "no ztunnel is served: --xds-listen is not set"),
    }
}

#[derive(Deserialize)]
struct Resource {
    name: Option<String>,
    version: Option<String>,
}

/// What decided what a ztunnel has: by the name or the version that it has of a resource.
async fn resources(State(admin): State<Admin>, Query(of): Query<Resource>) -> Response {
    let Some(newest) = admin.newest.map(|it| Arc::clone(&it.borrow())) else {
        return error(StatusCode::NOT_FOUND, "no ztunnel is served: --xds-listen is not set");
    };
    if of.name.is_none() && of.version.is_none() {
        return error(StatusCode::BAD_REQUEST, "name or version is needed");
    }
    let is_meant =
        |it: &&Arc<xds::resource::Resource>| of.version.as_deref().is_none_or(|version| it.version().is(version));
    let (table, store) = (admin.published.table.load_full(), admin.store.load_full());
    let (active, learned) = (admin.published.active.load_full(), admin.published.upstream.learned.load_full());
    let decided =
        ztunnels::Decided { table: &table, facts: store.facts(), learned: &learned, fallbacks: &newest.fallbacks };
    let found = ResourceType::ALL.into_iter().flat_map(|type_of| {
        let resources = newest.of(type_of);
        // By its name it is looked up; a version is looked for.
        let found: Vec<_> = match of.name.as_deref() {
            Some(name) => resources.get(name).into_iter().filter(is_meant).collect(),
            None => resources.by_name().values().filter(is_meant).take(DECISIONS_MAX).collect(),
        };
        found.into_iter().map(move |it| (type_of, it))
    });
    let found: Vec<Value> = found.map(|(of, resource)| decided.to_json(of, resource)).collect();
    let digest = active.as_ref().map(|active| active.component.facts().digest.clone());
    let named = active.as_ref().map(|active| active.named.clone());
    Json(json!({ "rules": newest.rules, "revision": newest.revision, "component": named, "digest": digest,
        "resources": found }))
    .into_response()
}

async fn rollback(State(admin): State<Admin>) -> Response {
    match ask(admin, Message::Rollback).await {
        Some(Ok(report)) => Json(report).into_response(),
        Some(Err(what)) => error(StatusCode::CONFLICT, &what),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping"),
    }
}

/// Hands the conductor a message with a place for its answer; none when it is gone.
async fn ask<T: Send + 'static>(admin: Admin, message: fn(oneshot::Sender<T>) -> Message) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    // Sending may wait for a place in the inbox; the runtime must not.
    let sent = tokio::task::spawn_blocking(move || admin.conductor.send(message(reply))).await;
    match sent {
        Ok(Ok(())) => answer.await.ok(),
        _ => None,
    }
}

fn error(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}
