//! gRPC messages in and out. Responses are written from resources that are encoded already, without a copy of each that
//! only exists to be encoded again.

use std::marker::PhantomData;

use bytes::{Buf, BufMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::proto::discovery::DeltaDiscoveryRequest;
use crate::session::{Response, Sent};

/// How much of a message is buffered before it goes out; a mesh is megabytes.
const BUFFER: usize = 256 << 10;

/// What the server speaks.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerCodec;

impl Codec for ServerCodec {
    type Encode = Response;
    type Decode = DeltaDiscoveryRequest;
    type Encoder = ResponseEncoder;
    type Decoder = MessageDecoder<DeltaDiscoveryRequest>;

    fn encoder(&mut self) -> Self::Encoder {
        ResponseEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

/// Plain messages both ways, for clients.
#[derive(Clone, Copy, Debug)]
pub struct MessageCodec<Out, In>(PhantomData<(Out, In)>);

impl<Out, In> Default for MessageCodec<Out, In> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Out, In> Codec for MessageCodec<Out, In>
where
    Out: Message + 'static,
    In: Message + Default + 'static,
{
    type Encode = Out;
    type Decode = In;
    type Encoder = MessageEncoder<Out>;
    type Decoder = MessageDecoder<In>;

    fn encoder(&mut self) -> Self::Encoder {
        MessageEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

/// Writes a message.
#[derive(Debug)]
pub struct MessageEncoder<M>(PhantomData<M>);

impl<M: Message> Encoder for MessageEncoder<M> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, item: M, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Reads a message.
#[derive(Debug)]
pub struct MessageDecoder<M>(PhantomData<M>);

impl<M: Message + Default> Decoder for MessageDecoder<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        // In one piece, so that `bytes` fields share it.
        let message = from.copy_to_bytes(from.remaining());
        let malformed = |error| Status::invalid_argument(format!("the message cannot be read: {error}"));
        M::decode(message).map(Some).map_err(malformed)
    }
}

/// Writes a [`Response`] as a `DeltaDiscoveryResponse`.
#[derive(Debug)]
pub struct ResponseEncoder;

impl Encoder for ResponseEncoder {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, response: Response, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let version = format!("{}.{}", response.rules, response.revision);
        to.reserve(encoded_len(&response) + version.len() + 64);
        string(1, &version, to);
        for sent in &response.resources {
            resource(sent, response.of.url(), to);
        }
        string(4, response.of.url(), to);
        string(5, &response.nonce, to);
        for name in &response.removed {
            string(6, name, to);
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, BUFFER)
    }
}

/// About how many bytes a response has; only an estimate for a buffer.
fn encoded_len(response: &Response) -> usize {
    let of_resource = |sent: &Sent| sent.resource.body().len() + sent.name.len() + response.of.url().len() + 64;
    let resources: usize = response.resources.iter().map(of_resource).sum();
    resources + response.removed.iter().map(|name| name.len() + 8).sum::<usize>()
}

/// `Resource`: version, Any { type_url, value }, name.
fn resource(sent: &Sent, url: &str, to: &mut impl BufMut) {
    let version = sent.resource.version().to_string();
    let body = sent.resource.body();
    let any = field_len(1, url.len()) + field_len(2, body.len());
    let whole = field_len(1, version.len()) + field_len(2, any) + field_len(3, sent.name.len());
    head(2, whole, to);
    string(1, &version, to);
    head(2, any, to);
    string(1, url, to);
    head(2, body.len(), to);
    to.put_slice(body);
    string(3, &sent.name, to);
}

/// The length of a length-delimited field with its head.
fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

fn head(tag: u32, len: usize, to: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(len as u64, to);
}

fn string(tag: u32, text: &str, to: &mut impl BufMut) {
    head(tag, text.len(), to);
    to.put_slice(text.as_bytes());
}
