//! The responses of a stream as bytes: cut into parts of whole fields as they come, so that no response is ever there as one
//! piece. The framing is gRPC's; what the parts mean is [`super::coming`]'s.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use tonic::body::Body;
use tonic::codegen::Body as _;
use tonic::{Code, Status};

use crate::codec::PREFIX;
use crate::proto::discovery::DeltaDiscoveryResponse;
use crate::wire::{Fault, Fields};

/// What is kept of the buffer's room when little is in it: a resource may have needed much.
const ROOM_KEPT: usize = 256 << 10;

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// Some fields of a response.
    Fields(DeltaDiscoveryResponse),
    /// The end of a response.
    End,
}

/// An open stream of responses.
pub(super) struct Incoming {
    body: Body,
    cutter: Cutter,
}

impl Incoming {
    /// `bytes_max`: of a response.
    pub(super) fn new(body: Body, bytes_max: usize) -> Self {
        Self { body, cutter: Cutter::new(bytes_max) }
    }

    /// Waits for the next part; none at the end of the stream. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// What the server or the connection says, or what is wrong with what was sent.
    pub(super) async fn part(&mut self) -> Result<Option<Part>, Status> {
        loop {
            if let Some(part) = self.cutter.next()? {
                return Ok(Some(part));
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.cutter.push(&data),
                    Err(frame) => {
                        let status = frame.into_trailers().ok().and_then(|it| Status::from_header_map(&it));
                        if let Some(status) = status.filter(|it| it.code() != Code::Ok) {
                            return Err(status);
                        }
                    }
                },
                Some(Err(status)) => return Err(status),
                None if self.cutter.is_within() => return Err(Status::internal("the stream ends within a message")),
                None => return Ok(None),
            }
        }
    }
}

/// Cuts messages into parts.
struct Cutter {
    bytes_max: usize,
    buffer: BytesMut,
    /// Bytes that the message under way still has; none between messages.
    left: Option<usize>,
    /// So many bytes are less than a field.
    too_few: usize,
    /// The most bytes that were in the buffer since it was made: it has at least that room.
    most: usize,
}

impl Cutter {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, buffer: BytesMut::new(), left: None, too_few: 0, most: 0 }
    }

    fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
        self.most = self.most.max(self.buffer.len());
    }

    /// Whether the end of a message is awaited, or of its head.
    fn is_within(&self) -> bool {
        self.left.is_some() || !self.buffer.is_empty()
    }

    /// All that is there of the message under way, cut behind a field; none where more has to come.
    fn next(&mut self) -> Result<Option<Part>, Status> {
        let left = match self.left {
            Some(left) => left,
            None => {
                let Some(left) = self.head()? else { return Ok(None) };
                left
            }
        };
        if left == 0 {
            self.left = None;
            return Ok(Some(Part::End));
        }
        let there = left.min(self.buffer.len());
        // Looked at again when there is twice as much: a large field comes in many pieces.
        if there < left && there < self.too_few * 2 {
            return Ok(None);
        }
        let fields = whole(self.buffer.get(..there).unwrap_or_default(), there == left)?;
        self.too_few = if fields == 0 { there } else { 0 };
        if fields == 0 {
            return Ok(None);
        }
        self.left = Some(left - fields);
        let part = decoded(self.buffer.split_to(fields).freeze())?;
        // Its capacity is what is behind what was taken out, and not what it holds.
        if self.most > ROOM_KEPT && self.buffer.len() <= ROOM_KEPT {
            (self.buffer, self.most) = (BytesMut::from(self.buffer.as_ref()), self.buffer.len());
        }
        Ok(Some(Part::Fields(part)))
    }

    /// Reads the head of a message: its length.
    fn head(&mut self) -> Result<Option<usize>, Status> {
        if self.buffer.len() < PREFIX {
            return Ok(None);
        }
        if self.buffer.get_u8() != 0 {
            return Err(Status::internal("a message is compressed, which was not asked for"));
        }
        let length = self.buffer.get_u32() as usize;
        if length > self.bytes_max {
            let max = self.bytes_max;
            return Err(Status::out_of_range(format!("a response of {length} bytes [limit: {max} bytes]")));
        }
        self.left = Some(length);
        Ok(self.left)
    }
}

/// How many bytes of these are whole fields.
fn whole(bytes: &[u8], is_all: bool) -> Result<usize, Status> {
    let mut whole = 0;
    for field in Fields::of(bytes) {
        match field {
            Ok(field) => whole += field.bytes.len(),
            Err(why) if why.what == Fault::Truncated && !is_all => break,
            Err(why) => return Err(malformed(&why)),
        }
    }
    Ok(whole)
}

fn decoded(part: Bytes) -> Result<DeltaDiscoveryResponse, Status> {
    DeltaDiscoveryResponse::decode(part).map_err(|why| malformed(&why))
}

fn malformed(why: &dyn std::fmt::Display) -> Status {
    Status::invalid_argument(format!("a response cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::proto::discovery::Resource;

    fn response(resources: usize) -> DeltaDiscoveryResponse {
        let resource = |at: usize| Resource {
            name: format!("resource-{at}"),
            version: "v".repeat(at * 40),
            ..Resource::default()
        };
        let resources = (0..resources).map(resource).collect();
        let removed_resources = vec!["gone".to_owned()];
        DeltaDiscoveryResponse { resources, removed_resources, nonce: "1".into(), ..Default::default() }
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    }

    /// What comes of these bytes in pieces of this size, with the parts of a message put together again, and whether more is
    /// awaited.
    fn cut(bytes: &[u8], size: usize) -> Result<(Vec<DeltaDiscoveryResponse>, bool), Status> {
        let (mut cutter, mut whole, mut now) = (Cutter::new(1 << 20), Vec::new(), DeltaDiscoveryResponse::default());
        for piece in bytes.chunks(size) {
            cutter.push(piece);
            while let Some(part) = cutter.next()? {
                match part {
                    Part::Fields(part) => now.merge(part.encode_to_vec().as_slice()).unwrap(),
                    Part::End => whole.push(std::mem::take(&mut now)),
                }
            }
        }
        Ok((whole, cutter.is_within()))
    }

    #[test]
    fn responses_are_the_same_in_pieces_of_any_size() {
        let sent = [response(0), response(20), DeltaDiscoveryResponse::default(), response(3)];
        let bytes: Vec<u8> = sent.iter().flat_map(|it| framed(&it.encode_to_vec())).collect();
        for size in [1, 2, 3, 7, 100, 1000, bytes.len()] {
            assert_eq!(cut(&bytes, size).unwrap(), (sent.to_vec(), false), "in pieces of {size}");
        }
    }

    #[test]
    fn a_field_comes_out_when_it_is_whole_and_not_with_the_message() {
        let bytes = framed(&response(20).encode_to_vec());
        let mut cutter = Cutter::new(1 << 20);
        cutter.push(&bytes[..bytes.len() / 2]);
        let Some(Part::Fields(part)) = cutter.next().unwrap() else { panic!("no fields") };
        assert!((2..20).contains(&part.resources.len()), "{}", part.resources.len());
        assert_eq!((cutter.next().unwrap(), cutter.is_within()), (None, true));
    }

    #[test]
    fn what_is_no_response_is_refused_with_a_reason() {
        let why = |bytes: &[u8]| cut(bytes, 10).unwrap_err().message().to_owned();
        assert!(why(&framed(&[0x12, 0x05, 0x0a])).contains("ends within a field"));
        assert!(why(&framed(&[0x12, 0x02, 0x0a, 0x05])).contains("cannot be read"));
        assert!(why(&framed(&vec![0; (1 << 20) + 1])).contains("[limit: 1048576 bytes]"));
        let mut compressed = framed(&[]);
        compressed[0] = 1;
        assert!(why(&compressed).contains("compressed"));
        assert_eq!(cut(&framed(&response(2).encode_to_vec())[..9], 3).unwrap(), (vec![], true), "cut off");
    }

    #[test]
    fn the_room_that_a_large_field_took_is_given_back() {
        let large = DeltaDiscoveryResponse { nonce: "n".repeat(ROOM_KEPT * 2), ..Default::default() };
        let mut cutter = Cutter::new(1 << 20);
        let bytes = [framed(&large.encode_to_vec()), framed(&[])].concat();
        for piece in bytes.chunks(10_000) {
            cutter.push(piece);
            while cutter.next().unwrap().is_some() {}
        }
        assert!(cutter.most < 10_000 && cutter.buffer.capacity() < 10_000, "{}", cutter.most);
    }

    proptest! {
        /// Bytes of a control plane that is broken, or of one that is hostile.
        #[test]
        fn any_bytes_mean_the_same_in_pieces_of_any_size(
            bytes in prop_oneof![
                vec(any::<u8>(), 0..300),
                // Fields that are there, and their beginnings.
                (0_usize..8, 0_usize..400).prop_map(|(resources, len)| {
                    let mut bytes = response(resources).encode_to_vec();
                    bytes.truncate(len);
                    bytes
                }),
            ],
            size in 1_usize..120,
        ) {
            let framed = framed(&bytes);
            let as_one = cut(&framed, framed.len()).ok();
            prop_assert_eq!(&cut(&framed, size).ok(), &as_one);
            let whole = DeltaDiscoveryResponse::decode(bytes.as_slice()).ok();
            prop_assert_eq!(as_one.map(|(mut responses, _)| responses.remove(0)), whole);
        }
    }
}
