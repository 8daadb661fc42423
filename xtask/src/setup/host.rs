//! The Rust toolchain the user runs cargo with. It is read, never changed, but for the one rustup target of `rustup.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The oldest compiler that builds the workspace, as `rust-version` in the root Cargo.toml.
const OLDEST_MINOR: u32 = 95;

/// The user's own compiler and cargo.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    /// All of `rustc -vV`: set-up is redone when a word of it changes.
    pub(crate) version: String,
    pub(crate) sysroot: PathBuf,
    /// For example `x86_64-unknown-linux-gnu`.
    pub(crate) triple: String,
}

impl Host {
    /// Finds the compiler beside the cargo that runs us, so that rustup's proxies are asked only once.
    pub(crate) fn find() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let beside = cargo.with_file_name("rustc");
        let rustc = if beside.is_file() { beside } else { PathBuf::from("rustc") };
        let version = process::output(Command::new(&rustc).arg("-vV"))
            .context("no Rust compiler: install one with rustup (https://rustup.rs) and run this again")?;
        let minor = minor_version(&version).with_context(|| format!("cannot read the version in {version:?}"))?;
        if minor < OLDEST_MINOR {
            bail!("rustc 1.{minor} is too old, 1.{OLDEST_MINOR} is needed: run `rustup update stable`");
        }
        let triple = field(&version, "host: ").context("`rustc -vV` names no host")?.to_owned();
        let sysroot = PathBuf::from(process::output(Command::new(&rustc).args(["--print", "sysroot"]))?);
        Ok(Self { cargo, rustc, version, sysroot, triple })
    }

    /// Where the compiler keeps the linkers it ships: rust-lld, wasm-component-ld.
    pub(crate) fn tools(&self) -> PathBuf {
        self.library(&self.triple).join("bin")
    }

    /// The folder of a target inside the compiler.
    pub(crate) fn library(&self, target: &str) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(target)
    }

    /// Whether `target` has a standard library here.
    pub(crate) fn has_std(&self, target: &str) -> bool {
        holds_std(&self.library(target))
    }

    /// The CPU part of the triple, as Debian's library folders spell it.
    pub(crate) fn arch(&self) -> &str {
        self.triple.split('-').next().unwrap_or_default()
    }
}

/// Whether the folder of a target in some compiler holds a compiled `core`.
pub(crate) fn holds_std(target_folder: &Path) -> bool {
    std::fs::read_dir(target_folder.join("lib"))
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
}

fn field<'a>(version: &'a str, name: &str) -> Option<&'a str> {
    version.lines().find_map(|line| line.strip_prefix(name))
}

/// The 95 of `release: 1.95.0`. Rust 2 does not exist.
fn minor_version(version: &str) -> Option<u32> {
    field(version, "release: 1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_version_is_read_from_stable_and_nightly() {
        assert_eq!(minor_version("rustc 1.95.0 (abc)\nhost: x\nrelease: 1.95.0"), Some(95));
        assert_eq!(minor_version("rustc 1.101.0-nightly\nrelease: 1.101.0-nightly"), Some(101));
        assert_eq!(minor_version("nonsense"), None);
    }
}
