//! Cuts a long List of YAML into its items.
//!
//! A List whose `items` are a block sequence, as `kubectl` writes it, is cut at the dashes: what belongs to an item is
//! indented deeper than its dash, or the List is not valid YAML. What cannot be seen like that is an alias of an anchor in
//! another item: where a line looks as if it had an alias, the document is left whole.

use std::io;

use super::lines::{Lines, Mark};
use super::{Part, utf8};
use crate::limits::Limits;
use crate::problem::Fault;

/// What is written around the items of a List that is cut, at most, in bytes.
const AROUND_MAX: usize = 64 << 10;

/// What was seen of a document, as far as it is a List that can be cut.
#[derive(Default)]
pub(super) struct List {
    state: State,
    /// What is written before and behind the items.
    before: Vec<u8>,
    after: Vec<u8>,
    /// Where the items start, and the indentation of their dashes.
    pub(super) items: Option<(Mark, usize)>,
    pub(super) end: Mark,
}

/// Where in a List a line is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Before,
    /// Right behind `items:`.
    AtItems,
    InItems,
    Behind,
    /// It is none, or not one that can be cut.
    Never,
}

impl List {
    pub(super) fn can_be_cut(&self) -> bool {
        self.state != State::Never
    }

    pub(super) fn add(&mut self, lines: &Lines<'_>) {
        let line = &*lines.line;
        let indent = line.iter().take_while(|b| **b == b' ').count();
        let content = line.get(indent..).unwrap_or_default();
        if self.state == State::Never {
            return;
        }
        if is_blank(content) {
            match self.state {
                State::Before => self.before.extend_from_slice(line),
                State::Behind => self.after.extend_from_slice(line),
                _ => {}
            }
        } else {
            self.state = self.next_state(lines, indent, content);
        }
        if self.before.len().max(self.after.len()) > AROUND_MAX {
            self.state = State::Never;
        }
    }

    fn next_state(&mut self, lines: &Lines<'_>, indent: usize, content: &[u8]) -> State {
        let line = &*lines.line;
        match self.state {
            State::Before if indent > 0 => return State::Never,
            State::Before => {
                let behind = |key: &str| line.strip_prefix(key.as_bytes());
                if behind("items:").is_some_and(is_blank) {
                    return State::AtItems;
                }
                // Anything else might open something that goes on for many lines.
                let plain = |rest: &[u8]| {
                    let rest = rest.trim_ascii();
                    rest.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'-'))
                };
                let is_plain = ["apiVersion: ", "kind: ", "---"].iter().any(|key| behind(key).is_some_and(plain));
                self.before.extend_from_slice(line);
                return if is_plain { State::Before } else { State::Never };
            }
            State::AtItems if !is_item(content) => return State::Never,
            State::AtItems => self.items = Some((lines.start, indent)),
            State::InItems => {
                let of_items = self.items.map_or(0, |(_, indent)| indent);
                if indent < of_items || indent == of_items && !is_item(content) {
                    self.end = lines.start;
                    self.after.extend_from_slice(line);
                    return State::Behind;
                }
            }
            State::Behind => {
                self.after.extend_from_slice(line);
                return State::Behind;
            }
            State::Never => {}
        }
        self.end = lines.mark();
        if may_have_alias(content) { State::Never } else { State::InItems }
    }

    pub(super) fn start_line(&self) -> usize {
        self.items.map_or(0, |(mark, _)| mark.line)
    }

    /// The document without its items, with so many empty lines in their place.
    pub(super) fn around(&self, lines: usize) -> Vec<u8> {
        [&self.before, &*vec![b'\n'; lines + usize::from(lines > 0)], &self.after].concat()
    }

    /// Gives the items to `each`, one at a time.
    pub(super) fn cut(
        &self,
        lines: &mut Lines<'_>,
        document: usize,
        limits: &Limits,
        each: &mut dyn FnMut(Part<'_>),
    ) -> io::Result<()> {
        let Some((start, indent)) = self.items else {
            return Ok(());
        };
        let bytes_max = limits.object_text_bytes_max;
        let (mut item, mut begin, mut bytes, mut text) = (0, start, 0, Vec::new());
        let mut deliver = |item: usize, begin: Mark, bytes: usize, text: &[u8]| {
            let text = match bytes > bytes_max {
                true => Err(Fault::ObjectTextTooLarge { bytes, bytes_max }),
                false => utf8(text, begin.offset),
            };
            each(Part { document, item: Some(item), line: begin.line, text });
        };
        lines.go_to(start)?;
        while lines.mark().offset < self.end.offset && lines.next()? {
            let at_dash = lines.line.iter().take_while(|b| **b == b' ').count() == indent
                && lines.line.get(indent..).is_some_and(is_item);
            if at_dash {
                if item > 0 {
                    deliver(item, begin, bytes, &text);
                }
                (item, begin, bytes) = (item + 1, lines.start, 0);
                text.clear();
                // Without the dash it is a document of its own, in the same columns.
                if let Some(dash) = lines.line.get_mut(indent) {
                    *dash = b' ';
                }
            }
            bytes += lines.line_bytes;
            if bytes <= bytes_max {
                text.extend_from_slice(&lines.line);
            }
        }
        deliver(item, begin, bytes, &text);
        Ok(())
    }
}

/// Nothing but blanks, or a comment behind a blank or at the start.
fn is_blank(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), None | Some(b'#'))
}

/// A dash that opens an item.
fn is_item(content: &[u8]) -> bool {
    content.strip_prefix(b"-").is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')))
}

/// Whether a value of this line may be an alias: a star and a name at its start, or at the start of a value behind a bracket.
fn may_have_alias(content: &[u8]) -> bool {
    let starts = |value: &[u8]| matches!(value, [b'*', name, ..] if !name.is_ascii_whitespace() && !matches!(name, b',' | b']' | b'}' | b'"' | b'\''));
    let mut rest = content;
    loop {
        rest = rest.trim_ascii_start();
        if starts(rest) {
            return true;
        }
        if matches!(rest.first(), Some(b'{' | b'[')) {
            let opens = |pair: &[u8]| matches!(pair.first(), Some(b' ' | b'\t' | b',' | b':' | b'[' | b'{'));
            return rest.windows(3).any(|three| opens(three) && three.get(1..).is_some_and(starts));
        }
        let dash = rest.strip_prefix(b"- ");
        let behind_key = || rest.windows(2).position(|pair| pair == b": ").and_then(|at| rest.get(at + 2..));
        match dash.or_else(behind_key) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
}
