//! Ready endpoints of all services, by locality. That of 200,000 workloads there are a few thousand that are told apart is
//! what keeps them small: replicas in one zone are one value and a count.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};

use crate::input::{EndpointsInput, Locality};
use crate::name::Name;

/// Where a workload is that is ready, and what it stands behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LearnedEndpoint {
    /// Its services, by `namespace/host`, each once.
    pub services: Vec<Name>,
    /// Where it is, as the control plane says.
    pub locality: Locality,
}

/// See the module. A clone costs next to nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    /// How many workloads are the same endpoint.
    alike: HashMap<Arc<LearnedEndpoint>, usize>,
    /// How many endpoints a service has in a locality, never 0.
    counts: OrdMap<(Name, Locality), usize>,
}

impl Ready {
    /// The value that is kept of equal ones.
    pub(super) fn shared(&self, endpoint: Arc<LearnedEndpoint>) -> Arc<LearnedEndpoint> {
        self.alike.get_key_value(&endpoint).map_or(endpoint, |(kept, _)| Arc::clone(kept))
    }

    /// One more workload is this.
    pub(super) fn add(&mut self, endpoint: &Arc<LearnedEndpoint>) {
        *self.alike.entry(Arc::clone(endpoint)).or_default() += 1;
        for service in &endpoint.services {
            *self.counts.entry((service.clone(), endpoint.locality.clone())).or_default() += 1;
        }
    }

    /// One workload less is this.
    pub(super) fn remove(&mut self, endpoint: &Arc<LearnedEndpoint>) {
        if let Some(count) = self.alike.get_mut(endpoint) {
            *count -= 1;
            if *count == 0 {
                self.alike.remove(endpoint);
            }
        }
        for service in &endpoint.services {
            let at = (service.clone(), endpoint.locality.clone());
            if let Some(count) = self.counts.get_mut(&at) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&at);
                }
            }
        }
    }

    /// The ready endpoints of a service.
    pub(super) fn of_service(&self, service: &Name) -> Vec<EndpointsInput> {
        self.counts_of(service).filter_map(|(locality, count)| EndpointsInput::rounded(locality, *count)).collect()
    }

    /// Whether a service has any.
    pub(super) fn has(&self, service: &Name) -> bool {
        self.counts_of(service).next().is_some()
    }

    fn counts_of<'a>(&'a self, service: &'a Name) -> impl Iterator<Item = (&'a Locality, &'a usize)> {
        let from = (service.clone(), Locality::default());
        let counts = self.counts.range(from..).take_while(move |((of, _), _)| of == service);
        counts.map(|((_, locality), count)| (locality, count))
    }

    /// True when nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.alike.is_empty() && self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests;
