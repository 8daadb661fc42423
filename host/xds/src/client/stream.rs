//! One connection to one control plane, from dialling to its end.

use std::fs::File;
use std::future::poll_fn;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::GrpcService as _;
use tonic::codec::{Codec as _, EncodeBody};
use tonic::codegen::http;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use super::incoming::{Incoming, Part};
use super::state::State;
use super::{Config, Event};
use crate::codec::MessageCodec;
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// How often a connection is tried for life, and how long that may take: as a ztunnel does.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(300);
/// Answers that wait to be sent. One goes out for each response, so that many wait only where the server does not read.
const REQUESTS_MAX: usize = 64;
/// Bytes of a token or of a file of certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How a certificate in a PEM file begins.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Why a stream ended, or could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The setting is no address.
    #[error("{address:?} is no address of a control plane; write https://HOST:PORT")]
    Address {
        /// The setting.
        address: String,
    },
    /// A token may only be sent over TLS.
    #[error("a token is configured, and {address:?} is without TLS: it would be readable on the way; use https")]
    Plain {
        /// The setting.
        address: String,
    },
    /// A file cannot be read.
    #[error("cannot read {what} from {path}")]
    File {
        /// What is in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token has characters that no token has.
    #[error("{path} holds no token: it must be one line of ASCII")]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// TLS without roots trusts nobody.
    #[error(
        "no certificates are configured to verify {address:?} with: name a file of its roots, those of the system do not count"
    )]
    NoRoots {
        /// The address.
        address: String,
    },
    /// The file is not what it should be.
    #[error("{path} holds no PEM certificate")]
    Roots {
        /// The file.
        path: PathBuf,
    },
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// It took too long.
    #[error("{address} did not accept a connection within {after:?}")]
    ConnectTimeout {
        /// The address.
        address: String,
        /// The limit.
        after: Duration,
    },
    /// It accepted the stream and did not answer.
    #[error("{address} did not answer for every type within {after:?}")]
    Silent {
        /// The address.
        address: String,
        /// The limit.
        after: Duration,
    },
    /// It ended the stream with an error.
    #[error("{address} ended the stream: {code:?}: {message}")]
    Ended {
        /// The address.
        address: String,
        /// The kind of error.
        code: Code,
        /// Its beginning, without control characters.
        message: String,
    },
    /// It ended the stream without an error.
    #[error("{address} ended the stream")]
    Closed {
        /// The address.
        address: String,
    },
    /// It does not take our answers.
    #[error("{address} does not read what is sent to it [limit: {REQUESTS_MAX} waiting answers]")]
    DoesNotRead {
        /// The address.
        address: String,
    },
    /// More in one response than is taken.
    #[error("{address} sends too much in one response [limit: {what}]")]
    TooMuch {
        /// The address.
        address: String,
        /// Of what.
        what: &'static str,
    },
    /// The other end of the channel is gone.
    #[error("nobody listens any more")]
    NobodyListens,
}

impl StreamError {
    /// Whether the server may do better when it is not told what is held: it refused a request for its size, or said
    /// nothing, perhaps because there was no difference to tell.
    pub(super) fn is_for_versions(&self) -> bool {
        matches!(self, Self::Ended { code: Code::ResourceExhausted, .. } | Self::Silent { .. })
    }
}

/// Connects, and follows the stream until it ends.
pub(super) async fn follow(
    config: &Config,
    address: &str,
    state: &mut State,
    events: &mpsc::Sender<Event>,
) -> StreamError {
    match opened(config, address, state).await {
        Ok((inbound, requests)) => {
            if events.send(Event::Connected { address: address.into() }).await.is_err() {
                return StreamError::NobodyListens;
            }
            let stream = Stream { config, address, requests, events };
            match stream.follow(inbound, state).await {
                Ok(never) => match never {},
                Err(why) => why,
            }
        }
        Err(why) => why,
    }
}

type Opened = (Incoming, mpsc::Sender<DeltaDiscoveryRequest>);

async fn opened(config: &Config, address: &str, state: &mut State) -> Result<Opened, StreamError> {
    let endpoint = endpoint(config, address).await?;
    let connecting = timeout(config.connect_timeout, endpoint.connect()).await;
    let connecting = connecting
        .map_err(|_| StreamError::ConnectTimeout { address: address.to_owned(), after: config.connect_timeout })?;
    let channel = connecting.map_err(|source| StreamError::Connect { address: address.to_owned(), source })?;
    let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
    for request in state.open() {
        // There is room: nothing was sent yet.
        requests.try_send(request).map_err(|_| StreamError::DoesNotRead { address: address.to_owned() })?;
    }
    let mut metadata = MetadataMap::new();
    if let Some(token) = token(config).await? {
        metadata.insert("authorization", token);
    }
    if let Some(cluster_id) = config.cluster_id.as_ref().and_then(|id| id.parse().ok()) {
        metadata.insert("clusterid", cluster_id);
    }
    // Some servers send their headers with the first response only.
    let answer = timeout(config.answer_timeout, asked(channel, metadata, waiting)).await;
    let answer =
        answer.map_err(|_| StreamError::Silent { address: address.to_owned(), after: config.answer_timeout })?;
    let body = answer.map_err(|status| ended(address, &status))?;
    Ok((Incoming::new(body, config.message_bytes_max), requests))
}

/// Opens the stream. By hand: tonic's own puts each response together before anybody sees of it.
async fn asked(
    mut channel: Channel,
    metadata: MetadataMap,
    requests: mpsc::Receiver<DeltaDiscoveryRequest>,
) -> Result<Body, Status> {
    let encoder = MessageCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default().encoder();
    let requests = EncodeBody::new_client(encoder, ReceiverStream::new(requests).map(Ok), None, None);
    let mut request = http::Request::new(Body::new(requests));
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = http::Uri::from_static(METHOD);
    *request.headers_mut() = metadata.into_headers();
    request.headers_mut().insert(http::header::TE, http::HeaderValue::from_static("trailers"));
    request.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
    poll_fn(|context| channel.poll_ready(context)).await.map_err(|why| Status::unavailable(why.to_string()))?;
    let response = channel.call(request).await.map_err(|why| Status::from_error(Box::new(why)))?;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        // Something else listens there, or stands before it.
        None if response.status() != http::StatusCode::OK => {
            Err(Status::unavailable(format!("HTTP status {}", response.status())))
        }
        Some(_) | None => Ok(response.into_body()),
    }
}

/// An open stream.
struct Stream<'a> {
    config: &'a Config,
    address: &'a str,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    events: &'a mpsc::Sender<Event>,
}

impl Stream<'_> {
    async fn follow(&self, mut inbound: Incoming, state: &mut State) -> Result<std::convert::Infallible, StreamError> {
        let address = || self.address.to_owned();
        let answered_by = Instant::now() + self.config.answer_timeout;
        let mut settled_at = answered_by;
        let mut coming = state.coming();
        loop {
            tokio::select! {
                // What is there comes before the conclusion that no more comes: who is told may have kept us.
                biased;
                part = inbound.part() => {
                    let part = part.map_err(|status| ended(self.address, &status))?;
                    settled_at = Instant::now() + self.config.settle;
                    if let Part::Fields(fields) = part.ok_or_else(|| StreamError::Closed { address: address() })? {
                        coming.add(fields);
                        if let Some(what) = coming.exceeded() {
                            return Err(StreamError::TooMuch { address: address(), what });
                        }
                        // More of it may be there already, for as long as it takes to check a mesh.
                        tokio::task::consume_budget().await;
                        continue;
                    }
                    let whole = std::mem::replace(&mut coming, state.coming());
                    let (answer, update) = state.take_up(whole);
                    let sent = self.requests.try_send(answer);
                    // First of all: it is held now, and will not be sent again.
                    self.tell(update).await?;
                    settled_at = Instant::now() + self.config.settle;
                    sent.map_err(|why| match why {
                        TrySendError::Full(_) => StreamError::DoesNotRead { address: address() },
                        // tonic dropped the stream of requests: the reason comes with the responses, or there is none.
                        TrySendError::Closed(_) => StreamError::Closed { address: address() },
                    })?;
                }
                () = sleep_until(answered_by), if !state.is_answered() => {
                    return Err(StreamError::Silent { address: address(), after: self.config.answer_timeout });
                }
                () = sleep_until(settled_at), if state.is_unsettled() => self.tell(state.settle()).await?,
            }
        }
    }

    async fn tell(&self, updates: impl IntoIterator<Item = super::Update>) -> Result<(), StreamError> {
        for update in updates {
            for rejected in update.rejected.iter().take(8) {
                tracing::warn!(address = self.address, name = %rejected.name, why = %rejected.why, "refused a resource");
            }
            self.events.send(Event::Update(update)).await.map_err(|_| StreamError::NobodyListens)?;
        }
        Ok(())
    }
}

/// What can be told of an address without asking anybody: the endpoint, and the file of the roots that it needs.
pub(super) fn planned<'a>(config: &'a Config, address: &str) -> Result<(Endpoint, Option<&'a Path>), StreamError> {
    let wrong = || StreamError::Address { address: address.to_owned() };
    let with_scheme = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let endpoint = Endpoint::from_shared(with_scheme).map_err(|_| wrong())?;
    let endpoint = endpoint
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(TCP_KEEPALIVE))
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    if endpoint.uri().host().is_none() {
        return Err(wrong());
    }
    match endpoint.uri().scheme_str() {
        Some("http") if config.token.is_some() => Err(StreamError::Plain { address: address.to_owned() }),
        Some("http") => Ok((endpoint, None)),
        Some("https") => match &config.roots {
            Some(roots) => Ok((endpoint, Some(roots))),
            None => Err(StreamError::NoRoots { address: address.to_owned() }),
        },
        _ => Err(wrong()),
    }
}

async fn endpoint(config: &Config, address: &str) -> Result<Endpoint, StreamError> {
    let (endpoint, roots) = planned(config, address)?;
    let Some(path) = roots else { return Ok(endpoint) };
    let roots = read("certificates", path).await?;
    // Otherwise nobody would be trusted, and the reason would be looked for at the other end.
    if !roots.windows(PEM.len()).any(|bytes| bytes == PEM) {
        return Err(StreamError::Roots { path: path.to_owned() });
    }
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots));
    if let Some(name) = &config.server_name {
        tls = tls.domain_name(name);
    }
    let connect = |source| StreamError::Connect { address: address.to_owned(), source };
    endpoint.tls_config(tls).map_err(connect)
}

async fn token(config: &Config) -> Result<Option<MetadataValue<Ascii>>, StreamError> {
    let Some(path) = &config.token else { return Ok(None) };
    let bytes = read("the token", path).await?;
    let token = std::str::from_utf8(&bytes).ok().map(str::trim).filter(|token| !token.is_empty());
    let value = token.and_then(|token| format!("Bearer {token}").parse::<MetadataValue<Ascii>>().ok());
    let mut value = value.ok_or_else(|| StreamError::Token { path: path.clone() })?;
    // Neither printed by Debug nor kept in the tables of header compression.
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A file, beside the runtime: it may be on a volume that hangs.
async fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, StreamError> {
    let path = path.to_owned();
    let error = {
        let path = path.clone();
        move |source| StreamError::File { what, path, source }
    };
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    });
    read.await.map_err(std::io::Error::other).and_then(|read| read).map_err(error)
}

fn ended(address: &str, status: &Status) -> StreamError {
    let message = status.message().chars().map(|c| if c.is_control() { ' ' } else { c }).take(512).collect();
    StreamError::Ended { address: address.to_owned(), code: status.code(), message }
}
