//! Looks into a [`Node`] with the path remembered, so that a complaint names field and line. Knows types, not kinds.

use std::fmt;

use model::{Labels, Name};

use crate::limits::Limits;
use crate::node::{Node, Value};
use crate::problem::{Fault, Misfit, quoted};

/// A value of an object and how one got there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'n, 'p> {
    node: &'n Node,
    path: Path<'p>,
}

/// Linked, not a string: it is only printed when something is wrong.
#[derive(Clone, Copy, Debug)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    /// A key the user chose, such as a label's.
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Key(parent, key) => write!(f, "{parent}[{}]", quoted(key)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'n, 'p> View<'n, 'p> {
    /// The object itself.
    pub(crate) fn root(node: &'n Node) -> Self {
        Self { node, path: Path::Root }
    }

    /// A complaint about this value.
    pub(crate) fn misfit(&self, fault: Fault) -> Misfit {
        Misfit { line: self.node.line, column: self.node.column, fault }
    }

    fn wrong_type(&self, expected: &'static str, quote: bool) -> Misfit {
        let found = self.node.value.noun();
        self.misfit(Fault::WrongType { path: self.path.to_string(), expected, found, quote })
    }

    /// A field of a mapping; none if it is not there or null.
    ///
    /// # Errors
    /// This value is not a mapping.
    pub(crate) fn field<'b>(&'b self, name: &'b str) -> Result<Option<View<'n, 'b>>, Misfit> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong_type("a mapping", false));
        };
        let found = entries.iter().find(|(key, node)| **key == *name && !matches!(node.value, Value::Null));
        Ok(found.map(|(_, node)| View { node, path: Path::Field(&self.path, name) }))
    }

    /// The text of a field; none if it is not there or null.
    pub(crate) fn text_field(&self, name: &str) -> Result<Option<&'n str>, Misfit> {
        // Not through `field`: the text lives as long as the tree, the path only as long as this call.
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong_type("a mapping", false));
        };
        match entries.iter().find(|(key, _)| **key == *name) {
            Some((_, node)) => View { node, path: Path::Field(&self.path, name) }.optional_text(),
            None => Ok(None),
        }
    }

    fn optional_text(&self) -> Result<Option<&'n str>, Misfit> {
        match &self.node.value {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            other => Err(self.wrong_type("text", matches!(other, Value::Bool(_) | Value::Integer(_) | Value::Float))),
        }
    }

    /// The text of this value.
    ///
    /// # Errors
    /// It is something else; null counts as the empty text, as it does for the API server.
    pub(crate) fn text(&self) -> Result<&'n str, Misfit> {
        Ok(self.optional_text()?.unwrap_or_default())
    }

    /// Whether a field is `true`; not there or null is false.
    pub(crate) fn is_set(&self, name: &str) -> Result<bool, Misfit> {
        match self.field(name)? {
            None => Ok(false),
            Some(view) => match view.node.value {
                Value::Bool(set) => Ok(set),
                _ => Err(view.wrong_type("true or false", false)),
            },
        }
    }

    /// A number from 0 to 2^32 - 1; not there or null is 0.
    pub(crate) fn number_field(&self, name: &str) -> Result<u32, Misfit> {
        match self.field(name)? {
            None => Ok(0),
            Some(view) => match view.node.value {
                Value::Integer(number) => {
                    u32::try_from(number).map_err(|_| view.wrong_type("a number below 2^32", false))
                }
                _ => Err(view.wrong_type("a number", false)),
            },
        }
    }

    /// Calls `each` for every element of a list field and collects; not there or null is empty.
    pub(crate) fn list_field<T>(
        &self,
        name: &str,
        each: impl Fn(View<'_, '_>) -> Result<T, Misfit>,
    ) -> Result<Vec<T>, Misfit> {
        let Some(view) = self.field(name)? else {
            return Ok(Vec::new());
        };
        let Value::List(nodes) = &view.node.value else {
            return Err(view.wrong_type("a list", false));
        };
        nodes.iter().enumerate().map(|(i, node)| each(View { node, path: Path::Index(&view.path, i) })).collect()
    }

    /// A mapping of texts: labels, annotations or an equality selector.
    ///
    /// # Errors
    /// A value is no text, a key is there twice, or there are too many.
    pub(crate) fn labels_field(&self, name: &str, limits: &Limits) -> Result<Labels, Misfit> {
        let Some(view) = self.field(name)? else {
            return Ok(Labels::default());
        };
        let Value::Map(entries) = &view.node.value else {
            return Err(view.wrong_type("a mapping", false));
        };
        let bytes = entries.iter().map(|(key, node)| key.len() + text_bytes(node)).sum();
        if entries.len() > limits.labels_max || bytes > limits.label_bytes_max {
            return Err(view.misfit(Fault::TooManyLabels {
                path: view.path.to_string(),
                count: entries.len(),
                bytes,
                count_max: limits.labels_max,
                bytes_max: limits.label_bytes_max,
            }));
        }
        let pair = |(key, node): &(Box<str>, Node)| {
            let value = View { node, path: Path::Key(&view.path, key) }.text()?;
            Ok((Name::from(&**key), Name::from(value)))
        };
        entries.iter().map(pair).collect::<Result<Vec<_>, _>>().map(|pairs| pairs.into_iter().collect())
    }
}

fn text_bytes(node: &Node) -> usize {
    match &node.value {
        Value::Text(text) => text.len(),
        _ => 0,
    }
}

/// The first key that a mapping of the tree has twice, if any. YAML refuses those by itself, JSON does not.
pub(crate) fn duplicate_key(node: &Node) -> Option<Misfit> {
    match &node.value {
        Value::Map(entries) => {
            let mut seen = std::collections::HashSet::with_capacity(entries.len());
            entries.iter().find_map(|(key, value)| {
                if seen.insert(&**key) {
                    return duplicate_key(value);
                }
                let fault = Fault::DuplicateKey { key: quoted(key) };
                Some(Misfit { line: value.line, column: value.column, fault })
            })
        }
        Value::List(nodes) => nodes.iter().find_map(duplicate_key),
        _ => None,
    }
}
