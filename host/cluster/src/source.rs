//! Follows the objects of the model in the API server: lists them in pages, watches from there, lists again where the watch was lost.
//!
//! One stream for each kind, so that a kind that we may not read, or that is not installed, holds up no other. kube's watcher
//! resumes and lists anew; what is here is what follows from it: an object that a second list does not have any more is gone, one
//! that cannot be read stays as it was, and a watch that goes backwards is not believed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use manifest::{Limits, ObjectReader};
use model::store::Event;
use model::{Kind, Name, ObjectKey};
use tokio::sync::mpsc;

use crate::connect::Cluster;
use crate::error::Error;
use crate::kinds::{PAGE, about, resource, watch};
use crate::raw::Raw;
use crate::ready;

mod unread;

use unread::Unread;

/// Objects that are taken from the stream at once.
const CHUNK: usize = 512;

/// Watches in a row that fail, after which the kind is listed anew instead of resumed: what a server that was restored from a
/// backup needs, for which our version lies in the future.
const FAILURES_MAX: u32 = 8;

/// A stream that had failed and says nothing for this long is well again; kube tries at least every 30 s.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// What the source has to say, in order.
#[derive(Debug)]
pub enum Told {
    /// Objects came, changed or went.
    Events(Vec<Event>),
    /// How it stands with a kind; told when that changes.
    State(Kind, State),
    /// The objects of a kind that cannot be read now, a line each for the first of them and one that counts the rest; told when
    /// that changes. What was known of them stays.
    Unread(Kind, Vec<String>),
}

/// How it stands with a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it was told, and changes are followed.
    Followed,
    /// It is not installed: there are none. Looked for every 30 s.
    Absent,
    /// We may not read it: none are known. Tried every 30 s.
    Forbidden(String),
    /// The API server does not answer, or not so that it helps; what was told stays. Tried at least every 30 s.
    Behind(String),
}

impl State {
    /// Whether there is nothing to wait for: another look tells nothing more than this one.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Behind(_))
    }

    /// One line about what is wrong, if something is.
    pub fn problem(&self, kind: Kind) -> Option<String> {
        match self {
            Self::Followed | Self::Absent => None,
            Self::Forbidden(why) => Some(format!("no {kind} is known: {why}")),
            Self::Behind(why) => Some(format!("{kind} may be out of date: {why}")),
        }
    }
}

/// Follows these kinds until nobody listens any more. Never ends by itself. `known` was told already, from what an earlier
/// process kept: what of it is gone by now is told as gone.
pub async fn follow(cluster: &Cluster, kinds: &[Kind], known: &[ObjectKey], told: mpsc::Sender<Told>) {
    let follower = |kind: &Kind| Follower::new(*kind, known, told.clone()).run(cluster);
    join_all(kinds.iter().map(follower)).await;
}

/// Nobody listens any more.
struct Gone;

/// What failed. A list that failed is tried again with ever longer pauses; a watch is resumed where it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    List,
    Watch,
}

impl Failed {
    fn of(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(_) | watcher::Error::NoResourceVersion => Self::List,
            _ => Self::Watch,
        }
    }
}

/// One kind.
struct Follower {
    kind: Kind,
    told: mpsc::Sender<Told>,
    reader: ObjectReader,
    state: Option<State>,
    /// What was told, with the version of it; 0 where that is no number.
    known: HashMap<(Name, Name), u64>,
    /// What the list has that is being read.
    listed: Option<HashSet<(Name, Name)>>,
    unread: Unread,
    failures: u32,
}

impl Follower {
    fn new(kind: Kind, known: &[ObjectKey], told: mpsc::Sender<Told>) -> Self {
        let known = known.iter().filter(|key| key.kind == kind);
        Self {
            known: known.map(|key| ((key.namespace.clone(), key.name.clone()), 0)).collect(),
            kind,
            told,
            reader: ObjectReader::new(Limits::default()),
            state: None,
            listed: None,
            unread: Unread::default(),
            failures: 0,
        }
    }

    async fn run(mut self, cluster: &Cluster) {
        let resource = resource(self.kind);
        loop {
            let config = watcher::Config::default().page_size(PAGE);
            let stream = ready::chunks(watch(cluster, self.kind, &resource, config).default_backoff(), CHUNK);
            let failed = |error| {
                let what = Failed::of(&error);
                about("watch", &resource).following(error).map(|error| (what, error))
            };
            match self.read(stream, failed).await {
                Err(Gone) => return,
                Ok(()) => tracing::info!(kind = %self.kind, "listing anew"),
            }
        }
    }

    /// Reads until it is better to begin anew.
    async fn read(
        &mut self,
        stream: impl Stream<Item = Vec<watcher::Result<watcher::Event<Raw>>>>,
        failed: impl Fn(watcher::Error) -> Option<(Failed, Error)>,
    ) -> Result<(), Gone> {
        let mut stream = std::pin::pin!(stream);
        self.failures = 0;
        loop {
            let next = match tokio::time::timeout(WELL_AFTER, stream.next()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(()),
                Err(_quiet) => {
                    // While a list is read this is a server that does not answer.
                    if self.listed.is_none() && matches!(self.state, Some(State::Behind(_))) {
                        self.set_state(State::Followed).await?;
                    }
                    continue;
                }
            };
            let mut events = Vec::new();
            let (mut state, mut is_lost) = (None, false);
            for item in next {
                match item {
                    Ok(event) => {
                        self.failures = 0;
                        if let watcher::Event::InitDone = event {
                            state = Some(State::Followed);
                        }
                        self.take(event, &mut events);
                    }
                    Err(error) => {
                        let Some((what, error)) = failed(error) else { continue };
                        self.failures += u32::from(what == Failed::Watch);
                        // kube would ask for ever for a watch of a kind whose definition was removed; only a list shows that
                        // it is there again.
                        is_lost |= what == Failed::Watch && matches!(error, Error::NoSuchKind { .. });
                        state = Some(self.failed(&error, &mut events));
                    }
                }
            }
            if !events.is_empty() {
                self.told.send(Told::Events(events)).await.map_err(|_| Gone)?;
            }
            if let Some(lines) = self.unread.news(self.kind) {
                self.told.send(Told::Unread(self.kind, lines)).await.map_err(|_| Gone)?;
            }
            // After the events: who waits for a kind to be whole has it by then.
            if let Some(state) = state {
                self.set_state(state).await?;
            }
            if is_lost || self.failures >= FAILURES_MAX {
                return Ok(());
            }
        }
    }

    fn take(&mut self, event: watcher::Event<Raw>, events: &mut Vec<Event>) {
        match event {
            watcher::Event::Init => self.listed = Some(HashSet::new()),
            watcher::Event::InitApply(raw) => self.apply(&raw, events),
            watcher::Event::Apply(raw) if self.is_older(&raw) => self.disbelieve(&raw),
            watcher::Event::Apply(raw) => self.apply(&raw, events),
            watcher::Event::Delete(raw) if self.is_older(&raw) => self.disbelieve(&raw),
            watcher::Event::Delete(raw) => {
                let (namespace, name) = raw.names();
                self.unread.remove(namespace, name);
                if let Some(((namespace, name), _)) = self.known.remove_entry(&(namespace.into(), name.into())) {
                    events.push(Event::Delete(ObjectKey { kind: self.kind, namespace, name }));
                }
            }
            watcher::Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let gone: Vec<_> = self.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                self.unread.retain(&listed);
                events.extend(gone.into_iter().map(|key| self.forget(key)));
            }
        }
    }

    fn forget(&mut self, key: (Name, Name)) -> Event {
        self.known.remove(&key);
        let (namespace, name) = key;
        Event::Delete(ObjectKey { kind: self.kind, namespace, name })
    }

    fn apply(&mut self, raw: &Raw, events: &mut Vec<Event>) {
        let (namespace, name) = raw.names();
        let version = raw.version().unwrap_or_default();
        match self.reader.read(self.kind, raw.json()) {
            Ok(mut object) => {
                crate::labels::hide(&mut object);
                self.unread.remove(namespace, name);
                let key = object.key();
                let key = (key.namespace, key.name);
                if let Some(listed) = &mut self.listed {
                    listed.insert(key.clone());
                }
                self.known.insert(key, version);
                events.push(Event::Apply(object));
            }
            Err(unread) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert((namespace.into(), name.into()));
                }
                self.unread.insert(namespace, name, unread.to_string());
            }
        }
    }

    /// Whether we were told something newer of it before.
    fn is_older(&self, raw: &Raw) -> bool {
        let (namespace, name) = raw.names();
        let known = self.known.get(&(namespace.into(), name.into()));
        known.zip(raw.version()).is_some_and(|(known, version)| version < *known)
    }

    fn disbelieve(&self, raw: &Raw) {
        let (namespace, name) = raw.names();
        tracing::warn!(kind = %self.kind, namespace, name, "the watch went backwards; what is newer stays");
    }

    fn failed(&mut self, error: &Error, events: &mut Vec<Event>) -> State {
        match error {
            Error::NoSuchKind { .. } => {
                // Its definition was removed, and all objects with it.
                self.listed = None;
                let known: Vec<_> = self.known.keys().cloned().collect();
                events.extend(known.into_iter().map(|key| self.forget(key)));
                State::Absent
            }
            // What was known before stays: a role that was taken away by mistake must not empty the mesh.
            Error::Forbidden { .. } if self.known.is_empty() => State::Forbidden(error.to_string()),
            error => State::Behind(error.to_string()),
        }
    }

    async fn set_state(&mut self, state: State) -> Result<(), Gone> {
        if self.state.as_ref() == Some(&state) {
            return Ok(());
        }
        self.state = Some(state.clone());
        self.told.send(Told::State(self.kind, state)).await.map_err(|_| Gone)
    }
}
