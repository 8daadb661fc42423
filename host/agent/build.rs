//! Makes the default component part of the binary. It is built by `cargo xtask build`, never by this script.

use std::path::PathBuf;
use std::{env, fs, process};

fn main() {
    println!("cargo::rerun-if-env-changed=WAYSWITCH_DEFAULT_COMPONENT");
    let beside = || {
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../target/artifacts/istio.wasm")
    };
    let component = env::var_os("WAYSWITCH_DEFAULT_COMPONENT").map_or_else(beside, PathBuf::from);
    println!("cargo::rerun-if-changed={}", component.display());
    let into = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("default.wasm");
    if let Err(error) = fs::copy(&component, &into) {
        println!(
            "cargo::error=the default component is not built ({}: {error}): run `cargo xtask build`",
            component.display()
        );
        process::exit(1);
    }
}
