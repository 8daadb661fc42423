//! `cargo xtask`: everything a developer or CI does with this checkout, by one name. It drives cargo; it is no build system.

mod bench;
mod build;
mod check;
mod cli;
mod demo;
mod e2e;
mod fuzz;
mod metadata;
mod process;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // Nothing was tried: not the same as a failure.
            if error.is::<e2e::NotRun>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
