//! The world where rustup can download: one more target for the user's stable compiler, and a nightly of our own for BPF.
//! The user's nightly, default and overrides are never touched: ours lives in the cache, in a rustup home of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::cache::Cache;
use super::host::Host;
use super::toolchain::WASM;
use crate::process::{self, Step};

/// The nightly for BPF. Dated, so that two machines build the same object, and because its LLVM (22) must be the one that
/// bpf-linker was written for.
pub(super) const NIGHTLY: &str = "nightly-2026-05-20";

/// The folder of that nightly.
pub(super) fn nightly(cache: &Cache) -> PathBuf {
    cache.path(NIGHTLY)
}

/// Gives the user's compiler a library for plugins.
pub(super) fn add_wasm(cache: &Cache, host: &Host) -> Result<()> {
    if !host.has_std(WASM) {
        need_rustup()?;
        // Without --toolchain it is the one that runs us: cargo under rustup sets RUSTUP_TOOLCHAIN.
        let step = Step {
            what: format!("adding the target {WASM} by rustup"),
            estimate: "20 MB, a few seconds",
            limit: Duration::from_secs(180),
            log: cache.log("rustup-target"),
        };
        step.attempt(Command::new("rustup").args(["target", "add", WASM]))?;
    }
    if !host.has_std(WASM) {
        bail!("rustup manages another compiler than the one in {}", host.sysroot.display());
    }
    if !host.tools().join("wasm-component-ld").is_file() {
        bail!("the compiler in {} ships no wasm-component-ld", host.sysroot.display());
    }
    Ok(())
}

/// Downloads the nightly with the sources of its library.
pub(super) fn add_nightly(cache: &Cache, host: &Host) -> Result<()> {
    let place = nightly(cache);
    if place.join("bin/cargo").is_file() {
        return Ok(());
    }
    need_rustup()?;
    let home = cache.partial("rustup")?;
    let step = Step {
        what: format!("downloading {NIGHTLY} by rustup"),
        estimate: "150 MB, about 20 s on a fast line; for the kernel programs, into the cache",
        limit: Duration::from_secs(900),
        log: cache.log("rustup-nightly"),
    };
    step.attempt(
        Command::new("rustup")
            .args(["toolchain", "install", NIGHTLY, "--component", "rust-src", "--profile", "minimal"])
            .arg("--no-self-update")
            .env("RUSTUP_HOME", &home)
            .env_remove("RUSTUP_TOOLCHAIN"),
    )?;
    let made = home.join("toolchains").join(format!("{NIGHTLY}-{}", host.triple));
    if !made.join("lib/rustlib/src/rust/library/core").is_dir() {
        fs::remove_dir_all(&home)?;
        bail!("rustup installed {NIGHTLY} without rust-src");
    }
    cache.finish(&made, &place)?;
    cache.discard("rustup")
}

fn need_rustup() -> Result<()> {
    if !process::on_path("rustup") {
        bail!("rustup is not installed");
    }
    Ok(())
}
