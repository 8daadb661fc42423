//! `cargo xtask tidy`: what no compiler checks. Each check is a file; each finding names the place and the rule.
//! It reads the tree and cargo's metadata, and changes nothing.

mod edges;
mod guests;
mod links;
mod sources;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{metadata, workspace};

/// More files than this are a mistake of the walk, not a tree.
const FILES_MAX: usize = 20_000;

/// A text file of the tree.
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// Prints all findings and fails if there is one.
pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let tree = read(&root)?;
    for note in sources::long_files(&tree) {
        eprintln!("tidy: note: {note}");
    }
    let findings = findings(&root, &tree)?;
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("tidy found {} to put right", findings.len());
    }
    Ok(())
}

fn findings(root: &Path, tree: &[Source]) -> Result<Vec<String>> {
    let mut all = sources::check(tree);
    all.extend(words::check(tree));
    all.extend(guests::check(tree));
    all.extend(links::check(root, tree));
    all.extend(edges::check(&edges::Graph::read(&metadata::read()?)?));
    Ok(all)
}

/// Every text file, but what is built and what is git's.
fn read(root: &Path) -> Result<Vec<Source>> {
    let mut folders = vec![root.to_path_buf()];
    let mut tree = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Links are followed by nobody: what they point to is either in the tree or not ours.
            let kind = path.symlink_metadata()?.file_type();
            if kind.is_dir() && name != "target" && name != ".git" {
                folders.push(path);
            } else if kind.is_file()
                && let Some(source) = source(root, &path)
            {
                tree.push(source);
            }
        }
        if tree.len() > FILES_MAX {
            bail!("more than {FILES_MAX} files under {}", root.display());
        }
    }
    tree.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

/// `None` for a file that is not text.
fn source(root: &Path, path: &PathBuf) -> Option<Source> {
    let text = fs::read_to_string(path).ok()?;
    Some(Source { path: path.strip_prefix(root).ok()?.to_string_lossy().into_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let root = workspace::root();
        let tree = read(&root).unwrap();
        assert!(tree.len() > 20, "the walk found only {} files", tree.len());
        let findings = findings(&root, &tree).unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
