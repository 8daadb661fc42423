//! Everything but the mesh: the node, its captured pods with a server and two waypoints at work, and the announcer of pods.
//! Made on a thread in the node's network, and gone with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tests::demo::patience::{Patience, wait_for};

use super::client::Connection;
use super::listener::Listener;
use super::mesh::{CLIENT, FIRST, Pod, SECOND, SERVER, SERVER_PORT, SERVICE_PORT, SERVICES, service_ip, static_mesh};
use super::network::{Namespace, Node};
use super::verdict::{Faults, check_answers, check_log, check_records};
use super::waypoint::{Program, Waypoint};
use super::zds::Zds;
use super::ztunnel::Ztunnel;
use super::{redirection, server};

/// ztunnel writes a line when both directions of a connection have ended.
const LOG_PATIENCE: Patience = Patience::new(Duration::from_secs(5));

/// See the module. Fields end in this order.
pub(crate) struct Stage {
    zds: Zds,
    pub(crate) first: Waypoint,
    pub(crate) second: Waypoint,
    _server: Listener,
    pub(crate) client: Arc<Namespace>,
    pub(crate) ground: Ground,
}

/// Where a ztunnel is started, from whatever thread.
pub(crate) struct Ground {
    folder: TempDir,
    zds_path: PathBuf,
}

/// Plays a scene in a network of its own, whose second waypoint has this program; the first has the whole one.
pub(crate) fn play(second: Program, scene: impl FnOnce(&Stage) -> Result<()> + Send) -> Result<()> {
    let node = Node::new()?;
    // ztunnel and the agent are started on this thread, and so in the node's network.
    node.namespace.inside(|| {
        let stage = Stage::set(&node, second)?;
        scene(&stage)
    })
}

/// What a waypoint of this mesh is programmed with.
pub(crate) fn whole_program() -> Program {
    let address = |number| SocketAddr::from((service_ip(number), SERVICE_PORT));
    let pod = SocketAddr::from((SERVER.ip, SERVER_PORT));
    (0..SERVICES.len()).map(|number| (address(number), pod)).collect()
}

impl Stage {
    fn set(node: &Node, second: Program) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let pod = |pod: &Pod| -> Result<Arc<Namespace>> {
            let namespace = node.add_pod(pod.name, pod.ip)?;
            redirection::capture(&namespace)?;
            Ok(Arc::new(namespace))
        };
        let pods = [CLIENT, SERVER, FIRST, SECOND];
        let [client, server, first_pod, second_pod] = [pod(&CLIENT)?, pod(&SERVER)?, pod(&FIRST)?, pod(&SECOND)?];
        let namespaces = [&client, &server, &first_pod, &second_pod].map(Arc::clone);
        let first = Waypoint::start(FIRST.name, &first_pod, whole_program())?;
        let second = Waypoint::start(SECOND.name, &second_pod, second)?;
        let _server = server::serve(&server)?;
        let ground = Ground { zds_path: folder.path().join("zds.sock"), folder };
        let zds = Zds::listen(&ground.zds_path, pods.into_iter().zip(namespaces).collect())?;
        Ok(Self { zds, first, second, _server, client, ground })
    }

    /// A ztunnel in this thread's network that is ready for all pods. `mesh` says where it has the mesh from.
    pub(crate) fn start_ztunnel(&self, mesh: &BTreeMap<&str, String>) -> Result<Ztunnel> {
        let mut ztunnel = self.ground.start_ztunnel("ztunnel", mesh)?;
        ztunnel.wait_ready().with_context(|| self.zds.complaint())?;
        Ok(ztunnel)
    }

    /// The same with its own static mesh, every service at this waypoint.
    pub(crate) fn start_static_ztunnel(&self, waypoint: &Pod) -> Result<Ztunnel> {
        let mut ztunnel = self.ground.start_static_ztunnel("ztunnel", waypoint)?;
        ztunnel.wait_ready().with_context(|| self.zds.complaint())?;
        Ok(ztunnel)
    }

    /// Compares what client, waypoints and ztunnel wrote down.
    pub(crate) fn compare(&self, connections: &[Connection], ztunnel: &Ztunnel, faults: &mut Faults) -> Result<()> {
        check_answers(connections, faults);
        check_records(connections, &[(FIRST, self.first.passages()), (SECOND, self.second.passages())], faults);
        let has_all = || Ok((ztunnel.outbound(CLIENT.ip)?.len() >= connections.len()).then_some(()));
        // If it stays shorter, the comparison says so and says more.
        let _shorter = wait_for("the access log", LOG_PATIENCE, has_all);
        check_log(connections, &ztunnel.outbound(CLIENT.ip)?, &[FIRST, SECOND], faults);
        Ok(())
    }
}

impl Ground {
    /// For files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A ztunnel in this thread's network, not ready yet.
    fn start_ztunnel(&self, name: &str, mesh: &BTreeMap<&str, String>) -> Result<Ztunnel> {
        Ztunnel::start(name, self.folder(), &self.zds_path, mesh)
    }

    /// The same with its own static mesh, every service at this waypoint.
    pub(crate) fn start_static_ztunnel(&self, name: &str, waypoint: &Pod) -> Result<Ztunnel> {
        let path = self.folder().join(format!("{name}.yaml"));
        std::fs::write(&path, static_mesh(waypoint))?;
        let path = path.to_string_lossy().into_owned();
        self.start_ztunnel(name, &BTreeMap::from([("XDS_ADDRESS", String::new()), ("LOCAL_XDS_PATH", path)]))
    }
}
