//! The command line: names, help and dispatch. What a command does is in the file of its name.

use std::ffi::OsString;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Source;
use crate::{bench, build, check, demo, e2e, fuzz, setup, test, tidy};

/// Sets up, builds, shows and tests wayswitch. Every command first makes what it needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    /// Where the compilers for plugins and kernel programs may come from.
    #[arg(long, global = true, env = "WAYSWITCH_TOOLCHAIN", value_enum, default_value = "auto")]
    toolchain: Source,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the compilers for plugins and kernel programs in a cache folder ($WAYSWITCH_CACHE, else ~/.cache/wayswitch).
    Setup,
    /// Builds plugins, kernel programs and the agent.
    Build,
    /// Builds the agent as it ships, optimised: target/release/wayswitch. What deploy/Dockerfile runs.
    Dist,
    /// Runs the main job on an example mesh and shows it. Takes --json FILE and --connections N, among others.
    Demo {
        /// Passed to the demo as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Runs every test. As root, or with CI=true, a kernel test that cannot run is a failure.
    Test,
    /// Runs the agent against a real peer that is not ours: a ztunnel (as root), or a cluster. Exit status 2 if there is none.
    E2e {
        /// Against what.
        peer: e2e::Peer,
    },
    /// What CI asks of a change: format, lints, documentation, tests, licences, tidiness.
    Check,
    /// Checks what no compiler checks: who depends on whom, file lengths, links, stray words.
    Tidy,
    /// Runs the benchmarks whose names contain FILTER, or all.
    Bench {
        /// Part of the name of a file in tests/benches.
        filter: Option<String>,
    },
    /// Makes up inputs for a fuzz target and adds what is new to its corpus. Needs a C++ compiler for libFuzzer.
    Fuzz {
        /// What to fuzz.
        target: fuzz::Target,
        /// For how long.
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
}

impl Cli {
    /// Does what the user asked for.
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Setup => setup::run(self.toolchain),
            Command::Build => build::run(self.toolchain),
            Command::Dist => build::dist(self.toolchain),
            Command::Demo { arguments } => demo::run(self.toolchain, &arguments),
            Command::Test => test::run(self.toolchain),
            Command::E2e { peer } => e2e::run(self.toolchain, peer),
            Command::Check => check::run(self.toolchain),
            Command::Tidy => tidy::run(),
            Command::Bench { filter } => bench::run(self.toolchain, filter.as_deref()),
            Command::Fuzz { target, seconds } => fuzz::run(target, seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_of_the_demo_are_passed_on() {
        let cli = Cli::try_parse_from(["xtask", "demo", "--json", "out.json", "--connections", "5"]).unwrap();
        let Command::Demo { arguments } = cli.command else { panic!("not the demo") };
        assert_eq!(arguments, ["--json", "out.json", "--connections", "5"]);
    }
}
