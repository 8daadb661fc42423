//! A conformance case as questions to a component, projected by hand from its YAML: all kinds of subjects, also those that
//! neither manifests nor the model know yet. It shares no code with the model's own projection, whose part for Services and
//! Pods it so checks as well. Existence is not looked at: there is a question for whatever the case has a decision for.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use model::description::{Description, Source};
use model::gateway::{GatewayKey, StatusAddress};
use model::input::{
    ClassInput, GatewayInput, Input, ListenerInput, NamespaceInput, Pairs, Shared, SubjectKind, Visibility,
};
use model::selector::{Requirement, Selector};
use model::{Labels, Name};
use serde_json::Value;

use super::Case;

/// The objects of a case by kind, namespace and name, and its mesh configuration.
pub struct Snapshot {
    objects: BTreeMap<(String, String, String), Value>,
    mesh: Value,
}

/// A subject's own part of its question.
struct Subject {
    kind: SubjectKind,
    labels: Labels,
    annotations: Labels,
    service_account: Option<Name>,
    hosts: Vec<Name>,
}

impl Snapshot {
    /// Reads the files of a case.
    ///
    /// # Errors
    /// One of them is not YAML.
    pub fn of(case: &Case) -> Result<Self> {
        let mut objects = BTreeMap::new();
        let text = std::fs::read_to_string(&case.manifest)?;
        for document in text.split("\n---\n") {
            let object = yaml(&case.id, document)?;
            let part = |pointer| string(&object, pointer).unwrap_or_default().to_owned();
            objects.insert((part("/kind"), part("/metadata/namespace"), part("/metadata/name")), object);
        }
        let mesh = match &case.mesh_config {
            Some(file) => yaml(&case.id, &std::fs::read_to_string(file)?)?,
            None => Value::Null,
        };
        Ok(Self { objects, mesh })
    }

    /// What a component that declared this is asked about the subject of an expected decision.
    ///
    /// # Errors
    /// The case has no such object.
    pub fn question(&self, wanted: &Value, description: &Description) -> Result<Input> {
        let part = |key| wanted.get(key).and_then(Value::as_str).unwrap_or_default();
        let (kind, namespace, name) = (part("kind"), part("namespace"), part("name"));
        let subject = self.subject(kind, namespace, name, wanted)?;
        let ns_object = self.object("Namespace", "", namespace);
        let ns_labels = labels(ns_object, "/metadata/labels");
        let candidates = self.candidates(description, namespace, &subject.labels, &ns_labels);
        let (selectors, gateways) = (self.selectors(), candidates.iter());
        let selected = gateways.flat_map(|key| selectors.iter().filter(move |(owner, _, _)| owner == key));
        let selected: BTreeSet<u32> =
            selected.filter(|(_, selector, _)| selector.matches(&ns_labels)).map(|(_, _, id)| *id).collect();
        let pick = |at, labels: &Labels| Shared::new(description.pick(at, labels));
        let ns_annotations = labels(ns_object, "/metadata/annotations");
        let entry = kind == "ServiceEntry";
        Ok(Input {
            kind: subject.kind,
            namespace: Shared::new(NamespaceInput {
                name: namespace.into(),
                known: ns_object.is_some(),
                labels: pick(Source::NamespaceLabel, &ns_labels),
                annotations: pick(Source::NamespaceAnnotation, &ns_annotations),
                selected_by: selected.into_iter().collect(),
            }),
            candidates: candidates.iter().filter_map(|key| self.gateway(description, key)).map(Shared::new).collect(),
            labels: Some(pick(Source::SubjectLabel, &subject.labels)),
            annotations: Some(pick(Source::SubjectAnnotation, &subject.annotations)),
            visibility: if entry { self.visibility(&ns_labels) } else { Visibility::Everywhere },
            service_account: subject.service_account.filter(|_| description.fields.service_account),
            name: description.fields.name.then(|| name.into()),
            hosts: if description.fields.hosts { subject.hosts } else { Vec::new() },
        })
    }

    fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    fn subject(&self, kind: &str, namespace: &str, name: &str, wanted: &Value) -> Result<Subject> {
        let of = if kind == "ServiceEntryEndpoint" { "ServiceEntry" } else { kind };
        let object = self.object(of, namespace, name);
        let object = object.with_context(|| format!("no {of} {namespace}/{name}"))?;
        let texts = |pointer| items(object, pointer).filter_map(Value::as_str).map(Name::from).collect::<Vec<_>>();
        let account = |pointer| string(object, pointer).map(Name::from);
        let mut subject = Subject {
            kind: SubjectKind::Service,
            labels: labels(Some(object), "/metadata/labels"),
            annotations: labels(Some(object), "/metadata/annotations"),
            service_account: None,
            hosts: Vec::new(),
        };
        match kind {
            "Service" => subject.hosts = vec![format!("{name}.{namespace}.svc.cluster.local").into()],
            "ServiceEntry" => {
                (subject.kind, subject.hosts) = (SubjectKind::ServiceEntry, texts("/spec/hosts"));
            }
            "Pod" => {
                (subject.kind, subject.service_account) = (SubjectKind::Pod, account("/spec/serviceAccountName"));
            }
            "WorkloadEntry" => {
                subject.kind = SubjectKind::WorkloadEntry;
                subject.service_account = account("/spec/serviceAccount");
                // Those of the metadata win (R50).
                let spec = labels(Some(object), "/spec/labels");
                subject.labels = spec.iter().chain(subject.labels.iter()).cloned().collect();
            }
            "ServiceEntryEndpoint" => self.endpoint(&mut subject, object, wanted),
            other => bail!("{other} is no kind of subject"),
        }
        Ok(subject)
    }

    /// One that is written has labels of its own (R53); one that is implied has none (R54).
    fn endpoint(&self, subject: &mut Subject, entry: &Value, wanted: &Value) {
        let address = wanted.get("address");
        let written = items(entry, "/spec/endpoints").find(|endpoint| endpoint.get("address") == address);
        let kind = if written.is_some() { SubjectKind::EntryEndpoint } else { SubjectKind::ImpliedEndpoint };
        (subject.kind, subject.labels) = (kind, labels(written, "/labels"));
        subject.annotations = Labels::default();
        subject.service_account = written.and_then(|it| string(it, "/serviceAccount")).map(Name::from);
    }

    /// The Gateways that the references name, at both levels, and those within reach.
    fn candidates(
        &self,
        description: &Description,
        namespace: &str,
        own: &Labels,
        inherited: &Labels,
    ) -> Vec<GatewayKey> {
        use model::description::Reach;
        let mut named = BTreeSet::new();
        for reference in &description.references {
            for labels in [Some(own), reference.inherit.then_some(inherited)].into_iter().flatten() {
                let place = reference.namespace_label.as_ref().and_then(|label| labels.get(label));
                let place = place.map_or(namespace, |place| place);
                named.extend(labels.get(&reference.name_label).map(|name| GatewayKey::new(place, name)));
            }
        }
        let gateways = self.objects.keys().filter(|(kind, _, _)| kind == "Gateway");
        let keys = gateways.map(|(_, namespace, name)| GatewayKey::new(namespace, name));
        let reached = |key: &GatewayKey| match description.reach {
            Reach::All => true,
            Reach::OwnNamespace => *key.namespace == *namespace || named.contains(key),
            Reach::Referenced => named.contains(key),
        };
        keys.filter(reached).collect()
    }

    /// Every selector of every listener with its Gateway and its id: equal ones have one id.
    fn selectors(&self) -> Vec<(GatewayKey, Selector, u32)> {
        let mut found: Vec<(GatewayKey, Selector, u32)> = Vec::new();
        for ((_, namespace, name), gateway) in self.objects.iter().filter(|((kind, _, _), _)| kind == "Gateway") {
            for selector in items(gateway, "/spec/listeners").filter_map(listener_selector) {
                let known = found.iter().find(|(_, other, _)| *other == selector).map(|(_, _, id)| *id);
                let next = 7 + u32::try_from(found.len()).unwrap_or(u32::MAX);
                found.push((GatewayKey::new(namespace, name), selector, known.unwrap_or(next)));
            }
        }
        found
    }

    fn gateway(&self, description: &Description, key: &GatewayKey) -> Option<GatewayInput> {
        let object = self.object("Gateway", &key.namespace, &key.name)?;
        let pick = |at, of, pointer| -> Pairs { Shared::new(description.pick(at, &labels(Some(of), pointer))) };
        let selectors = self.selectors();
        let listener = |listener: &Value| ListenerInput {
            port: listener.get("port").and_then(Value::as_u64).and_then(|port| u32::try_from(port).ok()).unwrap_or(0),
            protocol: string(listener, "/protocol").unwrap_or_default().into(),
            admits_from: string(listener, "/allowedRoutes/namespaces/from").map(Name::from),
            selector: listener_selector(listener)
                .and_then(|own| selectors.iter().find(|(_, other, _)| *other == own).map(|(_, _, id)| *id)),
        };
        let address = |address: &Value| StatusAddress {
            kind: string(address, "/type").map(Name::from),
            value: string(address, "/value").unwrap_or_default().into(),
        };
        let class = string(object, "/spec/gatewayClassName").unwrap_or_default();
        Some(GatewayInput {
            key: key.clone(),
            labels: pick(Source::GatewayLabel, object, "/metadata/labels"),
            annotations: pick(Source::GatewayAnnotation, object, "/metadata/annotations"),
            class: self.object("GatewayClass", "", class).map(|object| ClassInput {
                name: class.into(),
                labels: pick(Source::ClassLabel, object, "/metadata/labels"),
                annotations: pick(Source::ClassAnnotation, object, "/metadata/annotations"),
            }),
            listeners: items(object, "/spec/listeners").map(listener).collect(),
            addresses: items(object, "/status/addresses").map(address).collect(),
        })
    }

    /// Who sees the ServiceEntries of a namespace with these labels: the first policy all of whose rules match (R117).
    fn visibility(&self, namespace: &Labels) -> Visibility {
        let matches = |policy: &&Value| {
            items(policy, "/matchingRules").all(|rule| selector(rule.get("namespaceSelector")).matches(namespace))
        };
        let policy = items(&self.mesh, "/serviceEntryVisibility/policies").find(matches);
        let word = policy.and_then(|policy| string(policy, "/visibility"));
        let word = word.or_else(|| string(&self.mesh, "/serviceEntryVisibility/defaultVisibility"));
        if word == Some("NAMESPACE") { Visibility::OwnNamespace } else { Visibility::Everywhere }
    }
}

fn yaml(id: &str, text: &str) -> Result<Value> {
    manifest::settings(id, text, &manifest::Limits::default()).map_err(|problem| anyhow::anyhow!("{problem}"))
}

fn string<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn labels(value: Option<&Value>, pointer: &str) -> Labels {
    let map = value.and_then(|value| value.pointer(pointer)).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

fn listener_selector(listener: &Value) -> Option<Selector> {
    listener.pointer("/allowedRoutes/namespaces/selector").map(|it| selector(Some(it)))
}

fn selector(value: Option<&Value>) -> Selector {
    let requirement = |it: &Value| Requirement {
        key: string(it, "/key").unwrap_or_default().into(),
        operator: string(it, "/operator").unwrap_or_default().into(),
        values: items(it, "/values").filter_map(Value::as_str).map(Name::from).collect(),
    };
    let requirements = value.into_iter().flat_map(|value| items(value, "/matchExpressions")).map(requirement);
    Selector { labels: labels(value, "/matchLabels"), requirements: requirements.collect() }
}
