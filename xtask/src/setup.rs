//! Makes the compilers for plugins and kernel programs, once, in a cache folder that outlives the checkout.
//!
//! Two worlds: rustup can download, or it cannot and Debian's packages have to do. Which one it is, is found by trying. Nothing here
//! installs anything system-wide or needs root; the only change outside the cache is one more target for the user's compiler.

mod cache;
mod debian;
mod host;
mod linker;
mod rustup;
mod toolchain;
mod verify;

use anyhow::{Result, bail};
use clap::ValueEnum;

use cache::Cache;
use host::Host;
pub(crate) use toolchain::Toolchain;
use toolchain::{BPF, Origin, WASM};

/// Where toolchains may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// rustup if it can download, else Debian's packages.
    Auto,
    /// rustup only.
    Rustup,
    /// Debian's packages only, in a private prefix.
    Debian,
}

impl Source {
    fn origins(self) -> &'static [Origin] {
        match self {
            Self::Auto => &[Origin::Rustup, Origin::Debian],
            Self::Rustup => &[Origin::Rustup],
            Self::Debian => &[Origin::Debian],
        }
    }
}

/// What set-up made.
pub(crate) struct Toolchains {
    pub(crate) wasm: Toolchain,
    /// `None`: everything but the kernel part can be built. Set-up has said why.
    pub(crate) bpf: Option<Toolchain>,
}

/// `cargo xtask setup`.
pub(crate) fn run(source: Source) -> Result<()> {
    let toolchains = ensure(source)?;
    let bpf = toolchains.bpf.as_ref().map_or("left out", |toolchain| toolchain.origin.name());
    eprintln!("setup: ready (plugins: {}, kernel programs: {bpf})", toolchains.wasm.origin.name());
    Ok(())
}

/// Makes what is missing. When all is there it costs two runs of `rustc` and says nothing.
pub(crate) fn ensure(source: Source) -> Result<Toolchains> {
    let host = Host::find()?;
    let cache = Cache::open()?;
    let find = |target| {
        let mut candidates = source.origins().iter().map(|origin| Toolchain::new(target, *origin, &host, &cache));
        candidates.find(Toolchain::is_ready)
    };
    if let (Some(wasm), Some(bpf)) = (find(WASM), find(BPF)) {
        return Ok(Toolchains { wasm, bpf: Some(bpf) });
    }

    let _lock = cache.lock()?;
    cache.check_space()?;
    let wasm = match find(WASM) {
        Some(ready) => ready,
        None => make(WASM, source, &host, &cache)?,
    };
    let bpf = match find(BPF) {
        Some(ready) => Some(ready),
        None => match make(BPF, source, &host, &cache) {
            Ok(made) => Some(made),
            Err(error) => {
                eprintln!("setup: LEFT OUT the kernel programs: {error:#}");
                None
            }
        },
    };
    Ok(Toolchains { wasm, bpf })
}

/// Tries the origins in turn; the first that compiles a trial program is taken.
fn make(target: &'static str, source: Source, host: &Host, cache: &Cache) -> Result<Toolchain> {
    let mut failures: Vec<String> = Vec::new();
    for origin in source.origins() {
        if let Some(failure) = failures.last() {
            eprintln!("setup:   that does not work here ({failure}), trying {}", origin.name());
        }
        let toolchain = Toolchain::new(target, *origin, host, cache);
        match add(target, *origin, host, cache).and_then(|()| verify::compile(cache, &toolchain)) {
            Ok(()) => {
                toolchain.stamp()?;
                return Ok(toolchain);
            }
            Err(error) => failures.push(format!("{}: {error:#}", origin.name())),
        }
    }
    bail!("no compiler for {target} could be made ({})", failures.join("; "))
}

fn add(target: &'static str, origin: Origin, host: &Host, cache: &Cache) -> Result<()> {
    match (target, origin) {
        (WASM, Origin::Rustup) => rustup::add_wasm(cache, host),
        (WASM, Origin::Debian) => {
            debian::add_compiler(cache, host)?;
            debian::add_wasm(cache, host)
        }
        (_, Origin::Rustup) => {
            rustup::add_nightly(cache, host)?;
            linker::add(cache, host)
        }
        (_, Origin::Debian) => {
            debian::add_compiler(cache, host)?;
            linker::add(cache, host)
        }
    }
}
