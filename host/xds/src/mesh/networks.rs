//! Gateways to other networks (R96), as far as the objects of one cluster name them: Gateways of the class by which a cluster
//! says where another one is reached. What other clusters say of themselves is not known here.

use std::cell::OnceCell;
use std::net::IpAddr;

use model::gateway::Gateway;
use model::store::NETWORK;
use model::{Name, Store};

use super::workloads::trust_domain;
use crate::proto::workload::gateway_address::Destination;
use crate::proto::workload::{GatewayAddress, NamespacedHostname, NetworkAddress, Workload};
use crate::resource::bytes_of_ip;

/// The class of Gateways that stand for one elsewhere. The east-west gateway of this cluster is of another class, and for others.
const REMOTE_CLASS: &str = "istio-remote";
/// Types of addresses that count; others, and those without a type, are passed over.
const ADDRESS_TYPES: [&str; 2] = ["IPAddress", "Hostname"];
/// The listener that takes tunnels.
const TUNNEL: &str = "HBONE";
/// The account that it runs as, where that is not the usual one.
const ACCOUNT: &str = "gateway.istio.io/service-account";

/// One address of a Gateway to another network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkGateway {
    network: Name,
    namespace: Name,
    account: Name,
    /// An IP, or a hostname.
    address: Name,
    port: u32,
}

/// Those of a mesh, looked up when the first workload of another network asks.
pub(super) struct Networks<'a> {
    store: &'a Store,
    all: OnceCell<Vec<NetworkGateway>>,
}

impl<'a> Networks<'a> {
    pub(super) fn of(store: &'a Store) -> Self {
        Self { store, all: OnceCell::new() }
    }

    /// How a network is reached: by the first of its gateways. None: it is this cluster's, nobody's, or not known how.
    pub(super) fn gateway_to(&self, network: &str) -> Option<GatewayAddress> {
        if network.is_empty() || *network == *self.store.facts().network {
            return None;
        }
        let all = self.all.get_or_init(|| all(self.store).collect());
        all.iter().find(|gateway| *gateway.network == *network).map(NetworkGateway::reference)
    }
}

impl NetworkGateway {
    fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    fn reference(&self) -> GatewayAddress {
        let destination = match self.ip() {
            Some(ip) => {
                let (network, address) = (self.network.to_string(), bytes_of_ip(ip));
                Destination::Address(NetworkAddress { network, address, length: None })
            }
            None => {
                let (namespace, hostname) = (self.namespace.to_string(), self.address.to_string());
                Destination::Hostname(NamespacedHostname { namespace, hostname })
            }
        };
        GatewayAddress { destination: Some(destination), hbone_mtls_port: self.port }
    }

    /// What the reference leads to: ztunnel needs to know whom to expect there.
    pub(super) fn workload(&self, store: &Store) -> Workload {
        let uid = format!("NetworkGateway/{}/{}/{}", self.network, self.address, self.port);
        let ip = self.ip();
        Workload {
            name: uid.clone(),
            uid,
            namespace: self.namespace.to_string(),
            service_account: self.account.to_string(),
            network: self.network.to_string(),
            trust_domain: trust_domain(store),
            addresses: ip.map(bytes_of_ip).into_iter().collect(),
            hostname: if ip.is_none() { self.address.to_string() } else { String::new() },
            ..Workload::default()
        }
    }
}

/// All of them, in the order of the Gateways and of their addresses.
pub(super) fn all(store: &Store) -> impl Iterator<Item = NetworkGateway> {
    store.gateways().flat_map(|(_, gateway)| of_gateway(gateway))
}

/// Whether the Gateway may be one of them.
pub(super) fn is_remote(gateway: &Gateway) -> bool {
    *gateway.class == *REMOTE_CLASS
}

fn of_gateway(gateway: &Gateway) -> Vec<NetworkGateway> {
    let network = gateway.meta.labels.get(NETWORK).filter(|network| is_remote(gateway) && !network.is_empty());
    let listener = gateway.listeners.iter().find(|listener| *listener.protocol == *TUNNEL && listener.port > 0);
    let (Some(network), Some(listener)) = (network, listener) else { return Vec::new() };
    let named = gateway.meta.annotations.get(ACCOUNT).filter(|account| !account.is_empty()).cloned();
    let account = named.unwrap_or_else(|| format!("{}-{}", gateway.meta.name, gateway.class).into());
    let counts = |kind: &Option<Name>| kind.as_deref().is_some_and(|kind| ADDRESS_TYPES.contains(&kind));
    let addresses = gateway.addresses.iter().filter(|at| counts(&at.kind) && !at.value.is_empty());
    let one = |address: &Name| NetworkGateway {
        network: network.clone(),
        namespace: gateway.meta.namespace.clone(),
        account: account.clone(),
        address: address.clone(),
        port: listener.port,
    };
    addresses.map(|at| one(&at.value)).collect()
}
