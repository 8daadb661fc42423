//! The real program `wayswitch agent` as a child process: found, started, asked, stopped; never left behind.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::admin::Admin;
use super::patience::{Patience, wait_for};

/// An agent finishes what it has begun when it is told to stop; a swap may be under way.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);
/// What manifests and chart tell the allocator of the agent in `GLIBC_TUNABLES`: what is free is given back.
pub const ALLOCATOR: &str = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072";
/// Lines of the agent's log that a failure shows.
const LOG_LINES_SHOWN: usize = 12;

/// A running agent. Dropping it ends it.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    admin: Admin,
    log: PathBuf,
}

/// The program that cargo left beside the program that runs now, or one folder above for a test.
///
/// # Errors
/// When it is not built, or was built before its sources changed: cargo builds tests without it.
pub fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program has no path")?;
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("wayswitch"));
    let found = beside.into_iter().find(|path| path.is_file());
    let found = found.with_context(|| format!("no `wayswitch` near {}: run `cargo xtask build`", own.display()))?;
    match newer_source(&found)? {
        None => Ok(found),
        Some(source) => bail!("{} is older than {source}: run `cargo xtask build`", found.display()),
    }
}

/// A source of the program that is newer than it. Cargo lists them in the file beside it: `PROGRAM: SOURCE SOURCE ...`.
fn newer_source(program: &Path) -> Result<Option<String>> {
    let list = program.with_extension("d");
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let built = fs::metadata(program)?.modified()?;
    let sources = text.split_once(": ").map_or("", |(_, sources)| sources);
    // A space within a name is escaped.
    let sources = sources.trim().replace("\\ ", "\0");
    for source in sources.split(' ').map(|source| source.replace('\0', " ")) {
        let changed = fs::metadata(&source).and_then(|source| source.modified());
        // A source that is gone is one that changed.
        if changed.is_ok_and(|changed| changed <= built) {
            continue;
        }
        return Ok(Some(source));
    }
    Ok(None)
}

/// A command of the program, free of settings that the user's environment has for it, and of the user's cluster.
///
/// # Errors
/// As [`program`].
pub fn command() -> Result<Command> {
    let mut command = Command::new(program()?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WAYSWITCH_") || name == "NODE_NAME" || name == "KUBECONFIG" {
            command.env_remove(name);
        }
    }
    // Where `~/.kube/config` would be.
    command.env("HOME", "/nonexistent");
    Ok(command)
}

impl Agent {
    /// Starts `wayswitch agent` with these flags. Its socket and its log are files of `folder`.
    ///
    /// # Errors
    /// When it cannot be started. Whether it goes on is another question, see [`Agent::wait_ready`].
    pub fn start(folder: &Path, flags: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let (socket, log) = (folder.join("admin.sock"), folder.join("agent.log"));
        let mut admin = OsString::from("unix:");
        admin.push(&socket);
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = command()?;
        command.env("GLIBC_TUNABLES", ALLOCATOR).arg("agent").arg("--admin").arg(admin).args(flags);
        // In a group of its own, so that an interrupt reaches whoever started it first, and it is stopped in order.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).process_group(0);
        let child = command.spawn().context("the agent cannot be started")?;
        Ok(Self { child, admin: Admin::new(&socket), log })
    }

    /// Where to ask it.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))
    }

    /// Waits until it says that it is ready: rules are in force and every sink has them.
    ///
    /// # Errors
    /// When it ends instead, with its last words; or it takes too long.
    pub fn wait_ready(&mut self, patience: Patience) -> Result<()> {
        wait_for("the agent to be ready", patience, || {
            self.check_running()?;
            let is_ready = self.admin.get("/readyz").is_ok_and(|answer| answer.status == 200);
            Ok(is_ready.then_some(()))
        })
        .with_context(|| format!("the agent is not ready: {}", self.last_words()))
    }

    /// Nothing to say as long as it runs.
    ///
    /// # Errors
    /// That it ended, with its last words.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the agent ended ({status}); {}", self.last_words()),
        }
    }

    /// Asks it to stop by SIGTERM and waits.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(Patience::new(STOP_TIME_MAX))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no process")?;
        kill_process(pid, signal).context("the agent cannot be signalled")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self, patience: Patience) -> Result<ExitStatus> {
        wait_for("the agent to stop", patience, || Ok(self.child.try_wait()?))
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default();
        format!("it last said:\n{}", shown.join("\n"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let stopped = self.signal(Signal::TERM).and_then(|()| self.wait(Patience::to_the_end(STOP_TIME_MAX)));
        if stopped.is_err() {
            // It is dead or dying; nothing more can be done about it here.
            let _dead = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}
