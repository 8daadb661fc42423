//! Names and labels: the strings of the domain, shared and sorted. Not their validation: a label is kept as written.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A name, namespace, host, label key or label value. Cheap to clone.
pub type Name = Arc<str>;

/// Takes the other in the place of its own where they are equal, so that the text is there once.
pub(crate) fn share(own: &mut Name, other: &Name) {
    if own == other {
        own.clone_from(other);
    }
}

/// Labels or annotations, sorted by key, each key once.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Labels(Arc<[(Name, Name)]>);

impl Labels {
    /// Pairs that are looked through one by one.
    const FEW: usize = 16;

    /// The value of `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<&Name> {
        if self.0.len() <= Self::FEW {
            // Most keys have another length, which is seen without a look at their text.
            return self.0.iter().find(|(k, _)| **k == *key).map(|(_, v)| v);
        }
        self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok().and_then(|at| self.0.get(at)).map(|(_, v)| v)
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(Name, Name)> {
        self.0.iter()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many hold these very labels, not only equal ones.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Whether it is the very same list, which takes no look at it.
    pub(crate) fn is(&self, other: &Labels) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Takes the other's strings in the place of its own where they are equal.
    pub(crate) fn share_with(&mut self, other: &Labels) {
        if self == other {
            self.clone_from(other);
            return;
        }
        for (key, value) in Arc::get_mut(&mut self.0).into_iter().flatten() {
            if let Ok(at) = other.0.binary_search_by(|(other, _)| other.cmp(key))
                && let Some((other_key, other_value)) = other.0.get(at)
            {
                share(key, other_key);
                share(value, other_value);
            }
        }
    }

    /// True when every pair of `self` is also in `other`: a Service's or an equality selector (R135-R138).
    pub fn is_subset_of(&self, other: &Labels) -> bool {
        self.iter().all(|(k, v)| other.get(k) == Some(v))
    }
}

impl<K: Into<Name>, V: Into<Name>> FromIterator<(K, V)> for Labels {
    /// Of two pairs with one key the later counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let sorted: std::collections::BTreeMap<Name, Name> =
            pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self(sorted.into_iter().collect())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(k, v)| (k, v))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_the_later_of_two_values_counts() {
        let labels: Labels = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(labels.iter().map(|(k, _)| &**k).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(labels.get("b").map(|v| &**v), Some("3"));
        assert_eq!(labels.get("c"), None);
    }

    #[test]
    fn a_subset_needs_every_pair() {
        let all: Labels = [("a", "1"), ("b", "2")].into_iter().collect();
        let some: Labels = [("b", "2")].into_iter().collect();
        let other: Labels = [("b", "1")].into_iter().collect();
        assert!(some.is_subset_of(&all) && !other.is_subset_of(&all) && Labels::default().is_subset_of(&some));
    }
}
