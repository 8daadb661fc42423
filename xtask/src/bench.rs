//! `cargo xtask bench`: criterion's benchmarks in `tests/benches`, with the profile of everything else.

use anyhow::Result;

use crate::setup::Source;
use crate::{build, process, workspace};

/// Runs the benchmarks whose names contain `filter`.
pub(crate) fn run(source: Source, filter: Option<&str>) -> Result<()> {
    build::run(source)?;
    // All packages' benchmarks, but no unit test in disguise; selected by kind of target, so that features stay the same.
    let mut command = workspace::cargo("bench");
    command.args(["--profile", "dev", "--bench", "*"]);
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    process::run(&mut command)
}
