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

/// Resources of one response that may be refused, and that may be removed. Those take two bytes each on the wire, and a hundred
/// here; with more of them something is wrong that no answer mends.
const REJECTED_MAX: usize = 100_000;
const REMOVED_MAX: usize = 4_000_000;

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
    /// Why nothing more of it is taken.
    exceeded: Option<&'static str>,
}

impl Coming {
    /// Nothing came yet.
    pub fn new(limits: Limits) -> Self {
        let (type_url, nonce) = Default::default();
        let (resources, rejected, removed) = (Vec::new(), Vec::new(), Vec::new());
        Self { limits, type_url, nonce, resources, rejected, removed, exceeded: None }
    }

    /// Of what there is too much in it, if there is: the rest of it is not taken.
    pub fn exceeded(&self) -> Option<&'static str> {
        self.exceeded
    }

    /// Takes some fields of the response, in their order: as a message that has no others.
    pub fn add(&mut self, part: DeltaDiscoveryResponse) {
        let kept = [(self.rejected.len(), REJECTED_MAX, "refused"), (self.removed.len(), REMOVED_MAX, "removed")];
        if let Some((_, _, what)) = kept.into_iter().find(|(count, max, _)| count > max) {
            self.exceeded = Some(what);
        }
        if self.exceeded.is_some() {
            return;
        }
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
            if newer.len() > self.limits.name_bytes {
                self.exceeded = Some("name_bytes of type or nonce");
            } else if !newer.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn part(refused: usize, removed: usize, nonce: &str) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            resources: vec![Resource::default(); refused],
            removed_resources: vec![String::new(); removed],
            nonce: nonce.to_owned(),
            ..DeltaDiscoveryResponse::default()
        }
    }

    #[test]
    fn entries_that_cost_nothing_on_the_wire_are_not_taken_without_end() {
        for (refused, removed, what) in [(1_000, 0, "refused"), (0, 50_000, "removed")] {
            let mut coming = Coming::new(Limits::default());
            for _ in 0..200 {
                coming.add(part(refused, removed, "1"));
            }
            assert_eq!(coming.exceeded(), Some(what));
            assert!(coming.rejected.len() <= REJECTED_MAX + refused && coming.removed.len() <= REMOVED_MAX + removed);
        }
    }

    #[test]
    fn what_would_be_said_back_is_short() {
        let mut coming = Coming::new(Limits::default());
        coming.add(part(1, 1, "1"));
        assert_eq!(coming.exceeded(), None);
        coming.add(part(0, 0, &"1".repeat(2_000)));
        assert!(coming.exceeded().is_some());
    }
}
