//! `wayswitch agent`.

use std::process::ExitCode;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{AgentFlags, LogConfig, LogFormat};

/// Runs until signalled.
pub(crate) fn run(flags: AgentFlags) -> anyhow::Result<ExitCode> {
    let flags = flags.with_file()?;
    log_to_stderr(&flags.log())?;
    end_with_any_thread();
    let config = flags.check()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?config, "starting");
    crate::run::run(config)?;
    Ok(ExitCode::SUCCESS)
}

/// An agent without its conductor or loader would look alive and do nothing. A defect ends it whole: what is in the
/// kernel goes on deciding, and whoever started the agent starts it again.
fn end_with_any_thread() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        tracing::error!(thread = std::thread::current().name(), "a thread ended by a defect; ending the agent");
        std::process::abort();
    }));
}

fn log_to_stderr(config: &LogConfig) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(&config.filter).with_context(|| format!("--log {:?} is no filter", config.filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match config.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    set.map_err(|error| anyhow::anyhow!("logging cannot start: {error}"))
}
