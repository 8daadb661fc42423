//! From objects to questions: which rows there are, what each is asked with, and which of them a change concerns.
//!
//! A projection belongs to one description (what a component declared). It knows the edges that follow from it:
//! Namespace → its rows, Gateway and GatewayClass → the rows that may mean them, every other object → its own rows.
//! [`Projection::apply`] after a change gives the same as [`Projection::new`] on the changed store; that is tested
//! with generated histories. It decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::description::{Description, Reach, Reference, Source};
use crate::gateway::GatewayKey;
use crate::input::{Input, NodeInput, Shared, SubjectKind, Visibility};
use crate::name::{Labels, Name};
use crate::store::{Changes, Facts, RowObject, Store};
use crate::table::{RowKey, RowKind, Subject};

mod naming;
mod selectors;
mod subjects;
mod views;
use naming::Naming;
use subjects::{account_of, annotations_of, kind_of, labels_of, subject};
use views::Views;

/// A row before it is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projected {
    /// What sinks need to know of it.
    pub subject: Arc<Subject>,
    /// What the component is asked.
    pub input: Shared<Input>,
}

/// The rows of a store under one description.
#[derive(Debug)]
pub struct Projection {
    description: Arc<Description>,
    rows: BTreeMap<RowKey, Projected>,
    /// Which rows name which Gateways by labels of their own.
    named_by_rows: Naming<RowKey>,
    /// Which namespaces name which Gateways for their rows. Most rows say nothing themselves, so this is where most
    /// edges are, and there are few of them. Holds namespaces with rows in them.
    named_by_namespaces: Naming<Name>,
    views: Views,
}

/// One way through rows while the store stays as it is. Rows of a namespace that say the same get the same input, which
/// is then made once; that is why they come sorted.
struct Pass<'s> {
    store: &'s Store,
    namespace: Name,
    inputs: HashMap<Asked, Shared<Input>>,
}

/// A row's own part of its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    kind: SubjectKind,
    named: Vec<GatewayKey>,
    labels: Vec<(Name, Name)>,
    annotations: Vec<(Name, Name)>,
    visibility: Visibility,
    service_account: Option<Name>,
    name: Option<Name>,
    hosts: Vec<Name>,
}

/// Something that there need not be a row for, with what is known of it from elsewhere. What the object of `row` says of
/// itself counts, where there is one.
pub(crate) struct Beside<'a, G> {
    pub(crate) row: Option<&'a RowKey>,
    pub(crate) kind: SubjectKind,
    pub(crate) namespace: &'a Name,
    pub(crate) name: &'a Name,
    pub(crate) hosts: &'a [Name],
    pub(crate) service_account: Option<&'a Name>,
    pub(crate) visibility: Visibility,
    /// Gateways that it may mean, besides those that its labels name.
    pub(crate) named: G,
}

impl Projection {
    /// Projects all rows of `store`.
    pub fn new(description: Arc<Description>, store: &Store) -> Self {
        let mut projection = Self::empty(description);
        let mut pass = Pass::over(store);
        let mut rows = Vec::new();
        for (key, object) in store.rows() {
            let projected = projection.projected(&mut pass, &key, &object);
            rows.push((key, projected));
        }
        // They are sorted already: this is cheaper than putting in one by one.
        projection.rows = rows.into_iter().collect();
        projection
    }

    /// Without rows.
    pub(crate) fn empty(description: Arc<Description>) -> Self {
        Self {
            description,
            rows: BTreeMap::new(),
            named_by_rows: Naming::default(),
            named_by_namespaces: Naming::default(),
            views: Views::default(),
        }
    }

    /// What the component would be asked about a single row, if it is published; the other rows are not looked at. Ids of
    /// selectors may be others than in a whole projection: they mean nothing.
    pub fn input_of(description: &Arc<Description>, store: &Store, key: &RowKey) -> Option<Shared<Input>> {
        let object = store.row(key)?;
        let mut alone = Self::empty(Arc::clone(description));
        Some(alone.projected(&mut Pass::over(store), key, &object).input)
    }

    /// What the component would be asked about something that may not be a row, and whether it has labels at all. The
    /// projection itself stays as it is, but for what it knows of Gateways and namespaces: see
    /// [`Projection::forget_objects`].
    pub(crate) fn beside<'a>(
        &mut self,
        store: &Store,
        beside: Beside<'a, impl Iterator<Item = &'a GatewayKey>>,
    ) -> (Shared<Input>, bool) {
        let object = beside.row.and_then(|row| store.row(row));
        let fields = self.description.fields;
        let mut asked = match &object {
            Some(object) => self.asked(store, object).1,
            None => Asked {
                kind: beside.kind,
                named: Vec::new(),
                labels: Vec::new(),
                annotations: Vec::new(),
                visibility: beside.visibility,
                service_account: beside.service_account.filter(|_| fields.service_account).cloned(),
                name: fields.name.then(|| beside.name.clone()),
                hosts: if fields.hosts { beside.hosts.to_vec() } else { Vec::new() },
            },
        };
        asked.named.extend(beside.named.cloned());
        (self.input(store, beside.namespace, &asked), object.is_some())
    }

    /// Drops what is known about objects that changed; who asks next looks at them afresh.
    pub(crate) fn forget_objects(&mut self, changes: &Changes) {
        changes.namespaces.iter().for_each(|name| self.leave(name));
        changes.gateways.iter().for_each(|key| self.views.forget_gateway(key));
    }

    /// The row, if it is published.
    pub fn get(&self, key: &RowKey) -> Option<&Projected> {
        self.rows.get(key)
    }

    /// The same, to put an equal input in the place of its own.
    pub(crate) fn get_mut(&mut self, key: &RowKey) -> Option<&mut Projected> {
        self.rows.get_mut(key)
    }

    /// All rows in the order of their keys.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&RowKey, &Projected)> {
        self.rows.iter()
    }

    /// Follows a change of `store`, which has it applied. Returns the rows whose subject or input is not what it was,
    /// and those that came or went.
    pub fn apply(&mut self, store: &Store, changes: &Changes) -> BTreeSet<RowKey> {
        let mut concerned = changes.rows.clone();
        for name in &changes.namespaces {
            self.leave(name);
            concerned.extend(self.rows_in(name).cloned());
        }
        for key in &changes.gateways {
            self.views.forget_gateway(key);
            self.concerned_by_gateway(key, &mut concerned);
        }
        let mut pass = Pass::over(store);
        concerned.retain(|key| self.project(&mut pass, key));
        concerned
    }

    fn concerned_by_gateway(&self, key: &GatewayKey, concerned: &mut BTreeSet<RowKey>) {
        if self.description.reach == Reach::All {
            concerned.extend(self.rows.keys().cloned());
            return;
        }
        if self.description.reach == Reach::OwnNamespace {
            concerned.extend(self.rows_in(&key.namespace).cloned());
        }
        concerned.extend(self.named_by_rows.by(key).cloned());
        for namespace in self.named_by_namespaces.by(key) {
            concerned.extend(self.rows_in(namespace).cloned());
        }
    }

    fn rows_in(&self, namespace: &Name) -> impl Iterator<Item = &RowKey> {
        RowKind::ALL.into_iter().flat_map(move |kind| {
            let first = RowKey { kind, namespace: namespace.clone(), name: "".into(), part: None };
            let namespace = namespace.clone();
            let from = self.rows.range(first..).map(|(key, _)| key);
            from.take_while(move |key| key.kind == kind && key.namespace == namespace)
        })
    }

    /// Brings one row up to date; true when it is not what it was.
    fn project(&mut self, pass: &mut Pass<'_>, key: &RowKey) -> bool {
        let Some(object) = pass.store.row(key) else {
            return self.forget(key);
        };
        let projected = self.projected(pass, key, &object);
        if self.rows.get(key) == Some(&projected) {
            return false;
        }
        self.rows.insert(key.clone(), projected);
        true
    }

    fn forget(&mut self, key: &RowKey) -> bool {
        self.named_by_rows.set(key, &[]);
        let was_there = self.rows.remove(key).is_some();
        if self.rows_in(&key.namespace).next().is_none() {
            self.leave(&key.namespace);
        }
        was_there
    }

    /// Drops what is known about a namespace; its next row looks at it afresh.
    fn leave(&mut self, namespace: &Name) {
        self.views.forget_namespace(namespace);
        self.named_by_namespaces.set(namespace, &[]);
    }

    /// The row as it is now, with its edges.
    fn projected(&mut self, pass: &mut Pass<'_>, key: &RowKey, object: &RowObject<'_>) -> Projected {
        let (subject, asked) = self.asked(pass.store, object);
        self.named_by_rows.set(key, &asked.named);
        let input = match pass.inputs_of(&key.namespace).get(&asked) {
            Some(input) => input.clone(),
            None => {
                let input = self.input(pass.store, &key.namespace, &asked);
                pass.inputs.insert(asked, input.clone());
                input
            }
        };
        Projected { subject: Arc::new(subject), input }
    }

    fn asked(&self, store: &Store, object: &RowObject<'_>) -> (Subject, Asked) {
        let description = &*self.description;
        let fields = description.fields;
        let meta = object.meta();
        let labels = labels_of(object);
        let mut asked = Asked {
            kind: kind_of(object),
            named: named_gateways(&description.references, &meta.namespace, &labels),
            labels: description.pick(Source::SubjectLabel, &labels),
            annotations: description.pick(Source::SubjectAnnotation, annotations_of(object)),
            visibility: Visibility::Everywhere,
            service_account: account_of(object).filter(|_| fields.service_account).cloned(),
            name: fields.name.then(|| meta.name.clone()),
            hosts: Vec::new(),
        };
        if let RowObject::ServiceEntry { own_namespace_only: true, .. } = object {
            asked.visibility = Visibility::OwnNamespace;
        }
        let subject = subject(store, object);
        if fields.hosts {
            asked.hosts.clone_from(&subject.hosts);
        }
        (subject, asked)
    }

    fn input(&mut self, store: &Store, namespace: &Name, asked: &Asked) -> Shared<Input> {
        let description = Arc::clone(&self.description);
        if !self.views.knows_namespace(namespace) {
            let inherited = description.references.iter().filter(|reference| reference.inherit);
            let labels = store.namespace(namespace).map(|object| &object.meta.labels);
            let named = labels.map(|labels| named_gateways(inherited, namespace, labels));
            self.named_by_namespaces.set(namespace, &named.unwrap_or_default());
        }
        let inherited = self.named_by_namespaces.names(namespace);
        let named = || inherited.iter().chain(&asked.named).cloned();
        let keys: BTreeSet<GatewayKey> = match description.reach {
            Reach::All => store.gateways().map(|(key, _)| key.clone()).collect(),
            Reach::OwnNamespace => store.gateways_in(namespace).cloned().chain(named()).collect(),
            Reach::Referenced => named().collect(),
        };
        let candidates = self.views.gateways(&description, store, &keys);
        let namespace = self.views.namespace(&description, store, namespace, &candidates);
        Shared::new(Input {
            kind: asked.kind,
            namespace,
            candidates: candidates.into_iter().map(|view| view.input).collect(),
            labels: Some(self.views.pairs(asked.labels.clone())),
            annotations: Some(self.views.pairs(asked.annotations.clone())),
            visibility: asked.visibility,
            service_account: asked.service_account.clone(),
            name: asked.name.clone(),
            hosts: asked.hosts.clone(),
            upstream: None,
        })
    }
}

impl<'s> Pass<'s> {
    fn over(store: &'s Store) -> Self {
        Self { store, namespace: "".into(), inputs: HashMap::new() }
    }

    /// The inputs made so far in this namespace.
    fn inputs_of(&mut self, namespace: &Name) -> &HashMap<Asked, Shared<Input>> {
        if self.namespace != *namespace {
            self.namespace = namespace.clone();
            self.inputs.clear();
        }
        &self.inputs
    }
}

/// The Gateways that these labels name (R15, R16), whether or not they exist.
fn named_gateways<'a>(
    references: impl IntoIterator<Item = &'a Reference>,
    namespace: &Name,
    labels: &Labels,
) -> Vec<GatewayKey> {
    let mut named = Vec::new();
    for reference in references {
        if let Some(name) = labels.get(&reference.name_label) {
            let stated = reference.namespace_label.as_ref().and_then(|label| labels.get(label));
            named.push(GatewayKey { namespace: stated.unwrap_or(namespace).clone(), name: name.clone() });
        }
    }
    named
}

/// The node as far as it was declared.
pub fn node_input(description: &Description, facts: &Facts) -> NodeInput {
    let node = &facts.node;
    let locality = [&node.region, &node.zone, &node.subzone];
    NodeInput {
        name: node.name.clone().filter(|_| description.fields.node_name),
        locality: locality.map(|part| part.clone().filter(|_| description.fields.node_locality)),
        labels: description.pick(Source::NodeLabel, &node.labels),
    }
}

#[cfg(test)]
mod tests;
