//! What cargo knows about the workspace, as JSON. It asks cargo and judges nothing.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{process, workspace};

/// The whole answer, with the dependencies that count on Linux.
pub(crate) fn read() -> Result<Value> {
    query(&["--filter-platform", "x86_64-unknown-linux-gnu"])
}

/// Cargo's folder for what it builds for the host.
pub(crate) fn target_folder() -> Result<std::path::PathBuf> {
    let answer = query(&["--no-deps"])?;
    let folder = answer.get("target_directory").and_then(Value::as_str).context("cargo names no target folder")?;
    Ok(folder.into())
}

fn query(arguments: &[&str]) -> Result<Value> {
    let text = process::output(
        workspace::cargo("metadata").args(["--quiet", "--offline", "--format-version", "1"]).args(arguments),
    )?;
    serde_json::from_str(&text).context("cargo's metadata is not JSON")
}
