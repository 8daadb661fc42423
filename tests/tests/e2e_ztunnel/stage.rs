//! Everything but the mesh: the node, its captured pods with a server and two waypoints at work, and the announcer of pods.
//! Made on a thread in the node's network, and gone with it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tests::demo::patience::{Patience, wait_for};

use super::client::Connection;
use super::listener::Listener;
use super::mesh::{
    CLIENT, FIRST, Family, Pod, SECOND, SERVER, SERVER_PORT, SERVICE_PORT, SERVICES, service_ip, static_mesh,
};
use super::network::{Namespace, Node};
use super::verdict::{Faults, check_answers, check_log, check_records};
use super::waypoint::{Outcome, Passage, Program, Waypoint};
use super::zds::Zds;
use super::ztunnel::{Access, Place, Ztunnel};
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
    /// For a second ztunnel, whose own ports would be taken in the node's network; it reaches the node from there.
    pub(crate) beside: Arc<Namespace>,
    /// The node's address in the network of pods.
    pub(crate) node_ip: IpAddr,
    pub(crate) ground: Ground,
}

/// The last part of its address.
const BESIDE: u8 = 90;

/// Where a ztunnel is started, from whatever thread.
pub(crate) struct Ground {
    folder: TempDir,
    zds_path: PathBuf,
}

/// Plays a scene in a network of its own, whose second waypoint has this program; the first has the whole one.
pub(crate) fn play(family: Family, second: Program, scene: impl FnOnce(&Stage) -> Result<()> + Send) -> Result<()> {
    let node = Node::new(family)?;
    // ztunnel and the agent are started on this thread, and so in the node's network.
    node.namespace.inside(|| {
        let stage = Stage::set(&node, second)?;
        scene(&stage)
    })
}

/// What a waypoint of this mesh is programmed with.
pub(crate) fn whole_program(family: Family) -> Program {
    let address = |number| SocketAddr::new(service_ip(family, number), SERVICE_PORT);
    let pod = SocketAddr::new(SERVER.ip(family), SERVER_PORT);
    (0..SERVICES.len()).map(|number| (address(number), pod)).collect()
}

impl Stage {
    /// Which addresses everything has.
    pub(crate) fn family(&self) -> Family {
        self.client.family
    }

    fn set(node: &Node, second: Program) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let pod = |pod: &Pod| -> Result<Arc<Namespace>> {
            let namespace = node.add_pod(pod)?;
            redirection::capture(&namespace)?;
            // A ztunnel that is told to stop closes its listeners at once: whoever waits there is its affair, not the agent's.
            namespace.keep_unaccepted()?;
            Ok(Arc::new(namespace))
        };
        let pods = [CLIENT, SERVER, FIRST, SECOND];
        let [client, server, first_pod, second_pod] = [pod(&CLIENT)?, pod(&SERVER)?, pod(&FIRST)?, pod(&SECOND)?];
        let namespaces = [&client, &server, &first_pod, &second_pod].map(Arc::clone);
        let first = Waypoint::start(FIRST.name, &first_pod, whole_program(node.namespace.family))?;
        let second = Waypoint::start(SECOND.name, &second_pod, second)?;
        let _server = server::serve(&server)?;
        let ground = Ground { zds_path: folder.path().join("zds.sock"), folder };
        let zds = Zds::listen(&ground.zds_path, pods.into_iter().zip(namespaces).collect())?;
        let beside = Arc::new(node.add_place("beside", BESIDE)?);
        Ok(Self { zds, first, second, _server, client, beside, node_ip: node.ip(), ground })
    }

    /// A ztunnel that is ready for all pods. `mesh` says where it has the mesh from.
    pub(crate) fn start_ztunnel(&self, name: &str, mesh: &BTreeMap<&str, String>, place: Place) -> Result<Ztunnel> {
        let mut ztunnel = self.ground.start_ztunnel(name, mesh, place)?;
        ztunnel.wait_ready().with_context(|| self.zds.complaint())?;
        Ok(ztunnel)
    }

    /// The same with its own static mesh, every service at this waypoint.
    pub(crate) fn start_static_ztunnel(&self, waypoint: &Pod) -> Result<Ztunnel> {
        let mut ztunnel = self.ground.start_static_ztunnel("ztunnel", waypoint)?;
        ztunnel.wait_ready().with_context(|| self.zds.complaint())?;
        Ok(ztunnel)
    }

    /// Compares what client, waypoints and ztunnels wrote down. About connections that were `cut` nothing is expected.
    pub(crate) fn compare(
        &self,
        connections: &[Connection],
        cut: &[Connection],
        ztunnels: &[&Ztunnel],
        faults: &mut Faults,
    ) -> Result<()> {
        check_answers(connections, faults);
        let mut failed = 0;
        let mut is_of_cut = |passage: &Passage| match &passage.outcome {
            Outcome::Relayed(number) => cut.iter().any(|it| it.number == *number),
            Outcome::Failed(_) => {
                failed += 1;
                failed <= cut.len()
            }
            Outcome::NotProgrammed => false,
        };
        let mut records = [(FIRST, self.first.passages()), (SECOND, self.second.passages())];
        records.iter_mut().for_each(|(_, passages)| passages.retain(|passage| !is_of_cut(passage)));
        check_records(connections, &records, faults);
        let log = || -> Result<Vec<Access>> {
            let logs = ztunnels.iter().map(|ztunnel| ztunnel.outbound(&CLIENT)).collect::<Result<Vec<_>>>()?;
            let is_of_cut = |line: &Access| cut.iter().any(|it| it.from == Some(line.source));
            Ok(logs.into_iter().flatten().filter(|line| !is_of_cut(line)).collect())
        };
        let has_all = || Ok((log()?.len() >= connections.len()).then_some(()));
        // If it stays shorter, the comparison says so and says more.
        let _shorter = wait_for("the access log", LOG_PATIENCE, has_all);
        check_log(connections, &log()?, &[FIRST, SECOND], faults);
        Ok(())
    }
}

impl Ground {
    /// For files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A ztunnel that is not ready yet.
    fn start_ztunnel(&self, name: &str, mesh: &BTreeMap<&str, String>, place: Place) -> Result<Ztunnel> {
        Ztunnel::start(name, self.folder(), &self.zds_path, mesh, place)
    }

    /// One in this thread's network with its own static mesh, every service at this waypoint.
    pub(crate) fn start_static_ztunnel(&self, name: &str, waypoint: &Pod) -> Result<Ztunnel> {
        let path = self.folder().join(format!("{name}.yaml"));
        std::fs::write(&path, static_mesh(waypoint))?;
        let path = path.to_string_lossy().into_owned();
        self.start_ztunnel(name, &BTreeMap::from([("XDS_ADDRESS", String::new()), ("LOCAL_XDS_PATH", path)]), None)
    }
}
