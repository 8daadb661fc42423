//! One YAML document in, trees of its objects out. The only file that calls the YAML parser.
//!
//! The document is read as it is parsed: an item of a List is handed on and dropped before the next one is looked at.
//! `kubectl` writes `items` before `kind`, so where the type is not known at `items` the document is read once more
//! only for its type; that costs time, not memory. An item with a wrong field does not end the List. An item that is
//! not valid YAML, or has a key twice, does: the parser cannot find its end, and the rest of the List is lost (all of it
//! where the type is behind it).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    DefaultMessageFormatter, DuplicateKeyPolicy, MessageFormatter, NonFiniteFloatPolicy, Options, Spanned,
    UserMessageFormatter, with_deserializer_from_str_with_options as with_deserializer,
};

use crate::limits::Limits;
use crate::node::{Allowance, Node, NodeSeed, Tree, Value, is_object_field, place_of};
use crate::problem::{Fault, Misfit, printable};
use crate::shapes::type_name;

/// Reads the document `text` and gives every object of it to `each`; an empty document has none. Lines count from the
/// start of `text`.
///
/// # Errors
/// It is not valid YAML. What was read before has been given to `each`.
pub(crate) fn read(text: &str, limits: &Limits, each: &mut dyn FnMut(Tree)) -> Result<(), Misfit> {
    let mut root = Root { text, limits, each, is_list: None, items_read: None, lacks_type: false };
    let mut outcome = with_deserializer(text, options(limits), |yaml| yaml.deserialize_any(&mut root));
    if root.lacks_type {
        let header = with_deserializer(text, options(limits), |yaml| yaml.deserialize_any(Header { limits }));
        outcome = header.and_then(|header| {
            root.is_list = Some(is_list_header(&header));
            with_deserializer(text, options(limits), |yaml| yaml.deserialize_any(&mut root))
        });
    }
    let items_read = root.items_read;
    outcome.map_err(|error| misfit(&error, |message| Fault::Syntax { format: "YAML", message, items_read }))
}

/// Reads an item of a List that stands in `text` by itself.
///
/// # Errors
/// It is not valid YAML.
pub(crate) fn read_item(text: &str, item: usize, limits: &Limits) -> Result<Tree, Misfit> {
    let allowance = Allowance::new(limits, text);
    let read = with_deserializer(text, options(limits), |yaml| NodeSeed::object(&allowance, (0, 0)).deserialize(yaml));
    let node =
        read.map_err(|error| misfit(&error, |message| Fault::Syntax { format: "YAML", message, items_read: None }))?;
    Ok(Tree::new(Some(item), node, allowance.excess(limits)))
}

/// Whether the document `text` says that it is a List.
pub(crate) fn is_list(text: &str, limits: &Limits) -> bool {
    let header = with_deserializer(text, options(limits), |yaml| yaml.deserialize_any(Header { limits }));
    header.is_ok_and(|header| is_list_header(&header))
}

/// Reads `text`, one document, as a tree with everything in it; null where it is empty.
///
/// # Errors
/// It is not valid YAML, or too large.
pub(crate) fn tree(text: &str, limits: &Limits) -> Result<Node, Misfit> {
    let allowance = Allowance::new(limits, text);
    let read = with_deserializer(text, options(limits), |yaml| NodeSeed::all(&allowance).deserialize(yaml));
    let node = read.map_err(|error| misfit(&error, |message| Fault::Setting { message }))?;
    allowance.excess(limits).map_or(Ok(node), |fault| Err(Misfit { line: 0, column: 0, fault }))
}

/// Reads `text` as one value of a type of the caller's: configuration, not manifests.
///
/// # Errors
/// It is not valid YAML, or not of that type.
pub(crate) fn settings<T: serde::de::DeserializeOwned>(text: &str, limits: &Limits) -> Result<T, Misfit> {
    serde_saphyr::from_str_with_options(text, options(limits))
        .map_err(|error| misfit(&error, |message| Fault::Setting { message }))
}

/// The parser's own limits. It counts per document, so what grows with the number of items of a List (events, nodes,
/// bytes) is left to the limit on the document's size; what a short text can blow up is limited here.
fn options(limits: &Limits) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_documents: 1,
            // What is a little too deep costs one object ([`Allowance`]), what is much too deep the document.
            max_depth: limits.depth_max.saturating_mul(2),
            flow_nesting_limit: limits.depth_max.saturating_mul(2),
            max_aliases: limits.aliases_max,
            max_anchors: limits.aliases_max,
            max_merge_keys: limits.aliases_max,
            max_recorded_anchor_events: limits.alias_nodes_max,
            max_recorded_anchor_bytes: limits.object_bytes_max,
            // One anchor for the labels of 200 objects is nothing unusual.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits.alias_nodes_max,
        },
        // As kubectl's and the API server's strict decoding.
        duplicate_keys: DuplicateKeyPolicy::Error,
        // Fields nobody reads must not fail.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    }
}

fn misfit(error: &serde_saphyr::Error, fault: impl FnOnce(String) -> Fault) -> Misfit {
    let place = error.location().map_or((0, 0), |l| (l.line(), l.column()));
    let number = |n: u64| usize::try_from(n).unwrap_or(0);
    let error = error.without_snippet();
    let message = match error {
        // The other formatter prints the limit as a Rust value.
        serde_saphyr::Error::Budget { .. } => UserMessageFormatter.format_message(error),
        _ => DefaultMessageFormatter.format_message(error),
    };
    Misfit { line: number(place.0), column: number(place.1), fault: fault(printable(&message)) }
}

fn is_list_header(header: &Node) -> bool {
    type_name(header).is_ok_and(|name| name.is_list())
}

/// Reads a document: an object, or the items of a List.
struct Root<'a> {
    /// The document.
    text: &'a str,
    limits: &'a Limits,
    each: &'a mut dyn FnMut(Tree),
    /// Known before the document is read.
    is_list: Option<bool>,
    /// Items given to `each` so far, if it is a List.
    items_read: Option<usize>,
    /// Reading stopped at `items` since the type is written behind it.
    lacks_type: bool,
}

impl Root<'_> {
    /// What is no mapping goes on as it is, and is refused where a missing `kind` is refused too.
    fn bare<E>(&mut self, value: Value) -> Result<(), E> {
        (self.each)(Tree::new(None, Node { line: 0, column: 0, value }, None));
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Root<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with apiVersion and kind")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.bare(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.bare(Value::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.bare(Value::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<(), E> {
        self.bare(Value::Float)
    }

    fn visit_str<E: Error>(self, _value: &str) -> Result<(), E> {
        self.bare(Value::Text(Box::default()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.bare(Value::List(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let allowance = Allowance::new(self.limits, self.text);
        let mut node = Node { line: 0, column: 0, value: Value::Null };
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<Box<str>>>()? {
            let place = place_of(&key);
            if node.line == 0 {
                (node.line, node.column) = place;
            }
            if &*key.value == "items" {
                fields = self.items(place, fields, &mut entries)?;
            } else if is_object_field(&key.value) {
                let seed = NodeSeed::field(&allowance, place, &key.value);
                let field = entries.next_value_seed(seed)?;
                fields.push((key.value, field));
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        if self.items_read.is_none() {
            node.value = Value::Map(fields);
            (self.each)(Tree::new(None, node, allowance.excess(self.limits)));
        }
        Ok(())
    }
}

impl Root<'_> {
    /// Reads the value of `items`, behind `fields`, which are given back.
    fn items<'de, A: MapAccess<'de>>(
        &mut self,
        place: (usize, usize),
        fields: Vec<(Box<str>, Node)>,
        entries: &mut A,
    ) -> Result<Vec<(Box<str>, Node)>, A::Error> {
        let has = |name: &str| fields.iter().any(|(key, _)| **key == *name);
        let has_type = has("apiVersion") && has("kind");
        let header = Node { line: 0, column: 0, value: Value::Map(fields) };
        match self.is_list {
            None if !has_type => {
                self.lacks_type = true;
                return Err(A::Error::custom("the type follows the items"));
            }
            Some(false) => {
                entries.next_value::<IgnoredAny>()?;
            }
            None if !is_list_header(&header) => {
                entries.next_value::<IgnoredAny>()?;
            }
            Some(true) | None => entries.next_value_seed(Items { root: self, place })?,
        }
        match header.value {
            Value::Map(fields) => Ok(fields),
            _ => Ok(Vec::new()),
        }
    }
}

/// Reads the items of a List, one at a time.
struct Items<'r, 'a> {
    root: &'r mut Root<'a>,
    place: (usize, usize),
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list of items")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.root.items_read = Some(0);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut count = 0;
        self.root.items_read = Some(0);
        loop {
            let allowance = Allowance::new(self.root.limits, self.root.text);
            let Some(node) = items.next_element_seed(NodeSeed::object(&allowance, self.place))? else {
                return Ok(());
            };
            count += 1;
            (self.root.each)(Tree::new(Some(count), node, allowance.excess(self.root.limits)));
            self.root.items_read = Some(count);
        }
    }
}

/// Reads only `apiVersion` and `kind`.
struct Header<'a> {
    limits: &'a Limits,
}

impl<'de> Visitor<'de> for Header<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with apiVersion and kind")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let allowance = Allowance::new(self.limits, "");
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<Box<str>>>()? {
            if matches!(&*key.value, "apiVersion" | "kind") {
                let seed = NodeSeed::field(&allowance, (0, 0), &key.value);
                let field = entries.next_value_seed(seed)?;
                fields.push((key.value, field));
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Node { line: 0, column: 0, value: Value::Map(fields) })
    }
}
