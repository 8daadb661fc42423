//! `cargo xtask demo`: the main job on Istio's Bookinfo example, with the real agent as a child process. This module is the
//! story in its order; who plays in it is in the modules below, some of which the tests of the agent use as well.
//!
//! Everything runs in a network namespace, a cgroup and folders of the demo's own, and nothing of it stays.

pub mod admin;
pub mod agent;
pub mod config_map;
pub mod patience;
pub mod places;

mod client;
mod destinations;
mod ledger;
mod network;
mod observation;
mod options;
mod report;
mod scene;
mod stand_ins;
mod traffic;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};

use client::Rounds;
use observation::Outcome;
use options::Options;
use patience::Patience;
use report::Report;
use scene::{RuleSet, Scene};
use stand_ins::{Arrivals, ITSELF};
use traffic::{Tally, Traffic};

use crate::candidate::artifact;
use crate::guests;

/// First arguments under which the program starts itself; not for users.
const CLIENT: &str = "client";
const INSIDE: &str = "inside";

/// Threads that connect while rules are swapped.
const CLIENT_THREADS: usize = 4;
/// Connections that must follow each refusal: the active rules go on.
const CONNECTIONS_AFTER_REFUSAL: u64 = 100;
/// For connections to be made, or seen under new rules.
const TRAFFIC_PATIENCE: Patience = Patience::seconds(60);
/// Swaps between two lines of progress.
const PROGRESS_EVERY: u64 = 5;

/// The whole program, without its own name. Exit status 1 if it cannot run or a check fails.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let result = match arguments.split_first() {
        Some((word, rest)) if word == CLIENT => client::run(rest).map(|()| true),
        Some((word, rest)) if word == INSIDE => inside(rest),
        _ => outside(arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// As root everything goes on in a network of its own.
fn outside(arguments: &[OsString]) -> Result<bool> {
    let Some(options) = Options::parse(arguments)? else {
        print!("{}", options::HELP);
        return Ok(true);
    };
    if rustix::process::geteuid().is_root() && !options.no_kernel {
        match network::enter(INSIDE, arguments)? {}
    }
    run(&options, false)
}

fn inside(arguments: &[OsString]) -> Result<bool> {
    let (outside, arguments) = arguments.split_first().context("started in a way that is not for users")?;
    network::set_up(Some(outside))?;
    let options = Options::parse(arguments)?.context("no options")?;
    run(&options, true)
}

/// Sets the scene, plays, and tidies up; true if every check was passed.
fn run(options: &Options, with_kernel: bool) -> Result<bool> {
    patience::end_by_signal()?;
    if let Some(file) = &options.json {
        // Better to know now that it cannot be written; and what an earlier run left there is not of this one.
        File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let mut folder = tempfile::Builder::new().prefix("wayswitch-demo-").tempdir()?;
    folder.disable_cleanup(options.keep);
    let start = Instant::now();
    let played = play(options, folder.path(), with_kernel);
    if options.keep {
        println!("Kept: {}", folder.path().display());
    }
    let (report, checks) = played?;
    if let Some(file) = &options.json {
        report.write_json(file)?;
    }
    println!();
    for (what, _) in checks.iter().filter(|(_, passed)| !passed) {
        println!("FAILED: {what}");
    }
    let passed = checks.iter().all(|(_, passed)| *passed);
    let verdict = if passed { "every check passed" } else { "the demo FAILED" };
    println!("{verdict} ({} checks, {:.0} s)", checks.len(), start.elapsed().as_secs_f64());
    Ok(passed)
}

/// What was checked, and whether it held.
type Checks = Vec<(String, bool)>;

fn play(options: &Options, folder: &Path, with_kernel: bool) -> Result<(Report, Checks)> {
    let sets = rule_sets()?;
    let mut checks = Checks::new();

    println!("1. The agent starts: Istio's Bookinfo as manifests, rules in a folder like a mounted ConfigMap.");
    let mut scene = Scene::set(folder, rule_set(&sets, 0)?, with_kernel)?;
    introduce(&scene, folder);

    println!("\n2. Clients connect to {} destinations.", scene.destinations.len());
    let mut tally = match &scene.kernel {
        Some(_) => connect_once(&scene, &mut checks)?,
        None => {
            println!("   LEFT OUT: the kernel part, which needs root. No connections are made, here and below.");
            Tally::new()
        }
    };

    println!("\n3. The ConfigMap is replaced {} times.", options.swaps);
    let mut traffic = start_traffic(&scene, CLIENT_THREADS, Rounds::UntilStopped)?;
    swap_all(&mut scene, traffic.as_mut(), options, &sets)?;

    println!("\n4. Broken components are put in the same way.");
    let refused = break_in(&mut scene, traffic.as_mut(), &mut checks)?;
    if let Some(traffic) = traffic {
        for (observation, count) in traffic.stop()? {
            *tally.entry(observation).or_default() += count;
        }
    }

    println!("\n5. What happened.");
    let mut verdict = scene.ledger.judge(&tally, &scene.destinations)?;
    for (name, _) in &scene.waypoints {
        verdict.by_waypoint.entry(name.to_string()).or_default();
    }
    let swaps = scene.swaps()?;
    let report = Report { swaps, refused, verdict, kernel: with_kernel };
    show(&scene, &report);
    check(options, &report, &mut checks);
    if let Some(kernel) = scene.stop_agent()? {
        check_arrivals(&report, &kernel.stand_ins.stop()?, &mut checks);
        kernel.places.remove()?;
    }
    Ok((report, checks))
}

/// The rules that take turns.
fn rule_sets() -> Result<Vec<RuleSet>> {
    let rules = |name: &str, settings| -> Result<RuleSet> {
        Ok(RuleSet { file: format!("{name}.wasm"), bytes: artifact(name)?, settings })
    };
    let (direct, blocked) = (rules("istio", "{unbound: direct}")?, rules("istio", "{unbound: blocked}")?);
    let other = rules("service-account", "")?;
    Ok(vec![direct, other.clone(), blocked, other])
}

/// The rules of a swap; 0 is the start.
fn rule_set(sets: &[RuleSet], number: u64) -> Result<&RuleSet> {
    let at = usize::try_from(number)?.checked_rem(sets.len()).context("no rules")?;
    sets.get(at).context("no rules")
}

fn introduce(scene: &Scene, folder: &Path) {
    match &scene.kernel {
        Some(kernel) => {
            println!(
                "   Mode: without a node proxy (`redirect`): the kernel itself sends connections to waypoints, for the"
            );
            println!(
                "   processes of one cgroup: {}. Waypoints and applications are stand-ins",
                kernel.places.cgroup.display()
            );
            println!("   in this process, in a network namespace of its own.");
        }
        None => {
            println!(
                "   Without the kernel: the agent decides and swaps, and that is all. As root it would run in the mode"
            );
            println!("   without a node proxy (`redirect`), where the kernel itself sends connections to waypoints.");
        }
    }
    println!("   Folder: {} (rules/..data is the ConfigMap).", folder.display());
    for (rules, label) in &scene.labels {
        println!("   Rules {rules} are in force: {label}.");
    }
}

/// Chapter 2.
fn connect_once(scene: &Scene, checks: &mut Checks) -> Result<Tally> {
    let traffic = start_traffic(scene, 1, Rounds::One)?.context("no kernel")?;
    let tally = traffic.finish()?;
    report::destinations(&tally, &scene.destinations);
    let tried = tally.values().sum::<u64>() == scene.destinations.len() as u64;
    checks.push((format!("{} destinations were tried", scene.destinations.len()), tried));
    let refused = tally.keys().any(|observation| matches!(observation.outcome, Outcome::Denied(_)));
    checks.push(("one destination is refused".to_owned(), refused));
    let untouched = |outcome: &Outcome| matches!(outcome, Outcome::Arrived(greeting) if greeting.name == ITSELF);
    let passed = tally.keys().any(|observation| untouched(&observation.outcome));
    checks.push(("one destination passes untouched".to_owned(), passed));
    Ok(tally)
}

/// None without a kernel.
fn start_traffic(scene: &Scene, threads: usize, rounds: Rounds) -> Result<Option<Traffic>> {
    let Some(kernel) = &scene.kernel else { return Ok(None) };
    let destinations: Vec<SocketAddr> = scene.destinations.iter().map(|destination| destination.dial).collect();
    let arguments = client::arguments(&kernel.places, threads, rounds, &destinations);
    Traffic::start(CLIENT, &arguments).map(Some)
}

/// Chapter 3. Swaps are spread over the connections, and the next one waits until connections were seen under the last.
fn swap_all(scene: &mut Scene, mut traffic: Option<&mut Traffic>, options: &Options, sets: &[RuleSet]) -> Result<()> {
    if traffic.is_some() {
        println!("   Meanwhile {CLIENT_THREADS} client threads connect to the same destinations, as fast as they can.");
    }
    for number in 1..=options.swaps {
        if let Some(traffic) = &mut traffic {
            traffic.wait_made(options.connections * (number - 1) / options.swaps, TRAFFIC_PATIENCE)?;
        }
        let rules = scene.swap(rule_set(sets, number)?)?;
        let mut made = String::new();
        if let Some(traffic) = &mut traffic {
            traffic.wait_rules(rules, TRAFFIC_PATIENCE)?;
            made = format!(", {} connections", traffic.made());
        }
        if number % PROGRESS_EVERY == 0 || number == options.swaps {
            println!("   {number} of {} swaps: rules {rules} in force{made}", options.swaps);
        }
    }
    match traffic {
        Some(traffic) => traffic.wait_made(options.connections, TRAFFIC_PATIENCE),
        None => Ok(()),
    }
}

/// Chapter 4.
fn break_in(scene: &mut Scene, mut traffic: Option<&mut Traffic>, checks: &mut Checks) -> Result<Vec<scene::Refused>> {
    let mut half = artifact("istio")?;
    half.truncate(half.len() / 2);
    let broken = [
        ("truncated.wasm", half),
        ("another-world.wasm", guests::wrong_world()),
        ("traps.wasm", guests::component("resolve-trap")),
        ("never-ends.wasm", guests::component("resolve-loop")),
    ];
    let mut all = Vec::new();
    for (file, bytes) in broken {
        let active = scene.active_rules()?;
        let refused = scene.swap_refused(&RuleSet { file: file.to_owned(), bytes, settings: "" })?;
        report::refusal(&refused);
        if let Some(traffic) = &mut traffic {
            traffic.wait_made(traffic.made() + CONNECTIONS_AFTER_REFUSAL, TRAFFIC_PATIENCE)?;
        }
        let holds = refused.component == file && refused.active_rules == active && scene.active_rules()? == active;
        checks.push((format!("{file} is refused and rules {active} stay"), holds));
        all.push(refused);
    }
    Ok(all)
}

/// Chapter 5.
fn show(scene: &Scene, report: &Report) {
    let label = |at: usize| scene.labels.get(at).map(|(rules, label)| (*rules, format!("{rules}, {label}")));
    // The third set differs from the first in a setting only.
    for at in [1, 2] {
        let (Some((before, before_label)), Some((after, after_label))) = (label(0), label(at)) else {
            continue;
        };
        let (Some(one), Some(other)) = (scene.ledger.decisions(before), scene.ledger.decisions(after)) else {
            continue;
        };
        report::decisions((&before_label, one), (&after_label, other));
    }
    report::swaps(&report.swaps, &scene.labels, report.kernel.then_some(&report.verdict.by_rules));
    if report.kernel {
        report::connections(&report.verdict);
    }
}

fn check(options: &Options, report: &Report, checks: &mut Checks) {
    let mut add = |what: &str, holds: bool| checks.push((what.to_owned(), holds));
    let rules: Vec<u64> = report.swaps.iter().map(|swap| swap.rules).collect();
    add("every swap has its number", rules == (1..=options.swaps + 1).collect::<Vec<_>>());
    add("every swap changed decisions", report.swaps.iter().all(|swap| swap.changed > 0));
    if report.kernel {
        let seen = &report.verdict;
        add("no connection failed that should not", seen.failed == 0);
        add("no connection was decided by a mix of rules", seen.mixed == 0);
        add("enough connections were made", seen.made >= options.connections);
        add("there were connections under all rules", seen.by_rules.keys().eq(rules.iter()));
        add("every waypoint got connections", seen.by_waypoint.values().all(|count| *count > 0));
    }
}

/// Both ends must have counted the same.
fn check_arrivals(report: &Report, arrivals: &BTreeMap<String, Arrivals>, checks: &mut Checks) {
    for (name, expected) in &report.verdict.by_waypoint {
        let arrivals = arrivals.get(name);
        let count: u64 = arrivals.into_iter().flat_map(BTreeMap::values).sum();
        let knows_all = arrivals.is_none_or(|arrivals| !arrivals.contains_key(&None));
        checks.push((format!("{name} was told the destination of every connection"), knows_all));
        checks.push((format!("{name} got as many connections as clients made"), count == *expected));
    }
}
