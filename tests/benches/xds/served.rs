//! The real agent in a process of its own, serving ztunnels. Clients and control plane are in this process, so that the agent's
//! memory is its own.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use prost::Message as _;
use tempfile::TempDir;
use tests::demo::agent::Agent;
use tests::demo::config_map::ConfigMap;
use tests::demo::patience::{Patience, wait_for};
use tests::ztunnel::{Dial, Kept, Ztunnel, answer};
use xds::proto::discovery::DeltaDiscoveryResponse;

use crate::figures::Memory;

const NODE: &str = "node-1";
const START_PATIENCE: Patience = Patience::seconds(120);
/// The agent saves what its control plane told every half minute.
const SAVED_PATIENCE: Patience = Patience::seconds(60);

/// The rules.
pub(crate) enum Rules {
    /// Istio's, which keep what a control plane told of objects that they do not know.
    Keep,
    /// A component that blocks everything.
    Block,
}

/// See the module.
pub(crate) struct Served {
    pub(crate) agent: Agent,
    pub(crate) dial: Dial,
    pub(crate) folder: TempDir,
}

impl Served {
    /// An agent that is ready. `more` makes the flags for where it has its mesh from, and what it needs for that in a folder;
    /// manifests are in the folder `manifests` there.
    pub(crate) fn start(rules: &Rules, more: impl FnOnce(&Path) -> Result<Vec<OsString>>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("manifests"))?;
        let component = tests::guests::blocking();
        let files: &[(&str, &[u8])] = match rules {
            Rules::Keep => &[("config.yaml", b"component: builtin:istio\n")],
            Rules::Block => &[("config.yaml", b"component: blocking.wasm\n"), ("blocking.wasm", &component)],
        };
        let _rules = ConfigMap::mount(&at("rules"), files)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut flags: Vec<OsString> = vec!["-f".into(), at("manifests").into(), "--rules".into(), at("rules").into()];
        flags.extend(["--node-name".into(), NODE.into(), "--xds-listen".into(), address.clone().into()]);
        flags.extend(["--xds-dir".into(), at("xds").into(), "--log".into(), "warn".into()]);
        flags.extend(more(folder.path())?);
        let mut agent = Agent::start(folder.path(), flags)?;
        agent.wait_ready(START_PATIENCE)?;
        let read = |name: &str| fs::read_to_string(at("xds").join(name)).with_context(|| format!("no {name}"));
        let dial = Dial {
            address,
            roots: read("shared/root-cert.pem")?,
            server_name: "localhost".to_owned(),
            token: read("private/token")?.trim().to_owned(),
            node: NODE.to_owned(),
        };
        Ok(Self { agent, dial, folder })
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.agent.id())
    }

    /// Waits until the mesh that the control plane told is on disk, at least so many bytes of it.
    pub(crate) fn wait_saved(&self, bytes: u64) -> Result<()> {
        let file = self.folder.path().join("xds/state/mesh.bin");
        wait_for("the mesh to be saved", SAVED_PATIENCE, || {
            Ok(fs::metadata(&file).is_ok_and(|it| it.len() >= bytes).then_some(()))
        })
    }

    /// Connects, asks for everything, and takes the first response: how long that took, and its bytes.
    pub(crate) async fn subscribe(&self) -> Result<(Duration, bytes::Bytes)> {
        let start = Instant::now();
        let mut client = Ztunnel::connect(&self.dial, Kept::default()).await?;
        let response = client.receive_raw().await?;
        Ok((start.elapsed(), response))
    }

    /// A client that has taken what there is, and remembers none of it.
    pub(crate) async fn client(&self) -> Result<Ztunnel> {
        let mut client = Ztunnel::connect(&self.dial, Kept::default()).await?;
        acknowledge(&mut client).await?;
        acknowledge(&mut client).await?;
        Ok(client)
    }
}

/// Takes a response and answers it: how many resources, and of how many bytes.
pub(crate) async fn acknowledge(client: &mut Ztunnel) -> Result<(usize, usize)> {
    let raw = client.receive_raw().await?;
    let bytes = raw.len();
    let response = DeltaDiscoveryResponse::decode(raw)?;
    client.send(answer(&response, Ok(()))).await?;
    Ok((response.resources.len(), bytes))
}
