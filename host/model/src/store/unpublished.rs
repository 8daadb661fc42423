//! Why something is no row: the other side of [`Store::row`], for people who look for a decision that is not there.

use std::fmt;

use serde::Serialize;

use super::{RowKey, RowKind, Store};
use crate::endpoint_slice::EndpointSlice;
use crate::mesh::EntryVisibility;
use crate::name::{Labels, Name};
use crate::object::ObjectKey;
use crate::service_entry::ServiceEntry;

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason")]
pub enum Unpublished {
    /// The object is not there.
    NoObject,
    /// Discovery selectors hide its namespace (R145).
    HiddenNamespace,
    /// It belongs to another revision of Istio (R144).
    OtherRevision {
        /// Its own.
        revision: Name,
    },
    /// A Service of type ExternalName (R32).
    ExternalName,
    /// A cluster IP does not parse (R41, Q7).
    BadClusterIp {
        /// As written.
        written: Name,
    },
    /// The Pod has succeeded or failed (R48).
    Finished,
    /// The Pod has no IP yet (R48).
    NoAddress,
    /// A pod IP does not parse (R48).
    BadPodIp {
        /// As written.
        written: Name,
    },
    /// An address of the ServiceEntry is neither an IP nor a CIDR (R36).
    BadAddress {
        /// As written.
        written: Name,
    },
    /// Nobody sees the ServiceEntry (R35, R117).
    SeenByNobody,
    /// The ServiceEntry names no host.
    NoHosts,
    /// Others of its namespace have its hosts (R42), so its endpoints are gone too (R43).
    HostsLost {
        /// Each host, and who has it.
        to: Vec<LostHost>,
    },
    /// The object has no endpoint with this address, or for this host.
    NoSuchEndpoint,
    /// The EndpointSlice names no Service (R57).
    NoServiceNamed,
}

/// A host that another has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostHost {
    /// The host.
    pub host: Name,
    /// Who has it.
    pub to: RowKey,
}

impl Unpublished {
    /// The number of the rule; none where there simply is nothing.
    pub fn rule(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoObject | Self::NoHosts | Self::NoSuchEndpoint => return None,
            Self::HiddenNamespace => "R145",
            Self::OtherRevision { .. } => "R144",
            Self::ExternalName => "R32",
            Self::BadClusterIp { .. } => "R41",
            Self::Finished | Self::NoAddress | Self::BadPodIp { .. } => "R48",
            Self::BadAddress { .. } => "R36",
            Self::SeenByNobody => "R35",
            Self::HostsLost { .. } => "R42",
            Self::NoServiceNamed => "R57",
        })
    }
}

/// One line, without the name of the object and the number of the rule.
impl fmt::Display for Unpublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject => f.write_str("it is not there"),
            Self::HiddenNamespace => f.write_str("discovery selectors hide its namespace"),
            Self::OtherRevision { revision } => write!(f, "it belongs to the revision {revision} of Istio"),
            Self::ExternalName => f.write_str("a Service of type ExternalName is only another name for a host"),
            Self::BadClusterIp { written } => write!(f, "its cluster IP {written:?} is no address"),
            Self::Finished => f.write_str("the Pod has finished"),
            Self::NoAddress => f.write_str("the Pod has no IP yet"),
            Self::BadPodIp { written } => write!(f, "its pod IP {written:?} is no address"),
            Self::BadAddress { written } => write!(f, "its address {written:?} is neither an IP nor a CIDR"),
            Self::SeenByNobody => f.write_str("its visibility is NONE: nobody sees it"),
            Self::NoHosts => f.write_str("it names no host"),
            Self::HostsLost { to } => {
                f.write_str("others have its hosts: ")?;
                for (at, LostHost { host, to }) in to.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{to} has {host}")?;
                }
                Ok(())
            }
            Self::NoSuchEndpoint => f.write_str("it has no such endpoint"),
            Self::NoServiceNamed => f.write_str("its EndpointSlice names no Service"),
        }
    }
}

impl Store {
    /// Why a row is not there; none where it is.
    pub fn unpublished(&self, key: &RowKey) -> Option<Unpublished> {
        let ObjectKey { namespace, name, .. } = key.object();
        let why = match key.kind {
            RowKind::Pod => {
                let Some(pod) = self.pod(&namespace, &name) else { return Some(Unpublished::NoObject) };
                match &pod.bad_address {
                    _ if pod.finished => Some(Unpublished::Finished),
                    Some(written) => Some(Unpublished::BadPodIp { written: Name::clone(written) }),
                    None => pod.addresses.is_empty().then_some(Unpublished::NoAddress),
                }
            }
            RowKind::Service => {
                let Some(service) = self.service(&namespace, &name) else { return Some(Unpublished::NoObject) };
                match &service.bad_address {
                    _ if service.external_name => Some(Unpublished::ExternalName),
                    written => written.clone().map(|written| Unpublished::BadClusterIp { written }),
                }
            }
            RowKind::ServiceEntry | RowKind::ServiceEntryEndpoint => {
                let Some(entry) = self.entry(&namespace, &name) else { return Some(Unpublished::NoObject) };
                self.unpublished_entry(entry, key)
            }
            RowKind::WorkloadEntry => {
                let Some(entry) = self.workload_entry(&namespace, &name) else { return Some(Unpublished::NoObject) };
                self.other_revision(&entry.meta.labels)
            }
            RowKind::EndpointSliceEndpoint => {
                let Some(slice) = self.slice(&namespace, &name) else { return Some(Unpublished::NoObject) };
                unpublished_endpoint(slice, key)
            }
        };
        // Whatever else is wrong: what is hidden is not looked at.
        if self.is_discovered(&namespace) { why } else { Some(Unpublished::HiddenNamespace) }
    }

    fn other_revision(&self, labels: &Labels) -> Option<Unpublished> {
        let revision = labels.get(super::REVISION).filter(|_| !self.is_of_revision(labels))?;
        Some(Unpublished::OtherRevision { revision: revision.clone() })
    }

    fn unpublished_entry(&self, entry: &ServiceEntry, key: &RowKey) -> Option<Unpublished> {
        if let Some(other) = self.other_revision(&entry.meta.labels) {
            return Some(other);
        }
        if let Some(written) = &entry.bad_address {
            return Some(Unpublished::BadAddress { written: written.clone() });
        }
        if self.standing(&entry.meta.namespace).entries == EntryVisibility::None {
            return Some(Unpublished::SeenByNobody);
        }
        if self.row(key).is_some() {
            return None;
        }
        let of_one_host = key.part.as_ref().filter(|_| entry.implies_endpoints());
        if of_one_host.is_some_and(|host| !entry.hosts.contains(host)) {
            return Some(Unpublished::NoSuchEndpoint);
        }
        if self.hosts_of(entry).next().is_some() && of_one_host.is_none() {
            return Some(Unpublished::NoSuchEndpoint);
        }
        let lost = entry.hosts.iter().filter(|host| of_one_host.is_none_or(|only| only == *host));
        let to: Vec<LostHost> = lost.filter_map(|host| self.lost(entry, host)).collect();
        Some(if to.is_empty() { Unpublished::NoHosts } else { Unpublished::HostsLost { to } })
    }

    /// Who has a host that the entry claims and has not.
    fn lost(&self, entry: &ServiceEntry, host: &Name) -> Option<LostHost> {
        let to = self.service_of_host(host, &entry.meta.namespace)?;
        Some(LostHost { host: host.clone(), to })
    }
}

fn unpublished_endpoint(slice: &EndpointSlice, key: &RowKey) -> Option<Unpublished> {
    if slice.service().is_none() {
        return Some(Unpublished::NoServiceNamed);
    }
    let is_there = key.part.as_ref().is_some_and(|address| slice.addresses.contains(address));
    (!is_there).then_some(Unpublished::NoSuchEndpoint)
}

#[cfg(test)]
mod tests;
