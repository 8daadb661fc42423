//! The engine, and a loaded component that answers questions.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bumpalo::Bump;
use model::batch::{Answer, Batch};
use model::explain::{Explanation, shown};
use model::input::{Input, NodeInput, Shared};
use model::{Decision, Description, Name, ResolveFailure, Resolver};
use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::bindings::WaypointResolverPre;
use crate::clock::Clock;
use crate::instance::{Held, call, chain};
use crate::limits::Limits;
use crate::refusal::{Refusal, Stage};
use crate::{lift, lower, world};

/// Compiles components and holds what their instances share.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<EngineShared>,
}

struct EngineShared {
    wasmtime: wasmtime::Engine,
    clock: Arc<Clock>,
    limits: Limits,
    /// One compilation at a time; one that does not end in time keeps its place until it does.
    compiling: parking::Flag,
    /// The last ones, the newest first: other settings for the same component need no compiler.
    compiled: ArcSwap<Vec<Compiled>>,
}

/// How many compiled components are remembered: the one in force, the one before it, and one that is tried.
const COMPILED_MAX: usize = 3;

/// Machine code, by the digest of what it was made of. It is the same whatever the limits are.
#[derive(Clone)]
struct Compiled {
    digest: String,
    component: wasmtime::component::Component,
}

mod parking {
    //! A flag that one holder has at a time.
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Clone, Default)]
    pub(super) struct Flag(Arc<AtomicBool>);

    impl Flag {
        pub(super) fn take(&self) -> Option<Held> {
            (!self.0.swap(true, Ordering::AcqRel)).then(|| Held(self.clone()))
        }
    }

    pub(super) struct Held(Flag);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.0.store(false, Ordering::Release);
        }
    }
}

/// Compiles with threads of its own, which have the priority of this one. Those of the process have that of whoever happened to
/// compile first.
fn compile_here(
    engine: &wasmtime::Engine,
    bytes: &[u8],
) -> Result<wasmtime::Result<wasmtime::component::Component>, Refusal> {
    let threads = rayon::ThreadPoolBuilder::new().thread_name(|at| format!("compile-{at}")).build();
    let threads =
        threads.map_err(|error| Refusal::new(Stage::Compile, format!("no threads to compile in: {error}")))?;
    Ok(threads.install(|| wasmtime::component::Component::from_binary(engine, bytes)))
}

/// What is known of a loaded component.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// SHA-256 of the file, in lower-case hex.
    pub digest: String,
    /// Size of the file.
    pub bytes: usize,
    /// Milliseconds that compiling took; next to none where it was compiled lately.
    pub compile_ms: f64,
    /// The interface version that it exports.
    pub interface: &'static str,
    /// Instances of types that it imports, which is harmless.
    pub type_imports: Vec<String>,
}

/// A component under its settings, ready to answer.
pub struct Component {
    engine: Engine,
    pre: WaypointResolverPre<Held>,
    limits: Limits,
    description: Arc<Description>,
    facts: Facts,
}

/// A component that was loaded, with what it said of itself.
pub type Loaded = Arc<Component>;

impl Engine {
    /// Makes an engine and its clock.
    ///
    /// # Errors
    /// When wasmtime does not work here, for instance without the address space for the pool.
    pub fn new(limits: Limits) -> Result<Self, Refusal> {
        let refuse = |error: wasmtime::Error| {
            Refusal::new(Stage::Compile, format!("wasmtime cannot start here: {}", chain(&error)))
        };
        let wasmtime = wasmtime::Engine::new(&config(&limits)).map_err(refuse)?;
        let shared = Arc::new(EngineShared {
            clock: Clock::start(wasmtime.clone()),
            wasmtime,
            limits,
            compiling: parking::Flag::default(),
            compiled: ArcSwap::default(),
        });
        Ok(Self { shared })
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Loads a component: digest, validation, compilation, description. Nothing of it runs before it is validated.
    /// `limits` may tighten those of the engine.
    ///
    /// # Errors
    /// The stage at which it was refused, and why.
    pub fn load(&self, bytes: &[u8], pin: Option<&str>, settings: &str, limits: &Limits) -> Result<Loaded, Refusal> {
        let limits = limits.within(&self.shared.limits);
        let digest = hex(&Sha256::digest(bytes));
        if let Some(pin) = pin.filter(|pin| !pin.eq_ignore_ascii_case(&digest)) {
            let reason = format!("the file's SHA-256 is {digest}, and {} was asked for", shown(pin));
            return Err(Refusal::new(Stage::Digest, reason));
        }
        over(bytes.len(), limits.component_bytes_max, "component")?;
        over(settings.len(), limits.settings_bytes_max, "settings")?;
        world::check_layer(bytes)?;
        let start = Instant::now();
        let compiled = self.compiled(&digest, bytes, limits.compile_time_max)?;
        let compile_ms = start.elapsed().as_secs_f64() * 1e3;
        let type_imports = world::check_type(&self.shared.wasmtime, &compiled)?;
        let pre = self.link(&compiled, &type_imports)?;
        let facts = Facts { digest, bytes: bytes.len(), compile_ms, interface: world::RESOLVER, type_imports };
        let description = Arc::new(self.describe(&pre, settings, &limits)?);
        Ok(Arc::new(Component { engine: self.clone(), pre, limits, description, facts }))
    }

    /// Compiles what was not compiled lately.
    fn compiled(&self, digest: &str, bytes: &[u8], limit: Duration) -> Result<wasmtime::component::Component, Refusal> {
        let known = self.shared.compiled.load();
        let found = known.iter().find(|it| it.digest == digest).map(|it| it.component.clone());
        let component = match found {
            Some(component) => component,
            None => self.compile(bytes, limit)?,
        };
        let newest = Compiled { digest: digest.to_owned(), component: component.clone() };
        self.shared.compiled.rcu(|known| {
            let others = known.iter().filter(|it| it.digest != digest);
            std::iter::once(&newest).chain(others).take(COMPILED_MAX).cloned().collect::<Vec<_>>()
        });
        Ok(component)
    }

    /// Whether it was compiled lately: loading it takes next to no time.
    pub fn is_compiled(&self, bytes: &[u8]) -> bool {
        let digest = hex(&Sha256::digest(bytes));
        self.shared.compiled.load().iter().any(|it| it.digest == digest)
    }

    /// Compilation cannot be interrupted, so it runs aside and is given up when its time is over.
    fn compile(&self, bytes: &[u8], limit: Duration) -> Result<wasmtime::component::Component, Refusal> {
        let limited = |reason: &str| Refusal {
            stage: Stage::Compile,
            limit: Some(format!("compile time {} ms", limit.as_millis())),
            reason: reason.to_owned(),
        };
        let patience = Instant::now() + limit;
        let held = loop {
            match self.shared.compiling.take() {
                Some(held) => break held,
                None if Instant::now() < patience => std::thread::sleep(Duration::from_millis(10)),
                None => return Err(limited("an earlier component, which was given up, is still being compiled")),
            }
        };
        let (engine, bytes) = (self.shared.wasmtime.clone(), bytes.to_vec());
        let (done, result) = mpsc::sync_channel(1);
        let work = move || {
            let compiled = compile_here(&engine, &bytes);
            drop(held);
            // Nobody listens once the time is over.
            let _gone = done.send(compiled);
        };
        std::thread::Builder::new()
            .name("compile".to_owned())
            .spawn(work)
            .map_err(|error| Refusal::new(Stage::Compile, format!("no thread to compile in: {error}")))?;
        match result.recv_timeout(limit) {
            Ok(Ok(Ok(component))) => Ok(component),
            Ok(Ok(Err(error))) => Err(self.invalid(&chain(&error))),
            Ok(Err(refusal)) => Err(refusal),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(limited("compiling did not end in time")),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Refusal::new(Stage::Compile, "the compiler gave up")),
        }
    }

    /// What is wrong with the bytes. What a component wants before it starts is compared with the pool while compiling, so
    /// that limit shows only in wasmtime's words; a test of every hostile component keeps them.
    fn invalid(&self, reason: &str) -> Refusal {
        let limits = &self.shared.limits;
        let limit = match reason {
            _ if reason.starts_with("module memory does not fit") => Some(limits.memory_limit()),
            _ if reason.starts_with("module table does not fit") => Some(limits.table_limit()),
            _ => None,
        };
        Refusal { stage: Stage::Validate, limit, reason: shown(reason) }
    }

    fn link(
        &self,
        component: &wasmtime::component::Component,
        types: &[String],
    ) -> Result<WaypointResolverPre<Held>, Refusal> {
        let refuse = |error: wasmtime::Error| Refusal::new(Stage::Validate, shown(&chain(&error)));
        let mut linker = Linker::new(&self.shared.wasmtime);
        for name in types {
            linker.instance(name).map_err(refuse)?;
        }
        let pre = linker.instantiate_pre(component).map_err(refuse)?;
        WaypointResolverPre::new(pre).map_err(refuse)
    }

    fn describe(
        &self,
        pre: &WaypointResolverPre<Held>,
        settings: &str,
        limits: &Limits,
    ) -> Result<Description, Refusal> {
        let called = call(&self.shared.clock, pre, limits, 0, |component, store| {
            component.wayswitch_waypoint_resolver().call_describe(store, settings)
        });
        match called.map_err(|failure| Refusal::of_call(Stage::Describe, failure))?.value {
            Ok(said) => lift::description(said).map_err(|reason| Refusal::new(Stage::Describe, reason)),
            Err(text) => {
                Err(Refusal::new(Stage::Describe, format!("the component refuses its settings: {}", shown(&text))))
            }
        }
    }
}

impl Component {
    /// What it declared under its settings.
    pub fn description(&self) -> &Arc<Description> {
        &self.description
    }

    /// What is known of it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The same component under other settings. Nothing is compiled again.
    ///
    /// # Errors
    /// The settings are too large, or the component refuses them.
    pub fn under(&self, settings: &str) -> Result<Loaded, Refusal> {
        over(settings.len(), self.limits.settings_bytes_max, "settings")?;
        let description = Arc::new(self.engine.describe(&self.pre, settings, &self.limits)?);
        let (engine, pre) = (self.engine.clone(), self.pre.clone());
        Ok(Arc::new(Self { engine, pre, limits: self.limits.clone(), description, facts: self.facts.clone() }))
    }

    /// The decisions for a batch, unchecked, and the fuel they took.
    ///
    /// # Errors
    /// Why there are none: a limit, a trap, or the author's own word.
    pub fn answers(&self, batch: &Batch<'_>) -> Result<(Vec<Answer>, u64), ResolveFailure> {
        let arena = Bump::new();
        let argument = lower::batch(&arena, batch);
        let clock = &self.engine.shared.clock;
        let called = call(clock, &self.pre, &self.limits, batch.subjects.len(), |component, store| {
            component.wayswitch_waypoint_resolver().call_resolve(store, argument)
        })?;
        match called.value {
            Ok(decisions) => Ok((decisions.into_iter().map(lift::answer).collect(), called.fuel)),
            Err(failure) => Err(lift::failure(&failure)),
        }
    }

    /// Asks again for one row, with reasons.
    ///
    /// # Errors
    /// As for [`Component::answers`]; also when the decision is another one than `resolve` gave.
    pub fn explain(
        &self,
        settings: &str,
        node: &NodeInput,
        network: &Name,
        input: &Shared<Input>,
    ) -> Result<(Decision, Explanation), ResolveFailure> {
        let inputs = std::slice::from_ref(input);
        let batch = Batch::new(settings, node, inputs);
        let arena = Bump::new();
        let argument = lower::batch(&arena, &batch);
        let clock = &self.engine.shared.clock;
        let called = call(clock, &self.pre, &self.limits, 1, |component, store| {
            component.wayswitch_waypoint_resolver().call_explain(store, argument)
        })?;
        let said = called.value.map_err(|failure| lift::failure(&failure))?;
        let explanation = lift::explanation(&batch, &said)?;
        let only = |answer| batch.accept(vec![answer], network).map(|mut all| all.pop());
        let explained = only(lift::answer(said.decision)).map_err(ResolveFailure::from)?;
        let resolved = batch.accept(self.answers(&batch)?.0, network).map_err(ResolveFailure::from)?.pop();
        match (explained, resolved) {
            (Some(explained), Some(resolved)) if explained == resolved => Ok((resolved, explanation)),
            _ => Err(ResolveFailure {
                limit: None,
                what: "explain and resolve give different decisions for this row".to_owned(),
                row: Some(0),
            }),
        }
    }
}

impl Resolver for Component {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        self.answers(batch).map(|(answers, _)| answers)
    }
}

fn config(limits: &Limits) -> Config {
    let instances = limits.instances_max;
    let mut pool = PoolingAllocationConfig::new();
    // QuickJS and Python components have several modules, memories and tables each.
    pool.total_component_instances(instances)
        .max_component_instance_size(4 << 20)
        .max_core_instances_per_component(32)
        .max_memories_per_component(8)
        .max_tables_per_component(16)
        .total_core_instances(instances * 32)
        .total_memories(instances * 8)
        .total_tables(instances * 16)
        .max_core_instance_size(4 << 20)
        .table_elements(limits.table_elements_max)
        .max_memory_size(limits.memory_bytes_max)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        // All that an index can reach: addresses cost nothing, and no access needs a check. The pool's limit holds all the same.
        .memory_reservation(1 << 32)
        .memory_reservation_for_growth(0)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(limits.stack_bytes_max)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_backtrace_max_frames(None)
        // Whoever made the component has optimised it: doing so again takes a quarter of the time of compiling and gains a
        // fiftieth of the time of a call.
        .cranelift_opt_level(OptLevel::None);
    config
}

fn over(bytes: usize, max: usize, what: &str) -> Result<(), Refusal> {
    if bytes <= max {
        return Ok(());
    }
    let limit = Some(format!("{what} {max} bytes"));
    Err(Refusal { stage: Stage::Validate, limit, reason: format!("too large: {what} of {bytes} bytes") })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
