//! `wayswitch detach`: the end of the kernel side, when the agent does not come back.

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::DetachFlags;

/// Removes links, maps and their folder.
pub(crate) fn run(flags: &DetachFlags) -> anyhow::Result<ExitCode> {
    let pin_dir = flags.pin_dir.clone().unwrap_or_else(redirect::default_pin_dir);
    let path = pin_dir.display();
    if redirect::detach(&pin_dir).with_context(|| format!("{path} could not be detached"))? {
        println!("{path} is detached");
    } else {
        println!("nothing to detach: there is no {path}");
    }
    Ok(ExitCode::SUCCESS)
}
