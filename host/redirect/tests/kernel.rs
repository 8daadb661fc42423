//! The kernel side against a real kernel: a cgroup of its own per test, loopback addresses, and every test asks the records
//! which way a connection went, not only whether it came through.
//!
//! Needs root; without it each test says SKIPPED and passes, unless WAYSWITCH_REQUIRE_KERNEL=1.

#[path = "kernel/harness.rs"]
mod harness;
#[path = "kernel/life.rs"]
mod life;
#[path = "kernel/limits.rs"]
mod limits;
#[path = "kernel/paths.rs"]
mod paths;
#[path = "kernel/purity.rs"]
mod purity;
