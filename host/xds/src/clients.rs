//! Who is connected, what each of them has taken, and what not: for admin and for counting.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use imbl::{OrdMap, Vector};

use crate::fallback::Then;
use crate::resource::ResourceType;
use crate::session::Rejected;

/// Rejections that are kept for readers; the newest win.
const REJECTED_MAX: usize = 64;

/// A stream of a client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Tells streams apart; never used twice.
    pub id: u64,
    /// Where it comes from.
    pub peer: Option<SocketAddr>,
    /// Whose token it has, as `namespace/service-account`.
    pub identity: Arc<str>,
    /// The id of its Node message; empty before its first request.
    pub node: Arc<str>,
    /// Since when.
    pub since: Instant,
    /// What it was sent and has answered, by type.
    pub types: BTreeMap<ResourceType, Progress>,
}

/// How far a client is with one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Responses sent.
    pub sent: u64,
    /// Resources in them.
    pub resources: u64,
    /// Responses answered.
    pub answered: u64,
    /// The rules of the last response that was sent.
    pub rules_sent: u64,
    /// The revision of the last response that was sent.
    pub revision_sent: u64,
    /// The rules of the last response that was answered.
    pub rules: u64,
    /// The revision of the last response that was answered.
    pub revision: u64,
}

/// A resource that a client did not take.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Which client.
    pub client: u64,
    /// Of which type.
    pub of: ResourceType,
    /// The resource and the client's reason.
    pub rejected: Rejected,
    /// What was done about it.
    pub then: Then,
}

/// Everybody who is connected. Shared between the streams and the readers.
#[derive(Debug, Default)]
pub struct Clients {
    connected: ArcSwap<OrdMap<u64, Arc<ArcSwap<Client>>>>,
    rejections: ArcSwap<Vector<Rejection>>,
    last_id: AtomicU64,
    /// Counters, in the order of [`Counter::ALL`].
    counters: [AtomicU64; Counter::ALL.len()],
}

/// What is counted, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Streams opened.
    Streams,
    /// Streams refused: no or a wrong token, another node, too many.
    Refused,
    /// Responses sent.
    Responses,
    /// Resources in them.
    Resources,
    /// Resources that clients did not take.
    Rejected,
    /// Of them, decisions in whose place all clients are told the fallback since.
    FellBack,
    /// Of them, fallbacks: clients keep what they had.
    FallbackRejected,
    /// Answers to something that was not under way.
    Stale,
    /// Streams ended because an answer did not come.
    Unanswered,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Streams,
        Self::Refused,
        Self::Responses,
        Self::Resources,
        Self::Rejected,
        Self::FellBack,
        Self::FallbackRejected,
        Self::Stale,
        Self::Unanswered,
    ];

    /// The name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Refused => "streams_refused",
            Self::Responses => "responses",
            Self::Resources => "resources_sent",
            Self::Rejected => "resources_rejected",
            Self::FellBack => "decisions_fallen_back",
            Self::FallbackRejected => "fallbacks_rejected",
            Self::Stale => "answers_stale",
            Self::Unanswered => "streams_unanswered",
        }
    }
}

impl Clients {
    /// Counts.
    pub fn count(&self, what: Counter, by: u64) {
        if let Some(counter) = self.counters.get(what as usize) {
            counter.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// All counters by name.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let value = |what: Counter| self.counters.get(what as usize).map_or(0, |it| it.load(Ordering::Relaxed));
        Counter::ALL.map(|what| (what.name().to_owned(), value(what))).into()
    }

    /// Those that are connected, in the order in which they came.
    pub fn connected(&self) -> Vec<Client> {
        self.connected.load().values().map(|client| Client::clone(&client.load())).collect()
    }

    /// The last resources that were not taken, oldest first.
    pub fn rejections(&self) -> Vec<Rejection> {
        self.rejections.load().iter().cloned().collect()
    }

    pub(crate) fn reject(&self, rejection: &Rejection) {
        self.count(Counter::Rejected, 1);
        self.count(Counter::FellBack, u64::from(rejection.then == Then::Fallback));
        self.count(Counter::FallbackRejected, u64::from(rejection.then == Then::FallbackRejected));
        self.rejections.rcu(|rejections| {
            let mut rejections = Vector::clone(rejections);
            if rejections.len() >= REJECTED_MAX {
                rejections.pop_front();
            }
            rejections.push_back(rejection.clone());
            rejections
        });
    }

    /// Lets a client in, unless there are `max` already. It is listed until what is returned is dropped.
    pub(crate) fn enter(self: &Arc<Self>, mut client: Client, max: usize) -> Option<Entered> {
        client.id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let id = client.id;
        let listed = Arc::new(ArcSwap::from_pointee(client.clone()));
        let before = self.connected.rcu(|connected| match connected.len() < max {
            true => Arc::new(connected.update(id, Arc::clone(&listed))),
            false => Arc::clone(connected),
        });
        if before.len() >= max {
            return None;
        }
        self.count(Counter::Streams, 1);
        let place = Arc::new(Place { clients: Arc::clone(self), id });
        Some(Entered { place, client, listed, id })
    }
}

/// A client that is listed.
#[derive(Debug)]
pub(crate) struct Entered {
    place: Arc<Place>,
    client: Client,
    listed: Arc<ArcSwap<Client>>,
    pub(crate) id: u64,
}

impl Entered {
    /// Changes what is listed. Called by one stream about itself only.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Client)) {
        change(&mut self.client);
        self.listed.store(Arc::new(self.client.clone()));
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.place.clients
    }

    /// Its place among those that may be connected, which it has until nobody holds this.
    pub(crate) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }
}

/// See [`Entered::place`].
#[derive(Debug)]
pub(crate) struct Place {
    clients: Arc<Clients>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.connected.rcu(|connected| connected.without(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client {
            id: 0,
            peer: None,
            identity: "istio-system/ztunnel".into(),
            node: "".into(),
            since: Instant::now(),
            types: BTreeMap::new(),
        }
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let clients = Arc::new(Clients::default());
        let first = clients.enter(client(), 2).unwrap();
        let mut second = clients.enter(client(), 2).unwrap();
        assert!(clients.enter(client(), 2).is_none());
        second.change(|client| client.node = "n".into());
        let ids: Vec<_> = clients.connected().iter().map(|it| (it.id, it.node.to_string())).collect();
        assert_eq!(ids, [(first.id, String::new()), (second.id, "n".to_owned())]);
        drop(first);
        let third = clients.enter(client(), 2).unwrap();
        assert!(third.id > second.id, "a number is not used twice");
        assert_eq!(clients.counters()[0], ("streams".to_owned(), 3));
    }

    #[test]
    fn the_newest_rejections_are_kept() {
        let clients = Clients::default();
        for number in 0..REJECTED_MAX as u64 + 1 {
            let rejected = Rejected { name: number.to_string(), reason: String::new(), version: None };
            clients.reject(&Rejection { client: 1, of: ResourceType::Address, rejected, then: Then::Unknown });
        }
        let kept = clients.rejections();
        assert_eq!((kept.len(), &*kept[0].rejected.name), (REJECTED_MAX, "1"));
    }
}
