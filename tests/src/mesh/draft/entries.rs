//! Builders of what is no Kubernetes Service or Pod: ServiceEntries and their endpoints, WorkloadEntries, EndpointSlices.

use model::endpoint_slice::SERVICE_NAME;
use model::service_entry::{AddressRange, EntryEndpoint, Resolution};
use model::{EndpointSlice, Labels, Name, ServiceEntry, WorkloadEntry};

use super::{Draft, parsed, with};

impl Draft<ServiceEntry> {
    /// Claiming one more host.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.0.hosts.push(host.into());
        self
    }

    /// Created so many seconds after 1970; without it, before everything else (R42).
    #[must_use]
    pub fn created(mut self, seconds: i64) -> Self {
        self.0.created = Some(seconds);
        self
    }

    /// At one more IP, or range of them.
    #[must_use]
    pub fn address(mut self, range: &str) -> Self {
        match AddressRange::parse(range) {
            Some(range) => self.0.addresses.push(range),
            None => self.0.bad_address = Some(range.into()),
        }
        self
    }

    /// With one more address that was allocated to it, for one of its hosts or for all (R37).
    #[must_use]
    pub fn allocated(mut self, host: Option<&str>, ip: &str) -> Self {
        self.0.auto_addresses.push((host.map(Name::from), parsed(ip)));
        self
    }

    /// Resolved like this.
    #[must_use]
    pub fn resolution(mut self, resolution: Resolution) -> Self {
        self.0.resolution = resolution;
        self
    }

    /// With one more endpoint; of two with one address the first counts.
    #[must_use]
    pub fn endpoint(mut self, endpoint: EndpointDraft) -> Self {
        let mut all = std::mem::take(&mut self.0.endpoints);
        all.push(endpoint.0);
        self.0.endpoints = EntryEndpoint::sorted(all);
        self
    }

    /// Selecting workloads with this label as well (R136).
    #[must_use]
    pub fn selecting(mut self, key: &str, value: &str) -> Self {
        let selector = self.0.selector.get_or_insert_default();
        *selector = with(selector, [(key, value)]);
        self
    }

    /// With a selector that selects nothing (R138).
    #[must_use]
    pub fn selecting_nothing(mut self) -> Self {
        self.0.selector = Some(Labels::default());
        self
    }
}

/// An endpoint of a ServiceEntry in the making.
#[derive(Clone, Debug)]
pub struct EndpointDraft(EntryEndpoint);

/// An endpoint at this address: an IP, a name, or the path of a socket.
pub fn at(address: &str) -> EndpointDraft {
    EndpointDraft(EntryEndpoint::at(address))
}

impl EndpointDraft {
    /// With one more label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0.labels = with(&self.0.labels, [(key, value)]);
        self
    }

    /// Run as this service account.
    #[must_use]
    pub fn service_account(mut self, name: &str) -> Self {
        self.0.service_account = name.into();
        self
    }
}

impl Draft<WorkloadEntry> {
    /// At this address: an IP, a name, or the path of a socket.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.0.address = address.into();
        self
    }

    /// With one more label in its spec, which one of the metadata overlays (R50).
    #[must_use]
    pub fn spec_label(mut self, key: &str, value: &str) -> Self {
        self.0.spec_labels = with(&self.0.spec_labels, [(key, value)]);
        self
    }

    /// Run as this service account.
    #[must_use]
    pub fn service_account(mut self, name: &str) -> Self {
        self.0.service_account = name.into();
        self
    }
}

impl Draft<EndpointSlice> {
    /// Of this Service.
    #[must_use]
    pub fn of_service(self, name: &str) -> Self {
        self.label(SERVICE_NAME, name)
    }

    /// With endpoints that are these Pods.
    #[must_use]
    pub fn pods<T: Into<Name>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.0.pods.extend(names.into_iter().map(Into::into));
        self.0.pods.sort_unstable();
        self.0.pods.dedup();
        self
    }

    /// With one more endpoint that is no Pod.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.0.addresses.push(address.into());
        self.0.addresses.sort_unstable();
        self.0.addresses.dedup();
        self
    }
}
