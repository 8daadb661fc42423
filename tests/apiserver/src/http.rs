//! The edge: connections, and from a request to its response. What is answered is decided in the other files.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER, USER_AGENT, WARNING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::Shared;
use crate::clock;
use crate::faults::Answer;
use crate::lists::List;
use crate::paths::{Query, Route};
use crate::refusal::Refusal;
use crate::requests::{self, Answered, Asked};
use crate::watches::{Dropped, Watch};

type Body = UnsyncBoxBody<Bytes, Dropped>;

/// Bytes of a request body: what the real server accepts.
pub(crate) const BODY_MAX: usize = 3 * 1024 * 1024;

/// Time between attempts to have the port again.
const REBIND: Duration = Duration::from_millis(20);

/// Serves on the listener until the task is aborted. While the server is down the port is closed.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
    let mut downs = shared.faults.downs();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let is_down = *downs.borrow_and_update();
        if is_down {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            // Clients' ends of old connections may hold the port for a moment.
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None if is_down => std::future::pending().await,
                None => {
                    tokio::time::sleep(REBIND).await;
                    Err(std::io::ErrorKind::AddrInUse.into())
                }
            }
        };
        tokio::select! {
            accepted = accepted => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(shared.clone(), stream));
                }
            }
            changed = downs.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    // Small events shall not wait for more.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| respond(shared.clone(), request));
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    // That a connection breaks is not this side's business.
    drop(served);
}

/// An error closes the connection without an answer.
async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let date = clock::http_date(clock::now(shared.faults.clock_skew_seconds()));
    let mut response = match answer(&shared, request).await {
        Ok(answered) => render(answered),
        Err(Refused::Silently) => return Err(Dropped),
        Err(Refused::With(refusal)) => refuse(&refusal),
    };
    if let Ok(date) = date.parse() {
        response.headers_mut().insert(DATE, date);
    }
    Ok(response)
}

enum Refused {
    Silently,
    With(Refusal),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::With(refusal)
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answered, Refused> {
    let (head, body) = request.into_parts();
    let route = Route::parse(head.uri.path());
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let header = |name| text(&head.headers, name);
    let (verb, resource, qualified) = match &route {
        Route::Objects(place) => {
            let dot = if place.group.is_empty() { "" } else { "." };
            (
                verb(&head.method, place.name.is_some(), &query),
                &*place.plural,
                format!("{}{dot}{}", place.plural, place.group),
            )
        }
        _ => ("get", "", head.uri.path().to_owned()),
    };
    shared.audit.count(verb, &qualified);
    if let Some(answer) = shared.faults.refusal(verb, resource) {
        return Err(injected(answer));
    }
    let user = shared.access.lock().authenticate(header(AUTHORIZATION))?;
    if verb == "list" {
        let delay = shared.faults.page_delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
    let body = match head.method {
        Method::GET => Bytes::new(),
        _ => {
            let read = Limited::new(body, BODY_MAX).collect().await;
            read.map_err(|_| Refusal::TooLarge(BODY_MAX))?.to_bytes()
        }
    };
    let asked = Asked {
        route,
        verb,
        query: &query,
        user: &user,
        accept: header(ACCEPT).unwrap_or_default(),
        content_type: header(CONTENT_TYPE).unwrap_or_default(),
        user_agent: header(USER_AGENT).unwrap_or_default(),
        body: &body,
    };
    Ok(requests::answer(shared, &asked)?)
}

fn text(headers: &HeaderMap, name: hyper::header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn verb(method: &Method, is_named: bool, query: &Query) -> &'static str {
    match *method {
        Method::GET | Method::HEAD if query.is_on("watch") => "watch",
        Method::GET | Method::HEAD if is_named => "get",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if is_named => "delete",
        Method::DELETE => "deletecollection",
        _ => "options",
    }
}

fn injected(answer: Answer) -> Refused {
    let (code, message, retry_after) = match answer {
        Answer::Close => return Refused::Silently,
        Answer::InternalError => (500, "Internal error occurred: injected by the test", None),
        Answer::Unavailable => (503, "the server is currently unable to handle the request", None),
        Answer::TooManyRequests(seconds) => (429, "Too many requests, please try again later.", Some(seconds)),
    };
    Refused::With(Refusal::Injected { code, message: message.to_owned(), retry_after })
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn respond_with(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

fn render(answered: Answered) -> Response<Body> {
    match answered {
        Answered::Text(text) => respond_with(200, "text/plain; charset=utf-8", full(text.into())),
        Answered::Json(code, json) => respond_with(code, "application/json", full(json)),
        Answered::List(list) => respond_with(200, "application/json", streamed(list)),
        Answered::Watch(watch) => respond_with(200, "application/json", watched(*watch)),
    }
}

fn streamed(list: List) -> Body {
    let frames = tokio_stream::iter(list.pieces().map(|piece| Ok(Frame::data(Bytes::from(piece)))));
    StreamBody::new(frames).boxed_unsync()
}

fn watched(watch: Watch) -> Body {
    let (sender, receiver) = mpsc::channel(4);
    // It ends with the receiver, which is the body.
    drop(tokio::spawn(watch.run(sender)));
    StreamBody::new(ReceiverStream::new(receiver).map(|bytes| bytes.map(Frame::data))).boxed_unsync()
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let (code, _) = refusal.code();
    if *refusal == Refusal::NotServed {
        return respond_with(code, "text/plain; charset=utf-8", full(format!("{refusal}\n").into_bytes()));
    }
    let status: Value = refusal.status();
    let mut response = respond_with(code, "application/json", full(status.to_string().into_bytes()));
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if matches!(refusal, Refusal::Injected { .. }) {
        // So that nobody takes it for an error of the server itself.
        let warning = hyper::header::HeaderValue::from_static("299 - \"injected by the test\"");
        response.headers_mut().insert(WARNING, warning);
    }
    response
}

/// The Status of a success.
pub(crate) fn success(details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
