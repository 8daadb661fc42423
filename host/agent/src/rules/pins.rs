//! Who vouches for components, if not the one who edits the rules: a list of digests from somewhere else.

use std::path::PathBuf;

use cluster::config_map::Content;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::files::Watched;

/// A list is at most 1 MiB, as a ConfigMap is.
const LIST_BYTES_MAX: usize = 1 << 20;

/// The digests that may decide: lines as `sha256sum` prints them, from a file or from all keys of a ConfigMap. Lines that start with
/// `#` say nothing.
#[derive(Clone, Debug)]
pub(crate) enum Pins {
    /// A file.
    File(PathBuf),
    /// A ConfigMap of this name, as it is followed.
    ConfigMap(String, watch::Receiver<Content>),
}

impl Pins {
    /// Whether these bytes may decide.
    ///
    /// # Errors
    /// One line: nobody vouches for them, or who does cannot be read. In doubt nothing is admitted, and what decides goes on.
    pub(super) fn admit(&self, component: &[u8]) -> Result<(), String> {
        let digest = crate::capture::hex(&Sha256::digest(component));
        let (place, lists) = self.lists()?;
        let lines = lists.iter().flat_map(|list| list.lines());
        let mut digests = lines.filter_map(|line| line.split_whitespace().next()).filter(|it| !it.starts_with('#'));
        if digests.any(|pinned| pinned.eq_ignore_ascii_case(&digest)) {
            return Ok(());
        }
        Err(format!("its SHA-256 {digest} is not among the pins of {place}"))
    }

    fn lists(&self) -> Result<(String, Vec<String>), String> {
        match self {
            Self::File(path) => {
                let place = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| format!("the pins of {place}: {error}"))?;
                if text.len() > LIST_BYTES_MAX {
                    return Err(format!("the pins of {place} have more than {LIST_BYTES_MAX} bytes"));
                }
                Ok((place, vec![text]))
            }
            Self::ConfigMap(name, content) => {
                let content = content.borrow().clone();
                let texts = Watched::new(name, content).map_err(|why| format!("the pins: {why}"))?.texts();
                Ok((format!("ConfigMap {name}"), texts))
            }
        }
    }
}
