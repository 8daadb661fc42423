//! The demo's command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

/// Printed for `--help`.
pub(super) const HELP: &str = "\
Runs the main job of wayswitch on Istio's Bookinfo example and shows it: decisions by a sandboxed component, rules
swapped while connections are made, broken components refused. As root also in the kernel.

Usage: demo [OPTIONS]

Options:
      --json FILE      Also write the results to FILE, as JSON
      --connections N  Make at least N connections while rules are swapped [default: 10000]
      --swaps N        Swap the rules N times [default: 20]
      --no-kernel      Leave the kernel alone although this is root: decisions, swaps and refusals only
      --keep           Keep the folder with manifests, ConfigMap and the agent's log
  -h, --help           Print this
";

const CONNECTIONS_MAX: u64 = 10_000_000;
/// The agent remembers 256 swaps, and all of them are printed from what it remembers.
const SWAPS_MAX: u64 = 200;

/// What the user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) json: Option<PathBuf>,
    pub(super) connections: u64,
    pub(super) swaps: u64,
    pub(super) keep: bool,
    pub(super) no_kernel: bool,
}

impl Options {
    /// None means that the user asked for help.
    pub(super) fn parse(arguments: &[OsString]) -> Result<Option<Self>> {
        let mut options = Self { json: None, connections: 10_000, swaps: 20, keep: false, no_kernel: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let name = argument.to_string_lossy();
            let mut value = || arguments.next().with_context(|| format!("{name} needs a value"));
            match &*name {
                "--json" => options.json = Some(value()?.into()),
                "--connections" => options.connections = number(&name, value()?, CONNECTIONS_MAX)?,
                "--swaps" => options.swaps = number(&name, value()?, SWAPS_MAX)?,
                "--keep" => options.keep = true,
                "--no-kernel" => options.no_kernel = true,
                "-h" | "--help" => return Ok(None),
                other => bail!("{other} is no option of the demo; --help names them"),
            }
        }
        Ok(Some(options))
    }
}

fn number(name: &str, value: &OsString, max: u64) -> Result<u64> {
    let value = value.to_string_lossy();
    let number = value.parse().with_context(|| format!("{name} {value}: not a number"))?;
    ensure!((1..=max).contains(&number), "{name} {value}: must be from 1 to {max}");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Options>> {
        Options::parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_not_given_has_a_default() {
        let options = parse(&["--json", "out.json", "--swaps", "3"]).unwrap().unwrap();
        assert_eq!((options.json, options.swaps, options.connections), (Some("out.json".into()), 3, 10_000));
        assert!(!options.keep && !options.no_kernel);
        assert_eq!(parse(&["--keep", "--help"]).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let rows = [
            (&["--swaps"][..], "--swaps needs a value"),
            (&["--swaps", "0"], "--swaps 0: must be from 1 to 200"),
            (&["--connections", "many"], "--connections many: not a number"),
            (&["--jsno", "x"], "--jsno is no option"),
        ];
        for (arguments, text) in rows {
            let error = parse(arguments).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
