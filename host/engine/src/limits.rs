//! Every limit that a component is held to: name, default and unit in one place.

use std::time::Duration;

/// Limits of components and their calls. Fuel gives the verdicts, for it is the same on every machine; time is the
/// backstop for what fuel does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a component. Rust needs 0.1 MB, QuickJS 1.6 MB, Python 18 MB.
    pub component_bytes_max: usize,
    /// Time for compiling one component.
    pub compile_time_max: Duration,
    /// Fuel of any call, for starting up; about one unit per WASM instruction.
    pub fuel_base: u64,
    /// Further fuel for each row of a batch.
    pub fuel_per_row: u64,
    /// Wall time of one call, in steps of 10 ms.
    pub call_time_max: Duration,
    /// Bytes of linear memory of one instance, all its memories together.
    pub memory_bytes_max: usize,
    /// Elements of each table of an instance.
    pub table_elements_max: usize,
    /// Bytes of stack of a call.
    pub stack_bytes_max: usize,
    /// Bytes that the host allocates for the answers of one call; strings are counted as often as they are named.
    pub answer_bytes_max: usize,
    /// Instances alive at once: the decider, a candidate, and explanations.
    pub instances_max: u32,
    /// Bytes of a component's settings.
    pub settings_bytes_max: usize,
    /// Rows of the sample on which row-independence is checked at load.
    pub sample_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes_max: 32 << 20,
            compile_time_max: Duration::from_secs(30),
            fuel_base: 50_000_000,
            fuel_per_row: 500_000,
            call_time_max: Duration::from_secs(2),
            memory_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            stack_bytes_max: 512 << 10,
            answer_bytes_max: 4 << 20,
            instances_max: 8,
            settings_bytes_max: 256 << 10,
            sample_rows: 64,
        }
    }
}

impl Limits {
    /// These limits, where the engine does not set a tighter one. Limits of the engine itself (its pool, the stack) cannot
    /// be tightened for one component and stay as they are.
    #[must_use]
    pub fn within(&self, engine: &Limits) -> Self {
        Self {
            component_bytes_max: self.component_bytes_max.min(engine.component_bytes_max),
            compile_time_max: self.compile_time_max.min(engine.compile_time_max),
            fuel_base: self.fuel_base.min(engine.fuel_base),
            fuel_per_row: self.fuel_per_row.min(engine.fuel_per_row),
            call_time_max: self.call_time_max.min(engine.call_time_max),
            memory_bytes_max: self.memory_bytes_max.min(engine.memory_bytes_max),
            table_elements_max: self.table_elements_max.min(engine.table_elements_max),
            answer_bytes_max: self.answer_bytes_max.min(engine.answer_bytes_max),
            settings_bytes_max: self.settings_bytes_max.min(engine.settings_bytes_max),
            ..engine.clone()
        }
    }

    /// The limit on memory with its figure, as a refusal names it.
    pub(crate) fn memory_limit(&self) -> String {
        format!("memory {} bytes", self.memory_bytes_max)
    }

    /// The limit on tables with its figure, as a refusal names it.
    pub(crate) fn table_limit(&self) -> String {
        format!("table {} elements", self.table_elements_max)
    }

    /// The fuel of a call about `rows` rows.
    pub fn fuel(&self, rows: usize) -> u64 {
        self.fuel_base.saturating_add(self.fuel_per_row.saturating_mul(rows as u64))
    }
}
