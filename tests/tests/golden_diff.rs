//! `wayswitch diff` from outside: two meshes, one mesh under two rules, what is printed, and exit statuses. What counts as
//! which change is tested in the model.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::candidate::artifact;
use tests::demo::agent::command;
use tests::golden::{self, data};

/// Exit status, standard output and standard error.
fn diff<S: AsRef<OsStr>>(arguments: &[S]) -> Result<(Option<i32>, String, String)> {
    let mut command = command()?;
    let output = command.arg("diff").args(arguments).current_dir(data("diff")).stdin(Stdio::null()).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes);
    Ok((output.status.code(), text(output.stdout)?, text(output.stderr)?))
}

fn expect(name: &str, printed: &str) -> Result<()> {
    golden::expect(&format!("diff/{name}"), printed)
}

#[test]
fn two_meshes_are_compared_as_expected() -> Result<()> {
    let (status, table, err) = diff(&["before.yaml", "after.yaml"])?;
    assert_eq!((status, err.as_str()), (Some(0), ""));
    expect("table.txt", &table)?;
    let (_, json, _) = diff(&["before.yaml", "after.yaml", "-o", "json"])?;
    expect("changes.json", &json)
}

#[test]
fn who_loses_a_waypoint_without_wanting_to_stands_out() -> Result<()> {
    let (_, table, _) = diff(&["before.yaml", "after.yaml"])?;
    let marked: Vec<&str> = table.lines().filter(|line| line.starts_with("!!")).collect();
    assert_eq!(marked.len(), 2, "{table}");
    assert_eq!(table.lines().next(), Some("!! without a waypoint now, although asking for one: Service team/loses"));
    assert!(marked[1].contains("Service team/loses") && marked[1].contains("WaypointIsNotReady"), "{}", marked[1]);
    Ok(())
}

#[test]
fn the_exit_status_tells_a_difference_from_none_and_both_from_a_failure() -> Result<()> {
    let status = |arguments: &[&str]| diff(arguments).map(|(status, ..)| status);
    assert_eq!(status(&["before.yaml", "after.yaml"])?, Some(0), "only where it is asked for");
    assert_eq!(status(&["before.yaml", "after.yaml", "--exit-code"])?, Some(1));
    assert_eq!(status(&["before.yaml", "before.yaml", "--exit-code"])?, Some(0));
    assert_eq!(status(&["before.yaml", "missing.yaml", "--exit-code"])?, Some(2));
    let settings = ["before.yaml", "after.yaml", "--exit-code", "--settings", "no settings"];
    assert_eq!(status(&settings)?, Some(2), "a component that does not start is no difference");
    Ok(())
}

#[test]
fn a_summary_has_the_counts_and_nothing_else() -> Result<()> {
    let (_, table, _) = diff(&["before.yaml", "after.yaml", "--summary"])?;
    assert!(
        !table.contains("Service shop/") && table.contains("Namespace shop: ") && table.contains("11 rows differ"),
        "{table}"
    );
    let (_, json, _) = diff(&["before.yaml", "after.yaml", "--summary", "-o", "json"])?;
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!(json["namespaces"][0]["changes"], Value::Array(Vec::new()));
    assert_eq!(json["counts"]["loses-waypoint"], 1);
    Ok(())
}

#[test]
fn one_mesh_is_compared_under_two_settings() -> Result<()> {
    let settings = ["-f", "before.yaml", "--with-settings", r#"{"unbound": "blocked"}"#, "-o", "json"];
    let (status, json, err) = diff(&settings)?;
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let json: Value = serde_json::from_str(&json)?;
    let changes = json["namespaces"].as_array().context("no namespaces")?;
    assert_eq!(
        (changes.len(), &changes[0]["changes"][0]["name"], &json["counts"]["blocked"]),
        (1, &"refused".into(), &1.into())
    );
    let (_, same, _) = diff(&["-f", "before.yaml", "--with-settings", ""])?;
    assert_eq!(same, format!("0 rows differ, {} are in both\n", json["rowsInBoth"]));
    Ok(())
}

#[test]
fn one_mesh_is_compared_under_two_components() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let other = folder.path().join("service-account.wasm");
    fs::write(&other, artifact("service-account")?)?;
    let mesh = data("diff/before.yaml");
    let arguments = [OsStr::new("-f"), mesh.as_os_str(), OsStr::new("--with-plugin"), other.as_os_str()];
    let (status, table, err) = diff(&arguments)?;
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(table.contains("leaves its waypoint"), "the rule of Istio before 1.22 has no service waypoints: {table}");
    Ok(())
}

#[test]
fn one_namespace_is_compared_as_if_there_were_no_other() -> Result<()> {
    let rows = |more: &[&str]| -> Result<Value> {
        let (_, printed, err) = diff(&[&["before.yaml", "after.yaml", "-o", "json"], more].concat())?;
        ensure!(err.is_empty(), "{err}");
        Ok(serde_json::from_str(&printed)?)
    };
    let (all, shop, team) = (rows(&[])?, rows(&["-n", "shop"])?, rows(&["--namespace", "team"])?);
    for field in ["rowsDiffering", "rowsInBoth"] {
        let number = |of: &Value| of[field].as_u64().unwrap_or_default();
        assert!(number(&shop) > 0 && number(&team) > 0, "{field}");
        assert_eq!(number(&all), number(&shop) + number(&team), "{field}");
    }
    assert_eq!(all["namespaces"][0], shop["namespaces"][0]);
    assert_eq!(team["namespaces"].as_array().map(Vec::len), Some(1));
    assert_eq!(rows(&["-n", "nobody"])?["rowsDiffering"], 0);
    Ok(())
}

/// Captures a file of the data under these settings.
fn capture(mesh: &str, settings: &str, to: &Path) -> Result<()> {
    let mut command = command()?;
    command.args(["capture", "-f", mesh, "--settings", settings, "-o"]).arg(to).current_dir(data("diff"));
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn captures_are_compared_as_they_were_decided() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [blocked, direct] = ["blocked", "direct"].map(|name| folder.path().join(name));
    capture("before.yaml", r#"{"unbound": "blocked"}"#, &blocked)?;
    capture("before.yaml", "", &direct)?;
    let (status, table, err) = diff(&[&blocked, &direct])?;
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(table.starts_with("Namespace team: 1 was blocked, goes direct\n!  Service team/refused "), "{table}");
    // Manifests beside a capture are decided by its rules, so only what the manifests say makes a difference.
    let before = data("diff/before.yaml");
    let (_, table, err) = diff(&[&blocked, &before])?;
    assert!(table.starts_with("0 rows differ") && err.is_empty(), "{table}{err}");
    let (_, table, _) = diff(&[before.as_os_str(), blocked.as_os_str(), OsStr::new("--exit-code")])?;
    assert!(table.starts_with("0 rows differ"), "{table}");
    // One capture, and what other settings would make of it.
    let with = [OsStr::new("-f"), blocked.as_os_str(), OsStr::new("--with-settings"), OsStr::new("")];
    let (_, table, _) = diff(&with)?;
    assert!(table.contains("1 was blocked, goes direct"), "{table}");
    Ok(())
}

#[test]
fn what_cannot_be_meant_is_said_at_once() -> Result<()> {
    for (arguments, wanted) in [
        (&["before.yaml"][..], "2 values required"),
        (&["-f", "before.yaml"], "--with-"),
        (&["before.yaml", "after.yaml", "--with-settings", ""], "cannot be used with"),
        (&["before.yaml", "after.yaml", "-f", "before.yaml"], "cannot be used with"),
        (&[], "required"),
    ] {
        let (status, out, err) = diff(arguments)?;
        assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(wanted), "{arguments:?}: {err}");
    }
    Ok(())
}
