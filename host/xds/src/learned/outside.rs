//! Waypoints that were chosen and that the control plane has not told of: what stands for them is made here as it is in a
//! mesh of our own ([`crate::mesh`]), and taken back when nobody is sent there, or the control plane tells of them.
//!
//! Only where rules may choose what the control plane did not program: else whatever they choose is the control plane's.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::decision::{Decision, Target, WaypointAddress};
use model::learned::LearnedWaypoint;

use crate::mesh::outside::{Reference, Uses};
use crate::resource::Key;

/// Who refers to what. A clone costs next to nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct References {
    by_resource: OrdMap<Arc<str>, Arc<[Reference]>>,
    used: OrdMap<Reference, OrdMap<Arc<str>, Target>>,
    /// Those for which something stands in.
    outside: OrdSet<Reference>,
}

impl References {
    /// True when nobody refers to anything, and nothing stands in.
    pub(super) fn is_empty(&self) -> bool {
        self.used.is_empty() && self.outside.is_empty()
    }

    /// A resource is decided like this now; none: it is not, or is gone. What it referred to and refers to is concerned.
    pub(super) fn refer(&mut self, name: &Arc<str>, decision: Option<&Decision>, concerned: &mut BTreeSet<Reference>) {
        for reference in self.by_resource.remove(name).iter().flat_map(|it| it.iter()) {
            if let Some(resources) = self.used.get_mut(reference) {
                resources.remove(name);
                if resources.is_empty() {
                    self.used.remove(reference);
                }
            }
            concerned.insert(reference.clone());
        }
        let targets = decision.map(Decision::targets).unwrap_or_default();
        let referred = targets.iter().filter_map(|target| Some((Reference::of(target)?, target)));
        let referred: Vec<(Reference, &Target)> = referred.collect();
        for (reference, target) in &referred {
            self.used.entry(reference.clone()).or_default().insert(Arc::clone(name), (*target).clone());
            concerned.insert(reference.clone());
        }
        if !referred.is_empty() {
            self.by_resource.insert(Arc::clone(name), referred.into_iter().map(|(reference, _)| reference).collect());
        }
    }

    /// A resource of this name, which is looked for there, came, changed or went: who refers to it is concerned.
    pub(super) fn changed(&self, name: &str, keys: &[Key], concerned: &mut BTreeSet<Reference>) {
        let host = name.split_once('/').map(|(namespace, host)| Reference::Host(namespace.into(), host.into()));
        let ips =
            keys.iter().filter_map(|key| if let Key::Ip(at) = key { Some(Reference::Ip(at.clone())) } else { None });
        concerned
            .extend(host.into_iter().chain(ips).filter(|it| self.used.contains_key(it) || self.outside.contains(it)));
    }

    /// All that is referred to, and all that something stands in for.
    pub(super) fn all(&self) -> BTreeSet<Reference> {
        self.used.keys().chain(&self.outside).cloned().collect()
    }

    /// The resources that refer to it.
    pub(super) fn of(&self, reference: &Reference) -> Vec<Arc<str>> {
        self.used.get(reference).into_iter().flat_map(|it| it.keys().cloned()).collect()
    }

    /// Who is meant by it, and where that can be dialled.
    pub(super) fn uses(&self, reference: &Reference) -> Uses {
        let mut uses = Uses::default();
        for target in self.used.get(reference).into_iter().flat_map(|it| it.values()) {
            uses.add(target);
        }
        uses
    }

    /// Notes whether something stands in for it; whether it did before.
    pub(super) fn set_outside(&mut self, reference: &Reference, is_outside: bool) -> bool {
        if is_outside {
            self.outside.insert(reference.clone()).is_some()
        } else {
            self.outside.remove(reference).is_some()
        }
    }
}

/// A waypoint as a control plane gives it.
pub(super) fn given(reference: &Reference) -> LearnedWaypoint {
    match reference {
        Reference::Host(namespace, host) => LearnedWaypoint::Host { namespace: namespace.clone(), host: host.clone() },
        Reference::Ip(at) => LearnedWaypoint::Ip { network: at.network.clone(), ip: at.ip },
    }
}

/// The same of the address that a decision names.
pub(super) fn given_at(target: &Target) -> Option<LearnedWaypoint> {
    Some(match target.address.as_ref()? {
        WaypointAddress::Hostname(host) => {
            LearnedWaypoint::Host { namespace: target.gateway.namespace.clone(), host: host.clone() }
        }
        WaypointAddress::Ip { network, ip } => LearnedWaypoint::Ip { network: network.clone(), ip: *ip },
    })
}
