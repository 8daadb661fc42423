//! The clients as the demo sees them: a child process whose observations are counted as they come, equal ones together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::observation::Observation;
use super::patience::{Patience, wait_for};

/// Different observations that are kept. There are twelve destinations, and a few outcomes under each set of rules.
const KINDS_MAX: usize = 20_000;

/// How often each thing was observed.
pub(super) type Tally = BTreeMap<Observation, u64>;

/// Clients at work.
pub(super) struct Traffic {
    child: Child,
    made: Arc<AtomicU64>,
    newest_rules: Arc<AtomicU64>,
    reader: Option<JoinHandle<Result<Tally>>>,
}

impl Traffic {
    /// Starts the client process: this program, under another word.
    pub(super) fn start(word: &str, arguments: &[OsString]) -> Result<Self> {
        let own = std::env::current_exe().context("this program has no path")?;
        let mut command = Command::new(own);
        command.arg(word).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("the clients cannot be started")?;
        let output = child.stdout.take().context("the clients have no output")?;
        let (made, newest_rules) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (count, newest) = (Arc::clone(&made), Arc::clone(&newest_rules));
        let reader = thread::Builder::new().name("tally".to_owned()).spawn(move || tally(output, &count, &newest))?;
        Ok(Self { child, made, newest_rules, reader: Some(reader) })
    }

    /// Connections so far.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Waits until so many connections were made.
    pub(super) fn wait_made(&mut self, count: u64, patience: Patience) -> Result<()> {
        self.wait("connections", patience, |traffic| traffic.made() >= count)
    }

    /// Waits until a connection was decided by these rules, or later ones.
    pub(super) fn wait_rules(&mut self, rules: u64, patience: Patience) -> Result<()> {
        let is_seen = |traffic: &Self| traffic.newest_rules.load(Ordering::Relaxed) >= rules;
        self.wait("a connection under new rules", patience, is_seen)
    }

    fn wait(&mut self, what: &str, patience: Patience, holds: impl Fn(&Self) -> bool) -> Result<()> {
        wait_for(what, patience, || {
            let is_running = self.child.try_wait()?.is_none();
            ensure!(is_running, "the clients ended early");
            Ok(holds(self).then_some(()))
        })
    }

    /// Tells the clients to stop after the connections they are at, and returns what they saw.
    pub(super) fn stop(mut self) -> Result<Tally> {
        drop(self.child.stdin.take());
        self.finish()
    }

    /// Waits for clients that end by themselves.
    pub(super) fn finish(mut self) -> Result<Tally> {
        let patience = Patience::seconds(20);
        let status = wait_for("the clients to end", patience, || Ok(self.child.try_wait()?))?;
        ensure!(status.success(), "the clients failed ({status})");
        let reader = self.reader.take().context("stopped before")?;
        reader.join().map_err(|_| anyhow!("the tally panicked"))?
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // Nothing to do for those that ended.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn tally(output: ChildStdout, made: &AtomicU64, newest_rules: &AtomicU64) -> Result<Tally> {
    let mut tally = Tally::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("the clients cannot be heard")?;
        let observation: Observation =
            serde_json::from_str(&line).with_context(|| format!("not an observation: {line}"))?;
        newest_rules.fetch_max(observation.record.as_ref().map_or(0, |record| record.rules), Ordering::Relaxed);
        *tally.entry(observation).or_default() += 1;
        ensure!(tally.len() <= KINDS_MAX, "more than {KINDS_MAX} different things were observed");
        made.fetch_add(1, Ordering::Relaxed);
    }
    Ok(tally)
}
