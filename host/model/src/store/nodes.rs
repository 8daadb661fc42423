//! Where Pods are: what the Nodes that they run on say.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Changes, Store};
use crate::input::Locality;
use crate::name::Name;
use crate::node::Node;
use crate::table::{RowKey, RowKind};

impl Store {
    /// The Node, if it is known.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name).map(|node| &**node)
    }

    /// Where a node is: what its object says; of the node that this host runs on else what was told about it.
    pub fn locality_of_node(&self, name: Option<&Name>) -> Locality {
        if let Some(node) = name.and_then(|name| self.node(name)) {
            return node.locality();
        }
        let own = &self.facts.node;
        if name.is_none() || own.name.as_ref() != name {
            return Locality::default();
        }
        [&own.region, &own.zone, &own.subzone].map(|part| part.clone().unwrap_or_default())
    }

    /// The published Pods on these nodes. A look at every Pod, for nodes hardly ever move.
    pub fn pods_on<'a>(&'a self, nodes: &'a BTreeSet<Name>) -> impl Iterator<Item = RowKey> + 'a {
        let is_there = |node: &Option<Name>| node.as_ref().is_some_and(|node| nodes.contains(node));
        let pods = self.pods.iter().filter(move |pod| is_there(&pod.node) && pod.is_published());
        let in_sight = pods.filter(|pod| self.is_discovered(&pod.meta.namespace));
        in_sight.map(|pod| RowKey {
            kind: RowKind::Pod,
            namespace: pod.meta.namespace.clone(),
            name: pod.meta.name.clone(),
            part: None,
        })
    }

    /// True when something changed.
    pub(super) fn put_node(&mut self, node: Node, changes: &mut Changes) -> bool {
        let name = node.meta.name.clone();
        if self.node(&name) == Some(&node) {
            return false;
        }
        self.nodes.insert(name.clone(), Arc::new(node));
        changes.nodes.insert(name);
        true
    }

    pub(super) fn delete_node(&mut self, name: Name, changes: &mut Changes) -> bool {
        self.nodes.remove(&name).is_some() && changes.nodes.insert(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Labels;
    use crate::object::{Kind, Object, ObjectKey};
    use crate::store::{Event, Facts};
    use crate::workload::Pod;

    fn node(name: &str, zone: &str) -> Event {
        let labels: Labels = [("topology.kubernetes.io/zone", zone)].into_iter().collect();
        Event::Apply(Object::Node(Node::new(name, &labels)))
    }

    fn pod(name: &str, node: &str) -> Event {
        let addresses = [[10, 0, 0, 1].into()].into();
        Event::Apply(Object::Pod(Pod { node: Some(node.into()), addresses, ..Pod::named("shop", name) }))
    }

    #[test]
    fn a_node_that_says_the_same_again_changes_nothing() {
        let mut store = Store::new(Facts::default());
        assert!(!store.apply(node("a", "z1")).is_empty());
        let revision = store.revision();
        assert!(store.apply(node("a", "z1")).is_empty() && store.revision() == revision);
        assert_eq!(store.apply(node("a", "z2")).nodes, ["a".into()].into());
        let gone = || Event::Delete(ObjectKey::new(Kind::Node, "", "a"));
        assert!(!store.apply(gone()).is_empty() && store.apply(gone()).is_empty());
    }

    #[test]
    fn a_pod_is_where_its_node_is_whichever_came_first() {
        let mut store = Store::new(Facts::default());
        store.apply_all([pod("cart", "a"), pod("other", "b"), node("a", "z1")]);
        let on = |nodes: &[&str]| {
            let nodes = nodes.iter().map(|it| Name::from(*it)).collect();
            store.pods_on(&nodes).map(|key| key.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            (on(&["a"]), on(&["a", "b"]), on(&["c"])),
            (vec!["cart".into()], vec!["cart".into(), "other".into()], vec![])
        );
        let zone = |store: &Store, name: &str| store.locality_of_node(Some(&name.into()))[1].to_string();
        assert_eq!((&*zone(&store, "a"), &*zone(&store, "b")), ("z1", ""));
        store.apply(node("b", "z2"));
        assert_eq!(zone(&store, "b"), "z2");
    }

    #[test]
    fn of_the_own_node_what_was_told_counts_until_its_object_is_there() {
        let mut store = Store::new(Facts::default());
        let told = super::super::Node { name: Some("a".into()), zone: Some("told".into()), ..Default::default() };
        store.set_node(told);
        let zone = |store: &Store| store.locality_of_node(Some(&"a".into()))[1].to_string();
        assert_eq!(zone(&store), "told");
        store.apply(node("a", "z1"));
        assert_eq!(zone(&store), "z1");
    }
}
