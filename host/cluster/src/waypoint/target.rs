//! What can be enrolled: an object that may name a waypoint in its labels, as it is written in a command line.

use std::fmt;
use std::str::FromStr;

use model::{Kind, ObjectKey};

/// The kinds that name waypoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetKind {
    /// All services, or workloads, of a namespace.
    Namespace,
    /// A Service.
    Service,
    /// A ServiceEntry.
    ServiceEntry,
    /// A Pod.
    Pod,
    /// A WorkloadEntry.
    WorkloadEntry,
}

impl TargetKind {
    /// The kind as the model has it.
    pub fn kind(self) -> Kind {
        match self {
            Self::Namespace => Kind::Namespace,
            Self::Service => Kind::Service,
            Self::ServiceEntry => Kind::ServiceEntry,
            Self::Pod => Kind::Pod,
            Self::WorkloadEntry => Kind::WorkloadEntry,
        }
    }

    /// What kubectl calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Service => "service",
            Self::ServiceEntry => "serviceentry",
            Self::Pod => "pod",
            Self::WorkloadEntry => "workloadentry",
        }
    }

    /// Whether it is about traffic to workloads, not to services (R46).
    pub fn is_workload(self) -> bool {
        matches!(self, Self::Pod | Self::WorkloadEntry)
    }
}

/// An object to enrol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Its kind.
    pub kind: TargetKind,
    /// Its namespace; none: that of the command. Always none of a Namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Target {
    /// The Namespace with this name.
    pub fn namespace(name: &str) -> Self {
        Self { kind: TargetKind::Namespace, namespace: None, name: name.to_owned() }
    }

    /// The same, in this namespace where it says none.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        if self.kind != TargetKind::Namespace {
            self.namespace.get_or_insert_with(|| namespace.to_owned());
        }
        self
    }

    /// The namespace that it is in, or is.
    pub fn home(&self) -> &str {
        self.namespace.as_deref().unwrap_or(&self.name)
    }

    /// The key of the object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.kind.kind(), self.namespace.as_deref().unwrap_or_default(), &self.name)
    }
}

impl FromStr for Target {
    type Err = String;

    /// `KIND/NAME` or `KIND/NAMESPACE/NAME`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not KIND/NAME or KIND/NAMESPACE/NAME, for instance service/cart");
        let mut parts = text.split('/');
        let kind = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "namespace" | "namespaces" | "ns" => TargetKind::Namespace,
            "service" | "services" | "svc" => TargetKind::Service,
            "serviceentry" | "serviceentries" | "se" => TargetKind::ServiceEntry,
            "pod" | "pods" | "po" => TargetKind::Pod,
            "workloadentry" | "workloadentries" | "we" => TargetKind::WorkloadEntry,
            kind if !kind.is_empty() && text.contains('/') => {
                return Err(format!(
                    "{kind} names no waypoint: namespace, service, serviceentry, pod, workloadentry do"
                ));
            }
            _ => return Err(wrong()),
        };
        let (first, second, more) = (parts.next(), parts.next(), parts.next());
        let (namespace, name) = match (first, second, more) {
            (Some(name), None, None) => (None, name),
            (Some(namespace), Some(name), None) if kind != TargetKind::Namespace => (Some(namespace), name),
            _ => return Err(wrong()),
        };
        // They become parts of a path: the API server has the last word on what a name is.
        let fits = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            !part.is_empty() && part.chars().all(plain) && !part.starts_with('.')
        };
        if !fits(name) || !namespace.is_none_or(fits) {
            return Err(wrong());
        }
        Ok(Self { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

/// As it is written: `service/shop/cart`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind.word(), self.name),
            None => write!(f, "{}/{}", self.kind.word(), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_named_as_kubectl_names_it() {
        let target = |text: &str| text.parse::<Target>().map(|it| it.in_namespace("shop").to_string());
        assert_eq!(target("svc/cart").as_deref(), Ok("service/shop/cart"));
        assert_eq!(target("ServiceEntry/other/api").as_deref(), Ok("serviceentry/other/api"));
        assert_eq!(target("ns/shop").as_deref(), Ok("namespace/shop"));
        for wrong in ["cart", "node/a", "svc/", "svc/a/b/c", "ns/a/b", "svc/../a", "svc/a b", "/x"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
        assert_eq!("pod/a/b".parse::<Target>().unwrap().home(), "a");
        assert_eq!(Target::namespace("a").home(), "a");
    }
}
