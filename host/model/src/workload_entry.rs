//! WorkloadEntries: workloads that are no Pod.

use std::net::IpAddr;

use crate::name::{Labels, Name};
use crate::object::Meta;

/// A WorkloadEntry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadEntry {
    /// Metadata; its labels are only half of what counts, see [`Self::labels`].
    pub meta: Meta,
    /// `spec.labels`.
    pub spec_labels: Labels,
    /// `spec.address` as written: an IP, a name, or the path of a socket.
    pub address: Name,
    /// `spec.network`; none: the local one (R52).
    pub network: Option<Name>,
    /// `spec.serviceAccount`, empty where it is not set.
    pub service_account: Name,
    /// `spec.ports` by name, in the order of their names.
    pub ports: Vec<(Name, u32)>,
    /// `spec.locality` as written: `region/zone/subzone`.
    pub locality: Option<Name>,
    /// `spec.weight`, 0 where it is not set.
    pub weight: u32,
}

impl WorkloadEntry {
    /// A WorkloadEntry with nothing but a name.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            meta: Meta::named(namespace, name),
            spec_labels: Labels::default(),
            address: "".into(),
            network: None,
            service_account: "".into(),
            ports: Vec::new(),
            locality: None,
            weight: 0,
        }
    }

    /// Its labels for every purpose: those of the spec, overlaid by those of the metadata (R50).
    pub fn labels(&self) -> Labels {
        if self.spec_labels.is_empty() {
            return self.meta.labels.clone();
        }
        self.spec_labels.iter().chain(self.meta.labels.iter()).cloned().collect()
    }

    /// Its address, if it is an IP.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_labels_overlay_those_of_the_spec() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
        let mut entry = WorkloadEntry::named("shop", "vm");
        entry.spec_labels = labels(&[("a", "spec"), ("b", "spec")]);
        entry.meta.labels = labels(&[("b", "meta"), ("c", "meta")]);
        assert_eq!(entry.labels(), labels(&[("a", "spec"), ("b", "meta"), ("c", "meta")]));
    }
}
