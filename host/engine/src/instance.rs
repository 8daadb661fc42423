//! One call in one fresh instance, under all limits; and what its failure was.

use std::fmt::Display;

use model::ResolveFailure;
use model::explain::shown;
use wasmtime::{AsContextMut, ResourceLimiter, Store, Trap};

use crate::bindings::{WaypointResolver, WaypointResolverPre};
use crate::clock::{Clock, EPOCH_MS};
use crate::limits::Limits;

/// What a store carries: the limits of its instance, and which of them was hit.
pub(crate) struct Held {
    memory_left: usize,
    limits: Limits,
    hit: Option<String>,
}

impl ResourceLimiter for Held {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if more > self.memory_left {
            self.hit = Some(self.limits.memory_limit());
            return Err(wasmtime::format_err!("memory would grow to {desired} bytes"));
        }
        self.memory_left -= more;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.limits.table_elements_max {
            self.hit = Some(self.limits.table_limit());
            return Err(wasmtime::format_err!("a table would grow to {desired} elements"));
        }
        Ok(true)
    }
}

/// What a call gave, and what it cost.
pub(crate) struct Called<T> {
    pub(crate) value: T,
    pub(crate) fuel: u64,
}

/// Makes an instance, calls it once about `rows` rows, and drops it.
pub(crate) fn call<T>(
    clock: &Clock,
    pre: &WaypointResolverPre<Held>,
    limits: &Limits,
    rows: usize,
    ask: impl FnOnce(&WaypointResolver, &mut Store<Held>) -> wasmtime::Result<T>,
) -> Result<Called<T>, ResolveFailure> {
    let held = Held { memory_left: limits.memory_bytes_max, limits: limits.clone(), hit: None };
    let mut store = Store::new(clock.engine(), held);
    store.limiter(|held| held);
    store.set_hostcall_fuel(limits.answer_bytes_max);
    let fuel = limits.fuel(rows);
    let ticks = u64::try_from(limits.call_time_max.as_millis()).unwrap_or(u64::MAX) / EPOCH_MS + 1;
    store.set_epoch_deadline(ticks);
    let _call = clock.call();
    let result =
        store.set_fuel(fuel).and_then(|()| pre.instantiate(&mut store)).and_then(|instance| ask(&instance, &mut store));
    match result {
        Ok(value) => Ok(Called { value, fuel: fuel.saturating_sub(store.get_fuel().unwrap_or(0)) }),
        Err(error) => Err(failure(&mut store, &error, fuel)),
    }
}

/// Turns wasmtime's error into one line and, where one was hit, a limit with its figure.
fn failure(store: &mut Store<Held>, error: &wasmtime::Error, fuel: u64) -> ResolveFailure {
    let mut context = store.as_context_mut();
    let held = context.data_mut();
    let limits = &held.limits;
    let trap = error.downcast_ref::<Trap>().copied();
    let limit = match trap {
        _ if held.hit.is_some() => held.hit.take(),
        Some(Trap::OutOfFuel) => Some(format!("fuel {fuel}")),
        Some(Trap::Interrupt) => Some(format!("call time {} ms", limits.call_time_max.as_millis())),
        Some(Trap::StackOverflow) => Some(format!("stack {} bytes", limits.stack_bytes_max)),
        _ if chain(error).contains("fuel allocated for hostcalls") => {
            Some(format!("answer {} bytes", limits.answer_bytes_max))
        }
        _ => None,
    };
    let what = match trap {
        Some(trap) => trap.to_string(),
        None => chain(error),
    };
    ResolveFailure { limit, what: shown(&what), row: None }
}

/// The messages of an error and its causes, the backtrace left out.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let mut all: Vec<String> = Vec::new();
    for cause in error.chain().map(|cause: &(dyn std::error::Error + 'static)| cause as &dyn Display) {
        let line = cause.to_string();
        let line = line.lines().find(|line| !line.starts_with("error while executing")).unwrap_or_default().to_owned();
        if !line.is_empty() && !all.contains(&line) {
            all.push(line);
        }
    }
    all.join(": ")
}
