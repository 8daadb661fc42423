//! `wayswitch rules`: the schema of `config.yaml` that is published is the one of the code, and what an agent would refuse is refused
//! before it goes anywhere.

use std::fs;
use std::process::Output;

use anyhow::Result;
use tests::candidate::artifact;
use tests::demo::agent::command;
use tests::golden::expect;

fn rules(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let Output { status, stdout, stderr } = command()?.arg("rules").args(arguments).output()?;
    Ok((status.code(), String::from_utf8(stdout)? + &String::from_utf8(stderr)?))
}

#[test]
fn the_schema_that_is_published_is_that_of_the_code() -> Result<()> {
    let (code, schema) = rules(&["schema"])?;
    assert_eq!(code, Some(0));
    expect("../../docs/config.schema.json", &schema)
}

#[test]
fn rules_are_tried_for_every_node_that_they_are_meant_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy().into_owned();
    let write = |config: &str| fs::write(folder.path().join("config.yaml"), config);
    fs::write(folder.path().join("ours.wasm"), artifact("service-account")?)?;
    write("component: builtin:istio\nrollout:\n  component: ours.wasm\n  share: 10\n")?;
    let (code, printed) = rules(&["check", &path])?;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("the other nodes: builtin:istio: istio "), "{printed}");
    assert!(printed.contains("10 % of the nodes: ours.wasm: service-account "), "{printed}");
    write("component: builtin:istio\nsettings: {unbonud: blocked}\n")?;
    let (code, printed) = rules(&["check", &path])?;
    assert_eq!(code, Some(1));
    assert!(printed.contains("refused at describe") && printed.contains("unbonud"), "{printed}");
    write("component: builtin:istio\nsetings: {}\n")?;
    let (code, printed) = rules(&["check", &path, "-o", "json"])?;
    assert_eq!(code, Some(1));
    assert!(printed.contains("setings") && printed.contains("\"stage\": \"fetch\""), "{printed}");
    Ok(())
}
