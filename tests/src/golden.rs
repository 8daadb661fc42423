//! What a command prints against a file that says what it should. With `WAYSWITCH_BLESS=1` the file is written instead.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

const BLESS: &str = "WAYSWITCH_BLESS";

/// A file or folder of the tests' data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// Compares what is printed with the file of this name among the tests' data.
///
/// # Errors
/// The file cannot be read, or differs: the first lines that do.
pub fn expect(name: &str, printed: &str) -> Result<()> {
    let path = data(name);
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        return fs::write(&path, printed).with_context(|| path.display().to_string());
    }
    let expected = fs::read_to_string(&path).with_context(|| format!("{} ({BLESS}=1 writes it)", path.display()))?;
    let differing = expected.lines().zip(printed.lines()).find(|(expected, printed)| expected != printed);
    ensure!(
        expected == printed,
        "{name} is not what is printed ({BLESS}=1 writes it anew). First difference, expected and printed: {differing:#?}"
    );
    Ok(())
}
