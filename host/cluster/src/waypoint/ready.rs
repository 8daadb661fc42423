//! Waiting for waypoints to become ready: by one watch, for all of them, and not for longer than was said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use model::gateway::GatewayKey;
use model::{Kind, Store};

use super::objects::{At, Got};
use super::seen::{Readiness, Scope, Waypoint, classes};
use crate::connect::Cluster;
use crate::error::Error;
use crate::raw::Raw;

/// What became of a wait.
#[derive(Debug)]
pub struct Waited {
    /// The waypoints as they were last seen; none: there is no such Gateway.
    pub seen: BTreeMap<GatewayKey, Option<Waypoint>>,
    /// Why the API server did not say more, where the time was over before everything was ready.
    pub trouble: Option<Error>,
}

impl Waited {
    /// Those that are not ready, and why.
    pub fn missing(&self) -> Vec<(&GatewayKey, Readiness)> {
        let state = |it: &Option<Waypoint>| it.as_ref().map_or(Readiness::Absent, Waypoint::readiness);
        let states = self.seen.iter().map(|(key, waypoint)| (key, state(waypoint)));
        states.filter(|(_, state)| *state != Readiness::Ready).collect()
    }
}

/// Waits until all of these are ready, or the time is over. `tell` is told what each lacks, whenever that is something else.
///
/// # Errors
/// What no waiting mends: no permission, or no Gateway API. Trouble that may pass is waited through.
pub async fn await_ready(
    cluster: &Cluster,
    scope: &Scope,
    wanted: &BTreeSet<GatewayKey>,
    limit: Duration,
    tell: &mut dyn FnMut(&GatewayKey, &Readiness),
) -> Result<Waited, Error> {
    let mut waiting = Waiting {
        classes: classes(cluster).await?.0,
        seen: wanted.iter().map(|key| (key.clone(), None)).collect(),
        listed: BTreeSet::new(),
        told: BTreeMap::new(),
        trouble: None,
    };
    let over = tokio::time::timeout(limit, waiting.follow(cluster, scope, tell)).await;
    if let Ok(done) = over {
        done?;
        waiting.trouble = None;
    }
    Ok(Waited { seen: waiting.seen, trouble: waiting.trouble })
}

struct Waiting {
    classes: Store,
    seen: BTreeMap<GatewayKey, Option<Waypoint>>,
    /// What the list has that is being read.
    listed: BTreeSet<GatewayKey>,
    told: BTreeMap<GatewayKey, Readiness>,
    trouble: Option<Error>,
}

impl Waiting {
    async fn follow(
        &mut self,
        cluster: &Cluster,
        scope: &Scope,
        tell: &mut dyn FnMut(&GatewayKey, &Readiness),
    ) -> Result<(), Error> {
        let at = At { kind: Kind::Gateway, namespace: scope.namespace(), name: "" };
        // One is watched by its name, several with all that are in the scope.
        let config = match self.seen.keys().next().filter(|_| self.seen.len() == 1) {
            Some(key) => watcher::Config::default().fields(&format!("metadata.name={}", key.name)),
            None => watcher::Config::default(),
        };
        let mut events = std::pin::pin!(watcher(at.api(cluster), config).default_backoff());
        while let Some(event) = events.next().await {
            let whole = match event {
                Ok(event) => self.take(event),
                Err(error) => {
                    self.trouble = trouble(at, error)?;
                    false
                }
            };
            self.tell(whole, tell);
            if whole && self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Whether nothing is left to wait for.
    fn is_over(&self) -> bool {
        self.seen.values().all(|it| it.as_ref().is_some_and(|it| it.readiness() == Readiness::Ready))
    }

    /// Takes an event; whether everything is known now.
    fn take(&mut self, event: watcher::Event<Raw>) -> bool {
        self.trouble = None;
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                false
            }
            watcher::Event::InitApply(raw) => {
                if let Some(key) = self.put(&raw) {
                    self.listed.insert(key);
                }
                false
            }
            watcher::Event::InitDone => {
                for (key, waypoint) in &mut self.seen {
                    if !self.listed.contains(key) {
                        *waypoint = None;
                    }
                }
                true
            }
            watcher::Event::Apply(raw) => {
                self.put(&raw);
                true
            }
            watcher::Event::Delete(raw) => {
                let (namespace, name) = raw.names();
                if let Some(waypoint) = self.seen.get_mut(&GatewayKey::new(namespace, name)) {
                    *waypoint = None;
                }
                true
            }
        }
    }

    fn put(&mut self, raw: &Raw) -> Option<GatewayKey> {
        let (namespace, name) = raw.names();
        let key = GatewayKey::new(namespace, name);
        let slot = self.seen.get_mut(&key)?;
        match Got::read(At { kind: Kind::Gateway, namespace, name }, raw) {
            Ok(got) => *slot = Waypoint::of(got, &self.classes),
            Err(error) => self.trouble = Some(error),
        }
        Some(key)
    }

    fn tell(&mut self, whole: bool, tell: &mut dyn FnMut(&GatewayKey, &Readiness)) {
        for (key, waypoint) in self.seen.iter().filter(|_| whole) {
            let state = waypoint.as_ref().map_or(Readiness::Absent, Waypoint::readiness);
            if self.told.get(key) != Some(&state) {
                tell(key, &state);
                self.told.insert(key.clone(), state);
            }
        }
    }
}

/// What a watch met: an error where waiting does not help.
fn trouble(at: At<'_>, error: watcher::Error) -> Result<Option<Error>, Error> {
    match at.following(error) {
        Some(error @ (Error::Forbidden { .. } | Error::Unauthorized { .. } | Error::NoSuchKind { .. })) => Err(error),
        passing => Ok(passing),
    }
}
