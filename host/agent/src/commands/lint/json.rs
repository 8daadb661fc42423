//! Findings for programs: one array, one object per finding, all fields always there.

use std::io::Write;

use model::ObjectKey;
use serde_json::{Value, json};

use super::{Located, Place};

pub(super) fn print(out: &mut impl Write, found: &[Located<'_>]) -> anyhow::Result<()> {
    let found: Vec<Value> = found.iter().map(finding).collect();
    serde_json::to_writer_pretty(&mut *out, &found)?;
    writeln!(out)?;
    Ok(())
}

fn finding(Located { finding, place, related }: &Located<'_>) -> Value {
    json!({
        "code": finding.code.id,
        "severity": finding.severity,
        "rule": finding.code.rule,
        "object": object(&finding.object),
        "field": finding.field,
        "text": finding.text,
        "fix": finding.fix,
        "file": place.map(|place| &place.file),
        "line": place.map(|place| place.line),
        "related": related.iter().map(|(key, place)| related_object(key, *place)).collect::<Vec<_>>(),
    })
}

fn object(key: &ObjectKey) -> Value {
    json!({ "kind": key.kind, "namespace": key.namespace, "name": key.name })
}

fn related_object(key: &ObjectKey, place: Option<&Place>) -> Value {
    let (file, line) = (place.map(|place| &place.file), place.map(|place| place.line));
    json!({ "kind": key.kind, "namespace": key.namespace, "name": key.name, "file": file, "line": line })
}
