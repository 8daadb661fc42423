//! What one client still needs: a delta stream as a pure value. Requests go in, the newest snapshot goes in, responses come
//! out. It knows neither sockets nor time.
//!
//! One response of a type is under way at a time: the next one is made when it was answered, from what is newest then. So a
//! client that is slow skips what happened in between and costs no memory but that of the snapshot it last saw.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::fallback::FALLBACKS_MAX;
use crate::proto::discovery::DeltaDiscoveryRequest;
use crate::resource::{ByName, Key, NetworkIp, Resource, ResourceType, Resources, Snapshot, Version};

/// Rejected resources of one answer that are told apart, as many as may be told otherwise; and characters of a name or a
/// reason that are kept.
const REJECTED_MAX: usize = FALLBACKS_MAX;
const REJECTED_CHARS_MAX: usize = 512;

/// Bounds of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Names that one stream may subscribe to, of all types.
    pub names: usize,
    /// Bytes of a name. The protocol's own names are below 1,000: cluster, kind, namespace, name, address.
    pub name_bytes: usize,
    /// Above how many bytes a response is split. A change of rules should be one response, for ztunnel takes up each
    /// response whole.
    pub response_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { names: 10_000, name_bytes: 1024, response_bytes: 64 << 20 }
    }
}

/// A response, not yet encoded.
#[derive(Clone, Debug)]
pub struct Response {
    /// Of which type.
    pub of: ResourceType,
    /// What its answer will carry.
    pub nonce: String,
    /// New and changed resources.
    pub resources: Vec<Sent>,
    /// Names of what is gone, or was asked for and is not there.
    pub removed: Vec<Arc<str>>,
    /// The rules and the revision of the newest snapshot it was made from.
    pub rules: u64,
    /// See `rules`.
    pub revision: u64,
}

/// A resource under the name by which the client knows it: its own, or the address it asked for.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The name.
    pub name: Arc<str>,
    /// The resource.
    pub resource: Arc<Resource>,
}

/// What a request was, besides a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// It answered the response under way.
    pub answered: bool,
    /// It answered a response that is not under way (any more).
    pub stale: bool,
    /// What the client did not take of the response, with its reasons. It keeps what it had of these and took the rest.
    pub rejected: Vec<Rejected>,
}

/// A resource that a client did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The name of the resource; empty where the client did not name one.
    pub name: String,
    /// The client's reason.
    pub reason: String,
    /// The version that it was sent; none where it was not sent a resource of this name.
    pub version: Option<Version>,
}

/// Why a stream cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More names than a stream may have.
    #[error("more than {max} names are subscribed to: subscribe to all with an empty list instead")]
    TooManyNames {
        /// The limit.
        max: usize,
    },
    /// A name that no resource can have.
    #[error("a name of {bytes} bytes is subscribed to; names have at most {max}")]
    LongName {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

/// One stream. See the module.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    responses: u64,
    types: BTreeMap<ResourceType, Subscription>,
}

#[derive(Debug, Default)]
struct Subscription {
    wants: Wants,
    /// What the client has, or is being sent.
    seen: ByName,
    /// What it said that it has from an earlier stream: name and version. Only until the first response.
    retained: Option<BTreeMap<String, String>>,
    /// Names that the next response has to mention whether or not anything changed.
    asked: BTreeSet<Arc<str>>,
    queue: Queue,
    /// The nonce of the response under way.
    pending: Option<String>,
    /// A first response was made: there is one even if there is nothing to say.
    responded: bool,
    /// Everything was asked for anew: the next response says it whole, to a client that may have what is gone by then.
    again: bool,
}

#[derive(Debug, Default)]
enum Wants {
    #[default]
    All,
    Names(Names),
}

/// What a client asked for one by one: names as it wrote them, addresses among them, and the names of the services that
/// those led to, whose workloads it needs as well.
#[derive(Debug, Default)]
struct Names {
    names: BTreeSet<Arc<str>>,
    /// The addresses among them, and by how many of them each is meant: one has several spellings.
    ips: BTreeMap<NetworkIp, usize>,
    found: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Queue {
    resources: VecDeque<Sent>,
    removed: VecDeque<Arc<str>>,
}

impl Session {
    /// A stream that has asked for nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, responses: 0, types: BTreeMap::new() }
    }

    /// Takes a request up. A type that is not known is left alone: the client waits for nothing of it.
    ///
    /// # Errors
    /// When it is beyond the limits: the stream is over.
    pub fn request(&mut self, request: DeltaDiscoveryRequest) -> Result<Answered, Refused> {
        let Some(of) = ResourceType::of_url(&request.type_url) else { return Ok(Answered::default()) };
        let is_first = !self.types.contains_key(&of);
        self.check_names(&request, is_first)?;
        let subscription = self.types.entry(of).or_default();
        if is_first {
            let names = &request.resource_names_subscribe;
            let all = names.iter().any(|it| it == "*") && request.resource_names_unsubscribe.is_empty();
            if !names.is_empty() && !all {
                subscription.wants = Wants::Names(Names::default());
                // What was subscribed to on an earlier stream still is.
                for name in request.initial_resource_versions.keys() {
                    subscription.subscribe(name.as_str().into());
                }
            }
            subscription.retained = Some(request.initial_resource_versions);
        }
        for name in request.resource_names_unsubscribe {
            subscription.unsubscribe(&name);
        }
        for name in request.resource_names_subscribe {
            // Together with its opposite it means: nothing yet.
            if name != "*" {
                subscription.subscribe(name.into());
            } else if !is_first {
                subscription.wants = Wants::All;
                subscription.again = true;
            }
        }
        let answered = subscription.answer(&request.response_nonce, request.error_detail.map(|it| it.message));
        let names = self.types.values().map(|it| if let Wants::Names(it) = &it.wants { it.names.len() } else { 0 });
        if names.sum::<usize>() > self.limits.names {
            return Err(Refused::TooManyNames { max: self.limits.names });
        }
        Ok(answered)
    }

    fn check_names(&self, request: &DeltaDiscoveryRequest, is_first: bool) -> Result<(), Refused> {
        let names = &request.resource_names_subscribe;
        let (max, name_bytes) = (self.limits.names, self.limits.name_bytes);
        if names.len() > max {
            return Err(Refused::TooManyNames { max });
        }
        // With the first names those of an earlier stream are subscribed to as well.
        let earlier = request.initial_resource_versions.keys().filter(|_| is_first && !names.is_empty());
        match names.iter().chain(earlier).find(|name| name.len() > name_bytes) {
            Some(name) => Err(Refused::LongName { bytes: name.len(), max: name_bytes }),
            None => Ok(()),
        }
    }

    /// What is to be sent now, given the newest snapshot; none where there is nothing, where the client has to answer first,
    /// or where no rules have decided yet. Called until it gives none.
    pub fn next(&mut self, newest: &Snapshot) -> Option<Response> {
        if newest.rules == 0 {
            return None;
        }
        let max = self.limits.response_bytes;
        for (&of, subscription) in &mut self.types {
            if subscription.pending.is_some() {
                continue;
            }
            if subscription.queue.is_empty() {
                subscription.fill(newest.of(of));
            }
            if subscription.responded && subscription.queue.is_empty() {
                continue;
            }
            self.responses += 1;
            let nonce = self.responses.to_string();
            let (resources, removed) = subscription.queue.take(max);
            subscription.pending = Some(nonce.clone());
            subscription.responded = true;
            return Some(Response { of, nonce, resources, removed, rules: newest.rules, revision: newest.revision });
        }
        None
    }

    /// Whether the client has yet to answer something.
    pub fn is_waiting(&self) -> bool {
        self.types.values().any(|it| it.pending.is_some())
    }

    /// Whether the client was sent all there is, and took note of it.
    pub fn is_current(&self, newest: &Snapshot) -> bool {
        let is_current = |(of, it): (&ResourceType, &Subscription)| {
            let is_answered = it.responded && it.pending.is_none() && it.queue.is_empty() && !it.again;
            is_answered && it.seen.ptr_eq(newest.of(*of).by_name())
        };
        !self.types.is_empty() && self.types.iter().all(is_current)
    }
}

impl Subscription {
    fn subscribe(&mut self, name: Arc<str>) {
        let Wants::Names(names) = &mut self.wants else { return };
        let is_new = names.names.insert(Arc::clone(&name));
        if let Some(ip) = NetworkIp::parse(&name).filter(|_| is_new) {
            *names.ips.entry(ip).or_default() += 1;
        }
        self.asked.insert(name);
    }

    fn unsubscribe(&mut self, name: &str) {
        if name == "*" && matches!(self.wants, Wants::All) {
            self.wants = Wants::Names(Names::default());
        }
        let Wants::Names(names) = &mut self.wants else { return };
        if names.names.remove(name) {
            names.forget_ip(name);
        }
        self.asked.remove(name);
    }

    fn answer(&mut self, nonce: &str, error: Option<String>) -> Answered {
        if nonce.is_empty() {
            return Answered::default();
        }
        if self.pending.as_deref() != Some(nonce) {
            return Answered { stale: true, ..Answered::default() };
        }
        self.pending = None;
        let mut rejected = error.map(|it| rejections(&it)).unwrap_or_default();
        self.find_versions(&mut rejected);
        Answered { answered: true, stale: false, rejected }
    }

    /// Which versions were rejected: since the last response was made nothing newer was taken up.
    fn find_versions(&self, rejected: &mut [Rejected]) {
        if rejected.is_empty() {
            return;
        }
        let unsent: HashSet<&str> = self.queue.resources.iter().map(|it| &**it.resource.name()).collect();
        for it in rejected.iter_mut().filter(|it| !unsent.contains(it.name.as_str())) {
            it.version = self.seen.get(it.name.as_str()).map(|resource| resource.version());
        }
    }

    /// Puts into the queue what the client needs to have what is newest.
    fn fill(&mut self, newest: &Resources) {
        let before = std::mem::replace(&mut self.seen, newest.by_name().clone());
        let retained = self.retained.take().unwrap_or_default();
        let again = std::mem::take(&mut self.again);
        match &mut self.wants {
            Wants::All if again => self.queue.add_all(&before, newest),
            Wants::All => self.queue.add_difference(&before, newest.by_name(), |_| true),
            Wants::Names(names) => {
                // What was asked for just now is answered whole; before the first response there is nothing else.
                if self.responded && !names.names.is_empty() {
                    names.follow(&before, newest, &mut self.queue);
                }
                names.look_up(&self.asked, newest, &mut self.queue);
                self.queue.say_once();
            }
        }
        if !retained.is_empty() {
            let has =
                |sent: &Sent| retained.get(&*sent.name).is_some_and(|version| sent.resource.version().is(version));
            self.queue.resources.retain(|sent| !has(sent));
            // Names were asked for, and are answered: an address may well be there, under another name.
            let gone = retained.keys().filter(|name| newest.get(name).is_none() && !self.asked.contains(name.as_str()));
            self.queue.removed.extend(gone.map(|name| Arc::from(name.as_str())));
        }
        self.asked.clear();
    }
}

impl Names {
    /// What changed of what is meant. What only now came to where it is asked for brings what stands behind it: that need not
    /// have changed.
    fn follow(&mut self, before: &ByName, newest: &Resources, queue: &mut Queue) {
        for item in before.diff(newest.by_name()) {
            if let DiffItem::Add(name, resource) | DiffItem::Update { new: (name, resource), .. } = item
                && self.ask_for(resource)
                && !self.found.contains(name)
            {
                self.send(name, resource, newest, queue);
            }
        }
        queue.add_difference(before, newest.by_name(), |it| self.mean(it));
    }

    fn forget_ip(&mut self, name: &str) {
        let Some(ip) = NetworkIp::parse(name) else { return };
        if let Some(names) = self.ips.get_mut(&ip) {
            *names -= 1;
            if *names == 0 {
                self.ips.remove(&ip);
            }
        }
    }

    /// Answers each name asked for: with what it means, or that it is not there.
    fn look_up(&mut self, asked: &BTreeSet<Arc<str>>, newest: &Resources, queue: &mut Queue) {
        for name in asked {
            let is_there = newest.get(name).map(|it| self.send(name, it, newest, queue)).is_some();
            let at = NetworkIp::parse(name).map(|ip| newest.at(&Key::Ip(ip)).cloned().collect::<Vec<_>>());
            let found: Vec<_> = at.into_iter().flatten().filter_map(|name| newest.get(&name)).collect();
            for resource in &found {
                self.send(resource.name(), resource, newest, queue);
                // The client waits for the name that it asked for.
                queue.resources.push_back(Sent { name: Arc::clone(name), resource: Arc::clone(resource) });
            }
            if !is_there && found.is_empty() {
                queue.removed.push_back(Arc::clone(name));
            }
        }
    }

    /// A resource, and what stands behind it.
    fn send(&mut self, name: &Arc<str>, resource: &Arc<Resource>, newest: &Resources, queue: &mut Queue) {
        queue.resources.push_back(Sent { name: Arc::clone(name), resource: Arc::clone(resource) });
        self.found.insert(Arc::clone(resource.name()));
        let behind: Vec<_> = newest.at(&Key::Service(Arc::clone(resource.name()))).collect();
        for resource in behind.into_iter().filter_map(|name| newest.get(name)) {
            let sent = Sent { name: Arc::clone(resource.name()), resource: Arc::clone(resource) };
            queue.resources.push_back(sent);
        }
    }

    /// Whether a resource is one of those that were asked for.
    fn ask_for(&self, resource: &Resource) -> bool {
        let is_at = |key: &Key| matches!(key, Key::Ip(ip) if self.ips.contains_key(ip));
        self.names.contains(resource.name()) || resource.keys().iter().any(is_at)
    }

    /// Whether a resource that changed is one of those that were asked for or found, or stands behind one.
    fn mean(&self, resource: &Resource) -> bool {
        let named = |name: &Arc<str>| self.names.contains(name) || self.found.contains(name);
        let is_behind = |key: &Key| matches!(key, Key::Service(service) if named(service));
        named(resource.name()) || self.ask_for(resource) || resource.keys().iter().any(is_behind)
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.removed.is_empty()
    }

    /// Everything there is, and what is no more.
    fn add_all(&mut self, before: &ByName, newest: &Resources) {
        self.removed.extend(before.keys().filter(|name| newest.get(name).is_none()).cloned());
        self.add_difference(&ByName::new(), newest.by_name(), |_| true);
    }

    /// Leaves out what is in it already, under the same name.
    fn say_once(&mut self) {
        let mut said = BTreeSet::new();
        self.resources.retain(|it| said.insert((Arc::clone(&it.name), Arc::clone(it.resource.name()))));
    }

    /// What is different, as far as it is meant.
    fn add_difference(&mut self, before: &ByName, newest: &ByName, meant: impl Fn(&Resource) -> bool) {
        for item in before.diff(newest) {
            match item {
                DiffItem::Add(name, resource) | DiffItem::Update { new: (name, resource), .. } if meant(resource) => {
                    self.resources.push_back(Sent { name: Arc::clone(name), resource: Arc::clone(resource) });
                }
                DiffItem::Remove(name, resource) if meant(resource) => self.removed.push_back(Arc::clone(name)),
                DiffItem::Add(..) | DiffItem::Update { .. } | DiffItem::Remove(..) => {}
            }
        }
    }

    /// The next response's worth: at least one resource, and what is removed with the last.
    fn take(&mut self, max: usize) -> (Vec<Sent>, Vec<Arc<str>>) {
        let mut bytes = 0;
        let fits = |sent: &&Sent| {
            bytes += sent.name.len() + sent.resource.body().len();
            bytes <= max
        };
        let count = self.resources.iter().take_while(fits).count().max(1).min(self.resources.len());
        let resources: Vec<Sent> = self.resources.drain(..count).collect();
        let removed = if self.resources.is_empty() { self.removed.drain(..).collect() } else { Vec::new() };
        (resources, removed)
    }
}

/// The resources that an error names, as ztunnel writes them: `name: reason; name: reason`. The first of them; a client
/// may write what it likes.
fn rejections(error: &str) -> Vec<Rejected> {
    let cut = |text: &str| text.chars().filter(|it| !it.is_control()).take(REJECTED_CHARS_MAX).collect();
    let one = |part: &str| match part.split_once(": ") {
        Some((name, reason)) => Rejected { name: cut(name), reason: cut(reason), version: None },
        None => Rejected { name: String::new(), reason: cut(part), version: None },
    };
    let mut parts = error.split("; ");
    let mut rejected: Vec<Rejected> = parts.by_ref().take(REJECTED_MAX).map(one).collect();
    let more = parts.count();
    if more > 0 {
        rejected.push(Rejected { name: String::new(), reason: format!("and {more} more"), version: None });
    }
    rejected
}

#[cfg(test)]
mod tests;
