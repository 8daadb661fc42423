//! gRPC messages in and out. Responses are written from resources that are encoded already, piece by piece as the client takes
//! them: a mesh is megabytes, and so many per client would be there at a time.

use std::marker::PhantomData;
use std::sync::Arc;
use std::vec::IntoIter;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::resource::VERSION_DIGITS;
use crate::session::{Response, Sent};

/// About how many bytes a piece has: as many as some HTTP/2 frames, and as stay in a processor's cache.
const PIECE: usize = 64 << 10;

/// Bytes before a gRPC message: whether it is compressed, and its length.
pub(crate) const PREFIX: usize = 5;

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

impl<M> Default for MessageDecoder<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

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

/// A [`Response`] on its way: a `DeltaDiscoveryResponse` as a gRPC message, in pieces. What was written is let go.
#[derive(Debug)]
pub(crate) struct Pieces {
    url: &'static str,
    /// What comes before the resources, until it is written.
    first: Bytes,
    resources: IntoIter<Sent>,
    removed: IntoIter<Arc<str>>,
    /// Bytes that are still to be written.
    left: usize,
}

impl Pieces {
    /// All of it is still to be written.
    ///
    /// # Errors
    /// When it is longer than a gRPC message can be.
    pub(crate) fn of(response: Response) -> Result<Self, Status> {
        let (url, version) = (response.of.url(), format!("{}.{}", response.rules, response.revision));
        let own = [(1, version.as_str()), (4, url), (5, response.nonce.as_str())];
        let own_len: usize = own.iter().map(|(tag, text)| field_len(*tag, text.len())).sum();
        let resources = response.resources.iter().map(|sent| field_len(2, resource_len(sent, url)));
        let removed = response.removed.iter().map(|name| field_len(6, name.len()));
        let len = own_len + resources.sum::<usize>() + removed.sum::<usize>();
        let head =
            u32::try_from(len).map_err(|_| Status::internal(format!("a response of {len} bytes is too long")))?;
        let mut first = BytesMut::with_capacity(PREFIX + own_len);
        // Not compressed.
        first.put_u8(0);
        first.put_u32(head);
        own.iter().for_each(|(tag, text)| string(*tag, text, &mut first));
        let (resources, removed) = (response.resources.into_iter(), response.removed.into_iter());
        Ok(Self { url, first: first.freeze(), resources, removed, left: PREFIX + len })
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        // With room for the resource that goes over the edge.
        let mut to = BytesMut::with_capacity(self.left.min(PIECE + PIECE / 8));
        to.put(std::mem::take(&mut self.first));
        while to.len() < PIECE {
            if let Some(sent) = self.resources.next() {
                resource(&sent, self.url, &mut to);
            } else if let Some(name) = self.removed.next() {
                string(6, &name, &mut to);
            } else {
                break;
            }
        }
        self.left = self.left.saturating_sub(to.len());
        (!to.is_empty()).then(|| to.freeze())
    }
}

/// `Resource`: version, Any { type_url, value }, name.
fn resource(sent: &Sent, url: &str, to: &mut BytesMut) {
    let body = sent.resource.body();
    head(2, resource_len(sent, url), to);
    head(1, VERSION_DIGITS, to);
    to.put_slice(&sent.resource.version().digits());
    head(2, any_len(body, url), to);
    string(1, url, to);
    head(2, body.len(), to);
    to.put_slice(body);
    string(3, &sent.name, to);
}

fn resource_len(sent: &Sent, url: &str) -> usize {
    let any = any_len(sent.resource.body(), url);
    field_len(1, VERSION_DIGITS) + field_len(2, any) + field_len(3, sent.name.len())
}

fn any_len(body: &[u8], url: &str) -> usize {
    field_len(1, url.len()) + field_len(2, body.len())
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

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::discovery::DeltaDiscoveryResponse;
    use crate::resource::{Resource, ResourceType, Stamp};

    fn response(resources: usize, bytes: usize, removed: usize) -> Response {
        let sent = |at: usize| {
            let (name, body) = (Arc::from(format!("name-{at}")), vec![7_u8; bytes]);
            let resource = Arc::new(Resource::new(Arc::clone(&name), body.into(), [], Stamp::default()));
            Sent { name, resource }
        };
        Response {
            of: ResourceType::Address,
            nonce: "9".to_owned(),
            resources: (0..resources).map(sent).collect(),
            removed: (0..removed).map(|at| format!("gone-{at}").into()).collect(),
            rules: 3,
            revision: 14,
        }
    }

    fn decoded(pieces: &[Bytes]) -> DeltaDiscoveryResponse {
        let mut whole = pieces.concat().as_slice().to_vec();
        let message = whole.split_off(PREFIX);
        assert_eq!(whole.first(), Some(&0), "not compressed");
        assert_eq!(u32::from_be_bytes(whole[1..].try_into().unwrap()) as usize, message.len());
        DeltaDiscoveryResponse::decode(message.as_slice()).unwrap()
    }

    #[test]
    fn a_response_is_one_message_in_pieces_of_bounded_size() {
        for (resources, bytes, removed) in [(0, 0, 0), (1, 0, 1), (3, 200_000, 0), (5_000, 200, 20_000), (0, 0, 9)] {
            let response = response(resources, bytes, removed);
            let pieces: Vec<Bytes> = Pieces::of(response.clone()).unwrap().collect();
            assert!(pieces.iter().all(|piece| piece.len() < PIECE + bytes + 200));
            let said = decoded(&pieces);
            assert_eq!((said.system_version_info.as_str(), said.nonce.as_str()), ("3.14", "9"));
            assert_eq!(said.type_url, ResourceType::Address.url());
            assert_eq!(said.removed_resources, response.removed.iter().map(|it| it.to_string()).collect::<Vec<_>>());
            assert_eq!(said.resources.len(), resources);
            for (said, sent) in said.resources.iter().zip(&response.resources) {
                assert_eq!((said.name.as_str(), &said.version), (&*sent.name, &sent.resource.version().to_string()));
                let any = said.resource.as_ref().unwrap();
                assert_eq!(
                    (any.type_url.as_str(), &*any.value),
                    (ResourceType::Address.url(), &**sent.resource.body())
                );
            }
        }
    }

    #[test]
    fn what_was_written_is_let_go() {
        let response = response(1_000, 1_000, 0);
        let first = Arc::downgrade(&response.resources[0].resource);
        let last = Arc::downgrade(&response.resources[999].resource);
        let mut pieces = Pieces::of(response).unwrap();
        let _piece = pieces.next().unwrap();
        assert_eq!((first.strong_count(), last.strong_count()), (0, 1));
    }
}
