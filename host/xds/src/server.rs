//! The delta ADS server: the thin edge between streams of ztunnels and their [`Session`]s.
//!
//! Whoever has no valid token is answered nothing. A stream costs one task; it waits for requests, for a newer snapshot, and
//! for the client to take what it was sent, and for no other stream.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::NamedService;
use tonic::{Request, Status, Streaming};

use crate::auth::{Identity, Refused, TokenVerifier, bearer, check_node};
use crate::clients::{Client, Clients, Counter, Entered, Rejection};
use crate::codec::MessageDecoder;
use crate::fallback::{Objections, Then};
use crate::proto::discovery::{DeltaDiscoveryRequest, Node};
use crate::resource::{ResourceType, Snapshot};
use crate::responses::Responses;
use crate::session::{Limits, Rejected, Response, Session};
use crate::tls::incoming::{Incoming, Peer};

const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Largest request: a client that comes back names all it has, some 100 bytes each.
const REQUEST_MAX: usize = 64 << 20;

/// Rejected resources of one answer that the log names; the rest are counted.
const LOGGED_MAX: usize = 64;

/// A ztunnel opens one stream.
const STREAMS_PER_CONNECTION_MAX: u32 = 16;

/// How the server treats its clients.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name; none: clients of any node are served.
    pub node: Option<String>,
    /// Bounds of one stream.
    pub limits: Limits,
    /// Streams at one time: two ztunnels during an upgrade, and some that are broken.
    pub streams_max: usize,
    /// How long a client may take to answer a response.
    pub answer_within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { node: None, limits: Limits::default(), streams_max: 64, answer_within: Duration::from_secs(300) }
    }
}

/// The service `envoy.service.discovery.v3.AggregatedDiscoveryService`, of which it has the one method that ztunnel uses.
#[derive(Clone)]
pub struct Server {
    config: Arc<Config>,
    newest: watch::Receiver<Arc<Snapshot>>,
    verifier: Arc<dyn TokenVerifier>,
    clients: Arc<Clients>,
    objections: Objections,
}

impl Server {
    /// Serves what `newest` holds. When its sender is gone, all streams end.
    pub fn new(
        config: Config,
        newest: watch::Receiver<Arc<Snapshot>>,
        verifier: Arc<dyn TokenVerifier>,
        clients: Arc<Clients>,
    ) -> Self {
        Self { config: Arc::new(config), newest, verifier, clients, objections: Objections::default() }
    }

    /// Says there what clients reject. Without it they keep what they had.
    #[must_use]
    pub fn with_objections(self, objections: Objections) -> Self {
        Self { objections, ..self }
    }

    async fn open(self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Result<Responses, Status> {
        let connection = request.extensions().get::<Peer>().cloned();
        let peer = connection.as_ref().map(Peer::address);
        let identity = match bearer(request.metadata()) {
            Some(token) => self.verifier.verify(&token).await,
            None => Err(Refused::Missing),
        };
        let identity = identity.map_err(|refused| {
            self.clients.count(Counter::Refused, 1);
            tracing::warn!(?peer, "a client of xDS is refused: {refused}");
            refused.status()
        })?;
        if let Some(connection) = connection {
            connection.admit();
        }
        let client = Client {
            id: 0,
            peer,
            identity: identity.to_string().into(),
            node: "".into(),
            since: Instant::now(),
            types: BTreeMap::new(),
        };
        let Some(entered) = self.clients.enter(client, self.config.streams_max) else {
            self.clients.count(Counter::Refused, 1);
            return Err(Status::resource_exhausted(format!("{} streams are open", self.config.streams_max)));
        };
        tracing::info!(client = entered.id, ?peer, %identity, "a client of xDS connected");
        // One that waits for room, besides the one that is being written.
        let (responses, receiver) = mpsc::channel(1);
        let body = Responses::new(receiver, entered.place());
        let stream_of = Stream {
            session: Session::new(self.config.limits),
            under_way: BTreeMap::new(),
            objections: self.objections,
            config: self.config,
            identity,
            entered,
            responses,
        };
        tokio::spawn(stream_of.run(request.into_inner(), self.newest));
        Ok(body)
    }
}

/// Serves until `stop` is ready; streams under way then end. A client that stays silent is looked for every 30 s.
///
/// # Errors
/// When HTTP/2 itself fails; failures of single connections end those alone.
pub async fn serve(
    server: Server,
    incoming: Incoming,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(Some(STREAMS_PER_CONNECTION_MAX))
        .serve_with_incoming_shutdown(server, incoming, stop)
        .await
}

/// One client.
struct Stream {
    config: Arc<Config>,
    identity: Identity,
    session: Session,
    /// Rules and revision of what has to be answered, by type.
    under_way: BTreeMap<ResourceType, (u64, u64)>,
    objections: Objections,
    entered: Entered,
    responses: mpsc::Sender<Result<Response, Status>>,
}

impl Stream {
    async fn run(mut self, requests: Streaming<DeltaDiscoveryRequest>, newest: watch::Receiver<Arc<Snapshot>>) {
        let end = self.follow(requests, newest).await;
        match end {
            Ok(()) => tracing::info!(client = self.entered.id, "a client of xDS is gone"),
            Err(status) => {
                tracing::warn!(client = self.entered.id, "a stream of xDS ends: {}", status.message());
                // It may be gone already.
                let _gone = self.responses.try_send(Err(status));
            }
        }
    }

    async fn follow(
        &mut self,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        mut newest: watch::Receiver<Arc<Snapshot>>,
    ) -> Result<(), Status> {
        let within = self.config.answer_within;
        // By when the client has to have moved on: taken a response that waits for room, or answered one.
        let mut deadline = tokio::time::Instant::now() + within;
        loop {
            let snapshot = Arc::clone(&newest.borrow_and_update());
            while let Some(response) = self.session.next(&snapshot) {
                self.note_sent(&response);
                match tokio::time::timeout(within, self.responses.send(Ok(response))).await {
                    Ok(Ok(())) => deadline = tokio::time::Instant::now() + within,
                    Ok(Err(_)) => return Ok(()),
                    Err(_) => return Err(self.unanswered()),
                }
            }
            // What it holds of the mesh is in the session; a client that waits for nothing keeps no more than that alive.
            drop(snapshot);
            let waits = self.session.is_waiting();
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => if self.take(request)? {
                        deadline = tokio::time::Instant::now() + within;
                    },
                    None => return Ok(()),
                },
                changed = newest.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = self.responses.closed() => return Ok(()),
                () = tokio::time::sleep_until(deadline), if waits => return Err(self.unanswered()),
            }
        }
    }

    fn unanswered(&self) -> Status {
        self.entered.clients().count(Counter::Unanswered, 1);
        let seconds = self.config.answer_within.as_secs();
        Status::deadline_exceeded(format!("a response was not answered within {seconds} s"))
    }

    /// True when it answered something.
    fn take(&mut self, mut request: DeltaDiscoveryRequest) -> Result<bool, Status> {
        if let Some(node) = request.node.take() {
            let claimed = metadata(&node, "NODE_NAME");
            let here = self.config.node.as_deref();
            if let Some(Err(wrong)) = here.map(|here| check_node(&self.identity, claimed, here)) {
                self.entered.clients().count(Counter::Refused, 1);
                return Err(Status::permission_denied(wrong.to_string()));
            }
            let id: String = node.id.chars().filter(|it| !it.is_control()).take(256).collect();
            self.entered.change(|client| client.node = id.into());
        }
        let of = ResourceType::of_url(&request.type_url);
        let answered =
            self.session.request(request).map_err(|refused| Status::resource_exhausted(refused.to_string()))?;
        let clients = self.entered.clients();
        clients.count(Counter::Stale, u64::from(answered.stale));
        let Some(of) = of.filter(|_| answered.answered) else { return Ok(false) };
        self.note_rejected(of, answered.rejected);
        let (rules, revision) = self.under_way.remove(&of).unwrap_or_default();
        self.entered.change(|client| {
            let progress = client.types.entry(of).or_default();
            progress.answered += 1;
            (progress.rules, progress.revision) = (rules, revision);
        });
        Ok(true)
    }

    /// Sees to what a client did not take.
    fn note_rejected(&self, of: ResourceType, rejected: Vec<Rejected>) {
        let client = self.entered.id;
        let more = rejected.len().saturating_sub(LOGGED_MAX);
        let then = self.objections.raise(client, of, &rejected);
        for (at, (rejected, then)) in rejected.into_iter().zip(then).enumerate() {
            let told = match then {
                Then::Fallback => "all clients are told the fallback that is declared",
                Then::FallbackRejected => "it was a fallback: the client keeps what it had, nothing more is tried",
                Then::NotDecided | Then::Same | Then::Superseded | Then::Full | Then::Unknown => {
                    "it keeps what it had of it"
                }
            };
            if at < LOGGED_MAX {
                let (resource, reason) = (&rejected.name, &rejected.reason);
                tracing::warn!(client, resource, reason, then = then.as_str(), "a client rejects a resource; {told}");
            }
            self.entered.clients().reject(&Rejection { client, of, rejected, then });
        }
        if more > 0 {
            tracing::warn!(client, more, "a client rejects more resources than are named here; see /xds of admin");
        }
    }

    fn note_sent(&mut self, response: &Response) {
        let resources = response.resources.len() as u64;
        self.entered.clients().count(Counter::Responses, 1);
        self.entered.clients().count(Counter::Resources, resources);
        self.under_way.insert(response.of, (response.rules, response.revision));
        self.entered.change(|client| {
            let progress = client.types.entry(response.of).or_default();
            progress.sent += 1;
            progress.resources += resources;
            (progress.rules_sent, progress.revision_sent) = (response.rules, response.revision);
        });
    }
}

/// A text in a node's metadata.
fn metadata<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match node.metadata.as_ref()?.fields.get(key)?.kind.as_ref()? {
        prost_types::value::Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

impl NamedService for Server {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("only DeltaAggregatedResources is served").into_http());
            }
            let requests = |body| Streaming::new_request(MessageDecoder::default(), body, None, Some(REQUEST_MAX));
            Ok(match server.open(Request::from_http(request.map(requests))).await {
                Ok(responses) => {
                    let mut response = http::Response::new(Body::new(responses));
                    response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
                    response
                }
                Err(status) => status.into_http(),
            })
        })
    }
}
