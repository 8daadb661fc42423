//! Configuration files: the same parser and limits, into a type of the caller's. Not manifests, and not what a setting means.

use serde::de::DeserializeOwned;

use crate::limits::Limits;
use crate::problem::{Fault, Misfit, Position, Problem};
use crate::yaml;

/// Reads a configuration file: one YAML document as a value of the caller's own type. `file` is for the message.
///
/// # Errors
/// It is larger than [`Limits::document_bytes_max`], not valid YAML, or not of that type; with the line where known.
pub fn settings<T: DeserializeOwned>(file: &str, text: &str, limits: &Limits) -> Result<T, Box<Problem>> {
    read(text, limits).map_err(|Misfit { line, column, fault }| {
        let position = Position { document: 0, item: None, line, column };
        Box::new(Problem { file: file.into(), position, object: None, key: None, fault })
    })
}

fn read<T: DeserializeOwned>(text: &str, limits: &Limits) -> Result<T, Misfit> {
    let (bytes, bytes_max) = (text.len(), limits.document_bytes_max);
    if bytes > bytes_max {
        return Err(Misfit { line: 0, column: 0, fault: Fault::DocumentTooLarge { bytes, bytes_max } });
    }
    yaml::settings(text, limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        component: String,
        timeout_ms: Option<u64>,
    }

    fn check(text: &str, expected: Result<(&str, Option<u64>), &str>) {
        let limits = Limits { document_bytes_max: 60, ..Limits::default() };
        let read = settings::<Config>("config.yaml", text, &limits).map(|c| (c.component, c.timeout_ms));
        let expected = expected.map(|(component, timeout)| (component.to_owned(), timeout));
        assert_eq!(read.map_err(|problem| problem.to_string()), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_setting_that_is_wrong_is_named_with_its_line() {
        check("component: a.wasm\ntimeout_ms: 7\n", Ok(("a.wasm", Some(7))));
        check("---\n# no timeout\ncomponent: a.wasm\n", Ok(("a.wasm", None)));
        check(
            "component: a.wasm\ntimeout: 7\n",
            Err(
                "config.yaml:2:1: not a valid configuration: unknown field `timeout`, expected one of component, timeout_ms",
            ),
        );
        check(
            "component: a: b\n",
            Err("config.yaml:1:13: not a valid configuration: mapping values are not allowed in this context"),
        );
        check(
            &format!("component: {}", "x".repeat(60)),
            Err("config.yaml: has 71 bytes, more than the 60 allowed for a document; split it"),
        );
    }
}
