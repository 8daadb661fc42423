//! Words that must not land in the repository: paths of one machine, other package sources, promises without a ticket.

use super::Source;

/// How the lock file names a registry; which one is checked by cargo-deny.
const REGISTRY: &str = "source = \"registry+";

/// Paths of the machines this was written on. Taken apart, because this file is searched as well.
const MACHINE_PATHS: [[&str; 2]; 3] = [["/wo", "rk/"], ["/tmp/tar", "get"], ["/ro", "ot/"]];

/// Every line with such a word.
pub(super) fn check(tree: &[Source]) -> Vec<String> {
    let paths: Vec<String> = MACHINE_PATHS.iter().map(|parts| parts.concat()).collect();
    let mut findings = Vec::new();
    for source in tree {
        for (index, line) in source.text.lines().enumerate() {
            let mut find = |what: &str| findings.push(format!("{}:{}: {what}", source.path, index + 1));
            if let Some(path) = paths.iter().find(|path| line.contains(*path)) {
                find(&format!("a path of one machine: {path}"));
            }
            if source.has_extension("rs") && is_bare_promise(line) {
                find("TODO or FIXME without an issue: write TODO(#12)");
            }
            if names_other_registry(source, line) {
                find("crates come from the standard registry only, and no file says otherwise");
            }
        }
    }
    findings
}

fn is_bare_promise(line: &str) -> bool {
    ["TODO", "FIXME"].iter().any(|word| {
        // In a comment, and not as part of a longer word or in quotes.
        line.split_once("//")
            .and_then(|(_, comment)| comment.trim_start_matches(['/', '!', ' ']).strip_prefix(word))
            .is_some_and(|rest| !rest.starts_with("(#"))
    })
}

fn names_other_registry(source: &Source, line: &str) -> bool {
    if source.path.ends_with("Cargo.lock") {
        return line.starts_with("source = ") && !line.starts_with(REGISTRY);
    }
    let is_cargo_file = source.path.ends_with("Cargo.toml") || source.path.starts_with(".cargo/");
    is_cargo_file && ["[source", "[registries", "registry =", "git ="].iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&[Source { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn paths_of_one_machine_are_found_anywhere() {
        assert_eq!(found("docs/a.md", &format!("see {}x", MACHINE_PATHS[0].concat())), 1);
        assert_eq!(found("docs/a.md", "see docs/workload.md"), 0);
    }

    #[test]
    fn promises_need_an_issue() {
        assert_eq!(found("a.rs", "//! A.\n// TODO: later"), 1);
        assert_eq!(found("a.rs", "//! A.\nlet x = 1; // FIXME"), 1);
        assert_eq!(found("a.rs", "//! A.\n// TODO(#3): later"), 0);
        assert_eq!(found("a.rs", "let word = \"TODO\";"), 0);
    }

    #[test]
    fn other_registries_are_found_in_cargo_files_only() {
        assert_eq!(found("Cargo.lock", "source = \"registry+https://host/index\""), 0);
        assert_eq!(found("Cargo.lock", "source = \"git+https://host/x\""), 1);
        assert_eq!(found("host/a/Cargo.toml", "x = { git = \"https://host/x\" }"), 1);
        assert_eq!(found(".cargo/config.toml", "[source.mirror]"), 1);
        assert_eq!(found("README.md", "git = what it is kept in"), 0);
    }
}
