//! Brings the compiled eBPF object to where `load.rs` embeds it. It does not compile it: that needs another toolchain.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// Names another object than the one `cargo xtask build` leaves in the target folder.
const OVERRIDE: &str = "WAYSWITCH_BPF_OBJECT";

fn main() {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    if let Err(what) = copy() {
        println!("cargo::error={what}");
        process::exit(1);
    }
}

fn copy() -> Result<(), String> {
    let variable = |name: &str| {
        env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set: run this through cargo"))
    };
    let object = match env::var_os(OVERRIDE) {
        Some(path) => PathBuf::from(path),
        None => variable("CARGO_MANIFEST_DIR")?.join("../../target/artifacts/redirect.bpf.o"),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let target = variable("OUT_DIR")?.join("redirect.bpf.o");
    let bytes = fs::read(&object).map_err(|error| missing(&object, &error))?;
    if !bytes.starts_with(b"\x7fELF") {
        return Err(format!("{} is not an ELF object; run `cargo xtask build` to make it anew", object.display()));
    }
    fs::write(&target, bytes).map_err(|error| format!("cannot write {}: {error}", target.display()))
}

fn missing(object: &Path, error: &std::io::Error) -> String {
    format!(
        "the eBPF object {} cannot be read ({error}); run `cargo xtask build` first, or name one in {OVERRIDE}",
        object.display()
    )
}
