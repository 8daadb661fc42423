//! bpf-linker, built from the crate registry by the user's own compiler. It is the same for both worlds: it links no LLVM but
//! loads the one of the compiler it serves, so that no LLVM has to be installed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cache::Cache;
use super::host::Host;
use super::toolchain::forget_callers_flags;
use crate::process::Step;

/// The folder in the cache, which names the version.
pub(super) const NAME: &str = "bpf-linker-0.10.3";
/// Of the last series that can load the compiler's LLVM; 0.11 and later want a system's, with headers. Its default feature is LLVM 22,
/// the LLVM of `rustup::NIGHTLY` and of Debian's Rust 1.96.
const VERSION: &str = "0.10.3";

/// The program.
pub(super) fn path(cache: &Cache) -> PathBuf {
    cache.path(NAME).join("bin/bpf-linker")
}

/// Builds it unless it is there.
pub(super) fn add(cache: &Cache, host: &Host) -> Result<()> {
    if path(cache).is_file() {
        return Ok(());
    }
    let root = cache.fresh("bpf-linker")?;
    let step = Step {
        what: format!("building bpf-linker {VERSION}"),
        estimate: "1 to 3 minutes on 2 cores",
        limit: Duration::from_secs(1200),
        log: cache.log("bpf-linker"),
    };
    let mut command = Command::new(&host.cargo);
    forget_callers_flags(&mut command);
    command
        .args(["install", "--locked", "bpf-linker", "--version", VERSION, "--root"])
        .arg(&root)
        // Kept when interrupted, so that a second attempt goes on where the first stopped.
        .env("CARGO_TARGET_DIR", cache.partial("bpf-linker-target")?)
        .env("RUSTC", &host.rustc)
        .current_dir(&root);
    step.run(&mut command)
        .context("bpf-linker was not built: see the log; it needs the crate registry and a C linker")?;
    cache.finish(&root, &cache.path(NAME))?;
    cache.discard("bpf-linker-target")
}
