//! The network of the cluster: what this program was told, else what the root namespace says.

use std::sync::Arc;

use super::Store;

/// The label by which a namespace, a Gateway or a Service belongs to a network.
pub const NETWORK: &str = "topology.istio.io/network";

impl Store {
    /// Follows the label of the root namespace (R6). What was told from the start comes first. Who decides must ask everything
    /// anew where the network in [`Store::facts`] is another one now: decisions name it.
    pub(super) fn settle_network(&mut self) {
        let root = self.namespaces.get(&self.facts.mesh.root_namespace);
        let labelled = root.and_then(|namespace| namespace.meta.labels.get(NETWORK)).cloned().unwrap_or_default();
        let network = if self.told_network.is_empty() { labelled } else { self.told_network.clone() };
        if self.facts.network != network {
            Arc::make_mut(&mut self.facts).network = network;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::Mesh;
    use crate::name::Name;
    use crate::namespace::Namespace;
    use crate::object::{Kind, Meta, Object, ObjectKey};
    use crate::store::{Event, Facts};

    fn namespace(name: &str, network: &str) -> Event {
        let labels = [(NETWORK, network)].into_iter().collect();
        Event::Apply(Object::Namespace(Namespace { meta: Meta { labels, ..Meta::named("", name) } }))
    }

    #[test]
    fn the_root_namespace_says_which_network_it_is() {
        let mut store = Store::new(Facts::default());
        let network = |store: &Store| store.facts().network.to_string();
        store.apply_all([namespace("istio-system", "n1"), namespace("other", "n2")]);
        assert_eq!(network(&store), "n1");
        store.set_mesh(Mesh { root_namespace: "other".into(), ..Mesh::default() });
        assert_eq!(network(&store), "n2");
        store.apply(namespace("other", "n3"));
        assert_eq!(network(&store), "n3");
        store.apply(Event::Delete(ObjectKey::new(Kind::Namespace, "", "other")));
        assert_eq!(network(&store), "");
    }

    #[test]
    fn what_was_told_comes_first() {
        let mut store = Store::new(Facts { network: "told".into(), ..Facts::default() });
        store.apply(namespace("istio-system", "n1"));
        assert_eq!(store.facts().network, Name::from("told"));
    }
}
