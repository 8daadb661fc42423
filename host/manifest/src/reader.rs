//! Files and folders of manifests as a stream of changes, without the objects: those are with whoever follows. Watches
//! nothing.
//!
//! Of each object it knows its key, a hash of its content, and where it was read: some 75 bytes. So a mesh is in memory once, and
//! what is handed on is what differs from the reading before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

use model::store::Event;
use model::{Name, Object, ObjectKey};

use crate::folder::{File, read_path};
use crate::limits::Limits;
use crate::pool::Pool;
use crate::problem::{Fault, Position, Problem};
use crate::report::{Report, Warning};
use crate::shapes::Context;
use crate::text::{Found, read_input};

mod known;

use known::{FileId, Files, Known, Outcome};

/// Objects that wait for the files behind theirs, which may have them, too, before they are handed on.
const WAITING_MAX: usize = 4_096;

/// A file that was not written to for so many seconds before it was read is not read again as long as it looks the same.
const QUIET: u64 = 2;

/// After how many objects a reading says how far it is.
pub const PROGRESS_EVERY: usize = 10_000;

/// Files and folders of manifests that are read again and again.
///
/// While something cannot be read, what was there before stays, so that a typing error takes nothing away:
///
/// * an object with a wrong field stays as it was;
/// * of a file with a document or an item that nobody can make out, everything stays that it had when it was last read in
///   full (or for the first time), and is not read now;
/// * a file that cannot be read at all keeps everything, as do all files of a folder that cannot be listed.
///
/// A file that did not change is not read again. A file that is gone, in a folder that is there, takes its objects along. Of
/// two objects with one key the later counts: order of the paths, then name of the file, then position (conformance rule 4).
#[derive(Debug)]
pub struct FolderReader {
    paths: Vec<PathBuf>,
    limits: Limits,
    pool: Pool,
    hasher: RandomState,
    files: Files,
    known: HashMap<ObjectKey, Known>,
    /// [`WAITING_MAX`] and [`QUIET`], but in tests.
    waiting_max: usize,
    quiet: u64,
}

/// What a reading has to tell beside the objects.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What could not be read, in the order of the input.
    pub problems: Vec<Problem>,
    /// What was left out without being wrong: one for each kind that is not read, then one for each object that is written
    /// twice.
    pub warnings: Vec<Warning>,
    /// False where something could not be read that may have held any number of objects: a folder, a file, a document that
    /// is not valid. An object with a wrong field is not counted: it is known what is missing.
    pub is_whole: bool,
    /// How many objects there are now.
    pub objects: usize,
}

/// What a reading finds out about an object.
#[expect(clippy::large_enum_variant, reason = "one at a time, and never kept")]
pub(crate) enum Change<'a> {
    /// It is new or another one than before.
    Apply(Object, &'a Name, Position),
    /// It is as before, and written here.
    Same(&'a ObjectKey, &'a Name, Position),
    /// It is gone.
    Delete(ObjectKey),
}

impl FolderReader {
    /// Nothing is read yet. Later paths win over earlier ones.
    pub fn new(paths: Vec<PathBuf>, limits: Limits) -> Self {
        let (pool, hasher) = (Pool::default(), RandomState::new());
        Self {
            paths,
            limits,
            pool,
            hasher,
            files: Files::default(),
            known: HashMap::new(),
            waiting_max: WAITING_MAX,
            quiet: QUIET,
        }
    }

    /// Reads everything, and never fails as a whole: what could not be read is among the problems. Gives `each` what differs
    /// from the reading before, first all that came or changed, then all that went, and says to `progress` every
    /// [`PROGRESS_EVERY`] objects how many were read.
    ///
    /// An object that is written twice may be handed on twice, if thousands of others changed: the one that counts comes later.
    pub fn read(&mut self, each: &mut dyn FnMut(Event), progress: &mut dyn FnMut(usize)) -> Reading {
        let mut follow = |change: Change<'_>| match change {
            Change::Apply(object, ..) => each(Event::Apply(object)),
            Change::Delete(key) => each(Event::Delete(key)),
            Change::Same(..) => {}
        };
        self.follow(&mut follow, progress)
    }

    /// The same with places.
    pub(crate) fn follow(&mut self, each: &mut dyn FnMut(Change<'_>), progress: &mut dyn FnMut(usize)) -> Reading {
        let mut pass = Pass {
            with: Context { limits: &self.limits, pool: &self.pool },
            hasher: &self.hasher,
            files: &mut self.files,
            known: &mut self.known,
            report: Report::new(&self.limits),
            waiting: BTreeMap::new(),
            waiting_max: self.waiting_max,
            waiting_least: self.waiting_max,
            quiet: self.quiet,
            each,
            progress,
        };
        pass.start();
        for (index, path) in self.paths.iter().enumerate() {
            if let Err(fault) = read_path(path, &self.limits, &mut |file| pass.file(index, file)) {
                pass.report.unreadable(path, fault);
                // Nobody knows what became of the files in it.
                pass.files.keep_all_of(index);
            }
        }
        pass.finish();
        let (problems, warnings, is_whole) = pass.report.finish();
        self.files.forget_gone();
        self.pool.sweep();
        Reading { problems, warnings, is_whole, objects: self.known.len() }
    }
}

/// An object that is new or changed and was not handed on yet.
struct Waiting {
    object: Object,
    hash: u64,
    file: FileId,
    position: Position,
}

/// One reading of everything.
struct Pass<'a> {
    with: Context<'a>,
    hasher: &'a RandomState,
    files: &'a mut Files,
    known: &'a mut HashMap<ObjectKey, Known>,
    report: Report<'a>,
    waiting: BTreeMap<ObjectKey, Waiting>,
    /// How many may wait before they are looked through.
    waiting_max: usize,
    waiting_least: usize,
    quiet: u64,
    each: &'a mut dyn FnMut(Change<'_>),
    progress: &'a mut dyn FnMut(usize),
}

impl Pass<'_> {
    fn start(&mut self) {
        self.files.start();
        self.known.values_mut().for_each(|known| known.set_seen(false));
    }

    fn file(&mut self, index: usize, file: File) {
        let id = self.files.id(index, &file.path);
        let name = self.files.name(id);
        let mut content = match file.content {
            Ok(content) => content,
            Err(fault) => {
                self.report.unreadable(&file.path, fault);
                return self.files.set_outcome(id, Outcome::Unread);
            }
        };
        let stamp = content.stamp();
        if let Some(report) = self.files.remembered(id, stamp) {
            self.report.replay(&name, &report);
            return self.files.set_outcome(id, Outcome::Unchanged);
        }
        self.report.take_file();
        let mut outcome = Outcome::Read(HashSet::new());
        let with = self.with;
        read_input(&name, &mut content, file.format, &with, &mut |found| match found {
            Found::Object { object, position, .. } => {
                if self.report.takes_object(&name, position) {
                    self.object(object, id, &name, position);
                } else {
                    outcome = Outcome::Broken;
                }
            }
            Found::Unread { unread, position } => self.report.unread(unread, 1, &name, position),
            Found::Problem(problem) => {
                outcome.add(problem.key.as_ref());
                self.report.problem(problem);
            }
        });
        let has_changed = content.has_changed();
        if has_changed {
            self.report.unreadable(&file.path, Fault::Changed);
            outcome = Outcome::Broken;
        }
        let report = self.report.take_file();
        if report.is_complete() && !has_changed && stamp.is_old(self.quiet) {
            self.files.remember(id, stamp, report);
        } else {
            self.files.forget(id);
        }
        self.files.set_outcome(id, outcome);
    }

    fn object(&mut self, object: Object, file: FileId, name: &Name, position: Position) {
        let (key, hash) = (object.key(), self.hasher.hash_one(&object));
        let known = self.known.get_mut(&key);
        let hidden = match (self.waiting.get(&key), &known) {
            (Some(waiting), _) => Some((waiting.file, waiting.position.line)),
            (None, Some(known)) if self.files.has_now(known, file) => Some((known.file(), known.line())),
            _ => None,
        };
        if let Some((of, line)) = hidden {
            self.files.forget(of);
            self.report.duplicate(key.clone(), name, position, (self.files.name(of), line));
        }
        match known {
            // Where a later file had it, and its turn is yet to come, it must wait what becomes of that.
            Some(known) if known.hash == hash && (known.is_seen() || !self.files.is_later(known.file(), file)) => {
                known.move_to(file, position.line);
                self.waiting.remove(&key);
                (self.each)(Change::Same(&key, name, position));
            }
            _ => {
                self.waiting.insert(key, Waiting { object, hash, file, position });
                if self.waiting.len() >= self.waiting_max {
                    self.hand_on_early();
                }
            }
        }
        if self.report.objects.is_multiple_of(PROGRESS_EVERY) {
            (self.progress)(self.report.objects);
        }
    }

    /// Hands on what waits, but for objects that a later file had: it may still have them.
    fn hand_on_early(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let has_later = |key: &ObjectKey, waiting: &mut Waiting| {
            self.known.get(key).is_some_and(|known| self.files.is_later(known.file(), waiting.file))
        };
        self.waiting = waiting.extract_if(.., has_later).collect();
        // Not again for every object, if many have to stay.
        self.waiting_max = self.waiting_least.max(self.waiting.len().saturating_mul(2));
        waiting.into_iter().for_each(|(key, waiting)| self.hand_on(key, waiting));
    }

    fn hand_on(&mut self, key: ObjectKey, waiting: Waiting) {
        let Waiting { object, hash, file, position } = waiting;
        let (name, is_new) = (self.files.name(file), !self.known.contains_key(&key));
        let known = self.known.entry(key.clone()).or_insert_with(|| Known::new(file));
        known.move_to(file, position.line);
        if is_new || known.hash != hash {
            known.hash = hash;
            (self.each)(Change::Apply(object, &name, position));
        } else {
            (self.each)(Change::Same(&key, &name, position));
        }
    }

    fn finish(&mut self) {
        let mut gone = Vec::new();
        for (key, known) in self.known.iter_mut().filter(|(_, known)| !known.is_seen()) {
            let waiting = self.waiting.get(key);
            let is_hidden = waiting.is_some_and(|waiting| self.files.is_later(waiting.file, known.file()));
            if self.files.keeps(key, known) && !is_hidden {
                known.set_seen(true);
                // One of an earlier file does not count; of the same file it is read now, and not kept.
                if let Some(hidden) = waiting.filter(|waiting| waiting.file != known.file()) {
                    let (file, line) = (hidden.file, hidden.position.line);
                    self.files.forget(file);
                    if self.files.is_unchanged(known.file()) {
                        let position = Position { line: known.line(), ..Position::default() };
                        let (name, hidden) = (self.files.name(known.file()), (self.files.name(file), line));
                        self.report.duplicate(key.clone(), &name, position, hidden);
                    }
                    self.waiting.remove(key);
                }
            } else if waiting.is_none() {
                gone.push(key.clone());
            }
        }
        for (key, waiting) in std::mem::take(&mut self.waiting) {
            self.hand_on(key, waiting);
        }
        for key in gone {
            self.known.remove(&key);
            (self.each)(Change::Delete(key));
        }
        let Self { files, known, .. } = self;
        known.values_mut().for_each(|known| files.settle(known));
        files.settle_all();
        if known.capacity() > known.len().saturating_mul(4) {
            known.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests;
