//! The two ways to install give the same objects, and what is committed of them is what they give. The programs that render are
//! asked where they are on the PATH; where not, that is said. What is committed is checked in any case, by the other files.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use deploy_checks::manifest::{Key, comparable, documents, is_hook, read, text};
use deploy_checks::schema::Schema;
use deploy_checks::{output, root};
use serde_json::{Value, json};

const CHART: &str = "deploy/helm/wayswitch";
const NAMESPACE: &str = "wayswitch-system";

fn chart(values: &str) -> Result<Option<Vec<Value>>> {
    let values = format!("{CHART}/ci/{values}-values.yaml");
    let rendered = output("helm", &["template", "wayswitch", CHART, "--namespace", NAMESPACE, "--values", &values])?;
    if rendered.is_none() {
        eprintln!("NOT CHECKED: what the chart renders (helm is not on the PATH)");
    }
    rendered.as_deref().map(documents).transpose()
}

/// Says the first difference, for two whole sets are too much to look at.
fn ensure_equal(left: &BTreeMap<Key, Value>, right: &BTreeMap<Key, Value>) -> Result<()> {
    let names = |map: &BTreeMap<Key, Value>| map.keys().cloned().collect::<Vec<_>>();
    ensure!(names(left) == names(right), "left has\n{:#?}\nright has\n{:#?}", names(left), names(right));
    for (key, object) in left {
        ensure!(Some(object) == right.get(key), "{key:?} differs:\n{object:#}\n{:#}", right[key]);
    }
    Ok(())
}

fn plain(objects: Vec<Value>) -> Result<BTreeMap<Key, Value>> {
    comparable(
        objects
            .into_iter()
            .filter(|it| !is_hook(it) && !matches!(text(it, "/kind"), "Namespace" | "CustomResourceDefinition")),
    )
}

#[test]
fn overlays_give_what_is_committed() -> Result<()> {
    for (overlay, committed) in [
        ("deploy", "ztunnel"),
        ("deploy/kustomize/overlays/ztunnel", "ztunnel"),
        ("deploy/kustomize/overlays/redirect", "redirect"),
        ("deploy/kustomize/cleanup", "cleanup"),
    ] {
        let path = format!("deploy/kustomize/rendered/{committed}.yaml");
        match output("kubectl", &["kustomize", overlay])? {
            None => eprintln!("NOT CHECKED: {overlay} (kubectl is not on the PATH)"),
            Some(rendered) => ensure!(
                rendered == fs::read_to_string(root().join(&path))?,
                "{path} is not what {overlay} gives: kubectl kustomize {overlay} > {path}"
            ),
        }
    }
    Ok(())
}

#[test]
fn the_chart_gives_what_the_overlays_give() -> Result<()> {
    for name in ["ztunnel", "redirect"] {
        if let Some(rendered) = chart(name)? {
            let overlay = read(&format!("deploy/kustomize/rendered/{name}.yaml"))?;
            ensure_equal(&plain(rendered)?, &plain(overlay)?).with_context(|| name.to_owned())?;
        }
    }
    Ok(())
}

#[test]
fn the_uninstall_hook_is_what_the_clean_up_without_helm_is() -> Result<()> {
    if let Some(rendered) = chart("ztunnel")? {
        let hook = rendered.into_iter().filter(|it| is_hook(it) && text(it, "/kind") == "DaemonSet");
        ensure_equal(&comparable(hook)?, &comparable(read("deploy/kustomize/rendered/cleanup.yaml")?)?)?;
    }
    Ok(())
}

#[test]
fn what_the_chart_gives_with_other_values_is_committed() -> Result<()> {
    for name in ["everything", "bare"] {
        if let Some(rendered) = chart(name)? {
            let committed = read(&format!("tests/data/deploy/{name}.yaml"))?;
            ensure_equal(&comparable(rendered)?, &comparable(committed)?).with_context(|| name.to_owned())?;
        }
    }
    Ok(())
}

fn values_schema() -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(root().join(CHART).join("values.schema.json"))?)?)
}

#[test]
fn values_fit_their_schema() -> Result<()> {
    let schema = Schema::new(values_schema()?);
    for file in ["values", "ci/ztunnel-values", "ci/redirect-values", "ci/everything-values", "ci/bare-values"] {
        for values in read(&format!("{CHART}/{file}.yaml"))? {
            let findings = schema.check("", &values)?;
            ensure!(findings.is_empty(), "{file}: {findings:?}");
        }
    }
    Ok(())
}

#[test]
fn wrong_values_do_not_fit_it() -> Result<()> {
    let schema = Schema::new(values_schema()?);
    for wrong in [
        json!({"redirects": {}}),
        json!({"ztunnel": {"enable": true}}),
        json!({"ztunnel": {"serviceAccount": "ztunnel"}}),
        json!({"ztunnel": {"upstream": ["istiod"]}}),
        json!({"redirect": {"cgroup": "/sys/fs/cgroup/x"}}),
        json!({"rules": {"config": {}}}),
        json!({"rules": {"components": {"x.tar": ""}}}),
        json!({"pins": {"lines": "abc  x.wasm"}}),
        // YAML reads `off` without quotes as a boolean.
        json!({"conditions": false}),
        json!({"maxUnavailable": 0}),
        json!({"admin": {"hostPath": "run"}}),
    ] {
        ensure!(!schema.check("", &wrong)?.is_empty(), "{wrong} was taken");
    }
    Ok(())
}

/// What the schema has and values.yaml does not: nobody would find it.
fn undocumented(schema: &Value, values: &Value, at: &str, found: &mut Vec<String>) {
    // Filled by the user as a whole.
    if values.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        match values.get(name) {
            Some(value) => undocumented(inner, value, &format!("{at}.{name}"), found),
            None => found.push(format!("{at}.{name}")),
        }
    }
}

#[test]
fn every_value_is_in_the_documented_file() -> Result<()> {
    let values = read(&format!("{CHART}/values.yaml"))?;
    let mut found = Vec::new();
    undocumented(&values_schema()?, &values[0], "", &mut found);
    // Keys of config.yaml are documented in the operator's guide; `global` and resources.claims are Helm's and Kubernetes'.
    found.retain(|it| !it.starts_with(".rules.config.") && it != ".global" && it != ".resources.claims");
    ensure!(found.is_empty(), "not in values.yaml: {found:?}");
    Ok(())
}
