//! What is no name of anybody's: keys and values that Kubernetes, Istio, this program and the component in charge give a
//! meaning. Words that are kept wherever they stand are in [`super::words`].

use std::collections::BTreeSet;

use crate::description::{Description, Read, Source};
use crate::name::Name;
use crate::service::{Distribution, TRAFFIC_DISTRIBUTION};

/// Keys below these domains, and below domains of theirs, mean the same in every mesh.
const DOMAINS: [&str; 4] = ["istio.io", "k8s.io", "kubernetes.io", "wayswitch.io"];
/// Keys without a domain that many tools know.
const PLAIN_KEYS: [&str; 6] = ["app", "istio", "istio-injection", "k8s-app", "pod-template-hash", "version"];

/// How a waypoint's own instance takes a destination (R9).
const INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";
/// The share of the second waypoint (R62).
const CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";
/// The service account that a Gateway is for, before Istio 1.22.
const FOR_SERVICE_ACCOUNT: &str = "istio.io/for-service-account";
/// Whether ztunnel captures a Pod, and what it says then.
const REDIRECTION: &str = "ambient.istio.io/redirection";
/// Whether a workload takes tunnels itself, and by what.
const TUNNEL: &str = "networking.istio.io/tunnel";
/// Whether a policy only pretends (R106).
const DRY_RUN: &str = "istio.io/dry-run";
/// The service account that a Gateway runs as.
const RUNS_AS: &str = "gateway.istio.io/service-account";
/// Annotations on which decisions depend, or what ztunnel is told: all others are dropped.
const ANNOTATIONS: [&str; 7] =
    [INBOUND_BINDING, CANARY_WEIGHT, FOR_SERVICE_ACCOUNT, REDIRECTION, DRY_RUN, TRAFFIC_DISTRIBUTION, RUNS_AS];

/// The controllers that generate objects for Gateways (R28).
const MANAGED: &str = "gateway.istio.io/managed";
const CONTROLLERS: [&str; 4] = [
    "istio.io-agentgateway-waypoint-controller",
    "istio.io-eastwest-controller",
    "istio.io-gateway-controller",
    "istio.io-mesh-controller",
];
/// Whether gateways go through the waypoint too, and the ways to say yes or no (R70).
const INGRESS: &str = "istio.io/ingress-use-waypoint";
const TRUTHS: [&str; 12] = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];

/// Beyond this a binding's port is none whatever its digits are (R9), and a weight is not valid (R62).
const PORT_DIGITS_MAX: usize = 10;
const WEIGHT_DIGITS_MAX: usize = 3;

/// The keys that keep their names beyond those that everybody knows: what the component in charge reads.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    labels: Vec<Name>,
    annotations: Vec<Name>,
}

impl Vocabulary {
    /// Keys of labels and of annotations; one that ends in `*` is a prefix.
    pub fn new(labels: Vec<Name>, annotations: Vec<Name>) -> Self {
        Self { labels, annotations }
    }

    /// The keys that a component declared.
    pub fn of(description: &Description) -> Self {
        let is_annotation = |read: &&Read| {
            matches!(
                read.at,
                Source::SubjectAnnotation
                    | Source::NamespaceAnnotation
                    | Source::GatewayAnnotation
                    | Source::ClassAnnotation
            )
        };
        let (annotations, labels): (Vec<&Read>, Vec<&Read>) = description.reads.iter().partition(is_annotation);
        let named = description.references.iter();
        let named = named.flat_map(|it| std::iter::once(&it.name_label).chain(&it.namespace_label));
        let keys = |reads: Vec<&Read>| reads.into_iter().map(|read| read.key.clone()).collect::<BTreeSet<Name>>();
        let labels: BTreeSet<Name> = keys(labels).into_iter().chain(named.cloned()).collect();
        Self { labels: labels.into_iter().collect(), annotations: keys(annotations).into_iter().collect() }
    }

    /// The keys of labels, prefixes with a `*`.
    pub fn labels(&self) -> &[Name] {
        &self.labels
    }

    /// The keys of annotations, prefixes with a `*`.
    pub fn annotations(&self) -> &[Name] {
        &self.annotations
    }

    /// Whether a label's key keeps its name.
    pub(super) fn has_key(&self, key: &str) -> bool {
        let domain = key.split_once('/').map(|(domain, _)| domain);
        let below = |known: &&str| domain.and_then(|domain| domain.strip_suffix(*known)).is_some_and(is_whole);
        DOMAINS.iter().any(below) || PLAIN_KEYS.contains(&key) || covers(&self.labels, key)
    }

    /// Whether an annotation is kept at all, its key as it is.
    pub(super) fn has_annotation(&self, key: &str) -> bool {
        ANNOTATIONS.contains(&key) || covers(&self.annotations, key)
    }
}

fn covers(keys: &[Name], key: &str) -> bool {
    keys.iter().any(|known| match known.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => **known == *key,
    })
}

/// Nothing or a further domain before the known one.
fn is_whole(before: &str) -> bool {
    before.is_empty() || before.ends_with('.')
}

/// Whether a value of this key, or a part of one between slashes, means something by itself.
pub(super) fn has_value(key: &str, part: &str) -> bool {
    match key {
        INBOUND_BINDING => matches!(part, "PROXY" | "NONE") || is_number(part, PORT_DIGITS_MAX),
        CANARY_WEIGHT => is_number(part.strip_prefix(['+', '-']).unwrap_or(part), WEIGHT_DIGITS_MAX),
        MANAGED => CONTROLLERS.contains(&part),
        INGRESS | DRY_RUN => TRUTHS.contains(&part),
        REDIRECTION => matches!(part, "enabled" | "disabled"),
        TUNNEL => part == "http",
        TRAFFIC_DISTRIBUTION => Distribution::of_annotation(part).is_some(),
        _ => false,
    }
}

/// Whether it has only digits, and not too many to be a secret.
pub(super) fn is_number(text: &str, digits_max: usize) -> bool {
    !text.is_empty() && text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{Fields, Reach, Reference};

    fn description() -> Description {
        let read = |at, key: &str| Read { at, key: key.into() };
        Description {
            name: "test".into(),
            version: "1".into(),
            reads: vec![
                read(Source::SubjectLabel, "acme.example/tier"),
                read(Source::GatewayLabel, "acme.example/of-*"),
                read(Source::GatewayAnnotation, "acme.example/note"),
            ],
            fields: Fields::default(),
            references: vec![Reference {
                name_label: "via".into(),
                namespace_label: Some("via-ns".into()),
                inherit: true,
            }],
            reach: Reach::Referenced,
        }
    }

    #[test]
    fn keys_of_known_domains_and_of_the_component_are_kept() {
        let plain = Vocabulary::default();
        let read = Vocabulary::of(&description());
        let rows = [
            ("istio.io/use-waypoint", true, true),
            ("gateway.networking.k8s.io/gateway-name", true, true),
            ("wayswitch.io/waypoint-required", true, true),
            ("app", true, true),
            ("team", false, false),
            ("notistio.io/x", false, false),
            ("istio.io.acme.example/x", false, false),
            ("acme.example/tier", false, true),
            ("acme.example/of-all", false, true),
            ("acme.example/note", false, false),
            ("via", false, true),
            ("via-ns", false, true),
        ];
        for (key, without, with) in rows {
            assert_eq!((plain.has_key(key), read.has_key(key)), (without, with), "{key}");
        }
        assert!(read.has_annotation("acme.example/note") && !plain.has_annotation("acme.example/note"));
        assert!(!plain.has_annotation("kubectl.kubernetes.io/last-applied-configuration"));
    }

    #[test]
    fn values_are_kept_where_they_mean_something() {
        let rows = [
            (INBOUND_BINDING, "PROXY", true),
            (INBOUND_BINDING, "4294967296", true),
            (INBOUND_BINDING, "proxy", false),
            (CANARY_WEIGHT, "+7", true),
            (CANARY_WEIGHT, "5551234", false),
            (MANAGED, "istio.io-mesh-controller", true),
            (INGRESS, "TRUE", true),
            (INGRESS, "yes", false),
            ("team", "1", false),
        ];
        for (key, value, kept) in rows {
            assert_eq!(has_value(key, value), kept, "{key}={value}");
        }
    }
}
