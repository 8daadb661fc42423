//! All objects of some files and folders at one time, and the difference to the time before. For commands that look at a mesh
//! once, and for stores that keep the objects as they are; who keeps them in another form follows a [`FolderReader`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use model::store::Event;
use model::{Name, Object, ObjectKey};

use crate::limits::Limits;
use crate::problem::{Position, Problem};
use crate::reader::{Change, FolderReader};
use crate::report::Warning;

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

/// The events that lead from `old` to `new`, first all that came or changed, then all that went. Positions do not count.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Vec<Event> {
    let came = new.objects.iter().filter(|(key, entry)| old.objects.get(key).is_none_or(|o| o.object != entry.object));
    let went = old.objects.keys().filter(|key| !new.objects.contains_key(key));
    came.map(|(_, entry)| Event::Apply(Object::clone(&entry.object))).chain(went.cloned().map(Event::Delete)).collect()
}

/// Files and folders of manifests that are read again and again, with all their objects. What stays while something cannot be
/// read is as [`FolderReader`] has it.
#[derive(Debug)]
pub struct FolderSource {
    reader: FolderReader,
    objects: BTreeMap<ObjectKey, Entry>,
}

impl FolderSource {
    /// A source that has read nothing yet. Later paths win over earlier ones.
    pub fn new(paths: Vec<PathBuf>, limits: Limits) -> Self {
        Self { reader: FolderReader::new(paths, limits), objects: BTreeMap::new() }
    }

    /// Reads everything, and never fails as a whole: what could not be read is among the problems. An object that is as it was
    /// is the same one.
    pub fn load(&mut self) -> Snapshot {
        let objects = &mut self.objects;
        let mut follow = |change: Change<'_>| match change {
            Change::Apply(object, file, position) => {
                let (key, object, file) = (object.key(), Arc::new(object), file.clone());
                objects.insert(key, Entry { object, file, position });
            }
            Change::Same(key, file, position) => {
                if let Some(entry) = objects.get_mut(key) {
                    (entry.file, entry.position) = (file.clone(), position);
                }
            }
            Change::Delete(key) => {
                objects.remove(&key);
            }
        };
        let reading = self.reader.follow(&mut follow, &mut |_| {});
        let (problems, warnings, is_whole) = (reading.problems, reading.warnings, reading.is_whole);
        Snapshot { objects: self.objects.clone(), problems, warnings, is_whole }
    }
}

#[cfg(test)]
mod tests;
