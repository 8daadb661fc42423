//! Gateways, and the label selectors that they and others have.

use model::gateway::{Gateway, Listener, StatusAddress};
use model::selector::{Requirement, Selector};

use super::Context;
use super::meta::{Scope, meta};
use crate::problem::Misfit;
use crate::view::View;

pub(super) fn gateway(root: &View<'_, '_>, with: &Context<'_>) -> Result<Gateway, Misfit> {
    let meta = meta(root, Scope::Namespace, with)?;
    let (mut class, mut listeners, mut addresses) = (with.name(""), Vec::new(), Vec::new());
    if let Some(spec) = root.field("spec")? {
        class = spec.name_field("gatewayClassName", with)?;
        listeners = spec.list_field("listeners", |view| listener(&view, with))?;
    }
    if let Some(status) = root.field("status")? {
        addresses = status.list_field("addresses", |view| {
            let kind = view.text_field("type")?.map(|kind| with.name(kind));
            Ok(StatusAddress { kind, value: view.text_field("value")?.unwrap_or_default().into() })
        })?;
    }
    Ok(Gateway { meta, class, listeners, addresses })
}

fn listener(view: &View<'_, '_>, with: &Context<'_>) -> Result<Listener, Misfit> {
    let (mut admits_from, mut selector) = (None, None);
    if let Some(routes) = view.field("allowedRoutes")?
        && let Some(namespaces) = routes.field("namespaces")?
    {
        admits_from = namespaces.text_field("from")?.map(|from| with.name(from));
        selector = namespaces.field("selector")?.map(|view| self::selector(&view, with)).transpose()?;
    }
    Ok(Listener {
        port: view.number_field("port")?,
        protocol: view.name_field("protocol", with)?,
        admits_from,
        selector,
    })
}

/// A label selector with `matchLabels` and `matchExpressions`.
pub(crate) fn selector(view: &View<'_, '_>, with: &Context<'_>) -> Result<Selector, Misfit> {
    let requirements = view.list_field("matchExpressions", |view| {
        Ok(Requirement {
            key: view.name_field("key", with)?,
            operator: view.name_field("operator", with)?,
            values: view.names_field("values", with)?,
        })
    })?;
    Ok(Selector { labels: view.labels_field("matchLabels", with)?, requirements })
}
