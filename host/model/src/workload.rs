//! Pods as workloads. WorkloadEntries and endpoints are in [`crate::workload_entry`] and [`crate::service_entry`].

use std::sync::{Arc, LazyLock};

use crate::addresses::Addresses;
use crate::name::Name;
use crate::object::Meta;

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// `status.phase` is Succeeded or Failed.
    pub finished: bool,
    /// `status.podIPs`, else `status.podIP`.
    pub addresses: Addresses,
    /// A pod IP that is no address, as written (R48). Boxed: there are many Pods, and hardly one has it.
    pub bad_address: Option<Box<Name>>,
    /// `spec.hostNetwork`: not looked up by address (R97).
    pub host_network: bool,
    /// It has a container `istio-proxy`: a sidecar, or a gateway's proxy (R75).
    pub has_proxy: bool,
    /// The condition `Ready`; true where the status has no conditions at all, as in manifests that people write (R48).
    pub ready: bool,
    /// `metadata.deletionTimestamp` is set: on its way out, and not ready any more (R48).
    pub terminating: bool,
    /// `spec.nodeName`; none: not scheduled.
    pub node: Option<Name>,
    /// What it has in common with the other replicas.
    pub template: Arc<PodTemplate>,
}

/// What all replicas of a workload have in common, kept once for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodTemplate {
    /// `spec.serviceAccountName`, `default` where it is not set.
    pub service_account: Name,
    /// The name of what runs it: a Deployment, a StatefulSet, a CronJob; none: it runs by itself.
    pub workload: Option<Name>,
    /// Its containers' TCP ports that have a name, in their order, each name once (R142).
    pub ports: Vec<(Name, u32)>,
}

/// Shared by all Pods of which nothing is known.
static NO_TEMPLATE: LazyLock<Arc<PodTemplate>> = LazyLock::new(Arc::default);

impl Default for PodTemplate {
    fn default() -> Self {
        Self { service_account: "default".into(), workload: None, ports: Vec::new() }
    }
}

impl PodTemplate {
    /// The number of a port by its name.
    pub fn port(&self, name: &str) -> Option<u32> {
        self.ports.iter().find(|(of, _)| **of == *name).map(|(_, number)| *number)
    }
}

impl Pod {
    /// A Pod with nothing but a name: it has no address, so it is no workload yet.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            meta: Meta::named(namespace, name),
            finished: false,
            addresses: Addresses::default(),
            bad_address: None,
            host_network: false,
            has_proxy: false,
            ready: true,
            terminating: false,
            node: None,
            template: Arc::clone(&NO_TEMPLATE),
        }
    }

    /// The service account it runs as.
    pub fn service_account(&self) -> &Name {
        &self.template.service_account
    }

    /// The name of its workload: what runs it, else its own.
    pub fn workload(&self) -> &Name {
        self.template.workload.as_ref().unwrap_or(&self.meta.name)
    }

    /// Whether it takes connections: ready, and not on its way out (R48).
    pub fn is_healthy(&self) -> bool {
        self.ready && !self.terminating
    }

    /// Whether the Pod is a workload: not finished, with addresses, all of which parse (R48).
    pub fn is_published(&self) -> bool {
        !self.finished && !self.addresses.is_empty() && self.bad_address.is_none()
    }
}
