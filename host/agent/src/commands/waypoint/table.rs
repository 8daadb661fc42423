//! Columns for people, and documents for programs.

use std::io::{Result, Write};

use serde_json::Value;

use crate::cli::WaypointOutput;

/// Prints rows under their heads, each column as wide as it must be.
pub(super) fn columns(out: &mut impl Write, heads: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("   ").trim_end())
    };
    line(&mut heads.iter().copied())?;
    rows.iter().try_for_each(|row| line(&mut row.iter().map(String::as_str)))
}

/// Prints a document, where the output is one for programs; whether it was.
pub(super) fn document(out: &mut impl Write, output: WaypointOutput, value: impl FnOnce() -> Value) -> Result<bool> {
    match output {
        WaypointOutput::Table | WaypointOutput::Wide => return Ok(false),
        WaypointOutput::Json => writeln!(out, "{:#}", value())?,
        WaypointOutput::Yaml => out.write_all(manifest::write_yaml(&value()).as_bytes())?,
    }
    Ok(true)
}

/// A text that came from elsewhere, on one line and without control characters.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|it| !it.is_empty()).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}
