//! Who names which Gateway, both ways round: the edges that a Gateway's change runs along.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::gateway::GatewayKey;

/// Edges from things of one sort to the Gateways they name, whether or not those exist.
#[derive(Debug)]
pub(super) struct Naming<T> {
    /// What each names, to take its edges back; nobody who names none.
    names: HashMap<T, Vec<GatewayKey>>,
    named_by: HashMap<GatewayKey, BTreeSet<T>>,
}

impl<T> Default for Naming<T> {
    fn default() -> Self {
        Self { names: HashMap::new(), named_by: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash + Ord> Naming<T> {
    /// `who` names these, and no other any more.
    pub(super) fn set(&mut self, who: &T, names: &[GatewayKey]) {
        if self.names(who) == names {
            return;
        }
        for gateway in self.names.remove(who).unwrap_or_default() {
            if let Some(by) = self.named_by.get_mut(&gateway) {
                by.remove(who);
                if by.is_empty() {
                    self.named_by.remove(&gateway);
                }
            }
        }
        for gateway in names {
            self.named_by.entry(gateway.clone()).or_default().insert(who.clone());
        }
        if !names.is_empty() {
            self.names.insert(who.clone(), names.to_vec());
        }
    }

    /// What `who` names.
    pub(super) fn names(&self, who: &T) -> &[GatewayKey] {
        self.names.get(who).map_or(&[], Vec::as_slice)
    }

    /// Those who name the Gateway.
    pub(super) fn by(&self, gateway: &GatewayKey) -> impl Iterator<Item = &T> {
        self.named_by.get(gateway).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_taken_back_when_names_change() {
        let mut naming = Naming::default();
        let (a, b) = (GatewayKey::new("ns", "a"), GatewayKey::new("ns", "b"));
        naming.set(&1, &[a.clone(), b.clone()]);
        naming.set(&2, std::slice::from_ref(&a));
        assert_eq!(naming.by(&a).collect::<Vec<_>>(), [&1, &2]);
        naming.set(&1, std::slice::from_ref(&b));
        assert_eq!(naming.by(&a).collect::<Vec<_>>(), [&2]);
        naming.set(&1, &[]);
        naming.set(&2, &[]);
        assert!(naming.names.is_empty() && naming.named_by.is_empty(), "nothing is left behind: {naming:?}");
    }
}
