//! `cargo xtask test`: builds all, runs every test there is, and adds up.

pub(crate) mod tally;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::setup::Source;
use crate::{build, tidy, workspace};
use tally::Tally;

/// Crates outside the default members whose tests run on the host. None of them needs wasmtime.
pub(crate) const BESIDE_DEFAULT: [&str; 5] =
    ["plugin-istio", "plugin-locality", "plugin-service-account", "wayswitch-sdk", "xtask"];
/// Makes a kernel test that cannot run fail instead of printing SKIPPED.
const REQUIRE_KERNEL: &str = "WAYSWITCH_REQUIRE_KERNEL";

/// Runs all tests, even after a failure, and fails if one did.
pub(crate) fn run(source: Source) -> Result<()> {
    build::run(source)?;
    let mut tally = Tally::default();
    let mut beside = workspace::cargo("test");
    for package in BESIDE_DEFAULT {
        beside.args(["--package", package]);
    }
    let all_succeeded = [&mut workspace::cargo("test"), &mut beside]
        .into_iter()
        .map(|command| run_one(command, &mut tally))
        .try_fold(true, |before, now| now.map(|now| before && now))?;
    let tidy = tidy::run();

    if tally.skipped > 0 {
        println!("{} left out, see SKIPPED above: they need root and a kernel with cgroup2 and BPF", tally.skipped);
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if !all_succeeded || tally.failed > 0 {
        bail!("a test failed, or did not compile");
    }
    if tally.skipped > 0 && kernel_required() {
        bail!("tests were skipped where none may be (root, or CI=true)");
    }
    if tally.passed == 0 {
        bail!("no test ran");
    }
    tidy
}

fn kernel_required() -> bool {
    workspace::is_root() || workspace::is_ci()
}

/// Shows the tests' output as it comes and counts. True if cargo was content.
fn run_one(command: &mut Command, tally: &mut Tally) -> Result<bool> {
    // The output of tests that pass is asked for because a skipped test passes; the tally shows only that part of it.
    command.args(["--no-fail-fast", "--", "--show-output"]).stdout(Stdio::piped());
    if kernel_required() {
        command.env(REQUIRE_KERNEL, "1");
    }
    let mut child = command.spawn().context("cargo could not be started")?;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if tally.add(&line) {
            println!("{line}");
        }
    }
    Ok(child.wait()?.success())
}
