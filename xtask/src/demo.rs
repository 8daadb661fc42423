//! `cargo xtask demo`: builds all and runs the demo. The demo itself is a program of the package `tests`.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::setup::Source;
use crate::{build, metadata, process};

/// Runs the demo in the user's folder, so that a relative `--json FILE` lands there.
pub(crate) fn run(source: Source, arguments: &[OsString]) -> Result<()> {
    build::run(source)?;
    // Not `cargo run --package tests`: that selection has other features, and wasmtime would be compiled again.
    let program = metadata::target_folder()?.join("debug/demo");
    process::run(Command::new(program).args(arguments))
}
