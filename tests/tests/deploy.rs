//! What `deploy/` tells the binary to do is something that the binary knows: every command and flag of every container. That the
//! manifests are right in themselves is checked by the package `deploy-checks`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tests::demo::agent::{ALLOCATOR, command};

/// What is committed of what the chart and the overlays give; together every flag that the chart can write.
const RENDERINGS: [&str; 5] = [
    "../deploy/kustomize/rendered/ztunnel.yaml",
    "../deploy/kustomize/rendered/redirect.yaml",
    "../deploy/kustomize/rendered/cleanup.yaml",
    "data/deploy/everything.yaml",
    "data/deploy/bare.yaml",
];

/// Flags by command. The renderings have one argument a line; the first of a container is the command.
fn flags(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut command = None;
    for line in text.lines() {
        let argument = line.trim().strip_prefix("- args:").map_or(line.trim(), str::trim);
        // `args: [cleanup, --hold]`
        if let Some((first, rest)) =
            argument.strip_prefix("args: [").and_then(|it| it.trim_end_matches(']').split_once(", "))
        {
            all.entry(first.to_owned()).or_default().insert(rest.to_owned());
            continue;
        }
        match argument.strip_prefix("- ").map(str::trim) {
            Some(name @ ("agent" | "cleanup")) => command = Some(name.to_owned()),
            Some(flag) if flag.starts_with("--") => {
                let name = flag.split('=').next().unwrap_or(flag).to_owned();
                all.entry(command.clone().unwrap_or_default()).or_default().insert(name);
            }
            _ => {}
        }
    }
    all
}

#[test]
fn every_command_and_flag_of_the_manifests_is_one_of_the_binary() -> Result<()> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in RENDERINGS {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).context(path)?;
        for (command, flags) in flags(&text) {
            wanted.entry(command).or_default().extend(flags);
        }
    }
    ensure!(wanted.len() == 2 && wanted["agent"].len() > 30, "the flags were not found: {wanted:?}");
    let mut unknown = Vec::new();
    for (name, flags) in &wanted {
        let output = command()?.args([name, "--help"]).stdin(Stdio::null()).output().context("cannot run wayswitch")?;
        let help = String::from_utf8(output.stdout)?;
        let known: BTreeSet<&str> = help.split(|it: char| !(it.is_ascii_alphanumeric() || it == '-')).collect();
        unknown.extend(flags.iter().filter(|flag| !known.contains(flag.as_str())).map(|flag| format!("{name} {flag}")));
    }
    ensure!(unknown.is_empty(), "the manifests use what the binary does not have: {unknown:?}");
    Ok(())
}

#[test]
fn the_agent_of_tests_and_benchmarks_has_the_allocator_of_the_manifests() -> Result<()> {
    for path in RENDERINGS {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).context(path)?;
        let is_agent = flags(&text).contains_key("agent");
        let said = text.split_once("- name: GLIBC_TUNABLES\n").and_then(|(_, after)| after.lines().next());
        let said = said.and_then(|line| line.trim().strip_prefix("value: "));
        ensure!(said == is_agent.then_some(ALLOCATOR), "{path} says {said:?}");
    }
    Ok(())
}
