//! Where things are in the checkout, how cargo is called in it, and under which neutral names folders appear in what we build.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the root Cargo.toml.
pub(crate) fn root() -> PathBuf {
    // cargo says it anew at each run; what was true at compile time may be another checkout with the same target folder.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// Where the build scripts that embed plugins and kernel programs look for them, wherever the host's target folder is.
pub(crate) fn artifacts() -> PathBuf {
    root().join("target/artifacts")
}

/// The user's cargo, in the workspace, with the default members unless a package is named.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")));
    command.arg(subcommand).current_dir(root());
    // A relative one is meant from the user's folder, not from the workspace.
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR").and_then(|path| std::path::absolute(path).ok()) {
        command.env("CARGO_TARGET_DIR", target);
    }
    command
}

/// Whether this process may do what kernel tests need.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Whether this is CI, where nothing may be left out.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1")
}

/// A compiler flag that shows `from` as `to` in panics and debug information.
pub(crate) fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

/// Compiler flags that give every folder of downloaded crates one neutral name.
pub(crate) fn remap_registry() -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
        .unwrap_or_default();
    // They are there: our own dependencies were unpacked into them.
    let folders = std::fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    let mut flags: Vec<String> = folders.map(|folder| remap(&folder.path(), "/crates")).collect();
    flags.sort();
    flags
}
