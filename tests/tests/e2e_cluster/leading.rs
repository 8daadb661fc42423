//! One agent of a real cluster writes for all: who that is, what happens to one that stands still, and what it needs to be allowed.
//!
//! What is written goes on objects of this story alone: the mesh of its agents has no other namespaces, and the right to write is
//! bound in one of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use deploy_checks::rights::{RIGHTS, Right};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::candidate::artifact;
use tests::demo::agent::Agent;
use tests::packed;

use crate::account::{Account, EVERYTHING, RULES, wait_allowed};
use crate::bookinfo;
use crate::ground::{Ground, LABEL, eventually, play};
use crate::mesh::gateway;
use crate::node::{BUILT_IN, flags, ready, wait_said};
use crate::rights::{MESH, OF_THE_LEADER, without};

/// Long enough for a machine that is busy, short enough to be outlasted.
const LEASE_SECONDS: u64 = 5;
/// As the roles in `deploy/` name it.
const LEASE: &str = "wayswitch-leader";
/// What each kind of the story is asked for as.
const WRITTEN: &str = "services,serviceentries,workloadentries,authorizationpolicies,pods";

struct Story<'a> {
    ground: &'a Ground,
    account: Account,
    kubeconfig: PathBuf,
    /// Where the mesh is.
    namespace: String,
}

impl<'a> Story<'a> {
    fn begin(ground: &'a Ground) -> Result<Self> {
        let account = Account::apply(ground, &[EVERYTHING])?;
        let labels = json!({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" });
        let namespace = ground.namespace("led", labels)?;
        for role in ["wayswitch-conditions", "wayswitch-labels"] {
            let role = ground.named(role);
            ground.kubectl.run(&["delete", "clusterrolebinding", &role])?;
            ground.kubectl.apply(&[json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": { "name": role, "namespace": namespace },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
                "subjects": [{ "kind": "ServiceAccount", "name": "wayswitch", "namespace": account.namespace }] })])?;
        }
        let own = format!("discoverySelectors: [{{matchLabels: {{{LABEL}: {}}}}}]\n", ground.prefix);
        ground.config_map(&account.namespace, MESH, json!({ "mesh": own }))?;
        ground.config_map(&account.namespace, RULES, json!({ "config.yaml": BUILT_IN }))?;
        let mut waypoint = gateway(&namespace, &ground.named("waypoint"));
        waypoint["metadata"]["labels"] = json!({ "istio.io/waypoint-for": "all" });
        let status = waypoint.clone();
        waypoint.as_object_mut().and_then(|it| it.remove("status"));
        ground.kubectl.apply(&[bookinfo::class(ground), waypoint])?;
        ground.kubectl.set_status(&[status])?;
        let kubeconfig = account.kubeconfig(ground, "wayswitch")?;
        let story = Self { ground, account, kubeconfig, namespace };
        story.add("first")?;
        Ok(story)
    }

    /// One object of each kind that is written on, by this name.
    fn add(&self, name: &str) -> Result<()> {
        let meta = json!({ "name": name, "namespace": self.namespace });
        let host = format!("{name}.example.test");
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": { "schedulerName": "wayswitch-e2e-none",
            "containers": [{ "name": "c", "image": "none.invalid/none:1" }] } });
        let objects = [
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": meta,
                "spec": { "ports": [{ "name": "http", "port": 80 }], "selector": { "app": name } } }),
            json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": { "hosts": [host],
                "location": "MESH_INTERNAL", "resolution": "STATIC", "addresses": ["192.0.2.40"],
                "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }], "endpoints": [{ "address": "192.0.2.41" }] } }),
            json!({ "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": meta,
                "spec": { "address": "192.0.2.42", "serviceAccount": "default" } }),
            json!({ "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": meta,
                "spec": { "action": "DENY", "rules": [{ "from": [{ "source": { "namespaces": ["nobody"] } }] }] } }),
            pod.clone(),
        ];
        self.ground.kubectl.apply(&objects)?;
        let mut pod = pod;
        pod["status"] = json!({ "phase": "Running", "podIP": "192.0.2.43", "podIPs": [{ "ip": "192.0.2.43" }],
            "conditions": [{ "type": "Ready", "status": "True" }] });
        self.ground.kubectl.set_status(&[pod])
    }

    fn agent(&self, name: &str, more: &[&str]) -> Result<Agent> {
        let mut all = flags(self.ground, name, &self.account.namespace, &self.kubeconfig);
        let namespace = &self.account.namespace;
        all.extend(["--mesh-config".to_owned(), format!("configmap:{namespace}/{MESH}")].map(OsString::from));
        all.extend(["--lease".to_owned(), format!("{namespace}/{LEASE}")].map(OsString::from));
        all.extend(["--lease-seconds", &LEASE_SECONDS.to_string(), "--lease-identity", name].map(OsString::from));
        all.extend(more.iter().map(OsString::from));
        ready(self.ground, name, all)
    }

    fn wait_holder(&self, name: &str) -> Result<()> {
        let arguments = ["leases", LEASE, "-n", &self.account.namespace];
        eventually(&format!("{name} to lead"), || {
            let lease = self.ground.kubectl.get(&arguments)?;
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            Ok(holder.starts_with(name).then_some(()))
        })
    }

    /// Waits for a condition of the Service `first`.
    fn wait_bound(&self, status: &str) -> Result<()> {
        eventually(&format!("the condition to be {status}"), || {
            let service = self.ground.kubectl.get(&["services", "first", "-n", &self.namespace])?;
            let conditions = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_so = |it: &Value| it["type"] == "istio.io/WaypointBound" && it["status"] == status;
            Ok(conditions.iter().any(is_so).then_some(()))
        })
    }

    fn wait_done(&self, agent: &Agent) -> Result<()> {
        eventually("nothing to be left to write", || {
            let seen = agent.admin().value("/conditions")?;
            let is_done = seen["pending"] == 0 && seen["lastRoundSecondsAgo"].as_u64().is_some_and(|it| it <= 1);
            Ok((is_done && seen["leader"] == true).then_some(()))
        })
    }

    /// Each object that may be written on, with its version.
    fn versions(&self) -> Result<Vec<String>> {
        let all = self.ground.kubectl.get(&[WRITTEN, "-n", &self.namespace])?;
        let items = all["items"].as_array().context("no items")?;
        ensure!(items.len() >= 5, "{} objects", items.len());
        let version =
            |it: &Value| format!("{} {} {}", it["kind"], it["metadata"]["name"], it["metadata"]["resourceVersion"]);
        Ok(items.iter().map(version).collect())
    }
}

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn one_agent_writes_for_all_and_one_that_stood_still_writes_nothing() -> Result<()> {
    play(|ground| {
        let story = Story::begin(ground)?;
        let all = ["--conditions", "write", "--write-labels"];
        let first = story.agent("first", &all)?;
        story.wait_bound("True")?;
        let second = story.agent("second", &all)?;
        story.wait_holder("first")?;

        let process = Pid::from_raw(first.id().try_into()?).context("no process")?;
        kill_process(process, Signal::STOP)?;
        story.wait_holder("second")?;
        // Something to write, which the first has not heard of.
        let mut waypoint = gateway(&story.namespace, &ground.named("waypoint"));
        waypoint["status"]["addresses"] = json!([]);
        ground.kubectl.set_status(&[waypoint])?;
        story.wait_bound("False")?;
        story.wait_done(&second)?;
        let before = story.versions()?;
        kill_process(process, Signal::CONT)?;
        eventually("the first to be there again", || Ok(first.admin().get("/healthz").ok()))?;
        sleep(Duration::from_secs(LEASE_SECONDS + 3));
        story.wait_holder("second")?;
        let after = story.versions()?;
        ensure!(before == after, "somebody wrote: {before:#?} became {after:#?}");
        let seen = first.admin().value("/conditions")?;
        ensure!(seen["leader"] == false, "{seen}");

        // Who goes in an orderly way gives the Lease back.
        ensure!(second.stop()?.success(), "it did not end well");
        story.wait_holder("first")?;
        ensure!(first.stop()?.success(), "it did not end well");
        Ok(())
    })
}

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn without_any_one_right_of_the_leader_what_cannot_be_written_is_named() -> Result<()> {
    play(|ground| {
        let story = Story::begin(ground)?;
        let user = story.account.user("wayswitch");
        let mut failures = Vec::new();
        let rights: Vec<&Right> = RIGHTS.iter().filter(|(role, ..)| OF_THE_LEADER.contains(role)).collect();
        ensure!(rights.len() > 10, "{} rights", rights.len());
        for (number, right) in rights.into_iter().enumerate() {
            let (name, _, resource, verb, ..) = right;
            let role = story.account.role(name)?;
            let mut less = without(role, right)?;
            if (*name, *verb) == (LEASE, "get") {
                // A watch would tell it before it has to be asked for.
                let watch = RIGHTS.iter().find(|it| (it.0, it.3) == (LEASE, "watch")).context("no such right")?;
                less = without(&less, watch)?;
            }
            ground.kubectl.apply(&[less])?;
            let question = story.question(right);
            let question: Vec<&str> = question.iter().map(String::as_str).collect();
            let told = wait_allowed(&ground.kubectl, &user, &question, false)
                .and_then(|()| story.without(right, &format!("n{number}")));
            match told {
                Ok(()) => println!("without {verb} {resource}: said"),
                Err(error) => failures.push(format!("without {verb} {resource}: {error:#}")),
            }
            ground.kubectl.apply(std::slice::from_ref(role))?;
            wait_allowed(&ground.kubectl, &user, &question, true)?;
        }
        ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
        story.with_all()
    })
}

impl Story<'_> {
    fn question(&self, (role, group, resource, verb, named, _): &Right) -> Vec<String> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let what = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let what = if *named { format!("{what}/{LEASE}") } else { what };
        let namespace = if *role == LEASE { &self.account.namespace } else { &self.namespace };
        let mut question = vec![(*verb).to_owned(), what, "-n".to_owned(), namespace.clone()];
        if !subresource.is_empty() {
            question.push(format!("--subresource={subresource}"));
        }
        question
    }

    /// Rules that leave everything without a waypoint where the label of the namespace says one.
    fn configure_labels(&self) -> Result<()> {
        let component = packed::base64(&packed::gzip(&artifact("service-account")?)?);
        self.ground.kubectl.apply(&[json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": RULES, "namespace": self.account.namespace },
            "data": { "config.yaml": "component: rules.wasm.gz\n" }, "binaryData": { "rules.wasm.gz": component } })])
    }

    /// What is missing is said as the API server says it.
    fn without(&self, (role, group, resource, verb, ..): &Right, node: &str) -> Result<()> {
        let said = format!("cannot {verb} resource \"{resource}\" in API group \"{group}\"");
        let lease = ["lease", LEASE, "-n", &self.account.namespace];
        if (*role, *verb) == (LEASE, "create") {
            self.ground.kubectl.run(&[&["delete", "--ignore-not-found"], lease.as_slice()].concat())?;
        }
        let flag: &[&str] = if *role == "wayswitch-labels" { &["--write-labels"] } else { &["--conditions", "write"] };
        if *role == "wayswitch-labels" {
            self.configure_labels()?;
        }
        // What was written by an earlier leader needs no second write.
        self.add(node)?;
        let agent = self.agent(node, flag)?;
        if (*role, *verb) == (LEASE, "get") {
            self.wait_holder(node)?;
            let mut change = vec!["annotate", "--overwrite"];
            change.extend(lease);
            change.push("wayswitch.io/e2e=changed");
            self.ground.kubectl.run(&change)?;
        }
        wait_said(&agent, &said)?;
        agent.stop().map(drop)
    }

    /// With all of them everything is written, and nothing is missed.
    fn with_all(&self) -> Result<()> {
        self.configure_labels()?;
        let agent = self.agent("whole", &["--conditions", "write", "--write-labels"])?;
        self.wait_holder("whole")?;
        for kind in ["services", "serviceentries", "workloadentries", "pods"] {
            eventually(&format!("a label on {kind}"), || {
                let object = self.ground.kubectl.get(&[kind, "first", "-n", &self.namespace])?;
                Ok((object["metadata"]["labels"]["istio.io/use-waypoint"] == "none").then_some(()))
            })?;
        }
        self.ground.config_map(&self.account.namespace, RULES, json!({ "config.yaml": BUILT_IN }))?;
        self.wait_bound("True")?;
        for (kind, condition) in [
            ("serviceentries", "istio.io/WaypointBound"),
            ("workloadentries", "istio.io/WaypointBound"),
            ("authorizationpolicies", "ZtunnelAccepted"),
        ] {
            eventually(&format!("a condition on {kind}"), || {
                let object = self.ground.kubectl.get(&[kind, "first", "-n", &self.namespace])?;
                let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
                Ok(conditions.iter().any(|it| it["type"] == condition).then_some(()))
            })?;
        }
        self.wait_done(&agent)?;
        let seen = agent.admin().value("/conditions")?;
        ensure!(seen["problems"].as_array().is_some_and(Vec::is_empty), "{seen}");
        ensure!(agent.stop()?.success(), "it did not end well");
        Ok(())
    }
}
