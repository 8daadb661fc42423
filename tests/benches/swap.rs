//! What a swap costs, end to end: the real agent over 10,000 subjects, rules changed through a mounted ConfigMap; and
//! what a reader of the table notices of swaps. Times are wall clock; run it on a quiet machine.
//!
//! Goals: an uncompiled Rust component is in the table within 60 ms of the end of the debounce, in the kernel within
//! 100 ms; a reader at p99.99 waits no longer than 5 µs more than with no swaps at all.
#![expect(clippy::indexing_slicing, reason = "a benchmark that cannot go on should stop where it is")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent::{Published, TableSink};
use anyhow::{Context as _, Result};
use model::sink::{Decided, Sink};
use model::table::RowKey;
use model::{Decider, Resolver, Table};
use tests::candidate::{artifact, numbered, terms};
use tests::demo::agent::Agent;
use tests::demo::config_map::ConfigMap;
use tests::demo::patience::{Patience, wait_for};
use tests::demo::places::KernelPlaces;
use tests::mesh::manifests::manifest;
use tests::mesh::{MeshSize, store};

const SWAPS: usize = 20;
const READER_SWAPS: usize = 1_000;

fn main() -> Result<()> {
    // `cargo bench` hands on `--bench`; `cargo test --benches` only wants to see that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let objects: Vec<model::Object> = MeshSize::MEDIUM.objects(1).collect();
    let text: Vec<String> = objects.iter().map(|object| manifest(object).to_string()).collect();
    fs::write(folder.path().join("mesh.json"), text.join("\n"))?;

    println!(
        "swap of rules, real agent, medians of {SWAPS} (min..max); the component is compiled anew each time, but where said"
    );
    swaps("without kernel", folder.path(), None, true)?;
    swaps("without kernel, the same component with other settings", folder.path(), None, false)?;
    if rustix::process::geteuid().is_root() {
        let places = KernelPlaces::make("bench")?;
        swaps("with kernel", folder.path(), Some(&places), true)?;
    } else {
        println!("  with kernel: LEFT OUT, needs root");
    }
    readers()
}

fn swaps(what: &str, manifests: &Path, kernel: Option<&KernelPlaces>, anew: bool) -> Result<()> {
    let work = tempfile::tempdir()?;
    let component = artifact("istio")?;
    let config = |n: usize| {
        let unbound = if n.is_multiple_of(2) { "direct" } else { "blocked" };
        format!("component: istio.wasm\nsettings: {{unbound: {unbound}}}\n# version {n}\n")
    };
    let mut map = ConfigMap::mount(&work.path().join("rules"), &files(&config(0), &component))?;
    let mut flags: Vec<OsString> = vec!["-f".into(), manifests.join("mesh.json").into()];
    flags.extend(["--rules".into(), map.folder().into(), "--log".into(), "warn".into()]);
    if let Some(places) = kernel {
        flags.extend(["--cgroup".into(), (&places.cgroup).into(), "--pin-dir".into(), (&places.pins).into()]);
    }
    let mut agent = Agent::start(work.path(), flags)?;
    agent.wait_ready(Patience::seconds(60))?;
    for n in 1..=SWAPS {
        let component = if anew { numbered(&component, n) } else { component.clone() };
        map.replace(&files(&config(n), &component))?;
        wait_for("the swap", Patience::seconds(30), || {
            let total = agent.admin().value("/rules")?["history"]["swaps_total"].as_u64();
            Ok((total == Some(n as u64 + 1)).then_some(()))
        })?;
    }
    let rules = agent.admin().value("/rules")?;
    agent.stop()?;
    let swaps = rules["history"]["swaps"].as_array().context("no swaps")?;
    let last = swaps.last().context("no swaps")?;
    println!("  {what}: {} decisions, {} distinct", last["decisions"], last["distinct"]);
    let goal = if kernel.is_some() { " [goal: 100 ms to the kernel]" } else { " [goal: 60 ms to the table]" };
    for (key, goal) in [("swap_ms", goal), ("load_ms", ""), ("shadow_ms", ""), ("prepare_ms", ""), ("window_us", "")] {
        let mut values: Vec<f64> = swaps.iter().skip(1).filter_map(|swap| swap[key].as_f64()).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: usize| values[(values.len() - 1) * share / 100];
        println!("    {key:10} {:8.2} ({:.2}..{:.2}){goal}", at(50), at(0), at(100));
    }
    Ok(())
}

fn files<'a>(config: &'a str, component: &'a [u8]) -> [(&'a str, &'a [u8]); 2] {
    [("config.yaml", config.as_bytes()), ("istio.wasm", component)]
}

/// One reader looks rows up without pause, first alone, then while tables of other rules are committed.
fn readers() -> Result<()> {
    let store = store(MeshSize::MEDIUM.objects(1));
    let table = |settings: &str| -> Result<Table> {
        let (native, description) =
            tests::native::Native::<plugin_istio::Istio>::new(settings).map_err(anyhow::Error::msg)?;
        let native: Arc<dyn Resolver> = Arc::new(native);
        let decider = Decider::new(1, description, native, terms(settings), &store);
        Ok(decider.map_err(|(_, failure)| failure)?.table().clone())
    };
    let tables = [table("")?, table(r#"{"unbound":"blocked"}"#)?];
    let published = Arc::new(Published::default());
    let mut sink = TableSink::new(Arc::clone(&published));
    let mut commit = |table: &Table| -> Result<()> {
        sink.prepare(Decided { store: &store, table })?;
        Ok(sink.commit()?)
    };
    commit(&tables[0])?;
    let keys: Vec<RowKey> = tables[0].iter().map(|(key, _)| key.clone()).collect();

    let idle = reading(&published, &keys, || {
        std::thread::sleep(Duration::from_secs(3));
        Ok(())
    })?;
    let swapping = reading(&published, &keys, || {
        for n in 0..READER_SWAPS {
            commit(&tables[n % 2])?;
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    })?;
    println!("a look-up in the table, p50 / p99 / p99.99 in µs");
    for (what, [p50, p99, p9999]) in [("idle", idle), ("1,000 swaps", swapping)] {
        println!("  {what:12} {p50:6.2} {p99:6.2} {p9999:6.2}");
    }
    println!("  difference at p99.99: {:.2} µs [goal: 5 µs]", swapping[2] - idle[2]);
    Ok(())
}

/// Percentiles of one look-up while `meanwhile` runs.
fn reading(published: &Published, keys: &[RowKey], meanwhile: impl FnOnce() -> Result<()>) -> Result<[f64; 3]> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut times = Vec::with_capacity(50_000_000);
            for key in keys.iter().cycle() {
                let start = Instant::now();
                let found = published.table().get(key).is_some();
                times.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
                assert!(found, "{key} is in every table");
                if stop.load(Ordering::Relaxed) || times.len() == times.capacity() {
                    break;
                }
            }
            times.sort_unstable();
            let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1e3;
            [at(0.5), at(0.99), at(0.9999)]
        });
        let done = meanwhile();
        stop.store(true, Ordering::Relaxed);
        let times = reader.join().map_err(|_| anyhow::anyhow!("the reader failed"))?;
        done.map(|()| times)
    })
}
