//! A control plane's stand-in: tells a mesh of the test's over the real protocol, goes away, and comes back to the same
//! address. It computes no mesh: what it tells is put into it.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use xds::clients::Clients;
use xds::resource::Snapshot;
use xds::server::Config;

use crate::hub::Hub;

/// Its threads do nothing but wait for sockets; longer is a hang.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// See the module. It works in the network of the thread that started it.
pub struct ControlPlane {
    mesh: Snapshot,
    address: SocketAddr,
    /// Certificate and token, the same after a return.
    folder: TempDir,
    up: Option<Up>,
}

struct Up {
    newest: watch::Sender<Arc<Snapshot>>,
    hub: Hub,
    runtime: Runtime,
}

impl ControlPlane {
    /// Tells this mesh at some port of a local address.
    ///
    /// # Errors
    /// No folder, or no port.
    pub fn start(ip: IpAddr, mesh: Snapshot) -> Result<Self> {
        let mesh = Snapshot { rules: 1, ..mesh };
        let mut plane = Self { mesh, address: SocketAddr::new(ip, 0), folder: tempfile::tempdir()?, up: None };
        plane.come_back()?;
        Ok(plane)
    }

    /// Changes the mesh, and tells whoever is connected.
    pub fn tell(&mut self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.mesh);
        self.mesh.revision += 1;
        if let Some(up) = &self.up {
            up.newest.send_replace(Arc::new(self.mesh.clone()));
        }
    }

    /// What it tells.
    pub fn mesh(&self) -> &Snapshot {
        &self.mesh
    }

    /// Is gone without a word: all connections are closed, and new ones refused.
    pub fn go_away(&mut self) {
        if let Some(up) = self.up.take() {
            up.runtime.shutdown_timeout(END_TIME_MAX);
        }
    }

    /// Is there again, where it was.
    ///
    /// # Errors
    /// When its port was taken in the meantime.
    pub fn come_back(&mut self) -> Result<()> {
        self.go_away();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (newest, receiver) = watch::channel(Arc::new(self.mesh.clone()));
        let clients: Arc<Clients> = Arc::default();
        let hub = Hub::start_at(self.address, self.folder.path(), Config::default(), receiver, clients);
        let hub = runtime.block_on(hub).context("the control plane's stand-in")?;
        self.address = hub.dial.address.parse()?;
        self.up = Some(Up { newest, hub, runtime });
        Ok(())
    }

    /// What an agent needs to follow it; the files for that are made in `folder`.
    ///
    /// # Errors
    /// When it is away, or the files cannot be written.
    pub fn flags(&self, folder: &Path) -> Result<Vec<OsString>> {
        let dial = &self.up.as_ref().context("the control plane's stand-in is away")?.hub.dial;
        let (ca, token) = (folder.join("upstream-ca.pem"), folder.join("upstream-token"));
        fs::write(&ca, &dial.roots)?;
        fs::write(&token, &dial.token)?;
        let mut flags: Vec<OsString> = vec!["--upstream".into(), self.address.to_string().into()];
        flags.extend(["--upstream-name".into(), dial.server_name.clone().into()]);
        flags.extend(["--upstream-ca".into(), ca.into(), "--upstream-token".into(), token.into()]);
        Ok(flags)
    }
}
