//! `wayswitch waypoints`: the waypoints of a mesh with what is bound to them, and the other way round.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use model::decision::WaypointAddress;
use model::gateway::HBONE_PORT;
use model::table::RowKey;
use model::waypoint_view::{Bound, LeftOut, Role, Standing, WaypointOf, WaypointView, WaypointViews};
use serde_json::{Value, json};

use super::mesh;
use crate::cli::{Output, WaypointsFlags};

/// Prints all waypoints, one, or those of one object.
pub(crate) fn run(flags: &WaypointsFlags) -> anyhow::Result<ExitCode> {
    let mesh = match mesh::read(&flags.mesh.paths, &flags.mesh.terms) {
        Ok(mesh) => mesh,
        Err(code) => return Ok(code),
    };
    let decided = mesh::decide(&mesh.terms, mesh.store)?;
    let table = decided.decider.table();
    let views = WaypointViews::new(&decided.store, table);
    let mut out = std::io::stdout().lock();
    if let Some(row) = &flags.of {
        let key = &row.0;
        let decided = table.get(key).with_context(|| {
            format!("{key} has no decision: it is not in the manifests, or Istio does not publish it")
        })?;
        let waypoints = views.of_row(key, decided);
        return print(&mut out, flags.output, || of_row_json(key, &waypoints), |out| of_row(out, key, &waypoints));
    }
    match &flags.waypoint {
        None => print(&mut out, flags.output, || list_json(&views), |out| list(out, &views)),
        Some(name) => {
            let view = views.get(&name.0).with_context(|| format!("there is no Gateway {}", name.0))?;
            print(&mut out, flags.output, || view_json(view), |out| full(out, view))
        }
    }
}

fn print<W: Write>(
    out: &mut W,
    how: Output,
    value: impl FnOnce() -> Value,
    text: impl FnOnce(&mut W) -> std::io::Result<()>,
) -> anyhow::Result<ExitCode> {
    match how {
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, &value())?;
            writeln!(out)?;
        }
        Output::Table => text(out)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn list_json(views: &WaypointViews) -> Value {
    let line = |view: &WaypointView| {
        let mut value = standing_json(view);
        if let Value::Object(fields) = &mut value {
            fields.insert("services".to_owned(), json!(view.services.len()));
            fields.insert("workloads".to_owned(), json!(view.workloads.len()));
            fields.insert("canaryOf".to_owned(), json!(canaries(view).count()));
            fields.insert("leftOut".to_owned(), json!(view.left_out.len()));
        }
        value
    };
    json!({ "waypoints": views.iter().map(line).collect::<Vec<_>>() })
}

/// What the Gateway itself says. Where it is gone there is nothing but its name.
fn standing_json(view: &WaypointView) -> Value {
    let mut value =
        json!({ "namespace": view.key.namespace, "name": view.key.name, "present": view.standing.is_some() });
    if let (Value::Object(fields), Some(standing)) = (&mut value, &view.standing) {
        let of = json!({
            "class": standing.class,
            "ready": standing.ready,
            "serves": standing.serves,
            "admits": standing.admits.to_string(),
            "address": standing.address,
            "port": HBONE_PORT,
            "dial": standing.dial,
            "instances": standing.instances.len(),
            "accounts": standing.accounts,
        });
        if let Value::Object(of) = of {
            fields.extend(of);
        }
    }
    value
}

fn view_json(view: &WaypointView) -> Value {
    let bound = |bound: &Bound| {
        json!({ "kind": bound.row.kind, "namespace": bound.row.namespace, "name": bound.row.name, "address": bound.row.part,
            "hosts": bound.hosts, "role": bound.role, "weight": bound.weight, "named": bound.named })
    };
    let mut value = standing_json(view);
    if let Value::Object(fields) = &mut value {
        let lists = [
            ("hostnames", json!(view.hostnames)),
            ("ips", json!(view.ips)),
            ("services", view.services.iter().map(bound).collect()),
            ("workloads", view.workloads.iter().map(bound).collect()),
            ("leftOut", view.left_out.iter().map(left_out_json).collect()),
        ];
        fields.extend(lists.map(|(key, value)| (key.to_owned(), value)));
    }
    value
}

fn left_out_json(left: &LeftOut) -> Value {
    json!({ "kind": left.row.kind, "namespace": left.row.namespace, "name": left.row.name, "address": left.row.part,
        "host": left.host, "why": left.why.to_string() })
}

fn of_row_json(key: &RowKey, waypoints: &[WaypointOf]) -> Value {
    let waypoint = |it: &WaypointOf| {
        json!({ "namespace": it.target.gateway.namespace, "name": it.target.gateway.name, "role": it.role,
            "weight": it.target.weight, "address": address(it), "dial": it.target.dial, "resolved": it.is_resolved(),
            "leftOut": it.left_out.iter().map(left_out_json).collect::<Vec<_>>() })
    };
    json!({ "kind": key.kind, "namespace": key.namespace, "name": key.name, "address": key.part,
        "waypoints": waypoints.iter().map(waypoint).collect::<Vec<_>>() })
}

fn address(waypoint: &WaypointOf) -> Option<String> {
    waypoint.target.address.as_ref().map(|address| match address {
        WaypointAddress::Hostname(hostname) => hostname.to_string(),
        WaypointAddress::Ip { ip, .. } => ip.to_string(),
    })
}

fn list(out: &mut impl Write, views: &WaypointViews) -> std::io::Result<()> {
    let heads = ["WAYPOINT", "READY", "SERVES", "ADMITS", "ADDRESS", "DIALLED", "SERVICES", "WORKLOADS", "CANARY OF"];
    let mut lines = vec![heads.map(str::to_owned)];
    lines.extend(views.iter().map(line));
    let mut widths = [0; 9];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn line(view: &WaypointView) -> [String; 9] {
    let [ready, serves, admits, address, dialled] = match &view.standing {
        None => ["gone", "-", "-", "-", "-"].map(str::to_owned),
        Some(standing) => [
            if standing.ready { "yes" } else { "no" }.to_owned(),
            standing.serves.to_string(),
            standing.admits.to_string(),
            standing.address.as_deref().unwrap_or("-").to_owned(),
            dialled(standing),
        ],
    };
    let services = left_out_beside(view.services.len(), view, true);
    let workloads = left_out_beside(view.workloads.len(), view, false);
    [view.key.to_string(), ready, serves, admits, address, dialled, services, workloads, shares(view)]
}

fn dialled(standing: &Standing) -> String {
    let all: Vec<String> = standing.dial.iter().map(ToString::to_string).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(",") }
}

/// How many are bound, and how many name it in vain.
fn left_out_beside(count: usize, view: &WaypointView, services: bool) -> String {
    let mut rows: Vec<&RowKey> = view.left_out.iter().map(|left| &left.row).collect();
    rows.retain(|row| row.kind.is_service() == services);
    rows.dedup();
    if rows.is_empty() { count.to_string() } else { format!("{count} (-{})", rows.len()) }
}

fn canaries(view: &WaypointView) -> impl Iterator<Item = &Bound> {
    view.services.iter().filter(|bound| bound.role == Role::Canary)
}

/// Of how many services it is the second waypoint, and with which share.
fn shares(view: &WaypointView) -> String {
    let weights: Vec<u8> = canaries(view).map(|bound| bound.weight).collect();
    match (weights.iter().min(), weights.iter().max()) {
        (Some(least), Some(most)) if least == most => format!("{} ({least}%)", weights.len()),
        (Some(least), Some(most)) => format!("{} ({least}-{most}%)", weights.len()),
        _ => "-".to_owned(),
    }
}

fn full(out: &mut impl Write, view: &WaypointView) -> std::io::Result<()> {
    match &view.standing {
        None => writeln!(out, "Waypoint {} is gone; objects that could not be decided anew still name it", view.key)?,
        Some(standing) => {
            let accounts: Vec<&str> = standing.accounts.iter().map(|account| &**account).collect();
            let ready = if standing.ready { "yes" } else { "no: it reports no address" };
            writeln!(out, "Waypoint {} of class {}", view.key, standing.class)?;
            writeln!(out, "ready      {ready}")?;
            writeln!(out, "serves     {}", standing.serves)?;
            writeln!(out, "admits     {}", standing.admits)?;
            writeln!(
                out,
                "address    {}, dialled at {}",
                standing.address.as_deref().unwrap_or("-"),
                dialled(standing)
            )?;
            writeln!(out, "instances  {} as {}", standing.instances.len(), or_dash(&accounts.join(", ")))?;
        }
    }
    for (what, list) in [("services", &view.services), ("workloads", &view.workloads)] {
        writeln!(out, "{what:9}  {}", list.len())?;
        for bound in list {
            let canary = if bound.role == Role::Canary { " as second waypoint" } else { "" };
            let named =
                if bound.named == view.key { String::new() } else { format!(", by the name of {}", bound.named) };
            writeln!(out, "  {} {}%{canary}{named} {}", bound.row, bound.weight, bound.hosts.join(" "))?;
        }
    }
    writeln!(out, "left out   {}", view.left_out.len())?;
    view.left_out.iter().try_for_each(|left| writeln!(out, "  {}", left_out(left)))
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn left_out(left: &LeftOut) -> String {
    let host = left.host.as_ref().map_or_else(String::new, |host| format!(" {host}"));
    format!("{}{host}: {}", left.row, left.why)
}

fn of_row(out: &mut impl Write, key: &RowKey, waypoints: &[WaypointOf]) -> std::io::Result<()> {
    if waypoints.is_empty() {
        return writeln!(out, "{key} goes through no waypoint");
    }
    writeln!(out, "{key} goes through")?;
    for waypoint in waypoints {
        let target = &waypoint.target;
        let dial: Vec<String> = target.dial.iter().map(ToString::to_string).collect();
        let (address, dial) = (address(waypoint), dial.join(","));
        let dialled = if dial.is_empty() { "not resolved".to_owned() } else { format!("dialled at {dial}") };
        let address = address.as_deref().unwrap_or("no address");
        writeln!(out, "  {} {}% {address}, {dialled}", target.gateway, target.weight)?;
        for left in &waypoint.left_out {
            writeln!(out, "    it does not know {}", left_out(left))?;
        }
    }
    Ok(())
}
