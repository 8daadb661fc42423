//! `metadata`: what every object has.

use model::{Meta, Name};

use super::Context;
use crate::problem::{Fault, Misfit, quoted};
use crate::view::View;

#[derive(Clone, Copy)]
pub(super) enum Scope {
    Cluster,
    Namespace,
}

pub(super) fn meta(root: &View<'_, '_>, scope: Scope, with: &Context<'_>) -> Result<Meta, Misfit> {
    let (namespace, name) = names(root, scope, with)?;
    let Some(meta) = root.field("metadata")? else {
        return Err(root.misfit(Fault::Missing { path: "metadata.name" }));
    };
    Ok(Meta {
        namespace,
        name,
        labels: meta.labels_field("labels", with)?,
        annotations: meta.labels_field("annotations", with)?,
    })
}

/// Namespace and name.
pub(super) fn names(root: &View<'_, '_>, scope: Scope, with: &Context<'_>) -> Result<(Name, Name), Misfit> {
    let Some(meta) = root.field("metadata")? else {
        return Err(root.misfit(Fault::Missing { path: "metadata.name" }));
    };
    let name = match meta.text_field("name")? {
        // Most names are there only once.
        Some(text) if !text.is_empty() => checked(&meta, "metadata.name", text, with).map(Name::from)?,
        _ => return Err(meta.misfit(Fault::Missing { path: "metadata.name" })),
    };
    let namespace = match (scope, meta.text_field("namespace")?) {
        (Scope::Cluster, _) => with.name(""),
        (Scope::Namespace, None | Some("")) => with.name("default"),
        (Scope::Namespace, Some(text)) => with.name(checked(&meta, "metadata.namespace", text, with)?),
    };
    Ok((namespace, name))
}

/// The part of the API server's rules for names that all kinds share, so that `namespace/name` stays unambiguous.
fn checked<'t>(meta: &View<'_, '_>, path: &'static str, text: &'t str, with: &Context<'_>) -> Result<&'t str, Misfit> {
    let bytes_max = with.limits.name_bytes_max;
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '%');
    if text.len() > bytes_max || matches!(text, "." | "..") || text.contains(bad) {
        return Err(meta.misfit(Fault::BadName { path, value: quoted(text), bytes_max }));
    }
    Ok(text)
}
