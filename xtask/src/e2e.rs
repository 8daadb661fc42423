//! `cargo xtask e2e`: the agent against real peers. Such a test is ignored by every other command, since its peer cannot be
//! downloaded as a package; here it runs, or this command fails: with exit status 2 where there is no peer to run it with.

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::setup::Source;
use crate::test::tally::Tally;
use crate::{build, process, workspace};

/// Names the peer's program.
const ZTUNNEL: &str = "WAYSWITCH_ZTUNNEL";
/// What the test's networks are made with, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("setpriv", "util-linux"),
    ("nsenter", "util-linux"),
];

/// Names the cluster; the second is what kubectl reads as well.
const KUBECONFIGS: [&str; 2] = ["WAYSWITCH_KUBECONFIG", "KUBECONFIG"];

/// Who the agent meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Istio's node proxy, from $WAYSWITCH_ZTUNNEL.
    Ztunnel,
    /// The API server of a cluster, from $WAYSWITCH_KUBECONFIG or $KUBECONFIG. An API server with etcd alone is enough.
    Kubernetes,
}

/// There is no peer; nothing was tried.
#[derive(Debug)]
pub(crate) struct NotRun(String);

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NOT RUN: {}", self.0)
    }
}

impl std::error::Error for NotRun {}

/// Builds all and runs the tests with this peer, one after the other.
pub(crate) fn run(source: Source, peer: Peer) -> Result<()> {
    match peer {
        Peer::Ztunnel => {
            let program = program(std::env::var_os(ZTUNNEL).map(PathBuf::from).as_deref())?;
            ensure!(workspace::is_root(), "network namespaces need root");
            for (name, package) in PROGRAMS {
                ensure!(process::on_path(name), "`{name}` is missing: install it (Debian: package {package})");
            }
            run_tests(source, "e2e_ztunnel", (ZTUNNEL, &program))
        }
        Peer::Kubernetes => {
            let kubeconfig = kubeconfig(&KUBECONFIGS.map(std::env::var_os))?;
            ensure!(
                process::on_path("kubectl"),
                "`kubectl` is missing on PATH: it applies and reads what the stories need"
            );
            let mut asked = Command::new("kubectl");
            asked.arg("--kubeconfig").arg(&kubeconfig).args(["--request-timeout=20s", "get", "--raw", "/readyz"]);
            process::output(&mut asked)
                .with_context(|| format!("the cluster of {} does not answer", kubeconfig.display()))?;
            run_tests(source, "e2e_cluster", (KUBECONFIGS[0], &kubeconfig))
        }
    }
}

fn run_tests(source: Source, test: &str, (variable, path): (&str, &Path)) -> Result<()> {
    build::run(source)?;
    let mut command = workspace::cargo("test");
    command.args(["--test", test, "--", "--ignored", "--test-threads=1", "--nocapture"]);
    let tally = count(command.env(variable, path))?;
    ensure!(tally.passed > 0, "no test ran");
    println!("{} passed against {}", tally.passed, path.display());
    Ok(())
}

/// The peer's program as an absolute path.
fn program(named: Option<&Path>) -> Result<PathBuf> {
    let Some(named) = named else {
        let why = format!(
            "{ZTUNNEL} is not set. It names a ztunnel that was built with its feature `testing`, which makes certificates \
             without a control plane"
        );
        return Err(NotRun(why).into());
    };
    absolute(ZTUNNEL, named)
}

/// The first of these variables that is set, which names one file.
fn kubeconfig(values: &[Option<OsString>; 2]) -> Result<PathBuf> {
    let set = KUBECONFIGS.into_iter().zip(values).find_map(|(name, value)| Some((name, value.as_ref()?)));
    let Some((name, value)) = set else {
        let why = format!(
            "{} is not set, nor is {}. It names the kubeconfig of a cluster in which namespaces, cluster roles and, where they \
             are missing, definitions of custom resources may be made; they are taken away again",
            KUBECONFIGS[0], KUBECONFIGS[1]
        );
        return Err(NotRun(why).into());
    };
    if std::env::split_paths(value).count() > 1 {
        let why = format!("{name} names several files. Let {} name the one that is meant", KUBECONFIGS[0]);
        return Err(NotRun(why).into());
    }
    absolute(name, Path::new(value))
}

fn absolute(variable: &str, named: &Path) -> Result<PathBuf> {
    if !named.is_file() {
        return Err(NotRun(format!("{variable} names {}, which is no file", named.display())).into());
    }
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
    fn without_a_kubeconfig_there_is_no_cluster_and_that_is_said() {
        let error = kubeconfig(&[None, None]).unwrap_err();
        assert!(error.downcast_ref::<NotRun>().is_some(), "exit status 2");
        assert!(
            error.to_string().starts_with("NOT RUN: WAYSWITCH_KUBECONFIG is not set, nor is KUBECONFIG."),
            "{error}"
        );
        let error = kubeconfig(&[None, Some("/nowhere/config".into())]).unwrap_err().to_string();
        assert_eq!(error, "NOT RUN: KUBECONFIG names /nowhere/config, which is no file");
        let error = kubeconfig(&[None, Some("/a:/b".into())]).unwrap_err().to_string();
        assert!(error.contains("several files"), "{error}");
    }

    #[test]
    fn the_own_variable_wins_over_the_one_of_kubectl() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(kubeconfig(&[Some(own.clone().into()), Some("/nowhere/config".into())]).unwrap(), own);
    }

    #[test]
    fn a_program_that_is_there_is_named_absolutely() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(program(Some(&own)).unwrap(), own);
    }
}
