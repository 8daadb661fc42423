//! Gateways that are waypoints, and the labels by which objects name them: what to write, in which order, and the requests
//! that do it. What would be done is worked out first, as a [`Plan`] that can be shown; only then is anything written.
//!
//! Decides nothing about traffic: who goes through which waypoint is a component's business. The rules that are followed
//! here (R1, R4, R10, R11, R15, R29, R46, R60-R63) are those by which Istio would make nothing of what is written.

mod apply;
mod delete;
mod objects;
mod plan;
mod ready;
mod seen;
mod spec;
mod target;

pub use apply::{apply_gateway, enrol, find};
pub use delete::{Deletion, delete, references};
pub use objects::object_of;
pub use plan::{Enrolment, Found, Plan, Refusal, Step, Wanted, plan};
pub use ready::{Waited, await_ready};
pub use seen::{Condition, Readiness, Scope, ServesFrom, Waypoint, list};
pub use spec::{Admit, DEFAULT_CLASS, DEFAULT_NAME, IMAGE, Spec, TrafficType, name, namespace_name};
pub use target::{Target, TargetKind};

/// Whose fields these are, for server-side apply.
pub const FIELD_MANAGER: &str = "wayswitch";

/// How many requests of one command are under way at once.
const AT_ONCE: usize = 8;
