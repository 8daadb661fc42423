//! What would be decided differently, in the cluster as it is now.

use std::io::Write;
use std::process::ExitCode;

use model::Store;
use model::difference::Difference;
use model::store::Event;

use crate::cli::TermFlags;
use crate::commands::{diff, mesh};

/// Decides everything as it is, and again after `events`, and prints the difference under `title`. Not within a runtime.
pub(super) fn print(
    title: &str,
    terms: &TermFlags,
    events: impl FnOnce(&Store) -> Vec<Event>,
) -> anyhow::Result<ExitCode> {
    let now = match mesh::read(&[], terms) {
        Ok(mesh) => mesh,
        Err(code) => return Ok(code),
    };
    let mut then = now.store.clone();
    then.apply_all(events(&now.store));
    let before = mesh::decide(&now.terms, now.store)?.decider.table().clone();
    let after = mesh::decide(&now.terms, then)?.decider.table().clone();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{title}")?;
    diff::print(&mut out, &Difference::between(&before, &after), false)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
