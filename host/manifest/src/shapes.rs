//! The shapes of Kubernetes objects: which fields matter and where they are. Not what they mean for a decision.
//!
//! The API group and kind tell objects apart; the version does not (conformance rule 5). Unknown fields are nobody's
//! business here. Null is the same as absent, as it is for the API server.

use std::net::IpAddr;

use model::gateway::{Gateway, GatewayClass, Listener, StatusAddress};
use model::selector::{Requirement, Selector};
use model::{Meta, Name, Namespace, Object, Pod, Service};

use crate::limits::Limits;
use crate::node::{Node, Value};
use crate::problem::{Fault, Misfit, printable, quoted};
use crate::view::View;

const CORE: &str = "";
const GATEWAY: &str = "gateway.networking.k8s.io";
const ISTIO: &str = "networking.istio.io";
const ISTIO_SECURITY: &str = "security.istio.io";
const DISCOVERY: &str = "discovery.k8s.io";

/// What a document or an item turned out to be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// An object of the model.
    Object(Object),
    /// Known, and nothing of it matters yet (ServiceAccount: a Pod names its own).
    Ignored,
    /// Known, but of a later version of this program.
    Later,
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
        "Namespace" | "GatewayClass" => None,
        _ => Some(meta.text_field("namespace").ok().flatten().unwrap_or("default")),
    };
    let short = |text: &str| printable(text).chars().take(253).collect::<String>();
    Some(match namespace {
        Some(namespace) => format!("{} {}/{}", short(kind), short(namespace), short(name)),
        None => format!("{} {}", short(kind), short(name)),
    })
}

/// Reads an object.
///
/// # Errors
/// It is of a kind of the model, and a field that matters is missing, of the wrong type or too large.
pub(crate) fn shape(node: &Node, limits: &Limits) -> Result<Shape, Misfit> {
    let name = type_name(node)?;
    let root = View::root(node);
    let object = match (name.group, name.kind) {
        (CORE, "Namespace") => Object::Namespace(Namespace { meta: meta(&root, Scope::Cluster, limits)? }),
        (GATEWAY, "GatewayClass") => Object::GatewayClass(GatewayClass { meta: meta(&root, Scope::Cluster, limits)? }),
        (GATEWAY, "Gateway") => Object::Gateway(gateway(&root, limits)?),
        (CORE, "Service") => Object::Service(service(&root, limits)?),
        (CORE, "Pod") => Object::Pod(pod(&root, limits)?),
        (CORE, "ServiceAccount") => return Ok(Shape::Ignored),
        (ISTIO, "ServiceEntry" | "WorkloadEntry")
        | (DISCOVERY, "EndpointSlice")
        | (ISTIO_SECURITY, "AuthorizationPolicy" | "PeerAuthentication") => return Ok(Shape::Later),
        _ => return Ok(Shape::Unknown),
    };
    Ok(Shape::Object(object))
}

#[derive(Clone, Copy)]
enum Scope {
    Cluster,
    Namespace,
}

fn meta(root: &View<'_, '_>, scope: Scope, limits: &Limits) -> Result<Meta, Misfit> {
    let Some(meta) = root.field("metadata")? else {
        return Err(root.misfit(Fault::Missing { path: "metadata.name" }));
    };
    let name = match meta.text_field("name")? {
        Some(text) if !text.is_empty() => name(&meta, "metadata.name", text, limits)?,
        _ => return Err(meta.misfit(Fault::Missing { path: "metadata.name" })),
    };
    let namespace = match (scope, meta.text_field("namespace")?) {
        (Scope::Cluster, _) => "".into(),
        (Scope::Namespace, None | Some("")) => "default".into(),
        (Scope::Namespace, Some(text)) => self::name(&meta, "metadata.namespace", text, limits)?,
    };
    Ok(Meta {
        namespace,
        name,
        labels: meta.labels_field("labels", limits)?,
        annotations: meta.labels_field("annotations", limits)?,
    })
}

/// The part of the API server's rules for names that all kinds share, so that `namespace/name` stays unambiguous.
fn name(meta: &View<'_, '_>, path: &'static str, text: &str, limits: &Limits) -> Result<Name, Misfit> {
    let bytes_max = limits.name_bytes_max;
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '%');
    if text.len() > bytes_max || matches!(text, "." | "..") || text.contains(bad) {
        return Err(meta.misfit(Fault::BadName { path, value: quoted(text), bytes_max }));
    }
    Ok(text.into())
}

fn gateway(root: &View<'_, '_>, limits: &Limits) -> Result<Gateway, Misfit> {
    let meta = meta(root, Scope::Namespace, limits)?;
    let (mut class, mut listeners, mut addresses) = (Name::from(""), Vec::new(), Vec::new());
    if let Some(spec) = root.field("spec")? {
        class = spec.text_field("gatewayClassName")?.unwrap_or_default().into();
        listeners = spec.list_field("listeners", |view| listener(&view, limits))?;
    }
    if let Some(status) = root.field("status")? {
        addresses = status.list_field("addresses", |view| {
            let kind = view.text_field("type")?.map(Name::from);
            Ok(StatusAddress { kind, value: view.text_field("value")?.unwrap_or_default().into() })
        })?;
    }
    Ok(Gateway { meta, class, listeners, addresses })
}

fn listener(view: &View<'_, '_>, limits: &Limits) -> Result<Listener, Misfit> {
    let (mut admits_from, mut selector) = (None, None);
    if let Some(routes) = view.field("allowedRoutes")?
        && let Some(namespaces) = routes.field("namespaces")?
    {
        admits_from = namespaces.text_field("from")?.map(Name::from);
        selector = namespaces.field("selector")?.map(|view| self::selector(&view, limits)).transpose()?;
    }
    let protocol = view.text_field("protocol")?.unwrap_or_default().into();
    Ok(Listener { port: view.number_field("port")?, protocol, admits_from, selector })
}

fn selector(view: &View<'_, '_>, limits: &Limits) -> Result<Selector, Misfit> {
    let requirements = view.list_field("matchExpressions", |view| {
        Ok(Requirement {
            key: view.text_field("key")?.unwrap_or_default().into(),
            operator: view.text_field("operator")?.unwrap_or_default().into(),
            values: view.list_field("values", |value| value.text().map(Name::from))?,
        })
    })?;
    Ok(Selector { labels: view.labels_field("matchLabels", limits)?, requirements })
}

fn service(root: &View<'_, '_>, limits: &Limits) -> Result<Service, Misfit> {
    let meta = meta(root, Scope::Namespace, limits)?;
    let Some(spec) = root.field("spec")? else {
        let selector = model::Labels::default();
        return Ok(Service { meta, external_name: false, addresses: Vec::new(), bad_address: None, selector });
    };
    let mut written = spec.list_field("clusterIPs", |view| view.text().map(Name::from))?;
    if written.is_empty() {
        written.extend(spec.text_field("clusterIP")?.map(Name::from));
    }
    // "None" is a headless Service, empty one that has no address yet.
    written.retain(|ip| !matches!(&**ip, "" | "None"));
    let (addresses, bad_address) = parse_addresses(&written);
    let external_name = spec.text_field("type")? == Some("ExternalName");
    Ok(Service { meta, external_name, addresses, bad_address, selector: spec.labels_field("selector", limits)? })
}

fn pod(root: &View<'_, '_>, limits: &Limits) -> Result<Pod, Misfit> {
    let meta = meta(root, Scope::Namespace, limits)?;
    let (mut service_account, mut host_network) = (Name::from("default"), false);
    if let Some(spec) = root.field("spec")? {
        if let Some(name) = spec.text_field("serviceAccountName")?.filter(|name| !name.is_empty()) {
            service_account = name.into();
        }
        host_network = spec.is_set("hostNetwork")?;
    }
    let (mut written, mut finished) = (Vec::new(), false);
    if let Some(status) = root.field("status")? {
        finished = matches!(status.text_field("phase")?, Some("Succeeded" | "Failed"));
        written = status.list_field("podIPs", |view| Ok(view.text_field("ip")?.unwrap_or_default().into()))?;
        if written.is_empty() {
            written.extend(status.text_field("podIP")?.filter(|ip| !ip.is_empty()).map(Name::from));
        }
    }
    let (addresses, bad_address) = parse_addresses(&written);
    Ok(Pod { meta, service_account, finished, addresses, bad_address, host_network })
}

/// The addresses that parse, and the first that does not.
fn parse_addresses(written: &[Name]) -> (Vec<IpAddr>, Option<Name>) {
    let addresses = written.iter().filter_map(|ip| ip.parse().ok()).collect();
    (addresses, written.iter().find(|ip| ip.parse::<IpAddr>().is_err()).cloned())
}
