//! Metrics and probes over plain HTTP, for Prometheus and the kubelet: numbers and whether it is ready, no name of anything in
//! the mesh. That is what [`crate::admin`] is for.
//!
//! Everything is read when it is asked for; nothing counts on the way of a decision.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use xds::client::status::Freshness;

use crate::admin::{self, Admin};
use crate::conductor::SinkCounters;

/// What the conductor is given to say what its sinks count; it may be preparing a swap.
const COUNTERS_MAX: Duration = Duration::from_secs(2);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until `stop` completes; at once where there is no address.
pub(crate) async fn serve(
    address: Option<SocketAddr>,
    admin: Admin,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let Some(address) = address else {
        stop.await;
        return Ok(());
    };
    let listener = TcpListener::bind(address).await.with_context(|| format!("metrics cannot listen on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics listen");
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(admin);
    Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?)
}

/// Whether it is ready, and nothing of why not: that names objects.
async fn readyz(State(admin): State<Admin>) -> Response {
    match admin::is_ready(&admin) {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready: ask the admin socket why\n").into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    // A conductor that is busy is no reason to show nothing.
    let counters = tokio::time::timeout(COUNTERS_MAX, admin::counters(admin.clone())).await;
    let text = tokio::task::spawn_blocking(move || text(&admin, counters.ok().flatten().unwrap_or_default())).await;
    match text {
        Ok(Ok(text)) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Choice {
    choice: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sink {
    sink: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkCounter {
    sink: &'static str,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// What is registered, with the values of this moment.
struct Page(Registry);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register_with_unit(name, help, Unit::Seconds, gauge);
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    fn gauges<L>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, f64)>)
    where
        L: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static,
    {
        let family = Family::<L, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    fn counters<L>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, u64)>)
    where
        L: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static,
    {
        let family = Family::<L, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }
}

fn text(admin: &Admin, sinks: Vec<SinkCounters>) -> Result<String, std::fmt::Error> {
    let mut page = Page(Registry::with_prefix("wayswitch"));
    decided(&mut page, admin);
    followed(&mut page, admin);
    let behind = admin.published.behind.load_full();
    let is_behind = |sink: &&'static str| behind.iter().any(|it| it.sink == *sink);
    let sinks_behind = sinks.iter().map(|(sink, _)| *sink).filter(|sink| *sink != "upstream");
    let sinks_behind = sinks_behind.map(|sink| (Sink { sink }, f64::from(is_behind(&sink))));
    page.gauges("sink_behind", "1 while a sink does not have the decisions in force", sinks_behind);
    let counters = sinks.into_iter().flat_map(|(sink, counters)| {
        counters.into_iter().map(move |(name, count)| (SinkCounter { sink, name }, count as f64))
    });
    page.gauges("sink_counter", "What a sink counts since it was made, by its own names", counters);
    let mut text = String::new();
    encode(&mut text, &page.0)?;
    // Of every process, under the names that they have everywhere: no prefix.
    let mut page = Page(Registry::default());
    process(&mut page);
    let mut of_process = String::new();
    encode(&mut of_process, &page.0)?;
    // One end for both.
    Ok(text.strip_suffix("# EOF\n").unwrap_or(&text).to_owned() + &of_process)
}

/// Rules, decisions and swaps.
fn decided(page: &mut Page, admin: &Admin) {
    let published = &admin.published;
    let table = published.table.load_full();
    let history = published.history.load_full();
    page.gauges("build_info", "The program", [(Build { version: env!("CARGO_PKG_VERSION") }, 1.0)]);
    page.gauge("rules", "Number of the rules in force; 0 before the first", table.rules as f64);
    page.gauge("revision", "Changes of the mesh since the start that are decided", table.revision as f64);
    page.gauge("rows", "Rows that are decided", table.len() as f64);
    let (mut choices, mut degraded) = (BTreeMap::<&'static str, u64>::new(), 0u64);
    for (_, row) in table.iter() {
        *choices.entry(choice(&row.decision.choice)).or_default() += 1;
        degraded += u64::from(row.degraded.is_some());
    }
    let choices = choices.into_iter().map(|(choice, count)| (Choice { choice }, count as f64));
    page.gauges("decisions", "Rows by what was decided", choices);
    page.gauge("degraded_rows", "Rows that could not be decided anew and keep their last decision", degraded as f64);
    page.counter("swaps", "Rules that were put in force", history.swaps_total as f64);
    let refused = history.refused_at.iter().map(|(stage, count)| (Stage { stage: stage.to_string() }, *count));
    page.counters("refused", "Rules that were refused", refused);
    if let Some(last) = history.swaps.back() {
        page.gauge(
            "distinct_inputs",
            "Distinct questions that the rows came down to at the last swap",
            last.distinct as f64,
        );
        page.seconds(
            "swap",
            "The last swap, from the end of the debounce until every sink had the rules",
            last.swap_ms / 1e3,
        );
        page.seconds("swap_load", "Of it, reading and compiling the component", last.load_ms / 1e3);
        page.seconds("swap_window", "Time in which the sinks differed", last.window_us / 1e6);
    }
}

/// Sources, and who is served.
fn followed(page: &mut Page, admin: &Admin) {
    let published = &admin.published;
    let counts = admin.store.load().counts();
    let counts = counts.into_iter().map(|(kind, count)| (Kind { kind: kind.as_str() }, count as f64));
    page.gauges("objects", "Objects that are known", counts);
    let of = |source| Source { source };
    let manifest_errors = published.manifest_errors.load(Ordering::Relaxed);
    let mut errors = vec![(of("manifests"), manifest_errors)];
    let mut synced = vec![(of("manifests"), f64::from(published.problems.load().is_empty()))];
    if let Some(seen) = &*published.kubernetes.load_full() {
        errors.push((of("kubernetes"), seen.errors));
        synced.push((of("kubernetes"), f64::from(seen.is_fresh)));
    }
    if let Some(status) = &*published.upstream.status.load_full() {
        let is_fresh = f64::from(matches!(status.freshness(), Freshness::Fresh));
        errors.push((of("upstream"), status.failures));
        synced.push((of("upstream"), f64::from(*status.freshness() != Freshness::Unknown)));
        page.gauge("upstream_fresh", "1 while the control plane is heard", is_fresh);
    }
    page.gauges("source_synced", "1 while everything that a source has was read", synced);
    page.counters("source_errors", "What a source failed at, and what of it could not be read", errors);
    page.gauge("ready", "1 while rules are in force and every sink has them", f64::from(admin::is_ready(admin)));
    let written = published.status.borrow().clone();
    if written.is_on {
        page.gauge("leader", "1 on the agent that writes to the cluster", f64::from(written.is_leader()));
        page.counter("writes", "Conditions and labels that were written", written.writes as f64);
        let refused = written.refused + written.late + written.failed;
        page.counter("writes_refused", "Those that were not, for whatever reason", refused as f64);
        page.gauge("writes_pending", "Objects that are to be looked at", written.pending as f64);
        page.gauge(
            "conditions_disagreeing",
            "Objects whose conditions istiod sees differently",
            written.disagreeing as f64,
        );
    }
    if let Some(clients) = &admin.clients {
        page.gauge("xds_clients", "ztunnels that are connected", clients.connected().len() as f64);
    }
}

fn choice(choice: &model::decision::Choice) -> &'static str {
    match choice {
        model::decision::Choice::Keep => "keep",
        model::decision::Choice::Direct => "direct",
        model::decision::Choice::Blocked => "blocked",
        model::decision::Choice::Waypoints(_) => "waypoint",
    }
}

/// What every process tells. Where /proc says nothing, neither does this.
fn process(page: &mut Page) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // Behind the name of the command, which may contain anything: user and system time are the 12th and 13th from there.
    let Some((_, fields)) = stat.rsplit_once(')') else { return };
    let field = |at: usize| fields.split_whitespace().nth(at).and_then(|it| it.parse::<f64>().ok());
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    if let (Some(user), Some(system)) = (field(11), field(12)) {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by((user + system) / ticks);
        page.0.register_with_unit("process_cpu", "User and system time", Unit::Seconds, counter);
    }
    let boot = std::fs::read_to_string("/proc/stat").ok();
    let boot =
        boot.as_deref().and_then(|it| it.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<f64>().ok()));
    if let (Some(boot), Some(start)) = (boot, field(19)) {
        page.seconds("process_start_time", "When it was started, since 1970", boot + start / ticks);
    }
    if let Some(pages) = field(21) {
        let bytes = pages * rustix::param::page_size() as f64;
        page.gauge("process_resident_memory_bytes", "Resident memory", bytes);
    }
}
