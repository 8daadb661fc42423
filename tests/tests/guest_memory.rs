//! What a component can make the host allocate. In a file of its own, for the high-water mark of memory is that of the
//! process: no other test may run beside this one.
#![cfg(target_os = "linux")]

use anyhow::{Context as _, Result};
use engine::{Candidate, Engine, Limits};
use tests::candidate::source;
use tests::guests;
use tests::mesh::{service, store};

/// What these guests would make of their answers is 512 MiB; the limit on answers is 4 MiB, and wasmtime doubles a list
/// while it grows.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// The most memory that this process ever had, in bytes.
fn high_water_mark() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM is no number")?;
    Ok(kilobytes << 10)
}

#[test]
fn an_answer_that_names_one_string_thousands_of_times_costs_the_host_no_more_than_its_limit() -> Result<()> {
    let engine = Engine::new(Limits::default())?;
    let mesh = store([service("a", "cart").into()]);
    // Compiling and a first instance are paid for by a good one.
    Candidate::prepare(&engine, &source(guests::component("well-behaved"), ""), 1, &mesh)?;
    for guest in ["alias-strings", "alias-lists", "describe-huge-list"] {
        let before = high_water_mark()?;
        let refusal = Candidate::prepare(&engine, &source(guests::component(guest), ""), 1, &mesh).err();
        assert_eq!(refusal.and_then(|refusal| refusal.limit).as_deref(), Some("answer 4194304 bytes"), "{guest}");
        let growth = high_water_mark()? - before;
        println!("{guest}: {} KiB", growth >> 10);
        assert!(growth < GROWTH_BYTES_MAX, "{guest} took {growth} bytes");
    }
    Ok(())
}
