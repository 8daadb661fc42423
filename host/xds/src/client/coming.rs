//! A response while it comes, part by part: each resource is checked as soon as it is there, and what is kept of it is no more
//! than what is held in the end. A whole mesh, as it is on the wire and decoded, would be there twice besides.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::state::{Limits, Rejected, UpstreamResource};
use crate::proto::authorization::Authorization;
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};
use crate::proto::workload::Address;
use crate::resource::ResourceType;
use crate::wire::AddressFields;

/// See the module.
#[derive(Debug)]
pub struct Coming {
    limits: Limits,
    /// What the response says of itself; comes behind the resources as a rule.
    pub(super) type_url: String,
    pub(super) nonce: String,
    /// Those that can be taken up if the response is of their type, as they came.
    pub(super) resources: Vec<(ResourceType, UpstreamResource)>,
    /// Those that cannot, with their whole names.
    pub(super) rejected: Vec<(String, Rejected)>,
    pub(super) removed: Vec<String>,
}

impl Coming {
    /// Nothing came yet.
    pub fn new(limits: Limits) -> Self {
        let (type_url, nonce) = Default::default();
        Self { limits, type_url, nonce, resources: Vec::new(), rejected: Vec::new(), removed: Vec::new() }
    }

    /// Takes some fields of the response, in their order: as a message that has no others.
    pub fn add(&mut self, part: DeltaDiscoveryResponse) {
        for resource in part.resources {
            let name = resource.name.clone();
            match accepted(resource, &self.limits) {
                Ok((of, mut resource)) => {
                    // Some control planes have one version for everything.
                    let last = self.resources.last().map(|(_, last)| &last.version);
                    if let Some(last) = last.filter(|last| **last == resource.version) {
                        resource.version = Arc::clone(last);
                    }
                    self.resources.push((of, resource));
                }
                Err(rejected) => self.rejected.push((name, rejected)),
            }
        }
        self.removed.extend(part.removed_resources);
        // Where a field is there more than once the last counts.
        for (own, newer) in [(&mut self.type_url, part.type_url), (&mut self.nonce, part.nonce)] {
            if !newer.is_empty() {
                *own = newer;
            }
        }
    }
}

/// Checks a resource. What ztunnel could not read either is better refused here, where the reason can be said upstream.
fn accepted(resource: Resource, limits: &Limits) -> Result<(ResourceType, UpstreamResource), Rejected> {
    let Resource { name, version, resource, .. } = resource;
    let checked = match resource {
        _ if name.is_empty() => Err("no name".to_owned()),
        _ if name.len() > limits.name_bytes => Err(format!("a name of {} bytes [limit: name_bytes]", name.len())),
        _ if version.len() > limits.name_bytes => {
            Err(format!("a version of {} bytes [limit: name_bytes]", version.len()))
        }
        None => Err("no content".to_owned()),
        Some(content) => match ResourceType::of_url(&content.type_url) {
            Some(of) => readable(of, content.value.into()).map(|body| (of, body)),
            None => Err(OTHER_TYPE.to_owned()),
        },
    };
    match checked {
        Ok((of, body)) => Ok((of, UpstreamResource { name: name.into(), version: version.into(), body })),
        Err(why) => Err(Rejected { name: shown(&name, limits.name_bytes).into(), why: why.into() }),
    }
}

/// Why a resource is refused that is of another type than the response.
pub(super) const OTHER_TYPE: &str = "content of another type";

fn readable(of: ResourceType, body: Bytes) -> Result<Bytes, String> {
    let checked = match of {
        ResourceType::Address => Address::decode(&*body).map(drop),
        ResourceType::Authorization => Authorization::decode(&*body).map(drop),
    };
    checked.map_err(|why| format!("cannot be decoded: {why}"))?;
    if of == ResourceType::Address {
        AddressFields::of(&body).map_err(|why| why.to_string())?;
    }
    Ok(body)
}

/// The beginning of a text from outside, without control characters.
pub(super) fn shown(text: &str, bytes_max: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if shown.len() + c.len_utf8() > bytes_max {
            break;
        }
        shown.push(c);
    }
    shown
}
