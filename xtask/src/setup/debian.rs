//! The world where rustup cannot download: Debian's Rust packages, extracted into a private prefix in the cache.
//! Nothing is installed, no root is needed, apt's own lists and the user's compilers stay as they are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};

use super::cache::Cache;
use super::host::{Host, holds_std};
use super::toolchain::{WASM, forget_callers_flags};
use crate::process::{self, Step};
use crate::workspace;

/// `=VERSION` makes apt say so, instead of giving a mixture, when Debian has moved on.
const PACKAGES: [&str; 6] = [
    "rustc-web=1.96.*",
    "libstd-rust-web-1.96=1.96.*",
    "libstd-rust-web-dev=1.96.*",
    "libstd-rust-web-dev-bpf=1.96.*",
    "rust-web-src=1.96.*",
    "libllvm22",
];
const PREFIX: &str = "debian-rust-1.96";
/// File in the prefix that names what was extracted: one package file per line, versions included.
const PACKAGE_LIST: &str = "packages.txt";
/// Linkers that rustup's compiler ships and Debian's does not; they do not depend on the compiler's version.
const LENT_TOOLS: [&str; 3] = ["rust-lld", "wasm-component-ld", "gcc-ld/wasm-ld"];

/// The private prefix, the `/` of the packages.
pub(super) fn prefix(cache: &Cache) -> PathBuf {
    cache.path(PREFIX)
}

/// The folder of a target inside this compiler.
pub(super) fn library(cache: &Cache, target: &str) -> PathBuf {
    prefix(cache).join("usr/lib/rustlib").join(target)
}

/// Where the dynamic loader finds rustc's libraries and LLVM.
pub(super) fn libraries(cache: &Cache, host: &Host) -> PathBuf {
    prefix(cache).join("usr/lib").join(format!("{}-linux-gnu", host.arch()))
}

/// What was extracted; empty if nothing was.
pub(super) fn packages(cache: &Cache) -> String {
    fs::read_to_string(prefix(cache).join(PACKAGE_LIST)).unwrap_or_default()
}

/// Makes the compiler, good for BPF as it is: its package of the BPF library is a compiled one.
pub(super) fn add_compiler(cache: &Cache, host: &Host) -> Result<()> {
    if packages(cache).is_empty() {
        for program in ["apt-get", "dpkg"] {
            if !process::on_path(program) {
                bail!("no {program} here: Debian's packages need Debian 12 with its security updates");
            }
        }
        let made = extract(cache, &download(cache)?)?;
        cache.finish(&made, &prefix(cache))?;
        cache.discard("debs")?;
        cache.discard("apt")?;
    }
    // Every time: a `rustup update` moves what they point to.
    lend_tools(cache, host)
}

/// Compiles the standard library for plugins once; afterwards it is an ordinary target of this compiler.
pub(super) fn add_wasm(cache: &Cache, host: &Host) -> Result<()> {
    if holds_std(&library(cache, WASM)) {
        return Ok(());
    }
    let project = cache.fresh("bake")?;
    fs::create_dir_all(project.join("src"))?;
    fs::write(project.join("src/lib.rs"), "")?;
    fs::write(project.join("Cargo.toml"), BAKE_MANIFEST)?;
    let step = Step {
        what: format!("compiling Rust's standard library for {WASM}"),
        estimate: "30 to 80 s on 2 cores",
        limit: Duration::from_secs(900),
        log: cache.log("bake"),
    };
    step.run(&mut bake_command(cache, host, &project))?;
    let made = cache.fresh("wasm-std")?;
    fs::create_dir_all(made.join("lib"))?;
    for entry in fs::read_dir(project.join("target").join(WASM).join("release/deps"))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libbake-") {
            fs::copy(&file, made.join("lib").join(name))?;
        }
    }
    cache.finish(&made, &library(cache, WASM))?;
    cache.discard("bake")
}

const BAKE_MANIFEST: &str = r#"[package]
name = "bake"
version = "0.0.0"
edition = "2024"
[workspace]
[profile.release]
debug = 0
codegen-units = 1
"#;

fn bake_command(cache: &Cache, host: &Host, project: &Path) -> Command {
    // Plugins are linked with LTO, which wants bitcode; paths of this machine do not belong into every plugin.
    let flags =
        ["-C".to_owned(), "embed-bitcode=yes".to_owned(), workspace::remap(&prefix(cache).join("usr"), "/rust")]
            .into_iter()
            .chain(workspace::remap_registry())
            .collect::<Vec<_>>();
    let mut command = Command::new(&host.cargo);
    forget_callers_flags(&mut command);
    command
        .args(["build", "--release", "-Z", "build-std=std,panic_abort", "--target", WASM])
        .current_dir(project)
        .env("CARGO_TARGET_DIR", project.join("target"))
        .env("RUSTC", prefix(cache).join("usr/bin/rustc"))
        .env("LD_LIBRARY_PATH", libraries(cache, host))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("RUSTC_BOOTSTRAP", "1");
    command
}

/// Downloads the packages with lists of our own: the system's may be old or missing, and only root may renew those.
fn download(cache: &Cache) -> Result<PathBuf> {
    let state = cache.partial("apt")?;
    let update = Step {
        what: "reading Debian's package lists".to_owned(),
        estimate: "10 MB, about 10 s; into the cache, the system's stay as they are",
        limit: Duration::from_secs(300),
        log: cache.log("apt-update"),
    };
    update.run(apt(&state)?.arg("update"))?;
    let folder = cache.partial("debs")?;
    let fetch = Step {
        what: "downloading Debian's Rust 1.96".to_owned(),
        estimate: "160 MB, about 10 s on a fast line; into the cache, nothing is installed",
        limit: Duration::from_secs(1800),
        log: cache.log("apt-download"),
    };
    let fetched = fetch.attempt(apt(&state)?.arg("download").args(PACKAGES).current_dir(&folder));
    match fetched {
        Ok(()) => Ok(folder),
        Err(error) => Err(explain_download(cache, error)),
    }
}

/// Says what the user can do about a failed download.
fn explain_download(cache: &Cache, error: Error) -> Error {
    let log = |step| fs::read_to_string(cache.log(step)).unwrap_or_default();
    // apt is content with the lists of some sources, or of none: packages then seem to be missing that are out of reach.
    if let Some(source) = unreachable_source(&log("apt-update")) {
        return error.context(format!("apt could not read {source}: is there a network, or a proxy to name?"));
    }
    match missing_package(&log("apt-download")) {
        Some(package) => {
            error.context(format!("apt's sources lack {package}; Debian 12 with bookworm-security has it"))
        }
        None => error,
    }
}

fn apt(state: &Path) -> Result<Command> {
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(state.join(folder))?;
    }
    let mut command = Command::new("apt-get");
    command.env("LC_ALL", "C").arg("-q");
    for (option, folder) in [("Dir::State::lists", "lists"), ("Dir::Cache", "cache")] {
        command.arg("-o").arg(format!("{option}={}/", state.join(folder).display()));
    }
    // apt's own user cannot write to a cache folder of ours.
    command.args(["-o", "APT::Sandbox::User=root"]);
    Ok(command)
}

/// The first source of Debian's that apt's output says it could not reach. Other people's sources do not matter.
fn unreachable_source(log: &str) -> Option<&str> {
    log.lines()
        .filter_map(|line| line.split_once(": Failed to fetch ").map(|(_, rest)| rest))
        .filter_map(|rest| rest.split_whitespace().next())
        .find(|url| url.contains("debian"))
}

/// The package that apt's output names as unknown, or known in other versions only.
fn missing_package(log: &str) -> Option<String> {
    log.lines().filter(|line| line.starts_with("E: ")).find_map(|line| {
        let name = line
            .split_once("Unable to locate package ")
            .or_else(|| line.split_once("Can't find a source to download version "))
            .map(|(_, name)| name.to_owned());
        name.or_else(|| {
            let (version, package) = line.strip_prefix("E: Version '")?.split_once("' for '")?;
            Some(format!("{} {version}", package.split_once('\'')?.0))
        })
    })
}

fn extract(cache: &Cache, debs: &Path) -> Result<PathBuf> {
    let root = cache.fresh("debian")?;
    let mut files = fs::read_dir(debs)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "deb"));
    files.sort();
    eprintln!("setup: extracting them (1.1 GB, about 15 s)");
    let mut names = String::new();
    for file in files {
        process::run(Command::new("dpkg").arg("-x").arg(&file).arg(&root))?;
        names.push_str(&file.file_name().unwrap_or_default().to_string_lossy());
        names.push('\n');
    }
    fs::write(root.join(PACKAGE_LIST), names)?;
    Ok(root)
}

/// Links the linkers of the user's compiler into ours.
fn lend_tools(cache: &Cache, host: &Host) -> Result<()> {
    let ours = library(cache, &host.triple).join("bin");
    fs::create_dir_all(ours.join("gcc-ld"))?;
    for tool in LENT_TOOLS {
        let theirs = host.tools().join(tool);
        if !theirs.is_file() {
            bail!("{} is missing: use the Rust that rustup installs, it ships this linker", theirs.display());
        }
        let link = ours.join(tool);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link)?;
        }
        symlink(&theirs, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_apt_does_not_offer_is_named() {
        for (log, package) in [
            ("Reading lists\nE: Unable to locate package rust-web-src", Some("rust-web-src")),
            ("E: Version '1.96.*' for 'rustc-web' was not found", Some("rustc-web 1.96.*")),
            ("E: Failed to fetch http://host/x.deb  Could not connect", None),
        ] {
            assert_eq!(missing_package(log).as_deref(), package, "{log}");
        }
    }

    #[test]
    fn a_source_out_of_reach_is_named_if_it_is_debians() {
        let other = "W: Failed to fetch https://packages.example/dists/x  Could not connect";
        let debian = "W: Failed to fetch http://mirror.example/debian/dists/bookworm/InRelease  Unable to connect";
        assert_eq!(unreachable_source(other), None);
        assert_eq!(
            unreachable_source(&format!("Hit:1 x\n{other}\n{debian}")),
            Some("http://mirror.example/debian/dists/bookworm/InRelease")
        );
    }
}
