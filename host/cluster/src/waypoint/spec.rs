//! What a waypoint should be, and its Gateway. No cluster is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use model::gateway::HBONE_PORT;
use model::referrers::NONE;
use model::store::REVISION;
use model::waypoint_view::WAYPOINT_FOR;
use serde_json::{Map, Value, json};

/// The class of Istio's own waypoints.
pub const DEFAULT_CLASS: &str = "istio-waypoint";
/// The name that a waypoint has where none is given, as with istioctl.
pub const DEFAULT_NAME: &str = "waypoint";
/// Annotation: the image of the waypoint's proxy, for instance Kmesh's.
pub const IMAGE: &str = "sidecar.istio.io/proxyImage";
/// The name of the listener.
const LISTENER: &str = "mesh";
/// The label that every Namespace has: its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// The longest name of a Service, and of a label's value: a waypoint's name is both.
const NAME_MAX: usize = 63;

/// The traffic that a waypoint serves (R4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficType {
    /// Addressed to services.
    Service,
    /// Addressed to workloads.
    Workload,
    /// Both.
    All,
    /// Nothing.
    None,
}

impl TrafficType {
    /// As it is written in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Workload => "workload",
            Self::All => "all",
            Self::None => NONE,
        }
    }
}

/// Whom a waypoint's owner admits (R11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Its own namespace only.
    Same,
    /// All namespaces.
    All,
    /// Namespaces with these names.
    Named(Vec<String>),
    /// Namespaces with these labels.
    Labelled(BTreeMap<String, String>),
}

impl FromStr for Admit {
    type Err = String;

    /// `same`, `all`, `NAME[,NAME...]` or `KEY=VALUE[,KEY=VALUE...]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        match parts.as_slice() {
            ["same"] => return Ok(Self::Same),
            ["all"] => return Ok(Self::All),
            _ => {}
        }
        let pairs: Vec<Option<(&str, &str)>> = parts.iter().map(|part| part.split_once('=')).collect();
        if pairs.iter().all(Option::is_some) {
            let pairs = pairs.into_iter().flatten();
            let labels: BTreeMap<String, String> =
                pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let is_key = |key: &String| !key.is_empty() && !key.contains(char::is_whitespace);
            return if labels.keys().all(is_key) {
                Ok(Self::Labelled(labels))
            } else {
                Err("a label has no key".to_owned())
            };
        }
        if pairs.iter().any(Option::is_some) {
            return Err("names of namespaces and labels cannot be mixed".to_owned());
        }
        parts.into_iter().map(namespace_name).collect::<Result<_, _>>().map(Self::Named)
    }
}

impl fmt::Display for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::All => f.write_str("all"),
            Self::Named(names) => f.write_str(&names.join(",")),
            Self::Labelled(labels) => {
                let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}

/// What a waypoint should be. What is none is not written, and stays as it is where the Gateway is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its namespace; none: left to who applies it.
    pub namespace: Option<String>,
    /// Its name, see [`name()`].
    pub name: String,
    /// The GatewayClass; none: [`DEFAULT_CLASS`].
    pub class: Option<String>,
    /// The traffic it serves; none: what the class says.
    pub serves: Option<TrafficType>,
    /// The revision of Istio that is to program it.
    pub revision: Option<String>,
    /// The image of its proxy.
    pub image: Option<String>,
    /// Whom it admits; none: its own namespace.
    pub admit: Option<Admit>,
}

impl Spec {
    /// A waypoint with nothing but a name.
    pub fn named(namespace: Option<&str>, name: &str) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            class: None,
            serves: None,
            revision: None,
            image: None,
            admit: None,
        }
    }

    /// The Gateway.
    pub fn gateway(&self) -> Value {
        let pair = |key: &str, value: Option<&str>| value.map(|value| (key.to_owned(), Value::from(value)));
        let pairs = |pairs: Vec<Option<(String, Value)>>| Value::Object(pairs.into_iter().flatten().collect());
        let labels = pairs(vec![
            pair(WAYPOINT_FOR, self.serves.map(TrafficType::as_str)),
            pair(REVISION, self.revision.as_deref()),
        ]);
        let annotations = pairs(vec![pair(IMAGE, self.image.as_deref())]);
        let mut meta = Map::new();
        meta.insert("name".to_owned(), json!(self.name));
        meta.extend(pair("namespace", self.namespace.as_deref()));
        let filled = [("labels", labels), ("annotations", annotations)];
        let filled = filled.into_iter().filter(|(_, value)| value.as_object().is_some_and(|map| !map.is_empty()));
        meta.extend(filled.map(|(key, value)| (key.to_owned(), value)));
        let mut listener = json!({ "name": LISTENER, "port": HBONE_PORT, "protocol": "HBONE" });
        if let (Some(fields), Some(from)) = (listener.as_object_mut(), self.admit.as_ref().and_then(namespaces)) {
            fields.insert("allowedRoutes".to_owned(), json!({ "namespaces": from }));
        }
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": meta,
            "spec": {
                "gatewayClassName": self.class.as_deref().unwrap_or(DEFAULT_CLASS),
                "listeners": [listener],
            },
        })
    }
}

/// `allowedRoutes.namespaces`; the own namespace needs none (R11).
fn namespaces(admit: &Admit) -> Option<Value> {
    Some(match admit {
        Admit::Same => return None,
        Admit::All => json!({ "from": "All" }),
        Admit::Named(names) => {
            let one = json!([{ "key": NAMESPACE_NAME, "operator": "In", "values": names }]);
            json!({ "from": "Selector", "selector": { "matchExpressions": one } })
        }
        Admit::Labelled(labels) => json!({ "from": "Selector", "selector": { "matchLabels": labels } }),
    })
}

/// Checks the name of a waypoint: its Service is called so, and labels have it as their value.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<String, String> {
    if text == NONE {
        return Err("none is not a name: as the value of a label it opts out".to_owned());
    }
    namespace_name(text)
}

/// Checks the name of a namespace, which may be `none`.
///
/// # Errors
/// What is wrong with it.
pub fn namespace_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = text.len() <= NAME_MAX && text.chars().all(|c| plain(c) || c == '-');
    if fits && text.starts_with(plain) && text.ends_with(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no name: a-z, 0-9 and - inside, up to {NAME_MAX} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waypoint_with_nothing_but_a_name_is_what_istioctl_makes() {
        assert_eq!(
            manifest::write_yaml(&Spec::named(None, "waypoint").gateway()),
            "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: waypoint
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
"
        );
    }

    #[test]
    fn everything_that_was_given_is_written() {
        let spec = Spec {
            class: Some("other".to_owned()),
            serves: Some(TrafficType::All),
            revision: Some("canary".to_owned()),
            image: Some("example.org/waypoint:1".to_owned()),
            admit: Some(Admit::Named(vec!["a".to_owned(), "b".to_owned()])),
            ..Spec::named(Some("shop"), "w")
        };
        assert_eq!(
            manifest::write_yaml(&spec.gateway()),
            "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  annotations:
    sidecar.istio.io/proxyImage: example.org/waypoint:1
  labels:
    istio.io/rev: canary
    istio.io/waypoint-for: all
  name: w
  namespace: shop
spec:
  gatewayClassName: other
  listeners:
  - allowedRoutes:
      namespaces:
        from: Selector
        selector:
          matchExpressions:
          - key: kubernetes.io/metadata.name
            operator: In
            values:
            - a
            - b
    name: mesh
    port: 15008
    protocol: HBONE
"
        );
    }

    #[test]
    fn who_is_admitted_is_written_in_one_of_four_ways() {
        let admit = |text: &str| text.parse::<Admit>();
        assert_eq!(admit("same"), Ok(Admit::Same));
        assert_eq!(admit("all"), Ok(Admit::All));
        assert_eq!(admit("a, b"), Ok(Admit::Named(vec!["a".to_owned(), "b".to_owned()])));
        let labels = [("team", "x"), ("env", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(admit("team=x,env="), Ok(Admit::Labelled(labels.into())));
        for wrong in ["", "a,team=x", "=x", "All", "a,,b", "all,B"] {
            assert!(admit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_must_do_for_a_service_and_a_label() {
        assert_eq!(name("waypoint-2"), Ok("waypoint-2".to_owned()));
        assert_eq!(namespace_name("none"), Ok("none".to_owned()));
        for wrong in ["", "none", "None", "a.b", "-a", "a-", "a b", &"x".repeat(64)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
