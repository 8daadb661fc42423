//! The real ztunnel as a child process: started, asked at its admin port, its log read, ended. Never left behind: the kernel ends
//! it with the thread that started it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::demo::patience::{Patience, wait_for};

use super::mesh::{NODE_NAME, Pod};
use super::network::Namespace;

/// Names the program.
pub(crate) const PROGRAM: &str = "WAYSWITCH_ZTUNNEL";
const ADMIN_PORT: u16 = 15000;
const READY_PORT: u16 = 15021;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const READY_PATIENCE: Patience = Patience::seconds(30);
/// It gives its connections up to [`GRACE_SECONDS`].
const STOP_PATIENCE: Patience = Patience::seconds(30);
const GRACE_SECONDS: u64 = 10;
const LOG_LINES_SHOWN: usize = 8;
const LOG_LINE_CHARS_SHOWN: usize = 500;

/// A running ztunnel.
pub(crate) struct Ztunnel {
    child: Child,
    log: PathBuf,
    place: Place,
}

/// The network that a ztunnel is started in, where it is asked; pods it serves from there all the same.
pub(crate) type Place = Option<Arc<Namespace>>;

/// One line of its access log about a connection that the client pod made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The client's end.
    pub(crate) source: SocketAddr,
    /// What the client dialled.
    pub(crate) dialled: String,
    /// The pod to which it was sent: a waypoint's.
    pub(crate) to: String,
    pub(crate) error: Option<String>,
}

impl Ztunnel {
    /// Starts it in the network of this thread, which must outlive it, or else in `place`. `mesh` says where it has the mesh
    /// from. Its files are in `folder`, and begin with `name`.
    pub(crate) fn start(
        name: &str,
        folder: &Path,
        zds: &Path,
        mesh: &BTreeMap<&str, String>,
        place: Place,
    ) -> Result<Self> {
        let program = std::env::var_os(PROGRAM).with_context(|| {
            format!("{PROGRAM} is not set: it names a ztunnel that was built with the feature `testing`")
        })?;
        let program = std::path::absolute(&program)?;
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(place) = &place {
            command.args(["nsenter".to_owned(), format!("--net={}", place.path()), "--".to_owned()]);
        }
        command.arg(&program).arg("proxy").arg("ztunnel");
        command.env_clear().envs(environment(zds)).envs(mesh).current_dir(folder);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("`setpriv` (package util-linux) cannot be started")?;
        Ok(Self { child, log, place })
    }

    /// Waits until it has the mesh and all pods.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        wait_for("ztunnel to be ready", READY_PATIENCE, || {
            self.check_running()?;
            Ok(self.get(READY_PORT, "/healthz/ready").is_ok_and(|(status, _)| status == 200).then_some(()))
        })
        .with_context(|| format!("ztunnel is not ready; {}", self.last_words()))
    }

    /// Nothing to say as long as it runs.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("ztunnel ended ({status}); {}", self.last_words()),
        }
    }

    /// What it says its state is.
    pub(crate) fn config_dump(&self) -> Result<Value> {
        let (status, text) = self.get(ADMIN_PORT, "/config_dump")?;
        ensure!(status == 200, "ztunnel answers /config_dump with {status}");
        serde_json::from_str(&text).context("its config dump is not JSON")
    }

    /// What its access log says of connections from this pod to waypoints and services.
    pub(crate) fn outbound(&self, from: &Pod) -> Result<Vec<Access>> {
        let text = fs::read_to_string(&self.log)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.filter_map(|line| access(&line)).filter(|access| from.has(access.source.ip())).collect())
    }

    fn get(&self, port: u16, path: &str) -> Result<(u16, String)> {
        match &self.place {
            Some(place) => place.inside(|| get(port, path)),
            None => get(port, path),
        }
    }

    /// Tells it to stop, as the kubelet does, and waits: it takes no more connections, and goes when those it has have ended.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no process")?;
        kill_process(pid, Signal::TERM).context("ztunnel cannot be signalled")?;
        let status = wait_for("ztunnel to stop", STOP_PATIENCE, || Ok(self.child.try_wait()?))?;
        ensure!(status.success(), "ztunnel was told to stop and ended with {status}; {}", self.last_words());
        Ok(())
    }

    /// The end of its log, for a failure.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default();
        let shown: Vec<String> = shown.iter().map(|line| line.chars().take(LOG_LINE_CHARS_SHOWN).collect()).collect();
        format!("it last said:\n{}", shown.join("\n"))
    }
}

impl Drop for Ztunnel {
    fn drop(&mut self) {
        // SIGKILL, since it does not hear SIGTERM before it is ready, and nothing it holds outlives it.
        let _dead = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn environment(zds: &Path) -> BTreeMap<&'static str, String> {
    let values = [
        ("FAKE_CA", "true"),
        ("PROXY_MODE", "shared"),
        ("NODE_NAME", NODE_NAME),
        // Without SERVICE_ACCOUNT: with all three it would capture its own traffic too.
        ("POD_NAME", "ztunnel-0"),
        ("POD_NAMESPACE", "istio-system"),
        ("CLUSTER_ID", "Kubernetes"),
        ("ISTIO_META_DNS_CAPTURE", "false"),
        ("ZTUNNEL_WORKER_THREADS", "2"),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "info"),
    ];
    let mut all: BTreeMap<&str, String> = values.map(|(name, value)| (name, value.to_owned())).into();
    all.insert("TERMINATION_GRACE_PERIOD_SECONDS", GRACE_SECONDS.to_string());
    all.insert("INPOD_UDS", zds.to_string_lossy().into_owned());
    all
}

/// Asks at a port of the loopback address. By HTTP/1.0, whose answers end with the connection.
fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME_MAX)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

fn access(line: &Value) -> Option<Access> {
    let text = |key: &str| line.get(key).and_then(Value::as_str).map(str::to_owned);
    if line.get("scope").and_then(Value::as_str) != Some("access") || text("direction")? != "outbound" {
        return None;
    }
    Some(Access {
        source: text("src.addr")?.parse().ok()?,
        dialled: text("dst.hbone_addr").or_else(|| text("dst.addr"))?,
        to: text("dst.workload").unwrap_or_default(),
        error: text("error"),
    })
}
