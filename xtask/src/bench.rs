//! `cargo xtask bench`: the benchmarks in `tests/benches`, with the profile of everything else.

use anyhow::Result;

use crate::setup::Source;
use crate::{build, process, workspace};

/// Runs the benchmarks whose names contain `filter`.
pub(crate) fn run(source: Source, filter: Option<&str>) -> Result<()> {
    build::run(source)?;
    // No unit test in disguise, in whatever package; selected by kind of target, so that features stay the same.
    let named = filter.map_or_else(|| "*".to_owned(), |filter| format!("*{filter}*"));
    let mut command = workspace::cargo("bench");
    command.args(["--profile", "dev", "--bench", &named]);
    process::run(&mut command)
}
