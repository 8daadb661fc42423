//! The agent between a control plane and a ztunnel. The control plane is a server of the project's own that tells a mesh of
//! the test's; what a ztunnel has in the end is compared with it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use prost::Message as _;
use serde_json::{Value, json};
use tests::demo::agent::Agent;
use tests::demo::patience::wait_for;
use tests::hub::Hub;
use tests::ztunnel::{Dial, Kept, Ztunnel};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use xds::proto::discovery::DeltaDiscoveryResponse;
use xds::proto::workload::gateway_address::Destination;
use xds::proto::workload::{
    GatewayAddress, Locality, NamespacedHostname, PortList, Service, WeightedWaypoint, Workload,
};
use xds::resource::{Resource, Snapshot, Stamp};
use xds::server::Config;

use crate::capture::ask;
use crate::node::{ISTIO, Node, PATIENCE, flags};
use crate::ztunnels::{dial, dialled, free_port, of_service, reject, runtime, serving};

const CART: &str = "shop/cart.shop.svc.cluster.local";

/// A control plane with a mesh, and an agent that follows it.
struct Between {
    newest: watch::Sender<Arc<Snapshot>>,
    mesh: Snapshot,
    hub: Hub,
    node: Node,
    dial: Dial,
    port: u16,
    runtime: Runtime,
}

fn waypoint(name: &str) -> GatewayAddress {
    let hostname = format!("{name}.shop.svc.cluster.local");
    let destination = Destination::Hostname(NamespacedHostname { namespace: "shop".into(), hostname });
    GatewayAddress { destination: Some(destination), hbone_mtls_port: 15008 }
}

fn cart() -> Service {
    let weighted = |name: &str, weight| WeightedWaypoint { destination: Some(waypoint(name)), weight };
    Service {
        name: "cart".into(),
        namespace: "shop".into(),
        hostname: "cart.shop.svc.cluster.local".into(),
        waypoint: Some(waypoint("first")),
        weighted_waypoints: vec![weighted("first", 100), weighted("second", 0)],
        ..Service::default()
    }
}

/// With fields that nobody knows yet, in the message and around it.
fn of_the_future(resource: &Resource) -> Resource {
    let mut body = resource.body().to_vec();
    prost::encoding::string::encode(2000, &"later".to_owned(), &mut body);
    Resource::new(resource.name().clone(), body.into(), [], Stamp::default())
}

/// A waypoint's Service and the workload behind it, ready in a zone.
fn instance(name: &str, zone: &str) -> [Resource; 2] {
    let hostname = format!("{name}.shop.svc.cluster.local");
    let service =
        Service { name: name.into(), namespace: "shop".into(), hostname: hostname.clone(), ..Service::default() };
    let locality = Locality { region: "eu".into(), zone: zone.into(), subzone: String::new() };
    let workload = Workload {
        uid: format!("Kubernetes//Pod/shop/{name}-1"),
        name: format!("{name}-1"),
        namespace: "shop".into(),
        services: [(format!("shop/{hostname}"), PortList::default())].into(),
        locality: Some(locality),
        ..Workload::default()
    };
    [Resource::service(service, Stamp::default()), Resource::workload(workload, Stamp::default())]
}

fn mesh() -> Snapshot {
    let mut mesh = Snapshot { rules: 1, ..Snapshot::default() };
    let pod = Workload {
        uid: "Kubernetes//Pod/shop/cart-1".into(),
        name: "cart-1".into(),
        namespace: "shop".into(),
        ..Workload::default()
    };
    let own = [Resource::service(cart(), Stamp::default()), Resource::workload(pod, Stamp::default())];
    for resource in own.into_iter().chain(instance("first", "eu-1")).chain(instance("second", "eu-2")) {
        mesh.addresses.put(of_the_future(&resource));
    }
    mesh
}

fn following(hub: &Hub, port: u16, folder: &Path) -> Result<Vec<OsString>> {
    let (ca, token) = (folder.join("upstream-ca.pem"), folder.join("upstream-token"));
    fs::write(&ca, &hub.dial.roots)?;
    fs::write(&token, &hub.dial.token)?;
    let mut flags = serving(port, folder);
    flags.extend(["--upstream".into(), hub.dial.address.clone().into(), "--upstream-name".into(), "localhost".into()]);
    flags.extend(["--upstream-ca".into(), ca.into(), "--upstream-token".into(), token.into()]);
    Ok(flags)
}

impl Between {
    fn start(config: &str) -> Result<Self> {
        Self::start_in("", config, &[])
    }

    /// On a node in this zone.
    fn start_in(zone: &str, config: &str, flags: &[&str]) -> Result<Self> {
        let (runtime, mesh, port) = (runtime()?, mesh(), free_port()?);
        let (newest, receiver) = watch::channel(Arc::new(mesh.clone()));
        let hub = runtime.block_on(Hub::start(Config::default(), receiver, Arc::default()))?;
        let mut more = Ok(Vec::new());
        let node = Node::start_flagged(config, |folder| {
            more = following(&hub, port, folder);
            let labels =
                [("region", "eu"), ("zone", zone)].map(|(key, value)| format!("topology.kubernetes.io/{key}={value}"));
            let labels = labels.into_iter().flat_map(|label| ["--node-label".into(), label.into()]);
            more.iter().flatten().cloned().chain(labels).chain(flags.iter().map(Into::into)).collect()
        });
        more?;
        let node = node?;
        let dial = dial(port, node.folder())?;
        Ok(Self { newest, mesh, hub, node, dial, port, runtime })
    }

    fn ztunnel(&self) -> Result<Ztunnel> {
        self.runtime.block_on(async {
            let mut ztunnel = Ztunnel::connect(&self.dial, Kept::default()).await?;
            ztunnel.step().await?;
            ztunnel.step().await?;
            Ok(ztunnel)
        })
    }

    fn tell(&mut self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.mesh);
        self.mesh.revision += 1;
        self.newest.send_replace(Arc::new(self.mesh.clone()));
    }

    fn upstream(&self) -> Result<Value> {
        Ok(self.node.admin().get("/readyz")?.json()?["upstream"].take())
    }
}

#[test]
fn what_no_rule_changes_passes_byte_for_byte() -> Result<()> {
    let between = Between::start(ISTIO)?;
    let bodies = between.runtime.block_on(async {
        let mut ztunnel = Ztunnel::connect(&between.dial, Kept::default()).await?;
        let response = DeltaDiscoveryResponse::decode(ztunnel.receive_raw().await?)?;
        let body = |it: &xds::proto::discovery::Resource| Some((it.name.clone(), it.resource.as_ref()?.value.clone()));
        anyhow::Ok(response.resources.iter().filter_map(body).collect::<Vec<_>>())
    })?;
    let told: Vec<_> =
        between.mesh.addresses.by_name().values().map(|it| (it.name().to_string(), it.body().to_vec())).collect();
    assert_eq!(bodies, told);
    assert_eq!(between.upstream()?["mesh"], "fresh");
    Ok(())
}

#[test]
fn a_change_and_a_removal_of_the_control_plane_pass_on() -> Result<()> {
    let mut between = Between::start(ISTIO)?;
    let mut ztunnel = between.ztunnel()?;
    between.tell(|mesh| {
        mesh.addresses.remove("Kubernetes//Pod/shop/cart-1");
        let pod = Workload { uid: "Kubernetes//Pod/shop/cart-2".into(), ..Workload::default() };
        mesh.addresses.put(Resource::workload(pod, Stamp::default()));
    });
    let response = between.runtime.block_on(ztunnel.step())?;
    assert_eq!(response.resources.len(), 1);
    assert_eq!(response.removed_resources, ["Kubernetes//Pod/shop/cart-1"]);
    Ok(())
}

#[test]
fn where_an_object_is_known_the_rules_decide_and_both_fields_follow() -> Result<()> {
    let mut between = Between::start(ISTIO)?;
    let ztunnel = between.ztunnel()?;
    assert_eq!(ztunnel.kept.services[CART].weighted_waypoints.len(), 2);
    // The object is known from the manifests as well, and refuses: Istio would say nothing and let traffic go direct.
    let manifest = "apiVersion: v1\nkind: Service\nmetadata:\n  name: cart\n  namespace: shop\n  labels: {istio.io/use-waypoint: missing}\nspec:\n  clusterIP: 10.96.77.1\n  ports: [{port: 80}]\n";
    fs::write(between.node.folder().join("manifests/90-cart.yaml"), manifest)?;
    let mut ztunnel = ztunnel;
    between.runtime.block_on(ztunnel.until(|kept| kept.services[CART].waypoint.is_none()))?;
    assert!(ztunnel.kept.services[CART].weighted_waypoints.is_empty(), "they would win over the other field");
    between.node.swap("component: istio.wasm\nsettings: {unbound: blocked}\n")?;
    between.runtime.block_on(ztunnel.until(|kept| kept.services[CART].waypoint.is_some()))?;
    let blocked = format!("{:?}", ztunnel.kept.services[CART].waypoint);
    assert!(blocked.contains("wayswitch.invalid"), "{blocked}");
    let decided = between.node.admin().value(&format!("/xds/resources?name={CART}"))?;
    assert_eq!((&decided["rules"], &decided["resources"][0]["decision"]["choice"]), (&json!(2), &json!("blocked")));
    let by_version =
        format!("/xds/resources?version={}", decided["resources"][0]["version"].as_str().context("version")?);
    assert_eq!(between.node.admin().value(&by_version)?["resources"][0]["name"], CART);
    Ok(())
}

#[test]
fn without_the_control_plane_the_last_mesh_is_served_even_after_a_restart() -> Result<()> {
    let between = Between::start(ISTIO)?;
    let kept = between.ztunnel()?.kept;
    let Between { newest, hub, node, dial, port, runtime, .. } = between;
    hub.close();
    drop(newest);
    wait_for("the loss to be noticed", PATIENCE, || {
        let told = node.admin().get("/readyz")?;
        assert_eq!(told.status, 200, "it is served all the same");
        Ok((told.json()?["upstream"]["mesh"] == "stale").then_some(()))
    })?;
    let more = following(&hub, port, node.folder())?;
    let folder = node.stop()?;
    assert!(folder.path().join("xds/state").read_dir()?.next().is_some(), "nothing was saved");
    let all: Vec<_> = flags(folder.path()).into_iter().chain(more).collect();
    let mut agent = Agent::start(folder.path(), all)?;
    agent.wait_ready(PATIENCE)?;
    runtime.block_on(async {
        let mut ztunnel = Ztunnel::connect(&dial, kept.clone()).await?;
        for _ in 0..2 {
            let response = ztunnel.step().await?;
            assert_eq!((response.resources.len(), response.removed_resources.len()), (0, 0), "nothing is different");
        }
        let mut new = Ztunnel::connect(&dial, Kept::default()).await?;
        new.step().await?;
        assert_eq!(new.kept.services, kept.services);
        anyhow::Ok(())
    })?;
    assert_eq!(agent.admin().get("/readyz")?.json()?["upstream"]["mesh"], "stale");
    Ok(())
}

/// The same mesh, and two nodes: each ztunnel is sent to the waypoint beside it, and to the other when that has nobody left.
#[test]
fn each_node_is_given_the_waypoint_that_is_near() -> Result<()> {
    let component = "component: locality.wasm\n";
    let chosen = |ztunnel: &Ztunnel| format!("{:?}", ztunnel.kept.services[CART].waypoint);
    let near = Between::start_in("eu-1", component, &[])?;
    let kept = near.ztunnel()?;
    assert_eq!(kept.kept.services[CART].waypoint, Some(waypoint("first")), "{}", chosen(&kept));
    let mut far = Between::start_in("eu-2", component, &[])?;
    let mut ztunnel = far.ztunnel()?;
    assert_eq!(ztunnel.kept.services[CART].waypoint, Some(waypoint("second")), "{}", chosen(&ztunnel));
    assert!(ztunnel.kept.services[CART].weighted_waypoints.is_empty(), "they would win over the other field");
    far.tell(|mesh| {
        mesh.addresses.remove("Kubernetes//Pod/shop/second-1");
    });
    // In the node's region still, and the first of the two.
    far.runtime.block_on(ztunnel.until(|kept| kept.services[CART].waypoint == Some(waypoint("first"))))?;
    Ok(())
}

/// A Gateway that no control plane has told of, and the Service cart, which asks for it.
const ASKING: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: cart
  namespace: shop
  labels: {istio.io/use-waypoint: mine}
spec:
  clusterIP: 10.96.77.1
  ports: [{port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: mine
  namespace: shop
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: Same}}}]
status:
  addresses: [{type: IPAddress, value: 10.96.77.2}]
  conditions: [{type: Programmed, status: \"True\"}]
";

/// What is listed of cart on what the control plane told, once it is refused to go through its Gateway or goes there.
fn learned_cart(node: &Node, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_for("the decision on cart", PATIENCE, || {
        let listed = node.admin().value("/decisions?kind=service&namespace=shop&name=cart&source=upstream")?;
        Ok(Some(listed["decisions"][0].clone()).filter(&is_it))
    })
}

fn told(node: &Node, arguments: &[&str]) -> Result<String> {
    let output = ask(node, arguments)?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn what_only_the_control_plane_told_is_listed_explained_and_captured() -> Result<()> {
    let between = Between::start(ISTIO)?;
    let node = &between.node;
    let _ztunnel = between.ztunnel()?;
    let listed = node.admin().value("/decisions?source=upstream")?;
    let names: Vec<_> = listed["decisions"].as_array().context("decisions")?.iter().map(|it| &it["resource"]).collect();
    assert_eq!(names.len(), between.mesh.addresses.len(), "{names:?}");
    assert_eq!(listed["decisions"][0]["source"], "upstream");
    let cart = learned_cart(node, |_| true)?;
    assert_eq!((&cart["choice"], &cart["upstream"]["waypoint"]["namespace"]), (&json!("keep"), &json!("shop")));
    let of_objects = node.admin().value("/decisions?source=objects&namespace=shop&name=cart")?;
    assert_eq!(of_objects["decisions"], json!([]));
    let before = node.folder().join("before.capture").display().to_string();
    assert!(told(node, &["capture", "-o", &before])?.contains("6 on what a control plane told"));

    fs::write(node.folder().join("manifests/90-cart.yaml"), ASKING)?;
    let cart = learned_cart(node, |it| it["reason"] == "NotProgrammed")?;
    assert_eq!(cart["refused"]["waypoint"]["name"], "mine");
    let explained = told(node, &["explain", "service", "shop/cart"])?;
    for expected in
        ["told by the control plane): keep (NotProgrammed)", "the component chose shop/mine", "R98", "primary first"]
    {
        assert!(explained.contains(expected), "{expected}: {explained}");
    }
    let json: Value = serde_json::from_str(&told(node, &["explain", "-o", "json", "service", "shop/cart"])?)?;
    assert_eq!((&json["decisions"][0]["choice"], &json["upstream"][0]["choice"]), (&json!("waypoint"), &json!("keep")));
    assert!(json["upstream"][0]["findings"].as_array().is_some_and(|it| !it.is_empty()), "{json}");
    // A Pod of which there is no object.
    assert!(told(node, &["explain", "pod", "shop/cart-1"])?.contains("told by the control plane): keep"));

    let after = node.folder().join("after.capture").display().to_string();
    told(node, &["capture", "-o", &after])?;
    let run = |arguments: &[&str]| -> Result<(String, String)> {
        let output = tests::demo::agent::command()?.args(arguments).output()?;
        Ok((String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    };
    let (diff, _) = run(&["diff", &before, &after])?;
    let (_, upstream) = diff.split_once("As decided on what a control plane told:").context("no second part")?;
    assert!(upstream.contains("Service shop/cart") && upstream.contains("1 rows differ, 6 are in both"), "{diff}");
    let (explained, note) = run(&["explain", "service", "shop/cart", "-f", &after])?;
    assert!(explained.contains("as captured): keep (NotProgrammed)") && explained.contains("shop/mine"), "{explained}");
    assert!(note.contains("6 decisions on what a control plane told"), "{note}");
    let (_, note) = run(&["lint", "-f", &after])?;
    assert!(note.contains("nothing else takes them into account"), "{note}");
    Ok(())
}

#[test]
fn a_waypoint_that_the_control_plane_does_not_know_is_told_where_rules_may_choose_it() -> Result<()> {
    let between = Between::start_in("", ISTIO, &["--allow-unprogrammed"])?;
    let mut ztunnel = between.ztunnel()?;
    fs::write(between.node.folder().join("manifests/90-cart.yaml"), ASKING)?;
    let is_there = |kept: &Kept| dialled(kept, of_service(kept, CART)) == [[10, 96, 77, 2]];
    between.runtime.block_on(ztunnel.until(is_there))?;
    assert!(ztunnel.kept.services[CART].weighted_waypoints.is_empty(), "they would win over the other field");
    // It rejects what was decided, and is told what the control plane said; so is who connects now.
    between.node.admin().value("/xds")?;
    let mut other = between.runtime.block_on(async {
        let mut other = Ztunnel::connect(&between.dial, Kept::default()).await?;
        reject(&mut other, CART).await?;
        other.until(|kept| kept.services.contains_key(CART)).await?;
        anyhow::Ok(other)
    })?;
    assert_eq!(other.kept.services[CART], cart());
    between.runtime.block_on(ztunnel.until(|kept| kept.services[CART] == cart()))?;
    let listed = learned_cart(&between.node, |it| it["fallback"].is_object())?;
    assert_eq!((&listed["choice"], &listed["fallback"]["rejectedToo"]), (&json!("waypoint"), &Value::Null));
    assert!(
        told(&between.node, &["explain", "service", "shop/cart"])?.contains("rejects it (unknown field"),
        "no remark"
    );
    assert_eq!(between.node.admin().value("/sinks")?["xds"]["decisions_fallen_back"], 1);
    // What stood for the waypoint goes when nobody is sent there.
    fs::remove_file(between.node.folder().join("manifests/90-cart.yaml"))?;
    for it in [&mut ztunnel, &mut other] {
        let stands = |kept: &Kept| kept.workloads.keys().any(|uid| uid.starts_with("wayswitch/"));
        between.runtime.block_on(it.until(|kept| !stands(kept)))?;
    }
    assert_eq!(between.node.admin().value("/xds")?["fallbacks"], json!([]));
    Ok(())
}
