//! The kernel side against a real kernel: a cgroup of its own per test, loopback addresses, and every test asks the records
//! which way a connection went, not only whether it came through.
//!
//! Needs root; without it each test says SKIPPED and passes, unless WAYSWITCH_REQUIRE_KERNEL=1.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "test support stops at the first surprise; a poisoned lock is taken all the same"
)]

#[path = "netns_redirect/harness.rs"]
mod harness;
#[path = "netns_redirect/life.rs"]
mod life;
#[path = "netns_redirect/limits.rs"]
mod limits;
#[path = "netns_redirect/paths.rs"]
mod paths;
#[path = "netns_redirect/purity.rs"]
mod purity;
#[path = "netns_redirect/sink.rs"]
mod sink;
