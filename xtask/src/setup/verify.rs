//! Proves that a toolchain works by compiling something with it. What it compiles is thrown away.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cache::Cache;
use super::toolchain::{BPF, Toolchain, WASM};
use crate::process::Step;

/// The first bytes of a component; a core module has version 1 and layer 0 instead.
const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
/// The machine number of BPF in an ELF header, and where it stands.
const EM_BPF: [u8; 2] = [247, 0];
const ELF_MACHINE: std::ops::Range<usize> = 18..20;

const WASM_MANIFEST: &str = "[package]\nname = \"proof\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
     [lib]\ncrate-type = [\"cdylib\"]\npath = \"proof.rs\"\n";
const WASM_SOURCE: &str = "#[unsafe(no_mangle)]\npub extern \"C\" fn answer(n: usize) -> usize { vec![1u8; n].iter().map(|b| *b as usize).sum() }\n";

const BPF_MANIFEST: &str = "[package]\nname = \"proof\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
     [[bin]]\nname = \"proof\"\npath = \"proof.rs\"\n[profile.dev]\nopt-level = 3\npanic = \"abort\"\n";
/// The feature is one that aya-ebpf asks for: a compiler that refuses it would fail later and less clearly.
const BPF_SOURCE: &str = "#![no_std]\n#![no_main]\n#![feature(asm_experimental_arch)]\n\
     #[unsafe(no_mangle)]\n#[unsafe(link_section = \"cgroup/connect4\")]\n\
     pub extern \"C\" fn proof(_context: *mut core::ffi::c_void) -> i32 { 1 }\n\
     #[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n";

/// Compiles and looks at the result's first bytes.
pub(super) fn compile(cache: &Cache, toolchain: &Toolchain) -> Result<()> {
    let name = format!("proof-{}", toolchain.target);
    let project = cache.fresh(&name)?;
    let (manifest, source, made) = match toolchain.target {
        WASM => (WASM_MANIFEST, WASM_SOURCE, "proof.wasm"),
        _ => (BPF_MANIFEST, BPF_SOURCE, "proof"),
    };
    fs::write(project.join("Cargo.toml"), manifest)?;
    fs::write(project.join("proof.rs"), source)?;
    let target = project.join("target");
    let step = Step {
        what: format!("compiling a trial program for {}", toolchain.target),
        estimate: "a few seconds, 20 s at most",
        limit: Duration::from_secs(600),
        log: cache.log(&name),
    };
    step.run(toolchain.build(&target, &[]).current_dir(&project))?;
    check(toolchain.target, &target.join(toolchain.target).join("debug").join(made))?;
    cache.discard(&name)
}

fn check(target: &str, file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("the trial build left no {}", file.display()))?;
    let right =
        if target == BPF { bytes.get(ELF_MACHINE) == Some(EM_BPF.as_slice()) } else { bytes.starts_with(&COMPONENT) };
    ensure!(right, "{} was compiled but is not what {target} should give", file.display());
    Ok(())
}
