//! `cargo xtask fuzz`: libFuzzer over the targets in `tests/fuzz`, with the stable compiler. The corpus that is kept in the tree
//! is the start; what is found goes into it, what fails into `target/fuzz`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::{process, workspace};

/// A target, named after its binary.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Any text as manifests.
    Manifest,
    /// Any text as the history of a mesh, from objects to decisions.
    Mesh,
    /// Any bytes as an Address whose waypoints are replaced.
    XdsRewrite,
    /// Any bytes as the history of an xDS stream.
    XdsSession,
}

impl Target {
    /// Whether its inputs are manifests: then those of other tests are a start, and their words help.
    fn reads_manifests(self) -> bool {
        matches!(self, Self::Manifest | Self::Mesh)
    }
}

/// What libFuzzer needs the compiler to put in: counters of edges, and the operands of comparisons.
const INSTRUMENTATION: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Runs `target` for some seconds.
pub(crate) fn run(target: Target, seconds: u32) -> Result<()> {
    let name = target.to_possible_value().context("a target without a name")?.get_name().to_owned();
    let root = workspace::root();
    let folder = root.join("tests/fuzz");
    let built = root.join("target/fuzz");
    let host = host()?;
    let mut build = workspace::cargo("build");
    build.args(["--release", "--locked", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    // With a target named, build scripts and macros are left without instrumentation.
    build.args(["--target", &host, "--bin", &name]).env("CARGO_TARGET_DIR", &built);
    process::run(build.env("RUSTFLAGS", INSTRUMENTATION.join(" ")))?;

    let corpus = folder.join("corpus").join(&name);
    ensure!(corpus.is_dir(), "{} is missing", corpus.display());
    let mut fuzz = std::process::Command::new(built.join(&host).join("release").join(&name));
    fuzz.arg(&corpus).args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    if target.reads_manifests() {
        fuzz.arg(root.join("tests/data/conformance")).arg(root.join("tests/data/bookinfo/manifests"));
        fuzz.arg("-max_len=8192").arg(format!("-dict={}", text(&folder.join("words.dict"))?));
    } else {
        // Bytes say more than text: longer ones repeat what shorter ones say.
        fuzz.arg("-max_len=2048");
    }
    fuzz.arg(format!("-max_total_time={seconds}"));
    fuzz.arg(format!("-artifact_prefix={}/", text(&built)?));
    process::run(&mut fuzz)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// The target that the compiler itself runs on.
fn host() -> Result<String> {
    let text = process::output(std::process::Command::new("rustc").arg("-vV"))?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc does not say its host")
}
