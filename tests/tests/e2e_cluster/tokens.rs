//! Tokens of ztunnels, reviewed by the real API server.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::ztunnel::{Dial, Kept, Ztunnel};
use tokio::runtime::Runtime;

use crate::account::{Account, RULES, ZTUNNEL};
use crate::bookinfo;
use crate::ground::{Ground, play};
use crate::mesh::{gateway, mini_mesh};
use crate::node::{BUILT_IN, flags, ready, wait_service};

pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What lets an agent serve ztunnels of the account `ztunnel` of this namespace.
pub(crate) fn serving(ground: &Ground, account: &Account, node: &str, port: u16) -> [OsString; 7] {
    let dir = ground.folder.path().join(node).join("xds");
    let whose = format!("{}/ztunnel", account.namespace);
    let listen = format!("127.0.0.1:{port}");
    [
        "--xds-listen".into(),
        listen.into(),
        "--xds-dir".into(),
        dir.into(),
        "--xds-token-review".into(),
        "--xds-service-account".into(),
        whose.into(),
    ]
}

/// As a ztunnel of the agent's node.
pub(crate) fn dial(ground: &Ground, node: &str, port: u16, token: String) -> Result<Dial> {
    let path = ground.folder.path().join(node).join("xds/shared/root-cert.pem");
    Ok(Dial {
        address: format!("127.0.0.1:{port}"),
        roots: fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?,
        server_name: "localhost".to_owned(),
        token,
        node: ground.named(node),
    })
}

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn a_ztunnel_is_let_in_by_its_token_and_nobody_else_by_theirs() -> Result<()> {
    play(|ground| {
        let account = Account::apply(ground, &[ZTUNNEL])?;
        ground.config_map(&account.namespace, RULES, json!({ "config.yaml": BUILT_IN }))?;
        let own = |kind: &str, name: &str, spec: serde_json::Value| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name, "namespace": account.namespace }, "spec": spec });
        let mut accounts = [own("ServiceAccount", "ztunnel", json!({})), own("ServiceAccount", "other", json!({}))];
        accounts.iter_mut().for_each(|it| drop(it.as_object_mut().and_then(|it| it.remove("spec"))));
        ground.kubectl.apply(&accounts)?;
        let pod = json!({ "serviceAccountName": "ztunnel", "schedulerName": "wayswitch-e2e-none",
            "containers": [{ "name": "ztunnel", "image": "ztunnel.example/ztunnel:1" }] });
        ground.kubectl.apply(&[own("Pod", "ztunnel-gone", pod)])?;
        let mesh =
            ground.namespace("mesh", json!({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" }))?;
        let class = ground.named("waypoint");
        ground.kubectl.apply(&[vec![bookinfo::class(ground)], mini_mesh(&mesh, &class)].concat())?;
        ground.kubectl.set_status(&[gateway(&mesh, &class)])?;

        let kubeconfig = account.kubeconfig(ground, "wayswitch")?;
        let port = free_port()?;
        let mut flags = flags(ground, "server", &account.namespace, &kubeconfig);
        flags.extend(serving(ground, &account, "server", port));
        let agent = ready(ground, "server", flags)?;
        wait_service(&agent, &mesh, "cart", |it| it["waypoint"]["name"] == "w")?;

        let token = |name: &str, more: &[&str]| account.token(ground, name, more);
        let istio = "--audience=istio-ca";
        let good = token("ztunnel", &[istio])?;
        let of_pod = token("ztunnel", &[istio, "--bound-object-kind=Pod", "--bound-object-name=ztunnel-gone"])?;
        ground.kubectl.run(&[
            "delete",
            "pod",
            "ztunnel-gone",
            "-n",
            &account.namespace,
            "--grace-period=0",
            "--force",
        ])?;
        let wrong = [
            ("another account's", token("other", &[istio])?),
            ("one for the API server", token("ztunnel", &[])?),
            ("one of a Pod that is gone", of_pod),
            ("no token at all", "nothing".to_owned()),
        ];
        runtime()?.block_on(async {
            let mut ztunnel = Ztunnel::connect(&dial(ground, "server", port, good.clone())?, Kept::default()).await?;
            let cart = format!("{mesh}/cart.{mesh}.svc.cluster.local");
            ztunnel.until(|kept| kept.services.get(&cart).is_some_and(|it| it.waypoint.is_some())).await?;
            let told = agent.admin().value("/xds")?;
            ensure!(told["clients"][0]["identity"] == format!("{}/ztunnel", account.namespace), "{told}");
            for (whose, token) in &wrong {
                let refused =
                    Ztunnel::connect(&dial(ground, "server", port, token.clone())?, Kept::default()).await.err();
                let refused = refused.with_context(|| format!("{whose} was let in"))?;
                ensure!(format!("{refused:#}").contains("unauthenticated"), "{whose}: {refused:#}");
            }
            Ok::<_, anyhow::Error>(())
        })?;
        let log = agent.log()?;
        ensure!(
            !log.contains(&good) && wrong[..3].iter().all(|(_, token)| !log.contains(token)),
            "a token is in the log"
        );
        Ok(())
    })
}
