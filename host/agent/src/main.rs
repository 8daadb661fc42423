//! The binary `wayswitch`: reads the command line and runs one command. Everything else is in the library.

use std::process::ExitCode;

use agent::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            // One line: the error and its causes.
            eprintln!("wayswitch: {error:#}");
            ExitCode::FAILURE
        }
    }
}
