//! What a test lets go wrong, while the server runs. The faults are carried out where they happen: `http`, `watches`.

use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::locked::Locked;

/// What an injected refusal looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection closes without an answer.
    Close,
    /// 500 InternalError.
    InternalError,
    /// 503 ServiceUnavailable.
    Unavailable,
    /// 429 with `Retry-After`, in seconds.
    TooManyRequests(u32),
}

/// Which requests are refused; empty matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// As RBAC says it; `list` and `watch` are two.
    pub verb: String,
    /// The plural, without group.
    pub resource: String,
}

impl Matching {
    /// Every request.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Requests with this verb for this plural; empty matches all.
    #[must_use]
    pub fn of(verb: &str, resource: &str) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned() }
    }

    fn matches(&self, verb: &str, resource: &str) -> bool {
        (self.verb.is_empty() || self.verb == verb) && (self.resource.is_empty() || self.resource == resource)
    }
}

/// What is done to every open watch of a kind (empty: of all kinds).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) resource: String,
    pub(crate) what: OrderKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderKind {
    Drop,
    Expire,
    Garbage,
    Nameless,
    Rewind(u64),
}

/// How events are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) drop_after: Option<u64>,
    pub(crate) is_duplicated: bool,
    pub(crate) reorder_window: Option<Duration>,
}

#[derive(Default)]
struct State {
    refusals: Vec<(Matching, Answer, u64)>,
    page_delay: Duration,
    nameless_lists: u64,
    delivery: Delivery,
    is_expired_by_http: bool,
    clock_skew_seconds: i64,
}

/// Switches for everything that can go wrong. All of them may be set at any time and work at once.
pub struct Faults {
    state: Locked<State>,
    orders: broadcast::Sender<Order>,
    is_down: watch::Sender<bool>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self { state: Locked::default(), orders: broadcast::channel(64).0, is_down: watch::channel(false).0 }
    }

    fn order(&self, resource: &str, what: OrderKind) {
        // Without a watch there is nobody to hear it.
        drop(self.orders.send(Order { resource: resource.to_owned(), what }));
    }

    /// Breaks the connection of every watch of this plural (empty: of all).
    pub fn drop_watches(&self, resource: &str) {
        self.order(resource, OrderKind::Drop);
    }

    /// Breaks every watch after so many events; `None` ends it.
    pub fn drop_watches_after(&self, events: Option<u64>) {
        self.state.lock().delivery.drop_after = events;
    }

    /// Ends every watch of this plural (empty: of all) with an ERROR event 410.
    pub fn expire_watches(&self, resource: &str) {
        self.order(resource, OrderKind::Expire);
    }

    /// Whether a watch from a version that is gone gets HTTP 410 rather than 200 and an ERROR event.
    pub fn expire_by_http(&self, is_on: bool) {
        self.state.lock().is_expired_by_http = is_on;
    }

    /// Sends a line that is not JSON to every watch of this plural (empty: of all).
    pub fn garbage(&self, resource: &str) {
        self.order(resource, OrderKind::Garbage);
    }

    /// Sends an event with an object without name to every watch of this plural (empty: of all).
    pub fn nameless_event(&self, resource: &str) {
        self.order(resource, OrderKind::Nameless);
    }

    /// Every watch of this plural (empty: of all) goes back by so many versions and sends again what followed,
    /// so that resourceVersions run backwards; no further than the history goes.
    pub fn rewind_watches(&self, resource: &str, versions: u64) {
        self.order(resource, OrderKind::Rewind(versions));
    }

    /// Sends every event twice.
    pub fn duplicate_events(&self, is_on: bool) {
        self.state.lock().delivery.is_duplicated = is_on;
    }

    /// Collects events for so long and sends them in another order, but never two of one object. `None` ends it.
    pub fn reorder_events(&self, window: Option<Duration>) {
        self.state.lock().delivery.reorder_window = window;
    }

    /// The next so many pages of lists begin with an object without name.
    pub fn nameless_lists(&self, pages: u64) {
        self.state.lock().nameless_lists = pages;
    }

    /// Waits so long before each page of a list.
    pub fn slow_lists(&self, per_page: Duration) {
        self.state.lock().page_delay = per_page;
    }

    /// Refuses the next `times` requests that match; `u64::MAX` until [`Faults::serve_all`].
    pub fn refuse(&self, matching: Matching, answer: Answer, times: u64) {
        self.state.lock().refusals.push((matching, answer, times));
    }

    /// Ends all refusals.
    pub fn serve_all(&self) {
        self.state.lock().refusals.clear();
    }

    /// While down: the port is closed and every connection broken.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.send_replace(is_down);
    }

    /// How far the server's clock is ahead, in seconds: the header `Date` and all timestamps it writes.
    pub fn skew_clock(&self, seconds: i64) {
        self.state.lock().clock_skew_seconds = seconds;
    }

    pub(crate) fn refusal(&self, verb: &str, resource: &str) -> Option<Answer> {
        let mut state = self.state.lock();
        let (_, answer, times) =
            state.refusals.iter_mut().find(|(matching, _, times)| *times > 0 && matching.matches(verb, resource))?;
        let answer = *answer;
        *times = if *times == u64::MAX { *times } else { *times - 1 };
        state.refusals.retain(|(_, _, times)| *times > 0);
        Some(answer)
    }

    pub(crate) fn take_nameless(&self) -> bool {
        let mut state = self.state.lock();
        let is_due = state.nameless_lists > 0;
        state.nameless_lists = state.nameless_lists.saturating_sub(1);
        is_due
    }

    pub(crate) fn page_delay(&self) -> Duration {
        self.state.lock().page_delay
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.state.lock().delivery
    }

    pub(crate) fn is_expired_by_http(&self) -> bool {
        self.state.lock().is_expired_by_http
    }

    pub(crate) fn clock_skew_seconds(&self) -> i64 {
        self.state.lock().clock_skew_seconds
    }

    pub(crate) fn orders(&self) -> broadcast::Receiver<Order> {
        self.orders.subscribe()
    }

    pub(crate) fn downs(&self) -> watch::Receiver<bool> {
        self.is_down.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_used_up_by_what_it_matches() {
        let faults = Faults::new();
        faults.refuse(Matching::of("list", "pods"), Answer::InternalError, 2);
        assert_eq!(faults.refusal("get", "pods"), None);
        assert_eq!(faults.refusal("list", "pods"), Some(Answer::InternalError));
        assert_eq!(faults.refusal("list", "pods"), Some(Answer::InternalError));
        assert_eq!(faults.refusal("list", "pods"), None);
        faults.refuse(Matching::all(), Answer::Close, u64::MAX);
        assert_eq!(faults.refusal("watch", "nodes"), Some(Answer::Close));
        faults.serve_all();
        assert_eq!(faults.refusal("watch", "nodes"), None);
    }
}
