//! EndpointSlices.

use model::{EndpointSlice, Name};

use super::Context;
use super::meta::{Scope, meta};
use crate::problem::Misfit;
use crate::view::View;

pub(super) fn endpoint_slice(root: &View<'_, '_>, with: &Context<'_>) -> Result<EndpointSlice, Misfit> {
    let meta = meta(root, Scope::Namespace, with)?;
    let max = with.limits.endpoints_max;
    let endpoints = root.list_field_max("endpoints", max, |view| endpoint(&view, &meta.namespace, with))?;
    let (mut pods, mut addresses) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        match endpoint {
            Endpoint::Pod(name) => pods.push(name),
            Endpoint::Addresses(of_it) => addresses.extend(of_it),
            Endpoint::Foreign => {}
        }
    }
    for list in [&mut pods, &mut addresses] {
        list.sort_unstable();
        list.dedup();
        list.shrink_to_fit();
    }
    Ok(EndpointSlice { meta, pods, addresses })
}

enum Endpoint {
    /// It refers to a Pod of the slice's namespace.
    Pod(Name),
    /// It refers to no Pod.
    Addresses(Vec<Name>),
    /// It refers to a Pod of another namespace, which is not behind the Service of this one.
    Foreign,
}

fn endpoint(view: &View<'_, '_>, namespace: &str, with: &Context<'_>) -> Result<Endpoint, Misfit> {
    if let Some(target) = view.field("targetRef")?
        && target.text_field("kind")? == Some("Pod")
    {
        let own = target.text_field("namespace")?.is_none_or(|of| of.is_empty() || of == namespace);
        let name = target.text_field("name")?.unwrap_or_default();
        return Ok(if own { Endpoint::Pod(name.into()) } else { Endpoint::Foreign });
    }
    let address = |view: View<'_, '_>| view.token(1, with).map(Name::from);
    Ok(Endpoint::Addresses(view.list_field_max("addresses", with.limits.endpoints_max, address)?))
}
