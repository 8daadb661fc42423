//! Which of the agents writes to the cluster: the one that holds a Lease, and until when it may be sure of that.
//!
//! A Lease alone stops nobody: a process that was stopped for a minute goes on where it was. So whoever writes asks
//! [`Leadership::may_write`] before every single write, by a clock that went on in the meantime, and writes with the version of the
//! object that it decided on: what somebody else wrote since makes it fail.
//!
//! The time of day in a Lease is for people. That a holder is gone is concluded from the Lease not having changed for as long
//! as it says, by our own clock; a holder stops a fifth of that time before.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;

use crate::boot::BootTime;
use crate::connect::Cluster;
use crate::error::{About, Error};

mod election;

use election::Election;

/// Who owns the fields of the Lease.
const MANAGER: &str = "wayswitch-leader";

/// How long after a failure the next attempt is made.
const AGAIN: Duration = Duration::from_secs(1);

/// How long giving the Lease back may take at the end.
const RELEASE_MAX: Duration = Duration::from_secs(3);

/// Who wants to lead, by which Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub lease: String,
    /// What people know this process by: a Pod, or a node. The process is told apart from earlier ones by what is added to it.
    pub name: String,
    /// How long a holder counts after it renewed: 3 s or more. It renews after a third of that.
    pub lease_time: Duration,
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Until when we may write; none: we do not lead.
    pub until: Option<BootTime>,
    /// Since when we lead.
    pub since: Option<BootTime>,
    /// When the Lease was renewed last, if we lead.
    pub renewed: Option<BootTime>,
    /// Who leads, as far as is known.
    pub holder: Option<String>,
}

/// How it stands, shared with who writes.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<watch::Sender<Standing>>);

impl Default for Leadership {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Standing::default())))
    }
}

impl Leadership {
    /// Whether this very moment is one at which we may write.
    pub fn may_write(&self) -> bool {
        self.0.borrow().until.is_some_and(|until| BootTime::now() < until)
    }

    /// How it stands. `until` may have passed.
    pub fn standing(&self) -> Standing {
        self.0.borrow().clone()
    }

    /// Tells whenever it stands otherwise.
    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    fn set(&self, change: impl FnOnce(&mut Standing)) {
        self.0.send_if_modified(|standing| {
            let before = standing.clone();
            change(standing);
            *standing != before
        });
    }

    fn lose(&self) {
        self.set(|standing| (standing.until, standing.since, standing.renewed) = (None, None, None));
    }
}

/// Runs for leader, and leads, until `stop` is there; then the Lease is given back, so that the next one need not wait.
pub async fn campaign(
    cluster: &Cluster,
    candidate: &Candidate,
    leadership: &Leadership,
    stop: impl Future<Output = ()>,
) {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &candidate.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", candidate.lease));
    let mut changes = pin!(watcher(api.clone(), config).default_backoff());
    let mut stop = pin!(stop);
    let mut campaign = Campaign {
        election: Election::new(&candidate.name, candidate.lease_time),
        candidate,
        leadership,
        api,
        last_problem: None,
        listed: None,
    };
    loop {
        let now = BootTime::now();
        let next = campaign.next(now);
        tokio::select! {
            biased;
            () = &mut stop => break,
            change = changes.next() => match change {
                Some(change) => campaign.look(change),
                None => break,
            },
            () = sleep(next.map(|at| at.since(now))) => campaign.act().await,
        }
    }
    campaign.release().await;
}

/// For ever, where there is no time.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

struct Campaign<'a> {
    candidate: &'a Candidate,
    leadership: &'a Leadership,
    api: Api<Lease>,
    election: Election,
    /// Said once, until it is another one.
    last_problem: Option<String>,
    listed: Option<Lease>,
}

impl Campaign<'_> {
    /// When there is something to do, if nothing happens before.
    fn next(&self, now: BootTime) -> Option<BootTime> {
        let until = self.leadership.standing().until;
        let next = self.election.due().into_iter().chain(until).min();
        next.map(|at| at.max(now))
    }

    fn look(&mut self, change: watcher::Result<watcher::Event<Lease>>) {
        match change {
            Ok(watcher::Event::Init) => self.listed = None,
            Ok(watcher::Event::InitApply(lease)) => self.listed = Some(lease),
            Ok(watcher::Event::InitDone) => {
                let listed = self.listed.take();
                self.seen(listed.as_ref(), BootTime::now());
            }
            Ok(watcher::Event::Apply(lease)) => self.seen(Some(&lease), BootTime::now()),
            Ok(watcher::Event::Delete(_)) => self.seen(None, BootTime::now()),
            Err(error) => {
                if let Some(error) = self.about("watch").following(error) {
                    self.problem(&error.to_string());
                }
            }
        }
    }

    fn seen(&mut self, lease: Option<&Lease>, at: BootTime) {
        self.election.seen(lease, at);
        if !self.election.is_ours() && self.leadership.standing().until.is_some() {
            tracing::warn!(holder = self.election.holder(), "another agent leads now");
            self.leadership.lose();
        }
        let holder = self.election.holder().map(str::to_owned);
        self.leadership.set(|standing| standing.holder = holder);
    }

    async fn act(&mut self) {
        let now = BootTime::now();
        if self.leadership.standing().until.is_some_and(|until| until <= now) {
            tracing::warn!("the lease was not renewed in time: this agent does not lead any more");
            self.leadership.lose();
        }
        if self.election.due().is_none_or(|due| due > now) {
            return;
        }
        let lease = self.election.claim(&self.candidate.lease);
        // Before it is sent: nobody can have seen it earlier.
        let sent = BootTime::now();
        let answer = tokio::time::timeout(self.candidate.lease_time / 3, self.write(&lease)).await;
        match answer {
            Ok(Ok(lease)) => self.won(&lease, sent),
            Ok(Err(Error::Conflict { .. })) => {
                // Somebody was faster. What it looks like now is told by the watch as well, but later.
                self.election.failed(BootTime::now().after(AGAIN));
                match tokio::time::timeout(AGAIN, self.api.get_opt(&self.candidate.lease)).await {
                    Ok(Ok(lease)) => self.seen(lease.as_ref(), BootTime::now()),
                    Ok(Err(error)) => self.problem(&self.about("get").failed(error).to_string()),
                    Err(_) => {}
                }
            }
            Ok(Err(error)) => {
                self.election.failed(BootTime::now().after(AGAIN));
                self.problem(&error.to_string());
            }
            Err(_) => {
                self.election.failed(BootTime::now());
                self.problem("the API server does not answer");
            }
        }
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, Error> {
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        // With a version it replaces that version and no other.
        match lease.metadata.resource_version {
            Some(_) => {
                let replaced = self.api.replace(&self.candidate.lease, &params, lease).await;
                replaced.map_err(|error| self.about("update").failed(error))
            }
            None => self.api.create(&params, lease).await.map_err(|error| self.about("create").failed(error)),
        }
    }

    fn about(&self, verb: &'static str) -> About<'_> {
        About {
            verb,
            group: "coordination.k8s.io",
            resource: "leases",
            namespace: &self.candidate.namespace,
            name: &self.candidate.lease,
        }
    }

    fn won(&mut self, lease: &Lease, sent: BootTime) {
        self.election.renewed(lease, sent);
        let until = sent.after(self.candidate.lease_time * 4 / 5);
        let is_new = self.leadership.standing().until.is_none();
        let holder = self.election.holder().map(str::to_owned);
        self.leadership.set(|standing| {
            *standing =
                Standing { until: Some(until), since: standing.since.or(Some(sent)), renewed: Some(sent), holder };
        });
        if is_new {
            tracing::info!(lease = %self, "this agent leads: it writes for the whole cluster");
        }
        self.last_problem = None;
    }

    /// Gives it back, if it is ours.
    async fn release(mut self) {
        // First: from here on nothing is written.
        self.leadership.lose();
        let Some(lease) = self.election.release(&self.candidate.lease) else { return };
        match tokio::time::timeout(RELEASE_MAX, self.write(&lease)).await {
            Ok(Ok(_)) => tracing::info!(lease = %self, "gave the lease back"),
            Ok(Err(error)) => self.problem(&error.to_string()),
            Err(_) => self.problem("the API server does not answer"),
        }
    }

    fn problem(&mut self, what: &str) {
        if self.last_problem.as_deref() != Some(what) {
            tracing::warn!(lease = %self, "{what}");
            self.last_problem = Some(what.to_owned());
        }
    }
}

impl fmt::Display for Campaign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.candidate.namespace, self.candidate.lease)
    }
}
