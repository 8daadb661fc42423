//! From objects to questions: which rows there are, what each is asked with, and which of them a change concerns.
//!
//! A projection belongs to one description (what a component declared). It knows the edges that follow from it:
//! Namespace → its rows, Gateway and GatewayClass → the rows that may mean them, every other object → its own rows.
//! [`Projection::apply`] after a change says how the rows differ from those that [`project`] gives on the changed store; that
//! is tested with generated histories. The rows themselves are in the table, once. It decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::description::{Description, Reach, Reference, Source};
use crate::gateway::GatewayKey;
use crate::input::{GatewayInput, Input, NodeInput, Shared, SubjectKind, Visibility};
use crate::name::{Labels, Name};
use crate::store::{Changes, Facts, RowObject, Store};
use crate::table::{RowKey, Subject, Table};

mod naming;
mod row_naming;
mod selectors;
mod subjects;
mod views;
use naming::Naming;
use row_naming::{Named, RowNaming};
pub(crate) use subjects::subject;
use subjects::{account_of, annotations_of, kind_of, labels_of};
use views::Views;

/// A row before it is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projected {
    /// What sinks need to know of it.
    pub subject: Subject,
    /// What the component is asked.
    pub input: Shared<Input>,
}

/// What follows from a store under one description, but for the rows.
#[derive(Debug)]
pub struct Projection {
    description: Arc<Description>,
    /// Which rows name which Gateways by labels of their own.
    named_by_rows: RowNaming,
    /// Which namespaces name which Gateways for their rows. Most rows say nothing themselves, so this is where most
    /// edges are, and there are few of them. Holds namespaces with rows in them.
    named_by_namespaces: Naming<Name>,
    views: Views,
    /// How many rows a namespace has; none that has no rows.
    rows: HashMap<Name, usize>,
}

/// A row that is not what it was, as it is now; none: it is gone.
pub type Moved = (RowKey, Option<Projected>);

/// All rows of a store, for who does not follow its changes.
pub fn project(description: &Arc<Description>, store: &Store) -> BTreeMap<RowKey, Projected> {
    let (_, inputs) = Projection::of(Arc::clone(description), store);
    let row =
        |(object, input): (RowObject<'_>, _)| (object.key(), Projected { subject: subject(store, &object), input });
    store.row_objects().zip(inputs).map(row).collect()
}

/// One way through rows while the store stays as it is. Rows of a namespace that say the same get the same input, which
/// is then made once; that is why they come sorted.
struct Pass<'s> {
    store: &'s Store,
    namespace: Name,
    inputs: HashMap<OwnPart, Shared<Input>>,
    /// The input of those that say nothing themselves, as most do.
    silent: Option<Shared<Input>>,
    last: Option<Last<'s>>,
    /// Nothing is known of any row yet.
    fresh: bool,
}

/// The row before. Most are like it, which is seen without a look at any label: objects that are alike hold the same list.
struct Last<'s> {
    kind: SubjectKind,
    labels: &'s Labels,
    annotations: &'s Labels,
    named: Named,
    input: Shared<Input>,
}

/// A row's own part of its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OwnPart {
    kind: SubjectKind,
    named: Named,
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
    /// The projection of `store`, and what each of its rows is asked, in the order of [`Store::row_objects`].
    pub fn of(description: Arc<Description>, store: &Store) -> (Self, Vec<Shared<Input>>) {
        let mut projection = Self::empty(description);
        let mut pass = Pass { fresh: true, ..Pass::over(store) };
        let mut inputs = Vec::with_capacity(store.len());
        let (mut namespace, mut rows) = (Name::from(""), 0);
        let labels = |object: &RowObject<'_>| object.meta().labels.iter().map(|(key, _)| key.len()).sum();
        store.each_row(labels, |object| {
            inputs.push(projection.asked(&mut pass, &object));
            let of = &object.meta().namespace;
            if !same(of, &namespace) {
                *projection.rows.entry(std::mem::replace(&mut namespace, of.clone())).or_default() += rows;
                rows = 0;
            }
            rows += 1;
        });
        *projection.rows.entry(namespace).or_default() += rows;
        projection.rows.retain(|_, rows| *rows > 0);
        (projection, inputs)
    }

    /// Without rows.
    pub(crate) fn empty(description: Arc<Description>) -> Self {
        Self {
            description,
            named_by_rows: RowNaming::default(),
            named_by_namespaces: Naming::default(),
            views: Views::default(),
            rows: HashMap::new(),
        }
    }

    /// What the component would be asked about a single row, if it is published; the other rows are not looked at. Ids of
    /// selectors may be others than in a whole projection: they mean nothing.
    pub fn input_of(description: &Arc<Description>, store: &Store, key: &RowKey) -> Option<Shared<Input>> {
        let object = store.row(key)?;
        let mut alone = Self::empty(Arc::clone(description));
        Some(alone.asked(&mut Pass::over(store), &object))
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
        let mut own = match &object {
            Some(object) => self.own_part(store, object),
            None => OwnPart {
                kind: beside.kind,
                named: Named::default(),
                labels: Vec::new(),
                annotations: Vec::new(),
                visibility: beside.visibility,
                service_account: beside.service_account.filter(|_| fields.service_account).cloned(),
                name: fields.name.then(|| beside.name.clone()),
                hosts: if fields.hosts { beside.hosts.to_vec() } else { Vec::new() },
            },
        };
        own.named = own.named.iter().cloned().chain(beside.named.cloned()).collect();
        (self.input(store, beside.namespace, &own), object.is_some())
    }

    /// The Gateway, if it exists, as rows see it.
    pub(crate) fn gateway(&mut self, store: &Store, key: &GatewayKey) -> Option<Shared<GatewayInput>> {
        self.views.gateway(&self.description, store, key).map(|view| view.input)
    }

    /// Drops what is known about objects that changed; who asks next looks at them afresh.
    pub(crate) fn forget_objects(&mut self, changes: &Changes) {
        changes.namespaces.iter().for_each(|name| self.leave(name));
        changes.gateways.iter().for_each(|key| self.views.forget_gateway(key));
    }

    /// Follows a change of `store`, which has it applied; `table` has not. Returns the rows whose subject or input is not
    /// what it was, and those that came or went, in the order of their keys.
    pub fn apply(&mut self, store: &Store, changes: &Changes, table: &Table) -> Vec<Moved> {
        let mut concerned = changes.rows.clone();
        for name in &changes.namespaces {
            self.leave(name);
            concerned.extend(table.keys_in(name).cloned());
        }
        for key in &changes.gateways {
            self.views.forget_gateway(key);
            self.concerned_by_gateway(key, table, &mut concerned);
        }
        for key in self.with_other_endpoints(store, changes) {
            self.views.forget_gateway(&key);
            self.concerned_by_gateway(&key, table, &mut concerned);
        }
        let mut pass = Pass::over(store);
        let mut moved = Vec::new();
        for key in concerned {
            let before = table.get(&key);
            let after = store.row(&key).map(|object| {
                let (subject, input) = (subject(store, &object), self.asked(&mut pass, &object));
                Projected { subject, input }
            });
            match (before, &after) {
                (None, None) => continue,
                (Some(row), Some(after)) if row.subject == after.subject && row.input == after.input => continue,
                (Some(_), Some(_)) => {}
                (None, Some(_)) => *self.rows.entry(key.namespace.clone()).or_default() += 1,
                (Some(_), None) => self.forget(&key),
            }
            moved.push((key, after));
        }
        moved
    }

    /// The Gateways whose ready endpoints rows see otherwise than they are now; none where they are not shown.
    fn with_other_endpoints(&self, store: &Store, changes: &Changes) -> Vec<GatewayKey> {
        if !self.description.fields.endpoints {
            return Vec::new();
        }
        // Who stands behind a Gateway is in its namespace (R135-R141), and a row there.
        let mut namespaces: BTreeSet<&Name> = changes.rows.iter().map(|row| &row.namespace).collect();
        if !changes.nodes.is_empty() {
            namespaces.extend(store.gateways().map(|(key, _)| &key.namespace));
        }
        namespaces.into_iter().flat_map(|namespace| self.views.with_other_endpoints(store, namespace)).collect()
    }

    fn concerned_by_gateway(&self, key: &GatewayKey, table: &Table, concerned: &mut BTreeSet<RowKey>) {
        if self.description.reach == Reach::All {
            concerned.extend(table.iter().map(|(key, _)| key.clone()));
            return;
        }
        if self.description.reach == Reach::OwnNamespace {
            concerned.extend(table.keys_in(&key.namespace).cloned());
        }
        concerned.extend(self.named_by_rows.by(key).cloned());
        for namespace in self.named_by_namespaces.by(key) {
            concerned.extend(table.keys_in(namespace).cloned());
        }
    }

    /// A row is gone, and with the last one of a namespace what is known about that.
    fn forget(&mut self, key: &RowKey) {
        self.named_by_rows.set(key, &Named::default());
        if let Some(rows) = self.rows.get_mut(&key.namespace) {
            *rows -= 1;
            if *rows == 0 {
                self.rows.remove(&key.namespace);
                self.leave(&key.namespace);
            }
        }
    }

    /// Drops what is known about a namespace; its next row looks at it afresh.
    fn leave(&mut self, namespace: &Name) {
        self.views.forget_namespace(namespace);
        self.named_by_namespaces.set(namespace, &[]);
    }

    /// What the row is asked by now. Its edges are kept.
    fn asked<'s>(&mut self, pass: &mut Pass<'s>, object: &RowObject<'s>) -> Shared<Input> {
        if let Some(last) = pass.last.as_ref().filter(|last| last.is_like(object, &pass.namespace)) {
            self.name(pass.fresh, object, &last.named);
            return last.input.clone();
        }
        let own = self.own_part(pass.store, object);
        let named = own.named.clone();
        self.name(pass.fresh, object, &named);
        let input = self.input_in(pass, &object.meta().namespace, own);
        pass.last = self.last(object, named, &input);
        input
    }

    /// The row names these Gateways, and no other any more.
    fn name(&mut self, fresh: bool, object: &RowObject<'_>, named: &Named) {
        if !(fresh && named.is_empty()) {
            self.named_by_rows.set(&object.key(), named);
        }
    }

    /// The input of a row with this part of its own, made once in a namespace.
    fn input_in(&mut self, pass: &mut Pass<'_>, namespace: &Name, own: OwnPart) -> Shared<Input> {
        pass.enter(namespace);
        if own.is_silent() {
            if let Some(input) = pass.silent.as_ref().filter(|input| input.kind == own.kind) {
                return input.clone();
            }
            let input = self.input(pass.store, namespace, &own);
            pass.silent = Some(input.clone());
            return input;
        }
        if let Some(input) = pass.inputs.get(&own) {
            return input.clone();
        }
        let input = self.input(pass.store, namespace, &own);
        pass.inputs.insert(own, input.clone());
        input
    }

    /// What the next row is compared with, if what it is asked follows from its labels and annotations.
    fn last<'s>(&self, object: &RowObject<'s>, named: Named, input: &Shared<Input>) -> Option<Last<'s>> {
        let fields = self.description.fields;
        let by_labels = matches!(object, RowObject::Pod(_) | RowObject::Service(_));
        let meta = (by_labels && !fields.name && !fields.hosts && !fields.service_account).then(|| object.meta())?;
        let (labels, annotations) = (&meta.labels, &meta.annotations);
        Some(Last { kind: kind_of(object), labels, annotations, named, input: input.clone() })
    }

    fn own_part(&self, store: &Store, object: &RowObject<'_>) -> OwnPart {
        let description = &*self.description;
        let fields = description.fields;
        let meta = object.meta();
        let labels = labels_of(object);
        let hidden = matches!(object, RowObject::ServiceEntry { own_namespace_only: true, .. });
        OwnPart {
            kind: kind_of(object),
            named: named_gateways(&description.references, &meta.namespace, &labels),
            labels: description.pick(Source::SubjectLabel, &labels),
            annotations: description.pick(Source::SubjectAnnotation, annotations_of(object)),
            visibility: if hidden { Visibility::OwnNamespace } else { Visibility::Everywhere },
            service_account: account_of(object).filter(|_| fields.service_account).cloned(),
            name: fields.name.then(|| meta.name.clone()),
            hosts: if fields.hosts { subject(store, object).hosts.to_vec() } else { Vec::new() },
        }
    }

    fn input(&mut self, store: &Store, namespace: &Name, own: &OwnPart) -> Shared<Input> {
        let description = Arc::clone(&self.description);
        if !self.views.knows_namespace(namespace) {
            let inherited = description.references.iter().filter(|reference| reference.inherit);
            let labels = store.namespace(namespace).map(|object| &object.meta.labels);
            let named = labels.map(|labels| named_gateways(inherited, namespace, labels));
            self.named_by_namespaces.set(namespace, &named.unwrap_or_default());
        }
        let inherited = self.named_by_namespaces.names(namespace);
        let named = || inherited.iter().chain(&*own.named).cloned();
        let mut keys: Vec<GatewayKey> = match description.reach {
            Reach::All => store.gateways().map(|(key, _)| key.clone()).collect(),
            Reach::OwnNamespace => store.gateways_in(namespace).cloned().chain(named()).collect(),
            Reach::Referenced => named().collect(),
        };
        keys.sort_unstable();
        keys.dedup();
        let candidates = self.views.gateways(&description, store, &keys);
        let namespace = self.views.namespace(&description, store, namespace, &candidates);
        Shared::new(Input {
            kind: own.kind,
            namespace,
            candidates: candidates.into_iter().map(|view| view.input).collect(),
            labels: Some(self.views.pairs(own.labels.clone())),
            annotations: Some(self.views.pairs(own.annotations.clone())),
            visibility: own.visibility,
            service_account: own.service_account.clone(),
            name: own.name.clone(),
            hosts: own.hosts.clone(),
            upstream: None,
        })
    }
}

impl<'s> Pass<'s> {
    fn over(store: &'s Store) -> Self {
        Self { store, namespace: "".into(), inputs: HashMap::new(), silent: None, last: None, fresh: false }
    }

    /// Forgets the inputs of another namespace.
    fn enter(&mut self, namespace: &Name) {
        if !same(&self.namespace, namespace) {
            self.namespace = namespace.clone();
            self.inputs.clear();
            self.silent = None;
        }
    }
}

impl Last<'_> {
    /// Whether this row is asked the same; `namespace` is that of the row before.
    fn is_like(&self, object: &RowObject<'_>, namespace: &Name) -> bool {
        let meta = object.meta();
        let same_lists = self.labels.is(&meta.labels) && self.annotations.is(&meta.annotations);
        same_lists && self.kind == kind_of(object) && same(namespace, &meta.namespace)
    }
}

impl OwnPart {
    /// Whether nothing but its kind tells it from other rows of its namespace.
    fn is_silent(&self) -> bool {
        let Self { kind: _, named, labels, annotations, visibility, service_account, name, hosts } = self;
        named.is_empty()
            && labels.is_empty()
            && annotations.is_empty()
            && *visibility == Visibility::Everywhere
            && service_account.is_none()
            && name.is_none()
            && hosts.is_empty()
    }
}

/// Whether two names are equal; most that are have the same text, which is seen without a look at it.
fn same(a: &Name, b: &Name) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// The Gateways that these labels name (R15, R16), whether or not they exist.
fn named_gateways<'a>(references: impl IntoIterator<Item = &'a Reference>, namespace: &Name, labels: &Labels) -> Named {
    let mut named = Vec::new();
    for reference in references {
        if let Some(name) = labels.get(&reference.name_label) {
            let stated = reference.namespace_label.as_ref().and_then(|label| labels.get(label));
            named.push(GatewayKey { namespace: stated.unwrap_or(namespace).clone(), name: name.clone() });
        }
    }
    if named.is_empty() { Named::default() } else { named.into() }
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
