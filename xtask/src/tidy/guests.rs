//! Every hostile component must be used: one that no test names tests nothing.

use std::path::Path;

use super::Source;

const GUESTS: &str = "tests/guests/";

/// Components that no Rust file of the tests names.
pub(super) fn check(tree: &[Source]) -> Vec<String> {
    let tests: Vec<&Source> =
        tree.iter().filter(|source| source.path.starts_with("tests/") && source.has_extension("rs")).collect();
    tree.iter()
        .filter(|source| is_guest(&source.path))
        .filter(|guest| {
            let name = Path::new(&guest.path).file_stem().unwrap_or_default().to_string_lossy();
            !tests.iter().any(|test| names(&test.text, &name))
        })
        .map(|guest| format!("{}: no test names it", guest.path))
        .collect()
}

/// Directly in the folder: what lies deeper is a part that guests include.
fn is_guest(path: &str) -> bool {
    path.strip_prefix(GUESTS).is_some_and(|name| name.ends_with(".wat") && !name.contains('/'))
}

/// In quotes, so that `trap` is not found in `resolve-trap`.
fn names(text: &str, guest: &str) -> bool {
    text.contains(&format!("\"{guest}\"")) || text.contains(&format!("{guest}.wat"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_counts_as_used_only_under_its_whole_name() {
        let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let tree = [
            file("tests/guests/trap.wat", ""),
            file("tests/guests/resolve-trap.wat", ""),
            file("tests/guests/parts/types.wat", ""),
            file("tests/tests/a.rs", "load(\"resolve-trap\")"),
        ];
        assert_eq!(check(&tree), ["tests/guests/trap.wat: no test names it"]);
    }
}
