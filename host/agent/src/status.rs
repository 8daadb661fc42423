//! Writing back to the cluster: its flags, the sink that hands decisions over, and the thread that leads and writes.
//!
//! The thread has a runtime of its own: whatever the conductor or a ztunnel does, a lease is renewed in time. What it is
//! handed is always the newest; nobody waits for it.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use cluster::connect::{Access, Cluster};
use cluster::feed::{Decisions, Feed};
use cluster::leader::{Candidate, Leadership, campaign};
use cluster::namespaced_name::NamespacedName;
use cluster::write_back::{self, Config, Mode, Seen};
use model::sink::{Decided, Sink, SinkError, Step};
use model::{Store, Table};
use serde::Deserialize;
use tokio::sync::{oneshot, watch};

use crate::config::AgentConfig;
use crate::published::Published;
use crate::run::{join, spawn};

/// What is written back, and who may.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StatusFlags {
    /// Conditions on Services, ServiceEntries, WorkloadEntries and AuthorizationPolicies: off; compare them with those of istiod and
    /// report where they disagree; or write, where istiod does not. Only one agent of the cluster does it [default: off]
    #[arg(long, env = "WAYSWITCH_CONDITIONS", value_enum)]
    pub conditions: Option<Conditions>,
    /// Write decisions back as istio.io/use-waypoint labels, for an istiod that knows nothing of the rules; never over a label that
    /// somebody else set [default: false]
    #[arg(long, env = "WAYSWITCH_WRITE_LABELS", num_args = 0..=1, default_missing_value = "true")]
    pub write_labels: Option<bool>,
    /// Conditions and labels written a second, at most 1000 [default: 50]
    #[arg(long, env = "WAYSWITCH_WRITES_PER_SECOND", value_name = "N")]
    pub writes_per_second: Option<u32>,
    /// The Lease by which one agent of the cluster may write [default: wayswitch-system/wayswitch-leader]
    #[arg(long, env = "WAYSWITCH_LEASE", value_name = "NAMESPACE/NAME")]
    pub lease: Option<NamespacedName>,
    /// Seconds after which another agent may take the Lease of one that does not renew it, 3 to 600 [default: 15]
    #[arg(long, env = "WAYSWITCH_LEASE_SECONDS", value_name = "N")]
    pub lease_seconds: Option<u64>,
    /// What this agent is called in the Lease [default: the node's name]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub lease_identity: Option<String>,
}

/// What is done about conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conditions {
    /// Nothing.
    #[default]
    Off,
    /// They are compared.
    Compare,
    /// They are written.
    Write,
}

/// The same, checked.
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// What is written.
    pub write: Config,
    /// Who writes.
    pub candidate: Candidate,
}

impl StatusFlags {
    /// With what the configuration file says and no flag.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            conditions: self.conditions.or(file.conditions),
            write_labels: self.write_labels.or(file.write_labels),
            writes_per_second: self.writes_per_second.or(file.writes_per_second),
            lease: self.lease.or(file.lease),
            lease_seconds: self.lease_seconds.or(file.lease_seconds),
            lease_identity: self.lease_identity.or(file.lease_identity),
        }
    }

    /// None: nothing is to be written. `follows`: the objects of the cluster are a source.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub(crate) fn check(self, follows: bool, node: Option<&str>) -> anyhow::Result<Option<StatusConfig>> {
        let conditions = self.conditions.unwrap_or_default();
        let labels = self.write_labels.unwrap_or_default();
        if conditions == Conditions::Off && !labels {
            return Ok(None);
        }
        if !follows {
            bail!("--conditions and --write-labels are about the objects of a cluster: set --kubernetes");
        }
        let usual = || NamespacedName { namespace: "wayswitch-system".to_owned(), name: "wayswitch-leader".to_owned() };
        let lease = self.lease.unwrap_or_else(usual);
        let lease_seconds = self.lease_seconds.unwrap_or(15);
        if !(3..=600).contains(&lease_seconds) {
            bail!("--lease-seconds {lease_seconds}: from 3 to 600");
        }
        let per_second = self.writes_per_second.unwrap_or(50);
        if !(1..=1000).contains(&per_second) {
            bail!("--writes-per-second {per_second}: from 1 to 1000");
        }
        let Some(name) = self.lease_identity.or_else(|| node.map(str::to_owned)) else {
            bail!(
                "--conditions and --write-labels need --node-name or --lease-identity: what this agent is called in the Lease"
            );
        };
        let conditions = match conditions {
            Conditions::Off => Mode::Off,
            Conditions::Compare => Mode::Compare,
            Conditions::Write => Mode::Write,
        };
        let lease_time = Duration::from_secs(lease_seconds);
        let candidate = Candidate { namespace: lease.namespace, lease: lease.name, name, lease_time };
        Ok(Some(StatusConfig { write: Config { conditions, labels, per_second }, candidate }))
    }
}

/// What is decided, on its way to who writes it back.
pub(crate) struct StatusSink {
    feed: Feed,
    published: Arc<Published>,
    prepared: Option<(Store, Table)>,
    /// Committed, and not handed over yet: whose rules it is shows a moment later.
    committed: Option<(Store, Table)>,
    /// Rules that depend on the node, of which it was said.
    told_of: u64,
}

impl StatusSink {
    /// Hands over what was committed, once it is known whose rules it is, and unless the objects may be out of date.
    fn hand_over(&mut self) {
        let rules = self.committed.as_ref().map(|(_, table)| table.rules);
        let Some(is_for_all) = rules.and_then(|rules| self.is_for_all(rules)) else { return };
        if self.is_stale() {
            return;
        }
        if let Some((store, table)) = self.committed.take() {
            self.feed.replace(Decisions { store, table, is_for_all });
        }
    }

    /// Whether these rules decide the same on every node; none while they are not the active ones.
    fn is_for_all(&mut self, rules: u64) -> Option<bool> {
        let active = self.published.active.load_full().filter(|active| active.rules == rules)?;
        let reads_node = active.component.description().reads_node();
        if reads_node && self.told_of != rules {
            self.told_of = rules;
            tracing::warn!(
                component = active.named,
                "the rules depend on the node: decisions are not written to objects, which all nodes share"
            );
        }
        Some(!reads_node)
    }

    fn is_stale(&self) -> bool {
        self.published.kubernetes.load().as_ref().as_ref().is_some_and(|seen| seen.stale_since.is_some())
    }
}

impl Sink for StatusSink {
    fn name(&self) -> &'static str {
        "status"
    }

    fn prepare(&mut self, next: Decided<'_>) -> Result<(), SinkError> {
        self.prepared = Some((next.store.clone(), next.table.clone()));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        let Some(prepared) = self.prepared.take() else {
            return Err(SinkError { sink: self.name(), what: "nothing is prepared: prepare a table first".to_owned() });
        };
        self.committed = Some(prepared);
        self.hand_over();
        Ok(())
    }

    fn abort(&mut self) {
        self.prepared = None;
    }

    fn update(&mut self, now: Decided<'_>, step: &Step) -> Result<(), SinkError> {
        let (store, table) = (now.store.clone(), now.table.clone());
        match self.is_for_all(table.rules) {
            Some(is_for_all) if self.committed.is_none() && !self.is_stale() => {
                self.feed.step(Decisions { store, table, is_for_all }, step);
            }
            // Handed over whole, later.
            _ => {
                self.committed = Some((store, table));
                self.hand_over();
            }
        }
        Ok(())
    }

    fn tend(&mut self) {
        self.hand_over();
    }
}

/// The thread that leads and writes.
pub(crate) struct Writing {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What it needs.
pub(crate) struct Status {
    config: StatusConfig,
    access: Access,
    feed: Feed,
    seen: watch::Sender<Arc<Seen>>,
}

impl Status {
    /// The sink that feeds it, if anything is to be written.
    pub(crate) fn open(
        config: &AgentConfig,
        published: &Arc<Published>,
        sinks: &mut Vec<Box<dyn Sink + Send>>,
    ) -> Option<Self> {
        let (status, kubernetes) = (config.status.clone()?, config.kubernetes.as_ref()?);
        let feed = Feed::new(&status.write.kinds());
        sinks.push(Box::new(StatusSink {
            feed: feed.clone(),
            published: Arc::clone(published),
            prepared: None,
            committed: None,
            told_of: 0,
        }));
        let (access, seen) = (kubernetes.access.clone(), published.status.clone());
        Some(Self { config: status, access, feed, seen })
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// Nothing says which cluster, or there is no thread to be had.
    pub(crate) fn start(self) -> anyhow::Result<Writing> {
        let (stop, stopped) = oneshot::channel();
        let (begun, begins) = sync_channel(1);
        let thread = spawn("status", move || self.run(&begun, stopped))?;
        begins.recv().context("a thread of the agent ended by a defect; see the lines above")??;
        Ok(Writing { stop, thread })
    }

    fn run(self, begun: &SyncSender<anyhow::Result<()>>, stop: oneshot::Receiver<()>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(begun.send(Err(error.into()))),
        };
        runtime.block_on(async {
            let cluster = match Cluster::connect(&self.access).await {
                Ok(cluster) => cluster,
                Err(error) => return drop(begun.send(Err(error.into()))),
            };
            drop(begun.send(Ok(())));
            self.seen.send_modify(|seen| Arc::make_mut(seen).is_on = true);
            let leadership = Leadership::default();
            // Sent or dropped: the same.
            let stop = async { drop(stop.await) };
            tokio::select! {
                () = campaign(&cluster, &self.config.candidate, &leadership, stop) => {}
                () = write_back::run(&cluster, self.config.write, &leadership, &self.feed, &self.seen) => {}
            }
        });
    }
}

impl Writing {
    /// Stops writing, and gives the Lease back.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        join(self.thread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: StatusFlags, follows: bool, node: Option<&str>) -> Result<Option<StatusConfig>, String> {
        flags.check(follows, node).map_err(|error| error.to_string())
    }

    fn writing() -> StatusFlags {
        StatusFlags { conditions: Some(Conditions::Write), ..StatusFlags::default() }
    }

    #[test]
    fn nothing_is_written_unless_it_is_said() {
        assert!(check(StatusFlags::default(), true, Some("n")).unwrap().is_none());
        let config = check(writing(), true, Some("n")).unwrap().unwrap();
        assert_eq!(config.write, Config { conditions: Mode::Write, labels: false, per_second: 50 });
        let Candidate { namespace, lease, name, lease_time } = config.candidate;
        assert_eq!((&*namespace, &*lease, &*name), ("wayswitch-system", "wayswitch-leader", "n"));
        assert_eq!(lease_time, Duration::from_secs(15));
        let named = StatusFlags { lease_identity: Some("pod".to_owned()), ..writing() };
        assert_eq!(check(named, true, Some("n")).unwrap().unwrap().candidate.name, "pod");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |flags: StatusFlags, follows, node, expected: &str| {
            let error = check(flags, follows, node).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        refused(writing(), false, Some("n"), "set --kubernetes");
        refused(writing(), true, None, "--node-name or --lease-identity");
        refused(StatusFlags { lease_seconds: Some(2), ..writing() }, true, Some("n"), "--lease-seconds 2");
        refused(StatusFlags { writes_per_second: Some(0), ..writing() }, true, Some("n"), "--writes-per-second 0");
    }
}
