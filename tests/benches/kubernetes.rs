//! What following a cluster of full size costs: from start to the first rules, memory, a minute of ordinary life, and a ConfigMap
//! from its change to rules in force. Not a test: it prints each figure beside its goal. Run by
//! `cargo bench --profile dev --bench kubernetes` after `cargo xtask build`; `-- start`, `told` or `conditions` runs that part.
//!
//! The API server is in this process, the agent is the real program in its own.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on should stop where it is")]
#![expect(clippy::indexing_slicing, reason = "of JSON that was made here, and of answers")]

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Options};
use cluster::connect::{Access, Cluster};
use model::{Kind, Object};
use prost::Message;
use serde_json::{Value, json};
use tests::demo::agent::Agent;
use tests::demo::patience::{Patience, wait_for};
use tests::demo::places::KernelPlaces;
use tests::mesh::MeshSize;
use tests::ztunnel::{Dial, Kept, Ztunnel, answer};
use tokio::runtime::Runtime;
use xds::proto::discovery::DeltaDiscoveryResponse;

/// The same mesh in every run.
const SEED: u64 = 1;
/// A second of ordinary life has so many Pods whose status changes.
const CHANGES_PER_SECOND: u32 = 100;
const LIFE: Duration = Duration::from_secs(30);
const SWAPS: usize = 9;
/// Clients that take every change.
const ZTUNNELS: usize = 10;

const START_GOAL: f64 = 1.5;
const MEMORY_GOAL_MB: f64 = 300.0;
const SHARE_GOAL: f64 = 0.05;
const SWAP_GOAL: Duration = Duration::from_millis(300);

const PATIENCE: Patience = Patience::seconds(300);

fn main() {
    // `cargo test --benches` runs benches with this flag: there is nothing to test here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = Options { has_managed_fields: false, history_max: 10_000, ..Options::default() };
    let server = runtime.block_on(ApiServer::start_with(options)).unwrap();
    let (pods, bytes) = fill(&server);
    println!("{:.0} MB of JSON", bytes as f64 / 1e6);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    server.write_kubeconfig(&kubeconfig, None).unwrap();

    // Cargo adds `--bench`.
    let part = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let runs = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if runs("start") {
        quiet(&runtime, &server, folder.path(), &kubeconfig, &pods);
    }
    if runs("told") {
        told(&runtime, &server, folder.path(), &kubeconfig, &pods);
    }
    if runs("conditions") {
        conditions(&server, folder.path(), &kubeconfig);
    }
}

/// From start to rules, beside listing alone; ordinary life and swaps where nobody is told.
fn quiet(runtime: &Runtime, server: &ApiServer, folder: &Path, kubeconfig: &Path, pods: &[Value]) {
    let begin = Instant::now();
    let listed = runtime.block_on(async {
        let access = Access { kubeconfig: Some(kubeconfig.to_owned()), ..Access::default() };
        Cluster::connect(&access).await.unwrap().list(&Kind::ALL, &|_| {}).await.unwrap()
    });
    let reading = begin.elapsed();
    println!("listing and reading {} objects, nothing else: {:.2} s", listed.events.len(), reading.as_secs_f64());
    drop(listed);

    let begin = Instant::now();
    let mut agent = start(folder, kubeconfig, &[]);
    agent.wait_ready(PATIENCE).unwrap();
    let ready = begin.elapsed();
    let ratio = ready.as_secs_f64() / reading.as_secs_f64();
    println!(
        "start to first rules: {:.2} s, {ratio:.2}x, goal {START_GOAL}x: {}",
        ready.as_secs_f64(),
        verdict(ratio <= START_GOAL)
    );
    let peak = peak_mb(&agent);
    println!("VmHWM {peak:.0} MB, goal {MEMORY_GOAL_MB}: {}", verdict(peak <= MEMORY_GOAL_MB));
    life(server, &agent, pods, 0, "nobody is told");
    swaps(server, &mut agent);
    println!("VmHWM at the end {:.0} MB", peak_mb(&agent));
    assert!(agent.stop().unwrap().success());
}

/// The same minute of ordinary life where the kernel and ztunnels are told of it.
fn told(runtime: &Runtime, server: &ApiServer, folder: &Path, kubeconfig: &Path, pods: &[Value]) {
    let places = KernelPlaces::make("kubernetes").unwrap();
    let (cgroup, pins, xds) = (places.cgroup.clone(), places.pins.clone(), folder.join("xds"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let paths = [path(&cgroup), path(&pins), path(&xds)];
    let flags = [
        "--node-name",
        "n",
        "--cgroup",
        &paths[0],
        "--pin-dir",
        &paths[1],
        "--xds-listen",
        &address,
        "--xds-dir",
        &paths[2],
    ];
    let mut agent = start(folder, kubeconfig, &flags);
    agent.wait_ready(PATIENCE).unwrap();
    let read = |name: &str| std::fs::read_to_string(xds.join(name)).unwrap();
    let (roots, token) = (read("shared/root-cert.pem"), read("private/token").trim().to_owned());
    let dial = Dial { address, roots, server_name: "localhost".to_owned(), token, node: "n".to_owned() };
    let clients: Vec<_> = (0..ZTUNNELS).map(|_| runtime.block_on(ztunnel(runtime, &dial))).collect();
    println!("{ZTUNNELS} ztunnels have the mesh: VmHWM {:.0} MB", peak_mb(&agent));
    life(server, &agent, pods, 1, &format!("the kernel and {ZTUNNELS} ztunnels are told"));
    if let Some(client) = clients.into_iter().find(|client| client.is_finished()) {
        panic!("a ztunnel was dropped: {:#}", runtime.block_on(client).unwrap());
    }
    assert!(agent.stop().unwrap().success());
}

/// A client that has the mesh, and goes on taking what comes.
async fn ztunnel(runtime: &Runtime, dial: &Dial) -> tokio::task::JoinHandle<anyhow::Error> {
    let mut client = Ztunnel::connect(dial, Kept::default()).await.unwrap();
    for _ in 0..2 {
        take(&mut client).await.unwrap();
    }
    runtime.spawn(async move {
        loop {
            if let Err(error) = take(&mut client).await {
                return error;
            }
        }
    })
}

async fn take(client: &mut Ztunnel) -> anyhow::Result<()> {
    let response = DeltaDiscoveryResponse::decode(client.receive_raw().await?)?;
    client.send(answer(&response, Ok(()))).await
}

/// Every object gets its conditions, then an agent that starts anew has nothing to write.
fn conditions(server: &ApiServer, folder: &Path, kubeconfig: &Path) {
    let flags = ["--conditions", "write", "--writes-per-second", "1000", "--lease-seconds", "3", "--node-name", "n"];
    let lead = |what: &str| {
        let mut agent = start(folder, kubeconfig, &flags);
        agent.wait_ready(PATIENCE).unwrap();
        server.clear_audit();
        let begin = Instant::now();
        let seen = wait_for("all conditions", PATIENCE, || {
            let seen = agent.admin().value("/conditions")?;
            Ok((seen["pending"] == 0 && !seen["lastRoundSecondsAgo"].is_null()).then_some(seen))
        });
        let took = begin.elapsed();
        let writes = server.audit().iter().filter(|it| it.subresource == "status" && it.is_change()).count();
        println!(
            "conditions, {what}: {writes} written in {:.1} s, VmHWM {:.0} MB",
            took.as_secs_f64(),
            peak_mb(&agent)
        );
        let _seen = seen.unwrap();
        assert!(agent.stop().unwrap().success());
        writes
    };
    let first = lead("none is there");
    let again = lead("all are there");
    println!("  of {first}, by an agent that starts anew: {again}, goal 0: {}", verdict(again == 0));
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

/// Everything that the generator makes, as large as a kubelet and a Deployment make it.
fn fill(server: &ApiServer) -> (Vec<Value>, usize) {
    let (mut pods, mut bytes) = (Vec::new(), 0);
    put_rules(server, "");
    for object in MeshSize::FULL.objects(SEED) {
        let mut value = serde_json::to_value(manifest::write(&object)).unwrap();
        if let Object::Pod(_) = &object {
            // What nobody here reads: as much as a Pod has of it.
            let env: Vec<Value> = (0..12)
                .map(|at| json!({ "name": format!("SETTING_{at}"), "value": "a value of some length" }))
                .collect();
            let spec = value.get_mut("spec").and_then(Value::as_object_mut).unwrap();
            spec.insert("volumes".to_owned(), json!(env));
            if pods.len() < 20_000 {
                pods.push(value.clone());
            }
        }
        bytes += value.to_string().len();
        server.put(value).unwrap();
    }
    (pods, bytes)
}

fn put_rules(server: &ApiServer, settings: &str) {
    let _there =
        server.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "wayswitch-system" } }));
    let config = format!("component: builtin:istio\n{settings}");
    server
        .put(json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "config.yaml": config },
            "metadata": { "name": "wayswitch-rules", "namespace": "wayswitch-system" } }))
        .unwrap();
}

fn start(folder: &Path, kubeconfig: &Path, more: &[&str]) -> Agent {
    let mut flags: Vec<OsString> = vec!["--kubernetes".into(), "--kubeconfig".into(), kubeconfig.into()];
    flags.extend(["--rules", "configmap:wayswitch-system/wayswitch-rules", "--log", "warn"].map(Into::into));
    flags.extend(more.iter().map(Into::into));
    Agent::start(folder, flags).unwrap()
}

fn peak_mb(agent: &Agent) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// User and system time of the agent.
fn cpu(agent: &Agent) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    // The kernel tells a hundredth of a second everywhere.
    Duration::from_millis(ticks * 10)
}

/// Pods become ready and unready, and every second one has another address. What was put there in an earlier round would be no
/// change.
fn life(server: &ApiServer, agent: &Agent, pods: &[Value], round: u32, who: &str) {
    let (begin, before) = (Instant::now(), cpu(agent));
    let mut changes = 0;
    while begin.elapsed() < LIFE {
        let mut pod = pods.get(changes as usize % pods.len()).unwrap().clone();
        let ready = if (round + changes / pods.len() as u32).is_multiple_of(2) { "False" } else { "True" };
        pod["status"]["conditions"] = json!([{ "type": "Ready", "status": ready }]);
        if changes % 2 == 0 {
            let ip = Ipv4Addr::from(0xc612_0000 + (round << 16) + changes).to_string();
            pod["status"]["podIP"] = json!(ip);
            pod["status"]["podIPs"] = json!([{ "ip": ip }]);
        }
        server.put(pod).unwrap();
        changes += 1;
        let due = begin + Duration::from_secs(1) * changes / CHANGES_PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let share = (cpu(agent) - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!(
        "{changes} changes of Pods in {} s, {who}: {:.2} % of a processor, goal {:.0} %: {}",
        LIFE.as_secs(),
        share * 100.0,
        SHARE_GOAL * 100.0,
        verdict(share <= SHARE_GOAL)
    );
}

/// From the write of the ConfigMap to rules in force.
fn swaps(server: &ApiServer, agent: &mut Agent) {
    let mut times = Vec::new();
    for swap in 0..SWAPS {
        let before = agent.admin().value("/rules").unwrap()["rules"].clone();
        let begin = Instant::now();
        put_rules(server, if swap.is_multiple_of(2) { "settings: {unbound: blocked}\n" } else { "" });
        let swapped = wait_for("the swap", PATIENCE, || {
            Ok((agent.admin().value("/rules")?["rules"] != before).then(|| begin.elapsed()))
        });
        times.push(swapped.unwrap());
        std::thread::sleep(Duration::from_millis(300));
    }
    times.sort();
    let Some(median) = times.get(times.len() / 2) else { panic!("no swaps") };
    println!(
        "ConfigMap to rules in force: median {median:.0?} (of {times:.0?}), goal {SWAP_GOAL:?}: {}",
        verdict(*median <= SWAP_GOAL)
    );
}
