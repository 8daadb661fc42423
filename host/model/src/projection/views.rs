//! Projected objects that many rows share. Each is a function of the store and the description alone, made when a row first
//! needs it and dropped when its object changes; which rows that concerns is not known here.

use std::collections::HashMap;

use super::selectors::SelectorIds;
use crate::description::{Description, Source};
use crate::gateway::{Gateway, GatewayKey};
use crate::input::{ClassInput, GatewayInput, ListenerInput, NamespaceInput, Pairs, Shared};
use crate::name::{Labels, Name};
use crate::selector::Selector;
use crate::store::Store;

/// The views that were needed so far.
#[derive(Debug, Default)]
pub(super) struct Views {
    gateways: HashMap<GatewayKey, GatewayView>,
    namespaces: HashMap<Name, NamespaceView>,
    selectors: SelectorIds,
    no_pairs: Option<Pairs>,
}

/// A Gateway, and the selectors of its listeners by their ids.
#[derive(Clone, Debug)]
pub(super) struct GatewayView {
    pub(super) input: Shared<GatewayInput>,
    selectors: Vec<(u32, Selector)>,
}

#[derive(Debug)]
struct NamespaceView {
    known: bool,
    labels: Pairs,
    annotations: Pairs,
    /// By the ids of the selectors that match.
    inputs: HashMap<Vec<u32>, Shared<NamespaceInput>>,
}

impl Views {
    /// The empty list is shared: most rows have nothing that was declared.
    pub(super) fn pairs(&mut self, pairs: Vec<(Name, Name)>) -> Pairs {
        if pairs.is_empty() {
            return self.no_pairs.get_or_insert_with(|| Shared::new(Vec::new())).clone();
        }
        Shared::new(pairs)
    }

    /// Those of the Gateways that exist, as rows see them.
    pub(super) fn gateways(
        &mut self,
        description: &Description,
        store: &Store,
        keys: &[GatewayKey],
    ) -> Vec<GatewayView> {
        keys.iter().filter_map(|key| self.gateway(description, store, key)).collect()
    }

    /// The Gateway, if it exists, as rows see it.
    pub(super) fn gateway(
        &mut self,
        description: &Description,
        store: &Store,
        key: &GatewayKey,
    ) -> Option<GatewayView> {
        if let Some(view) = self.gateways.get(key) {
            return Some(view.clone());
        }
        let view = self.view_gateway(description, store, store.gateway(key)?);
        self.gateways.insert(key.clone(), view.clone());
        Some(view)
    }

    /// The next row that may mean the Gateway looks at it afresh.
    pub(super) fn forget_gateway(&mut self, key: &GatewayKey) {
        for (_, selector) in self.gateways.remove(key).into_iter().flat_map(|view| view.selectors) {
            self.selectors.release(&selector);
        }
    }

    /// The Gateways of a namespace of which rows see other ready endpoints than there are now.
    pub(super) fn with_other_endpoints(&self, store: &Store, namespace: &Name) -> Vec<GatewayKey> {
        let is_other = |key: &&GatewayKey| match (self.gateways.get(*key), store.gateway(key)) {
            (Some(view), Some(gateway)) => view.input.endpoints != store.ready_endpoints_of(gateway),
            _ => false,
        };
        store.gateways_in(namespace).filter(is_other).cloned().collect()
    }

    fn view_gateway(&mut self, description: &Description, store: &Store, gateway: &Gateway) -> GatewayView {
        // A class whose object is missing still has a name, and no labels (R4).
        let (name, object) = (&gateway.class, store.class(&gateway.class));
        let unlabelled = Labels::default();
        let labels = object.map_or(&unlabelled, |class| &class.meta.labels);
        let annotations = object.map_or(&unlabelled, |class| &class.meta.annotations);
        let class = (!name.is_empty()).then(|| ClassInput {
            name: name.clone(),
            labels: self.pairs(description.pick(Source::ClassLabel, labels)),
            annotations: self.pairs(description.pick(Source::ClassAnnotation, annotations)),
        });
        let mut selectors = Vec::new();
        let mut listeners = Vec::with_capacity(gateway.listeners.len());
        for listener in &gateway.listeners {
            let id = listener.selector.as_ref().map(|selector| self.selectors.hold(selector));
            if let (Some(id), Some(selector)) = (id, &listener.selector) {
                selectors.push((id, selector.clone()));
            }
            listeners.push(ListenerInput {
                port: listener.port,
                protocol: listener.protocol.clone(),
                admits_from: listener.admits_from.clone(),
                selector: id,
            });
        }
        let dialled_at = gateway.addresses.iter().map(|address| match address.hostname() {
            Some(hostname) => store.addresses_of(&gateway.meta.namespace, hostname),
            None => address.ip().into_iter().collect(),
        });
        let input = GatewayInput {
            dialled_at: dialled_at.collect(),
            endpoints: if description.fields.endpoints { store.ready_endpoints_of(gateway) } else { Vec::new() },
            key: gateway.key(),
            labels: self.pairs(description.pick(Source::GatewayLabel, &gateway.meta.labels)),
            annotations: self.pairs(description.pick(Source::GatewayAnnotation, &gateway.meta.annotations)),
            class,
            listeners,
            addresses: gateway.addresses.clone(),
        };
        GatewayView { input: Shared::new(input), selectors }
    }

    /// The namespace as rows with these candidates see it.
    pub(super) fn namespace(
        &mut self,
        description: &Description,
        store: &Store,
        name: &Name,
        candidates: &[GatewayView],
    ) -> Shared<NamespaceInput> {
        let meta = store.namespace(name).map(|object| &object.meta);
        // The labels of an unknown namespace are empty (Q5).
        let unlabelled = Labels::default();
        let labels = meta.map_or(&unlabelled, |meta| &meta.labels);
        let selectors = candidates.iter().flat_map(|view| &view.selectors);
        let mut selected_by: Vec<u32> =
            selectors.filter(|(_, selector)| selector.matches(labels)).map(|(id, _)| *id).collect();
        selected_by.sort_unstable();
        selected_by.dedup();
        if let Some(view) = self.namespaces.get_mut(name) {
            return view.input(name, selected_by);
        }
        let annotations = meta.map(|meta| description.pick(Source::NamespaceAnnotation, &meta.annotations));
        let mut view = NamespaceView {
            known: meta.is_some(),
            labels: self.pairs(description.pick(Source::NamespaceLabel, labels)),
            annotations: self.pairs(annotations.unwrap_or_default()),
            inputs: HashMap::new(),
        };
        let input = view.input(name, selected_by);
        self.namespaces.insert(name.clone(), view);
        input
    }

    /// Whether the namespace was looked at since it was last forgotten.
    pub(super) fn knows_namespace(&self, name: &Name) -> bool {
        self.namespaces.contains_key(name)
    }

    /// The next row in the namespace looks at it afresh.
    pub(super) fn forget_namespace(&mut self, name: &Name) {
        self.namespaces.remove(name);
    }

    /// Whether no object is held, nor any selector of one.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.gateways.is_empty() && self.namespaces.is_empty() && self.selectors.is_empty()
    }
}

impl NamespaceView {
    /// Combinations of matching selectors that are kept for a namespace.
    const INPUTS_MAX: usize = 256;

    fn input(&mut self, name: &Name, selected_by: Vec<u32>) -> Shared<NamespaceInput> {
        if let Some(input) = self.inputs.get(&selected_by) {
            return input.clone();
        }
        if self.inputs.len() >= Self::INPUTS_MAX {
            self.inputs.retain(|_, input| !input.is_unique());
        }
        let input = Shared::new(NamespaceInput {
            name: name.clone(),
            known: self.known,
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            selected_by: selected_by.clone(),
        });
        self.inputs.insert(selected_by, input.clone());
        input
    }
}
