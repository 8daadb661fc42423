//! A plugin's code called natively, as if it were loaded: the model's batch becomes the interface's, the answers come back.
//! No component, no limits; what the engine does with a component is compared against this.

use std::marker::PhantomData;
use std::sync::Arc;

use model::batch::{Answer, AnswerChoice, AnswerTarget, Batch, Question};
use model::decision::{OnUnreachable, Tunnel, TunnelProtocol};
use model::description::{Fields, Reach, Read, Reference, Source};
use model::input::{
    ClassInput, EndpointsInput, GatewayInput, ListenerInput, NamespaceInput, NodeInput, SubjectKind, Visibility,
};
use model::{Description, Name, ResolveFailure};
use wayswitch_sdk as sdk;

/// A plugin as a [`model::Resolver`].
pub struct Native<P> {
    plugin: PhantomData<fn() -> P>,
}

impl<P: sdk::Resolver> Native<P> {
    /// The plugin under these settings, and what it declares.
    ///
    /// # Errors
    /// What the plugin says of the settings.
    pub fn new(settings: &str) -> Result<(Self, Arc<Description>), String> {
        Ok((Self { plugin: PhantomData }, Arc::new(description(P::describe(settings)?))))
    }
}

impl<P: sdk::Resolver + 'static> model::Resolver for Native<P> {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let failed = |failure: sdk::Failure| ResolveFailure {
            limit: None,
            what: failure.text,
            row: failure.subject.map(|row| row as usize),
        };
        let decisions = P::resolve(&lower(batch)).map_err(failed)?;
        Ok(decisions.into_iter().map(answer).collect())
    }
}

/// The batch in the words of the interface.
pub fn lower(batch: &Batch<'_>) -> sdk::Batch {
    sdk::Batch {
        settings: batch.settings.to_owned(),
        node: node(batch.node),
        namespaces: batch.namespaces.iter().map(|it| namespace(it)).collect(),
        gateways: batch.gateways.iter().map(|it| gateway(it)).collect(),
        subjects: batch.subjects.iter().map(subject).collect(),
    }
}

fn pairs(pairs: &[(Name, Name)]) -> Vec<sdk::Pair> {
    pairs.iter().map(|(key, value)| sdk::Pair { key: key.to_string(), value: value.to_string() }).collect()
}

fn node(node: &NodeInput) -> sdk::Node {
    let text = |part: &Option<Name>| part.as_deref().unwrap_or_default().to_owned();
    let [region, zone, subzone] = node.locality.each_ref().map(text);
    sdk::Node { name: text(&node.name), locality: sdk::Locality { region, zone, subzone }, labels: pairs(&node.labels) }
}

fn namespace(namespace: &NamespaceInput) -> sdk::Namespace {
    sdk::Namespace {
        name: namespace.name.to_string(),
        known: namespace.known,
        labels: pairs(&namespace.labels),
        annotations: pairs(&namespace.annotations),
        selected_by: namespace.selected_by.clone(),
    }
}

fn class(class: &ClassInput) -> sdk::GatewayClass {
    sdk::GatewayClass {
        name: class.name.to_string(),
        labels: pairs(&class.labels),
        annotations: pairs(&class.annotations),
    }
}

fn listener(listener: &ListenerInput) -> sdk::Listener {
    sdk::Listener {
        port: listener.port,
        app_protocol: listener.protocol.to_string(),
        admits_from: listener.admits_from.as_deref().map(str::to_owned),
        selector: listener.selector,
    }
}

fn gateway(gateway: &GatewayInput) -> sdk::Gateway {
    let address = |address: &model::gateway::StatusAddress| sdk::StatusAddress {
        kind: address.kind.as_deref().map(str::to_owned),
        value: address.value.to_string(),
    };
    sdk::Gateway {
        namespace: gateway.key.namespace.to_string(),
        name: gateway.key.name.to_string(),
        labels: pairs(&gateway.labels),
        annotations: pairs(&gateway.annotations),
        gateway_class: gateway.class.as_ref().map(class),
        listeners: gateway.listeners.iter().map(listener).collect(),
        addresses: gateway.addresses.iter().map(address).collect(),
        endpoints: gateway.endpoints.iter().map(endpoints).collect(),
    }
}

fn endpoints(endpoints: &EndpointsInput) -> sdk::Endpoints {
    let [region, zone, subzone] = endpoints.locality.each_ref().map(ToString::to_string);
    sdk::Endpoints { locality: sdk::Locality { region, zone, subzone }, ready: endpoints.ready }
}

fn subject(question: &Question<'_>) -> sdk::Subject {
    let input = question.input;
    sdk::Subject {
        kind: match input.kind {
            SubjectKind::Service => sdk::SubjectKind::Service,
            SubjectKind::ServiceEntry => sdk::SubjectKind::ServiceEntry,
            SubjectKind::Pod => sdk::SubjectKind::Pod,
            SubjectKind::WorkloadEntry => sdk::SubjectKind::WorkloadEntry,
            SubjectKind::EntryEndpoint => sdk::SubjectKind::EntryEndpoint,
            SubjectKind::ImpliedEndpoint => sdk::SubjectKind::ImpliedEndpoint,
            SubjectKind::SliceEndpoint => sdk::SubjectKind::SliceEndpoint,
        },
        namespace: question.namespace,
        candidates: question.candidates.clone(),
        labels: input.labels.as_ref().map(|it| pairs(it)),
        annotations: input.annotations.as_ref().map(|it| pairs(it)),
        visibility: match input.visibility {
            Visibility::Everywhere => sdk::Visibility::Everywhere,
            Visibility::OwnNamespace => sdk::Visibility::OwnNamespace,
        },
        service_account: input.service_account.as_deref().map(str::to_owned),
        name: input.name.as_deref().map(str::to_owned),
        hosts: input.hosts.iter().map(ToString::to_string).collect(),
        upstream: question.upstream.clone(),
    }
}

fn answer(decision: sdk::Decision) -> Answer {
    let target = |target: sdk::Target| {
        let sdk::Target { gateway, address, weight } = target;
        AnswerTarget { gateway, address, weight }
    };
    Answer {
        choice: match decision.choice {
            sdk::Choice::Keep => AnswerChoice::Keep,
            sdk::Choice::Direct => AnswerChoice::Direct,
            sdk::Choice::Blocked => AnswerChoice::Blocked,
            sdk::Choice::Waypoints(targets) => AnswerChoice::Waypoints(targets.into_iter().map(target).collect()),
        },
        on_unreachable: match decision.on_unreachable {
            sdk::OnUnreachable::Fail => OnUnreachable::Fail,
            sdk::OnUnreachable::Bypass => OnUnreachable::Bypass,
        },
        reason: decision.reason,
        second_reason: decision.second_reason,
        ingress: decision.ingress,
        tunnel: decision.tunnel.map(|tunnel| Tunnel {
            protocol: match tunnel.app_protocol {
                sdk::TunnelProtocol::None => TunnelProtocol::None,
                sdk::TunnelProtocol::Proxy => TunnelProtocol::Proxy,
            },
            port: tunnel.port,
        }),
    }
}

fn description(given: sdk::Description) -> Description {
    let has = |field| given.fields.contains(field);
    Description {
        name: given.name.as_str().into(),
        version: given.version.as_str().into(),
        fields: Fields {
            service_account: has(sdk::Fields::SERVICE_ACCOUNT),
            name: has(sdk::Fields::NAME),
            hosts: has(sdk::Fields::HOSTS),
            upstream: has(sdk::Fields::UPSTREAM),
            endpoints: has(sdk::Fields::ENDPOINTS),
            node_name: has(sdk::Fields::NODE_NAME),
            node_locality: has(sdk::Fields::NODE_LOCALITY),
        },
        reads: given.reads.into_iter().map(|read| Read { at: source(read.at), key: read.key.into() }).collect(),
        references: given.references.into_iter().map(reference).collect(),
        reach: match given.reach {
            sdk::Reach::Referenced => Reach::Referenced,
            sdk::Reach::OwnNamespace => Reach::OwnNamespace,
            sdk::Reach::All => Reach::All,
        },
    }
}

fn reference(given: sdk::Reference) -> Reference {
    Reference {
        name_label: given.name_label.into(),
        namespace_label: given.namespace_label.map(Name::from),
        inherit: given.inherit,
    }
}

fn source(source: sdk::Source) -> Source {
    match source {
        sdk::Source::SubjectLabel => Source::SubjectLabel,
        sdk::Source::SubjectAnnotation => Source::SubjectAnnotation,
        sdk::Source::NamespaceLabel => Source::NamespaceLabel,
        sdk::Source::NamespaceAnnotation => Source::NamespaceAnnotation,
        sdk::Source::GatewayLabel => Source::GatewayLabel,
        sdk::Source::GatewayAnnotation => Source::GatewayAnnotation,
        sdk::Source::ClassLabel => Source::ClassLabel,
        sdk::Source::ClassAnnotation => Source::ClassAnnotation,
        sdk::Source::NodeLabel => Source::NodeLabel,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::decider::Terms;
    use model::decision::Choice;
    use model::{Decider, Table};
    use plugin_istio::Istio;

    use super::*;
    use crate::mesh::{self, MeshSize, rules};

    fn table(seed: u64, description: Arc<Description>, resolver: Arc<dyn model::Resolver>) -> (Table, usize) {
        let store = mesh::store(MeshSize::MEDIUM.objects(seed));
        let terms =
            Terms { settings: "".into(), denied: Choice::Blocked, undecided: Choice::Blocked, unresolved: None };
        let decider = Decider::new(1, description, resolver, terms, &store).unwrap_or_else(|(_, why)| panic!("{why}"));
        (decider.table().clone(), decider.distinct())
    }

    #[test]
    fn the_plugin_and_the_plain_rules_decide_a_generated_mesh_alike() {
        let (native, description) = Native::<Istio>::new("").unwrap();
        let (istio, distinct) = table(3, description, Arc::new(native));
        let declared = rules::description(Reach::Referenced, Fields::default());
        let (plain, _) = table(3, declared, Arc::new(rules::PlainRules));
        let differing: Vec<_> = plain.diff(&istio).into_iter().map(|change| change.key.to_string()).collect();
        assert!(differing.is_empty(), "{differing:?}");
        assert!(istio.len() > 9_000 && distinct < istio.len() / 20, "{distinct} of {} are distinct", istio.len());
    }

    #[test]
    fn a_generated_mesh_has_rows_of_every_outcome() {
        let description = rules::description(Reach::Referenced, Fields::default());
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        // What is rare need not be in every mesh of this size.
        for seed in 3..9 {
            let (table, _) = table(seed, Arc::clone(&description), Arc::new(rules::PlainRules));
            for (_, row) in table.iter() {
                *reasons.entry(row.decision.reason.as_deref().unwrap_or("none").to_owned()).or_default() += 1;
            }
        }
        let expected = ["AttachmentDenied", "UnsupportedTrafficType", "WaypointAccepted", "WaypointIsNotReady", "none"];
        assert_eq!(reasons.keys().collect::<Vec<_>>(), expected, "{reasons:?}");
    }
}
