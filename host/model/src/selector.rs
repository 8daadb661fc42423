//! Kubernetes label selectors, by the API server's rules. An invalid one matches nothing (Q3).

use crate::name::{Labels, Name};

/// A label selector. The empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// `matchLabels`.
    pub labels: Labels,
    /// `matchExpressions`.
    pub requirements: Vec<Requirement>,
}

/// One entry of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: Name,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`; anything else makes the selector invalid.
    pub operator: Name,
    /// The values.
    pub values: Vec<Name>,
}

impl Selector {
    /// Whether it matches `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.is_valid() && self.labels.is_subset_of(labels) && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// Whether the API server would take it.
    pub fn is_valid(&self) -> bool {
        self.requirements.iter().all(Requirement::is_valid)
    }
}

impl Requirement {
    fn is_valid(&self) -> bool {
        match &*self.operator {
            "In" | "NotIn" => !self.values.is_empty(),
            "Exists" | "DoesNotExist" => self.values.is_empty(),
            _ => false,
        }
    }

    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &*self.operator {
            "In" => value.is_some_and(|v| self.values.contains(v)),
            // A label that is not there is not in any list.
            "NotIn" => value.is_none_or(|v| !self.values.contains(v)),
            "Exists" => value.is_some(),
            _ => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operator: &str, values: &[&str], labels: &[(&str, &str)], expected: bool) {
        let values = values.iter().map(|v| Name::from(*v)).collect();
        let requirement = Requirement { key: "team".into(), operator: operator.into(), values };
        let selector = Selector { requirements: vec![requirement], ..Selector::default() };
        let labels = labels.iter().copied().collect();
        assert_eq!(selector.matches(&labels), expected, "{selector:?} on {labels:?}");
    }

    #[test]
    fn operators_follow_the_api_server() {
        check("In", &["a", "b"], &[("team", "b")], true);
        check("In", &["a"], &[], false);
        check("NotIn", &["a"], &[("team", "b")], true);
        check("NotIn", &["a"], &[], true);
        check("NotIn", &["a"], &[("team", "a")], false);
        check("Exists", &[], &[("team", "")], true);
        check("Exists", &[], &[], false);
        check("DoesNotExist", &[], &[], true);
        check("DoesNotExist", &[], &[("team", "a")], false);
    }

    #[test]
    fn an_invalid_selector_matches_nothing() {
        check("In", &[], &[("team", "a")], false);
        check("NotIn", &[], &[], false);
        check("Exists", &["a"], &[("team", "a")], false);
        check("Like", &["a"], &[("team", "a")], false);
    }

    #[test]
    fn an_empty_selector_matches_everything() {
        assert!(Selector::default().matches(&Labels::default()));
    }
}
