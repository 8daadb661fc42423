//! Relative links in the documentation must lead somewhere. Links to other sites are not followed.

use std::path::Path;

use super::Source;

/// Links in Markdown files whose file does not exist.
pub(super) fn check(root: &Path, tree: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in tree.iter().filter(|source| source.has_extension("md")) {
        let folder = root.join(&source.path).parent().map(Path::to_path_buf).unwrap_or_default();
        for link in relative_links(&source.text) {
            if !folder.join(link).exists() {
                findings.push(format!("{}: the link {link} leads nowhere", source.path));
            }
        }
    }
    findings
}

/// Targets of `[text](target)` outside code, without the part after `#`.
fn relative_links(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut links = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                links.push(file);
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_links_outside_code_are_followed() {
        let text = "[a](docs/a.md#part) [b](https://host/b) [c](#here) [d](mailto:x@y)\n```\n[e](none)\n```\n[f](../f \"title\")";
        assert_eq!(relative_links(text), ["docs/a.md", "../f"]);
    }

    #[test]
    fn a_link_to_a_missing_file_is_found() {
        let tree = [Source { path: "docs/a.md".to_owned(), text: "[x](missing.md) [y](.)".to_owned() }];
        assert_eq!(check(&crate::workspace::root(), &tree), ["docs/a.md: the link missing.md leads nowhere"]);
    }
}
