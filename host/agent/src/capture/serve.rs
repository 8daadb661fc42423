//! A capture of this agent, written while it is sent: on a thread of its own, into a queue of a few pieces. The snapshots
//! that it is made of cost next to nothing as long as the mesh stays as it is.

use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use futures_core::Stream;
use model::{Store, Table};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{Header, Rules, write};
use crate::learned::Learned;
use crate::published::Published;

/// Captures that may be under way at once: each may hold a mesh that is no longer the present one.
pub(crate) const CAPTURES_MAX: usize = 1;
/// Bytes of a piece, and pieces that wait.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 4;
/// How long a reader may stop before it is given up.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often, and at what distance, objects and decisions of one revision are looked for.
const ATTEMPTS_MAX: usize = 100;
const ATTEMPT_EVERY: Duration = Duration::from_millis(10);

/// Starts a capture; the body ends early where something goes wrong, which its reader can tell. `turn` is given back at
/// the end.
///
/// # Errors
/// There is no thread for it.
pub(crate) fn stream(
    published: Arc<Published>,
    store: Arc<ArcSwap<Store>>,
    turn: OwnedSemaphorePermit,
) -> io::Result<Body> {
    let (pieces, written) = mpsc::channel(1);
    let (sent, sending) = mpsc::channel(PIECES_MAX);
    let work = move || {
        let _turn = turn;
        let Captured { header, store, table, learned } = snapshot(&published, &store);
        let out = BufWriter::with_capacity(PIECE_BYTES, Pieces(pieces));
        if let Err(error) = write(out, &header, &store, &table, learned.iter().map(|it| it.captured())) {
            tracing::info!(%error, "a capture was not read to its end");
        }
    };
    thread::Builder::new().name("capture".to_owned()).spawn(work)?;
    tokio::spawn(forward(written, sent));
    Ok(Body::from_stream(Sending(sending)))
}

/// What a capture is made of.
struct Captured {
    header: Header,
    store: Arc<Store>,
    table: Arc<Table>,
    learned: Arc<Learned>,
}

/// Objects and decisions of one revision, or if the mesh never stays as it is long enough, of two.
fn snapshot(published: &Published, store: &ArcSwap<Store>) -> Captured {
    let mut attempts = 0;
    loop {
        attempts += 1;
        // In the order in which they are stored last: see `admin::rules`.
        let active = published.active.load_full();
        let table = published.table.load_full();
        let learned = published.upstream.learned.load_full();
        let store = store.load_full();
        let rules = active.as_ref().map_or(0, |active| active.rules);
        let fits = rules == table.rules && (rules == 0 || table.revision == store.revision());
        let fits = fits && (learned.rules == 0 || learned.rules == rules);
        if fits || attempts == ATTEMPTS_MAX {
            let rules = active.map(|active| Rules::of(table.rules, &active.named, &active.component, &active.terms));
            return Captured { header: Header::of(&store, &table, rules), store, table, learned };
        }
        thread::sleep(ATTEMPT_EVERY);
    }
}

/// Hands pieces on as long as the reader takes them.
async fn forward(mut written: Receiver<Bytes>, sent: Sender<Bytes>) {
    while let Some(piece) = written.recv().await {
        match tokio::time::timeout(PAUSE_MAX, sent.send(piece)).await {
            Ok(Ok(())) => {}
            // The writer sees that nobody takes any more.
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Where the writer puts what it has.
struct Pieces(Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "its reader is gone, or stopped reading");
        self.0.blocking_send(Bytes::copy_from_slice(bytes)).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the body takes from.
struct Sending(Receiver<Bytes>);

impl Stream for Sending {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use model::store::Event;
    use model::{Facts, Object, Pod};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::capture::{CaptureLimits, Reader};

    /// More than all queues together hold.
    const PODS: usize = 8_000;

    fn started() -> (Body, Arc<Semaphore>) {
        let mut store = Store::new(Facts::default());
        let name = |at: usize| format!("pod-{at}-{}", "x".repeat(100));
        store.apply_all((0..PODS).map(|at| Event::Apply(Object::Pod(Pod::named("shop", &name(at))))));
        let turns = Arc::new(Semaphore::new(CAPTURES_MAX));
        let turn = Arc::clone(&turns).try_acquire_owned().unwrap();
        let body = stream(Arc::default(), Arc::new(ArcSwap::from_pointee(store)), turn).unwrap();
        (body, turns)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(PAUSE_MAX * 2, future).await.unwrap() })
    }

    #[test]
    fn what_is_sent_is_a_whole_capture() {
        let sent = run(async {
            let (body, turns) = started();
            assert!(turns.try_acquire().is_err(), "one at a time");
            let sent = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            drop(turns.acquire().await.unwrap());
            sent
        });
        let capture = Reader::new(&sent[..], CaptureLimits::default()).and_then(Reader::into_memory).unwrap();
        assert_eq!((capture.store.len(), capture.table.len()), (PODS, 0));
        assert!(capture.header.rules.is_none());
    }

    #[test]
    fn a_reader_that_goes_away_gives_its_turn_back() {
        run(async {
            let (body, turns) = started();
            drop(body);
            drop(turns.acquire().await.unwrap());
        });
    }
}
