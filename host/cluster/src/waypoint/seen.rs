//! Waypoints as they are: what their Gateways and classes say, whether they are ready, and what is missing if not.

use std::fmt;

use futures_util::future::try_join;
use kube::api::ListParams;
use model::gateway::{GatewayKey, HBONE_PORT};
use model::store::{Event, REVISION};
use model::waypoint_view::{Admits, EAST_WEST_CLASS, WAYPOINT_FOR, admits_of, serves};
use model::{Gateway, Kind, Name, Object, Store};
use serde_json::Value;

use super::objects::{At, Got, object_of, text};
use super::spec::{DEFAULT_CLASS, IMAGE};
use crate::connect::Cluster;
use crate::error::Error;

/// Gateways of one page.
const PAGE: u32 = 500;
/// The class of Istio's waypoints by agentgateway.
const AGENTGATEWAY_CLASS: &str = "istio-agentgateway-waypoint";
/// Annotation of a waypoint that is not Istio's (R9).
const INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";
/// The condition that a Gateway is set up.
const PROGRAMMED: &str = "Programmed";

/// Which waypoints are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of all namespaces.
    All,
    /// Those of one.
    Namespace(String),
}

impl Scope {
    /// Empty for all.
    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::All => "",
            Self::Namespace(namespace) => namespace,
        }
    }
}

/// `in namespace shop`, `in any namespace`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("in any namespace"),
            Self::Namespace(namespace) => write!(f, "in namespace {namespace}"),
        }
    }
}

/// Where a waypoint's traffic type comes from (R4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServesFrom {
    /// The label of the Gateway.
    Gateway,
    /// The label of its class.
    Class,
    /// Neither has one.
    Default,
}

/// A condition of a Gateway's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// `type`.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The generation of the Gateway that it is about, where it says so.
    pub observed: Option<i64>,
}

/// A Gateway that is a waypoint, as it was read.
#[derive(Clone, Debug)]
pub struct Waypoint {
    /// As the model has it.
    pub gateway: Gateway,
    /// As the API server has it.
    pub json: Value,
    /// The traffic it serves, as written; `service` by default (R4).
    pub serves: Name,
    /// Who says so.
    pub serves_from: ServesFrom,
    /// Whom its owner admits.
    pub admits: Admits,
    /// `status.conditions` in their order.
    pub conditions: Vec<Condition>,
}

/// What a waypoint lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing: it is programmed and has an address.
    Ready,
    /// There is no such Gateway.
    Absent,
    /// Its controller has not said yet that it is programmed, or says that it is not.
    NotProgrammed(Option<Condition>),
    /// What its controller says is about an earlier generation.
    Outdated,
    /// It reports no address, or none that can be used: for Istio it is no waypoint (R1, R7).
    NoAddress,
}

impl Waypoint {
    pub(super) fn of(got: Got, classes: &Store) -> Option<Self> {
        let Object::Gateway(gateway) = got.object else { return None };
        let label = |labels: &model::Labels| labels.get(WAYPOINT_FOR).is_some();
        let serves_from = if label(&gateway.meta.labels) {
            ServesFrom::Gateway
        } else if classes.class(&gateway.class).is_some_and(|class| label(&class.meta.labels)) {
            ServesFrom::Class
        } else {
            ServesFrom::Default
        };
        let conditions = got.json.pointer("/status/conditions").and_then(Value::as_array);
        let conditions = conditions.into_iter().flatten().map(condition).collect();
        let (serves, admits) = (serves(classes, &gateway), admits_of(classes, &gateway));
        Some(Self { serves, admits, gateway, json: got.json, serves_from, conditions })
    }

    /// A waypoint of its JSON; `classes` has the classes that are known.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(json: Value, classes: &Store) -> Result<Self, String> {
        let object = object_of(Kind::Gateway, &json)?;
        Self::of(Got { object, json }, classes).ok_or_else(|| "it is no Gateway".to_owned())
    }

    /// Namespace and name.
    pub fn key(&self) -> GatewayKey {
        self.gateway.key()
    }

    /// What tells it from a later one of the same name.
    pub fn uid(&self) -> &str {
        text(&self.json, "/metadata/uid").unwrap_or_default()
    }

    /// The revision of Istio that it is for.
    pub fn revision(&self) -> &str {
        self.gateway.meta.labels.get(REVISION).map_or("default", |revision| revision)
    }

    /// The image that it asks for.
    pub fn image(&self) -> Option<&str> {
        self.gateway.meta.annotations.get(IMAGE).map(|image| &**image)
    }

    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// What the condition Programmed says; `Unknown` where it is not there.
    pub fn programmed(&self) -> &str {
        self.condition(PROGRAMMED).map_or("Unknown", |condition| &condition.status)
    }

    /// Whether traffic that is sent to it now arrives: Istio takes a Gateway for a waypoint by its address (R1), which stays
    /// when the Gateway changes (R13); what its controller says of its generation is asked for beside that.
    pub fn readiness(&self) -> Readiness {
        let generation = self.json.pointer("/metadata/generation").and_then(Value::as_i64);
        match self.condition(PROGRAMMED) {
            Some(it) if it.status == "True" => {
                if it.observed.zip(generation).is_some_and(|(observed, generation)| observed < generation) {
                    return Readiness::Outdated;
                }
            }
            other => return Readiness::NotProgrammed(other.or_else(|| self.condition("Accepted")).cloned()),
        }
        let usable = |it: &model::gateway::StatusAddress| it.hostname().is_some() || it.ip().is_some();
        if self.gateway.addresses.iter().any(usable) { Readiness::Ready } else { Readiness::NoAddress }
    }

    /// Whether it is meant as a waypoint: by its class, its listener, or a label or annotation that only waypoints have.
    /// Any other Gateway with an address could be named as one (R1).
    pub fn is_meant(&self) -> bool {
        let gateway = &self.gateway;
        let tunnel = |it: &model::gateway::Listener| &*it.protocol == "HBONE" && it.port == u32::from(HBONE_PORT);
        match &*gateway.class {
            DEFAULT_CLASS | AGENTGATEWAY_CLASS => true,
            EAST_WEST_CLASS => false,
            _ => {
                gateway.listeners.iter().any(tunnel)
                    || gateway.meta.labels.get(WAYPOINT_FOR).is_some()
                    || gateway.meta.annotations.get(INBOUND_BINDING).is_some()
            }
        }
    }
}

fn condition(json: &Value) -> Condition {
    let of = |pointer| text(json, pointer).unwrap_or_default().to_owned();
    Condition {
        kind: of("/type"),
        status: of("/status"),
        reason: of("/reason"),
        message: of("/message"),
        observed: json.pointer("/observedGeneration").and_then(Value::as_i64),
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Absent => f.write_str("there is no such Gateway"),
            Self::NotProgrammed(None) => f.write_str("no controller has taken it up: it has no conditions"),
            Self::NotProgrammed(Some(it)) => {
                write!(f, "{} is {}", it.kind, it.status)?;
                if !it.reason.is_empty() {
                    write!(f, " ({})", it.reason)?;
                }
                if it.message.is_empty() { Ok(()) } else { write!(f, ": {}", it.message) }
            }
            Self::Outdated => f.write_str("its controller has not seen its last change yet"),
            Self::NoAddress => f.write_str("it is programmed, but reports no address yet"),
        }
    }
}

/// All waypoints in the scope, in the order of their names, with what cannot be read, a line each.
///
/// # Errors
/// [`Error::NoSuchKind`] where the Gateway API is not installed, and everything that a request may meet.
pub async fn list(cluster: &Cluster, scope: &Scope) -> Result<(Vec<Waypoint>, Vec<String>), Error> {
    let (gateways, (classes, _)) = try_join(
        pages(cluster, At { kind: Kind::Gateway, namespace: scope.namespace(), name: "" }, ""),
        classes(cluster),
    )
    .await?;
    let (read, unread): (Vec<_>, Vec<_>) = gateways.into_iter().partition(Result::is_ok);
    let mut waypoints: Vec<Waypoint> =
        read.into_iter().flatten().filter_map(|got| Waypoint::of(got, &classes)).filter(Waypoint::is_meant).collect();
    waypoints.sort_unstable_by_key(Waypoint::key);
    Ok((waypoints, unread.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect()))
}

/// The classes, which say what their Gateways serve, and whether they may be seen. Who may not does without.
pub(super) async fn classes(cluster: &Cluster) -> Result<(Store, bool), Error> {
    let mut store = Store::default();
    match pages(cluster, At { kind: Kind::GatewayClass, namespace: "", name: "" }, "").await {
        Ok(classes) => {
            store.apply_all(classes.into_iter().flatten().map(|got| Event::Apply(got.object)));
        }
        Err(error @ Error::Forbidden { .. }) => {
            tracing::warn!("{error}: traffic types that classes say are not known");
            return Ok((store, false));
        }
        Err(error) => return Err(error),
    }
    Ok((store, true))
}

/// All objects, page by page; `labels` is a selector, or empty. What cannot be read spoils nothing else.
pub(super) async fn pages(cluster: &Cluster, at: At<'_>, labels: &str) -> Result<Vec<Result<Got, Error>>, Error> {
    let api = at.api(cluster);
    let mut params = ListParams::default().limit(PAGE);
    if !labels.is_empty() {
        params = params.labels(labels);
    }
    let mut all = Vec::new();
    loop {
        let page = api.list(&params).await.map_err(|error| at.failed("list", error))?;
        all.extend(page.items.iter().map(|raw| {
            let (namespace, name) = raw.names();
            Got::read(At { kind: at.kind, namespace, name }, raw)
        }));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::object_of;
    use super::*;

    fn waypoint(json: Value, classes: &Store) -> Waypoint {
        Waypoint::read(json, classes).unwrap()
    }

    fn with_status(generation: i64, status: Value) -> Waypoint {
        let json = json!({ "metadata": { "name": "w", "namespace": "shop", "generation": generation },
            "spec": { "gatewayClassName": "istio-waypoint" }, "status": status });
        waypoint(json, &Store::default())
    }

    #[test]
    fn ready_is_programmed_as_it_is_now_and_with_an_address() {
        let programmed = |status: &str, observed: i64| {
            json!([{ "type": "Accepted", "status": "True", "reason": "Accepted" },
            { "type": "Programmed", "status": status, "reason": "AddressNotAssigned", "message": "no endpoints", "observedGeneration": observed }])
        };
        let address = json!([{ "type": "Hostname", "value": "w.shop.svc.cluster.local" }]);
        let text = |it: Waypoint| it.readiness().to_string();
        assert_eq!(text(with_status(2, json!({ "conditions": programmed("True", 2), "addresses": address }))), "ready");
        assert_eq!(
            text(with_status(2, json!({ "conditions": programmed("True", 1), "addresses": address }))),
            "its controller has not seen its last change yet"
        );
        assert_eq!(
            text(with_status(2, json!({ "conditions": programmed("False", 2), "addresses": address }))),
            "Programmed is False (AddressNotAssigned): no endpoints"
        );
        let odd = json!([{ "value": "10.0.0.1" }]);
        for addresses in [json!([]), odd] {
            assert_eq!(
                text(with_status(1, json!({ "conditions": programmed("True", 1), "addresses": addresses }))),
                "it is programmed, but reports no address yet"
            );
        }
        assert_eq!(text(with_status(1, json!({}))), "no controller has taken it up: it has no conditions");
        let accepted = json!([{ "type": "Accepted", "status": "False", "reason": "Invalid" }]);
        assert_eq!(text(with_status(1, json!({ "conditions": accepted }))), "Accepted is False (Invalid)");
    }

    #[test]
    fn the_traffic_type_is_that_of_the_gateway_then_of_the_class_then_service() {
        let mut classes = Store::default();
        let class = json!({ "metadata": { "name": "own", "labels": { "istio.io/waypoint-for": "all" } } });
        classes.apply(Event::Apply(object_of(Kind::GatewayClass, &class).unwrap()));
        let of = |labels: Value, class: &str| {
            let json = json!({ "metadata": { "name": "w", "namespace": "shop", "labels": labels }, "spec": { "gatewayClassName": class } });
            let it = waypoint(json, &classes);
            (it.serves.to_string(), it.serves_from)
        };
        assert_eq!(of(json!({ "istio.io/waypoint-for": "none" }), "own"), ("none".to_owned(), ServesFrom::Gateway));
        assert_eq!(of(json!({}), "own"), ("all".to_owned(), ServesFrom::Class));
        assert_eq!(of(json!({}), "istio-waypoint"), ("service".to_owned(), ServesFrom::Default));
    }

    #[test]
    fn a_gateway_for_ingress_or_between_clusters_is_no_waypoint() {
        let of = |class: &str, protocol: &str, labels: Value| {
            let json = json!({ "metadata": { "name": "w", "namespace": "shop", "labels": labels },
                "spec": { "gatewayClassName": class, "listeners": [{ "port": 15008, "protocol": protocol }] } });
            waypoint(json, &Store::default()).is_meant()
        };
        assert!(of("istio-waypoint", "HTTP", json!({})) && of("istio-agentgateway-waypoint", "HTTP", json!({})));
        assert!(of("own", "HBONE", json!({})) && of("own", "HTTP", json!({ "istio.io/waypoint-for": "all" })));
        assert!(!of("istio", "HTTP", json!({})) && !of("istio-east-west", "HBONE", json!({})));
    }
}
