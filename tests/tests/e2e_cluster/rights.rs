//! Least rights: without any one of them something fails, and says which one it was; with all of them nothing does. The list is the
//! one that `deploy/` is checked against.

use std::collections::BTreeMap;
use std::process::Output;

use anyhow::{Context as _, Result, bail, ensure};
use deploy_checks::manifest::{list, text};
use deploy_checks::rights::{RIGHTS, Right};
use serde_json::{Value, json};
use tests::demo::agent::{Agent, command};
use tests::ztunnel::{Kept, Ztunnel};

use crate::account::{Account, EVERYTHING, RULES, ZTUNNEL, wait_allowed};
use crate::ground::{Ground, PATIENCE, play};
use crate::node::{BUILT_IN, flags, ready, start, wait_running, wait_said};
use crate::tokens::{dial, free_port, runtime, serving};

/// The ConfigMap of MeshConfig that the rendering names.
pub(crate) const MESH: &str = "istio-canary";

/// Rights of the leader: told in a story of its own, where there is a leader.
pub(crate) const OF_THE_LEADER: [&str; 3] = ["wayswitch-leader", "wayswitch-conditions", "wayswitch-labels"];

/// The account of the uninstall's hook, and the DaemonSet that it waits for.
const HOOK: &str = "wayswitch-cleanup";

fn is_of_the_hook(role: &str) -> bool {
    role.starts_with(HOOK)
}

/// A role that lacks one right.
pub(crate) fn without(role: &Value, (_, group, resource, verb, ..): &Right) -> Result<Value> {
    let mut rules = Vec::new();
    let mut taken = 0;
    for rule in list(role, "/rules") {
        for of in list(rule, "/apiGroups") {
            for what in list(rule, "/resources") {
                for how in list(rule, "/verbs") {
                    if (of, what, how) == (&json!(group), &json!(resource), &json!(verb)) {
                        taken += 1;
                        continue;
                    }
                    let mut one = json!({ "apiGroups": [of], "resources": [what], "verbs": [how] });
                    if rule["resourceNames"].is_array() {
                        one["resourceNames"] = rule["resourceNames"].clone();
                    }
                    rules.push(one);
                }
            }
        }
    }
    ensure!(taken == 1, "{verb} {resource} is {taken} times in {}", text(role, "/metadata/name"));
    let mut role = role.clone();
    role["rules"] = json!(rules);
    Ok(role)
}

/// The question to the API server whether one has it.
fn question(account: &Account, (_, group, resource, verb, named, _): &Right, role: &Value) -> Vec<String> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let mut what = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    if *named {
        let name = list(role, "/rules/0/resourceNames").chain(list(role, "/rules/1/resourceNames")).next();
        what = format!("{what}/{}", name.and_then(Value::as_str).unwrap_or_default());
    }
    let mut question = vec![(*verb).to_owned(), what];
    if !subresource.is_empty() {
        question.push(format!("--subresource={subresource}"));
    }
    match text(role, "/kind") {
        "Role" => question.extend(["-n".to_owned(), account.namespace.clone()]),
        _ => question.push("-A".to_owned()),
    }
    question
}

#[test]
#[ignore = "needs a cluster: cargo xtask e2e kubernetes"]
fn without_any_one_right_something_named_fails_and_with_all_nothing_does() -> Result<()> {
    play(|ground| {
        let account = Account::apply(ground, &[EVERYTHING, ZTUNNEL])?;
        ground.config_map(&account.namespace, MESH, json!({ "mesh": "rootNamespace: istio-system\n" }))?;
        ground.config_map(&account.namespace, RULES, json!({ "config.yaml": BUILT_IN }))?;
        let ztunnel = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "ztunnel", "namespace": account.namespace } });
        ground.kubectl.apply(&[ztunnel])?;
        let story = Story { kubeconfig: account.kubeconfig(ground, "wayswitch")?, ground, account };

        story.with_all()?;
        let mut failures = BTreeMap::new();
        let rights = RIGHTS.iter().filter(|(role, ..)| !OF_THE_LEADER.contains(role));
        for (number, right) in rights.enumerate() {
            let (role, _, resource, verb, ..) = right;
            let object = story.account.role(role)?;
            ground.kubectl.apply(&[without(object, right)?])?;
            let user = story.account.user(if is_of_the_hook(role) { HOOK } else { "wayswitch" });
            let question = question(&story.account, right, object);
            let question: Vec<&str> = question.iter().map(String::as_str).collect();
            let told = wait_allowed(&ground.kubectl, &user, &question, false)
                .and_then(|()| story.without(right, &format!("n{number}")));
            match told {
                Ok(()) => println!("without {verb} {resource}: said"),
                Err(error) => drop(failures.insert(format!("{verb} {resource}"), format!("{error:#}"))),
            }
            ground.kubectl.apply(std::slice::from_ref(object))?;
            wait_allowed(&ground.kubectl, &user, &question, true)?;
        }
        let told: Vec<String> = failures.iter().map(|(right, why)| format!("without {right}: {why}")).collect();
        ensure!(failures.is_empty(), "{}", told.join("\n\n"));
        story.with_all()
    })
}

struct Story<'a> {
    ground: &'a Ground,
    account: Account,
    kubeconfig: std::path::PathBuf,
}

impl Story<'_> {
    fn flags(&self, node: &str) -> Vec<std::ffi::OsString> {
        let mut flags = flags(self.ground, node, &self.account.namespace, &self.kubeconfig);
        flags.extend(
            ["--mesh-config".to_owned(), format!("configmap:{}/{MESH}", self.account.namespace)].map(Into::into),
        );
        flags
    }

    /// The whole role is enough: nothing that the agent may not do, and all that it does.
    fn with_all(&self) -> Result<()> {
        let port = free_port()?;
        let mut flags = self.flags("whole");
        flags.extend(serving(self.ground, &self.account, "whole", port));
        let agent = ready(self.ground, "whole", flags)?;
        wait_running(self.ground, "whole", "the node to say what it runs", |it| it["state"] == "active")?;
        self.ztunnel("whole", port).context("a ztunnel was not let in")?;
        let kubernetes = agent.admin().value("/readyz")?["kubernetes"].take();
        ensure!(kubernetes["problems"].as_array().is_some_and(Vec::is_empty), "{kubernetes}");
        let log = agent.log()?;
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains(" cannot ") || line.contains("may not ")).collect();
        ensure!(lines.is_empty(), "with all rights it says: {lines:#?}");
        ensure!(self.cleaned()?.status.code() == Some(1), "the DaemonSet that is not there was waited for");
        self.done_on_no_node()?;
        ensure!(self.cleaned()?.status.success(), "the DaemonSet that is done is not removed");
        let left = self.ground.kubectl.get(&["daemonset", HOOK, "-n", &self.account.namespace])?;
        ensure!(left.is_null() || !left["metadata"]["deletionTimestamp"].is_null(), "it is still there");
        self.write_on_objects()?;
        let output = self.hook(&["--labels"])?;
        let told = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && told.contains("removed labels of 4 of"), "cleanup says {told}");
        ensure!(told.contains("removed conditions of 4 of"), "cleanup says {told}");
        Ok(())
    }

    fn ztunnel(&self, node: &str, port: u16) -> Result<()> {
        let token = self.account.token(self.ground, "ztunnel", &["--audience=istio-ca"])?;
        runtime()?.block_on(async {
            let mut ztunnel = Ztunnel::connect(&dial(self.ground, node, port, token)?, Kept::default()).await?;
            ztunnel.step().await.map(drop)
        })
    }

    /// What the uninstall's hook runs: it waits for the nodes.
    fn cleaned(&self) -> Result<Output> {
        let name = format!("{}/{HOOK}", self.account.namespace);
        self.hook(&["--timeout", "2", "--wait-for", &name, "--then-remove"])
    }

    fn hook(&self, arguments: &[&str]) -> Result<Output> {
        let kubeconfig = self.account.kubeconfig(self.ground, HOOK)?;
        Ok(command()?.arg("cleanup").args(arguments).env("KUBECONFIG", kubeconfig).output()?)
    }

    /// Without one right of the hook it says so, and has not done what it was to do.
    fn hook_without(&self, (role, _, _, verb, ..): &Right, said: &str) -> Result<()> {
        let output = match (*role, *verb) {
            (HOOK, "delete") => {
                self.done_on_no_node()?;
                self.cleaned()?
            }
            (HOOK, _) => self.cleaned()?,
            _ => {
                self.write_on_objects()?;
                self.hook(&["--labels"])?
            }
        };
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && told.contains(said), "cleanup says {told}");
        let arguments = ["delete", "daemonset", HOOK, "-n", &self.account.namespace, "--ignore-not-found"];
        self.ground.kubectl.run(&arguments).map(drop)
    }

    /// A DaemonSet that is for no node, so it is ready on all.
    fn done_on_no_node(&self) -> Result<()> {
        let labels = json!({ "e2e": HOOK });
        let daemon_set = json!({ "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": { "name": HOOK, "namespace": self.account.namespace },
            "spec": { "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels },
                "spec": { "nodeSelector": { "e2e": "nowhere" }, "containers": [{ "name": "a", "image": "none" }] } } },
            "status": { "observedGeneration": 1, "numberReady": 0, "desiredNumberScheduled": 0,
                "currentNumberScheduled": 0, "numberMisscheduled": 0 } });
        self.ground.kubectl.apply(&[without_status(&daemon_set)])?;
        self.ground.kubectl.set_status(&[daemon_set])
    }

    /// An object of each kind that agents write on, with labels and conditions of theirs.
    fn write_on_objects(&self) -> Result<()> {
        let condition = json!([{ "type": "istio.io/WaypointBound", "status": "True", "reason": "WaypointAccepted",
            "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
        let pod = json!({ "schedulerName": "nobody", "containers": [{ "name": "a", "image": "none" }] });
        for (version, kind, labels, conditions, spec) in [
            ("v1", "Service", true, true, json!({ "ports": [{ "port": 80 }] })),
            ("v1", "Pod", true, false, pod),
            ("networking.istio.io/v1", "ServiceEntry", true, true, json!({ "hosts": ["e2e.example.com"] })),
            ("networking.istio.io/v1", "WorkloadEntry", true, true, json!({ "address": "192.0.2.1" })),
            ("security.istio.io/v1", "AuthorizationPolicy", false, true, json!({})),
        ] {
            let name = json!({ "name": "written", "namespace": self.account.namespace });
            let object = json!({ "apiVersion": version, "kind": kind, "metadata": name });
            let with = |pointer: &str, value: Value| {
                let mut object = object.clone();
                object[pointer] = value;
                object
            };
            let kubectl = &self.ground.kubectl;
            kubectl.apply(&[with("spec", spec)])?;
            let by = |manager: &str| format!("--field-manager=wayswitch-{manager}");
            let apply = ["apply", "--server-side", "--validate=false", "-f", "-"];
            if labels {
                let mut name = name.clone();
                name["labels"] = json!({ "istio.io/use-waypoint": "w" });
                name["annotations"] = json!({ "wayswitch.io/labels-written": "w" });
                kubectl.feed(&[&apply[..], &[&by("labels")]].concat(), &with("metadata", name))?;
            }
            if conditions {
                let by = by("conditions");
                let arguments = [&apply[..], &[by.as_str(), "--subresource=status"]].concat();
                kubectl.feed(&arguments, &with("status", json!({ "conditions": condition })))?;
            }
        }
        Ok(())
    }

    /// What fails without a right names it.
    fn without(&self, right: &Right, node: &str) -> Result<()> {
        let (role, group, resource, verb, ..) = right;
        // As the API server says it, which the agent must pass on.
        let said = format!("cannot {verb} resource \"{resource}\" in API group \"{group}\"");
        if is_of_the_hook(role) {
            return self.hook_without(right, &said);
        }
        let port = free_port()?;
        let mut flags = self.flags(node);
        if *role == "wayswitch-token-review" {
            flags.extend(serving(self.ground, &self.account, node, port));
        }
        let mut agent = start(self.ground, node, flags)?;
        match (*role, *verb) {
            ("wayswitch-mesh", _) => return self.misses_kind(&mut agent, right, &said),
            ("wayswitch-token-review", _) => {
                ensure!(self.ztunnel(node, port).is_err(), "a ztunnel was let in that nobody vouched for");
            }
            ("wayswitch-events", "patch") => {
                // The second of its kind is counted with the first.
                for wrong in ["component: gone.wasm\n", "component: lost.wasm\n"] {
                    self.ground.config_map(&self.account.namespace, RULES, json!({ "config.yaml": wrong }))?;
                    let reason = wrong.trim_start_matches("component: ").trim_end().to_owned();
                    wait_running(self.ground, node, "the refusal", |it| it["reason"].to_string().contains(&reason))?;
                }
                let told = wait_said(&agent, &said);
                self.ground.config_map(&self.account.namespace, RULES, json!({ "config.yaml": BUILT_IN }))?;
                return told;
            }
            _ => {}
        }
        wait_said(&agent, &said)
    }

    /// A kind that cannot be read, or not be followed, stands where an operator looks first; the rest goes on.
    fn misses_kind(&self, agent: &mut Agent, (_, group, resource, verb, ..): &Right, said: &str) -> Result<()> {
        let resource = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
        wait_said(agent, said)?;
        agent.wait_ready(PATIENCE)?;
        let kubernetes = agent.admin().get("/readyz")?.json()?["kubernetes"].take();
        let problems: Vec<&str> = list(&kubernetes, "/problems").filter_map(Value::as_str).collect();
        match problems.as_slice() {
            [one] if one.contains(&format!("may not {verb} {resource}")) => Ok(()),
            other => bail!("/readyz has the problems {other:?}"),
        }
    }
}

fn without_status(object: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().map(|it| it.remove("status"));
    object
}
