//! `cargo xtask build`: plugins to components, eBPF programs to an object, then the host's crates, which may embed both.
//! `cargo xtask dist`: the same with the agent alone, optimised.
//! How, and why not in a build script: docs/adr/0005-wasm-and-bpf-builds.md.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Source, Toolchain};
use crate::{process, workspace};

/// Package, cargo's name for its library, the artefact's name, and a folder for its build. A plugin that has another one as a
/// part needs a folder of its own: cargo writes the library of that part as well, without its exports, over the real one.
const PLUGINS: [(&str, &str, &str, &str); 3] = [
    ("plugin-istio", "plugin_istio.wasm", "istio.wasm", "target/guest"),
    ("plugin-service-account", "plugin_service_account.wasm", "service-account.wasm", "target/guest"),
    ("plugin-locality", "plugin_locality.wasm", "locality.wasm", "target/guest/locality"),
];
const KERNEL_PACKAGE: &str = "ebpf-programs";
/// The program in that package, and the artefact.
const KERNEL_PROGRAM: &str = "redirect";
const KERNEL_OBJECT: &str = "redirect.bpf.o";
/// Names an object that was built elsewhere; `host/redirect/build.rs` reads it.
const OBJECT_VARIABLE: &str = "WAYSWITCH_BPF_OBJECT";

/// Builds everything.
pub(crate) fn run(source: Source) -> Result<()> {
    artifacts(source)?;
    // Always the default members with the dev profile and no selection: another selection has other features, and
    // wasmtime would be compiled again.
    process::run(&mut workspace::cargo("build"))
}

/// Builds the agent as it ships: `release/wayswitch` of the target folder, without paths of this machine in it.
pub(crate) fn dist(source: Source) -> Result<()> {
    artifacts(source)?;
    let mut flags = workspace::remap_registry();
    flags.push(workspace::remap(&workspace::root(), "/wayswitch"));
    let mut command = workspace::cargo("build");
    // Separated as cargo wants it: a path may have spaces.
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    process::run(command.args(["--release", "--locked", "--package", "agent", "--bin", "wayswitch"]))
}

/// What the host's crates embed.
fn artifacts(source: Source) -> Result<()> {
    let toolchains = setup::ensure(source)?;
    plugins(&toolchains.wasm)?;
    match &toolchains.bpf {
        Some(toolchain) => kernel_programs(toolchain),
        None => without_kernel_programs(),
    }
}

fn plugins(toolchain: &Toolchain) -> Result<()> {
    for (package, library, artifact, target) in PLUGINS {
        let target = workspace::root().join(target);
        process::run(guest_build(toolchain, &target, "guest").args(["--package", package]))?;
        publish(&target.join(toolchain.target).join("guest").join(library), artifact)?;
    }
    Ok(())
}

fn kernel_programs(toolchain: &Toolchain) -> Result<()> {
    let target = workspace::root().join("target/ebpf");
    process::run(guest_build(toolchain, &target, "ebpf").args(["--package", KERNEL_PACKAGE]))?;
    publish(&target.join(toolchain.target).join("ebpf").join(KERNEL_PROGRAM), KERNEL_OBJECT)
}

/// The host's crates embed the object, so there must be one, but not necessarily a new one.
fn without_kernel_programs() -> Result<()> {
    let old = workspace::artifacts().join(KERNEL_OBJECT);
    if std::env::var_os(OBJECT_VARIABLE).is_some() {
        eprintln!("build: kernel programs not built, {OBJECT_VARIABLE} is used");
        return Ok(());
    }
    if workspace::is_ci() || !old.is_file() {
        bail!("no compiler for the kernel programs (see above), and {OBJECT_VARIABLE} names no object built elsewhere");
    }
    eprintln!("build: kernel programs not built, the old {} is used", old.display());
    Ok(())
}

fn guest_build(toolchain: &Toolchain, target: &Path, profile: &str) -> Command {
    // What we ship must not depend on where it was built, nor tell.
    let mut flags = workspace::remap_registry();
    flags.push(workspace::remap(&toolchain.sysroot(), "/rust"));
    flags.push(workspace::remap(&workspace::root(), "/wayswitch"));
    let mut command = toolchain.build(target, &flags);
    command.current_dir(workspace::root()).args(["--profile", profile]);
    command
}

/// Copies to the artefacts, but leaves an equal file alone: its time is what build scripts go by.
fn publish(made: &Path, artifact: &str) -> Result<()> {
    let folder = workspace::artifacts();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let bytes = fs::read(made).with_context(|| format!("the build left no {}", made.display()))?;
    let place = folder.join(artifact);
    if fs::read(&place).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    // A reader sees the old file or the new one.
    let partial = folder.join(format!(".{artifact}.{}", std::process::id()));
    fs::write(&partial, &bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, &place).with_context(|| format!("cannot write {}", place.display()))
}
