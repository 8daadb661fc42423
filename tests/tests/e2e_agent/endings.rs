//! How an agent ends and who may run beside it: signals in the middle of a swap, a second agent, kernel state that stays.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::thread;

use anyhow::{Context as _, Result};
use redirect::{Attached, attached, cgroup2_mount};
use rustix::process::Signal;
use tests::demo::agent::{Agent, command};
use tests::demo::patience::wait_for;
use tests::demo::places::KernelPlaces;

use crate::node::{BLOCKING, ISTIO, Node, PATIENCE, SERVICE_ACCOUNT, flags};

/// Why the kernel part cannot run here, if it cannot.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    cgroup2_mount().err().map(|error| error.to_string())
}

/// Says SKIPPED and returns true where the kernel part cannot run; fails where it must.
pub(crate) fn skipped(name: &str) -> bool {
    let Some(obstacle) = obstacle() else { return false };
    let required = std::env::var_os("WAYSWITCH_REQUIRE_KERNEL").is_some_and(|value| value == "1");
    assert!(!required, "{name}: kernel tests are required and cannot run: {obstacle}");
    println!("SKIPPED {name}: {obstacle}");
    true
}

/// Signals the agent while it tries new rules, some time after it began; returns whether it got to publish them.
fn terminate_in_a_swap(mut node: Node, wait_us: u64) -> Result<(bool, tempfile::TempDir)> {
    node.configure(SERVICE_ACCOUNT)?;
    wait_for("the swap to begin", PATIENCE, || {
        Ok((node.agent.log()?.matches("trying new rules").count() == 2).then_some(()))
    })?;
    thread::sleep(std::time::Duration::from_micros(wait_us));
    node.agent.signal(Signal::TERM)?;
    let status = node.agent.wait(PATIENCE)?;
    let log = node.agent.log()?;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!node.admin().socket().exists(), "the socket stays behind");
    assert!(log.contains("SIGTERM: stopping") && log.contains("stopped; what is in the kernel stays"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    Ok((log.matches("new rules rules=").count() == 2, node.into_folder()))
}

#[test]
fn sigterm_in_a_swap_ends_in_order() -> Result<()> {
    // From the middle of the compilation to past its end.
    for wait_us in [0, 20_000, 400_000] {
        terminate_in_a_swap(Node::start(ISTIO)?, wait_us)?;
    }
    Ok(())
}

#[test]
fn sigint_ends_in_order_too() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    node.agent.signal(Signal::INT)?;
    assert_eq!(node.agent.wait(PATIENCE)?.code(), Some(0));
    Ok(())
}

#[test]
fn what_is_in_the_kernel_outlives_agents() -> Result<()> {
    if skipped("what_is_in_the_kernel_outlives_agents") {
        return Ok(());
    }
    let places = KernelPlaces::make("e2e-outlives")?;
    let mut more = vec!["--cgroup".into(), places.cgroup.clone().into()];
    more.extend(["--pin-dir".into(), places.pins.clone().into_os_string()]);
    let all = Attached { connect4: 1, connect6: 1, sockops: 1 };

    let node = Node::start_with(ISTIO, &more)?;
    assert_eq!(attached(&places.cgroup)?, all);
    let (is_published, folder) = terminate_in_a_swap(node, 0)?;
    assert_eq!(attached(&places.cgroup)?, all, "links stay");
    let pins = fs::read_dir(&places.pins)?.count();
    assert!(pins > 0, "pins stay");

    // The next agent takes over, and goes on counting where the other one stopped.
    let before = if is_published { 2 } else { 1 };
    let mut next = Agent::start(folder.path(), flags(folder.path()).into_iter().chain(more))?;
    next.wait_ready(PATIENCE)?;
    assert_eq!(next.admin().value("/rules")?["rules"], before + 1);
    assert_eq!(attached(&places.cgroup)?, all, "one program per hook, not two");
    assert_eq!(fs::read_dir(&places.pins)?.count(), pins);
    assert!(next.log()?.contains("took over the rules in the kernel"), "{}", next.log()?);

    // It cannot be detached while an agent runs. Killed, that leaves all of it as well, until somebody detaches it.
    let line = failed(&detach(&places)?);
    assert!(line.starts_with(&format!("wayswitch: {} could not be detached: ", places.pins.display())), "{line}");
    next.signal(Signal::KILL)?;
    next.wait(PATIENCE)?;
    assert_eq!(attached(&places.cgroup)?, all);
    for expected in [
        format!("{} is detached\n", places.pins.display()),
        format!("nothing to detach: there is no {}\n", places.pins.display()),
    ] {
        let output = detach(&places)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), &*out), (Some(0), expected.as_str()), "{err}");
    }
    assert_eq!(attached(&places.cgroup)?, Attached { connect4: 0, connect6: 0, sockops: 0 });
    drop(next);
    places.remove()
}

fn detach(places: &KernelPlaces) -> Result<Output> {
    let mut command = command()?;
    command.arg("detach").arg("--pin-dir").arg(&places.pins).stdin(Stdio::null());
    command.output().context("cannot run detach")
}

/// Runs an agent that is expected to end by itself.
fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Output> {
    let mut command = command()?;
    command.arg("agent").args(arguments).stdin(Stdio::null());
    command.output().context("cannot run the agent")
}

/// Exit status 1, and what is said on the last line.
fn failed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn only_the_owner_may_ask_and_only_one_agent_answers() -> Result<()> {
    let mut node = Node::start(ISTIO)?;
    let socket = node.admin().socket().to_owned();
    assert_eq!(fs::metadata(&socket)?.permissions().mode() & 0o7777, 0o600);
    let mut arguments = flags(node.folder());
    arguments.extend(["--admin".into(), format!("unix:{}", socket.display()).into()]);
    let line = failed(&run(arguments)?);
    let expected = format!("wayswitch: admin cannot listen on {}: another agent listens there", socket.display());
    assert_eq!(line, expected);

    // The first one did not notice; a socket that nobody listens on is replaced.
    assert_eq!(node.admin().get("/readyz")?.status, 200);
    node.agent.signal(Signal::KILL)?;
    node.agent.wait(PATIENCE)?;
    assert!(socket.exists());
    let folder = node.into_folder();
    let mut next = Agent::start(folder.path(), flags(folder.path()))?;
    next.wait_ready(PATIENCE)?;
    assert_eq!(next.stop()?.code(), Some(0));
    Ok(())
}

#[test]
fn a_second_agent_over_the_same_pins_is_refused() -> Result<()> {
    if skipped("a_second_agent_over_the_same_pins_is_refused") {
        return Ok(());
    }
    let places = KernelPlaces::make("e2e-second")?;
    let mut more = vec!["--cgroup".into(), places.cgroup.clone().into()];
    more.extend(["--pin-dir".into(), places.pins.clone().into_os_string()]);
    let mut node = Node::start_with(BLOCKING, &more)?;
    let line = failed(&run(flags(node.folder()).into_iter().chain(more).chain(["--admin".into(), "none".into()]))?);
    assert!(line.starts_with("wayswitch: ") && line.contains(&places.pins.display().to_string()), "{line}");
    assert_eq!(node.rules()?["rules"], 1);
    drop(node);
    places.remove()
}

#[test]
fn settings_that_make_no_sense_end_the_agent_with_one_line() -> Result<()> {
    let rows: &[(&[&str], &str)] = &[
        (&[], "wayswitch: no objects: name at least one file or folder with --filename (WAYSWITCH_MANIFESTS), or set"),
        (
            &["-f", "m"],
            "wayswitch: no rules: name the folder or ConfigMap with config.yaml with --rules (WAYSWITCH_RULES)",
        ),
        (&["-f", "m", "--rules", "r", "--admin", "0.0.0.0:1"], "wayswitch: --admin 0.0.0.0:1: only loopback addresses"),
        (&["--config", "/nowhere.yaml"], "wayswitch: cannot read /nowhere.yaml: No such file or directory"),
        (&["-f", "m", "--rules", "r", "--log", "a=b=c"], "wayswitch: --log \"a=b=c\" is no filter"),
    ];
    for (arguments, expected) in rows {
        let output = run(arguments.iter().map(Into::into))?;
        let line = failed(&output);
        assert!(line.starts_with(expected), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn a_cgroup_that_is_none_ends_the_agent_with_one_line() -> Result<()> {
    if skipped("a_cgroup_that_is_none_ends_the_agent_with_one_line") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("manifests"))?;
    fs::create_dir(folder.path().join("rules"))?;
    let more = ["--cgroup".into(), folder.path().into(), "--admin".into(), "none".into()];
    let line = failed(&run(flags(folder.path()).into_iter().chain(more))?);
    assert!(line.starts_with("wayswitch: ") && line.contains(&folder.path().display().to_string()), "{line}");
    Ok(())
}
