//! What the workloads of one namespace are joined with: its services, by selector and by slice (R135-R141), and the policies
//! that they may list (R116). Made once for many workloads; for a single one it costs a look at each service.

use std::collections::HashMap;

use model::table::{RowKey, RowKind};
use model::{EndpointSlice, Labels, Name, Service, ServiceEntry, Store};

use super::peers::Peers;
use super::policies;

/// From so many services on they are looked up by a label. Below, looking at all of them is as fast.
const INDEXED_MIN: usize = 8;

/// See the module.
pub(super) struct Neighbours<'a> {
    members: Vec<Member<'a>>,
    /// One pair of each selector, the rarest -> its services.
    by_pair: Option<HashMap<(&'a str, &'a str), Vec<usize>>>,
    /// Slices of Services without a selector (R140).
    slices: Vec<(Member<'a>, &'a EndpointSlice)>,
    policies: Vec<Selecting<'a>>,
    peers: Peers<'a>,
}

/// A service that selects, or whose slices do.
#[derive(Clone, Copy)]
pub(super) enum Member<'a> {
    /// A Service.
    Service(&'a Service),
    /// A ServiceEntry.
    Entry(&'a ServiceEntry),
}

/// A policy that workloads list.
pub(super) struct Selecting<'a> {
    /// `namespace/name`.
    pub name: String,
    selector: &'a Labels,
}

impl<'a> Neighbours<'a> {
    /// Those of a namespace. `many`: they are asked for often enough to be looked up by label.
    pub(super) fn of(store: &'a Store, namespace: &Name, many: bool) -> Self {
        let services: Vec<&Service> = store.services_in(namespace).collect();
        let without: Vec<&Service> = services.iter().copied().filter(|service| service.selector.is_empty()).collect();
        let selecting = services.into_iter().filter(|service| !service.selector.is_empty()).map(Member::Service);
        let members: Vec<Member<'a>> = selecting.chain(store.entries_in(namespace).map(Member::Entry)).collect();
        let members: Vec<Member<'a>> = members.into_iter().filter(|member| member.selector().is_some()).collect();
        let by_pair = (many && members.len() >= INDEXED_MIN).then(|| index(&members));
        let mut slices = Vec::new();
        if !without.is_empty() {
            for slice in store.slices_in(namespace) {
                let service = without.iter().find(|service| slice.service() == Some(&service.meta.name));
                slices.extend(service.map(|service| (Member::Service(service), slice)));
            }
        }
        let root = &store.facts().mesh.root_namespace;
        let mut policies = selecting_in(store, namespace);
        if root != namespace {
            policies.extend(selecting_in(store, root));
        }
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        Self { members, by_pair, slices, policies, peers: Peers::of(store, namespace) }
    }

    /// The services that select these labels, in no order.
    pub(super) fn selecting(&self, labels: &Labels) -> Vec<Member<'a>> {
        let selects = |member: &&Member<'a>| member.selector().is_some_and(|selector| selector.is_subset_of(labels));
        let Some(by_pair) = &self.by_pair else {
            return self.members.iter().filter(selects).copied().collect();
        };
        let places = labels.iter().filter_map(|(key, value)| by_pair.get(&(&**key, &**value))).flatten();
        places.filter_map(|place| self.members.get(*place)).filter(selects).copied().collect()
    }

    /// The Services whose slices name the Pod (R140).
    pub(super) fn naming(&self, pod: &Name) -> impl Iterator<Item = Member<'a>> {
        self.slices.iter().filter(|(_, slice)| slice.pods.binary_search(pod).is_ok()).map(|(member, _)| *member)
    }

    /// The names of the policies that a workload with these labels lists: in their order, and after them the one that is made
    /// of a PeerAuthentication.
    pub(super) fn policies(&self, labels: &Labels) -> Vec<String> {
        let selecting = self.policies.iter().filter(|policy| policy.selector.is_subset_of(labels));
        selecting.map(|policy| policy.name.clone()).chain(self.peers.policy(labels)).collect()
    }
}

impl<'a> Member<'a> {
    /// None where nothing is selected (R138).
    fn selector(self) -> Option<&'a Labels> {
        let selector = match self {
            Self::Service(service) => Some(&service.selector),
            Self::Entry(entry) => entry.selector.as_ref(),
        };
        selector.filter(|selector| !selector.is_empty())
    }
}

/// By the pair of each selector that fewest others have: many may say the same `part-of`.
fn index<'a>(members: &[Member<'a>]) -> HashMap<(&'a str, &'a str), Vec<usize>> {
    let pairs = |member: &Member<'a>| {
        let pairs = member.selector().into_iter().flat_map(Labels::iter);
        pairs.map(|(key, value)| (&**key, &**value))
    };
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    members.iter().flat_map(pairs).for_each(|pair| *counts.entry(pair).or_default() += 1);
    let mut by_pair: HashMap<_, Vec<usize>> = HashMap::new();
    for (place, member) in members.iter().enumerate() {
        if let Some(pair) = pairs(member).min_by_key(|pair| counts.get(pair)) {
            by_pair.entry(pair).or_default().push(place);
        }
    }
    by_pair
}

fn selecting_in<'a>(store: &'a Store, namespace: &Name) -> Vec<Selecting<'a>> {
    let selecting = store.policies_in(namespace).filter_map(|policy| {
        let name = format!("{}/{}", policy.meta.namespace, policy.meta.name);
        policies::selector(policy).map(|selector| Selecting { name, selector })
    });
    selecting.collect()
}

/// The workloads in `namespace` that list a policy with this selector.
pub(super) fn selected(store: &Store, namespace: &Name, selector: &Labels, rows: &mut impl Extend<RowKey>) {
    let row = |kind, name: &Name, part: Option<&Name>| RowKey {
        kind,
        namespace: namespace.clone(),
        name: name.clone(),
        part: part.cloned(),
    };
    let pods = store.pods_in(namespace).filter(|pod| selector.is_subset_of(&pod.meta.labels));
    rows.extend(pods.map(|pod| row(RowKind::Pod, &pod.meta.name, None)));
    let entries = store.workload_entries_in(namespace).filter(|entry| selector.is_subset_of(&entry.labels()));
    rows.extend(entries.map(|entry| row(RowKind::WorkloadEntry, &entry.meta.name, None)));
    // Endpoints go by the labels of their entry (R55).
    for entry in store.entries_in(namespace).filter(|entry| selector.is_subset_of(&entry.meta.labels)) {
        let implied = entry.hosts.iter().filter(|_| entry.implies_endpoints());
        let parts = entry.endpoints.iter().map(|endpoint| &endpoint.address).chain(implied);
        rows.extend(parts.map(|part| row(RowKind::ServiceEntryEndpoint, &entry.meta.name, Some(part))));
    }
}
