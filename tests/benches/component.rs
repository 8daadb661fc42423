//! What the sandbox costs: a row in a batch, a row alone, the whole way from objects to a table against the same with plain
//! code, and a swap. Not a test: it prints each figure beside its goal. Run by `cargo bench --profile dev --bench component`.
//!
//! Calls are timed by the CPU time of the thread, which a busy machine disturbs least; sides of a comparison take turns.
//! A swap uses all processors and is timed by the clock on the wall.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Candidate, Component, Engine, Limits};
use model::batch::Batch;
use model::input::{Input, NodeInput, Shared};
use model::projection::{node_input, project};
use model::{Decider, Description, Resolver, RowKey, Store};
use plugin_istio::Istio;
use plugin_service_account::ServiceAccount;
use rustix::time::{ClockId, clock_gettime};
use tests::candidate::{artifact, numbered, source, terms};
use tests::mesh::{self, MeshSize};
use tests::native::Native;

/// The same mesh in every run.
const SEED: u64 = 1;
/// Times that each batch is asked.
const ROUNDS: usize = 40;
/// Times that each side of a comparison decides a mesh.
const TURNS: usize = 11;
/// Times that a component is put in the place of another.
const SWAPS: usize = 15;
const BATCHES: [usize; 3] = [256, 1_024, 4_096];

/// Goals of the first issue.
const ROW_GOAL: Duration = Duration::from_nanos(1_200);
const ONE_ROW_GOAL: Duration = Duration::from_micros(25);
const RATIO_GOAL: f64 = 1.3;
const SWAP_GOAL: Duration = Duration::from_millis(60);

/// A component that ships, beside its code called natively.
struct Plugin {
    name: &'static str,
    component: Arc<Component>,
    native: Arc<dyn Resolver>,
    description: Arc<Description>,
}

fn plugins(engine: &Engine) -> [Plugin; 2] {
    let (istio, istio_says) = Native::<Istio>::new("").unwrap();
    let (account, account_says) = Native::<ServiceAccount>::new("").unwrap();
    let plugin = |name, native, description| {
        let component = engine.load(&artifact(name).unwrap(), None, "", engine.limits()).unwrap();
        Plugin { name, component, native, description }
    };
    [
        plugin("istio", Arc::new(istio) as Arc<dyn Resolver>, istio_says),
        plugin("service-account", Arc::new(account), account_says),
    ]
}

fn main() {
    // `cargo test --benches` runs benches with this flag: there is nothing to test here.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let filter = arguments.next().unwrap_or_default();
    if filter == "--test" {
        return;
    }
    let asked_for = |group: &str| group.contains(&filter);
    let engine = Engine::new(Limits::default()).unwrap();
    let plugins = plugins(&engine);
    if asked_for("engine/call") {
        let store = mesh::store(MeshSize::FULL.objects(SEED));
        plugins.iter().for_each(|plugin| calls(plugin, &store));
    }
    if asked_for("engine/pipeline") {
        for size in [MeshSize::MEDIUM, MeshSize::FULL] {
            let store = mesh::store(size.objects(SEED));
            plugins.iter().for_each(|plugin| pipeline(plugin, &store));
        }
    }
    if asked_for("engine/swap") {
        swap(&engine, &mesh::store(MeshSize::MEDIUM.objects(SEED)));
    }
}

/// The distinct questions of a mesh, in the order in which a Decider asks them.
fn questions(description: &Arc<Description>, store: &Store) -> Vec<Shared<Input>> {
    let rows = project(description, store);
    let mut rows: Vec<(&RowKey, &Shared<Input>)> = rows.iter().map(|(key, row)| (key, &row.input)).collect();
    rows.sort_by_key(|(key, _)| (&key.namespace, key.kind, &key.name));
    let mut seen = HashSet::new();
    rows.into_iter().filter(|(_, input)| seen.insert(*input)).map(|(_, input)| input.clone()).collect()
}

/// engine/call: one metered call in a fresh instance, from the batch to its answers.
fn calls(plugin: &Plugin, store: &Store) {
    let inputs = questions(&plugin.description, store);
    let node = node_input(&plugin.description, store.facts());
    println!("engine/call {}: {} distinct rows, of a mesh of {} objects", plugin.name, inputs.len(), store.len());
    for rows in BATCHES.map(|rows| rows.min(inputs.len())) {
        let chunks: Vec<&[Shared<Input>]> = inputs.chunks(rows).filter(|chunk| chunk.len() == rows).collect();
        let mut component = each_row(plugin.component.as_ref(), &chunks, &node);
        let mut native = each_row(&*plugin.native, &chunks, &node);
        report(&format!("a row among {rows}"), Spread::of(&mut component), Some(ROW_GOAL));
        report(&format!("a row among {rows}, natively"), Spread::of(&mut native), None);
    }
    let alone: Vec<&[Shared<Input>]> = inputs.chunks(1).step_by(inputs.len().div_ceil(500)).collect();
    let mut times = each_row(plugin.component.as_ref(), &alone, &node);
    report("a row alone", Spread::of(&mut times), Some(ONE_ROW_GOAL));
    let batch = Batch::new("", &node, &inputs[..inputs.len().min(BATCHES[0])]);
    let fuel = plugin.component.answers(&batch).unwrap().1;
    println!("  {:<44} {:>10}", "fuel of a row among them", fuel / batch.subjects.len() as u64);
}

/// The time for a row in each of these batches, which are asked in turns.
fn each_row(resolver: &dyn Resolver, chunks: &[&[Shared<Input>]], node: &NodeInput) -> Vec<Duration> {
    let mut times = Vec::new();
    let rounds = ROUNDS.div_ceil(chunks.len()).max(2);
    for round in 0..=rounds {
        for chunk in chunks {
            let batch = Batch::new("", node, chunk);
            let start = cpu_time();
            let answers = black_box(resolver.resolve(black_box(&batch)).unwrap());
            let time = cpu_time() - start;
            drop(answers);
            // The first round pays for memory that is touched for the first time.
            if round > 0 {
                times.push(time / u32::try_from(chunk.len()).unwrap());
            }
        }
    }
    times
}

/// engine/pipeline: everything but the call is the same.
fn pipeline(plugin: &Plugin, store: &Store) {
    let component: Arc<dyn Resolver> = Arc::clone(&plugin.component) as _;
    let sides = [&plugin.native, &component];
    let decide = |side: &Arc<dyn Resolver>| {
        let description = Arc::clone(&plugin.description);
        Decider::new(1, description, Arc::clone(side), terms(""), store).map_err(|(_, why)| why).unwrap()
    };
    let (native, sandboxed) = (decide(sides[0]), decide(sides[1]));
    assert!(native.table().diff(sandboxed.table()).is_empty(), "{}: two tables", plugin.name);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (side, times) in sides.iter().zip(&mut times) {
            let start = cpu_time();
            let decider = black_box(decide(side));
            times.push(cpu_time() - start);
            drop(decider);
        }
    }
    println!("engine/pipeline {}: {} rows, {} distinct", plugin.name, native.table().len(), native.distinct());
    let [native, sandboxed] = times.map(|mut times| Spread::of(&mut times));
    report("to the table, natively", native, None);
    report("to the table, by the component", sandboxed, None);
    let ratio = sandboxed.median.as_secs_f64() / native.median.as_secs_f64();
    println!("  {:<44} {ratio:>9.2}x   goal {RATIO_GOAL:>8}x   {}", "ratio", verdict(ratio <= RATIO_GOAL));
}

/// engine/swap: from the bytes of a component that was never compiled to the table and the check of a sample.
fn swap(engine: &Engine, store: &Store) {
    for name in ["istio", "service-account"] {
        let bytes = artifact(name).unwrap();
        let (mut whole, mut busy) = (Vec::new(), Vec::new());
        let (mut compile, mut load, mut shadow) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = 0;
        for rules in 0..SWAPS {
            let source = source(numbered(&bytes, rules), "");
            let (start, busy_before) = (Instant::now(), clock(ClockId::ProcessCPUTime));
            let candidate = Candidate::prepare(engine, &source, rules as u64, store).unwrap();
            whole.push(start.elapsed());
            busy.push(clock(ClockId::ProcessCPUTime) - busy_before);
            load.push(Duration::from_secs_f64(candidate.load_ms / 1e3));
            shadow.push(Duration::from_secs_f64(candidate.shadow_ms / 1e3));
            compile.push(Duration::from_secs_f64(candidate.component.facts().compile_ms / 1e3));
            rows = candidate.decider.table().len();
        }
        println!("engine/swap {name}: {} bytes, {rows} subjects", bytes.len());
        report("compiling", Spread::of(&mut compile), None);
        report("loading, that included", Spread::of(&mut load), None);
        report("deciding and checking", Spread::of(&mut shadow), None);
        report("to the table", Spread::of(&mut whole), Some(SWAP_GOAL));
        report("to the table, time of all processors", Spread::of(&mut busy), None);
    }
}

/// What this thread has used of a processor so far.
fn cpu_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}

#[derive(Clone, Copy)]
struct Spread {
    least: Duration,
    median: Duration,
}

impl Spread {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        Self { least: times[0], median: times[times.len() / 2] }
    }
}

fn report(what: &str, Spread { least, median }: Spread, goal: Option<Duration>) {
    let us = |time: Duration| time.as_nanos() as f64 / 1e3;
    print!("  {what:<44} {:>10.2} µs, least {:>10.2} µs", us(median), us(least));
    match goal {
        Some(goal) => println!("   goal {:>9.1} µs   {}", us(goal), verdict(median <= goal)),
        None => println!(),
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}
