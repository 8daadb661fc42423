//! A batch of the model as the argument of a call. Strings are borrowed; lists live in an arena for that one call.

use bumpalo::Bump;
use model::Name;
use model::batch::{Batch, Question};
use model::input::{ClassInput, EndpointsInput, GatewayInput, ListenerInput, NamespaceInput, SubjectKind, Visibility};

use crate::bindings::wayswitch::waypoint::types as wit;

/// Lowers `batch`; everything it points to is in the model or in `arena`.
pub(crate) fn batch<'a>(arena: &'a Bump, batch: &'a Batch<'a>) -> wit::Batch<'a> {
    let node = batch.node;
    let part = |part: &'a Option<Name>| part.as_deref().unwrap_or_default();
    let [region, zone, subzone] = &node.locality;
    wit::Batch {
        settings: batch.settings,
        node: wit::Node {
            name: part(&node.name),
            locality: wit::Locality { region: part(region), zone: part(zone), subzone: part(subzone) },
            labels: pairs(arena, &node.labels),
        },
        namespaces: arena.alloc_slice_fill_iter(batch.namespaces.iter().map(|ns| namespace(arena, ns))),
        gateways: arena.alloc_slice_fill_iter(batch.gateways.iter().map(|gw| gateway(arena, gw))),
        subjects: arena.alloc_slice_fill_iter(batch.subjects.iter().map(|question| subject(arena, question))),
    }
}

fn pairs<'a>(arena: &'a Bump, pairs: &'a [(Name, Name)]) -> &'a [wit::Pair<'a>] {
    if pairs.is_empty() {
        return &[];
    }
    arena.alloc_slice_fill_iter(pairs.iter().map(|(key, value)| wit::Pair { key, value }))
}

fn namespace<'a>(arena: &'a Bump, namespace: &'a NamespaceInput) -> wit::Namespace<'a> {
    wit::Namespace {
        name: &namespace.name,
        known: namespace.known,
        labels: pairs(arena, &namespace.labels),
        annotations: pairs(arena, &namespace.annotations),
        selected_by: &namespace.selected_by,
    }
}

fn gateway<'a>(arena: &'a Bump, gateway: &'a GatewayInput) -> wit::Gateway<'a> {
    let addresses = gateway.addresses.iter().map(|a| wit::StatusAddress { kind: a.kind.as_deref(), value: &a.value });
    wit::Gateway {
        namespace: &gateway.key.namespace,
        name: &gateway.key.name,
        labels: pairs(arena, &gateway.labels),
        annotations: pairs(arena, &gateway.annotations),
        gateway_class: gateway.class.as_ref().map(|class| gateway_class(arena, class)),
        listeners: arena.alloc_slice_fill_iter(gateway.listeners.iter().map(listener)),
        addresses: arena.alloc_slice_fill_iter(addresses),
        endpoints: arena.alloc_slice_fill_iter(gateway.endpoints.iter().map(endpoints)),
    }
}

fn endpoints(endpoints: &EndpointsInput) -> wit::Endpoints<'_> {
    let [region, zone, subzone] = &endpoints.locality;
    wit::Endpoints { locality: wit::Locality { region, zone, subzone }, ready: endpoints.ready }
}

fn gateway_class<'a>(arena: &'a Bump, class: &'a ClassInput) -> wit::GatewayClass<'a> {
    wit::GatewayClass {
        name: &class.name,
        labels: pairs(arena, &class.labels),
        annotations: pairs(arena, &class.annotations),
    }
}

fn listener(listener: &ListenerInput) -> wit::Listener<'_> {
    wit::Listener {
        port: listener.port,
        app_protocol: &listener.protocol,
        admits_from: listener.admits_from.as_deref(),
        selector: listener.selector,
    }
}

fn subject<'a>(arena: &'a Bump, question: &'a Question<'a>) -> wit::Subject<'a> {
    let input = question.input;
    let hosts: &[&str] = match input.hosts.as_slice() {
        [] => &[],
        hosts => arena.alloc_slice_fill_iter(hosts.iter().map(|host| &**host)),
    };
    wit::Subject {
        kind: kind(input.kind),
        namespace: question.namespace,
        candidates: &question.candidates,
        labels: input.labels.as_ref().map(|labels| pairs(arena, labels)),
        annotations: input.annotations.as_ref().map(|annotations| pairs(arena, annotations)),
        visibility: match input.visibility {
            Visibility::Everywhere => wit::Visibility::Everywhere,
            Visibility::OwnNamespace => wit::Visibility::OwnNamespace,
        },
        service_account: input.service_account.as_deref(),
        name: input.name.as_deref(),
        hosts,
        upstream: question.upstream.as_deref(),
    }
}

fn kind(kind: SubjectKind) -> wit::SubjectKind {
    match kind {
        SubjectKind::Service => wit::SubjectKind::Service,
        SubjectKind::ServiceEntry => wit::SubjectKind::ServiceEntry,
        SubjectKind::Pod => wit::SubjectKind::Pod,
        SubjectKind::WorkloadEntry => wit::SubjectKind::WorkloadEntry,
        SubjectKind::EntryEndpoint => wit::SubjectKind::EntryEndpoint,
        SubjectKind::ImpliedEndpoint => wit::SubjectKind::ImpliedEndpoint,
        SubjectKind::SliceEndpoint => wit::SubjectKind::SliceEndpoint,
    }
}
