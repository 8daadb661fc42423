//! Findings as SARIF 2.1.0, which code review and editors read: one run, all codes as rules, one result per finding.
//! Only what those need; no fixes as edits, for a line is known and not the place in it.

use std::fmt::Write as _;
use std::io::Write;

use model::ObjectKey;
use model::lint::{ALL, Code, Severity};
use serde_json::{Value, json};

use super::{Located, Place};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

pub(super) fn print(out: &mut impl Write, found: &[Located<'_>]) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(found))?;
    writeln!(out)?;
    Ok(())
}

fn document(found: &[Located<'_>]) -> Value {
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "wayswitch",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": ALL.iter().map(|code| rule(code)).collect::<Vec<_>>(),
            }},
            "results": found.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn rule(code: &Code) -> Value {
    json!({
        "id": code.id,
        "shortDescription": { "text": sentence(code.what) },
        "help": { "text": format!("{} See {} in docs/selection.md.", sentence(code.fix), code.rule) },
        "defaultConfiguration": { "level": level(code.severity) },
        "properties": { "rule": code.rule },
    })
}

fn result(Located { finding, place, related }: &Located<'_>) -> Value {
    json!({
        "ruleId": finding.code.id,
        "ruleIndex": ALL.iter().position(|code| *code == finding.code),
        "level": level(finding.severity),
        "message": { "text": format!("{} Fix: {}", sentence(&finding.text), sentence(&finding.fix)) },
        "locations": [location(&finding.object, *place)],
        "relatedLocations": related.iter().map(|(key, place)| location(key, *place)).collect::<Vec<_>>(),
        "properties": { "field": finding.field, "fix": finding.fix, "rule": finding.code.rule },
    })
}

/// An object that is in no file has only its name.
fn location(key: &ObjectKey, place: Option<&Place>) -> Value {
    let mut location = json!({
        "logicalLocations": [{ "name": key.name, "fullyQualifiedName": key.to_string(), "kind": "resource" }],
    });
    if let (Some(place), Some(fields)) = (place, location.as_object_mut()) {
        // A line is counted from 1; 0 stands for one that is not known.
        let region = json!({ "startLine": place.line.max(1) });
        let physical = json!({ "artifactLocation": { "uri": uri(&place.file) }, "region": region });
        fields.insert("physicalLocation".to_owned(), physical);
    }
    location
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// Messages are sentences. A first word that is a name, like that of a label, stays as it is.
fn sentence(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    if !word.chars().all(char::is_alphabetic) {
        return format!("{text}.");
    }
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// A file as a URI reference: everything but letters, digits and a few marks by their bytes. An absolute path says that it
/// is a file; a first part with a colon would look like a scheme, and is escaped like any other mark.
fn uri(file: &str) -> String {
    let mut uri = String::with_capacity(file.len());
    if file.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in file.trim_start_matches("./").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => write!(uri, "%{byte:02X}").unwrap_or_default(),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_a_uri() {
        let rows = [
            ("mesh/a.yaml", "mesh/a.yaml"),
            ("./mesh/a.yaml", "mesh/a.yaml"),
            ("../a b.yaml", "../a%20b.yaml"),
            ("/etc/mesh.yaml", "file:///etc/mesh.yaml"),
            ("c:x#1?.yaml", "c%3Ax%231%3F.yaml"),
            ("ü.yaml", "%C3%BC.yaml"),
        ];
        for (file, expected) in rows {
            assert_eq!(uri(file), expected);
        }
    }

    #[test]
    fn a_message_is_a_sentence_and_a_label_keeps_its_case() {
        assert_eq!(sentence("waypoint a/b is gone"), "Waypoint a/b is gone.");
        assert_eq!(sentence("istio.io/rev is gone"), "istio.io/rev is gone.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn an_object_in_no_file_has_a_name_and_no_place() {
        let key = ObjectKey::new(model::Kind::Namespace, "", "shop");
        let without = location(&key, None);
        assert!(without.get("physicalLocation").is_none());
        assert_eq!(without["logicalLocations"][0]["fullyQualifiedName"], "Namespace shop");
        let line = |line| location(&key, Some(&Place { file: "a.yaml".into(), line }));
        assert_eq!(line(7)["physicalLocation"]["region"]["startLine"], 7);
        assert_eq!(line(0)["physicalLocation"]["region"]["startLine"], 1);
    }

    #[test]
    fn a_clean_mesh_is_a_document_with_no_results() {
        let document = document(&[]);
        assert_eq!(document["runs"][0]["results"], json!([]));
        assert_eq!(document["runs"][0]["tool"]["driver"]["rules"].as_array().map(Vec::len), Some(ALL.len()));
    }
}
