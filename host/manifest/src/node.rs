//! One object as it was written: a small tree with positions. Not a Kubernetes shape: [`crate::shapes`] reads those from it.
//!
//! A tree per object, not serde structs, for two reasons: a field of the wrong type must not end the parse (the items
//! after it in a List would be lost), and its line must still be known when it is complained about. At most one tree
//! is alive at a time, and only `apiVersion`, `kind`, `metadata`, `spec`, `status`, `endpoints` and `ports` are in it.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::limits::Limits;
use crate::problem::Fault;

/// The fields of an object that are read at all; an EndpointSlice has no `spec`.
const OBJECT_FIELDS: [&str; 7] = ["apiVersion", "kind", "metadata", "spec", "status", "endpoints", "ports"];

/// Those of `metadata`: `managedFields` alone is often longer than all the rest.
const META_FIELDS: &[&str] = &[
    "name",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    // Pod
    "deletionTimestamp",
    "generateName",
    "ownerReferences",
];

/// Those of `spec`, of all kinds. Most of a Pod is not among them.
const SPEC_FIELDS: &[&str] = &[
    // Gateway
    "gatewayClassName",
    "listeners",
    // Service, and some of ServiceEntry
    "type",
    "clusterIP",
    "clusterIPs",
    "ports",
    "selector",
    "publishNotReadyAddresses",
    "internalTrafficPolicy",
    "trafficDistribution",
    "ipFamilies",
    // Pod
    "serviceAccountName",
    "hostNetwork",
    "nodeName",
    "containers",
    "initContainers",
    // ServiceEntry
    "hosts",
    "addresses",
    "resolution",
    "location",
    "endpoints",
    "workloadSelector",
    "subjectAltNames",
    // WorkloadEntry
    "address",
    "labels",
    "network",
    "serviceAccount",
    "locality",
    "weight",
    // AuthorizationPolicy
    "targetRefs",
    "targetRef",
    "action",
    "rules",
    // PeerAuthentication
    "mtls",
    "portLevelMtls",
];

/// Those of `status`, of all kinds.
const STATUS_FIELDS: &[&str] = &["addresses", "phase", "podIP", "podIPs", "conditions"];

/// Those of a container, of a condition, and of a reference to an owner.
const CONTAINER_FIELDS: &[&str] = &["name", "ports"];
const CONDITION_FIELDS: &[&str] = &["type", "status", "reason"];
const OWNER_FIELDS: &[&str] = &["kind", "name", "controller"];

/// A value and where it is: at its key, or at the first key inside, else where the parent is. 0 is unknown (JSON).
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    /// A number that is no integer; which one never matters.
    Float,
    Text(Box<str>),
    List(Vec<Node>),
    Map(Vec<(Box<str>, Node)>),
}

impl Value {
    /// What it is, with an article.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// What the tree of one object may still use up, and whether it wanted more.
#[derive(Debug)]
pub(crate) struct Allowance<'a> {
    /// The text of the document, if it is YAML: see [`as_spelled`].
    source: &'a str,
    nodes_left: Cell<usize>,
    /// Of texts: an alias may repeat one that was written once.
    bytes_left: Cell<usize>,
    exceeded: Cell<bool>,
    depth_max: usize,
}

impl<'a> Allowance<'a> {
    /// `source` is the text of a YAML document, empty for JSON.
    pub(crate) fn new(limits: &Limits, source: &'a str) -> Self {
        Self {
            source,
            nodes_left: Cell::new(limits.object_nodes_max),
            bytes_left: Cell::new(limits.object_bytes_max),
            exceeded: Cell::new(false),
            depth_max: limits.depth_max,
        }
    }

    /// Why the tree must not be used, if something was left out.
    pub(crate) fn excess(&self, limits: &Limits) -> Option<Fault> {
        self.exceeded.get().then_some(Fault::ObjectTooLarge {
            nodes_max: limits.object_nodes_max,
            bytes_max: limits.object_bytes_max,
            depth_max: limits.depth_max,
        })
    }

    /// Takes one node at `depth`, if it may still be had.
    fn take(&self, depth: usize) -> bool {
        let left = self.nodes_left.get();
        if left == 0 || depth > self.depth_max {
            self.exceeded.set(true);
            return false;
        }
        self.nodes_left.set(left - 1);
        true
    }

    /// A copy of `text`, if it may still be had; else an empty one.
    fn copy(&self, text: &str) -> Box<str> {
        match self.bytes_left.get().checked_sub(text.len()) {
            Some(left) => {
                self.bytes_left.set(left);
                text.into()
            }
            None => {
                self.exceeded.set(true);
                Box::default()
            }
        }
    }
}

/// One object as it was written.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Which item of a List it is, from 1.
    pub(crate) item: Option<usize>,
    pub(crate) node: Node,
    /// Something was left out, so that only the name may be used, for a message.
    pub(crate) fault: Option<Fault>,
    #[cfg(test)]
    #[expect(dead_code, reason = "counts by being there")]
    alive: alive::Alive,
}

impl Tree {
    pub(crate) fn new(item: Option<usize>, node: Node, fault: Option<Fault>) -> Self {
        Self {
            item,
            node,
            fault,
            #[cfg(test)]
            alive: alive::Alive::default(),
        }
    }
}

/// Counts the trees that are alive at once, for the test that reading a List does not pile them up.
#[cfg(test)]
pub(crate) mod alive {
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<usize> = const { Cell::new(0) };
        pub(crate) static MOST: Cell<usize> = const { Cell::new(0) };
    }

    #[derive(Debug)]
    pub(crate) struct Alive(());

    impl Default for Alive {
        fn default() -> Self {
            NOW.set(NOW.get() + 1);
            MOST.set(MOST.get().max(NOW.get()));
            Self(())
        }
    }

    impl Drop for Alive {
        fn drop(&mut self) {
            NOW.set(NOW.get() - 1);
        }
    }
}

/// Which keys of a mapping, or of the mappings in a list, are kept. The others are read over, which is cheaper, and what is
/// wrong with them is nobody's business.
#[derive(Clone, Copy, Debug)]
enum Keep {
    /// Those of an object.
    ObjectFields,
    /// Those of `metadata`.
    MetaFields,
    /// Those of `spec`.
    SpecFields,
    /// Those of `status`.
    StatusFields,
    /// These, with all that is in them.
    Only(&'static [&'static str]),
    All,
}

impl Keep {
    /// What to keep of the value behind `key`; none: nothing, not even the key.
    fn behind(self, key: &str) -> Option<Self> {
        let kept = |fields: &[&str]| fields.contains(&key);
        match self {
            Self::All => Some(Self::All),
            Self::Only(fields) => kept(fields).then_some(Self::All),
            Self::MetaFields if key == "ownerReferences" => Some(Self::Only(OWNER_FIELDS)),
            Self::MetaFields => kept(META_FIELDS).then_some(Self::All),
            Self::StatusFields if key == "conditions" => Some(Self::Only(CONDITION_FIELDS)),
            Self::StatusFields => kept(STATUS_FIELDS).then_some(Self::All),
            Self::SpecFields if matches!(key, "containers" | "initContainers") => Some(Self::Only(CONTAINER_FIELDS)),
            Self::SpecFields => kept(SPEC_FIELDS).then_some(Self::All),
            Self::ObjectFields => kept(&OBJECT_FIELDS).then_some(match key {
                "metadata" => Self::MetaFields,
                "spec" => Self::SpecFields,
                "status" => Self::StatusFields,
                _ => Self::All,
            }),
        }
    }
}

/// Builds a [`Node`] from any serde format. Values beyond the allowance are read over, so that the parse goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeSeed<'a> {
    allowance: &'a Allowance<'a>,
    depth: usize,
    place: (usize, usize),
    keep: Keep,
}

impl<'a> NodeSeed<'a> {
    /// The tree of an object.
    pub(crate) fn object(allowance: &'a Allowance<'a>, place: (usize, usize)) -> Self {
        Self { allowance, depth: 0, place, keep: Keep::ObjectFields }
    }

    /// The tree of the field `key` of an object.
    pub(crate) fn field(allowance: &'a Allowance<'a>, place: (usize, usize), key: &str) -> Self {
        Self { allowance, depth: 1, place, keep: Keep::ObjectFields.behind(key).unwrap_or(Keep::All) }
    }

    /// A tree with everything in it.
    pub(crate) fn all(allowance: &'a Allowance<'a>) -> Self {
        Self { allowance, depth: 0, place: (0, 0), keep: Keep::All }
    }

    fn inside(self, place: (usize, usize), keep: Keep) -> Self {
        Self { depth: self.depth + 1, place, keep, ..self }
    }

    fn node(self, value: Value) -> Node {
        Node { line: self.place.0, column: self.place.1, value }
    }
}

/// Whether the field of an object named `key` is read.
pub(crate) fn is_object_field(key: &str) -> bool {
    OBJECT_FIELDS.contains(&key)
}

/// The value behind `key`, if it is a word like `tRUE` or `nULL`, or a single `y` or `n`, which are text: only three
/// spellings of each whole word are not. The parser takes them all, and does not give the text any more.
fn as_spelled<'t>(source: &'t str, key: &Spanned<Box<str>>) -> Option<&'t str> {
    let span = key.referenced.span();
    let end = usize::try_from(span.byte_offset()?.checked_add(span.byte_len()?)?).ok()?;
    let value = source.get(end..)?.trim_start_matches([' ', '\t']).strip_prefix(':')?.trim_start_matches([' ', '\t']);
    let word = value.split(|c: char| !c.is_ascii_alphabetic()).next()?;
    let [first, rest @ ..] = word.as_bytes() else {
        return None;
    };
    let one_case = |f: fn(&u8) -> bool| rest.iter().all(f);
    let usual = one_case(u8::is_ascii_lowercase) || first.is_ascii_uppercase() && one_case(u8::is_ascii_uppercase);
    if matches!(word, "y" | "Y" | "n" | "N") {
        return Some(word);
    }
    let words = ["true", "false", "yes", "no", "on", "off", "null"];
    (!usual && words.iter().any(|it| it.eq_ignore_ascii_case(word))).then_some(word)
}

/// The position of a key, unknown in JSON.
pub(crate) fn place_of(key: &Spanned<Box<str>>) -> (usize, usize) {
    let number = |n: u64| usize::try_from(n).unwrap_or(0);
    (number(key.referenced.line()), number(key.referenced.column()))
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        if !self.allowance.take(self.depth) {
            deserializer.deserialize_ignored_any(IgnoredAny)?;
            return Ok(self.node(Value::Null));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(self.node(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(self.node(Value::Integer(value.into())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(self.node(Value::Integer(value.into())))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Ok(self.node(Value::Integer(value)))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Ok(self.node(i128::try_from(value).map_or(Value::Float, Value::Integer)))
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<Node, E> {
        Ok(self.node(Value::Float))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(self.node(Value::Text(self.allowance.copy(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = items.next_element_seed(self.inside(self.place, self.keep))? {
            // Whatever is over the allowance is read and dropped, the list must not grow by it.
            if !self.allowance.exceeded.get() {
                list.push(node);
            }
        }
        Ok(self.node(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        let mut is_first = true;
        while let Some(key) = entries.next_key::<Spanned<Box<str>>>()? {
            let place = place_of(&key);
            // The mapping of a field is where the field's name is; an item of a list is where its first key is.
            if std::mem::take(&mut is_first) && (self.depth == 0 || self.place == (0, 0)) && place != (0, 0) {
                self.place = place;
            }
            let Some(keep) = self.keep.behind(&key.value) else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            let mut node = entries.next_value_seed(self.inside(place, keep))?;
            if matches!(node.value, Value::Null | Value::Bool(_))
                && let Some(text) = as_spelled(self.allowance.source, &key)
            {
                node.value = Value::Text(self.allowance.copy(text));
            }
            if !self.allowance.exceeded.get() {
                map.push((key.value, node));
            }
        }
        Ok(self.node(Value::Map(map)))
    }
}
