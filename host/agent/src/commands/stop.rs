//! What ends a command whose exit status 1 is an answer: a failure must not look like one.

use std::process::ExitCode;

use super::mesh::UNREADABLE;

/// Why a command ends before it has an answer.
pub(super) enum Stop {
    /// What is wrong was printed already; the exit status says that there is no answer.
    Said(ExitCode),
    /// To be printed.
    Failed(anyhow::Error),
}

impl From<ExitCode> for Stop {
    fn from(code: ExitCode) -> Self {
        Self::Said(code)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl Stop {
    /// Ends the command: as any other, unless it was asked for an exit status.
    pub(super) fn end(self, one_is_an_answer: bool) -> anyhow::Result<ExitCode> {
        match self {
            Self::Said(code) => Ok(code),
            Self::Failed(error) if one_is_an_answer => {
                eprintln!("wayswitch: {error:#}");
                Ok(ExitCode::from(UNREADABLE))
            }
            Self::Failed(error) => Err(error),
        }
    }
}
