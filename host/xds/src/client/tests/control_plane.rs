//! A control plane that does what a test tells it to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, StreamingService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::LONG;
use crate::codec::MessageCodec;
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

type Answer = Result<DeltaDiscoveryResponse, Status>;

/// A control plane on loopback.
pub(super) struct ControlPlane {
    pub(super) address: SocketAddr,
    streams: mpsc::Receiver<Opened>,
}

/// A stream that a client opened.
pub(super) struct Opened {
    pub(super) metadata: MetadataMap,
    requests: Streaming<DeltaDiscoveryRequest>,
    answers: mpsc::Sender<Answer>,
}

impl ControlPlane {
    pub(super) async fn start() -> Self {
        Self::serve(Server::builder()).await
    }

    /// And the certificate to trust.
    pub(super) async fn start_tls(name: &str) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
        let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        (Self::serve(server).await, made.cert.pem())
    }

    async fn serve(server: Server) -> Self {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = incoming.local_addr().unwrap();
        let (sender, streams) = mpsc::channel(16);
        tokio::spawn(async move { server.serve_with_incoming(Scripted(sender), incoming).await });
        Self { address, streams }
    }

    pub(super) async fn opened(&mut self) -> Opened {
        tokio::time::timeout(LONG, self.streams.recv()).await.expect("a stream").expect("the server runs")
    }
}

impl Opened {
    pub(super) async fn request(&mut self) -> DeltaDiscoveryRequest {
        let message = tokio::time::timeout(LONG, self.requests.message()).await.expect("a request");
        message.unwrap().expect("the client is there")
    }

    pub(super) async fn send(&mut self, response: DeltaDiscoveryResponse) {
        self.answers.send(Ok(response)).await.unwrap();
    }

    pub(super) async fn end(self, status: Status) {
        self.answers.send(Err(status)).await.unwrap();
    }
}

#[derive(Clone)]
struct Scripted(mpsc::Sender<Opened>);

impl StreamingService<DeltaDiscoveryRequest> for Scripted {
    type Response = DeltaDiscoveryResponse;
    type ResponseStream = ReceiverStream<Answer>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let (answers, waiting) = mpsc::channel(16);
        let streams = self.0.clone();
        Box::pin(async move {
            let (metadata, _, requests) = request.into_parts();
            streams.send(Opened { metadata, requests, answers }).await.map_err(|_| Status::aborted("over"))?;
            Ok(Response::new(ReceiverStream::new(waiting)))
        })
    }
}

impl Service<http::Request<Body>> for Scripted {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let scripted = self.clone();
        let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
        assert_eq!(request.uri().path(), path);
        Box::pin(async move {
            let codec = MessageCodec::<DeltaDiscoveryResponse, DeltaDiscoveryRequest>::default();
            Ok(Grpc::new(codec).streaming(scripted, request).await)
        })
    }
}

/// Something that answers whatever it is sent with a web page.
pub(super) async fn html() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let page = "<html>no such page</html>";
            let head =
                format!("HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", page.len());
            let mut first = [0; 64];
            if socket.read(&mut first).await.is_ok() {
                socket.write_all(format!("{head}{page}").as_bytes()).await.ok();
            }
        }
    });
    address
}
