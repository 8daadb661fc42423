//! `cargo xtask check`: everything CI asks of a change, cheapest first. It stops at the first thing that is wrong.

use std::process::Command;

use anyhow::Result;

use crate::setup::Source;
use crate::test::BESIDE_DEFAULT;
use crate::{build, process, test, workspace};

/// Runs all checks.
pub(crate) fn run(source: Source) -> Result<()> {
    step(
        "Cargo.lock is up to date",
        workspace::cargo("metadata")
            .args(["--locked", "--no-deps", "--format-version", "1"])
            .stdout(std::process::Stdio::null()),
    )?;
    step("format", workspace::cargo("fmt").args(["--all", "--check"]))?;
    // Build scripts embed plugins and kernel programs: without them nothing can be linted.
    build::run(source)?;
    step("lints", workspace::cargo("clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
    step("lints", beside_default(&mut workspace::cargo("clippy")).args(["--all-targets", "--", "-D", "warnings"]))?;
    step("documentation", documentation().arg("--no-deps"))?;
    step("documentation", beside_default(documentation().arg("--no-deps")))?;
    if process::on_path("cargo-deny") {
        step("licences, sources, advisories", workspace::cargo("deny").arg("check"))?;
    } else {
        eprintln!("check: NOT CHECKED: licences, sources, advisories (cargo install --locked cargo-deny)");
    }
    test::run(source)
}

fn step(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("check: {what}");
    process::run(command)
}

fn documentation() -> Command {
    let mut command = workspace::cargo("doc");
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

fn beside_default(command: &mut Command) -> &mut Command {
    for package in BESIDE_DEFAULT {
        command.args(["--package", package]);
    }
    command
}
