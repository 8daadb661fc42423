//! What the checks of `deploy/` have in common: reading manifests, schemas, rights, and what a rendering contains.
//!
//! Needs nothing of the agent, so that it is built in seconds. That flags exist is asked of the binary, in `tests/deploy.rs`
//! of the package `tests`.

pub mod manifest;
pub mod rights;
pub mod schema;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a program prints, run in the root; `None` if there is no such program on this machine.
///
/// # Errors
/// If it fails: with what it says.
pub fn output(program: &str, arguments: &[&str]) -> Result<Option<String>> {
    let output = match Command::new(program).args(arguments).current_dir(root()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        output => output.with_context(|| format!("cannot run {program}"))?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).with_context(|| format!("{program} prints no UTF-8")).map(Some)
}
