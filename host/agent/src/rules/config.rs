//! `config.yaml`: its keys, their defaults and checks.

use engine::Limits;
use model::decision::Choice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CONFIG_FILE, Rollout};
use crate::cli::Unresolved;

/// `config.yaml`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RulesConfig {
    /// A file of this folder or ConfigMap, an absolute path below a folder given by `--components`, or `builtin:istio`. One that
    /// ends with `.gz` is unpacked.
    pub(crate) component: String,
    /// The SHA-256 that the component must have, in hex; of what is in a `.gz`.
    #[serde(default)]
    pub(crate) sha256: Option<String>,
    /// What the component is told; handed on as JSON.
    #[serde(default)]
    pub(crate) settings: Option<serde_json::Value>,
    /// What a row gets that its waypoint's owner does not admit although the component chose it.
    #[serde(default = "direct")]
    pub(super) denied: Fallback,
    /// What a row gets that cannot be decided and never was.
    #[serde(default = "blocked")]
    pub(super) undecided: Fallback,
    /// What happens to connections while no address of their waypoint is known; not set: what the component says.
    #[serde(default)]
    pub(super) unresolved: Option<Unresolved>,
    /// Tighter limits for this component.
    #[serde(default)]
    limits: LimitsConfig,
    /// How many rows a swap may move; one that would move more is refused. Not set: any number. Counts from the rules that
    /// are in force on a node, so not for the first rules after a start.
    #[serde(default)]
    pub(super) changes_max: Option<usize>,
    /// Other rules for some of the nodes.
    #[serde(default)]
    pub(crate) rollout: Option<Rollout>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fallback {
    Direct,
    Blocked,
}

fn direct() -> Fallback {
    Fallback::Direct
}

fn blocked() -> Fallback {
    Fallback::Blocked
}

impl From<Fallback> for Choice {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Direct => Self::Direct,
            Fallback::Blocked => Self::Blocked,
        }
    }
}

/// Limits that `config.yaml` may tighten.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LimitsConfig {
    /// Bytes of the component.
    component_bytes: Option<usize>,
    /// Milliseconds for compiling it.
    compile_time_ms: Option<u64>,
    /// Fuel of one call.
    fuel_base: Option<u64>,
    /// Fuel that a call has besides for each row.
    fuel_per_row: Option<u64>,
    /// Milliseconds of one call.
    call_time_ms: Option<u64>,
    /// Bytes of an instance's memory.
    memory_bytes: Option<usize>,
    /// Bytes that the host allocates for the answers of one call.
    answer_bytes: Option<usize>,
}

/// One of the components that are named, with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant<'a> {
    pub(crate) component: &'a String,
    pub(crate) sha256: &'a Option<String>,
    pub(crate) settings: &'a Option<serde_json::Value>,
}

impl RulesConfig {
    /// Reads the text.
    ///
    /// # Errors
    /// One line: it is no YAML, a key does not exist or has another type, or the roll-out makes no sense.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let config: Self = manifest::settings(CONFIG_FILE, text, &manifest::Limits::default())
            .map_err(|problem| problem.to_string())?;
        if let Some(rollout) = &config.rollout {
            rollout.check().map_err(|what| format!("{CONFIG_FILE}: rollout: {what}"))?;
        }
        Ok(config)
    }

    /// What a node with this name and these labels runs.
    pub(crate) fn for_node(&self, node: &str, labels: &model::Labels) -> Variant<'_> {
        match &self.rollout {
            Some(rollout) if rollout.includes(node, labels) => rollout.variant(),
            _ => self.base(),
        }
    }

    /// What a node runs that no roll-out is meant for.
    pub(crate) fn base(&self) -> Variant<'_> {
        Variant { component: &self.component, sha256: &self.sha256, settings: &self.settings }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits.limits()
    }

    /// The text, in one line, of a configuration that says this for all nodes and nothing else.
    pub(super) fn alone(&self, variant: Variant<'_>) -> String {
        let Variant { component, sha256, settings } = variant;
        serde_json::json!({ "component": component, "sha256": sha256, "settings": settings, "denied": self.denied,
            "undecided": self.undecided, "unresolved": self.unresolved, "limits": self.limits, "changesMax": self.changes_max })
        .to_string()
    }

    /// What counts beside the component, for a comparison.
    pub(super) fn terms(&self) -> impl std::fmt::Debug {
        (self.denied, self.undecided, self.unresolved, self.limits.clone(), self.changes_max)
    }
}

impl LimitsConfig {
    fn limits(&self) -> Limits {
        let d = Limits::default();
        let ms = std::time::Duration::from_millis;
        // A ConfigMap may tighten, never loosen.
        let wanted = Limits {
            component_bytes_max: self.component_bytes.unwrap_or(d.component_bytes_max),
            compile_time_max: self.compile_time_ms.map_or(d.compile_time_max, ms),
            fuel_base: self.fuel_base.unwrap_or(d.fuel_base),
            fuel_per_row: self.fuel_per_row.unwrap_or(d.fuel_per_row),
            call_time_max: self.call_time_ms.map_or(d.call_time_max, ms),
            memory_bytes_max: self.memory_bytes.unwrap_or(d.memory_bytes_max),
            answer_bytes_max: self.answer_bytes.unwrap_or(d.answer_bytes_max),
            ..d.clone()
        };
        wanted.within(&d)
    }
}
