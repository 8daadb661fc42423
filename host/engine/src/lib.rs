//! The owner of wasmtime: loads a component, holds it to its limits, asks it, and refuses what is wrong with a reason.
//!
//! It knows nothing of files, Kubernetes or the kernel. A component is given values and answers with values; there is
//! no WASI, no import at all, and a fresh instance for every call.

#![warn(missing_docs)]

mod limits;
mod refusal;

mod bindings;

mod clock;

mod instance;

mod lower;

mod lift;

mod world;

mod component;

mod check;

mod lifecycle;

pub use component::{Component, Engine, Facts, Loaded};
pub use lifecycle::{Candidate, Source};
pub use limits::Limits;
pub use refusal::{Refusal, Stage};
