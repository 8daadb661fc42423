//! The shapes of Kubernetes objects: which fields matter and where they are. Not what they mean for a decision.
//!
//! The API group and kind tell objects apart; the version does not (conformance rule 5). Unknown fields are nobody's
//! business here. Null is the same as absent, as it is for the API server.

use model::gateway::GatewayClass;
use model::{Kind, Name, Namespace, Node as KubernetesNode, Object, ObjectKey};

use crate::limits::Limits;
use crate::node::{Node, Value};
use crate::pool::Pool;
use crate::problem::{Fault, Misfit, printable};
use crate::view::View;

mod conditions;
mod meta;

mod endpoint_slice;
mod gateway;
pub(crate) mod istio;
pub(crate) mod peer;
pub(crate) mod pod;
mod policy;
mod service;

use self::meta::{Scope, meta, names};

pub(crate) use self::conditions::said;
pub(crate) use self::gateway::selector;

const CORE: &str = "";
const GATEWAY: &str = "gateway.networking.k8s.io";
const ISTIO: &str = "networking.istio.io";
const ISTIO_SECURITY: &str = "security.istio.io";
const DISCOVERY: &str = "discovery.k8s.io";

/// What is needed beside the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) pool: &'a Pool,
}

impl Context<'_> {
    /// A text that other objects have, too.
    pub(crate) fn name(&self, text: &str) -> Name {
        self.pool.name(text)
    }
}

/// What a document or an item turned out to be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// An object of the model.
    Object(Box<Object>),
    /// Known, and nothing of it matters (ServiceAccount: a Pod names its own).
    Ignored,
    /// Nothing this program knows.
    Unknown,
}

/// `group` and `kind` of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeName<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
}

impl<'a> TypeName<'a> {
    pub(crate) fn new(api_version: &'a str, kind: &'a str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or((CORE, api_version));
        Self { group, version, kind }
    }

    /// Only `v1` `List`: `ServiceList` and its like are unknown kinds.
    pub(crate) fn is_list(self) -> bool {
        (self.group, self.version, self.kind) == (CORE, "v1", "List")
    }
}

/// Reads the type of an object.
///
/// # Errors
/// `apiVersion` or `kind` is missing or no text.
pub(crate) fn type_name(node: &Node) -> Result<TypeName<'_>, Misfit> {
    let root = View::root(node);
    if !matches!(node.value, Value::Map(_)) {
        return Err(root.misfit(Fault::NotAnObject { found: node.value.noun() }));
    }
    let required = |path| match root.text_field(path)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(root.misfit(Fault::Missing { path })),
    };
    Ok(TypeName::new(required("apiVersion")?, required("kind")?))
}

/// Kind and name of an object for a message, as far as they can be made out.
pub(crate) fn describe(node: &Node) -> Option<String> {
    let root = View::root(node);
    let kind = root.text_field("kind").ok()??;
    let meta = root.field("metadata").ok()??;
    let name = meta.text_field("name").ok()??;
    let namespace = match kind {
        "Namespace" | "GatewayClass" | "Node" => None,
        _ => Some(meta.text_field("namespace").ok().flatten().unwrap_or("default")),
    };
    let short = |text: &str| printable(text).chars().take(253).collect::<String>();
    Some(match namespace {
        Some(namespace) => format!("{} {}/{}", short(kind), short(namespace), short(name)),
        None => format!("{} {}", short(kind), short(name)),
    })
}

/// The key of an object of the model that cannot be read in full, as far as it can be made out.
pub(crate) fn key_of(node: &Node, with: &Context<'_>) -> Option<ObjectKey> {
    key_of_kind(node, kind_of(type_name(node).ok()?)?, with)
}

/// The same where the kind is known already.
pub(crate) fn key_of_kind(node: &Node, kind: Kind, with: &Context<'_>) -> Option<ObjectKey> {
    let scope = if kind.is_cluster_scoped() { Scope::Cluster } else { Scope::Namespace };
    let (namespace, name) = names(&View::root(node), scope, with).ok()?;
    Some(ObjectKey { kind, namespace, name })
}

/// The kind of the model that is meant.
fn kind_of(name: TypeName<'_>) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == name.kind && group_of(*kind) == name.group)
}

/// The API group of a kind.
pub(crate) fn group_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace | Kind::Service | Kind::Pod | Kind::Node => CORE,
        Kind::GatewayClass | Kind::Gateway => GATEWAY,
        Kind::ServiceEntry | Kind::WorkloadEntry => ISTIO,
        Kind::EndpointSlice => DISCOVERY,
        Kind::AuthorizationPolicy | Kind::PeerAuthentication => ISTIO_SECURITY,
    }
}

/// Reads an object.
///
/// # Errors
/// It is of a kind of the model, and a field that matters is missing, of the wrong type or too large.
pub(crate) fn shape(node: &Node, with: &Context<'_>) -> Result<Shape, Misfit> {
    let name = type_name(node)?;
    Ok(match kind_of(name) {
        Some(kind) => Shape::Object(Box::new(shape_of(node, kind, with)?)),
        None if (name.group, name.kind) == (CORE, "ServiceAccount") => Shape::Ignored,
        None => Shape::Unknown,
    })
}

/// Reads an object that is known to be of this kind.
///
/// # Errors
/// A field that matters is missing, of the wrong type or too large.
pub(crate) fn shape_of(node: &Node, kind: Kind, with: &Context<'_>) -> Result<Object, Misfit> {
    let root = View::root(node);
    Ok(match kind {
        Kind::Namespace => Object::Namespace(Namespace { meta: meta(&root, Scope::Cluster, with)? }),
        Kind::GatewayClass => Object::GatewayClass(GatewayClass { meta: meta(&root, Scope::Cluster, with)? }),
        Kind::Gateway => Object::Gateway(gateway::gateway(&root, with)?),
        Kind::Service => Object::Service(service::service(&root, with)?),
        Kind::Pod => Object::Pod(pod::pod(&root, with)?),
        Kind::ServiceEntry => Object::ServiceEntry(istio::service_entry(&root, with)?),
        Kind::WorkloadEntry => Object::WorkloadEntry(istio::workload_entry(&root, with)?),
        Kind::EndpointSlice => Object::EndpointSlice(endpoint_slice::endpoint_slice(&root, with)?),
        Kind::AuthorizationPolicy => Object::AuthorizationPolicy(policy::authorization_policy(&root, with)?),
        Kind::PeerAuthentication => Object::PeerAuthentication(peer::peer_authentication(&root, with)?),
        Kind::Node => {
            let meta = meta(&root, Scope::Cluster, with)?;
            Object::Node(KubernetesNode::new(&meta.name, &meta.labels))
        }
    })
}

#[cfg(test)]
mod tests;
