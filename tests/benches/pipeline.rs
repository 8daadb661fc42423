//! From objects to the table of decisions, and what one change costs at full size: time and heap. Not a test: it prints
//! each figure beside its goal. Run by `cargo bench --profile dev --bench pipeline`.
//!
//! Every way of answering is a [`Side`]; sides take turns in each round, so that a busy machine is busy for all of them,
//! and the ratio of their CPU time is printed. Nothing but the resolver differs, and their tables are compared first.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::decider::Terms;
use model::decision::Choice;
use model::{Decider, Description, Event, Object, Resolver, RowKey, Store, Table};
use plugin_istio::Istio;
use tests::mesh::{self, MeshSize};
use tests::native::Native;

/// The same mesh in every run.
const SEED: u64 = 1;
/// Times that every side decides a mesh.
const ROUNDS: usize = 15;
/// Changes of one Pod that are timed.
const CHANGES: usize = 2_000;
/// Rows in which the compared tables differ.
const DIFFERENT: usize = 10;
/// Goal for deciding a mesh of full size with plain code.
const DECIDE_GOAL: Duration = Duration::from_millis(400);
/// Goal for any other side: times the first one.
const RATIO_GOAL: f64 = 1.3;
/// Goal for the heap that one Pod's change allocates, as a part of what the whole Decider holds.
const CHANGE_HEAP_GOAL: f64 = 0.001;

/// One way of answering.
struct Side {
    name: &'static str,
    description: Arc<Description>,
    resolver: Arc<dyn Resolver>,
}

/// All of them; the first is what the others are compared with.
fn sides() -> Vec<Side> {
    let (native, description) = Native::<Istio>::new("").unwrap();
    vec![Side { name: "native", description, resolver: Arc::new(native) }]
}

impl Side {
    fn decide(&self, store: &Store) -> Decider {
        let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
        Decider::new(1, Arc::clone(&self.description), Arc::clone(&self.resolver), terms, store)
            .map_err(|(row, why)| format!("{row:?}: {why}"))
            .unwrap()
    }
}

fn main() {
    let sides = sides();
    decide(&sides, "10,000 rows", &mesh::store(MeshSize::MEDIUM.objects(SEED)), None);
    let objects: Vec<Object> = MeshSize::FULL.objects(SEED).collect();
    let store = mesh::store(objects.iter().cloned());
    decide(&sides, "220,000 rows", &store, Some(DECIDE_GOAL));
    for side in &sides {
        change_one_pod(side, &objects, store.clone());
        diff(side, &store);
    }
}

fn decide(sides: &[Side], size: &str, store: &Store, goal: Option<Duration>) {
    let tables: Vec<Table> = sides.iter().map(|side| side.decide(store).table().clone()).collect();
    for (side, table) in sides.iter().zip(&tables) {
        let differing = tables[0].diff(table).len();
        assert_eq!(differing, 0, "{} decides otherwise than {}", side.name, sides[0].name);
    }
    let (mut walls, mut cpus) = (vec![Vec::new(); sides.len()], vec![Vec::new(); sides.len()]);
    for _ in 0..ROUNDS {
        for ((side, wall), cpu) in sides.iter().zip(&mut walls).zip(&mut cpus) {
            let started = cpu_time();
            let (decider, time) = timed(|| side.decide(store));
            cpu.push(cpu_time() - started);
            wall.push(time);
            drop(decider);
        }
    }
    let decider = sides[0].decide(store);
    println!("decide {size}: {} rows, {} distinct", decider.table().len(), decider.distinct());
    let first = Spread::of(&mut cpus[0]).median;
    for (at, side) in sides.iter().enumerate() {
        let cpu = Spread::of(&mut cpus[at]);
        println!("  {:<10} wall {}", side.name, Spread::of(&mut walls[at]));
        print!("  {:<10} CPU  {cpu}", "");
        match goal {
            _ if at > 0 => {
                let ratio = cpu.median.as_secs_f64() / first.as_secs_f64();
                println!("; {ratio:.2}x {}, goal {RATIO_GOAL}x: {}", sides[0].name, verdict(ratio <= RATIO_GOAL));
            }
            Some(goal) => println!("; goal {goal:?}: {}", verdict(cpu.median <= goal)),
            None => println!(),
        }
    }
}

/// Pods get other addresses, or name another waypoint, one at a time, while a reader holds the table.
fn change_one_pod(side: &Side, objects: &[Object], mut store: Store) {
    let before = Heap::now();
    let mut decider = side.decide(&store);
    let whole = Heap::now().held.saturating_sub(before.held);
    let pods: Vec<&model::Pod> =
        objects.iter().filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None }).collect();
    let (mut times, mut heap, mut moved) = (Vec::new(), Vec::new(), 0);
    for at in 0..CHANGES {
        let mut pod = pods[at * pods.len() / CHANGES].clone();
        if at % 2 == 0 {
            pod.addresses = [[192, 0, 2, 1].into()].into();
        } else {
            pod.meta.labels = [(mesh::USE_WAYPOINT, "none")].into_iter().collect();
        }
        let reader = decider.table().clone();
        let allocated = Heap::now().allocated;
        let (changes, time) = timed(|| {
            let changes = store.apply(Event::Apply(Object::Pod(pod)));
            decider.apply(&store, &changes)
        });
        heap.push(Heap::now().allocated - allocated);
        times.push(time);
        moved += changes.len();
        drop(reader);
    }
    heap.sort_unstable();
    let (median, most) = (heap[CHANGES / 2], heap[CHANGES - 1]);
    let part = median as f64 / whole as f64;
    println!("one Pod's change among {} rows ({moved} of {CHANGES} moved a row)", decider.table().len());
    println!("  {:<10} {}", side.name, Spread::of(&mut times));
    println!(
        "  {:<10} allocates {median} bytes (most {most}) beside {whole} held: {:.4} %, goal {} %: {}",
        side.name,
        part * 100.0,
        CHANGE_HEAP_GOAL * 100.0,
        verdict(part <= CHANGE_HEAP_GOAL)
    );
}

fn diff(side: &Side, store: &Store) {
    let table = side.decide(store).table().clone();
    let mut next = table.clone();
    let keys: Vec<RowKey> = table.iter().map(|(key, _)| key.clone()).collect();
    for at in 0..DIFFERENT {
        next.set(keys[at * keys.len() / DIFFERENT].clone(), None);
    }
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let (changes, time) = timed(|| black_box(&table).diff(black_box(&next)));
        assert_eq!(changes.len(), DIFFERENT);
        times.push(time);
    }
    println!("difference of two tables of {} rows, {DIFFERENT} of which differ", table.len());
    println!("  {:<10} {}", "shared", Spread::of(&mut times));
    // A table decided afresh, as under new rules, shares no structure with the one before.
    let other = side.decide(store).table().clone();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (changes, time) = timed(|| black_box(&table).diff(black_box(&other)));
        assert!(changes.is_empty());
        times.push(time);
    }
    println!("  {:<10} {}", "unshared", Spread::of(&mut times));
}

/// What this thread has used of a processor so far; exact to a tick, which is enough for what takes many.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

/// What is shown of many times.
#[derive(Clone, Copy)]
struct Spread {
    least: Duration,
    median: Duration,
    p99: Duration,
}

impl Spread {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        Self { least: times[0], median: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "median {:.2?}, least {:.2?}, p99 {:.2?}", self.median, self.least, self.p99)
    }
}

/// Bytes on the heap, of the whole process.
struct Heap {
    /// Asked for since the start.
    allocated: usize,
    /// Not given back yet.
    held: usize,
}

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);

impl Heap {
    fn now() -> Self {
        let allocated = ALLOCATED.load(Ordering::Relaxed);
        Self { allocated, held: allocated - FREED.load(Ordering::Relaxed) }
    }
}

/// The system's allocator, counting. Both sides of a comparison pay for it alike.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

#[expect(unsafe_code, reason = "the trait is unsafe; every call goes on to the system's allocator unchanged")]
// SAFETY: as `System`, which does all the work; the counters have no influence on it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        FREED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: `ptr` came from `alloc` above with this `layout`, and so from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }
}
