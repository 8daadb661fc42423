//! Rules about single Rust files: the opening line and the length.

use super::Source;

/// A file of this length has to be split.
const LINES_MAX: usize = 800;
/// A file of this length should be looked at for a seam.
const LINES_NOTED: usize = 500;

/// Files that do not say what they are, and files that must be split.
pub(super) fn check(tree: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in rust(tree) {
        if !source.text.starts_with("//!") {
            findings.push(format!("{}: must open with `//!`: what it is, what it is not", source.path));
        }
        let lines = source.text.lines().count();
        if lines >= LINES_MAX {
            findings.push(format!("{}: {lines} lines, split it before {LINES_MAX}", source.path));
        }
    }
    findings
}

/// Files that are getting long.
pub(super) fn long_files(tree: &[Source]) -> Vec<String> {
    rust(tree)
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| (LINES_NOTED..LINES_MAX).contains(lines))
        .map(|(source, lines)| format!("{}: {lines} lines, look for a seam", source.path))
        .collect()
}

fn rust(tree: &[Source]) -> impl Iterator<Item = &Source> {
    tree.iter().filter(|source| source.has_extension("rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: String) -> Source {
        Source { path: path.to_owned(), text }
    }

    #[test]
    fn a_file_without_an_opening_line_is_found() {
        let found = check(&[file("a.rs", "use x;\n".to_owned()), file("b.rs", "//! B.\n".to_owned())]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.rs: must open with"), "{found:?}");
    }

    #[test]
    fn long_files_are_noted_and_longer_ones_refused() {
        let of = |lines: usize| [file("a.rs", "//!\n".repeat(lines))];
        assert_eq!((check(&of(499)).len(), long_files(&of(499)).len()), (0, 0));
        assert_eq!((check(&of(500)).len(), long_files(&of(500)).len()), (0, 1));
        assert_eq!((check(&of(800)).len(), long_files(&of(800)).len()), (1, 0));
    }

    #[test]
    fn only_rust_has_these_rules() {
        assert!(check(&[file("a.md", "# A\n".repeat(900))]).is_empty());
    }
}
