//! What is said to a control plane, as a pure value: the requests of a new stream, the answer to each response, and what
//! became different. What it holds it shares with whoever is told of it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::sorted::{Entry, Sorted};

use super::coming::{Coming, OTHER_TYPE, shown};
use super::node::NodeIdentity;
use crate::proto::discovery::{DeltaDiscoveryRequest, Node, Status};
use crate::resource::ResourceType;

/// Bytes of a NACK's reason; istiod only logs it.
const REASON_BYTES_MAX: usize = 4096;

/// Bounds of what is taken in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a resource's name, and of a version.
    pub name_bytes: usize,
    /// Resources of one type.
    pub resources: usize,
    /// Bytes of all resources of one type together.
    pub bytes: usize,
    /// Bytes of names and versions in the first request of a stream. Servers of gRPC refuse requests above 4 MiB unless told
    /// otherwise, which takes about 40,000 workloads; above this the mesh is asked for anew, without versions.
    pub versions_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { name_bytes: 1024, resources: 1_000_000, bytes: 512 << 20, versions_bytes: 3 << 20 }
    }
}

/// A resource as the control plane sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamResource {
    /// Its name.
    pub name: Arc<str>,
    /// The control plane's own version of it, empty where it has none.
    pub version: Arc<str>,
    /// The encoded message.
    pub body: Bytes,
}

/// By its name.
impl Entry for UpstreamResource {
    type Key = Arc<str>;

    fn key(&self) -> Arc<str> {
        self.name.clone()
    }

    fn order(&self, name: &Arc<str>) -> Ordering {
        self.name.cmp(name)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

/// What a response made different. Of a name that occurs several times in it the last occurrence counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Of which type.
    pub of: ResourceType,
    /// New and changed ones, in the order of their names.
    pub changed: Vec<UpstreamResource>,
    /// Names of what is gone and was there, in their order.
    pub removed: Vec<Arc<str>>,
    /// What could not be taken up; what was held under these names stays.
    pub rejected: Vec<Rejected>,
    /// All that is held of the type, with what is told here.
    pub held: Sorted<UpstreamResource>,
}

/// A resource that could not be taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its name, shortened where it is too long.
    pub name: Arc<str>,
    /// What is wrong with it.
    pub why: Arc<str>,
}

/// The client's side of delta ADS.
#[derive(Debug)]
pub struct State {
    node: Node,
    limits: Limits,
    addresses: OfType,
    authorizations: OfType,
    /// The server did not take the versions, or did not answer.
    without_versions: bool,
}

/// What is held of one type.
#[derive(Debug, Default)]
struct OfType {
    held: Sorted<UpstreamResource>,
    bytes: usize,
    /// Held since before this stream, on which the server was not told of them: nobody will say that they are gone.
    unconfirmed: BTreeSet<Arc<str>>,
    answered: bool,
}

impl State {
    /// Nothing is held.
    pub fn new(identity: &NodeIdentity, limits: Limits) -> Self {
        Self {
            node: identity.node(),
            limits,
            addresses: OfType::default(),
            authorizations: OfType::default(),
            without_versions: false,
        }
    }

    /// Takes up what was persisted.
    pub fn restore<'a>(&mut self, of: ResourceType, resources: impl IntoIterator<Item = &'a UpstreamResource>) {
        let of_type = self.of_mut(of);
        for resource in resources {
            of_type.put(resource.clone());
        }
    }

    /// A stream was opened: what to ask first. Both types are asked for whole, in the order in which a ztunnel asks.
    pub fn open(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let (node, limit, without) = (self.node.clone(), self.limits.versions_bytes, self.without_versions);
        let mut requests = Vec::new();
        for of in ResourceType::ALL {
            let of_type = self.of_mut(of);
            of_type.answered = false;
            let versions = if without || of_type.versions_bytes() > limit { None } else { Some(of_type.versions()) };
            of_type.unconfirmed = match &versions {
                Some(_) => BTreeSet::new(),
                None => of_type.held.iter().map(|held| held.name.clone()).collect(),
            };
            requests.push(DeltaDiscoveryRequest {
                node: Some(node.clone()),
                type_url: of.url().to_owned(),
                initial_resource_versions: versions.unwrap_or_default(),
                ..DeltaDiscoveryRequest::default()
            });
        }
        requests
    }

    /// A response of which nothing came yet.
    pub fn coming(&self) -> Coming {
        Coming::new(self.limits)
    }

    /// Takes up a response. The answer to it, and what it made different: none where that is nothing and it is not the first of
    /// its type on this stream, which says that what is held is fresh.
    pub fn take_up(&mut self, response: Coming) -> (DeltaDiscoveryRequest, Option<Update>) {
        let Coming { type_url, nonce, resources, rejected, removed, .. } = response;
        let of = ResourceType::of_url(&type_url);
        let ack = DeltaDiscoveryRequest { type_url, response_nonce: nonce, ..DeltaDiscoveryRequest::default() };
        let Some(of) = of else {
            let message = "a type that was not asked for".to_owned();
            // INVALID_ARGUMENT.
            return (DeltaDiscoveryRequest { error_detail: Some(Status { code: 3, message }), ..ack }, None);
        };
        let limits = self.limits;
        let of_type = self.of_mut(of);
        let is_first = !std::mem::replace(&mut of_type.answered, true);
        let removed = of_type.remove_all(removed);
        for (name, _) in &rejected {
            of_type.unconfirmed.remove(name.as_str());
        }
        let rejected = rejected.into_iter().map(|(_, rejected)| rejected).collect();
        let mut update = Update { of, changed: Vec::new(), removed, rejected, held: Sorted::default() };
        for (its, resource) in resources {
            of_type.unconfirmed.remove(&resource.name);
            match of_type.fits(its == of, resource, &limits) {
                Ok(resource) => {
                    update.changed.extend(of_type.put(resource));
                }
                Err(rejected) => update.rejected.push(rejected),
            }
        }
        update.removed.retain(|name| of_type.held.get(name).is_none());
        sort(&mut update.changed);
        update.held = of_type.held.clone();
        let error_detail =
            (!update.rejected.is_empty()).then(|| Status { code: 3, message: reasons(&update.rejected) });
        let is_nothing = update.changed.is_empty() && update.removed.is_empty() && update.rejected.is_empty();
        (DeltaDiscoveryRequest { error_detail, ..ack }, (is_first || !is_nothing).then_some(update))
    }

    /// Whether something is held of which nobody will say whether it is still there.
    pub fn is_unsettled(&self) -> bool {
        ResourceType::ALL.into_iter().any(|of| self.of(of).answered && !self.of(of).unconfirmed.is_empty())
    }

    /// The server has said all that there is: what it did not name is gone.
    pub fn settle(&mut self) -> Vec<Update> {
        let mut updates = Vec::new();
        for of in ResourceType::ALL {
            let of_type = self.of_mut(of);
            if of_type.answered {
                let gone = std::mem::take(&mut of_type.unconfirmed);
                let removed = of_type.remove_all(gone);
                if !removed.is_empty() {
                    let held = of_type.held.clone();
                    updates.push(Update { of, changed: Vec::new(), removed, rejected: Vec::new(), held });
                }
            }
        }
        updates
    }

    /// Whether every type was answered on this stream.
    pub fn is_answered(&self) -> bool {
        ResourceType::ALL.into_iter().all(|of| self.of(of).answered)
    }

    /// The stream is gone. `for_versions`: because the server did not take the versions of what is held, or did not answer;
    /// it is asked without them until it has. True when anything was answered on the stream.
    pub fn close(&mut self, for_versions: bool) -> bool {
        let was_answered = ResourceType::ALL.into_iter().any(|of| self.of(of).answered);
        self.without_versions = for_versions || self.without_versions && !was_answered;
        for of in ResourceType::ALL {
            self.of_mut(of).answered = false;
        }
        was_answered
    }

    /// How many resources of a type are held.
    pub fn len(&self, of: ResourceType) -> usize {
        self.of(of).held.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        ResourceType::ALL.into_iter().all(|of| self.len(of) == 0)
    }

    fn of(&self, of: ResourceType) -> &OfType {
        match of {
            ResourceType::Address => &self.addresses,
            ResourceType::Authorization => &self.authorizations,
        }
    }

    fn of_mut(&mut self, of: ResourceType) -> &mut OfType {
        match of {
            ResourceType::Address => &mut self.addresses,
            ResourceType::Authorization => &mut self.authorizations,
        }
    }
}

impl OfType {
    /// The resource as it is held now, when a reader would see a difference. The version is taken over either way.
    fn put(&mut self, mut resource: UpstreamResource) -> Option<UpstreamResource> {
        let old = self.held.get(&resource.name);
        let is_same = old.is_some_and(|old| old.body == resource.body);
        if let Some(old) = old {
            resource.name = old.name.clone();
            if is_same {
                // Others hold these very bytes.
                resource.body = old.body.clone();
            }
            if old.version == resource.version {
                resource.version = old.version.clone();
            }
        }
        self.bytes = self.bytes + resource.body.len() - old.map_or(0, |old| old.body.len());
        let changed = (!is_same).then(|| resource.clone());
        self.held.insert(resource);
        changed
    }

    /// The names of those that were there, in their order.
    fn remove_all(&mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Arc<str>> {
        let mut removed = BTreeSet::new();
        for name in names {
            self.unconfirmed.remove(name.as_ref());
            if let Some(held) = self.held.remove(&Arc::from(name.as_ref())) {
                self.bytes -= held.body.len();
                removed.insert(held.name);
            }
        }
        removed.into_iter().collect()
    }

    fn fits(
        &self,
        is_of_type: bool,
        resource: UpstreamResource,
        limits: &Limits,
    ) -> Result<UpstreamResource, Rejected> {
        let old = self.held.get(&resource.name);
        let bytes = self.bytes + resource.body.len() - old.map_or(0, |old| old.body.len());
        let why = if !is_of_type {
            OTHER_TYPE.to_owned()
        } else if old.is_none() && self.held.len() >= limits.resources {
            format!("more than {} resources of a type [limit: resources]", limits.resources)
        } else if bytes > limits.bytes {
            format!("more than {} bytes of a type [limit: bytes]", limits.bytes)
        } else {
            return Ok(resource);
        };
        Err(Rejected { name: shown(&resource.name, limits.name_bytes).into(), why: why.into() })
    }

    /// Bytes that names and versions take in a request, about.
    fn versions_bytes(&self) -> usize {
        // Two keys and lengths of the pair, those of the entry, some of them two bytes long.
        self.held.iter().map(|held| held.name.len() + held.version.len() + 10).sum()
    }

    fn versions(&self) -> BTreeMap<String, String> {
        self.held.iter().map(|held| (held.name.as_ref().to_owned(), held.version.as_ref().to_owned())).collect()
    }
}

/// By name, of a name the last.
fn sort(changed: &mut Vec<UpstreamResource>) {
    changed.reverse();
    changed.sort_by(|a, b| a.name.cmp(&b.name));
    changed.dedup_by(|later, first| later.name == first.name);
    changed.shrink_to_fit();
}

/// As ztunnel words it: `name: reason; name: reason`.
fn reasons(rejected: &[Rejected]) -> String {
    let mut text = String::new();
    for (at, Rejected { name, why }) in rejected.iter().enumerate() {
        if text.len() + name.len() + why.len() > REASON_BYTES_MAX {
            text.push_str(&format!("and {} more", rejected.len() - at));
            break;
        }
        let separator = if at == 0 { "" } else { "; " };
        text.push_str(&format!("{separator}{}: {why}", shown(name, REASON_BYTES_MAX)));
    }
    text
}

#[cfg(test)]
mod tests;
