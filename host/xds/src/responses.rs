//! What a client is sent, as the body of an HTTP response: each [`Response`] is written while the client takes it, so that one
//! that takes its time, or many at once, cost no copy of the mesh each.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::{Body, http};

use crate::clients::Place;
use crate::codec::Pieces;
use crate::session::Response;

/// See the module. Ends with a status, which is OK where there is no more.
pub(crate) struct Responses {
    responses: mpsc::Receiver<Result<Response, Status>>,
    /// The one that is being written.
    pieces: Option<Pieces>,
    ended: bool,
    /// What a client does not read is held here, also when its stream was given up: so it still counts.
    _place: Arc<Place>,
}

impl Responses {
    pub(crate) fn new(responses: mpsc::Receiver<Result<Response, Status>>, place: Arc<Place>) -> Self {
        Self { responses, pieces: None, ended: false, _place: place }
    }

    fn end(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.ended = true;
        self.responses.close();
        let mut trailers = http::HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

impl Body for Responses {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            if let Some(piece) = this.pieces.as_mut().and_then(Iterator::next) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            this.pieces = None;
            let status = match ready!(this.responses.poll_recv(cx)).map(|response| response.and_then(Pieces::of)) {
                Some(Ok(pieces)) => {
                    this.pieces = Some(pieces);
                    continue;
                }
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            return Poll::Ready(Some(this.end(&status)));
        }
    }
}
