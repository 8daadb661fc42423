//! Who the client says it is. A control plane answers a ztunnel with the workload types, so it is told what a ztunnel on this
//! node would tell it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::proto::discovery::Node;

/// The identity of this agent's pod, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The pod's address.
    pub instance_ip: Option<IpAddr>,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The node's name.
    pub node_name: String,
    /// Further metadata, for instance `CLUSTER_ID`.
    pub metadata: BTreeMap<String, String>,
}

impl NodeIdentity {
    /// As it is sent.
    pub fn node(&self) -> Node {
        let Self { name, namespace, node_name, .. } = self;
        let ip = self.instance_ip.map_or_else(|| "1.1.1.1".to_owned(), |ip| ip.to_string());
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let own = [("NAME", name), ("NAMESPACE", namespace), ("INSTANCE_IPS", &ip), ("NODE_NAME", node_name)];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), text(value)));
        let given = self.metadata.iter().map(|(key, value)| (key.clone(), text(value)));
        Node {
            id: format!("ztunnel~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"),
            metadata: Some(Struct { fields: given.chain(own).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_looks_like_a_ztunnel() {
        let identity = NodeIdentity {
            instance_ip: Some([10, 0, 0, 7].into()),
            name: "agent-x".into(),
            namespace: "istio-system".into(),
            node_name: "n1".into(),
            metadata: [("CLUSTER_ID".to_owned(), "c1".to_owned()), ("NAME".to_owned(), "other".to_owned())].into(),
        };
        let node = identity.node();
        assert_eq!(node.id, "ztunnel~10.0.0.7~agent-x.istio-system~istio-system.svc.cluster.local");
        let metadata = node.metadata.unwrap().fields;
        let text = |key: &str| match metadata[key].kind.clone() {
            Some(Kind::StringValue(text)) => text,
            other => panic!("{key}: {other:?}"),
        };
        let keys: Vec<_> = metadata.keys().map(String::as_str).collect();
        assert_eq!(keys, ["CLUSTER_ID", "INSTANCE_IPS", "NAME", "NAMESPACE", "NODE_NAME"]);
        assert_eq!(
            (text("NAME"), text("INSTANCE_IPS"), text("NODE_NAME")),
            ("agent-x".into(), "10.0.0.7".into(), "n1".into())
        );
    }
}
