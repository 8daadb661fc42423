//! The corpus that fuzzing left behind, through the bodies of the fuzz targets, as an ordinary test. `cargo xtask fuzz` makes
//! up new inputs; one that failed is kept in the corpus with its mending.

use std::path::Path;

use anyhow::{Context as _, Result};
use tests::native;

#[path = "../fuzz/src/bodies.rs"]
mod bodies;
#[path = "../fuzz/src/rewrite_body.rs"]
mod rewrite_body;
#[path = "../fuzz/src/session_body.rs"]
mod session_body;

/// Calls `body` with every file of a folder below this package; returns how many there were.
fn replay(folder: &str, body: impl Fn(&[u8])) -> Result<usize> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut count = 0;
    for entry in folder.read_dir().with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let data = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        // On standard error of a failing test only: which input it was.
        println!("{}", path.display());
        body(&data);
        count += 1;
    }
    Ok(count)
}

#[test]
fn nothing_in_the_corpus_of_manifests_fails() -> Result<()> {
    assert!(replay("fuzz/corpus/manifest", bodies::manifest)? > 100);
    assert!(replay("data/conformance", bodies::manifest)? > 300);
    Ok(())
}

#[test]
fn nothing_in_the_corpus_of_meshes_fails() -> Result<()> {
    assert!(replay("fuzz/corpus/mesh", bodies::mesh)? > 100);
    assert!(replay("data/conformance", bodies::mesh)? > 300);
    Ok(())
}

#[test]
fn nothing_in_the_corpus_of_addresses_fails() -> Result<()> {
    assert!(replay("fuzz/corpus/xds_rewrite", rewrite_body::rewrite)? > 50);
    Ok(())
}

#[test]
fn nothing_in_the_corpus_of_streams_fails() -> Result<()> {
    assert!(replay("fuzz/corpus/xds_session", session_body::session)? > 50);
    Ok(())
}
