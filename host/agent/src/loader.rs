//! Turns what the rules say into candidates, off the serving path: reading, compiling and a first decision of
//! everything happen here; the conductor only publishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cluster::node_rules::Phase;
use engine::{Candidate, Engine, Refusal, Stage};
use model::Store;

use crate::conductor::Message;
use crate::published::Published;
use crate::rules::{Fingerprint, Kept, Place, Rules, Wanted};
use crate::sources::Sources;
use crate::watch::{Due, Watch};

mod turn;

/// How often is looked whether the objects are there by now.
const SYNC_POLL: Duration = Duration::from_millis(20);

/// When refused rules are tried again: after this time, then twice that, and so on up to the other.
const AGAIN_FIRST: Duration = Duration::from_secs(15);
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// Everything the loader needs.
pub(crate) struct Loader {
    pub(crate) rules: Rules,
    pub(crate) engine: Engine,
    pub(crate) store: Arc<ArcSwap<Store>>,
    pub(crate) conductor: SyncSender<Message>,
    pub(crate) stop: Arc<AtomicBool>,
    /// All of them must have been read whole once.
    pub(crate) sources: Sources,
    /// Over how long nodes spread the compiling of a large component.
    pub(crate) spread: Duration,
    /// Who waits says so.
    pub(crate) published: Arc<Published>,
    /// Where the rules in force are kept for a start while a roll-out is paused, if anywhere.
    pub(crate) kept: Option<Kept>,
}

impl Loader {
    /// Looks now and whenever they change, until told to stop or the conductor is gone.
    pub(crate) fn run(self, mut watch: Watch) {
        // Rules over a mesh of which a part was never read would let through what they were made to stop.
        while !self.sources.are_whole() {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            std::thread::sleep(SYNC_POLL);
        }
        let mut state = State { last: Last::Nothing, in_force: false, may_resume: self.kept.is_some() };
        let mut due = Due::Changed(Instant::now());
        loop {
            if self.look(due, &mut state).is_err() {
                return;
            }
            match watch.next(&|| self.stop.load(Ordering::Acquire)) {
                Some(next) => due = next,
                None => return,
            }
        }
    }

    /// Reads the rules and, if they say something new, tries it.
    fn look(&self, due: Due, state: &mut State) -> Result<(), ConductorGone> {
        let at = match due {
            Due::Changed(at) => at,
            Due::Routine => Instant::now(),
        };
        let Some((wanted, before)) = self.news(at, state)? else { return Ok(()) };
        if !self.has_to_wait(&wanted, state) {
            return self.put_in_charge(wanted, before, at, state);
        }
        let running = self.published.running.borrow().clone();
        if !self.wait(&wanted) {
            return Ok(());
        }
        // Whatever came meanwhile counts instead.
        let done = match self.news(Instant::now(), state)? {
            Some((wanted, before)) => self.put_in_charge(wanted, before, Instant::now(), state),
            None => Ok(()),
        };
        // Nothing came of it that said how it stands.
        self.published.running.send_if_modified(|now| {
            let is_waiting = now.state == Phase::Waiting;
            if is_waiting {
                *now = running;
            }
            is_waiting
        });
        done
    }

    /// Whether it had better not be compiled by all nodes at the same time. At a start nobody waits.
    fn has_to_wait(&self, wanted: &Wanted, state: &State) -> bool {
        let bytes = &wanted.source.bytes;
        let is_heard_by_all = matches!(self.rules.place, Place::ConfigMap(..));
        state.in_force && is_heard_by_all && bytes.len() >= turn::LARGE && !self.engine.is_compiled(bytes)
    }

    /// Waits for this node's turn; false when it is time to stop.
    fn wait(&self, wanted: &Wanted) -> bool {
        let wait = turn::wait_of(&self.rules.node, self.spread);
        let (component, seconds) = (&wanted.component, wait.as_secs_f64());
        let why = format!(
            "{component}: {} bytes are compiled {seconds:.1} s from now, for nodes take turns",
            wanted.source.bytes.len()
        );
        tracing::info!("{why}");
        self.published.running.send_modify(|running| (running.state, running.reason) = (Phase::Waiting, why));
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if self.stop.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(SYNC_POLL.min(until.saturating_duration_since(Instant::now())));
        }
        true
    }

    /// Reads the rules: what is to be tried, with how it was refused before; none: nothing.
    fn news(&self, at: Instant, state: &mut State) -> Result<Option<(Wanted, Option<Refused>)>, ConductorGone> {
        let wanted = match self.rules.read(&self.store.load().facts().node.labels) {
            Ok(wanted) => wanted,
            Err(unreadable) => {
                // Said once, and not again with every look, until something else happens.
                let reason = unreadable.refusal.reason.clone();
                if matches!(&state.last, Last::Unreadable(said) if *said == reason) {
                    return Ok(None);
                }
                state.last = Last::Unreadable(reason);
                self.send(Message::Refused { named: unreadable.component, refusal: unreadable.refusal })?;
                return Ok(None);
            }
        };
        // Who is new to a roll-out that is paused takes what it says: something must decide.
        if wanted.paused && (state.in_force || self.resume(at, state)?) {
            return Ok(None);
        }
        let before = match &state.last {
            Last::Accepted(fingerprint) if *fingerprint == wanted.fingerprint => return Ok(None),
            Last::Refused(refused) if refused.fingerprint == wanted.fingerprint => {
                if Instant::now() < refused.again {
                    return Ok(None);
                }
                Some(refused.clone())
            }
            _ => None,
        };
        Ok(Some((wanted, before)))
    }

    fn put_in_charge(
        &self,
        wanted: Wanted,
        before: Option<Refused>,
        at: Instant,
        state: &mut State,
    ) -> Result<(), ConductorGone> {
        let is_aside = state.in_force && wanted.source.bytes.len() >= turn::LARGE;
        match self.attempt(&wanted, is_aside, at, before.as_ref().map(|before| &before.refusal))? {
            None => {
                state.accept(&wanted);
                self.keep(&wanted);
            }
            Some(refusal) => state.last = Last::Refused(Refused::new(wanted.fingerprint, refusal, before)),
        }
        Ok(())
    }

    /// Goes on with the rules that were in force on this node before the agent started, if there are any that still may.
    fn resume(&self, at: Instant, state: &mut State) -> Result<bool, ConductorGone> {
        let kept = self.kept.as_ref().filter(|_| std::mem::take(&mut state.may_resume));
        let wanted = match kept.and_then(|kept| kept.load(&self.rules)) {
            None => return Ok(false),
            Some(Err(it)) => {
                tracing::warn!(component = %it.component, "the rules that were in force here may not decide any more: {}", it.refusal);
                return Ok(false);
            }
            Some(Ok(wanted)) => wanted,
        };
        tracing::info!(component = %wanted.component, "the roll-out is paused: going on with the rules that were in force here");
        let is_accepted = self.attempt(&wanted, false, at, None)?.is_none();
        if is_accepted {
            state.accept(&wanted);
        }
        Ok(is_accepted)
    }

    fn keep(&self, wanted: &Wanted) {
        if let Some(Err(error)) = self.kept.as_ref().map(|kept| kept.keep(wanted)) {
            tracing::warn!("the rules in force cannot be kept for a start while a roll-out is paused: {error:#}");
        }
    }

    /// Tries rules, `is_aside` from all that runs here. What is refused as it was `before` is not told once more.
    fn attempt(
        &self,
        wanted: &Wanted,
        is_aside: bool,
        at: Instant,
        before: Option<&Refusal>,
    ) -> Result<Option<Refusal>, ConductorGone> {
        let named = wanted.component.clone();
        tracing::info!(component = %named, bytes = wanted.source.bytes.len(), again = before.is_some(), "trying new rules");
        let store = self.store.load_full();
        // The number is given when it is published.
        let prepare = || Candidate::prepare(&self.engine, &wanted.source, 0, &store);
        let prepared = if is_aside {
            turn::aside(prepare)
                .unwrap_or_else(|error| Err(Refusal::new(Stage::Compile, format!("no thread to compile in: {error}"))))
        } else {
            prepare()
        };
        match prepared {
            Ok(candidate) => {
                let (done, outcome) = sync_channel(1);
                let changes_max = wanted.changes_max;
                self.send(Message::Candidate { named, at, candidate: Box::new(candidate), changes_max, done })?;
                outcome.recv().map_err(|_| ConductorGone)
            }
            Err(refusal) => {
                if before != Some(&refusal) {
                    self.send(Message::Refused { named, refusal: refusal.clone() })?;
                }
                Ok(Some(refusal))
            }
        }
    }

    fn send(&self, message: Message) -> Result<(), ConductorGone> {
        self.conductor.send(message).map_err(|_| ConductorGone)
    }
}

struct ConductorGone;

/// How far the loader is.
struct State {
    last: Last,
    /// Some rules are.
    in_force: bool,
    /// What an earlier agent had in force was not tried yet.
    may_resume: bool,
}

impl State {
    fn accept(&mut self, wanted: &Wanted) {
        self.last = Last::Accepted(wanted.fingerprint);
        self.in_force = true;
    }
}

enum Last {
    Nothing,
    Unreadable(String),
    Accepted(Fingerprint),
    Refused(Refused),
}

/// Rules that were refused. The cause may lie in the mesh or the kernel and go away, so they are tried again, ever more
/// seldom.
#[derive(Clone)]
struct Refused {
    fingerprint: Fingerprint,
    refusal: Refusal,
    pause: Duration,
    again: Instant,
}

impl Refused {
    fn new(fingerprint: Fingerprint, refusal: Refusal, before: Option<Self>) -> Self {
        let pause = before.map_or(AGAIN_FIRST, |before| (before.pause * 2).min(AGAIN_MAX));
        Self { fingerprint, refusal, pause, again: Instant::now() + pause }
    }
}
