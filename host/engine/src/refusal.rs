//! Why a component was not put in charge: the same text in the log, in admin and on exit.

use std::fmt;

use model::ResolveFailure;
use serde::Serialize;

/// The step at which a candidate was refused, in the order of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Reading the configuration and the files it names.
    Fetch,
    /// Comparing the digest with the pin.
    Digest,
    /// Is it a component, of bounded size, of our world, without imports?
    Validate,
    /// Compiling it.
    Compile,
    /// Asking it what it reads under its settings.
    Describe,
    /// Deciding the whole mesh with it, off the serving path.
    Shadow,
    /// Asking a sample again, alone and in another order.
    Check,
    /// Comparing its decisions with those in force: a swap may be too large.
    Guard,
    /// Preparing the sinks.
    Prepare,
    /// Making what was prepared count.
    Commit,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetch => "fetch",
            Self::Digest => "digest",
            Self::Validate => "validate",
            Self::Compile => "compile",
            Self::Describe => "describe",
            Self::Shadow => "shadow",
            Self::Check => "check",
            Self::Guard => "guard",
            Self::Prepare => "prepare",
            Self::Commit => "commit",
        })
    }
}

/// A refused candidate. What is active stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Refusal {
    /// Where.
    pub stage: Stage,
    /// The limit that was reached, with its figure, where it was one.
    pub limit: Option<String>,
    /// Why, in one line.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused at {}: {}", self.stage, self.reason)?;
        match &self.limit {
            Some(limit) => write!(f, " [limit: {limit}]"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    /// A refusal that is not about a limit.
    pub fn new(stage: Stage, reason: impl Into<String>) -> Self {
        Self { stage, limit: None, reason: reason.into() }
    }

    /// A refusal because of a failed call.
    pub fn of_call(stage: Stage, failure: ResolveFailure) -> Self {
        Self { stage, limit: failure.limit, reason: failure.what }
    }
}
