//! AuthorizationPolicies as they are written. Waypoint selection does not depend on them; [`crate::lint`] says what is
//! wrong with them where a waypoint or a node proxy would not do what they seem to say (R105-R123).

use crate::name::{Labels, Name};
use crate::object::Meta;

/// An AuthorizationPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorizationPolicy {
    /// Metadata.
    pub meta: Meta,
    /// `spec.selector.matchLabels`; none: no selector, empty: one that selects nothing (Q19).
    pub selector: Option<Labels>,
    /// `spec.targetRefs`, and `spec.targetRef` (R105).
    pub targets: Vec<PolicyTarget>,
    /// `spec.action` as written, `ALLOW` where it is not set (R108).
    pub action: Name,
    /// `spec.rules`.
    pub rules: Vec<Rule>,
}

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyTarget {
    /// The API group, empty for the core one.
    pub group: Name,
    /// The kind.
    pub kind: Name,
    /// The namespace, where it is written; the policy's own otherwise (R120).
    pub namespace: Option<Name>,
    /// The name.
    pub name: Name,
}

/// One entry of `spec.rules`. Lists of one clause are alternatives, clauses are not (R109).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// `from[].source`: its fields.
    pub from: Vec<Vec<Field>>,
    /// `to[].operation`: its fields.
    pub to: Vec<Vec<Field>>,
    /// `when[]`: key with values, and with the values that must not be.
    pub when: Vec<Condition>,
}

/// A field of a source or an operation with its values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// The name as written, for instance `notPorts`.
    pub name: Name,
    /// The values.
    pub values: Vec<Name>,
}

/// One entry of `when`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// The attribute.
    pub key: Name,
    /// `values`.
    pub values: Vec<Name>,
    /// `notValues`.
    pub not_values: Vec<Name>,
}

impl AuthorizationPolicy {
    /// A policy with nothing but a name: it allows nothing, to everybody in its namespace.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self {
            meta: Meta::named(namespace, name),
            selector: None,
            targets: Vec::new(),
            action: "ALLOW".into(),
            rules: Vec::new(),
        }
    }
}
