//! JSON Schema, as far as the schemas here use it: those of the Kubernetes API in `tests/data/schemas`, the chart's, and that
//! of our own custom resource. A keyword that is not known is an error, so that nothing is waved through.
//!
//! Not a crate: those for it switch on features of crates that the agent is built from (serde_json, hashbrown), and would have
//! all of it compiled once more.

use anyhow::{Context as _, Result, bail};
use regex::Regex;
use serde_json::{Map, Value};

/// Keywords that say nothing about whether a value is right, or that are dealt with beside another one.
const IGNORED: [&str; 7] = ["$schema", "title", "description", "default", "definitions", "kinds", "format"];
/// A schema that refers to itself for ever is a mistake in it.
const DEPTH_MAX: usize = 128;

/// A schema with its definitions.
pub struct Schema {
    root: Value,
}

impl Schema {
    /// Takes a schema; what it refers to is looked up in it.
    #[must_use]
    pub const fn new(root: Value) -> Self {
        Self { root }
    }

    /// What is wrong with the value by the schema at this JSON pointer: a line each, with the place. None: it is right.
    ///
    /// # Errors
    /// If the schema is not one, or uses what this check does not know.
    pub fn check(&self, pointer: &str, value: &Value) -> Result<Vec<String>> {
        let schema = self.root.pointer(pointer).with_context(|| format!("no schema at {pointer}"))?;
        let mut findings = Vec::new();
        self.walk(schema, value, "", 0, &mut findings)?;
        Ok(findings)
    }

    fn walk(&self, schema: &Value, value: &Value, at: &str, depth: usize, findings: &mut Vec<String>) -> Result<()> {
        let schema = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Object(schema) if depth < DEPTH_MAX => schema,
            _ => bail!("not a schema at {at:?}: {schema}"),
        };
        for (keyword, rule) in schema {
            self.keyword(schema, keyword, rule, value, at, depth, findings).with_context(|| keyword.clone())?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one keyword of one schema at one place, and where findings go")]
    fn keyword(
        &self,
        schema: &Map<String, Value>,
        keyword: &str,
        rule: &Value,
        value: &Value,
        at: &str,
        depth: usize,
        findings: &mut Vec<String>,
    ) -> Result<()> {
        let mut wrong = |is_wrong: bool, what: &str| {
            if is_wrong {
                findings.push(format!("{at}: {what}: {}", shortened(value)));
            }
        };
        match keyword {
            "type" => wrong(!has_type(rule, value), &format!("is not of type {rule}")),
            "enum" => wrong(!rule.as_array().context("a list")?.contains(value), &format!("is none of {rule}")),
            "minimum" => {
                wrong(number(value).is_some_and(|it| Some(it) < rule.as_f64()), &format!("is less than {rule}"))
            }
            "maximum" => {
                wrong(number(value).is_some_and(|it| Some(it) > rule.as_f64()), &format!("is more than {rule}"))
            }
            "minLength" => wrong(length(value).is_some_and(|it| Some(it) < rule.as_u64()), "is too short"),
            "maxLength" => wrong(length(value).is_some_and(|it| Some(it) > rule.as_u64()), "is too long"),
            "pattern" => {
                let pattern = Regex::new(rule.as_str().context("a text")?)?;
                wrong(value.as_str().is_some_and(|it| !pattern.is_match(it)), &format!("does not match {rule}"));
            }
            "required" => {
                for name in rule.as_array().context("a list")?.iter().filter_map(Value::as_str) {
                    wrong(value.as_object().is_some_and(|it| !it.contains_key(name)), &format!("has no {name}"));
                }
            }
            "x-kubernetes-int-or-string" => {
                wrong(!(value.is_string() || value.is_i64() || value.is_u64()), "is neither number nor text")
            }
            "$ref" => {
                let pointer = rule.as_str().and_then(|it| it.strip_prefix('#')).context("only # is followed")?;
                let referred = self.root.pointer(pointer).with_context(|| format!("no {pointer}"))?;
                self.walk(referred, value, at, depth + 1, findings)?;
            }
            "allOf" => {
                for one in rule.as_array().context("a list")? {
                    self.walk(one, value, at, depth + 1, findings)?;
                }
            }
            "oneOf" => {
                let mut fitting = 0;
                for one in rule.as_array().context("a list")? {
                    let mut inner = Vec::new();
                    self.walk(one, value, at, depth + 1, &mut inner)?;
                    fitting += usize::from(inner.is_empty());
                }
                wrong(fitting != 1, &format!("fits {fitting} of the alternatives"));
            }
            "properties" | "additionalProperties" | "propertyNames" => {
                // Once for all three, as they are about each other.
                let first = ["properties", "additionalProperties", "propertyNames"]
                    .into_iter()
                    .find(|it| schema.contains_key(*it));
                if first == Some(keyword) {
                    self.properties(schema, value, at, depth, findings)?;
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.walk(rule, item, &format!("{at}/{index}"), depth + 1, findings)?;
                }
            }
            _ if IGNORED.contains(&keyword) => {}
            _ => bail!("not known to this check"),
        }
        Ok(())
    }

    fn properties(
        &self,
        schema: &Map<String, Value>,
        value: &Value,
        at: &str,
        depth: usize,
        findings: &mut Vec<String>,
    ) -> Result<()> {
        for (name, inner) in value.as_object().into_iter().flatten() {
            let at = format!("{at}/{name}");
            if let Some(names) = schema.get("propertyNames") {
                self.walk(names, &Value::String(name.clone()), &at, depth + 1, findings)?;
            }
            let own = schema.get("properties").and_then(|it| it.get(name));
            match own.or_else(|| schema.get("additionalProperties")) {
                Some(Value::Bool(false)) => findings.push(format!("{at}: there is no such field")),
                Some(rule) => self.walk(rule, inner, &at, depth + 1, findings)?,
                None => {}
            }
        }
        Ok(())
    }
}

fn has_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("null") => value.is_null(),
        _ => false,
    };
    rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().and_then(|it| u64::try_from(it.chars().count()).ok())
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings(schema: Value, value: &Value) -> Vec<String> {
        Schema::new(schema).check("", value).unwrap()
    }

    #[test]
    fn each_keyword_finds_what_it_is_for() {
        for (schema, right, wrong) in [
            (json!({"type": "integer"}), json!(1), json!("1")),
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"enum": ["a", 1]}), json!(1), json!("b")),
            (json!({"minimum": 1}), json!(1), json!(0)),
            (json!({"maximum": 1}), json!(1), json!(2)),
            (json!({"minLength": 2}), json!("ab"), json!("a")),
            (json!({"maxLength": 1}), json!("a"), json!("ab")),
            (json!({"pattern": "^a"}), json!("ab"), json!("ba")),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({})),
            (json!({"x-kubernetes-int-or-string": true}), json!("10%"), json!(true)),
            (json!({"oneOf": [{"type": "string"}, {"minimum": 1}]}), json!(1), json!(0)),
            (json!({"allOf": [{"type": "string"}, {"pattern": "a"}]}), json!("a"), json!("b")),
            (json!({"items": {"type": "string"}}), json!(["a"]), json!(["a", 1])),
            (json!({"properties": {"a": {"type": "string"}}}), json!({"b": 1}), json!({"a": 1})),
            (json!({"properties": {"a": true}, "additionalProperties": false}), json!({"a": 1}), json!({"b": 1})),
            (json!({"additionalProperties": {"type": "string"}}), json!({"a": "b"}), json!({"a": 1})),
            (json!({"propertyNames": {"pattern": "^a"}}), json!({"a": 1}), json!({"b": 1})),
            (json!({"$ref": "#/definitions/x", "definitions": {"x": {"type": "string"}}}), json!("a"), json!(1)),
        ] {
            assert!(findings(schema.clone(), &right).is_empty(), "{schema} {right}");
            assert_eq!(findings(schema.clone(), &wrong).len(), 1, "{schema} {wrong}");
        }
    }

    #[test]
    fn an_unknown_keyword_is_no_pass() {
        assert!(Schema::new(json!({"multipleOf": 2})).check("", &json!(1)).is_err());
    }

    #[test]
    fn a_finding_names_the_place() {
        let schema = json!({"properties": {"a": {"items": {"type": "string"}}}});
        assert_eq!(findings(schema, &json!({"a": ["b", 7]})), ["/a/1: is not of type \"string\": 7"]);
    }
}
