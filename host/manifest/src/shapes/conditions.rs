//! `status.conditions` of an object, as far as decisions have a say in them.

use model::conditions::{ConditionType, Said};

use crate::node::Node;
use crate::view::View;

/// Conditions of an object that are looked at; nobody has as many.
const CONDITIONS_MAX: usize = 64;

/// The conditions of our types. They decide nothing: what makes no sense is as if it were not there.
pub(crate) fn said(node: &Node) -> Vec<Said> {
    let root = View::root(node);
    let Ok(Some(status)) = root.field("status") else { return Vec::new() };
    let read = status.list_field_max("conditions", CONDITIONS_MAX, |view| {
        let text = |name| view.text_field(name).ok().flatten().unwrap_or_default();
        let kind = ConditionType::named(text("type"));
        Ok(kind.map(|kind| Said { kind, status: text("status").into(), reason: text("reason").into() }))
    });
    read.unwrap_or_default().into_iter().flatten().collect()
}
