//! The client of a control plane's delta ADS, in the manner of a ztunnel: it asks for the whole mesh, stays connected, and
//! says what became different. What to say when is [`state`]'s, whom to try when is [`attempts`]'; here is the edge.
//!
//! Nothing is decided and nothing rewritten here. While no control plane can be reached, nothing is taken back: what was
//! held stays, and [`status`] says that it is stale and since when.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

pub mod attempts;
pub mod coming;
mod incoming;
pub mod node;
pub mod state;
pub mod status;
mod stream;

use attempts::{Attempts, Ended};
use node::NodeIdentity;
use state::{State, Update};
pub use stream::StreamError;

use crate::reload::chain;

/// How a control plane is reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where, the preferred one first: `https://istiod.istio-system.svc:15012`; without a scheme `https` is meant.
    pub addresses: Vec<String>,
    /// PEM file with the certificates that may have signed the control plane's. Read again for every attempt. Other roots
    /// do not count.
    pub roots: Option<PathBuf>,
    /// The name that its certificate must have where that is not the host of the address.
    pub server_name: Option<String>,
    /// File with the token that is presented. Read again for every attempt, for tokens are renewed; never logged. It is not
    /// sent over a connection without TLS.
    pub token: Option<PathBuf>,
    /// Who asks.
    pub node: NodeIdentity,
    /// Sent as `clusterid`.
    pub cluster_id: Option<String>,
    /// Bounds of what is taken in.
    pub limits: state::Limits,
    /// The largest response, in bytes, before it is decoded. ztunnel's is 200 MiB.
    pub message_bytes_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Who accepted the stream must have answered for every type by then, or the next address is tried.
    pub answer_timeout: Duration,
    /// A server that was asked without versions does not say what is gone. What it did not name is taken out when it has
    /// said nothing more for so long.
    pub settle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            roots: None,
            server_name: None,
            token: None,
            node: NodeIdentity::default(),
            cluster_id: None,
            limits: state::Limits::default(),
            message_bytes_max: 200 << 20,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            settle: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// Looks at what no later attempt can change: the form of the addresses, and whether what each needs is named.
    ///
    /// # Errors
    /// The first address that can never be used, and why.
    pub fn check(&self) -> Result<(), StreamError> {
        self.addresses.iter().try_for_each(|address| stream::planned(self, address).map(drop))
    }
}

/// What the client has to say.
#[derive(Debug)]
pub enum Event {
    /// A stream was opened. Nothing was answered yet.
    Connected {
        /// To whom.
        address: Arc<str>,
    },
    /// A response was taken up.
    Update(Update),
    /// The stream is gone, or there was none.
    Disconnected {
        /// Whose.
        address: Arc<str>,
        /// What happened, and what can be done about it; the whole chain.
        why: String,
    },
}

/// Follows the mesh until `shutdown` is ready or nobody listens any more. `state` may hold what was persisted. A listener that
/// is slow slows the reading down: nothing piles up here.
pub async fn run(config: Config, mut state: State, events: mpsc::Sender<Event>, shutdown: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown => {}
        () = follow(&config, &mut state, &events) => {}
    }
}

/// Ends when nobody listens, or there is nobody to ask.
async fn follow(config: &Config, state: &mut State, events: &mpsc::Sender<Event>) {
    let Some(mut attempts) = Attempts::among(config.addresses.len()) else { return };
    // What was said of each address: an outage of an hour is one line, and another when its reason changes.
    let mut said = vec![None; config.addresses.len()];
    while let Some(address) = config.addresses.get(attempts.address()) {
        let started = Instant::now();
        let why = stream::follow(config, address, state, events).await;
        let StreamError::NobodyListens = why else {
            // Who answers for one type only is no good, however long that was waited for.
            let served = state.close(why.is_for_versions()) && !matches!(why, StreamError::Silent { .. });
            let ended = if served { Ended::Served { lasted: started.elapsed() } } else { Ended::Failed };
            let at = attempts.address();
            let delay = attempts.after(ended, random());
            let why = chain(&why);
            match said.get_mut(at) {
                Some(said) if !served && said.as_deref() == Some(why.as_str()) => {
                    tracing::debug!(%address, %why, ?delay, "the control plane still cannot be followed");
                }
                Some(said) => {
                    tracing::warn!(%address, %why, "the control plane cannot be followed; trying again");
                    *said = Some(why.clone());
                }
                None => {}
            }
            if events.send(Event::Disconnected { address: address.as_str().into(), why }).await.is_err() {
                return;
            }
            tokio::time::sleep(delay).await;
            continue;
        };
        return;
    }
}

/// Enough for jitter: the standard library seeds each from the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
