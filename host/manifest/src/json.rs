//! JSON files in, trees of their objects out: one value or several, one behind the other. The only file that calls
//! the JSON parser.
//!
//! A file is never in memory as a whole: [`scan`] cuts it into the values it consists of, a List into its items, and only
//! the text of one object is there at a time. So a List may be as large as a file may be, each object has its position, and
//! an object that is not valid hides no other as long as its brackets and quotes are closed. Where `kind` is written
//! behind `items`, as `kubectl` does, the List is gone over twice.

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny};
use serde_json::value::RawValue;

use crate::limits::Limits;
use crate::node::{Allowance, Node, NodeSeed, Tree, Value};
use crate::problem::{Fault, Misfit, printable};
use crate::shapes::TypeName;

mod scan;

pub(crate) use scan::{Input, skip_mark};
use scan::{Kept, Mark, Scanner};

/// Line and column, from 1.
pub(crate) type Place = (usize, usize);

/// Reads the values of `input` and gives every object in them to `each`, with its position in the file and the number of
/// its value, from 1.
///
/// # Errors
/// It cannot be read, or not be cut into values any more; there is nothing behind that. With the number of the value.
pub(crate) fn read(
    input: &mut dyn Input,
    limits: &Limits,
    each: &mut dyn FnMut(usize, Tree),
) -> Result<(), (usize, Misfit)> {
    let mut scanner = Scanner::new(input).map_err(|misfit| (0, misfit))?;
    let mut number = 0;
    loop {
        let next = scanner.peek().map_err(|misfit| (number, misfit))?;
        number += usize::from(next.is_some());
        let each = &mut |tree| each(number, tree);
        match next {
            None => return Ok(()),
            Some(b'{') => object(&mut scanner, limits, each),
            Some(_) => bare(&mut scanner, limits, each),
        }
        .map_err(|misfit| (number, misfit))?;
    }
}

/// Reads a value that is no mapping: it is refused where a missing `kind` is refused too.
fn bare(scanner: &mut Scanner<'_>, limits: &Limits, each: &mut dyn FnMut(Tree)) -> Result<(), Misfit> {
    let (mark, mut kept) = (scanner.mark(), Kept::new(limits.object_text_bytes_max));
    scanner.value(Some(&mut kept))?;
    each(tree(None, &kept, mark, limits));
    Ok(())
}

/// Reads an object or a List.
fn object(scanner: &mut Scanner<'_>, limits: &Limits, each: &mut dyn FnMut(Tree)) -> Result<(), Misfit> {
    let start = scanner.mark();
    // Everything but the items.
    let mut kept = Kept::new(limits.object_text_bytes_max);
    let mut items = Items::None;
    scanner.take_byte(Some(&mut kept));
    let mut is_first = true;
    loop {
        match scanner.peek()? {
            Some(b'}') if is_first => break,
            Some(b'"') => {}
            _ => return Err(scanner.misfit("a key is missing", None)),
        }
        is_first = false;
        let key = kept.bytes.len();
        scanner.value(Some(&mut kept))?;
        let is_items = kept.bytes.get(key..).is_some_and(|key| key == b"\"items\"");
        if scanner.peek()? != Some(b':') {
            return Err(scanner.misfit("a ':' is missing", None));
        }
        scanner.take_byte(Some(&mut kept));
        let starts_list = scanner.peek()? == Some(b'[');
        if is_items && starts_list && items == Items::None {
            items = self::items(scanner, &kept, limits, each)?;
            kept.push(b"[]");
        } else {
            scanner.value(Some(&mut kept))?;
        }
        match scanner.peek()? {
            Some(b',') => scanner.take_byte(Some(&mut kept)),
            Some(b'}') => break,
            _ => return Err(scanner.misfit("a ',' or '}' is missing", None)),
        }
    }
    scanner.take_byte(Some(&mut kept));
    close(scanner, start, &kept, items, limits, each)
}

/// Goes over the value of `items`: reads it if what was `kept` so far says that it belongs to a List.
fn items(scanner: &mut Scanner<'_>, kept: &Kept, limits: &Limits, each: &mut dyn FnMut(Tree)) -> Result<Items, Misfit> {
    let mark = scanner.mark();
    // Up to here, with something in the place of the items.
    let text = [&kept.bytes, &b"[]}"[..]].concat();
    let header = Header::read(&text);
    if header.is_ok_and(|header| header.is_list()) {
        return read_items(scanner, limits, each).map(|()| Items::Read);
    }
    scanner.value(None)?;
    Ok(Items::At(mark.offset, mark.place))
}

/// Hands on an object that ends here, or the items of a List whose type was not known when they came.
fn close(
    scanner: &mut Scanner<'_>,
    start: Mark,
    kept: &Kept,
    items: Items,
    limits: &Limits,
    each: &mut dyn FnMut(Tree),
) -> Result<(), Misfit> {
    if kept.excess().is_none() {
        let header = match Header::read(&kept.bytes) {
            Ok(header) => header,
            Err(error) => {
                each(Tree::new(None, nothing(start.place), Some(syntax(&error, None))));
                return Ok(());
            }
        };
        if header.is_list() {
            match items {
                Items::Read => {}
                Items::At(offset, place) => {
                    let end = scanner.mark();
                    scanner.go_to(Mark { offset, place })?;
                    read_items(scanner, limits, each)?;
                    scanner.go_to(end)?;
                }
                Items::None => {
                    let written = header.items.map_or("null", RawValue::get);
                    if let Err(error) = serde_json::from_str::<Option<Vec<IgnoredAny>>>(written) {
                        each(Tree::new(None, nothing(start.place), Some(syntax(&error, Some(0)))));
                    }
                }
            }
            return Ok(());
        }
    }
    each(tree(None, kept, start, limits));
    Ok(())
}

/// Reads a list of objects that starts here.
fn read_items(scanner: &mut Scanner<'_>, limits: &Limits, each: &mut dyn FnMut(Tree)) -> Result<(), Misfit> {
    let mut kept = Kept::new(limits.object_text_bytes_max);
    let mut count = 0;
    scanner.take_byte(None);
    loop {
        match scanner.peek().map_err(|misfit| lost(misfit, count))? {
            Some(b']') if count == 0 => break,
            _ => {}
        }
        let mark = scanner.mark();
        kept.clear();
        scanner.value(Some(&mut kept)).map_err(|misfit| lost(misfit, count))?;
        count += 1;
        each(tree(Some(count), &kept, mark, limits));
        match scanner.peek().map_err(|misfit| lost(misfit, count))? {
            Some(b',') => {
                scanner.take_byte(None);
                scanner.peek().map_err(|misfit| lost(misfit, count))?;
            }
            Some(b']') => break,
            _ => return Err(scanner.misfit("a ',' or ']' is missing", Some(count))),
        }
    }
    scanner.take_byte(None);
    Ok(())
}

/// Adds how far a List was read.
fn lost(mut misfit: Misfit, count: usize) -> Misfit {
    if let Fault::Syntax { items_read, .. } = &mut misfit.fault {
        *items_read = Some(count);
    }
    misfit
}

/// What became of the `items` of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Items {
    /// There are none, or they are no list.
    None,
    /// They are there, and it is not known of what.
    At(u64, Place),
    /// They were read.
    Read,
}

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

impl<'a> Header<'a> {
    fn read(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    fn is_list(&self) -> bool {
        let text = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        match (text(self.api_version), text(self.kind)) {
            (Some(api_version), Some(kind)) => TypeName::new(&api_version, &kind).is_list(),
            _ => false,
        }
    }
}

fn tree(item: Option<usize>, kept: &Kept, mark: Mark, limits: &Limits) -> Tree {
    let fail = |fault| Tree::new(item, nothing(mark.place), Some(fault));
    if let Some(bytes) = kept.excess() {
        return fail(Fault::ObjectTextTooLarge { bytes, bytes_max: limits.object_text_bytes_max });
    }
    let text = match std::str::from_utf8(&kept.bytes) {
        Ok(text) => text,
        Err(error) => {
            let offset = usize::try_from(mark.offset).unwrap_or(usize::MAX).saturating_add(error.valid_up_to());
            return fail(Fault::NotUtf8 { offset });
        }
    };
    let allowance = Allowance::new(limits, "");
    let mut json = serde_json::Deserializer::from_str(text);
    match NodeSeed::object(&allowance, mark.place).deserialize(&mut json).and_then(|node| json.end().map(|()| node)) {
        Ok(node) => Tree::new(item, node, allowance.excess(limits)),
        Err(error) => fail(syntax(&error, None)),
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
