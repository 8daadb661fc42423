//! What was wrong and where, in one line an operator can act on. Not what to do about it: the caller decides whether a
//! problem stops it.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use model::{Name, ObjectKey};

/// How much of a text of the input a message repeats, in characters.
const QUOTED_MAX: usize = 80;

/// Where something starts. Lines, columns, documents and items count from 1; 0 is "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The document of the file; 0 when the file as a whole is meant.
    pub document: usize,
    /// The item of a `kind: List`.
    pub item: Option<usize>,
    /// The line of the file.
    pub line: usize,
    /// The column of the line, in characters.
    pub column: usize,
}

/// Something that could not be read, with its place.
///
/// Prints as one line: `mesh.yaml:17:3: document 2: Service shop/cart: metadata.labels["on"] must be text, ...`.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The file or folder as the user named it.
    pub file: Name,
    /// Where in it.
    pub position: Position,
    /// Kind and name of the object concerned, as far as known and safe to print: `Service shop/cart`.
    pub object: Option<String>,
    /// The same object as it is kept, where it is of a kind of the model: nothing else is missing by this problem.
    pub key: Option<ObjectKey>,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { document, item, line, column } = self.position;
        f.write_str(&printable(&self.file))?;
        if line > 0 {
            write!(f, ":{line}")?;
        }
        if line > 0 && column > 0 {
            write!(f, ":{column}")?;
        }
        if document > 0 {
            write!(f, ": document {document}")?;
        }
        if let Some(item) = item {
            write!(f, ", item {item}")?;
        }
        if let Some(object) = &self.object {
            write!(f, ": {object}")?;
        }
        write!(f, ": {}", self.fault)?;
        let mut source = self.fault.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// What can be wrong with a manifest. Texts of the input appear quoted, shortened and without control characters.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The operating system refused, or a link leads out of the folder.
    #[error("cannot be read; it must exist, be readable, and links must stay inside the folder")]
    Unreadable {
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// A device, pipe, socket or folder where a file is wanted.
    #[error("is not a regular file")]
    NotAFile,
    /// The file is larger than [`crate::Limits::file_bytes_max`].
    #[error("has {bytes} bytes, more than the {bytes_max} allowed; split it")]
    FileTooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Somebody wrote to the file while it was read.
    #[error("was written to while it was read, so that it may be of two versions; it is read again at the next change")]
    Changed,
    /// The folder has more manifests than [`crate::Limits::files_max`].
    #[error("has more than the {files_max} manifests allowed; none of them was read")]
    TooManyFiles {
        /// The limit.
        files_max: usize,
    },
    /// Not UTF-8.
    #[error("is not UTF-8 text from byte {offset} on; convert it")]
    NotUtf8 {
        /// The first byte that is not, from 0.
        offset: usize,
    },
    /// The document is larger than [`crate::Limits::document_bytes_max`].
    #[error("has {bytes} bytes, more than the {bytes_max} allowed for a document; split it")]
    DocumentTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not valid YAML or JSON, or too much nesting or too many aliases.
    #[error("not valid {format}: {message}{}", lost(*.items_read))]
    Syntax {
        /// `YAML` or `JSON`.
        format: &'static str,
        /// What the parser says.
        message: String,
        /// Of a List, how many items were read before; the others are lost, as a parser cannot find them any more.
        items_read: Option<usize>,
    },
    /// A configuration file is not valid YAML, or has a setting that does not exist or is of another type.
    #[error("not a valid configuration: {message}")]
    Setting {
        /// What the parser says.
        message: String,
    },
    /// The document or item is no mapping.
    #[error("is {found}, not an object with apiVersion and kind")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// A required field is not there.
    #[error("{path} is missing")]
    Missing {
        /// The field.
        path: &'static str,
    },
    /// A field has a value of another type.
    #[error("{path} must be {expected}, found {found}{}", if *.quote { "; put it in quotes" } else { "" })]
    WrongType {
        /// The field.
        path: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
        /// Whether quotes would make it right: YAML reads an unquoted `true`, `on` or `1` as no text.
        quote: bool,
    },
    /// A name the API server would not take.
    #[error("{path} {value} is not a name: 1 to {bytes_max} bytes, without control characters, spaces, '/' and '%'")]
    BadName {
        /// The field.
        path: &'static str,
        /// Its value, quoted.
        value: String,
        /// The limit.
        bytes_max: usize,
    },
    /// More labels or annotations than [`crate::Limits::labels_max`] or [`crate::Limits::label_bytes_max`].
    #[error(
        "{path} has {count} entries of {bytes} bytes, more than the {count_max} entries or {bytes_max} bytes allowed"
    )]
    TooManyLabels {
        /// The field.
        path: String,
        /// How many there are.
        count: usize,
        /// Their size together.
        bytes: usize,
        /// The limit of entries.
        count_max: usize,
        /// The limit of their size.
        bytes_max: usize,
    },
    /// The text of the object is larger than [`crate::Limits::object_text_bytes_max`].
    #[error("its text has {bytes} bytes, more than the {bytes_max} allowed for one object")]
    ObjectTextTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A list with more elements than [`crate::Limits::hosts_max`] or [`crate::Limits::endpoints_max`].
    #[error("{path} has {count} entries, more than the {count_max} allowed; split the object")]
    TooMany {
        /// The field.
        path: String,
        /// How many there are.
        count: usize,
        /// The limit.
        count_max: usize,
    },
    /// A host or an address that cannot be one.
    #[error("{path} {value} is not usable: {bytes_min} to {bytes_max} bytes, without control characters and spaces")]
    BadText {
        /// The field.
        path: String,
        /// Its value, quoted.
        value: String,
        /// The least.
        bytes_min: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A word that is none of those that have a meaning there.
    #[error("{path} is {value}, which is none of {words}")]
    UnknownWord {
        /// The field.
        path: String,
        /// Its value, quoted.
        value: String,
        /// What there is.
        words: String,
    },
    /// A time that cannot be read.
    #[error("{path} {value} is not a time like 2024-01-31T12:00:00Z")]
    BadTimestamp {
        /// The field.
        path: &'static str,
        /// Its value, quoted.
        value: String,
    },
    /// The object is larger than [`crate::Limits::object_nodes_max`] or [`crate::Limits::object_bytes_max`], or deeper
    /// than [`crate::Limits::depth_max`].
    #[error("is too large: at most {nodes_max} values with {bytes_max} bytes of text, nested {depth_max} deep")]
    ObjectTooLarge {
        /// The limit of values.
        nodes_max: usize,
        /// The limit of their text.
        bytes_max: usize,
        /// The limit of nesting.
        depth_max: usize,
    },
    /// Two values for one key.
    #[error("the key {key} appears twice in one mapping")]
    DuplicateKey {
        /// The key, quoted.
        key: String,
    },
    /// A `kind: List` in a List.
    #[error("a List inside a List is not unfolded")]
    NestedList,
    /// More objects than [`crate::Limits::objects_max`].
    #[error("more than the {objects_max} objects allowed; this one and all after it are left out")]
    TooManyObjects {
        /// The limit.
        objects_max: usize,
    },
    /// More problems than [`crate::Limits::problems_max`].
    #[error("{count} further problems are not shown")]
    FurtherProblems {
        /// How many.
        count: usize,
    },
}

fn lost(items_read: Option<usize>) -> String {
    items_read.map_or_else(String::new, |n| format!(" (the List was read up to item {n}, the rest is lost)"))
}

/// A fault and where it is; the file and document are added by who knows them.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) fault: Fault,
}

/// `text` without control characters and without the ones that turn the reading direction: safe for a terminal and
/// for one line of a log.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !is_unprintable(*c)).collect()
}

/// `text` in quotes, printable and shortened.
pub(crate) fn quoted(text: &str) -> String {
    let mut kept = text.chars().filter(|c| !is_unprintable(*c));
    let start: String = kept.by_ref().take(QUOTED_MAX).collect();
    let dots = if kept.next().is_some() { "…" } else { "" };
    format!("\"{start}{dots}\"")
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_file_line_column_and_document() {
        let problem = Problem {
            file: "mesh.yaml".into(),
            position: Position { document: 2, item: Some(4), line: 17, column: 3 },
            object: Some("Service shop/cart".to_owned()),
            key: None,
            fault: Fault::Missing { path: "metadata.name" },
        };
        assert_eq!(
            problem.to_string(),
            "mesh.yaml:17:3: document 2, item 4: Service shop/cart: metadata.name is missing"
        );
    }

    #[test]
    fn a_problem_of_a_file_has_neither_line_nor_document_and_names_the_cause() {
        let source = Arc::new(io::Error::from(io::ErrorKind::PermissionDenied));
        let problem = Problem {
            file: "a\u{1b}[31m.yaml".into(),
            position: Position::default(),
            object: None,
            key: None,
            fault: Fault::Unreadable { source },
        };
        let line = problem.to_string();
        assert!(line.starts_with("a[31m.yaml: cannot be read") && line.ends_with(": permission denied"), "{line}");
    }

    #[test]
    fn text_of_the_input_is_quoted_shortened_and_printable() {
        assert_eq!(quoted("a\nb\u{1b}[0m\u{202e}c"), "\"ab[0mc\"");
        assert_eq!(quoted(&"x".repeat(200)), format!("\"{}…\"", "x".repeat(80)));
    }
}
