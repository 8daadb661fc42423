//! What a component is made a candidate with: its bytes, ordinary terms, and the engine's own limits. Not a component:
//! those that misbehave are in [`crate::guests`], those that ship are read from where `cargo xtask build` puts them.

use std::path::Path;

use anyhow::{Context as _, Result};
use engine::{Limits, Source};
use model::decider::Terms;
use model::decision::Choice;

/// The terms of a default configuration: not admitted goes direct, undecided is blocked.
pub fn terms(settings: &str) -> Terms {
    Terms { settings: settings.into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None }
}

/// A candidate without a pin, under the default limits.
pub fn source(bytes: Vec<u8>, settings: &str) -> Source {
    Source { bytes: bytes.into(), pin: None, terms: terms(settings), limits: Limits::default() }
}

/// A component that ships, for instance `istio`.
///
/// # Errors
/// Where it was not built: `cargo xtask build` does.
pub fn artifact(name: &str) -> Result<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/artifacts").join(name).with_extension("wasm");
    std::fs::read(&file).with_context(|| format!("{} is missing: run `cargo xtask build`", file.display()))
}

/// The same component, but for the engine another one: with a custom section of its own, which nobody reads. So it is compiled
/// anew.
pub fn numbered(component: &[u8], number: usize) -> Vec<u8> {
    // Id 0, the size of the rest, the size of the name, the name.
    let name = format!("n{number}");
    let size = u8::try_from(name.len()).unwrap_or(0);
    let mut bytes = component.to_vec();
    bytes.extend([0, size + 1, size]);
    bytes.extend(name.bytes());
    bytes
}
