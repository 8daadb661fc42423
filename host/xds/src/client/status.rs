//! How fresh the held mesh is: a mesh with nothing in it, one that nobody has confirmed for a while, and one that was never
//! heard of look the same from the outside and must not be taken for one another.

use std::sync::Arc;
use std::time::Instant;

use super::Event;
use crate::resource::ResourceType;

/// How fresh the held mesh is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing was ever heard: there is nothing to serve.
    Unknown,
    /// It was heard, and nobody confirms it now. It is served all the same.
    Stale {
        /// Since when; none: since before this process started, what is held was persisted.
        since: Option<Instant>,
    },
    /// A control plane is connected and has answered for every type, be it with nothing.
    Fresh,
}

/// Follows the client's events.
#[derive(Clone, Debug)]
pub struct Status {
    freshness: Freshness,
    connected: Option<Arc<str>>,
    last_error: Option<Arc<str>>,
    /// Answered on this stream, by type.
    answered: [bool; ResourceType::ALL.len()],
    /// Streams that were lost or could not be opened.
    pub failures: u64,
    /// Resources that could not be taken up.
    pub rejected: u64,
}

impl Status {
    /// Before the first attempt. `restored`: a persisted mesh is held.
    pub fn new(restored: bool) -> Self {
        Self {
            freshness: if restored { Freshness::Stale { since: None } } else { Freshness::Unknown },
            connected: None,
            last_error: None,
            answered: Default::default(),
            failures: 0,
            rejected: 0,
        }
    }

    /// Follows an event that was received at `now`.
    pub fn observe(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Connected { address } => {
                self.connected = Some(Arc::clone(address));
                self.answered = Default::default();
            }
            Event::Update(update) => {
                self.rejected += update.rejected.len() as u64;
                let types = ResourceType::ALL.into_iter().zip(&mut self.answered);
                types.filter(|(of, _)| *of == update.of).for_each(|(_, answered)| *answered = true);
                if self.answered.iter().all(|answered| *answered) {
                    self.freshness = Freshness::Fresh;
                    self.last_error = None;
                }
            }
            Event::Disconnected { why, .. } => {
                self.failures += 1;
                self.connected = None;
                self.answered = Default::default();
                self.last_error = Some(why.as_str().into());
                if self.freshness == Freshness::Fresh {
                    self.freshness = Freshness::Stale { since: Some(now) };
                }
            }
        }
    }

    /// How fresh the held mesh is.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Who is connected; it may not have answered yet.
    pub fn connected(&self) -> Option<&Arc<str>> {
        self.connected.as_ref()
    }

    /// Why the last stream ended, until another has answered.
    pub fn last_error(&self) -> Option<&Arc<str>> {
        self.last_error.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::state::Update;

    fn answer(of: ResourceType) -> Event {
        Event::Update(Update {
            of,
            changed: Vec::new(),
            removed: Vec::new(),
            rejected: Vec::new(),
            held: Default::default(),
        })
    }

    fn connected() -> Event {
        Event::Connected { address: "a".into() }
    }

    fn lost() -> Event {
        Event::Disconnected { address: "a".into(), why: "broken".into() }
    }

    #[test]
    fn empty_is_fresh_and_only_after_every_type() {
        let (mut status, now) = (Status::new(false), Instant::now());
        status.observe(&connected(), now);
        status.observe(&answer(ResourceType::Address), now);
        assert_eq!(status.freshness(), &Freshness::Unknown);
        status.observe(&answer(ResourceType::Authorization), now);
        assert_eq!(status.freshness(), &Freshness::Fresh);
    }

    #[test]
    fn stale_since_the_loss_until_another_stream_answered_for_all() {
        let (mut status, now) = (Status::new(false), Instant::now());
        let later = now + Duration::from_secs(5);
        for event in [connected(), answer(ResourceType::Address), answer(ResourceType::Authorization), lost()] {
            status.observe(&event, now);
        }
        let stale = Freshness::Stale { since: Some(now) };
        assert_eq!((status.freshness(), status.last_error().map(|it| &**it)), (&stale, Some("broken")));
        for event in [lost(), connected(), answer(ResourceType::Address), lost(), connected()] {
            status.observe(&event, later);
            assert_eq!(status.freshness(), &stale, "since the first loss, whatever is tried: {event:?}");
        }
        status.observe(&answer(ResourceType::Authorization), later);
        assert_eq!(status.freshness(), &stale, "answers of an earlier stream do not count");
        status.observe(&answer(ResourceType::Address), later);
        assert_eq!((status.freshness(), status.failures, status.last_error()), (&Freshness::Fresh, 3, None));
    }

    #[test]
    fn what_was_persisted_is_stale_and_not_unknown() {
        let mut status = Status::new(true);
        status.observe(&lost(), Instant::now());
        assert_eq!(status.freshness(), &Freshness::Stale { since: None });
    }
}
