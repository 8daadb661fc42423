//! Kubernetes Services, as far as waypoint selection reads them.

use crate::addresses::Addresses;

use crate::name::{Labels, Name};
use crate::object::Meta;

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Metadata.
    pub meta: Meta,
    /// `spec.type: ExternalName` (R32).
    pub external_name: bool,
    /// `spec.clusterIP: None` (R33).
    pub headless: bool,
    /// Its virtual addresses; empty for a headless Service.
    pub addresses: Addresses,
    /// A cluster IP that is no address, as written (R41, Q7).
    pub bad_address: Option<Name>,
    /// `spec.ports`.
    pub ports: Vec<Port>,
    /// `spec.selector`; empty selects nothing (R138).
    pub selector: Labels,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.internalTrafficPolicy: Local`: only endpoints on the client's node.
    pub node_local: bool,
    /// `spec.trafficDistribution`; none: not set, or a word that is not known.
    pub distribution: Option<Distribution>,
    /// `spec.ipFamilies`.
    pub families: IpFamilies,
}

/// Which endpoints are preferred while there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Those of the client's zone: `PreferSameZone`, or `PreferClose` as it was called first.
    SameZone,
    /// Those of the client's node: `PreferSameNode`.
    SameNode,
}

/// `spec.ipFamilies` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IpFamilies {
    /// Not set.
    #[default]
    Automatic,
    /// `[IPv4]`.
    V4,
    /// `[IPv6]`.
    V6,
    /// Both.
    Dual,
}

/// The annotation of a Service, a ServiceEntry or a Namespace that stands for `spec.trafficDistribution`.
pub const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// A port of a Service or ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// Its name, empty where it has none.
    pub name: Name,
    /// The number that clients dial.
    pub number: u32,
    /// `appProtocol`, else `protocol`, as written.
    pub protocol: Name,
    /// `targetPort`, a number or a name as text; none: the same number (R142).
    pub target: Option<Name>,
}

impl Service {
    /// A Service with nothing but a name.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            meta: Meta::named(namespace, name),
            external_name: false,
            headless: false,
            addresses: Addresses::default(),
            bad_address: None,
            ports: Vec::new(),
            selector: Labels::default(),
            publish_not_ready: false,
            node_local: false,
            distribution: None,
            families: IpFamilies::Automatic,
        }
    }

    /// Whether there is anything to decide: ExternalName Services are not published (R32), nor those with a cluster
    /// IP that does not parse (Q7).
    pub fn is_published(&self) -> bool {
        !self.external_name && self.bad_address.is_none()
    }

    /// The fully qualified host (R40).
    pub fn host(&self, cluster_domain: &str) -> Name {
        format!("{}.{}.svc.{cluster_domain}", self.meta.name, self.meta.namespace).into()
    }
}

impl Distribution {
    /// From how it is written in a spec, where case counts.
    pub fn of_spec(text: &str) -> Option<Self> {
        match text {
            "PreferSameZone" | "PreferClose" => Some(Self::SameZone),
            "PreferSameNode" => Some(Self::SameNode),
            _ => None,
        }
    }

    /// From the value of [`TRAFFIC_DISTRIBUTION`], where case does not count.
    pub fn of_annotation(text: &str) -> Option<Self> {
        let words = ["PreferSameZone", "PreferClose", "PreferSameNode"];
        words.into_iter().find(|word| word.eq_ignore_ascii_case(text)).and_then(Self::of_spec)
    }
}

/// The namespace and name that a host `<name>.<namespace>.svc.<domain>` stands for (R40).
pub fn service_of_host<'a>(host: &'a str, cluster_domain: &str) -> Option<(&'a str, &'a str)> {
    let rest = host.strip_suffix(cluster_domain)?.strip_suffix(".svc.")?;
    let (name, namespace) = rest.split_once('.')?;
    (!name.is_empty() && !namespace.is_empty() && !namespace.contains('.')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_leads_back_to_its_service() {
        let service = Service::named("shop", "cart");
        let host = service.host("cluster.local");
        assert_eq!(&*host, "cart.shop.svc.cluster.local");
        assert_eq!(service_of_host(&host, "cluster.local"), Some(("shop", "cart")));
        for other in
            ["cart.shop.svc.other", "cart.svc.cluster.local", "a.b.c.svc.cluster.local", ".b.svc.cluster.local"]
        {
            assert_eq!(service_of_host(other, "cluster.local"), None, "{other}");
        }
    }
}
