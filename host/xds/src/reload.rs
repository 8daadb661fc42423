//! A value that is read from files, and read again after they have changed. A new state that cannot be used changes
//! nothing: the value before it stays in use, and what is wrong is said once.
//!
//! Not a watch: files are looked at when the value is asked for, at most once per interval, so that nobody has to be
//! told of links that a kubelet swaps. Whoever asks pays for the look: a read of a small local file.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

/// Where a value comes from.
pub(crate) trait Source: Send + Sync + 'static {
    /// What is made of the files.
    type Value: Send + Sync;
    /// Why it cannot be.
    type Error: Error + Send + Sync + 'static;

    /// What the value is, for log lines.
    const WHAT: &'static str;

    /// The contents of the files, each bounded.
    fn read(&self) -> Result<Vec<Vec<u8>>, Self::Error>;

    /// The value of these contents.
    fn parse(&self, contents: &[Vec<u8>]) -> Result<Self::Value, Self::Error>;
}

/// The newest usable value of a source.
pub(crate) struct Reloaded<S: Source> {
    source: S,
    current: ArcSwap<S::Value>,
    problem: ArcSwapOption<String>,
    every: Duration,
    // Only ever tried: whoever finds it taken goes on with the value there is.
    looked: Mutex<Looked>,
}

struct Looked {
    at: Instant,
    digest: [u8; 32],
}

impl<S: Source> Reloaded<S> {
    /// Reads the source for the first time; later looks are at least `every` apart.
    pub(crate) fn new(source: S, every: Duration) -> Result<Self, S::Error> {
        let contents = source.read()?;
        let value = source.parse(&contents)?;
        Ok(Self {
            source,
            current: ArcSwap::from_pointee(value),
            problem: ArcSwapOption::empty(),
            every,
            looked: Mutex::new(Looked { at: Instant::now(), digest: digest(&contents) }),
        })
    }

    /// The value, after a look at the files if it is time for one.
    pub(crate) fn get(&self) -> Arc<S::Value> {
        self.look();
        self.current.load_full()
    }

    /// What is wrong with the files as they are now, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.load().as_deref().cloned()
    }

    fn look(&self) {
        let Ok(mut looked) = self.looked.try_lock() else { return };
        if looked.at.elapsed() < self.every {
            return;
        }
        looked.at = Instant::now();
        // Twice: files that belong together are not replaced at one moment.
        match self.attempt(&mut looked.digest).or_else(|_| self.attempt(&mut looked.digest)) {
            Ok(changed) => {
                let mended = self.problem.swap(None).is_some();
                if changed || mended {
                    tracing::info!("{} read again", S::WHAT);
                }
            }
            Err(error) => {
                let text = chain(&error);
                if self.problem().as_ref() != Some(&text) {
                    tracing::warn!("{} not replaced, the one before stays in use: {text}", S::WHAT);
                    self.problem.store(Some(Arc::new(text)));
                }
            }
        }
    }

    /// Whether there was something new.
    fn attempt(&self, known: &mut [u8; 32]) -> Result<bool, S::Error> {
        let contents = self.source.read()?;
        let new = digest(&contents);
        if new == *known {
            return Ok(false);
        }
        self.current.store(Arc::new(self.source.parse(&contents)?));
        *known = new;
        Ok(true)
    }
}

/// Contents are compared by hash, not by time stamps, which do not tell apart two writes within a tick, and not kept,
/// for some are secret.
fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in contents {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::files::{FileError, read_file};

    struct Word(PathBuf);

    impl Source for Word {
        type Value = String;
        type Error = FileError;
        const WHAT: &'static str = "word";

        fn read(&self) -> Result<Vec<Vec<u8>>, FileError> {
            Ok(vec![read_file(&self.0, 16)?])
        }

        fn parse(&self, contents: &[Vec<u8>]) -> Result<String, FileError> {
            String::from_utf8(contents.concat()).map_err(|_| FileError::NotAFile { path: self.0.clone() })
        }
    }

    fn word(every: Duration) -> (tempfile::TempDir, PathBuf, Reloaded<Word>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("word");
        std::fs::write(&path, "one").unwrap();
        let word = Reloaded::new(Word(path.clone()), every).unwrap();
        (folder, path, word)
    }

    #[test]
    fn a_change_is_seen_and_a_broken_one_keeps_the_value_before() {
        let (_folder, path, word) = word(Duration::ZERO);
        assert_eq!(*word.get(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!((word.get().as_str(), word.problem()), ("two", None));

        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(*word.get(), "two");
        assert!(word.problem().unwrap().contains("word"), "{:?}", word.problem());
        std::fs::write(&path, "far too long for a word").unwrap();
        assert_eq!(*word.get(), "two");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*word.get(), "two");
        assert!(word.problem().unwrap().contains("No such file"), "{:?}", word.problem());

        // What was there before: nothing to replace, and nothing wrong any more.
        std::fs::write(&path, "two").unwrap();
        assert_eq!((word.get().as_str(), word.problem()), ("two", None));
    }

    #[test]
    fn files_are_not_looked_at_more_often_than_agreed() {
        let (_folder, path, word) = word(Duration::from_secs(3600));
        std::fs::write(&path, "two").unwrap();
        assert_eq!(*word.get(), "one");
    }

    #[test]
    fn a_source_that_cannot_be_read_at_the_start_is_an_error() {
        assert!(Reloaded::new(Word("/nowhere/word".into()), Duration::ZERO).is_err());
    }
}
