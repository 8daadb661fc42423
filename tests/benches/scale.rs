//! What a mesh of full size costs: memory, the first decision of everything, one change, a namespace's change, and a minute
//! of ordinary life. Not a test: it prints each figure beside its goal. Run by `cargo bench --profile dev --bench scale`.
//!
//! Time is the CPU time of the one thread that does the work, which a busy machine disturbs least. What a change of one Pod
//! costs is measured up to the kernel's key, so this needs root, as the agent does.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, Limits};
use model::batch::Batch;
use model::decider::{BATCH_ROWS_MAX, Terms};
use model::decision::Choice;
use model::input::{Input, Shared};
use model::object::{Kind, ObjectKey};
use model::projection::node_input;
use model::sink::{Decided, Sink, Step};
use model::{Decider, Description, Event, Facts, Name, Object, Pod, Resolver, Store};
use plugin_istio::Istio;
use redirect::{Config, Redirect, RedirectSink};
use rustix::time::{ClockId, clock_gettime};
use tests::candidate::artifact;
use tests::demo::places::KernelPlaces;
use tests::mesh::{MeshSize, USE_WAYPOINT};
use tests::native::Native;

/// The same mesh in every run.
const SEED: u64 = 1;
/// Times that everything is decided.
const ROUNDS: usize = 11;
/// Changes of one Pod that are timed, of each kind.
const CHANGES: usize = 2_000;

/// Goals at this size.
const RESOLVE_GOAL: Duration = Duration::from_millis(100);
/// Of that, for the calls of the component.
const ASK_GOAL: Duration = Duration::from_millis(15);
const KNOWN_GOAL: Duration = Duration::from_micros(100);
const UNKNOWN_GOAL: Duration = Duration::from_micros(200);
const SIZE_RATIO_GOAL: f64 = 1.5;
const BYTES_PER_POD_GOAL: usize = 600;
/// Of one processor, for 100 changes and one namespace a second.
const SHARE_GOAL: f64 = 0.03;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let only = arguments.next().unwrap_or_default();
    // `cargo test --benches` runs benches with this flag: there is nothing to test here.
    if only == "--test" {
        return;
    }
    let rules = Rules::istio();
    // First, while nothing else has used memory.
    let (store, decider) = fill(&rules);
    let full = Mesh { store, decider };
    resolve(&rules, &full.store);
    ask(&full);
    if only == "resolve" {
        return;
    }
    let small = Mesh::of(&rules, MeshSize::SMALL);
    let times = [("2,000 Pods", small), ("200,000 Pods", full)].map(|(size, mesh)| one_pod(size, mesh));
    let ratio = |kind: usize| times[1][kind].as_secs_f64() / times[0][kind].as_secs_f64();
    for (kind, name) in ["known row", "unknown row", "new Pod", "Pod gone"].into_iter().enumerate() {
        let ratio = ratio(kind);
        println!("  {name}: {ratio:.2}x, goal {SIZE_RATIO_GOAL}x: {}", verdict(ratio <= SIZE_RATIO_GOAL));
    }
    let mut full = Mesh::of(&rules, MeshSize::FULL);
    relabel(&mut full);
    a_minute(&mut full);
}

/// The rules of the istio plugin, called natively.
struct Rules {
    description: Arc<Description>,
    resolver: Arc<dyn Resolver>,
}

impl Rules {
    fn istio() -> Self {
        let (native, description) = Native::<Istio>::new("").unwrap();
        Self { description, resolver: Arc::new(native) }
    }

    fn decide(&self, store: &Store) -> Decider {
        let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
        Decider::new(1, Arc::clone(&self.description), Arc::clone(&self.resolver), terms, store)
            .map_err(|(row, why)| format!("{row:?}: {why}"))
            .unwrap()
    }
}

/// A mesh being followed.
struct Mesh {
    store: Store,
    decider: Decider,
}

/// A kernel that redirects nobody: a cgroup without processes.
struct Kernel {
    sink: RedirectSink,
    /// Removed after what is in them.
    _places: KernelPlaces,
}

impl Kernel {
    fn of(mesh: &Mesh) -> Self {
        let places = KernelPlaces::make("scale").unwrap();
        let mut config = Config::new(&places.cgroup);
        config.pin_dir.clone_from(&places.pins);
        let mut sink = RedirectSink::new(Redirect::open(&config).unwrap());
        sink.prepare(mesh.decided()).unwrap();
        sink.commit().unwrap();
        Self { sink, _places: places }
    }
}

impl Mesh {
    fn of(rules: &Rules, size: MeshSize) -> Self {
        let mut store = Store::new(Facts::default());
        size.objects(SEED).for_each(|object| drop(store.apply(Event::Apply(object))));
        let decider = rules.decide(&store);
        Self { store, decider }
    }

    fn apply(&mut self, event: Event) -> usize {
        let changes = self.store.apply(event);
        self.decider.apply(&self.store, &changes).len()
    }

    /// The same, and into the kernel.
    fn apply_to(&mut self, kernel: &mut Kernel, event: Event) {
        let objects = vec![event.key()];
        let changes = self.store.apply(event);
        let moved = self.decider.apply(&self.store, &changes);
        let step = Step { objects, changes, moved, mesh: false };
        kernel.sink.update(self.decided(), &step).unwrap();
    }

    fn decided(&self) -> Decided<'_> {
        Decided { store: &self.store, table: self.decider.table() }
    }

    /// Every so-manieth Pod that is a row.
    fn pods(&self, count: usize) -> Vec<Pod> {
        let keys: Vec<ObjectKey> = self.store.object_keys().filter(|key| key.kind == Kind::Pod).collect();
        let pods = keys.iter().step_by((keys.len() / count).max(1));
        let pods = pods.filter_map(|key| match self.store.object(key) {
            Some(Object::Pod(pod)) if pod.is_published() => Some(pod),
            _ => None,
        });
        pods.collect()
    }

    /// The Namespaces with how many rows each has, the fewest first.
    fn namespaces(&self) -> Vec<(Name, usize)> {
        let mut rows: HashMap<&Name, usize> = HashMap::new();
        self.decider.table().iter().for_each(|(key, _)| *rows.entry(&key.namespace).or_default() += 1);
        let mut rows: Vec<(Name, usize)> = rows.into_iter().map(|(name, rows)| (name.clone(), rows)).collect();
        rows.sort_by_key(|(name, rows)| (*rows, name.clone()));
        rows
    }

    /// The Namespace as it is, but naming this waypoint.
    fn relabelled(&self, name: &Name, waypoint: &str) -> Event {
        let Some(Object::Namespace(mut object)) = self.store.object(&ObjectKey::new(Kind::Namespace, "", name)) else {
            panic!("no namespace {name}");
        };
        let labels = object.meta.labels.iter().cloned();
        object.meta.labels = labels.chain([(Name::from(USE_WAYPOINT), Name::from(waypoint))]).collect();
        Event::Apply(Object::Namespace(object))
    }
}

fn fill(rules: &Rules) -> (Store, Decider) {
    let size = MeshSize::FULL;
    let mut kinds: HashMap<Kind, usize> = HashMap::new();
    size.objects(SEED).for_each(|object| *kinds.entry(object.kind()).or_default() += 1);
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_unstable();
    println!("mesh: {}", kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", "));
    let before = Memory::now();
    let mut store = Store::new(Facts::default());
    let (_, generating) = timed(|| size.objects(SEED).for_each(drop));
    let (_, filling) = timed(|| size.objects(SEED).for_each(|object| drop(store.apply(Event::Apply(object)))));
    let filled = Memory::now();
    let decider = rules.decide(&store);
    let decided = Memory::now();
    println!("rows: {} decisions, {} distinct", decider.table().len(), decider.distinct());
    println!("filling the store: {:.2?}", filling.saturating_sub(generating));
    let per_pod = |from: &Memory, to: &Memory| to.resident.saturating_sub(from.resident) / size.pods;
    println!("memory: {} bytes per Pod in the store", per_pod(&before, &filled));
    println!("  {} bytes per Pod in projection, decider and table", per_pod(&filled, &decided));
    let all = per_pod(&before, &decided);
    println!("  {all} bytes per Pod in all, goal {BYTES_PER_POD_GOAL}: {}", verdict(all <= BYTES_PER_POD_GOAL));
    println!("  {} MB at most in this process", decided.most / 1_000_000);
    (store, decider)
}

fn resolve(rules: &Rules, store: &Store) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (decider, time) = timed(|| rules.decide(store));
        times.push(time);
        drop(decider);
    }
    let spread = Spread::of(&mut times);
    println!("first full resolve: {spread}; goal {RESOLVE_GOAL:?}: {}", verdict(spread.median <= RESOLVE_GOAL));
}

/// All questions of the mesh to the component that ships, in the batches in which they are asked first.
fn ask(mesh: &Mesh) {
    let engine = Engine::new(Limits::default()).unwrap();
    let component = engine.load(&artifact("istio").unwrap(), None, "", engine.limits()).unwrap();
    let node = node_input(component.description(), mesh.store.facts());
    let rows: HashSet<Shared<Input>> = mesh.decider.table().iter().map(|(_, row)| row.input.clone()).collect();
    let mut inputs: Vec<Shared<Input>> = rows.into_iter().collect();
    inputs.sort_by(|a, b| a.namespace.name.cmp(&b.namespace.name));
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut spent = Duration::ZERO;
        for batch in inputs.chunks(BATCH_ROWS_MAX) {
            let batch = Batch::new("", &node, batch);
            let (answers, time) = timed(|| component.resolve(&batch).unwrap());
            assert_eq!(answers.len(), batch.subjects.len());
            spent += time;
        }
        times.push(spent);
    }
    let spread = Spread::of(&mut times);
    let reached = verdict(spread.median <= ASK_GOAL);
    println!("asking the component {} questions: {spread}; goal {ASK_GOAL:?}: {reached}", inputs.len());
}

/// Medians, table and kernel key included: a change to a row that is known, to one that is not, a Pod that comes, one that
/// goes.
fn one_pod(size: &str, mut mesh: Mesh) -> [Duration; 4] {
    println!("one Pod of {size} ({} rows)", mesh.decider.table().len());
    let mut kernel = Kernel::of(&mesh);
    let mut times: [Vec<Duration>; 4] = Default::default();
    for (at, pod) in mesh.pods(CHANGES).into_iter().cycle().take(CHANGES).enumerate() {
        // A reader holds the table while it changes.
        let reader = mesh.decider.table().clone();
        let mut moved = pod.clone();
        moved.addresses = [std::net::Ipv4Addr::from(0xc633_0000 + at as u32).into()].into();
        times[0].push(timed(|| mesh.apply_to(&mut kernel, Event::Apply(Object::Pod(moved.clone())))).1);
        let mut other = pod.clone();
        let word = Name::from(format!("w{at}"));
        other.meta.labels = pod.meta.labels.iter().cloned().chain([(Name::from(USE_WAYPOINT), word)]).collect();
        times[1].push(timed(|| mesh.apply_to(&mut kernel, Event::Apply(Object::Pod(other)))).1);
        let mut new = pod.clone();
        new.meta.name = format!("{}-new", pod.meta.name).into();
        let key = Object::Pod(new.clone()).key();
        times[2].push(timed(|| mesh.apply_to(&mut kernel, Event::Apply(Object::Pod(new)))).1);
        times[3].push(timed(|| mesh.apply_to(&mut kernel, Event::Delete(key))).1);
        mesh.apply_to(&mut kernel, Event::Apply(Object::Pod(pod)));
        drop(reader);
    }
    let goals = [KNOWN_GOAL, UNKNOWN_GOAL, KNOWN_GOAL, KNOWN_GOAL];
    let names = ["another address", "a question not asked before", "a new Pod", "a Pod gone"];
    let mut medians = [Duration::ZERO; 4];
    for (at, times) in times.iter_mut().enumerate() {
        let spread = Spread::of(times);
        println!("  {}: {spread}; goal {:?}: {}", names[at], goals[at], verdict(spread.median <= goals[at]));
        medians[at] = spread.median;
    }
    medians
}

fn relabel(mesh: &mut Mesh) {
    let namespaces = mesh.namespaces();
    println!("one Namespace relabelled");
    for part in [10, 50, 90, 99, 100] {
        let (name, rows) = namespaces[(namespaces.len() * part / 100).min(namespaces.len() - 1)].clone();
        let mut times = Vec::new();
        for at in 0..9 {
            let event = mesh.relabelled(&name, if at % 2 == 0 { "none" } else { "waypoint" });
            times.push(timed(|| mesh.apply(event)).1);
        }
        let spread = Spread::of(&mut times);
        println!("  of {rows} rows: {spread}; {:.0?} a row", spread.median / rows as u32);
    }
}

fn a_minute(mesh: &mut Mesh) {
    let (pods, namespaces) = (mesh.pods(6_000), mesh.namespaces());
    let (mut spent, mut moved, mut most) = (Duration::ZERO, 0, Duration::ZERO);
    for second in 0..60 {
        // Another namespace each second, of every size in its turn.
        let (name, _) = &namespaces[(second * 7_919) % namespaces.len()];
        let event = mesh.relabelled(name, ["none", "waypoint"][second % 2]);
        let reader = mesh.decider.table().clone();
        let (rows, mut time) = timed(|| mesh.apply(event));
        moved += rows;
        for at in 0..100 {
            let mut pod = pods[(second * 100 + at) % pods.len()].clone();
            pod.addresses = [std::net::Ipv4Addr::from(0xc633_0000 + (second * 100 + at) as u32).into()].into();
            let (rows, pod_time) = timed(|| mesh.apply(Event::Apply(Object::Pod(pod))));
            time += pod_time;
            moved += rows;
        }
        drop(reader);
        spent += time;
        most = most.max(time);
    }
    let share = spent.as_secs_f64() / 60.0;
    println!("a minute of 100 Pods and one Namespace a second, {moved} rows moved");
    println!(
        "  {:.2} % of a processor (the busiest second {most:.2?}); goal {} %: {}",
        share * 100.0,
        SHARE_GOAL * 100.0,
        verdict(share <= SHARE_GOAL)
    );
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = cpu_time();
    let done = work();
    (done, cpu_time() - before)
}

/// What this thread has used of a processor so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// What the kernel says of this process, in bytes.
struct Memory {
    resident: usize,
    most: usize,
}

impl Memory {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
        };
        Self { resident: value("VmRSS:"), most: value("VmHWM:") }
    }
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
