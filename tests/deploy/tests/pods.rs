//! What the pods may, and that their parts fit together: rights, security contexts, folders of the node, mounts, ports. Read from
//! what is committed of the renderings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use deploy_checks::manifest::{list, read, text};
use deploy_checks::rights::{RIGHTS, granted, table};
use deploy_checks::root;
use serde_json::{Value, json};

const RENDERINGS: [&str; 5] = [
    "deploy/kustomize/rendered/ztunnel.yaml",
    "deploy/kustomize/rendered/redirect.yaml",
    "deploy/kustomize/rendered/cleanup.yaml",
    "tests/data/deploy/everything.yaml",
    "tests/data/deploy/bare.yaml",
];

fn roles(path: &str) -> Result<BTreeSet<String>> {
    Ok(granted(&read(path)?).into_iter().map(|(role, ..)| role).collect())
}

#[test]
fn every_right_has_a_story_and_every_story_its_right() -> Result<()> {
    let mut all = BTreeSet::new();
    for path in RENDERINGS {
        all.extend(granted(&read(path)?));
    }
    let table = table();
    ensure!(table.len() == RIGHTS.len(), "a right is in the table twice");
    let (more, less): (Vec<_>, Vec<_>) = (all.difference(&table).collect(), table.difference(&all).collect());
    ensure!(more.is_empty(), "rights without a story in tests/deploy/src/rights.rs: {more:?}");
    ensure!(less.is_empty(), "stories without their right in the chart: {less:?}");
    ensure!(
        all.iter().all(|(_, group, resource, verb, _)| ![group, resource, verb].contains(&&"*".to_owned())),
        "a wildcard"
    );
    Ok(())
}

#[test]
fn a_role_is_there_only_with_what_it_is_for() -> Result<()> {
    let of = |names: &[&str]| names.iter().map(|it| format!("wayswitch-{it}")).collect::<BTreeSet<_>>();
    let always = ["mesh", "rules", "node-status", "events"];
    ensure!(roles(RENDERINGS[0])? == of(&[&always[..], &["token-review"]].concat()), "ztunnel");
    ensure!(roles(RENDERINGS[1])? == of(&always), "redirect");
    ensure!(roles(RENDERINGS[2])?.is_empty(), "cleanup");
    ensure!(roles(RENDERINGS[4])? == of(&["mesh", "rules", "token-review"]), "bare");
    Ok(())
}

#[test]
fn roles_are_given_to_the_account_of_the_pods_and_to_nobody_else() -> Result<()> {
    for path in RENDERINGS {
        let objects = read(path)?;
        let bound: BTreeSet<&str> = objects
            .iter()
            .filter(|it| text(it, "/kind").ends_with("RoleBinding"))
            .map(|it| {
                let cleanup = text(it, "/metadata/name").starts_with("wayswitch-cleanup");
                let name = if cleanup { "wayswitch-cleanup" } else { "wayswitch" };
                let wanted = json!([{"kind": "ServiceAccount", "name": name, "namespace": "wayswitch-system"}]);
                ensure!(it["subjects"] == wanted, "{path}: {} is for {}", text(it, "/metadata/name"), it["subjects"]);
                Ok(text(it, "/roleRef/name"))
            })
            .collect::<Result<_>>()?;
        let roles = roles(path)?;
        ensure!(
            bound == roles.iter().map(String::as_str).collect(),
            "{path}: {bound:?} are bound, {roles:?} are there"
        );
    }
    Ok(())
}

#[test]
fn the_security_guide_names_every_role_and_resource() -> Result<()> {
    let guide = fs::read_to_string(root().join("docs/security.md"))?;
    for (role, _, resource, ..) in RIGHTS {
        let row = guide
            .lines()
            .find(|line| line.starts_with(&format!("| `{role}`")))
            .with_context(|| format!("no row of {role}"))?;
        ensure!(row.contains(resource), "the row of {role} does not name {resource}");
    }
    Ok(())
}

/// Every pod template, with the name of what makes pods of it.
fn pods(path: &str) -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for object in read(path)? {
        let spec = match text(&object, "/kind") {
            "DaemonSet" | "Job" => object.pointer("/spec/template/spec"),
            "Pod" => object.pointer("/spec"),
            _ => continue,
        };
        all.push((text(&object, "/metadata/name").to_owned(), spec.context("no pod")?.clone()));
    }
    ensure!(!all.is_empty(), "{path} has no pods");
    Ok(all)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, "/initContainers").chain(list(pod, "/containers"))
}

#[test]
fn no_container_may_more_than_it_needs() -> Result<()> {
    for path in RENDERINGS {
        for (name, pod) in pods(path)? {
            for flag in ["hostNetwork", "hostPID", "hostIPC"] {
                ensure!(pod[flag] != true, "{path} {name}: {flag}");
            }
            ensure!(text(&pod, "/securityContext/seccompProfile/type") == "RuntimeDefault", "{path} {name}: seccomp");
            for container in containers(&pod) {
                let context = &container["securityContext"];
                let at = format!("{path} {name} {}", text(container, "/name"));
                ensure!(
                    context["privileged"] != true && context["allowPrivilegeEscalation"] == false,
                    "{at}: privileges"
                );
                ensure!(context["readOnlyRootFilesystem"] == true, "{at}: may write its root");
                ensure!(context["capabilities"]["drop"] == json!(["ALL"]), "{at}: keeps capabilities");
                ensure!(!text(container, "/resources/limits/memory").is_empty(), "{at}: no limit");
                ensure!(container["resources"]["requests"].is_object(), "{at}: no requests");
            }
        }
    }
    Ok(())
}

#[test]
fn capabilities_go_with_folders_of_the_kernel() -> Result<()> {
    for path in RENDERINGS {
        for (name, pod) in pods(path)? {
            for container in containers(&pod) {
                let at = format!("{path} {name} {}", text(container, "/name"));
                let has_bpf = list(container, "/volumeMounts").any(|it| text(it, "/mountPath") == "/host/bpf");
                let wanted = if has_bpf { json!(["BPF", "NET_ADMIN", "SYS_ADMIN"]) } else { Value::Null };
                ensure!(added(container) == wanted, "{at}: {}", added(container));
            }
        }
    }
    let of = |index: usize| {
        Ok::<_, anyhow::Error>(
            pods(RENDERINGS[index])?.into_iter().find(|(name, _)| name == "wayswitch").context("no agent")?.1,
        )
    };
    ensure!(added(&of(0)?["containers"][0]).is_null(), "an agent that redirects nothing needs no capability");
    ensure!(added(&of(1)?["containers"][0]).is_array(), "one that redirects does");
    ensure!(of(4)?["containers"][0]["securityContext"]["runAsNonRoot"] == true, "one that mounts nothing is not root");
    Ok(())
}

/// The capabilities that are added, null for none.
fn added(container: &Value) -> Value {
    container.pointer("/securityContext/capabilities/add").cloned().unwrap_or_default()
}

#[test]
fn only_these_folders_of_the_node_are_mounted() -> Result<()> {
    // Path, and whether it may be written.
    let known = BTreeMap::from([
        ("/sys/fs/bpf", true),
        ("/sys/fs/cgroup", false),
        ("/var/lib/wayswitch", true),
        ("/run/wayswitch", true),
    ]);
    for path in RENDERINGS {
        for (name, pod) in pods(path)? {
            for volume in list(&pod, "/volumes").filter(|it| it.get("hostPath").is_some()) {
                let folder = text(volume, "/hostPath/path");
                let may_write = *known.get(folder).with_context(|| format!("{path} {name}: {folder}"))?;
                for mount in
                    containers(&pod).flat_map(|it| list(it, "/volumeMounts")).filter(|it| it["name"] == volume["name"])
                {
                    ensure!(may_write || mount["readOnly"] == true, "{path} {name}: {folder} may be written");
                    ensure!(mount.get("mountPropagation").is_none(), "{path} {name}: {folder} propagates mounts");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn mounts_volumes_and_arguments_belong_together() -> Result<()> {
    for path in RENDERINGS {
        for (name, pod) in pods(path)? {
            let volumes: BTreeSet<&str> = list(&pod, "/volumes").map(|it| text(it, "/name")).collect();
            let mounted: BTreeSet<&str> =
                containers(&pod).flat_map(|it| list(it, "/volumeMounts")).map(|it| text(it, "/name")).collect();
            ensure!(volumes == mounted, "{path} {name}: volumes {volumes:?}, mounted {mounted:?}");
            for container in containers(&pod) {
                let mounts: Vec<&str> = list(container, "/volumeMounts").map(|it| text(it, "/mountPath")).collect();
                for argument in list(container, "/args").filter_map(Value::as_str) {
                    let Some((_, file)) = argument.split_once("=/") else { continue };
                    let file = format!("/{file}");
                    ensure!(mounts.iter().any(|it| file.starts_with(it)), "{path} {name}: {argument} is not mounted");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn services_probes_and_policies_meet_the_agents_ports() -> Result<()> {
    for path in [RENDERINGS[0], RENDERINGS[1], RENDERINGS[3], RENDERINGS[4]] {
        let objects = read(path)?;
        let daemon_set =
            objects.iter().find(|it| text(it, "/kind") == "DaemonSet" && text(it, "/metadata/name") == "wayswitch");
        let template = &daemon_set.context("no DaemonSet")?["spec"]["template"];
        let agent = &template["spec"]["containers"][0];
        let ports: BTreeSet<&str> = list(agent, "/ports").map(|it| text(it, "/name")).collect();
        let mut asked = BTreeSet::new();
        for probe in ["livenessProbe", "readinessProbe"] {
            asked.insert(text(&agent[probe], "/httpGet/port"));
        }
        for service in objects.iter().filter(|it| text(it, "/kind") == "Service") {
            for (label, value) in service["spec"]["selector"].as_object().context("no selector")? {
                ensure!(
                    template["metadata"]["labels"][label] == *value,
                    "{path}: a Service selects other pods by {label}"
                );
            }
            asked.extend(list(service, "/spec/ports").map(|it| text(it, "/targetPort")));
        }
        for policy in objects.iter().filter(|it| text(it, "/kind") == "NetworkPolicy") {
            asked.extend(list(policy, "/spec/ingress").flat_map(|it| list(it, "/ports")).map(|it| text(it, "/port")));
        }
        ensure!(asked == ports, "{path}: the agent has {ports:?}, asked for are {asked:?}");
        ensure!(
            template["metadata"]["labels"]["istio.io/dataplane-mode"] == "none",
            "{path}: the agent would wait for its own ztunnel"
        );
    }
    Ok(())
}

#[test]
fn a_ztunnel_reaches_the_agent_of_its_own_node_only() -> Result<()> {
    let objects = read(RENDERINGS[0])?;
    let service = objects
        .iter()
        .find(|it| text(it, "/kind") == "Service" && text(it, "/metadata/name") == "wayswitch")
        .context("no Service")?;
    ensure!(text(service, "/spec/internalTrafficPolicy") == "Local", "another node's agent would turn it away");
    let port = &service["spec"]["ports"][0]["port"];
    let values = read("deploy/ztunnel-values.yaml")?;
    let address = format!("https://wayswitch.wayswitch-system.svc:{port}");
    ensure!(text(&values[0], "/xdsAddress") == address, "ztunnel-values.yaml names another address than {address}");
    let agent = &pods(RENDERINGS[0])?[0].1;
    let arguments: Vec<&str> = list(agent, "/containers/0/args").filter_map(Value::as_str).collect();
    ensure!(arguments.contains(&"--xds-name=wayswitch.wayswitch-system.svc"), "the certificate has another name");
    // The root certificate, from where the agent writes it to where ztunnel reads it.
    let state = list(agent, "/volumes").find(|it| text(it, "/name") == "state").context("no state")?;
    let shared = format!("{}/xds/shared", text(state, "/hostPath/path"));
    ensure!(text(&values[0], "/volumes/0/hostPath/path") == shared, "ztunnel mounts another folder than {shared}");
    let root = format!("{}/root-cert.pem", text(&values[0], "/volumeMounts/0/mountPath"));
    ensure!(text(&values[0], "/env/XDS_ROOT_CA") == root, "ztunnel looks for the certificate elsewhere than {root}");
    ensure!(values[0]["volumeMounts"][0]["readOnly"] == true, "ztunnel must not write there");
    Ok(())
}

#[test]
fn no_node_is_cleaned_while_its_agent_may_write() -> Result<()> {
    let agent = &pods(RENDERINGS[3])?.into_iter().find(|(name, _)| name == "wayswitch").context("no agent")?.1;
    for path in [RENDERINGS[2], RENDERINGS[3]] {
        let objects = read(path)?;
        let named =
            |wanted| move |it: &&Value| text(it, "/kind") == "DaemonSet" && text(it, "/metadata/name") == wanted;
        let cleaning = objects.iter().find(named("wayswitch-cleanup")).context("no clean-up")?;
        let affinity = &cleaning["spec"]["template"]["spec"]["affinity"];
        let rule = &affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
        ensure!(text(rule, "/topologyKey") == "kubernetes.io/hostname", "{path}: not by node");
        // Of the agents, and of nobody else: not of itself.
        let wanted = json!({"app.kubernetes.io/name": "wayswitch", "app.kubernetes.io/component": "agent"});
        ensure!(rule["labelSelector"]["matchLabels"] == wanted, "{path}: it does not wait for agents");
        for agents in objects.iter().filter(named("wayswitch")) {
            ensure!(agents["spec"]["selector"]["matchLabels"] == wanted, "{path}: agents have other labels");
        }
        // What the values say of nodes counts beside it.
        let is_everything = path == RENDERINGS[3];
        ensure!(!is_everything || affinity["nodeAffinity"] == agent["affinity"]["nodeAffinity"], "{path}: other nodes");
    }
    Ok(())
}

#[test]
fn a_node_that_is_away_is_cleaned_after_the_hook_has_failed() -> Result<()> {
    let objects = read(RENDERINGS[3])?;
    let hook = |kind: &str| {
        objects.iter().find(|it| text(it, "/kind") == kind && text(it, "/metadata/name") == "wayswitch-cleanup")
    };
    let (nodes, job) = (hook("DaemonSet").context("no clean-up")?, hook("Job").context("nobody waits")?);
    // When a hook fails, Helm removes those before it that are to go after success.
    let policy = text(nodes, "/metadata/annotations/helm.sh~1hook-delete-policy");
    ensure!(policy == "before-hook-creation", "the DaemonSet goes when the Job has failed");
    let pod = &nodes["spec"]["template"]["spec"];
    ensure!(text(pod, "/serviceAccountName").is_empty(), "without that account, which is gone, there are no new pods");
    // So the Job removes it.
    let wait: Vec<&str> = list(job, "/spec/template/spec/containers/0/args").filter_map(Value::as_str).collect();
    ensure!(wait.contains(&"--then-remove"), "the DaemonSet stays for ever: {wait:?}");
    Ok(())
}
