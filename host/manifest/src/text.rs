//! The text of one file in, what it holds out, in the order of the text. Knows documents and formats, not files.

use model::{Name, Object};

use crate::documents::documents;
use crate::json::Values;
use crate::limits::Limits;
use crate::node::{Node, Tree};
use crate::problem::{Fault, Misfit, Position, Problem, printable};
use crate::shapes::{Shape, describe, shape, type_name};
use crate::view::duplicate_key;
use crate::yaml;

/// How much of a kind or group is kept for a warning, in characters.
const TYPE_NAME_MAX: usize = 100;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Documents of YAML, which includes JSON written by hand.
    Yaml,
    /// One JSON value or several, one behind the other.
    Json,
}

/// Something found in a text.
#[derive(Clone, Debug)]
pub enum Found {
    /// An object of the model.
    Object {
        /// The object.
        object: Object,
        /// Where it starts.
        position: Position,
    },
    /// An object of a kind that is not read.
    Unread {
        /// Its type.
        unread: Unread,
        /// Where it starts.
        position: Position,
    },
    /// Something that could not be read. What is around it was.
    Problem(Problem),
}

/// The type of an object that is not read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unread {
    /// The API group, empty for the core group. Safe to print.
    pub group: String,
    /// The kind. Safe to print.
    pub kind: String,
    /// Known, and read by a later version of this program.
    pub later: bool,
}

/// Reads `text` and hands on what it holds as it is found: at most one object of the text is in memory at a time.
///
/// `file` only appears in problems. Documents are read apart from each other: one that is not valid YAML hides no
/// other. An item of a List with a wrong field hides no other item either; one that is not valid YAML hides those behind
/// it, and all of them where `kind` is written behind `items`.
pub fn read_text(file: &Name, text: &str, format: Format, limits: &Limits, each: &mut dyn FnMut(Found)) {
    let mut reader = Reader { file, limits, each, document: 0, first_line: 1 };
    match format {
        Format::Yaml => reader.yaml(text),
        Format::Json => reader.json(text),
    }
}

struct Reader<'a> {
    file: &'a Name,
    limits: &'a Limits,
    each: &'a mut dyn FnMut(Found),
    /// The document being read, from 1.
    document: usize,
    /// The line of the file that the parser calls 1.
    first_line: usize,
}

impl Reader<'_> {
    fn yaml(&mut self, text: &str) {
        for document in documents(text) {
            (self.document, self.first_line) = (document.number, document.line);
            if self.is_too_large(document.text) {
                continue;
            }
            if let Err(misfit) = yaml::read(document.text, self.limits, &mut |tree| self.tree(&tree)) {
                self.problem(None, None, misfit);
            }
        }
    }

    fn json(&mut self, text: &str) {
        let mut values = Values::new(text);
        while let Some(value) = values.next() {
            self.document += 1;
            match value {
                Err(misfit) => return self.problem(None, None, misfit),
                Ok((value, place)) => {
                    if !self.is_too_large(value.get()) {
                        values.read(value, place, self.limits, &mut |tree| self.tree(&tree));
                    }
                }
            }
        }
    }

    fn is_too_large(&mut self, text: &str) -> bool {
        let (bytes, bytes_max) = (text.len(), self.limits.document_bytes_max);
        if bytes > bytes_max {
            let fault = Fault::DocumentTooLarge { bytes, bytes_max };
            self.problem(None, None, Misfit { line: 1, column: 1, fault });
        }
        bytes > bytes_max
    }

    fn tree(&mut self, tree: &Tree) {
        let fail = |reader: &mut Self, misfit| reader.problem(tree.item, Some(&tree.node), misfit);
        if let Some(fault) = &tree.fault {
            return fail(self, Misfit { line: 0, column: 0, fault: fault.clone() });
        }
        if let Some(misfit) = duplicate_key(&tree.node) {
            return fail(self, misfit);
        }
        let name = match type_name(&tree.node) {
            Ok(name) => name,
            Err(misfit) => return fail(self, misfit),
        };
        if name.is_list() {
            // A List that comes here as an object is one without items, or one inside another.
            if tree.item.is_some() {
                fail(self, Misfit { line: 0, column: 0, fault: Fault::NestedList });
            }
            return;
        }
        let position = self.position(tree.item, tree.node.line, tree.node.column);
        let short = |text: &str| printable(text).chars().take(TYPE_NAME_MAX).collect();
        let unread = |later| Unread { group: short(name.group), kind: short(name.kind), later };
        match shape(&tree.node, self.limits) {
            Ok(Shape::Object(object)) => (self.each)(Found::Object { object, position }),
            Ok(Shape::Ignored) => {}
            Ok(Shape::Later) => (self.each)(Found::Unread { unread: unread(true), position }),
            Ok(Shape::Unknown) => (self.each)(Found::Unread { unread: unread(false), position }),
            Err(misfit) => fail(self, misfit),
        }
    }

    /// The position in the file; where the line is unknown, the start of the document.
    fn position(&self, item: Option<usize>, line: usize, column: usize) -> Position {
        let (line, column) = if line == 0 { (self.first_line, 0) } else { (self.first_line + line - 1, column) };
        Position { document: self.document, item, line, column }
    }

    fn problem(&mut self, item: Option<usize>, node: Option<&Node>, misfit: Misfit) {
        let Misfit { mut line, mut column, fault } = misfit;
        if let Some(node) = node
            && line == 0
        {
            (line, column) = (node.line, node.column);
        }
        let position = self.position(item, line, column);
        let object = node.and_then(describe);
        (self.each)(Found::Problem(Problem { file: self.file.clone(), position, object, fault }));
    }
}

#[cfg(test)]
mod tests;
