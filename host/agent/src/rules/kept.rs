//! The rules in force on this node, on its disk: an agent that starts while a roll-out is paused goes on with them, whatever the
//! ConfigMap says by then.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{BUILT_IN, DEFAULT_COMPONENT, Rules, RulesConfig, Unreadable, Wanted, unnamed};
use crate::kubernetes::saved::replace;

/// The file in the folder: a digest of the rest, the configuration in one line, then the component.
const FILE: &str = "rules.kept";

/// Bytes of the digest.
const DIGEST: usize = 32;

/// See the module.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// In this folder, which is made when there is something to keep.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps what is in force now, in the place of what was.
    pub(crate) fn keep(&self, wanted: &Wanted) -> anyhow::Result<()> {
        // What is part of the program is that of the program, also of a newer one.
        let component: &[u8] = if wanted.component == BUILT_IN { &[] } else { &wanted.source.bytes };
        let parts = [wanted.said.as_bytes(), b"\n", component];
        let digest = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize();
        replace(&self.folder, FILE, |out| {
            out.write_all(&digest)?;
            parts.iter().try_for_each(|part| out.write_all(part))
        })
    }

    /// What was in force; none where nothing was kept, or it cannot be used. It has to be admitted like anything else.
    pub(crate) fn load(&self, rules: &Rules) -> Option<Result<Wanted, Unreadable>> {
        let path = self.folder.join(FILE);
        let read = match std::fs::read(&path) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(path = %path.display(), "the rules that were in force cannot be read: {error}");
                return None;
            }
        };
        let whole = read.split_first_chunk::<DIGEST>().filter(|(digest, rest)| Sha256::digest(rest)[..] == digest[..]);
        let parts = whole.and_then(|(_, rest)| {
            let at = rest.iter().position(|byte| *byte == b'\n')?;
            Some((std::str::from_utf8(rest.get(..at)?).ok()?, rest.get(at + 1..)?))
        });
        let Some((said, bytes)) = parts else {
            tracing::error!(path = %path.display(), "the rules that were in force are damaged, and not used");
            return None;
        };
        Some(RulesConfig::read(said).map_err(unnamed).and_then(|config| {
            let bytes = if config.component == BUILT_IN { DEFAULT_COMPONENT } else { bytes };
            rules.admitted(&config, config.base(), Arc::from(bytes))
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rules::Pins;

    #[test]
    fn what_was_in_force_is_there_again_as_it_was_or_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let config = "component: a.wasm\nrollout:\n  component: b.wasm\n  settings: {to: \"x\\ny\"}\n  share: 100\n  paused: true\n\
            limits: {fuelBase: 7}\nundecided: direct\nchangesMax: 3\n";
        for (name, bytes) in [("config.yaml", config.as_bytes()), ("b.wasm", b"line\nline")] {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let rules = Rules::of_folder(folder.path().to_owned(), Vec::new());
        let wanted = rules.read(&model::Labels::default()).unwrap();
        let kept = Kept::new(folder.path().join("state"));
        assert!(kept.load(&rules).is_none());
        kept.keep(&wanted).unwrap();
        let again = kept.load(&rules).unwrap().unwrap();
        assert_eq!((&again.component, again.fingerprint), (&wanted.component, wanted.fingerprint));
        assert_eq!(again.source.bytes, wanted.source.bytes);
        assert_eq!(format!("{:?}", again.source.terms), format!("{:?}", wanted.source.terms));
        assert_eq!((again.source.limits.fuel_base, again.changes_max), (7, Some(3)));

        // Who may decide is asked now, not then.
        let pins = folder.path().join("pins");
        fs::write(&pins, "").unwrap();
        let pinned = Rules { pins: Some(Pins::File(pins)), ..rules.clone() };
        assert!(kept.load(&pinned).unwrap().is_err());
        let path = folder.path().join("state").join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(kept.load(&rules).is_none());
    }

    #[test]
    fn of_the_built_in_component_only_the_name_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.yaml"), "component: builtin:istio\n").unwrap();
        let rules = Rules::of_folder(folder.path().to_owned(), Vec::new());
        let kept = Kept::new(folder.path().join("state"));
        kept.keep(&rules.read(&model::Labels::default()).unwrap()).unwrap();
        assert!(fs::metadata(folder.path().join("state").join(FILE)).unwrap().len() < 1000);
        assert_eq!(&*kept.load(&rules).unwrap().unwrap().source.bytes, DEFAULT_COMPONENT);
    }
}
