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
    let (mut pods, mut outside) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        match endpoint {
            Endpoint::Pod(name) => pods.push(name),
            Endpoint::Addresses { of_it, ready } => outside.extend(of_it.into_iter().map(|address| (address, ready))),
            Endpoint::Foreign => {}
        }
    }
    pods.sort_unstable();
    pods.dedup();
    pods.shrink_to_fit();
    // What is there twice counts as it is written first.
    outside.sort_by(|(a, _), (b, _)| a.cmp(b));
    outside.dedup_by(|(later, _), (first, _)| later == first);
    let unready = outside.iter().filter(|(_, ready)| !ready).map(|(address, _)| Name::clone(address)).collect();
    let addresses = outside.into_iter().map(|(address, _)| address).collect();
    let ports = root.list_field_max("ports", max, |view| port(&view, with))?;
    Ok(EndpointSlice { meta, pods, addresses, unready, ports: ports.into_iter().flatten().collect() })
}

/// A port that ztunnel can use: TCP, which is what a port is unless it says otherwise.
fn port(view: &View<'_, '_>, with: &Context<'_>) -> Result<Option<(Name, u32)>, Misfit> {
    let (name, number) = (view.name_field("name", with)?, view.number_field("port")?);
    let is_tcp = matches!(view.text_field("protocol")?, None | Some("" | "TCP"));
    Ok((is_tcp && number > 0).then_some((name, number)))
}

enum Endpoint {
    /// It refers to a Pod of the slice's namespace.
    Pod(Name),
    /// It refers to no Pod.
    Addresses { of_it: Vec<Name>, ready: bool },
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
    let of_it = view.list_field_max("addresses", with.limits.endpoints_max, address)?;
    // Where nothing is said it is ready.
    let ready = match view.field("conditions")? {
        Some(conditions) => conditions.field("ready")?.is_none() || conditions.is_set("ready")?,
        None => true,
    };
    Ok(Endpoint::Addresses { of_it, ready })
}
