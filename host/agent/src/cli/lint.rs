//! Flags of `lint`.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use model::lint::{Code, Severity};

use super::MeshFlags;

/// Flags of `lint`.
#[derive(Debug, Args)]
pub struct LintFlags {
    /// Findings about objects of one namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The mesh.
    #[command(flatten)]
    pub mesh: MeshFlags,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = LintOutput::Table)]
    pub output: LintOutput,
    /// What makes the exit status 1 beside errors
    #[arg(long, value_enum)]
    pub deny: Option<Deny>,
    /// How severe findings with a code are: error, warning, info, or off; may be given several times, the last one counts
    #[arg(long, value_name = "CODE=SEVERITY")]
    pub rule_severity: Vec<RuleSeverity>,
}

/// How to print findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintOutput {
    /// For people
    Table,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code review and editors
    Sarif,
}

/// What is denied beside errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deny {
    /// Warnings
    Warnings,
}

/// How severe findings with a code are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSeverity {
    /// The code.
    pub code: &'static Code,
    /// None: not shown, and not counted.
    pub severity: Option<Severity>,
}

impl FromStr for RuleSeverity {
    type Err = String;

    /// `waypoint-missing=warning`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (id, severity) =
            text.split_once('=').ok_or("CODE=SEVERITY is wanted, for instance headless-with-waypoint=off")?;
        let code = model::lint::code(id).ok_or_else(|| format!("there is no code {id:?}; docs/lint.md lists them"))?;
        let severity = match severity {
            "error" => Some(Severity::Error),
            "warning" => Some(Severity::Warning),
            "info" => Some(Severity::Info),
            "off" => None,
            _ => return Err(format!("{severity:?} is no severity: error, warning, info and off are")),
        };
        Ok(Self { code, severity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_is_given_to_a_code_that_exists() {
        let read = |text: &str| text.parse::<RuleSeverity>().map(|it| (it.code.id, it.severity));
        assert_eq!(read("waypoint-missing=info"), Ok(("waypoint-missing", Some(Severity::Info))));
        assert_eq!(read("waypoint-missing=off"), Ok(("waypoint-missing", None)));
        for bad in ["waypoint-missing", "waypoint-missing=fatal", "no-such-code=off", "=off"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
