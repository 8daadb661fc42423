//! What is committed under `deploy/` is valid by the schemas of those who take it. No program but this one is needed.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use deploy_checks::manifest::{documents, files, key, list, read, text};
use deploy_checks::root;
use deploy_checks::schema::Schema;
use serde_json::{Value, json};

/// Kinds of others, for which there is no schema here: what the check looks at instead.
const WITHOUT_SCHEMA: [(&str, &[&str]); 2] = [
    ("monitoring.coreos.com/v1/ServiceMonitor", &["/spec/selector/matchLabels", "/spec/endpoints/0/port"]),
    ("cert-manager.io/v1/Certificate", &["/spec/secretName", "/spec/issuerRef/name", "/spec/dnsNames/0"]),
];

fn kubernetes() -> Result<Schema> {
    Ok(Schema::new(serde_json::from_str(&fs::read_to_string(root().join("tests/data/schemas/kubernetes.json"))?)?))
}

fn check(schema: &Schema, object: &Value) -> Result<Vec<String>> {
    let kind = format!("{}/{}", text(object, "/apiVersion"), text(object, "/kind"));
    if let Some((_, fields)) = WITHOUT_SCHEMA.iter().find(|(name, _)| *name == kind) {
        let missing = fields.iter().filter(|field| object.pointer(field).is_none());
        return Ok(missing.map(|field| format!("{field} is missing")).collect());
    }
    schema.check(&format!("/kinds/{}", kind.replace('/', "~1")), object)
}

/// Manifests that somebody applies, and what the chart renders with every switch on and with as few as possible.
fn manifests() -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for folder in ["deploy/kustomize", "deploy/crds", "tests/data/deploy"] {
        for path in files(&root().join(folder), &["yaml"])? {
            let text = fs::read_to_string(&path)?;
            // Patches have no kind, kustomization.yaml is no object of the API.
            let objects = documents(&text).with_context(|| path.display().to_string())?;
            let objects = objects.into_iter().filter(|it| it.get("kind").is_some_and(|kind| kind != "Kustomization"));
            all.extend(objects.map(|object| (path.display().to_string(), object)));
        }
    }
    Ok(all)
}

#[test]
fn every_manifest_is_valid() -> Result<()> {
    let schema = kubernetes()?;
    let manifests = manifests()?;
    let kinds: BTreeSet<&str> = manifests.iter().map(|(_, object)| text(object, "/kind")).collect();
    ensure!(manifests.len() > 100 && kinds.len() >= 14, "only {} objects of {kinds:?} were found", manifests.len());
    let mut findings = Vec::new();
    for (path, object) in &manifests {
        let wrong = check(&schema, object).with_context(|| format!("{path} {:?}", key(object)))?;
        findings.extend(wrong.into_iter().map(|what| format!("{path} {:?} {what}", key(object))));
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

#[test]
fn the_schemas_find_typing_errors() -> Result<()> {
    let schema = kubernetes()?;
    let daemon_set = read("deploy/kustomize/rendered/ztunnel.yaml")?
        .into_iter()
        .find(|it| text(it, "/kind") == "DaemonSet")
        .context("no DaemonSet")?;
    for (pointer, wrong) in [
        ("/spec/template/spec/containers/0/securityContext", json!({"readOnlyRootFileSystem": true})),
        ("/spec/template/spec/containers/0/ports/0/containerPort", json!("9464")),
        ("/spec/template/spec/volumes/0", json!({"hostPath": {"path": "/"}})),
        ("/spec/selector", json!({"matchLabels": {"a": 1}})),
    ] {
        let mut broken = daemon_set.clone();
        *broken.pointer_mut(pointer).context(pointer)? = wrong;
        ensure!(!check(&schema, &broken)?.is_empty(), "{pointer} was not found wrong");
    }
    Ok(())
}

fn node_rules() -> Result<Value> {
    read("deploy/crds/noderules.yaml")?.into_iter().next().context("no CRD")
}

#[test]
fn what_an_agent_writes_fits_its_custom_resource() -> Result<()> {
    let schema = Schema::new(node_rules()?);
    let status = json!({"rules": 3, "revision": 41, "component": "builtin:istio", "digest": format!("sha256:{}", "0".repeat(64)),
        "state": "refused", "reason": "digest: another file", "since": "2026-01-02T03:04:05Z", "agent": "0.1.0"});
    let object = |status: &Value| json!({"apiVersion": "wayswitch.io/v1alpha1", "kind": "NodeRules", "metadata": {"name": "node-a"}, "status": status});
    let at = "/spec/versions/0/schema/openAPIV3Schema";
    ensure!(schema.check(at, &object(&status))?.is_empty(), "{:?}", schema.check(at, &object(&status))?);
    for (field, wrong) in [("rules", json!(-1)), ("state", json!("happy")), ("reason", json!("a".repeat(4097)))] {
        let mut status = status.clone();
        status[field] = wrong;
        ensure!(schema.check(at, &object(&status))?.len() == 1, "a wrong {field} was not found");
    }
    Ok(())
}

#[test]
fn what_kubectl_prints_of_it_is_in_it() -> Result<()> {
    let crd = node_rules()?;
    let mut columns = 0;
    for column in list(&crd, "/spec/versions/0/additionalPrinterColumns") {
        let path = text(column, "/jsonPath").strip_prefix(".status.").context("not of the status")?;
        let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/{path}");
        ensure!(crd.pointer(&pointer).is_some(), "{path} is no field of the status");
        columns += 1;
    }
    ensure!(columns == 8, "{columns} columns");
    Ok(())
}

#[test]
fn the_chart_has_the_same_custom_resource() -> Result<()> {
    let of = |path: &str| fs::read_to_string(root().join(path));
    ensure!(of("deploy/crds/noderules.yaml")? == of("deploy/helm/wayswitch/crds/noderules.yaml")?, "copy it again");
    Ok(())
}

/// Words of a text that look like a metric of ours.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    let words =
        text.split(|it: char| !is_part(it)).filter(|it| it.starts_with("wayswitch_") || it.starts_with("process_"));
    words.filter(|it| !it.contains('-')).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_are_documented() -> Result<()> {
    let reference = fs::read_to_string(root().join("docs/metrics.md"))?;
    let documented: BTreeSet<&str> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| metrics(line.split('`').next().unwrap_or_default()))
        .collect();
    ensure!(documented.len() >= 17, "only {documented:?} are documented");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(root().join("deploy/grafana/wayswitch.json"))?)?;
    let panels = list(&dashboard, "/panels")
        .flat_map(|panel| list(panel, "/targets"))
        .map(|target| text(target, "/expr").to_owned());
    let alerts = read("deploy/prometheus/alerts.yaml")?;
    let rules: Vec<&Value> = list(&alerts[0], "/groups").flat_map(|group| list(group, "/rules")).collect();
    let asked: Vec<String> = panels.chain(rules.iter().map(|rule| text(rule, "/expr").to_owned())).collect();
    ensure!(asked.len() > 30, "only {} questions were found", asked.len());
    let mut used = BTreeSet::new();
    for expression in &asked {
        let names = metrics(expression);
        ensure!(names.is_subset(&documented), "{expression:?} asks for what docs/metrics.md does not have");
        ensure!(!names.is_empty() || expression.starts_with("up{"), "{expression:?} asks for nothing of ours");
        used.extend(names.into_iter().map(str::to_owned));
    }
    let unused: Vec<_> = documented.iter().filter(|it| it.starts_with("wayswitch_") && !used.contains(**it)).collect();
    ensure!(unused.is_empty(), "neither dashboard nor alerts show {unused:?}");
    for rule in rules {
        for field in ["/alert", "/expr", "/labels/severity", "/annotations/summary", "/annotations/description"] {
            ensure!(!text(rule, field).is_empty(), "an alert has no {field}: {rule}");
        }
    }
    Ok(())
}

#[test]
fn no_two_panels_have_one_number_or_one_place() -> Result<()> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(root().join("deploy/grafana/wayswitch.json"))?)?;
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "/panels") {
        ensure!(ids.insert(panel["id"].as_u64()), "a second panel {}", panel["id"]);
        let of = |name: &str| panel["gridPos"][name].as_u64().context("a panel without place");
        for x in of("x")?..of("x")? + of("w")? {
            for y in of("y")?..of("y")? + of("h")? {
                ensure!(x < 24 && cells.insert((x, y)), "{} is in the way at {x}, {y}", panel["title"]);
            }
        }
    }
    Ok(())
}
