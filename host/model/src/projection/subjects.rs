//! What each kind of row is, and which of its object's fields count as its own. One place for the differences between
//! the kinds; what is passed of it is not decided here.

use std::borrow::Cow;
use std::sync::Arc;

use crate::addresses::Addresses;
use crate::input::SubjectKind;
use crate::name::{Labels, Name};
use crate::store::{RowObject, Store};
use crate::table::Subject;

static NOTHING: std::sync::LazyLock<Labels> = std::sync::LazyLock::new(Labels::default);

pub(super) fn kind_of(object: &RowObject<'_>) -> SubjectKind {
    match object {
        RowObject::Pod(_) => SubjectKind::Pod,
        RowObject::Service(_) => SubjectKind::Service,
        RowObject::ServiceEntry { .. } => SubjectKind::ServiceEntry,
        RowObject::EntryEndpoint { .. } => SubjectKind::EntryEndpoint,
        RowObject::ImpliedEndpoint { .. } => SubjectKind::ImpliedEndpoint,
        RowObject::WorkloadEntry(_) => SubjectKind::WorkloadEntry,
        RowObject::SliceEndpoint { .. } => SubjectKind::SliceEndpoint,
    }
}

/// An endpoint has the labels that are written at it, none of its entry's or slice's (R53).
pub(super) fn labels_of<'a>(object: &RowObject<'a>) -> Cow<'a, Labels> {
    match object {
        RowObject::Pod(pod) => Cow::Borrowed(&pod.meta.labels),
        RowObject::Service(service) => Cow::Borrowed(&service.meta.labels),
        RowObject::ServiceEntry { entry, .. } => Cow::Borrowed(&entry.meta.labels),
        RowObject::EntryEndpoint { endpoint, .. } => Cow::Borrowed(&endpoint.labels),
        RowObject::WorkloadEntry(entry) => Cow::Owned(entry.labels()),
        RowObject::ImpliedEndpoint { .. } | RowObject::SliceEndpoint { .. } => Cow::Borrowed(&NOTHING),
    }
}

/// An endpoint has none.
pub(super) fn annotations_of<'a>(object: &RowObject<'a>) -> &'a Labels {
    match object {
        RowObject::EntryEndpoint { .. } | RowObject::ImpliedEndpoint { .. } | RowObject::SliceEndpoint { .. } => {
            &NOTHING
        }
        _ => &object.meta().annotations,
    }
}

/// Of workloads that say what they run as.
pub(super) fn account_of<'a>(object: &RowObject<'a>) -> Option<&'a Name> {
    let account = match object {
        RowObject::Pod(pod) => pod.service_account(),
        RowObject::WorkloadEntry(entry) => &entry.service_account,
        RowObject::EntryEndpoint { endpoint, .. } => &endpoint.service_account,
        _ => return None,
    };
    Some(account).filter(|account| !account.is_empty())
}

/// What sinks need to know of it.
pub(crate) fn subject(store: &Store, object: &RowObject<'_>) -> Subject {
    let workload = |addresses| Subject { hosts: Arc::default(), addresses, dialled_by_address: true };
    let parsed = |address: &Name| address.parse().into_iter().collect();
    match object {
        RowObject::Pod(pod) => Subject { dialled_by_address: !pod.host_network, ..workload(pod.addresses.clone()) },
        RowObject::Service(service) => {
            let meta = &service.meta;
            let host = [&*meta.name, ".", &meta.namespace, ".svc.", &store.facts().cluster_domain].concat();
            let hosts = [host.into()].into();
            Subject { hosts, addresses: service.addresses.clone(), dialled_by_address: true }
        }
        RowObject::ServiceEntry { entry, hosts, .. } => {
            let ranges = hosts.iter().flat_map(|host| entry.addresses_of(host));
            let mut addresses: Vec<_> = ranges.filter_map(|range| range.as_single()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            Subject { hosts: hosts.as_slice().into(), addresses: addresses.into(), dialled_by_address: true }
        }
        RowObject::EntryEndpoint { endpoint, .. } => workload(parsed(&endpoint.address)),
        RowObject::WorkloadEntry(entry) => workload(entry.ip().into_iter().collect()),
        RowObject::ImpliedEndpoint { .. } => workload(Addresses::default()),
        // Not looked up by address (R97).
        RowObject::SliceEndpoint { address, .. } => Subject { dialled_by_address: false, ..workload(parsed(address)) },
    }
}
