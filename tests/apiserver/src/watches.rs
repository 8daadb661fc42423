//! Watches: from the history to lines of JSON, with the faults that tests ask for. One task for each, no queue:
//! a slow client falls behind in the history, and out of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use crate::Shared;
use crate::faults::{Delivery, Order, OrderKind};
use crate::history::Change;
use crate::object::{Form, Object, heading};
use crate::paths::Query;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::selectors::Selector;
use crate::store::{Compacted, Id, Key, Range, Store};

/// A broken connection: what the client sees of a watch that is dropped.
#[derive(Debug, thiserror::Error)]
#[error("the watch is dropped")]
pub(crate) struct Dropped;

/// The sending end of a response body.
pub(crate) type Sender = mpsc::Sender<Result<Bytes, Dropped>>;

/// Bytes collected before they are sent.
const BATCH_BYTES: usize = 256 * 1024;

/// Time for what was sent to leave.
const FLUSH: Duration = Duration::from_millis(20);

/// A watch that was asked for and may be served.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    id: Id,
    resource: Arc<Resource>,
    namespace: Option<String>,
    selector: Selector,
    is_metadata: bool,
    heading: String,
    /// What the client knows.
    position: u64,
    has_bookmarks: bool,
    /// What it is sent before anything else.
    initial: Vec<Arc<Object>>,
    /// Whether it is told where the initial objects end.
    is_streaming_list: bool,
    deadline: Instant,
    sent: u64,
    orders: broadcast::Receiver<Order>,
    newest: watch::Receiver<u64>,
}

struct Line {
    key: Key,
    bytes: Vec<u8>,
}

/// Whether a watch goes on.
enum Next {
    On,
    /// The body ends as it should.
    End,
    /// The connection breaks.
    Break,
}

/// What is watched and how.
pub(crate) struct Asked<'a> {
    pub(crate) id: Id,
    pub(crate) resource: Arc<Resource>,
    pub(crate) api_version: &'a str,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<&'a str>,
    pub(crate) query: &'a Query,
    pub(crate) is_metadata: bool,
}

/// Without `timeoutSeconds` a watch ends after this many.
const TIMEOUT_SECONDS: u64 = 1_800;

impl Watch {
    /// Checks what is asked. The store is locked by the caller.
    pub(crate) fn open(shared: &Arc<Shared>, store: &Store, asked: Asked<'_>) -> Result<Self, Refusal> {
        let Asked { id, resource, api_version, namespace, name, query, is_metadata } = asked;
        let selector = Selector::parse(&resource.plural, query.get("labelSelector"), query.get("fieldSelector"))?;
        let selector = name.map_or(selector.clone(), |name| selector.named(name));
        let is_streaming_list = query.is_on("sendInitialEvents");
        if is_streaming_list && query.get("resourceVersionMatch") != Some("NotOlderThan") {
            let because = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(Refusal::BadRequest(because.to_owned()));
        }
        let asked = query.get("resourceVersion").unwrap_or("0");
        let asked: u64 =
            asked.parse().map_err(|_| Refusal::BadRequest(format!("Invalid value: {asked:?}: resourceVersion")))?;
        let now = store.version();
        if asked > now {
            return Err(Refusal::TooLargeVersion { asked, current: now });
        }
        let begins_with_all = is_streaming_list || (asked == 0 && query.get("sendInitialEvents").is_none());
        let mut initial = Vec::new();
        if begins_with_all {
            let namespace = namespace.as_deref();
            let range = Range { namespace, selector: &selector, at: now, after: None, limit: usize::MAX };
            initial = store.page(id, range).unwrap_or_default().items;
        }
        let position = if begins_with_all || asked == 0 { now } else { asked };
        if shared.faults.is_expired_by_http() && store.since(position).is_err() {
            return Err(expired(position, store));
        }
        let seconds = query.number("timeoutSeconds").filter(|seconds| *seconds > 0).unwrap_or(TIMEOUT_SECONDS);
        Ok(Self {
            heading: heading(api_version, &resource.kind),
            position,
            has_bookmarks: query.is_on("allowWatchBookmarks"),
            initial,
            is_streaming_list,
            deadline: Instant::now() + Duration::from_secs(seconds.min(86_400)),
            sent: 0,
            orders: shared.faults.orders(),
            newest: shared.newest.subscribe(),
            shared: shared.clone(),
            id,
            resource,
            namespace,
            selector,
            is_metadata,
        })
    }

    /// Sends until the client is gone, time is up, or a fault ends it.
    pub(crate) async fn run(mut self, sender: Sender) {
        let period = self.shared.options.bookmark_period;
        let mut bookmarks = interval_at(Instant::now() + period, period);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if !self.send_initial(&sender).await {
            return;
        }
        loop {
            self.newest.borrow_and_update();
            match self.send_changes(&sender).await {
                Next::On => {}
                Next::End => return,
                Next::Break => {
                    // The client may be gone already.
                    drop(sender.send(Err(Dropped)).await);
                    return;
                }
            }
            let deadline = self.deadline;
            let next = tokio::select! {
                order = self.orders.recv() => self.obey(order, &sender).await,
                changed = self.newest.changed() => if changed.is_ok() { Next::On } else { Next::End },
                _ = bookmarks.tick(), if self.has_bookmarks => self.bookmark(&sender, false).await,
                () = sleep_until(deadline) => {
                    if self.has_bookmarks {
                        self.bookmark(&sender, false).await;
                    }
                    Next::End
                }
                () = sender.closed() => Next::End,
            };
            match next {
                Next::On => {}
                Next::End => return,
                Next::Break => {
                    // The client may be gone already.
                    drop(sender.send(Err(Dropped)).await);
                    return;
                }
            }
        }
    }

    fn form(&self) -> Form<'_> {
        if self.is_metadata { Form::Metadata } else { Form::Whole(&self.heading) }
    }

    fn line(&self, kind: &str, object: &Object) -> Vec<u8> {
        let mut bytes = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
        bytes.reserve(object.len() + 128);
        object.write(self.form(), &mut bytes);
        bytes.extend_from_slice(b"}\n");
        bytes
    }

    /// Whether the client is still there.
    async fn send_initial(&mut self, sender: &Sender) -> bool {
        let initial = std::mem::take(&mut self.initial);
        let mut batch = Vec::new();
        for object in initial {
            batch.append(&mut self.line("ADDED", &object));
            if batch.len() >= BATCH_BYTES && sender.send(Ok(std::mem::take(&mut batch).into())).await.is_err() {
                return false;
            }
        }
        if !batch.is_empty() && sender.send(Ok(batch.into())).await.is_err() {
            return false;
        }
        !self.is_streaming_list || matches!(self.bookmark(sender, true).await, Next::On)
    }

    async fn bookmark(&self, sender: &Sender, is_end_of_list: bool) -> Next {
        let mut metadata = json!({"resourceVersion": self.position.to_string(), "creationTimestamp": null});
        if let (true, Some(fields)) = (is_end_of_list, metadata.as_object_mut()) {
            fields.insert("annotations".to_owned(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let heading =
            if self.is_metadata { heading("meta.k8s.io/v1", "PartialObjectMetadata") } else { self.heading.clone() };
        let line = format!("{{\"type\":\"BOOKMARK\",\"object\":{heading}\"metadata\":{metadata}}}}}\n");
        if sender.send(Ok(line.into())).await.is_ok() { Next::On } else { Next::End }
    }

    async fn obey(&mut self, order: Result<Order, broadcast::error::RecvError>, sender: &Sender) -> Next {
        let order = match order {
            Ok(order) => order,
            // Orders that were missed may have been any.
            Err(broadcast::error::RecvError::Lagged(_)) => return Next::Break,
            Err(broadcast::error::RecvError::Closed) => return Next::End,
        };
        if !order.resource.is_empty() && order.resource != self.resource.plural {
            return Next::On;
        }
        let line = match order.what {
            OrderKind::Drop => return Next::Break,
            OrderKind::Expire => {
                let refusal = expired(self.position, &self.shared.store.lock());
                error_line(&refusal)
            }
            OrderKind::Garbage => b"{\"type\":\"ADDED\",\"object\":{\"meta\0 garbage\n".to_vec(),
            OrderKind::Nameless => {
                let version = self.position;
                self.line("ADDED", &Object::new(json!({"metadata": {}, "spec": {}}), version))
            }
            OrderKind::Rewind(versions) => {
                let oldest = self.shared.store.lock().oldest();
                self.position = self.position.saturating_sub(versions).max(oldest);
                return Next::On;
            }
        };
        let is_sent = sender.send(Ok(line.into())).await.is_ok();
        if is_sent && order.what != OrderKind::Expire { Next::On } else { Next::End }
    }

    /// Everything new.
    async fn send_changes(&mut self, sender: &Sender) -> Next {
        loop {
            let delivery = self.shared.faults.delivery();
            if let Some(window) = delivery.reorder_window {
                sleep(window).await;
            }
            let (lines, refusal, is_more, is_served) = self.collect();
            match self.deliver(lines, delivery, sender).await {
                Next::On => {}
                end => return end,
            }
            if let Some(refusal) = refusal {
                // Whether it arrives or not, this is the end.
                drop(sender.send(Ok(error_line(&refusal).into())).await);
                return Next::End;
            }
            if !is_served {
                return Next::End;
            }
            if !is_more {
                return Next::On;
            }
        }
    }

    /// Lines for what happened since, an error if that is no longer known, and whether there is more.
    fn collect(&mut self) -> (Vec<Line>, Option<Refusal>, bool, bool) {
        let shared = self.shared.clone();
        let store = shared.store.lock();
        let is_served = store.is_served(self.id);
        let mut lines = Vec::new();
        let changes = match store.since(self.position) {
            Ok(changes) => changes,
            Err(Compacted) => return (lines, Some(expired(self.position, &store)), false, is_served),
        };
        let mut bytes = 0;
        for change in changes {
            self.position = change.version;
            if let Some(line) = self.event(change) {
                bytes += line.len();
                lines.push(Line { key: change.key.clone(), bytes: line });
            }
            if bytes >= BATCH_BYTES {
                return (lines, None, true, is_served);
            }
        }
        self.position = self.position.max(store.version());
        (lines, None, false, is_served)
    }

    /// What a change is to this watch: to a selector, things come and go that were there all the time.
    fn event(&self, change: &Change) -> Option<Vec<u8>> {
        if change.id != self.id
            || self.namespace.as_deref().is_some_and(|namespace| *change.key.namespace != *namespace)
        {
            return None;
        }
        let before = change.before.as_ref().filter(|before| self.selector.matches(&change.key, before));
        let is_now = !change.is_deletion && self.selector.matches(&change.key, &change.object);
        match (before, is_now) {
            (None, true) => Some(self.line("ADDED", &change.object)),
            (Some(_), true) => Some(self.line("MODIFIED", &change.object)),
            (Some(_), false) if change.is_deletion => Some(self.line("DELETED", &change.object)),
            (Some(before), false) => Some(self.line("DELETED", &Object::new(before.value(), change.version))),
            (None, false) => None,
        }
    }

    async fn deliver(&mut self, mut lines: Vec<Line>, delivery: Delivery, sender: &Sender) -> Next {
        if delivery.reorder_window.is_some() {
            // By a hash of the key, so that those of one object stay in their order.
            lines.sort_by_key(|line| {
                let mut hasher = DefaultHasher::new();
                line.key.hash(&mut hasher);
                hasher.finish()
            });
        }
        let mut batch = Vec::new();
        let mut is_full = false;
        for line in lines {
            batch.extend_from_slice(&line.bytes);
            if delivery.is_duplicated {
                batch.extend_from_slice(&line.bytes);
            }
            self.sent += 1;
            is_full = delivery.drop_after.is_some_and(|max| self.sent >= max);
            // Events in another order must all arrive: the client resumes behind the last it saw.
            if is_full && delivery.reorder_window.is_none() {
                break;
            }
        }
        if !batch.is_empty() && sender.send(Ok(batch.into())).await.is_err() {
            return Next::End;
        }
        if is_full {
            // What was sent shall arrive before the connection breaks, or no client would ever get on.
            sleep(FLUSH).await;
            return Next::Break;
        }
        Next::On
    }
}

fn expired(position: u64, store: &Store) -> Refusal {
    Refusal::Expired { message: format!("too old resource version: {position} ({})", store.version()), resume: None }
}

fn error_line(refusal: &Refusal) -> Vec<u8> {
    let event: Value = json!({"type": "ERROR", "object": refusal.status()});
    format!("{event}\n").into_bytes()
}
