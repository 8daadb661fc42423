//! What one reading has to tell: problems and warnings, each bounded, in the order of the input.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use model::{Name, ObjectKey};

use crate::limits::Limits;
use crate::problem::{Fault, Position, Problem, printable};
use crate::text::Unread;

/// Something that was left out without being wrong. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Objects of one kind that are not read.
    Unread {
        /// Their type.
        unread: Unread,
        /// How many there are.
        count: usize,
        /// The file of the first.
        file: Name,
        /// Where in it.
        position: Position,
    },
    /// An object that is written twice: this one counts.
    Duplicate {
        /// The object.
        key: ObjectKey,
        /// The file of the one that counts.
        file: Name,
        /// Where in it; of a file that is as it was only the line.
        position: Position,
        /// The file of the one before it, which does not count, and the line.
        hidden: (Name, usize),
    },
    /// Further warnings that are not kept, and how many objects they are about.
    Further {
        /// Of kinds that are not read.
        unread: usize,
        /// Written twice.
        duplicates: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread { unread: Unread { group, kind }, count, file, position: Position { document, line, .. } } => {
                write!(f, "{}:{line}: document {document}: {count} of kind {kind}", printable(file))?;
                if !group.is_empty() {
                    write!(f, " of {group}")?;
                }
                f.write_str(" ignored: unknown kind")
            }
            Self::Duplicate { key, file, position: Position { document, line, .. }, hidden: (hidden, hidden_line) } => {
                let (file, hidden, key) = (printable(file), printable(hidden), printable(&key.to_string()));
                write!(f, "{file}:{line}: ")?;
                if *document > 0 {
                    write!(f, "document {document}: ")?;
                }
                write!(f, "{key} is also at {hidden}:{hidden_line}; this one counts")
            }
            Self::Further { unread, duplicates } => {
                write!(f, "further {unread} of kinds that are not known and {duplicates} written twice are not shown")
            }
        }
    }
}

/// What a file had to tell, to be told again while it does not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileReport {
    problems: Vec<Problem>,
    unread: BTreeMap<Unread, (usize, Position)>,
    /// Objects that were taken.
    objects: usize,
    /// There was more than is remembered here.
    is_incomplete: bool,
}

impl FileReport {
    /// Whether it can be told again.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_incomplete
    }
}

/// What of a file is remembered: so many problems, and so many kinds that are not read.
const REMEMBERED_MAX: usize = 32;

/// Gathers what one reading finds, within the limits.
pub(crate) struct Report<'a> {
    limits: &'a Limits,
    problems: Vec<Problem>,
    problems_dropped: usize,
    unread: BTreeMap<Unread, Warning>,
    unread_dropped: usize,
    duplicates: Vec<Warning>,
    duplicates_dropped: usize,
    /// Objects that were taken.
    pub(crate) objects: usize,
    is_full: bool,
    is_whole: bool,
    /// Of the file that is being read.
    file: FileReport,
}

impl<'a> Report<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            problems: Vec::new(),
            problems_dropped: 0,
            unread: BTreeMap::new(),
            unread_dropped: 0,
            duplicates: Vec::new(),
            duplicates_dropped: 0,
            objects: 0,
            is_full: false,
            is_whole: true,
            file: FileReport::default(),
        }
    }

    /// What was told since the last call.
    pub(crate) fn take_file(&mut self) -> FileReport {
        std::mem::take(&mut self.file)
    }

    /// Tells what a file told before, which did not change.
    pub(crate) fn replay(&mut self, name: &Name, file: &FileReport) {
        file.problems.iter().for_each(|problem| self.problem(problem.clone()));
        for (unread, (count, position)) in &file.unread {
            self.unread(unread.clone(), *count, name, *position);
        }
        self.objects = self.objects.saturating_add(file.objects);
        self.take_file();
    }

    /// Counts an object, if there may be one more.
    pub(crate) fn takes_object(&mut self, file: &Name, position: Position) -> bool {
        let objects_max = self.limits.objects_max;
        if self.objects < objects_max {
            self.objects += 1;
            self.file.objects += 1;
            return true;
        }
        self.is_whole = false;
        self.file.is_incomplete = true;
        if !std::mem::replace(&mut self.is_full, true) {
            let fault = Fault::TooManyObjects { objects_max };
            self.problem(Problem { file: file.clone(), position, object: None, key: None, fault });
        }
        false
    }

    /// So many objects of a kind that is not read, the first of them here.
    pub(crate) fn unread(&mut self, unread: Unread, more: usize, file: &Name, position: Position) {
        if let Some((count, _)) = self.file.unread.get_mut(&unread) {
            *count += more;
        } else if self.file.unread.len() < REMEMBERED_MAX {
            self.file.unread.insert(unread.clone(), (more, position));
        } else {
            self.file.is_incomplete = true;
        }
        if let Some(Warning::Unread { count, .. }) = self.unread.get_mut(&unread) {
            *count += more;
        } else if self.unread.len() < self.limits.problems_max {
            let warning = Warning::Unread { unread: unread.clone(), count: more, file: file.clone(), position };
            self.unread.insert(unread, warning);
        } else {
            self.unread_dropped += more;
        }
    }

    /// An object that was read before in this reading.
    pub(crate) fn duplicate(&mut self, key: ObjectKey, file: &Name, position: Position, hidden: (Name, usize)) {
        if self.duplicates.len() < self.limits.problems_max {
            self.duplicates.push(Warning::Duplicate { key, file: file.clone(), position, hidden });
        } else {
            self.duplicates_dropped += 1;
        }
    }

    /// Something that could not be read.
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.is_whole &= !hides_objects(&problem.fault);
        if self.file.problems.len() < REMEMBERED_MAX {
            self.file.problems.push(problem.clone());
        } else {
            self.file.is_incomplete = true;
        }
        if self.problems.len() < self.limits.problems_max {
            self.problems.push(problem);
        } else {
            self.problems_dropped += 1;
        }
    }

    /// A file or folder that could not be read.
    pub(crate) fn unreadable(&mut self, path: &Path, fault: Fault) {
        let file = path.to_string_lossy().into();
        self.problem(Problem { file, position: Position::default(), object: None, key: None, fault });
    }

    /// Problems, warnings, and whether it is known what is missing.
    pub(crate) fn finish(mut self) -> (Vec<Problem>, Vec<Warning>, bool) {
        if self.problems_dropped > 0 {
            let fault = Fault::FurtherProblems { count: self.problems_dropped };
            let file = self.problems.last().map_or_else(|| "".into(), |p| p.file.clone());
            self.problems.push(Problem { file, position: Position::default(), object: None, key: None, fault });
        }
        let (unread, duplicates) = (self.unread_dropped, self.duplicates_dropped);
        let further = (unread + duplicates > 0).then_some(Warning::Further { unread, duplicates });
        let warnings = self.unread.into_values().chain(self.duplicates).chain(further).collect();
        (self.problems, warnings, self.is_whole)
    }
}

/// Whether it is not known which objects, and how many, are missing. An object with a wrong field is not counted: it is
/// known what is missing.
fn hides_objects(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Unreadable { .. }
            | Fault::NotAFile
            | Fault::FileTooLarge { .. }
            | Fault::TooManyFiles { .. }
            | Fault::Changed
            | Fault::NotUtf8 { .. }
            | Fault::Syntax { .. }
            | Fault::DocumentTooLarge { .. }
            | Fault::NotAnObject { .. }
    )
}
