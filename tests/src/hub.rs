//! An xDS server of the project's on loopback, over TLS, with what a test or benchmark publishes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use xds::auth::{Identity, StaticToken, TOKEN_FILE};
use xds::clients::Clients;
use xds::resource::Snapshot;
use xds::server::{Config, Server, serve};
use xds::tls::incoming::{Limits, incoming};
use xds::tls::{ROOT_CERT, SelfSigned, ServerTls, Versions};

use crate::ztunnel::Dial;

/// The node of every server and client here.
const NODE: &str = "node-1";

/// A server. It ends with the runtime.
pub struct Hub {
    /// How it is reached.
    pub dial: Dial,
    /// Who is connected.
    pub clients: Arc<Clients>,
    serving: JoinHandle<()>,
    _folder: Option<tempfile::TempDir>,
}

impl Hub {
    /// Serves what `newest` holds.
    ///
    /// # Errors
    /// No folder, or no port.
    pub async fn start(config: Config, newest: watch::Receiver<Arc<Snapshot>>, clients: Arc<Clients>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let hub = Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), folder.path(), config, newest, clients).await?;
        Ok(Self { _folder: Some(folder), ..hub })
    }

    /// The same at this address. Certificate and token are in `folder`, and are made there if they are not.
    ///
    /// # Errors
    /// A folder that cannot be used, or an address that is taken.
    pub async fn start_at(
        address: SocketAddr,
        folder: &Path,
        config: Config,
        newest: watch::Receiver<Arc<Snapshot>>,
        clients: Arc<Clients>,
    ) -> Result<Self> {
        let (private, shared) = (folder.join("private"), folder.join("shared"));
        let own = SelfSigned { private: private.clone(), shared: shared.clone(), names: vec!["localhost".to_owned()] };
        let tls = ServerTls::self_signed(&own, Versions::default())?;
        let (namespace, service_account) = ("istio-system".to_owned(), "ztunnel".to_owned());
        let verifier = StaticToken::made_in(&private, Identity { namespace, service_account, pod: None, node: None })?;
        let listener = TcpListener::bind(address).await?;
        let dial = Dial {
            address: listener.local_addr()?.to_string(),
            roots: std::fs::read_to_string(shared.join(ROOT_CERT))?,
            server_name: "localhost".to_owned(),
            token: std::fs::read_to_string(private.join(TOKEN_FILE))?.trim().to_owned(),
            node: NODE.to_owned(),
        };
        let server = Server::new(config, newest, Arc::new(verifier), Arc::clone(&clients));
        let incoming = incoming(listener, &tls, Limits::default());
        let serving = tokio::spawn(async move {
            // Ends with the test.
            let _ended = serve(server, incoming, std::future::pending()).await;
        });
        Ok(Self { dial, clients, serving, _folder: None })
    }

    /// Takes no more connections; those that are open end with the sender of the snapshots.
    pub fn close(&self) {
        self.serving.abort();
    }

    /// A counter of the server's.
    pub fn count(&self, name: &str) -> u64 {
        self.clients.counters().into_iter().find(|(it, _)| it == name).map_or(0, |(_, count)| count)
    }
}
