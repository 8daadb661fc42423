//! JSON files in, trees of their objects out: one value or several, one behind the other. The only file that calls
//! the JSON parser.
//!
//! The values of a file and the items of a List are slices of the text until it is their turn, so the order of `items`
//! and `kind` does not matter, each has its position, and a bad item hides no other.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::Limits;
use crate::node::{Allowance, Node, NodeSeed, Tree, Value};
use crate::problem::{Fault, Misfit, printable};
use crate::shapes::TypeName;

/// The values of a JSON file, in their order.
pub(crate) struct Values<'a> {
    stream: serde_json::StreamDeserializer<'a, serde_json::de::StrRead<'a>, &'a RawValue>,
    lines: Lines<'a>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { stream: serde_json::Deserializer::from_str(text).into_iter(), lines: Lines::new(text) }
    }

    /// The next value and where it starts; none at the end of the file.
    ///
    /// # Errors
    /// It is not valid JSON. There is no value behind an error: nobody knows where it would start.
    pub(crate) fn next(&mut self) -> Option<Result<(&'a RawValue, Place), Misfit>> {
        Some(match self.stream.next()? {
            Ok(value) => Ok((value, self.lines.place(value.get()))),
            Err(error) => Err(Misfit { line: error.line(), column: error.column(), fault: syntax(&error, None) }),
        })
    }

    /// Gives every object of `value` to `each`, with its position in the file.
    pub(crate) fn read(&mut self, value: &'a RawValue, place: Place, limits: &Limits, each: &mut dyn FnMut(Tree)) {
        let text = value.get();
        if !text.starts_with('{') {
            return each(tree(None, text, place, limits));
        }
        let header: Header<'a> = match serde_json::from_str(text) {
            Ok(header) => header,
            Err(error) => return each(Tree::new(None, nothing(place), Some(syntax(&error, None)))),
        };
        let Some(items) = header.items.filter(|_| header.is_list()) else {
            return each(tree(None, text, place, limits));
        };
        let mut items_read = 0;
        let lines = &mut self.lines;
        let mut each_item = |item: &'a RawValue| {
            items_read += 1;
            each(tree(Some(items_read), item.get(), lines.place(item.get()), limits));
        };
        let read = serde_json::Deserializer::from_str(items.get()).deserialize_seq(Items(&mut each_item));
        if let Err(error) = read {
            each(Tree::new(None, nothing(place), Some(syntax(&error, Some(items_read)))));
        }
    }
}

/// Line and column, from 1.
pub(crate) type Place = (usize, usize);

/// What tells a List from an object; nothing is copied.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    #[serde(borrow)]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

impl Header<'_> {
    fn is_list(&self) -> bool {
        let text = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        match (text(self.api_version), text(self.kind)) {
            (Some(api_version), Some(kind)) => TypeName::new(&api_version, &kind).is_list(),
            _ => false,
        }
    }
}

fn tree(item: Option<usize>, text: &str, place: Place, limits: &Limits) -> Tree {
    let allowance = Allowance::new(limits);
    match NodeSeed::object(&allowance, place).deserialize(&mut serde_json::Deserializer::from_str(text)) {
        Ok(node) => Tree::new(item, node, allowance.excess(limits)),
        Err(error) => Tree::new(item, nothing(place), Some(syntax(&error, None))),
    }
}

fn nothing((line, column): Place) -> Node {
    Node { line, column, value: Value::Null }
}

fn syntax(error: &serde_json::Error, items_read: Option<usize>) -> Fault {
    let mut message = printable(&error.to_string());
    // The parser counts from where it was started, which is not always the start of the file.
    if let Some(at) = message.rfind(" at line ") {
        message.truncate(at);
    }
    Fault::Syntax { format: "JSON", message, items_read }
}

/// Hands on the elements of a JSON list, one at a time.
struct Items<'f, 'a>(&'f mut dyn FnMut(&'a RawValue));

impl<'a> Visitor<'a> for Items<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list of items")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&'a RawValue>()? {
            (self.0)(item);
        }
        Ok(())
    }
}

/// Finds lines and columns of slices of a text that are asked for in their order, in one pass.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    place: Place,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, place: (1, 1) }
    }

    /// Where `slice`, a part of the text, starts.
    fn place(&mut self, slice: &str) -> Place {
        let offset = (slice.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let between = self.text.get(self.at..offset).unwrap_or_default();
        for c in between.chars() {
            self.place = if c == '\n' { (self.place.0 + 1, 1) } else { (self.place.0, self.place.1 + 1) };
        }
        self.at += between.len();
        self.place
    }
}
