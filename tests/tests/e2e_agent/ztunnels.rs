//! Ztunnels at the agent: what they are told, what a swap and an edit tell them, and what happens around a restart.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::demo::agent::Agent;
use tests::demo::patience::wait_for;
use tests::ztunnel::{Dial, Kept, Ztunnel, answer};
use tokio::runtime::Runtime;
use xds::proto::workload::GatewayAddress;
use xds::proto::workload::gateway_address::Destination;
use xds::resource::ResourceType;

use crate::node::{BLOCKING, ISTIO, Node, PATIENCE, SERVICE_ACCOUNT, flags};

const NODE: &str = "node-1";

pub(crate) fn runtime() -> Result<Runtime> {
    // With a thread of its own: an answer goes out while the test asks the agent.
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub(crate) fn serving(port: u16, folder: &Path) -> Vec<OsString> {
    let listen = format!("127.0.0.1:{port}");
    let dir = folder.join("xds");
    ["--node-name".into(), NODE.into(), "--xds-listen".into(), listen.into(), "--xds-dir".into(), dir.into()].into()
}

/// As a ztunnel of this node with the files that the agent made.
pub(crate) fn dial(port: u16, folder: &Path) -> Result<Dial> {
    let read = |path: &str| {
        let path = folder.join("xds").join(path);
        fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))
    };
    Ok(Dial {
        address: format!("127.0.0.1:{port}"),
        roots: read("shared/root-cert.pem")?,
        server_name: "localhost".to_owned(),
        token: read("private/token")?.trim().to_owned(),
        node: NODE.to_owned(),
    })
}

struct Served {
    node: Node,
    dial: Dial,
    port: u16,
}

fn start(config: &str) -> Result<Served> {
    let port = free_port()?;
    let node = Node::start_flagged(config, |folder| serving(port, folder))?;
    let dial = dial(port, node.folder())?;
    Ok(Served { node, dial, port })
}

fn host(waypoint: Option<&GatewayAddress>) -> Option<String> {
    match waypoint?.destination.as_ref()? {
        Destination::Hostname(it) => Some(format!("{}/{}", it.namespace, it.hostname)),
        Destination::Address(it) => Some(format!("{:?}", it.address)),
    }
}

pub(crate) fn of_service(kept: &Kept, name: &str) -> Option<String> {
    host(kept.services.get(name)?.waypoint.as_ref())
}

fn of_pod(kept: &Kept, name: &str) -> Option<String> {
    host(kept.workloads.get(&format!("Kubernetes//Pod/{name}"))?.waypoint.as_ref())
}

/// Where a ztunnel would dial this waypoint.
pub(crate) fn dialled(kept: &Kept, waypoint: Option<String>) -> Vec<Vec<u8>> {
    let Some(name) = waypoint.filter(|name| kept.services.contains_key(name)) else { return Vec::new() };
    let behind = kept.workloads.values().filter(|it| it.services.contains_key(&name));
    behind.flat_map(|it| &it.addresses).map(|bytes| bytes.to_vec()).collect()
}

const PRODUCTPAGE: &str = "bookinfo/productpage.bookinfo.svc.cluster.local";
const DETAILS: &str = "bookinfo/details.bookinfo.svc.cluster.local";
/// The addresses that the example's Gateways report. No Service has them.
const WAYPOINT: [u8; 4] = [127, 0, 0, 21];
const REVIEWS_WAYPOINT: [u8; 4] = [127, 0, 0, 22];

#[test]
fn a_ztunnel_is_told_the_mesh_with_the_waypoints_that_were_decided() -> Result<()> {
    let served = start(ISTIO)?;
    runtime()?.block_on(async {
        let mut ztunnel = Ztunnel::connect(&served.dial, Kept::default()).await?;
        let addresses = ztunnel.step().await?;
        let policies = ztunnel.step().await?;
        assert!(addresses.type_url.ends_with("Address") && policies.type_url.ends_with("Authorization"));
        let kept = &ztunnel.kept;
        assert_eq!(dialled(kept, of_service(kept, PRODUCTPAGE)), [WAYPOINT]);
        assert_eq!(of_service(kept, DETAILS), None);
        assert_eq!(dialled(kept, of_pod(kept, "bookinfo/reviews-v1")), [REVIEWS_WAYPOINT]);
        let members = kept.workloads.values().filter(|it| it.services.contains_key(PRODUCTPAGE)).count();
        assert_eq!(members, 1, "what stands behind a service is told by the workloads");
        Ok(())
    })
}

/// A Pod on a node, and what is true of it beyond its own manifest.
const ELSEWHERE: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: n1}}}
---
{apiVersion: v1, kind: Node, metadata: {name: far, labels: {topology.kubernetes.io/zone: eu-2}}}
---
apiVersion: v1
kind: Pod
metadata: {name: far-1, namespace: bookinfo}
spec: {nodeName: far}
status: {podIPs: [{ip: 10.9.9.9}]}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: all, namespace: bookinfo}, spec: {mtls: {mode: STRICT}}}
";

#[test]
fn network_locality_and_strictness_are_told_when_they_come() -> Result<()> {
    const STRICT: &str = "istio-system/istio_converted_static_strict";
    let served = start(ISTIO)?;
    let file = served.node.folder().join("manifests/98-elsewhere.yaml");
    let kept = runtime()?.block_on(async {
        let mut ztunnel = Ztunnel::connect(&served.dial, Kept::default()).await?;
        ztunnel.step().await?;
        ztunnel.step().await?;
        assert!(ztunnel.kept.policies.is_empty() && ztunnel.kept.workloads.values().all(|it| it.network.is_empty()));
        fs::write(&file, ELSEWHERE)?;
        let far = |kept: &Kept| kept.workloads.get("Kubernetes//Pod/bookinfo/far-1").cloned();
        ztunnel
            .until(|kept| kept.policies.contains_key(STRICT) && far(kept).is_some_and(|it| it.network == "n1"))
            .await?;
        let told = far(&ztunnel.kept).context("no Pod")?;
        assert_eq!(told.locality.map(|it| it.zone).as_deref(), Some("eu-2"));
        assert_eq!(told.authorization_policies, [STRICT]);
        anyhow::Ok(ztunnel.kept)
    })?;
    let of_mesh = kept.workloads.iter().filter(|(uid, _)| uid.starts_with("Kubernetes//Pod/bookinfo/"));
    for (uid, workload) in of_mesh {
        assert_eq!((&*workload.network, workload.authorization_policies.len()), ("n1", 1), "{uid}");
    }
    // Everything was decided anew, as decisions name the network.
    wait_for("new rules", PATIENCE, || Ok((served.node.admin().value("/rules")?["rules"] == 2).then_some(())))?;
    Ok(())
}

#[test]
fn a_swap_is_one_response_with_what_is_different() -> Result<()> {
    let mut served = start(ISTIO)?;
    let runtime = runtime()?;
    let mut ztunnel = runtime.block_on(async {
        let mut ztunnel = Ztunnel::connect(&served.dial, Kept::default()).await?;
        ztunnel.step().await?;
        ztunnel.step().await?;
        anyhow::Ok(ztunnel)
    })?;
    let before = ztunnel.kept.clone();
    served.node.swap(SERVICE_ACCOUNT)?;
    let response = runtime.block_on(ztunnel.step())?;
    assert_eq!(response.system_version_info, format!("2.{}", served.node.rules()?["revision"]));
    let kept = &ztunnel.kept;
    assert_eq!(of_service(kept, PRODUCTPAGE), None);
    assert_eq!(dialled(kept, of_pod(kept, "bookinfo/productpage-v1")), [WAYPOINT]);
    assert!(response.removed_resources.iter().all(|name| name.contains("wayswitch")), "only what stood for a waypoint");
    let same = |name: &String| before.workloads.get(name) == ztunnel.kept.workloads.get(name);
    let sent: Vec<_> = response.resources.iter().map(|it| &it.name).collect();
    assert!(sent.iter().all(|name| !before.workloads.contains_key(*name) || !same(name)), "only what is different");

    let acknowledged = wait_for("the ACK", PATIENCE, || {
        let told = served.node.admin().value("/xds")?;
        let address = &told["clients"][0]["types"]["Address"];
        Ok((address["acknowledged"]["rules"] == 2).then(|| told.clone()))
    })?;
    assert_eq!(acknowledged["clients"][0]["identity"], "istio-system/ztunnel");
    assert_eq!(acknowledged["rejected"], json!([]));
    Ok(())
}

#[test]
fn what_is_blocked_is_told_so_that_it_fails() -> Result<()> {
    let served = start(BLOCKING)?;
    runtime()?.block_on(async {
        let mut ztunnel = Ztunnel::connect(&served.dial, Kept::default()).await?;
        ztunnel.step().await?;
        let blocked = of_service(&ztunnel.kept, "legacy/loyalty.legacy.svc.cluster.local");
        let blocked = blocked.context("it would go direct")?;
        assert!(!ztunnel.kept.services.contains_key(&blocked), "{blocked} must not be there");
        assert!(blocked.ends_with(".invalid"));
        Ok(())
    })
}

#[test]
fn an_edited_object_is_told_alone() -> Result<()> {
    let served = start(ISTIO)?;
    let runtime = runtime()?;
    let mut ztunnel = runtime.block_on(async {
        let mut ztunnel = Ztunnel::connect(&served.dial, Kept::default()).await?;
        ztunnel.step().await?;
        ztunnel.step().await?;
        anyhow::Ok(ztunnel)
    })?;
    let path = served.node.folder().join("manifests/31-details.yaml");
    let text = fs::read_to_string(&path)?;
    let edited = text.replacen("istio.io/use-waypoint: none", "istio.io/use-waypoint: waypoint", 1);
    assert_ne!(text, edited, "the Service details goes direct");
    fs::write(&path, edited)?;
    let response = runtime.block_on(ztunnel.step())?;
    let names: Vec<_> = response.resources.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, [DETAILS]);
    assert_eq!(dialled(&ztunnel.kept, of_service(&ztunnel.kept, DETAILS)), [WAYPOINT]);
    Ok(())
}

#[test]
fn after_a_restart_of_the_agent_nothing_is_told_twice() -> Result<()> {
    let served = start(ISTIO)?;
    let runtime = runtime()?;
    let kept = runtime.block_on(async {
        let mut ztunnel = Ztunnel::connect(&served.dial, Kept::default()).await?;
        ztunnel.step().await?;
        ztunnel.step().await?;
        anyhow::Ok(ztunnel.kept)
    })?;
    let Served { node, dial, port } = served;
    let folder = node.into_folder();
    let all: Vec<_> = flags(folder.path()).into_iter().chain(serving(port, folder.path())).collect();
    let mut agent = Agent::start(folder.path(), all)?;
    agent.wait_ready(PATIENCE)?;
    runtime.block_on(async {
        let mut ztunnel = Ztunnel::connect(&dial, kept.clone()).await?;
        for _ in 0..2 {
            let response = ztunnel.step().await?;
            assert_eq!((response.resources.len(), response.removed_resources.len()), (0, 0), "{}", response.type_url);
        }
        assert_eq!(ztunnel.kept, kept);
        Ok(())
    })
}

#[test]
fn who_has_no_token_or_is_of_another_node_is_told_nothing() -> Result<()> {
    let served = start(ISTIO)?;
    runtime()?.block_on(async {
        let wrong = Dial { token: "of-somebody-else".to_owned(), ..served.dial.clone() };
        let refused = Ztunnel::connect(&wrong, Kept::default()).await.err().context("it was let in")?;
        assert!(format!("{refused:#}").contains("unauthenticated"), "{refused:#}");
        let elsewhere = Dial { node: "node-2".to_owned(), ..served.dial.clone() };
        let mut ztunnel = Ztunnel::connect(&elsewhere, Kept::default()).await?;
        let refused = ztunnel.receive().await.err().context("it was told something")?;
        assert!(format!("{refused:#}").contains("node-1"), "{refused:#}");
        Ok::<_, anyhow::Error>(())
    })?;
    let log = served.node.agent.log()?;
    assert!(!log.contains(&served.dial.token) && !log.contains("of-somebody-else"), "a token is in the log");
    Ok(())
}

/// Takes a response up but for this resource, as a ztunnel that cannot read it.
pub(crate) async fn reject(ztunnel: &mut Ztunnel, name: &str) -> Result<()> {
    let mut response = ztunnel.receive().await?;
    let before = response.resources.len();
    let whole = response.clone();
    response.resources.retain(|it| it.name != name);
    ensure!(response.resources.len() < before, "{name} is not in the response");
    ztunnel.kept.take(&response).map_err(anyhow::Error::msg)?;
    ztunnel.send(answer(&whole, Err(format!("{name}: unknown field of a waypoint")))).await
}

#[test]
fn a_decision_that_a_ztunnel_rejects_gives_way_for_all_to_what_the_rules_declare() -> Result<()> {
    let mut served = start("component: istio.wasm\nundecided: direct\n")?;
    let runtime = runtime()?;
    let (mut ztunnel, mut other) = runtime.block_on(async {
        let mut other = Ztunnel::connect(&served.dial, Kept::default()).await?;
        other.step().await?;
        other.step().await?;
        assert_eq!(dialled(&other.kept, of_service(&other.kept, PRODUCTPAGE)), [WAYPOINT]);
        let mut ztunnel = Ztunnel::connect(&served.dial, Kept::default()).await?;
        reject(&mut ztunnel, PRODUCTPAGE).await?;
        ztunnel.until(|kept| kept.services.contains_key(PRODUCTPAGE)).await?;
        other.until(|kept| of_service(kept, PRODUCTPAGE).is_none()).await?;
        anyhow::Ok((ztunnel, other))
    })?;
    assert_eq!(of_service(&ztunnel.kept, PRODUCTPAGE), None, "direct, as declared");
    assert_eq!(of_service(&ztunnel.kept, DETAILS), of_service(&other.kept, DETAILS));

    let admin = served.node.admin();
    let told = admin.value("/xds")?;
    let rejected = &told["rejected"][0];
    assert_eq!((&rejected["name"], &rejected["then"]), (&json!(PRODUCTPAGE), &json!("fallback")));
    assert_eq!(told["fallbacks"][0]["reason"], "unknown field of a waypoint");
    assert_eq!(told["counters"]["decisions_fallen_back"], 1);
    let version = ztunnel.kept.versions[&ResourceType::Address][PRODUCTPAGE].clone();
    let resource = admin.value(&format!("/xds/resources?version={version}"))?["resources"][0].take();
    assert_eq!((&resource["name"], &resource["fallback"]["told"]), (&json!(PRODUCTPAGE), &json!(version)));
    assert_eq!(resource["decision"]["reason"], "WaypointAccepted", "the decision is as it was");
    let decisions = admin.value("/decisions?kind=service&namespace=bookinfo&name=productpage")?;
    assert_eq!(decisions["decisions"][0]["fallback"]["rejected"], rejected["version"]);
    assert_eq!(admin.value("/sinks")?["xds"]["fallbacks"], 1);
    let log = served.node.agent.log()?;
    assert!(log.contains("all clients are told the fallback") && log.contains(PRODUCTPAGE), "{log}");

    // Other rules declare something else for the same decision; nobody has rejected that.
    served.node.swap(ISTIO)?;
    for it in [&mut ztunnel, &mut other] {
        runtime.block_on(it.until(|kept| of_service(kept, PRODUCTPAGE).is_some_and(|it| it.ends_with(".invalid"))))?;
    }
    // Another decision is tried.
    served.node.swap(SERVICE_ACCOUNT)?;
    runtime.block_on(ztunnel.until(|kept| of_service(kept, PRODUCTPAGE).is_none()))?;
    assert_eq!(served.node.admin().value("/xds")?["fallbacks"], json!([]));
    Ok(())
}
