//! From the mesh of a test to the batch of one plugin: the same cut that the host makes.

use super::Mesh;
use super::draft::{Admits, GatewayDraft, Keys, NamespaceDraft, SubjectDraft};
use crate::{
    Batch, Description, Endpoints, Fields, Gateway, GatewayClass, Listener, Locality, Namespace, Node, Pair, Reach,
    Reference, Source, Subject,
};

/// Ids of selectors mean nothing; starting away from zero keeps a plugin from taking one for an index.
const FIRST_SELECTOR: u32 = 100;

/// The description of a plugin that reads all there is.
pub(super) fn everything() -> Description {
    let sources = [
        Source::SubjectLabel,
        Source::SubjectAnnotation,
        Source::NamespaceLabel,
        Source::NamespaceAnnotation,
        Source::GatewayLabel,
        Source::GatewayAnnotation,
        Source::ClassLabel,
        Source::ClassAnnotation,
        Source::NodeLabel,
    ];
    let description = Description::new("everything", "0");
    let mut description = sources.into_iter().fold(description, |all, source| all.reading(source, &["*"]));
    description.fields = Fields::all();
    description.reach = Reach::All;
    description
}

pub(super) fn project(mesh: &Mesh, description: &Description) -> Batch {
    let mut gateways: Vec<&GatewayDraft> = mesh.gateways.iter().collect();
    gateways.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let mut namespaces: Vec<NamespaceDraft> = mesh.namespaces.clone();
    for subject in &mesh.subjects {
        if namespaces.iter().all(|namespace| namespace.name != subject.namespace) {
            namespaces.push(NamespaceDraft::missing(&subject.namespace));
        }
    }
    namespaces.sort_by(|a, b| a.name.cmp(&b.name));
    let cut = Cut { description, namespaces: &namespaces, gateways: &gateways };
    Batch {
        settings: mesh.settings.clone(),
        node: cut.node(&mesh.node),
        namespaces: namespaces.iter().map(|namespace| cut.namespace(namespace)).collect(),
        gateways: cut.gateways(),
        subjects: mesh.subjects.iter().map(|subject| cut.subject(subject)).collect(),
    }
}

/// What one plugin is shown of one mesh.
struct Cut<'a> {
    description: &'a Description,
    namespaces: &'a [NamespaceDraft],
    gateways: &'a [&'a GatewayDraft],
}

impl Cut<'_> {
    fn reads(&self, at: Source, key: &str) -> bool {
        self.description.reads.iter().filter(|read| read.at == at).any(|read| match read.key.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == read.key,
        })
    }

    fn pairs(&self, at: Source, keys: &Keys) -> Vec<Pair> {
        let declared = keys.iter().filter(|(key, _)| self.reads(at, key));
        declared.map(|(key, value)| Pair { key: key.clone(), value: value.clone() }).collect()
    }

    fn has(&self, field: Fields) -> bool {
        self.description.fields.contains(field)
    }

    fn node(&self, node: &Node) -> Node {
        let none = Locality { region: String::new(), zone: String::new(), subzone: String::new() };
        let labels: Keys = node.labels.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
        Node {
            name: if self.has(Fields::NODE_NAME) { node.name.clone() } else { String::new() },
            locality: if self.has(Fields::NODE_LOCALITY) { node.locality.clone() } else { none },
            labels: self.pairs(Source::NodeLabel, &labels),
        }
    }

    /// Every selector of the mesh with the namespaces it matches, in the order of the listeners.
    fn selectors(&self) -> impl Iterator<Item = (&[String], u32)> {
        let listeners = self.gateways.iter().flat_map(|gateway| &gateway.listeners);
        let selected = listeners.filter_map(|listener| match &listener.admits {
            Admits::Selected(namespaces) => Some(namespaces.as_slice()),
            Admits::Unsaid | Admits::From(_) => None,
        });
        selected.zip(FIRST_SELECTOR..)
    }

    fn namespace(&self, namespace: &NamespaceDraft) -> Namespace {
        let matching = self.selectors().filter(|(names, _)| names.contains(&namespace.name));
        Namespace {
            name: namespace.name.clone(),
            known: namespace.known,
            labels: self.pairs(Source::NamespaceLabel, &namespace.labels),
            annotations: self.pairs(Source::NamespaceAnnotation, &namespace.annotations),
            selected_by: matching.map(|(_, id)| id).collect(),
        }
    }

    fn gateways(&self) -> Vec<Gateway> {
        let mut ids = FIRST_SELECTOR..;
        self.gateways.iter().map(|gateway| self.gateway(gateway, &mut ids)).collect()
    }

    fn gateway(&self, gateway: &GatewayDraft, ids: &mut impl Iterator<Item = u32>) -> Gateway {
        let class = gateway.class.as_ref().map(|class| GatewayClass {
            name: class.name.clone(),
            labels: self.pairs(Source::ClassLabel, &class.labels),
            annotations: self.pairs(Source::ClassAnnotation, &class.annotations),
        });
        let listeners = gateway.listeners.iter().map(|listener| {
            let (admits_from, selector) = match &listener.admits {
                Admits::Unsaid => (None, None),
                Admits::From(from) => (Some(from.clone()), None),
                Admits::Selected(_) => (Some("Selector".to_owned()), ids.next()),
            };
            Listener { port: listener.port, app_protocol: listener.app_protocol.clone(), admits_from, selector }
        });
        Gateway {
            namespace: gateway.namespace.clone(),
            name: gateway.name.clone(),
            labels: self.pairs(Source::GatewayLabel, &gateway.labels),
            annotations: self.pairs(Source::GatewayAnnotation, &gateway.annotations),
            gateway_class: class,
            listeners: listeners.collect(),
            addresses: gateway.addresses.clone(),
            endpoints: if self.has(Fields::ENDPOINTS) { endpoints(gateway) } else { Vec::new() },
        }
    }

    fn subject(&self, subject: &SubjectDraft) -> Subject {
        let namespace = self.namespaces.iter().zip(0..).find(|(namespace, _)| namespace.name == subject.namespace);
        let labels = subject.labels.as_ref();
        Subject {
            kind: subject.kind,
            namespace: namespace.map_or(u32::MAX, |(_, index)| index),
            candidates: self.candidates(subject),
            labels: labels.map(|labels| self.pairs(Source::SubjectLabel, labels)),
            annotations: subject.annotations.as_ref().map(|keys| self.pairs(Source::SubjectAnnotation, keys)),
            visibility: subject.visibility,
            service_account: subject.service_account.clone().filter(|_| self.has(Fields::SERVICE_ACCOUNT)),
            name: subject.name.clone().filter(|_| self.has(Fields::NAME)),
            hosts: if self.has(Fields::HOSTS) { subject.hosts.clone() } else { Vec::new() },
            upstream: subject.upstream.as_ref().filter(|_| self.has(Fields::UPSTREAM)).map(|names| self.named(names)),
        }
    }

    fn named(&self, names: &[String]) -> Vec<u32> {
        let index =
            |name: &String| self.gateways.iter().zip(0..).find(|(it, _)| it.name == *name).map(|(_, index)| index);
        names.iter().filter_map(index).collect()
    }

    fn candidates(&self, subject: &SubjectDraft) -> Vec<u32> {
        let meant = |gateway: &GatewayDraft| match self.description.reach {
            Reach::All => true,
            Reach::OwnNamespace => gateway.namespace == subject.namespace || self.refers(subject, gateway),
            Reach::Referenced => self.refers(subject, gateway) || chosen(subject, gateway),
        };
        self.gateways.iter().zip(0..).filter(|(gateway, _)| meant(gateway)).map(|(_, index)| index).collect()
    }

    fn refers(&self, subject: &SubjectDraft, gateway: &GatewayDraft) -> bool {
        let namespace = self.namespaces.iter().find(|namespace| namespace.name == subject.namespace);
        self.description.references.iter().any(|reference| {
            let own = subject.labels.as_ref();
            let inherited = namespace.map(|namespace| &namespace.labels).filter(|_| reference.inherit);
            let levels = [own, inherited].into_iter().flatten();
            levels.into_iter().any(|labels| names(reference, labels, &subject.namespace, gateway))
        })
    }
}

/// Whether these labels, by this reference, name this Gateway.
fn names(reference: &Reference, labels: &Keys, default_namespace: &str, gateway: &GatewayDraft) -> bool {
    let namespace = reference.namespace_label.as_ref().and_then(|key| labels.get(key));
    labels.get(&reference.name_label) == Some(&gateway.name)
        && namespace.map_or(default_namespace, String::as_str) == gateway.namespace
}

/// What the control plane chose is always a candidate.
fn chosen(subject: &SubjectDraft, gateway: &GatewayDraft) -> bool {
    subject.upstream.iter().flatten().any(|name| *name == gateway.name)
}

fn endpoints(gateway: &GatewayDraft) -> Vec<Endpoints> {
    gateway.endpoints.iter().map(|(locality, ready)| Endpoints { locality: locality.clone(), ready: *ready }).collect()
}
