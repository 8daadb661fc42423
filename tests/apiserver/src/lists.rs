//! Lists: which version, which part, and the body, which is written while it is sent. No permissions, no faults.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::object::{Form, Object};
use crate::paths::Query;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::selectors::Selector;
use crate::store::{Compacted, Id, Key, Page, Range, Store};

/// A part of a list and what is said about it.
pub(crate) struct List {
    pub(crate) head: Vec<u8>,
    pub(crate) items: Vec<Arc<Object>>,
    pub(crate) form: Form<'static>,
    /// What whole items begin with; see [`Form::Whole`].
    pub(crate) heading: Option<String>,
}

/// Where a list goes on: as of which version, behind which key.
struct Continue {
    /// 0 for a list that is no longer consistent: as of now.
    version: u64,
    key: Key,
}

impl Continue {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::BadRequest("continue key is not valid: illegal continue token".to_owned());
        let (version, key) = text.split_once('.').ok_or_else(wrong)?;
        let (namespace, name) = key.split_once('_').ok_or_else(wrong)?;
        Ok(Self { version: version.parse().map_err(|_| wrong())?, key: Key::new(namespace, name) })
    }

    /// No name has an underscore, so it can stand between.
    fn text(version: u64, key: &Key) -> String {
        format!("{version}.{}_{}", key.namespace, key.name)
    }
}

/// Which version a list is of.
fn version(store: &Store, query: &Query) -> Result<u64, Refusal> {
    let now = store.version();
    let matching = query.get("resourceVersionMatch");
    let asked = match query.get("resourceVersion") {
        None if matching.is_some() => {
            let because = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(Refusal::BadRequest(because.to_owned()));
        }
        None => return Ok(now),
        Some(text) => text
            .parse::<u64>()
            .map_err(|_| Refusal::BadRequest(format!("Invalid value: {text:?}: resourceVersion is not a number")))?,
    };
    if asked > now {
        return Err(Refusal::TooLargeVersion { asked, current: now });
    }
    match matching {
        Some("Exact") if asked == 0 => {
            Err(Refusal::BadRequest("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"".to_owned()))
        }
        Some("Exact") => Ok(asked),
        None | Some("NotOlderThan") => Ok(now),
        Some(other) => Err(Refusal::BadRequest(format!("Unsupported value: resourceVersionMatch {other:?}"))),
    }
}

/// One page of a list.
pub(crate) fn list(
    store: &Store,
    id: Id,
    resource: &Resource,
    api_version: &str,
    namespace: Option<&str>,
    query: &Query,
    form: Form<'static>,
) -> Result<List, Refusal> {
    let selector = Selector::parse(&resource.plural, query.get("labelSelector"), query.get("fieldSelector"))?;
    let after = query.get("continue").map(Continue::parse).transpose()?;
    let (at, after) = match &after {
        Some(_) if query.get("resourceVersion").is_some_and(|version| version != "0") => {
            let because = "specifying resource version is not allowed when using continue";
            return Err(Refusal::BadRequest(because.to_owned()));
        }
        Some(Continue { version: 0, key }) => (store.version(), Some(key)),
        Some(Continue { version, key }) => (*version, Some(key)),
        None => (version(store, query)?, None),
    };
    // The real server answers version 0 from memory, all of it.
    let is_from_memory = query.get("resourceVersion") == Some("0") && query.get("resourceVersionMatch").is_none();
    let limit = query.number("limit").filter(|limit| *limit > 0 && !is_from_memory);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let range = Range { namespace, selector: &selector, at, after, limit };
    let page = store.page(id, range).map_err(|Compacted| Refusal::Expired {
        message: match after {
            Some(_) => "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results.".to_owned(),
            None => format!("The resourceVersion for the provided list is too old: {at}"),
        },
        resume: after.map(|key| Continue::text(0, key)),
    })?;
    Ok(body(page, at, &selector, resource, api_version, form))
}

fn body(page: Page, at: u64, selector: &Selector, resource: &Resource, api_version: &str, form: Form<'static>) -> List {
    let mut metadata = json!({"resourceVersion": at.to_string()});
    if let (Some(next), Some(fields)) = (&page.next, metadata.as_object_mut()) {
        fields.insert("continue".to_owned(), json!(Continue::text(at, next)));
        if selector.is_empty() {
            fields.insert("remainingItemCount".to_owned(), json!(page.remaining));
        }
    }
    let (api_version_of_list, kind) = match form {
        Form::Metadata => ("meta.k8s.io/v1", "PartialObjectMetadataList".to_owned()),
        _ => (api_version, format!("{}List", resource.kind)),
    };
    let (kind, group_version) = (Value::String(kind), Value::String(api_version_of_list.to_owned()));
    let head = format!("{{\"kind\":{kind},\"apiVersion\":{group_version},\"metadata\":{metadata},\"items\":[");
    let heading =
        (resource.is_custom && form == Form::Item).then(|| crate::object::heading(api_version, &resource.kind));
    List { head: head.into_bytes(), items: page.items, form, heading }
}

/// Bytes of one piece of a body, about.
const PIECE: usize = 64 * 1024;

impl List {
    /// The body, piece by piece: a list of 200,000 pods is never in memory twice.
    pub(crate) fn pieces(self) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
        let Self { head, items, form, heading } = self;
        let mut piece = Some(head);
        let mut items = items.into_iter().enumerate().peekable();
        std::iter::from_fn(move || {
            let mut out = piece.take()?;
            let form = heading.as_deref().map_or(form, Form::Whole);
            while out.len() < PIECE {
                let Some((index, item)) = items.next() else {
                    out.extend_from_slice(b"]}\n");
                    return Some(out);
                };
                if index > 0 {
                    out.push(b',');
                }
                item.write(form, &mut out);
            }
            piece = Some(Vec::new());
            Some(out)
        })
    }
}
