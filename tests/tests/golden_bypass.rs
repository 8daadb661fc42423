//! `wayswitch bypass` and `wayswitch waypoints` from outside: what is printed of a small mesh with each way past a waypoint,
//! exit statuses, and that what is offered closes what it is offered for. What counts as a hole is tested in the model.

#![expect(
    clippy::indexing_slicing,
    reason = "a field that is missing in an answer is null, and no assertion expects that"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use model::bypass::Code;
use serde_json::Value;
use tests::demo::agent::command;
use tests::golden::{self, data};

/// Exit status and standard output.
fn run(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = command()?.args(arguments).current_dir(data("bypass")).stdin(Stdio::null()).output()?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(complaints.is_empty(), "{arguments:?}: {complaints}");
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

fn bypass(more: &[&str]) -> Result<(Option<i32>, String)> {
    run(&[&["bypass", "-f", "mesh.yaml"], more].concat())
}

fn as_json(more: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&bypass(&[more, &["-o", "json"]].concat())?.1)?)
}

fn expect(name: &str, printed: &str) -> Result<()> {
    golden::expect(&format!("bypass/{name}"), printed)
}

/// The open holes of one service, by their codes.
fn open(document: &Value) -> Vec<&str> {
    let holes = document["destinations"][0]["holes"].as_array().into_iter().flatten();
    holes.filter(|hole| hole["closed"] == false).filter_map(|hole| hole["code"].as_str()).collect()
}

#[test]
fn each_way_past_a_waypoint_is_printed_as_expected() -> Result<()> {
    for (form, file) in [("table", "table.txt"), ("json", "holes.json"), ("yaml", "policies.yaml")] {
        let (status, printed) = bypass(&["-o", form])?;
        assert_eq!(status, Some(0), "{form}");
        expect(file, &printed)?;
        assert_eq!(printed, bypass(&["-o", form])?.1, "{form} differs from one run to the next");
    }
    Ok(())
}

#[test]
fn the_mesh_has_every_hole_but_the_one_that_takes_a_setting() -> Result<()> {
    let all = as_json(&[])?;
    let destinations = all["destinations"].as_array().context("no destinations")?;
    let holes = destinations.iter().flat_map(|it| it["holes"].as_array().into_iter().flatten());
    let found: BTreeSet<&str> = holes.filter_map(|hole| hole["code"].as_str()).collect();
    let missing: Vec<&str> = Code::ALL.iter().map(|code| code.word()).filter(|code| !found.contains(code)).collect();
    assert_eq!(missing, ["may-bypass"]);
    let bypassing = as_json(&["--settings", r#"{"unreachable": "bypass"}"#, "--service", "shop/cart"])?;
    assert!(open(&bypassing).contains(&"may-bypass"), "{bypassing}");
    Ok(())
}

#[test]
fn the_policies_that_are_offered_close_what_they_are_offered_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let policies = folder.path().join("policies.yaml");
    fs::write(&policies, bypass(&["-o", "yaml"])?.1)?;
    let policies = policies.to_str().context("a temporary folder with such a name")?;
    let before = as_json(&["--service", "shop/db"])?;
    assert!(open(&before).contains(&"headless"), "{before}");
    let after = as_json(&["-f", policies, "--service", "shop/db"])?;
    assert_eq!(open(&after), [] as [&str; 0]);
    assert_eq!(after["destinations"][0]["guard"]["by"][0], "AuthorizationPolicy shop/db-only-through-waypoint");
    // What does not end at the workload stays.
    let cart = as_json(&["-f", policies, "--service", "shop/cart"])?;
    assert_eq!(open(&cart), ["shadowed", "canary"]);
    Ok(())
}

#[test]
fn holes_that_matter_are_denied_where_that_is_asked() -> Result<()> {
    let status = |more: &[&str]| bypass(more).map(|(status, _)| status);
    assert_eq!(status(&["--deny"])?, Some(1));
    assert_eq!(status(&["--deny=high"])?, Some(1));
    assert_eq!(status(&["--service", "shop/pay", "--deny"])?, Some(0), "all of them are closed");
    assert_eq!(status(&["--service", "shop/cart-metrics", "--deny"])?, Some(0), "it asks for no waypoint");
    Ok(())
}

#[test]
fn a_namespace_or_a_service_is_asked_about_alone() -> Result<()> {
    let web = as_json(&["--namespace", "web"])?;
    let namespaces: Vec<&str> =
        web["namespaces"].as_array().into_iter().flatten().filter_map(|it| it["namespace"].as_str()).collect();
    assert_eq!(namespaces, ["web"]);
    let api = as_json(&["--service", "shop/api"])?;
    assert_eq!(api, as_json(&["--service", "api", "-n", "shop"])?);
    assert_eq!(api["destinations"][0]["what"], "ServiceEntry shop/api");
    let output = command()?
        .args(["bypass", "-f", "mesh.yaml", "--service", "shop/nobody"])
        .current_dir(data("bypass"))
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no Service or ServiceEntry shop/nobody"));
    Ok(())
}

#[test]
fn a_capture_is_as_good_as_the_manifests() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let capture = folder.path().join("capture");
    let capture = capture.to_str().context("a temporary folder with such a name")?;
    run(&["capture", "-f", "mesh.yaml", "-o", capture])?;
    for command in ["bypass", "waypoints"] {
        assert_eq!(run(&[command, "-f", capture])?, run(&[command, "-f", "mesh.yaml"])?, "{command}");
    }
    Ok(())
}

#[test]
fn the_documentation_lists_every_code() -> Result<()> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bypass.md"))?;
    let listed: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, Code::ALL.iter().map(|code| code.word()).collect());
    Ok(())
}

#[test]
fn waypoints_are_listed_with_what_is_bound_to_them() -> Result<()> {
    let (status, list) = run(&["waypoints", "-f", "mesh.yaml"])?;
    assert_eq!(status, Some(0));
    expect("waypoints.txt", &list)?;
    expect("waypoint.txt", &run(&["waypoints", "shop/w", "-f", "mesh.yaml"])?.1)?;
    expect("waypoint.json", &run(&["waypoints", "shop/w", "-f", "mesh.yaml", "-o", "json"])?.1)?;
    expect("of-cart.txt", &run(&["waypoints", "--of", "service/shop/cart", "-f", "mesh.yaml"])?.1)?;
    let direct = run(&["waypoints", "--of", "service/shop/cart-metrics", "-f", "mesh.yaml"])?;
    assert_eq!(direct.1, "Service shop/cart-metrics goes through no waypoint\n");
    Ok(())
}
