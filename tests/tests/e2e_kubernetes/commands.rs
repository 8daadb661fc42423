//! Commands that look at a cluster and go.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::demo::agent::command;

use crate::cluster::{BUILT_IN, Cluster};

#[test]
fn commands_read_the_cluster_where_no_file_is_named_and_decide_by_its_rules() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let explained = cluster.printed(&["explain", "service", "details", "-n", "bookinfo"])?;
    ensure!(explained.starts_with("Service bookinfo/details: "), "{explained}");
    let output = cluster.run(&["resolve", "-o", "json"])?;
    ensure!(
        String::from_utf8_lossy(&output.stderr).contains("the rules of ConfigMap wayswitch-system/wayswitch-rules"),
        "{output:?}"
    );
    let decided: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(decided["decisions"].as_array().is_some_and(|it| it.len() > 4), "{decided}");
    cluster.printed(&["capture", "-f", "cluster:", "-o", "mesh.capture"])?;
    let same = cluster.printed(&["diff", "cluster:", "mesh.capture"])?;
    ensure!(same.starts_with("0 rows differ"), "{same}");
    let differs = cluster.printed(&["diff", "--with-settings", r#"{"unbound":"blocked"}"#])?;
    ensure!(differs.contains("rows differ"), "{differs}");
    // Findings make the status 1: both are an answer.
    let lint = cluster.run(&["lint", "-o", "json", "-n", "bookinfo"])?;
    ensure!(lint.status.code().is_some_and(|code| code < 2), "{lint:?}");
    Ok(())
}

/// Istio's ConfigMap: only namespaces with this label are looked at, and none has it.
fn hide_all(cluster: &Cluster) -> Result<()> {
    let mesh = "discoverySelectors: [{matchLabels: {discover: me}}]\n";
    cluster.server.put(json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "mesh": mesh },
        "metadata": { "name": "istio", "namespace": "istio-system" } }))?;
    Ok(())
}

/// How many decisions a command prints, and what it says beside them.
fn decisions(cluster: &Cluster, arguments: &[&str]) -> Result<(usize, String)> {
    let output = cluster.run(&[&["resolve", "-o", "json"], arguments].concat())?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {told}");
    let decided: Value = serde_json::from_slice(&output.stdout)?;
    Ok((decided["decisions"].as_array().map(Vec::len).context("no decisions")?, told))
}

#[test]
fn what_istio_s_mesh_config_says_counts_unless_a_flag_says_another_or_nobody_may_read_it() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let (all, _) = decisions(&cluster, &[])?;
    ensure!(all > 4, "without the ConfigMap its defaults count");
    hide_all(&cluster)?;
    ensure!(decisions(&cluster, &[])?.0 == 0, "every namespace is hidden");
    std::fs::write(cluster.folder.path().join("mesh.yaml"), "trustDomain: other\n")?;
    ensure!(decisions(&cluster, &["--mesh-config", "mesh.yaml"])?.0 == all, "the flag counts");
    ensure!(decisions(&cluster, &["--istio-revision", "canary"])?.0 == all, "that of a revision has another name");
    let named = ["--mesh-config", "configmap:istio-system/istio", "--istio-revision", "canary"];
    ensure!(decisions(&cluster, &named)?.0 == 0, "it is named");
    let absent = cluster.run(&["resolve", "--mesh-config", "configmap:istio-system/no"])?;
    let told = String::from_utf8_lossy(&absent.stderr).into_owned();
    ensure!(absent.status.code() == Some(2) && told == "ConfigMap istio-system/no does not exist\n", "{told}");
    cluster.server.forbid("get", "", "configmaps");
    let (with_defaults, told) = decisions(&cluster, &[])?;
    let warned = "warning: deciding by the defaults of MeshConfig: may not get configmaps in namespace istio-system";
    ensure!(with_defaults == all && told.lines().filter(|line| line.starts_with(warned)).count() == 1, "{told}");
    Ok(())
}

#[test]
fn one_mesh_under_two_rules_is_read_once() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let listed = |what: &str| {
        let counts = cluster.server.counts();
        counts.get(&("list".to_owned(), what.to_owned())).copied().unwrap_or_default()
    };
    cluster.server.clear_audit();
    let differs = cluster.printed(&["diff", "--with-settings", r#"{"unbound":"blocked"}"#])?;
    ensure!(differs.contains("Namespace bookinfo"), "{differs}");
    ensure!((listed("pods"), listed("services")) == (1, 1), "{:?}", cluster.server.counts());
    let other = cluster.printed(&["diff", "--with-settings", r#"{"unbound":"blocked"}"#, "-n", "wayswitch-system"])?;
    ensure!(other.starts_with("0 rows differ, 0 are in both"), "{other}");
    // Other facts of the same objects.
    std::fs::write(cluster.folder.path().join("mesh.yaml"), "discoverySelectors: [{matchLabels: {discover: me}}]\n")?;
    cluster.server.clear_audit();
    let hidden = cluster.printed(&["diff", "--with-mesh-config", "mesh.yaml"])?;
    ensure!(hidden.contains("is gone") && hidden.contains(", 0 are in both"), "{hidden}");
    ensure!(listed("pods") == 1, "{:?}", cluster.server.counts());
    Ok(())
}

#[test]
fn a_cluster_that_is_named_is_captured_and_one_namespace_of_it_decides_the_same_alone() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    let said = cluster.printed(&["capture", "--context", "test", "-n", "bookinfo", "-o", "part.capture"])?;
    ensure!(said.starts_with("part.capture: "), "{said}");
    let same = cluster.printed(&["diff", "cluster:", "part.capture", "-n", "bookinfo"])?;
    ensure!(same.starts_with("0 rows differ") && !same.contains(", 0 are in both"), "{same}");
    let again = cluster.printed(&["diff", "cluster:", "part.capture", "-n", "bookinfo", "--settings", "{}"])?;
    ensure!(again.starts_with("0 rows differ") && !again.contains(", 0 are in both"), "{again}");
    Ok(())
}

#[test]
fn a_cluster_that_cannot_be_read_is_one_line() -> Result<()> {
    let cluster = Cluster::start(BUILT_IN)?;
    cluster.server.forbid("list", "", "pods");
    let refused = cluster.run(&["resolve"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        refused.status.code() == Some(2) && told.contains("may not list pods") && told.lines().count() == 1,
        "{told}"
    );
    let unknown = cluster.run(&["resolve", "--context", "nowhere"])?;
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    ensure!(unknown.status.code() == Some(2) && told.contains("nowhere") && told.lines().count() == 1, "{told}");
    let garbage = tempfile::NamedTempFile::new()?;
    std::fs::write(&garbage, "clusters: {\n\t- nothing: [\n")?;
    let path = garbage.path().display().to_string();
    let garbage = command()?.args(["resolve", "--kubeconfig", &path]).output()?;
    let told = String::from_utf8_lossy(&garbage.stderr).into_owned();
    let is_told = told.starts_with(&format!("kubeconfig {path} cannot be used: ")) && told.lines().count() == 1;
    ensure!(garbage.status.code() == Some(2) && is_told, "{told}");
    Ok(())
}

#[test]
fn a_name_without_a_namespace_is_refused_before_anything_is_done() -> Result<()> {
    for (what, flag) in [("cleanup", "--wait-for"), ("agent", "--xds-service-account"), ("agent", "--lease")] {
        let refused = command()?.args([what, flag, "it"]).output()?;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        let first = told.lines().next().unwrap_or_default();
        ensure!(refused.status.code() == Some(2) && first.contains("\"it\" is not NAMESPACE/NAME"), "{flag}: {told}");
    }
    Ok(())
}
