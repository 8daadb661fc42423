//! What a component is asked about one row, exactly: two rows with equal inputs are one question.
//!
//! An input holds contents, never indexes, and nothing that was not declared. It is kept behind [`Shared`], which
//! carries its hash, so that 200,000 rows can be told apart without reading every label again.

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

/// The class of a candidate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ClassInput {
    /// Its name.
    pub name: Name,
    /// Declared labels.
    pub labels: Pairs,
    /// Declared annotations.
    pub annotations: Pairs,
}

/// A listener of a candidate.
#[derive(Debug, PartialEq, Eq, Hash)]
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

/// A candidate Gateway.
#[derive(Debug, PartialEq, Eq, Hash)]
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
