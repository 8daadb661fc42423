//! The objects of a test's mesh before the plugin's description is applied to them. No rule is evaluated here.

use std::collections::BTreeMap;

use crate::{HBONE_PORT, Locality, StatusAddress, SubjectKind, Visibility};

pub(super) type Keys = BTreeMap<String, String>;

fn keys(pairs: &[(&str, &str)]) -> Keys {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[derive(Debug, Clone)]
pub(super) struct NamespaceDraft {
    pub(super) name: String,
    pub(super) known: bool,
    pub(super) labels: Keys,
    pub(super) annotations: Keys,
}

impl NamespaceDraft {
    pub(super) fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        Self { name: name.to_owned(), known: true, labels: keys(labels), annotations: Keys::new() }
    }

    pub(super) fn missing(name: &str) -> Self {
        Self { known: false, ..Self::new(name, &[]) }
    }
}

/// Whom a listener admits (`allowedRoutes.namespaces`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admits {
    /// Nothing is written.
    Unsaid,
    /// `from` as written, without a selector.
    From(String),
    /// `from: Selector`, and the selector matches the labels of these namespaces.
    Selected(Vec<String>),
}

impl Admits {
    #[must_use]
    pub fn from(from: &str) -> Self {
        Self::From(from.to_owned())
    }

    #[must_use]
    pub fn selected(namespaces: &[&str]) -> Self {
        Self::Selected(namespaces.iter().map(|name| (*name).to_owned()).collect())
    }
}

#[derive(Debug, Clone)]
pub(super) struct ListenerDraft {
    pub(super) port: u32,
    pub(super) app_protocol: String,
    pub(super) admits: Admits,
}

#[derive(Debug, Clone, Default)]
pub(super) struct ClassDraft {
    pub(super) name: String,
    pub(super) labels: Keys,
    pub(super) annotations: Keys,
}

/// A Gateway; see [`gateway`] and [`waypoint`].
#[derive(Debug, Clone)]
pub struct GatewayDraft {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) labels: Keys,
    pub(super) annotations: Keys,
    pub(super) class: Option<ClassDraft>,
    pub(super) listeners: Vec<ListenerDraft>,
    pub(super) addresses: Vec<StatusAddress>,
    pub(super) endpoints: Vec<(Locality, u32)>,
}

/// A Gateway without class, listeners and addresses.
#[must_use]
pub fn gateway(namespace: &str, name: &str) -> GatewayDraft {
    GatewayDraft {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: Keys::new(),
        annotations: Keys::new(),
        class: None,
        listeners: Vec::new(),
        addresses: Vec::new(),
        endpoints: Vec::new(),
    }
}

/// A Gateway as Istio writes one for a waypoint: class `istio-waypoint`, an HBONE listener, its Service's hostname.
#[must_use]
pub fn waypoint(namespace: &str, name: &str) -> GatewayDraft {
    gateway(namespace, name)
        .class("istio-waypoint", &[])
        .listener(HBONE_PORT, "HBONE", Admits::Unsaid)
        .hostname(&format!("{name}.{namespace}.svc.cluster.local"))
}

impl GatewayDraft {
    /// How many endpoints are ready, and where.
    #[must_use]
    pub fn endpoints(mut self, endpoints: &[(Locality, u32)]) -> Self {
        self.endpoints = endpoints.to_vec();
        self
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn class(mut self, name: &str, labels: &[(&str, &str)]) -> Self {
        self.class = Some(ClassDraft { name: name.to_owned(), labels: keys(labels), annotations: Keys::new() });
        self
    }

    /// An annotation of the class, which must have been said before.
    #[must_use]
    pub fn class_annotation(mut self, key: &str, value: &str) -> Self {
        self.class.get_or_insert_default().annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn listener(mut self, port: u32, app_protocol: &str, admits: Admits) -> Self {
        self.listeners.push(ListenerDraft { port, app_protocol: app_protocol.to_owned(), admits });
        self
    }

    /// The same Gateway with no listener but this one.
    #[must_use]
    pub fn only_listener(mut self, port: u32, app_protocol: &str, admits: Admits) -> Self {
        self.listeners.clear();
        self.listener(port, app_protocol, admits)
    }

    #[must_use]
    pub fn hostname(self, value: &str) -> Self {
        self.address(Some("Hostname"), value)
    }

    #[must_use]
    pub fn ip(self, value: &str) -> Self {
        self.address(Some("IPAddress"), value)
    }

    /// One more entry of `status.addresses`.
    #[must_use]
    pub fn address(mut self, kind: Option<&str>, value: &str) -> Self {
        self.addresses.push(StatusAddress { kind: kind.map(str::to_owned), value: value.to_owned() });
        self
    }

    /// The same Gateway before it has reported any address.
    #[must_use]
    pub fn without_addresses(mut self) -> Self {
        self.addresses.clear();
        self
    }
}

/// What a decision is asked for; see [`service`], [`pod`] and the rest.
#[derive(Debug, Clone)]
pub struct SubjectDraft {
    pub(super) kind: SubjectKind,
    pub(super) namespace: String,
    pub(super) labels: Option<Keys>,
    pub(super) annotations: Option<Keys>,
    pub(super) visibility: Visibility,
    pub(super) service_account: Option<String>,
    pub(super) name: Option<String>,
    pub(super) hosts: Vec<String>,
    /// Names of Gateways, primary first.
    pub(super) upstream: Option<Vec<String>>,
}

fn subject(kind: SubjectKind, namespace: &str) -> SubjectDraft {
    SubjectDraft {
        kind,
        namespace: namespace.to_owned(),
        labels: Some(Keys::new()),
        annotations: Some(Keys::new()),
        visibility: Visibility::Everywhere,
        service_account: None,
        name: None,
        hosts: Vec::new(),
        upstream: None,
    }
}

#[must_use]
pub fn service(namespace: &str) -> SubjectDraft {
    subject(SubjectKind::Service, namespace)
}

#[must_use]
pub fn service_entry(namespace: &str) -> SubjectDraft {
    subject(SubjectKind::ServiceEntry, namespace)
}

#[must_use]
pub fn pod(namespace: &str) -> SubjectDraft {
    subject(SubjectKind::Pod, namespace)
}

#[must_use]
pub fn workload_entry(namespace: &str) -> SubjectDraft {
    subject(SubjectKind::WorkloadEntry, namespace)
}

#[must_use]
pub fn entry_endpoint(namespace: &str) -> SubjectDraft {
    subject(SubjectKind::EntryEndpoint, namespace)
}

#[must_use]
pub fn implied_endpoint(namespace: &str) -> SubjectDraft {
    subject(SubjectKind::ImpliedEndpoint, namespace)
}

#[must_use]
pub fn slice_endpoint(namespace: &str) -> SubjectDraft {
    subject(SubjectKind::SliceEndpoint, namespace)
}

impl SubjectDraft {
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
        self
    }

    /// From a source that carries neither labels nor annotations: they are unknown, not empty.
    #[must_use]
    pub fn labels_unknown(mut self) -> Self {
        self.labels = None;
        self.annotations = None;
        self
    }

    /// A ServiceEntry that only its own namespace sees (R117).
    #[must_use]
    pub fn visible_in_own_namespace(mut self) -> Self {
        self.visibility = Visibility::OwnNamespace;
        self
    }

    #[must_use]
    pub fn service_account(mut self, name: &str) -> Self {
        self.service_account = Some(name.to_owned());
        self
    }

    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.hosts.push(host.to_owned());
        self
    }
}
