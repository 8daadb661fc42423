//! Resources as they are sent: encoded once, told apart by name, versioned by the hash of their bytes, and kept in
//! snapshots that share what did not change.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use model::sorted::Sorted;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::fallback::{Fallback, Instead};
use crate::proto::authorization::Authorization;
use crate::proto::workload::address::Type;
use crate::proto::workload::{Address, NetworkAddress, NetworkMode, Service, Workload};

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// Workloads and services.
    Address,
    /// Policies.
    Authorization,
}

impl ResourceType {
    /// All types, in the order in which ztunnel asks for them.
    pub const ALL: [Self; 2] = [Self::Address, Self::Authorization];

    /// The type's URL.
    pub fn url(self) -> &'static str {
        match self {
            Self::Address => "type.googleapis.com/istio.workload.Address",
            Self::Authorization => "type.googleapis.com/istio.security.Authorization",
        }
    }

    /// The type with this URL.
    pub fn of_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.url() == url)
    }
}

/// A resource's version: the first 16 bytes of the SHA-256 of its bytes, in hexadecimal. Equal bytes have equal versions,
/// on every node and after every restart, so that a client that comes back is sent only what is different.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version([u8; 16]);

/// Digits of a [`Version`].
pub const VERSION_DIGITS: usize = 32;

impl Version {
    /// The version of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut version = [0; 16];
        let hash = Sha256::digest(bytes);
        version.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(version)
    }

    /// How it is written.
    pub fn digits(self) -> [u8; VERSION_DIGITS] {
        let mut digits = [0; VERSION_DIGITS];
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (to, nibble) in digits.iter_mut().zip(nibbles) {
            *to = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
        digits
    }

    /// Whether this is how the version is written.
    pub fn is(self, text: &str) -> bool {
        text.as_bytes() == self.digits()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits().iter().try_for_each(|digit| f.write_char(char::from(*digit)))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What decided the waypoint of a resource. Not part of its bytes, and so not of its version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The rules, 0 where no rules had a say.
    pub rules: u64,
    /// The revision of the mesh at which its decision last moved.
    pub revision: u64,
}

/// Another way to ask for an Address: an IP on a network (`network/IP` on the wire).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkIp {
    /// The network, empty for the default one.
    pub network: Arc<str>,
    /// The address.
    pub ip: IpAddr,
}

impl NetworkIp {
    /// From how it is written: `network/IP`.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, ip) = text.rsplit_once('/')?;
        Some(Self { network: network.into(), ip: ip.parse().ok()? })
    }
}

impl fmt::Display for NetworkIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.ip)
    }
}

/// Where else than under its name a client may look for a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// At an address.
    Ip(NetworkIp),
    /// Behind a service, by its name.
    Service(Arc<str>),
}

impl Key {
    /// Stands for the key where there are as many as resources: small, and nearly as good.
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

/// A resource, ready to be sent.
#[derive(Clone, Debug)]
pub struct Resource {
    name: Arc<str>,
    version: Version,
    body: Bytes,
    keys: Box<[Key]>,
    stamp: Stamp,
}

impl Resource {
    /// `body` is the encoded [`Address`] or [`Authorization`]; `name` is the key inside it, for ztunnel removes by name
    /// what it stored by key. `keys`: where else clients may look for it.
    pub fn new(name: impl Into<Arc<str>>, body: Bytes, keys: impl IntoIterator<Item = Key>, stamp: Stamp) -> Self {
        Self { name: name.into(), version: Version::of(&body), body, keys: keys.into_iter().collect(), stamp }
    }

    /// A workload, named by its uid.
    pub fn workload(workload: Workload, stamp: Stamp) -> Self {
        let (name, keys) = (workload.uid.clone(), keys_of_workload(&workload));
        Self::new(name, Address { r#type: Some(Type::Workload(workload)) }.encode_to_vec().into(), keys, stamp)
    }

    /// A service, named `namespace/hostname`.
    pub fn service(service: Service, stamp: Stamp) -> Self {
        let (name, keys) = (format!("{}/{}", service.namespace, service.hostname), keys_of_service(&service));
        Self::new(name, Address { r#type: Some(Type::Service(service)) }.encode_to_vec().into(), keys, stamp)
    }

    /// A policy, named `namespace/name`.
    pub fn authorization(policy: &Authorization) -> Self {
        let name = format!("{}/{}", policy.namespace, policy.name);
        Self::new(name, policy.encode_to_vec().into(), [], Stamp::default())
    }

    /// Its name: a workload's uid, else `namespace/hostname` or `namespace/name`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The version of its bytes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The encoded message.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Where else it is looked for.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// What decided it.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }
}

/// Equal for a client: the stamp is not sent.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.name == other.name
    }
}

impl Eq for Resource {}

/// All resources of one type. A clone costs next to nothing and shares everything with the original.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    by_name: ByName,
    /// By [`Key::hash`]: two keys may have one, so that whether a resource has the key has to be looked at.
    by_key: Sorted<((u64, Arc<str>), ())>,
    /// The network of the address that came last, which is that of most.
    network: Arc<str>,
}

/// Resources in the order of their names.
pub type ByName = OrdMap<Arc<str>, Arc<Resource>>;

impl Resources {
    /// Puts a resource in the place of the one with its name. False when a client would see no difference; its stamp is
    /// renewed all the same.
    pub fn put(&mut self, mut resource: Resource) -> bool {
        self.share_keys(&mut resource);
        let resource = Arc::new(resource);
        let old = self.by_name.insert(resource.name.clone(), Arc::clone(&resource));
        if old.as_ref() == Some(&resource) {
            return false;
        }
        if old.as_ref().is_none_or(|old| old.keys != resource.keys) {
            self.forget_keys(old.as_deref());
            for key in &resource.keys {
                self.by_key.insert(((key.hash(), resource.name.clone()), ()));
            }
        }
        true
    }

    /// Takes a resource out; false when it was not there.
    pub fn remove(&mut self, name: &str) -> bool {
        let old = self.by_name.remove(name);
        self.forget_keys(old.as_deref());
        old.is_some()
    }

    /// The resource with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.by_name.get(name)
    }

    /// The names of the resources at an address or behind a service.
    pub fn at(&self, key: &Key) -> impl Iterator<Item = &Arc<str>> {
        let hash = key.hash();
        let of_hash = self.by_key.range_from(&(hash, "".into())).take_while(move |((at, _), ())| *at == hash);
        let names = of_hash.map(|((_, name), ())| name);
        names.filter(move |name| self.by_name.get(*name).is_some_and(|it| it.keys.contains(key)))
    }

    /// All resources in the order of their names.
    pub fn by_name(&self) -> &ByName {
        &self.by_name
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn forget_keys(&mut self, old: Option<&Resource>) {
        let Some(old) = old else { return };
        for key in &old.keys {
            self.by_key.remove(&(key.hash(), old.name.clone()));
        }
    }

    /// Takes names in its keys from where they are already: thousands stand behind one service, and nearly all are on one
    /// network.
    fn share_keys(&mut self, resource: &mut Resource) {
        if let Some(old) = self.by_name.get(&resource.name).filter(|old| old.keys == resource.keys) {
            resource.keys.clone_from(&old.keys);
            return;
        }
        for key in &mut resource.keys {
            let of_other = match &*key {
                Key::Ip(at) if at.network == self.network => {
                    Some(Key::Ip(NetworkIp { network: Arc::clone(&self.network), ip: at.ip }))
                }
                Key::Ip(at) => {
                    self.network = Arc::clone(&at.network);
                    None
                }
                Key::Service(service) => {
                    let other = self.at(key).next().and_then(|name| self.by_name.get(name));
                    let behind = other.and_then(|it| it.keys.iter().find(|it| *it == key)).cloned();
                    behind.or_else(|| Some(Key::Service(Arc::clone(self.by_name.get(service)?.name()))))
                }
            };
            if let Some(of_other) = of_other {
                *key = of_other;
            }
        }
    }
}

/// Everything that clients may ask for, at one time. A clone costs next to nothing.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Workloads and services.
    pub addresses: Resources,
    /// Policies.
    pub authorizations: Resources,
    /// The rules that decided it; 0: none yet, and nobody is answered.
    pub rules: u64,
    /// The revision of the mesh.
    pub revision: u64,
    /// What an Address gives way to that a client rejects.
    pub instead: Instead,
    /// Addresses that have given way, by name: `addresses` has what is told in their place.
    pub fallbacks: OrdMap<Arc<str>, Arc<Fallback>>,
}

impl Snapshot {
    /// The resources of a type.
    pub fn of(&self, of: ResourceType) -> &Resources {
        match of {
            ResourceType::Address => &self.addresses,
            ResourceType::Authorization => &self.authorizations,
        }
    }
}

/// Where a workload is looked for: behind its services, and at its addresses unless it is not found by them (R97).
pub fn keys_of_workload(workload: &Workload) -> Vec<Key> {
    let mut keys: Vec<Key> = workload.services.keys().map(|service| Key::Service(service.as_str().into())).collect();
    if workload.network_mode() != NetworkMode::HostNetwork {
        let network: Arc<str> = workload.network.as_str().into();
        let ips = workload.addresses.iter().filter_map(|bytes| ip_of_bytes(bytes));
        keys.extend(ips.map(|ip| Key::Ip(NetworkIp { network: Arc::clone(&network), ip })));
    }
    keys
}

/// Where a service is looked for: at its single virtual addresses; ranges are not asked for.
pub fn keys_of_service(service: &Service) -> Vec<Key> {
    let is_single = |it: &&NetworkAddress| it.length.is_none_or(|bits| bits as usize == it.address.len() * 8);
    let at = |it: &NetworkAddress| {
        Some(Key::Ip(NetworkIp { network: it.network.as_str().into(), ip: ip_of_bytes(&it.address)? }))
    };
    service.addresses.iter().filter(is_single).filter_map(at).collect()
}

/// An address as it is on the wire: 4 or 16 bytes.
pub fn ip_of_bytes(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// The other way.
pub fn bytes_of_ip(ip: IpAddr) -> Bytes {
    match ip {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(uid: &str, ip: [u8; 4]) -> Workload {
        Workload { uid: uid.into(), addresses: vec![bytes_of_ip(ip.into())], ..Workload::default() }
    }

    fn ip(ip: [u8; 4]) -> NetworkIp {
        NetworkIp { network: "".into(), ip: ip.into() }
    }

    fn at(it: [u8; 4]) -> Key {
        Key::Ip(ip(it))
    }

    #[test]
    fn a_version_is_recognised_as_it_is_written() {
        let version = Version::of(b"bytes");
        let written = version.to_string();
        assert!(version.is(&written));
        assert!(!version.is(&written[1..]));
        assert!(!version.is(&written.to_uppercase()), "in one way only");
        assert!(!Version::of(b"others").is(&written));
        assert!(!version.is(""));
    }

    #[test]
    fn a_workload_is_found_where_it_is_and_nowhere_else() {
        let mut resources = Resources::default();
        assert!(resources.put(Resource::workload(workload("a", [10, 0, 0, 1]), Stamp::default())));
        assert!(!resources.put(Resource::workload(workload("a", [10, 0, 0, 1]), Stamp { rules: 2, revision: 9 })));
        assert_eq!(resources.get("a").unwrap().stamp().rules, 2, "what decided it is renewed");
        assert!(resources.put(Resource::workload(workload("b", [10, 0, 0, 1]), Stamp::default())));
        assert_eq!(resources.at(&at([10, 0, 0, 1])).count(), 2, "several may share an address (R143)");
        assert!(resources.put(Resource::workload(workload("a", [10, 0, 0, 2]), Stamp::default())));
        assert_eq!(resources.at(&at([10, 0, 0, 1])).map(|name| &**name).collect::<Vec<_>>(), ["b"]);
        assert!(resources.remove("a") && !resources.remove("a"));
        assert_eq!(resources.at(&at([10, 0, 0, 2])).count(), 0);
        assert_eq!(resources.len(), 1);
    }

    #[test]
    fn who_stands_behind_one_service_on_one_network_has_their_names_once() {
        let mut resources = Resources::default();
        for uid in ["a", "b", "c"] {
            let services = [("ns/host".to_owned(), Default::default())].into();
            let pod = Workload { network: "n".into(), services, ..workload(uid, [10, 0, 0, 1]) };
            resources.put(Resource::workload(pod, Stamp::default()));
        }
        let names = |uid: &str| {
            let name = |key: &Key| match key {
                Key::Ip(at) => at.network.as_ptr(),
                Key::Service(service) => service.as_ptr(),
            };
            resources.get(uid).unwrap().keys().iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!((names("a").len(), names("b"), names("c")), (2, names("a"), names("a")));
        assert_eq!(resources.at(&Key::Service("ns/host".into())).count(), 3);
        assert_eq!(resources.at(&Key::Service("ns/other".into())).count(), 0);
    }

    #[test]
    fn an_address_is_written_with_its_network() {
        assert_eq!(NetworkIp::parse("/10.0.0.1"), Some(ip([10, 0, 0, 1])));
        assert_eq!(NetworkIp::parse("a/::1").unwrap().to_string(), "a/::1");
        for name in ["10.0.0.1", "shop/cart.shop.svc.cluster.local", "a//Pod/shop/cart", ""] {
            assert_eq!(NetworkIp::parse(name), None, "{name}");
        }
    }
}
