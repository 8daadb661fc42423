//! Builders of the model's objects: what a test says is what matters to it, and the rest is as ordinary as it can be.
//! Not validation: a draft may hold what no API server would take.
#![expect(clippy::expect_used, reason = "support code of tests: an address that does not parse is a mistake in a test")]

use std::net::IpAddr;
use std::sync::Arc;

use model::gateway::{HBONE_PORT, Listener, StatusAddress};
use model::peer_authentication::MtlsMode;
use model::selector::{Requirement, Selector};
use model::{
    AuthorizationPolicy, EndpointSlice, Gateway, GatewayClass, Labels, Meta, Name, Namespace, Node, Object,
    PeerAuthentication, Pod, Service, ServiceEntry, WorkloadEntry,
};

mod entries;
pub use entries::{EndpointDraft, at};

/// An object in the making; `into()` turns it into a [`model::Object`].
#[derive(Clone, Debug)]
pub struct Draft<T>(T);

/// What a draft can be of.
pub trait Drafted: Into<Wrapped> {
    /// Its metadata.
    fn meta(&mut self) -> &mut Meta;
}

/// An object on its way into [`Object`], which is another crate's.
#[derive(Debug)]
pub struct Wrapped(Object);

macro_rules! drafted {
    ($($kind:ident)*) => {$(
        impl Drafted for $kind {
            fn meta(&mut self) -> &mut Meta {
                &mut self.meta
            }
        }

        impl From<$kind> for Wrapped {
            fn from(object: $kind) -> Self {
                Self(Object::$kind(object))
            }
        }
    )*};
}

drafted!(Namespace GatewayClass Gateway Service Pod ServiceEntry WorkloadEntry EndpointSlice);
drafted!(AuthorizationPolicy Node PeerAuthentication);

impl<T: Drafted> From<Draft<T>> for Object {
    fn from(draft: Draft<T>) -> Self {
        let Wrapped(object) = draft.0.into();
        object
    }
}

/// A Namespace without labels.
pub fn namespace(name: &str) -> Draft<Namespace> {
    Draft(Namespace { meta: Meta::named("", name) })
}

/// A PeerAuthentication that says nothing about its namespace.
pub(super) fn peer_authentication(namespace: &str, name: &str) -> Draft<PeerAuthentication> {
    Draft(PeerAuthentication::named(namespace, name))
}

/// A Node that does not say where it is.
pub(super) fn node(name: &str) -> Draft<Node> {
    Draft(Node { meta: Meta::named("", name) })
}

/// A GatewayClass without labels.
pub fn gateway_class(name: &str) -> Draft<GatewayClass> {
    Draft(GatewayClass { meta: Meta::named("", name) })
}

/// A Gateway of class `istio-waypoint` that has neither listeners nor addresses.
pub fn gateway(namespace: &str, name: &str) -> Draft<Gateway> {
    let class = "istio-waypoint".into();
    Draft(Gateway { meta: Meta::named(namespace, name), class, listeners: Vec::new(), addresses: Vec::new() })
}

/// A Gateway as most waypoints are: one tunnel listener that admits its own namespace, and a hostname beside an IP.
pub fn waypoint(namespace: &str, name: &str) -> Draft<Gateway> {
    let host = format!("{name}.{namespace}.svc.cluster.local");
    gateway(namespace, name).listeners([hbone()]).hostname(&host).address("10.255.0.1")
}

/// A Service without addresses, selector or labels.
pub fn service(namespace: &str, name: &str) -> Draft<Service> {
    Draft(Service::named(namespace, name))
}

/// A running Pod of the service account `default`, without addresses: give it one, or it is no workload (R48).
pub fn pod(namespace: &str, name: &str) -> Draft<Pod> {
    Draft(Pod::named(namespace, name))
}

/// A ServiceEntry without hosts, which is no row: give it one.
pub fn service_entry(namespace: &str, name: &str) -> Draft<ServiceEntry> {
    Draft(ServiceEntry::named(namespace, name))
}

/// A WorkloadEntry without an address.
pub fn workload_entry(namespace: &str, name: &str) -> Draft<WorkloadEntry> {
    Draft(WorkloadEntry::named(namespace, name))
}

/// An EndpointSlice of no Service, which counts for nothing: see [`Draft::of_service`].
pub fn endpoint_slice(namespace: &str, name: &str) -> Draft<EndpointSlice> {
    Draft(EndpointSlice::named(namespace, name))
}

/// An AuthorizationPolicy that allows nothing in its namespace.
pub fn authorization_policy(namespace: &str, name: &str) -> Draft<AuthorizationPolicy> {
    Draft(AuthorizationPolicy::named(namespace, name))
}

impl<T: Drafted> Draft<T> {
    /// With one more label.
    #[must_use]
    pub fn label(self, key: &str, value: &str) -> Self {
        self.labels([(key, value)])
    }

    /// With these labels as well.
    #[must_use]
    pub fn labels<K: Into<Name>, V: Into<Name>>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let labels = &mut self.0.meta().labels;
        *labels = with(labels, pairs);
        self
    }

    /// With one more annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        let annotations = &mut self.0.meta().annotations;
        *annotations = with(annotations, [(key, value)]);
        self
    }
}

fn with<K: Into<Name>, V: Into<Name>>(labels: &Labels, pairs: impl IntoIterator<Item = (K, V)>) -> Labels {
    let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into()));
    labels.iter().cloned().chain(pairs).collect()
}

impl Draft<Gateway> {
    /// Of this class.
    #[must_use]
    pub fn class(mut self, class: &str) -> Self {
        self.0.class = class.into();
        self
    }

    /// With one more listener.
    #[must_use]
    pub fn listener(mut self, draft: ListenerDraft) -> Self {
        self.0.listeners.push(draft.0);
        self
    }

    /// With these listeners and no other.
    #[must_use]
    pub fn listeners(mut self, drafts: impl IntoIterator<Item = ListenerDraft>) -> Self {
        self.0.listeners = drafts.into_iter().map(|draft| draft.0).collect();
        self
    }

    /// Reports one more IP address; any text will do.
    #[must_use]
    pub fn address(self, ip: &str) -> Self {
        self.status_address(Some("IPAddress"), ip)
    }

    /// Reports one more hostname.
    #[must_use]
    pub fn hostname(self, name: &str) -> Self {
        self.status_address(Some("Hostname"), name)
    }

    /// Reports one more address of any type.
    #[must_use]
    pub fn status_address(mut self, kind: Option<&str>, value: &str) -> Self {
        self.0.addresses.push(StatusAddress { kind: kind.map(Name::from), value: value.into() });
        self
    }

    /// Reports no address: not ready (R2).
    #[must_use]
    pub fn without_addresses(mut self) -> Self {
        self.0.addresses.clear();
        self
    }
}

impl Draft<Service> {
    /// With one more cluster IP.
    #[must_use]
    pub fn address(mut self, ip: &str) -> Self {
        self.0.addresses = self.0.addresses.iter().copied().chain([parsed(ip)]).collect();
        self
    }

    /// Of type ExternalName (R32).
    #[must_use]
    pub fn external_name(mut self) -> Self {
        self.0.external_name = true;
        self
    }

    /// Without a virtual address, and said so (R33).
    #[must_use]
    pub fn headless(mut self) -> Self {
        self.0.headless = true;
        self
    }

    /// With a cluster IP that is none (Q7).
    #[must_use]
    pub fn bad_address(mut self, text: &str) -> Self {
        self.0.bad_address = Some(text.into());
        self
    }

    /// Selecting Pods with this label as well.
    #[must_use]
    pub fn selecting(mut self, key: &str, value: &str) -> Self {
        self.0.selector = with(&self.0.selector, [(key, value)]);
        self
    }
}

impl Draft<PeerAuthentication> {
    /// Created so many seconds after 1970.
    #[must_use]
    pub fn created(mut self, at: i64) -> Self {
        self.0.created = Some(at);
        self
    }

    /// In this mode.
    #[must_use]
    pub fn mode(mut self, mode: MtlsMode) -> Self {
        self.0.mode = mode;
        self
    }

    /// Of another mode at one more port.
    #[must_use]
    pub fn port(mut self, port: u32, mode: MtlsMode) -> Self {
        self.0.ports.push((port, mode));
        self
    }

    /// About workloads with these labels; with none, of an empty selector.
    #[must_use]
    pub fn about<const N: usize>(mut self, labels: [(&str, &str); N]) -> Self {
        self.0.selector = Some(labels.into_iter().collect());
        self
    }
}

impl Draft<Pod> {
    /// With one more IP.
    #[must_use]
    pub fn address(self, ip: &str) -> Self {
        self.ip(parsed(ip))
    }

    /// The same, parsed.
    #[must_use]
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.0.addresses = self.0.addresses.iter().copied().chain([ip]).collect();
        self
    }

    /// Run as this service account.
    #[must_use]
    pub fn service_account(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.0.template).service_account = name.into();
        self
    }

    /// In phase Succeeded or Failed (R48).
    #[must_use]
    pub fn finished(mut self) -> Self {
        self.0.finished = true;
        self
    }

    /// On this node.
    #[must_use]
    pub fn on_node(mut self, name: &str) -> Self {
        self.0.node = Some(name.into());
        self
    }

    /// On the node's own network (R97).
    #[must_use]
    pub fn on_host_network(mut self) -> Self {
        self.0.host_network = true;
        self
    }
}

fn parsed(ip: &str) -> IpAddr {
    ip.parse().expect("an IP address")
}

/// A listener in the making.
#[derive(Clone, Debug)]
pub struct ListenerDraft(Listener);

/// A waypoint's tunnel listener. It says nothing of whom it admits: its own namespace (R11).
pub fn hbone() -> ListenerDraft {
    listener(HBONE_PORT.into(), "HBONE")
}

/// A listener that says nothing of whom it admits.
pub fn listener(port: u32, protocol: &str) -> ListenerDraft {
    ListenerDraft(Listener { port, protocol: protocol.into(), admits_from: None, selector: None })
}

impl ListenerDraft {
    /// `allowedRoutes.namespaces.from` is this, whatever it is.
    #[must_use]
    pub fn from(mut self, word: &str) -> Self {
        self.0.admits_from = Some(word.into());
        self
    }

    /// Admits all namespaces.
    #[must_use]
    pub fn from_all(self) -> Self {
        self.from("All")
    }

    /// Admits namespaces with these labels; with none, all that there are (R11).
    #[must_use]
    pub fn from_namespaces_with<const N: usize>(mut self, labels: [(&str, &str); N]) -> Self {
        let labels = labels.into_iter().collect();
        self.0.selector = Some(Selector { labels, requirements: Vec::new() });
        self.from("Selector")
    }

    /// Admits namespaces of which this expression holds.
    #[must_use]
    pub fn from_namespaces_where(mut self, key: &str, operator: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| Name::from(*value)).collect();
        let requirement = Requirement { key: key.into(), operator: operator.into(), values };
        self.0.selector.get_or_insert_default().requirements.push(requirement);
        self.from("Selector")
    }
}
