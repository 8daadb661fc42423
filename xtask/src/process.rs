//! Runs child programs: loudly for what the user asked for, quietly with a log file for the long steps of set-up.
//! It knows nothing of cargo or toolchains.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a quiet step says that it is still alive.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Lines of a failed step's log that are shown; the file has the rest.
const LOG_TAIL_LINES: usize = 15;
/// Longest reason taken from a log into a line of ours.
const REASON_CHARS_MAX: usize = 160;

/// Runs a program whose output belongs to the user, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let status = command.status().with_context(|| format!("`{name}` could not be started"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// What a program prints, trimmed. Fails unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("`{name}` could not be started"))?;
    if !output.status.success() {
        bail!("`{name}` failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program of this name is on PATH.
pub(crate) fn on_path(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// A long step of set-up: one line when it starts, one when it ends, the child's own words in a file.
pub(crate) struct Step {
    /// What happens, as the start of a sentence: "downloading ...".
    pub(crate) what: String,
    /// What the user should expect, as measured: "about 15 s".
    pub(crate) estimate: &'static str,
    /// After this the child is killed and the step has failed.
    pub(crate) limit: Duration,
    /// Where the child's output goes. Replaced if it exists.
    pub(crate) log: PathBuf,
}

impl Step {
    /// Runs the step. A failure names the log and has shown its last lines.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        eprintln!("setup: {} ({})", self.what, self.estimate);
        let result = self.run_quietly(command);
        if result.is_err() {
            self.show_tail();
        }
        result
    }

    /// As `run`, for what may well fail because there is another way: of the log only the child's own reason is shown.
    pub(crate) fn attempt(&self, command: &mut Command) -> Result<()> {
        eprintln!("setup: {} ({})", self.what, self.estimate);
        self.run_quietly(command).map_err(|error| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            match own_reason(&log) {
                Some(reason) => error.context(reason),
                None => error,
            }
        })
    }

    fn run_quietly(&self, command: &mut Command) -> Result<()> {
        let started = Instant::now();
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let log = File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let name = describe(command);
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("`{name}` could not be started"))?;
        match self.wait(child, started)? {
            Some(status) if status.success() => {
                eprintln!("setup:   done in {:.0} s", started.elapsed().as_secs_f64());
                Ok(())
            }
            Some(status) => bail!("{}: it failed ({status}); log: {}", self.what, self.log.display()),
            None => {
                bail!("{}: no end after {} s; log: {}", self.what, self.limit.as_secs(), self.log.display())
            }
        }
    }

    /// `None` when the limit passed and the child was killed.
    fn wait(&self, mut child: Child, started: Instant) -> Result<Option<ExitStatus>> {
        let mut next_sign = HEARTBEAT;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if started.elapsed() >= self.limit {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            if started.elapsed() >= next_sign {
                eprintln!("setup:   still at it after {} s", next_sign.as_secs());
                next_sign += HEARTBEAT;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn show_tail(&self) {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(LOG_TAIL_LINES)) {
            eprintln!("  | {line}");
        }
    }
}

/// The first line in which a program says why it gives up, shortened.
fn own_reason(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.starts_with("error: ") || line.starts_with("E: "))?;
    Some(line.chars().take(REASON_CHARS_MAX).collect())
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, limit: Duration) -> Step {
        let log = std::env::temp_dir().join(format!("xtask-{name}-{}.log", std::process::id()));
        Step { what: "trying".to_owned(), estimate: "at once", limit, log }
    }

    #[test]
    fn a_failed_attempt_says_why_and_names_the_log() {
        let step = step("attempt", Duration::from_secs(60));
        let error = step.attempt(Command::new("sh").args(["-c", "echo 'error: no network' >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        fs::remove_file(&step.log).unwrap();
        let expected = format!("error: no network: trying: it failed (exit status: 3); log: {}", step.log.display());
        assert_eq!(text, expected);
    }

    #[test]
    fn a_step_that_does_not_end_is_killed() {
        let step = step("limit", Duration::from_millis(100));
        let error = step.run(Command::new("sleep").arg("600")).unwrap_err();
        fs::remove_file(&step.log).unwrap();
        assert!(error.to_string().starts_with("trying: no end after 0 s; log: "), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert_eq!(error.to_string(), "`no-such-program-here` could not be started");
    }
}
