//! Nodes: where in the cluster what runs on them is. Their labels say so; nothing else of them is kept, so that what a
//! kubelet reports every few minutes is no change. Not the node that this host runs on: that is [`crate::store::Node`].

use crate::input::Locality;
use crate::name::{Labels, Name};
use crate::object::Meta;

/// The labels of region, zone and subzone.
pub const LOCALITY_LABELS: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

/// A Node. Its own `meta.namespace` is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Metadata, of which only the labels of its locality are there.
    pub meta: Meta,
}

impl Node {
    /// A Node with these labels, as far as they say where it is.
    pub fn new(name: &str, labels: &Labels) -> Self {
        let kept = labels.iter().filter(|(key, _)| LOCALITY_LABELS.contains(&&**key));
        Self { meta: Meta { labels: kept.cloned().collect(), ..Meta::named("", name) } }
    }

    /// Region, zone and subzone, each empty where it does not say.
    pub fn locality(&self) -> Locality {
        LOCALITY_LABELS.map(|label| self.meta.labels.get(label).cloned().unwrap_or_else(|| Name::from("")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_it_is_is_kept() {
        let labels = [("topology.kubernetes.io/zone", "z"), ("topology.istio.io/subzone", "s"), ("pool", "new")];
        let node = Node::new("a", &labels.into_iter().collect());
        assert_eq!(node.locality().map(|part| part.to_string()), ["", "z", "s"]);
        assert_eq!(node, Node::new("a", &labels[..2].iter().copied().collect()));
    }
}
