//! ServiceEntries and WorkloadEntries.

use std::net::IpAddr;

use model::service_entry::{AddressRange, EntryEndpoint, Resolution};
use model::{Labels, Name, ServiceEntry, WorkloadEntry};

use super::Context;
use super::meta::{Scope, meta};
use super::service::port;
use crate::problem::{Fault, Misfit, quoted};
use crate::timestamp;
use crate::view::View;

/// `spec.resolution` as it is written.
pub(crate) const RESOLUTIONS: [(&str, Resolution); 5] = [
    ("NONE", Resolution::None),
    ("STATIC", Resolution::Static),
    ("DNS", Resolution::Dns),
    ("DNS_ROUND_ROBIN", Resolution::DnsRoundRobin),
    ("DYNAMIC_DNS", Resolution::DynamicDns),
];

/// `spec.location` as it is written, and whether that is inside the mesh.
pub(crate) const LOCATIONS: [(&str, bool); 2] = [("MESH_EXTERNAL", false), ("MESH_INTERNAL", true)];

pub(super) fn service_entry(root: &View<'_, '_>, with: &Context<'_>) -> Result<ServiceEntry, Misfit> {
    let meta = meta(root, Scope::Namespace, with)?;
    let mut entry = ServiceEntry { meta, created: created(root)?, ..ServiceEntry::named("", "") };
    if let Some(spec) = root.field("spec")? {
        let hosts = spec.list_field_max("hosts", with.limits.hosts_max, |view| host(&view, with))?;
        let mut seen = std::collections::HashSet::new();
        entry.hosts = hosts.into_iter().filter(|host| seen.insert(Name::clone(host))).collect();
        let written = spec.names_field("addresses", with)?;
        entry.addresses = written.iter().filter_map(|text| AddressRange::parse(text)).collect();
        entry.bad_address = written.into_iter().find(|text| AddressRange::parse(text).is_none());
        entry.ports = spec.list_field("ports", |view| {
            let protocol = view.name_field("protocol", with)?;
            port(&view, "number", protocol, with)
        })?;
        entry.resolution = spec.word_field("resolution", &RESOLUTIONS)?.unwrap_or_default();
        entry.mesh_internal = spec.word_field("location", &LOCATIONS)?.unwrap_or_default();
        let endpoints = spec.list_field_max("endpoints", with.limits.endpoints_max, |view| endpoint(&view, with))?;
        entry.endpoints = EntryEndpoint::sorted(endpoints);
        entry.selector = match spec.field("workloadSelector")? {
            Some(selector) => Some(selector.labels_field("labels", with)?),
            None => None,
        };
        entry.subject_alt_names = spec.names_field("subjectAltNames", with)?.into();
    }
    if let Some(status) = root.field("status")? {
        let allocated = status.list_field_max("addresses", with.limits.endpoints_max, |view| {
            // What the control plane wrote there and is no address helps nobody.
            let ip: Option<IpAddr> = view.text_field("value")?.and_then(|ip| ip.parse().ok());
            let host = view.text_field("host")?.filter(|host| !host.is_empty()).map(|host| with.name(host));
            Ok(ip.map(|ip| (host, ip)))
        })?;
        entry.auto_addresses = allocated.into_iter().flatten().collect();
    }
    Ok(entry)
}

/// `metadata.creationTimestamp` in seconds since 1970.
pub(super) fn created(root: &View<'_, '_>) -> Result<Option<i64>, Misfit> {
    let Some(meta) = root.field("metadata")? else {
        return Ok(None);
    };
    let Some(field) = meta.field("creationTimestamp")? else {
        return Ok(None);
    };
    let text = field.text()?;
    let seconds = timestamp::parse(text);
    match seconds {
        Some(_) => Ok(seconds),
        None => Err(field.misfit(Fault::BadTimestamp { path: "metadata.creationTimestamp", value: quoted(text) })),
    }
}

fn host(view: &View<'_, '_>, with: &Context<'_>) -> Result<Name, Misfit> {
    Ok(with.name(view.token(1, with)?))
}

fn endpoint(view: &View<'_, '_>, with: &Context<'_>) -> Result<EntryEndpoint, Misfit> {
    let address = address(view, with)?;
    let (labels, network, service_account) = located(view, with)?;
    let (ports, locality, weight) = balanced(view, with)?;
    Ok(EntryEndpoint { address, labels, network, service_account, ports, locality, weight })
}

/// `address`: an IP, a name or the path of a socket; empty where only the network is known.
fn address(view: &View<'_, '_>, with: &Context<'_>) -> Result<Name, Misfit> {
    Ok(view.field("address")?.map_or(Ok(""), |view| view.token(0, with))?.into())
}

/// `labels`, `network` and `serviceAccount`: what endpoints and WorkloadEntries have in common.
fn located(view: &View<'_, '_>, with: &Context<'_>) -> Result<(Labels, Option<Name>, Name), Misfit> {
    let network = view.text_field("network")?.filter(|network| !network.is_empty());
    Ok((
        view.labels_field("labels", with)?,
        network.map(|network| with.name(network)),
        view.name_field("serviceAccount", with)?,
    ))
}

/// `ports`, `locality` and `weight`: the same.
#[expect(clippy::type_complexity, reason = "three fields that two kinds have")]
fn balanced(view: &View<'_, '_>, with: &Context<'_>) -> Result<(Vec<(Name, u32)>, Option<Name>, u32), Misfit> {
    let mut ports = view.map_field("ports", |name, view| Ok((with.name(name), view.number()?)))?;
    ports.sort_unstable();
    let locality = view.text_field("locality")?.filter(|locality| !locality.is_empty());
    Ok((ports, locality.map(|locality| with.name(locality)), view.number_field("weight")?))
}

pub(super) fn workload_entry(root: &View<'_, '_>, with: &Context<'_>) -> Result<WorkloadEntry, Misfit> {
    let meta = meta(root, Scope::Namespace, with)?;
    let mut entry = WorkloadEntry { meta, ..WorkloadEntry::named("", "") };
    if let Some(spec) = root.field("spec")? {
        entry.address = address(&spec, with)?;
        (entry.spec_labels, entry.network, entry.service_account) = located(&spec, with)?;
        (entry.ports, entry.locality, entry.weight) = balanced(&spec, with)?;
    }
    Ok(entry)
}
