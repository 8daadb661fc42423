//! Writes a capture, line by line.

use std::io::{self, Write};

use model::{Object, Row, RowKey, Store, Table};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::wire::{EndLine, HeaderLine, learned_text, row_text};
use super::{Header, LearnedRow, hex};

/// The first bytes of every capture, and of nothing else that is read.
pub(super) const MAGIC: &str = "{\"capture\":";
pub(super) const OBJECT: &str = "{\"object\":";
pub(super) const DECISION: &str = "{\"decision\":";
pub(super) const LEARNED: &str = "{\"learned\":";
pub(super) const END: &str = "{\"end\":";

/// How many there were of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) objects: u64,
    pub(crate) decisions: u64,
    pub(crate) learned: u64,
}

/// Writes a whole capture, object by object and row by row.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write(
    out: impl Write,
    header: &Header,
    store: &Store,
    table: &Table,
    learned: impl IntoIterator<Item = (RowKey, LearnedRow)>,
) -> io::Result<Written> {
    let mut lines = Lines { out, hash: Sha256::new() };
    lines.value(MAGIC, &HeaderLine::of(header))?;
    let (mut objects, mut decisions) = (0, 0);
    for key in store.object_keys() {
        let Some(object) = store.object(&key) else { continue };
        lines.object(&object)?;
        objects += 1;
    }
    for (key, row) in table.iter() {
        lines.row(key, row)?;
        decisions += 1;
    }
    let mut learned_count = 0;
    for (key, row) in learned {
        lines.line(LEARNED, &learned_text(&key, &row)?)?;
        learned_count += 1;
    }
    let written = Written { objects, decisions, learned: learned_count };
    lines.end(written)?;
    Ok(written)
}

struct Lines<W> {
    out: W,
    /// Of everything written so far.
    hash: Sha256,
}

impl<W: Write> Lines<W> {
    fn object(&mut self, object: &Object) -> io::Result<()> {
        self.value(OBJECT, &manifest::write(object))
    }

    fn row(&mut self, key: &RowKey, row: &Row) -> io::Result<()> {
        let text = row_text(key, row)?;
        self.line(DECISION, &text)
    }

    fn end(mut self, written: Written) -> io::Result<()> {
        let Written { objects, decisions, learned } = written;
        let sha256 = hex(&std::mem::take(&mut self.hash).finalize());
        self.value(END, &EndLine { objects, decisions, learned, sha256 })?;
        self.out.flush()
    }

    fn value(&mut self, start: &str, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(start, &text)
    }

    fn line(&mut self, start: &str, text: &str) -> io::Result<()> {
        for part in [start, text, "}\n"] {
            self.hash.update(part);
            self.out.write_all(part.as_bytes())?;
        }
        Ok(())
    }
}
