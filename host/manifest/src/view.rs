//! Looks into a [`Node`] with the path remembered, so that a complaint names field and line. Knows types, not kinds.

use std::borrow::Cow;
use std::fmt;

use model::{Labels, Name};

use crate::node::{Node, Value};
use crate::problem::{Fault, Misfit, quoted};
use crate::shapes::Context;

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

    /// The text of a field as a name that others have, too; not there or null is empty.
    pub(crate) fn name_field(&self, name: &str, with: &Context<'_>) -> Result<Name, Misfit> {
        Ok(with.name(self.text_field(name)?.unwrap_or_default()))
    }

    /// A host or an address: text of a bounded size that can be printed.
    ///
    /// # Errors
    /// It is something else, has fewer than `bytes_min` bytes, or has blanks.
    pub(crate) fn token(&self, bytes_min: usize, with: &Context<'_>) -> Result<&'n str, Misfit> {
        let (text, bytes_max) = (self.text()?, with.limits.name_bytes_max);
        let bad = |c: char| c.is_control() || c.is_whitespace();
        if (bytes_min..=bytes_max).contains(&text.len()) && !text.contains(bad) {
            return Ok(text);
        }
        Err(self.misfit(Fault::BadText { path: self.path.to_string(), value: quoted(text), bytes_min, bytes_max }))
    }

    /// One of some words, with what it stands for; none if it is not there or null.
    ///
    /// # Errors
    /// It is another word.
    pub(crate) fn word_field<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Misfit> {
        let Some(text) = self.text_field(name)? else {
            return Ok(None);
        };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*meaning));
        }
        let (path, words) = (Path::Field(&self.path, name).to_string(), words.iter().map(|(word, _)| *word));
        let fault = Fault::UnknownWord { path, value: quoted(text), words: words.collect::<Vec<_>>().join(", ") };
        let place = self.field(name)?.map_or((self.node.line, self.node.column), |it| (it.node.line, it.node.column));
        Err(Misfit { line: place.0, column: place.1, fault })
    }

    /// A number from 0 to 2^32 - 1; not there or null is 0.
    pub(crate) fn number_field(&self, name: &str) -> Result<u32, Misfit> {
        self.field(name)?.map_or(Ok(0), |view| view.number())
    }

    /// A number from 0 to 2^32 - 1.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn number(&self) -> Result<u32, Misfit> {
        match self.node.value {
            Value::Integer(number) => u32::try_from(number).map_err(|_| self.wrong_type("a number below 2^32", false)),
            _ => Err(self.wrong_type("a number", false)),
        }
    }

    /// A number from 0 to 2^32 - 1 or a text, as text; none if it is not there or null.
    pub(crate) fn number_or_text_field(&self, name: &str) -> Result<Option<Cow<'n, str>>, Misfit> {
        match self.field(name)? {
            None => Ok(None),
            Some(view) => match &view.node.value {
                Value::Text(text) => Ok(Some(Cow::Borrowed(text))),
                Value::Integer(_) => Ok(Some(view.number()?.to_string().into())),
                _ => Err(view.wrong_type("a number or text", false)),
            },
        }
    }

    /// Calls `each` for every element of a list field and collects; not there or null is empty.
    pub(crate) fn list_field<T>(
        &self,
        name: &str,
        each: impl Fn(View<'_, '_>) -> Result<T, Misfit>,
    ) -> Result<Vec<T>, Misfit> {
        self.field(name)?.map_or_else(|| Ok(Vec::new()), |view| view.list(each))
    }

    /// The same, of a list with at most `count_max` elements.
    pub(crate) fn list_field_max<T>(
        &self,
        name: &str,
        count_max: usize,
        each: impl Fn(View<'_, '_>) -> Result<T, Misfit>,
    ) -> Result<Vec<T>, Misfit> {
        let Some(view) = self.field(name)? else {
            return Ok(Vec::new());
        };
        match &view.node.value {
            Value::List(nodes) if nodes.len() > count_max => {
                let (path, count) = (view.path.to_string(), nodes.len());
                Err(view.misfit(Fault::TooMany { path, count, count_max }))
            }
            _ => view.list(each),
        }
    }

    /// Calls `each` for every element of this list and collects.
    ///
    /// # Errors
    /// It is no list.
    pub(crate) fn list<T>(&self, each: impl Fn(View<'_, '_>) -> Result<T, Misfit>) -> Result<Vec<T>, Misfit> {
        match &self.node.value {
            Value::Null => Ok(Vec::new()),
            Value::List(nodes) => {
                let view = |(i, node)| View { node, path: Path::Index(&self.path, i) };
                nodes.iter().enumerate().map(|element| each(view(element))).collect()
            }
            _ => Err(self.wrong_type("a list", false)),
        }
    }

    /// A list of names that others have, too; not there or null is empty.
    pub(crate) fn names_field(&self, name: &str, with: &Context<'_>) -> Result<Vec<Name>, Misfit> {
        self.list_field(name, |view| view.text().map(|text| with.name(text)))
    }

    /// Calls `each` for every entry of a mapping and collects; not there or null is empty.
    pub(crate) fn map_field<T>(
        &self,
        name: &str,
        each: impl Fn(&str, View<'_, '_>) -> Result<T, Misfit>,
    ) -> Result<Vec<T>, Misfit> {
        let Some(view) = self.field(name)? else {
            return Ok(Vec::new());
        };
        let Value::Map(entries) = &view.node.value else {
            return Err(view.wrong_type("a mapping", false));
        };
        let of = |(key, node)| each(key, View { node, path: Path::Field(&view.path, key) });
        entries.iter().map(|(key, node): &(Box<str>, Node)| of((&**key, node))).collect()
    }

    /// A mapping of texts: labels, annotations or an equality selector.
    ///
    /// # Errors
    /// A value is no text, a key is there twice, or there are too many.
    pub(crate) fn labels_field(&self, name: &str, with: &Context<'_>) -> Result<Labels, Misfit> {
        let Some(view) = self.field(name)? else {
            return Ok(Labels::default());
        };
        let Value::Map(entries) = &view.node.value else {
            return Err(view.wrong_type("a mapping", false));
        };
        let limits = with.limits;
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
            Ok((with.name(key), with.name(value)))
        };
        Ok(with.pool.labels(entries.iter().map(pair).collect::<Result<Vec<_>, _>>()?))
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
