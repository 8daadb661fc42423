//! A small mesh in memory, in domain words, handed out as the host would hand it out: what a plugin did not declare is
//! left out. It stands in for the host in a plugin's own tests; it checks no answer.

mod draft;
mod edit;
mod projection;

use crate::{Batch, Description, Locality, Node};

pub use draft::{
    Admits, GatewayDraft, SubjectDraft, entry_endpoint, gateway, implied_endpoint, pod, service, service_entry,
    slice_endpoint, waypoint, workload_entry,
};

/// Everything a test puts into one batch, in the order it was said.
#[derive(Debug, Clone)]
pub struct Mesh {
    settings: String,
    node: Node,
    namespaces: Vec<draft::NamespaceDraft>,
    gateways: Vec<GatewayDraft>,
    subjects: Vec<SubjectDraft>,
}

/// A mesh with nothing in it.
#[must_use]
pub fn mesh() -> Mesh {
    let locality = Locality { region: String::new(), zone: String::new(), subzone: String::new() };
    Mesh {
        settings: String::new(),
        node: Node { name: String::new(), locality, labels: Vec::new() },
        namespaces: Vec::new(),
        gateways: Vec::new(),
        subjects: Vec::new(),
    }
}

impl Mesh {
    /// The settings, as JSON.
    #[must_use]
    pub fn settings(mut self, json: &str) -> Self {
        json.clone_into(&mut self.settings);
        self
    }

    /// The node the host runs on.
    #[must_use]
    pub fn node(mut self, node: Node) -> Self {
        self.node = node;
        self
    }

    /// A Namespace object with its labels. A subject's namespace that is never said is one whose object is missing (R22).
    #[must_use]
    pub fn namespace(mut self, name: &str, labels: &[(&str, &str)]) -> Self {
        self.namespaces.push(draft::NamespaceDraft::new(name, labels));
        self
    }

    /// An annotation of the namespace said last.
    #[must_use]
    pub fn namespace_annotation(mut self, key: &str, value: &str) -> Self {
        if let Some(namespace) = self.namespaces.last_mut() {
            namespace.annotations.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    #[must_use]
    pub fn gateway(mut self, gateway: GatewayDraft) -> Self {
        self.gateways.push(gateway);
        self
    }

    #[must_use]
    pub fn subject(mut self, subject: SubjectDraft) -> Self {
        self.subjects.push(subject);
        self
    }

    /// What the control plane chose for every subject: names of Gateways, primary first.
    #[must_use]
    pub fn upstream(mut self, gateways: &[&str]) -> Self {
        let names: Vec<String> = gateways.iter().map(|name| (*name).to_owned()).collect();
        self.subjects.iter_mut().for_each(|subject| subject.upstream = Some(names.clone()));
        self
    }

    /// No subject has labels or annotations: a mesh known only through xDS.
    #[must_use]
    pub fn unlabelled(mut self) -> Self {
        self.subjects.iter_mut().for_each(|subject| (subject.labels, subject.annotations) = (None, None));
        self
    }

    /// The batch as a plugin sees it that declared everything: every key, every field, all Gateways.
    #[must_use]
    pub fn batch(&self) -> Batch {
        projection::project(self, &projection::everything())
    }

    /// The batch as this plugin sees it: only keys, fields and candidates that it declared.
    #[must_use]
    pub fn batch_for(&self, description: &Description) -> Batch {
        projection::project(self, description)
    }
}
