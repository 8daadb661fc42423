//! `waypoint apply`: the Gateway, the wait, the labels, in this order.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cluster::connect::Cluster;
use cluster::waypoint::{Plan, Readiness, Scope, Step, Wanted, apply_gateway, await_ready, enrol, find, plan};
use model::gateway::GatewayKey;

use super::table::one_line;
use super::{in_cluster, would};
use crate::cli::{ApplyFlags, DryRun};

/// Carries it out, or says what would be done.
pub(super) fn run(flags: &ApplyFlags) -> anyhow::Result<ExitCode> {
    let done = in_cluster(&flags.terms.cluster, flags.namespace.as_ref(), async |cluster| {
        let plan = planned(cluster, flags).await?;
        let mut out = std::io::stdout().lock();
        match flags.dry_run {
            None => carry_out(&mut out, cluster, flags, &plan).await?,
            Some(DryRun::Client) => print_steps(&mut out, &plan)?,
            Some(DryRun::Server) => {
                check_at_server(cluster, &plan).await?;
                print_steps(&mut out, &plan)?;
            }
        }
        out.flush()?;
        Ok(plan)
    });
    let plan = done?;
    if flags.dry_run != Some(DryRun::Server) {
        return Ok(ExitCode::SUCCESS);
    }
    would::print("Once it is ready:", &flags.terms, |store| plan.events(store))
}

async fn planned(cluster: &Cluster, flags: &ApplyFlags) -> anyhow::Result<Plan> {
    let namespace = &cluster.namespace;
    let wanted = Wanted {
        spec: flags.spec.spec(Some(namespace)),
        enrol: flags.targets(namespace),
        canary: flags.weight.filter(|_| flags.canary),
        overwrite: flags.overwrite,
        wait: flags.wait,
    };
    if flags.canary && wanted.enrol.is_empty() {
        bail!("nobody is to get the second waypoint: say who with --enroll-namespace or --enroll");
    }
    let plan = plan(&wanted, &find(cluster, &wanted).await?)?;
    for warning in &plan.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(plan)
}

/// Each step, told when it is done.
async fn carry_out(out: &mut impl Write, cluster: &Cluster, flags: &ApplyFlags, plan: &Plan) -> anyhow::Result<()> {
    let key = &plan.key;
    for (done, step) in plan.steps.iter().enumerate() {
        match step {
            Step::Create { .. } | Step::Change(_) => apply_gateway(cluster, plan, false).await?,
            Step::Wait => wait(cluster, flags, plan).await?,
            Step::Enrol(enrolment) => enrol(cluster, enrolment, false).await.with_context(|| {
                format!("waypoint {key} is there, but {} was not enrolled{}", enrolment.target, before(plan, done))
            })?,
            Step::Keep | Step::Enrolled(_) => {}
        }
        match step {
            Step::Create { what } => writeln!(out, "waypoint {key} created: {what}")?,
            Step::Change(lines) => lines.iter().try_for_each(|line| writeln!(out, "waypoint {key} changed: {line}"))?,
            Step::Keep => writeln!(out, "waypoint {key} unchanged")?,
            Step::Wait => writeln!(out, "waypoint {key} is ready")?,
            Step::Enrol(enrolment) => writeln!(out, "enrolled {enrolment}")?,
            Step::Enrolled(target) => writeln!(out, "{target} was enrolled already")?,
        }
        out.flush()?;
    }
    Ok(())
}

/// Who was enrolled before it went wrong.
fn before(plan: &Plan, done: usize) -> String {
    let names: Vec<String> = plan
        .steps
        .iter()
        .take(done)
        .filter_map(|step| match step {
            Step::Enrol(enrolment) => Some(enrolment.target.to_string()),
            _ => None,
        })
        .collect();
    if names.is_empty() { String::new() } else { format!("; {} was", names.join(", ")) }
}

async fn wait(cluster: &Cluster, flags: &ApplyFlags, plan: &Plan) -> anyhow::Result<()> {
    let key = &plan.key;
    let scope = Scope::Namespace(key.namespace.to_string());
    let tell = &mut |key: &GatewayKey, state: &Readiness| {
        if *state != Readiness::Ready {
            eprintln!("waiting for {key}: {}", one_line(&state.to_string()));
        }
    };
    let limit = flags.waypoint_timeout;
    let waited = await_ready(cluster, &scope, &BTreeSet::from([key.clone()]), limit, tell).await?;
    if let Some((_, missing)) = waited.missing().first() {
        let nobody =
            if plan.steps.iter().any(|step| matches!(step, Step::Enrol(_))) { "; nobody was enrolled" } else { "" };
        let trouble = waited.trouble.as_ref().map_or_else(String::new, |trouble| format!(" ({trouble})"));
        bail!("waypoint {key} is not ready after {limit:?}: {}{trouble}{nobody}", one_line(&missing.to_string()));
    }
    Ok(())
}

/// The API server has its say about everything, and keeps nothing.
async fn check_at_server(cluster: &Cluster, plan: &Plan) -> anyhow::Result<()> {
    for step in &plan.steps {
        match step {
            Step::Create { .. } | Step::Change(_) => apply_gateway(cluster, plan, true).await?,
            Step::Enrol(enrolment) => enrol(cluster, enrolment, true).await?,
            Step::Keep | Step::Wait | Step::Enrolled(_) => {}
        }
    }
    Ok(())
}

fn print_steps(out: &mut impl Write, plan: &Plan) -> std::io::Result<()> {
    let key = &plan.key;
    for step in &plan.steps {
        match step {
            Step::Create { what } => writeln!(out, "would create waypoint {key}: {what}")?,
            Step::Change(lines) => {
                lines.iter().try_for_each(|line| writeln!(out, "would change waypoint {key}: {line}"))?
            }
            Step::Keep => writeln!(out, "would leave waypoint {key} as it is")?,
            Step::Wait => writeln!(out, "would wait until it is ready")?,
            Step::Enrol(enrolment) => writeln!(out, "would enrol {enrolment}")?,
            Step::Enrolled(target) => writeln!(out, "{target} is enrolled already")?,
        }
    }
    Ok(())
}
