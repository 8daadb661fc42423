//! What Istio's MeshConfig says about selection, and the Istio version whose host-side rules are followed.

use std::fmt;
use std::str::FromStr;

use crate::name::{Labels, Name};
use crate::selector::Selector;

/// The fields of MeshConfig that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// `rootNamespace`, `istio-system` by default.
    pub root_namespace: Name,
    /// `trustDomain`, `cluster.local` by default.
    pub trust_domain: Name,
    /// `serviceEntryVisibility`; none: everyone sees every ServiceEntry (R117).
    pub entry_visibility: Option<EntryVisibilityRules>,
    /// `serviceScopeConfigs` (R128).
    pub service_scopes: Vec<ServiceScope>,
    /// `discoverySelectors`; empty: all namespaces (R145).
    pub discovery_selectors: Vec<Selector>,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".into(),
            trust_domain: "cluster.local".into(),
            entry_visibility: None,
            service_scopes: Vec::new(),
            discovery_selectors: Vec::new(),
        }
    }
}

/// `serviceEntryVisibility`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryVisibilityRules {
    /// `defaultVisibility`.
    pub default: EntryVisibility,
    /// `policies` in their order: the first that matches counts.
    pub policies: Vec<VisibilityPolicy>,
}

/// One entry of `serviceEntryVisibility.policies`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibilityPolicy {
    /// What it gives.
    pub visibility: EntryVisibility,
    /// `matchingRules`: all must match, so none is a catch-all. A rule without a namespace selector never matches.
    pub rules: Vec<Option<Selector>>,
}

/// Who sees a ServiceEntry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryVisibility {
    /// Everyone.
    #[default]
    Public,
    /// Its own namespace.
    Namespace,
    /// Nobody: it is not published (R35).
    None,
}

/// One entry of `serviceScopeConfigs`: which services other clusters may use (R128).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceScope {
    /// `namespaceSelector`; the empty one matches everything.
    pub namespaces: Selector,
    /// `servicesSelector`; the empty one matches everything.
    pub services: Selector,
    /// `scope: GLOBAL`.
    pub global: bool,
}

impl EntryVisibilityRules {
    /// Who sees an entry of a namespace with these labels (R117).
    pub fn visibility(&self, namespace_labels: &Labels) -> EntryVisibility {
        let matches =
            |rule: &Option<Selector>| rule.as_ref().is_some_and(|selector| selector.matches(namespace_labels));
        let policy = self.policies.iter().find(|policy| policy.rules.iter().all(matches));
        policy.map_or(self.default, |policy| policy.visibility)
    }
}

/// A minor version of Istio 1, from 1.22 to 1.31, whose rules are followed where versions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IstioVersion(u8);

impl IstioVersion {
    /// The oldest that is known.
    pub const OLDEST: Self = Self(22);
    /// Hostname conflicts are settled per namespace, with a canonical service (R42).
    pub const HOST_CONFLICTS: Self = Self(29);
    /// ServiceEntries have a visibility (R117).
    pub const ENTRY_VISIBILITY: Self = Self(31);
    /// The newest that is known, and the default.
    pub const NEWEST: Self = Self(31);
}

impl Default for IstioVersion {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl fmt::Display for IstioVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

impl FromStr for IstioVersion {
    type Err = String;

    /// `1.22` to `1.31`.
    fn from_str(text: &str) -> Result<Self, String> {
        let minor = text.strip_prefix("1.").and_then(|minor| minor.parse().ok());
        let known = minor.map(Self).filter(|version| (Self::OLDEST..=Self::NEWEST).contains(version));
        // "1.0022" is no version.
        let known = known.filter(|version| version.to_string() == text);
        known.ok_or_else(|| format!("{text:?} is no version of Istio from {} to {}", Self::OLDEST, Self::NEWEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_policy_whose_rules_all_match_counts() {
        let selector =
            |value: &str| Selector { labels: [("name", value)].into_iter().collect(), ..Selector::default() };
        let policy = |visibility, rules| VisibilityPolicy { visibility, rules };
        let rules = EntryVisibilityRules {
            default: EntryVisibility::Namespace,
            policies: vec![
                policy(EntryVisibility::Public, vec![None]),
                policy(EntryVisibility::Public, vec![Some(selector("a")), Some(selector("b"))]),
                policy(EntryVisibility::None, vec![Some(selector("a"))]),
                policy(EntryVisibility::Public, vec![Some(selector("a"))]),
            ],
        };
        let labels = |value: &str| [("name", value)].into_iter().collect::<Labels>();
        assert_eq!(rules.visibility(&labels("a")), EntryVisibility::None);
        assert_eq!(rules.visibility(&labels("b")), EntryVisibility::Namespace);
        let catch_all = EntryVisibilityRules { policies: vec![policy(EntryVisibility::Public, vec![])], ..rules };
        assert_eq!(catch_all.visibility(&Labels::default()), EntryVisibility::Public);
    }

    #[test]
    fn a_version_is_one_that_is_known() {
        assert_eq!("1.29".parse::<IstioVersion>().unwrap(), IstioVersion::HOST_CONFLICTS);
        for bad in ["", "1.21", "1.32", "2.0", "1.029", "1.29.1", "v1.29"] {
            assert!(bad.parse::<IstioVersion>().is_err(), "{bad}");
        }
    }
}
