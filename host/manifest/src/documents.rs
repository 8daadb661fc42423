//! Cuts a YAML file into its documents. Not a YAML parser: it only looks at what stands in the first columns.
//!
//! YAML forbids a line that starts with `---` or `...` and a blank inside any scalar, so the cut is exact, and it is
//! made here instead of by the parser so that a document with an error does not take the ones after it along.

/// A document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Document<'a> {
    /// Counts from 1.
    pub(crate) number: usize,
    /// The line of the file on which `text` starts, from 1.
    pub(crate) line: usize,
    /// From its `---` (or its directives) to before the next marker.
    pub(crate) text: &'a str,
}

/// The documents of `text` in their order.
///
/// Each `---` opens one, even if it stays empty. What is before the first `---`, or after a `...`, is one only if it
/// has more than comments and directives; directives (`%YAML`) belong to the `---` that follows.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Documents { text, at: 0, line: 1, number: 0 }
}

struct Documents<'a> {
    text: &'a str,
    /// Where the next document may start, in bytes.
    at: usize,
    /// The line there.
    line: usize,
    /// Documents so far.
    number: usize,
}

enum Marker {
    Start,
    End,
}

impl<'a> Iterator for Documents<'a> {
    type Item = Document<'a>;

    fn next(&mut self) -> Option<Document<'a>> {
        let (mut start, mut start_line) = (self.at, self.line);
        let mut at = self.at;
        let mut line_number = self.line;
        // Whether anything that makes a document was seen since `start`.
        let mut open = false;
        while let Some(line) = self.text.get(at..).and_then(first_line) {
            match marker(line) {
                Some(Marker::Start) if open => break,
                Some(Marker::Start) => open = true,
                Some(Marker::End) => {
                    let end = at;
                    at += line.len();
                    line_number += 1;
                    if open {
                        return Some(self.found(start, start_line, end, at, line_number));
                    }
                    // Nothing before it but comments: start over behind it.
                    (start, start_line) = (at, line_number);
                    continue;
                }
                None => open |= is_content(line),
            }
            at += line.len();
            line_number += 1;
        }
        if open {
            return Some(self.found(start, start_line, at, at, line_number));
        }
        self.at = self.text.len();
        None
    }
}

impl<'a> Documents<'a> {
    fn found(&mut self, start: usize, line: usize, end: usize, next: usize, next_line: usize) -> Document<'a> {
        self.at = next;
        self.line = next_line;
        self.number += 1;
        Document { number: self.number, line, text: self.text.get(start..end).unwrap_or_default() }
    }
}

/// The first line of `text` with its line break: LF, CR LF, or a lone CR, which YAML counts too.
fn first_line(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let end = match bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) {
        Some(at) if bytes.get(at..at + 2) == Some(b"\r\n") => at + 2,
        Some(at) => at + 1,
        None => bytes.len(),
    };
    text.get(..end).filter(|line| !line.is_empty())
}

fn marker(line: &str) -> Option<Marker> {
    let (marker, rest) = line.split_at_checked(3)?;
    if !matches!(rest.as_bytes().first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')) {
        return None;
    }
    match marker {
        "---" => Some(Marker::Start),
        "..." => Some(Marker::End),
        _ => None,
    }
}

/// More than a blank, a comment or a directive. Directives end where a document is open, so there a `%` does no harm.
fn is_content(line: &str) -> bool {
    let blankless = line.trim_start_matches([' ', '\t', '\u{feff}']);
    !matches!(blankless.as_bytes().first(), None | Some(b'#' | b'\r' | b'\n')) && !line.starts_with('%')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number, line and text of each document.
    fn check(text: &str, expected: &[(usize, usize, &str)]) {
        let found: Vec<_> = documents(text).map(|d| (d.number, d.line, d.text)).collect();
        assert_eq!(found, expected, "{text:?}");
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
}
