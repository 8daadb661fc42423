//! What a component says about itself: which keys and fields it reads, and which Gateways a subject may mean.
//! Everything that is not declared is never passed. Not the checking of its size: that is the engine's.

use serde::Serialize;

use crate::name::{Labels, Name};

/// Where a key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Labels of the subject.
    SubjectLabel,
    /// Annotations of the subject.
    SubjectAnnotation,
    /// Labels of its Namespace.
    NamespaceLabel,
    /// Annotations of its Namespace.
    NamespaceAnnotation,
    /// Labels of a candidate Gateway.
    GatewayLabel,
    /// Annotations of a candidate Gateway.
    GatewayAnnotation,
    /// Labels of a candidate's GatewayClass.
    ClassLabel,
    /// Annotations of a candidate's GatewayClass.
    ClassAnnotation,
    /// Labels of the node.
    NodeLabel,
}

/// A key that is read; one that ends in `*` is a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Read {
    /// Where.
    pub at: Source,
    /// The key or prefix.
    pub key: Name,
}

/// Fields that are passed only when declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fields {
    /// A workload's service account.
    pub service_account: bool,
    /// The subject's name.
    pub name: bool,
    /// The hosts of a service.
    pub hosts: bool,
    /// What the control plane chose.
    pub upstream: bool,
    /// Ready endpoints of Gateways.
    pub endpoints: bool,
    /// The node's name.
    pub node_name: bool,
    /// The node's locality.
    pub node_locality: bool,
}

/// A label that holds the name of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The label with the name.
    pub name_label: Name,
    /// The label of the same object with the namespace; the subject's namespace where it is absent (R15, R16).
    pub namespace_label: Option<Name>,
    /// Whether the Namespace's labels are looked at too (R17).
    pub inherit: bool,
}

/// Which Gateways are candidates of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Those that its references name.
    Referenced,
    /// These, and all of the subject's namespace.
    OwnNamespace,
    /// All there are.
    All,
}

/// What a component declared under its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The component's own name.
    pub name: Name,
    /// The component's own version.
    pub version: Name,
    /// The keys it reads.
    pub reads: Vec<Read>,
    /// The fields it reads.
    pub fields: Fields,
    /// The labels that name Gateways.
    pub references: Vec<Reference>,
    /// Which Gateways it may choose from.
    pub reach: Reach,
}

impl Description {
    /// The pairs of `labels` that were declared for `at`, in the order of their keys.
    pub fn pick(&self, at: Source, labels: &Labels) -> Vec<(Name, Name)> {
        if labels.is_empty() {
            return Vec::new();
        }
        let mut picked: Vec<(Name, Name)> = Vec::new();
        for (key, value) in labels.iter() {
            if self.reads.iter().any(|read| read.at == at && read.covers(key)) {
                picked.push((key.clone(), value.clone()));
            }
        }
        picked
    }
}

impl Description {
    /// Whether `key` was declared for `at`.
    pub fn declares(&self, at: Source, key: &str) -> bool {
        self.reads.iter().any(|read| read.at == at && read.covers(key))
    }

    /// Whether a decision may be another one on the next node.
    pub fn reads_node(&self) -> bool {
        self.fields.node_name || self.fields.node_locality || self.reads.iter().any(|it| it.at == Source::NodeLabel)
    }
}

impl Read {
    fn covers(&self, key: &str) -> bool {
        match self.key.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => *self.key == *key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_keys_and_prefixes_are_picked() {
        let read = |at, key: &str| Read { at, key: key.into() };
        let description = Description {
            name: "test".into(),
            version: "1".into(),
            reads: vec![read(Source::SubjectLabel, "app"), read(Source::SubjectLabel, "istio.io/*")],
            fields: Fields::default(),
            references: Vec::new(),
            reach: Reach::Referenced,
        };
        let labels: Labels = [("app", "a"), ("apps", "b"), ("istio.io/rev", "c"), ("team", "d")].into_iter().collect();
        let keys: Vec<_> = description.pick(Source::SubjectLabel, &labels).into_iter().map(|(k, _)| k).collect();
        assert_eq!(keys.iter().map(|k| &**k).collect::<Vec<_>>(), ["app", "istio.io/rev"]);
        assert!(description.pick(Source::NamespaceLabel, &labels).is_empty());
    }
}
