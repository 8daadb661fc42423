//! Commands that look at a cluster and go.

use anyhow::{Result, ensure};
use serde_json::Value;
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
