//! What a ztunnel waits for, and what serving it costs: the first mesh, a swap of rules, changes, clients that stand still. Not a
//! test: it prints each figure beside its goal. Over TLS on loopback; decoding is not in the figures of the first mesh. Where
//! memory is asked about, the agent is the real one in a process of its own. Run by `cargo xtask bench` or, after `cargo xtask
//! build`, by `cargo bench --profile dev --bench xds`, with the name of a part to run that alone.
//!
//! Times are wall clock, and clients, control plane and agent share the machine: run it on a quiet one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop where it is"
)]

use anyhow::Result;

#[path = "xds/between.rs"]
mod between;
#[path = "xds/figures.rs"]
mod figures;
#[path = "xds/meshes.rs"]
mod meshes;
#[path = "xds/own.rs"]
mod own;
#[path = "xds/served.rs"]
mod served;

fn main() -> Result<()> {
    // `cargo test` runs benchmarks too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let only = std::env::args().skip(1).find(|argument| argument != "--bench");
    let is_wanted = |part: &str| only.as_ref().is_none_or(|only| only == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if is_wanted("lean") {
        between::first(&runtime, "a mesh of as few fields as it can have", meshes::lean(meshes::Bound::Nothing))?;
    }
    if is_wanted("full") {
        between::first(&runtime, "the generated mesh", meshes::full()?)?;
    }
    if is_wanted("rewriting") {
        between::rewriting(&runtime)?;
    }
    if is_wanted("changing") {
        between::changing(&runtime)?;
    }
    if is_wanted("files") {
        own::from_files(&runtime)?;
    }
    if is_wanted("built") {
        runtime.block_on(own::built())?;
    }
    Ok(())
}
