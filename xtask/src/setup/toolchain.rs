//! One compiler for one foreign target, as an environment and arguments for cargo. It describes; `rustup.rs` and `debian.rs` make.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Cache;
use super::host::{Host, holds_std};
use super::{debian, linker, rustup};

/// Raised when this set-up would make something else of the same versions.
const REVISION: u32 = 1;

/// Plugins.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";
/// Kernel programs.
pub(crate) const BPF: &str = "bpfel-unknown-none";

/// Where a toolchain comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Downloaded by rustup.
    Rustup,
    /// Debian's packages in a private prefix.
    Debian,
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        }
    }
}

/// Everything cargo must be told to build for `target`.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    pub(crate) target: &'static str,
    pub(crate) origin: Origin,
    host: Host,
    cache: Cache,
}

impl Toolchain {
    pub(crate) fn new(target: &'static str, origin: Origin, host: &Host, cache: &Cache) -> Self {
        Self { target, origin, host: host.clone(), cache: cache.clone() }
    }

    /// A `cargo build` for the target. `flags` are added to the compiler's; the caller adds packages and profile.
    pub(crate) fn build(&self, target_folder: &Path, flags: &[String]) -> Command {
        let mut all = self.flags();
        all.extend_from_slice(flags);
        let mut command = Command::new(self.cargo());
        forget_callers_flags(&mut command);
        command
            .arg("build")
            .args(self.arguments())
            .args(["--target", self.target])
            .env("CARGO_TARGET_DIR", target_folder)
            .env("RUSTC", self.rustc())
            .env("CARGO_ENCODED_RUSTFLAGS", all.join("\u{1f}"))
            .env(self.linker_variable(), self.linker());
        if let Some(libraries) = self.libraries() {
            command.env("LD_LIBRARY_PATH", before_callers_libraries(&libraries));
        }
        if self.origin == Origin::Debian {
            // A stable compiler that is asked for features of nightly; Debian ships no other.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// What this toolchain is made of. It was checked if the cache has a stamp with the same text.
    pub(crate) fn versions(&self) -> String {
        let parts = match (self.target, self.origin) {
            (WASM, Origin::Rustup) => String::new(),
            (_, Origin::Rustup) => format!("{}\n{}\n", rustup::NIGHTLY, linker::NAME),
            (WASM, Origin::Debian) => debian::packages(&self.cache),
            (_, Origin::Debian) => format!("{}{}\n", debian::packages(&self.cache), linker::NAME),
        };
        format!("revision {REVISION}\n{}\n{parts}{}\n", self.origin.name(), self.host.version)
    }

    /// Whether it was checked, with these versions, and is still there.
    pub(crate) fn is_ready(&self) -> bool {
        self.cache.stamp(self.target).is_some_and(|stamp| stamp == self.versions())
            && self.rustc().is_file()
            && match (self.target, self.origin) {
                (WASM, Origin::Rustup) => self.host.has_std(WASM),
                (WASM, Origin::Debian) => holds_std(&debian::library(&self.cache, WASM)),
                _ => self.linker().is_file(),
            }
    }

    /// To be called once a real compilation has succeeded.
    pub(crate) fn stamp(&self) -> anyhow::Result<()> {
        self.cache.set_stamp(self.target, &self.versions())
    }

    /// The folder that holds the compiler and, in debug information, the sources of its library.
    pub(crate) fn sysroot(&self) -> PathBuf {
        match (self.target, self.origin) {
            (WASM, Origin::Rustup) => self.host.sysroot.clone(),
            (_, Origin::Rustup) => rustup::nightly(&self.cache),
            (_, Origin::Debian) => debian::prefix(&self.cache).join("usr"),
        }
    }

    fn rustc(&self) -> PathBuf {
        match (self.target, self.origin) {
            (WASM, Origin::Rustup) => self.host.rustc.clone(),
            _ => self.sysroot().join("bin/rustc"),
        }
    }

    fn cargo(&self) -> PathBuf {
        match (self.target, self.origin) {
            // `-Z` is for a nightly cargo.
            (BPF, Origin::Rustup) => rustup::nightly(&self.cache).join("bin/cargo"),
            _ => self.host.cargo.clone(),
        }
    }

    /// Folders for the dynamic loader: Debian's rustc, and bpf-linker, which loads the compiler's own LLVM.
    fn libraries(&self) -> Option<PathBuf> {
        match (self.target, self.origin) {
            (WASM, Origin::Rustup) => None,
            (_, Origin::Rustup) => Some(rustup::nightly(&self.cache).join("lib")),
            (_, Origin::Debian) => Some(debian::libraries(&self.cache, &self.host)),
        }
    }

    fn arguments(&self) -> &'static [&'static str] {
        match (self.target, self.origin) {
            // rustup offers no compiled library for BPF; Debian's package has one.
            (BPF, Origin::Rustup) => &["-Z", "build-std=core"],
            _ => &[],
        }
    }

    fn flags(&self) -> Vec<String> {
        if self.target == BPF {
            // The kernel and aya want types of maps and functions (BTF), made from full debug information.
            ["-C", "link-arg=--btf", "-C", "debuginfo=2"].map(str::to_owned).to_vec()
        } else {
            Vec::new()
        }
    }

    fn linker_variable(&self) -> String {
        format!("CARGO_TARGET_{}_LINKER", self.target.to_uppercase().replace('-', "_"))
    }

    fn linker(&self) -> PathBuf {
        if self.target == BPF {
            linker::path(&self.cache)
        } else {
            // rustc looks beside its other linkers; the result is a component, not a core module.
            PathBuf::from("wasm-component-ld")
        }
    }
}

/// Flags meant for the host (warnings denied, a native CPU, another target) would break or change what we build.
pub(super) fn forget_callers_flags(command: &mut Command) {
    for name in
        ["RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_BOOTSTRAP"]
    {
        command.env_remove(name);
    }
}

fn before_callers_libraries(ours: &Path) -> OsString {
    let mut path = ours.as_os_str().to_owned();
    if let Some(theirs) = std::env::var_os("LD_LIBRARY_PATH").filter(|value| !value.is_empty()) {
        path.push(":");
        path.push(theirs);
    }
    path
}
