//! `wayswitch rollout`: who runs which rules, read from what each node wrote; and edits of the ConfigMap that every node follows.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cluster::node_rules::{NodeRules, Phase};
use serde_json::json;

use super::mesh::live::in_cluster;
use crate::cli::{Output, RolloutCommand, RolloutFlags, RolloutStatus};
use crate::rules::{CONFIG_FILE, Edit, RulesConfig, edited};

/// Runs one of them.
pub(crate) fn run(command: &RolloutCommand) -> anyhow::Result<ExitCode> {
    match command {
        RolloutCommand::Status(flags) => status(flags),
        RolloutCommand::Pause(flags) => edit(flags, Edit::Pause, "paused: every node stays with what it runs"),
        RolloutCommand::Resume(flags) => edit(flags, Edit::Resume, "resumed"),
        RolloutCommand::Undo(flags) => edit(flags, Edit::Undo, "undone: every node goes back"),
        RolloutCommand::Promote(flags) => edit(flags, Edit::Promote, "promoted: every node gets its component"),
    }
}

fn edit(flags: &RolloutFlags, edit: Edit, done: &str) -> anyhow::Result<ExitCode> {
    let name = &flags.rules;
    in_cluster(&flags.cluster, None, async |cluster| {
        let Some(read) = cluster.config_map_text(name, CONFIG_FILE).await? else {
            bail!("ConfigMap {name} has no key {CONFIG_FILE}")
        };
        let after = edited(&read.text, edit).map_err(|why| anyhow::anyhow!("ConfigMap {name}: {why}"))?;
        cluster.replace_config_map_text(name, CONFIG_FILE, &read, &after).await?;
        println!("the rollout of {name} is {done}");
        Ok(ExitCode::SUCCESS)
    })
}

fn status(flags: &RolloutStatus) -> anyhow::Result<ExitCode> {
    let name = &flags.rollout.rules;
    let (text, nodes) = in_cluster(&flags.rollout.cluster, None, async |cluster| {
        let text = cluster.config_map_text(name, CONFIG_FILE).await?;
        let text = text.with_context(|| format!("ConfigMap {name} has no key {CONFIG_FILE}"))?.text;
        Ok((text, cluster.node_rules().await?))
    })?;
    let config = RulesConfig::read(&text).map_err(|why| anyhow::anyhow!("ConfigMap {name}: {why}"))?;
    let mut out = std::io::stdout().lock();
    match flags.output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &document(&config, &nodes))?;
            writeln!(out)?;
        }
        Output::Table => print(&mut out, &config, &nodes)?,
    }
    let is_refused = nodes.iter().any(|node| node.running.state == Phase::Refused);
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a node is to run, as the ConfigMap calls it; none where its labels decide that.
fn wanted<'a>(config: &'a RulesConfig, node: &str) -> Option<&'a str> {
    match &config.rollout {
        None => Some(&config.component),
        Some(rollout) => match rollout.means(node) {
            Some(true) => Some(&rollout.component),
            Some(false) => Some(&config.component),
            None => None,
        },
    }
}

fn document(config: &RulesConfig, nodes: &[NodeRules]) -> serde_json::Value {
    let node = |it: &NodeRules| json!({ "node": it.node, "wanted": wanted(config, &it.node), "running": it.running });
    json!({
        "component": config.component,
        "rollout": config.rollout.as_ref().map(|it| json!({ "component": it.component, "meant": it.meant(), "paused": it.paused })),
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

fn print(out: &mut impl Write, config: &RulesConfig, nodes: &[NodeRules]) -> std::io::Result<()> {
    let on = |component: &str| nodes.iter().filter(|it| it.running.component == component).count();
    writeln!(out, "{}: on {} of {} nodes", config.component, on(&config.component), nodes.len())?;
    if let Some(rollout) = &config.rollout {
        let paused = if rollout.paused { ", paused" } else { "" };
        let on = if rollout.component == config.component {
            "the same component, other settings".to_owned()
        } else {
            format!("on {} of {} nodes", on(&rollout.component), nodes.len())
        };
        writeln!(out, "{} for {}: {on}{paused}", rollout.component, rollout.meant())?;
    }
    let refused = nodes.iter().filter(|it| it.running.state == Phase::Refused).count();
    if refused > 0 {
        writeln!(out, "refused by {refused} nodes")?;
    }
    if nodes.is_empty() {
        return writeln!(out, "no node says what it runs: is an agent running with --node-status?");
    }
    let width = nodes.iter().map(|it| it.node.len()).max().unwrap_or(0).max(4);
    let wide = nodes.iter().map(|it| it.running.component.len()).max().unwrap_or(0).max(9);
    writeln!(
        out,
        "\n{:width$}  {:>5}  {:wide$}  {:12}  {:8}  SINCE / REASON",
        "NODE", "RULES", "COMPONENT", "DIGEST", "STATE"
    )?;
    for NodeRules { node, running } in nodes {
        let since = running.since.map(|it| it.to_string()).unwrap_or_default();
        let why = if running.state == Phase::Active { &since } else { &running.reason };
        let (rules, component, digest) = (running.rules, &running.component, &running.digest);
        let state = running.state.as_str();
        writeln!(out, "{node:width$}  {rules:>5}  {component:wide$}  {digest:12}  {state:8}  {why}")?;
    }
    Ok(())
}
