//! The text of one file in, what it holds out, in the order of the text. Knows documents and formats, not files.

use std::io;

use model::conditions::Said;
use model::{Name, Object};

use crate::documents::{CUT_FROM, Part, documents};
use crate::json::{self, Input};
use crate::limits::Limits;
use crate::node::{Node, Tree};
use crate::pool::Pool;
use crate::problem::{Fault, Misfit, Position, Problem, printable};
use crate::shapes::{Context, Shape, describe, key_of, said, shape, type_name};
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
        /// The conditions it has of those that decisions have a say in; what makes no sense is left out.
        said: Vec<Said>,
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
}

/// Reads `text` and hands on what it holds as it is found: at most one object of the text is in memory at a time.
///
/// `file` only appears in problems. Documents are read apart from each other: one that is not valid hides no other. An item
/// of a List with a wrong field hides no other item either. One that is not valid YAML hides those behind it, and all of them
/// where `kind` is written behind `items`, unless the List is so long (1 MiB) that it is cut into its items without a parser.
/// In JSON only brackets and quotes that are not closed hide what is behind them.
pub fn read_text(file: &Name, text: &str, format: Format, limits: &Limits, each: &mut dyn FnMut(Found)) {
    read_input(file, &mut io::Cursor::new(text), format, &Context { limits, pool: &Pool::default() }, each);
}

/// The same from a file that is not in memory.
pub(crate) fn read_input(
    file: &Name,
    input: &mut dyn Input,
    format: Format,
    with: &Context<'_>,
    each: &mut dyn FnMut(Found),
) {
    let mut reader = Reader { file, with: *with, each, document: 0, first_line: 1 };
    match format {
        Format::Yaml => reader.yaml(input, CUT_FROM),
        Format::Json => reader.json(input),
    }
}

struct Reader<'a> {
    file: &'a Name,
    with: Context<'a>,
    each: &'a mut dyn FnMut(Found),
    /// The document being read, from 1.
    document: usize,
    /// The line of the file that the parser calls 1.
    first_line: usize,
}

impl Reader<'_> {
    fn yaml(&mut self, input: &mut dyn Input, cut_from: usize) {
        let limits = self.with.limits;
        let is_list = |text: &str| yaml::is_list(text, limits);
        let outcome = documents(input, limits, cut_from, &is_list, &mut |part| self.part(&part));
        if let Err(fault) = outcome {
            (self.document, self.first_line) = (0, 0);
            self.problem(None, None, Misfit { line: 0, column: 0, fault });
        }
    }

    fn part(&mut self, part: &Part<'_>) {
        let limits = self.with.limits;
        (self.document, self.first_line) = (part.document, part.line);
        let text = part.text.as_ref().map_err(|fault| Misfit { line: 1, column: 1, fault: fault.clone() });
        let read = text.and_then(|text| match part.item {
            None => yaml::read(text, limits, &mut |tree| self.tree(&tree)),
            Some(item) => yaml::read_item(text, item, limits).map(|tree| self.tree(&tree)),
        });
        if let Err(misfit) = read {
            self.problem(part.item, None, misfit);
        }
    }

    fn json(&mut self, input: &mut dyn Input) {
        let outcome = json::read(input, self.with.limits, &mut |document, tree| {
            self.document = document;
            self.tree(&tree);
        });
        if let Err((document, misfit)) = outcome {
            self.document = document;
            self.problem(None, None, misfit);
        }
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
        match shape(&tree.node, &self.with) {
            Ok(Shape::Object(object)) => {
                (self.each)(Found::Object { object: *object, said: said(&tree.node), position })
            }
            Ok(Shape::Ignored) => {}
            Ok(Shape::Unknown) => {
                let unread = Unread { group: short(name.group), kind: short(name.kind) };
                (self.each)(Found::Unread { unread, position });
            }
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
        let key = node.and_then(|node| key_of(node, &self.with));
        (self.each)(Found::Problem(Problem { file: self.file.clone(), position, object, key, fault }));
    }
}

#[cfg(test)]
mod tests;
