//! What is shown: times and bytes beside their goals, and how much memory a process has.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What is shown of many times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// What a quiet machine comes near to.
    least: Duration,
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
}

impl Spread {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        Self { least: at(0), median: at(50), p99: at(99) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "median {:.2?}, least {:.2?}, p99 {:.2?}", self.median, self.least, self.p99)
    }
}

/// A figure beside its goal.
pub(crate) fn judge(what: &str, reached: bool) {
    println!("  {what}: {}", if reached { "reached" } else { "MISSED" });
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// In megabytes, now.
    pub(crate) resident: f64,
    /// At most so far.
    pub(crate) most: f64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
            let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
            anyhow::Ok(kib * 1024.0 / 1e6)
        };
        Ok(Self { resident: value("VmRSS:")?, most: value("VmHWM:")? })
    }
}

/// Megabytes.
pub(crate) fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
