//! A stand-in for ztunnel as a client of xDS: keeps what ztunnel keeps and answers as it answers, over the real protocol. It
//! sends no traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Streaming};
use xds::proto::authorization::Authorization;
use xds::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Resource, Status};
use xds::proto::workload::address::Type;
use xds::proto::workload::load_balancing::Scope;
use xds::proto::workload::{Address, GatewayAddress, Service, TunnelProtocol, Workload};
use xds::resource::ResourceType;

const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// The largest message that ztunnel takes.
const MESSAGE_MAX: usize = 200 << 20;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a ztunnel has of the mesh.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// By uid.
    pub workloads: BTreeMap<String, Workload>,
    /// By `namespace/hostname`.
    pub services: BTreeMap<String, Service>,
    /// By `namespace/name`.
    pub policies: BTreeMap<String, Authorization>,
    /// Versions of what was taken, by type and name: what is named after a reconnect.
    pub versions: BTreeMap<ResourceType, BTreeMap<String, String>>,
}

impl Kept {
    /// Takes a response up as ztunnel does: each resource by itself, what is bad is left as it was.
    ///
    /// # Errors
    /// What it did not take, `name: reason; name: reason`.
    pub fn take(&mut self, response: &DeltaDiscoveryResponse) -> Result<(), String> {
        let Some(of) = ResourceType::of_url(&response.type_url) else { return Ok(()) };
        let mut rejected = Vec::new();
        for resource in &response.resources {
            match self.put(of, resource) {
                Ok(()) => {
                    self.versions.entry(of).or_default().insert(resource.name.clone(), resource.version.clone());
                }
                Err(reason) => rejected.push(format!("{}: {reason}", resource.name)),
            }
        }
        for name in &response.removed_resources {
            self.versions.entry(of).or_default().remove(name);
            match of {
                ResourceType::Authorization => drop(self.policies.remove(name)),
                // A name with two or more slashes is a uid; others may be either.
                ResourceType::Address => {
                    let was_workload = self.workloads.remove(name).is_some();
                    if !was_workload && name.matches('/').count() < 2 {
                        self.services.remove(name);
                    }
                }
            }
        }
        if rejected.is_empty() { Ok(()) } else { Err(rejected.join("; ")) }
    }

    fn put(&mut self, of: ResourceType, resource: &Resource) -> Result<(), String> {
        let body = resource.resource.as_ref().ok_or("no body")?.value.clone();
        let undecodable = |error: prost::DecodeError| error.to_string();
        match of {
            ResourceType::Authorization => {
                let policy = Authorization::decode(body.as_slice()).map_err(undecodable)?;
                self.policies.insert(resource.name.clone(), policy);
            }
            ResourceType::Address => {
                match Address::decode(body.as_slice()).map_err(undecodable)?.r#type.ok_or("neither")? {
                    Type::Workload(workload) => {
                        check_workload(&workload)?;
                        self.workloads.insert(workload.uid.clone(), workload);
                    }
                    Type::Service(service) => {
                        check_service(&service)?;
                        self.services.insert(format!("{}/{}", service.namespace, service.hostname), service);
                    }
                }
            }
        }
        Ok(())
    }

    /// The first request of a type on a new stream.
    pub fn first_request(&self, of: ResourceType, node: Node) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            node: Some(node),
            type_url: of.url().to_owned(),
            initial_resource_versions: self.versions.get(&of).cloned().unwrap_or_default(),
            ..DeltaDiscoveryRequest::default()
        }
    }
}

/// The answer to a response: an ACK, or a NACK that says what was not taken.
pub fn answer(response: &DeltaDiscoveryResponse, taken: Result<(), String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: taken.err().map(|message| Status { code: 0, message }),
        ..DeltaDiscoveryRequest::default()
    }
}

fn check_address(bytes: &[u8]) -> Result<(), String> {
    if matches!(bytes.len(), 4 | 16) { Ok(()) } else { Err(format!("an address of {} bytes", bytes.len())) }
}

fn check_gateway(gateway: Option<&GatewayAddress>) -> Result<(), String> {
    if gateway.is_some_and(|it| it.destination.is_none()) {
        Err("a gateway without destination".into())
    } else {
        Ok(())
    }
}

fn check_workload(workload: &Workload) -> Result<(), String> {
    workload.addresses.iter().try_for_each(|bytes| check_address(bytes))?;
    check_gateway(workload.waypoint.as_ref())?;
    check_gateway(workload.network_gateway.as_ref())?;
    match TunnelProtocol::try_from(workload.tunnel_protocol) {
        Ok(TunnelProtocol::None | TunnelProtocol::Hbone) => {}
        Ok(TunnelProtocol::LegacyIstioMtls) | Err(_) => return Err("unknown tunnel protocol".into()),
    }
    match workload.services.keys().find(|service| !service.contains('/')) {
        Some(service) => Err(format!("service {service} without namespace")),
        None => Ok(()),
    }
}

fn check_service(service: &Service) -> Result<(), String> {
    for it in &service.addresses {
        check_address(&it.address)?;
        if it.length.is_some_and(|bits| bits as usize > it.address.len() * 8) {
            return Err("a prefix that is too long".into());
        }
    }
    check_gateway(service.waypoint.as_ref())?;
    if service.weighted_waypoints.iter().any(|it| it.destination.as_ref().is_none_or(|it| it.destination.is_none())) {
        return Err("a weighted waypoint without destination".into());
    }
    let scopes = service.load_balancing.iter().flat_map(|it| &it.routing_preference);
    if scopes.into_iter().any(|it| matches!(Scope::try_from(*it), Ok(Scope::UnspecifiedScope) | Err(_))) {
        return Err("unknown scope".into());
    }
    Ok(())
}

/// How a stand-in reaches its server.
#[derive(Clone, Debug)]
pub struct Dial {
    /// `host:port`.
    pub address: String,
    /// The roots that it trusts, PEM.
    pub roots: String,
    /// The name that it expects in the certificate.
    pub server_name: String,
    /// The bearer token.
    pub token: String,
    /// The node that it says it is on.
    pub node: String,
}

/// A stream.
pub struct Ztunnel {
    /// What it has.
    pub kept: Kept,
    requests: mpsc::Sender<Bytes>,
    responses: Streaming<Bytes>,
}

impl Ztunnel {
    /// Connects and asks for both types, with what it kept from an earlier stream.
    ///
    /// # Errors
    /// What the server or the network says.
    pub async fn connect(dial: &Dial, kept: Kept) -> Result<Self> {
        let (mut grpc, request, requests) = open(dial).await?;
        for of in ResourceType::ALL {
            requests.send(kept.first_request(of, node(dial)).encode_to_vec().into()).await?;
        }
        let path = PathAndQuery::from_static(PATH);
        let responses = grpc.streaming(request, path, RawCodec).await?.into_inner();
        Ok(Self { kept, requests, responses })
    }

    /// The next response, not answered yet.
    ///
    /// # Errors
    /// The end of the stream, or patience.
    pub async fn receive(&mut self) -> Result<DeltaDiscoveryResponse> {
        Ok(DeltaDiscoveryResponse::decode(self.receive_raw().await?)?)
    }

    /// The same, as bytes.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn receive_raw(&mut self) -> Result<Bytes> {
        match tokio::time::timeout(PATIENCE, self.responses.message()).await.context("no response")?? {
            Some(response) => Ok(response),
            None => bail!("the stream ended"),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The end of the stream.
    pub async fn send(&self, request: DeltaDiscoveryRequest) -> Result<()> {
        self.send_raw(request.encode_to_vec().into()).await
    }

    /// Sends bytes in the place of a request.
    ///
    /// # Errors
    /// The end of the stream.
    pub async fn send_raw(&self, message: Bytes) -> Result<()> {
        Ok(self.requests.send(message).await?)
    }

    /// Receives a response, takes it up, and answers it.
    ///
    /// # Errors
    /// As the others.
    pub async fn step(&mut self) -> Result<DeltaDiscoveryResponse> {
        let response = self.receive().await?;
        let taken = self.kept.take(&response);
        self.send(answer(&response, taken)).await?;
        Ok(response)
    }

    /// Takes responses up until what it has is as wanted.
    ///
    /// # Errors
    /// As the others.
    pub async fn until(&mut self, wanted: impl Fn(&Kept) -> bool) -> Result<()> {
        while !wanted(&self.kept) {
            self.step().await?;
        }
        Ok(())
    }
}

/// Messages are bytes: requests may be wrong, and when a response is there can be told from when it is decoded.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Opened = (Grpc<Channel>, Request<ReceiverStream<Bytes>>, mpsc::Sender<Bytes>);

async fn open(dial: &Dial) -> Result<Opened> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&dial.roots)).domain_name(&dial.server_name);
    let endpoint =
        Endpoint::from_shared(format!("https://{}", dial.address))?.tls_config(tls)?.connect_timeout(PATIENCE);
    // As ztunnel: a ping every 30 s.
    let endpoint = endpoint.http2_keep_alive_interval(Duration::from_secs(30)).keep_alive_while_idle(true);
    let mut grpc = Grpc::new(endpoint.connect().await?).max_decoding_message_size(MESSAGE_MAX);
    grpc.ready().await?;
    let (requests, outgoing) = mpsc::channel(16);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("authorization", format!("Bearer {}", dial.token).parse()?);
    request.metadata_mut().insert("clusterid", "Kubernetes".parse()?);
    Ok((grpc, request, requests))
}

fn node(dial: &Dial) -> Node {
    let text = |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.to_owned())) };
    let fields = [("NODE_NAME", dial.node.as_str()), ("NAME", "ztunnel-test"), ("NAMESPACE", "istio-system")];
    let fields = fields.map(|(key, value)| (key.to_owned(), text(value))).into();
    Node {
        id: "ztunnel~127.0.0.1~ztunnel-test.istio-system~istio-system.svc.cluster.local".to_owned(),
        metadata: Some(prost_types::Struct { fields }),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Any;

    use super::*;

    fn resource(workload: Workload) -> Resource {
        let name = workload.uid.clone();
        let value = Address { r#type: Some(Type::Workload(workload)) }.encode_to_vec();
        let body = Any { type_url: ResourceType::Address.url().into(), value };
        Resource { name, version: "1".into(), resource: Some(body), aliases: Vec::new() }
    }

    fn response(resources: Vec<Resource>) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            type_url: ResourceType::Address.url().into(),
            nonce: "1".into(),
            resources,
            ..DeltaDiscoveryResponse::default()
        }
    }

    #[test]
    fn what_is_bad_is_left_as_it_was_and_not_remembered() {
        let good = Workload { uid: "c//Pod/ns/good".into(), ..Workload::default() };
        let bad = Workload {
            uid: "c//Pod/ns/bad".into(),
            addresses: vec![Bytes::from_static(b"abc")],
            ..Workload::default()
        };
        let mut kept = Kept::default();
        let taken = kept.take(&response(vec![resource(bad), resource(good)]));
        assert_eq!(taken, Err("c//Pod/ns/bad: an address of 3 bytes".to_owned()));
        assert_eq!(kept.workloads.len(), 1);
        assert_eq!(kept.versions[&ResourceType::Address].len(), 1, "only what was taken is named after a reconnect");
    }
}
