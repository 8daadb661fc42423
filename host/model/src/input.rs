//! What a component is asked about one row, exactly: two rows with equal inputs are one question.
//!
//! An input holds contents, never indexes, and nothing that was not declared. It is kept behind [`Shared`], which
//! carries its hash, so that 200,000 rows can be told apart without reading every label again.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::gateway::{GatewayKey, StatusAddress};
use crate::name::Name;

/// An immutable value with its hash. Equal contents are equal, wherever they were made.
pub struct Shared<T>(Arc<Hashed<T>>);

struct Hashed<T> {
    hash: u64,
    value: T,
}

impl<T: Hash> Shared<T> {
    /// Takes the hash of `value` once.
    pub fn new(value: T) -> Self {
        // A fixed key: hashes are never exposed, and inputs come from objects that passed the API server.
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self(Arc::new(Hashed { hash: hasher.finish(), value }))
    }
}

impl<T> Shared<T> {
    /// Whether it is this very value, which takes no look at it.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether nobody else holds this very value.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.hash == other.0.hash && self.0.value == other.0.value
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.value.fmt(f)
    }
}

/// Declared labels or annotations, sorted by key.
pub type Pairs = Shared<Vec<(Name, Name)>>;

/// What kind of thing is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A Kubernetes Service.
    Service,
    /// A ServiceEntry.
    ServiceEntry,
    /// A Pod.
    Pod,
    /// A WorkloadEntry.
    WorkloadEntry,
    /// An endpoint written in a ServiceEntry (R53).
    EntryEndpoint,
    /// What a DNS ServiceEntry without endpoints stands for (R54).
    ImpliedEndpoint,
    /// An endpoint of an EndpointSlice that is no Pod (R57).
    SliceEndpoint,
}

/// Who sees a ServiceEntry (R117).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everyone; for all other kinds as well.
    Everywhere,
    /// Its own namespace only.
    OwnNamespace,
}

/// The namespace of a subject, as its row sees it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct NamespaceInput {
    /// Its name.
    pub name: Name,
    /// Whether the object exists (R22).
    pub known: bool,
    /// Declared labels.
    pub labels: Pairs,
    /// Declared annotations.
    pub annotations: Pairs,
    /// Which listener selectors of the row's own candidates match this namespace, sorted.
    pub selected_by: Vec<u32>,
}

impl NamespaceInput {
    /// A known namespace of which nothing is declared.
    pub fn named(name: &str) -> Self {
        let none = || Shared::new(Vec::new());
        Self { name: name.into(), known: true, labels: none(), annotations: none(), selected_by: Vec::new() }
    }
}

/// The class of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClassInput {
    /// Its name.
    pub name: Name,
    /// Declared labels.
    pub labels: Pairs,
    /// Declared annotations.
    pub annotations: Pairs,
}

/// A listener of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerInput {
    /// The port.
    pub port: u32,
    /// The protocol as written.
    pub protocol: Name,
    /// `allowedRoutes.namespaces.from` as written (R11).
    pub admits_from: Option<Name>,
    /// The id of the selector.
    pub selector: Option<u32>,
}

/// Region, zone and subzone; a part that is not known is empty.
pub type Locality = [Name; 3];

/// Ready endpoints of a Gateway in one locality. None are ready where nothing is said of a locality.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointsInput {
    /// Where they are.
    pub locality: Locality,
    /// How many, rounded down to a power of two and never 0: 1, 2, 4, 8. Pods come and go all the time, and most of it is
    /// no reason to ask again.
    pub ready: u32,
}

impl EndpointsInput {
    /// So many in one locality; nothing is said where there are none.
    pub fn rounded(locality: &Locality, ready: usize) -> Option<Self> {
        let ready = 1 << u32::try_from(ready).unwrap_or(u32::MAX).checked_ilog2()?;
        Some(Self { locality: locality.clone(), ready })
    }

    /// One endpoint at each of these places, by locality.
    pub fn counted(ready: impl IntoIterator<Item = Locality>) -> Vec<Self> {
        let mut counts: BTreeMap<Locality, usize> = BTreeMap::new();
        for locality in ready {
            *counts.entry(locality).or_default() += 1;
        }
        counts.iter().filter_map(|(locality, ready)| Self::rounded(locality, *ready)).collect()
    }
}

/// `region/zone/subzone` as it is written, of which later parts may be missing.
pub fn locality_of_text(written: &str) -> Locality {
    let mut parts = written.splitn(3, '/').map(Name::from);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// A candidate Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayInput {
    /// What identifies it.
    pub key: GatewayKey,
    /// Declared labels.
    pub labels: Pairs,
    /// Declared annotations.
    pub annotations: Pairs,
    /// Its class, named even where that object is missing (R4); none where it names none.
    pub class: Option<ClassInput>,
    /// Its listeners in their order.
    pub listeners: Vec<ListenerInput>,
    /// Its status addresses in their order.
    pub addresses: Vec<StatusAddress>,
    /// Where each of its addresses is dialled, in their order: for a hostname the addresses of the service that it names
    /// (R91). Not passed to the component; part of the question so that decisions follow the service.
    pub dialled_at: Vec<Vec<IpAddr>>,
    /// Its ready endpoints, if declared, by locality in their order.
    pub endpoints: Vec<EndpointsInput>,
}

/// The node, as far as declared.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeInput {
    /// Its name, none unless declared.
    pub name: Option<Name>,
    /// Region, zone, subzone; none unless declared.
    pub locality: [Option<Name>; 3],
    /// Declared labels.
    pub labels: Vec<(Name, Name)>,
}

/// One question.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// What is asked about.
    pub kind: SubjectKind,
    /// Its namespace.
    pub namespace: Shared<NamespaceInput>,
    /// The Gateways it may mean, sorted by key.
    pub candidates: Vec<Shared<GatewayInput>>,
    /// Declared labels; none where the source carries none at all.
    pub labels: Option<Pairs>,
    /// Declared annotations; none where the source carries none at all.
    pub annotations: Option<Pairs>,
    /// Who sees it.
    pub visibility: Visibility,
    /// Its service account, if declared and a workload.
    pub service_account: Option<Name>,
    /// Its name, if declared.
    pub name: Option<Name>,
    /// Its hosts, if declared.
    pub hosts: Vec<Name>,
    /// The Gateways that the control plane chose, primary first, if declared; each is a candidate. Only they hold
    /// configuration for the subject (R98). None: no control plane was asked.
    pub upstream: Option<Vec<GatewayKey>>,
}

impl Input {
    /// A question with nothing in it but what it is about: no labels, no candidates.
    pub fn about(kind: SubjectKind, namespace: NamespaceInput) -> Self {
        Self {
            kind,
            namespace: Shared::new(namespace),
            candidates: Vec::new(),
            labels: None,
            annotations: None,
            visibility: Visibility::Everywhere,
            service_account: None,
            name: None,
            hosts: Vec::new(),
            upstream: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rounded_down_to_powers_of_two() {
        let here = locality_of_text("r/a");
        let rows = [(0, None), (1, Some(1)), (2, Some(2)), (3, Some(2)), (4, Some(4)), (7, Some(4)), (1000, Some(512))];
        for (ready, expected) in rows {
            assert_eq!(EndpointsInput::rounded(&here, ready).map(|it| it.ready), expected, "{ready}");
        }
        assert_eq!(EndpointsInput::rounded(&here, usize::MAX).map(|it| it.ready), Some(1 << 31));
    }

    #[test]
    fn endpoints_are_counted_by_locality() {
        let [a, b] = ["r/a", "r/b/1"].map(locality_of_text);
        assert_eq!((&*a[2], &*b[2]), ("", "1"));
        let counted = EndpointsInput::counted([b.clone(), a.clone(), b.clone(), b.clone()]);
        let expected = [EndpointsInput { locality: a, ready: 1 }, EndpointsInput { locality: b, ready: 2 }];
        assert_eq!(counted, expected);
    }
}
