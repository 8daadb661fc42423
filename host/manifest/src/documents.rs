//! Cuts a YAML file into its documents, and a long List into its items. Not a YAML parser: it only looks at what stands in
//! the first columns.
//!
//! YAML forbids a line that starts with `---` or `...` and a blank inside any scalar, so the cut into documents is exact, and
//! it is made here instead of by the parser so that a document with an error does not take the ones after it along, and so
//! that only one document is in memory at a time.

use std::io;
use std::sync::Arc;

use crate::json::Input;
use crate::limits::Limits;
use crate::problem::Fault;

mod lines;
mod list;

use lines::{Lines, Mark};
use list::List;

/// Lists from this size on are cut into items, in bytes. Below it the parser does it, and knows aliases.
pub(crate) const CUT_FROM: usize = 1 << 20;

/// A part of a file that the parser is to read by itself.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// The document, counts from 1.
    pub(crate) document: usize,
    /// Which item of the document, a List, it is, from 1; none: the document.
    pub(crate) item: Option<usize>,
    /// The line of the file on which `text` starts, from 1.
    pub(crate) line: usize,
    /// A document: from its `---` (or its directives) to before the next marker. An item: without its dash.
    pub(crate) text: Result<&'a str, Fault>,
}

/// Gives the documents of `input` to `each` in their order, or the items of those that are cut. `is_list` looks at a document
/// without its items.
///
/// Each `---` opens one, even if it stays empty. What is before the first `---`, or after a `...`, is one only if it
/// has more than comments and directives; directives (`%YAML`) belong to the `---` that follows.
///
/// # Errors
/// The input cannot be read any more.
pub(crate) fn documents(
    input: &mut dyn Input,
    limits: &Limits,
    cut_from: usize,
    is_list: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(Part<'_>),
) -> Result<(), Fault> {
    let unreadable = |error: io::Error| Fault::Unreadable { source: Arc::new(error) };
    let mut lines = Lines::new(input, limits.document_bytes_max).map_err(unreadable)?;
    let mut number = 0;
    while let Some(document) = Survey::of_next(&mut lines, limits, cut_from).map_err(unreadable)? {
        number += 1;
        document.deliver(&mut lines, number, limits, is_list, each).map_err(unreadable)?;
    }
    Ok(())
}

/// What was seen of a document when all its lines were gone over.
struct Survey {
    start: Mark,
    end: Mark,
    bytes: usize,
    /// All of it, unless it is too much.
    text: Vec<u8>,
    is_complete: bool,
    list: List,
}

impl Survey {
    /// Goes over the next document; none at the end of the file.
    fn of_next(lines: &mut Lines<'_>, limits: &Limits, cut_from: usize) -> io::Result<Option<Self>> {
        let mut survey = Self::new(lines.mark());
        // Whether anything that makes a document was seen.
        let mut open = false;
        while lines.next()? {
            match marker(&lines.line) {
                Some(Marker::Start) if open => {
                    lines.unread();
                    break;
                }
                Some(Marker::Start) => open = true,
                Some(Marker::End) if open => {
                    survey.end = lines.start;
                    return Ok(Some(survey));
                }
                Some(Marker::End) => {
                    // Nothing before it but comments: start over behind it.
                    survey = Self::new(lines.mark());
                    continue;
                }
                None => open |= is_content(&lines.line),
            }
            survey.add(lines, limits, cut_from);
        }
        survey.end = lines.mark();
        Ok(open.then_some(survey))
    }

    fn new(start: Mark) -> Self {
        Self { start, end: start, bytes: 0, text: Vec::new(), is_complete: true, list: List::default() }
    }

    fn add(&mut self, lines: &Lines<'_>, limits: &Limits, cut_from: usize) {
        self.bytes += lines.line_bytes;
        self.list.add(lines);
        let bytes_max = if self.list.can_be_cut() { cut_from } else { limits.document_bytes_max };
        if self.bytes > bytes_max {
            self.is_complete = false;
            self.text = Vec::new();
        }
        if self.is_complete {
            self.text.extend_from_slice(&lines.line);
        }
    }

    fn deliver(
        self,
        lines: &mut Lines<'_>,
        document: usize,
        limits: &Limits,
        is_list: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Part<'_>),
    ) -> io::Result<()> {
        let (line, bytes_max) = (self.start.line, limits.document_bytes_max);
        let mut whole = |text: Result<&[u8], Fault>| {
            let text = text.and_then(|text| utf8(text, self.start.offset));
            each(Part { document, item: None, line, text });
        };
        if self.is_complete {
            whole(Ok(&self.text));
            return Ok(());
        }
        let back = lines.mark();
        if self.list.can_be_cut() && self.list.items.is_some() {
            if is_list(&String::from_utf8_lossy(&self.list.around(0))) {
                self.list.cut(lines, document, limits, each)?;
            } else {
                // Whatever it is, its items do not count; what is behind them keeps its line.
                whole(Ok(&self.list.around(self.list.end.line.saturating_sub(self.list.start_line()))));
            }
        } else if self.bytes > bytes_max {
            whole(Err(Fault::DocumentTooLarge { bytes: self.bytes, bytes_max }));
        } else {
            let mut text = Vec::with_capacity(self.bytes);
            lines.go_to(self.start)?;
            while lines.mark().offset < self.end.offset && lines.next()? {
                text.extend_from_slice(&lines.line);
            }
            whole(Ok(&text));
        }
        lines.go_to(back)
    }
}

fn utf8(text: &[u8], offset: u64) -> Result<&str, Fault> {
    std::str::from_utf8(text).map_err(|error| Fault::NotUtf8 {
        offset: usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(error.valid_up_to()),
    })
}

enum Marker {
    Start,
    End,
}

fn marker(line: &[u8]) -> Option<Marker> {
    let (marker, rest) = line.split_at_checked(3)?;
    if !matches!(rest.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')) {
        return None;
    }
    match marker {
        b"---" => Some(Marker::Start),
        b"..." => Some(Marker::End),
        _ => None,
    }
}

/// More than a blank, a comment or a directive. Directives end where a document is open, so there a `%` does no harm.
fn is_content(line: &[u8]) -> bool {
    let mut rest = line;
    while let Some(behind) =
        rest.strip_prefix(b" ").or(rest.strip_prefix(b"\t")).or(rest.strip_prefix("\u{feff}".as_bytes()))
    {
        rest = behind;
    }
    !matches!(rest.first(), None | Some(b'#' | b'\r' | b'\n')) && !line.starts_with(b"%")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number, item, line and text of each part.
    fn parts(text: &[u8], limits: &Limits, cut_from: usize) -> Vec<(usize, Option<usize>, usize, String)> {
        let mut found = Vec::new();
        let is_list = |text: &str| text.contains("kind: List");
        documents(&mut io::Cursor::new(text), limits, cut_from, &is_list, &mut |part| {
            let text = part.text.map_or_else(|fault| fault.to_string(), str::to_owned);
            found.push((part.document, part.item, part.line, text));
        })
        .unwrap();
        found
    }

    /// Number, line and text of each document.
    fn check(text: &str, expected: &[(usize, usize, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(number, line, text)| (*number, None, *line, (*text).to_owned())).collect();
        // A limit of 3 bytes has each document gone over twice, as long as nothing says that it is no List.
        for cut_from in [CUT_FROM, 3] {
            assert_eq!(parts(text.as_bytes(), &Limits::default(), cut_from), expected, "{text:?}");
        }
    }

    /// Item, line and text of each part of a document that is cut.
    fn check_cut(text: &str, expected: &[(Option<usize>, usize, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(item, line, text)| (1, *item, *line, (*text).to_owned())).collect();
        assert_eq!(parts(text.as_bytes(), &Limits::default(), 0), expected, "{text}");
    }

    #[test]
    fn a_text_without_markers_is_one_document() {
        check("a: 1\nb: 2", &[(1, 1, "a: 1\nb: 2")]);
        check("{\"a\": 1}", &[(1, 1, "{\"a\": 1}")]);
    }

    #[test]
    fn nothing_but_blanks_and_comments_is_no_document() {
        check("", &[]);
        check("\u{feff}", &[]);
        check("\n  \n# only this\n\t# and this\r\n", &[]);
        check("# a\n...\n# b\n...\n", &[]);
    }

    #[test]
    fn a_marker_needs_column_0_and_a_blank() {
        check("a: |\n ---\n", &[(1, 1, "a: |\n ---\n")]);
        check("---a: 1\n", &[(1, 1, "---a: 1\n")]);
        check("----\n", &[(1, 1, "----\n")]);
        check("a: 1\n---", &[(1, 1, "a: 1\n"), (2, 2, "---")]);
    }

    #[test]
    fn markers_with_comments_and_inline_content_open_documents() {
        check(
            "--- # one\na: 1\n--- {b: 2}\n---\tc\n",
            &[(1, 1, "--- # one\na: 1\n"), (2, 3, "--- {b: 2}\n"), (3, 4, "---\tc\n")],
        );
    }

    #[test]
    fn each_start_marker_counts_even_if_nothing_follows() {
        check("---\n---\na: 1\n", &[(1, 1, "---\n"), (2, 2, "---\na: 1\n")]);
    }

    #[test]
    fn comments_and_directives_before_the_first_marker_belong_to_it() {
        check("# licence\n%YAML 1.2\n---\na: 1\n", &[(1, 1, "# licence\n%YAML 1.2\n---\na: 1\n")]);
    }

    #[test]
    fn an_end_marker_closes_and_what_follows_may_be_a_document() {
        check(
            "a: 1\n...\n# no\n...\n---\nb: 2\n...\nc: 3\n",
            &[(1, 1, "a: 1\n"), (2, 5, "---\nb: 2\n"), (3, 8, "c: 3\n")],
        );
    }

    #[test]
    fn all_line_breaks_count_once_and_a_byte_order_mark_does_not_show() {
        check(
            "\u{feff}a: 1\r\n---\r\nb: 2\r---\rc: 3\n",
            &[(1, 1, "a: 1\r\n"), (2, 2, "---\r\nb: 2\r"), (3, 4, "---\rc: 3\n")],
        );
    }

    #[test]
    fn a_list_is_cut_at_its_dashes() {
        let around = "apiVersion: v1\nitems:\n- a: 1\n  b:\n  - c\n\n# x\n-\n  d: |\n   - e\n- - f\n-  g\nkind: List\n";
        check_cut(
            around,
            &[
                (Some(1), 3, "  a: 1\n  b:\n  - c\n\n# x\n"),
                (Some(2), 8, " \n  d: |\n   - e\n"),
                (Some(3), 11, "  - f\n"),
                (Some(4), 12, "   g\n"),
            ],
        );
        check_cut(
            "---\r\nkind: List\r\nitems: # two\r\n# first\r\n  - a: 1\r\n    b: 2\r\n  - c",
            &[(Some(1), 5, "    a: 1\r\n    b: 2\r\n"), (Some(2), 7, "    c")],
        );
        let two = parts(b"kind: List\nitems:\n- a\n---\nkind: List\nitems:\n- b\n...\nc: 3\n", &Limits::default(), 0);
        let two: Vec<_> = two.iter().map(|(document, item, line, text)| (*document, *item, *line, &**text)).collect();
        assert_eq!(two, [(1, Some(1), 3, "  a\n"), (2, Some(1), 7, "  b\n"), (3, None, 9, "c: 3\n")]);
    }

    #[test]
    fn what_is_no_list_keeps_its_lines_without_its_items() {
        check_cut("kind: Other\nitems:\n- a\n- b\nmore: x\n", &[(None, 1, "kind: Other\n\n\n\nmore: x\n")]);
    }

    #[test]
    fn what_may_not_be_cut_stays_whole() {
        for text in [
            "items: [a]\nkind: List\n",
            "items:\n  a: 1\nkind: List\n",
            "'items':\n- a\nkind: List\n",
            "items:\n- a: &x 1\n- b: *x\nkind: List\n",
            "items:\n- [a, *x]\nkind: List\n",
            "items:\n- - *x\nkind: List\n",
            "metadata: {a: \"\nitems:\n- a\n\"}\nkind: List\n",
            "a: |\nitems:\n- a\nkind: List\n",
            "- items:\n- a\nkind: List\n",
        ] {
            check_cut(text, &[(None, 1, text)]);
        }
        // Not an alias: a star alone, or inside a text.
        check_cut(
            "items:\n- a: '*x'\n- b: x *y\n- '*': *\n- {\"a\": [\"*\"]}\nkind: List",
            &[
                (Some(1), 2, "  a: '*x'\n"),
                (Some(2), 3, "  b: x *y\n"),
                (Some(3), 4, "  '*': *\n"),
                (Some(4), 5, "  {\"a\": [\"*\"]}\n"),
            ],
        );
    }

    #[test]
    fn limits_and_text_of_another_encoding_stop_only_their_part() {
        let limits = Limits { document_bytes_max: 12, object_text_bytes_max: 8, ..Limits::default() };
        let found = parts(b"a: 12345678901\n---\na: 2\n---\na: \xff\n---\nb: 3\n", &limits, 100);
        let texts: Vec<_> = found.iter().map(|(_, _, line, text)| (*line, &**text)).collect();
        assert_eq!(
            texts,
            [
                (1, "has 15 bytes, more than the 12 allowed for a document; split it"),
                (2, "---\na: 2\n"),
                (4, "is not UTF-8 text from byte 31 on; convert it"),
                (6, "---\nb: 3\n"),
            ]
        );
        let limits = Limits { document_bytes_max: 100, ..limits };
        let found = parts(b"kind: List\nitems:\n- a: 1234567\n- b\n- \xff\n- c\n", &limits, 0);
        let texts: Vec<_> = found.iter().map(|(_, item, _, text)| (item.unwrap(), &**text)).collect();
        assert_eq!(
            texts,
            [
                (1, "its text has 13 bytes, more than the 8 allowed for one object"),
                (2, "  b\n"),
                (3, "is not UTF-8 text from byte 37 on; convert it"),
                (4, "  c\n"),
            ]
        );
    }
}
