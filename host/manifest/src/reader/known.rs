//! What a [`FolderReader`](super::FolderReader) remembers of objects and files between two readings.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use model::{Name, ObjectKey};

use crate::folder::Stamp;
use crate::report::FileReport;

/// How many objects of a file are remembered that could not be read; beyond it the file is as good as broken.
const FAULTY_MAX: usize = 10_000;

/// What is remembered of an object: 16 bytes beside its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Of its content, as it was last handed on.
    pub(super) hash: u64,
    file: FileId,
    /// The line, and in the two highest bits whether it was seen in this reading and whether it is settled.
    line: u32,
}

const SEEN: u32 = 1 << 31;
const SETTLED: u32 = 1 << 30;

impl Known {
    pub(super) fn new(file: FileId) -> Self {
        Self { hash: 0, file, line: 0 }
    }

    pub(super) fn file(&self) -> FileId {
        self.file
    }

    /// From 1; lines beyond 2^30 are not told apart.
    pub(super) fn line(&self) -> usize {
        (self.line & !(SEEN | SETTLED)) as usize
    }

    /// It was read here, in this reading.
    pub(super) fn move_to(&mut self, file: FileId, line: usize) {
        // It stays settled in its own file only.
        let settled = if file == self.file { self.line & SETTLED } else { 0 };
        let line = u32::try_from(line).unwrap_or(u32::MAX) & !(SEEN | SETTLED);
        (self.file, self.line) = (file, line | SEEN | settled);
    }

    /// Whether it is there, read or kept, as far as this reading got.
    pub(super) fn is_seen(&self) -> bool {
        self.line & SEEN != 0
    }

    pub(super) fn set_seen(&mut self, seen: bool) {
        self.line = if seen { self.line | SEEN } else { self.line & !SEEN };
    }
}

/// Names a file for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(u32);

impl FileId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// How the reading of a file ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is not there, or its turn has not come yet.
    Gone,
    /// It was not read: it cannot be.
    Unread,
    /// It was not read: it is as it was.
    Unchanged,
    /// Something in it is not known to be which objects.
    Broken,
    /// All of it was read but these.
    Read(HashSet<ObjectKey>),
}

impl Outcome {
    /// Something could not be read: the object with this key, if that is known.
    pub(super) fn add(&mut self, faulty: Option<&ObjectKey>) {
        match (&mut *self, faulty) {
            (Self::Read(keys), Some(key)) if keys.len() < FAULTY_MAX => {
                keys.insert(key.clone());
            }
            _ => *self = Self::Broken,
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// The index of its path, and its own: the order that decides which of two objects counts.
    key: (usize, PathBuf),
    name: Name,
    outcome: Outcome,
    /// Something of it is settled.
    is_settled: bool,
    /// What it was like when it was last read, if it need not be read again while it is like that, and what it had to tell.
    last: Option<(Stamp, FileReport)>,
}

/// The files that objects were read from.
#[derive(Debug, Default)]
pub(super) struct Files {
    entries: Vec<Option<Entry>>,
    ids: BTreeMap<(usize, PathBuf), FileId>,
    free: Vec<FileId>,
}

impl Files {
    /// A new reading begins.
    pub(super) fn start(&mut self) {
        self.entries.iter_mut().flatten().for_each(|entry| entry.outcome = Outcome::Gone);
    }

    /// The id of a file, perhaps a new one.
    pub(super) fn id(&mut self, index: usize, path: &Path) -> FileId {
        let key = (index, path.to_owned());
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            FileId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
        });
        let name = path.to_string_lossy().into();
        if let Some(entry) = self.entries.get_mut(id.index()) {
            *entry = Some(Entry { key: key.clone(), name, outcome: Outcome::Gone, is_settled: false, last: None });
        }
        self.ids.insert(key, id);
        id
    }

    #[cfg(test)]
    pub(super) fn clone_id(&self, index: usize, path: &Path) -> Option<FileId> {
        self.ids.get(&(index, path.to_owned())).copied()
    }

    fn get(&self, id: FileId) -> Option<&Entry> {
        self.entries.get(id.index()).and_then(Option::as_ref)
    }

    /// The path as the user would write it.
    pub(super) fn name(&self, id: FileId) -> Name {
        self.get(id).map_or_else(|| "".into(), |entry| entry.name.clone())
    }

    pub(super) fn set_outcome(&mut self, id: FileId, outcome: Outcome) {
        if let Some(Some(entry)) = self.entries.get_mut(id.index()) {
            entry.outcome = outcome;
        }
    }

    /// What a file that was read had to tell, so that it need not be read again while it is like this.
    pub(super) fn remember(&mut self, id: FileId, stamp: Stamp, report: FileReport) {
        if let Some(Some(entry)) = self.entries.get_mut(id.index()) {
            entry.last = Some((stamp, report));
        }
    }

    /// It must be read again the next time: it was not read in full, or it has an object that another file has, too, which
    /// is not remembered.
    pub(super) fn forget(&mut self, id: FileId) {
        if let Some(Some(entry)) = self.entries.get_mut(id.index()) {
            entry.last = None;
        }
    }

    /// What a file has to tell that is as it was when it was last read.
    pub(super) fn remembered(&self, id: FileId, stamp: Stamp) -> Option<FileReport> {
        let (last, report) = self.get(id)?.last.as_ref()?;
        (*last == stamp).then(|| report.clone())
    }

    pub(super) fn is_unchanged(&self, id: FileId) -> bool {
        self.get(id).is_some_and(|entry| matches!(entry.outcome, Outcome::Unchanged))
    }

    /// The path with this index cannot be listed.
    pub(super) fn keep_all_of(&mut self, index: usize) {
        let of_it = self.entries.iter_mut().flatten().filter(|entry| entry.key.0 == index);
        of_it.filter(|entry| matches!(entry.outcome, Outcome::Gone)).for_each(|entry| entry.outcome = Outcome::Unread);
    }

    /// Whether objects of `a` count more than those of `b`.
    pub(super) fn is_later(&self, a: FileId, b: FileId) -> bool {
        a != b && self.get(a).map(|entry| &entry.key) > self.get(b).map(|entry| &entry.key)
    }

    /// Whether an object is written in its file in this reading, which is known where that is `file` or one before it.
    pub(super) fn has_now(&self, known: &Known, file: FileId) -> bool {
        known.is_seen() || self.is_unchanged(known.file) && self.is_later(file, known.file)
    }

    /// Whether an object that was not read in this reading stays.
    pub(super) fn keeps(&self, key: &ObjectKey, known: &Known) -> bool {
        match self.get(known.file).map(|entry| &entry.outcome) {
            Some(Outcome::Unread | Outcome::Unchanged) => true,
            Some(Outcome::Broken) => known.line & SETTLED != 0,
            Some(Outcome::Read(faulty)) => faulty.contains(key),
            Some(Outcome::Gone) | None => false,
        }
    }

    /// Settles an object that is there at the end of a reading: it stays while its file is broken. Those of a broken file are
    /// not, or they would pile up with every edit, unless it was never read in full.
    pub(super) fn settle(&self, known: &mut Known) {
        let settles = self.get(known.file).is_some_and(|entry| match entry.outcome {
            Outcome::Read(_) => true,
            Outcome::Broken => !entry.is_settled,
            Outcome::Gone | Outcome::Unread | Outcome::Unchanged => false,
        });
        if settles {
            known.line |= SETTLED;
        }
    }

    /// All objects were settled. Forgets what cost memory in the reading.
    pub(super) fn settle_all(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            if let Outcome::Read(keys) = &mut entry.outcome {
                *keys = HashSet::new();
            }
            entry.is_settled |= matches!(entry.outcome, Outcome::Read(_) | Outcome::Broken);
            // Another file may have taken over an object meanwhile.
            if matches!(entry.outcome, Outcome::Unread) {
                entry.last = None;
            }
        }
    }

    /// Forgets files that are not there any more.
    pub(super) fn forget_gone(&mut self) {
        for (at, slot) in self.entries.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|entry| matches!(entry.outcome, Outcome::Gone))
                && let Some(entry) = slot.take()
                && let Some(id) = self.ids.remove(&entry.key)
            {
                debug_assert_eq!(id.index(), at, "an id is an index");
                self.free.push(id);
            }
        }
    }
}
