//! ServiceEntries: hosts that are no Kubernetes Service, and the endpoints written in them. Which of several entries for
//! one host counts is [`crate::hosts`]' business.

use std::net::IpAddr;
use std::sync::Arc;

use crate::name::{Labels, Name};
use crate::object::Meta;
use crate::service::Port;

/// A ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceEntry {
    /// Metadata.
    pub meta: Meta,
    /// `metadata.creationTimestamp` in seconds since 1970; none, where it is not written, is older than any (R42).
    pub created: Option<i64>,
    /// `spec.hosts` in their order, each once.
    pub hosts: Vec<Name>,
    /// `spec.addresses` (R37).
    pub addresses: Vec<AddressRange>,
    /// An entry of `spec.addresses` that is neither an IP nor a CIDR, as written (R36).
    pub bad_address: Option<Name>,
    /// `status.addresses`: allocated ones, with the host each is for; none: for all (R37).
    pub auto_addresses: Vec<(Option<Name>, IpAddr)>,
    /// `spec.ports`.
    pub ports: Vec<Port>,
    /// `spec.resolution`.
    pub resolution: Resolution,
    /// `spec.location: MESH_INTERNAL`.
    pub mesh_internal: bool,
    /// `spec.endpoints`, sorted by address, each address once: see [`EntryEndpoint::sorted`].
    pub endpoints: Vec<EntryEndpoint>,
    /// `spec.workloadSelector.labels`; none: no selector, empty: one that selects nothing (R138).
    pub selector: Option<Labels>,
    /// `spec.subjectAltNames`: identities that may answer for its hosts. Rare, and so not in here itself.
    pub subject_alt_names: Arc<Vec<Name>>,
}

/// `spec.resolution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Connections go where the client wanted (R38).
    #[default]
    None,
    /// To the endpoints.
    Static,
    /// To what the host resolves to.
    Dns,
    /// The same, one address after the other.
    DnsRoundRobin,
    /// To what the name that the client asked for resolves to (R39).
    DynamicDns,
}

/// An IP, or all addresses with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    /// The address as written, with the bits behind the prefix.
    pub ip: IpAddr,
    /// Bits that count: 32 or 128 for a single address.
    pub prefix: u8,
}

/// An endpoint written in a ServiceEntry. As a workload it is told apart by its own labels (R53).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryEndpoint {
    /// `address` as written: an IP, a name, or the path of a socket.
    pub address: Name,
    /// `labels`.
    pub labels: Labels,
    /// `network`; none: the local one. It is not passed on to the endpoints after it (Q9).
    pub network: Option<Name>,
    /// `serviceAccount`, empty where it is not set.
    pub service_account: Name,
    /// `ports` by name, in the order of their names (R142).
    pub ports: Vec<(Name, u32)>,
    /// `locality` as written: `region/zone/subzone`.
    pub locality: Option<Name>,
    /// `weight`, 0 where it is not set.
    pub weight: u32,
}

impl ServiceEntry {
    /// A ServiceEntry with nothing but a name.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            meta: Meta::named(namespace, name),
            created: None,
            hosts: Vec::new(),
            addresses: Vec::new(),
            bad_address: None,
            auto_addresses: Vec::new(),
            ports: Vec::new(),
            resolution: Resolution::None,
            mesh_internal: false,
            endpoints: Vec::new(),
            selector: None,
            subject_alt_names: Arc::default(),
        }
    }

    /// Whether it can be published, whoever sees it: all of its addresses parse (R36).
    pub fn is_valid(&self) -> bool {
        self.bad_address.is_none()
    }

    /// Whether each of its hosts stands for an endpoint of its own: resolved by DNS, and neither endpoints nor a selector
    /// (R54).
    pub fn implies_endpoints(&self) -> bool {
        let by_name = matches!(self.resolution, Resolution::Dns | Resolution::DnsRoundRobin | Resolution::DynamicDns);
        by_name && self.endpoints.is_empty() && self.selector.is_none()
    }

    /// The endpoint with this address.
    pub fn endpoint(&self, address: &str) -> Option<&EntryEndpoint> {
        self.endpoints.binary_search_by(|it| (*it.address).cmp(address)).ok().and_then(|at| self.endpoints.get(at))
    }

    /// Where the mesh looks for a host of it (R37): its own addresses; else those allocated to the host, unless it is
    /// not resolved at all, or is a wildcard that is not resolved dynamically.
    pub fn addresses_of(&self, host: &str) -> Vec<AddressRange> {
        if !self.addresses.is_empty() {
            return self.addresses.clone();
        }
        let wildcard = host.starts_with('*');
        if self.resolution == Resolution::None || wildcard && self.resolution != Resolution::DynamicDns {
            return Vec::new();
        }
        let of_host = |(named, _): &&(Option<Name>, IpAddr)| named.as_deref().is_none_or(|named| named == host);
        self.auto_addresses.iter().filter(of_host).map(|(_, ip)| AddressRange::single(*ip)).collect()
    }
}

impl EntryEndpoint {
    /// An endpoint with nothing but an address.
    pub fn at(address: &str) -> Self {
        Self {
            address: address.into(),
            labels: Labels::default(),
            network: None,
            service_account: "".into(),
            ports: Vec::new(),
            locality: None,
            weight: 0,
        }
    }

    /// Endpoints in the order that a [`ServiceEntry`] holds them in; of two with one address the first counts.
    pub fn sorted(mut endpoints: Vec<Self>) -> Vec<Self> {
        endpoints.sort_by(|a, b| a.address.cmp(&b.address));
        endpoints.dedup_by(|later, first| later.address == first.address);
        endpoints
    }
}

impl AddressRange {
    /// A single address.
    pub fn single(ip: IpAddr) -> Self {
        Self { ip, prefix: if ip.is_ipv4() { 32 } else { 128 } }
    }

    /// An IP, or `IP/PREFIX`.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((ip, prefix)) = text.split_once('/') else {
            return text.parse().ok().map(Self::single);
        };
        let (ip, prefix): (IpAddr, u8) = (ip.parse().ok()?, prefix.parse().ok()?);
        (prefix <= Self::single(ip).prefix).then_some(Self { ip, prefix })
    }

    /// The address, if it is only one.
    pub fn as_single(self) -> Option<IpAddr> {
        (self.prefix == Self::single(self.ip).prefix).then_some(self.ip)
    }

    /// Whether `ip` is one of these addresses.
    pub fn contains(self, ip: IpAddr) -> bool {
        let same = |own: u128, other: u128, bits: u32| {
            let ignored = bits.saturating_sub(u32::from(self.prefix));
            // Shifting all bits out gives none for both: every address matches.
            own.checked_shr(ignored) == other.checked_shr(ignored)
        };
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => same(u32::from(own).into(), u32::from(ip).into(), 32),
            (IpAddr::V6(own), IpAddr::V6(ip)) => same(own.into(), ip.into(), 128),
            _ => false,
        }
    }
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.as_single() {
            Some(ip) => write!(f, "{ip}"),
            None => write!(f, "{}/{}", self.ip, self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_shares_its_prefix() {
        let rows = [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.0.0/16", "10.1.255.1", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("::/0", "2001:db8::1", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ];
        for (range, ip, expected) in rows {
            let range = AddressRange::parse(range).unwrap();
            assert_eq!(range.contains(ip.parse().unwrap()), expected, "{ip} in {range}");
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "a/8"] {
            assert_eq!(AddressRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn allocated_addresses_count_where_none_is_written() {
        let mut entry = ServiceEntry::named("shop", "api");
        entry.auto_addresses = vec![(Some("a.example".into()), [240, 0, 0, 1].into()), (None, [240, 0, 0, 2].into())];
        assert!(entry.addresses_of("a.example").is_empty(), "not resolved at all");
        entry.resolution = Resolution::Static;
        assert_eq!(entry.addresses_of("a.example").len(), 2);
        assert_eq!(entry.addresses_of("b.example").len(), 1);
        assert!(entry.addresses_of("*.example").is_empty(), "a wildcard needs to be resolved dynamically");
        entry.resolution = Resolution::DynamicDns;
        assert_eq!(entry.addresses_of("*.example").len(), 1);
        entry.addresses = vec![AddressRange::single([10, 0, 0, 1].into())];
        assert_eq!(entry.addresses_of("a.example"), entry.addresses, "the user's own come first");
    }

    #[test]
    fn of_two_endpoints_with_one_address_the_first_counts() {
        let labelled = |value: &str| EntryEndpoint { network: Some(value.into()), ..EntryEndpoint::at("10.0.0.1") };
        let sorted = EntryEndpoint::sorted(vec![EntryEndpoint::at("b"), labelled("first"), labelled("second")]);
        let entry = ServiceEntry { endpoints: sorted, ..ServiceEntry::named("shop", "api") };
        assert_eq!(entry.endpoints.len(), 2);
        assert_eq!(entry.endpoint("10.0.0.1").unwrap().network.as_deref(), Some("first"));
        assert_eq!(entry.endpoint("c"), None);
    }
}
