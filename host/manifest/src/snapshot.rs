//! All objects of some files and folders at one time, and the difference to the time before. Watches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::store::Event;
use model::{Name, Object, ObjectKey};

use crate::folder::{File, read_path};
use crate::limits::Limits;
use crate::problem::{Fault, Position, Problem, printable};
use crate::text::{Found, Unread, read_text};

/// Everything that was read. Of two objects with one key the later counts: order of the paths, then name of the file,
/// then position (conformance rule 4).
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The objects.
    pub objects: BTreeMap<ObjectKey, Entry>,
    /// What could not be read, in the order of the input.
    pub problems: Vec<Problem>,
    /// What was left out without being wrong, one line per kind.
    pub warnings: Vec<Warning>,
    /// False where something could not be read that may have held any number of objects: a folder, a file, a document that
    /// is not valid. An object with a wrong field is not counted: it is known what is missing.
    pub is_whole: bool,
}

/// An object and where it was read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The object.
    pub object: Arc<Object>,
    /// The file as the user would name it.
    pub file: Name,
    /// Where in the file.
    pub position: Position,
}

/// Objects of one kind that are not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Their type.
    pub unread: Unread,
    /// How many there are.
    pub count: usize,
    /// The file of the first.
    pub file: Name,
    /// Where in it.
    pub position: Position,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unread { group, kind, later } = &self.unread;
        let Position { document, line, .. } = self.position;
        write!(f, "{}:{line}: document {document}: {} of kind {kind}", printable(&self.file), self.count)?;
        if !group.is_empty() {
            write!(f, " of {group}")?;
        }
        f.write_str(if *later { " not read yet by this version" } else { " ignored: unknown kind" })
    }
}

/// The events that lead from `old` to `new`, first all that came or changed, then all that went. Positions do not count.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Vec<Event> {
    let came = new.objects.iter().filter(|(key, entry)| old.objects.get(key).is_none_or(|o| o.object != entry.object));
    let went = old.objects.keys().filter(|key| !new.objects.contains_key(key));
    came.map(|(_, entry)| Event::Apply(Object::clone(&entry.object))).chain(went.cloned().map(Event::Delete)).collect()
}

/// Files and folders of manifests that are read again and again.
///
/// Remembers what each file gave last time: while a file cannot be read in full, what it gave before stays, so that a
/// typing error takes nothing away. A file that is gone, in a folder that is there, takes its objects along.
#[derive(Debug)]
pub struct FolderSource {
    paths: Vec<PathBuf>,
    limits: Limits,
    /// By the index of its path and its own, in the order that decides which of two objects counts.
    files: BTreeMap<FileKey, Vec<(ObjectKey, Entry)>>,
}

/// `None` as file: the path itself.
type FileKey = (usize, PathBuf);

impl FolderSource {
    /// A source that has read nothing yet. Later paths win over earlier ones.
    pub fn new(paths: Vec<PathBuf>, limits: Limits) -> Self {
        Self { paths, limits, files: BTreeMap::new() }
    }

    /// Reads everything, and never fails as a whole: what could not be read is among the problems.
    pub fn load(&mut self) -> Snapshot {
        let mut report = Report::new(&self.limits);
        let mut before = std::mem::take(&mut self.files);
        for (index, path) in self.paths.iter().enumerate() {
            let mut each = |file: File| {
                let key = (index, file.path.clone());
                let last = before.remove(&key).unwrap_or_default();
                self.files.insert(key, report.file(file, last));
            };
            if let Err(fault) = read_path(path, &self.limits, &mut each) {
                report.is_whole = false;
                report.problem(whole_file(path, fault));
                // Nobody knows what became of the files in it.
                let kept = before.extract_if(.., |(of, _), _| *of == index);
                self.files.extend(kept);
            }
        }
        report.finish(&self.files)
    }
}

/// Gathers what one load finds, within the limits.
struct Report<'a> {
    limits: &'a Limits,
    problems: Vec<Problem>,
    problems_dropped: usize,
    warnings: BTreeMap<Unread, Warning>,
    objects: usize,
    is_full: bool,
    is_whole: bool,
}

impl<'a> Report<'a> {
    fn new(limits: &'a Limits) -> Self {
        let (problems, warnings) = (Vec::new(), BTreeMap::new());
        Self { limits, problems, problems_dropped: 0, warnings, objects: 0, is_full: false, is_whole: true }
    }

    /// Parses a file. Where that did not work in full, objects that it gave `last` time and does not give now stay.
    fn file(&mut self, file: File, last: Vec<(ObjectKey, Entry)>) -> Vec<(ObjectKey, Entry)> {
        let text = match file.text {
            Ok(text) => text,
            Err(fault) => {
                self.is_whole = false;
                self.problem(whole_file(&file.path, fault));
                self.objects += last.len();
                return last;
            }
        };
        let name = name_of(&file.path);
        let (mut found, mut is_whole) = (Vec::new(), true);
        read_text(&name, &text, file.format, self.limits, &mut |next| match next {
            Found::Object { object, position } => {
                if self.takes_object(&name, position) {
                    let file = name.clone();
                    found.push((object.key(), Entry { object: Arc::new(object), file, position }));
                } else {
                    is_whole = false;
                }
            }
            Found::Unread { unread, position } => self.unread(unread, &name, position),
            Found::Problem(problem) => {
                is_whole = false;
                self.is_whole &= !hides_objects(&problem.fault);
                self.problem(problem);
            }
        });
        if is_whole || last.is_empty() {
            return found;
        }
        let now: BTreeSet<&ObjectKey> = found.iter().map(|(key, _)| key).collect();
        let mut kept: Vec<_> = last.into_iter().filter(|(key, _)| !now.contains(key)).collect();
        kept.extend(found);
        kept
    }

    fn takes_object(&mut self, file: &Name, position: Position) -> bool {
        let objects_max = self.limits.objects_max;
        if self.objects < objects_max {
            self.objects += 1;
            return true;
        }
        self.is_whole = false;
        if !std::mem::replace(&mut self.is_full, true) {
            let fault = Fault::TooManyObjects { objects_max };
            self.problem(Problem { file: file.clone(), position, object: None, fault });
        }
        false
    }

    fn unread(&mut self, unread: Unread, file: &Name, position: Position) {
        if let Some(warning) = self.warnings.get_mut(&unread) {
            warning.count += 1;
        } else if self.warnings.len() < self.limits.problems_max {
            let warning = Warning { unread: unread.clone(), count: 1, file: file.clone(), position };
            self.warnings.insert(unread, warning);
        }
    }

    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < self.limits.problems_max {
            self.problems.push(problem);
        } else {
            self.problems_dropped += 1;
        }
    }

    fn finish(mut self, files: &BTreeMap<FileKey, Vec<(ObjectKey, Entry)>>) -> Snapshot {
        if self.problems_dropped > 0 {
            let fault = Fault::FurtherProblems { count: self.problems_dropped };
            let file = self.problems.last().map_or_else(|| "".into(), |p| p.file.clone());
            self.problems.push(Problem { file, position: Position::default(), object: None, fault });
        }
        let objects = files.values().flatten().map(|(key, entry)| (key.clone(), entry.clone())).collect();
        let warnings = self.warnings.into_values().collect();
        Snapshot { objects, problems: self.problems, warnings, is_whole: self.is_whole }
    }
}

/// Whether it is not known which objects, and how many, are missing.
fn hides_objects(fault: &Fault) -> bool {
    matches!(fault, Fault::Syntax { .. } | Fault::DocumentTooLarge { .. } | Fault::NotAnObject { .. })
}

fn whole_file(path: &Path, fault: Fault) -> Problem {
    Problem { file: name_of(path), position: Position::default(), object: None, fault }
}

fn name_of(path: &Path) -> Name {
    path.to_string_lossy().into()
}

#[cfg(test)]
mod tests;
