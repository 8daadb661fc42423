//! The demo, short: it is the test that no connection is lost or decided by a mix while rules are swapped.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::endings::skipped;

/// Runs the demo; returns its JSON and what it printed.
fn demo(arguments: &[&str]) -> Result<(Value, String)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("demo.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    let output = command.args(arguments).arg("--json").arg(&file).output().context("cannot run the demo")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok((serde_json::from_str(&std::fs::read_to_string(&file)?)?, text))
}

fn check_refused(result: &Value) {
    let refused = result["refused"].as_array().into_iter().flatten();
    let refused: Vec<_> = refused.map(|it| (it["component"].clone(), it["stage"].clone())).collect();
    let expected = [
        ("truncated.wasm", "validate"),
        ("another-world.wasm", "validate"),
        ("traps.wasm", "shadow"),
        ("never-ends.wasm", "shadow"),
    ];
    assert_eq!(refused, expected.map(|(component, stage)| (json!(component), json!(stage))));
}

#[test]
fn no_connection_is_lost_or_decided_by_a_mix_while_rules_are_swapped() -> Result<()> {
    if skipped("no_connection_is_lost_or_decided_by_a_mix_while_rules_are_swapped") {
        return Ok(());
    }
    let (result, text) = demo(&["--connections", "2000", "--swaps", "5"])?;
    println!("{text}");
    assert_eq!(result["kernel"], true);
    assert_eq!(result["rules"].as_array().map(Vec::len), Some(6));
    check_refused(&result);
    let seen = &result["connections"];
    assert_eq!((&seen["failed"], &seen["mixed"]), (&json!(0), &json!(0)));
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let waypoints = seen["by_waypoint"].as_object().context("no waypoints")?;
    assert_eq!(
        waypoints.keys().collect::<Vec<_>>(),
        ["bookinfo/reviews-waypoint", "bookinfo/waypoint", "mesh-infra/shared-waypoint"]
    );
    assert!(waypoints.values().all(|arrived| count(arrived) > 0));
    assert!(count(&seen["made"]) >= 2000 && count(&seen["denied"]) > 0 && count(&seen["passed"]) > 0);
    let sum: u64 = waypoints.values().map(count).sum::<u64>() + count(&seen["passed"]) + count(&seen["denied"]);
    assert_eq!(sum, count(&seen["made"]), "every connection is counted once");
    Ok(())
}

#[test]
fn without_the_kernel_the_demo_shows_the_rest_and_says_so() -> Result<()> {
    let (result, text) = demo(&["--no-kernel", "--swaps", "3"])?;
    assert_eq!((&result["kernel"], &result["connections"]["made"]), (&json!(false), &json!(0)));
    let keys = ["changed", "component", "decisions", "digest", "rules", "swap_ms"];
    let rules = result["rules"].as_array().context("no rules")?;
    assert_eq!(rules.len(), 4);
    for swap in rules {
        assert_eq!(swap.as_object().context("no swap")?.keys().collect::<Vec<_>>(), keys);
    }
    check_refused(&result);
    assert!(text.contains("LEFT OUT: the kernel part, which needs root"), "{text}");
    Ok(())
}
