//! `cargo xtask e2e`: the agent against real peers. Such a test is ignored by every other command, since its peer cannot be
//! downloaded as a package; here it runs, or this command fails.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::setup::Source;
use crate::test::tally::Tally;
use crate::{build, process, workspace};

/// Names the peer's program.
const ZTUNNEL: &str = "WAYSWITCH_ZTUNNEL";
/// What the test's networks are made with, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 3] = [("ip", "iproute2"), ("iptables-restore", "iptables"), ("setpriv", "util-linux")];

/// Who the agent meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Istio's node proxy, from $WAYSWITCH_ZTUNNEL.
    Ztunnel,
}

/// Builds all and runs the tests with this peer, one after the other.
pub(crate) fn run(source: Source, peer: Peer) -> Result<()> {
    let Peer::Ztunnel = peer;
    let program = program(std::env::var_os(ZTUNNEL).map(PathBuf::from).as_deref())?;
    ensure!(workspace::is_root(), "network namespaces need root");
    for (name, package) in PROGRAMS {
        ensure!(process::on_path(name), "`{name}` is missing: install it (Debian: package {package})");
    }
    build::run(source)?;
    let mut command = workspace::cargo("test");
    command.args(["--test", "e2e_ztunnel", "--", "--ignored", "--test-threads=1", "--nocapture"]);
    let tally = count(command.env(ZTUNNEL, &program))?;
    ensure!(tally.passed > 0, "no test ran");
    println!("{} passed against {}", tally.passed, program.display());
    Ok(())
}

/// The peer's program as an absolute path.
fn program(named: Option<&Path>) -> Result<PathBuf> {
    let Some(named) = named else {
        bail!(
            "NOT RUN: {ZTUNNEL} is not set. It names a ztunnel that was built with its feature `testing`, which makes \
             certificates without a control plane"
        );
    };
    ensure!(named.is_file(), "NOT RUN: {ZTUNNEL} names {}, which is no file", named.display());
    Ok(std::path::absolute(named)?)
}

/// Shows the tests' output as it comes, and counts. Fails if one failed.
fn count(command: &mut Command) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo could not be started")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        tally.add(&line);
        println!("{line}");
    }
    let status = child.wait()?;
    ensure!(status.success() && tally.failed == 0, "a test failed, or did not compile ({status})");
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_its_program_a_peer_is_not_run_and_that_is_said() {
        let error = program(None).unwrap_err().to_string();
        assert!(error.starts_with("NOT RUN: WAYSWITCH_ZTUNNEL is not set."), "{error}");
        let error = program(Some(Path::new("/nowhere/ztunnel"))).unwrap_err().to_string();
        assert_eq!(error, "NOT RUN: WAYSWITCH_ZTUNNEL names /nowhere/ztunnel, which is no file");
    }

    #[test]
    fn a_program_that_is_there_is_named_absolutely() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(program(Some(&own)).unwrap(), own);
    }
}
