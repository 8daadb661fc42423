//! Services, and what they share with others: ports and addresses.

use std::net::IpAddr;

use model::service::{Distribution, IpFamilies, Port};
use model::{Addresses, Name, Service};

use super::Context;
use super::meta::{Scope, meta};
use crate::problem::Misfit;
use crate::view::View;

pub(super) fn service(root: &View<'_, '_>, with: &Context<'_>) -> Result<Service, Misfit> {
    let meta = meta(root, Scope::Namespace, with)?;
    let mut service = Service { meta, ..Service::named("", "") };
    let Some(spec) = root.field("spec")? else {
        return Ok(service);
    };
    let mut written = spec.list_field("clusterIPs", |view| view.text().map(Name::from))?;
    if written.is_empty() {
        written.extend(spec.text_field("clusterIP")?.map(Name::from));
    }
    service.headless = written.iter().any(|ip| &**ip == "None");
    // "None" is a headless Service, empty one that has no address yet.
    written.retain(|ip| !matches!(&**ip, "" | "None"));
    (service.addresses, service.bad_address) = parse_addresses(&written);
    service.external_name = spec.text_field("type")? == Some("ExternalName");
    service.selector = spec.labels_field("selector", with)?;
    service.ports = spec.list_field("ports", |view| {
        let protocol = match view.text_field("appProtocol")? {
            Some(protocol) if !protocol.is_empty() => with.name(protocol),
            _ => view.name_field("protocol", with)?,
        };
        port(&view, "port", protocol, with)
    })?;
    service.publish_not_ready = spec.is_set("publishNotReadyAddresses")?;
    service.node_local = spec.text_field("internalTrafficPolicy")? == Some("Local");
    service.distribution = spec.text_field("trafficDistribution")?.and_then(Distribution::of_spec);
    let families = spec.list_field("ipFamilies", |view| view.text().map(|family| family == "IPv4"))?;
    service.families = match &*families {
        [] => IpFamilies::Automatic,
        [true] => IpFamilies::V4,
        [false] => IpFamilies::V6,
        _ => IpFamilies::Dual,
    };
    Ok(service)
}

/// A port whose number is in the field `number`.
pub(super) fn port(view: &View<'_, '_>, number: &str, protocol: Name, with: &Context<'_>) -> Result<Port, Misfit> {
    // The API server writes 0, or nothing, for "the same".
    let target = view.number_or_text_field("targetPort")?.filter(|target| !matches!(&**target, "" | "0"));
    Ok(Port {
        name: view.name_field("name", with)?,
        number: view.number_field(number)?,
        protocol,
        target: target.map(|target| with.name(&target)),
    })
}

/// The addresses that parse, and the first that does not.
pub(super) fn parse_addresses(written: &[Name]) -> (Addresses, Option<Name>) {
    let addresses = written.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).collect();
    (addresses, written.iter().find(|ip| ip.parse::<IpAddr>().is_err()).cloned())
}
